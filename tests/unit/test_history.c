/* tests/unit/test_history.c: a stream's reader may seek back over the last MiB. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "fs/consume/history.h"

enum { SMALL = 16384 }; /* the largest piece that small ones share */

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
    assert_int_equal(history.capacity, LIMIT_STREAM_BACK_BYTES + SMALL); /* the byte is in a new piece */
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

static void growing_loses_nothing_wherever_it_begins(void **state)
{
    struct history history = {.end = 4000};

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
    assert_true(history.capacity <= LIMIT_STREAM_BACK_BYTES + 2 * SMALL);
    history_free(&history);
}

static void a_quiet_stream_costs_little(void **state)
{
    struct history history = {0};

    (void)state;
    append(&history, 50);
    assert_in_range(history.capacity, 50, 4096);
    history_free(&history);
    assert_null(history.first);
}

/* ---- pieces that others have filled ---- */

static struct history_piece *filled(const struct history *history, size_t capacity, size_t len)
{
    struct history_piece *piece = history_piece_new(capacity);

    assert_non_null(piece);
    for (size_t i = 0; i < len; i++) {
        piece->bytes[i] = byte_at(history->end + (int64_t)i);
    }
    return piece;
}

static void append_piece(struct history *history, size_t capacity, size_t len)
{
    struct history_piece *piece = filled(history, capacity, len);

    assert_int_equal(history_append_piece(history, piece, len, history->end + (int64_t)len), 0);
    history_piece_unref(piece);
}

static void pieces_and_copies_follow_each_other(void **state)
{
    struct history history = {0};

    (void)state;
    append(&history, 10);
    append_piece(&history, 100000, 70000);
    append(&history, 7);                /* behind those that the piece was filled with */
    append_piece(&history, 100000, 20); /* is copied */
    append_piece(&history, 100000, 100000);
    assert_int_equal(history.end, 170037);
    expect(&history, 0, 170037, 170037);
    expect(&history, 70009, 3, 3);
    expect(&history, 70030, 100000, 100000);
    history_free(&history);
}

static void of_pieces_too_only_the_last_mebibyte_is_kept(void **state)
{
    enum { LEN = 300000 };
    struct history history = {0};

    (void)state;
    for (int i = 0; i < 20; i++) {
        append_piece(&history, LEN, LEN);
    }
    assert_int_equal(history.len, LIMIT_STREAM_BACK_BYTES);
    assert_true(history.capacity < LIMIT_STREAM_BACK_BYTES + LEN);
    expect(&history, history.end - LIMIT_STREAM_BACK_BYTES, LIMIT_STREAM_BACK_BYTES, LIMIT_STREAM_BACK_BYTES);
    expect(&history, history.end - LIMIT_STREAM_BACK_BYTES - 1, 1, -EINVAL);
    history_free(&history);
}

/* A piece with little in it would hold more memory than it saves copying. */
static void a_piece_that_is_mostly_empty_is_not_kept(void **state)
{
    struct history history = {0};

    (void)state;
    append_piece(&history, LIMIT_STREAM_BACK_BYTES, 50000);
    assert_in_range(history.capacity, 50000, 50000 + SMALL);
    expect(&history, 0, 50000, 50000);
    history_free(&history);
}

/* A READ may still be answered from a piece when what is in it has been taken back, or is kept no more. */
static void what_a_piece_was_filled_with_stays(void **state)
{
    enum { LEN = 50000, CUT = 1000 };
    struct history history = {0};
    struct history_piece *piece = filled(&history, LEN, LEN);

    (void)state;
    assert_int_equal(history_append_piece(&history, piece, LEN, LEN), 0);
    history_cut(&history, CUT);
    expect(&history, 0, LEN, CUT);
    assert_int_equal(history_append(&history, "others", 6), 0);
    for (int64_t i = 0; i < LEN; i++) {
        assert_int_equal(piece->bytes[i], byte_at(i));
    }
    assert_int_equal(history.end, CUT + 6);
    history_free(&history);
    assert_int_equal(piece->bytes[LEN - 1], byte_at(LEN - 1));
    history_piece_unref(piece);
}

