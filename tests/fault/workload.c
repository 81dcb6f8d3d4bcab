/* tests/fault/workload.c: the steps. Each notes the moment before and after it; what fails is taken back in the books,
 * as the log promises. */
#include "tests/fault/workload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/checkpoint.h"
#include "engine/base/crc32c.h"
#include "engine/base/limits.h"

const char *const workload_step_names[WORKLOAD_STEPS] = {
    [STEP_APPEND] = "append",         [STEP_FLUSH] = "flush",   [STEP_ROLL] = "roll",
    [STEP_CHECKPOINT] = "checkpoint", [STEP_DELETE] = "delete", [STEP_RETAIN] = "retain",
    [STEP_COMPACT] = "compact",       [STEP_COPY] = "copy",     [STEP_TRUNCATE] = "truncate",
    [STEP_RESET] = "reset",           [STEP_SKIP] = "skip",     [STEP_KILL] = "kill",
    [STEP_REOPEN] = "reopen",
};

static const char log_name_0[] = "t-0";
static const char recovery_file[] = "recovery-point-offset-checkpoint";
static const char start_file[] = "log-start-offset-checkpoint";
static const char cleaner_file[] = "cleaner-offset-checkpoint";
static const char mark_file[] = "clean-shutdown";

enum { KEYS = 6, OPEN_SEGMENTS = 3, PRODUCERS = 8 };

static int64_t now_ms(struct clock *clock)
{
    return ((struct workload *)((char *)clock - offsetof(struct workload, clock)))->now_ms;
}

static void note_offline(void *arg, const char *name, const char *reason)
{
    struct workload *w = arg;

    (void)name;
    w->offline = true;
    snprintf(w->offline_reason, sizeof w->offline_reason, "%s", reason);
}

static uint32_t moment(struct workload *w)
{
    return recorder_count(w->recorder);
}

/* ---- life ---- */

