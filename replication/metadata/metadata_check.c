/* replication/metadata/metadata_check.c: does a command fit the state? One function for each kind. */
#include "replication/metadata/metadata.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bugs.h"
#include "replication/base/limits.h"
#include "replication/metadata/metadata_internal.h"

/* Who proposed it chose among the nodes that it knew; one of them may have been unregistered since. What a snapshot
 * says, and what a build said that knew one node alone, is of no origin. */
static int check_chosen(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    for (int32_t i = 0; i < cmd->replica_count && cmd->origin.node != 0; i++) {
        if (metadata_node(meta, cmd->replicas[i]) == NULL)
            return LOST(verdict, -EAGAIN, "topic %s: there is no node %d any more", cmd->topic, cmd->replicas[i]);
    }
    return 0;
}

static int check_create_topic(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    struct err *e = verdict->e;
    bool internal = topic_name_internal(cmd->topic);
    if (topic_name_check(cmd->topic) != 0 && !internal)
        return err_set(e, -EINVAL, "%s: not a topic's name", cmd->topic);
    if (metadata_topic_find(meta, cmd->topic) != NULL)
        return LOST(verdict, -EEXIST, "topic %s exists", cmd->topic);
    if (metadata_topic_by_id(meta, cmd->id) != NULL)
        return err_set(e, -EINVAL, "topic %s: its id is another topic's", cmd->topic);
    if (meta->topic_count >= LIMIT_TOPICS && !internal)
        return LOST(verdict, -ENOSPC, "there are %d topics already", LIMIT_TOPICS);
    if (cmd->partitions < 1 || cmd->partitions > LIMIT_TOPIC_PARTITIONS)
        return err_set(e, -EINVAL, "topic %s: %d partitions", cmd->topic, cmd->partitions);
    if (cmd->replica_count != cmd->partitions * cmd->replication_factor) {
        return err_set(e, -EINVAL, "topic %s: %d replicas for %d partitions", cmd->topic, cmd->replica_count,
                       cmd->partitions);
    }
    return check_chosen(meta, cmd, verdict);
}

/* The topic a command is about; one made again under the same name is another one. */
static int check_same_topic(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    const struct metadata_topic *topic = metadata_topic_find(meta, cmd->topic);
    if (topic == NULL || memcmp(topic->id, cmd->id, UUID_BYTES) != 0)
        return LOST(verdict, -ENOENT, "no topic %s", cmd->topic);
    return 0;
}

/* Each partition of it was empty, and its leader takes nothing in before it leads in a later epoch (REPLICATION.md,
 * rule 58). */
static int check_seals(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    int rc = cmd->seals != NULL ? check_same_topic(meta, cmd, verdict) : 0;
    if (rc != 0 || cmd->seals == NULL)
        return rc;
    const struct metadata_topic *topic = metadata_topic_find(meta, cmd->topic);
    if (cmd->seal_count != topic->partitions)
        return LOST(verdict, -EAGAIN, "topic %s has %d partitions by now", cmd->topic, topic->partitions);
    for (int32_t i = 0; i < topic->partitions; i++) {
        const struct partition_registration *part = &topic->parts[i];
        const struct node_registration *leader = metadata_node(meta, part->leader);
        if (leader == NULL || part->leader_epoch != cmd->seals[i].leader_epoch ||
            leader->epoch != cmd->seals[i].node_epoch)
            return LOST(verdict, -EAGAIN, "partition %s-%d is led anew, and may take records in", cmd->topic, i);
    }
    return 0;
}

static int check_delete_topic(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    if (topic_name_internal(cmd->topic))
        return err_set(verdict->e, -EINVAL, "topic %s is the cluster's own", cmd->topic);
    int rc = check_same_topic(meta, cmd, verdict);
    return rc != 0 ? rc : check_seals(meta, cmd, verdict);
}

