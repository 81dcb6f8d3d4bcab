/* tests/unit/group_orders.h: three whole nodes, a topic `orders` of one partition, a group, and streams of it. */
#ifndef LOGMNT_TESTS_UNIT_GROUP_ORDERS_H
#define LOGMNT_TESTS_UNIT_GROUP_ORDERS_H

#include "replication/group/member.h"
#include "tests/unit/cluster_orders.h"
#include "tests/unit/group_stream_fixture.h"

static char group[16];

static inline void set_default(const char *name, const char *value)
{
    struct cluster_op op;
    assert_int_equal(cluster_op_end(c, &op, node_set_config(c->nodes[1].node, cluster_op_init(&op), NULL, name, value)),
                     0);
}

static inline int32_t coordinator(void)
{
    return group_coordinator(node_group_room(c->nodes[1].node), group);
}

/* Orders with so many replicas, and a group that another node than its leader coordinates. *elsewhere is neither, or,
 * of two replicas, the other one. */
static inline void make_orders_and_group(const char *replicas, int32_t *leader, int32_t *coordinates,
                                         int32_t *elsewhere)
{
    struct cluster_op op;
    set_default("default.replication.factor", replicas);
    set_default("unclean.leader.election.enable", "true");
    assert_int_equal(cluster_mkdir(c, 1, "orders"), 0);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, leader_at(id) != LEADER_NONE && isr_at(id) == atoi(replicas));
    set_default("default.replication.factor", "1");
    *leader = leader_at(1);
    *elsewhere = partition_at(1)->registration.replicas.ids[1];
    for (int i = 0;; i++) {
        snprintf(group, sizeof group, "group%d", i);
        assert_int_equal(
            cluster_op_end(c, &op, node_create_group(c->nodes[1].node, cluster_op_init(&op), group, &some_attr)), 0);
        cluster_await(c, LONG_MS, coordinator() > 0);
        *coordinates = coordinator();
        if (*coordinates != *leader && (atoi(replicas) == 1 || *coordinates != *elsewhere))
            break;
    }
    *elsewhere = 6 - *leader - *coordinates;
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, group_coordinator(node_group_room(c->nodes[id].node), group) == *coordinates);
}

static inline void append_some(int32_t id, int from, int upto)
{
    for (int number = from; number <= upto; number++) {
        struct appended appended;
        append_at(id, &appended, number);
        cluster_await(c, LONG_MS, appended.calls == 1);
        assert_int_equal(appended.rc, 0);
    }
}

static inline void reads(struct stream *s, int64_t pos, const char *want)
{
    struct fuse_req req;
    begin_read(s, &req, 4096, pos);
    cluster_await(c, LONG_MS, is_answered(&req));
    assert_given(&req, want);
}

static inline int commits(struct stream *s)
{
    struct fuse_req req;
    begin_fsync(s, &req);
    cluster_await(c, LONG_MS, is_answered(&req));
    return atomic_load(&req.err);
}

#endif
