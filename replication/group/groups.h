/* replication/group/groups.h: this node's room for consumer groups: the coordinators of those whose partition of
 * __consumer_offsets it leads (seat.h), and the members that are open here, wherever their coordinators are (member.h).
 *
 * All of it is done in turns of one mailbox (prompt work): frames from nodes, this one's own among them, what callers
 * have queued, alarms, ends of appends, news of the cluster. A turn ends with the seats acting on what has come for
 * them, each once, and with requests of members going out, one frame a node. So what comes together is appended and
 * sent together.
 *
 * What it needs of the node it is handed at its start. */
#ifndef LOGMNT_REPLICATION_GROUP_GROUPS_H
#define LOGMNT_REPLICATION_GROUP_GROUPS_H

#include "engine/base/clock.h"
#include "replication/executor/executor.h"
#include "replication/group/coordinator.h"
#include "replication/group/member.h"
#include "replication/wire/network.h"

struct partition;

struct group_env {
    struct executor *executor;
    struct clock *clock;
    struct network *network; /* for frames and for links that end */
    int32_t node;
    uint64_t process;
    struct group_facts facts;
    /* Any thread, and so the facts; `arg` is facts.arg.
     * Sends a frame, also to this node itself: then it comes as any other. As network_send(). */
    int (*send)(void *arg, int32_t to, enum message_kind kind, const void *header, size_t header_bytes,
                const void *body, size_t body_bytes);
    /* Whether no other node can lead yet what this one leads as far as it knows (REPLICATION.md, rule 46), and the
     * cluster says to it who leads. */
    bool (*has_lease)(void *arg);
    /* Whether the node is of a build that answers beats. */
    bool (*answers_beats)(void *arg, int32_t node);
    /* By name. 0; -ENOENT. */
    int (*topic_named)(void *arg, const char *name, uint8_t id[UUID_BYTES]);
    /* Referenced; NULL: none. */
    struct partition *(*partition)(void *arg, const uint8_t topic_id[UUID_BYTES], int32_t index);
    struct partition *(*offsets)(void *arg, int32_t index); /* of __consumer_offsets */
};

/* Enters the room: nothing comes yet. env is copied. NULL: no memory. */
struct groups *groups_new(const struct group_env *env);
/* For a stop, while the network still stands and members were left: waits until their coordinators know, for
 * LIMIT_GROUP_LEAVE_MS at most, and ends what still waits with -EROFS. Not from a work. */
void groups_stop(struct groups *groups);
/* The executor is silenced and settled, and the partitions have quit: each append of the room's is over. NULL: nothing
 * happens. */
void groups_free(struct groups *groups);

/* The cluster's metadata is another: topics, groups, nodes or leaders. Any thread; it only queues. */
void groups_changed(struct groups *groups);

/* Java's String.hashCode() of the name, as Kafka has it: the partition of __consumer_offsets that a group belongs to.
 */
int32_t group_index(const char *name);

#endif
