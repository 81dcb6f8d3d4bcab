/* replication/node/node_cluster.c: the cluster as this node knows it, for `.cluster/` and the attributes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replication/node/node_internal.h"

static int by_id(const void *a, const void *b)
{
    const struct node_member *first = a, *second = b;
    return first->id < second->id ? -1 : first->id > second->id;
}

static enum node_role role_of(const struct raft_voters *voters, const struct node_registration *node)
{
    const struct raft_id *voter = raft_voters_node(voters, node->id);
    if (voter == NULL)
        return NODE_OBSERVER;
    return node->incarnation == 0 || voter->incarnation == node->incarnation ? NODE_VOTER : NODE_REPLACED;
}

int node_members(struct node *node, struct node_member **out, size_t *count)
{
    const struct metadata *meta = quorum_acquire(&node->quorum);
    *count = meta->node_count;
    *out = calloc(meta->node_count + 1, sizeof **out);
    for (size_t i = 0; i < meta->node_count && *out != NULL; i++) {
        const struct node_registration *from = &meta->nodes[i];
        struct node_member *member = &(*out)[i];
        member->id = from->id;
        member->port = from->port;
        member->epoch = from->epoch;
        member->role = role_of(&meta->voters.voters, from);
        member->fenced = from->fenced;
        member->stopping = from->shutting_down;
        memcpy(member->host, from->host, sizeof member->host);
    }
    quorum_release(&node->quorum);
    if (*out == NULL)
        return -ENOMEM;
    qsort(*out, *count, sizeof **out, by_id);
    return 0;
}

int32_t node_controller(struct node *node)
{
    return quorum_leader(&node->quorum);
}

int32_t node_voters(struct node *node, int32_t ids[LIMIT_VOTERS])
{
    struct raft_voters voters;
    quorum_voters(&node->quorum, &voters);
    for (int32_t i = 0; i < voters.count; i++)
        ids[i] = voters.ids[i].node;
    return voters.count;
}