static int check_create_partitions(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    int rc = check_same_topic(meta, cmd, verdict);
    if (rc != 0)
        return rc;
    const struct metadata_topic *topic = metadata_topic_find(meta, cmd->topic);
    int32_t factor = topic->replication_factor;
    if (cmd->partitions > LIMIT_TOPIC_PARTITIONS)
        return err_set(verdict->e, -EINVAL, "topic %s: more than %d partitions", cmd->topic, LIMIT_TOPIC_PARTITIONS);
    if (cmd->replication_factor != factor)
        return LOST(verdict, -EAGAIN, "topic %s has %d replicas of each partition by now", cmd->topic, factor);
    if (cmd->replica_count % factor != 0)
        return err_set(verdict->e, -EINVAL, "topic %s: replicas do not match its partitions", cmd->topic);
    if (cmd->partitions <= topic->partitions)
        return LOST(verdict, -EEXIST, "topic %s has %d partitions already", cmd->topic, topic->partitions);
    if (cmd->replica_count != (cmd->partitions - topic->partitions) * factor)
        return LOST(verdict, -EINVAL, "topic %s has %d partitions already", cmd->topic, topic->partitions);
    return check_chosen(meta, cmd, verdict);
}

/* Of the pairs that Kafka checks against each other there is one here. */
static int check_lags(const struct config_set *cluster, const struct config_set *topic, const struct command *cmd,
                      struct verdict *verdict)
{
    static const char min_name[] = "min.compaction.lag.ms", max_name[] = "max.compaction.lag.ms";
    bool is_min = strcmp(cmd->name, min_name) == 0;
    if (!is_min && strcmp(cmd->name, max_name) != 0)
        return 0;
    const char *min = is_min ? cmd->value : config_in_force(cluster, topic, min_name);
    const char *max = is_min ? config_in_force(cluster, topic, max_name) : cmd->value;
    if (strtoll(min, NULL, 10) > strtoll(max, NULL, 10))
        return LOST(verdict, -EINVAL, "%s (%s) would be above %s (%s)", min_name, min, max_name, max);
    return 0;
}

static int check_config(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    struct err *e = verdict->e;
    const struct metadata_topic *topic = NULL;
    int rc;
    if (cmd->topic[0] != '\0' && (topic = metadata_topic_find(meta, cmd->topic)) == NULL)
        return LOST(verdict, -ENOENT, "no topic %s", cmd->topic);
    if ((rc = check_seals(meta, cmd, verdict)) != 0)
        return rc;
    const struct config_def *def = config_find(cmd->name);
    if (def == NULL)
        return err_set(e, -EINVAL, "%s: no such setting", cmd->name);
    if (def->scope == CONFIG_CLUSTER && topic != NULL)
        return err_set(e, -EINVAL, "%s: a setting of the cluster, not of a topic", cmd->name);
    if (cmd->type == COMMAND_REMOVE_CONFIG) {
        if (config_set_get(topic != NULL ? &topic->config : &meta->config, cmd->name) == NULL)
            return LOST(verdict, -ENODATA, "%s: not set", cmd->name);
        return 0;
    }
    rc = config_check(cmd->name, cmd->value, e);
    if (rc == 0)
        rc = check_lags(&meta->config, topic != NULL ? &topic->config : NULL, cmd, verdict);
    if (rc == 0 && strcmp(cmd->name, "default.replication.factor") == 0 &&
        strtoull(cmd->value, NULL, 10) > meta->node_count) {
        rc = LOST(verdict, -EINVAL, "%s: %s is more than the number of nodes, %zu", cmd->name, cmd->value,
                  meta->node_count);
    }
    return rc;
}

/* Would the settings of this topic (NULL: the cluster's) contradict themselves? */
static int check_keys_of(const struct metadata_topic *topic, const struct config_set *before,
                         const struct config_set *after, struct err *e)
{
    const struct config_set *own = topic != NULL ? &topic->config : NULL;
    int rc = config_check_keys(after, own, e);
    if (rc == 0 || config_check_keys(before, own, NULL) != 0) /* not by this command */
        return 0;
    return topic != NULL ? err_wrap(e, rc, "topic %s", topic->name) : rc;
}

/* A compacted topic has to know where a key ends, whichever of the settings this command changes. */
static int check_keys(const struct metadata *meta, const struct command *cmd, struct err *e)
{
    if (strcmp(cmd->name, "cleanup.policy") != 0 && strcmp(cmd->name, "key.separator") != 0 &&
        strcmp(cmd->name, "framing") != 0)
        return 0;
    const struct metadata_topic *topic = cmd->topic[0] != '\0' ? metadata_topic_find(meta, cmd->topic) : NULL;
    struct config_set after;
    int rc = config_set_copy(&after, topic != NULL ? &topic->config : &meta->config);
    if (rc == 0)
        rc = metadata_change_set(&after, topic != NULL ? &meta->config : NULL, cmd);
    if (rc != 0) {
        err_sys(e, rc, "%s", cmd->name);
    } else if (topic != NULL) {
        rc = config_check_keys(&meta->config, &after, e);
    } else {
        rc = check_keys_of(NULL, &meta->config, &after, e);
        for (size_t i = 0; rc == 0 && i < meta->topic_count; i++)
            rc = check_keys_of(meta->topics[i], &meta->config, &after, e);
    }
    config_set_free(&after);
    return rc;
}

