/* tests/unit/test_controller.c: what a controller proposes, from heartbeats and silence to leaders. Its commands are
 * applied, as in a quorum of one, until it has no more. */
#include "replication/metadata/controller.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replication/metadata/plan.h"

enum { SESSION_MS = 3000 };

struct cluster {
    struct metadata meta;
    struct controller controller;
    int64_t now_ms;
    int commands;
};

static void apply(struct cluster *c, const struct command *cmd)
{
    struct err e = {""};
    if (metadata_apply(&c->meta, cmd, c->meta.next_offset, &e) != 0)
        fail_msg("%s", e.text);
    controller_applied(&c->controller, &c->meta, cmd, c->now_ms);
}

static void run(struct cluster *c)
{
    struct command cmd;
    int rc;
    while ((rc = controller_next(&c->controller, &c->meta, c->now_ms, &cmd)) == 1) {
        apply(c, &cmd);
        command_free(&cmd);
        assert_true(++c->commands < 1000);
    }
    assert_int_equal(rc, 0);
}

/* A heartbeat of a node that has acted upon what was decided below that offset, and how far it is with what follows. */
static struct heartbeat_answer beat_within(struct cluster *c, int32_t id, int64_t applied_offset, uint64_t acted_count)
{
    struct heartbeat_answer answer;
    struct heartbeat heartbeat = {id, metadata_node(&c->meta, id)->epoch, applied_offset, false, acted_count};
    assert_true(controller_heartbeat(&c->controller, &c->meta, c->now_ms, &heartbeat, &answer));
    run(c);
    return answer;
}

static struct heartbeat_answer beat_at(struct cluster *c, int32_t id, int64_t applied_offset)
{
    return beat_within(c, id, applied_offset, 0);
}

static struct heartbeat_answer beat(struct cluster *c, int32_t id, bool wants_stop)
{
    struct heartbeat_answer answer;
    const struct node_registration *node = metadata_node(&c->meta, id);
    struct heartbeat heartbeat = {id, node->epoch, c->meta.next_offset, wants_stop, 0};
    assert_true(controller_heartbeat(&c->controller, &c->meta, c->now_ms, &heartbeat, &answer));
    run(c);
    return answer;
}

static void enrol(struct cluster *c, int32_t id, bool unclean)
{
    struct command cmd = {.type = COMMAND_REGISTER_NODE};
    cmd.registration = (struct node_registration){
        .id = id, .epoch = -1, .incarnation = 9, .process = 50 + (uint64_t)id, .fenced = true, .unclean = unclean};
    apply(c, &cmd);
    run(c);
}

static const struct partition_registration *part(const struct cluster *c, int32_t index)
{
    return &metadata_topic(&c->meta, "orders")->parts[index];
}

/* Three nodes that live, and orders with three partitions, each preferring another leader. */
static int setup(void **state)
{
    static const struct tree_attr root = {.dir_mode = 0755, .file_mode = 0644};
    int32_t replicas[] = {1, 2, 3, 2, 3, 1, 3, 1, 2};
    struct command cmd = {.type = COMMAND_CREATE_TOPIC, .topic = "orders", .partitions = 3, .replication_factor = 3};
    struct cluster *c = calloc(1, sizeof *c);
    metadata_init(&c->meta, &root);
    controller_init(&c->controller, 0, SESSION_MS);
    controller_begin(&c->controller, &c->meta, 0);
    for (int32_t id = 1; id <= 3; id++) {
        enrol(c, id, false);
        beat(c, id, false);
    }
    cmd.replicas = replicas;
    cmd.replica_count = 9;
    apply(c, &cmd);
    run(c);
    for (int32_t i = 0; i < 3; i++)
        assert_int_equal(part(c, i)->leader, i + 1);
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    struct cluster *c = *state;
    metadata_free(&c->meta);
    free(c);
    return 0;
}

static void set_mode(struct cluster *c)
{
    const struct command cmd = {.type = COMMAND_SET_ATTR, .set = ATTR_DIR_MODE, .attr.dir_mode = 0755};
    apply(c, &cmd);
    run(c);
}

