#include "replication/replica/remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "replication/replica/reads.h"
#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/replica/remote_cache.h"

/* A question under way. */
struct question {
    uint64_t number; /* 0: a free place */
    enum message_kind kind;
    uint64_t op;      /* LOOKUP, STAT: the op's number; 0: the standing question for news */
    int64_t position; /* READ */
    uint32_t max;
    int32_t to;
    int32_t epoch;  /* the leader's when it was asked, as far as it was known here */
    int64_t due_ms; /* no answer until then: asked again */
};

struct remote {
    pthread_mutex_t lock;
    struct question questions[LIMIT_READS_ASKED];
    struct remote_cache cache;
    int64_t later_ms; /* nothing is sent before */
    struct stat_answer heard;
    int64_t heard_ms; /* -1: never */
    int64_t used_ms;  /* when an op came last */
    bool silent;      /* a stat has waited in vain, and nothing was heard since */
};

static int64_t now_ms(const struct partition *part)
{
    return part->manager->clock->mono_ms(part->manager->clock);
}

static struct remote *remote_of(struct partition *part)
{
    struct remote *remote = atomic_load(&part->remote), *none = NULL;
    if (remote != NULL)
        return remote;
    remote = calloc(1, sizeof *remote);
    if (remote == NULL)
        return NULL;
    pthread_mutex_init(&remote->lock, NULL);
    remote->cache.held_bytes = &part->manager->reads.ahead_bytes;
    remote->heard_ms = -1;
    if (atomic_compare_exchange_strong(&part->remote, &none, remote))
        return remote;
    remote_free(remote);
    return none;
}

void remote_free(struct remote *remote)
{
    if (remote == NULL)
        return;
    remote_cache_clear(&remote->cache);
    pthread_mutex_destroy(&remote->lock);
    free(remote);
}

/* ---- the high watermark, as far as it is known ---- */

static struct log_point shown(struct partition *part)
{
    return partition_high_watermark(part);
}

bool remote_show(struct partition *part, struct log_point high_watermark, int32_t epoch, int32_t record_epoch)
{
    pthread_mutex_lock(&part->lock);
    struct partition_waiter *waiters = NULL;
    bool counts = epoch >= part->shown_told, moved = counts && high_watermark.position > part->shown.position;
    if (moved) {
        bool news = high_watermark.position > part->isr.high_watermark.position;
        part->shown = high_watermark;
        part->shown_epoch = epoch;
        part->shown_record_epoch = record_epoch;
        atomic_store(&part->shown_position, high_watermark.position);
        waiters = partition_collect(part, high_watermark.position);
        if (news)
            partition_change(part, false);
        moved = news;
    }
    pthread_mutex_unlock(&part->lock);
    partition_wake(waiters, NULL);
    if (moved)
        partition_tell(part, false);
    return counts;
}

bool remote_heard(struct partition *part, struct stat_answer *out)
{
    struct remote *remote = atomic_load(&part->remote);
    if (remote == NULL)
        return false;
    pthread_mutex_lock(&remote->lock);
    bool heard = remote->heard_ms >= 0;
    *out = remote->heard;
    pthread_mutex_unlock(&remote->lock);
    return heard;
}

static bool is_fresh(const struct remote *remote, int64_t now)
{
    return remote->heard_ms >= 0 && now - remote->heard_ms < LIMIT_STAT_AGE_MS;
}

bool remote_is_known(struct partition *part)
{
    struct remote *remote = atomic_load(&part->remote);
    if (remote == NULL)
        return false;
    pthread_mutex_lock(&remote->lock);
    bool known = is_fresh(remote, now_ms(part)) || (remote->silent && remote->heard_ms >= 0);
    pthread_mutex_unlock(&remote->lock);
    return known;
}

/* ---- ops that are over ---- */

/* In a list by next; each with its rc. */
struct over {
    struct read_op *first, **last;
};

