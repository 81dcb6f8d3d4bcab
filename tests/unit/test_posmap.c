/* tests/unit/test_posmap.c: within what was read, positions keep the meaning they had. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "fs/consume/posmap.h"

static void expect(const struct posmap *map, int64_t file_pos, int64_t log_pos, bool known)
{
    bool got;

    assert_int_equal(posmap_translate(map, file_pos, &got), log_pos);
    assert_int_equal(got, known);
}

static void add(struct posmap *map, int64_t file_pos, int64_t log_pos, int64_t len)
{
    assert_int_equal(posmap_add(map, file_pos, log_pos, len), 0);
}

static void without_holes_a_position_is_itself_and_costs_nothing(void **state)
{
    struct posmap map = {0};

    (void)state;
    add(&map, 0, 0, 4096);
    add(&map, 4096, 4096, 4096);
    expect(&map, 0, 0, false);
    expect(&map, 5000, 5000, false);
    assert_null(map.runs);
    posmap_free(&map);
}

/* cat of a partition that starts at 1000: the reads go on where the bytes are. */
static void reading_on_behind_a_hole_is_one_run(void **state)
{
    struct posmap map = {0};

    (void)state;
    add(&map, 0, 1000, 100);
    expect(&map, 100, 1100, true);
    add(&map, 100, 1100, 100);
    assert_int_equal(map.count, 1);
    expect(&map, 0, 1000, true);
    expect(&map, 150, 1150, true);
    expect(&map, 200, 1200, true);
    expect(&map, 201, 201, false);
    posmap_free(&map);
}

static void each_hole_adds_a_run_and_the_one_that_starts_there_wins(void **state)
{
    struct posmap map = {0};

    (void)state;
    add(&map, 0, 1000, 100);
    add(&map, 100, 2000, 100);
    assert_int_equal(map.count, 2);
    expect(&map, 99, 1099, true);
    expect(&map, 100, 2000, true);
    expect(&map, 200, 2100, true);
    posmap_free(&map);
}

/* bash reads ahead, seeks back to the end of its line, and reads the same again. */
static void reading_again_does_not_make_the_map_grow(void **state)
{
    struct posmap map = {0};

    (void)state;
    add(&map, 0, 1000, 4096);
    for (int64_t at = 0; at < 4000; at += 37) {
        add(&map, at, 1000 + at, 100);
        assert_int_equal(map.count, 1);
    }
    add(&map, 4000, 5000, 1000);
    assert_int_equal(map.count, 1);
    expect(&map, 5000, 6000, true);
    posmap_free(&map);
}

static void the_newest_reading_of_a_position_counts(void **state)
{
    struct posmap map = {0};

    (void)state;
    add(&map, 0, 1000, 300);
    add(&map, 100, 5000, 100); /* in the middle: what is around it stays */
    assert_int_equal(map.count, 3);
    expect(&map, 99, 1099, true);
    expect(&map, 100, 5000, true);
    expect(&map, 199, 5099, true);
    expect(&map, 200, 1200, true);
    expect(&map, 299, 1299, true);
    add(&map, 50, 7000, 400); /* over all of the rest */
    assert_int_equal(map.count, 2);
    expect(&map, 49, 1049, true);
    expect(&map, 50, 7000, true);
    expect(&map, 450, 7400, true);
    posmap_free(&map);
}

static void an_identity_run_is_kept_where_it_replaces_a_meaning(void **state)
{
    struct posmap map = {0};

    (void)state;
    add(&map, 0, 1000, 1500);
    add(&map, 1200, 1200, 100); /* tail: a seek to the partition's own position */
    expect(&map, 1199, 2199, true);
    expect(&map, 1200, 1200, true);
    expect(&map, 1299, 1299, true);
    expect(&map, 1300, 2300, true);
    add(&map, 9000, 9000, 100); /* touches nothing */
    expect(&map, 9050, 9050, false);
    posmap_free(&map);
}

static void nothing_read_is_nothing_learnt(void **state)
{
    struct posmap map = {0};

    (void)state;
    add(&map, 0, 1000, 0);
    expect(&map, 0, 0, false);
    posmap_free(&map);
}

static void the_last_1024_holes_are_kept(void **state)
{
    struct posmap map = {0};

    (void)state;
    for (int64_t i = 0; i < POSMAP_RUNS + 10; i++) {
        add(&map, i * 10, i * 100 + 5000, 10);
    }
    posmap_begin(&map);
    assert_int_equal(map.count, POSMAP_RUNS);
    expect(&map, 5, 5, false);
    expect(&map, 99, 99, false);
    expect(&map, 105, 10 * 100 + 5000 + 5, true);
    expect(&map, INT64_C(10) * (POSMAP_RUNS + 9), INT64_C(100) * (POSMAP_RUNS + 9) + 5000, true);
    posmap_free(&map);
}