/* All three live on meanwhile. */
static void pass(struct cluster *c, int64_t ms)
{
    for (int64_t step_ms; ms > 0; ms -= step_ms) {
        step_ms = ms < 500 ? ms : 500;
        c->now_ms += step_ms;
        for (int32_t id = 1; id <= 3; id++)
            beat(c, id, false);
    }
}

static void all_but_one_beat(struct cluster *c)
{
    beat(c, 2, false);
    beat(c, 3, false);
}

/* Its disk hangs, or is full, and so it does not know what was decided. */
static void who_does_not_act_upon_what_was_decided_is_fenced(void **state)
{
    struct cluster *c = *state;
    int64_t before = c->meta.next_offset;
    set_mode(c);
    for (int passed_ms = 0; passed_ms < CONTROLLER_LATE_MS; passed_ms += 500) {
        beat_at(c, 1, before);
        all_but_one_beat(c);
        assert_false(metadata_node(&c->meta, 1)->fenced);
        c->now_ms += 500;
    }
    beat_at(c, 1, before);
    all_but_one_beat(c);
    assert_true(metadata_node(&c->meta, 1)->fenced);
    assert_int_equal(part(c, 0)->leader, 2);
    c->now_ms += 500;
    beat_at(c, 1, before); /* not by its being alive alone */
    assert_true(metadata_node(&c->meta, 1)->fenced);
    beat(c, 1, false);
    assert_false(metadata_node(&c->meta, 1)->fenced);
}

/* It is always a little behind, since there is always more. */
static void who_is_behind_for_a_moment_is_not_late(void **state)
{
    struct cluster *c = *state;
    for (int passed_ms = 0; passed_ms < 3 * CONTROLLER_LATE_MS; passed_ms += 500) {
        int64_t before = c->meta.next_offset;
        set_mode(c);
        c->now_ms += 500;
        assert_false(beat_at(c, 1, before).fenced);
        all_but_one_beat(c);
    }
    assert_false(metadata_node(&c->meta, 1)->fenced);
}

static void beat_slowly(struct cluster *c, int64_t applied_offset, uint64_t acted_count)
{
    beat_within(c, 1, applied_offset, acted_count);
    all_but_one_beat(c);
    c->now_ms += 500;
}

/* A command for thousands of partitions takes long on a slow disk. */
static void who_gets_on_within_a_command_is_not_late(void **state)
{
    struct cluster *c = *state;
    int64_t before = c->meta.next_offset;
    set_mode(c);
    for (int step = 0; step < 3 * CONTROLLER_LATE_MS / 500; step++) {
        beat_slowly(c, before, (uint64_t)step / 10);
        assert_false(metadata_node(&c->meta, 1)->fenced);
    }
    for (int passed_ms = 0; passed_ms <= CONTROLLER_LATE_MS; passed_ms += 500)
        beat_slowly(c, before, 5);
    assert_true(metadata_node(&c->meta, 1)->fenced); /* it hangs */
}

/* As do many of them. */
static void who_gets_on_from_command_to_command_is_not_late(void **state)
{
    struct cluster *c = *state;
    int64_t before = c->meta.next_offset;
    int steps = 3 * CONTROLLER_LATE_MS / 5000;
    for (int i = 0; i < steps; i++)
        set_mode(c);
    for (int step = 0; step < 10 * steps; step++) {
        beat_slowly(c, before + step / 10, 0);
        assert_false(metadata_node(&c->meta, 1)->fenced);
    }
}

/* Who leads what it has led it does not know, maybe. */
static void no_lease_is_carried_on_before_an_election_is_known(void **state)
{
    struct cluster *c = *state;
    int64_t before = c->meta.next_offset;
    struct command cmd = {.type = COMMAND_CHANGE_PARTITIONS};
    assert_false(beat_at(c, 1, before).fenced);
    memcpy(cmd.id, metadata_topic(&c->meta, "orders")->id, UUID_BYTES);
    assert_int_equal(plan_leader(&cmd, &c->meta, 0, 2, NULL), 0);
    apply(c, &cmd);
    command_free(&cmd);
    assert_true(beat_at(c, 1, before).fenced);
    assert_false(metadata_node(&c->meta, 1)->fenced);
    assert_false(beat(c, 1, false).fenced);
}

