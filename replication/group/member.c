/* replication/group/member.c: what any thread may ask of a member; the turns do it (member_turn.c). */
#include "replication/group/member.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/container.h"
#include "replication/group/groups_internal.h"

void member_due(struct groups *groups, struct group_member *member)
{
    if (member->due)
        return;
    member->due = true;
    member->next_due = groups->due;
    groups->due = member;
}

/* ---- joining and leaving ---- */

static void set_rules(struct group_member *member, const struct group_rules *rules)
{
    memcpy(member->group_id, rules->id, UUID_BYTES);
    member->max_poll_interval_ms = rules->max_poll_interval_ms;
    atomic_store(&member->session_timeout_ms, rules->session_timeout_ms);
}

/* Whether its group and its topic are there. */
static bool is_possible(const struct group_member *member)
{
    const struct group_facts *facts = &member->groups->env.facts;
    char name[GROUP_NAME_BYTES];
    struct group_rules rules;
    int32_t partitions;
    int rc = facts->group(facts->arg, member->group, &rules);

    if (rc == 0 && memcmp(rules.id, member->group_id, UUID_BYTES) != 0)
        rc = -ENOENT;
    return rc != -ENOENT && facts->topic(facts->arg, member->topic_id, name, &partitions) != -ENOENT;
}

int group_member_join(struct groups *groups, const struct group_join *join, struct group_member **out)
{
    struct group_env *env = &groups->env;
    struct group_rules rules;
    uint8_t topic_id[UUID_BYTES];
    int rc;

    if (atomic_load(&groups->stopping))
        return -EROFS;
    if (strlen(join->group) >= GROUP_NAME_BYTES)
        return -ENOENT;
    rc = env->facts.group(env->facts.arg, join->group, &rules);
    if (rc == 0)
        rc = env->topic_named(env->facts.arg, join->topic, topic_id);
    if (rc != 0)
        return rc;
    if ((join->group_id != NULL && memcmp(join->group_id, rules.id, UUID_BYTES) != 0) ||
        (join->topic_id != NULL && memcmp(join->topic_id, topic_id, UUID_BYTES) != 0))
        return -ENOENT;
    if (atomic_fetch_add(&groups->member_count, 1) >= LIMIT_GROUP_MEMBERS) {
        atomic_fetch_sub(&groups->member_count, 1);
        return -ENOSPC;
    }
    struct group_member *member = calloc(1, sizeof *member);
    if (member == NULL) {
        atomic_fetch_sub(&groups->member_count, 1);
        return -ENOMEM;
    }
    member->groups = groups;
    member->number = groups_number(groups);
    strncpy(member->group, join->group, sizeof member->group - 1);
    memcpy(member->topic_id, topic_id, UUID_BYTES);
    member->index = group_index(member->group);
    member->pid = (int32_t)join->pid;
    member->changed = join->changed;
    member->arg = join->arg;
    member->told_epoch = -1;
    set_rules(member, &rules);
    pthread_mutex_init(&member->event_lock, NULL);
    *out = member;
    pthread_mutex_lock(&groups->lock);
    table_add(&groups->members, &member->link, member->number);
    member_due(groups, member);
    pthread_mutex_unlock(&groups->lock);
    if (!is_possible(member)) /* and the look that came with it did not see the member yet */
        atomic_store(&groups->look, true);
    mailbox_kick(&groups->mailbox);
    return 0;
}

void group_member_leave(struct group_member *member)
{
    struct groups *groups = member->groups;

    pthread_mutex_lock(&member->event_lock); /* no changed() is under way */
    pthread_mutex_lock(&groups->lock);
    assert(member->ops == NULL);
    member->left = true;
    member->wants_out = true;
    member_due(groups, member);
    pthread_mutex_unlock(&groups->lock);
    pthread_mutex_unlock(&member->event_lock);
    mailbox_kick(&groups->mailbox); /* from here on it may be gone */
}

/* ---- what it has ---- */

bool member_is_late(const struct group_member *member, int64_t heard_ms)
{
    int64_t inside_ms = atomic_load(&member->inside_ms), timeout_ms = atomic_load(&member->session_timeout_ms);

    if (timeout_ms < LIMIT_GROUP_SILENT_LEAST_MS)
        timeout_ms = LIMIT_GROUP_SILENT_LEAST_MS;
    return groups_now_ms(member->groups) - (heard_ms > inside_ms ? heard_ms : inside_ms) > timeout_ms;
}

bool member_is_silent(const struct group_member *member)
{
    return atomic_load(&member->doubtful) ||
           member_is_late(member, atomic_load(&member->groups->heard_ms[member->index]));
}

bool group_member_is_silent(struct group_member *member)
{
    if (!member_is_silent(member))
        return false;
    atomic_store(&member->groups->silent[member->index], true);
    return member_is_silent(member); /* or whoever has heard of it meanwhile may have looked before */
}

uint64_t group_member_version(const struct group_member *member)
{
    return atomic_load_explicit(&member->shown_version, memory_order_acquire);
}

