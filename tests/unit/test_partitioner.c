/* tests/unit/test_partitioner.c: a key goes where a Kafka client would send it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "fs/produce/partitioner.h"

/* Kafka's UtilsTest.testMurmur2. */
static void murmur2_gives_the_values_of_kafkas_own_test(void **state)
{
    static const struct {
        const char *key;
        int32_t hash;
    } cases[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(partitioner_murmur2(cases[i].key, strlen(cases[i].key)), cases[i].hash);
    }
}

/* librdkafka's rdmurmur2.c lists these as what the Java client gives: each length modulo 4, and the empty key. */
static void murmur2_takes_tails_of_every_length(void **state)
{
    (void)state;
    assert_int_equal((uint32_t)partitioner_murmur2("kafka", 5), 0xd067cf64);
    assert_int_equal((uint32_t)partitioner_murmur2("giberish123456789", 17), 0x8f552b0c);
    assert_int_equal((uint32_t)partitioner_murmur2("1234", 4), 0x9fc97b14);
    assert_int_equal((uint32_t)partitioner_murmur2("234", 3), 0xe7c009ca);
    assert_int_equal((uint32_t)partitioner_murmur2("34", 2), 0x873930da);
    assert_int_equal((uint32_t)partitioner_murmur2("4", 1), 0x5a4b5ca1);
    assert_int_equal((uint32_t)partitioner_murmur2("", 0), 0x106e08d9);
}

static void a_key_does_not_need_to_be_aligned(void **state)
{
    static const char text[] = "xxxfoobar";

    (void)state;
    assert_int_equal(partitioner_murmur2(text + 3, 6), -790332482);
}

/* -790332482 & 0x7fffffff is 1357151166: the sign bit is dropped, not the sign. */
static void a_negative_hash_loses_its_sign_bit(void **state)
{
    (void)state;
    assert_int_equal(partitioner_for_key("foobar", 6, 1000), 166);
    assert_int_equal(partitioner_for_key("foobar", 6, 10), 6);
    assert_int_equal(partitioner_for_key("abc", 3, 1000), 107);
    assert_int_equal(partitioner_for_key("abc", 3, 1), 0);
}

static void without_a_key_a_partition_gets_a_batch_before_the_next_one_does(void **state)
{
    struct partitioner_sticky sticky = {.partition = -1};
    int32_t got[9];

    (void)state;
    for (int i = 0; i < 9; i++) {
        got[i] = partitioner_sticky_next(&sticky, 3, 40, 100, 7);
    }
    for (int i = 0; i < 9; i++) { /* 3 records of 40 bytes fill a batch of 100 */
        assert_int_equal(got[i], (7 % 3 + i / 3) % 3);
    }
}

static void a_batch_of_exactly_the_size_moves_on(void **state)
{
    struct partitioner_sticky sticky = {.partition = -1};

    (void)state;
    assert_int_equal(partitioner_sticky_next(&sticky, 2, 100, 100, 0), 0);
    assert_int_equal(partitioner_sticky_next(&sticky, 2, 100, 100, 0), 1);
    assert_int_equal(partitioner_sticky_next(&sticky, 2, 100, 100, 0), 0);
}

static void partitions_that_are_added_get_their_turn(void **state)
{
    struct partitioner_sticky sticky = {.partition = -1};

    (void)state;
    assert_int_equal(partitioner_sticky_next(&sticky, 1, 10, 1, 0xffffffff), 0);
    assert_int_equal(partitioner_sticky_next(&sticky, 3, 10, 1, 0), 1);
    assert_int_equal(partitioner_sticky_next(&sticky, 3, 10, 1, 0), 2);
    assert_int_equal(partitioner_sticky_next(&sticky, 3, 10, 1, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(murmur2_gives_the_values_of_kafkas_own_test),
        cmocka_unit_test(murmur2_takes_tails_of_every_length),
        cmocka_unit_test(a_key_does_not_need_to_be_aligned),
        cmocka_unit_test(a_negative_hash_loses_its_sign_bit),
        cmocka_unit_test(without_a_key_a_partition_gets_a_batch_before_the_next_one_does),
        cmocka_unit_test(a_batch_of_exactly_the_size_moves_on),
        cmocka_unit_test(partitions_that_are_added_get_their_turn),
    };

    return cmocka_run_group_tests_name("partitioner", tests, NULL, NULL);
}