static void who_registers_is_fenced_until_it_has_applied_that(void **state)
{
    struct cluster *c = *state;
    struct heartbeat_answer answer;
    enrol(c, 4, false);
    struct heartbeat early = {4, metadata_node(&c->meta, 4)->epoch, metadata_node(&c->meta, 4)->epoch, false, 0};
    assert_true(controller_heartbeat(&c->controller, &c->meta, c->now_ms, &early, &answer));
    run(c);
    assert_true(answer.known && answer.fenced);
    assert_true(metadata_node(&c->meta, 4)->fenced);
    beat(c, 4, false);
    assert_false(metadata_node(&c->meta, 4)->fenced);
}

/* And the sessions of all that have ever been are not kept. */
static void who_was_unregistered_has_no_session_any_more(void **state)
{
    struct cluster *c = *state;
    for (int32_t id = 4; id <= LIMIT_NODES; id++)
        enrol(c, id, false);
    struct command gone = {.type = COMMAND_UNREGISTER_NODE};
    struct heartbeat old = {4, metadata_node(&c->meta, 4)->epoch, c->meta.next_offset, false, 0};
    struct heartbeat_answer answer;
    gone.registration = *metadata_node(&c->meta, 4);
    apply(c, &gone);
    run(c);
    assert_true(controller_heartbeat(&c->controller, &c->meta, c->now_ms, &old, &answer));
    assert_false(answer.known); /* it is to register anew */
    enrol(c, LIMIT_NODES + 1, false);
    beat(c, LIMIT_NODES + 1, false);
    assert_false(metadata_node(&c->meta, LIMIT_NODES + 1)->fenced);
}

static void silence_fences_after_a_session_and_not_before(void **state)
{
    struct cluster *c = *state;
    c->now_ms = SESSION_MS - 1;
    beat(c, 1, false);
    beat(c, 2, false);
    assert_false(metadata_node(&c->meta, 3)->fenced);
    assert_int_equal(controller_deadline_ms(&c->controller, &c->meta), SESSION_MS);
    c->now_ms = SESSION_MS;
    run(c);
    assert_true(metadata_node(&c->meta, 3)->fenced);
    assert_int_equal(part(c, 2)->leader, 1);
    assert_int_equal(part(c, 2)->leader_epoch, 1);
    for (int32_t i = 0; i < 3; i++)
        assert_false(replica_set_has(&part(c, i)->isr, 3));
    assert_int_equal(part(c, 0)->leader_epoch, 0);
}

/* The time is looked at in turns, as the driver does, and nobody is heard of. */
static void pass_silently(struct cluster *c, int64_t ms)
{
    enum { TURN_MS = 250 };
    for (; ms > 0; ms -= TURN_MS) {
        c->now_ms += TURN_MS;
        controller_tick(&c->controller, c->now_ms);
        run(c);
    }
}

/* Beyond the time until the next turn. */
static void stand_still(struct cluster *c, int64_t ms)
{
    c->now_ms += CONTROLLER_TICK_MS + ms;
    controller_tick(&c->controller, c->now_ms);
    run(c);
}

