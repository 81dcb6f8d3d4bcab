/* Three whole nodes in one process, over a network in memory: a partition with a replica on each. Each node has a
 * metadata quorum of its own, and the test is the controller: what it decides it decides on all of them. */
#include "tests/unit/hub.h"
#include "tests/unit/node_fixture.h"
#include "tests/unit/scratch.h"

enum { NODES = 3 };

struct cluster {
    struct hub hub;
    struct fixture nodes[NODES + 1]; /* from 1 on */
    uint8_t topic_id[UUID_BYTES];
};

/* Time goes by until the condition holds. */
#define come_to(condition) wait_until((pass_all(c, 1), (condition)))

/* Until nobody has anything to do before time goes on. */
static void rest(struct cluster *c)
{
    long told;
    do {
        told = hub_drain(&c->hub);
        for (int id = 1; id <= NODES; id++) {
            if (c->nodes[id].node != NULL)
                executor_settle(c->nodes[id].node->executor);
        }
    } while (hub_drain(&c->hub) != told);
}

/* Time passes everywhere, and what is due then is done. */
static void pass_all(struct cluster *c, int64_t ms)
{
    for (int id = 1; id <= NODES; id++) {
        if (c->nodes[id].node != NULL)
            pass_ms(&c->nodes[id], ms);
    }
    for (int id = 1; id <= NODES; id++) {
        if (c->nodes[id].node != NULL)
            await_alarms(&c->nodes[id]);
    }
    rest(c);
}

/* ---- the controller ---- */

struct decided {
    struct quorum_op op;
    _Atomic bool over;
    int rc;
};

static void on_decided(struct quorum_op *op, int rc)
{
    struct decided *decided = CONTAINER_OF(op, struct decided, op);
    decided->rc = rc;
    atomic_store(&decided->over, true);
}

static int decide_on(struct fixture *f, const struct command *cmd)
{
    struct decided decided = {.op = {.timeout_ms = INT64_MAX, .done = on_decided}};
    int rc = quorum_submit(&f->node->quorum, &decided.op, cmd);
    if (rc != 0)
        return rc;
    wait_until(atomic_load(&decided.over));
    return decided.rc;
}

static void decide(struct cluster *c, const struct command *cmd)
{
    for (int id = 1; id <= NODES; id++) {
        if (c->nodes[id].node != NULL)
            assert_int_equal(decide_on(&c->nodes[id], cmd), 0);
    }
}

static void register_all(struct cluster *c)
{
    for (int id = 1; id <= NODES; id++) {
        decide(c, &(struct command){.type = COMMAND_REGISTER_NODE,
                                    .registration = {.id = id,
                                                     .epoch = -1,
                                                     .incarnation = c->nodes[id].node->identity.incarnation,
                                                     .process = c->nodes[id].node->process}});
    }
}

static void make_topic(struct cluster *c, int number)
{
    int32_t replicas[] = {1, 2, 3};
    struct command cmd = {.type = COMMAND_CREATE_TOPIC,
                          .topic = "orders",
                          .attr = some_attr,
                          .partitions = 1,
                          .replication_factor = NODES,
                          .replicas = replicas,
                          .replica_count = NODES};
    memset(cmd.id, number, UUID_BYTES);
    memcpy(c->topic_id, cmd.id, UUID_BYTES);
    decide(c, &cmd);
    /* Some stories leave a leader alone in sync. */
    decide(c, &(struct command){
                  .type = COMMAND_SET_CONFIG, .topic = "orders", .name = "min.insync.replicas", .value = "1"});
}

static struct partition *part_of(struct cluster *c, int id)
{
    return get(&c->nodes[id], "orders");
}

/* What a node's metadata says of the partition. */
static struct partition_registration registration_at(struct cluster *c, int id)
{
    struct quorum *quorum = &c->nodes[id].node->quorum;
    struct partition_registration found = metadata_topic(quorum_acquire(quorum), "orders")->parts[0];
    quorum_release(quorum);
    return found;
}

