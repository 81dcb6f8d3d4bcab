/* tests/unit/test_membership.c: a node alone is a cluster of one: it registers at each start, and what it
 * alone has it leads on. */
#include "tests/unit/node_fixture.h"

static struct node_registration registration(struct fixture *f)
{
    const struct node_registration *node = metadata_node(quorum_acquire(&f->node->quorum), 1);
    assert_non_null(node);
    struct node_registration copy = *node;
    quorum_release(&f->node->quorum);
    return copy;
}

static struct partition_registration partition_of(struct fixture *f, const char *name)
{
    struct partition_registration copy = metadata_topic(quorum_acquire(&f->node->quorum), name)->parts[0];
    quorum_release(&f->node->quorum);
    return copy;
}

static void test_each_start_registers_anew(void **state)
{
    struct fixture *f = *state;
    struct node_registration first = registration(f);
    assert_true(first.incarnation == f->node->identity.incarnation);
    assert_true(first.process == f->node->process);
    assert_int_equal(first.epoch, atomic_load(&f->node->membership.node_epoch));
    assert_false(first.fenced);
    restart(f);
    struct node_registration second = registration(f);
    assert_true(second.epoch > first.epoch);
    assert_true(second.process != first.process);
    assert_true(second.incarnation == first.incarnation);
    assert_false(second.unclean);
    crash_and_restart(f);
    assert_true(registration(f).unclean);
}

static void test_a_clean_stop_changes_no_partition(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    struct partition_registration before = partition_of(f, "orders");
    assert_int_equal(before.leader, 1);
    restart(f);
    struct partition_registration after = partition_of(f, "orders");
    assert_true(partition_registration_equal(&before, &after));
}

static void test_after_a_crash_what_is_only_here_is_led_in_a_new_epoch(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    append(f, "orders", "one\n");
    struct partition_registration before = partition_of(f, "orders");
    crash_and_restart(f);
    struct partition_registration after = partition_of(f, "orders");
    assert_int_equal(after.leader, 1);
    assert_int_equal(after.leader_epoch, before.leader_epoch + 1);
    assert_int_equal(after.isr.count, 1);
    assert_int_equal(after.last_isr.count, 0);
    append(f, "orders", "two\n");
    assert_content(f, "orders", "one\ntwo\n");
}

static void test_after_a_crash_a_damaged_log_has_no_leader(void **state)
{
    struct fixture *f = *state;
    char path[256];
    create(f, "orders");
    append(f, "orders", "one\n");
    stop(f);
    path_in(f, "topics/orders-0/00000000000000000000.batches", path);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "!!", 2, 64 + 20), 2); /* entry 0, below the recovery point */
    close(fd);
    path_in(f, "clean-shutdown", path);
    assert_int_equal(unlink(path), 0);
    start(f);
    struct partition *part = get(f, "orders");
    struct partition_info info;
    partition_info(part, &info);
    partition_unref(part);
    assert_int_equal(info.leader, LEADER_NONE);
}

/* Who is alone cannot lose its lease: nobody else could be elected. */
static void test_alone_the_lease_has_no_end(void **state)
{
    struct fixture *f = *state;
    pass_ms(f, 1000000);
    assert_true(membership_has_lease(&f->node->membership));
}

static void test_a_start_on_a_full_disk_registers_once_there_is_room(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    append(f, "orders", "one\n");
    struct node_registration before = registration(f);
    stop(f);
    atomic_store(&f->disk.pwritev_rc, -ENOSPC);
    start(f);
    assert_content(f, "orders", "one\n");
    assert_int_equal(registration(f).epoch, before.epoch);
    assert_int_equal(atomic_load(&f->node->membership.node_epoch), -1);
    atomic_store(&f->disk.pwritev_rc, 0);
    pass_ms(f, 500);
    wait_until(atomic_load(&f->node->membership.node_epoch) > before.epoch);
    assert_true(registration(f).process == f->node->process);
}

/* As a build that had no registrations of partitions leaves it: its logs count their epochs by themselves. */
static void test_epochs_of_logs_that_counted_for_themselves_are_carried_over(void **state)
{
    struct fixture *f = *state;
    struct err e = {""};
    create(f, "orders");
    append(f, "orders", "one\n");
    struct partition *part = get(f, "orders");
    assert_int_equal(log_lead(part->log, 7, &e), 0);
    partition_unref(part);
    restart(f);
    assert_int_equal(partition_of(f, "orders").leader_epoch, 8);
    assert_int_equal(partition_of(f, "orders").leader, 1);
    restart(f);
    assert_int_equal(partition_of(f, "orders").leader_epoch, 8);
    crash_and_restart(f);
    assert_true(partition_of(f, "orders").leader_epoch > 8);
}

/* Places are for those that are in the cluster, and for who comes, not for all that have ever been. */
static void test_who_is_no_more_gives_its_place_to_another(void **state)
{
    struct fixture *f = *state;
    struct membership *member = &f->node->membership;
    struct hello hello = {.process = 77};
    int32_t last = LIMIT_NODES + 20;
    bool known = false;
    for (int32_t id = 2; id <= last; id++) {
        hello.from = id;
        member->listener.up(member->listener.arg, id, &hello);
        executor_settle(f->node->executor);
    }
    for (int i = 0; i < LIMIT_NODES; i++)
        known |= member->peers[i].node == last && member->peers[i].process == 77;
    assert_true(known);
}

/* ---- more nodes than one process has room for ---- */

static int drops;

static void count_drop(struct transport *transport, int32_t node)
{
    (void)transport;
    (void)node;
    drops++;
}

/* A node's hello, as a transport takes it. */
static int come(struct node *node, int32_t id)
{
    struct transport_events events = network_events(&node->network);
    struct hello hello = {.from = id, .process = (uint64_t)id};
    int rc = events.takes(events.arg, id);
    if (rc == 0) {
        events.up(events.arg, id, &hello);
        executor_settle(node->executor);
        events.down(events.arg, id, true);
        executor_settle(node->executor);
    }
    return rc;
}

/* Who has been met has its place; one more is refused before it is up, so that no connection is dropped and made anew
 * again and again. */
static void test_who_comes_after_all_places_were_taken_is_refused(void **state)
{
    struct fixture *f = *state;
    struct transport transport = {.drop = count_drop};
    int32_t id = 2;
    network_attach(&f->node->network, &transport);
    drops = 0;
    while (id <= 2 * LIMIT_NODES_MET && come(f->node, id) == 0)
        id++;
    assert_true(id - 2 <= LIMIT_NODES_MET);
    assert_true(id - 2 >= LIMIT_NODES_MET - 1); /* this node may be one of them */
    for (int i = 0; i < 2; i++)
        assert_int_equal(come(f->node, id), -ENOSPC);
    for (int32_t known = 2; known < id; known++)
        assert_int_equal(come(f->node, known), 0);
    assert_int_equal(drops, 0);
    network_attach(&f->node->network, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_start_registers_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_clean_stop_changes_no_partition, setup, teardown),
        cmocka_unit_test_setup_teardown(test_after_a_crash_what_is_only_here_is_led_in_a_new_epoch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_after_a_crash_a_damaged_log_has_no_leader, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alone_the_lease_has_no_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_is_no_more_gives_its_place_to_another, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_comes_after_all_places_were_taken_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_start_on_a_full_disk_registers_once_there_is_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_epochs_of_logs_that_counted_for_themselves_are_carried_over, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
