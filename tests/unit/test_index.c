/* tests/unit/test_index.c: the two sparse indexes. Bytes as docs/DISK_FORMAT.md lays them down. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/segment/index.h"

static int make_file(void)
{
    char path[] = "/dev/shm/logmnt-test-index-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    return fd;
}

static void entries_are_little_endian(void **state)
{
    static const uint8_t point[8] = {0x04, 0x03, 0x02, 0x01, 0x40, 0x30, 0x20, 0x10};
    static const uint8_t time[12] = {8, 7, 6, 5, 4, 3, 2, 1, 0x0d, 0x0c, 0x0b, 0x0a};
    uint8_t bytes[12];

    (void)state;
    index_entry_encode(&(struct index_entry){.offset = 0x01020304, .place = 0x10203040}, bytes);
    assert_memory_equal(bytes, point, sizeof point);
    assert_int_equal(index_entry_decode(point).offset, 0x01020304);
    assert_int_equal(index_entry_decode(point).place, 0x10203040);
    timeindex_entry_encode(&(struct timeindex_entry){.timestamp_ms = 0x0102030405060708, .offset = 0x0a0b0c0d}, bytes);
    assert_memory_equal(bytes, time, sizeof time);
    assert_int_equal(timeindex_entry_decode(time).timestamp_ms, 0x0102030405060708);
    assert_int_equal(timeindex_entry_decode(time).offset, 0x0a0b0c0d);
}

static void capacity_is_in_whole_entries(void **state)
{
    struct index ix;

    (void)state;
    index_init(&ix, INDEX_ENTRY_BYTES, 23, 0);
    assert_int_equal(ix.capacity, 2);
    assert_false(index_full(&ix));
    index_publish(&ix, 2);
    assert_true(index_full(&ix));
    assert_int_equal(index_bytes(&ix), 16);
    /* A smaller setting does not lose what is there. */
    index_init(&ix, TIMEINDEX_ENTRY_BYTES, 23, 7);
    assert_int_equal(index_count(&ix), 7);
    assert_true(index_full(&ix));
    /* One entry is the least. */
    index_init(&ix, TIMEINDEX_ENTRY_BYTES, 4, 0);
    assert_int_equal(ix.capacity, 1);
}

static void what_is_written_counts_when_published(void **state)
{
    const struct index_entry entries[] = {{10, 1000}, {20, 2000}, {30, 3000}};
    struct io *io = io_posix();
    int fd = make_file();
    struct index ix;

    (void)state;
    index_init(&ix, INDEX_ENTRY_BYTES, 800, 0);
    assert_int_equal(index_map(&ix, io, fd, false, NULL), 0);
    assert_int_equal(index_write(&ix, io, fd, entries, 3), 0);
    assert_int_equal(index_count(&ix), 0);
    index_publish(&ix, 3);
    assert_int_equal(index_count(&ix), 3);
    assert_int_equal(index_at(&ix, 1).offset, 20);
    assert_int_equal(index_at(&ix, 2).place, 3000);
    /* The next write goes behind them. */
    assert_int_equal(index_write(&ix, io, fd, &(struct index_entry){40, 4000}, 1), 0);
    index_publish(&ix, 1);
    assert_int_equal(index_at(&ix, 3).offset, 40);
    assert_int_equal(lseek(fd, 0, SEEK_END), 32);
    index_unmap(&ix, io);
    /* The count lives on; a closed segment's is mapped exactly. */
    assert_int_equal(index_map(&ix, io, fd, true, NULL), 0);
    assert_int_equal(ix.map_bytes, 32);
    assert_int_equal(index_at(&ix, 3).place, 4000);
    index_unmap(&ix, io);
    close(fd);
}

static void an_empty_one_needs_no_mapping(void **state)
{
    struct index ix;

    (void)state;
    index_init(&ix, INDEX_ENTRY_BYTES, 800, 0);
    assert_int_equal(index_map(&ix, io_posix(), -1, true, NULL), 0);
    assert_null(ix.map);
    assert_int_equal(index_below_offset(&ix, 0, 5), 0);
    index_unmap(&ix, io_posix());
}

static void searches_count_what_is_below(void **state)
{
    struct io *io = io_posix();
    int fd = make_file();
    struct index ix;

    (void)state;
    index_init(&ix, INDEX_ENTRY_BYTES, 8000, 0);
    assert_int_equal(index_map(&ix, io, fd, false, NULL), 0);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(index_write(&ix, io, fd, &(struct index_entry){10 * i + 5, 100 * i + 50}, 1), 0);
        index_publish(&ix, 1);
    }
    for (uint64_t x = 0; x < 1100; x++) {
        /* Entries 5, 15, 25, …: below x are those with 10 i + 5 < x. */
        uint32_t want = x <= 5 ? 0 : (uint32_t)((x - 6) / 10 + 1);

        assert_int_equal(index_below_offset(&ix, 100, x), want > 100 ? 100 : want);
        assert_int_equal(index_below_place(&ix, 100, 10 * x), want > 100 ? 100 : want);
    }
    /* Only among those that the caller knows of. */
    assert_int_equal(index_below_offset(&ix, 30, UINT64_MAX), 30);
    index_unmap(&ix, io);
    close(fd);
}

static void times_are_searched_both_ways(void **state)
{
    struct io *io = io_posix();
    int fd = make_file();
    struct index ix;

    (void)state;
    index_init(&ix, TIMEINDEX_ENTRY_BYTES, 1200, 0);
    assert_int_equal(index_map(&ix, io, fd, false, NULL), 0);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(timeindex_write(&ix, io, fd, &(struct timeindex_entry){-50 + (int64_t)i, 3 * i}), 0);
        index_publish(&ix, 1);
    }
    assert_true(index_full(&ix));
    assert_int_equal(lseek(fd, 0, SEEK_END), 1200);
    assert_int_equal(timeindex_below_time(&ix, 100, -50), 0);
    assert_int_equal(timeindex_below_time(&ix, 100, 0), 50);
    assert_int_equal(timeindex_below_time(&ix, 100, 1000), 100);
    assert_int_equal(timeindex_below_offset(&ix, 100, 0), 0);
    assert_int_equal(timeindex_below_offset(&ix, 100, 150), 50);
    assert_int_equal(timeindex_at(&ix, 99).timestamp_ms, 49);
    index_unmap(&ix, io);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_little_endian),
        cmocka_unit_test(capacity_is_in_whole_entries),
        cmocka_unit_test(what_is_written_counts_when_published),
        cmocka_unit_test(an_empty_one_needs_no_mapping),
        cmocka_unit_test(searches_count_what_is_below),
        cmocka_unit_test(times_are_searched_both_ways),
    };

    return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