/* On that node alone. */
static void set_registration_on(struct cluster *c, int id, const struct partition_registration *to)
{
    struct partition_change change = {.index = 0, .to = *to};
    for (int i = 0; i < LIMIT_REPLICA_SET; i++)
        change.isr_epochs[i] = -1;
    memcpy(change.topic_id, c->topic_id, UUID_BYTES);
    assert_int_equal(
        decide_on(&c->nodes[id],
                  &(struct command){.type = COMMAND_SET_PARTITIONS, .changes = &change, .change_count = 1}),
        0);
}

static void set_registration(struct cluster *c, const struct partition_registration *to)
{
    for (int id = 1; id <= NODES; id++) {
        if (c->nodes[id].node != NULL)
            set_registration_on(c, id, to);
    }
}

/* An election: that node leads, with those in sync. */
static void elect(struct cluster *c, int leader, int isr_count, const int32_t *isr)
{
    struct partition_registration to = registration_at(c, leader);
    to.leader = leader;
    to.leader_epoch++;
    to.partition_epoch++;
    to.isr.count = 0;
    for (int i = 0; i < isr_count; i++)
        replica_set_add(&to.isr, isr[i]);
    set_registration(c, &to);
}

/* ---- the nodes ---- */

static void start_node(struct cluster *c, int id)
{
    struct err e = {0};
    if (try_open(&c->nodes[id], id, &e) != 0)
        fail_msg("node %d: %s", id, e.text);
    /* Each of them is a cluster of its own, and it is the test that says what is decided in all. */
    controller_driver_stop(&c->nodes[id].node->controller);
    pthread_mutex_lock(&c->nodes[id].node->controller.lock);
    c->nodes[id].node->controller.stopped = true; /* the test is the controller */
    pthread_mutex_unlock(&c->nodes[id].node->controller.lock);
    hub_attach(&c->hub, id, &c->nodes[id].node->network);
}

/* Each grants itself producer ids, and no two of them the same ones. */
static void set_producer_ids_apart(struct cluster *c, int id)
{
    struct command cmd = {.type = COMMAND_PRODUCER_IDS, .node = NODES + 1, .count = 1000000 * id};
    assert_int_equal(decide_on(&c->nodes[id], &cmd), 0);
}

static void link_all(struct cluster *c, int id, bool up)
{
    for (int other = 1; other <= NODES; other++) {
        if (other != id)
            hub_link(&c->hub, id, other, up);
    }
}

static int begin(void **state)
{
    struct cluster *c = calloc(1, sizeof *c);
    hub_init(&c->hub);
    for (int id = 1; id <= NODES; id++) {
        struct fixture *f = &c->nodes[id];
        scratch_make(f->dir, sizeof f->dir, "replication");
        f->clock.clock = (struct clock){.wall_ms = hand_wall_ms, .mono_ms = hand_mono_ms};
        f->clock.wall_start_ms = clock_system()->wall_ms(clock_system());
        f->disk.io = *io_posix();
        f->disk.io.pwritev = bad_pwritev;
        f->disk.io.fdatasync = bad_fdatasync;
        f->disk.io.fsync = bad_fsync;
        f->disk.io.mkdir = bad_mkdir;
        start_node(c, id);
        set_producer_ids_apart(c, id);
    }
    register_all(c);
    make_topic(c, 9);
    for (int id = 1; id <= NODES; id++)
        link_all(c, id, true);
    *state = c;
    return 0;
}

static int end(void **state)
{
    struct cluster *c = *state;
    for (int id = 1; id <= NODES; id++) {
        char command[128];
        struct err e = {0};
        struct fixture *f = &c->nodes[id];
        if (f->node != NULL)
            hub_detach(&c->hub, id, &f->node->network);
        if (f->node != NULL && node_close(f->node, &e) != 0)
            print_message("node %d: %s\n", id, e.text);
        snprintf(command, sizeof command, "rm -rf %s", f->dir);
        assert_int_equal(system(command), 0);
    }
    hub_free(&c->hub);
    free(c);
    return 0;
}

