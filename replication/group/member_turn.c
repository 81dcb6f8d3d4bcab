/* replication/group/member_turn.c: members and their coordinators, within turns: what is sent, what comes of it, what
 * becomes of members. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/container.h"
#include "replication/group/groups_internal.h"

enum { LEADERLESS_MS = 100 };

static struct group_member *find(struct groups *groups, uint64_t number)
{
    pthread_mutex_lock(&groups->lock);
    struct table_link *link = table_find(&groups->members, number);
    pthread_mutex_unlock(&groups->lock);
    return link != NULL ? CONTAINER_OF(link, struct group_member, link) : NULL;
}

/* ---- the end of the turn ---- */

static void call_later(struct group_member *member)
{
    struct groups *groups = member->groups;

    if (member->tell)
        return;
    member->tell = true;
    member->next_told = groups->told;
    groups->told = member;
}

void member_show(struct group_member *member)
{
    atomic_fetch_add_explicit(&member->shown_version, 1, memory_order_release);
    call_later(member);
}

static void end_op(struct group_commit_op *op, int rc)
{
    struct group_member *member = op->member;
    struct groups *groups = member->groups;

    if (op->prev != NULL)
        op->prev->next = op->next;
    else
        member->ops = op->next;
    if (op->next != NULL)
        op->next->prev = op->prev;
    op->state = OP_OVER;
    op->rc = rc;
    op->next = groups->over;
    groups->over = op;
}

static void end_ops(struct group_member *member, int rc)
{
    while (member->ops != NULL)
        end_op(member->ops, rc);
}

static void free_member(struct group_member *member)
{
    pthread_mutex_destroy(&member->event_lock);
    free(member->shares);
    free(member->sent);
    free(member);
}

void members_call(struct groups *groups)
{
    while (groups->over != NULL) {
        struct group_commit_op *op = groups->over;
        groups->over = op->next;
        op->done(op, op->rc);
    }
    while (groups->told != NULL) {
        struct group_member *member = groups->told;
        bool gone;
        groups->told = member->next_told;
        member->tell = false;
        pthread_mutex_lock(&member->event_lock);
        if (!member->left)
            member->changed(member->arg);
        pthread_mutex_lock(&groups->lock);
        gone = member->left && member->session == SESSION_OVER && !member->due;
        if (gone)
            table_remove(&groups->members, &member->link);
        pthread_mutex_unlock(&groups->lock);
        pthread_mutex_unlock(&member->event_lock);
        if (!gone)
            continue;
        free_member(member);
        atomic_fetch_sub(&groups->member_count, 1);
    }
}

/* ---- what becomes of a member ---- */

/* What was committed of a share that it has no more, and is not answered, is nobody's to answer: it may not be in
 * force. Under the lock, as the next one. */
static void replace_shares(struct group_member *member, struct member_share *shares, size_t count)
{
    struct member_share *old = member->shares;
    size_t old_count = member->share_count;

    member->shares = shares;
    member->share_count = count;
    for (size_t i = 0; i < old_count; i++) {
        if (old[i].committed > old[i].answered &&
            member_find_share(member, old[i].share.partition, old[i].share.epoch) == NULL)
            member->refused = true;
    }
    free(old);
    if (member->ops != NULL)
        member_due(member->groups, member); /* one of them may have waited for a share that is gone */
}

static void drop_shares(struct group_member *member)
{
    replace_shares(member, NULL, 0);
}

/* The coordinator knows nothing of it: what it had is lost, and it joins anew. Under the lock. */
static void step_outside(struct group_member *member)
{
    if (member->session != SESSION_INSIDE)
        return;
    member->session = SESSION_OUTSIDE;
    member->request = REQUEST_NONE;
    member->again_ms = 0;
    drop_shares(member);
    member_show(member);
    member_due(member->groups, member);
}

