/* tests/unit/cluster_orders.h: three whole nodes with a topic `orders` of one partition, of which each has a replica:
 * what is appended to it anywhere, who leads it, and what each node's own log holds. */
#ifndef LOGMNT_TESTS_UNIT_CLUSTER_ORDERS_H
#define LOGMNT_TESTS_UNIT_CLUSTER_ORDERS_H

#include "tests/unit/cluster_fixture.h"

#include "tests/unit/counted_ops.h"

enum { LONG_MS = 20000 };

static struct cluster *c;

static inline size_t registered_at(int32_t id)
{
    const struct metadata *meta = quorum_acquire(&c->nodes[id].node->quorum);
    size_t count = 0;
    for (size_t i = 0; i < meta->node_count; i++)
        count += !meta->nodes[i].fenced;
    quorum_release(&c->nodes[id].node->quorum);
    return count;
}

static inline int setup_three(void **state)
{
    cluster_setup_three(state);
    c = *state;
    cluster_await_leader(c);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, registered_at(id) == 3);
    return 0;
}

static inline struct partition *partition_at(int32_t id)
{
    struct topic *topic = c->nodes[id].node != NULL ? node_topic(c->nodes[id].node, "orders") : NULL;
    struct partition *part = topic != NULL ? topic_partition(topic, 0) : NULL;
    if (topic != NULL)
        topic_unref(topic);
    return part;
}

/* As the node sees it; LEADER_NONE. */
static inline int32_t leader_at(int32_t id)
{
    struct partition_info info;
    struct partition *part = partition_at(id);
    if (part == NULL)
        return LEADER_NONE;
    pthread_mutex_lock(&part->lock);
    info.leader = part->registration.leader;
    pthread_mutex_unlock(&part->lock);
    return info.leader;
}

static inline int isr_at(int32_t id)
{
    struct partition_info info;
    partition_info(partition_at(id), &info);
    return info.isr.count;
}

static inline void make_orders(void)
{
    assert_int_equal(cluster_mkdir(c, 1, "orders"), 0);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, leader_at(id) != LEADER_NONE && isr_at(id) == 3);
}

struct appended {
    struct append_op op;
    char line[16];
    struct iovec iov;
    int calls, rc;
};

static inline void on_appended(struct append_op *op, int rc)
{
    struct appended *appended = CONTAINER_OF(op, struct appended, op);
    appended->calls++;
    appended->rc = rc;
}

static inline void append_acks_at(int32_t id, struct appended *appended, int number, enum acks acks)
{
    *appended = (struct appended){.op.done = on_appended};
    snprintf(appended->line, sizeof appended->line, "%d\n", number);
    appended->iov = (struct iovec){appended->line, strlen(appended->line)};
    append_batch_init(&appended->op.batch, FRAMING_LINE, &appended->iov, 1, hand_wall_ms(&c->clock.clock));
    appended->op.batch.records = 1;
    appended->op.batch.crc = crc32c(0, appended->line, appended->iov.iov_len);
    appended->op.part = partition_at(id);
    appended->op.acks = acks;
    appended->op.timeout_ms = 30000;
    int rc = partition_append_submit(&appended->op, NULL);
    if (rc != 0) {
        appended->calls = 1;
        appended->rc = rc < 0 ? rc : 0;
    }
}

static inline void append_at(int32_t id, struct appended *appended, int number)
{
    append_acks_at(id, appended, number, ACKS_ALL);
}

static inline int times(const char *text, const char *line)
{
    int count = 0;
    size_t len = strlen(line);
    for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1)
        count += strncmp(at, line, len) == 0;
    return count;
}

static inline bool is_same_everywhere(char *text, size_t size)
{
    static char other[1 << 16];
    bool same = true, first = true;
    for (int32_t id = 1; id <= 3; id++) {
        if (c->nodes[id].node == NULL)
            continue;
        text_of(partition_at(id), first ? text : other, first ? size : sizeof other);
        same = same && (first || strcmp(text, other) == 0);
        first = false;
    }
    return same;
}

#endif
