#include "replication/replica/remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replication/replica/reads.h"
#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/replica/remote_internal.h"

int64_t remote_now_ms(const struct partition *part)
{
    return part->manager->clock->mono_ms(part->manager->clock);
}

static struct remote *remote_of(struct partition *part)
{
    struct remote *remote = atomic_load(&part->remote.replica), *none = NULL;
    if (remote != NULL)
        return remote;
    remote = calloc(1, sizeof *remote);
    if (remote == NULL)
        return NULL;
    pthread_mutex_init(&remote->lock, NULL);
    remote->cache.held_bytes = &part->manager->reads.ahead_bytes;
    remote->heard_ms = -1;
    remote->look_ms = INT64_MAX;
    if (atomic_compare_exchange_strong(&part->remote.replica, &none, remote))
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

struct log_point remote_shown(struct partition *part)
{
    return partition_high_watermark(part);
}

bool remote_show(struct partition *part, struct log_point high_watermark, int32_t epoch, int32_t record_epoch)
{
    pthread_mutex_lock(&part->lock);
    struct partition_waiter *waiters = NULL;
    bool counts = epoch >= part->shown.told, moved = counts && high_watermark.position > part->shown.point.position;
    if (moved) {
        bool news = high_watermark.position > part->isr.high_watermark.position;
        part->shown.point = high_watermark;
        part->shown.epoch = epoch;
        part->shown.record_epoch = record_epoch;
        atomic_store(&part->shown.position, high_watermark.position);
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
    struct remote *remote = atomic_load(&part->remote.replica);
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
    return remote->heard_ms >= 0 && !remote->outdated && now - remote->heard_ms < LIMIT_STAT_AGE_MS;
}

bool remote_is_known(struct partition *part)
{
    struct remote *remote = atomic_load(&part->remote.replica);
    if (remote == NULL)
        return false;
    pthread_mutex_lock(&remote->lock);
    bool known = is_fresh(remote, remote_now_ms(part)) || (remote->silent && remote->heard_ms >= 0);
    pthread_mutex_unlock(&remote->lock);
    return known;
}

/* ---- ops that are over ---- */

void remote_end_op(struct over *over, struct read_op *op, int rc)
{
    partition_read_take_out(op);
    op->rc = rc;
    op->next = NULL;
    *over->last = op;
    over->last = &op->next;
}

void remote_finish(struct over *over)
{
    for (struct read_op *op = over->first, *next; op != NULL; op = next) {
        next = op->next;
        op->next = op->prev = NULL;
        op->done(op, op->rc);
    }
}

bool remote_serve(struct remote *remote, struct read_op *op, int64_t now)
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

struct question *remote_find_question(struct remote *remote, uint64_t number)
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

static bool is_leader(struct partition *part, int32_t node)
{
    pthread_mutex_lock(&part->lock);
    bool leads = part->registration.leader == node;
    pthread_mutex_unlock(&part->lock);
    return leads;
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
    int64_t known = remote_shown(part).position;
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
    struct question *question = now >= remote->later_ms ? remote_find_question(remote, 0) : NULL;
    int32_t epoch, to = question != NULL ? answerer_of(part, &epoch) : 0;
    if (to == 0)
        return NULL;
    *question = (struct question){.number = reads_number(&part->manager->reads),
                                  .kind = kind,
                                  .to = to,
                                  .epoch = epoch,
                                  .due_ms = now + LIMIT_READ_AGAIN_MS,
                                  .removals = remote->removals};
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
    if (op->of_leader && !is_leader(part, question->to)) { /* it is asked when that can be */
        question->number = 0;
        return;
    }
    question->op = op->number;
    if (!ask(part, question, op, 0))
        question->number = 0;
}

/* Ahead of a reader that goes on. */
static void ask_ahead(struct partition *part, struct remote *remote, int64_t now)
{
    int64_t to = remote_cache_wants(&remote->cache), end = remote_shown(part).position;
    int64_t from = covered_to(remote, remote->cache.next, now);
    if (atomic_load(&part->manager->reads.ahead_bytes) >= LIMIT_READ_AHEAD_ALL_BYTES)
        return;
    if (to > end)
        to = end;
    while (from < to && ask_read(part, remote, from, LIMIT_READ_CHUNK_BYTES, now))
        from = covered_to(remote, from, now);
}

/* Somebody above may watch: the partition, or the directory that it is in. Not while what was heard last is being told:
 * so the listener sets the pace here, too. */
static bool is_watched(const struct partition *part)
{
    int hear = atomic_load(&part->feed.hear);
    return hear == HEAR_ALL || (hear == HEAR_UNTOLD && topic_is_heard(part->topic));
}

static bool is_waited_for(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    bool waits = part->waiters.first != NULL;
    pthread_mutex_unlock(&part->lock);
    return waits;
}

/* Somebody may want to hear of growth: then there is a standing question. Returns whether it could not be asked. */
static bool ask_for_news(struct partition *part, struct remote *remote, int64_t now)
{
    bool soon = is_waited_for(part) || now - remote->used_ms < LIMIT_STAT_IDLE_MS;
    bool wanted = (soon || is_watched(part)) && partition_listens(part) && !atomic_load(&part->topic->deleted);
    if (!wanted || is_asked(remote, MESSAGE_STAT, 0))
        return false;
    if (!soon && !reads_may_ask_for_news(&part->manager->reads, now))
        return true;
    struct question *question = new_question(part, remote, MESSAGE_STAT, now);
    if (question == NULL)
        return true;
    bool patient = !soon && network_level(part->manager->network, question->to) >= FEATURE_LEVEL_LONG_STATS;
    int64_t wait_ms = remote->heard_ms < 0 ? 0 : patient ? LIMIT_STAT_LONG_WAIT_MS : LIMIT_STAT_WAIT_MS;
    /* Many of them, as of all that are in a directory, are looked at together. */
    question->due_ms += wait_ms + LIMIT_READ_AGAIN_MS;
    question->due_ms -= question->due_ms % LIMIT_READ_AGAIN_MS;
    if (ask(part, question, NULL, wait_ms))
        return false;
    question->number = 0;
    return true;
}

/* The ops of the list, copied: sending is not done under the partition's lock. */
static int list_ops(struct partition *part, struct read_op *out)
{
    int count = 0;
    pthread_mutex_lock(&part->lock);
    for (const struct read_op *op = part->remote.reads.first; op != NULL && count < LIMIT_READS_ASKED; op = op->next)
        out[count++] = *op;
    pthread_mutex_unlock(&part->lock);
    return count;
}

bool remote_pump(struct partition *part, struct remote *remote, int64_t now)
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
    op->high_watermark = remote_shown(part);
    *rc = 1;
    if (op->kind != READ_STATUS)
        return remote_serve(remote, op, now);
    if (is_fresh(remote, now))
        return true;
    if (remote->silent && remote->heard_ms < 0)
        *rc = -ETIMEDOUT;
    return remote->silent;
}

/* Whether it is not worth while to wait. */
static bool is_hopeless(struct partition *part, const struct read_op *op)
{
    int32_t epoch;
    return op->more && answerer_of(part, &epoch) == 0;
}

static int64_t patience_ms(const struct read_op *op)
{
    int64_t most_ms = op->kind == READ_STATUS ? LIMIT_STAT_PATIENCE_MS : op->timeout_ms;
    return op->more && most_ms > LIMIT_READ_AGAIN_MS ? LIMIT_READ_AGAIN_MS : most_ms;
}

int remote_submit(struct read_op *op)
{
    struct partition *part = op->part;
    struct remote *remote = remote_of(part);
    int64_t now = remote_now_ms(part);
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
    if (is_hopeless(part, op)) {
        pthread_mutex_unlock(&remote->lock);
        return -ETIMEDOUT;
    }
    op->number = reads_number(&part->manager->reads);
    op->deadline_ms = now + patience_ms(op);
    op->forgiven = false;
    if (op->deadline_ms < remote->look_ms)
        remote->look_ms = op->deadline_ms;
    partition_ref(part); /* once it is in the list the op may be over, and with it goes perhaps the last reference */
    partition_read_queue(op);
    (void)remote_pump(part, remote, now);
    pthread_mutex_unlock(&remote->lock);
    reads_activate(&part->manager->reads, part, true);
    partition_unref(part);
    return 0;
}

/* ---- records were removed from here ---- */

void remote_removed(struct partition *part, struct log_point start)
{
    struct remote *remote = atomic_load(&part->remote.replica);
    if (remote != NULL) {
        pthread_mutex_lock(&remote->lock);
        remote_cache_clear(&remote->cache);
        remote_cache_stop(&remote->cache);
        for (int i = 0; i < LIMIT_READS_ASKED; i++) {
            struct question *question = &remote->questions[i];
            if (question->kind != MESSAGE_STAT || question->op != 0) /* that one is for growth */
                question->number = 0;
        }
        remote->removals++;
        if (start.offset > remote->heard.log_start.offset)
            remote->heard.log_start = start;
        remote->outdated = true;
        remote->silent = false;
        (void)remote_pump(part, remote, remote_now_ms(part));
        pthread_mutex_unlock(&remote->lock);
        reads_activate(&part->manager->reads, part, true);
    }
    partition_holes_made(part);
}

/* ---- the tick ---- */

/* This node's own replica has caught up with what was shown, or leads by now: those that waited for that, in a list by
 * next. */
static struct read_op *take_own(struct partition *part)
{
    struct read_op *first = NULL, **last = &first;
    pthread_mutex_lock(&part->lock);
    bool caught_up = atomic_load(&part->replica) != REPLICA_ELSEWHERE &&
                     part->isr.high_watermark.position >= part->shown.point.position;
    bool leads = partition_leads(part) && !partition_asks_shown(part);
    for (struct read_op *op = part->remote.reads.first, *next; op != NULL; op = next) {
        next = op->next;
        bool here =
            op->kind == FIND_EPOCH_END || op->of_leader ? leads : caught_up && op->kind != READ_STATUS && !op->lost;
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

/* Time in which this node stood still is nobody's silence: the answer may lie in a socket. Once an op, so that one that
 * is always late ends it, too. */
static void forgive(struct partition *part, const struct remote *remote, int64_t now)
{
    int64_t late_ms = remote->look_ms < now ? now - remote->look_ms : 0;
    if (late_ms < LIMIT_STOOD_STILL_MS)
        return;
    if (late_ms > LIMIT_FORGIVEN_MS)
        late_ms = LIMIT_FORGIVEN_MS;
    pthread_mutex_lock(&part->lock);
    for (struct read_op *op = part->remote.reads.first; op != NULL; op = op->next) {
        if (op->deadline_ms >= now + late_ms || op->forgiven)
            continue;
        op->deadline_ms = now + late_ms;
        op->forgiven = true;
    }
    pthread_mutex_unlock(&part->lock);
}

/* Ops whose time is over, also for want of somebody to be asked, or whose topic is gone. *due_ms: the earliest of the
 * others. */
static void end_late(struct partition *part, struct remote *remote, struct over *over, int64_t now, int64_t *due_ms)
{
    bool deleted = atomic_load(&part->topic->deleted);
    int32_t epoch, answerer = answerer_of(part, &epoch);
    pthread_mutex_lock(&part->lock);
    for (struct read_op *op = part->remote.reads.first, *next; op != NULL; op = next) {
        next = op->next;
        if (deleted) {
            remote_end_op(over, op, -ESTALE);
        } else if (op->deadline_ms <= now || (op->more && answerer == 0)) {
            bool told = op->kind == READ_STATUS && remote->heard_ms >= 0;
            remote->silent = remote->silent || op->kind == READ_STATUS;
            remote_end_op(over, op, told ? 0 : -ETIMEDOUT);
        } else if (op->deadline_ms < *due_ms) {
            *due_ms = op->deadline_ms;
        }
    }
    pthread_mutex_unlock(&part->lock);
}

int64_t remote_look(struct partition *part, int32_t lost)
{
    struct remote *remote = atomic_load(&part->remote.replica);
    struct over over = {.last = &over.first};
    int64_t now = remote_now_ms(part), due_ms = INT64_MAX;
    if (remote == NULL)
        return INT64_MAX;
    answer_own(take_own(part));
    pthread_mutex_lock(&remote->lock);
    drop_questions(part, remote, lost, now);
    forgive(part, remote, now);
    end_late(part, remote, &over, now, &due_ms);
    for (struct read_op *op = over.first; op != NULL; op = op->next)
        op->high_watermark = remote_shown(part);
    remote_cache_expire(&remote->cache, now);
    bool waits = due_ms != INT64_MAX;
    bool unasked = remote_pump(part, remote, now);
    if ((waits || unasked) && now + LIMIT_READ_AGAIN_MS < due_ms)
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
    remote->look_ms = due_ms;
    pthread_mutex_unlock(&remote->lock);
    remote_finish(&over);
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
    if ((is_waited_for(part) || is_watched(part)) && partition_listens(part))
        (void)remote_of(part);
    reads_moved(&part->manager->reads, part);
}