/* Out of the partition's list, under its lock. */
static void end_op(struct over *over, struct read_op *op, int rc)
{
    partition_read_take_out(op);
    op->rc = rc;
    op->next = NULL;
    *over->last = op;
    over->last = &op->next;
}

static void finish(struct over *over)
{
    for (struct read_op *op = over->first, *next; op != NULL; op = next) {
        next = op->next;
        op->next = op->prev = NULL;
        op->done(op, op->rc);
    }
}

/* The op's answer, if the bytes are at hand. Under the remote's lock. */
static bool serve(struct remote *remote, struct read_op *op, int64_t now)
{
    if (op->kind != READ_BYTES)
        return false;
    if (op->from < op->limit && !remote_cache_serve(&remote->cache, op, now))
        return false;
    if (op->from >= op->limit) {
        op->found = false;
        op->leader_epoch = -1;
    }
    return true;
}

/* ---- what is to be asked: all under the remote's lock ---- */

static struct question *find_question(struct remote *remote, uint64_t number)
{
    for (int i = 0; i < LIMIT_READS_ASKED; i++) {
        if (remote->questions[i].number == number)
            return &remote->questions[i];
    }
    return NULL;
}

static bool is_asked(const struct remote *remote, enum message_kind kind, uint64_t op)
{
    for (int i = 0; i < LIMIT_READS_ASKED; i++) {
        const struct question *q = &remote->questions[i];
        if (q->number != 0 && q->kind == kind && q->op == op)
            return true;
    }
    return false;
}

/* How far from a position on bytes are at hand or on their way. */
static int64_t covered_to(const struct remote *remote, int64_t position, int64_t now)
{
    for (bool moved = true; moved;) {
        int64_t to = remote_cache_covers(&remote->cache, position, now);
        for (int i = 0; i < LIMIT_READS_ASKED; i++) {
            const struct question *q = &remote->questions[i];
            bool holds = q->number != 0 && q->kind == MESSAGE_READ && q->position <= to && to - q->position < q->max;
            to = holds ? q->position + q->max : to;
        }
        moved = to > position;
        position = to;
    }
    return position;
}

static bool can_ask(const struct partition *part, int32_t node)
{
    return node > 0 && node != part->manager->id && network_up(part->manager->network, node);
}

/* The node that can answer: the leader, or while that cannot be asked another one in sync; 0: none now. *epoch: the
 * leader's. */
static int32_t answerer_of(struct partition *part, int32_t *epoch)
{
    pthread_mutex_lock(&part->lock);
    int32_t leader = part->registration.leader, node = 0;
    *epoch = part->registration.leader_epoch;
    struct replica_set isr = part->registration.isr;
    pthread_mutex_unlock(&part->lock);
    if (can_ask(part, leader))
        return leader;
    for (int i = 0; i < isr.count && node == 0; i++) {
        if (can_ask(part, isr.ids[i]))
            node = isr.ids[i];
    }
    return node;
}

/* Sends a question. false: it cannot be, now. */
static bool ask(struct partition *part, const struct question *question, const struct read_op *op, int64_t wait_ms)
{
    static const enum lookup_kind kinds[] = {
        [READ_RUN] = LOOKUP_RUN,      [FIND_OFFSET] = LOOKUP_OFFSET,     [FIND_TIME] = LOOKUP_TIME,
        [FIND_LAST] = LOOKUP_LAST,    [FIND_POSITION] = LOOKUP_POSITION, [FIND_END] = LOOKUP_END,
        [FIND_EPOCH_END] = LOOKUP_END};
    uint8_t header[LIMIT_READ_MESSAGE_BYTES];
    struct read_head head = {.number = question->number, .partition = part->index};
    int64_t known = shown(part).position;
    size_t len;

    memcpy(head.topic_id, part->topic->id, UUID_BYTES);
    if (question->kind == MESSAGE_READ) {
        struct read_request request = {.head = head, .shown = known, .position = question->position};
        request.max = question->max;
        len = read_request_encode(&request, header);
    } else if (question->kind == MESSAGE_LOOKUP) {
        struct lookup_request request = {
            .head = head, .shown = known, .kind = kinds[op->kind], .at = op->at, .epoch = -1};
        if (op->kind == FIND_EPOCH_END)
            request.epoch = (int32_t)op->at;
        len = lookup_request_encode(&request, header);
    } else {
        struct stat_request request = {.head = head, .known = wait_ms > 0 ? known : -1, .wait_ms = (uint32_t)wait_ms};
        len = stat_request_encode(&request, header);
    }
    return network_send(part->manager->network, question->to, CHANNEL_CONTROL, question->kind, header, len, NULL, 0) ==
           0;
}

