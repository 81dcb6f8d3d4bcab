/* tests/unit/test_metadata_nodes.c: nodes and partitions in the metadata: registrations, fences, and changes that are
 * compared and set. */
#include "replication/metadata/metadata.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/metadata_fixture.h"

static const struct tree_attr root = {.dir_mode = 0755, .file_mode = 0644};
static const uint8_t orders_id[UUID_BYTES] = {7};

static int enrol(struct metadata *meta, int32_t id, uint64_t incarnation, bool unclean)
{
    struct command cmd = {.type = COMMAND_REGISTER_NODE};
    cmd.registration =
        (struct node_registration){.id = id, .epoch = -1, .incarnation = incarnation, .unclean = unclean};
    return metadata_apply_as_in_log(meta, &cmd);
}

static int set_node(struct metadata *meta, int32_t id, int64_t epoch, bool fenced, bool shutting_down)
{
    struct command cmd = {.type = COMMAND_CHANGE_NODE};
    cmd.registration =
        (struct node_registration){.id = id, .epoch = epoch, .fenced = fenced, .shutting_down = shutting_down};
    return metadata_apply_as_in_log(meta, &cmd);
}

/* Nodes 1 to 3, and orders with one partition on all of them. */
static int setup(void **state)
{
    struct metadata *meta = calloc(1, sizeof *meta);
    int32_t replicas[] = {1, 2, 3};
    struct command cmd = {.type = COMMAND_CREATE_TOPIC, .topic = "orders", .partitions = 1, .replication_factor = 3};
    metadata_init(meta, &root);
    for (int32_t id = 1; id <= 3; id++)
        assert_int_equal(enrol(meta, id, 100 + (uint64_t)id, false), 0);
    memcpy(cmd.id, orders_id, UUID_BYTES);
    cmd.replicas = replicas;
    cmd.replica_count = 3;
    assert_int_equal(metadata_apply_as_in_log(meta, &cmd), 0);
    *state = meta;
    return 0;
}

static int teardown(void **state)
{
    metadata_free(*state);
    free(*state);
    return 0;
}

static const struct partition_registration *orders(const struct metadata *meta)
{
    return &metadata_topic(meta, "orders")->parts[0];
}

static struct partition_change change_of(const struct metadata *meta)
{
    struct partition_change change = {.to = *orders(meta), .isr_epochs = {-1, -1, -1}};
    memcpy(change.topic_id, orders_id, UUID_BYTES);
    change.to.partition_epoch++;
    return change;
}

static int change(struct metadata *meta, int32_t proposer, struct partition_change *change)
{
    struct command cmd = {.type = COMMAND_CHANGE_PARTITIONS, .node = proposer, .changes = change, .change_count = 1};
    return metadata_apply_as_in_log(meta, &cmd);
}

static void a_new_partition_is_led_by_its_first_replica(void **state)
{
    const struct partition_registration *part = orders(*state);
    assert_int_equal(part->leader, 1);
    assert_int_equal(part->isr.count, 3);
    assert_int_equal(part->leader_epoch, 0);
}

static void a_fence_names_the_registration_that_it_means(void **state)
{
    struct metadata *meta = *state;
    int64_t epoch = metadata_node(meta, 2)->epoch;
    assert_int_equal(enrol(meta, 2, 102, false), 0);
    assert_int_equal(set_node(meta, 2, epoch, true, false), -ESTALE);
    assert_false(metadata_node(meta, 2)->fenced);
    assert_int_equal(set_node(meta, 2, metadata_node(meta, 2)->epoch, true, false), 0);
    assert_true(metadata_node(meta, 2)->fenced);
}

static void changes_are_compared_and_set(void **state)
{
    struct metadata *meta = *state;
    struct partition_change first = change_of(meta), second = first;
    replica_set_remove(&first.to.isr, 3);
    replica_set_remove(&second.to.isr, 2);
    assert_int_equal(change(meta, 1, &first), 0);
    assert_int_equal(change(meta, 1, &second), -ESTALE);
    assert_int_equal(orders(meta)->isr.count, 2);
    assert_int_equal(orders(meta)->partition_epoch, 1);
}

