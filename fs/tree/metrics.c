/* fs/tree/metrics.c: each metric with what is said of it once, and all its lines together. */
#include "fs/tree/metrics.h"

#include <inttypes.h>
#include <stdint.h>

#include "fs/tree/handle.h"
#include "fs/tree/tree.h"
#include "replication/replica/partition_read.h"

static void family(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP logmnt_%s %s\n# TYPE logmnt_%s %s\n", name, help, name, type);
}

/* A family of one. */
static void metric(FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
    family(out, name, type, help);
    fprintf(out, "logmnt_%s %" PRIu64 "\n", name, value);
}

/* ---- how long things take ---- */

/* µs as seconds: all that there are, and no more digits. */
static void seconds(FILE *out, uint64_t us)
{
    fprintf(out, "%" PRIu64 ".%06" PRIu64, us / 1000000, us % 1000000);
}

/* label: of all its lines, `acks="all"`; "": none. */
static void histogram(FILE *out, const char *name, const char *label, const struct histogram_view *times)
{
    const char *comma = label[0] != '\0' ? "," : "", *open = label[0] != '\0' ? "{" : "",
               *close = label[0] != '\0' ? "}" : "";
    uint64_t within = 0;
    for (int i = 0; i < HISTOGRAM_BOUNDS; i++) {
        within += times->counts[i];
        fprintf(out, "logmnt_%s_bucket{%s%sle=\"", name, label, comma);
        seconds(out, (uint64_t)histogram_bound_us(i));
        fprintf(out, "\"} %" PRIu64 "\n", within);
    }
    fprintf(out, "logmnt_%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, label, comma, times->count);
    fprintf(out, "logmnt_%s_sum%s%s%s ", name, open, label, close);
    seconds(out, times->sum_us);
    fprintf(out, "\nlogmnt_%s_count%s%s%s %" PRIu64 "\n", name, open, label, close, times->count);
}

static void write_appends(FILE *out, const struct node_metrics *m)
{
    static const char *const labels[] = {[ACKS_ALL - ACKS_ALL] = "acks=\"all\"",
                                         [ACKS_NONE - ACKS_ALL] = "acks=\"0\"",
                                         [ACKS_LEADER - ACKS_ALL] = "acks=\"1\""};
    family(out, "append_seconds", "histogram",
           "Appends of batches through this mount, from the write to the acknowledgement that acks= asks for.");
    for (int i = 0; i < 3; i++)
        histogram(out, "append_seconds", labels[i], &m->appends[i].times);
    family(out, "append_failures_total", "counter", "Likewise, that came to an error, or to no answer in time.");
    for (int i = 0; i < 3; i++)
        fprintf(out, "logmnt_append_failures_total{%s} %" PRIu64 "\n", labels[i], m->appends[i].failures);
    family(out, "forwarded_append_seconds", "histogram",
           "Those of them that a leader on another node has appended, from the write to its answer.");
    histogram(out, "forwarded_append_seconds", "", &m->forwards);
}

static void write_acks(struct session *session, FILE *out)
{
    struct node_acks acks[LIMIT_NODES];
    int count = node_acks(session->node, acks);
    family(out, "replica_ack_seconds", "histogram",
           "Records that this leader sends to a replica in step, until that acknowledges them: one sending at a time.");
    for (int i = 0; i < count; i++) {
        char label[32];
        snprintf(label, sizeof label, "replica=\"%" PRId32 "\"", acks[i].replica);
        histogram(out, "replica_ack_seconds", label, &acks[i].times);
    }
}

static void write_latencies(struct session *session, const struct node_metrics *m, FILE *out)
{
    write_appends(out, m);
    write_acks(session, out);
    family(out, "fsync_seconds", "histogram",
           "Flushes of a partition for fsync, O_SYNC or sync, until all in sync have it on their disks.");
    histogram(out, "fsync_seconds", "", &m->fsyncs.times);
    metric(out, "fsync_failures_total", "counter", "Likewise, that came to an error.", m->fsyncs.failures);
    family(out, "log_flush_seconds", "histogram", "Rounds of fdatasync of one log on this node's disk.");
    histogram(out, "log_flush_seconds", "", &m->log_flushes);
    family(out, "metadata_command_seconds", "histogram",
           "Commands of this node to the controller, until they are decided and applied here.");
    histogram(out, "metadata_command_seconds", "", &m->commands.times);
    metric(out, "metadata_command_failures_total", "counter", "Likewise, that were refused, or not decided in time.",
           m->commands.failures);
}

/* ---- of each partition ---- */

/* No sample rather than one of what this node does not know. */
static void metric_end_offset(struct partition *part, void *arg)
{
    FILE *out = arg;
    if (!partition_is_known(part))
        return;
    fprintf(out, "logmnt_high_watermark{topic=\"%s\",partition=\"%" PRId32 "\"} %" PRId64 "\n",
            topic_name(partition_topic(part)), partition_index(part), partition_high_watermark(part).offset);
}

static void metric_size(struct partition *part, void *arg)
{
    FILE *out = arg;
    struct log_size size;
    if (!partition_is_known(part))
        return;
    partition_size(part, &size);
    fprintf(out, "logmnt_log_size_bytes{topic=\"%s\",partition=\"%" PRId32 "\"} %" PRId64 "\n",
            topic_name(partition_topic(part)), partition_index(part), size.retained_bytes);
}

static void write_group_metrics(struct session *session, const struct group_lines *lines, FILE *out)
{
    struct group_metrics m;
    group_metrics(node_group_room(session->node), &m);
    metric(out, "groups", "gauge", "Consumer groups of the cluster.", node_group_count(session->node));
    metric(out, "groups_coordinated", "gauge", "Groups that this node is the coordinator of.", m.coordinated);
    metric(out, "group_members", "gauge", "Open streams of this mount that are members of groups.", m.members);
    metric(out, "group_commits_total", "counter", "Offsets committed, by this node as coordinator.", m.commits);
    metric(out, "group_commits_fenced_total", "counter", "Likewise refused: the partition is another's.", m.fenced);
    metric(out, "group_handovers_total", "counter", "Partitions given to a member, by this node as coordinator.",
           m.handovers);
    metric(out, "group_loads_total", "counter", "Partitions of offsets that this node has come to coordinate.",
           m.loads);
    group_lines_metrics(lines, out);
}

static void metric_lag(struct partition *part, void *arg)
{
    FILE *out = arg;
    struct partition_lag lags[LIMIT_REPLICA_SET];
    int count = partition_lags(part, lags);
    for (int i = 0; i < count; i++) {
        fprintf(out,
                "logmnt_replica_lag_records{topic=\"%s\",partition=\"%" PRId32 "\",replica=\"%" PRId32 "\"} %" PRId64
                "\n",
                topic_name(partition_topic(part)), partition_index(part), lags[i].replica, lags[i].records);
    }
}

static void write_node(const struct node_metrics *m, FILE *out)
{
    metric(out, "batches_appended_total", "counter", "Batches appended since the start.", m->batches_appended);
    metric(out, "records_appended_total", "counter", "Records appended since the start.", m->records_appended);
    metric(out, "bytes_appended_total", "counter", "Bytes of records appended since the start.", m->bytes_appended);
    metric(out, "flushes_total", "counter", "Log flushes (fdatasync pairs) since the start.", m->flushes);
    metric(out, "segments_deleted_total", "counter", "Segments deleted by retention.", m->segments_deleted);
    metric(out, "segments_compacted_total", "counter", "Compaction passes that rewrote segments.",
           m->segments_compacted);
    metric(out, "topics", "gauge", "Topics.", m->topics);
    metric(out, "partitions", "gauge", "Partitions.", m->partitions);
    metric(out, "partitions_offline", "gauge", "Partitions whose log is offline.", m->partitions_offline);
    metric(out, "appends_parked", "gauge", "Appends that wait for in-sync replicas.", m->appends_parked);
}

/* Kafka's raft-metrics: current-leader, -1 without one. */
static void write_leader(struct session *session, FILE *out)
{
    int32_t leader = node_controller(session->node);
    family(
        out, "current_leader", "gauge",
        "Node that leads the metadata quorum (the controller), as known here; -1: none is, and what this node says of "
        "the cluster is what it knew last.");
    fprintf(out, "logmnt_current_leader %" PRId32 "\n", leader > 0 ? leader : -1);
    metric(out, "is_controller", "gauge", "1 on the node that is the controller.", leader == node_id(session->node));
}

/* As far as this node has applied what was decided. */
static void write_cluster(const struct node_metrics *m, FILE *out)
{
    metric(out, "partitions_without_leader", "gauge", "Partitions of the cluster that nobody leads.",
           m->partitions_without_leader);
    metric(out, "partitions_under_replicated", "gauge", "Partitions of the cluster with replicas that are not in sync.",
           m->partitions_under_replicated);
    metric(out, "leader_changes_total", "counter", "Elections of partitions' leaders, as applied here.",
           m->leader_changes);
    metric(out, "isr_shrinks_total", "counter", "Changes that took replicas out of an ISR, as applied here.",
           m->isr_shrinks);
    metric(out, "isr_expands_total", "counter", "Changes that took replicas into an ISR, as applied here.",
           m->isr_expands);
    /* Kafka's raft-metrics: current-epoch. It has no count of elections, but election-latency-avg and -max. */
    metric(out, "current_epoch", "gauge", "Epoch of the metadata quorum, as known here.", (uint64_t)m->quorum_epoch);
    metric(out, "elections_total", "counter", "Elections of the metadata quorum's leader that this node stood in.",
           m->elections);
    metric(out, "nodes", "gauge", "Nodes of the cluster.", m->nodes);
    metric(out, "nodes_fenced", "gauge", "Nodes of the cluster that are fenced.", m->nodes_fenced);
}

void metrics_write(struct session *session, const struct group_lines *lines, FILE *out)
{
    struct node_metrics m;
    node_metrics(session->node, &m);
    write_node(&m, out);
    write_cluster(&m, out);
    write_leader(session, out);
    /* The text is made before its own file has a node and is open: counted in, as whoever reads it finds it. */
    metric(out, "file_nodes", "gauge", "Nodes of this mount that the kernel knows; of status files this one only.",
           (uint64_t)tree_count(session->tree) + 1);
    metric(out, "open_files", "gauge", "Open files and directories of this mount, this one too.",
           (uint64_t)handles_count(session->handles) + 1);
    write_latencies(session, &m, out);
    write_group_metrics(session, lines, out);
    family(out, "high_watermark", "gauge", "Offset behind the last committed record.");
    (void)node_each_partition(session->node, metric_end_offset, out);
    family(out, "log_size_bytes", "gauge", "Bytes of records retained.");
    (void)node_each_partition(session->node, metric_size, out);
    family(out, "replica_lag_records", "gauge", "Records that a replica is behind its leader, which this node is.");
    (void)node_each_partition(session->node, metric_lag, out);
}
