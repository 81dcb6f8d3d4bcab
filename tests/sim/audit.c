/* tests/sim/audit.c: one walk over a replica, as a reader makes it, and what it says of the books. */
#include "tests/sim/audit.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replication/replica/partition_internal.h"
#include "replication/replica/partition_read.h"

/* ---- the audit of a partition ---- */

/* What one walk over a partition found. */
struct walk {
    struct book *book;
    struct book_topic *topic;
    struct book_partition *part;
    struct log_point start, own_start, limit, end; /* start: as shown, at or behind its log's own */
    struct log_point shown;                        /* st_size */
    bool *seen;                                    /* BOOK_LINES a batch */
    int64_t next_offset;
    int32_t leader_epoch;
    const struct audit *audit;
    struct err *e;
};

/* One line that a reader is shown at that place. */
static bool check_line(struct walk *w, const char *line, uint32_t len, struct log_point at)
{
    int64_t serial;
    int number;
    struct book_batch *batch = book_identify(w->part, line, len, &serial, &number);
    if (batch == NULL) {
        err_set(w->e, 0, "offset %" PRId64 ": nobody wrote %.*s", at.offset, (int)len - 1, line);
        return false;
    }
    uint32_t before = book_bytes_before(batch, number);
    if (len != batch->lens[number] || memcmp(line, batch->bytes + before, len) != 0) {
        err_set(w->e, 0, "offset %" PRId64 ": other bytes than line %" PRId64 ".%d has", at.offset, serial, number);
        return false;
    }
    struct log_point base = {at.offset - number, at.position - before};
    if (!book_show(w->part, w->audit->place, serial, base, w->leader_epoch, w->e))
        return false;
    if (at.offset < w->next_offset) {
        err_set(w->e, 0, "offset %" PRId64 " comes after %" PRId64, at.offset, w->next_offset - 1);
        return false;
    }
    w->next_offset = at.offset + 1;
    if (batch->state == BATCH_GONE && batch->lost && !w->audit->all)
        return true;
    if (batch->state == BATCH_GONE && batch->lost)
        batch->state = BATCH_IN;
    if (batch->state == BATCH_GONE) {
        err_set(w->e, 0, "offset %" PRId64 ": line %" PRId64 ".%d was refused, or lost and not shown since (rule 36)",
                at.offset, serial, number);
        return false;
    }
    /* No reader ever misses it again. */
    if (!book_place(w->part, serial, base, w->e) || !book_promise(w->part, serial, w->e))
        return false;
    if (w->seen[serial * BOOK_LINES + number]) {
        err_set(w->e, 0, "line %" PRId64 ".%d is there twice (rule 34)", serial, number);
        return false;
    }
    if (batch->state == BATCH_UNKNOWN) {
        batch->state = BATCH_IN;
        w->book->batches_found++;
    }
    if (w->audit->all && batch->may_go) {
        batch->durable = true; /* a start has put it on the disk */
        batch->may_go = false;
        if (!book_promise(w->part, serial, w->e))
            return false;
    }
    w->seen[serial * BOOK_LINES + number] = true;
    w->book->lines_checked++;
    return true;
}

static bool check_run(struct walk *w, const struct log_run *run, const char *bytes)
{
    struct log_point at = run->base;
    uint32_t left = run->len;
    for (uint32_t i = 0; i < run->records; i++) {
        const char *newline = memchr(bytes, '\n', left);
        if (newline == NULL) {
            err_set(w->e, 0, "run at %" PRId64 ": no line %u", run->base.offset, i);
            return false;
        }
        uint32_t len = (uint32_t)(newline + 1 - bytes);
        if (!check_line(w, bytes, len, at))
            return false;
        at = (struct log_point){at.offset + 1, at.position + len};
        bytes += len;
        left -= len;
    }
    if (left != 0)
        err_set(w->e, 0, "run at %" PRId64 ": %u bytes more than its lines", run->base.offset, left);
    return left == 0;
}

/* What a replica on this node answers, it answers at once. 1: found; 0: nothing there; or a negative errno. */
static int ask(struct read_op *op)
{
    int rc = partition_read_submit(op);
    if (rc == 0)
        (void)partition_read_cancel(op);
    return rc == 1 ? op->found : rc == 0 ? -ETIMEDOUT : rc;
}

