#include "fs/produce/spread.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

struct spread {
    _Atomic int left; /* parts */
    _Atomic bool appended, failed;
};

struct spread *spread_new(int parts)
{
    struct spread *spread = malloc(sizeof *spread);
    if (spread == NULL)
        return NULL;
    atomic_init(&spread->left, parts);
    atomic_init(&spread->appended, false);
    atomic_init(&spread->failed, false);
    return spread;
}

void spread_drop(struct spread *spread)
{
    if (atomic_fetch_sub(&spread->left, 1) == 1)
        free(spread);
}

bool spread_settle(struct spread *spread, int rc)
{
    if (rc == 0 || rc == -ETIMEDOUT)
        atomic_store(&spread->appended, true);
    if (rc != 0)
        atomic_store(&spread->failed, true);
    bool torn = atomic_load(&spread->appended) && atomic_load(&spread->failed);
    spread_drop(spread);
    return torn;
}
