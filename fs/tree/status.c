#include "fs/tree/status.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "fs/tree/group_lines.h"
#include "fs/tree/handle.h"
#include "fs/tree/tree.h"
#include "replication/metadata/metadata.h"

static void id_list(FILE *out, const struct replica_set *set)
{
    for (int i = 0; i < set->count; i++)
        fprintf(out, "%s%" PRId32, i ? "," : "", set->ids[i]);
    if (!set->count)
        fputs("-", out);
}

static void write_nodes(struct session *session, const struct group_lines *lines, FILE *out)
{
    static const char *const roles[] = {
        [NODE_VOTER] = "voter", [NODE_OBSERVER] = "observer", [NODE_REPLACED] = "replaced"};
    struct node_member *members;
    size_t count;
    int32_t controller = node_controller(session->node);
    (void)lines;
    fputs("id address role state controller epoch\n", out);
    if (node_members(session->node, &members, &count) != 0)
        return;
    for (size_t i = 0; i < count; i++) {
        const struct node_member *member = &members[i];
        fprintf(out, "%" PRId32 " ", member->id);
        if (member->port)
            fprintf(out, "%s:%" PRId32, member->host, member->port);
        else
            fputs("-", out);
        fprintf(out, " %s %s %s %" PRId64 "\n", roles[member->role],
                member->fenced     ? "fenced"
                : member->stopping ? "stopping"
                                   : "up",
                member->id == controller ? "yes" : "no", member->epoch);
    }
    free(members);
}

static void for_partitions_of(FILE *out, struct topic *topic,
                              void (*each)(FILE *out, struct topic *topic, struct partition *part))
{
    for (int32_t p = 0; p < topic_partition_count(topic); p++)
        each(out, topic, topic_partition(topic, p));
}

/* Calls each() for every partition of every topic that is replicated as topics are: groups' offsets, too. */
static int for_partitions(struct session *session, FILE *out,
                          void (*each)(FILE *out, struct topic *topic, struct partition *part))
{
    struct topic **topics;
    size_t count;
    int rc = node_topics(session->node, &topics, &count);
    struct topic *offsets = node_internal_topic(session->node, METADATA_OFFSETS_TOPIC);
    if (offsets != NULL) {
        for_partitions_of(out, offsets, each);
        topic_unref(offsets);
    }
    for (size_t i = 0; rc == 0 && i < count; i++) {
        for_partitions_of(out, topics[i], each);
        topic_unref(topics[i]);
    }
    if (rc == 0)
        free(topics);
    return rc;
}

static void write_partition(FILE *out, struct topic *topic, struct partition *part)
{
    struct partition_info info;
    struct log_size size;
    partition_info(part, &info);
    partition_size(part, &size);
    fprintf(out, "%s %" PRId32 " ", topic_name(topic), partition_index(part));
    if (info.leader < 0)
        fputs("none", out);
    else
        fprintf(out, "%" PRId32, info.leader);
    fprintf(out, " %" PRId32 " ", info.leader_epoch);
    id_list(out, &info.replicas);
    fputc(' ', out);
    id_list(out, &info.isr);
    const char *state = info.leader < 0 ? "offline" : info.isr.count < info.replicas.count ? "under-replicated" : "ok";
    fprintf(out, " %" PRId64 " %" PRId64 " %" PRId64 " %s\n", partition_log_start(part).offset,
            partition_high_watermark(part).offset, size.retained_bytes, state);
}

static void write_partitions(struct session *session, const struct group_lines *lines, FILE *out)
{
    (void)lines;
    fputs("topic partition leader leader_epoch replicas isr start_offset high_watermark bytes state\n", out);
    for_partitions(session, out, write_partition);
}

static void metric(FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
    fprintf(out, "# HELP logmnt_%s %s\n# TYPE logmnt_%s %s\nlogmnt_%s %" PRIu64 "\n", name, help, name, type, name,
            value);
}

static void metric_end_offset(FILE *out, struct topic *topic, struct partition *part)
{
    fprintf(out, "logmnt_high_watermark{topic=\"%s\",partition=\"%" PRId32 "\"} %" PRId64 "\n", topic_name(topic),
            partition_index(part), partition_high_watermark(part).offset);
}

