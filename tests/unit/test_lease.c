/* tests/unit/test_lease.c: three nodes in one thread: a leader that hears no controller takes nothing in, before
 * another one can be elected. */
#include "tests/unit/cluster_fixture.h"

static bool has_lease(struct cluster *c, int32_t id)
{
    return membership_has_lease(&c->nodes[id].node->membership);
}

static bool is_fenced(struct cluster *c, int32_t seen_from, int32_t id)
{
    const struct node_registration *node = metadata_node(quorum_acquire(&c->nodes[seen_from].node->quorum), id);
    bool fenced = node == NULL || node->fenced;
    quorum_release(&c->nodes[seen_from].node->quorum);
    return fenced;
}

static void await_members(struct cluster *c)
{
    cluster_await_leader(c);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, 5000, !is_fenced(c, id, id) && has_lease(c, id));
}

static void a_member_has_a_lease_for_as_long_as_it_is_answered(void **state)
{
    struct cluster *c = *state;
    await_members(c);
    for (int i = 0; i < 40; i++) {
        cluster_pass(c, 250);
        for (int32_t id = 1; id <= 3; id++)
            assert_true(has_lease(c, id));
    }
}

/* 2,250 ms after the last answered heartbeat was sent it is over; 3,000 ms after the controller heard it, the node is
 * fenced. */
static void cut_off_it_ends_before_the_node_is_fenced(void **state)
{
    struct cluster *c = *state;
    await_members(c);
    int32_t controller = cluster_leader(c), away = cluster_follower(c), other = 6 - controller - away;
    memory_cut(&c->network, away, controller, true);
    memory_cut(&c->network, away, other, true);
    int passed_ms = 0;
    for (; has_lease(c, away) && passed_ms < 10000; passed_ms += 50) {
        assert_false(is_fenced(c, controller, away));
        cluster_pass(c, 50);
    }
    assert_in_range(passed_ms, 1500, 2300);
    assert_false(is_fenced(c, controller, away));
    cluster_await(c, 2000, is_fenced(c, controller, away));
    memory_cut(&c->network, away, controller, false);
    memory_cut(&c->network, away, other, false);
    cluster_await(c, 10000, has_lease(c, away) && !is_fenced(c, away, away));
}

static void a_controller_that_is_cut_off_has_none_either(void **state)
{
    struct cluster *c = *state;
    await_members(c);
    int32_t away = cluster_leader(c), one = cluster_follower(c), other = 6 - away - one;
    memory_cut(&c->network, away, one, true);
    memory_cut(&c->network, away, other, true);
    cluster_await(c, 2300, !has_lease(c, away));
    assert_false(is_fenced(c, one, away));
    cluster_await(c, 10000, is_fenced(c, one, away));
}

static void assert_fences_nobody(const struct controller *controller)
{
    for (int32_t i = 0; i < controller->count; i++)
        assert_false(controller->nodes[i].fencing);
}

/* A host that sleeps with all of its nodes: none of them was silent for that. The controller looks first, and only then
 * learns that it leads no more; what it has proposed by then may be decided all the same. REPLICATION.md, rule 47. */
static void nobody_is_fenced_for_what_the_controller_slept_through(void **state)
{
    struct cluster *c = *state;
    await_members(c);
    cluster_pass(c, 1000);
    for (int64_t slept_ms = 2000; slept_ms <= 8000; slept_ms += 1000) {
        struct node *controller = c->nodes[cluster_await_leader(c)].node;
        atomic_fetch_add(&c->clock.passed_ms, slept_ms);
        mailbox_kick(&controller->controller.turns);
        cluster_settle(c);
        assert_fences_nobody(&controller->controller.controller);
        for (int passed_ms = 0; passed_ms < 6000; passed_ms += 5) {
            cluster_pass(c, 5);
            for (int32_t id = 1; id <= 3; id++) {
                for (int32_t seen_from = 1; seen_from <= 3; seen_from++)
                    assert_false(is_fenced(c, seen_from, id));
            }
        }
    }
    await_members(c);
}

/* The controller says to a member that its registration is not in force. */
static void disown(struct cluster *c, int32_t controller, int32_t id)
{
    struct node *node = c->nodes[id].node;
    struct transport_events events = network_events(&node->network);
    struct heartbeat_answer_message answer = {.number = node->membership.number};
    struct frame *frame = calloc(1, sizeof *frame + MEMBER_MESSAGE_BYTES);
    assert_non_null(frame);
    *frame = (struct frame){.kind = MESSAGE_HEARTBEAT_ANSWER, .header = (uint8_t *)(frame + 1)};
    frame->header_bytes = (uint32_t)heartbeat_answer_encode(&answer, frame->header);
    events.frame(events.arg, controller, CHANNEL_CONTROL, frame);
}

