#include "replication/metadata/plan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int more_than_nodes(int32_t factor, const struct metadata *meta, struct err *e)
{
    return err_set(e, -EINVAL, "replication factor %" PRId32 " is more than the number of nodes, %zu", factor,
                   meta->node_count);
}

int plan_partitions(struct command *cmd, const struct metadata *meta, int32_t count, struct err *e)
{
    int32_t factor = cmd->replication_factor;
    struct placement_node nodes[LIMIT_NODES];
    /* A cluster's first moments: a topic is not made with fewer replicas because it came before a node did. */
    if (meta->node_count == 0 || ((size_t)factor > meta->node_count && factor <= metadata_known_nodes(meta))) {
        return err_set(e, -EROFS, "%zu of %" PRId32 " nodes have registered yet", meta->node_count,
                       metadata_known_nodes(meta));
    }
    if ((size_t)factor > meta->node_count)
        return more_than_nodes(factor, meta, e);
    cmd->replica_count = count * factor;
    cmd->replicas = calloc((size_t)cmd->replica_count, sizeof *cmd->replicas);
    if (cmd->replicas == NULL)
        return err_sys(e, -ENOMEM, "choose replicas");
    metadata_load(meta, nodes);
    for (int32_t i = 0; i < count; i++) {
        struct replica_set chosen;
        placement_choose(nodes, (int32_t)meta->node_count, factor, &chosen);
        memcpy(cmd->replicas + (size_t)i * (size_t)factor, chosen.ids, (size_t)factor * sizeof chosen.ids[0]);
    }
    return 0;
}

int plan_topic(struct command *cmd, const struct metadata *meta, int32_t partitions, struct err *e)
{
    cmd->partitions = partitions;
    cmd->replication_factor = metadata_default_factor(meta);
    return plan_partitions(cmd, meta, partitions, e);
}

/* That many of the replicas that it has or shall have: more by load, fewer from the end, the leader last. */
static void resize(struct placement_node *nodes, int32_t count, const struct partition_registration *part,
                   int32_t factor, struct replica_set *out)
{
    *out = part->target.count > 0 ? part->target : part->replicas;
    for (int32_t i = out->count - 1; i >= 0 && out->count > factor; i--) {
        if (out->ids[i] != part->leader)
            replica_set_remove(out, out->ids[i]);
    }
    if (out->count < factor)
        placement_add(nodes, count, factor, out);
}

int plan_factor(struct command *cmd, const struct metadata *meta, int32_t factor, struct err *e)
{
    const struct metadata_topic *topic = metadata_topic_by_id(meta, cmd->id);
    struct placement_node nodes[LIMIT_NODES];
    if (topic == NULL)
        return err_set(e, -ENOENT, "no topic %s", cmd->topic);
    if (factor < 1 || factor > LIMIT_REPLICAS)
        return err_set(e, -EINVAL, "replication factor %" PRId32 " is not from 1 to %d", factor, LIMIT_REPLICAS);
    if ((size_t)factor > meta->node_count)
        return more_than_nodes(factor, meta, e);
    cmd->partition = -1;
    cmd->replication_factor = factor;
    cmd->replica_count = topic->partitions * factor;
    cmd->replicas = calloc((size_t)cmd->replica_count, sizeof *cmd->replicas);
    if (cmd->replicas == NULL)
        return err_sys(e, -ENOMEM, "choose replicas");
    metadata_load(meta, nodes);
    for (int32_t p = 0; p < topic->partitions; p++) {
        struct replica_set set;
        resize(nodes, (int32_t)meta->node_count, &topic->parts[p], factor, &set);
        memcpy(cmd->replicas + (size_t)p * (size_t)factor, set.ids, (size_t)factor * sizeof set.ids[0]);
    }
    return 0;
}

int plan_leader(struct command *cmd, const struct metadata *meta, int32_t index, int32_t leader, struct err *e)
{
    const struct metadata_topic *topic = metadata_topic_by_id(meta, cmd->id);
    struct election_nodes nodes = metadata_election_nodes(meta);
    if (topic == NULL || index >= topic->partitions)
        return err_set(e, -ENOENT, "no partition %s-%" PRId32, cmd->topic, index);
    const struct partition_registration *part = &topic->parts[index];
    if (!replica_set_has(&part->replicas, leader))
        return err_set(e, -EINVAL, "%s-%" PRId32 ": node %" PRId32 " has no replica", cmd->topic, index, leader);
    if (!replica_set_has(&part->isr, leader) || !nodes.stays(nodes.arg, leader))
        return err_set(e, -EAGAIN, "%s-%" PRId32 ": node %" PRId32 " is not in sync", cmd->topic, index, leader);
    cmd->changes = calloc(1, sizeof *cmd->changes);
    if (cmd->changes == NULL)
        return err_sys(e, -ENOMEM, "choose a leader");
    cmd->change_count = 1;
    struct partition_change *change = cmd->changes;
    memcpy(change->topic_id, topic->id, UUID_BYTES);
    change->index = index;
    change->to = *part;
    change->to.leader = leader;
    change->to.leader_epoch += leader != part->leader;
    change->to.partition_epoch++;
    for (int32_t i = 0; i < LIMIT_REPLICA_SET; i++)
        change->isr_epochs[i] = -1;
    return 0;
}