/* Its coordinator has it. Under the lock. */
static void step_inside(struct group_member *member)
{
    if (member->session == SESSION_OUTSIDE) {
        member->session = SESSION_INSIDE;
        atomic_store(&member->inside_ms, member->join_ms);
        atomic_store(&member->doubtful, false);
    }
    if (member->state == GROUP_MEMBER_JOINING || member->why != 0) {
        member->state = member->state == GROUP_MEMBER_JOINING ? GROUP_MEMBER_STABLE : member->state;
        member->why = 0;
        member_show(member);
    }
}

/* Nobody has to be told any more. Under the lock. */
static void finish(struct group_member *member)
{
    member->session = SESSION_OVER;
    member->request = REQUEST_NONE;
    call_later(member);
}

/* Under the lock. */
static void set_gone(struct group_member *member)
{
    if (member->state == GROUP_MEMBER_GONE)
        return;
    member->state = GROUP_MEMBER_GONE;
    drop_shares(member);
    end_ops(member, -ESTALE);
    member_show(member);
    finish(member);
}

/* ---- what coordinators tell ---- */

/* Shares as told, with what is known of those that are the same as before. NULL: no memory, or none. */
static struct member_share *merge(const struct group_member *member, const struct group_told *told)
{
    struct member_share *shares = calloc(told->share_count, sizeof *shares);
    size_t at = 0;

    for (size_t i = 0; shares != NULL && i < told->share_count; i++) {
        const struct group_told_share *from = &told->shares[i];
        shares[i] = (struct member_share){
            .committed = GROUP_OFFSET_NONE, .answered = GROUP_OFFSET_NONE, .lost_from = GROUP_OFFSET_NONE};
        while (at < member->share_count && member->shares[at].share.partition < from->partition)
            at++;
        if (at < member->share_count && member->shares[at].share.partition == from->partition &&
            member->shares[at].share.epoch == from->epoch)
            shares[i] = member->shares[at];
        shares[i].share =
            (struct group_share){from->partition, from->epoch, from->start, from->leader_epoch, from->revoked};
    }
    return shares;
}

/* The coordinator may have heard of added partitions first. Those that this node has by now are shown; what was taken
 * back before is given up. Not under the lock: the list of shares is the turn's. */
static void look_for_partitions(struct group_member *member)
{
    struct groups *groups = member->groups;
    bool found = false;

    for (size_t i = 0; i < member->share_count; i++) {
        struct member_share *share = &member->shares[i];
        if (share->here)
            continue;
        struct partition *part = groups->env.partition(groups->env.facts.arg, member->topic_id, share->share.partition);
        if (part == NULL && share->share.revoked)
            group_member_release(member, share->share.partition, share->share.epoch);
        if (part == NULL)
            continue;
        partition_unref(part);
        pthread_mutex_lock(&groups->lock);
        share->here = found = true;
        pthread_mutex_unlock(&groups->lock);
    }
    if (!found)
        return;
    pthread_mutex_lock(&groups->lock);
    member_show(member);
    pthread_mutex_unlock(&groups->lock);
}

static bool in_order(const struct group_told *told)
{
    for (size_t i = 1; i < told->share_count; i++) {
        if (told->shares[i].partition <= told->shares[i - 1].partition)
            return false;
    }
    return true;
}

static void told_shares(struct groups *groups, const struct group_told *told)
{
    struct group_member *member = find(groups, told->ticket);

    if (member == NULL || member->session == SESSION_LEAVING || member->session == SESSION_OVER)
        return;
    if (told->epoch < member->told_epoch ||
        (told->epoch == member->told_epoch && told->version <= member->told_version))
        return;
    pthread_mutex_lock(&groups->lock);
    if (told->outcome == GROUP_OUTCOME_UNKNOWN) {
        member->told_epoch = told->epoch;
        member->told_version = told->version;
        step_outside(member);
    } else if (in_order(told)) {
        struct member_share *shares = told->share_count > 0 ? merge(member, told) : NULL;
        if (told->share_count == 0 || shares != NULL) {
            replace_shares(member, shares, told->share_count);
            member->told_epoch = told->epoch;
            member->told_version = told->version;
            step_inside(member);
            member_show(member);
        } /* else the next beat says that it knows less */
    }
    pthread_mutex_unlock(&groups->lock);
    look_for_partitions(member);
}

