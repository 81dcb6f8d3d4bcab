#include "replication/metadata/last_isr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void last_isr_restart(struct last_isr *asked)
{
    asked->count = 0;
    asked->lost = false;
    asked->next_topic = 0;
    asked->next_part = 0;
}

/* Who is asked for a partition without a leader; false: nobody, or not yet. *unclean: anyone who lives will do. */
static bool can_be_asked(const struct metadata *meta, const struct metadata_topic *topic, int32_t index,
                         const struct election_nodes *nodes, struct replica_set *asked, bool *unclean)
{
    const struct partition_registration *part = &topic->parts[index];
    struct election_rules rules;
    if (part->leader != LEADER_NONE)
        return false;
    metadata_election_rules(meta, topic, index, &rules);
    *unclean = election_needs_unclean(part, nodes, &rules, asked);
    if (*unclean)
        return true;
    *asked = part->last_isr;
    bool all = election_needs_last_isr(part);
    for (int32_t i = 0; i < asked->count && all; i++)
        all = nodes->stays(nodes->arg, asked->ids[i]);
    return all;
}

static void add(struct last_isr *asked, const struct metadata_topic *topic, int32_t index,
                const struct replica_set *waits, bool unclean)
{
    struct last_isr_partition *part = &asked->parts[asked->count++];
    *part = (struct last_isr_partition){
        .index = index, .partition_epoch = topic->parts[index].partition_epoch, .unclean = unclean, .waits = *waits};
    memcpy(part->topic_id, topic->id, UUID_BYTES);
}

bool last_isr_begin(struct last_isr *asked, const struct metadata *meta)
{
    struct election_nodes nodes = metadata_election_nodes(meta);
    asked->count = 0;
    asked->round++;
    for (; asked->next_topic < meta->topic_count; asked->next_topic++, asked->next_part = 0) {
        const struct metadata_topic *topic = meta->topics[asked->next_topic];
        for (; asked->next_part < topic->partitions; asked->next_part++) {
            if (asked->count == LAST_ISR_PARTITIONS)
                return true;
            struct replica_set waits;
            bool unclean;
            if (can_be_asked(meta, topic, asked->next_part, &nodes, &waits, &unclean))
                add(asked, topic, asked->next_part, &waits, unclean);
        }
    }
    asked->next_topic = 0;
    return false;
}

int32_t last_isr_asks(const struct last_isr *asked, int32_t node, struct last_isr_found *out)
{
    int32_t count = 0;
    for (int32_t i = 0; i < asked->count; i++) {
        if (!replica_set_has(&asked->parts[i].waits, node))
            continue;
        out[count] = (struct last_isr_found){.index = asked->parts[i].index, .epoch = -1, .end_offset = -1};
        memcpy(out[count++].topic_id, asked->parts[i].topic_id, UUID_BYTES);
    }
    return count;
}

static void take(struct last_isr_partition *part, int32_t node, int64_t node_epoch, const struct last_isr_found *found)
{
    bool more = found->epoch > part->best_epoch ||
                (found->epoch == part->best_epoch && found->end_offset > part->best_end_offset);
    replica_set_remove(&part->waits, node);
    if (found->epoch < 0) {
        part->lost = true;
    } else if (part->best == 0 || more) {
        part->best = node;
        part->best_node_epoch = node_epoch;
        part->best_epoch = found->epoch;
        part->best_end_offset = found->end_offset;
    }
}

void last_isr_answer(struct last_isr *asked, uint64_t round, int32_t node, int64_t node_epoch,
                     const struct last_isr_found *found, int32_t count)
{
    if (round != asked->round)
        return;
    for (int32_t i = 0; i < asked->count; i++) {
        struct last_isr_partition *part = &asked->parts[i];
        if (!replica_set_has(&part->waits, node))
            continue;
        for (int32_t j = 0; j < count; j++) {
            if (found[j].index == part->index && memcmp(found[j].topic_id, part->topic_id, UUID_BYTES) == 0) {
                take(part, node, node_epoch, &found[j]);
                break;
            }
        }
    }
}

bool last_isr_complete(const struct last_isr *asked)
{
    for (int32_t i = 0; i < asked->count; i++) {
        if (asked->parts[i].waits.count > 0)
            return false;
    }
    return true;
}

bool last_isr_late(struct last_isr *asked)
{
    int32_t count = 0;
    for (int32_t i = 0; i < asked->count; i++) {
        if (!asked->parts[i].unclean || asked->parts[i].best == 0)
            continue;
        asked->parts[count] = asked->parts[i];
        asked->parts[count++].waits.count = 0;
    }
    asked->count = count;
    asked->next_topic = 0;
    asked->next_part = 0;
    return count > 0;
}

/* The partition as it is now gets its leader, in an epoch above all that a log of the last ISR has: one of a version
 * whose logs had epochs of their own may be ahead of the registration. */
static void appoint(struct command *out, const struct last_isr_partition *part,
                    const struct partition_registration *now)
{
    struct partition_change *change = &out->changes[out->change_count++];
    *change = (struct partition_change){.index = part->index};
    memcpy(change->topic_id, part->topic_id, UUID_BYTES);
    election_appoint(now, part->best, &change->to);
    if (part->unclean)
        change->to.last_isr.count = 0; /* what that loses was agreed to */
    change->to.partition_epoch = now->partition_epoch + 1;
    change->to.leader_epoch = (part->best_epoch > now->leader_epoch ? part->best_epoch : now->leader_epoch) + 1;
    for (int32_t i = 0; i < LIMIT_REPLICA_SET; i++)
        change->isr_epochs[i] = -1;
    change->isr_epochs[0] = part->best_node_epoch;
}

/* The question is what it was, and the one that has most is known. */
static bool is_answered(const struct metadata *meta, const struct metadata_topic *topic,
                        const struct last_isr_partition *part)
{
    struct election_nodes nodes = metadata_election_nodes(meta);
    struct replica_set asked;
    bool unclean;
    return part->best != 0 && (part->unclean || !part->lost) &&
           topic->parts[part->index].partition_epoch == part->partition_epoch &&
           can_be_asked(meta, topic, part->index, &nodes, &asked, &unclean) && unclean == part->unclean;
}

int last_isr_end(struct last_isr *asked, const struct metadata *meta, struct command *out)
{
    *out = (struct command){.type = COMMAND_CHANGE_PARTITIONS};
    out->changes = calloc(LAST_ISR_PARTITIONS, sizeof *out->changes);
    if (out->changes == NULL)
        return -ENOMEM;
    for (int32_t i = 0; i < asked->count; i++) {
        const struct last_isr_partition *part = &asked->parts[i];
        const struct metadata_topic *topic = metadata_topic_by_id(meta, part->topic_id);
        asked->lost |= part->lost;
        if (topic != NULL && is_answered(meta, topic, part))
            appoint(out, part, &topic->parts[part->index]);
    }
    asked->count = 0;
    if (out->change_count > 0)
        return 1;
    command_free(out);
    return 0;
}
