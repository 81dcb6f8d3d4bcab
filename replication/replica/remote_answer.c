/* replication/replica/remote_answer.c: an answer, from the frame to whoever waits for it: is it of a question under
 * way? → what it says of the high watermark is shown → bytes go into the cache, and from there to all that they answer;
 * a place or a status to its op → what is to be asked next is sent. */
#include <errno.h>
#include <stdlib.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/replica/remote.h"
#include "replication/replica/remote_internal.h"

/* Those that the bytes at hand answer. */
static void serve_all(struct partition *part, struct remote *remote, struct over *over, int64_t now)
{
    pthread_mutex_lock(&part->lock);
    for (struct read_op *op = part->remote.reads.first, *next; op != NULL; op = next) {
        next = op->next;
        if (op->kind == READ_BYTES && remote_serve(remote, op, now))
            remote_end_op(over, op, 0);
    }
    pthread_mutex_unlock(&part->lock);
}

/* Nothing is behind `position`, or all that is there is wrong (rc): of those who came before the question. */
static void end_reads(struct partition *part, const struct question *question, int rc, struct over *over)
{
    pthread_mutex_lock(&part->lock);
    for (struct read_op *op = part->remote.reads.first, *next; op != NULL; op = next) {
        next = op->next;
        bool meant = op->kind == READ_BYTES && op->from >= question->position && op->number < question->number;
        if (!meant || (rc != 0 && op->from - question->position >= question->max))
            continue;
        op->found = false;
        remote_end_op(over, op, rc);
    }
    pthread_mutex_unlock(&part->lock);
}

/* The op of a number; NULL: it was taken back. Under the partition's lock. */
static struct read_op *find_op(struct partition *part, uint64_t number)
{
    struct read_op *op = part->remote.reads.first;
    while (op != NULL && op->number != number)
        op = op->next;
    return op;
}

static void take_read(struct partition *part, struct remote *remote, const struct question *question,
                      const struct read_answer *answer, struct frame *frame, struct over *over)
{
    int64_t now = remote_now_ms(part);
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
    frame_free(frame);
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
        op->point = answer->point;
        op->log_start = op->kind == READ_RUN ? answer->point : (struct log_point){-1, -1};
        op->found = answer->found && answer->base.position < op->limit;
        op->run = (struct log_run){
            .base = answer->base, .len = answer->len, .records = answer->records, .timestamp_ms = answer->timestamp_ms};
        if (op->kind == FIND_EPOCH_END)
            take_epoch_end(op, answer);
        remote_end_op(over, op, answer->outcome == READ_OUTCOME_FAILED ? -EIO : 0);
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
        remote_end_op(over, op, answer->outcome == READ_OUTCOME_FAILED ? -EIO : 0);
    pthread_mutex_unlock(&part->lock);
    if (answer->outcome != READ_OUTCOME_OK)
        return false;
    bool holes = remote->heard_ms >= 0 && holes_of(answer) != holes_of(&remote->heard);
    if (holes)
        remote_cache_clear(&remote->cache);
    remote->heard = *answer;
    remote->heard_ms = remote_now_ms(part);
    remote->outdated = false;
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
struct summary {
    uint64_t number;
    enum read_outcome outcome;
    struct log_point high_watermark;
    struct read_epochs epochs;
};

static struct summary summary_of(const struct frame *frame, const struct answer *answer)
{
    switch (frame->kind) {
    case MESSAGE_READ_ANSWER: {
        const struct read_answer *read = &answer->read;
        return (struct summary){read->head.number, read->outcome, read->high_watermark, read->epochs};
    }
    case MESSAGE_LOOKUP_ANSWER: {
        const struct lookup_answer *lookup = &answer->lookup;
        return (struct summary){lookup->head.number, lookup->outcome, lookup->high_watermark, lookup->epochs};
    }
    default:
        return (struct summary){answer->stat.head.number, answer->stat.outcome, answer->stat.high_watermark,
                                answer->stat.epochs};
    }
}

/* The question that it answers is under way no more. false: nobody waits for it. */
static bool take_question(struct remote *remote, int32_t from, const struct frame *frame, uint64_t number,
                          struct question *out)
{
    pthread_mutex_lock(&remote->lock);
    struct question *question = remote_find_question(remote, number);
    bool expected = question != NULL && question->to == from && frame->kind == question->kind + 1;
    if (expected) {
        *out = *question;
        question->number = 0;
    }
    pthread_mutex_unlock(&remote->lock);
    return expected;
}

/* Who was asked cannot say it yet. */
static void ask_later(struct partition *part, struct remote *remote)
{
    pthread_mutex_lock(&remote->lock);
    remote->later_ms = remote_now_ms(part) + LIMIT_READ_LATER_MS;
    pthread_mutex_unlock(&remote->lock);
}

static void ask_again(struct partition *part, struct remote *remote)
{
    pthread_mutex_lock(&remote->lock);
    (void)remote_pump(part, remote, remote_now_ms(part));
    pthread_mutex_unlock(&remote->lock);
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

/* Whoever waits for it is answered; the frame is taken over. Calls back. */
static void deliver(struct partition *part, struct remote *remote, const struct question *question,
                    const struct answer *answer, const struct summary *summary, struct frame *frame)
{
    struct over over = {.last = &over.first};
    bool holes = false;
    pthread_mutex_lock(&remote->lock);
    /* Else, whoever asked is answered anew; of growth it has told all the same. */
    bool counts = question->removals == remote->removals;
    if (counts && question->kind == MESSAGE_READ)
        take_read(part, remote, question, &answer->read, frame, &over);
    else if (counts && question->kind == MESSAGE_LOOKUP)
        take_lookup(part, question, &answer->lookup, &over);
    else if (counts)
        holes = take_stat(part, remote, question, &answer->stat, &over);
    date(&over, summary->high_watermark, &summary->epochs, remote_shown(part));
    (void)remote_pump(part, remote, remote_now_ms(part));
    pthread_mutex_unlock(&remote->lock);
    if (!counts || question->kind != MESSAGE_READ)
        frame_free(frame);
    if (holes)
        partition_holes_made(part);
    remote_finish(&over);
}

int remote_answer(struct partition *part, int32_t from, struct frame *frame, struct err *e)
{
    struct answer answer;
    struct remote *remote = atomic_load(&part->remote.replica);
    struct question question;
    int rc = take_apart(frame, &answer, e);
    if (rc != 0 || remote == NULL) {
        frame_free(frame);
        return rc;
    }
    struct summary summary = summary_of(frame, &answer);
    bool expected = take_question(remote, from, frame, summary.number, &question);
    if (!expected || summary.outcome == READ_OUTCOME_LATER) {
        frame_free(frame);
        if (expected)
            ask_later(part, remote);
        return 0;
    }
    if (summary.epochs.leader < 0)
        summary.epochs.leader = question.epoch; /* a version that does not say it */
    /* Before anybody is answered by it. */
    if (summary.outcome == READ_OUTCOME_OK &&
        !remote_show(part, summary.high_watermark, summary.epochs.leader, summary.epochs.record)) {
        frame_free(frame);
        ask_again(part, remote);
        return 0;
    }
    deliver(part, remote, &question, &answer, &summary, frame);
    return 0;
}