static void metric_size(FILE *out, struct topic *topic, struct partition *part)
{
    struct log_size size;
    partition_size(part, &size);
    fprintf(out, "logmnt_log_size_bytes{topic=\"%s\",partition=\"%" PRId32 "\"} %" PRId64 "\n", topic_name(topic),
            partition_index(part), size.retained_bytes);
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

static void metric_lag(FILE *out, struct topic *topic, struct partition *part)
{
    struct partition_lag lags[LIMIT_REPLICA_SET];
    int count = partition_lags(part, lags);
    for (int i = 0; i < count; i++)
        fprintf(out,
                "logmnt_replica_lag_records{topic=\"%s\",partition=\"%" PRId32 "\",replica=\"%" PRId32 "\"} %" PRId64
                "\n",
                topic_name(topic), partition_index(part), lags[i].replica, lags[i].records);
}

static void write_metrics(struct session *session, const struct group_lines *lines, FILE *out)
{
    struct node_metrics m;
    node_metrics(session->node, &m);
    metric(out, "batches_appended_total", "counter", "Batches appended since the start.", m.batches_appended);
    metric(out, "records_appended_total", "counter", "Records appended since the start.", m.records_appended);
    metric(out, "bytes_appended_total", "counter", "Bytes of records appended since the start.", m.bytes_appended);
    metric(out, "flushes_total", "counter", "Log flushes (fdatasync pairs) since the start.", m.flushes);
    metric(out, "segments_deleted_total", "counter", "Segments deleted by retention.", m.segments_deleted);
    metric(out, "segments_compacted_total", "counter", "Compaction passes that rewrote segments.",
           m.segments_compacted);
    metric(out, "topics", "gauge", "Topics.", m.topics);
    metric(out, "partitions", "gauge", "Partitions.", m.partitions);
    metric(out, "partitions_offline", "gauge", "Partitions whose log is offline.", m.partitions_offline);
    metric(out, "appends_parked", "gauge", "Appends that wait for in-sync replicas.", m.appends_parked);
    metric(out, "partitions_without_leader", "gauge", "Partitions of the cluster that nobody leads.",
           m.partitions_without_leader);
    metric(out, "partitions_under_replicated", "gauge", "Partitions of the cluster with replicas that are not in sync.",
           m.partitions_under_replicated);
    metric(out, "leader_changes_total", "counter", "Elections of partitions' leaders, as applied here.",
           m.leader_changes);
    metric(out, "isr_shrinks_total", "counter", "Changes that took replicas out of an ISR, as applied here.",
           m.isr_shrinks);
    metric(out, "isr_expands_total", "counter", "Changes that took replicas into an ISR, as applied here.",
           m.isr_expands);
    metric(out, "nodes", "gauge", "Nodes of the cluster.", m.nodes);
    metric(out, "nodes_fenced", "gauge", "Nodes of the cluster that are fenced.", m.nodes_fenced);
    metric(out, "is_controller", "gauge", "1 on the node that is the controller.",
           node_controller(session->node) == node_id(session->node));
    /* The text is made before its own file has a node and is open: counted in, as whoever reads it finds it. */
    metric(out, "file_nodes", "gauge", "Nodes of this mount that the kernel knows; of status files this one only.",
           (uint64_t)tree_count(session->tree) + 1);
    metric(out, "open_files", "gauge", "Open files and directories of this mount, this one too.",
           (uint64_t)handles_count(session->handles) + 1);
    write_group_metrics(session, lines, out);
    fputs("# HELP logmnt_high_watermark Offset behind the last committed record.\n"
          "# TYPE logmnt_high_watermark gauge\n",
          out);
    for_partitions(session, out, metric_end_offset);
    fputs("# HELP logmnt_log_size_bytes Bytes of records retained.\n# TYPE logmnt_log_size_bytes gauge\n", out);
    for_partitions(session, out, metric_size);
    fputs("# HELP logmnt_replica_lag_records Records that a replica is behind its leader, which this node is.\n"
          "# TYPE logmnt_replica_lag_records gauge\n",
          out);
    for_partitions(session, out, metric_lag);
}

static void write_groups(struct session *session, const struct group_lines *lines, FILE *out)
{
    (void)session;
    group_lines_write(lines, out);
}

static const struct {
    const char *name;
    void (*write)(struct session *session, const struct group_lines *lines, FILE *out);
    bool asks;  /* with the lines of groups; NULL otherwise */
    bool whole; /* of all of them, or not at all */
} files[] = {{"groups", write_groups, true, true},
             {"metrics", write_metrics, true, false},
             {"nodes", write_nodes, false, false},
             {"partitions", write_partitions, false, false}};

const char *status_name(int64_t which)
{
    return which >= 0 && which < (int64_t)(sizeof(files) / sizeof(*files)) ? files[which].name : NULL;
}

int64_t status_find(const char *name)
{
    for (int64_t i = 0; status_name(i); i++)
        if (strcmp(status_name(i), name) == 0)
            return i;
    return -1;
}

bool status_asks(int64_t which)
{
    return files[which].asks;
}

/* *text is malloc-ed. 0 or -ENOMEM. */
static int make_text(struct session *session, int64_t which, const struct group_lines *lines, char **text, size_t *len)
{
    FILE *out = open_memstream(text, len);
    bool whole;

    if (out == NULL)
        return -ENOMEM;
    files[which].write(session, lines, out);
    whole = ferror(out) == 0;
    if (fclose(out) == 0 && whole)
        return 0;
    free(*text);
    return -ENOMEM;
}

static struct vnode *make_vnode(struct session *session, const struct vnode_key *key, const struct group_lines *lines)
{
    struct clock *clock = node_clock(session->node);
    struct vnode *vnode;
    char *text;
    size_t len;

    if (make_text(session, key->start, lines, &text, &len) != 0)
        return NULL;
    vnode = tree_text_vnode(session->tree, key, text, len, clock->wall_ms(clock));
    if (vnode == NULL)
        free(text);
    return vnode;
}

struct vnode *status_vnode(struct session *session, const struct vnode_key *key)
{
    assert(!status_asks(key->start));
    return make_vnode(session, key, NULL);
}

/* What is not known of some groups is left out of metrics, which tell of much else; of `groups` nothing is left out. */
static void gathered(fuse_req_t req, const struct group_lines_use *use, const struct group_lines *lines, int rc)
{
    struct vnode_key key = {.kind = VNODE_STATUS, .start = use->which};
    struct vnode *vnode = NULL;

    if (rc == 0 || !files[use->which].whole) {
        vnode = make_vnode(session_of(req), &key, lines);
        rc = vnode != NULL ? 0 : -ENOMEM;
    }
    use->reply(req, vnode, rc);
}

void status_ask(fuse_req_t req, const struct vnode_key *key, void (*reply)(fuse_req_t req, struct vnode *vnode, int rc))
{
    struct group_lines_use use = {.which = key->start, .reply = reply};

    group_lines_ask(req, &use, gathered);
}