/* Time passes everywhere, a beat at a time, so that what is due is done in between. */
static void pass_everywhere(struct cluster *c, int64_t ms)
{
    for (int64_t passed = 0; passed < ms; passed += LIMIT_BEAT_MS)
        pass_all(c, LIMIT_BEAT_MS);
}

/* ---- appends ---- */

struct awaited_append {
    struct append_op op; /* first */
    _Atomic bool over;
    _Atomic int rc;
};

static void on_appended(struct append_op *op, int rc)
{
    struct awaited_append *append = (struct awaited_append *)op;
    atomic_store(&append->rc, rc);
    atomic_store(&append->over, true);
}

/* Begins one; what becomes of it is in *append. */
static void begin_append(struct cluster *c, int id, const char *lines, enum acks acks, struct awaited_append *append)
{
    struct err e = {0};
    *append = (struct awaited_append){.op = {.done = on_appended}};
    int rc = append_to(&c->nodes[id], part_of(c, id), lines, acks, &append->op, &e);
    if (rc != 0) {
        atomic_store(&append->rc, rc == 1 ? 0 : rc);
        atomic_store(&append->over, true);
    }
}

static void end_append(struct cluster *c, struct awaited_append *append, int rc)
{
    come_to(atomic_load(&append->over));
    partition_unref(append->op.part);
    assert_int_equal(atomic_load(&append->rc), rc);
}

static void append_at(struct cluster *c, int id, const char *lines)
{
    struct awaited_append append;
    begin_append(c, id, lines, ACKS_ALL, &append);
    end_append(c, &append, 0);
}

static bool shows(struct cluster *c, int id, const char *expected)
{
    char text[65536];
    return content(&c->nodes[id], "orders", text, sizeof text) == 0 && strcmp(text, expected) == 0;
}

static struct log_point mark_of(struct cluster *c, int id)
{
    struct partition *part = part_of(c, id);
    struct log_point mark = partition_high_watermark(part);
    partition_unref(part);
    return mark;
}

static struct log_point end_of(struct cluster *c, int id)
{
    struct partition *part = part_of(c, id);
    struct log_point end = partition_log_end(part);
    partition_unref(part);
    return end;
}

/* ---- stories ---- */

static void an_append_is_on_all_replicas_when_it_is_acknowledged(void **state)
{
    struct cluster *c = *state;
    append_at(c, 1, "one\ntwo\n");
    for (int id = 1; id <= NODES; id++)
        assert_int_equal(end_of(c, id).offset, 2);
    assert_true(shows(c, 1, "one\ntwo\n"));
    come_to(shows(c, 2, "one\ntwo\n") && shows(c, 3, "one\ntwo\n"));
    append_at(c, 1, "three\n");
    come_to(shows(c, 2, "one\ntwo\nthree\n") && shows(c, 3, "one\ntwo\nthree\n"));
}

static void without_a_follower_of_the_isr_nothing_is_acknowledged(void **state)
{
    struct cluster *c = *state;
    struct awaited_append append;
    append_at(c, 1, "one\n");
    link_all(c, 3, false);
    begin_append(c, 1, "two\n", ACKS_ALL, &append);
    come_to(end_of(c, 2).offset == 2);
    assert_int_equal(mark_of(c, 1).offset, 1);
    assert_false(atomic_load(&append.over));
    link_all(c, 3, true);
    end_append(c, &append, 0);
    assert_true(shows(c, 1, "one\ntwo\n"));
    come_to(shows(c, 3, "one\ntwo\n"));
}