/* Reads a run's bytes the way a reader does. */
static bool read_run(struct walk *w, struct partition *part, const struct log_run *run, char *bytes)
{
    uint32_t done = 0;
    while (done < run->len) {
        int64_t at = run->base.position + done;
        struct read_op op = {
            .part = part, .kind = READ_BYTES, .at = at, .limit = w->limit.position, .max = run->len - done};
        int rc = ask(&op);
        bool good = rc == 1 && op.extent.position == at && partition_read_copy(&op, bytes + done) == 0;
        if (rc == 1)
            partition_read_release(&op);
        if (!good) {
            err_set(w->e, 0,
                    "position %" PRId64 ": not readable (%d) in %" PRId64 " … %" PRId64 ", a run of %u at %" PRId64, at,
                    rc, w->start.position, w->limit.position, run->len, run->base.position);
            return false;
        }
        done += (uint32_t)op.extent.len;
    }
    return true;
}

static bool walk_log(struct walk *w, struct partition *part)
{
    struct read_op op = {.part = part, .kind = READ_RUN, .at = w->start.position, .limit = w->limit.position, .max = 1};
    int rc;
    w->next_offset = w->start.offset;
    while ((rc = ask(&op)) == 1) {
        struct log_run run = op.run;
        if (run.base.position < w->start.position) {
            /* The start lies within it: what is before is shown to nobody. */
            run.len -= (uint32_t)(w->start.position - run.base.position);
            run.records -= (uint32_t)(w->start.offset - run.base.offset);
            run.base = w->start;
        }
        char *bytes = malloc(run.len + 1);
        assert(bytes != NULL);
        bool good = read_run(w, part, &run, bytes) && check_run(w, &run, bytes);
        free(bytes);
        if (!good)
            return false;
        op = (struct read_op){
            .part = part, .kind = READ_RUN, .at = run.base.position + run.len, .limit = w->limit.position, .max = 1};
    }
    if (rc < 0)
        err_sys(w->e, rc, "read at %" PRId64, op.at);
    return rc == 0;
}

/* It lies behind offset, or may: nobody knows yet where it is, and the log goes on behind what is shown. */
static bool may_be_behind(const struct walk *w, const struct book_batch *batch, int number, int64_t offset)
{
    bool all = w->audit->all || w->book->node_count == 1;
    int64_t own = batch->base.offset + number;
    if (batch->state == BATCH_IN && batch->placed)
        return own > offset && (own < w->end.offset || !all);
    bool hidden = w->limit.offset < w->end.offset && offset + 1 < w->end.offset;
    return batch->state != BATCH_GONE && (hidden || !all);
}

/* Is there a later record of the same key, which is shown in its place? Or will be: it was committed when the other
 * went (check_cleaned), and a restart has brought back a high watermark of before that, or a follower has not come as
 * far yet in what its leader has left. */
static bool superseded(const struct walk *w, const struct book_batch *batch, int number)
{
    int64_t offset = batch->base.offset + number;
    for (int64_t i = 0; i < w->part->count; i++) {
        const struct book_batch *other = &w->part->batches[i];
        for (int j = 0; j < other->lines; j++) {
            if (other->keys[j] == batch->keys[number] && may_be_behind(w, other, j, offset))
                return true;
        }
    }
    return false;
}

/* Likewise one that was lost since, by an unclean election: as in Kafka. */
static bool superseded_by_lost(const struct walk *w, const struct book_batch *batch, int number)
{
    int64_t offset = batch->base.offset + number;
    for (int64_t i = 0; i < w->part->count; i++) {
        const struct book_batch *other = &w->part->batches[i];
        for (int j = 0; j < other->lines && other->state == BATCH_GONE && other->lost && other->placed; j++) {
            if (other->keys[j] == batch->keys[number] && other->base.offset + j > offset)
                return true;
        }
    }
    return false;
}

/* Somebody has removed it. DeleteRecords goes on to the next record that compaction has left. */
static bool is_removed(const struct walk *w, int64_t offset)
{
    bool asked = !w->topic->compacts || w->topic->retains || offset < w->part->trim_asked.offset;
    return offset < w->start.offset && asked;
}