/* Whatever the coordinator said of them, it need not be asked again. */
static void note_answered(struct group_member *member, const struct group_told *told)
{
    for (size_t i = 0; i < member->sent_count; i++) {
        const struct group_entry *entry = &member->sent[i];
        struct member_share *share = member_find_share(member, (int32_t)entry->key, entry->epoch);
        if (share == NULL || entry->lost)
            continue;
        if (entry->value > share->answered && share->committed != GROUP_OFFSET_NONE) {
            share->answered = entry->value;
            member->refused = member->refused || i >= told->refused_count || told->refused[i];
        }
        share->gave_up = share->gave_up || entry->release;
    }
}

/* Under the lock. */
static bool has_lost(const struct group_member *member)
{
    for (size_t i = 0; i < member->share_count; i++) {
        if (member->shares[i].lost_from != GROUP_OFFSET_NONE)
            return true;
    }
    return false;
}

/* Its request is to be made again. Under the lock. */
static void told_later(struct group_member *member, enum member_request request, enum group_outcome outcome)
{
    struct groups *groups = member->groups;

    member->hurried = member->hurried || request == REQUEST_COMMIT;
    if (outcome != GROUP_OUTCOME_FULL) {
        member->again_ms = groups_later(groups, &member->later_ms);
        return;
    }
    member->again_ms = groups->now_ms + LIMIT_GROUP_LATEST_MS;
    if (member->session == SESSION_OUTSIDE && member->why == 0) {
        member->why = -ENOSPC;
        member_show(member);
    }
}

/* The answer of the member's own request. Under the lock. */
static void told_result(struct group_member *member, const struct group_told *told)
{
    struct groups *groups = member->groups;
    enum member_request request = member->request;

    member->request = REQUEST_NONE;
    member->again_ms = 0;
    member_due(groups, member);
    if (told->outcome == GROUP_OUTCOME_LATER || told->outcome == GROUP_OUTCOME_ELSEWHERE ||
        told->outcome == GROUP_OUTCOME_FULL) {
        told_later(member, request, told->outcome);
        return;
    }
    member->later_ms = 0;
    switch (request) {
    case REQUEST_JOIN:
        step_inside(member);
        break;
    case REQUEST_COMMIT:
        note_answered(member, told);
        if (told->outcome == GROUP_OUTCOME_UNKNOWN)
            step_outside(member);
        else if (has_lost(member)) /* until the share that comes in its place is told */
            told_later(member, request, GROUP_OUTCOME_LATER);
        break;
    case REQUEST_LEAVE:
        note_answered(member, told);
        finish(member);
        break;
    case REQUEST_NONE:
        break;
    }
}

/* Under the lock. */
static void told_commit(struct group_commit_op *op, const struct group_told *told)
{
    struct group_member *member = op->member;
    int rc = 0;

    if (told->outcome == GROUP_OUTCOME_LATER || told->outcome == GROUP_OUTCOME_ELSEWHERE) {
        op->again_ms = groups_later(member->groups, &op->later_ms);
        member_due(member->groups, member);
        return;
    }
    if (told->outcome == GROUP_OUTCOME_FULL) {
        end_op(op, -ENOSPC);
        return;
    }
    if (told->refused_count != op->count)
        return; /* no answer to this one */
    for (size_t i = 0; i < op->count; i++) {
        struct member_share *share = member_find_share(member, op->commits[i].partition, op->commits[i].epoch);
        op->commits[i].rc = told->refused[i] ? -ESTALE : 0;
        rc = told->refused[i] ? -ESTALE : rc;
        if (share != NULL && op->commits[i].offset > share->answered)
            share->answered = op->commits[i].offset;
    }
    op->answered = true;
    op->rc = rc;
    member_due(member->groups, member);
}

