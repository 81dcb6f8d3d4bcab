/* replication/node/node_quorum.c: how the metadata quorum sits in a node: its log, which is a topic of .internal/, and
 * what it tells. What commands do is node_apply.c's. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "replication/node/node_internal.h"

static const char internal_name[] = "__cluster_metadata";

/* ---- the log ---- */

/* The metadata log as a topic: one partition, nothing expires. */
static int open_internal_topic(struct node *node, const struct checkpoints *known, struct err *e)
{
    static const struct config_set no_defaults;
    struct metadata_topic *meta = &node->internal_meta;
    memcpy(meta->name, internal_name, sizeof internal_name);
    meta->attr = node->root_before;
    meta->attr.file_mode = 0444;
    meta->partitions = 1;
    meta->replication_factor = 1;
    meta->parts = &node->internal_part;
    node->internal_part = (struct partition_registration){.leader = node->options.id};
    replica_set_add(&node->internal_part.replicas, node->options.id);
    replica_set_add(&node->internal_part.isr, node->options.id);
    int rc = config_set_put(&meta->config, "framing", "msgpack");
    if (rc == 0)
        rc = config_set_put(&meta->config, "retention.ms", "-1");
    if (rc == 0)
        node->replicas.internal_topic = topic_new(&node->replicas, meta, &no_defaults, true);
    if (node->replicas.internal_topic == NULL)
        return err_sys(e, -ENOMEM, "open %s", internal_name);
    if (topic_open_partitions(node->replicas.internal_topic, meta, known, false) != 0)
        return err_sys(e, -ENOMEM, "open %s", internal_name);
    return node->replicas.internal_topic->open_rc;
}

/* ---- what the quorum tells ---- */

static void on_committed(void *arg, struct log_point end, int32_t epoch)
{
    struct node *node = arg;
    int32_t leader = quorum_leader(&node->quorum);
    partition_quorum_decided(topic_partition(node->replicas.internal_topic, 0), end, leader != 0 ? leader : LEADER_NONE,
                             epoch);
    if (node->options.peer_count > 0) /* alone it needs nobody to know what is decided */
        flusher_decided(&node->replicas.flusher);
}

static void on_led(void *arg, bool leads)
{
    struct node *node = arg;
    controller_driver_led(&node->controller, leads);
}

static void on_failed(void *arg)
{
    struct node *node = arg;
    partition_fail_if_offline(topic_partition(node->replicas.internal_topic, 0));
}

/* ---- the cluster's id ---- */

/* Once the record that says so is on this node's disk, too: who knows its cluster and holds nothing of it has lost its
 * log (check_whole() in quorum.c). */
static int set_cluster(struct node *node, const char *id, struct err *e)
{
    int rc = log_flush_all(node->quorum.log);
    if (rc != 0)
        return err_sys(e, rc, "flush %s", node->quorum.name);
    rc = identity_join(node->io, node->data_dirfd, &node->identity, id, e);
    if (rc != 0)
        return rc;
    atomic_store(&node->in_cluster, true);
    node_links_set_cluster(node);
    return 0;
}

/* What this node has kept counts first, then what was decided (the disk may have been too full to keep it), then what
 * its log says, decided or not. */
static int on_found_cluster(void *arg, char id[UUID_TEXT_BYTES], struct err *e)
{
    struct node *node = arg;
    char *found = node->quorum.cluster_id;
    uint8_t uuid[UUID_BYTES];
    const char *decided = quorum_acquire(&node->quorum)->cluster_id;
    if (decided[0] != '\0')
        memcpy(found, decided, UUID_TEXT_BYTES);
    quorum_release(&node->quorum);
    if (atomic_load(&node->in_cluster))
        memcpy(found, node->identity.cluster_id, UUID_TEXT_BYTES);
    if (found[0] == '\0') {
        int rc = executor_uuid(node->executor, uuid);
        if (rc != 0)
            return err_sys(e, rc, "choose a cluster id");
        uuid_text(uuid, found);
    }
    memcpy(id, found, UUID_TEXT_BYTES);
    return 0;
}

