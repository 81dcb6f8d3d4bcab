/* replication/node/group_room.c: the functions that the room for consumer groups is handed. */
#include "replication/node/group_room.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replication/group/groups.h"
#include "replication/node/node_internal.h"

static int64_t offsets_retention_ms(struct node *node)
{
    enum { MINUTE_MS = 60 * 1000 };
    char value[CONFIG_VALUE_BYTES];

    (void)metadata_get_config(quorum_acquire(&node->quorum), NULL, "offsets.retention.minutes", value);
    quorum_release(&node->quorum);
    return config_number(value) * MINUTE_MS;
}

/* There may have been no memory for what the node keeps of it: it is there all the same. */
static int is_group(struct node *node, const char *name)
{
    bool is = metadata_group(quorum_acquire(&node->quorum), name) != NULL;

    quorum_release(&node->quorum);
    return is ? -ENOMEM : -ENOENT;
}

static int fact_group(void *arg, const char *name, struct group_rules *out)
{
    static const enum assignor assignors[] = {[GROUP_STRATEGY_RANGE] = ASSIGNOR_RANGE,
                                              [GROUP_STRATEGY_ROUNDROBIN] = ASSIGNOR_ROUNDROBIN,
                                              [GROUP_STRATEGY_STICKY] = ASSIGNOR_STICKY};
    struct node *node = arg;
    struct node_group *group = group_table_find(&node->groups, name);
    struct group_config config;

    if (group == NULL)
        return is_group(node, name);
    node_group_config(group, &config);
    *out = (struct group_rules){.assignor = assignors[config.strategy],
                                .session_timeout_ms = config.session_timeout_ms,
                                .rebalance_timeout_ms = config.rebalance_timeout_ms,
                                .offsets_retention_ms = offsets_retention_ms(node),
                                .from_latest = config.reset_to_latest,
                                .max_poll_interval_ms = config.max_poll_interval_ms};
    memcpy(out->id, node_group_id(group), UUID_BYTES);
    node_group_unref(group);
    return 0;
}

static int fact_topic(void *arg, const uint8_t id[UUID_BYTES], char name[GROUP_NAME_BYTES], int32_t *partitions)
{
    struct node *node = arg;
    const struct metadata_topic *topic = metadata_topic_by_id(quorum_acquire(&node->quorum), id);

    if (topic != NULL) {
        memcpy(name, topic->name, GROUP_NAME_BYTES);
        *partitions = topic->partitions;
    }
    quorum_release(&node->quorum);
    return topic != NULL ? 0 : -ENOENT;
}

/* A coordinator knows of every node that the one before it knew of: what made it the leader was decided after that. */
static bool fact_lives(void *arg, int32_t id, uint64_t process)
{
    struct node *node = arg;
    const struct node_registration *known = metadata_node(quorum_acquire(&node->quorum), id);
    bool lives = known != NULL && (known->process == 0 || (known->process == process && !known->fenced));

    quorum_release(&node->quorum);
    return lives;
}

static int send_frame(void *arg, int32_t to, enum message_kind kind, const void *header, size_t header_bytes,
                      const void *body, size_t body_bytes)
{
    struct iovec iov = {(void *)(uintptr_t)body, body_bytes};

    return forwarding_send(&((struct node *)arg)->replicas, to, CHANNEL_CONTROL, kind, header, header_bytes, &iov, 1);
}

static bool has_lease(void *arg)
{
    struct node *node = arg;

    return membership_has_lease(&node->membership);
}

static bool answers_beats(void *arg, int32_t id)
{
    struct node *node = arg;
    const struct node_registration *known = metadata_node(quorum_acquire(&node->quorum), id);
    bool answers = known != NULL && known->feature_level >= FEATURE_LEVEL_BEATS;

    quorum_release(&node->quorum);
    return answers;
}

static int topic_named(void *arg, const char *name, uint8_t id[UUID_BYTES])
{
    struct topic *topic = node_topic(arg, name);

    if (topic == NULL)
        return -ENOENT;
    memcpy(id, topic->id, UUID_BYTES);
    topic_unref(topic);
    return 0;
}

/* The topic's reference becomes the partition's. */
static struct partition *partition_of(struct topic *topic, int32_t index)
{
    struct partition *part = topic != NULL ? topic_partition(topic, index) : NULL;

    if (part == NULL && topic != NULL)
        topic_unref(topic);
    return part;
}

static struct partition *partition_by_id(void *arg, const uint8_t topic_id[UUID_BYTES], int32_t index)
{
    struct node *node = arg;
    char name[GROUP_NAME_BYTES];
    int32_t partitions;

    if (fact_topic(node, topic_id, name, &partitions) != 0)
        return NULL;
    struct topic *topic = catalog_find(&node->replicas.catalog, name);
    if (topic != NULL && memcmp(topic->id, topic_id, UUID_BYTES) != 0) {
        topic_unref(topic);
        return NULL;
    }
    return partition_of(topic, index);
}

static struct partition *offsets(void *arg, int32_t index)
{
    struct node *node = arg;

    return partition_of(catalog_find(&node->replicas.catalog, METADATA_OFFSETS_TOPIC), index);
}

int group_room_open(struct node *node, struct err *e)
{
    struct group_env env = {
        .executor = node->executor,
        .clock = node->clock,
        .network = &node->network,
        .node = node->options.id,
        .process = node->process,
        .facts = {.group = fact_group, .topic = fact_topic, .lives = fact_lives, .arg = node},
        .send = send_frame,
        .has_lease = has_lease,
        .answers_beats = answers_beats,
        .topic_named = topic_named,
        .partition = partition_by_id,
        .offsets = offsets,
    };

    node->group_room = groups_new(&env);
    return node->group_room != NULL ? 0 : err_sys(e, -ENOMEM, "open %s", node->options.data_dir);
}

struct groups *node_group_room(struct node *node)
{
    return node->group_room;
}