/* The others were moved away from, and what they held back is not appended to any more. */
static void who_is_left_alone_shows_all_that_it_has(void **state)
{
    struct cluster *c = *state;
    struct awaited_append append;
    append_at(c, 1, "one\n");
    come_to(mark_of(c, 2).offset == 1);
    link_all(c, 3, false);
    begin_append(c, 1, "two\n", ACKS_LEADER, &append);
    end_append(c, &append, 0);
    come_to(end_of(c, 2).offset == 2);
    assert_int_equal(mark_of(c, 2).offset, 1);
    struct partition_registration to = registration_at(c, 1);
    to.leader = 2;
    to.leader_epoch++;
    to.partition_epoch++;
    to.replicas = to.isr = (struct replica_set){.count = 1, .ids = {2}};
    set_registration(c, &to);
    come_to(mark_of(c, 2).offset == 2);
    assert_true(shows(c, 2, "one\ntwo\n"));
}

struct awaited_deletion {
    struct delete_records_op op;
    _Atomic bool over;
    int rc;
};

static void on_deleted(struct delete_records_op *op, int rc)
{
    struct awaited_deletion *deletion = CONTAINER_OF(op, struct awaited_deletion, op);
    deletion->rc = rc;
    atomic_store(&deletion->over, true);
}

/* Who has just come to lead may know of less than was shown, and is asked to delete all of that. */
static void what_is_deleted_after_an_election_is_all_that_was_shown(void **state)
{
    struct cluster *c = *state;
    struct awaited_append append;
    struct awaited_deletion deletion = {.op = {.position = 8, .done = on_deleted}};
    append_at(c, 1, "one\n");
    come_to(mark_of(c, 2).offset == 1 && mark_of(c, 3).offset == 1);
    link_all(c, 3, false);
    begin_append(c, 1, "two\n", ACKS_LEADER, &append);
    end_append(c, &append, 0);
    come_to(end_of(c, 2).offset == 2);
    elect(c, 2, 2, (const int32_t[]){2, 3});
    struct partition *part = part_of(c, 2);
    assert_int_equal(partition_delete_records(part, &deletion.op), 0);
    link_all(c, 3, true);
    come_to(atomic_load(&deletion.over));
    assert_int_equal(deletion.rc, 0);
    assert_int_equal(partition_log_start(part).offset, 2);
    come_to(log_start(part->log).offset == 2);
    partition_unref(part);
}

static int64_t start_of(struct cluster *c, int id)
{
    struct partition *part = part_of(c, id);
    int64_t start = log_start(part->log).offset;
    partition_unref(part);
    return start;
}

static int64_t shown_start_of(struct cluster *c, int id)
{
    struct partition *part = part_of(c, id);
    int64_t start = partition_log_start(part).offset;
    partition_unref(part);
    return start;
}

static void set_orders(struct cluster *c, const char *name, const char *value)
{
    struct command cmd = {.type = COMMAND_SET_CONFIG, .topic = "orders"};
    strcpy(cmd.name, name);
    strcpy(cmd.value, value);
    decide(c, &cmd);
}

/* REPLICATION.md, rule 45. */
static void only_a_leader_retains_and_the_others_follow_its_start(void **state)
{
    struct cluster *c = *state;
    struct err e = {""};
    set_orders(c, "segment.bytes", "600");
    for (int i = 0; i < 100; i++)
        append_at(c, 1, "a line of some length\n");
    come_to(mark_of(c, 2).offset == 100 && mark_of(c, 3).offset == 100);
    link_all(c, 3, false);
    set_orders(c, "retention.bytes", "600");
    come_to(start_of(c, 1) > 0);
    int64_t start = start_of(c, 1);
    come_to(start_of(c, 2) == start);
    /* It has as much to remove, and waits to be told. */
    struct partition *part = part_of(c, 3);
    int rc = partition_retain(part, &e);
    partition_unref(part);
    assert_int_equal(rc, 0);
    assert_int_equal(start_of(c, 3), 0);
    /* What it cannot write down it does not hide. */
    atomic_store(&c->nodes[3].disk.pwritev_rc, -EIO);
    link_all(c, 3, true);
    pass_everywhere(c, 3000);
    assert_int_equal(shown_start_of(c, 3), 0);
    assert_int_equal(start_of(c, 3), 0);
    atomic_store(&c->nodes[3].disk.pwritev_rc, 0);
    come_to(start_of(c, 3) == start && shown_start_of(c, 3) == start);
}