static int in_sync(struct cluster *c, int32_t seen_from, const char *topic)
{
    struct quorum *quorum = &c->nodes[seen_from].node->quorum;
    const struct metadata_topic *known = metadata_topic(quorum_acquire(quorum), topic);
    int count = known == NULL || known->partitions == 0 ? 0 : known->parts[0].isr.count;
    quorum_release(quorum);
    return count;
}

/* A follower of a partition in which nothing happens has said all that there was to say; its leader holds what it says
 * against its registration, and has to hear of another one. */
static void who_registers_anew_comes_back_into_the_isr(void **state)
{
    struct cluster *c = *state;
    await_members(c);
    int32_t controller = cluster_leader(c);
    assert_int_equal(cluster_mkdir(c, controller, "orders"), 0);
    cluster_await(c, 5000, in_sync(c, controller, "orders") == 3);
    cluster_pass(c, 5000);
    for (int32_t id = 1; id <= 3; id++) {
        int64_t before = atomic_load(&c->nodes[id].node->membership.node_epoch);
        if (id == controller)
            continue;
        disown(c, controller, id);
        cluster_await(c, 5000, atomic_load(&c->nodes[id].node->membership.node_epoch) > before);
        cluster_await(c, 5000, !is_fenced(c, controller, id));
        cluster_await(c, 5000, in_sync(c, controller, "orders") == 3);
    }
}

static int32_t leader_at(struct cluster *c, int32_t seen_from, const char *topic)
{
    struct quorum *quorum = &c->nodes[seen_from].node->quorum;
    const struct metadata_topic *known = metadata_topic(quorum_acquire(quorum), topic);
    int32_t leader = known == NULL || known->partitions == 0 ? LEADER_NONE : known->parts[0].leader;
    quorum_release(quorum);
    return leader;
}

/* Its disk has no room for what is decided, so it goes on leading what another one leads: with acks=1, until its lease
 * is over. It is not in sync any more either, and nobody elects it. */
static void who_cannot_learn_that_another_leads_loses_its_lease(void **state)
{
    struct cluster *c = *state;
    await_members(c);
    int32_t controller = cluster_leader(c), away = cluster_follower(c), other = 6 - controller - away;
    struct cluster_op op;
    assert_int_equal(cluster_mkdir(c, controller, "orders"), 0);
    cluster_await(c, 5000, in_sync(c, controller, "orders") == 3);
    if (leader_at(c, controller, "orders") != away) {
        assert_int_equal(
            cluster_op_end(c, &op, node_set_leader(c->nodes[controller].node, cluster_op_init(&op), "orders", 0, away)),
            0);
    }
    cluster_pass(c, 1000);
    atomic_store(&c->nodes[away].disk.pwritev_rc, -ENOSPC);
    assert_int_equal(
        cluster_op_end(c, &op, node_set_leader(c->nodes[other].node, cluster_op_init(&op), "orders", 0, other)), 0);
    assert_int_equal(leader_at(c, controller, "orders"), other);
    assert_int_equal(leader_at(c, away, "orders"), away);
    cluster_await(c, 2300, !has_lease(c, away));
    assert_false(is_fenced(c, controller, away));
    cluster_await(c, CONTROLLER_LATE_MS, is_fenced(c, controller, away));
    atomic_store(&c->nodes[away].disk.pwritev_rc, 0);
    cluster_await(c, 10000, has_lease(c, away) && !is_fenced(c, away, away));
    cluster_await(c, 10000, in_sync(c, controller, "orders") == 3);
}

/* What the heartbeat carries: each partition of a command counts. */
static void who_makes_partitions_gets_on_with_each(void **state)
{
    struct cluster *c = *state;
    struct cluster_op op;
    uint64_t before[4];
    await_members(c);
    assert_int_equal(cluster_mkdir(c, 1, "orders"), 0);
    cluster_pass(c, 1000);
    for (int32_t id = 1; id <= 3; id++)
        before[id] = atomic_load(&c->nodes[id].node->replicas.acted_count);
    assert_int_equal(
        cluster_op_end(c, &op, node_create_partitions(c->nodes[1].node, cluster_op_init(&op), "orders", 9)), 0);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, 1000, atomic_load(&c->nodes[id].node->replicas.acted_count) >= before[id] + 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        THREE(a_member_has_a_lease_for_as_long_as_it_is_answered),
        THREE(cut_off_it_ends_before_the_node_is_fenced),
        THREE(a_controller_that_is_cut_off_has_none_either),
        THREE(who_registers_anew_comes_back_into_the_isr),
        THREE(nobody_is_fenced_for_what_the_controller_slept_through),
        THREE(who_cannot_learn_that_another_leads_loses_its_lease),
        THREE(who_makes_partitions_gets_on_with_each),
    };
    return cmocka_run_group_tests_name("lease", tests, NULL, NULL);
}
