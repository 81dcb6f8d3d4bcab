/* replication/group/member_beat.c: time, as members have it: beats to their coordinators, coordinators that are silent,
 * and readers that do not read. */
#include <stdlib.h>

#include "engine/base/container.h"
#include "replication/group/groups_internal.h"

/* ---- coordinators that are silent ---- */

void members_heard(struct groups *groups, int32_t index, int64_t sent_ms)
{
    struct table_link *link;

    if (sent_ms > groups->now_ms || sent_ms <= atomic_load(&groups->heard_ms[index]))
        return;
    atomic_store(&groups->heard_ms[index], sent_ms);
    if (!atomic_exchange(&groups->silent[index], false))
        return;
    pthread_mutex_lock(&groups->lock);
    for (link = table_begin(&groups->members); link != NULL; link = table_next(&groups->members, link)) {
        struct group_member *member = CONTAINER_OF(link, struct group_member, link);
        if (member->index == index)
            member_show(member);
    }
    pthread_mutex_unlock(&groups->lock);
}

/* Where nobody coordinates, and the cluster would say so, or an earlier build does, there is no silence. */
static void look_at_silence(struct groups *groups)
{
    const struct group_env *env = &groups->env;
    bool told = env->has_lease(env->facts.arg);

    for (int32_t i = 0; i < LIMIT_OFFSETS_PARTITIONS; i++) {
        int32_t leader = groups->leaders[i];
        if (leader == 0 ? told : !env->answers_beats(env->facts.arg, leader))
            members_heard(groups, i, groups->now_ms);
    }
}

/* ---- readers that do not read ---- */

/* A member that holds what it does not read. Under the lock. */
static void look_at_polls(struct group_member *member, int64_t missed_ms)
{
    struct groups *groups = member->groups;
    int64_t since_ms = atomic_load(&member->unread_since_ms);

    /* Unless it was read just now. */
    if (since_ms != 0 && missed_ms > 0 && since_ms < groups->now_ms - missed_ms &&
        atomic_compare_exchange_strong(&member->unread_since_ms, &since_ms, since_ms + missed_ms))
        since_ms += missed_ms;
    if (member->state != GROUP_MEMBER_STABLE || since_ms == 0 ||
        groups->now_ms - since_ms <= member->max_poll_interval_ms)
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
        if (may_be_in(member))
            entries[ends[member->index]++] = (struct group_entry){.key = member->number,
                                                                  .epoch = member->told_epoch,
                                                                  .value = member->told_version,
                                                                  .release = member->session != SESSION_INSIDE};
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
             link = table_next(&groups->members, link))
            look_at_polls(CONTAINER_OF(link, struct group_member, link),
                          missed_ms > LIMIT_GROUP_BEAT_MS ? missed_ms : 0);
        beat_all(groups);
        pthread_mutex_unlock(&groups->lock);
    }
    groups_due(groups, groups->beat_ms);
}
