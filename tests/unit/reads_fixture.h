/* tests/unit/reads_fixture.h: two nodes, of which one reads what the other has, and a network in memory between them
 * that the test can cut, hold and damage. The reader asks node 2, which is the other fixture's, and is node 3 there:
 * both call themselves 1. */
#ifndef LOGMNT_TESTS_UNIT_READS_FIXTURE_H
#define LOGMNT_TESTS_UNIT_READS_FIXTURE_H

#include "replication/replica/remote.h"
#include "replication/wire/read_message.h"
#include "tests/unit/node_fixture.h"

/* ---- the network ---- */

enum { ASKER = 3, KEPT = 64 };

struct wire {
    struct transport transport; /* first: the reader's */
    struct transport back;      /* the leader's */
    struct fixture *reader, *leader;
    struct partition *here, *there;
    _Atomic bool deaf;         /* nothing reaches the leader */
    _Atomic int damage;        /* so many answers with bytes lose one */
    pthread_mutex_t kept_lock; /* of what follows, up to kept_count */
    bool late;                 /* answers about reading are kept, and come with answers_come() */
    struct frame *kept[KEPT];
    enum channel channels[KEPT];
    int kept_count;
    _Atomic int appends; /* so many records of 9 bytes are acknowledged here while an answer is on its way; 0: none */
    _Atomic int asked[MESSAGE_KINDS];
    _Atomic int drops;
};

static inline struct wire *wire_of_back(struct transport *transport)
{
    return CONTAINER_OF(transport, struct wire, back);
}

/* What replicas say to each other is lost here: these stories are of those that hear nothing. */
static inline bool is_replicas(const struct frame_out *out)
{
    return out->kind >= MESSAGE_FETCH && out->kind < MESSAGE_APPEND;
}

/* The two nodes made the topic each for itself: it has another id there. */
static inline void change_topic(uint8_t *header, size_t len, const char *from, const char *to)
{
    uint8_t *at = memmem(header, len, from, UUID_TEXT_BYTES - 1);
    assert_non_null(at);
    memcpy(at, to, UUID_TEXT_BYTES - 1);
}

static inline struct frame *carry(const struct frame_out *out, const struct partition *from, const struct partition *to)
{
    size_t body = frame_body_bytes(out), at = 0;
    struct frame *frame = malloc(sizeof *frame + out->header_bytes + body);
    assert_non_null(frame);
    *frame = (struct frame){.kind = out->kind, .header_bytes = out->header_bytes, .body_bytes = (uint32_t)body};
    frame->header = (uint8_t *)(frame + 1);
    frame->body = frame->header + out->header_bytes;
    memcpy(frame->header, out->header, out->header_bytes);
    for (int i = 0; i < out->body_count; i++) {
        memcpy(frame->body + at, out->body[i].iov_base, out->body[i].iov_len);
        at += out->body[i].iov_len;
    }
    change_topic(frame->header, frame->header_bytes, from->topic->id_text, to->topic->id_text);
    return frame;
}

static inline int send_there(struct transport *transport, int32_t node, enum channel channel,
                             const struct frame_out *out)
{
    struct wire *wire = (struct wire *)transport;
    assert_int_equal(node, 2);
    atomic_fetch_add(&wire->asked[out->kind], 1);
    if (atomic_load(&wire->deaf) || is_replicas(out))
        return 0;
    struct transport_events events = network_events(&wire->leader->node->network);
    events.frame(events.arg, ASKER, channel, carry(out, wire->here, wire->there));
    return 0;
}

/* false: answers are not late. */
static inline bool keep(struct wire *wire, enum channel channel, struct frame *frame)
{
    pthread_mutex_lock(&wire->kept_lock);
    bool kept = wire->late && frame->kind >= MESSAGE_READ && frame->kind <= MESSAGE_STAT_ANSWER;
    if (kept) {
        assert_true(wire->kept_count < KEPT);
        wire->channels[wire->kept_count] = channel;
        wire->kept[wire->kept_count++] = frame;
    }
    pthread_mutex_unlock(&wire->kept_lock);
    return kept;
}