/* REPLICATION.md, rule 47. */
static void what_it_slept_through_is_nobodys_silence(void **state)
{
    struct cluster *c = *state;
    pass_silently(c, 1000);
    stand_still(c, 60000);
    assert_int_equal(controller_deadline_ms(&c->controller, &c->meta), 60000 + SESSION_MS);
    /* What lay in its sockets; and who has said nothing goes on being silent. */
    beat(c, 1, false);
    beat(c, 2, false);
    pass_silently(c, 500);
    stand_still(c, 60000);
    assert_int_equal(controller_deadline_ms(&c->controller, &c->meta), 120000 + SESSION_MS);
    pass_silently(c, 250);
    assert_int_equal(c->now_ms, 120000 + SESSION_MS - 50);
    assert_false(metadata_node(&c->meta, 3)->fenced);
    pass_silently(c, 250);
    assert_true(metadata_node(&c->meta, 3)->fenced);
    assert_false(metadata_node(&c->meta, 1)->fenced);
    assert_false(metadata_node(&c->meta, 2)->fenced);
    /* Nor is it one that looks a little late each time: 1,600 ms have passed since they were heard. */
    stand_still(c, LIMIT_STOOD_STILL_MS - 1);
    stand_still(c, LIMIT_STOOD_STILL_MS - 1);
    assert_false(metadata_node(&c->meta, 1)->fenced);
    pass_silently(c, 250);
    assert_true(metadata_node(&c->meta, 1)->fenced);
    assert_true(metadata_node(&c->meta, 2)->fenced);
}

/* Who has not acted upon what was decided: neither. */
static void nor_is_it_anybodys_time_to_act(void **state)
{
    struct cluster *c = *state;
    int64_t acted = c->meta.next_offset;
    set_mode(c);
    beat_at(c, 1, acted);
    stand_still(c, 2 * CONTROLLER_LATE_MS);
    for (int passed_ms = CONTROLLER_TICK_MS; passed_ms + 250 < CONTROLLER_LATE_MS; passed_ms += 250) {
        pass_silently(c, 250);
        beat_at(c, 1, acted);
        assert_false(metadata_node(&c->meta, 1)->fenced);
    }
    pass_silently(c, 250);
    assert_true(metadata_node(&c->meta, 1)->fenced);
}

/* REPLICATION.md, rule 46: it is heard of while that it is fenced is on its way, and may be decided by a later
 * controller. */
static void no_lease_is_carried_on_once_it_is_proposed_to_fence_it(void **state)
{
    struct cluster *c = *state;
    struct heartbeat_answer answer;
    struct heartbeat heartbeat = {.node = 1, .node_epoch = metadata_node(&c->meta, 1)->epoch};
    struct command fences;
    pass(c, 1);
    for (int passed_ms = 0; passed_ms < SESSION_MS; passed_ms += 500) {
        c->now_ms += 500;
        if (passed_ms < SESSION_MS - 500)
            all_but_one_beat(c);
    }
    assert_int_equal(controller_next(&c->controller, &c->meta, c->now_ms, &fences), 1);
    assert_int_equal(fences.type, COMMAND_CHANGE_NODE);
    heartbeat.applied_offset = c->meta.next_offset;
    assert_true(controller_heartbeat(&c->controller, &c->meta, c->now_ms, &heartbeat, &answer));
    assert_true(answer.known && answer.fenced);
    /* It failed, or seemed to: it is proposed again. */
    command_free(&fences);
    assert_int_equal(controller_next(&c->controller, &c->meta, c->now_ms, &fences), 1);
    assert_int_equal(fences.registration.id, 1);
    assert_true(fences.registration.fenced);
    apply(c, &fences);
    command_free(&fences);
    /* And once it is so, it is let in again. */
    beat(c, 1, false);
    assert_false(metadata_node(&c->meta, 1)->fenced);
    assert_false(beat(c, 1, false).fenced);
}

static void a_dead_process_is_fenced_at_once(void **state)
{
    struct cluster *c = *state;
    controller_gone(&c->controller, &c->meta, 2, 51); /* an earlier one */
    run(c);
    assert_false(metadata_node(&c->meta, 2)->fenced);
    controller_gone(&c->controller, &c->meta, 2, 52);
    run(c);
    assert_true(metadata_node(&c->meta, 2)->fenced);
    assert_int_equal(part(c, 1)->leader, 3);
}

