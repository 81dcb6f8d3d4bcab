/* replication/node/node_internal.h: struct node, for replication/ alone. */
#ifndef LOGMNT_REPLICATION_NODE_NODE_INTERNAL_H
#define LOGMNT_REPLICATION_NODE_NODE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "replication/base/reserve.h"
#include "replication/node/cleaner.h"
#include "replication/node/controller_driver.h"
#include "replication/node/identity.h"
#include "replication/node/membership.h"
#include "replication/node/node.h"
#include "replication/node/node_group.h"
#include "replication/node/data_lock.h"
#include "replication/node/own_logs.h"
#include "replication/node/past.h"
#include "replication/node/scrubber.h"
#include "replication/replica/manager.h"
#include "replication/replica/topic_internal.h"
#include "replication/wire/links.h"

struct node {
    struct node_options options; /* data_dir is a copy of ours */
    struct io *io;
    struct clock *clock;
    int data_dirfd;
    struct data_lock lock;
    struct identity identity; /* its cluster_id is changed once, from "", before in_cluster is set */
    _Atomic bool in_cluster;
    struct tree_attr root_before; /* MOUNT's, until somebody changes it */
    struct executor *executor;
    struct network network;
    struct transport_source *source; /* of the transport; NULL: none */
    struct links links;              /* it, unless the options brought one */
    _Atomic bool links_started;
    uint64_t process; /* a random number of this start */
    const char *host; /* where others find this node; "": nowhere */
    int port;
    struct reserve reserve;
    struct group_table groups;
    struct groups *group_room; /* members and coordinators */
    struct metadata_topic internal_meta;
    struct partition_registration internal_part; /* of internal_meta */
    struct quorum quorum;
    struct replica_manager replicas;
    struct membership membership;
    struct past past;
    struct own_logs own_logs;
    struct controller_driver controller;
    struct cleaner cleaner;
    struct scrubber scrubber;
    _Atomic bool checkpoints_by_name; /* files of version 1 are there, to go before a topic is made */

    /* figures */
    _Atomic uint64_t leader_changes, isr_shrinks, isr_expands;
};

/* node_links.c: the transport. Chooses where this node is to be found, and reads the certificates; nothing is begun. As
 * node_open(). */
int node_links_open(struct node *node, struct err *e);
/* Has the address where it is to listen, if it is; nobody is let in before the start. As links_bind(). */
int node_links_bind(struct node *node, struct err *e);
void node_links_close(struct node *node);
/* Begins to hear, and meets whom the list and the metadata name. All rooms are on the network. As peers_start(). */
int node_links_start(struct node *node, struct err *e);
/* No message comes any more. */
void node_links_hush(struct node *node);
/* Goodbye, if they were started. Hushed, silenced and settled. */
void node_links_stop(struct node *node);
/* A node has registered: there it is. */
void node_links_meet(struct node *node, int32_t id, const char *host, int port);
/* A node was unregistered: whom the list does not name is not looked for any more. */
void node_links_forget(struct node *node, int32_t id);
/* identity.cluster_id is set now. */
void node_links_set_cluster(struct node *node);

/* node_quorum.c: the metadata log, and the quorum on it: known what was decided. As quorum_open(). */
int node_quorum_open(struct node *node, const struct checkpoints *known, struct err *e);
/* quorum.recover: waits until it is made anew, for as long as an election takes. -EBUSY: another voter is there. Not
 * from a work. */
int node_quorum_recover(struct node *node, struct err *e);
/* The applied metadata names the cluster, if it does: this node is of it from here on, durably. Ends the process where
 * it is of another. Errnos of the disk, told: it is not kept yet. */
int node_join_cluster(struct node *node, struct err *e);

/* All that was decided before this start is applied: what no topic has by now never will. The quorum's turn, or the
 * start; once. */
void node_caught_up(struct node *node);

/* node_stop.c: all that may come, wait or call back is over when this returns, in the order that is written there: the
 * topics are the catalog's alone. The quorum is open; whether links were started or not. -ENOMEM: some were left out.
 */
int node_stop_rooms(struct node *node);
/* Each topic's reference is the last one: its logs are closed. */
void node_close_topics(struct node *node);
/* Silenced and settled; the threads end, unless the executor is the caller's. */
void node_stop_executor(struct node *node);
/* Its directories and its lock, that others may have from here on. */
void node_close_data(struct node *node);
/* The struct and what node_open() made first. */
void node_free(struct node *node);

/* node_apply.c: the quorum's callbacks. Before a command is appended: what has to be on the disk then. */
int node_prepare(void *arg, const struct command *cmd, struct err *e);
/* Brings the live topics to what the metadata says after cmd. */
void node_apply(void *arg, const struct command *cmd);
/* Brings them from what `old` said to what the metadata says now, whatever lies between. */
void node_replace(void *arg, const struct metadata *old);
/* The same as node_apply() at a start, when there are no live topics yet. */
int node_replay(void *arg, const struct command *cmd);
/* A topic of which nothing will say any more that it was deleted; and that, and what deletions have left, durably. */
int node_gone(void *arg, const char *topic, const uint8_t id[UUID_BYTES]);
int node_keep(void *arg, struct err *e);
/* Hands the live partitions that node `replica` has a part in (0: all) the registrations that the metadata has; in the
 * quorum's turn. */
void node_apply_registrations(struct node *node, int32_t replica);

#endif