/* Where a new question goes; NULL: there are as many as there may be, or nobody can be asked now. */
static struct question *new_question(struct partition *part, struct remote *remote, enum message_kind kind, int64_t now)
{
    struct question *question = now >= remote->later_ms ? find_question(remote, 0) : NULL;
    int32_t epoch, to = question != NULL ? answerer_of(part, &epoch) : 0;
    if (to == 0)
        return NULL;
    *question =
        (struct question){.number = reads_number(&part->manager->reads), .kind = kind, .to = to, .epoch = epoch};
    question->due_ms = now + LIMIT_READ_AGAIN_MS;
    return question;
}

static bool ask_read(struct partition *part, struct remote *remote, int64_t position, uint32_t max, int64_t now)
{
    struct question *question = new_question(part, remote, MESSAGE_READ, now);
    if (question == NULL)
        return false;
    question->position = position;
    question->max = max;
    if (ask(part, question, NULL, 0))
        return true;
    question->number = 0;
    return false;
}

static void ask_for(struct partition *part, struct remote *remote, const struct read_op *op, int64_t now)
{
    enum message_kind kind = op->kind == READ_STATUS ? MESSAGE_STAT : MESSAGE_LOOKUP;
    struct question *question = is_asked(remote, kind, op->number) ? NULL : new_question(part, remote, kind, now);
    if (question == NULL)
        return;
    question->op = op->number;
    if (!ask(part, question, op, 0))
        question->number = 0;
}

/* Ahead of a reader that goes on. */
static void ask_ahead(struct partition *part, struct remote *remote, int64_t now)
{
    int64_t to = remote_cache_wants(&remote->cache), end = shown(part).position;
    int64_t from = covered_to(remote, remote->cache.next, now);
    if (atomic_load(&part->manager->reads.ahead_bytes) >= LIMIT_READ_AHEAD_ALL_BYTES)
        return;
    if (to > end)
        to = end;
    while (from < to && ask_read(part, remote, from, LIMIT_READ_CHUNK_BYTES, now))
        from = covered_to(remote, from, now);
}

/* Whether somebody may want to hear of growth: then there is a standing question. */
static bool ask_for_news(struct partition *part, struct remote *remote, int64_t now)
{
    pthread_mutex_lock(&part->lock);
    bool wanted =
        part->waiters != NULL || atomic_load(&part->hear) != HEAR_UNTOLD || now - remote->used_ms < LIMIT_STAT_IDLE_MS;
    pthread_mutex_unlock(&part->lock);
    wanted = wanted && partition_listens(part) && !atomic_load(&part->topic->deleted);
    if (!wanted || is_asked(remote, MESSAGE_STAT, 0))
        return wanted;
    struct question *question = new_question(part, remote, MESSAGE_STAT, now);
    if (question == NULL)
        return true;
    question->due_ms += LIMIT_STAT_WAIT_MS;
    if (!ask(part, question, NULL, remote->heard_ms >= 0 ? LIMIT_STAT_WAIT_MS : 0))
        question->number = 0;
    return true;
}