/* Voters 1, 2 and 3: one of them may see only its own firewall. */
static void a_process_is_gone_once_a_majority_of_the_voters_finds_it_so(void **state)
{
    struct cluster *c = *state;
    c->meta.voters.voters = (struct raft_voters){.count = 3, .ids = {{1, 9}, {2, 9}, {3, 9}}};
    assert_false(controller_gone_vote(&c->controller, &c->meta, 0, 1, 3, 53));
    assert_false(controller_gone_vote(&c->controller, &c->meta, 10, 1, 3, 53)); /* the same voter */
    assert_false(controller_gone_vote(&c->controller, &c->meta, 20, 4, 3, 53)); /* no voter */
    assert_false(controller_gone_vote(&c->controller, &c->meta, 30, 2, 3, 99)); /* another process */
    /* The first one's word is too old by now. */
    assert_false(controller_gone_vote(&c->controller, &c->meta, 10 + CONTROLLER_GONE_MS, 2, 3, 53));
    run(c);
    assert_false(metadata_node(&c->meta, 3)->fenced);
    assert_true(controller_gone_vote(&c->controller, &c->meta, 20 + CONTROLLER_GONE_MS, 1, 3, 53));
    run(c);
    assert_true(metadata_node(&c->meta, 3)->fenced);
    assert_int_equal(part(c, 2)->leader, 1);
}

static void a_clean_stop_hands_over_before_it_ends(void **state)
{
    struct cluster *c = *state;
    assert_false(beat(c, 1, true).may_stop);
    assert_true(metadata_node(&c->meta, 1)->shutting_down);
    assert_int_equal(part(c, 0)->leader, 2);
    assert_true(beat(c, 1, true).may_stop);
    assert_false(metadata_node(&c->meta, 1)->fenced);
}

static void a_heartbeat_of_another_registration_is_not_known(void **state)
{
    struct cluster *c = *state;
    struct heartbeat_answer answer;
    struct heartbeat old = {1, metadata_node(&c->meta, 1)->epoch, 1000, false, 0};
    enrol(c, 1, false);
    assert_true(controller_heartbeat(&c->controller, &c->meta, c->now_ms, &old, &answer));
    assert_false(answer.known);
}

/* The node has applied its registration before the controller has: it is not to register again. */
static void a_heartbeat_of_a_registration_that_is_not_applied_yet_waits(void **state)
{
    struct cluster *c = *state;
    struct heartbeat_answer answer;
    struct heartbeat early = {1, c->meta.next_offset, c->meta.next_offset + 1, false, 0};
    assert_false(controller_heartbeat(&c->controller, &c->meta, c->now_ms, &early, &answer));
    early.node_epoch--; /* some other record's */
    assert_true(controller_heartbeat(&c->controller, &c->meta, c->now_ms, &early, &answer));
    assert_false(answer.known);
}

static void a_new_controller_grants_a_full_session(void **state)
{
    struct cluster *c = *state;
    controller_end(&c->controller);
    c->now_ms = 100000;
    run(c);
    controller_begin(&c->controller, &c->meta, c->now_ms);
    run(c);
    for (int32_t id = 1; id <= 3; id++)
        assert_false(metadata_node(&c->meta, id)->fenced);
    c->now_ms += SESSION_MS - 1;
    run(c);
    assert_false(metadata_node(&c->meta, 1)->fenced);
}

static void leadership_is_given_back_some_time_after_a_node_is_in_sync(void **state)
{
    struct cluster *c = *state;
    controller_gone(&c->controller, &c->meta, 1, 51);
    run(c);
    assert_int_equal(part(c, 0)->leader, 2);
    enrol(c, 1, false);
    beat(c, 1, false);
    assert_int_equal(part(c, 0)->leader, 2);
    struct partition_change change = {.to = *part(c, 0), .isr_epochs = {-1, -1, -1}};
    struct command cmd = {.type = COMMAND_CHANGE_PARTITIONS, .node = 2, .changes = &change, .change_count = 1};
    memcpy(change.topic_id, metadata_topic(&c->meta, "orders")->id, UUID_BYTES);
    change.to.partition_epoch++;
    replica_set_add(&change.to.isr, 1);
    apply(c, &cmd);
    run(c);
    assert_int_equal(part(c, 0)->leader, 2);
    pass(c, CONTROLLER_PREFER_DELAY_MS - 1);
    assert_int_equal(part(c, 0)->leader, 2);
    pass(c, 1);
    assert_int_equal(part(c, 0)->leader, 1);
}