void members_told(struct groups *groups, int32_t from, const struct group_told *told)
{
    (void)from;
    if (told->kind == GROUP_TOLD_SHARES) {
        told_shares(groups, told);
        return;
    }
    struct group_member *member = find(groups, (uint64_t)told->version);
    if (member == NULL)
        return;
    pthread_mutex_lock(&groups->lock);
    if (member->request != REQUEST_NONE && member->ticket == told->ticket) {
        told_result(member, told);
    } else {
        struct group_commit_op *op = member->ops;
        while (op != NULL && op->ticket != told->ticket)
            op = op->next;
        if (op != NULL)
            told_commit(op, told);
    }
    pthread_mutex_unlock(&groups->lock);
}

/* ---- what is sent ---- */

struct elements_buffer *members_way_to(struct groups *groups, int32_t index)
{
    int32_t leader = groups->leaders[index];

    return leader != 0 ? outbox_to(&groups->requests, leader, groups->env.process) : NULL;
}

static bool is_unanswered(const struct member_share *share)
{
    return share->committed > share->answered || (share->released && !share->gave_up);
}

static void add_entry(struct group_member *member, const struct member_share *share, int64_t value, bool lost)
{
    member->sent[member->sent_count++] = (struct group_entry){.key = (uint64_t)share->share.partition,
                                                              .epoch = share->share.epoch,
                                                              .value = value > 0 ? value : 0,
                                                              .release = share->released && !lost,
                                                              .leader_epoch = share->leader_epoch,
                                                              .lost = lost};
}

/* What the coordinator has yet to answer, into member->sent. One of a build that answers no beats knows of nothing that
 * is lost: it would take it for a commit, of records that nobody has processed. false: no memory. */
static bool collect(struct group_member *member)
{
    bool knows_lost = member->groups->answers_beats[member->index];
    size_t count = 0;

    for (size_t i = 0; i < member->share_count; i++) {
        count += is_unanswered(&member->shares[i]);
        count += knows_lost && member->shares[i].lost_from != GROUP_OFFSET_NONE;
    }
    free(member->sent);
    member->sent_count = 0;
    member->sent = calloc(count + 1, sizeof *member->sent);
    for (size_t i = 0; member->sent != NULL && i < member->share_count; i++) {
        const struct member_share *share = &member->shares[i];
        if (is_unanswered(share))
            add_entry(member, share, share->committed, false);
        if (knows_lost && share->lost_from != GROUP_OFFSET_NONE)
            add_entry(member, share, share->lost_from, true);
    }
    return member->sent != NULL;
}

static struct group_item item_of(const struct group_member *member, enum group_item_kind kind, uint64_t ticket)
{
    struct group_item item = {.kind = kind,
                              .ticket = ticket,
                              .index = member->index,
                              .number = member->number,
                              .partition = -1,
                              .pid = member->pid > 0 ? member->pid : 0};

    memcpy(item.group, member->group, sizeof item.group);
    memcpy(item.group_id, member->group_id, UUID_BYTES);
    memcpy(item.topic_id, member->topic_id, UUID_BYTES);
    memcpy(item.host, member->groups->host, sizeof item.host);
    return item;
}

/* What the member is to ask next. Under the lock. */
static enum member_request next_request(struct group_member *member)
{
    struct groups *groups = member->groups;

    if (member->session == SESSION_OVER)
        return REQUEST_NONE;
    if (member->wants_out)
        return REQUEST_LEAVE;
    if (member->session == SESSION_OUTSIDE)
        return REQUEST_JOIN;
    if (member->request == REQUEST_COMMIT) /* it was not answered */
        return REQUEST_COMMIT;
    if (member->gathering && (member->hurried || groups->now_ms >= member->gather_ms))
        return REQUEST_COMMIT;
    if (member->hurried)
        return REQUEST_COMMIT;
    return REQUEST_NONE;
}

