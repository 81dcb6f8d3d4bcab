/* tests/fault/ledger.c: the books, and the audit. */
#include "tests/fault/ledger.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *grown(void *memory, size_t bytes)
{
    memory = realloc(memory, bytes);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint32_t random_below(uint64_t *state, uint32_t n)
{
    return (uint32_t)(random_next(state) % n);
}

/* ---- books ---- */

void ledger_free(struct ledger *l)
{
    free(l->records);
    free(l->bytes);
    free(l->events);
    if (l->before != NULL) {
        ledger_free(l->before);
        free(l->before);
    }
    *l = (struct ledger){0};
}

void ledger_add(struct ledger *l, const void *bytes, size_t len, int key, bool tombstone, bool first,
                int64_t timestamp_ms, uint32_t begun)
{
    if (l->count == l->max) {
        l->max = l->max == 0 ? 256 : 2 * l->max;
        l->records = grown(l->records, (size_t)l->max * sizeof *l->records);
    }
    if (l->size + (int64_t)len > l->bytes_max) {
        l->bytes_max = 2 * (l->size + (int64_t)len);
        l->bytes = grown(l->bytes, (size_t)l->bytes_max);
    }
    l->records[l->count++] = (struct ledger_record){.epoch = LEDGER_UNSIGNED,
                                                    .position = l->size,
                                                    .len = (uint32_t)len,
                                                    .key = key,
                                                    .tombstone = tombstone,
                                                    .first = first,
                                                    .timestamp_ms = timestamp_ms,
                                                    .producer_id = -1,
                                                    .sequence = -1,
                                                    .begun = begun,
                                                    .acked = UINT32_MAX};
    memcpy(l->bytes + l->size, bytes, len);
    l->size += (int64_t)len;
}

void ledger_acked(struct ledger *l, int64_t from, uint32_t moment)
{
    for (; from < l->count; from++) {
        l->records[from].acked = moment;
    }
}

void ledger_take_back(struct ledger *l, int64_t from)
{
    l->size = ledger_point(l, from).position;
    l->count = from;
}

void ledger_event(struct ledger *l, enum ledger_kind kind, struct log_point point, uint32_t begun, uint32_t done)
{
    if (l->event_count == l->event_max) {
        l->event_max = l->event_max == 0 ? 64 : 2 * l->event_max;
        l->events = grown(l->events, l->event_max * sizeof *l->events);
    }
    l->events[l->event_count++] = (struct ledger_event){.kind = kind, .begun = begun, .done = done, .point = point};
}

/* Record o of another book, as it stands there. */
static void ledger_add_as(struct ledger *to, const struct ledger *from, int64_t o)
{
    const struct ledger_record *r = &from->records[o];
    struct ledger_record *added;

    ledger_add(to, from->bytes + r->position, r->len, r->key, r->tombstone, r->first, r->timestamp_ms, r->begun);
    added = &to->records[to->count - 1];
    *added = *r;
    added->position = to->size - r->len;
}

void ledger_add_hole(struct ledger *l, struct log_point to, uint32_t begun)
{
    static const uint8_t nothing[4096];

    for (bool first = true; l->count < to.offset; first = false) {
        int64_t left = to.position - l->size, records = to.offset - l->count;
        int64_t len = records == 1 ? left : left / records;

        if (len < 1 || len > (int64_t)sizeof nothing) {
            abort();
        }
        ledger_add(l, nothing, (size_t)len, -1, false, first, 0, begun);
        l->records[l->count - 1].hole = true;
    }
}

void ledger_sign(struct ledger *l, int64_t from, int32_t epoch, int64_t producer_id, int32_t sequence)
{
    for (int64_t o = from; o < l->count; o++) {
        l->records[o].epoch = epoch;
        l->records[o].producer_id = producer_id;
        l->records[o].sequence = producer_id < 0 ? -1 : sequence + (int32_t)(o - from);
    }
}

void ledger_cut(struct ledger *l, struct log_point to, bool reset, uint32_t begun)
{
    struct ledger *before = grown(NULL, sizeof *before);

    *before = *l;
    *l = (struct ledger){.before = before, .cut_begun = begun, .cut_done = UINT32_MAX, .cut_to = to, .reset = reset};
    for (int64_t o = 0; o < to.offset && !reset; o++) {
        ledger_add_as(l, before, o);
    }
    if (to.offset > l->count) {
        ledger_add_hole(l, to, 0);
    }
    for (uint32_t i = 0; i < before->event_count; i++) {
        const struct ledger_event *event = &before->events[i];
        struct log_point point = event->point.offset < to.offset ? event->point : to;

        ledger_event(l, event->kind, point, event->begun, event->done);
    }
    if (reset) {
        ledger_event(l, LEDGER_STARTED, to, begun, begun);
    }
}

void ledger_cut_done(struct ledger *l, uint32_t moment)
{
    l->cut_done = moment;
    if (l->reset) {
        ledger_event(l, LEDGER_FLUSHED, l->cut_to, l->cut_begun, moment);
        ledger_event(l, LEDGER_TRIMMED, l->cut_to, l->cut_begun, moment);
    }
}

void ledger_cut_refused(struct ledger *l)
{
    struct ledger *before = l->before;

    l->before = NULL;
    ledger_free(l);
    *l = *before;
    free(before);
}

void ledger_copy(struct ledger *to, const struct ledger *from, const struct image *image)
{
    *to = (struct ledger){0};
    for (int64_t o = 0; o < image->end.offset; o++) {
        ledger_add_as(to, from, o);
        to->records[o].begun = 0;
    }
    ledger_acked(to, 0, 0);
    ledger_event(to, LEDGER_FLUSHED, image->end, 0, 0);
    ledger_event(to, LEDGER_STARTED, image->start, 0, 0);
    ledger_event(to, LEDGER_TRIMMED, image->start, 0, 0);
    ledger_event(to, LEDGER_COMPACTED, image->end, 0, 0);
}

struct log_point ledger_end(const struct ledger *l)
{
    return (struct log_point){l->count, l->size};
}

struct log_point ledger_point(const struct ledger *l, int64_t offset)
{
    return offset < l->count ? (struct log_point){offset, l->records[offset].position} : ledger_end(l);
}

/* ---- images ---- */

/* Where the image's bytes of a run begin: the start may lie in it. */
static int64_t run_from(const struct image *image, const struct log_run *run)
{
    return run->base.position > image->start.position ? run->base.position : image->start.position;
}

static size_t run_bytes(const struct image *image, const struct log_run *run)
{
    return (size_t)(run->base.position + run->len - run_from(image, run));
}

static int read_run(struct image *image, struct log *log, const struct log_run *run, struct err *e)
{
    struct log_extent extent;
    size_t len = run_bytes(image, run);
    size_t done = 0;

    if (image->size + len > image->bytes_max) {
        image->bytes_max = 2 * (image->size + len);
        image->bytes = grown(image->bytes, image->bytes_max);
    }
    while (done < len) {
        int64_t position = run_from(image, run) + (int64_t)done;
        int rc = log_extent_at(log, position, run->base.position + run->len, len - done, &extent, e);

        if (rc < 0) {
            return rc;
        }
        if (rc == 0 || extent.position != position) {
            if (rc > 0) {
                log_extent_release(&extent);
            }
            return err_set(e, -EBADMSG, "a run of %u bytes at %" PRId64 " has no bytes at %" PRId64, run->len,
                           run->base.position, position);
        }
        if (pread(extent.fd, image->bytes + image->size + done, extent.len, extent.place) != (ssize_t)extent.len) {
            log_extent_release(&extent);
            return err_set(e, -EIO, "cannot read an extent");
        }
        done += extent.len;
        log_extent_release(&extent);
    }
    image->size += len;
    return 0;
}

int image_read(struct image *image, struct log *log, struct err *e)
{
    struct log_run run;
    int64_t position;
    int rc;

    *image = (struct image){.start = log_start(log), .end = log_end(log)};
    position = image->start.position;
    while ((rc = log_run_at(log, position, image->end.position, &run, e)) > 0) {
        /* The run that the start lies in is looked at from its beginning. */
        if (run.base.position + run.len <= position) {
            return err_set(e, -EBADMSG, "the run at %" PRId64 " is the one at %" PRId64, position, run.base.position);
        }
        rc = read_run(image, log, &run, e);
        if (rc < 0) {
            return rc;
        }
        if (image->count == image->max) {
            image->max = image->max == 0 ? 32 : 2 * image->max;
            image->runs = grown(image->runs, image->max * sizeof *image->runs);
        }
        image->runs[image->count++] = run;
        position = run.base.position + run.len;
    }
    return rc;
}

void image_free(struct image *image)
{
    free(image->runs);
    free(image->bytes);
    *image = (struct image){0};
}

bool image_equal(const struct image *a, const struct image *b, struct err *e)
{
    if (a->start.offset != b->start.offset || a->start.position != b->start.position ||
        a->end.offset != b->end.offset || a->end.position != b->end.position) {
        err_set(e, 0,
                "[%" PRId64 "@%" PRId64 ", %" PRId64 "@%" PRId64 ") is now [%" PRId64 "@%" PRId64 ", %" PRId64
                "@%" PRId64 ")",
                a->start.offset, a->start.position, a->end.offset, a->end.position, b->start.offset, b->start.position,
                b->end.offset, b->end.position);
        return false;
    }
    if (a->count != b->count || a->size != b->size) {
        err_set(e, 0, "%u runs of %zu bytes are now %u of %zu", a->count, a->size, b->count, b->size);
        return false;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        const struct log_run *x = &a->runs[i], *y = &b->runs[i];

        if (x->base.offset != y->base.offset || x->base.position != y->base.position || x->len != y->len ||
            x->records != y->records || x->timestamp_ms != y->timestamp_ms) {
            err_set(e, 0, "run %u at %" PRId64 "@%" PRId64 " is now at %" PRId64 "@%" PRId64, i, x->base.offset,
                    x->base.position, y->base.offset, y->base.position);
            return false;
        }
    }
    if (a->size > 0 && memcmp(a->bytes, b->bytes, a->size) != 0) {
        err_set(e, 0, "other bytes");
        return false;
    }
    return true;
}

/* ---- the audit ---- */

struct audit {
    const struct ledger *l;
    const struct image *image;
    uint32_t moment;
    struct log_point flushed;   /* everything below is there */
    struct log_point start_max; /* the start may be here at most */
    struct log_point start_min; /* and here at least */
    bool compacted;
    struct err *e;
};

static bool wrong(struct audit *a, const char *what, int64_t x, int64_t y)
{
    err_set(a->e, 0, "%s: %" PRId64 ", %" PRId64, what, x, y);
    return false;
}

/* Moment 0: before the recording began. */
static bool has_begun(uint32_t begun, uint32_t moment)
{
    return begun == 0 || begun < moment;
}

static void gather(struct audit *a, bool lost)
{
    const struct ledger *l = a->l;

    for (uint32_t i = 0; i < l->event_count; i++) {
        const struct ledger_event *event = &l->events[i];
        bool begun = has_begun(event->begun, a->moment);
        bool done = event->done <= a->moment;

        if (event->kind == LEDGER_FLUSHED && done && event->point.offset > a->flushed.offset) {
            a->flushed = event->point;
        } else if (event->kind == LEDGER_STARTED && begun && event->point.offset > a->start_max.offset) {
            a->start_max = event->point;
        } else if (event->kind == LEDGER_TRIMMED && done && event->point.offset > a->start_min.offset) {
            a->start_min = event->point;
        } else if (event->kind == LEDGER_COMPACTED && begun) {
            a->compacted = true;
        }
    }
    for (int64_t o = 0; !lost && o < l->count && l->records[o].acked <= a->moment; o++) {
        a->flushed = ledger_point(l, o + 1);
    }
}

static bool check_ends(struct audit *a)
{
    struct log_point start = a->image->start, end = a->image->end;
    const struct ledger *l = a->l;

    if (end.offset < a->flushed.offset) {
        return wrong(a, "ends before what was acknowledged", end.offset, a->flushed.offset);
    }
    if (end.offset > l->count || (end.offset > 0 && !has_begun(l->records[end.offset - 1].begun, a->moment))) {
        return wrong(a, "ends behind what was ever appended", end.offset, l->count);
    }
    if (end.position != ledger_point(l, end.offset).position) {
        return wrong(a, "the end's position is not its offset's", end.position, ledger_point(l, end.offset).position);
    }
    /* After the loss of all that was not deleted anyway it begins anew at its start, which may lie within a batch. */
    if (end.offset < l->count && !l->records[end.offset].first && end.offset != start.offset) {
        return wrong(a, "ends within a batch", end.offset, l->count);
    }
    if (start.offset > end.offset || start.position > end.position) {
        return wrong(a, "starts behind its end", start.offset, end.offset);
    }
    if (start.position != ledger_point(l, start.offset).position) {
        return wrong(a, "the start's position is not its offset's", start.position,
                     ledger_point(l, start.offset).position);
    }
    if (start.offset > a->start_max.offset) {
        return wrong(a, "starts behind what was ever to be deleted", start.offset, a->start_max.offset);
    }
    if (start.offset < a->start_min.offset && start.offset < end.offset) {
        return wrong(a, "starts before what was deleted", start.offset, a->start_min.offset);
    }
    return true;
}

static bool check_run(struct audit *a, const struct log_run *run, const char *bytes)
{
    const struct ledger *l = a->l;
    int64_t end = run->base.offset + run->records;

    if (run->records == 0 || end > a->image->end.offset) {
        return wrong(a, "a run reaches behind the end", run->base.offset, end);
    }
    if (run->base.position != l->records[run->base.offset].position) {
        return wrong(a, "a record has moved", run->base.position, l->records[run->base.offset].position);
    }
    if (run->base.position + run->len != ledger_point(l, end).position) {
        return wrong(a, "a run ends within a record", run->base.position + run->len, ledger_point(l, end).position);
    }
    if (run->timestamp_ms != l->records[run->base.offset].timestamp_ms) {
        return wrong(a, "a run has another time", run->timestamp_ms, l->records[run->base.offset].timestamp_ms);
    }
    for (int64_t o = run->base.offset; o < end; o++) {
        if (l->records[o].hole) {
            return wrong(a, "a record where there is a hole", o, end);
        }
        if (l->records[o].epoch != LEDGER_UNSIGNED &&
            (l->records[o].epoch != run->entry.leader_epoch || l->records[o].producer_id != run->entry.producer_id)) {
            return wrong(a, "a record of another epoch or producer", o, run->entry.leader_epoch);
        }
    }
    if (memcmp(bytes, l->bytes + run_from(a->image, run), run_bytes(a->image, run)) != 0) {
        return wrong(a, "other bytes than were appended", run->base.offset, run->base.position);
    }
    return true;
}

/* Whether compaction may have taken the record: a later one of its key is there, or the last one is a tombstone. */
static bool may_be_gone(const struct audit *a, const bool *there, int64_t offset)
{
    int key = a->l->records[offset].key;
    bool tombstone = a->l->records[offset].tombstone;

    if (a->l->records[offset].hole) {
        return true;
    }
    if (!a->compacted || key < 0) {
        return false;
    }
    for (int64_t o = offset + 1; o < a->image->end.offset; o++) {
        if (a->l->records[o].key == key) {
            if (there[o]) {
                return true;
            }
            tombstone = a->l->records[o].tombstone;
        }
    }
    return tombstone;
}

static bool check_content(struct audit *a, bool *there)
{
    const char *bytes = a->image->bytes;
    int64_t behind = 0;

    for (uint32_t i = 0; i < a->image->count; i++) {
        const struct log_run *run = &a->image->runs[i];

        if (run->base.offset < behind) {
            return wrong(a, "runs overlap", run->base.offset, behind);
        }
        if (!check_run(a, run, bytes)) {
            return false;
        }
        bytes += run_bytes(a->image, run);
        behind = run->base.offset + run->records;
        for (int64_t o = run->base.offset; o < behind; o++) {
            there[o] = true;
        }
    }
    for (int64_t o = a->image->start.offset; o < a->image->end.offset; o++) {
        if (!there[o] && !may_be_gone(a, there, o)) {
            return wrong(a, "a record is missing", o, a->image->end.offset);
        }
    }
    return true;
}

/* One book. cut: it was being left, for the next one. */
static bool check_book(const struct ledger *l, const struct ledger *next, const struct image *image, uint32_t moment,
                       bool lost, struct err *e)
{
    struct audit audit = {.l = l, .image = image, .moment = moment, .e = e};
    bool *there = grown(NULL, (size_t)l->count + 1);
    bool good;

    memset(there, 0, (size_t)l->count + 1);
    gather(&audit, lost);
    if (next != NULL && has_begun(next->cut_begun, moment)) {
        /* Some of what lies behind the point is gone, or nothing; of a reset any of it. */
        if (audit.flushed.offset > next->cut_to.offset || next->reset) {
            audit.flushed = next->reset ? (struct log_point){0, 0} : next->cut_to;
        }
        if (next->reset) {
            audit.start_max = ledger_end(l);
        }
    }
    good = check_ends(&audit) && check_content(&audit, there);
    free(there);
    return good;
}

const struct ledger *ledger_check(const struct ledger *l, const struct image *image, uint32_t moment, bool lost,
                                  struct err *e)
{
    const struct ledger *next = NULL;

    while (l->before != NULL && l->cut_done > moment) {
        next = l;
        l = l->before;
    }
    if (check_book(l, next, image, moment, lost, e)) {
        return l;
    }
    /* The cut may have been done, and nobody have been told yet. */
    if (next != NULL && has_begun(next->cut_begun, moment) && image->end.offset == next->cut_to.offset &&
        check_book(next, NULL, image, moment, false, e)) {
        return next;
    }
    return NULL;
}

/* ---- epochs and producers ---- */

bool ledger_check_epochs(const struct ledger *l, const struct image *image, struct log *log, struct err *e)
{
    struct log_point end;
    int32_t found;

    (void)l;
    for (uint32_t i = 0; i < image->count; i++) {
        const struct log_run *run = &image->runs[i];
        int32_t epoch = run->entry.leader_epoch;

        log_epoch_end(log, epoch, &found, &end);
        if (found != epoch || end.offset < run->base.offset + run->records) {
            err_set(e, 0, "epoch %d of offset %" PRId64 " ends at %" PRId64, epoch, run->base.offset, end.offset);
            return false;
        }
        if (epoch > 0) {
            log_epoch_end(log, epoch - 1, &found, &end);
            if (end.offset > run->base.offset && run->base.offset >= image->start.offset) {
                err_set(e, 0, "an epoch before %d ends at %" PRId64 ", behind offset %" PRId64, epoch, end.offset,
                        run->base.offset);
                return false;
            }
        }
    }
    return true;
}

bool ledger_check_producers(const struct ledger *l, const struct image *image, struct log *log, struct err *e)
{
    enum { IDS = 8 };
    int64_t last[IDS];

    for (int id = 0; id < IDS; id++) {
        last[id] = -1;
    }
    for (uint32_t i = 0; i < image->count; i++) {
        const struct log_run *run = &image->runs[i];

        if (run->entry.producer_id >= 0 && run->entry.producer_id < IDS) {
            last[run->entry.producer_id] = run->base.offset + run->records - 1;
        }
    }
    for (int id = 0; id < IDS; id++) {
        struct producer_state known = {.last_offset = -1};
        int64_t o;

        if (log_producer(log, id, 0, 0, &known) == PRODUCER_UNKNOWN) {
            known.last_offset = -1;
        }
        o = known.last_offset;
        /* Compaction and retention take records, and leave what is known of who wrote them. */
        if (o < last[id] || o >= image->end.offset ||
            (o > last[id] && (l->records[o].hole || l->records[o].producer_id != id))) {
            err_set(e, 0, "producer %d was last at %" PRId64 ", but is said to have been at %" PRId64, id, last[id], o);
            return false;
        }
        if (o >= 0 && known.last_sequence != l->records[o].sequence) {
            err_set(e, 0, "producer %d: sequence %d instead of %d at %" PRId64, id, known.last_sequence,
                    l->records[o].sequence, o);
            return false;
        }
    }
    return true;
}

/* ---- look-ups ---- */

/* A record of the image. */
struct found {
    struct log_point at;
    int64_t behind; /* position */
    int64_t timestamp_ms;
};

static uint32_t list_records(const struct image *image, enum framing framing, struct found *out)
{
    const uint8_t *bytes = (const uint8_t *)image->bytes;
    uint32_t n = 0;

    for (uint32_t i = 0; i < image->count; i++) {
        const struct log_run *run = &image->runs[i];
        int64_t end = run->base.position + run->len;
        struct log_point at = run->base.offset > image->start.offset ? run->base : image->start;

        while (at.position < end) {
            size_t len = framing_record_len(framing, bytes, (size_t)(end - at.position));

            if (len == 0) {
                abort();
            }
            out[n++] = (struct found){at, at.position + (int64_t)len, run->timestamp_ms};
            bytes += len;
            at.offset++;
            at.position += (int64_t)len;
        }
    }
    return n;
}

static bool is_found(int rc, struct log_point got, struct log_point expected, const char *what, int64_t value,
                     struct err *e)
{
    if (rc < 0) {
        err_wrap(e, 0, "look-up of %s %" PRId64, what, value);
        return false;
    }
    if (got.offset != expected.offset || got.position != expected.position) {
        err_set(e, 0, "look-up of %s %" PRId64 ": %" PRId64 "@%" PRId64 " instead of %" PRId64 "@%" PRId64, what, value,
                got.offset, got.position, expected.offset, expected.position);
        return false;
    }
    return true;
}

bool ledger_check_lookups(const struct image *image, struct log *log, enum framing framing, uint64_t *random,
                          struct err *e)
{
    uint32_t count = 0;
    struct found *all;
    bool good = true;

    for (uint32_t i = 0; i < image->count; i++) {
        count += image->runs[i].records;
    }
    all = grown(NULL, (count + 1) * sizeof *all);
    count = list_records(image, framing, all);
    for (int round = 0; round < 3 && good && count > 0; round++) {
        const struct found *aim = &all[random_below(random, count)];
        struct log_point got;
        uint32_t i = 0, last = 1 + random_below(random, count);
        int rc = log_lookup_offset(log, aim->at.offset, image->end, &got, e);

        good = is_found(rc, got, aim->at, "offset", aim->at.offset, e);
        if (good) {
            rc = log_lookup_position(log, aim->behind - 1, image->end, &got, e);
            good = is_found(rc, got, aim->at, "position", aim->behind - 1, e);
        }
        if (good) {
            while (all[i].timestamp_ms < aim->timestamp_ms) {
                i++;
            }
            rc = log_lookup_time(log, aim->timestamp_ms, image->end, &got, e);
            good = is_found(rc, got, all[i].at, "time", aim->timestamp_ms, e);
        }
        if (good) {
            rc = log_lookup_last(log, last, image->end, &got, e);
            good = is_found(rc, got, all[count - last].at, "last", last, e);
        }
    }
    free(all);
    return good;
}
