/* replication/group/ask.c: questions about groups and resets, from their submit to their end: asked of each coordinator
 * that has a part in the answer, until it has answered or time is over. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/container.h"
#include "replication/group/groups_internal.h"

enum { LEADERLESS_MS = 100 };

static const uint64_t all_indexes = (UINT64_C(1) << LIMIT_OFFSETS_PARTITIONS) - 1;

/* ---- any thread ---- */

static bool is_reset(const struct group_op *op)
{
    return op->ask == GROUP_RESET || op->ask == GROUP_FORGET;
}

/* It changes nothing, so that what was answered last may be the answer. */
static bool is_question(const struct group_op *op)
{
    return !is_reset(op) && op->ask != GROUP_SEAL;
}

static bool of_one_group(const struct group_op *op)
{
    return op->ask == GROUP_ASK_GROUP || op->ask == GROUP_SEAL || is_reset(op);
}

static bool of_one_partition(const struct group_op *op)
{
    return op->ask == GROUP_ASK_PARTITION || is_reset(op);
}

/* It was deleted since it was asked about: no coordinator knows of it any more. */
static bool is_gone(const struct group_op *op)
{
    const struct group_facts *facts = &op->groups->env.facts;
    struct group_rules rules;
    int rc = of_one_group(op) ? facts->group(facts->arg, op->group, &rules) : -ENOMEM;

    return rc == -ENOENT || (rc == 0 && memcmp(rules.id, op->group_id, UUID_BYTES) != 0);
}

/* Names to ids. */
static int resolve(struct group_op *op)
{
    struct group_env *env = &op->groups->env;
    char name[GROUP_NAME_BYTES];
    struct group_rules rules;
    int32_t partitions;
    int rc = 0;

    op->waits_for = all_indexes;
    if (of_one_group(op)) {
        if (strlen(op->group) >= GROUP_NAME_BYTES)
            return -ENOENT;
        rc = env->facts.group(env->facts.arg, op->group, &rules);
        memcpy(op->group_id, rules.id, UUID_BYTES);
        op->waits_for = UINT64_C(1) << group_index(op->group);
    }
    if (rc == 0 && of_one_partition(op)) {
        rc = env->topic_named(env->facts.arg, op->topic, op->topic_id);
        if (rc == 0)
            rc = env->facts.topic(env->facts.arg, op->topic_id, name, &partitions);
        if (rc == 0 && (op->partition < 0 || op->partition >= partitions))
            rc = -ENOENT;
    }
    return rc;
}

int group_op_submit(struct group_op *op)
{
    struct groups *groups = op->groups;
    int rc = atomic_load(&groups->stopping) ? -EROFS : resolve(op);

    if (rc != 0)
        return rc;
    op->rows = NULL;
    op->described = NULL;
    op->row_count = op->described_count = 0;
    op->stale = false;
    op->rc = 0;
    op->again_ms = op->later_ms = 0;
    op->askings = 0;
    memset(op->pieces, 0, sizeof op->pieces);
    op->ticket = groups_number(groups);
    pthread_mutex_lock(&groups->lock);
    op->state = OP_WAITING;
    op->prev = NULL;
    op->next = groups->ops;
    if (op->next != NULL)
        op->next->prev = op;
    groups->ops = op;
    pthread_mutex_unlock(&groups->lock);
    mailbox_kick(&groups->mailbox);
    return 0;
}

/* Under the lock. */
static void take_out(struct group_op *op)
{
    if (op->prev != NULL)
        op->prev->next = op->next;
    else
        op->groups->ops = op->next;
    if (op->next != NULL)
        op->next->prev = op->prev;
    op->state = OP_OVER;
}

bool group_op_cancel(struct group_op *op)
{
    struct groups *groups = op->groups;

    pthread_mutex_lock(&groups->lock);
    bool waits = op->state == OP_WAITING;
    if (waits)
        take_out(op);
    else if (op->state == OP_BUSY)
        op->state = OP_UNWANTED;
    pthread_mutex_unlock(&groups->lock);
    return waits;
}

