/* tests/unit/compact_model.c: loops over an array; nothing here is clever. */
#include "tests/unit/compact_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void make_record(struct model_record *r, int number, int keys)
{
    long what = random() % 20;

    *r = (struct model_record){.key = (int)(random() % keys)};
    if (what == 0) {
        r->key = -1;
        snprintf(r->text, sizeof r->text, "no key %d\n", number);
    } else if (what < 4) {
        r->tombstone = true;
        snprintf(r->text, sizeof r->text, "k%d=\n", r->key);
    } else {
        snprintf(r->text, sizeof r->text, "k%d=%d=%0*d\n", r->key, number, 1 + (int)(random() % 20), 7);
    }
}

void compact_model_append(struct compact_model *m, struct log_fixture *f, int keys)
{
    static char text[64 * MODEL_TEXT_BYTES];
    int records = 1 + (int)(random() % (random() % 4 == 0 ? 60 : 6));
    int64_t position = log_end(f->log).position;
    struct log_append_result result;
    size_t len = 0;

    assert_true(m->count + records <= MODEL_MAX);
    for (int i = 0; i < records; i++) {
        struct model_record *r = &m->records[m->count + i];

        make_record(r, m->count + i, keys);
        r->position = position + (int64_t)len;
        r->timestamp_ms = atomic_load(&f->now_ms);
        len += (size_t)snprintf(text + len, sizeof text - len, "%s", r->text);
    }
    result = log_fixture_append_bytes(f, text, len);
    assert_int_equal(result.base.offset, m->count);
    assert_int_equal(result.base.position, position);
    m->count += records;
}

void compact_model_roll(struct compact_model *m, struct log_fixture *f)
{
    assert_int_equal(log_roll(f->log, &f->e), 0);
    m->closed = m->count;
}

static int64_t position_of(const struct compact_model *m, struct log_fixture *f, int offset)
{
    return offset < m->count ? m->records[offset].position : log_end(f->log).position;
}

void compact_model_delete(struct compact_model *m, struct log_fixture *f, int offset)
{
    struct log_point point = {offset, position_of(m, f, offset)};

    assert_int_equal(log_delete_records(f->log, point, &f->e), 0);
    m->start = offset > m->start ? offset : m->start;
    if (m->start == m->count) {
        m->closed = m->count;
    }
}

/* Where the map is full: the first record whose key it does not know and has no room for. */
static int map_end(const struct compact_model *m, int first_dirty, size_t max_keys)
{
    size_t keys = 0;

    for (int i = first_dirty; i < m->closed; i++) {
        bool known = false;

        if (m->records[i].gone || m->records[i].key < 0) {
            continue;
        }
        for (int j = first_dirty; j < i && !known; j++) {
            known = !m->records[j].gone && m->records[j].key == m->records[i].key;
        }
        if (!known && keys++ == max_keys) {
            return i;
        }
    }
    return m->closed;
}

int compact_model_pass(struct compact_model *m, int64_t now_ms, int64_t delete_retention_ms, int first_dirty,
                       size_t max_keys)
{
    int end = map_end(m, first_dirty, max_keys);

    for (int i = 0; i < end; i++) {
        struct model_record *r = &m->records[i];
        bool superseded = false;

        if (r->gone || r->key < 0) {
            r->gone |= i < m->start;
            continue;
        }
        for (int j = i + 1; j < end && !superseded; j++) {
            superseded = !m->records[j].gone && m->records[j].key == r->key;
        }
        if (superseded || i < m->start || (r->tombstone && r->horizon_ms != 0 && r->horizon_ms <= now_ms)) {
            r->gone = true;
        } else if (r->tombstone && r->horizon_ms == 0) {
            r->horizon_ms = now_ms + delete_retention_ms;
        }
    }
    return end;
}

/* ---- checking ---- */

static bool is_shown(const struct compact_model *m, int offset)
{
    return offset >= m->start && !m->records[offset].gone;
}

/* The first shown record at or behind offset; count: none. */
static int next_shown(const struct compact_model *m, int offset)
{
    while (offset < m->count && !is_shown(m, offset)) {
        offset++;
    }
    return offset;
}

static struct log_point point_of(const struct compact_model *m, struct log_fixture *f, int offset)
{
    return (struct log_point){offset, position_of(m, f, offset)};
}

