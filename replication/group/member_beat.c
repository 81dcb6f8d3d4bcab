/* replication/group/member_beat.c: time, as members have it: beats to their coordinators, coordinators that are silent,
 * and readers that do not read. */
#include <stdlib.h>

#include "engine/base/container.h"
#include "replication/group/groups_internal.h"

/* ---- coordinators that are silent ---- */

/* The members of that index. Under the lock. NULL: there are no more. */
static struct group_member *next_of(struct groups *groups, int32_t index, struct group_member *member)
{
    struct table_link *link =
        member != NULL ? table_next(&groups->members, &member->link) : table_begin(&groups->members);

    while (link != NULL && CONTAINER_OF(link, struct group_member, link)->index != index)
        link = table_next(&groups->members, link);
    return link != NULL ? CONTAINER_OF(link, struct group_member, link) : NULL;
}

/* It is heard of again, and has not said that its members know all: who was taken for cut off may be out, though it
 * comes to hear of that only now. */
static void doubt(struct groups *groups, int32_t index)
{
    pthread_mutex_lock(&groups->lock);
    for (struct group_member *member = next_of(groups, index, NULL); member != NULL;
         member = next_of(groups, index, member)) {
        if (!member_is_silent(member))
            continue;
        atomic_store(&member->doubtful, true);
        groups->doubted[index] = true;
    }
    pthread_mutex_unlock(&groups->lock);
}

/* All was told as of a beat that was sent then. */
static void trust(struct groups *groups, int32_t index, int64_t sent_ms)
{
    groups->doubted[index] = false;
    pthread_mutex_lock(&groups->lock);
    for (struct group_member *member = next_of(groups, index, NULL); member != NULL;
         member = next_of(groups, index, member)) {
        bool doubtful = atomic_load(&member->doubtful) && member_is_late(member, sent_ms);
        atomic_store(&member->doubtful, doubtful);
        groups->doubted[index] = groups->doubted[index] || doubtful;
    }
    pthread_mutex_unlock(&groups->lock);
}

static void show_all(struct groups *groups, int32_t index)
{
    pthread_mutex_lock(&groups->lock);
    for (struct group_member *member = next_of(groups, index, NULL); member != NULL;
         member = next_of(groups, index, member))
        member_show(member);
    pthread_mutex_unlock(&groups->lock);
}

void members_heard(struct groups *groups, int32_t index, int64_t sent_ms, bool all_told)
{
    int64_t heard_ms = atomic_load(&groups->heard_ms[index]);

    if (sent_ms > groups->now_ms || (sent_ms <= heard_ms && !all_told))
        return;
    if (!all_told && groups_now_ms(groups) - heard_ms > LIMIT_GROUP_SILENT_LEAST_MS)
        doubt(groups, index);
    if (sent_ms > heard_ms)
        atomic_store(&groups->heard_ms[index], sent_ms);
    if (all_told && groups->doubted[index])
        trust(groups, index, sent_ms);
    if (atomic_exchange(&groups->silent[index], false))
        show_all(groups, index);
}

/* Where nobody coordinates, and the cluster would say so, or an earlier build does, there is no silence; but who was
 * taken for cut off before there was nobody may be out. */
static void look_at_silence(struct groups *groups)
{
    const struct group_env *env = &groups->env;
    bool told = env->has_lease(env->facts.arg);

    for (int32_t i = 0; i < LIMIT_OFFSETS_PARTITIONS; i++) {
        int32_t leader = groups->leaders[i];
        if (leader == 0 ? told : !groups->answers_beats[i])
            members_heard(groups, i, groups->now_ms, leader != 0);
    }
}

/* ---- readers that do not read ---- */

