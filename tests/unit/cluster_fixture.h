/* tests/unit/cluster_fixture.h: a few whole nodes on one thread, each on a directory and with an executor of its own,
 * over a network in memory and a clock that the test moves: nothing happens but when it is let. */
#ifndef LOGMNT_TESTS_UNIT_CLUSTER_FIXTURE_H
#define LOGMNT_TESTS_UNIT_CLUSTER_FIXTURE_H

#include "tests/unit/node_fixture.h"

#include "tests/unit/hand_executor.h"
#include "tests/unit/memory_network.h"
#include "tests/unit/scratch.h"

struct cluster_node {
    struct cluster *cluster;
    int32_t id;
    char dir[96];
    struct hand_executor hand;
    struct bad_disk disk;
    struct node *node; /* NULL: down */
    uint8_t chance;    /* another one for each start */
    bool recover;      /* start with quorum.recover */
    int64_t stall_ms;  /* and stand still for so long as it waits for something: its alarms come before any frame */
};

struct cluster {
    char dir[64];
    struct hand_clock clock;
    struct memory_network network;
    struct node_peer peers[MEMORY_NODES];
    size_t peer_count;
    struct cluster_node nodes[MEMORY_NODES]; /* by id */
};

/* ---- time ---- */

/* Until nobody has anything to do now. */
static inline void cluster_settle(struct cluster *c)
{
    bool more = true;
    while (more) {
        more = false;
        for (int id = 1; id < MEMORY_NODES; id++) {
            while (c->nodes[id].node != NULL && hand_step(&c->nodes[id].hand))
                more = true;
        }
        while (memory_step(&c->network))
            more = true;
    }
}

static inline void cluster_pass(struct cluster *c, int64_t ms)
{
    enum { STEP_MS = 5 };
    cluster_settle(c);
    for (; ms > 0; ms -= STEP_MS) {
        atomic_fetch_add(&c->clock.passed_ms, ms < STEP_MS ? ms : STEP_MS);
        cluster_settle(c);
    }
}

