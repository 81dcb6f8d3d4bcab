/* replication/metadata/command.h: one decision of the metadata quorum, in memory and as the bytes of one record of
 * `__cluster_metadata`: a MessagePack map with short text keys, readable as it lies there. docs/DISK_FORMAT.md lays the
 * keys down.
 *
 * Each command carries a version. One that this build does not know, or that misses a key, is -EBADMSG with the reason,
 * never skipped: what follows may depend on it. Pure; no locks. */
#ifndef LOGMNT_REPLICATION_METADATA_COMMAND_H
#define LOGMNT_REPLICATION_METADATA_COMMAND_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "replication/base/limits.h"
#include "replication/base/uuid.h"
#include "replication/metadata/config.h"
#include "replication/metadata/election.h"
#include "replication/metadata/tree_attr.h"
#include "replication/wire/raft_voters.h"

/* The highest feature level that this build knows, and from which one on a node knows commands with seals, answers
 * beats of groups' members, judges commands by who asked for them, knows that nodes can be unregistered, and holds
 * questions for news back for LIMIT_STAT_LONG_WAIT_MS. */
enum {
    FEATURE_LEVEL = 4,
    FEATURE_LEVEL_SEALS = 2,
    FEATURE_LEVEL_BEATS = 3,
    FEATURE_LEVEL_CALLERS = 4,
    FEATURE_LEVEL_UNREGISTER = 4,
    FEATURE_LEVEL_LONG_STATS = 4,
};

/* The second version is that of a command with seals, the third that of one with a caller, and seals perhaps: an older
 * build that meets one stops for good. */
enum {
    COMMAND_VERSION = 1,
    COMMAND_VERSION_SEALS = 2,
    COMMAND_VERSION_CALLER = 3,
    TOPIC_NAME_BYTES = 250,
    NODE_HOST_BYTES = 256
};

enum command_type {
    COMMAND_REGISTER_NODE,       /* registration */
    COMMAND_CREATE_TOPIC,        /* topic, id, attr, partitions, replication_factor, replicas */
    COMMAND_DELETE_TOPIC,        /* topic, id */
    COMMAND_CREATE_PARTITIONS,   /* topic, id, partitions (the new count), replicas (of the added ones) */
    COMMAND_SET_ATTR,            /* topic or "" for MOUNT, attr, set */
    COMMAND_SET_CONFIG,          /* topic or "", name, value */
    COMMAND_REMOVE_CONFIG,       /* topic or "", name */
    COMMAND_CHANGE_NODE,         /* registration: id, epoch, fenced, shutting_down */
    COMMAND_CHANGE_PARTITIONS,   /* node (who proposes: a partition's leader, or 0: the controller), changes */
    COMMAND_SET_PARTITIONS,      /* changes: a snapshot's, taken as they are */
    COMMAND_PRODUCER_IDS,        /* node, count: that many more are that node's; 0: nobody's */
    COMMAND_BEGIN_EPOCH,         /* epoch, leader: the quorum's, as each of its leaders begins (KIP-595) */
    COMMAND_ASSIGN_REPLICAS,     /* topic, id, partition (-1: all of them), replicas that it, or each, shall have */
    COMMAND_SET_VOTERS,          /* voters, target: the quorum's (KIP-853); in force from when it is in the log on */
    COMMAND_CREATE_GROUP,        /* group, id, attr; the topic of groups' offsets is there */
    COMMAND_DELETE_GROUP,        /* group, id */
    COMMAND_SET_GROUP_ATTR,      /* group or "" for `.groups`, attr, set */
    COMMAND_SET_GROUP_CONFIG,    /* group, name, value */
    COMMAND_REMOVE_GROUP_CONFIG, /* group, name */
    COMMAND_UNREGISTER_NODE,     /* registration: id, epoch: the cluster forgets the node (KIP-631) */
    COMMAND_TYPES,
};

/* Beside the ATTR_ bits of tree_attr.h: the directory's mtime, as a snapshot sets it. */
enum { COMMAND_ATTR_MTIME = 16 };