static void what_was_not_shown_yet_is_kept_beside_the_last_mebibyte(void **state)
{
    struct history history = {0};
    struct history_piece *piece;

    (void)state;
    append_piece(&history, LIMIT_STREAM_BACK_BYTES, LIMIT_STREAM_BACK_BYTES);
    piece = filled(&history, LIMIT_STREAM_BACK_BYTES, LIMIT_STREAM_BACK_BYTES);
    assert_int_equal(history_append_piece(&history, piece, LIMIT_STREAM_BACK_BYTES, LIMIT_STREAM_BACK_BYTES), 0);
    history_piece_unref(piece);
    expect(&history, 0, (size_t)2 * LIMIT_STREAM_BACK_BYTES, (int64_t)2 * LIMIT_STREAM_BACK_BYTES);
    history_free(&history);
}

/* Of those that were read by the mebibyte half is older than what is kept. */
static void at_rest_there_is_little_but_the_last_mebibyte(void **state)
{
    enum { MIB = LIMIT_STREAM_BACK_BYTES, MOST = MIB + MIB / 4 + SMALL };
    struct history history = {0};

    (void)state;
    history_rest(&history);
    append_piece(&history, MIB, MIB);
    append_piece(&history, MIB, MIB - 1);
    assert_true(history.capacity == 2 * MIB);
    history_rest(&history);
    assert_true(history.capacity <= MOST);
    expect(&history, history.end - MIB, MIB, MIB);
    for (int i = 0; i < 3000; i++) {
        append(&history, 1000);
        history_rest(&history);
        assert_true(history.capacity <= MOST);
        expect(&history, history.end - MIB, 2000, 2000);
        expect(&history, history.end - 1500, 2000, 1500);
    }
    expect(&history, history.end - MIB, MIB, MIB);
    history_free(&history);
}

/* Of a long record, which is shown in many reads. */
static void a_large_piece_goes_as_it_is_shown(void **state)
{
    enum { MIB = LIMIT_STREAM_BACK_BYTES, LEN = 8 * MIB, STEP = 100000 };
    struct history history = {0};
    struct history_piece *piece = filled(&history, LEN, LEN);

    (void)state;
    assert_int_equal(history_append_piece(&history, piece, LEN, 0), 0);
    history_piece_unref(piece);
    for (int64_t shown = 0; shown <= LEN; shown += STEP) {
        int64_t from = shown > MIB ? shown - MIB : 0;
        history_shown(&history, shown);
        assert_int_equal(history.end - (int64_t)history.len, from);
        assert_true((int64_t)history.capacity <= LEN - from + MIB);
        expect(&history, from, 2000, 2000);
    }
    history_shown(&history, LEN);
    assert_true(history.capacity <= 2 * MIB);
    expect(&history, LEN - MIB, MIB, MIB);
    append(&history, 10);
    expect(&history, LEN - 10, 100, 20);
    history_free(&history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_stream_ends_at_its_start),
        cmocka_unit_test(what_was_shown_can_be_read_again),
        cmocka_unit_test(only_the_last_mebibyte_is_kept),
        cmocka_unit_test(of_more_than_a_mebibyte_at_once_the_end_is_kept),
        cmocka_unit_test(growing_loses_nothing_wherever_it_begins),
        cmocka_unit_test(many_small_pieces_are_as_good_as_one),
        cmocka_unit_test(a_quiet_stream_costs_little),
        cmocka_unit_test(pieces_and_copies_follow_each_other),
        cmocka_unit_test(of_pieces_too_only_the_last_mebibyte_is_kept),
        cmocka_unit_test(a_piece_that_is_mostly_empty_is_not_kept),
        cmocka_unit_test(what_a_piece_was_filled_with_stays),
        cmocka_unit_test(what_was_not_shown_yet_is_kept_beside_the_last_mebibyte),
        cmocka_unit_test(at_rest_there_is_little_but_the_last_mebibyte),
        cmocka_unit_test(a_large_piece_goes_as_it_is_shown),
    };

    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
