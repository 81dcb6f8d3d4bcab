/* The map of compaction: the last offset put wins, the limit holds, and it agrees with a plain array. */
#include "engine/record/key_map.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void nothing_is_found_in_an_empty_map(void **state)
{
    struct key_map map;

    (void)state;
    key_map_init(&map, 10);
    assert_int_equal(key_map_get(&map, "a", 1), -1);
    key_map_free(&map);
}

static void the_last_offset_wins(void **state)
{
    struct key_map map;

    (void)state;
    key_map_init(&map, 10);
    assert_int_equal(key_map_put(&map, "a", 1, 5), 0);
    assert_int_equal(key_map_put(&map, "", 0, 6), 0);
    assert_int_equal(key_map_put(&map, "a\0", 2, 7), 0);
    assert_int_equal(key_map_put(&map, "a", 1, 8), 0);
    assert_int_equal(key_map_get(&map, "a", 1), 8);
    assert_int_equal(key_map_get(&map, "", 0), 6);
    assert_int_equal(key_map_get(&map, "a\0", 2), 7);
    assert_int_equal(key_map_get(&map, "b", 1), -1);
    assert_int_equal(map.keys, 3);
    key_map_free(&map);
}

static void a_full_map_takes_known_keys_only(void **state)
{
    const size_t limits[] = {1, 2, 3, 767, 768, 769, 5000};

    (void)state;
    for (size_t l = 0; l < sizeof limits / sizeof *limits; l++) {
        struct key_map map;
        char key[16];

        key_map_init(&map, limits[l]);
        for (size_t i = 0; i < limits[l]; i++) {
            int len = snprintf(key, sizeof key, "%zu", i);

            assert_int_equal(key_map_put(&map, key, (size_t)len, (int64_t)i), 0);
        }
        assert_int_equal(key_map_put(&map, "another", 7, 1), -ENOBUFS);
        assert_int_equal(key_map_get(&map, "another", 7), -1);
        assert_int_equal(key_map_put(&map, "0", 1, 99), 0);
        assert_int_equal(key_map_get(&map, "0", 1), 99);
        key_map_free(&map);
    }
}

static void a_hundred_thousand_keys(void **state)
{
    enum { KEYS = 100000 };
    unsigned seed = 3;
    int64_t *want = malloc(KEYS * sizeof *want);
    struct key_map map;
    char key[32];

    (void)state;
    printf("seed %u\n", seed);
    srandom(seed);
    for (int i = 0; i < KEYS; i++) {
        want[i] = -1;
    }
    key_map_init(&map, KEYS);
    for (int i = 0; i < 2 * KEYS; i++) {
        long k = random() % KEYS;
        int len = snprintf(key, sizeof key, "user-%ld", k);

        assert_int_equal(key_map_put(&map, key, (size_t)len, i), 0);
        want[k] = i;
    }
    for (int k = 0; k < KEYS; k++) {
        int len = snprintf(key, sizeof key, "user-%d", k);

        assert_int_equal(key_map_get(&map, key, (size_t)len), want[k]);
    }
    key_map_free(&map);
    free(want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_found_in_an_empty_map),
        cmocka_unit_test(the_last_offset_wins),
        cmocka_unit_test(a_full_map_takes_known_keys_only),
        cmocka_unit_test(a_hundred_thousand_keys),
    };

    return cmocka_run_group_tests_name("key_map", tests, NULL, NULL);
}