void group_op_free(struct group_op *op)
{
    free(op->rows);
    free(op->described);
    op->rows = NULL;
    op->described = NULL;
    op->row_count = op->described_count = 0;
}

/* ---- the answer ---- */

static int compare_rows(const void *a, const void *b)
{
    const struct group_row *left = a, *right = b;
    int by = strcmp(left->group, right->group);

    if (by == 0)
        by = strcmp(left->topic, right->topic);
    if (by == 0 && left->partition != right->partition)
        by = left->partition < right->partition ? -1 : 1;
    return by;
}

static int compare_described(const void *a, const void *b)
{
    return strcmp(((const struct group_described *)a)->group, ((const struct group_described *)b)->group);
}

/* One that was asked twice may have answered twice. */
static void sort(struct group_op *op)
{
    size_t kept = 0;

    if (op->row_count > 1)
        qsort(op->rows, op->row_count, sizeof *op->rows, compare_rows);
    for (size_t i = 0; i < op->row_count; i++) {
        if (i == 0 || compare_rows(&op->rows[kept - 1], &op->rows[i]) != 0)
            op->rows[kept++] = op->rows[i];
    }
    op->row_count = kept;
    if (op->described_count > 1)
        qsort(op->described, op->described_count, sizeof *op->described, compare_described);
}

static int take_rows(struct group_op *op, const struct group_told *told)
{
    const struct group_facts *facts = &op->groups->env.facts;
    struct group_row *rows;

    if (told->row_count == 0)
        return 0;
    rows = realloc(op->rows, (op->row_count + told->row_count) * sizeof *rows);
    if (rows == NULL)
        return -ENOMEM;
    op->rows = rows;
    for (size_t i = 0; i < told->row_count; i++) {
        const struct group_told_row *from = &told->rows[i];
        struct group_row *row = &rows[op->row_count];
        int32_t partitions;
        *row = (struct group_row){.partition = from->partition, .committed = from->committed, .pid = from->pid};
        if (facts->topic(facts->arg, from->topic_id, row->topic, &partitions) != 0)
            continue; /* deleted meanwhile */
        memcpy(row->group, from->group, sizeof row->group);
        memcpy(row->host, from->host, sizeof row->host);
        member_id_text(&from->owner, row->member);
        op->row_count++;
    }
    return 0;
}

static int take_described(struct group_op *op, const struct group_told *told)
{
    struct group_described *described;

    if (told->group_count == 0)
        return 0;
    described = realloc(op->described, (op->described_count + told->group_count) * sizeof *described);
    if (described == NULL)
        return -ENOMEM;
    op->described = described;
    for (size_t i = 0; i < told->group_count; i++) {
        struct group_described *to = &described[op->described_count++];
        *to = (struct group_described){.phase = (enum group_phase)told->groups[i].phase,
                                       .generation = told->groups[i].generation,
                                       .members = told->groups[i].members};
        memcpy(to->group, told->groups[i].group, sizeof to->group);
    }
    return 0;
}

/* A group that its coordinator has never heard of is empty. */
static int describe_unheard(struct group_op *op)
{
    if ((op->ask != GROUP_ASK_GROUP && op->ask != GROUP_SEAL) || op->described_count > 0)
        return 0;
    op->described = calloc(1, sizeof *op->described);
    if (op->described == NULL)
        return -ENOMEM;
    strncpy(op->described->group, op->group, sizeof op->described->group - 1);
    op->described_count = 1;
    return 0;
}

/* Of one that was taken out. */
static void end(struct group_op *op, int rc)
{
    struct remembered *remembered = &op->groups->remembered;
    bool asks = is_question(op);

    if (rc == 0)
        rc = describe_unheard(op);
    if (rc == 0)
        sort(op);
    if (rc == 0 && asks)
        remembered_keep(remembered, op);
    if (rc == -ETIMEDOUT && asks && remembered_find(remembered, op) == 0) {
        sort(op);
        rc = 0;
    }
    op->done(op, rc);
}

