/* tests/sim/workload.c: which calls are made, and those that are about records. */
#include "tests/sim/workload.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc32c.h"
#include "engine/base/container.h"
#include "tests/sim/audit.h"
#include "tests/sim/chance.h"
#include "tests/sim/faults.h"
#include "tests/sim/reading.h"
#include "tests/sim/topics.h"

enum { PENDING_MAX = 40, DELIVERY_TIMEOUT_MS = 5000, PROOF_MS = 10000, LOOKS = 4 /* one append in so many */ };

static const char *const names[] = {"orders", "logs", "clicks"};

/* Who writes with the same acks on the same mount keeps its order; with others it is overtaken where acks=all waits for
 * replicas. */
static int64_t writer_of(const struct sim_node *host, enum acks acks)
{
    return 2 * (host->id * 100000 + host->mounts) + (acks == ACKS_ALL);
}

/* ---- appends ---- */

static void append_over(struct pending *p, int rc)
{
    static const int allowed[] = {-EROFS, -ETIMEDOUT, -ESTALE, -EINVAL, 0};
    struct book_batch *batch = &p->known->parts[p->index].batches[p->serial];
    if (!pending_over(p, "append", rc)) {
        batch->state = BATCH_UNKNOWN;
        return;
    }
    pending_check_errno(p, "an append", rc, allowed);
    if (rc == 0) {
        struct err e = {""};
        struct log_append_result at = p->append.result;
        world_note(p->host->world, "  acks %d, at %" PRId64 "/%" PRId64 " to %" PRId64 ", epoch %d", p->append.acks,
                   at.base.offset, at.base.position, at.end.offset, (int)p->append.leader_epoch);
        if (batch->state == BATCH_OPEN || batch->state == BATCH_UNKNOWN || batch->lost)
            batch->state = BATCH_IN;
        batch->epoch = p->append.leader_epoch;
        struct book_partition *part = &p->known->parts[p->index];
        /* By one that has not heard of the unclean election yet. */
        batch->may_go |= batch->epoch >= 0 && batch->epoch < part->unclean_epoch;
        /* One that is on its way to a leader elsewhere with acks=0, or was there already, has no place yet. */
        batch->late = at.base.offset == at.end.offset && p->append.acks == ACKS_NONE;
        bool good = at.base.offset == at.end.offset || book_place(part, p->serial, at.base, &e);
        if (good && (p->append.acks == ACKS_ALL || world_alone(p->host)))
            good = book_promise(part, p->serial, &e);
        if (good && p->known->state == TOPIC_GONE)
            good = book_may_be_gone(p->known, &e);
        if (!good)
            world_fail(p->host->world, "%s-%d, answered: %s", p->known->name, p->index, e.text);
        const struct setting *every = book_setting(p->known, "flush.messages");
        batch->durable = world_alone(p->host) && !setting_is_open(every) && strcmp(every->value, "1") == 0;
    } else {
        batch->state = rc == -ETIMEDOUT || rc == -ESTALE ? BATCH_UNKNOWN : BATCH_GONE;
    }
}

/* Now and then its writer looks at once at what it has written (rule 38). */
static void on_append(struct append_op *op, int rc)
{
    struct pending *p = CONTAINER_OF(op, struct pending, append);
    struct sim_node *host = p->host;
    struct topic *topic = topic_ref(p->topic);
    append_over(p, rc);
    if (rc == 0 && op->acks == ACKS_ALL && !host->disk.crashed && host->pending_count < PENDING_MAX &&
        chance_in(&host->world->chance, LOOKS))
        reading_ask(host, topic, p->known, p->index, p->serial, DELIVERY_TIMEOUT_MS);
    topic_unref(topic);
}