/* The ops of the list, copied: sending is not done under the partition's lock. */
static int list_ops(struct partition *part, struct read_op *out)
{
    int count = 0;
    pthread_mutex_lock(&part->lock);
    for (const struct read_op *op = part->reads.first; op != NULL && count < LIMIT_READS_ASKED; op = op->next)
        out[count++] = *op;
    pthread_mutex_unlock(&part->lock);
    return count;
}

/* Sends what may go. Returns whether news are wanted. */
static bool pump(struct partition *part, struct remote *remote, int64_t now)
{
    struct read_op ops[LIMIT_READS_ASKED];
    int count = list_ops(part, ops);
    for (int i = 0; i < count; i++) {
        struct read_op *op = &ops[i];
        if (op->kind != READ_BYTES)
            ask_for(part, remote, op, now);
        else if (covered_to(remote, op->from, now) == op->from)
            (void)ask_read(part, remote, op->from, remote_cache_ask(&remote->cache, op), now);
    }
    ask_ahead(part, remote, now);
    return ask_for_news(part, remote, now);
}

/* ---- an op ---- */

/* Whether it is over at once: *rc. */
static bool is_known(struct partition *part, struct remote *remote, struct read_op *op, int64_t now, int *rc)
{
    op->high_watermark = shown(part);
    *rc = 1;
    if (op->kind != READ_STATUS)
        return serve(remote, op, now);
    if (is_fresh(remote, now))
        return true;
    if (remote->silent && remote->heard_ms < 0)
        *rc = -ETIMEDOUT;
    return remote->silent;
}

int remote_submit(struct read_op *op)
{
    struct partition *part = op->part;
    struct remote *remote = remote_of(part);
    int64_t now = now_ms(part);
    int rc;
    if (remote == NULL)
        return -ENOMEM;
    if (atomic_load(&part->topic->deleted))
        return -ESTALE;
    pthread_mutex_lock(&remote->lock);
    remote->used_ms = now;
    op->from = op->at;
    if (is_known(part, remote, op, now, &rc)) {
        if (op->kind == READ_BYTES)
            ask_ahead(part, remote, now);
        pthread_mutex_unlock(&remote->lock);
        reads_activate(&part->manager->reads, part, false);
        return rc;
    }
    op->number = reads_number(&part->manager->reads);
    op->deadline_ms = now + (op->kind == READ_STATUS ? LIMIT_STAT_PATIENCE_MS : op->timeout_ms);
    partition_read_queue(op);
    (void)pump(part, remote, now);
    pthread_mutex_unlock(&remote->lock);
    reads_activate(&part->manager->reads, part, true);
    return 0;
}

/* ---- answers ---- */

/* Those that the bytes at hand answer. */
static void serve_all(struct partition *part, struct remote *remote, struct over *over, int64_t now)
{
    pthread_mutex_lock(&part->lock);
    for (struct read_op *op = part->reads.first, *next; op != NULL; op = next) {
        next = op->next;
        if (op->kind == READ_BYTES && serve(remote, op, now))
            end_op(over, op, 0);
    }
    pthread_mutex_unlock(&part->lock);
}

/* Nothing is behind `position`, or all that is there is wrong (rc): of those who came before the question. */
static void end_reads(struct partition *part, const struct question *question, int rc, struct over *over)
{
    pthread_mutex_lock(&part->lock);
    for (struct read_op *op = part->reads.first, *next; op != NULL; op = next) {
        next = op->next;
        bool meant = op->kind == READ_BYTES && op->from >= question->position && op->number < question->number;
        if (!meant || (rc != 0 && op->from - question->position >= question->max))
            continue;
        op->found = false;
        end_op(over, op, rc);
    }
    pthread_mutex_unlock(&part->lock);
}

/* The op of a number; NULL: it was taken back. Under the partition's lock. */
static struct read_op *find_op(struct partition *part, uint64_t number)
{
    struct read_op *op = part->reads.first;
    while (op != NULL && op->number != number)
        op = op->next;
    return op;
}

