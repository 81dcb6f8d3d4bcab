/* replication/node/node_links.c: how a node comes to its transport: where it is to be found, its certificates, who it
 * meets, and the order of the end.
 *
 * Whom the peer= list names is looked for there from the start on; whom only the metadata names, where its registration
 * says. A registration that is decided later counts for both. */
#include <string.h>

#include "replication/node/node_internal.h"

/* By its own line of the list, else where it listens. */
static void choose_address(struct node *node)
{
    const struct node_options *options = &node->options;
    node->host = options->listen_host != NULL ? options->listen_host : "";
    node->port = options->listen_host != NULL ? options->listen_port : 0;
    for (size_t i = 0; i < options->peer_count; i++) {
        if (options->peers[i].id != options->id)
            continue;
        node->host = options->peers[i].host;
        node->port = options->peers[i].port;
    }
}

int node_links_open(struct node *node, struct err *e)
{
    const struct node_options *options = &node->options;
    struct tls_context *tls = NULL;
    choose_address(node);
    int rc = executor_random(node->executor, &node->process, sizeof node->process);
    if (rc != 0)
        return err_sys(e, rc, "choose a number for this start");
    node->source = options->transport;
    if (node->source != NULL || options->listen_host == NULL)
        return 0;
    if (options->tls != NULL) {
        rc = tls_context_new(options->tls, options->id, &tls, e);
        if (rc != 0)
            return rc;
    }
    links_init(&node->links, node->executor, options->listen_host, options->listen_port, tls);
    tls_context_unref(tls);
    node->source = &node->links.source;
    return 0;
}

int node_links_bind(struct node *node, struct err *e)
{
    return node->source == &node->links.source ? links_bind(&node->links, e) : 0;
}

void node_links_close(struct node *node)
{
    if (node->source == &node->links.source)
        links_free(&node->links);
}

static bool listed(const struct node *node, int32_t id)
{
    for (size_t i = 0; i < node->options.peer_count; i++) {
        if (node->options.peers[i].id == id)
            return true;
    }
    return false;
}

static int meet_all(struct node *node)
{
    int rc = 0;
    const struct node_options *options = &node->options;
    for (size_t i = 0; i < options->peer_count && rc == 0; i++) {
        if (options->peers[i].id != options->id)
            rc = network_meet(&node->network, options->peers[i].id, options->peers[i].host, options->peers[i].port);
    }
    const struct metadata *meta = quorum_acquire(&node->quorum);
    for (size_t i = 0; i < meta->node_count; i++) {
        if (!listed(node, meta->nodes[i].id))
            node_links_meet(node, meta->nodes[i].id, meta->nodes[i].host, meta->nodes[i].port);
    }
    quorum_release(&node->quorum);
    return rc;
}

int node_links_start(struct node *node, struct err *e)
{
    struct hello ours = {.protocol_min = HELLO_PROTOCOL_MIN,
                         .protocol_max = HELLO_PROTOCOL_MAX,
                         .from = node->options.id,
                         .incarnation = node->identity.incarnation,
                         .process = node->process,
                         .feature_level = FEATURE_LEVEL,
                         .port = node->port};
    if (node->source == NULL)
        return 0;
    strncpy(ours.cluster_id, node_cluster_id(node), sizeof ours.cluster_id - 1);
    strncpy(ours.host, node->host, sizeof ours.host - 1);
    int rc = network_start(&node->network, node->source, &ours, e);
    if (rc != 0)
        return rc;
    atomic_store(&node->links_started, true);
    if (atomic_load(&node->in_cluster)) /* since a moment ago, perhaps */
        node_links_set_cluster(node);
    rc = meet_all(node);
    if (rc != 0) {
        node_links_hush(node);
        node_links_stop(node);
        return err_sys(e, rc, "peer=");
    }
    return 0;
}

void node_links_hush(struct node *node)
{
    network_hush(&node->network);
}

void node_links_stop(struct node *node)
{
    network_attach(&node->network, NULL);
    if (atomic_exchange(&node->links_started, false))
        node->source->stop(node->source);
}

void node_links_meet(struct node *node, int32_t id, const char *host, int port)
{
    if (id != node->options.id && host[0] != '\0' && port != 0)
        (void)network_meet(&node->network, id, host, port); /* no memory: the next registration says it again */
}

void node_links_forget(struct node *node, int32_t id)
{
    if (!listed(node, id))
        network_forget(&node->network, id);
}

/* Links that are not there yet learn it when they are started. */
void node_links_set_cluster(struct node *node)
{
    if (atomic_load(&node->links_started))
        node->source->set_cluster(node->source, node->identity.cluster_id);
}

int node_reload_tls(struct node *node, struct err *e)
{
    struct tls_context *tls;
    if (node->options.tls == NULL || node->source != &node->links.source)
        return 0;
    int rc = tls_context_new(node->options.tls, node->options.id, &tls, e);
    if (rc != 0)
        return rc;
    links_set_tls(&node->links, tls);
    tls_context_unref(tls);
    return 1;
}
