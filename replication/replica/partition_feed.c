/* replication/replica/partition_feed.c: the layer above is told that a partition is not what it was.
 *
 *   listening (HEAR_UNTOLD, HEAR_ALL) --a change--> told: partition_changed() --partition_news_return()--> listening
 *                                                   (HEAR_NOTHING)    |    ^
 *                                                                     +----+ there was a later change
 *
 * So an append costs one look at `hear`, and however fast they come the listener sets the pace.
 *
 * Why none is lost: a change counts under the partition's lock, then looks at `hear`; partition_news_return() compares
 * the counts and sets `hear` under that lock. Either its turn with the lock came after the change's, and it sees the
 * count, or before, and then the change sees what it set. */
#include "replication/replica/partition.h"

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/replica/remote.h"

void partition_feed_init(struct partition *part)
{
    part->feed.news.part = part;
    atomic_init(&part->feed.hear, HEAR_UNTOLD);
}

void partition_change(struct partition *part, bool told)
{
    part->feed.changes++;
    if (!told)
        part->feed.untold_changes++;
}

void partition_tell(struct partition *part, bool told)
{
    struct replica_manager *manager = part->manager;
    int hear = atomic_load_explicit(&part->feed.hear, memory_order_relaxed);
    if (hear == HEAR_NOTHING || (told && hear == HEAR_UNTOLD))
        return;
    pthread_rwlock_rdlock(&manager->feed_lock);
    if (manager->feed != NULL && manager->feed->partition_changed != NULL &&
        atomic_exchange(&part->feed.hear, HEAR_NOTHING) != HEAR_NOTHING) {
        partition_ref(part);
        manager->feed->partition_changed(manager->feed, &part->feed.news);
    }
    pthread_rwlock_unlock(&manager->feed_lock);
}

void partition_segments_changed(struct partition *part)
{
    atomic_fetch_add(&part->feed.segment_changes, 1);
    pthread_mutex_lock(&part->lock);
    partition_change(part, false);
    pthread_mutex_unlock(&part->lock);
    partition_tell(part, false);
}

void partition_listen(struct partition *part)
{
    if (partition_listens(part))
        remote_listen(part);
}

void partition_hear_all(struct partition *part)
{
    int untold = HEAR_UNTOLD;
    if (atomic_load_explicit(&part->feed.hear, memory_order_relaxed) != HEAR_ALL)
        atomic_compare_exchange_strong(&part->feed.hear, &untold, HEAR_ALL);
}

uint64_t partition_segment_changes(struct partition *part)
{
    return atomic_load(&part->feed.segment_changes);
}

void partition_hear_untold(struct partition *part)
{
    int all = HEAR_ALL;
    if (atomic_load_explicit(&part->feed.hear, memory_order_relaxed) == HEAR_ALL)
        atomic_compare_exchange_strong(&part->feed.hear, &all, HEAR_UNTOLD);
}

bool partition_news_seen(struct partition_news *news)
{
    struct partition *part = news->part;
    pthread_mutex_lock(&part->lock);
    bool untold = news->seen_untold != part->feed.untold_changes;
    news->seen = part->feed.changes;
    news->seen_untold = part->feed.untold_changes;
    pthread_mutex_unlock(&part->lock);
    return untold;
}

bool partition_news_return(struct partition_news *news, enum partition_hear hear)
{
    struct partition *part = news->part;
    pthread_mutex_lock(&part->lock);
    bool later = hear == HEAR_ALL ? news->seen != part->feed.changes : news->seen_untold != part->feed.untold_changes;
    if (!later)
        atomic_store(&part->feed.hear, hear);
    pthread_mutex_unlock(&part->lock);
    if (later)
        return false;
    if (hear == HEAR_ALL || topic_is_heard(part->topic))
        partition_listen(part);
    partition_unref(part);
    return true;
}

void partition_news_drop(struct partition_news *news)
{
    struct partition *part = news->part;
    atomic_store(&part->feed.hear, HEAR_UNTOLD);
    partition_unref(part);
}
