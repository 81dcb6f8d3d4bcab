#include "replication/metadata/placement.h"

#include <assert.h>
#include <stddef.h>

/* Is a to be preferred to b? */
static bool better(const struct placement_node *a, const struct placement_node *b, bool leader)
{
    if (a->stays != b->stays)
        return a->stays;
    if (leader && a->leaders != b->leaders)
        return a->leaders < b->leaders;
    if (a->replicas != b->replicas)
        return a->replicas < b->replicas;
    return a->id < b->id;
}

void placement_choose(struct placement_node *nodes, int32_t count, int32_t factor, struct replica_set *out)
{
    *out = (struct replica_set){0};
    placement_add(nodes, count, factor, out);
}

void placement_add(struct placement_node *nodes, int32_t count, int32_t factor, struct replica_set *out)
{
    assert(factor >= 1 && factor <= count && factor <= LIMIT_REPLICAS);
    while (out->count < factor) {
        struct placement_node *best = NULL;
        bool leader = out->count == 0;
        for (int32_t i = 0; i < count; i++) {
            if (!replica_set_has(out, nodes[i].id) && (best == NULL || better(&nodes[i], best, leader)))
                best = &nodes[i];
        }
        replica_set_add(out, best->id);
        best->replicas++;
        best->leaders += leader;
    }
}