static void take_read(struct partition *part, struct remote *remote, const struct question *question,
                      const struct read_answer *answer, struct frame *frame, struct over *over)
{
    int64_t now = now_ms(part);
    if (answer->outcome == READ_OUTCOME_FAILED) {
        remote_cache_stop(&remote->cache);
        end_reads(part, question, -EIO, over);
    } else if (answer->count == 0) {
        remote_cache_stop(&remote->cache);
        end_reads(part, question, 0, over);
    } else if (remote_cache_add(&remote->cache, question->position, answer, frame, now) == 0) {
        serve_all(part, remote, over, now);
        return;
    }
    free(frame);
}

/* One that does not know the question has told of the high watermark. */
static void take_epoch_end(struct read_op *op, const struct lookup_answer *answer)
{
    op->found = true;
    op->point.offset = answer->epoch_end >= 0 ? answer->epoch_end : INT64_MAX;
}

static void take_lookup(struct partition *part, const struct question *question, const struct lookup_answer *answer,
                        struct over *over)
{
    pthread_mutex_lock(&part->lock);
    struct read_op *op = find_op(part, question->op);
    if (op != NULL) {
        op->point = op->log_start = answer->point;
        op->found = answer->found && answer->base.position < op->limit;
        op->run = (struct log_run){
            .base = answer->base, .len = answer->len, .records = answer->records, .timestamp_ms = answer->timestamp_ms};
        if (op->kind == FIND_EPOCH_END)
            take_epoch_end(op, answer);
        end_op(over, op, answer->outcome == READ_OUTCOME_FAILED ? -EIO : 0);
    }
    pthread_mutex_unlock(&part->lock);
}

static int64_t holes_of(const struct stat_answer *stat)
{
    return stat->log_end.position - stat->retained_bytes;
}

/* Returns whether there are other holes than before. */
static bool take_stat(struct partition *part, struct remote *remote, const struct question *question,
                      const struct stat_answer *answer, struct over *over)
{
    pthread_mutex_lock(&part->lock);
    struct read_op *op = question->op != 0 ? find_op(part, question->op) : NULL;
    if (op != NULL)
        end_op(over, op, answer->outcome == READ_OUTCOME_FAILED ? -EIO : 0);
    pthread_mutex_unlock(&part->lock);
    if (answer->outcome != READ_OUTCOME_OK)
        return false;
    bool holes = remote->heard_ms >= 0 && holes_of(answer) != holes_of(&remote->heard);
    if (holes)
        remote_cache_clear(&remote->cache);
    remote->heard = *answer;
    remote->heard_ms = now_ms(part);
    remote->silent = false;
    return holes;
}

/* One of the three, taken apart. */
struct answer {
    union {
        struct read_answer read;
        struct lookup_answer lookup;
        struct stat_answer stat;
    };
};

static int take_apart(const struct frame *frame, struct answer *out, struct err *e)
{
    switch (frame->kind) {
    case MESSAGE_READ_ANSWER:
        return read_answer_decode(frame->header, frame->header_bytes, frame->body, frame->body_bytes, &out->read, e);
    case MESSAGE_LOOKUP_ANSWER:
        return lookup_answer_decode(frame->header, frame->header_bytes, &out->lookup, e);
    default:
        return stat_answer_decode(frame->header, frame->header_bytes, &out->stat, e);
    }
}

/* All three begin alike: whose it is, how it ended, and the high watermark. */
static void summary(const struct frame *frame, const struct answer *answer, uint64_t *number,
                    enum read_outcome *outcome, struct log_point *high_watermark, struct read_epochs *epochs)
{
    bool read = frame->kind == MESSAGE_READ_ANSWER, lookup = frame->kind == MESSAGE_LOOKUP_ANSWER;
    *number = read ? answer->read.head.number : lookup ? answer->lookup.head.number : answer->stat.head.number;
    *outcome = read ? answer->read.outcome : lookup ? answer->lookup.outcome : answer->stat.outcome;
    *high_watermark = read     ? answer->read.high_watermark
                      : lookup ? answer->lookup.high_watermark
                               : answer->stat.high_watermark;
    *epochs = read ? answer->read.epochs : lookup ? answer->lookup.epochs : answer->stat.epochs;
}

