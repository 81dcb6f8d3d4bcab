/* replication/node/node_metrics.c: figures of the node, read where they are counted, while they are. */
#include "replication/node/node.h"

#include <errno.h>
#include <stdatomic.h>

#include "replication/node/node_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/replica/topic_internal.h"

static void count_one(struct partition *part, void *arg)
{
    struct node_metrics *metrics = arg;
    pthread_mutex_lock(&part->lock);
    metrics->batches_appended += part->appended.batches;
    metrics->records_appended += part->appended.records;
    metrics->bytes_appended += part->appended.bytes;
    pthread_mutex_unlock(&part->lock);
    if (part->log != NULL)
        metrics->flushes += log_flushes(part->log);
    if (part->topic->own)
        return;
    metrics->partitions++;
    metrics->partitions_offline += partition_usable(part, NULL) == -EIO;
}

static void count_cluster(const struct metadata *meta, struct node_metrics *metrics)
{
    metrics->nodes = meta->node_count;
    for (size_t i = 0; i < meta->node_count; i++)
        metrics->nodes_fenced += meta->nodes[i].fenced;
    for (size_t i = 0; i < meta->topic_count; i++) {
        for (int32_t p = 0; p < meta->topics[i]->partitions; p++) {
            const struct partition_registration *part = &meta->topics[i]->parts[p];
            metrics->partitions_without_leader += part->leader == LEADER_NONE;
            metrics->partitions_under_replicated += part->isr.count < part->replicas.count;
        }
    }
}

void node_metrics(struct node *node, struct node_metrics *out)
{
    *out = (struct node_metrics){.batches_appended = atomic_load(&node->replicas.batches_gone),
                                 .records_appended = atomic_load(&node->replicas.records_gone),
                                 .bytes_appended = atomic_load(&node->replicas.bytes_gone),
                                 .flushes = atomic_load(&node->replicas.flushes_gone),
                                 .segments_deleted = atomic_load(&node->replicas.segments_deleted),
                                 .segments_compacted = atomic_load(&node->replicas.segments_compacted),
                                 .topics = catalog_count(&node->replicas.catalog),
                                 .appends_parked = atomic_load(&node->replicas.appends_parked)};
    manager_each_partition(&node->replicas, count_one, out);
    out->leader_changes = atomic_load(&node->leader_changes);
    out->isr_shrinks = atomic_load(&node->isr_shrinks);
    out->isr_expands = atomic_load(&node->isr_expands);
    quorum_elections(&node->quorum, &out->quorum_epoch, &out->elections);
    out->node_epoch = atomic_load(&node->membership.node_epoch);
    count_cluster(quorum_acquire(&node->quorum), out);
    quorum_release(&node->quorum);
    for (int i = 0; i < 3; i++)
        latency_read(&node->replicas.append_times[i], &out->appends[i]);
    histogram_read(&node->replicas.forward_times, &out->forwards);
    latency_read(&node->replicas.flush_times, &out->fsyncs);
    latency_read(&node->quorum.op_times, &out->commands);
    histogram_read(&node->replicas.env.flush_times, &out->log_flushes);
}

int node_acks(struct node *node, struct node_acks out[LIMIT_NODES])
{
    int count = 0;
    for (int i = 0; i < LIMIT_NODES_MET && count < LIMIT_NODES; i++) {
        const struct replica_peer *peer = atomic_load(&node->replicas.peers[i]);
        if (peer == NULL)
            break;
        out[count].replica = peer->id;
        histogram_read(&peer->serving.ack_times, &out[count].times);
        count += out[count].times.count > 0;
    }
    return count;
}