void workload_append(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index,
                     enum acks acks, int64_t timeout_ms)
{
    struct world *world = host->world;
    const struct setting *separator = book_setting(known, "key.separator");
    bool keyed = known->compacts || separator->value[0] != '\0';
    struct err e = {""};
    struct pending *p = pending_new(host, PENDING_APPEND, topic, known, index);
    int64_t writer = writer_of(host, acks);
    p->serial =
        book_add_batch(known, index, writer, 1 + (int)chance_below(&world->chance, BOOK_LINES), keyed, &world->chance);
    struct book_batch *batch = &known->parts[index].batches[p->serial];
    int64_t time_ms = host->clock.clock.wall_ms(&host->clock.clock);
    p->iov = (struct iovec){batch->bytes, batch->len};
    p->append = (struct append_op){.part = p->part,
                                   .acks = acks,
                                   .timeout_ms = timeout_ms,
                                   .done = on_append,
                                   .batch = {.iov = &p->iov,
                                             .iovcnt = 1,
                                             .len = batch->len,
                                             .records = (uint32_t)batch->lines,
                                             .crc = crc32c(0, batch->bytes, batch->len),
                                             .first_timestamp_ms = time_ms,
                                             .last_timestamp_ms = time_ms,
                                             .producer_id = -1,
                                             .sequence = -1}};
    int rc = partition_append_submit(&p->append, &e);
    if (rc != 0)
        append_over(p, rc < 0 ? rc : 0);
}

static void do_append(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index,
                      int64_t timeout_ms)
{
    static const enum acks acks[] = {ACKS_ALL, ACKS_ALL, ACKS_LEADER, ACKS_NONE};
    workload_append(host, topic, known, index, acks[chance_below(&host->world->chance, 4)], timeout_ms);
}

/* ---- flushes ---- */

/* Whether an fsync with that end may tell of an append of its mount's with acks=0 that has failed since. */
static bool tells_of_late(struct pending *p, int rc)
{
    struct book_partition *part = &p->known->parts[p->index];
    bool any = false;
    if (rc != -EROFS && rc != -ETIMEDOUT)
        return false;
    for (int64_t i = 0; i < part->count; i++) {
        struct book_batch *batch = &part->batches[i];
        if (!batch->late || batch->writer != writer_of(p->host, ACKS_NONE))
            continue;
        any = true;
        batch->late = false;
        if (!batch->placed)
            batch->state = BATCH_UNKNOWN;
    }
    return any;
}

static void flush_over(struct pending *p, int rc)
{
    static const int allowed[] = {-ESTALE, -EIO, 0};
    bool deleted = topic_deleted(p->topic);
    if (!pending_over(p, "fsync", rc) || tells_of_late(p, rc))
        return;
    /* What flush.messages or a deleted topic did to the log is told by -EIO, and that a leader that died has taken
     * along what it alone had acknowledged: those of sound ones succeed. */
    if (!deleted)
        pending_check_errno(p, "an fsync", rc, world_alone(p->host) ? allowed + 2 : allowed);
    /* From here on it is promised to be on disks (rules 8 and 39). */
    struct book_partition *part = &p->known->parts[p->index];
    for (int64_t i = 0; i < part->count && rc == 0; i++) {
        struct book_batch *batch = &part->batches[i];
        /* One that may have been lost was of an earlier epoch. */
        if (batch->may_go && (batch->epoch != p->flush_epoch || batch->epoch < part->unclean_epoch))
            continue;
        if (batch->state == BATCH_IN && batch->placed && batch->base.offset + batch->lines <= p->point.offset)
            batch->durable = true;
    }
}

static void on_flush(struct flush_op *flush, int rc)
{
    flush_over(CONTAINER_OF(flush, struct pending, flush), rc);
}

/* As far as this node's writers were told that they had written, and in which epoch that is; of one that is alone, all
 * there is. */
static struct log_point what_was_written(struct sim_node *host, struct topic *topic, struct book_topic *known,
                                         int32_t index, int32_t *epoch)
{
    const struct book_partition *part = &known->parts[index];
    struct log_point upto = {0};
    *epoch = -1;
    if (world_alone(host))
        return partition_log_end(topic_partition(topic, index));
    for (int64_t i = 0; i < part->count; i++) {
        const struct book_batch *batch = &part->batches[i];
        if (batch->writer / 2 == writer_of(host, ACKS_ALL) / 2 && batch->state == BATCH_IN && batch->placed &&
            batch->base.offset + batch->lines > upto.offset) {
            upto = (struct log_point){batch->base.offset + batch->lines, batch->base.position + batch->len};
            *epoch = batch->epoch;
        }
    }
    return upto;
}