/* A topic whose partitions all prefer node 1, which has died since; 2 leads, and 1 is back and in sync. */
static const struct metadata_topic *make_bills(struct cluster *c, int32_t partitions)
{
    int32_t *replicas = calloc((size_t)partitions * 3, sizeof *replicas);
    struct partition_change *changes = calloc((size_t)partitions, sizeof *changes);
    struct command make = {.type = COMMAND_CREATE_TOPIC, .topic = "bills", .id = {7}, .partitions = partitions};
    struct command join = {.type = COMMAND_CHANGE_PARTITIONS, .node = 2, .changes = changes};
    for (int32_t i = 0; i < partitions * 3; i++)
        replicas[i] = 1 + i % 3;
    make.replication_factor = 3;
    make.replicas = replicas;
    make.replica_count = partitions * 3;
    apply(c, &make);
    controller_gone(&c->controller, &c->meta, 1, 51);
    run(c);
    enrol(c, 1, false);
    beat(c, 1, false);
    const struct metadata_topic *bills = metadata_topic(&c->meta, "bills");
    join.change_count = partitions;
    for (int32_t i = 0; i < partitions; i++) {
        assert_int_equal(bills->parts[i].leader, 2);
        changes[i] = (struct partition_change){.index = i, .to = bills->parts[i]};
        memcpy(changes[i].topic_id, bills->id, UUID_BYTES);
        memset(changes[i].isr_epochs, -1, sizeof changes[i].isr_epochs);
        changes[i].to.partition_epoch++;
        replica_set_add(&changes[i].to.isr, 1);
    }
    apply(c, &join);
    run(c);
    free(changes);
    free(replicas);
    return bills;
}

static int32_t led_by(const struct metadata_topic *topic, int32_t id)
{
    int32_t led = 0;
    for (int32_t i = 0; i < topic->partitions; i++)
        led += topic->parts[i].leader == id;
    return led;
}

/* cluster.md: without a storm. A few at a time, with a pause in which their writers have found the new leader. */
static void leadership_of_many_is_given_back_a_few_at_a_time(void **state)
{
    struct cluster *c = *state;
    int32_t partitions = 2 * CONTROLLER_PREFER_COUNT + 10;
    const struct metadata_topic *bills = make_bills(c, partitions);
    assert_int_equal(led_by(bills, 1), 0);
    pass(c, CONTROLLER_PREFER_DELAY_MS);
    for (int32_t given = CONTROLLER_PREFER_COUNT; given < partitions; given += CONTROLLER_PREFER_COUNT) {
        assert_int_equal(led_by(bills, 1), given);
        pass(c, CONTROLLER_PREFER_PAUSE_MS - 1);
        assert_int_equal(led_by(bills, 1), given);
        assert_int_equal(controller_deadline_ms(&c->controller, &c->meta), c->now_ms + 1);
        pass(c, 1);
    }
    assert_int_equal(led_by(bills, 1), partitions);
}

/* Of a new topic: who is fenced has a replica, and follows once it is back. */
static void the_first_isr_has_only_those_that_are_not_fenced(void **state)
{
    struct cluster *c = *state;
    int32_t replicas[] = {1, 2, 3};
    struct command make = {.type = COMMAND_CREATE_TOPIC, .topic = "bills", .id = {7}, .partitions = 1};
    make.replication_factor = make.replica_count = 3;
    make.replicas = replicas;
    controller_gone(&c->controller, &c->meta, 1, 51);
    run(c);
    apply(c, &make);
    const struct partition_registration *bills = metadata_topic(&c->meta, "bills")->parts;
    assert_int_equal(bills->replicas.count, 3);
    assert_int_equal(bills->replicas.ids[0], 1);
    assert_int_equal(bills->isr.count, 2);
    assert_false(replica_set_has(&bills->isr, 1));
    assert_int_equal(bills->leader, 2);
    assert_int_equal(bills->elr.count, 0);

    /* With nobody there all are eligible: there is nothing yet that one of them could lack. */
    controller_gone(&c->controller, &c->meta, 2, 52);
    controller_gone(&c->controller, &c->meta, 3, 53);
    run(c);
    memcpy(make.topic, "menus", sizeof "menus");
    make.id[0] = 8;
    apply(c, &make);
    const struct partition_registration *menus = metadata_topic(&c->meta, "menus")->parts;
    assert_int_equal(menus->isr.count, 0);
    assert_int_equal(menus->elr.count, 3);
    assert_int_equal(menus->leader, LEADER_NONE);
    enrol(c, 3, false);
    beat(c, 3, false);
    assert_int_equal(metadata_topic(&c->meta, "menus")->parts->leader, 3);
}