/* A batch that is in the log as far as anybody was told, and its lines that were not met. */
static bool check_missing(struct walk *w, int64_t serial)
{
    struct book_batch *batch = &w->part->batches[serial];
    for (int i = 0; i < batch->lines; i++) {
        int64_t offset = batch->base.offset + i;
        if (w->seen[serial * BOOK_LINES + i] || is_removed(w, offset))
            continue;
        /* Not committed as far as this node knows; in the end, and where there is no other, that is all there is. */
        if (offset >= w->limit.offset && (!w->audit->all || offset < w->end.offset))
            continue;
        if (w->topic->compacts && batch->keys[i] >= 0 && superseded(w, batch, i))
            continue;
        if (book_may_go(batch)) {
            batch->state = BATCH_GONE;
            batch->lost = true;
            w->book->lines_lost += (uint64_t)batch->lines;
            return true;
        }
        if (w->topic->compacts && batch->keys[i] >= 0 && superseded_by_lost(w, batch, i))
            continue;
        /* It lies where others were that were lost, and this node has not heard of its leader. */
        if (w->part->may_go && batch->epoch > w->leader_epoch)
            continue;
        const char *flushed = w->book->node_count == 1 ? "flushed: rule 8" : "flushed: rule 39";
        err_set(w->e, 0,
                "line %" PRId64 ".%d (offset %" PRId64 ") is missing from %" PRId64 " … %" PRId64 " … %" PRId64 " (%s)",
                serial, i, offset, w->start.offset, w->limit.offset, w->end.offset,
                batch->durable ? flushed : "rule 4");
        return false;
    }
    return true;
}

/* One that was acknowledged without a place, since the log had it already: by now somebody has met it there, unless
 * that was wrong, or it has been removed. */
static bool check_unplaced(struct walk *w, int64_t serial)
{
    const struct book_batch *batch = &w->part->batches[serial];
    if (batch->placed || !batch->promised || book_may_go(batch) || batch->late || w->topic->compacts ||
        w->start.offset > 0 || w->limit.offset < w->end.offset)
        return true;
    err_set(w->e, 0, "batch %" PRId64 " was acknowledged, and is missing from 0 … %" PRId64 " (rule 4)", serial,
            w->end.offset);
    return false;
}

static bool check_batches(struct walk *w)
{
    /* A leader that it has not heard of yet, and that could not ask it, goes on behind less than what is here. */
    if (w->leader_epoch < w->part->stale_epoch[w->audit->place])
        return true;
    for (int64_t i = 0; i < w->part->count; i++) {
        struct book_batch *batch = &w->part->batches[i];
        if (batch->state == BATCH_IN && batch->placed && !check_missing(w, i))
            return false;
        if (batch->state == BATCH_IN && w->audit->all && !check_unplaced(w, i))
            return false;
        /* What nobody was told of and is not there was never there; unless it waits behind the high watermark, or was
         * there and has been removed already. */
        if (batch->state == BATCH_UNKNOWN && w->audit->all && w->limit.offset == w->end.offset && !w->topic->compacts &&
            w->start.offset == 0)
            batch->state = BATCH_GONE;
    }
    return true;
}

static bool check_points(struct walk *w)
{
    const struct book_partition *part = w->part;
    int place = w->audit->place;
    if (w->own_start.offset > w->limit.offset || w->limit.offset > w->end.offset || w->start.offset > w->shown.offset) {
        err_set(w->e, 0, "start %" PRId64 " (%" PRId64 "), high watermark %" PRId64 " (%" PRId64 "), end %" PRId64,
                w->start.offset, w->own_start.offset, w->shown.offset, w->limit.offset, w->end.offset);
    } else if (w->shown.position < part->shown[place].position ||
               (w->book->node_count == 1 && w->start.position < part->start_shown[place].position &&
                w->start.offset < w->limit.offset)) {
        err_set(w->e, 0, "the high watermark (or the start) went back: %" PRId64 " after %" PRId64 " (rule 5)",
                w->shown.position, part->shown[place].position);
    } else if ((w->audit->all || w->book->node_count == 1) && !part->may_go && w->start.offset < part->trimmed.offset) {
        err_set(w->e, 0, "starts at %" PRId64 ", deleted up to %" PRId64 " (rule 40)", w->start.offset,
                part->trimmed.offset);
    } else if (!w->topic->retains && !w->topic->compacts && w->start.offset > part->trim_asked.offset &&
               !part->may_go) { /* what is lost is a hole */
        err_set(w->e, 0, "starts at %" PRId64 ", and nobody removed that much (rule 45)", w->start.offset);
    } else {
        return true;
    }
    return false;
}