/* Under the lock. */
static void send_request(struct group_member *member, enum member_request request)
{
    static const enum group_item_kind kinds[] = {
        [REQUEST_JOIN] = GROUP_ITEM_JOIN, [REQUEST_COMMIT] = GROUP_ITEM_COMMIT, [REQUEST_LEAVE] = GROUP_ITEM_LEAVE};
    struct groups *groups = member->groups;

    if (request != REQUEST_JOIN && !collect(member)) {
        member->again_ms = groups->now_ms + LIMIT_GROUP_LATER_MS;
        return;
    }
    if (request == REQUEST_COMMIT || request == REQUEST_LEAVE) {
        member->gathering = false;
        member->hurried = false;
    }
    if (request == REQUEST_COMMIT && member->sent_count == 0) { /* what it had was taken from it meanwhile */
        member->request = REQUEST_NONE;
        member->again_ms = 0;
        if (has_lost(member)) /* until another one coordinates */
            told_later(member, request, GROUP_OUTCOME_LATER);
        return;
    }
    if (request == REQUEST_LEAVE) {
        member->session = SESSION_LEAVING;
        if (!member->was_sent) {
            finish(member);
            return;
        }
    }
    struct elements_buffer *to = members_way_to(groups, member->index);
    if (to == NULL) {
        member->request = request;
        member->ticket = 0; /* an answer to what was sent before says nothing of what `sent` holds by now */
        member->sent_to = 0;
        member->again_ms = groups->now_ms + LEADERLESS_MS;
        return;
    }
    struct group_item item = item_of(member, kinds[request], groups_number(groups));
    if (request != REQUEST_JOIN) {
        item.entries = member->sent;
        item.entry_count = member->sent_count;
    }
    group_item_encode(&item, to);
    if (request == REQUEST_JOIN && (member->request == REQUEST_NONE || member->sent_to == 0))
        member->join_ms = groups->now_ms;
    member->was_sent = true;
    member->request = request;
    member->ticket = item.ticket;
    member->sent_to = groups->leaders[member->index];
    member->again_ms = groups->now_ms + LIMIT_GROUP_AGAIN_MS;
}

/* Under the lock. */
static void send_op(struct group_commit_op *op)
{
    struct group_member *member = op->member;
    struct groups *groups = member->groups;
    struct elements_buffer *to = members_way_to(groups, member->index);
    struct group_item item = item_of(member, GROUP_ITEM_COMMIT, op->ticket);

    op->again_ms = groups->now_ms + (to != NULL ? LIMIT_GROUP_AGAIN_MS : LEADERLESS_MS);
    item.entries = to != NULL ? calloc(op->count, sizeof *item.entries) : NULL;
    if (item.entries == NULL)
        return;
    item.entry_count = op->count;
    for (size_t i = 0; i < op->count; i++) {
        item.entries[i] = (struct group_entry){.key = (uint64_t)op->commits[i].partition,
                                               .epoch = op->commits[i].epoch,
                                               .value = op->commits[i].offset,
                                               .leader_epoch = op->commits[i].leader_epoch};
    }
    group_item_encode(&item, to);
    free(item.entries);
}

/* Those that are due go; returns when the next one is. Under the lock. */
static int64_t send_ops(struct group_member *member)
{
    int64_t due_ms = INT64_MAX;

    for (struct group_commit_op *op = member->ops, *next; op != NULL; op = next) {
        next = op->next;
        if (op->deadline_ms <= member->groups->now_ms) {
            end_op(op, -ETIMEDOUT);
            continue;
        }
        if (op->answered && !member_owes(member)) {
            end_op(op, member_take_refused(member, op->rc));
            continue;
        }
        if (!op->answered && op->again_ms <= member->groups->now_ms)
            send_op(op);
        int64_t at_ms = !op->answered && op->again_ms < op->deadline_ms ? op->again_ms : op->deadline_ms;
        due_ms = at_ms < due_ms ? at_ms : due_ms;
    }
    return due_ms;
}

/* Sends what is due, and returns when more is; INT64_MAX: nothing is. Under the lock. */
static int64_t send_due(struct group_member *member)
{
    struct groups *groups = member->groups;
    int64_t due_ms = send_ops(member);

    if (member->wants_out && (member->request == REQUEST_JOIN || member->request == REQUEST_COMMIT)) {
        member->request = REQUEST_NONE; /* whatever comes of it, leaving is behind it */
        member->again_ms = 0;
    }
    if (member->again_ms <= groups->now_ms || (member->request == REQUEST_NONE && member->again_ms == 0)) {
        enum member_request request = next_request(member);
        if (request != REQUEST_NONE)
            send_request(member, request);
        else if (member->session == SESSION_OVER)
            call_later(member);
    }
    /* What is gathered waits, too, where the last request is to be made again. */
    int64_t at_ms = INT64_MAX;
    if (member->again_ms > groups->now_ms)
        at_ms = member->again_ms;
    else if (member->request == REQUEST_NONE && member->gathering && member->gather_ms > groups->now_ms)
        at_ms = member->gather_ms;
    return at_ms < due_ms ? at_ms : due_ms;
}