static void do_flush(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index)
{
    int32_t epoch;
    struct log_point upto = what_was_written(host, topic, known, index, &epoch);
    if (upto.offset == 0)
        return;
    struct pending *p = pending_new(host, PENDING_FLUSH, topic, known, index);
    p->point = upto;
    p->flush_epoch = epoch;
    p->flush = (struct flush_op){.part = p->part,
                                 .upto = upto.offset,
                                 .leader_epoch = epoch,
                                 .timeout_ms = DELIVERY_TIMEOUT_MS,
                                 .done = on_flush};
    int rc = partition_flush_submit(&p->flush);
    if (rc != 0)
        flush_over(p, rc < 0 ? rc : 0);
}

/* ---- DeleteRecords ---- */

static void deletion_over(struct pending *p, int rc)
{
    static const int allowed[] = {-ESTALE, -EINVAL, 0};
    if (!pending_over(p, "DeleteRecords", rc))
        return;
    pending_check_errno(p, "DeleteRecords", rc, allowed);
    struct book_partition *part = &p->known->parts[p->index];
    if (rc == 0 && p->point.offset > part->trimmed.offset)
        part->trimmed = p->point;
}

static void on_deletion(struct delete_records_op *op, int rc)
{
    deletion_over(CONTAINER_OF(op, struct pending, deletion), rc);
}

static void do_delete(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index)
{
    struct pending *p = pending_new(host, PENDING_DELETE, topic, known, index);
    struct book_partition *part = &known->parts[index];
    struct log_point end = partition_high_watermark(p->part), start = partition_log_start(p->part);
    int64_t offset =
        start.offset + (int64_t)chance_below(&host->world->chance, (uint64_t)(end.offset - start.offset) + 1);
    if (reading_find(p->part, FIND_OFFSET, offset, &p->point) != 0)
        p->point = start;
    if (p->point.offset > part->trim_asked.offset)
        part->trim_asked = p->point;
    p->deletion = (struct delete_records_op){.position = p->point.position, .done = on_deletion};
    int rc = partition_delete_records(p->part, &p->deletion);
    if (rc != 0)
        deletion_over(p, rc);
}

/* ---- which call ---- */

static void read_some(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index)
{
    uint64_t count = (uint64_t)known->parts[index].count;
    if (count > 0 && chance_in(&host->world->chance, 2))
        reading_ask(host, topic, known, index, (int64_t)chance_below(&host->world->chance, count), DELIVERY_TIMEOUT_MS);
    else
        reading_ask_last(host, topic, known, index, DELIVERY_TIMEOUT_MS);
}

/* Whoever follows what led there goes on reading somewhere else. */
static void readers_go_on(struct sim_node *host)
{
    struct book *book = &host->world->book;
    for (int t = 0; t < book->count; t++) {
        struct book_topic *known = book->topics[t];
        struct topic *topic = known->state == TOPIC_THERE ? node_topic(host->node, known->name) : NULL;
        if (topic == NULL)
            continue;
        for (int32_t p = 0; p < topic_partition_count(topic) && host->pending_count < PENDING_MAX; p++) {
            if (strcmp(topic_id(topic), known->id) == 0)
                reading_ask_last(host, topic, known, p, DELIVERY_TIMEOUT_MS);
        }
        topic_unref(topic);
    }
}

void workload_go_on(struct world *world)
{
    for (int i = 0; i < world->node_count; i++) {
        if (world_is_up(&world->nodes[i]) && !world->only_metadata)
            readers_go_on(&world->nodes[i]);
    }
}

