/* replication/node/node_commands.h: the calls that change the tree. Each is a command of the metadata quorum, and an
 * op: nobody waits for its decision.
 *
 * What a decided command does is done by applying it (node_apply.c), on every node alike; here is only what its origin
 * has to see to: that it makes sense, that a topic which has to be empty stays so, and the answer. */
#ifndef LOGMNT_REPLICATION_NODE_NODE_COMMANDS_H
#define LOGMNT_REPLICATION_NODE_NODE_COMMANDS_H

#include "replication/executor/executor.h"
#include "replication/metadata/quorum.h"
#include "replication/node/node.h"

enum command_state { COMMAND_PREPARING, COMMAND_LOOKING, COMMAND_SEALING, COMMAND_DECIDING };

struct seal_wanted;

/* One change on its way; whoever calls embeds it, zeroed, sets the first three and keeps it until it is over. */
struct command_op {
    int64_t timeout_ms; /* INT64_MAX: none */
    /* The user who asks, who is judged where the command is applied, too; zeros: the daemon does, which may all. */
    struct command_caller caller;
    /* Once for each call that has returned 0, no lock held, on a prompt work's thread, perhaps before the call has
     * returned. What it changed is in force on this node, and on its disk, when rc is 0. */
    void (*done)(struct command_op *op, int rc);
    struct err e; /* why not */
    /* private */
    enum command_state state;
    struct node *node;
    struct topic *topic; /* that it is about, referenced; NULL: MOUNT, or one that is to be made */
    struct command cmd;
    struct tree_attr attr; /* PREPARING: the group's */
    int64_t begun_ms;
    struct quorum_op quorum, undo;
    struct quorum_change change; /* of the quorum's voters */
    struct work work;
    struct seal_wanted *seals; /* LOOKING, SEALING: of each partition's leader */
    int32_t seal_count;
    _Atomic int32_t seals_left; /* not answered, and one for who asks */
    _Atomic int seals_rc;
    bool votes;    /* `change` is under way, not `quorum` */
    bool reserved; /* between reserve_begin() and reserve_end() */
    bool undoes;   /* it made a topic, and takes it back by `undo`, */
    int rc;        /* for this reason */
};

/* Each returns 0: op->done will be called; or a negative errno with the reason in op->e: it is over, and nothing has
 * happened. Either may be any of those named, and done's also -ENOSPC, -EDQUOT, -EIO (the disk), -ETIMEDOUT (it may yet
 * come into force; a topic that has to be empty: or a partition's leader could not be asked), -ENOMEM; and either
 * -EACCES and -EPERM: the caller may not, by owners and modes as they are then. */

/* -EEXIST, -EINVAL (name). Partitions and replication factor: the cluster's defaults. -ENOSPC and the like: it could
 * not be made on this node's disk, and was taken back; where somebody had written to it by then it stays, and rc is 0.
 */
int node_create_topic(struct node *node, struct command_op *op, const char *name, const struct tree_attr *attr);
/* -ENOENT; -ENOTEMPTY: it retains records and delete.topic.enable is not true. */
int node_delete_topic(struct node *node, struct command_op *op, const char *name);
/* -ENOENT; -EEXIST: there are as many, on this node, too; -EINVAL: over 10,000; -EAGAIN: its replication factor has
 * changed meanwhile. */
int node_create_partitions(struct node *node, struct command_op *op, const char *name, int32_t count);

/* Which nodes shall hold a partition, the first one preferred as leader: those that are missing are added and fetch,
 * the others go once these are in sync. Over when that is decided. -ENOENT; -EINVAL: a node twice, or one that there is
 * not; -EAGAIN: it moves already, and has too many replicas for one more move. */
int node_assign_replicas(struct node *node, struct command_op *op, const char *name, int32_t index,
                         const struct replica_set *replicas);
/* The same for all partitions of the topic, so that each has `factor`: more by load; fewer from the end of the list,
 * the leader last. -EINVAL: more than there are nodes, or than LIMIT_REPLICAS. */
int node_set_replication_factor(struct node *node, struct command_op *op, const char *name, int32_t factor);
/* Who shall lead it. -ENOENT; -EINVAL: no replica; -EAGAIN: not in sync, or fenced, or the partition changed meanwhile.
 */
int node_set_leader(struct node *node, struct command_op *op, const char *name, int32_t index, int32_t leader);

/* name NULL: MOUNT. `set`: ATTR_ bits. -ENOENT. */
int node_set_attr(struct node *node, struct command_op *op, const char *name, const struct tree_attr *attr,
                  unsigned set);
/* topic NULL: the cluster's default. value NULL: back to the default (-ENODATA when it is not overridden). -ENOENT;
 * -EINVAL: bad name or value; -EBUSY: framing of a topic that holds records or has some on their way, parked or
 * in flight. An append that comes while a framing is being decided and is cut by another one is -EINVAL. */
int node_set_config(struct node *node, struct command_op *op, const char *topic, const char *name, const char *value);

/* -EEXIST, -EINVAL (name). The first one makes the topic of groups' offsets, which stays whatever becomes of it. */
int node_create_group(struct node *node, struct command_op *op, const char *name, const struct tree_attr *attr);
/* With its offsets, whoever is in it. id: the one that is meant; NULL: whichever has the name. -ENOENT. */
int node_delete_group(struct node *node, struct command_op *op, const char *name, const uint8_t *id);
/* name NULL: `.groups`. As node_set_attr() and node_set_config(), for a group; it has no defaults on MOUNT. */
int node_set_group_attr(struct node *node, struct command_op *op, const char *name, const struct tree_attr *attr,
                        unsigned set);
int node_set_group_config(struct node *node, struct command_op *op, const char *group, const char *name,
                          const char *value);

/* Makes these nodes the voters of the metadata quorum: 1, 3 or 5 ids, ascending; each is the server that it is now, so
 * that one whose disk was replaced is a voter again. -EINVAL; -EAGAIN: not all of them are connected and caught up, or
 * another change is under way; -EROFS: there is no cluster yet. After -ETIMEDOUT an accepted change goes on, and the
 * same one waits for it. */
int node_change_voters(struct node *node, struct command_op *op, const int32_t *ids, int32_t count);

/* The cluster forgets the node. -ENOENT: there is none of that id; -EBUSY: it lives, or is a voter, or has a replica,
 * or is to have one; -EAGAIN: it has registered anew; -ETIMEDOUT also where a node is of a build that does not know
 * this. */
int node_unregister(struct node *node, struct command_op *op, int32_t id);

/* true: it was not yet on its way to the log, and never will be; done is not called. */
bool node_command_cancel(struct command_op *op);

#endif