/* ---- nodes and partitions ---- */

static int check_change_node(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    const struct node_registration *node = metadata_node(meta, cmd->registration.id);
    if (node == NULL || node->epoch != cmd->registration.epoch)
        return LOST(verdict, -ESTALE, "node %d has registered anew", cmd->registration.id);
    return 0;
}

static int check_has_replica(const struct metadata *meta, int32_t id, struct verdict *verdict)
{
    for (size_t t = 0; t < meta->topic_count; t++) {
        const struct metadata_topic *topic = meta->topics[t];
        for (int32_t p = 0; p < topic->partitions; p++) {
            if (replica_set_has(&topic->parts[p].replicas, id) || replica_set_has(&topic->parts[p].target, id))
                return LOST(verdict, -EBUSY, "node %d has a replica of %s-%d, or is to have one", id, topic->name, p);
        }
    }
    return 0;
}

/* KIP-631's UnregisterBrokerRecord, of a node that nothing stands on any more. Nothing that is decided may name one
 * that is not there: so neither may a setting want more nodes than stay. */
static int check_unregister(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    const char *factor = config_set_get(&meta->config, "default.replication.factor");
    int32_t id = cmd->registration.id;
    const struct node_registration *node = metadata_node(meta, id);
    if (node == NULL)
        return LOST(verdict, -ENOENT, "there is no node %d", id);
    if (node->epoch != cmd->registration.epoch)
        return LOST(verdict, -EAGAIN, "node %d has registered anew", id);
    if (!node->fenced)
        return LOST(verdict, -EBUSY, "node %d lives: it is to be stopped, and fenced, first", id);
    if (raft_voters_node(&meta->voters.voters, id) != NULL || raft_voters_node(&meta->voters.target, id) != NULL)
        return LOST(verdict, -EBUSY, "node %d is a voter", id);
    if (factor != NULL && strtoull(factor, NULL, 10) >= meta->node_count)
        return LOST(verdict, -EBUSY, "default.replication.factor is %s, and the number of nodes %zu", factor,
                    meta->node_count);
    return check_has_replica(meta, id, verdict);
}

/* Sets that belong together, whoever chose them. */
static int check_registration(const struct partition_registration *to, struct err *e)
{
    const struct replica_set *all = &to->replicas;
    if (all->count == 0 || !replica_set_within(&to->isr, all) || !replica_set_within(&to->elr, all) ||
        !replica_set_within(&to->last_isr, all) || !replica_set_within(&to->target, all))
        return err_set(e, -EINVAL, "members that are no replicas");
    if (to->leader != LEADER_NONE && !replica_set_has(&to->isr, to->leader))
        return err_set(e, -EINVAL, "leader %d is not in sync", to->leader);
    for (int32_t i = 0; i < to->isr.count; i++) {
        if (replica_set_has(&to->elr, to->isr.ids[i]))
            return err_set(e, -EINVAL, "node %d is in sync and eligible", to->isr.ids[i]);
    }
    return 0;
}

/* Who comes into the ISR has to be what its leader took it for, and alive (KIP-841, KIP-903). */
static int check_joining(const struct metadata *meta, const struct partition_registration *from,
                         const struct partition_change *change, struct verdict *verdict)
{
    for (int32_t i = 0; i < change->to.isr.count; i++) {
        int32_t id = change->to.isr.ids[i];
        const struct node_registration *node = metadata_node(meta, id);
        if (replica_set_has(&from->isr, id))
            continue;
        if (node == NULL || node->fenced || node->shutting_down)
            return LOST(verdict, -EAGAIN, "node %d is fenced or shutting down", id);
        if (change->isr_epochs[i] != -1 && change->isr_epochs[i] != node->epoch && !BUG(stale_epoch_joins))
            return LOST(verdict, -EAGAIN, "node %d has registered anew", id);
    }
    return 0;
}