static inline int send_back(struct transport *transport, int32_t node, enum channel channel,
                            const struct frame_out *out)
{
    struct wire *wire = wire_of_back(transport);
    struct transport_events events = network_events(&wire->reader->node->network);
    assert_int_equal(node, ASKER);
    if (is_replicas(out))
        return 0;
    struct frame *frame = carry(out, wire->there, wire->here);
    if (frame->body_bytes > 0 && atomic_load(&wire->damage) > 0 && atomic_fetch_sub(&wire->damage, 1) > 0)
        frame->body[frame->body_bytes / 2] ^= 1;
    int appends = atomic_load(&wire->appends);
    if (appends > 0)
        (void)remote_show(wire->here, (struct log_point){appends, appends * 9}, 5, 5);
    if (!keep(wire, channel, frame))
        events.frame(events.arg, 2, channel, frame);
    return 0;
}

static inline void answers_are_late(struct wire *wire)
{
    pthread_mutex_lock(&wire->kept_lock);
    wire->late = true;
    pthread_mutex_unlock(&wire->kept_lock);
}

static inline int answers_kept(struct wire *wire)
{
    pthread_mutex_lock(&wire->kept_lock);
    int count = wire->kept_count;
    pthread_mutex_unlock(&wire->kept_lock);
    return count;
}

static inline void answers_come(struct wire *wire)
{
    struct transport_events events = network_events(&wire->reader->node->network);
    pthread_mutex_lock(&wire->kept_lock);
    wire->late = false;
    for (int i = 0; i < wire->kept_count; i++)
        events.frame(events.arg, 2, wire->channels[i], wire->kept[i]);
    wire->kept_count = 0;
    pthread_mutex_unlock(&wire->kept_lock);
}

static inline void drop(struct transport *transport, int32_t node)
{
    (void)node;
    atomic_fetch_add(&((struct wire *)transport)->drops, 1);
}

static inline void drop_back(struct transport *transport, int32_t node)
{
    (void)node;
    atomic_fetch_add(&wire_of_back(transport)->drops, 1);
}

static inline void link_up_at(struct wire *wire, int32_t feature_level)
{
    struct hello hello = {.from = 2, .feature_level = feature_level};
    struct transport_events events = network_events(&wire->reader->node->network);
    events.up(events.arg, 2, &hello);
}

static inline void link_up(struct wire *wire)
{
    link_up_at(wire, 1);
}

static inline void link_down(struct wire *wire)
{
    struct transport_events events = network_events(&wire->reader->node->network);
    events.down(events.arg, 2, false);
}

static inline void led_by(struct partition *part, int32_t leader, int32_t epoch)
{
    struct partition_registration registration = {.leader = leader, .leader_epoch = epoch, .partition_epoch = epoch};
    registration.replicas = registration.isr = (struct replica_set){.count = 1, .ids = {2}};
    partition_set_registration(part, &registration);
}

/* Until what was sent in either direction has been answered. */
static inline void settle(struct wire *wire)
{
    executor_settle(wire->leader->node->executor);
    executor_settle(wire->reader->node->executor);
}

/* Until the condition holds, while time passes there, by so much whenever all that was due is done: however slow
 * threads are, no deadline comes that they would have kept. */
#define wait_in_time(wire, ms, condition)                                                                              \
    wait_until((condition) || (settle(wire), pass_ms((wire)->reader, ms), await_alarms((wire)->reader), false))

/* Who became leader anew has answered the standing question for news with "later": the reader asks again by now. */
static inline void later_is_over(struct wire *wire)
{
    settle(wire);
    pass_ms(wire->reader, LIMIT_READ_LATER_MS);
}

