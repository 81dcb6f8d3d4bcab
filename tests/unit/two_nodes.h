/* tests/unit/two_nodes.h: two nodes in one thread with a wire between them: frames arrive when the test lets them, the
 * wire can be cut. Each has a quorum of its own; that a topic is the same one on both, and who leads it, is what the
 * test says. */
#ifndef LOGMNT_TESTS_UNIT_TWO_NODES_H
#define LOGMNT_TESTS_UNIT_TWO_NODES_H

#include "tests/unit/node_fixture.h"

#include "tests/unit/hand_executor.h"
#include "tests/unit/scratch.h"

struct wire_frame {
    struct wire_frame *next;
    enum channel channel;
    struct frame *frame;
};

struct pair;

struct end {
    struct fixture f;
    struct hand_executor hand;
    struct transport transport;
    struct pair *pair;
    struct end *other;
    struct wire_frame *first, **last; /* on their way to this one */
    int received[MESSAGE_KINDS];      /* frames, by kind */
};

struct pair {
    struct end ends[3]; /* by node id */
    bool up;
    bool held; /* frames stay on the wire */
};

static inline int wire_send(struct transport *transport, int32_t node, enum channel channel,
                            const struct frame_out *out)
{
    struct end *other = CONTAINER_OF(transport, struct end, transport)->other;
    struct wire_frame *sent = calloc(1, sizeof *sent);
    size_t body = frame_body_bytes(out);
    uint8_t *at;

    if (!other->pair->up || node != other->f.node->options.id) {
        free(sent);
        return -ENOTCONN;
    }
    /* In these stories the test replicates: what the replicas would say to each other is lost. */
    if (out->kind >= MESSAGE_FETCH && out->kind < MESSAGE_APPEND) {
        free(sent);
        return 0;
    }
    sent->channel = channel;
    sent->frame = calloc(1, sizeof *sent->frame + out->header_bytes + body);
    sent->frame->kind = out->kind;
    sent->frame->header_bytes = out->header_bytes;
    sent->frame->body_bytes = (uint32_t)body;
    sent->frame->header = (uint8_t *)(sent->frame + 1);
    sent->frame->body = at = sent->frame->header + out->header_bytes;
    memcpy(sent->frame->header, out->header, out->header_bytes);
    for (int i = 0; i < out->body_count; i++) {
        memcpy(at, out->body[i].iov_base, out->body[i].iov_len);
        at += out->body[i].iov_len;
    }
    *other->last = sent;
    other->last = &sent->next;
    return 0;
}

static inline int wire_meet(struct transport *transport, int32_t node, const char *host, int port)
{
    (void)transport;
    (void)node;
    (void)host;
    (void)port;
    return 0;
}

static inline void wire_drop(struct transport *transport, int32_t node)
{
    (void)transport;
    fail_msg("the link to node %d was dropped", (int)node);
}

static inline void wire_clear(struct end *end)
{
    while (end->first != NULL) {
        struct wire_frame *gone = end->first;

        end->first = gone->next;
        free(gone->frame);
        free(gone);
    }
    end->last = &end->first;
}

/* The next frame arrives. false: there is none. */
static inline bool wire_deliver(struct end *end)
{
    struct wire_frame *next = end->first;
    struct transport_events events = network_events(&end->f.node->network);

    if (next == NULL || end->pair->held) {
        return false;
    }
    end->first = next->next;
    if (end->first == NULL) {
        end->last = &end->first;
    }
    end->received[next->frame->kind]++;
    events.frame(events.arg, end->other->f.node->options.id, next->channel, next->frame);
    free(next);
    return true;
}

/* Everything that can happen happens. */
static inline void settle(struct pair *pair)
{
    bool more = true;

    while (more) {
        more = false;
        for (int i = 1; i <= 2; i++) {
            while (hand_step(&pair->ends[i].hand)) {
                more = true;
            }
            more = wire_deliver(&pair->ends[i]) || more;
        }
    }
}

static inline void set_link(struct pair *pair, bool up)
{
    pair->up = up;
    for (int i = 1; i <= 2; i++) {
        struct end *end = &pair->ends[i];
        struct transport_events events = network_events(&end->f.node->network);
        struct hello hello = {.from = 3 - i};

        wire_clear(end);
        if (up) {
            events.up(events.arg, 3 - i, &hello);
        } else {
            events.down(events.arg, 3 - i, false);
        }
    }
}

static inline void time_passes(struct pair *pair, int64_t ms)
{
    for (int i = 1; i <= 2; i++) {
        atomic_fetch_add(&pair->ends[i].f.clock.passed_ms, ms);
    }
    settle(pair);
}