/* As of when they were answered. More may be shown by now: whether there is anything up to there this answer does not
 * say. Bytes may be at hand from a later answer, or an earlier one. */
static void date(struct over *over, struct log_point answered, const struct read_epochs *epochs, struct log_point shown)
{
    for (struct read_op *op = over->first; op != NULL; op = op->next) {
        bool at_hand = op->kind == READ_BYTES && op->found;
        op->high_watermark = at_hand ? shown : answered;
        if (!at_hand)
            op->leader_epoch = op->kind == FIND_EPOCH_END ? epochs->leader : epochs->record;
    }
}

int remote_answer(struct partition *part, int32_t from, struct frame *frame, struct err *e)
{
    struct answer answer;
    struct remote *remote = atomic_load(&part->remote);
    struct over over = {.last = &over.first};
    struct log_point high_watermark;
    enum read_outcome outcome;
    uint64_t number;
    struct read_epochs epochs;
    bool holes = false;
    int rc = take_apart(frame, &answer, e);

    if (rc != 0 || remote == NULL) {
        free(frame);
        return rc;
    }
    summary(frame, &answer, &number, &outcome, &high_watermark, &epochs);
    pthread_mutex_lock(&remote->lock);
    struct question *place = find_question(remote, number);
    bool expected = place != NULL && place->to == from && frame->kind == place->kind + 1;
    struct question question = expected ? *place : (struct question){0};
    if (expected)
        place->number = 0;
    pthread_mutex_unlock(&remote->lock);
    if (!expected || outcome == READ_OUTCOME_LATER) {
        free(frame);
        if (expected) {
            pthread_mutex_lock(&remote->lock);
            remote->later_ms = now_ms(part) + LIMIT_READ_LATER_MS;
            pthread_mutex_unlock(&remote->lock);
        }
        return 0;
    }
    /* Before anybody is answered by it. */
    if (epochs.leader < 0)
        epochs.leader = question.epoch; /* a version that does not say it */
    if (outcome == READ_OUTCOME_OK && !remote_show(part, high_watermark, epochs.leader, epochs.record)) {
        free(frame);
        pthread_mutex_lock(&remote->lock);
        (void)pump(part, remote, now_ms(part));
        pthread_mutex_unlock(&remote->lock);
        return 0;
    }
    pthread_mutex_lock(&remote->lock);
    if (question.kind == MESSAGE_READ)
        take_read(part, remote, &question, &answer.read, frame, &over);
    else if (question.kind == MESSAGE_LOOKUP)
        take_lookup(part, &question, &answer.lookup, &over);
    else
        holes = take_stat(part, remote, &question, &answer.stat, &over);
    date(&over, high_watermark, &epochs, shown(part));
    (void)pump(part, remote, now_ms(part));
    pthread_mutex_unlock(&remote->lock);
    if (question.kind != MESSAGE_READ)
        free(frame);
    if (holes)
        partition_holes_made(part);
    finish(&over);
    return 0;
}

/* ---- the tick ---- */

/* This node's own replica has caught up with what was shown, or leads by now: those that waited for that, in a list by
 * next. */
static struct read_op *take_own(struct partition *part)
{
    struct read_op *first = NULL, **last = &first;
    pthread_mutex_lock(&part->lock);
    bool caught_up = !atomic_load(&part->elsewhere) && part->isr.high_watermark.position >= part->shown.position;
    bool leads = partition_leads(part) && !partition_asks_shown(part);
    for (struct read_op *op = part->reads.first, *next; op != NULL; op = next) {
        next = op->next;
        bool here = op->kind == FIND_EPOCH_END ? leads : caught_up && op->kind != READ_STATUS && !op->lost;
        if (!here)
            continue;
        partition_read_take_out(op);
        op->next = NULL;
        *last = op;
        last = &op->next;
    }
    pthread_mutex_unlock(&part->lock);
    return first;
}

