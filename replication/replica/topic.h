/* replication/replica/topic.h: a topic, and what is told of topics and partitions upwards. Which there are node.h says.
 *
 * Any thread, unless said otherwise. A topic lives as long as somebody has a reference, its partitions with it. */
#ifndef LOGMNT_REPLICATION_REPLICA_TOPIC_H
#define LOGMNT_REPLICATION_REPLICA_TOPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "replication/metadata/config.h"
#include "replication/metadata/tree_attr.h"
#include "replication/replica/partition.h"

struct node_group;
struct topic;

struct topic *topic_ref(struct topic *topic);
void topic_unref(struct topic *topic);

const char *topic_name(const struct topic *topic);
const char *topic_id(const struct topic *topic);      /* 22 characters */
const uint8_t *topic_uuid(const struct topic *topic); /* the same as UUID_BYTES */
uint64_t topic_number(const struct topic *topic);     /* a number of 40 bits made from the id: for st_ino */
bool topic_deleted(const struct topic *topic);
bool topic_internal(const struct topic *topic); /* one of .internal/: read only */
int32_t topic_partition_count(const struct topic *topic);
struct partition *topic_partition(struct topic *topic, int32_t index); /* NULL: none; referenced by the topic */
int topic_replication_factor(const struct topic *topic);

void topic_attr(struct topic *topic, struct tree_attr *out);

/* The settings in force. generation changes with each change, so that a caller can keep a copy. */
uint64_t topic_config_generation(const struct topic *topic); /* one atomic load */
void topic_config(struct topic *topic, struct topic_config *out);

/* No records retained in any partition that this node leads; of others their leaders know. */
bool topic_empty(struct topic *topic);

/* Records that are cut by this framing are on their way to the topic: until topic_end_flight() no change of it is begun
 * (-EBUSY). false: it was changed already, and the config generation with it. */
bool topic_begin_flight(struct topic *topic, enum framing framing);
void topic_end_flight(struct topic *topic);

/* ---- the feed upwards ---- */

/* Of its partitions the layer above is to be told (partition_changed()) as of those that are here also where the
 * replica is on another node, which has to be asked for that; and no more. Counted. Neither waits. */
void topic_hear(struct topic *topic);
void topic_hear_no_more(struct topic *topic);

/* What commands do to topics, whoever proposed them: called as each is applied on this node, before its origin is
 * answered, in order, with no lock held that others wait for; and what becomes of partitions. Not to wait for anything:
 * decisions and appends wait for it. */
struct node_feed {
    /* Made, or its attributes, settings or partitions are others. */
    void (*topic_changed)(struct node_feed *feed, struct topic *topic);
    /* Deleted: its name is free, and calls answer -ESTALE. */
    void (*topic_gone)(struct node_feed *feed, struct topic *topic);
    /* The same of consumer groups (node.h). */
    void (*group_changed)(struct node_feed *feed, struct node_group *group);
    void (*group_gone)(struct node_feed *feed, struct node_group *group);
    /* A high watermark moved, or segments came or went, whoever did it (partition.h). By any thread, no lock of the
     * partition's held, as often as partition_news_return() allows; it queues the news and returns. */
    void (*partition_changed)(struct node_feed *feed, struct partition_news *news);
};

#endif