static inline void pass_time(void *arg, int64_t ms)
{
    atomic_fetch_add(&((struct fixture *)arg)->clock.passed_ms, ms);
}

static inline void open_end(struct pair *pair, int id)
{
    struct end *end = &pair->ends[id];
    struct node_options options = {.data_dir = end->f.dir,
                                   .id = id,
                                   .check_crcs = true,
                                   .log_retention_check_interval_ms = 300000,
                                   .log_cleaner_backoff_ms = 15000,
                                   .io = &end->f.disk.io,
                                   .clock = &end->f.clock.clock,
                                   .executor = &end->hand.executor};
    struct err e = {0};

    scratch_make(end->f.dir, sizeof end->f.dir, "pair");
    end->f.clock.clock = (struct clock){.wall_ms = hand_wall_ms, .mono_ms = hand_mono_ms};
    end->f.clock.wall_start_ms = 1764201600000;
    end->f.disk.io = *io_posix();
    end->pair = pair;
    end->other = &pair->ends[3 - id];
    end->last = &end->first;
    end->transport = (struct transport){.send = wire_send, .meet = wire_meet, .drop = wire_drop};
    hand_executor_init(&end->hand, &end->f.clock.clock, pass_time, &end->f);
    if (node_open(&options, &end->f.node, &e) != 0) {
        fail_msg("node %d: %s", id, e.text);
    }
    network_attach(&end->f.node->network, &end->transport);
}

struct decided {
    struct quorum_op op;
    int calls, rc;
};

static inline void on_decided(struct quorum_op *op, int rc)
{
    struct decided *decided = CONTAINER_OF(op, struct decided, op);

    decided->calls++;
    decided->rc = rc;
}

static inline void decide(struct pair *pair, int id, const struct command *cmd)
{
    struct decided decided = {.op = {.timeout_ms = INT64_MAX, .done = on_decided}};

    assert_int_equal(quorum_submit(&pair->ends[id].f.node->quorum, &decided.op, cmd), 0);
    settle(pair);
    assert_int_equal(decided.calls, 1);
    assert_int_equal(decided.rc, 0);
}

/* The topic on both, with one partition. */
static inline void make_topic(struct pair *pair, const char *name)
{
    for (int id = 1; id <= 2; id++) {
        int32_t replica = id;
        struct command cmd = {.type = COMMAND_CREATE_TOPIC,
                              .time_ms = 1764201600000,
                              .id = {7, 7, 7},
                              .attr = some_attr,
                              .partitions = 1,
                              .replication_factor = 1,
                              .replicas = &replica,
                              .replica_count = 1};

        snprintf(cmd.topic, sizeof cmd.topic, "%s", name);
        decide(pair, id, &cmd);
    }
}

static inline struct partition *partition_of(struct pair *pair, int id, const char *name)
{
    struct partition *part = get(&pair->ends[id].f, name);

    partition_unref(part); /* the catalog's reference lasts */
    return part;
}

/* What the cluster decides: both hear of it, node `first` before the other. */
static inline void led_by(struct pair *pair, int first, const char *name, int32_t leader, int32_t epoch,
                          struct replica_set isr)
{
    const struct partition_registration registration = {.replicas = {.count = 2, .ids = {1, 2}},
                                                        .isr = isr,
                                                        .leader = leader,
                                                        .leader_epoch = epoch,
                                                        .partition_epoch = epoch};

    for (int i = 0; i < 2; i++) {
        partition_set_registration(partition_of(pair, i == 0 ? first : 3 - first, name), &registration);
    }
}

static inline int pair_setup(void **state)
{
    struct pair *pair = calloc(1, sizeof *pair);

    for (int id = 1; id <= 2; id++) {
        open_end(pair, id);
    }
    set_link(pair, true);
    settle(pair);
    /* Their quorums are two, and have granted both the same one. */
    atomic_store(&pair->ends[1].f.node->replicas.forwarding.producer_id, 101);
    atomic_store(&pair->ends[2].f.node->replicas.forwarding.producer_id, 102);
    *state = pair;
    return 0;
}

static inline int pair_teardown(void **state)
{
    struct pair *pair = *state;

    settle(pair);
    for (int id = 1; id <= 2; id++) {
        struct end *end = &pair->ends[id];
        char command[128];

        wire_clear(end);
        network_attach(&end->f.node->network, NULL);
        assert_int_equal(node_close(end->f.node, NULL), 0);
        hand_executor_free(&end->hand);
        snprintf(command, sizeof command, "rm -rf %s", end->f.dir);
        assert_int_equal(system(command), 0);
    }
    free(pair);
    return 0;
}

#endif