static void who_was_away_leaves_the_isr_and_catches_up_from_the_log(void **state)
{
    struct cluster *c = *state;
    append_at(c, 1, "one\n");
    come_to(mark_of(c, 3).offset == 1);
    link_all(c, 3, false);
    pass_everywhere(c, LIMIT_REPLICA_LAG_MS + 2 * LIMIT_BEAT_MS);
    come_to(registration_at(c, 1).isr.count == 2);
    for (int i = 0; i < 500; i++) {
        char line[32];
        snprintf(line, sizeof line, "line %d\n", i);
        append_at(c, 1, line);
    }
    assert_int_equal(end_of(c, 3).offset, 1);
    link_all(c, 3, true);
    come_to(end_of(c, 3).offset == 501);
    come_to(registration_at(c, 1).isr.count == 3);
    come_to(mark_of(c, 3).offset == 501);
    assert_int_equal(mark_of(c, 3).position, mark_of(c, 1).position);
}

/* It hears of both before its leader does, which serves it meanwhile, and forgets it then. */
static void who_is_given_back_its_replica_comes_into_the_isr_without_an_append(void **state)
{
    struct cluster *c = *state;
    append_at(c, 1, "one\n");
    come_to(mark_of(c, 2).offset == 1 && mark_of(c, 3).offset == 1);
    struct partition_registration without = registration_at(c, 1), with;
    replica_set_remove(&without.replicas, 3);
    replica_set_remove(&without.isr, 3);
    without.partition_epoch++;
    with = without;
    replica_set_add(&with.replicas, 3);
    with.partition_epoch++;
    for (int id = NODES; id >= 1; id--) {
        set_registration_on(c, id, &without);
        set_registration_on(c, id, &with);
        rest(c);
    }
    come_to(registration_at(c, 1).isr.count == 3);
}

/* ---- what an operator is told of it ---- */

static atomic_int said_to_be_cut;

static void count_cut(int level, const char *line)
{
    if (strstr(line, "cut from offset") != NULL)
        atomic_fetch_add(&said_to_be_cut, 1);
    log_to_stderr(level, line);
}

static void listen_for_cuts(void)
{
    atomic_store(&said_to_be_cut, 0);
    log_sink_set(count_cut);
}

/* How often since then, once. */
static int cuts_said(void)
{
    log_sink_set(log_to_stderr);
    return atomic_load(&said_to_be_cut);
}

static void a_deposed_leader_with_a_longer_log_is_cut_to_the_point_of_divergence(void **state)
{
    struct cluster *c = *state;
    struct awaited_append lost;
    append_at(c, 1, "one\n");
    come_to(mark_of(c, 2).offset == 1 && mark_of(c, 3).offset == 1);
    link_all(c, 1, false);
    begin_append(c, 1, "never\nacknowledged\n", ACKS_ALL, &lost);
    assert_int_equal(end_of(c, 1).offset, 3);
    elect(c, 2, 2, (const int32_t[]){2, 3});
    pass_everywhere(c, 30000 + LIMIT_BEAT_MS);
    end_append(c, &lost, -ETIMEDOUT);
    append_at(c, 2, "two\n");
    assert_int_equal(end_of(c, 1).offset, 3);
    listen_for_cuts();
    link_all(c, 1, true);
    come_to(end_of(c, 1).offset == 2);
    assert_int_equal(cuts_said(), 1);
    append_at(c, 2, "three\n");
    come_to(shows(c, 1, "one\ntwo\nthree\n") && shows(c, 3, "one\ntwo\nthree\n"));
    come_to(registration_at(c, 2).isr.count == 3);
}