static void change_topic(struct sim_node *host, struct topic *topic, struct book_topic *known)
{
    switch (chance_below(&host->world->chance, 6)) {
    case 0:
        topics_add_partition(host, topic, known);
        break;
    case 1:
    case 2:
        topics_delete(host, topic, known);
        break;
    default:
        topics_set_something(host, topic, known);
    }
}

static bool has_batches(const struct book_topic *known)
{
    bool has = false;
    for (int p = 0; p < BOOK_PARTITIONS; p++)
        has = has || known->parts[p].count > 0;
    return has;
}

/* A topic that has nothing is deleted, or it is written to while somebody deletes it, and while time passes that such a
 * command is not decided in. true: one of these. */
static bool race(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index)
{
    enum { PASS_MS = 2 * LIMIT_SEAL_MS };
    struct world *world = host->world;
    bool undecided = known->deleting || known->state == TOPIC_UNKNOWN;
    if (!world->races || known->delete_any || known->state == TOPIC_GONE || !chance_in(&world->chance, 2))
        return false;
    if (undecided && world_alone(host) && chance_in(&world->chance, 3))
        world_pass(world, (int64_t)chance_below(&world->chance, PASS_MS));
    else if (undecided)
        do_append(host, topic, known, index, (int64_t)chance_below(&world->chance, DELIVERY_TIMEOUT_MS));
    else if (!has_batches(known))
        topics_delete(host, topic, known);
    return undecided || known->deleting;
}

void workload_act(struct sim_node *host)
{
    struct world *world = host->world;
    const char *name = names[chance_below(&world->chance, 3)];
    uint64_t what = chance_below(&world->chance, 100);
    workload_sweep(host);
    if (what >= 96) {
        faults_happen(host);
        return;
    }
    if (world->only_metadata && chance_in(&world->chance, 3) && host->pending_count < PENDING_MAX) {
        topics_use_rights(host, name);
        return;
    }
    if (!world_alone(host) && chance_in(&world->chance, 10) && host->pending_count < PENDING_MAX) {
        topics_set_default(host);
        return;
    }
    if (world->moves && chance_in(&world->chance, world->wiped != 0 ? 8 : 25) && host->pending_count < PENDING_MAX) {
        topics_change_voters(host);
        return;
    }
    if (world->retires && chance_in(&world->chance, 8) && host->pending_count < PENDING_MAX) {
        topics_retire(host);
        return;
    }
    if (world->moves && chance_in(&world->chance, 12))
        faults_wipe(host);
    if (!world_is_up(host))
        return;
    struct topic *topic = node_topic(host->node, name);
    struct book_topic *known = topic != NULL ? book_topic_by_id(&world->book, topic_id(topic)) : NULL;
    if (topic == NULL && host->pending_count < PENDING_MAX &&
        (!world_alone(host) || book_topic(&world->book, name) == NULL))
        topics_make(host, name);
    if (topic == NULL)
        return;
    assert(known != NULL);
    int32_t index = (int32_t)chance_below(&world->chance, (uint64_t)topic_partition_count(topic));
    if (known->state == TOPIC_UNKNOWN && !known->delete_asked)
        known->state = TOPIC_THERE;
    if (host->pending_count >= PENDING_MAX)
        reading_walk(host, topic, known, index);
    else if (race(host, topic, known, index))
        ; /* who comes first? */
    else if (known->state != TOPIC_THERE)
        ; /* on its way */
    else if (world->only_metadata)
        change_topic(host, topic, known);
    else if (world->moves && chance_in(&world->chance, 12))
        topics_move(host, topic, known, index);
    else if (what < 50 && topics_prepare(host, topic, known))
        ;
    else if (what < 50)
        do_append(host, topic, known, index, (int64_t)chance_below(&world->chance, DELIVERY_TIMEOUT_MS));
    else if (what < 60)
        do_flush(host, topic, known, index);
    else if (what < 64)
        reading_walk(host, topic, known, index);
    else if (what < 70)
        read_some(host, topic, known, index);
    else if (what < 76)
        reading_look_up(host, topic, known, index);
    else if (what < 80)
        reading_wait(host, topic, known, index);
    else if (what < 83)
        do_delete(host, topic, known, index);
    else if (what < 90)
        topics_set_something(host, topic, known);
    else if (what < 92)
        topics_add_partition(host, topic, known);
    else if (what < 93)
        topics_delete(host, topic, known);
    else if (world_alone(host))
        world_pass(world, (int64_t)chance_below(&world->chance, 3000));
    topic_unref(topic);
    if (host->disk.crashed && host->node != NULL && world_alone(host))
        world_recover(host);
}

