#include "replication/metadata/replica_set.h"

#include <string.h>

bool replica_set_has(const struct replica_set *set, int32_t id)
{
    for (int32_t i = 0; i < set->count; i++) {
        if (set->ids[i] == id)
            return true;
    }
    return false;
}

bool replica_set_add(struct replica_set *set, int32_t id)
{
    if (replica_set_has(set, id))
        return true;
    if (set->count == LIMIT_REPLICA_SET)
        return false;
    set->ids[set->count++] = id;
    return true;
}

void replica_set_remove(struct replica_set *set, int32_t id)
{
    int32_t left = 0;
    for (int32_t i = 0; i < set->count; i++) {
        if (set->ids[i] != id)
            set->ids[left++] = set->ids[i];
    }
    set->count = left;
}

bool replica_set_add_all(struct replica_set *set, const struct replica_set *some)
{
    bool room = true;
    for (int32_t i = 0; i < some->count; i++)
        room &= replica_set_add(set, some->ids[i]);
    return room;
}

void replica_set_remove_all(struct replica_set *set, const struct replica_set *some)
{
    for (int32_t i = 0; i < some->count; i++)
        replica_set_remove(set, some->ids[i]);
}

bool replica_set_equal(const struct replica_set *a, const struct replica_set *b)
{
    return a->count == b->count && memcmp(a->ids, b->ids, (size_t)a->count * sizeof a->ids[0]) == 0;
}

void replica_set_sort(struct replica_set *set)
{
    for (int32_t i = 1; i < set->count; i++) {
        int32_t id = set->ids[i], at = i;
        for (; at > 0 && set->ids[at - 1] > id; at--)
            set->ids[at] = set->ids[at - 1];
        set->ids[at] = id;
    }
}

bool replica_set_within(const struct replica_set *some, const struct replica_set *all)
{
    for (int32_t i = 0; i < some->count; i++) {
        if (!replica_set_has(all, some->ids[i]))
            return false;
    }
    return true;
}
