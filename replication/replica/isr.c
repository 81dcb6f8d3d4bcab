/* replication/replica/isr.c: a few replicas in an array, looked through each time. */
#include "replication/replica/isr.h"

#include <assert.h>

void isr_init(struct isr *isr, const int32_t *replicas, int count, struct log_point high_watermark)
{
    assert(count >= 1 && count <= LIMIT_REPLICAS);
    *isr = (struct isr){.count = count, .high_watermark = high_watermark};
    for (int i = 0; i < count; i++)
        isr->replicas[i] = (struct isr_replica){.id = replicas[i], .in_sync = true, .end = high_watermark};
}

int isr_size(const struct isr *isr)
{
    int size = 0;
    for (int i = 0; i < isr->count; i++)
        size += isr->replicas[i].in_sync;
    return size;
}

static struct isr_replica *find(struct isr *isr, int32_t id)
{
    for (int i = 0; i < isr->count; i++)
        if (isr->replicas[i].id == id)
            return &isr->replicas[i];
    return NULL;
}

bool isr_set_in_sync(struct isr *isr, int32_t id, bool in_sync)
{
    struct isr_replica *replica = find(isr, id);
    if (replica == NULL)
        return false;
    replica->in_sync = in_sync;
    return true;
}

bool isr_advance(struct isr *isr, int32_t id, struct log_point end)
{
    struct isr_replica *replica = find(isr, id);
    if (replica == NULL)
        return false;
    if (end.offset > replica->end.offset)
        replica->end = end;
    return true;
}

bool isr_update(struct isr *isr, int min_insync)
{
    const struct isr_replica *slowest = NULL;
    int size = 0;
    for (int i = 0; i < isr->count; i++) {
        const struct isr_replica *replica = &isr->replicas[i];
        if (!replica->in_sync)
            continue;
        size++;
        if (slowest == NULL || replica->end.offset < slowest->end.offset)
            slowest = replica;
    }
    if (slowest == NULL || size < min_insync || slowest->end.offset <= isr->high_watermark.offset)
        return false;
    assert(slowest->end.position > isr->high_watermark.position); /* REPLICATION.md, rules 4 and 5 */
    isr->high_watermark = slowest->end;
    return true;
}