/* The turn has it to itself until put_back(); who cancels it meanwhile is told its end. NULL: there is none. */
static struct group_op *get(struct groups *groups, uint64_t ticket)
{
    pthread_mutex_lock(&groups->lock);
    struct group_op *op = groups->ops;
    while (op != NULL && op->ticket != ticket)
        op = op->next;
    if (op != NULL)
        op->state = OP_BUSY;
    pthread_mutex_unlock(&groups->lock);
    return op;
}

static void put_back(struct group_op *op, bool over, int rc)
{
    struct groups *groups = op->groups;

    pthread_mutex_lock(&groups->lock);
    if (op->state == OP_UNWANTED) {
        over = true;
        rc = -ECANCELED;
    }
    if (over)
        take_out(op);
    else
        op->state = OP_WAITING;
    pthread_mutex_unlock(&groups->lock);
    if (over)
        end(op, rc);
}

static void drop_rows(struct group_op *op, int32_t index)
{
    size_t kept = 0;

    for (size_t i = 0; i < op->row_count; i++) {
        if (group_index(op->rows[i].group) != index)
            op->rows[kept++] = op->rows[i];
    }
    op->row_count = kept;
}

/* Pieces may be lost: one counts that goes on where the last one of its asking ended, or begins a later asking. A
 * coordinator of an earlier build does not number them. */
static bool is_next_piece(struct group_op *op, const struct group_told *told)
{
    struct group_pieces *pieces = &op->pieces[told->index];

    if (told->version == 0 || is_reset(op) || told->version < group_piece(1, 0))
        return true;
    for (uint64_t asking = pieces->asking + 1; asking <= op->askings; asking++) {
        if (told->version != group_piece(asking, 0))
            continue;
        drop_rows(op, told->index);
        *pieces = (struct group_pieces){.asking = asking, .next = 1};
        return true;
    }
    if (pieces->asking == 0 || told->version != group_piece(pieces->asking, pieces->next))
        return false;
    pieces->next++;
    return true;
}

/* true: all that it waits for has come. */
static bool take(struct group_op *op, const struct group_told *told, int *rc)
{
    uint64_t bit = UINT64_C(1) << told->index;

    if ((op->waits_for & bit) == 0)
        return false; /* it was asked twice */
    if (told->outcome == GROUP_OUTCOME_LATER || told->outcome == GROUP_OUTCOME_ELSEWHERE) {
        op->again_ms = groups_later(op->groups, &op->later_ms);
        *rc = is_gone(op) ? -ENOENT : 0;
        return *rc != 0;
    }
    if (told->outcome == GROUP_OUTCOME_FULL) {
        *rc = -ENOSPC;
        return true;
    }
    if (!is_next_piece(op, told))
        return false;
    *rc = told->outcome == GROUP_OUTCOME_NONE ? -ENODATA : take_rows(op, told);
    if (*rc == 0)
        *rc = take_described(op, told);
    if (!told->more)
        op->waits_for &= ~bit;
    return *rc != 0 || op->waits_for == 0;
}

bool ops_told(struct groups *groups, const struct group_told *told)
{
    struct group_op *op = get(groups, told->ticket);
    int rc = 0;

    if (op == NULL)
        return false;
    bool over = take(op, told, &rc);
    put_back(op, over, rc);
    return true;
}

/* ---- what is sent ---- */

static void send_to(struct group_op *op, int32_t index)
{
    static const enum group_item_kind kinds[] = {
        [GROUP_ASK_GROUP] = GROUP_ITEM_ASK, [GROUP_ASK_PARTITION] = GROUP_ITEM_ASK, [GROUP_ASK_ALL] = GROUP_ITEM_ASK,
        [GROUP_SEAL] = GROUP_ITEM_ASK,      [GROUP_RESET] = GROUP_ITEM_RESET,       [GROUP_FORGET] = GROUP_ITEM_FORGET};
    struct groups *groups = op->groups;
    int32_t leader = groups->leaders[index];
    struct elements_buffer *to = leader != 0 ? outbox_to(&groups->requests, leader, groups->env.process) : NULL;
    struct group_item item = {.kind = kinds[op->ask], .ticket = op->ticket, .index = index, .partition = -1};

    if (to == NULL) {
        if (op->again_ms > groups->now_ms + LEADERLESS_MS)
            op->again_ms = groups->now_ms + LEADERLESS_MS;
        return;
    }
    if (of_one_group(op)) {
        strncpy(item.group, op->group, sizeof item.group - 1);
        memcpy(item.group_id, op->group_id, UUID_BYTES);
    }
    if (of_one_partition(op)) {
        memcpy(item.topic_id, op->topic_id, UUID_BYTES);
        item.partition = op->partition;
    }
    item.offset = op->ask == GROUP_RESET ? op->offset : op->ask == GROUP_SEAL;
    item.number = is_reset(op) ? 0 : op->askings;
    group_item_encode(&item, to);
}

