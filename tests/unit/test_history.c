/* tests/unit/test_history.c: a stream's reader may seek back over the last MiB. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "fs/consume/history.h"

/* The byte that a stream has at a position, for telling places apart. */
static uint8_t byte_at(int64_t pos)
{
    return (uint8_t)((uint64_t)pos * 167 + (uint64_t)pos / 251);
}

static void append(struct history *history, size_t len)
{
    uint8_t *data = malloc(len);

    assert_non_null(data);
    for (size_t i = 0; i < len; i++) {
        data[i] = byte_at(history->end + (int64_t)i);
    }
    assert_int_equal(history_append(history, data, len), 0);
    free(data);
}

static void expect(const struct history *history, int64_t pos, size_t len, int64_t count)
{
    uint8_t *out = malloc(len);

    assert_non_null(out);
    assert_int_equal(history_read(history, pos, out, len), count);
    for (int64_t i = 0; i < count; i++) {
        assert_int_equal(out[i], byte_at(pos + i));
    }
    free(out);
}

static void an_empty_stream_ends_at_its_start(void **state)
{
    struct history history = {0};

    (void)state;
    expect(&history, 0, 10, 0);
    expect(&history, 1, 10, -EINVAL);
    expect(&history, -1, 10, -EINVAL);
    history_free(&history);
}

static void what_was_shown_can_be_read_again(void **state)
{
    struct history history = {0};

    (void)state;
    append(&history, 10);
    append(&history, 10);
    expect(&history, 0, 100, 20);
    expect(&history, 5, 7, 7);
    expect(&history, 19, 1, 1);
    expect(&history, 20, 1, 0);
    expect(&history, 21, 1, -EINVAL);
    history_free(&history);
}

static void only_the_last_mebibyte_is_kept(void **state)
{
    struct history history = {0};

    (void)state;
    append(&history, LIMIT_STREAM_BACK_BYTES);
    expect(&history, 0, LIMIT_STREAM_BACK_BYTES, LIMIT_STREAM_BACK_BYTES);
    append(&history, 1);
    expect(&history, 0, 1, -EINVAL);
    expect(&history, 1, LIMIT_STREAM_BACK_BYTES, LIMIT_STREAM_BACK_BYTES);
    assert_int_equal(history.capacity, LIMIT_STREAM_BACK_BYTES);
    history_free(&history);
}

static void of_more_than_a_mebibyte_at_once_the_end_is_kept(void **state)
{
    struct history history = {0};

    (void)state;
    append(&history, 100);
    append(&history, 3 * LIMIT_STREAM_BACK_BYTES + 17);
    assert_int_equal(history.end, 3 * LIMIT_STREAM_BACK_BYTES + 117);
    expect(&history, history.end - LIMIT_STREAM_BACK_BYTES, LIMIT_STREAM_BACK_BYTES, LIMIT_STREAM_BACK_BYTES);
    expect(&history, history.end - LIMIT_STREAM_BACK_BYTES - 1, 1, -EINVAL);
    history_free(&history);
}

static void growing_loses_nothing_wherever_the_ring_stands(void **state)
{
    struct history history = {.end = 4000}; /* the first ring of 4096 bytes goes round in the middle of this */

    (void)state;
    append(&history, 3000);
    append(&history, 3000);
    append(&history, 20000);
    expect(&history, 4000, 26000, 26000);
    history_free(&history);
}

static void many_small_pieces_are_as_good_as_one(void **state)
{
    struct history history = {0};

    (void)state;
    for (int i = 0; i < 3000; i++) {
        append(&history, (size_t)(i * 7 % 1500));
        expect(&history, history.end - (int64_t)history.len, LIMIT_STREAM_BACK_BYTES, (int64_t)history.len);
    }
    assert_int_equal(history.len, LIMIT_STREAM_BACK_BYTES);
    history_free(&history);
}

static void a_quiet_stream_costs_little(void **state)
{
    struct history history = {0};

    (void)state;
    append(&history, 50);
    assert_in_range(history.capacity, 50, 4096);
    history_free(&history);
    assert_null(history.ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_stream_ends_at_its_start),
        cmocka_unit_test(what_was_shown_can_be_read_again),
        cmocka_unit_test(only_the_last_mebibyte_is_kept),
        cmocka_unit_test(of_more_than_a_mebibyte_at_once_the_end_is_kept),
        cmocka_unit_test(growing_loses_nothing_wherever_the_ring_stands),
        cmocka_unit_test(many_small_pieces_are_as_good_as_one),
        cmocka_unit_test(a_quiet_stream_costs_little),
    };

    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
