/* replication/group/assignor.h: which member of a group is to have which partition: Kafka's `range`, `roundrobin` and
 * `sticky`.
 *
 *   range       topic by topic, each member that reads it a run of partitions; the first ones get one more
 *   roundrobin  all partitions in turn to all members, past those that do not read the topic
 *   sticky      as equal as can be, moving as few partitions as can be
 *
 * What is equal is settled by the order in which members and topics are given, so that everybody who gives them in the
 * same order comes to the same. Members may read different topics. Pure; no locks. */
#ifndef LOGMNT_REPLICATION_GROUP_ASSIGNOR_H
#define LOGMNT_REPLICATION_GROUP_ASSIGNOR_H

#include <stddef.h>
#include <stdint.h>

enum assignor { ASSIGNOR_RANGE, ASSIGNOR_ROUNDROBIN, ASSIGNOR_STICKY };

struct assign_topic {
    int32_t partitions;
    /* For each partition the member that owns it, by its place in the members; -1: nobody. In: as it is; out: as it is
     * to be. */
    int32_t *owners;
};

struct assign_member {
    const int32_t *topics; /* that it reads, by their places; each once */
    size_t topic_count;
};

/* 0; -ENOMEM: nothing has changed. A partition of a topic that nobody reads is nobody's. */
int assignor_assign(enum assignor assignor, struct assign_topic *topics, size_t topic_count,
                    const struct assign_member *members, size_t member_count);

#endif