/* A node, as it registers at each start and as the controller finds it. */
struct node_registration {
    int32_t id;
    int64_t epoch;        /* the offset of its registration; in REGISTER_NODE only a snapshot's */
    uint64_t incarnation; /* of its data directory; 0: not known */
    uint64_t renewed;     /* the incarnation that the same directory had before; 0: none */
    uint64_t process;     /* of this start; 0: not known */
    char host[NODE_HOST_BYTES];
    int32_t port; /* where it listens; 0: nowhere */
    int32_t feature_level;
    bool fenced;
    bool shutting_down;
    bool unclean; /* its last stop lost what was not on its disk */
};

/* What becomes of one partition. */
struct partition_change {
    uint8_t topic_id[UUID_BYTES];
    int32_t index;
    /* All of it, with its epochs: the partition's own has to be one more than what is there, the leader's likewise
     * where there is an election. */
    struct partition_registration to;
    /* Of who comes into the ISR: the node epoch that its leader has fetched from it in (KIP-903); -1: not looked at. In
     * the order of to.isr. */
    int64_t isr_epochs[LIMIT_REPLICA_SET];
};

/* A partition was empty in that leader epoch, and its leader, in that registration, takes no append in while they last
 * (replication/replica/partition_seal.c). */
struct command_seal {
    int32_t leader_epoch;
    int64_t node_epoch;
};

/* The user who asked for a command, as the kernel of the node says where that was. */
struct command_caller {
    bool is_user;      /* false: the daemon asked, or a build that names no callers: nobody is judged */
    bool by_attribute; /* as an extended attribute, and not by a name that is made */
    uid_t uid;
    gid_t gid;
    int32_t group_count; /* supplementary ones; -1: they are not known */
    gid_t groups[LIMIT_CALLER_GROUPS];
};

/* Who proposed a command, so that the node which did can tell its own among those that it applies; and for whom. */
struct command_origin {
    int32_t node;       /* 0: not known: the quorum's own records, and those of a version that had no origins */
    int64_t node_epoch; /* its registration that was in force there; -1: none was */
    uint64_t number;    /* another one for each command of a node, its earlier processes' included */
    struct command_caller caller; /* of the changes that users make */
};

struct command {
    enum command_type type;
    int64_t time_ms; /* when it was proposed */
    struct command_origin origin;
    char topic[TOPIC_NAME_BYTES];
    char group[GROUP_NAME_BYTES]; /* a consumer group */
    /* The topic's or the group's. Of a command that goes by the name it says which one is meant; zeros: whichever has
     * the name. */
    uint8_t id[UUID_BYTES];
    struct tree_attr attr; /* ctime_ms is time_ms; mtime_ms where set says so */
    unsigned set;
    int32_t node;
    int64_t count;
    int32_t epoch;
    struct raft_id leader;
    struct raft_voters voters, target;
    char cluster[UUID_TEXT_BYTES]; /* BEGIN_EPOCH, SET_VOTERS: the cluster's id; "": it says nothing of it */
    struct node_registration registration;
    struct partition_change *changes; /* malloc-ed */
    int32_t change_count;
    int32_t partitions;
    int32_t partition;
    int32_t replication_factor;
    int32_t *replicas; /* replication_factor ids for each partition, one partition behind the other; malloc-ed */
    int32_t replica_count;
    /* DELETE_TOPIC, SET_CONFIG, REMOVE_CONFIG, with id: only if each partition is sealed so; malloc-ed. NULL: in any
     * case
     */
    struct command_seal *seals;
    int32_t seal_count;
    char name[CONFIG_NAME_BYTES];
    char value[CONFIG_VALUE_BYTES];
};

/* *out is malloc-ed, the caller's. -ENOMEM. */
int command_encode(const struct command *cmd, void **out, size_t *len);
/* On success the caller frees *cmd by command_free(). -EBADMSG, -ENOMEM. */
int command_decode(const void *data, size_t len, struct command *cmd, struct err *e);
void command_free(struct command *cmd);
/* A change of attributes or settings: what was proposed is applied to whatever has the name, as builds do that know no
 * id in it; so whose name it is has to be certain before. */
bool command_goes_by_name(const struct command *cmd);
/* It has an id. */
bool command_names_one(const struct command *cmd);
const char *command_type_name(enum command_type type);

#endif