static void only_its_leader_changes_an_isr(void **state)
{
    struct metadata *meta = *state;
    struct partition_change one = change_of(meta);
    replica_set_remove(&one.to.isr, 3);
    assert_int_equal(change(meta, 2, &one), -ESTALE);
    one.to.leader = 2;
    one.to.leader_epoch = 1;
    assert_int_equal(change(meta, 1, &one), -EBADMSG);
    assert_int_equal(change(meta, 0, &one), 0);
    assert_int_equal(orders(meta)->leader, 2);
    assert_int_equal(orders(meta)->leader_epoch, 1);
}

static void nobody_leads_again_in_the_same_epoch(void **state)
{
    struct metadata *meta = *state;
    struct partition_change one = change_of(meta);
    one.to.leader = 2;
    assert_int_equal(change(meta, 0, &one), -EBADMSG);
    assert_int_equal(orders(meta)->leader, 1);
}

/* KIP-841, KIP-903. */
static void who_joins_an_isr_lives_and_is_what_its_leader_knew(void **state)
{
    struct metadata *meta = *state;
    struct partition_change out = change_of(meta), in;
    replica_set_remove(&out.to.isr, 3);
    assert_int_equal(change(meta, 1, &out), 0);
    in = change_of(meta);
    replica_set_add(&in.to.isr, 3);
    in.isr_epochs[2] = metadata_node(meta, 3)->epoch;
    assert_int_equal(enrol(meta, 3, 103, false), 0);
    assert_int_equal(change(meta, 1, &in), -EAGAIN);
    in.isr_epochs[2] = metadata_node(meta, 3)->epoch;
    assert_int_equal(set_node(meta, 3, in.isr_epochs[2], true, false), 0);
    assert_int_equal(change(meta, 1, &in), -EAGAIN);
    assert_int_equal(set_node(meta, 3, in.isr_epochs[2], false, true), 0);
    assert_int_equal(change(meta, 1, &in), -EAGAIN);
    assert_int_equal(set_node(meta, 3, in.isr_epochs[2], false, false), 0);
    assert_int_equal(change(meta, 1, &in), 0);
    assert_int_equal(orders(meta)->isr.count, 3);
}

static void an_unclean_start_leaves_each_isr_for_the_last_one(void **state)
{
    struct metadata *meta = *state;
    assert_int_equal(enrol(meta, 1, 101, true), 0);
    assert_int_equal(orders(meta)->leader, LEADER_NONE);
    assert_int_equal(orders(meta)->leader_epoch, 1);
    assert_int_equal(orders(meta)->partition_epoch, 1);
    assert_int_equal(orders(meta)->isr.count, 2);
    assert_true(replica_set_has(&orders(meta)->last_isr, 1));
    /* A clean one changes nothing. */
    assert_int_equal(enrol(meta, 2, 102, false), 0);
    assert_int_equal(orders(meta)->partition_epoch, 1);
    /* Another disk has nothing, and need not be waited for. */
    assert_int_equal(enrol(meta, 1, 999, true), 0);
    assert_false(replica_set_has(&orders(meta)->last_isr, 1));
}

/* A quorum that is made anew renews its node's incarnation, not its disk. */
static void a_directory_that_was_renewed_is_no_other_disk(void **state)
{
    struct metadata *meta = *state;
    struct command cmd = {.type = COMMAND_REGISTER_NODE};
    cmd.registration = (struct node_registration){.id = 3, .epoch = -1, .incarnation = 903, .renewed = 103};
    assert_int_equal(metadata_apply_as_in_log(meta, &cmd), 0);
    assert_int_equal(orders(meta)->isr.count, 3);
    /* Killed before: its log is asked, when all others of the last ISR are there or known to be lost. */
    cmd.registration =
        (struct node_registration){.id = 1, .epoch = -1, .incarnation = 901, .renewed = 101, .unclean = true};
    assert_int_equal(metadata_apply_as_in_log(meta, &cmd), 0);
    assert_true(replica_set_has(&orders(meta)->last_isr, 1));
    /* It had an incarnation between that nobody knows of here. */
    cmd.registration = (struct node_registration){.id = 2, .epoch = -1, .incarnation = 902, .renewed = 802};
    assert_int_equal(metadata_apply_as_in_log(meta, &cmd), 0);
    assert_false(replica_set_has(&orders(meta)->isr, 2));
}