/* user.topic.replication_factor and user.config.min.insync.replicas of the topic: interface.md has (replicas + 1) / 2
 * of the target replicas, and that what is shown is in force. */
static void shown_is(const struct cluster *c, int32_t factor, const char *min_insync)
{
    const struct metadata_topic *topic = metadata_topic(&c->meta, "orders");
    char value[CONFIG_VALUE_BYTES];
    assert_int_equal(metadata_factor(topic), factor);
    assert_int_equal(metadata_get_config(&c->meta, topic, "min.insync.replicas", value), 0);
    assert_string_equal(value, min_insync);
}

/* setfattr -n user.log.replicas -v 3,4: 4 is added, comes into the ISR as it would by its leader, and then 1 and 2 go.
 */
static void a_move_ends_once_all_that_shall_be_there_are_in_sync(void **state)
{
    struct cluster *c = *state;
    int32_t replicas[] = {3, 4};
    struct command cmd = {.type = COMMAND_ASSIGN_REPLICAS, .topic = "orders", .partition = 0, .replication_factor = 2};
    enrol(c, 4, false);
    beat(c, 4, false);
    cmd.replicas = replicas;
    cmd.replica_count = 2;
    apply(c, &cmd);
    run(c);
    assert_int_equal(part(c, 0)->replicas.count, 4);
    assert_int_equal(part(c, 0)->leader, 1);
    assert_int_equal(metadata_topic(&c->meta, "orders")->replication_factor, 3); /* that of one partition is not it */
    shown_is(c, 2, "1");

    struct partition_change change = {.to = *part(c, 0)};
    struct command joins = {.type = COMMAND_CHANGE_PARTITIONS, .node = 1, .changes = &change, .change_count = 1};
    memcpy(change.topic_id, metadata_topic(&c->meta, "orders")->id, UUID_BYTES);
    memset(change.isr_epochs, -1, sizeof change.isr_epochs);
    replica_set_add(&change.to.isr, 4);
    change.to.partition_epoch++;
    apply(c, &joins);
    run(c);
    assert_int_equal(part(c, 0)->replicas.count, 2);
    assert_true(replica_set_has(&part(c, 0)->replicas, 3) && replica_set_has(&part(c, 0)->replicas, 4));
    assert_int_equal(part(c, 0)->target.count, 0);
    assert_int_equal(part(c, 0)->leader, 3);
    assert_int_equal(part(c, 0)->leader_epoch, 1);
    assert_int_equal(part(c, 0)->isr.count, 2);
    shown_is(c, 2, "1");

    /* More than the others have is of no use to the topic. */
    int32_t many[] = {1, 2, 3, 4};
    cmd.replicas = many;
    cmd.replication_factor = cmd.replica_count = 4;
    apply(c, &cmd);
    shown_is(c, 3, "2");
    struct command set = {.type = COMMAND_SET_CONFIG, .topic = "orders", .name = "min.insync.replicas", .value = "3"};
    apply(c, &set);
    shown_is(c, 3, "3");
}

