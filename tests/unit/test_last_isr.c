/* tests/unit/test_last_isr.c: a partition all of whose in-sync replicas stopped uncleanly waits for all of them, and
 * the one that has most leads. */
#include "replication/metadata/last_isr.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct cluster {
    struct metadata meta;
    struct last_isr asked;
};

static int apply(struct cluster *c, const struct command *cmd)
{
    struct err e = {""};
    return metadata_apply(&c->meta, cmd, c->meta.next_offset, &e);
}

static void enrol(struct cluster *c, int32_t id, bool unclean)
{
    struct command cmd = {.type = COMMAND_REGISTER_NODE};
    cmd.registration = (struct node_registration){
        .id = id, .epoch = -1, .incarnation = 9, .process = (uint64_t)id, .unclean = unclean};
    assert_int_equal(apply(c, &cmd), 0);
}

static void fence(struct cluster *c, int32_t id, bool fenced)
{
    struct command cmd = {.type = COMMAND_CHANGE_NODE};
    cmd.registration = *metadata_node(&c->meta, id);
    cmd.registration.fenced = fenced;
    assert_int_equal(apply(c, &cmd), 0);
}

static const struct partition_registration *part(const struct cluster *c, int32_t index)
{
    return &metadata_topic(&c->meta, "orders")->parts[index];
}

/* Three nodes, orders with that many partitions on all of them, and a power cut of all. */
static struct cluster *after_a_power_cut(int32_t partitions)
{
    static const struct tree_attr root = {.dir_mode = 0755, .file_mode = 0644};
    struct command cmd = {
        .type = COMMAND_CREATE_TOPIC, .topic = "orders", .partitions = partitions, .replication_factor = 3};
    struct cluster *c = calloc(1, sizeof *c);
    metadata_init(&c->meta, &root);
    for (int32_t id = 1; id <= 3; id++)
        enrol(c, id, false);
    cmd.replica_count = 3 * partitions;
    cmd.replicas = calloc((size_t)cmd.replica_count, sizeof *cmd.replicas);
    for (int32_t i = 0; i < cmd.replica_count; i++)
        cmd.replicas[i] = i % 3 + 1;
    assert_int_equal(apply(c, &cmd), 0);
    command_free(&cmd);
    for (int32_t id = 1; id <= 3; id++)
        enrol(c, id, true);
    for (int32_t i = 0; i < partitions; i++)
        assert_true(election_needs_last_isr(part(c, i)));
    return c;
}

static void let_go(struct cluster *c)
{
    metadata_free(&c->meta);
    free(c);
}

/* The node has (epoch, end offset) of every partition that it is asked for; returns how many. */
static int32_t answer(struct cluster *c, int32_t node, int32_t epoch, int64_t end_offset)
{
    static struct last_isr_found found[LAST_ISR_PARTITIONS];
    int32_t count = last_isr_asks(&c->asked, node, found);
    for (int32_t i = 0; i < count; i++) {
        found[i].epoch = epoch;
        found[i].end_offset = end_offset;
    }
    last_isr_answer(&c->asked, c->asked.round, node, metadata_node(&c->meta, node)->epoch, found, count);
    return count;
}

static int propose(struct cluster *c)
{
    struct command cmd;
    int rc = last_isr_end(&c->asked, &c->meta, &cmd);
    assert_int_equal(c->asked.count, 0);
    if (rc != 1)
        return rc;
    rc = apply(c, &cmd);
    command_free(&cmd);
    return rc != 0 ? rc : 1;
}