/* Compaction goes no further than what is committed: a record that it leaves out is superseded by one that stays. */
static bool check_cleaned(struct walk *w, struct partition *part)
{
    struct book_partition *book = w->part;
    int place = w->audit->place;
    int64_t cleaned = log_cleaner_offset(part->log);
    int64_t before = book->cleaned[place].seen ? book->cleaned[place].offset : cleaned;
    book->cleaned[place].seen = true;
    book->cleaned[place].offset = before;
    if (cleaned > w->limit.offset && cleaned > before)
        err_set(w->e, 0, "compacted up to %" PRId64 ", and the high watermark is %" PRId64, cleaned, w->limit.offset);
    return cleaned <= w->limit.offset || cleaned <= before;
}

struct log_point audit_high_watermark(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    struct log_point hw = part->isr.high_watermark;
    pthread_mutex_unlock(&part->lock);
    return hw;
}

/* The leader epoch by which it shows what is in its log: one in which it has not led, nor heard yet that its log agrees
 * with its leader's, says nothing. */
static int32_t shown_epoch(struct partition *part)
{
    int32_t latest = part->log != NULL ? log_latest_epoch(part->log) : -1;
    bool agrees = partition_leads(part) || part->fetch.state == FETCH_FED;
    return atomic_load(&part->epoch.assigned) && agrees ? part->registration.leader_epoch : latest > 0 ? latest : 0;
}

bool audit_partition(const struct audit *audit, struct book_topic *topic, int32_t index, struct partition *part,
                     struct err *e)
{
    struct walk w = {.book = audit->book, .topic = topic, .part = &topic->parts[index], .audit = audit, .e = e};
    int state = partition_state(part);
    /* What is left of one that is deleted, as far as anybody knows: a node that has lost its power has yet to hear of
     * that once more. */
    bool may_be_gone = (topic->deleting || topic->delete_asked) && !audit->all;
    if (state == -EIO && (audit->book->full || may_be_gone))
        return true;
    if (state != 0) {
        err_sys(e, state, "%s-%d", topic->name, index);
        return false;
    }
    w.leader_epoch = shown_epoch(part);
    w.start = partition_log_start(part);
    w.own_start = part->log != NULL && partition_hides(part) ? log_start(part->log) : w.start;
    w.limit = audit_high_watermark(part);
    w.shown = partition_high_watermark(part);
    w.end = partition_log_end(part);
    w.seen = calloc((size_t)(w.part->count * BOOK_LINES) + 1, sizeof *w.seen);
    assert(w.seen != NULL);
    bool good = check_points(&w) && check_cleaned(&w, part) && walk_log(&w, part) && check_batches(&w);
    free(w.seen);
    if (!good)
        err_wrap(e, 0, "%s-%d", topic->name, index);
    w.part->shown[audit->place] = w.shown;
    if (w.start.position > w.part->start_shown[audit->place].position) /* one that begins anew has nothing yet */
        w.part->start_shown[audit->place] = w.start;
    return good;
}

bool audit_size(const struct audit *audit, struct book_topic *topic, int32_t index, struct partition *part,
                struct err *e)
{
    struct log_point *before = &topic->parts[index].shown[audit->place], now = partition_high_watermark(part);
    bool good = now.position >= before->position;
    if (!good) {
        err_set(e, 0, "%s-%d: its size went back from %" PRId64 " to %" PRId64 " (rule 5)", topic->name, index,
                before->position, now.position);
    }
    *before = now;
    return good;
}

bool audit_holds(const struct audit *audit, struct partition *part)
{
    struct partition_info info;
    partition_info(part, &info);
    return replica_set_has(&info.replicas, node_id(audit->node));
}

/* ---- the audit of a node ---- */

bool audit_setting(struct node *node, const char *topic, const char *name, const char *value, struct err *e)
{
    char found[CONFIG_VALUE_BYTES], fallback[CONFIG_VALUE_BYTES];
    const char *of = topic != NULL ? topic : "MOUNT";
    if (node_get_config(node, topic, name, found) != 0 || node_get_config(node, NULL, name, fallback) != 0) {
        err_set(e, 0, "%s: no setting %s", of, name);
        return false;
    }
    /* That default is by the topic's own replicas; and MOUNT's is what there is. */
    if (value[0] == '\0' && (topic == NULL || strcmp(name, "min.insync.replicas") == 0))
        return true;
    const char *expected = value[0] != '\0' ? value : fallback;
    if (strcmp(found, expected) != 0)
        err_set(e, 0, "%s: %s is %s, was set to %s (rule 10)", of, name, found, expected);
    return strcmp(found, expected) == 0;
}