/* When its time is over, which begins as it is asked: soon, where a coordinator that it waits for has left another
 * question unanswered. */
static int64_t ends_ms(const struct group_op *op)
{
    int64_t soon_ms = op->deadline_ms - op->timeout_ms + LIMIT_GROUP_GRACE_MS;
    bool in_vain = is_question(op) && (op->waits_for & op->groups->unanswered) != 0;

    if (op->askings == 0)
        return INT64_MAX;
    return in_vain && soon_ms < op->deadline_ms ? soon_ms : op->deadline_ms;
}

/* Time in which this node stood still is nobody's silence. While there are ops a turn comes every LIMIT_GROUP_BEAT_MS.
 */
static void forgive(struct groups *groups)
{
    int64_t missed_ms = groups->now_ms - groups->looked_ms - LIMIT_GROUP_BEAT_MS;

    groups->looked_ms = groups->now_ms;
    if (missed_ms <= 0)
        return;
    pthread_mutex_lock(&groups->lock);
    for (struct group_op *op = groups->ops; op != NULL; op = op->next)
        op->deadline_ms += op->askings > 0 ? missed_ms : 0;
    pthread_mutex_unlock(&groups->lock);
}

/* Nobody has answered it. */
static void end_late(struct group_op *op)
{
    struct groups *groups = op->groups;
    int rc = is_gone(op) ? -ENOENT : -ETIMEDOUT;

    if (rc == -ETIMEDOUT && is_question(op) && op->deadline_ms <= groups->now_ms) /* the whole time has passed */
        groups->unanswered |= op->waits_for;
    end(op, rc);
}

/* Takes out the first one whose time is over; with groups->stopping, the first one. */
static struct group_op *take_late(struct groups *groups)
{
    bool all = atomic_load(&groups->stopping);

    pthread_mutex_lock(&groups->lock);
    struct group_op *op = groups->ops;
    while (op != NULL && !all && ends_ms(op) > groups->now_ms)
        op = op->next;
    if (op != NULL)
        take_out(op);
    pthread_mutex_unlock(&groups->lock);
    return op;
}

void ops_send(struct groups *groups)
{
    struct group_op *late;

    forgive(groups);
    while ((late = take_late(groups)) != NULL)
        end_late(late);
    pthread_mutex_lock(&groups->lock);
    for (struct group_op *op = groups->ops; op != NULL; op = op->next) {
        if (op->askings == 0)
            op->deadline_ms = groups->now_ms + op->timeout_ms;
        if (op->again_ms <= groups->now_ms) {
            op->again_ms = groups->now_ms + LIMIT_GROUP_AGAIN_MS;
            op->askings++;
            for (int32_t i = 0; i < LIMIT_OFFSETS_PARTITIONS; i++) {
                if ((op->waits_for >> i & 1) != 0)
                    send_to(op, i);
            }
        }
        groups_due(groups, op->again_ms);
        groups_due(groups, ends_ms(op));
        groups_due(groups, groups->now_ms + LIMIT_GROUP_BEAT_MS);
    }
    pthread_mutex_unlock(&groups->lock);
}

void ops_end_all(struct groups *groups, int rc)
{
    struct group_op *op;

    while ((op = take_late(groups)) != NULL)
        end(op, rc);
}
