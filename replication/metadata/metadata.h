/* replication/metadata/metadata.h: the cluster's metadata: a state machine fed with the commands of the quorum's log,
 * in their order. Nodes, topics with their partitions' replicas, owners, modes and settings.
 *
 * Applying is deterministic: a command that lost a race (a topic that exists by now) changes nothing and its errno is
 * the proposer's answer, on every node alike. Pure: no I/O, no clock, no locks. */
#ifndef LOGMNT_REPLICATION_METADATA_METADATA_H
#define LOGMNT_REPLICATION_METADATA_METADATA_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "replication/metadata/command.h"
#include "replication/metadata/config.h"
#include "replication/metadata/group_config.h"
#include "replication/metadata/placement.h"

struct metadata_topic {
    char name[TOPIC_NAME_BYTES];
    uint8_t id[UUID_BYTES];
    struct tree_attr attr;
    struct config_set config;
    int32_t partitions;
    int32_t replication_factor;           /* as made or set for all of it; what is added gets so many */
    struct partition_registration *parts; /* partitions of them */
};

/* A consumer group: that there is one, whose it is and how it is set. Who is in it and how far it has come are records
 * of METADATA_OFFSETS_TOPIC. */
struct metadata_group {
    char name[GROUP_NAME_BYTES];
    uint8_t id[UUID_BYTES]; /* a name that is used again is another group */
    struct tree_attr attr;  /* dir_mode is the entry's; file_mode is of no use */
    struct config_set config;
};

struct metadata {
    int64_t next_offset; /* every command below was applied */
    struct tree_attr root;
    struct config_set config; /* the cluster's defaults */
    struct node_registration *nodes;
    size_t node_count;
    struct metadata_topic **topics;       /* by name */
    struct metadata_topic **topics_by_id; /* the same ones */
    size_t topic_count;
    struct tree_attr groups_attr; /* of `.groups` */
    /* A command has said all of the two. Until then they are each node's own. */
    bool root_said, groups_said;
    struct metadata_group **groups; /* by name */
    size_t group_count;
    int64_t next_producer_id;
    struct metadata_voters {
        int64_t offset; /* of the record that set them; -1: none did */
        struct raft_voters voters, target;
    } voters;
    char cluster_id[UUID_TEXT_BYTES]; /* "": no record has said it */
    int32_t epoch; /* of the quorum's last leader that was applied; 0: none, or of a version that had no epochs */
};

/* Kafka's rule: [a-zA-Z0-9._-], 1 to 249 bytes; not ".", "..", no leading '.' or "__". 0 or -EINVAL. */
int topic_name_check(const char *name);

/* Where consumer groups keep their offsets: an ordinary topic, but not a user's: made with the first group, compacted,
 * of MessagePack, and shown in `.internal`. */
#define METADATA_OFFSETS_TOPIC "__consumer_offsets"
enum { METADATA_OFFSETS_PARTITIONS = LIMIT_OFFSETS_PARTITIONS };
bool topic_name_internal(const char *name); /* a topic of the cluster's own: it */

/* A group's name: as a topic's, and so short that it fits into the name of an attribute (user.group.NAME.committed): 1
 * to 234 bytes. 0 or -EINVAL. */
int group_name_check(const char *name);

/* root: what MOUNT has before anybody changes it. */
void metadata_init(struct metadata *meta, const struct tree_attr *root);
void metadata_free(struct metadata *meta);

/* Before a command is proposed: 0; -EEXIST, -ENOENT, -ENODATA, -EINVAL, -EBUSY, -ENOSPC (a limit), -EACCES, -EPERM (who
 * asked for it may not) with the reason. What
 * contradicts itself (config_check_keys()), and what was meant for one that had the name before, is refused here alone:
 * metadata_apply() takes what an earlier version, which did not ask, has decided. */
int metadata_check(const struct metadata *meta, const struct command *cmd, struct err *e);
/* -ETIMEDOUT: one of the nodes that live is of an older build, which does not know commands of that feature level. */
int metadata_check_level(const struct metadata *meta, int32_t level, struct err *e);
/* May who asked for it have it, as of this state: 0, -EACCES, -EPERM with the reason. Part of metadata_check() and
 * metadata_apply(); what is no command yet is judged by it, too. */
int metadata_permit(const struct metadata *meta, const struct command *cmd, struct err *e);
/* Whether commands name those who asked for them: all nodes that live judge by that, and by the same owner of MOUNT. */
bool metadata_judges(const struct metadata *meta);
/* Applies the command that lies at offset, and counts it also when it does not fit. One that fitted when it was
 * proposed and lost a race with one applied since changes nothing: -EEXIST, -ENOENT, -ENODATA, -EINVAL, -ENOSPC,
 * -EACCES, -EPERM, -ESTALE, -EBUSY or -EAGAIN, on every node alike. -EBADMSG: no race explains that it does not fit, so
 * whoever decided it knew other rules; -ENOMEM. The state is as before then, and is not that of others: whoever has it
 * must not go on. */
int metadata_apply(struct metadata *meta, const struct command *cmd, int64_t offset, struct err *e);

const struct metadata_topic *metadata_topic(const struct metadata *meta, const char *name);
const struct metadata_topic *metadata_topic_by_id(const struct metadata *meta, const uint8_t id[UUID_BYTES]);
const struct metadata_group *metadata_group(const struct metadata *meta, const char *name); /* NULL: none */
const struct node_registration *metadata_node(const struct metadata *meta, int32_t id);
/* How laden each node is, by id: meta->node_count of them, LIMIT_NODES at most. A partition that moves counts where it
 * goes. */
void metadata_load(const struct metadata *meta, struct placement_node *nodes);
/* Who lives and who stays, for elections; as long as meta stays as it is. */
struct election_nodes metadata_election_nodes(const struct metadata *meta);
/* The settings that elections of a partition go by. */
void metadata_election_rules(const struct metadata *meta, const struct metadata_topic *topic, int32_t index,
                             struct election_rules *out);
/* How many replicas its partitions have, or are to have while they move; where they differ, as user.log.replicas makes
 * them, of the one that has the fewest. */
int32_t metadata_factor(const struct metadata_topic *topic);
/* min.insync.replicas in force for so many replicas: as set on the topic (NULL: none) or MOUNT, else
 * (replicas + 1) / 2. */
int32_t metadata_min_insync(const struct metadata *meta, const struct metadata_topic *topic, int32_t replicas);
/* The nodes of the cluster: those that have registered, and voters that have yet to. */
int32_t metadata_known_nodes(const struct metadata *meta);
/* default.replication.factor in force: as set on MOUNT, else the smaller of 3 and the number of nodes. */
int32_t metadata_default_factor(const struct metadata *meta);
/* The setting in force as text; topic NULL: MOUNT's. min.insync.replicas that follows from the replicas: by
 * metadata_factor(). -ENODATA: there is none of that name, there. */
int metadata_get_config(const struct metadata *meta, const struct metadata_topic *topic, const char *name,
                        char out[CONFIG_VALUE_BYTES]);

#endif