void members_send(struct groups *groups)
{
    pthread_mutex_lock(&groups->lock);
    struct group_member *list = groups->due;
    groups->due = NULL;
    while (list != NULL) {
        struct group_member *member = list;
        list = member->next_due;
        member->due = false;
        int64_t due_ms = send_due(member);
        if (due_ms != INT64_MAX) {
            member_due(groups, member);
            groups_due(groups, due_ms);
        }
    }
    pthread_mutex_unlock(&groups->lock);
}

/* ---- the cluster, and time ---- */

static void look_at(struct group_member *member, int32_t lost)
{
    struct groups *groups = member->groups;
    struct group_env *env = &groups->env;
    char name[GROUP_NAME_BYTES];
    struct group_rules rules;
    int32_t partitions;
    bool known = false;
    int rc = 0;

    if (lost == 0) {
        rc = env->facts.group(env->facts.arg, member->group, &rules);
        if (rc == 0 && memcmp(rules.id, member->group_id, UUID_BYTES) != 0)
            rc = -ENOENT;
        known = rc == 0;
        if (rc == 0 || rc == -ENOMEM)
            rc = env->facts.topic(env->facts.arg, member->topic_id, name, &partitions);
    }
    pthread_mutex_lock(&groups->lock);
    if (rc != 0) {
        set_gone(member);
    } else if (known) {
        member->max_poll_interval_ms = rules.max_poll_interval_ms;
        atomic_store(&member->session_timeout_ms, rules.session_timeout_ms);
    }
    int32_t leader = groups->leaders[member->index];
    bool vain = lost != 0 ? member->sent_to == lost : member->sent_to != leader;
    if (vain && (member->request != REQUEST_NONE || member->ops != NULL)) {
        member->again_ms = member->later_ms = 0;
        for (struct group_commit_op *op = member->ops; op != NULL; op = op->next)
            op->again_ms = op->later_ms = 0;
        member_due(groups, member);
    }
    pthread_mutex_unlock(&groups->lock);
    look_for_partitions(member);
}

void members_look(struct groups *groups, int32_t lost)
{
    pthread_mutex_lock(&groups->lock); /* others only add, and that at the front of a chain, or by growing */
    size_t count = 0, room = groups->members.count;
    struct group_member **all = calloc(room + 1, sizeof *all);
    for (struct table_link *link = table_begin(&groups->members); all != NULL && link != NULL;
         link = table_next(&groups->members, link))
        all[count++] = CONTAINER_OF(link, struct group_member, link);
    pthread_mutex_unlock(&groups->lock);
    if (all == NULL) { /* looked at again */
        atomic_store(&groups->look, true);
        groups_due(groups, groups->now_ms + LIMIT_GROUP_LATER_MS);
        return;
    }
    for (size_t i = 0; i < count; i++)
        look_at(all[i], lost);
    free(all);
}

/* ---- the end ---- */

void members_end_ops(struct groups *groups, int rc)
{
    pthread_mutex_lock(&groups->lock);
    for (struct table_link *link = table_begin(&groups->members); link != NULL;
         link = table_next(&groups->members, link))
        end_ops(CONTAINER_OF(link, struct group_member, link), rc);
    pthread_mutex_unlock(&groups->lock);
}

void members_free(struct groups *groups)
{
    struct table_link *link;

    while ((link = table_begin(&groups->members)) != NULL) {
        table_remove(&groups->members, link);
        free_member(CONTAINER_OF(link, struct group_member, link));
    }
    table_free(&groups->members);
}
