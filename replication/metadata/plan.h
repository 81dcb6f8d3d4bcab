/* replication/metadata/plan.h: the commands that need choosing: where new partitions go, where they go when a topic
 * shall have more replicas or fewer, who shall lead. Pure functions of the metadata; that they fit is checked when the
 * command is proposed (metadata_check()).
 *
 * Each fills in what it chooses of *cmd, whose topic and id are set; what it allocates command_free() frees. Errors
 * come with the reason; all may also be -ENOMEM. */
#ifndef LOGMNT_REPLICATION_METADATA_PLAN_H
#define LOGMNT_REPLICATION_METADATA_PLAN_H

#include "replication/metadata/metadata.h"

/* CREATE_TOPIC with so many partitions and the cluster's default replication factor. As plan_partitions(). */
int plan_topic(struct command *cmd, const struct metadata *meta, int32_t partitions, struct err *e);
/* Replicas, cmd->replication_factor of them, for that many more partitions. -EROFS: nodes of the cluster have yet to
 * register; -EINVAL: more replicas than nodes. */
int plan_partitions(struct command *cmd, const struct metadata *meta, int32_t count, struct err *e);
/* ASSIGN_REPLICAS to all partitions of the topic, so that each has `factor`: more by load; fewer from the end of the
 * list, the leader last. -ENOENT; -EINVAL: more than there are nodes, or than LIMIT_REPLICAS. */
int plan_factor(struct command *cmd, const struct metadata *meta, int32_t factor, struct err *e);
/* CHANGE_PARTITIONS to another leader. -ENOENT; -EINVAL: no replica; -EAGAIN: not in sync, or fenced. */
int plan_leader(struct command *cmd, const struct metadata *meta, int32_t index, int32_t leader, struct err *e);

#endif
