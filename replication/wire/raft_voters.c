/* replication/wire/raft_voters.c: sets of at most LIMIT_VOTERS servers, kept ascending. */
#include "replication/wire/raft_voters.h"

#include <assert.h>
#include <stddef.h>

bool raft_voters_equal(const struct raft_voters *a, const struct raft_voters *b)
{
    if (a->count != b->count)
        return false;
    for (int32_t i = 0; i < a->count; i++) {
        if (!raft_id_equal(a->ids[i], b->ids[i]))
            return false;
    }
    return true;
}

int raft_voters_find(const struct raft_voters *voters, struct raft_id id)
{
    for (int32_t i = 0; i < voters->count; i++) {
        if (raft_id_equal(voters->ids[i], id))
            return i;
    }
    return -1;
}

const struct raft_id *raft_voters_node(const struct raft_voters *voters, int32_t node)
{
    for (int32_t i = 0; i < voters->count; i++) {
        if (voters->ids[i].node == node)
            return &voters->ids[i];
    }
    return NULL;
}

int raft_voters_majority(const struct raft_voters *voters)
{
    return voters->count / 2 + 1;
}

void raft_voters_add(struct raft_voters *voters, struct raft_id id)
{
    int32_t i = voters->count;

    assert(i < LIMIT_VOTERS && raft_voters_node(voters, id.node) == NULL);
    for (; i > 0 && voters->ids[i - 1].node > id.node; i--)
        voters->ids[i] = voters->ids[i - 1];
    voters->ids[i] = id;
    voters->count++;
}

void raft_voters_remove(struct raft_voters *voters, struct raft_id id)
{
    int i = raft_voters_find(voters, id);

    if (i < 0)
        return;
    for (voters->count--; i < voters->count; i++)
        voters->ids[i] = voters->ids[i + 1];
}

bool raft_voters_valid(const struct raft_voters *voters)
{
    if (voters->count < 1 || voters->count > LIMIT_VOTERS)
        return false;
    for (int32_t i = 0; i < voters->count; i++) {
        if (voters->ids[i].node < 1 || voters->ids[i].incarnation == 0 ||
            (i > 0 && voters->ids[i].node <= voters->ids[i - 1].node))
            return false;
    }
    return true;
}
