/* engine/log/compact_group.c: which records stay, and how they are written down again.
 *
 * Every batch is read, and its records judged in order: superseded ones go, and so do tombstones whose time has come.
 * Each unbroken run of those that stay becomes an entry of its own, with the offset and position it always had; the
 * rest of the entry is the old batch's. A tombstone that stays for the first time gets a delete horizon in its run's
 * entry (KIP-534), so that who has read the value it supersedes has delete.retention.ms to read it too.
 *
 * Failure: the new files are removed, the old ones were only read. */
#include "engine/log/compact_group.h"

#include <errno.h>

#include "engine/base/bugs.h"
#include "engine/log/log_internal.h"

/* Survivors of one old batch that lie one behind the other. */
struct run {
    uint32_t number; /* of the first record in the old batch */
    uint32_t place;  /* its first byte in the old batch's bytes */
    uint32_t len;
    uint32_t records; /* 0: no run */
    bool tombstones;  /* holds some that are in the map's range */
};

struct rewrite {
    struct compact_pass *pass;
    struct segment *to;
    struct run run;
    bool changed; /* something went, or got a horizon */
};

enum verdict { GOES, STAYS, STAYS_AS_TOMBSTONE };

bool compact_is_stopped(const struct compact_pass *pass)
{
    return pass->stop != NULL && atomic_load_explicit(pass->stop, memory_order_relaxed);
}

void compact_key_value(const struct compact_pass *pass, const struct batch_record *record, struct framing_kv *kv)
{
    uint32_t newline = pass->config.framing == FRAMING_LINE ? 1 : 0;

    framing_key_value(pass->config.framing, record->data, record->len - newline, pass->config.key_separator,
                      pass->config.key_separator_len, kv);
}

static bool has_horizon(const struct batch_entry *b)
{
    return (b->attributes & BATCH_DELETE_HORIZON) != 0;
}

static enum verdict judge(const struct compact_pass *pass, const struct batch_entry *b,
                          const struct batch_record *record, int64_t offset)
{
    struct framing_kv kv;

    if (offset < pass->start_offset) {
        return GOES;
    }
    if (offset >= pass->map_end) {
        return STAYS;
    }
    compact_key_value(pass, record, &kv);
    if (kv.key == NULL) {
        return STAYS;
    }
    if (key_map_get(&pass->map, kv.key, kv.key_len) > offset) {
        return GOES;
    }
    if (!kv.tombstone) {
        return STAYS;
    }
    return has_horizon(b) && b->first_timestamp_ms <= pass->now_ms ? GOES : STAYS_AS_TOMBSTONE;
}

/* now + delete.retention.ms, which may be without end. */
static int64_t horizon_ms(const struct compact_pass *pass)
{
    int64_t retention_ms = pass->config.delete_retention_ms;

    if (retention_ms < 0 || retention_ms > INT64_MAX - pass->now_ms) {
        return INT64_MAX;
    }
    return pass->now_ms + retention_ms;
}

/* The run's tombstones keep the horizon they have, or get one; without tombstones there is none. */
static void set_horizon(struct rewrite *rw, struct batch_entry *b)
{
    if (!rw->run.tombstones) {
        if (has_horizon(b)) {
            b->attributes = (uint8_t)(b->attributes & ~BATCH_DELETE_HORIZON);
            b->first_timestamp_ms = b->last_timestamp_ms;
        }
    } else if (!has_horizon(b)) {
        b->attributes |= BATCH_DELETE_HORIZON;
        b->first_timestamp_ms = horizon_ms(rw->pass);
        rw->changed = true;
    }
}

/* Kafka's sequence numbers begin again at 0 behind the largest. */
static int32_t sequence_of(const struct batch_entry *b, uint32_t number)
{
    return b->sequence < 0 ? -1 : (int32_t)(((uint32_t)b->sequence + number) & INT32_MAX);
}

