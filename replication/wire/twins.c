/* replication/wire/twins.c: a short list of processes, the eldest first. */
#include "replication/wire/twins.h"

#include <string.h>

#include "replication/base/limits.h"

/* -1: it was not heard, or is forgotten. */
static int place_of(const struct twins *twins, uint64_t process)
{
    for (unsigned i = 0; i < twins->count; i++) {
        if (twins->known[i].process == process)
            return (int)i;
    }
    return -1;
}

bool twins_are(const struct twins *twins, uint64_t process)
{
    return process != twins->current && place_of(twins, process) >= 0;
}

bool twins_refuse(const struct twins *twins, uint64_t process, uint64_t now_ms)
{
    bool is_elder = place_of(twins, process) < place_of(twins, twins->current);
    return twins_are(twins, process) && (!is_elder || now_ms - twins->since_ms >= LIMIT_SETTLED_MS);
}

static void forget_one(struct twins *twins)
{
    unsigned oldest = 0;
    for (unsigned i = 1; i < twins->count; i++) {
        if (twins->known[i].had_ms < twins->known[oldest].had_ms)
            oldest = i;
    }
    twins->count--;
    memmove(&twins->known[oldest], &twins->known[oldest + 1], sizeof twins->known[0] * (twins->count - oldest));
}

void twins_take(struct twins *twins, uint64_t process, uint64_t now_ms)
{
    if (twins->count > 0 && process == twins->current)
        return;
    if (twins->count > 0)
        twins->known[place_of(twins, twins->current)].had_ms = now_ms;
    if (place_of(twins, process) < 0) {
        if (twins->count == TWINS_KEPT)
            forget_one(twins);
        twins->known[twins->count++].process = process;
    }
    twins->known[place_of(twins, process)].had_ms = now_ms;
    twins->current = process;
    twins->since_ms = now_ms;
}
