/* engine/base/histogram.c: where a time is counted: a matter of how many bits it has. */
#include "engine/base/histogram.h"

static int bound_of(uint64_t us)
{
    uint64_t above = us > 0 ? (us - 1) / HISTOGRAM_LEAST_US : 0; /* 0: within the first bound; 1: the second; 2, 3: … */
    int bits = above > 0 ? 64 - __builtin_clzll(above) : 0;

    return bits < HISTOGRAM_BOUNDS ? bits : HISTOGRAM_BOUNDS;
}

void histogram_add(struct histogram *histogram, int64_t us)
{
    uint64_t taken = us > 0 ? (uint64_t)us : 0;

    atomic_fetch_add_explicit(&histogram->counts[bound_of(taken)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum_us, taken, memory_order_relaxed);
}

void histogram_read(const struct histogram *histogram, struct histogram_view *out)
{
    out->count = 0;
    for (int i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        out->counts[i] = atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
        out->count += out->counts[i];
    }
    out->sum_us = atomic_load_explicit(&histogram->sum_us, memory_order_relaxed);
}
