/* replication/metadata/raft_history.c: a rising list of the voters' records. */
#include "replication/metadata/raft_history.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct raft_change none = {.offset = -1};

void raft_history_free(struct raft_history *history)
{
    free(history->changes);
    *history = (struct raft_history){0};
}

int raft_history_reserve(struct raft_history *history, size_t n)
{
    size_t size = history->size == 0 ? 8 : history->size;
    struct raft_change *changes;

    if (history->size - history->count >= n)
        return 0;
    while (size - history->count < n)
        size *= 2;
    changes = realloc(history->changes, size * sizeof *changes);
    if (changes == NULL)
        return -ENOMEM;
    history->changes = changes;
    history->size = size;
    return 0;
}

int raft_history_add(struct raft_history *history, const struct raft_change *change)
{
    int rc = raft_history_reserve(history, 1);

    assert(history->count == 0 || history->changes[history->count - 1].offset < change->offset);
    if (rc == 0)
        history->changes[history->count++] = *change;
    return rc;
}

/* How many of them are below offset. */
static size_t count_below(const struct raft_history *history, int64_t offset)
{
    size_t n = history->count;

    while (n > 0 && history->changes[n - 1].offset >= offset)
        n--;
    return n;
}

void raft_history_truncate(struct raft_history *history, int64_t end)
{
    history->count = count_below(history, end);
}

void raft_history_trim(struct raft_history *history, int64_t start)
{
    size_t below = count_below(history, start);

    if (below <= 1)
        return;
    history->count -= below - 1;
    memmove(history->changes, history->changes + below - 1, history->count * sizeof *history->changes);
}

const struct raft_change *raft_history_at(const struct raft_history *history, int64_t offset)
{
    size_t below = count_below(history, offset);

    return below == 0 ? &none : &history->changes[below - 1];
}

const struct raft_change *raft_history_latest(const struct raft_history *history)
{
    return history->count == 0 ? &none : &history->changes[history->count - 1];
}
