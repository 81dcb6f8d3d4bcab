/* replication/node/node.h: one node: its data directory, its topics, its executor.
 *
 * node_open() takes the lock on the data directory, reads identity, checkpoints and metadata and opens every partition;
 * node_close() flushes all, writes the checkpoints and the clean-shutdown mark. In between the tree of topics is
 * changed by the commands of node_commands.h.
 *
 * Any thread, unless said otherwise. */
#ifndef LOGMNT_REPLICATION_NODE_NODE_H
#define LOGMNT_REPLICATION_NODE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/base/clock.h"
#include "engine/base/err.h"
#include "engine/base/io.h"
#include "replication/executor/executor.h"
#include "replication/metadata/config.h"
#include "replication/metadata/group_config.h"
#include "replication/metadata/tree_attr.h"
#include "replication/base/latency.h"
#include "replication/base/limits.h"
#include "replication/replica/topic.h"
#include "replication/wire/hello.h"
#include "replication/wire/tls.h"

struct account_bound;
struct node;
struct past;
struct transport_source;

/* Where a node is to be found. */
struct node_peer {
    int32_t id;
    const char *host;
    int port;
};

struct node_options {
    const char *data_dir; /* made, with its parents, mode 0700, if it is not there */
    int32_t id;
    bool check_crcs;
    int64_t log_retention_check_interval_ms;
    int64_t log_cleaner_backoff_ms;
    int64_t node_session_timeout_ms;    /* 0: 3000 */
    int64_t replica_lag_time_max_ms;    /* 0: LIMIT_REPLICA_LAG_MS */
    int64_t snapshot_commands;          /* 0: LIMIT_SNAPSHOT_COMMANDS */
    int64_t reserve_bytes;              /* reserve.h; 0: none */
    const struct account_bound *bounds; /* of what peers send (account.h); NULL: those of limits.h */
    /* Other nodes. What these lead to stays until node_close(). */
    const char *listen_host; /* NULL: no port, and no other node is ever heard of */
    int listen_port;
    const struct node_peer *peers; /* the first members of a cluster, this node among them; each id once */
    size_t peer_count;             /* 0: no list */
    const struct tls_files *tls;   /* NULL: tls=off */
    int32_t quorum_recover;        /* the id of this node: it makes the metadata quorum anew, alone; 0: it does not */
    /* The seams. */
    struct transport_source *transport; /* NULL: links.h, if there is a listen_host */
    struct io *io;                      /* NULL: io_posix() */
    struct clock *clock;                /* NULL: clock_system() */
    struct executor *executor;          /* NULL: one of libuv and threads, started and stopped with the node */
};

/* Errors, each with one clear line in e: -EBUSY: another daemon has the directory (a daemon that is stopping or dying
 * is waited for, 10 s at most); -EINVAL: the directory belongs to another node id; -EBADMSG: a damaged file, by name;
 * errnos of the disk; those of tls_context_new() and peers_start(). A partition that is damaged does not stop the node:
 * it is offline and was logged. */
int node_open(const struct node_options *options, struct node **out, struct err *e);
/* Says in the lock file what is mounted, by its device: a start waits for who serves one that is not any more. And says
 * it anew when the mount table has changed. Any thread. */
void node_mounted(struct node *node, unsigned dev_major, unsigned dev_minor);
/* Says "stopping" in the lock file, so that a start waits. Idempotent; also done by node_close(). */
void node_stopping(struct node *node);
/* Reads the files of options.tls anew, for connections to come. 1: done; 0: it has none; errors of tls_context_new():
 * the old ones are kept. */
int node_reload_tls(struct node *node, struct err *e);
/* Settles the executor, flushes and closes. All partition and topic references must be gone. Returns 0 or the first
 * error. */
int node_close(struct node *node, struct err *e);

int32_t node_id(const struct node *node);
const char *node_cluster_id(const struct node *node); /* Kafka's form: 22 characters of base64url; "": none yet */
int node_data_dirfd(const struct node *node);         /* for statfs */
struct clock *node_clock(const struct node *node);
struct executor *node_executor(const struct node *node); /* for the layers above, too */
struct past *node_past(struct node *node);               /* for past.h: which names are not there is not known yet */

/* ---- topics ---- */

/* By name; NULL: none. The caller unrefs. internal: one of .internal/ (__cluster_metadata). */
struct topic *node_topic(struct node *node, const char *name);
struct topic *node_internal_topic(struct node *node, const char *name);
/* All topics by name, referenced. *out is malloc-ed; the caller unrefs each and frees it. */
int node_topics(struct node *node, struct topic ***out, size_t *count);
int node_internal_topics(struct node *node, struct topic ***out, size_t *count);
/* Calls each with every partition of the topics that are replicated as topics are, the groups' offsets among them, by
 * name, while it holds a reference to its topic. -ENOMEM: some were left out. */