static void the_greatest_epoch_and_end_lead(void **state)
{
    static const struct {
        int32_t epoch;
        int64_t end;
    } has[][3] = {{{2, 100}, {2, 101}, {2, 99}}, {{3, 10}, {2, 500}, {1, 900}}, {{0, 0}, {0, 0}, {1, 0}}};
    static const int32_t leads[] = {2, 1, 3};
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct cluster *c = after_a_power_cut(1);
        int32_t before = part(c, 0)->leader_epoch;
        assert_false(last_isr_begin(&c->asked, &c->meta));
        assert_int_equal(c->asked.count, 1);
        for (int32_t id = 3; id >= 1; id--) {
            assert_false(last_isr_complete(&c->asked));
            answer(c, id, has[i][id - 1].epoch, has[i][id - 1].end);
        }
        assert_true(last_isr_complete(&c->asked));
        assert_int_equal(propose(c), 1);
        assert_int_equal(part(c, 0)->leader, leads[i]);
        assert_int_equal(part(c, 0)->isr.count, 1);
        assert_int_equal(part(c, 0)->last_isr.count, 2); /* until somebody follows the leader */
        assert_true(part(c, 0)->leader_epoch > before && part(c, 0)->leader_epoch > has[i][leads[i] - 1].epoch);
        let_go(c);
    }
}

static void nobody_is_asked_before_all_are_there(void **state)
{
    (void)state;
    struct cluster *c = after_a_power_cut(1);
    fence(c, 3, true);
    assert_false(last_isr_begin(&c->asked, &c->meta));
    assert_int_equal(c->asked.count, 0);
    fence(c, 3, false);
    last_isr_begin(&c->asked, &c->meta);
    assert_int_equal(c->asked.count, 1);
    let_go(c);
}

static void an_answer_of_another_round_does_not_count(void **state)
{
    (void)state;
    struct cluster *c = after_a_power_cut(1);
    struct last_isr_found found = {.epoch = 9, .end_offset = 9};
    last_isr_begin(&c->asked, &c->meta);
    assert_int_equal(last_isr_asks(&c->asked, 1, &found), 1);
    found.epoch = 9;
    last_isr_answer(&c->asked, c->asked.round - 1, 1, 0, &found, 1);
    assert_int_equal(answer(c, 1, 1, 1), 1); /* it is still asked for */
    assert_int_equal(answer(c, 1, 7, 7), 0); /* and once only */
    let_go(c);
}

/* Between its answer and its election it lost power once more: what it said may not be so any more. */
static void who_registers_anew_meanwhile_is_not_elected(void **state)
{
    (void)state;
    struct cluster *c = after_a_power_cut(1);
    last_isr_begin(&c->asked, &c->meta);
    for (int32_t id = 1; id <= 3; id++)
        answer(c, id, 1, 10 * id);
    enrol(c, 3, true);
    assert_int_equal(propose(c), -EAGAIN);
    assert_int_equal(part(c, 0)->leader, LEADER_NONE);
    let_go(c);
}

static void a_damaged_log_leaves_the_partition_as_it_is(void **state)
{
    (void)state;
    struct cluster *c = after_a_power_cut(1);
    last_isr_begin(&c->asked, &c->meta);
    answer(c, 1, 5, 500);
    answer(c, 2, -1, -1);
    answer(c, 3, 5, 400);
    assert_true(last_isr_complete(&c->asked));
    assert_int_equal(propose(c), 0);
    assert_int_equal(part(c, 0)->leader, LEADER_NONE);
    let_go(c);
}

static void many_are_asked_for_in_rounds(void **state)
{
    (void)state;
    enum { PARTITIONS = 2 * LAST_ISR_PARTITIONS + 3 };
    struct cluster *c = after_a_power_cut(PARTITIONS);
    int rounds = 0;
    for (bool more = true; more; rounds++) {
        more = last_isr_begin(&c->asked, &c->meta);
        for (int32_t id = 1; id <= 3; id++)
            answer(c, id, 1, id == 2);
        assert_int_equal(propose(c), 1);
    }
    assert_int_equal(rounds, 3);
    for (int32_t i = 0; i < PARTITIONS; i++)
        assert_int_equal(part(c, i)->leader, 2);
    let_go(c);
}