/* interface.md: internal topics follow default.replication.factor when the cluster grows. */
static void the_clusters_own_topic_follows_the_default_factor(void **state)
{
    struct cluster *c = *state;
    int32_t replicas[] = {2, 2};
    struct command made = {.type = COMMAND_CREATE_TOPIC, .topic = "__consumer_offsets", .id = {5}};
    struct command set = {.type = COMMAND_SET_CONFIG, .name = "default.replication.factor", .value = "1"};
    made.partitions = made.replica_count = 2;
    made.replication_factor = 1;
    made.replicas = replicas;
    apply(c, &set);
    apply(c, &made);
    run(c);
    const struct metadata_topic *topic = metadata_topic(&c->meta, "__consumer_offsets");
    assert_int_equal(topic->replication_factor, 1);
    assert_int_equal(topic->parts[0].replicas.count, 1);

    /* No longer said, it is the smaller of 3 and the number of nodes. */
    set.type = COMMAND_REMOVE_CONFIG;
    apply(c, &set);
    run(c);
    assert_int_equal(topic->replication_factor, 3);
    for (int32_t p = 0; p < 2; p++) {
        assert_int_equal(topic->parts[p].replicas.count, 3);
        assert_int_equal(topic->parts[p].replicas.ids[0], 2); /* who leads goes on */
        assert_int_equal(topic->parts[p].isr.count, 1);       /* the others have yet to fetch */
        assert_int_equal(topic->parts[p].leader, 2);
    }
    /* It is not asked for again. */
    c->commands = 0;
    run(c);
    assert_int_equal(c->commands, 0);
    /* A lower one takes nothing away. */
    set.type = COMMAND_SET_CONFIG;
    apply(c, &set);
    run(c);
    assert_int_equal(topic->replication_factor, 3);
}

static void a_controller_at_rest_proposes_nothing(void **state)
{
    struct cluster *c = *state;
    c->commands = 0;
    for (int i = 0; i < 100; i++) {
        c->now_ms += 500;
        for (int32_t id = 1; id <= 3; id++)
            beat(c, id, false);
    }
    assert_int_equal(c->commands, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_registers_is_fenced_until_it_has_applied_that, setup, teardown),
        cmocka_unit_test_setup_teardown(who_was_unregistered_has_no_session_any_more, setup, teardown),
        cmocka_unit_test_setup_teardown(who_does_not_act_upon_what_was_decided_is_fenced, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_behind_for_a_moment_is_not_late, setup, teardown),
        cmocka_unit_test_setup_teardown(who_gets_on_within_a_command_is_not_late, setup, teardown),
        cmocka_unit_test_setup_teardown(who_gets_on_from_command_to_command_is_not_late, setup, teardown),
        cmocka_unit_test_setup_teardown(no_lease_is_carried_on_before_an_election_is_known, setup, teardown),
        cmocka_unit_test_setup_teardown(silence_fences_after_a_session_and_not_before, setup, teardown),
        cmocka_unit_test_setup_teardown(what_it_slept_through_is_nobodys_silence, setup, teardown),
        cmocka_unit_test_setup_teardown(nor_is_it_anybodys_time_to_act, setup, teardown),
        cmocka_unit_test_setup_teardown(no_lease_is_carried_on_once_it_is_proposed_to_fence_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dead_process_is_fenced_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_process_is_gone_once_a_majority_of_the_voters_finds_it_so, setup, teardown),
        cmocka_unit_test_setup_teardown(a_clean_stop_hands_over_before_it_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(a_heartbeat_of_another_registration_is_not_known, setup, teardown),
        cmocka_unit_test_setup_teardown(a_heartbeat_of_a_registration_that_is_not_applied_yet_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_controller_grants_a_full_session, setup, teardown),
        cmocka_unit_test_setup_teardown(leadership_is_given_back_some_time_after_a_node_is_in_sync, setup, teardown),
        cmocka_unit_test_setup_teardown(leadership_of_many_is_given_back_a_few_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(the_first_isr_has_only_those_that_are_not_fenced, setup, teardown),
        cmocka_unit_test_setup_teardown(a_move_ends_once_all_that_shall_be_there_are_in_sync, setup, teardown),
        cmocka_unit_test_setup_teardown(the_clusters_own_topic_follows_the_default_factor, setup, teardown),
        cmocka_unit_test_setup_teardown(a_controller_at_rest_proposes_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