/* Writes the run, if there is one, and begins anew. */
static int flush_run(struct rewrite *rw, const struct segment_view *from, struct err *e)
{
    static const int64_t interval_max = 1 << 30;
    struct compact_pass *pass = rw->pass;
    struct run *run = &rw->run;
    struct batch_entry b = pass->reader.entry;
    const uint8_t *bytes = pass->reader.buf + run->place;
    struct framing_mark marks[LIMIT_BATCH_MARKS];
    struct framing_state st = {0};
    struct framing_result scanned;
    int64_t interval = pass->config.index_interval_bytes;
    uint32_t mark_count;
    int rc;

    if (run->records == 0) {
        return 0;
    }
    b.offset += (uint32_t)(from->base.offset - rw->to->base.offset) + run->number;
    b.position += (uint32_t)(from->base.position - rw->to->base.position) + run->place;
    b.sequence = sequence_of(&b, run->number);
    b.len = run->len;
    b.records = run->records;
    b.crc = 0;
    set_horizon(rw, &b);
    interval = interval < 1 ? 1 : interval > interval_max ? interval_max : interval;
    rc = framing_scan(pass->config.framing, &st, bytes, run->len, UINT64_MAX, &scanned, &b.crc, (uint32_t)interval,
                      marks, &mark_count, LIMIT_BATCH_MARKS);
    if (rc == 0) {
        rc = segment_build_add(rw->to, &b, bytes, marks, mark_count, interval, e);
    }
    *run = (struct run){0};
    return rc;
}

static void extend_run(struct run *run, const struct batch_record *record, bool tombstone)
{
    if (run->records == 0) {
        run->number = record->number;
        run->place = record->place;
    }
    run->len += record->len;
    run->records++;
    run->tombstones |= tombstone;
}

/* Judges and writes the batch that is in the reader. */
static int rewrite_batch(struct rewrite *rw, const struct segment_view *from, struct err *e)
{
    struct compact_pass *pass = rw->pass;
    struct batch_reader *reader = &pass->reader;
    struct batch_record record;
    int rc;

    while ((rc = batch_reader_next(reader, &record, e)) > 0) {
        int64_t offset = from->base.offset + reader->entry.offset + record.number;
        enum verdict verdict = judge(pass, &reader->entry, &record, offset);

        /* What lies behind the map's end has not been passed over: its tombstones get no horizon from those before. */
        if (verdict == GOES || offset == pass->map_end) {
            rc = flush_run(rw, from, e);
            if (rc < 0) {
                return rc;
            }
        }
        if (verdict == GOES) {
            rw->changed = true;
        } else {
            extend_run(&rw->run, &record, verdict == STAYS_AS_TOMBSTONE);
        }
    }
    return rc < 0 ? rc : flush_run(rw, from, e);
}

static int rewrite_segment(struct rewrite *rw, const struct segment_view *from, struct err *e)
{
    struct compact_pass *pass = rw->pass;

    for (uint32_t i = 0; i < from->batches; i++) {
        int rc;

        if (compact_is_stopped(pass)) {
            return err_set(e, -ECANCELED, "stopped");
        }
        rc = batch_reader_load(&pass->reader, from, i, e);
        if (rc == 0) {
            rc = rewrite_batch(rw, from, e);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

int compact_group(struct compact_pass *pass, const struct segment_view *views, uint32_t n, struct segment **out,
                  struct err *e)
{
    struct rewrite rw = {.pass = pass, .changed = n > 1};
    int rc = segment_build_begin(&pass->log->segment_env, views[0].base, ".cleaned", &rw.to, e);

    *out = NULL;
    if (rc < 0) {
        return rc;
    }
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        rc = rewrite_segment(&rw, &views[i], e);
    }
    if (rc == 0 && rw.changed) {
        rc = segment_build_finish(rw.to, BUG(compaction_loses_end) ? rw.to->end : views[n - 1].end, e);
    }
    if (rc < 0 || !rw.changed) {
        segment_build_abort(rw.to);
        return rc;
    }
    *out = rw.to;
    return 0;
}