int node_each_partition(struct node *node, void (*each)(struct partition *part, void *arg), void *arg);

void node_root_attr(struct node *node, struct tree_attr *out); /* of MOUNT; at first the daemon's uid and gid, 0755 */

/* ---- consumer groups: that they exist, whose they are, how they are set ---- */

struct node_group;
struct groups;

struct groups *node_group_room(struct node *node); /* for group/member.h */

/* By name; NULL: none. The caller unrefs. */
struct node_group *node_group(struct node *node, const char *name);
struct node_group *node_group_ref(struct node_group *group);
void node_group_unref(struct node_group *group);
/* All of them by name, as node_topics(). */
size_t node_group_count(struct node *node);
int node_group_list(struct node *node, struct node_group ***out, size_t *count);

const char *node_group_name(const struct node_group *group);
const uint8_t *node_group_id(const struct node_group *group); /* UUID_BYTES; another one when the name is used again */
uint64_t node_group_number(const struct node_group *group);   /* as topic_number() */
bool node_group_deleted(const struct node_group *group);
void node_group_attr(struct node_group *group, struct tree_attr *out);
void node_groups_attr(struct node *node, struct tree_attr *out); /* of `.groups`; at first MOUNT's owner, 1777 */
/* The settings in force; generation as topic_config_generation(). */
uint64_t node_group_config_generation(const struct node_group *group);
void node_group_config(struct node_group *group, struct group_config *out);
/* One of them as text. -ENODATA: unknown; -ENOENT. */
int node_get_group_config(struct node *node, const char *group, const char *name, char out[CONFIG_VALUE_BYTES]);

/* ---- settings ---- */

/* The value in force as text. -ENODATA: unknown. */
int node_get_config(struct node *node, const char *topic, const char *name, char out[CONFIG_VALUE_BYTES]);

/* ---- the feed upwards ---- */

/* One at a time; NULL: nobody. Returns when no call of the last one is under way any more. Not from such a call. */
void node_set_feed(struct node *node, struct node_feed *feed);

/* ---- the cluster ---- */

enum node_role { NODE_VOTER, NODE_OBSERVER, NODE_REPLACED /* its id is a voter's, its disk is not */ };

/* A node as it has registered. */
struct node_member {
    int32_t id;
    char host[HELLO_HOST_BYTES]; /* "": it listens nowhere */
    int32_t port;
    int64_t epoch;
    enum node_role role;
    bool fenced;   /* it lives not, as far as the controller knew when this node last heard of it */
    bool stopping; /* cleanly: it leads nothing that another could lead */
};

/* All of them by id. *out is malloc-ed. -ENOMEM. */
int node_members(struct node *node, struct node_member **out, size_t *count);
int32_t node_controller(struct node *node);                        /* a node id; 0: none that this node hears */
int32_t node_voters(struct node *node, int32_t ids[LIMIT_VOTERS]); /* of the metadata quorum, ascending; how many */

/* ---- figures for .cluster/metrics ---- */
struct node_metrics {
    uint64_t batches_appended, records_appended, bytes_appended;
    uint64_t flushes, segments_deleted, segments_compacted;
    uint64_t partitions, partitions_offline, topics;
    uint64_t appends_parked;
    uint64_t partitions_without_leader, partitions_under_replicated; /* of the cluster */
    uint64_t leader_changes, isr_shrinks, isr_expands;               /* as applied here */
    uint64_t nodes, nodes_fenced;
    int32_t quorum_epoch;
    uint64_t elections; /* of the quorum, that this node stood in */
    int64_t node_epoch; /* -1: not registered yet */
    /* How long they took: appends of this node's own, by their acks - ACKS_ALL; fsyncs of its own, of one partition
     * each; commands of its own; those of the appends that went to a leader elsewhere; rounds of fdatasync of a log. */
    struct latency_view appends[3], fsyncs, commands;
    struct histogram_view forwards, log_flushes;
};
void node_metrics(struct node *node, struct node_metrics *out);

/* How long a replica on another node takes to acknowledge what this one sends it near a log's end. */
struct node_acks {
    int32_t replica; /* node id */
    struct histogram_view times;
};
/* Of each node that this one has sent to; returns how many. */
int node_acks(struct node *node, struct node_acks out[LIMIT_NODES]);

#endif