/* A leader that saw no record of its epoch, and one that did not see that epoch: KIP-279's case. No record
 * goes, and nobody is to take it for that. */
static void epochs_without_records_are_forgotten(void **state)
{
    struct cluster *c = *state;
    append_at(c, 1, "one\n");
    come_to(mark_of(c, 2).offset == 1 && mark_of(c, 3).offset == 1);
    link_all(c, 2, false);
    elect(c, 2, 1, (const int32_t[]){2});
    struct partition *part = part_of(c, 2);
    come_to(log_latest_epoch(part->log) == 1);
    partition_unref(part);
    elect(c, 3, 2, (const int32_t[]){3, 1});
    append_at(c, 3, "two\n");
    listen_for_cuts();
    link_all(c, 2, true);
    come_to(shows(c, 2, "one\ntwo\n"));
    come_to(shows(c, 1, "one\ntwo\n"));
    assert_int_equal(cuts_said(), 0);
}

/* Where the two parted the leader has no records any more, and knows of no epochs; what it has left begins within a
 * batch, where the other log ends. other: the leader's line in the place of the one that was lost. */
static void part_in_front(struct cluster *c, const char *other)
{
    struct awaited_append own;
    int64_t deleted = (int64_t)(strlen("one\n") + strlen(other) + strlen("two\n"));
    append_at(c, 1, "one\n");
    come_to(mark_of(c, 2).offset == 1 && mark_of(c, 3).offset == 1);
    link_all(c, 1, false);
    begin_append(c, 1, "own\n", ACKS_ALL, &own);
    elect(c, 2, 2, (const int32_t[]){2, 3});
    pass_everywhere(c, 30000 + LIMIT_BEAT_MS);
    end_append(c, &own, -ETIMEDOUT);
    append_at(c, 2, other);
    append_at(c, 2, "two\nthree\n");
    come_to(mark_of(c, 3).offset == 4);
    struct partition *part = part_of(c, 3);
    assert_int_equal(log_delete_records(part->log, (struct log_point){3, deleted}, NULL), 0);
    partition_unref(part);
    elect(c, 3, 2, (const int32_t[]){3, 2});
    append_at(c, 3, "four\n");
    assert_int_equal(end_of(c, 1).offset, 2);
    long resets = c->hub.frames[MESSAGE_RESET];
    link_all(c, 1, true);
    come_to(shows(c, 1, "three\nfour\n"));
    come_to(registration_at(c, 3).isr.count == 3);
    assert_int_equal(c->hub.frames[MESSAGE_RESET], resets + 1);
}

/* Found by the simulator, seed 151618 of clusters. */
static void a_log_that_parted_in_front_of_its_leaders_begin_begins_anew(void **state)
{
    part_in_front(*state, "another\n");
}

/* What it has would be shown until it has followed the leader's log start. */
static void also_where_both_are_as_long(void **state)
{
    part_in_front(*state, "won\n");
}

static void idle_partitions_say_nothing(void **state)
{
    struct cluster *c = *state;
    append_at(c, 1, "one\n");
    come_to(mark_of(c, 2).offset == 1 && mark_of(c, 3).offset == 1);
    long fetches = c->hub.frames[MESSAGE_FETCH], records = c->hub.frames[MESSAGE_RECORDS];
    long beats = c->hub.frames[MESSAGE_BEAT];
    pass_everywhere(c, 20 * LIMIT_BEAT_MS);
    assert_int_equal(c->hub.frames[MESSAGE_FETCH], fetches);
    assert_int_equal(c->hub.frames[MESSAGE_RECORDS], records);
    assert_true(c->hub.frames[MESSAGE_BEAT] > beats);
    assert_int_equal(registration_at(c, 1).isr.count, 3);
}

