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
    assert(factor >= 1 && factor <= count && factor <= LIMIT_REPLICAS);
    *out = (struct replica_set){0};
    while (out->count < factor) {
        struct placement_node *best = NULL;
        bool leader = out->count == 0;
        for (int32_t i = 0; i < count; i++)
            if (!replica_set_has(out, nodes[i].id) && (best == NULL || better(&nodes[i], best, leader)))
                best = &nodes[i];
        replica_set_add(out, best->id);
        best->replicas++;
        best->leaders += leader;
    }
}