/* ---- ends ---- */

/* An append that was taken back (never begun), or waits for the high watermark no longer. */
static void cancel_append(struct pending *p, bool heard)
{
    struct book_batch *batch = &p->known->parts[p->index].batches[p->serial];
    if (partition_append_cancel(&p->append)) {
        batch->state = heard ? BATCH_GONE : BATCH_UNKNOWN;
        pending_over(p, "an append is taken back", 0);
    } else if (partition_append_forget(&p->append)) {
        batch->state = BATCH_UNKNOWN;
        pending_over(p, "an append is left alone", 0);
    }
}

/* It is certain that it never comes, and who asked knows if anybody lives to know. */
static void command_cancelled(struct pending *p, bool heard)
{
    if (heard) {
        topics_over(p, -EROFS);
    } else {
        pending_over(p, "a command is taken back", 0);
        topics_unheard(p);
    }
}

void workload_abandon(struct sim_node *host)
{
    for (struct pending *p = host->pending; p != NULL; p = p->next) {
        if (p->over)
            continue;
        if (p->kind == PENDING_APPEND)
            p->known->parts[p->index].batches[p->serial].state = BATCH_UNKNOWN;
        else if (p->kind == PENDING_COMMAND)
            topics_unheard(p);
    }
    host->pending = NULL; /* what led to them is no more */
    host->pending_count = 0;
}

void workload_cancel(struct sim_node *host, bool heard)
{
    for (struct pending *p = host->pending; p != NULL; p = p->next) {
        if (p->over)
            continue;
        if (p->kind == PENDING_APPEND)
            cancel_append(p, heard);
        else if (p->kind == PENDING_COMMAND && node_command_cancel(&p->command))
            command_cancelled(p, heard);
        else if (p->kind == PENDING_WAIT && partition_unwait(p->part, &p->waiter))
            pending_over(p, "a reader is gone", 0);
        else if (p->kind == PENDING_READ && partition_read_cancel(&p->read))
            pending_over(p, "a read is taken back", 0);
    }
    while (sim_executor_ready(&host->executor))
        sim_executor_step(&host->executor);
    workload_sweep(host);
}

static bool commands_wait(const struct sim_node *host)
{
    for (const struct pending *p = host->pending; p != NULL; p = p->next) {
        if (!p->over && p->kind == PENDING_COMMAND)
            return true;
    }
    return false;
}

/* One whose deletion timed out may be there still. */
static bool may_be_there(const struct book_topic *known)
{
    return known->state == TOPIC_THERE || known->state == TOPIC_UNKNOWN;
}

void workload_heal(struct sim_node *host)
{
    struct world *world = host->world;
    world->book.full = false;
    /* Of two changes of a setting at once nobody knows which is last: those on their way come first. */
    while (commands_wait(host) && world_step(world))
        ;
    for (int t = 0; t < world->book.count && world_alone(host); t++) {
        struct book_topic *known = world->book.topics[t];
        struct topic *topic = may_be_there(known) ? node_topic(host->node, known->name) : NULL;
        if (topic == NULL)
            continue;
        topics_set(host, topic, known, "min.insync.replicas", "1");
        topic_unref(topic);
    }
}

void workload_calm(struct world *world)
{
    struct sim_node *host = world_pick(world);
    char value[CONFIG_VALUE_BYTES];
    for (int t = 0; t < world->book.count && host != NULL; t++) {
        struct book_topic *known = world->book.topics[t];
        struct topic *topic = known->state == TOPIC_GONE ? NULL : node_topic(host->node, known->name);
        if (topic == NULL)
            continue;
        if (strcmp(topic_id(topic), known->id) == 0 && !commands_wait(host) &&
            node_get_config(host->node, known->name, "min.insync.replicas", value) == 0 && strcmp(value, "1") != 0)
            topics_force(host, topic, known, "min.insync.replicas", "1");
        topic_unref(topic);
    }
}