int group_member_shares(struct group_member *member, struct group_shares *out)
{
    struct groups *groups = member->groups;

    *out = (struct group_shares){0};
    pthread_mutex_lock(&groups->lock);
    out->version = atomic_load(&member->shown_version);
    out->state = member->state;
    out->rc = member->why;
    if (member->state == GROUP_MEMBER_STABLE && member->share_count > 0) {
        out->shares = calloc(member->share_count, sizeof *out->shares);
        if (out->shares == NULL) {
            pthread_mutex_unlock(&groups->lock);
            return -ENOMEM;
        }
        for (size_t i = 0; i < member->share_count; i++) {
            if (member->shares[i].here && !member->shares[i].released)
                out->shares[out->count++] = member->shares[i].share;
        }
    }
    pthread_mutex_unlock(&groups->lock);
    return 0;
}

struct member_share *member_find_share(struct group_member *member, int32_t partition, int32_t epoch)
{
    size_t low = 0, high = member->share_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct member_share *share = &member->shares[middle];
        if (share->share.partition == partition)
            return share->share.epoch == epoch ? share : NULL;
        if (share->share.partition < partition)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

void group_member_commit(struct group_member *member, int32_t partition, int32_t epoch, int64_t offset,
                         int32_t leader_epoch)
{
    struct groups *groups = member->groups;
    int64_t gather_ms = 0;

    pthread_mutex_lock(&groups->lock);
    struct member_share *share = member_find_share(member, partition, epoch);
    if (share == NULL || (share->released && offset > share->committed)) {
        member->refused = true;
    } else if (offset > share->committed) {
        share->committed = offset;
        share->leader_epoch = leader_epoch;
        if (!member->gathering) {
            gather_ms = groups_now_ms(groups) + LIMIT_GROUP_GATHER_MS;
            member->gathering = true;
            member->gather_ms = gather_ms;
            member_due(groups, member);
        }
    }
    pthread_mutex_unlock(&groups->lock);
    if (gather_ms != 0)
        groups_wake_at(groups, gather_ms);
}

/* What waits is to go now. */
static void hurry(struct group_member *member)
{
    struct groups *groups = member->groups;

    member->hurried = true;
    member_due(groups, member);
}

void group_member_lost(struct group_member *member, int32_t partition, int32_t epoch, int64_t offset)
{
    struct groups *groups = member->groups;

    pthread_mutex_lock(&groups->lock);
    struct member_share *share = member_find_share(member, partition, epoch);
    if (share != NULL) {
        share->lost_from = offset;
        hurry(member);
    }
    pthread_mutex_unlock(&groups->lock);
    if (share != NULL)
        mailbox_kick(&groups->mailbox);
}

void group_member_release(struct group_member *member, int32_t partition, int32_t epoch)
{
    struct groups *groups = member->groups;

    pthread_mutex_lock(&groups->lock);
    struct member_share *share = member_find_share(member, partition, epoch);
    if (share != NULL && !share->released) {
        share->released = true;
        atomic_fetch_add(&member->shown_version, 1);
        hurry(member);
    }
    pthread_mutex_unlock(&groups->lock);
    if (share != NULL)
        mailbox_kick(&groups->mailbox);
}

void group_member_polled(struct group_member *member, bool holds_unread)
{
    int64_t since_ms = holds_unread ? groups_now_ms(member->groups) : 0;

    atomic_store(&member->unread_since_ms, holds_unread && since_ms == 0 ? 1 : since_ms);
}

/* ---- commits that are answered ---- */

bool member_owes(const struct group_member *member)
{
    for (size_t i = 0; i < member->share_count; i++) {
        if (member->shares[i].released && member->shares[i].committed > member->shares[i].answered)
            return true;
    }
    return false;
}

int member_take_refused(struct group_member *member, int rc)
{
    bool refused = member->refused;

    member->refused = false;
    return rc == 0 && refused ? -ESTALE : rc;
}

/* Under the lock. */
static void queue_op(struct group_commit_op *op)
{
    struct group_member *member = op->member;

    op->state = OP_WAITING;
    op->answered = op->count == 0;
    op->rc = 0;
    op->prev = NULL;
    op->next = member->ops;
    if (op->next != NULL)
        op->next->prev = op;
    member->ops = op;
    hurry(member);
}

int group_commit_submit(struct group_commit_op *op)
{
    struct group_member *member = op->member;
    struct groups *groups = member->groups;
    int rc = 0;

    op->deadline_ms = groups_now_ms(groups) + op->timeout_ms;
    op->ticket = groups_number(groups);
    op->again_ms = op->later_ms = 0;
    pthread_mutex_lock(&groups->lock);
    if (member->state == GROUP_MEMBER_PUT_OUT || member->state == GROUP_MEMBER_GONE)
        rc = -ESTALE;
    else if (op->count == 0 && !member_owes(member))
        rc = member_take_refused(member, 0) != 0 ? -ESTALE : 1;
    else if (atomic_load(&groups->stopping))
        rc = -EROFS;
    else
        queue_op(op);
    pthread_mutex_unlock(&groups->lock);
    if (rc == 0)
        mailbox_kick(&groups->mailbox);
    return rc;
}

bool group_commit_cancel(struct group_commit_op *op)
{
    struct group_member *member = op->member;
    struct groups *groups = member->groups;

    pthread_mutex_lock(&groups->lock);
    bool waits = op->state == OP_WAITING;
    if (waits) {
        if (op->prev != NULL)
            op->prev->next = op->next;
        else
            member->ops = op->next;
        if (op->next != NULL)
            op->next->prev = op->prev;
        op->state = OP_OVER;
    }
    pthread_mutex_unlock(&groups->lock);
    return waits;
}