void workload_init(struct workload *w, const struct workload_plan *plan, struct recorder *recorder, const char *root,
                   uint64_t seed)
{
    char topics[160];

    *w = (struct workload){.plan = plan, .recorder = recorder, .random = seed, .now_ms = 1700000000000};
    snprintf(w->root, sizeof w->root, "%s", root);
    snprintf(topics, sizeof topics, "%s/topics", root);
    (void)mkdir(root, 0700);
    (void)mkdir(topics, 0700);
    w->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->clock = (struct clock){.wall_ms = now_ms, .mono_ms = now_ms};
    w->env = (struct log_env){.io = &recorder->io,
                              .clock = &w->clock,
                              .topics_dirfd = open(topics, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                              .on_offline = note_offline,
                              .arg = w};
    atomic_init(&w->env.check_crcs, true);
    if (w->root_fd < 0 || w->env.topics_dirfd < 0) {
        abort();
    }
    w->config = (struct log_config){
        .retention_ms = -1,
        .retention_bytes = plan->retention_bytes,
        .segment_bytes = plan->segment_bytes,
        .segment_ms = -1,
        .segment_index_bytes = 240,
        .index_interval_bytes = 200,
        .flush_messages = INT64_MAX,
        .flush_ms = INT64_MAX,
        .max_compaction_lag_ms = INT64_MAX,
        .min_cleanable_dirty_ratio = 0.01,
        .cleanup_policy = plan->cleanup_policy,
        .framing = plan->framing,
        .key_separator_len = 1,
        .key_separator = ":",
    };
}

void workload_free(struct workload *w)
{
    workload_kill(w);
    close(w->root_fd);
    close(w->env.topics_dirfd);
    ledger_free(&w->ledger);
}

static int known_point(struct workload *w, const char *file, struct log_point *out, uint32_t *cuts)
{
    const struct checkpoint_entry *entry;
    struct checkpoint_entry *entries;
    size_t count;
    bool by_name;
    int rc = checkpoint_read(w->env.io, w->root_fd, file, &entries, &count, &by_name, &w->e);

    if (rc == 0 && (entry = checkpoint_find(entries, count, log_name_0)) != NULL) {
        *out = (struct log_point){entry->offset, entry->position};
        *cuts = entry->cuts;
    }
    free(entries);
    return rc;
}

/* Whether the mark is there; it is not there any more after that. */
static int take_mark(struct workload *w, bool *clean)
{
    int rc = w->env.io->unlink(w->env.io, w->root_fd, mark_file, 0);

    *clean = rc == 0;
    if (rc == 0) {
        rc = w->env.io->fsync(w->env.io, w->root_fd);
    }
    return rc == -ENOENT ? 0 : rc < 0 ? err_sys(&w->e, rc, "remove the mark") : 0;
}

/* As a node of its own: in another epoch after a stop that was not clean. */
static int lead(struct workload *w, bool clean)
{
    int32_t latest = log_latest_epoch(w->log);

    w->epoch = latest < 0 || !clean ? latest + 1 : latest;
    w->follows = false;
    return log_lead(w->log, w->epoch, &w->e);
}

/* Another leader, or this replica, in the next epoch. */
static int take_role(struct workload *w, bool follows)
{
    int rc;

    if (w->follows == follows) {
        return 0;
    }
    rc = follows ? log_follow(w->log, w->epoch + 1, &w->e) : log_lead(w->log, w->epoch + 1, &w->e);
    if (rc == 0) {
        w->epoch++;
        w->follows = follows;
    }
    return rc;
}

/* A producer for the batch that begins at `first`, or none; what follows is signed by it. Its sequence goes on where
 * the books say, or anywhere for one of whom they know nothing. */
static void sign(struct workload *w, int64_t first, int64_t *id, int32_t *sequence)
{
    struct ledger *l = &w->ledger;

    *id = w->plan->producers ? (int64_t)random_below(&w->random, PRODUCERS + 2) - 2 : -1;
    *id = *id < 0 ? -1 : *id;
    *sequence = -1;
    if (*id >= 0) {
        struct producer_state known;

        *sequence = log_producer(w->log, *id, 0, 0, &known) == PRODUCER_UNKNOWN
                        ? (int32_t)random_below(&w->random, 1000)
                        : known.last_sequence + 1;
    }
    ledger_sign(l, first, w->epoch, *id, *sequence);
}

int workload_open(struct workload *w)
{
    struct log_known known = {0};
    struct log_point recovery = {0}, cleaner = {0};
    int rc = known_point(w, recovery_file, &recovery, &known.recovery_cuts);

    if (rc == 0) {
        rc = take_mark(w, &known.clean_shutdown);
    }
    if (rc == 0) {
        rc = known_point(w, start_file, &known.start, &known.start_cuts);
    }
    if (rc == 0) {
        rc = known_point(w, cleaner_file, &cleaner, &known.cleaner_cuts);
    }
    if (rc < 0) {
        return rc;
    }
    known.recovery_point = recovery.offset;
    known.cleaner_offset = cleaner.offset;
    w->offline = false;
    w->env.cache = segment_cache_new(w->env.io, OPEN_SEGMENTS);
    rc = log_open(&w->env, log_name_0, &w->config, &known, &w->log, NULL, &w->e);
    if (w->log == NULL) {
        segment_cache_free(w->env.cache);
    }
    return rc == 0 ? lead(w, known.clean_shutdown) : rc;
}

static int close_log(struct workload *w)
{
    int rc = log_close(w->log, &w->e);

    w->log = NULL;
    segment_cache_free(w->env.cache);
    return rc;
}

void workload_kill(struct workload *w)
{
    if (w->log == NULL) {
        return;
    }
    recorder_stop(w->recorder);
    (void)close_log(w);
    recorder_resume(w->recorder);
}

/* ---- checkpoints ---- */

static int write_checkpoint(struct workload *w, const char *file, struct log_point point)
{
    struct checkpoint_entry entry = {.offset = point.offset, .position = point.position, .cuts = log_cuts(w->log)};

    memcpy(entry.key, log_name_0, sizeof log_name_0);
    return checkpoint_write(w->env.io, w->root_fd, file, &entry, 1, &w->e);
}

static int write_checkpoints(struct workload *w)
{
    int rc = write_checkpoint(w, recovery_file, (struct log_point){log_recovery_point(w->log), 0});

    if (rc == 0) {
        rc = write_checkpoint(w, start_file, log_start(w->log));
    }
    return rc == 0 ? write_checkpoint(w, cleaner_file, (struct log_point){log_cleaner_offset(w->log), 0}) : rc;
}

/* ---- appending ---- */

/* One record into out; its key is decided before. Returns its length. */
static uint32_t make_record(struct workload *w, int key, bool tombstone, uint32_t bytes, uint8_t *out)
{
    uint32_t len = 0;

    if (w->plan->framing == FRAMING_MSGPACK) {
        /* [key, bin16 or nil] */
        out[len++] = 0x92;
        out[len++] = (uint8_t)key;
        if (tombstone) {
            out[len++] = 0xc0;
            return len;
        }
        out[len++] = 0xc5;
        out[len++] = (uint8_t)(bytes >> 8);
        out[len++] = (uint8_t)bytes;
        while (bytes-- > 0) {
            out[len++] = (uint8_t)random_next(&w->random);
        }
        return len;
    }
    if (key >= 0) {
        out[len++] = (uint8_t)('a' + key);
        out[len++] = ':';
    }
    while (!tombstone && bytes-- > 0) {
        out[len++] = (uint8_t)('A' + random_below(&w->random, 26));
    }
    out[len++] = '\n';
    return len;
}

static int append_bytes(struct workload *w, uint8_t *bytes, size_t len, int64_t first)
{
    struct framing_mark marks[64];
    struct framing_state st = {0};
    struct framing_result scanned;
    struct iovec iov[2] = {{bytes, len / 2}, {bytes + len / 2, len - len / 2}};
    struct log_append_result result;
    struct append_batch batch = {
        .iov = iov,
        .iovcnt = 2,
        .len = (uint32_t)len,
        .first_timestamp_ms = w->now_ms,
        .last_timestamp_ms = w->now_ms,
        .marks = marks,
        .gap = BATCH_GAP_ALL, /* a producer may be new to the log with any sequence */
    };
    int rc = framing_scan(w->plan->framing, &st, bytes, len, UINT64_MAX, &scanned, &batch.crc,
                          (uint32_t)w->config.index_interval_bytes, marks, &batch.mark_count, 64);

    if (rc != 0 || scanned.end != len || scanned.records != w->ledger.count - first) {
        abort();
    }
    batch.records = scanned.records;
    sign(w, first, &batch.producer_id, &batch.sequence);
    rc = log_append(w->log, &batch, w->epoch, &result, &w->e);
    if (rc == 0 && (result.base.offset != first || result.end.position != w->ledger.size)) {
        return err_set(&w->e, -EBADMSG, "appended at offset %lld instead of %lld", (long long)result.base.offset,
                       (long long)first);
    }
    return rc;
}

/* The bytes of a batch, malloc-ed, and their records in the books. */
static uint8_t *make_batch(struct workload *w, uint32_t records, uint32_t bytes, uint32_t begun, size_t *len)
{
    uint8_t *all = malloc((size_t)records * (bytes + 16));

    if (all == NULL) {
        abort();
    }
    *len = 0;
    w->now_ms += random_below(&w->random, 8) == 0 ? -500 : 1000;
    for (uint32_t i = 0; i < records; i++) {
        bool keyed = w->plan->framing == FRAMING_MSGPACK || (w->plan->cleanup_policy & CLEANUP_COMPACT) != 0;
        int key = keyed ? (int)random_below(&w->random, KEYS) : -1;
        bool tombstone = keyed && random_below(&w->random, 8) == 0;
        uint32_t n = make_record(w, key, tombstone, bytes / 2 + random_below(&w->random, bytes / 2 + 1), all + *len);

        ledger_add(&w->ledger, all + *len, n, key, tombstone, i == 0, w->now_ms, begun);
        *len += n;
    }
    return all;
}

/* An append that has failed: a full disk has left nothing of it. */
static int settle(struct workload *w, int64_t first, int rc)
{
    if (rc >= 0) {
        ledger_acked(&w->ledger, first, moment(w));
    } else if (rc == -ENOSPC || rc == -EDQUOT) {
        ledger_take_back(&w->ledger, first);
    }
    return rc;
}

int workload_append(struct workload *w, uint32_t records, uint32_t bytes)
{
    uint32_t begun = moment(w);
    int64_t first = w->ledger.count;
    size_t len;
    uint8_t *all;
    int rc = take_role(w, false);

    if (rc < 0) {
        return rc;
    }
    all = make_batch(w, records, bytes, begun, &len);
    rc = settle(w, first, append_bytes(w, all, len, first));
    free(all);
    return rc;
}

/* ---- steps ---- */

static int step_append(struct workload *w)
{
    static const uint32_t sizes[][2] = {{1, 20}, {1, 20}, {3, 30}, {1, 700}, {12, 60}, {2, 300}, {40, 12}};
    const uint32_t *size = sizes[random_below(&w->random, sizeof sizes / sizeof sizes[0])];

    return workload_append(w, size[0], size[1]);
}

/* done() is told only the errno. */
static int flush(struct workload *w)
{
    int rc = log_flush_all(w->log);

    return rc == 0 ? 0 : err_set(&w->e, rc, "%s", w->offline_reason);
}

static int step_flush(struct workload *w)
{
    struct log_point end = log_end(w->log);
    uint32_t begun = moment(w);
    int rc = flush(w);

    if (rc == 0) {
        ledger_event(&w->ledger, LEDGER_FLUSHED, end, begun, moment(w));
    }
    return rc;
}

static int step_delete(struct workload *w)
{
    struct log_point start = log_start(w->log);
    int64_t span = w->ledger.count - start.offset;
    struct log_point to;
    uint32_t begun = moment(w);
    int rc;

    if (span == 0) {
        return 0;
    }
    to = ledger_point(&w->ledger, start.offset + 1 + random_below(&w->random, (uint32_t)span));
    ledger_event(&w->ledger, LEDGER_STARTED, to, begun, begun);
    rc = log_delete_records(w->log, to, &w->e);
    if (rc == 0) {
        rc = write_checkpoint(w, start_file, log_start(w->log));
    }
    if (rc == 0) {
        ledger_event(&w->ledger, LEDGER_TRIMMED, to, begun, moment(w));
    }
    return rc;
}

static int step_retain(struct workload *w)
{
    uint32_t begun = moment(w);
    int rc = log_retain(w->log, ledger_end(&w->ledger), &w->e);

    /* What it decided is known only now, but may have shown from the beginning on. */
    ledger_event(&w->ledger, LEDGER_STARTED, log_start(w->log), begun, begun);
    return rc < 0 ? rc : 0;
}

static int step_compact(struct workload *w)
{
    static const _Atomic bool never = false;
    uint32_t begun = moment(w);
    int rc;

    ledger_event(&w->ledger, LEDGER_COMPACTED, ledger_end(&w->ledger), begun, begun);
    rc = log_compact(w->log, ledger_end(&w->ledger), &never, &w->e);
    if (log_cleaner_offset(w->log) > w->compacted) {
        w->compacted = log_cleaner_offset(w->log);
    }
    return rc < 0 ? rc : 0;
}

/* One batch as another replica has it. */
static int copy_batch(struct workload *w, const uint8_t *bytes, size_t len, int64_t first, uint32_t records)
{
    struct log_append_result result;
    struct log_copy copy = {.base = ledger_point(&w->ledger, first),
                            .entry = {.len = (uint32_t)len,
                                      .records = records,
                                      .leader_epoch = w->epoch,
                                      .first_timestamp_ms = w->now_ms,
                                      .last_timestamp_ms = w->now_ms,
                                      .crc = crc32c(0, bytes, len)},
                            .bytes = bytes};

    sign(w, first, &copy.entry.producer_id, &copy.entry.sequence);
    return log_append_copy(w->log, w->epoch, &copy, 1, &result, &w->e);
}

static int step_copy(struct workload *w)
{
    uint32_t begun = moment(w), records = 1 + random_below(&w->random, 9);
    int64_t from = w->ledger.count;
    size_t len;
    uint8_t *all;
    int rc = take_role(w, true);

    if (rc < 0) {
        return rc;
    }
    if (random_below(&w->random, 3) == 0) {
        struct log_point to = ledger_end(&w->ledger);
        int64_t gone = 1 + random_below(&w->random, 12);

        to.offset += gone;
        to.position += gone * (1 + random_below(&w->random, 30));
        ledger_add_hole(&w->ledger, to, begun);
    }
    all = make_batch(w, records, 60, begun, &len);
    rc = copy_batch(w, all, len, w->ledger.count - records, records);
    rc = settle(w, from, rc);
    free(all);
    return rc < 0 ? rc : 0;
}

/* The end moves: what is in front of it stays, and what is skipped is never there, whatever happens to the machine. */
static int step_skip(struct workload *w)
{
    struct log_point to = ledger_end(&w->ledger);
    uint32_t begun = moment(w);
    int64_t from = to.offset, gone = 1 + random_below(&w->random, 12);
    int rc;

    to.offset += gone;
    to.position += gone * (1 + random_below(&w->random, 30));
    ledger_add_hole(&w->ledger, to, begun);
    rc = log_skip(w->log, w->epoch, to, &w->e);
    rc = settle(w, from, rc == 0 ? flush(w) : rc);
    if (rc == 0) {
        ledger_event(&w->ledger, LEDGER_FLUSHED, to, begun, moment(w));
    }
    return rc;
}

/* A cut that has failed: a full disk has left everything as it was, or the log ends there and what went is still to be
 * taken away. */
static int settle_cut(struct workload *w, struct log_point start, struct log_point end, int rc)
{
    bool is_cut = log_start(w->log).offset != start.offset || log_end(w->log).offset != end.offset;

    if (rc == 0) {
        ledger_cut_done(&w->ledger, moment(w));
    } else if ((rc == -ENOSPC || rc == -EDQUOT) && !is_cut) {
        ledger_cut_refused(&w->ledger);
    }
    return rc;
}

static int step_truncate(struct workload *w)
{
    struct log_point start = log_start(w->log), end = log_end(w->log), to;
    /* What is compacted is committed, and what is committed is never cut: a record that has taken another's place
     * stays. */
    int64_t span = w->ledger.count - (w->compacted > start.offset ? w->compacted : start.offset), offset;
    struct log_run run;
    uint32_t begun = moment(w);
    int rc = take_role(w, true);

    if (rc < 0 || span <= 0) {
        return rc;
    }
    /* Mostly a little, now and then most of it. */
    offset = w->ledger.count - 1 -
             random_below(&w->random, random_below(&w->random, 3) == 0 ? (uint32_t)span
                                      : span < 12                      ? (uint32_t)span
                                                                       : 12);
    to = ledger_point(&w->ledger, offset);
    /* The batch that holds the point goes, and the start stays; a point in a hole is where it is. (What compaction has
     * left of a batch is a batch.) */
    rc = log_run_at(w->log, to.position, ledger_end(&w->ledger).position, &run, &w->e);
    if (rc < 0) {
        return rc;
    }
    if (rc > 0 && run.base.offset < offset) {
        offset = run.base.offset > start.offset ? run.base.offset : start.offset;
    }
    ledger_cut(&w->ledger, ledger_point(&w->ledger, offset), false, begun);
    rc = log_truncate(w->log, w->epoch, to, &w->e);
    return settle_cut(w, start, end, rc);
}

static int step_reset(struct workload *w)
{
    struct log_point start = log_start(w->log), end = log_end(w->log), to = ledger_end(&w->ledger);
    uint32_t begun = moment(w);
    int rc = take_role(w, true);

    if (rc < 0) {
        return rc;
    }
    if (random_below(&w->random, 3) == 0 && w->ledger.count > 0) {
        to = ledger_point(&w->ledger, random_below(&w->random, (uint32_t)w->ledger.count));
    } else {
        int64_t further = random_below(&w->random, 20);

        to.offset += further;
        to.position += further * 7;
    }
    ledger_cut(&w->ledger, to, true, begun);
    rc = log_reset(w->log, w->epoch, to, -1, &w->e);
    rc = settle_cut(w, start, end, rc);
    if (log_start(w->log).offset != start.offset || log_end(w->log).offset != end.offset) {
        w->compacted = 0;
    }
    return rc;
}

int workload_close(struct workload *w)
{
    struct log_point end = log_end(w->log);
    uint32_t begun = moment(w);
    int rc = log_flush_files(w->log);

    if (rc < 0) {
        err_set(&w->e, rc, "%s", w->offline_reason);
        workload_kill(w);
        return rc;
    }
    ledger_event(&w->ledger, LEDGER_FLUSHED, end, begun, moment(w));
    rc = write_checkpoints(w);
    if (rc < 0) {
        workload_kill(w);
        return rc;
    }
    rc = close_log(w);
    return rc == 0 ? io_replace_file(w->env.io, w->root_fd, mark_file, "clean\n", 6, &w->e) : rc;
}

int workload_do(struct workload *w, enum workload_step step)
{
    int rc;

    w->e = (struct err){0};
    switch (step) {
    case STEP_APPEND:
        return step_append(w);
    case STEP_FLUSH:
        return step_flush(w);
    case STEP_ROLL:
        return log_roll(w->log, &w->e);
    case STEP_CHECKPOINT:
        return write_checkpoints(w);
    case STEP_DELETE:
        return step_delete(w);
    case STEP_RETAIN:
        return step_retain(w);
    case STEP_COMPACT:
        return step_compact(w);
    case STEP_COPY:
        return step_copy(w);
    case STEP_SKIP:
        return step_skip(w);
    case STEP_TRUNCATE:
        return step_truncate(w);
    case STEP_RESET:
        return step_reset(w);
    case STEP_KILL:
        workload_kill(w);
        return workload_open(w);
    case STEP_REOPEN:
        rc = workload_close(w);
        return rc == 0 ? workload_open(w) : rc;
    case WORKLOAD_STEPS:
        break;
    }
    abort();
}

int workload_step(struct workload *w, enum workload_step *step)
{
    uint32_t sum = 0, at;

    for (int i = 0; i < WORKLOAD_STEPS; i++) {
        sum += w->plan->weights[i];
    }
    at = random_below(&w->random, sum);
    *step = 0;
    while (at >= w->plan->weights[*step]) {
        at -= w->plan->weights[(*step)++];
    }
    return workload_do(w, *step);
}