const char *workload_first_waiting(const struct sim_node *host)
{
    static const char *const kinds[] = {"an append", "an fsync", "a command", "DeleteRecords", "a reader", "a read"};
    for (const struct pending *p = host->pending; p != NULL; p = p->next) {
        if (!p->over)
            return kinds[p->kind];
    }
    return "none";
}

int workload_waiting(const struct sim_node *host)
{
    int waiting = 0;
    for (const struct pending *p = host->pending; p != NULL; p = p->next)
        waiting += !p->over && p->kind != PENDING_WAIT;
    return waiting;
}

/* ---- the proof ---- */

static void wait_for_answers(struct sim_node *host)
{
    struct world *world = host->world;
    int64_t until_ms = world->now_ms + PROOF_MS;
    if (world_alone(host)) {
        /* What a full disk has refused is tried again after a while. */
        while ((world_busy(world) || (workload_waiting(host) > 0 && world->now_ms < until_ms)) && world_step(world))
            ;
        return;
    }
    while (workload_waiting(host) > 0 && world->now_ms < until_ms && !world_failed(world))
        world_run(world, 20);
}

static void prove_partition(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index)
{
    struct world *world = host->world;
    struct book_partition *part = &known->parts[index];
    do_append(host, topic, known, index, DELIVERY_TIMEOUT_MS);
    int64_t serial = part->count - 1;
    wait_for_answers(host);
    if (part->batches[serial].state != BATCH_IN)
        world_fail(world, "node %d: %s-%d takes no append (rule 7)", host->id, known->name, index);
    if (!world_alone(host))
        world_run(world, 1000);
    for (int i = 0; i < world->node_count && !world_failed(world); i++) {
        struct sim_node *reader = &world->nodes[i];
        struct topic *seen = node_topic(reader->node, known->name);
        if (seen == NULL)
            continue;
        reading_walk(reader, seen, known, index);
        topic_unref(seen);
    }
}

static void prove_node(struct sim_node *host)
{
    struct world *world = host->world;
    workload_sweep(host);
    for (int t = 0; t < world->book.count && !world_failed(world); t++) {
        struct book_topic *known = world->book.topics[t];
        struct topic *topic = may_be_there(known) ? node_topic(host->node, known->name) : NULL;
        if (topic == NULL)
            continue;
        for (int32_t p = 0; p < topic_partition_count(topic) && !world_failed(world); p++)
            prove_partition(host, topic, known, p);
        topic_unref(topic);
    }
    workload_sweep(host);
}

/* A reader at what its mount has shown, which is lost, and whoever came to lead could not ask this node (rule 53): as
 * long as nothing lies behind it there is nothing to wake it for. */
static bool waits_rightly(const struct pending *p)
{
    return p->known->parts[p->index].stale_epoch[p->host->id - 1] > 0 &&
           partition_high_watermark(p->part).position <= p->waiter.position;
}

static void prove_woken(struct sim_node *host)
{
    workload_sweep(host);
    if (workload_waiting(host) != 0)
        world_fail(host->world, "node %d: %d calls are still waiting", host->id, workload_waiting(host));
    for (const struct pending *p = host->pending; p != NULL; p = p->next) {
        if (p->kind == PENDING_WAIT && !waits_rightly(p)) {
            world_fail(host->world, "node %d: a reader at %" PRId64 " of %s-%d was not woken", host->id,
                       p->waiter.position, p->known->name, p->index);
        }
    }
}

void workload_prove(struct world *world)
{
    for (int i = 0; i < world->node_count && !world_failed(world); i++)
        prove_node(&world->nodes[i]);
    for (int i = 0; i < world->node_count && !world_failed(world); i++)
        prove_woken(&world->nodes[i]);
}