static void members_that_do_not_belong_together_are_refused(void **state)
{
    struct metadata *meta = *state;
    struct partition_change one = change_of(meta);
    replica_set_add(&one.to.isr, 4);
    assert_int_equal(change(meta, 0, &one), -EBADMSG);
    one = change_of(meta);
    replica_set_remove(&one.to.isr, 1);
    assert_int_equal(change(meta, 0, &one), -EBADMSG);
    one = change_of(meta);
    replica_set_add(&one.to.elr, 2);
    assert_int_equal(change(meta, 0, &one), -EBADMSG);
    one = change_of(meta);
    one.index = 1;
    assert_int_equal(change(meta, 0, &one), -ENOENT);
    assert_int_equal(orders(meta)->partition_epoch, 0);
}

static void the_default_factor_counts_voters_that_have_yet_to_register(void **state)
{
    struct metadata meta;
    (void)state;
    metadata_init(&meta, &root);
    assert_int_equal(metadata_default_factor(&meta), 1);
    meta.voters.voters = (struct raft_voters){.count = 3, .ids = {{1, 101}, {2, 102}, {3, 103}}};
    assert_int_equal(metadata_default_factor(&meta), 3);
    assert_int_equal(enrol(&meta, 1, 101, false), 0);
    assert_int_equal(metadata_known_nodes(&meta), 3);
    assert_int_equal(metadata_default_factor(&meta), 3);
    assert_int_equal(enrol(&meta, 4, 104, false), 0); /* an observer */
    assert_int_equal(metadata_known_nodes(&meta), 4);
    meta.voters.voters.count = 1;
    assert_int_equal(metadata_known_nodes(&meta), 2);
    assert_int_equal(metadata_default_factor(&meta), 2);
    metadata_free(&meta);
}

/* Another node had proposed other replicas a moment before: it was judged on a state that had not seen them. */
static void partitions_are_made_while_the_replicas_change(void **state)
{
    struct metadata *meta = *state;
    int32_t fewer[] = {1}, three[] = {1, 2, 3};
    struct command assign = {.type = COMMAND_ASSIGN_REPLICAS, .topic = "orders", .partition = -1},
                   make = {.type = COMMAND_CREATE_PARTITIONS, .topic = "orders", .partitions = 2};
    struct err e = {""};
    memcpy(assign.id, orders_id, UUID_BYTES);
    memcpy(make.id, orders_id, UUID_BYTES);
    assign.replicas = fewer;
    assign.replication_factor = assign.replica_count = 1;
    make.replicas = three;
    make.replication_factor = make.replica_count = 3;
    assert_int_equal(metadata_check(meta, &assign, &e), 0);
    assert_int_equal(metadata_check(meta, &make, &e), 0);
    assert_int_equal(metadata_apply_as_in_log(meta, &assign), 0);
    assert_int_equal(metadata_apply_as_in_log(meta, &make), -EAGAIN);
    assert_int_equal(metadata_topic(meta, "orders")->partitions, 1);
    make.replicas = fewer;
    make.replication_factor = make.replica_count = 1;
    assert_int_equal(metadata_apply_as_in_log(meta, &make), 0);
    assert_int_equal(metadata_topic(meta, "orders")->partitions, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_factor_counts_voters_that_have_yet_to_register),
        cmocka_unit_test_setup_teardown(a_new_partition_is_led_by_its_first_replica, setup, teardown),
        cmocka_unit_test_setup_teardown(a_fence_names_the_registration_that_it_means, setup, teardown),
        cmocka_unit_test_setup_teardown(changes_are_compared_and_set, setup, teardown),
        cmocka_unit_test_setup_teardown(only_its_leader_changes_an_isr, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_leads_again_in_the_same_epoch, setup, teardown),
        cmocka_unit_test_setup_teardown(who_joins_an_isr_lives_and_is_what_its_leader_knew, setup, teardown),
        cmocka_unit_test_setup_teardown(an_unclean_start_leaves_each_isr_for_the_last_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_directory_that_was_renewed_is_no_other_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(members_that_do_not_belong_together_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(partitions_are_made_while_the_replicas_change, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