/* Extents of random size, byte by byte. */
static void check_extents(const struct compact_model *m, struct log_fixture *f)
{
    int64_t end = log_end(f->log).position;
    struct log_extent extent;
    int64_t position = 0;
    int64_t into = 0; /* bytes of the record `offset` that were seen */
    int offset = next_shown(m, 0);
    int rc;

    while ((rc = log_extent_at(f->log, position, end, 1 + (size_t)(random() % 300), &extent, &f->e)) > 0) {
        char bytes[300];
        ssize_t got = pread(extent.fd, bytes, extent.len, extent.place);

        /* Given back first: what fails below must not keep the log from closing. */
        log_extent_release(&extent);
        assert_int_equal(got, extent.len);
        for (size_t i = 0; i < extent.len; i++) {
            assert_true(offset < m->count);
            assert_int_equal(extent.position + (int64_t)i, m->records[offset].position + into);
            assert_int_equal(bytes[i], m->records[offset].text[into]);
            if (bytes[i] == '\n') {
                offset = next_shown(m, offset + 1);
                into = 0;
            } else {
                into++;
            }
        }
        position = extent.position + (int64_t)extent.len;
    }
    if (rc < 0) {
        fail_msg("%s", f->e.text);
    }
    assert_int_equal(offset, m->count);
}

/* The records of all runs are those that survive, from the run that holds the start on. */
static void check_runs(const struct compact_model *m, struct log_fixture *f)
{
    int64_t end = log_end(f->log).position;
    int64_t position = 0;
    int offset = next_shown(m, 0);
    struct log_run run;

    while (log_run_at(f->log, position, end, &run, &f->e) > 0) {
        int64_t at = run.base.position;

        for (int i = 0; i < (int)run.records; i++) {
            int number = (int)run.base.offset + i;

            assert_int_equal(m->records[number].position, at);
            assert_int_equal(m->records[number].timestamp_ms, run.timestamp_ms);
            at += (int64_t)strlen(m->records[number].text);
            if (number >= m->start) {
                assert_int_equal(number, offset);
                offset = next_shown(m, offset + 1);
            }
        }
        assert_int_equal(at, run.base.position + run.len);
        position = at;
    }
    assert_int_equal(offset, m->count);
}

static void expect_point(struct log_point got, struct log_point want)
{
    assert_int_equal(got.offset, want.offset);
    assert_int_equal(got.position, want.position);
}

static void check_lookups(const struct compact_model *m, struct log_fixture *f)
{
    struct log_point limit = log_end(f->log);
    struct log_point got;
    int64_t position;
    int64_t ms;
    int offset = (int)(random() % (m->count + 1));
    int want = next_shown(m, offset);
    int n;

    assert_int_equal(log_lookup_offset(f->log, offset, limit, &got, &f->e), 0);
    expect_point(got, point_of(m, f, want));

    position = random() % (limit.position + 1);
    want = next_shown(m, 0);
    while (want < m->count && position_of(m, f, want) + (int64_t)strlen(m->records[want].text) <= position) {
        want = next_shown(m, want + 1);
    }
    assert_int_equal(log_lookup_position(f->log, position, limit, &got, &f->e), 0);
    expect_point(got, point_of(m, f, want));

    ms = m->count > 0 ? m->records[random() % m->count].timestamp_ms + random() % 3 - 1 : 0;
    want = next_shown(m, 0);
    while (want < m->count && m->records[want].timestamp_ms < ms) {
        want = next_shown(m, want + 1);
    }
    assert_int_equal(log_lookup_time(f->log, ms, limit, &got, &f->e), 0);
    expect_point(got, point_of(m, f, want));

    n = (int)(random() % 200);
    assert_int_equal(log_lookup_last(f->log, n, limit, &got, &f->e), 0);
    want = m->count;
    for (int left = n; left > 0 && want > m->start;) {
        want--;
        left -= is_shown(m, want);
    }
    if (want > m->start || n == 0) {
        expect_point(got, point_of(m, f, want));
    } else {
        /* Fewer than n: the log start, or what is first behind it. */
        assert_int_equal(next_shown(m, (int)got.offset), next_shown(m, m->start));
    }
}

void compact_model_check(const struct compact_model *m, struct log_fixture *f)
{
    struct log_size size;
    int64_t shown = 0;

    check_extents(m, f);
    check_runs(m, f);
    for (int i = 0; i < 20; i++) {
        check_lookups(m, f);
    }
    for (int i = m->start; i < m->count; i++) {
        shown += is_shown(m, i) ? (int64_t)strlen(m->records[i].text) : 0;
    }
    log_size(f->log, &size);
    assert_int_equal(size.retained_bytes, shown);
}