/* head reads ahead, and seeks back to the end of its last line. */
static void all_of_the_read_under_way_is_kept(void **state)
{
    struct posmap map = {0};

    (void)state;
    posmap_begin(&map);
    for (int64_t i = 0; i < 5 * POSMAP_RUNS; i++) {
        add(&map, i, i * 10 + 1000, 1);
    }
    expect(&map, 0, 1000, true);
    expect(&map, 3 * POSMAP_RUNS, 30 * POSMAP_RUNS + 1000, true);
    posmap_begin(&map);
    expect(&map, 4 * POSMAP_RUNS, 40 * POSMAP_RUNS + 1000, true);
    expect(&map, 4 * POSMAP_RUNS - 2, 4 * POSMAP_RUNS - 2, false);
    assert_int_equal(map.count, POSMAP_RUNS);
    posmap_free(&map);
}

static void a_run_that_is_read_on_stays_when_others_go(void **state)
{
    struct posmap map = {0};

    (void)state;
    add(&map, 0, 1000000, 10);
    for (int64_t i = 1; i < POSMAP_RUNS; i++) {
        add(&map, i * 1000, i * 2000, 10);
    }
    add(&map, 10, 1000010, 10); /* the first run is now the newest */
    add(&map, 5000000, 9000000, 10);
    posmap_begin(&map);
    expect(&map, 15, 1000015, true);
    expect(&map, 1005, 1005, false);
    posmap_free(&map);
}

enum { MODEL_BYTES = 600 };

/* Is any of [from, to) in the table? */
static bool model_has(const int64_t *model, int64_t from, int64_t to)
{
    for (int64_t at = from > 0 ? from : 0; at < to; at++) {
        if (model[at] >= 0) {
            return true;
        }
    }
    return false;
}

/* Random reads against a table of what each position meant last. */
static void it_agrees_with_a_table(void **state)
{
    unsigned seed = 20261122;

    (void)state;
    for (int round = 0; round < 200; round++) {
        struct posmap map = {0};
        int64_t model[MODEL_BYTES];
        unsigned first_seed = seed;

        for (int i = 0; i < MODEL_BYTES; i++) {
            model[i] = -1;
        }
        for (int step = 0; step < 100; step++) {
            int64_t file_pos = rand_r(&seed) % 500;
            int64_t len = rand_r(&seed) % 100;
            int64_t log_pos = file_pos + INT64_C(1000) * (rand_r(&seed) % 4);
            bool known;

            add(&map, file_pos, log_pos, len);
            /* What means itself needs no run where it changes no other's meaning. */
            if (file_pos != log_pos || model_has(model, file_pos - 1, file_pos + len)) {
                for (int64_t i = 0; i < len; i++) {
                    model[file_pos + i] = log_pos + i;
                }
            }
            for (int64_t at = 0; at < MODEL_BYTES; at++) {
                int64_t got = posmap_translate(&map, at, &known);
                int64_t want = model[at] >= 0 ? model[at] : at > 0 && known ? model[at - 1] + 1 : at;

                if (got != want) {
                    fail_msg("seed %u, step %d: %ld means %ld, not %ld", first_seed, step, (long)at, (long)want,
                             (long)got);
                }
            }
        }
        posmap_free(&map);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_holes_a_position_is_itself_and_costs_nothing),
        cmocka_unit_test(reading_on_behind_a_hole_is_one_run),
        cmocka_unit_test(each_hole_adds_a_run_and_the_one_that_starts_there_wins),
        cmocka_unit_test(reading_again_does_not_make_the_map_grow),
        cmocka_unit_test(the_newest_reading_of_a_position_counts),
        cmocka_unit_test(an_identity_run_is_kept_where_it_replaces_a_meaning),
        cmocka_unit_test(nothing_read_is_nothing_learnt),
        cmocka_unit_test(the_last_1024_holes_are_kept),
        cmocka_unit_test(all_of_the_read_under_way_is_kept),
        cmocka_unit_test(a_run_that_is_read_on_stays_when_others_go),
        cmocka_unit_test(it_agrees_with_a_table),
    };

    return cmocka_run_group_tests_name("posmap", tests, NULL, NULL);
}