static int on_renew(void *arg, uint64_t registered, uint64_t *incarnation, struct err *e)
{
    struct node *node = arg;
    int rc = identity_renew(node->io, node->executor, node->data_dirfd, &node->identity, registered, e);
    if (rc == 0)
        *incarnation = node->identity.incarnation;
    return rc;
}

int node_quorum_recover(struct node *node, struct err *e)
{
    int rc;
    while ((rc = quorum_recovered(&node->quorum, e)) == 0)
        executor_pause(node->executor, LIMIT_RECOVER_LOOK_MS);
    return rc < 0 ? rc : 0;
}

int node_join_cluster(struct node *node, struct err *e)
{
    const char *id = node->quorum.meta.cluster_id;
    bool joined = atomic_load(&node->in_cluster);
    if (id[0] == '\0')
        return 0;
    if (joined && strcmp(id, node->identity.cluster_id) != 0) { /* REPLICATION.md, rule 10 */
        log_line(LOG_CRIT, "%s: this node is of cluster %s, what it applies is of cluster %s", node->options.data_dir,
                 node->identity.cluster_id, id);
        abort();
    }
    int rc = joined ? 0 : set_cluster(node, id, e);
    if (rc != 0) /* the next record of its kind, or the next start, says it again */
        log_line(LOG_ERR, "%s: the cluster's id is not kept: %s", node->options.data_dir, e->text);
    return rc;
}

/* ---- life ---- */

/* The list's, ascending; without one, this node alone. */
static void list_peers(const struct node *node, struct raft_peers *out)
{
    const struct node_options *options = &node->options;
    *out = (struct raft_peers){0};
    for (size_t i = 0; i < options->peer_count && i < LIMIT_NODES; i++) {
        int32_t at = out->count++;
        for (; at > 0 && out->nodes[at - 1] > options->peers[i].id; at--)
            out->nodes[at] = out->nodes[at - 1];
        out->nodes[at] = options->peers[i].id;
    }
    if (out->count == 0)
        *out = (struct raft_peers){.count = 1, .nodes = {options->id}};
}

/* A full disk stops no start. */
static int join_at_start(struct node *node, struct err *e)
{
    struct err why = {""};
    int rc = node_join_cluster(node, &why);
    if (rc == 0 || err_is_passing(rc))
        return 0;
    quorum_close(&node->quorum);
    return err_set(e, rc, "%s", why.text);
}

int node_quorum_open(struct node *node, const struct checkpoints *known, struct err *e)
{
    struct quorum *quorum = &node->quorum;
    node->replicas.internal_reason = e;
    int rc = open_internal_topic(node, known, e);
    if (rc == 0) {
        struct partition *part = topic_partition(node->replicas.internal_topic, 0);
        quorum->io = node->io;
        quorum->dirfd = node->data_dirfd;
        quorum->log = part->log;
        quorum->name = part->name;
        quorum->known_offset = partition_high_watermark(part).offset;
        quorum->clock = node->clock;
        quorum->executor = node->executor;
        quorum->network = &node->network;
        quorum->reserve = &node->reserve;
        quorum->self = (struct raft_id){node->options.id, node->identity.incarnation};
        list_peers(node, &quorum->peers);
        quorum->snapshot_commands = node->options.snapshot_commands;
        quorum->prepare = node_prepare;
        quorum->applied = node_apply;
        quorum->replayed = node_replay;
        quorum->gone = node_gone;
        quorum->keep = node_keep;
        quorum->replaced = node_replace;
        quorum->committed = on_committed;
        quorum->found_cluster = on_found_cluster;
        quorum->renew = on_renew;
        quorum->recover = node->options.quorum_recover == node->options.id;
        quorum->in_cluster = atomic_load(&node->in_cluster);
        quorum->led = on_led;
        quorum->failed = on_failed;
        quorum->arg = node;
        rc = quorum_open(quorum, &node->root_before, e);
    }
    if (rc == 0)
        rc = join_at_start(node, e);
    node->replicas.internal_reason = NULL;
    return rc;
}