/* By whom: 0, the controller; or a partition's leader, which changes its ISR and nothing else. */
static int check_proposer(const struct partition_registration *from, const struct partition_change *change,
                          int32_t proposer, struct verdict *verdict)
{
    const struct partition_registration *to = &change->to;
    /* A leader that is told -ESTALE has heard of another registration, or will. */
    if (to->partition_epoch != from->partition_epoch + 1 && !BUG(isr_not_compared)) {
        return LOST(verdict, proposer == 0 ? -EAGAIN : -ESTALE, "partition epoch %d, not %d", from->partition_epoch,
                    to->partition_epoch - 1);
    }
    if (to->leader_epoch < from->leader_epoch || (to->leader != from->leader && to->leader_epoch == from->leader_epoch))
        return err_set(verdict->e, -EINVAL, "leader epoch %d after %d", to->leader_epoch, from->leader_epoch);
    if (proposer == 0)
        return 0;
    if (from->leader != proposer)
        return LOST(verdict, -ESTALE, "node %d leads, not %d", from->leader, proposer);
    if (to->leader != from->leader || to->leader_epoch != from->leader_epoch ||
        !replica_set_equal(&to->replicas, &from->replicas) || !replica_set_equal(&to->target, &from->target))
        return err_set(verdict->e, -EINVAL, "a leader changes its ISR and nothing else");
    return 0;
}

static int check_changes(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    for (int32_t i = 0; i < cmd->change_count; i++) {
        const struct partition_change *change = &cmd->changes[i];
        const struct metadata_topic *topic = metadata_topic_by_id(meta, change->topic_id);
        if (topic == NULL || change->index >= topic->partitions)
            return LOST(verdict, -ENOENT, "no such partition");
        const struct partition_registration *from = &topic->parts[change->index];
        int rc = check_registration(&change->to, verdict->e);
        if (rc == 0 && cmd->type == COMMAND_CHANGE_PARTITIONS)
            rc = check_proposer(from, change, cmd->node, verdict);
        if (rc == 0 && cmd->type == COMMAND_CHANGE_PARTITIONS)
            rc = check_joining(meta, from, change, verdict);
        if (rc != 0)
            return err_wrap(verdict->e, rc, "partition %s-%d", topic->name, change->index);
    }
    return 0;
}

/* The replicas that a partition shall have. */
static int check_target(const struct metadata *meta, const int32_t *ids, int32_t count, struct replica_set *target,
                        struct verdict *verdict)
{
    *target = (struct replica_set){0};
    for (int32_t i = 0; i < count; i++) {
        if (replica_set_has(target, ids[i]))
            return err_set(verdict->e, -EINVAL, "node %d twice among the replicas", ids[i]);
        if (metadata_node(meta, ids[i]) == NULL) /* any more, perhaps */
            return LOST(verdict, -EINVAL, "there is no node %d", ids[i]);
        replica_set_add(target, ids[i]);
    }
    return 0;
}

static int check_assign(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    int rc = check_same_topic(meta, cmd, verdict);
    if (rc != 0)
        return rc;
    const struct metadata_topic *topic = metadata_topic_find(meta, cmd->topic);
    int32_t factor = cmd->replication_factor, first = cmd->partition < 0 ? 0 : cmd->partition;
    if (factor < 1 || factor > LIMIT_REPLICAS || cmd->replica_count % factor != 0)
        return err_set(verdict->e, -EINVAL, "topic %s: replicas do not match its partitions", cmd->topic);
    if (cmd->partition >= topic->partitions)
        return LOST(verdict, -ENOENT, "topic %s has no partition %d", cmd->topic, cmd->partition);
    if (cmd->replica_count != factor * (cmd->partition < 0 ? topic->partitions : 1))
        return LOST(verdict, -EAGAIN, "topic %s has %d partitions by now", cmd->topic, topic->partitions);
    for (int32_t i = 0; i < cmd->replica_count / factor; i++) {
        struct replica_set target;
        struct partition_registration to;
        rc = check_target(meta, cmd->replicas + (size_t)i * (size_t)factor, factor, &target, verdict);
        if (rc != 0)
            return err_wrap(verdict->e, rc, "partition %s-%d", cmd->topic, first + i);
        if (!election_move(&topic->parts[first + i], &target, &to)) {
            return LOST(verdict, -EAGAIN, "partition %s-%d: too many replicas at once, it moves already", cmd->topic,
                        first + i);
        }
    }
    return 0;
}

