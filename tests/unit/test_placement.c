/* tests/unit/test_placement.c: replicas are spread, leaders are even, and the fenced come last. */
#include "replication/metadata/placement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void six_partitions_on_three_nodes_are_even(void **state)
{
    (void)state;
    struct placement_node nodes[] = {{.id = 1, .stays = true}, {.id = 2, .stays = true}, {.id = 3, .stays = true}};
    struct replica_set set;
    for (int i = 0; i < 6; i++)
        placement_choose(nodes, 3, 2, &set);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(nodes[i].leaders, 2);
        assert_int_equal(nodes[i].replicas, 4);
    }
}

static void a_new_node_gets_what_comes(void **state)
{
    (void)state;
    struct placement_node nodes[] = {{.id = 1, .stays = true, .leaders = 5, .replicas = 10},
                                     {.id = 2, .stays = true, .leaders = 5, .replicas = 10},
                                     {.id = 3, .stays = true}};
    struct replica_set set;
    placement_choose(nodes, 3, 2, &set);
    assert_int_equal(set.ids[0], 3);
    assert_int_equal(set.ids[1], 1);
}

static void the_fenced_follow_when_there_are_no_others(void **state)
{
    (void)state;
    struct placement_node nodes[] = {{.id = 1}, {.id = 2, .stays = true, .leaders = 9, .replicas = 9}};
    struct replica_set set;
    placement_choose(nodes, 2, 1, &set);
    assert_int_equal(set.ids[0], 2);
    placement_choose(nodes, 2, 2, &set);
    assert_int_equal(set.ids[0], 2);
    assert_int_equal(set.ids[1], 1);
}

static void no_node_has_two_replicas_of_one_partition(void **state)
{
    (void)state;
    struct placement_node nodes[5];
    struct replica_set set;
    for (int i = 0; i < 5; i++)
        nodes[i] = (struct placement_node){.id = i + 1, .stays = i != 2, .leaders = i * 7 % 4, .replicas = i * 5 % 9};
    for (int i = 0; i < 200; i++) {
        placement_choose(nodes, 5, 5, &set);
        assert_int_equal(set.count, 5);
        for (int id = 1; id <= 5; id++)
            assert_true(replica_set_has(&set, id));
        assert_int_not_equal(set.ids[0], 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(six_partitions_on_three_nodes_are_even),
        cmocka_unit_test(a_new_node_gets_what_comes),
        cmocka_unit_test(the_fenced_follow_when_there_are_no_others),
        cmocka_unit_test(no_node_has_two_replicas_of_one_partition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