/* Lets time go by until the condition holds; fails after limit_ms. */
#define cluster_await(c, limit_ms, condition)                                                                          \
    do {                                                                                                               \
        int64_t left_ms_ = (limit_ms);                                                                                 \
        cluster_settle(c);                                                                                             \
        while (!(condition) && left_ms_ > 0) {                                                                         \
            cluster_pass(c, 5);                                                                                        \
            left_ms_ -= 5;                                                                                             \
        }                                                                                                              \
        if (!(condition))                                                                                              \
            fail_msg("in %d ms of the cluster's time: %s", (int)(limit_ms), #condition);                               \
    } while (0)

/* What a node's start waits for itself. */
static inline void cluster_node_pass(void *arg, int64_t ms)
{
    struct cluster_node *n = arg;
    bool stalls = n->stall_ms > 0;
    atomic_fetch_add(&n->cluster->clock.passed_ms, ms + n->stall_ms);
    n->stall_ms = 0;
    if (!stalls)
        cluster_settle(n->cluster);
}

/* ---- life ---- */

static inline int cluster_try_start(struct cluster *c, int32_t id, struct err *e)
{
    struct cluster_node *n = &c->nodes[id];
    struct node_options options = {.data_dir = n->dir,
                                   .id = id,
                                   .check_crcs = true,
                                   .log_retention_check_interval_ms = 300000,
                                   .log_cleaner_backoff_ms = 15000,
                                   .reserve_bytes = 65536,
                                   .listen_host = "memory",
                                   .listen_port = 1,
                                   .peers = c->peers,
                                   .peer_count = c->peer_count,
                                   .quorum_recover = n->recover ? id : 0,
                                   .transport = &c->network.ports[id].source,
                                   .io = &n->disk.io,
                                   .clock = &c->clock.clock,
                                   .executor = &n->hand.executor};
    hand_executor_init(&n->hand, &c->clock.clock, cluster_node_pass, n);
    n->chance = (uint8_t)(n->chance + 37);
    n->hand.chance = n->chance;
    return node_open(&options, &n->node, e);
}

static inline void cluster_start(struct cluster *c, int32_t id)
{
    struct err e = {0};
    int rc = cluster_try_start(c, id, &e);
    if (rc != 0)
        fail_msg("node %d: %d %s", (int)id, rc, e.text);
}

static inline void cluster_stop(struct cluster *c, int32_t id)
{
    struct err e = {0};
    if (node_close(c->nodes[id].node, &e) != 0)
        fail_msg("node %d: %s", (int)id, e.text);
    hand_executor_free(&c->nodes[id].hand);
    c->nodes[id].node = NULL;
}

/* As kill -9: its peers' kernels say so, and what is on its disk has no mark. */
static inline void cluster_kill(struct cluster *c, int32_t id)
{
    char path[128];
    memory_take_off(&c->network.ports[id], false);
    atomic_store(&c->nodes[id].node->membership.state, MEMBER_LEFT); /* it hands nothing over */
    cluster_stop(c, id);
    snprintf(path, sizeof path, "%s/clean-shutdown", c->nodes[id].dir);
    unlink(path);
}

/* Nodes 1 … count, on a list; not started. */
static inline struct cluster *cluster_new(int count)
{
    struct cluster *c = calloc(1, sizeof *c);
    struct clock *machine = clock_system();
    scratch_make(c->dir, sizeof c->dir, "cluster");
    c->clock.clock = (struct clock){.wall_ms = hand_wall_ms, .mono_ms = hand_mono_ms};
    c->clock.wall_start_ms = machine->wall_ms(machine);
    memory_network_init(&c->network);
    for (int32_t id = 1; id < MEMORY_NODES; id++) {
        struct cluster_node *n = &c->nodes[id];
        n->cluster = c;
        n->id = id;
        n->chance = (uint8_t)(id * 11);
        n->disk.io = *io_posix();
        n->disk.io.pwritev = bad_pwritev;
        n->disk.io.fdatasync = bad_fdatasync;
        n->disk.io.fsync = bad_fsync;
        n->disk.io.mkdir = bad_mkdir;
        char name[16];
        snprintf(name, sizeof name, "/%d", (int)id);
        memcpy(n->dir, c->dir, strlen(c->dir) + 1);
        strcat(n->dir, name);
    }
    for (int i = 0; i < count; i++)
        c->peers[i] = (struct node_peer){.id = i + 1, .host = "memory", .port = i + 1};
    c->peer_count = (size_t)count;
    return c;
}

static inline void cluster_free(struct cluster *c)
{
    char command[128];
    for (int32_t id = 1; id < MEMORY_NODES; id++) {
        if (c->nodes[id].node != NULL)
            cluster_stop(c, id);
    }
    while (memory_step(&c->network))
        ;
    snprintf(command, sizeof command, "rm -rf %s", c->dir);
    assert_int_equal(system(command), 0);
    free(c);
}

/* ---- who leads ---- */

/* The node that leads the quorum, by its own account; 0: none, -1: more than one. */
static inline int32_t cluster_leader(struct cluster *c)
{
    int32_t leader = 0;
    for (int32_t id = 1; id < MEMORY_NODES; id++) {
        if (c->nodes[id].node != NULL && quorum_leads(&c->nodes[id].node->quorum, NULL))
            leader = leader == 0 ? id : -1;
    }
    return leader;
}

static inline int32_t cluster_await_leader(struct cluster *c)
{
    cluster_await(c, 10000, cluster_leader(c) > 0);
    return cluster_leader(c);
}

/* A node that is up and does not lead. */
static inline int32_t cluster_follower(struct cluster *c)
{
    for (int32_t id = 1; id < MEMORY_NODES; id++) {
        if (c->nodes[id].node != NULL && id != cluster_leader(c))
            return id;
    }
    fail_msg("there is no follower");
    return 0;
}

/* ---- commands ---- */

static inline void cluster_registered(struct quorum_op *op, int rc)
{
    (void)op;
    assert_int_equal(rc, 0);
}

struct cluster_op {
    struct command_op op;
    int calls, rc;
};

static inline void cluster_op_over(struct command_op *op, int rc)
{
    struct cluster_op *over = CONTAINER_OF(op, struct cluster_op, op);
    over->calls++;
    over->rc = rc;
}

static inline struct command_op *cluster_op_init(struct cluster_op *op)
{
    *op = (struct cluster_op){.op = {.timeout_ms = 30000, .done = cluster_op_over}};
    return &op->op;
}

/* rc: what the call returned. */
static inline int cluster_op_end(struct cluster *c, struct cluster_op *op, int rc)
{
    if (rc != 0)
        return rc;
    cluster_await(c, 40000, op->calls > 0);
    assert_int_equal(op->calls, 1);
    return op->rc;
}

/* The node registers, as each start does. */
static inline void cluster_register(struct cluster *c, int32_t id)
{
    struct node *node = c->nodes[id].node;
    struct command cmd = {.type = COMMAND_REGISTER_NODE,
                          .registration = {.id = id,
                                           .epoch = -1,
                                           .incarnation = node->identity.incarnation,
                                           .process = node->process,
                                           .host = "memory",
                                           .port = id,
                                           .feature_level = FEATURE_LEVEL}};
    struct quorum_op op = {.timeout_ms = INT64_MAX, .done = cluster_registered};
    assert_int_equal(quorum_submit(&node->quorum, &op, &cmd), 0);
    cluster_await(c, 5000, op.proposal == NULL);
}

/* chmod of MOUNT's directory. */
static inline int cluster_chmod(struct cluster *c, int32_t id, mode_t mode)
{
    struct tree_attr attr = {.dir_mode = mode};
    struct cluster_op op;
    return cluster_op_end(c, &op, node_set_attr(c->nodes[id].node, cluster_op_init(&op), NULL, &attr, ATTR_DIR_MODE));
}

static inline mode_t cluster_mode(struct cluster *c, int32_t id)
{
    struct tree_attr attr;
    node_root_attr(c->nodes[id].node, &attr);
    return attr.dir_mode;
}

static inline int cluster_mkdir(struct cluster *c, int32_t id, const char *name)
{
    struct cluster_op op;
    return cluster_op_end(c, &op, node_create_topic(c->nodes[id].node, cluster_op_init(&op), name, &some_attr));
}

static inline int cluster_rmdir(struct cluster *c, int32_t id, const char *name)
{
    struct cluster_op op;
    return cluster_op_end(c, &op, node_delete_topic(c->nodes[id].node, cluster_op_init(&op), name));
}

static inline bool cluster_has(struct cluster *c, int32_t id, const char *name)
{
    struct topic *topic = node_topic(c->nodes[id].node, name);
    if (topic != NULL)
        topic_unref(topic);
    return topic != NULL;
}

static inline struct log *cluster_metadata_log(struct cluster *c, int32_t id)
{
    return c->nodes[id].node->quorum.log;
}

/* The same bytes, with the same epochs, at the same offsets and positions. */
static inline void cluster_assert_same_logs(struct cluster *c, int32_t a, int32_t b)
{
    struct log *one = cluster_metadata_log(c, a), *other = cluster_metadata_log(c, b);
    struct log_point end = log_end(one), at = log_start(one);
    assert_int_equal(end.offset, log_end(other).offset);
    assert_int_equal(end.position, log_end(other).position);
    if (log_start(other).position > at.position)
        at = log_start(other);
    while (at.position < end.position) {
        struct log_run x, y;
        assert_int_equal(log_run_at(one, at.position, end.position, &x, NULL), 1);
        assert_int_equal(log_run_at(other, at.position, end.position, &y, NULL), 1);
        assert_int_equal(x.base.offset, y.base.offset);
        assert_int_equal(x.base.position, y.base.position);
        assert_int_equal(x.len, y.len);
        assert_int_equal(x.entry.leader_epoch, y.entry.leader_epoch);
        assert_int_equal(x.entry.crc, y.entry.crc);
        at.position = x.base.position + x.len;
    }
}

static inline void cluster_cut_off(struct cluster *c, int32_t id, bool cut)
{
    for (int32_t other = 1; other <= 3; other++) {
        if (other != id)
            memory_cut(&c->network, id, other, cut);
    }
}

/* ---- cmocka's setups ---- */

static inline bool cluster_has_directory(struct cluster *c, int32_t id, const char *name)
{
    char path[160];
    snprintf(path, sizeof path, "%s/topics/%s", c->nodes[id].dir, name);
    return access(path, F_OK) == 0;
}

static inline int cluster_setup_three(void **state)
{
    struct cluster *c = cluster_new(3);
    for (int32_t id = 1; id <= 3; id++)
        cluster_start(c, id);
    *state = c;
    return 0;
}

static inline int cluster_teardown(void **state)
{
    cluster_free(*state);
    return 0;
}

#define THREE(name) cmocka_unit_test_setup_teardown(name, cluster_setup_three, cluster_teardown)

#endif