static int fits(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    switch (cmd->type) {
    case COMMAND_REGISTER_NODE:
        if (metadata_node(meta, cmd->registration.id) == NULL && meta->node_count >= LIMIT_NODES)
            return LOST(verdict, -ENOSPC, "there are %d nodes already", LIMIT_NODES);
        return 0;
    case COMMAND_CREATE_TOPIC:
        return check_create_topic(meta, cmd, verdict);
    case COMMAND_DELETE_TOPIC:
        return check_delete_topic(meta, cmd, verdict);
    case COMMAND_CREATE_PARTITIONS:
        return check_create_partitions(meta, cmd, verdict);
    case COMMAND_ASSIGN_REPLICAS:
        return check_assign(meta, cmd, verdict);
    case COMMAND_SET_ATTR:
        if (cmd->topic[0] != '\0' && metadata_topic_find(meta, cmd->topic) == NULL)
            return LOST(verdict, -ENOENT, "no topic %s", cmd->topic);
        return 0;
    case COMMAND_SET_CONFIG:
    case COMMAND_REMOVE_CONFIG:
        return check_config(meta, cmd, verdict);
    case COMMAND_CHANGE_NODE:
        return check_change_node(meta, cmd, verdict);
    case COMMAND_UNREGISTER_NODE:
        return check_unregister(meta, cmd, verdict);
    case COMMAND_CHANGE_PARTITIONS:
    case COMMAND_SET_PARTITIONS:
        return check_changes(meta, cmd, verdict);
    case COMMAND_PRODUCER_IDS:
    case COMMAND_SET_VOTERS:
    case COMMAND_BEGIN_EPOCH:
        return 0;
    case COMMAND_CREATE_GROUP:
    case COMMAND_DELETE_GROUP:
    case COMMAND_SET_GROUP_ATTR:
    case COMMAND_SET_GROUP_CONFIG:
    case COMMAND_REMOVE_GROUP_CONFIG:
        return metadata_group_fits(meta, cmd, verdict);
    case COMMAND_TYPES:
        break;
    }
    return err_set(verdict->e, -EINVAL, "no such command");
}

static int permits(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    int rc = metadata_permit(meta, cmd, verdict->e);
    verdict->race = verdict->race || rc != 0;
    return rc;
}

/* What every replay of the command asks, too. As in Linux what is there is EEXIST to whoever would make it, and all
 * else is not said before it is clear that the caller may ask. */
int metadata_fits(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    bool makes = cmd->type == COMMAND_CREATE_TOPIC || cmd->type == COMMAND_CREATE_PARTITIONS ||
                 cmd->type == COMMAND_CREATE_GROUP;
    int rc = (makes ? fits : permits)(meta, cmd, verdict);
    return rc != 0 ? rc : (makes ? permits : fits)(meta, cmd, verdict);
}

/* What goes by the name once it is decided is meant for the one that had it where it was asked for. */
static int check_meant(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    if (!command_goes_by_name(cmd) || !command_names_one(cmd))
        return 0;
    return (cmd->group[0] != '\0' ? metadata_check_same_group : check_same_topic)(meta, cmd, verdict);
}

int metadata_check_level(const struct metadata *meta, int32_t level, struct err *e)
{
    for (size_t i = 0; i < meta->node_count; i++) {
        if (meta->nodes[i].feature_level < level && !meta->nodes[i].fenced) {
            return err_set(e, -ETIMEDOUT, "node %d is of an older build, which does not know this: upgrade it first",
                           meta->nodes[i].id);
        }
    }
    return 0;
}

int metadata_check(const struct metadata *meta, const struct command *cmd, struct err *e)
{
    struct verdict verdict = {.e = e};
    int rc = check_meant(meta, cmd, &verdict);
    if (rc == 0)
        rc = metadata_fits(meta, cmd, &verdict);
    if (rc == 0 && (cmd->type == COMMAND_SET_CONFIG || cmd->type == COMMAND_REMOVE_CONFIG))
        rc = check_keys(meta, cmd, e);
    if (rc == 0 && cmd->seals != NULL)
        rc = metadata_check_level(meta, FEATURE_LEVEL_SEALS, e);
    if (rc == 0 && cmd->type == COMMAND_UNREGISTER_NODE)
        rc = metadata_check_level(meta, FEATURE_LEVEL_UNREGISTER, e);
    return rc;
}