static bool check_settings(struct book_topic *topic, struct node *node, struct err *e)
{
    for (int i = 0; i < topic->setting_count; i++) {
        const struct setting *setting = &topic->settings[i];
        if (!setting_is_open(setting) && !audit_setting(node, topic->name, setting->name, setting->value, e))
            return false;
    }
    return true;
}

/* MOUNT's, among several. */
static bool check_mount(const struct book *book, struct node *node, struct err *e)
{
    struct tree_attr root;
    char mode[SETTING_VALUE_BYTES];
    node_root_attr(node, &root);
    snprintf(mode, sizeof mode, "%o", (unsigned)root.dir_mode);
    if (book->mode.value[0] != '\0' && strcmp(book->mode.value, mode) != 0) {
        err_set(e, 0, "MOUNT has mode %s, was set to %s (rule 10)", mode, book->mode.value);
        return false;
    }
    return audit_setting(node, NULL, book->fallback.name, book->fallback.value, e);
}

bool audit_settle_settings(struct book *book, struct err *e)
{
    for (int t = 0; t < book->count; t++) {
        struct book_topic *topic = book->topics[t];
        for (int i = 0; i < topic->setting_count; i++) {
            if (setting_settle(&topic->settings[i], e))
                continue;
            err_wrap(e, 0, "%s (%s)", topic->name, topic->id);
            return false;
        }
    }
    return setting_settle(&book->fallback, e) && setting_settle(&book->mode, e);
}

static bool check_partition_count(struct book_topic *known, int32_t partitions, struct err *e)
{
    if (partitions < known->partitions || partitions > known->partitions_max) {
        err_set(e, 0, "%s has %d partitions, not %d to %d (rule 10)", known->name, partitions, known->partitions,
                known->partitions_max);
        return false;
    }
    known->partitions = known->partitions_max = partitions;
    return true;
}

static bool audit_topic(const struct audit *audit, struct book_topic *known, struct topic *topic, struct err *e)
{
    int32_t partitions = topic_partition_count(topic);
    if (known->state == TOPIC_UNKNOWN && (audit->all || !known->delete_asked))
        known->state = TOPIC_THERE;
    if (audit->all && (!check_partition_count(known, partitions, e) || !check_settings(known, audit->node, e)))
        return false;
    for (int32_t p = 0; p < partitions; p++) {
        if (audit_holds(audit, topic_partition(topic, p)) &&
            !audit_partition(audit, known, p, topic_partition(topic, p), e))
            return false;
    }
    return true;
}

/* Each topic that the node has. */
static bool audit_those_there(const struct audit *audit, struct err *e)
{
    struct topic **topics;
    size_t count;
    bool good = node_topics(audit->node, &topics, &count) == 0;
    for (size_t i = 0; i < count; i++) {
        struct book_topic *known = book_topic_by_id(audit->book, topic_id(topics[i]));
        if (good && (known == NULL || (audit->all && known->state == TOPIC_GONE))) {
            err_set(e, 0, "topic %s was never made, or is deleted (rule 12)", topic_name(topics[i]));
            good = false;
        }
        /* A node may be behind: what was deleted elsewhere is nobody's promise any more. */
        good = good && (known->state == TOPIC_GONE || audit_topic(audit, known, topics[i], e));
        topic_unref(topics[i]);
    }
    free(topics);
    return good;
}

/* Each topic that has to be there is. */
static bool audit_the_rest(const struct audit *audit, struct err *e)
{
    for (int t = 0; t < audit->book->count; t++) {
        struct book_topic *known = audit->book->topics[t];
        struct topic *topic = known->state == TOPIC_GONE ? NULL : node_topic(audit->node, known->name);
        bool there = topic != NULL && strcmp(topic_id(topic), known->id) == 0;
        if (topic != NULL)
            topic_unref(topic);
        if (!there && known->state == TOPIC_THERE && !known->deleting) {
            err_set(e, 0, "topic %s (%s) is not there (rule 10)", known->name, known->id);
            return false;
        }
        if (!there && known->state != TOPIC_GONE && !known->deleting) {
            book_topic_gone(audit->book, known);
            if (!book_may_be_gone(known, e))
                return false;
        }
    }
    return true;
}

bool audit_node(const struct audit *audit, struct err *e)
{
    if (!audit_those_there(audit, e) || (audit->all && !audit_the_rest(audit, e)))
        return false;
    return !audit->all || audit->book->node_count == 1 || check_mount(audit->book, audit->node, e);
}