/* Calls back: no lock held. */
static void answer_own(struct read_op *ops)
{
    while (ops != NULL) {
        struct read_op *op = ops;
        ops = op->next;
        op->next = op->prev = NULL;
        int rc = partition_read_here(op);
        op->done(op, rc < 0 ? rc : 0);
    }
}

/* Questions that will have no answer, or that somebody else is to be asked by now. */
static void drop_questions(struct partition *part, struct remote *remote, int32_t lost, int64_t now)
{
    int32_t epoch, answerer = answerer_of(part, &epoch);
    for (int i = 0; i < LIMIT_READS_ASKED; i++) {
        struct question *question = &remote->questions[i];
        if (question->to == lost || question->to != answerer || question->due_ms <= now)
            question->number = 0;
    }
}

/* Ops whose time is over, or whose topic is gone. *due_ms: the earliest of the others. */
static void end_late(struct partition *part, struct remote *remote, struct over *over, int64_t now, int64_t *due_ms)
{
    bool deleted = atomic_load(&part->topic->deleted);
    pthread_mutex_lock(&part->lock);
    for (struct read_op *op = part->reads.first, *next; op != NULL; op = next) {
        next = op->next;
        if (deleted) {
            end_op(over, op, -ESTALE);
        } else if (op->deadline_ms <= now) {
            bool told = op->kind == READ_STATUS && remote->heard_ms >= 0;
            remote->silent = remote->silent || op->kind == READ_STATUS;
            end_op(over, op, told ? 0 : -ETIMEDOUT);
        } else if (op->deadline_ms < *due_ms) {
            *due_ms = op->deadline_ms;
        }
    }
    pthread_mutex_unlock(&part->lock);
}

int64_t remote_look(struct partition *part, int32_t lost)
{
    struct remote *remote = atomic_load(&part->remote);
    struct over over = {.last = &over.first};
    int64_t now = now_ms(part), due_ms = INT64_MAX;
    if (remote == NULL)
        return INT64_MAX;
    answer_own(take_own(part));
    pthread_mutex_lock(&remote->lock);
    drop_questions(part, remote, lost, now);
    end_late(part, remote, &over, now, &due_ms);
    for (struct read_op *op = over.first; op != NULL; op = op->next)
        op->high_watermark = shown(part);
    remote_cache_expire(&remote->cache, now);
    bool waits = due_ms != INT64_MAX;
    bool listens = pump(part, remote, now);
    if ((waits || listens) && now + LIMIT_READ_AGAIN_MS < due_ms)
        due_ms = now + LIMIT_READ_AGAIN_MS;
    for (int i = 0; i < LIMIT_READS_ASKED; i++) {
        const struct question *question = &remote->questions[i];
        if (question->number != 0 && question->due_ms < due_ms)
            due_ms = question->due_ms;
    }
    if (remote->later_ms > now && waits && remote->later_ms < due_ms)
        due_ms = remote->later_ms;
    if (remote->cache.chunks != NULL && now + LIMIT_CHUNK_MS < due_ms)
        due_ms = now + LIMIT_CHUNK_MS;
    pthread_mutex_unlock(&remote->lock);
    finish(&over);
    return due_ms;
}

/* ---- who waits ---- */

/* Without memory growth comes with this node's own replica, or with the next read. */
void remote_listen(struct partition *part)
{
    if (remote_of(part) != NULL)
        reads_activate(&part->manager->reads, part, true);
}

void remote_moved(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    bool waits = part->waiters != NULL;
    pthread_mutex_unlock(&part->lock);
    if (waits && partition_listens(part))
        (void)remote_of(part);
    reads_moved(&part->manager->reads, part);
}