/* Node 1, the only one in sync, is gone, and any other may lead. */
static struct cluster *after_the_last_has_gone(void)
{
    struct cluster *c = after_a_power_cut(1);
    struct command set = {.type = COMMAND_SET_CONFIG, .name = "unclean.leader.election.enable", .value = "true"};
    last_isr_begin(&c->asked, &c->meta);
    for (int32_t id = 1; id <= 3; id++)
        answer(c, id, 1, 1);
    assert_int_equal(propose(c), 1);
    assert_int_equal(part(c, 0)->leader, 1);
    assert_int_equal(apply(c, &set), 0);
    fence(c, 1, true);
    struct command cmd = {.type = COMMAND_CHANGE_PARTITIONS, .change_count = 1};
    struct partition_change change = {.isr_epochs = {-1, -1, -1, -1, -1, -1, -1, -1}};
    struct election_nodes nodes = metadata_election_nodes(&c->meta);
    struct election_rules rules;
    metadata_election_rules(&c->meta, metadata_topic(&c->meta, "orders"), 0, &rules);
    assert_true(election_settle(part(c, 0), &nodes, &rules, &change.to));
    assert_int_equal(change.to.leader, LEADER_NONE);
    change.to.leader_epoch++;
    change.to.partition_epoch++;
    cmd.changes = &change;
    assert_int_equal(apply(c, &cmd), 0);
    return c;
}

static void an_unclean_election_takes_who_has_most(void **state)
{
    (void)state;
    for (int32_t most = 2; most <= 3; most++) {
        struct cluster *c = after_the_last_has_gone();
        assert_false(last_isr_begin(&c->asked, &c->meta));
        assert_int_equal(c->asked.count, 1);
        assert_int_equal(answer(c, 1, 9, 9), 0);
        answer(c, most, 1, 100);
        assert_false(last_isr_complete(&c->asked));
        answer(c, 5 - most, 0, 500);
        assert_true(last_isr_complete(&c->asked));
        assert_int_equal(propose(c), 1);
        assert_int_equal(part(c, 0)->leader, most);
        assert_int_equal(part(c, 0)->isr.count, 1);
        assert_int_equal(part(c, 0)->elr.count, 0);
        assert_int_equal(part(c, 0)->last_isr.count, 0);
        let_go(c);
    }
}

static void an_unclean_election_waits_for_nobody_without_end(void **state)
{
    (void)state;
    struct cluster *c = after_the_last_has_gone();
    last_isr_begin(&c->asked, &c->meta);
    assert_false(last_isr_late(&c->asked)); /* nobody has answered: they are asked again */
    last_isr_begin(&c->asked, &c->meta);
    answer(c, 3, 1, 1);
    assert_true(last_isr_late(&c->asked));
    assert_true(last_isr_complete(&c->asked));
    assert_int_equal(propose(c), 1);
    assert_int_equal(part(c, 0)->leader, 3);
    let_go(c);
}

static void who_cannot_tell_is_passed_over_in_an_unclean_election(void **state)
{
    (void)state;
    struct cluster *c = after_the_last_has_gone();
    last_isr_begin(&c->asked, &c->meta);
    answer(c, 3, 1, 1);
    answer(c, 2, -1, -1);
    assert_true(last_isr_complete(&c->asked));
    assert_int_equal(propose(c), 1);
    assert_int_equal(part(c, 0)->leader, 3);
    let_go(c);
}

/* The only one in sync came back before the others' answers. */
static void who_has_all_of_it_comes_before_an_unclean_election(void **state)
{
    (void)state;
    struct cluster *c = after_the_last_has_gone();
    last_isr_begin(&c->asked, &c->meta);
    answer(c, 2, 1, 1);
    answer(c, 3, 1, 1);
    fence(c, 1, false);
    assert_int_equal(propose(c), 0);
    assert_int_equal(part(c, 0)->leader, LEADER_NONE);
    let_go(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_greatest_epoch_and_end_lead),
        cmocka_unit_test(nobody_is_asked_before_all_are_there),
        cmocka_unit_test(an_answer_of_another_round_does_not_count),
        cmocka_unit_test(who_registers_anew_meanwhile_is_not_elected),
        cmocka_unit_test(a_damaged_log_leaves_the_partition_as_it_is),
        cmocka_unit_test(many_are_asked_for_in_rounds),
        cmocka_unit_test(an_unclean_election_takes_who_has_most),
        cmocka_unit_test(an_unclean_election_waits_for_nobody_without_end),
        cmocka_unit_test(who_cannot_tell_is_passed_over_in_an_unclean_election),
        cmocka_unit_test(who_has_all_of_it_comes_before_an_unclean_election),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