static void a_full_follower_leaves_at_once_and_comes_back(void **state)
{
    struct cluster *c = *state;
    append_at(c, 1, "one\n");
    atomic_store(&c->nodes[3].disk.pwritev_rc, -ENOSPC);
    append_at(c, 1, "two\n"); /* acknowledged by those that have it */
    assert_int_equal(registration_at(c, 1).isr.count, 2);
    assert_int_equal(end_of(c, 3).offset, 1);
    atomic_store(&c->nodes[3].disk.pwritev_rc, 0);
    pass_everywhere(c, 3000);
    come_to(end_of(c, 3).offset == 2);
    come_to(registration_at(c, 1).isr.count == 3);
}

/* Its disk had no room for the log when the topic was made; by the time that it has, another epoch has begun. */
static void a_log_that_is_made_late_follows_in_the_epoch_of_by_then(void **state)
{
    struct cluster *c = *state;
    struct command cmd = {.type = COMMAND_DELETE_TOPIC, .topic = "orders"};
    memcpy(cmd.id, c->topic_id, UUID_BYTES);
    decide(c, &cmd);
    atomic_store(&c->nodes[3].disk.mkdir_rc, -ENOSPC);
    make_topic(c, 10);
    elect(c, 2, 2, (const int32_t[]){1, 2});
    atomic_store(&c->nodes[3].disk.mkdir_rc, 0);
    append_at(c, 2, "one\n");
    pass_everywhere(c, 3000);
    come_to(end_of(c, 3).offset == 1);
    come_to(registration_at(c, 2).isr.count == 3);
}

/* A node that was alone has led in epochs that nobody else knows; then others become replicas. */
static void a_log_of_later_epochs_is_led_on_in_a_later_one(void **state)
{
    struct cluster *c = *state;
    append_at(c, 1, "one\n");
    elect(c, 2, 1, (const int32_t[]){2});
    struct partition *part = part_of(c, 1);
    come_to(partition_role(part) == ROLE_FOLLOWER);
    link_all(c, 1, false);
    assert_int_equal(log_lead(part->log, 7, NULL), 0);
    elect(c, 1, 1, (const int32_t[]){1});
    come_to(registration_at(c, 1).leader_epoch == 8);
    struct partition_registration now = registration_at(c, 1);
    for (int id = 2; id <= NODES; id++)
        set_registration_on(c, id, &now);
    link_all(c, 1, true);
    append_at(c, 1, "two\n");
    come_to(shows(c, 2, "one\ntwo\n") && shows(c, 3, "one\ntwo\n"));
    come_to(registration_at(c, 1).isr.count == 3);
    partition_unref(part);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        STORY(an_append_is_on_all_replicas_when_it_is_acknowledged),
        STORY(without_a_follower_of_the_isr_nothing_is_acknowledged),
        STORY(who_is_left_alone_shows_all_that_it_has),
        STORY(what_is_deleted_after_an_election_is_all_that_was_shown),
        STORY(only_a_leader_retains_and_the_others_follow_its_start),
        STORY(who_was_away_leaves_the_isr_and_catches_up_from_the_log),
        STORY(who_is_given_back_its_replica_comes_into_the_isr_without_an_append),
        STORY(a_deposed_leader_with_a_longer_log_is_cut_to_the_point_of_divergence),
        STORY(epochs_without_records_are_forgotten),
        STORY(a_log_that_parted_in_front_of_its_leaders_begin_begins_anew),
        STORY(also_where_both_are_as_long),
        STORY(idle_partitions_say_nothing),
        STORY(a_full_follower_leaves_at_once_and_comes_back),
        STORY(a_log_that_is_made_late_follows_in_the_epoch_of_by_then),
        STORY(a_log_of_later_epochs_is_led_on_in_a_later_one),
    };
    return cmocka_run_group_tests_name("replication", tests, NULL, NULL);
}