static inline int setup_wire(void **state)
{
    struct wire *wire = calloc(1, sizeof *wire);
    pthread_mutex_init(&wire->kept_lock, NULL);
    void *reader, *leader;
    struct hello hello = {.from = ASKER};
    assert_int_equal(setup(&reader), 0);
    assert_int_equal(setup(&leader), 0);
    wire->reader = reader;
    wire->leader = leader;
    create(wire->reader, "orders");
    create(wire->leader, "orders");
    wire->here = get(wire->reader, "orders");
    wire->there = get(wire->leader, "orders");
    wire->transport = (struct transport){.send = send_there, .drop = drop};
    wire->back = (struct transport){.send = send_back, .drop = drop_back};
    network_attach(&wire->reader->node->network, &wire->transport);
    network_attach(&wire->leader->node->network, &wire->back);
    struct transport_events events = network_events(&wire->leader->node->network);
    events.up(events.arg, ASKER, &hello);
    link_up(wire);
    led_by(wire->here, 2, 5);
    *state = wire;
    return 0;
}

static inline int teardown_wire(void **state)
{
    struct wire *wire = *state;
    void *reader = wire->reader, *leader = wire->leader;
    partition_unref(wire->here);
    partition_unref(wire->there);
    network_hush(&wire->reader->node->network);
    network_hush(&wire->leader->node->network);
    executor_settle(wire->reader->node->executor);
    executor_settle(wire->leader->node->executor);
    network_attach(&wire->reader->node->network, NULL);
    network_attach(&wire->leader->node->network, NULL);
    teardown(&reader);
    teardown(&leader);
    free(wire);
    return 0;
}

/* ---- an op, waited for ---- */

struct asked {
    struct read_op op; /* first */
    _Atomic bool over;
    int rc;
};

static inline void on_over(struct read_op *op, int rc)
{
    struct asked *asked = (struct asked *)op;
    asked->rc = rc;
    atomic_store(&asked->over, true);
}

static inline struct asked question(struct partition *part, enum read_kind kind, int64_t at)
{
    return (struct asked){.op = {.part = part,
                                 .kind = kind,
                                 .at = at,
                                 .limit = INT64_MAX,
                                 .max = 65536,
                                 .timeout_ms = 5000,
                                 .done = on_over}};
}

/* Begins; whether it waits. */
static inline bool begin(struct asked *asked)
{
    int rc = partition_read_submit(&asked->op);
    if (rc == 0)
        return true;
    asked->rc = rc < 0 ? rc : 0;
    atomic_store(&asked->over, true);
    return false;
}

static inline struct asked ask(struct partition *part, enum read_kind kind, int64_t at)
{
    static struct asked asked; /* done may come behind our return otherwise */
    asked = question(part, kind, at);
    if (begin(&asked))
        wait_until(atomic_load(&asked.over));
    return asked;
}

/* All bytes from a position on, by reads of so many bytes, as text. */
static inline void read_all(struct partition *part, int64_t at, size_t size, char *out)
{
    size_t len = 0;
    for (;;) {
        struct asked asked = question(part, READ_BYTES, at);
        asked.op.max = size;
        if (begin(&asked))
            wait_until(atomic_load(&asked.over));
        assert_int_equal(asked.rc, 0);
        if (!asked.op.found)
            break;
        assert_true(asked.op.extent.position >= at && asked.op.extent.len <= size);
        assert_int_equal(partition_read_copy(&asked.op, out + len), 0);
        len += asked.op.extent.len;
        at = asked.op.extent.position + (int64_t)asked.op.extent.len;
        partition_read_release(&asked.op);
    }
    out[len] = '\0';
}

static inline void append_lines(struct fixture *f, int from, int count)
{
    for (int i = from; i < from + count; i++) {
        char line[32];
        snprintf(line, sizeof line, "record %d\n", i);
        append(f, "orders", line);
    }
}

/* What those lines are. */
static inline void lines_text(int from, int count, char *out)
{
    for (int i = from; i < from + count; i++)
        out += sprintf(out, "record %d\n", i);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_wire, teardown_wire)

#endif
