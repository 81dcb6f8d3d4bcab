/* replication/base/latency.h: how long requests of a kind take from here to their answer, and how many of them failed.
 * Any thread. */
#ifndef LOGMNT_REPLICATION_BASE_LATENCY_H
#define LOGMNT_REPLICATION_BASE_LATENCY_H

#include "engine/base/histogram.h"

struct latency {
    struct histogram times; /* of those that went well */
    _Atomic uint64_t failures;
};

/* One is answered with rc: 0, or the errno of a failure. */
static inline void latency_note(struct latency *latency, int64_t us, int rc)
{
    if (rc == 0)
        histogram_add(&latency->times, us);
    else
        atomic_fetch_add_explicit(&latency->failures, 1, memory_order_relaxed);
}

/* As it was read. */
struct latency_view {
    struct histogram_view times;
    uint64_t failures;
};

static inline void latency_read(const struct latency *latency, struct latency_view *out)
{
    histogram_read(&latency->times, &out->times);
    out->failures = atomic_load_explicit(&latency->failures, memory_order_relaxed);
}

#endif