/* A member that holds what it does not read. Under the lock. */
static void look_at_polls(struct group_member *member, int64_t missed_ms)
{
    struct groups *groups = member->groups;
    int64_t since_ms = atomic_load(&member->unread_since_ms), now_ms = groups->now_ms;

    if (since_ms != 0 && missed_ms > 0 && since_ms < now_ms) {
        /* Read within the time that was missed, it may have been at its beginning. */
        int64_t to_ms = now_ms - since_ms > missed_ms ? since_ms + missed_ms : now_ms;
        if (atomic_compare_exchange_strong(&member->unread_since_ms, &since_ms, to_ms))
            since_ms = to_ms;
    }
    if (member->state != GROUP_MEMBER_STABLE || since_ms == 0 || now_ms - since_ms <= member->max_poll_interval_ms)
        return;
    member->state = GROUP_MEMBER_PUT_OUT;
    member->wants_out = true;
    member_show(member);
    member_due(groups, member);
}

/* ---- beats ---- */

static void beat(struct groups *groups, int32_t index, struct group_entry *entries, size_t count)
{
    struct elements_buffer *to = members_way_to(groups, index);
    struct group_item item = {.kind = GROUP_ITEM_BEAT,
                              .index = index,
                              .number = atomic_load(&groups->numbers),
                              .partition = -1,
                              .offset = groups->now_ms > 0 ? groups->now_ms : 0,
                              .entries = entries,
                              .entry_count = count};

    if (to != NULL)
        group_item_encode(&item, to);
}

/* A coordinator may have it as a reader. */
static bool may_be_in(const struct group_member *member)
{
    return member->session != SESSION_OVER && member->was_sent;
}

/* Which members each coordinator may have, and what they know of what it said. Under the lock; one that has a number
 * and is not in the table yet has sent nothing. */
static void beat_all(struct groups *groups)
{
    struct group_entry *entries = calloc(groups->members.count + 1, sizeof *entries);
    size_t ends[LIMIT_OFFSETS_PARTITIONS + 1] = {0}, at = 0;
    struct table_link *link;

    if (entries == NULL)
        return; /* at the next beat */
    for (link = table_begin(&groups->members); link != NULL; link = table_next(&groups->members, link)) {
        const struct group_member *member = CONTAINER_OF(link, struct group_member, link);
        ends[member->index] += may_be_in(member);
    }
    for (int32_t i = 0; i < LIMIT_OFFSETS_PARTITIONS; i++) {
        size_t count = ends[i];
        ends[i] = at;
        at += count;
    }
    for (link = table_begin(&groups->members); link != NULL; link = table_next(&groups->members, link)) {
        const struct group_member *member = CONTAINER_OF(link, struct group_member, link);
        if (may_be_in(member)) {
            entries[ends[member->index]++] = (struct group_entry){.key = member->number,
                                                                  .epoch = member->told_epoch,
                                                                  .value = member->told_version,
                                                                  .release = member->session != SESSION_INSIDE};
        }
    }
    for (int32_t i = 0; i < LIMIT_OFFSETS_PARTITIONS; i++) {
        size_t first = i > 0 ? ends[i - 1] : 0;
        if (ends[i] > first)
            beat(groups, i, &entries[first], ends[i] - first);
    }
    free(entries);
}

void members_tick(struct groups *groups)
{
    if (atomic_load(&groups->member_count) == 0) {
        groups->beat_ms = 0;
        return;
    }
    if (groups->now_ms >= groups->beat_ms) {
        /* Time in which this node stood still is nobody's silence. */
        int64_t missed_ms = groups->beat_ms > 0 ? groups->now_ms - groups->beat_ms : 0;
        groups->beat_ms = groups->now_ms + LIMIT_GROUP_BEAT_MS;
        look_at_silence(groups);
        pthread_mutex_lock(&groups->lock);
        for (struct table_link *link = table_begin(&groups->members); link != NULL;
             link = table_next(&groups->members, link)) {
            look_at_polls(CONTAINER_OF(link, struct group_member, link),
                          missed_ms > LIMIT_GROUP_BEAT_MS ? missed_ms : 0);
        }
        beat_all(groups);
        pthread_mutex_unlock(&groups->lock);
    }
    groups_due(groups, groups->beat_ms);
}
