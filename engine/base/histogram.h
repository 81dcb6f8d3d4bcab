/* engine/base/histogram.h: how long something took, counted: how often at most 16 µs, 32 µs, … 33.6 s, or longer, and
 * all of it together. As Prometheus has it, from whose counts within so many bounds it works out quantiles; each bound
 * is twice the one before, so that a quantile is known to a factor of two whatever its size.
 *
 * Any thread counts, with two relaxed additions; who reads meanwhile may find one of the two. Nothing ever goes down.
 */
#ifndef LOGMNT_ENGINE_BASE_HISTOGRAM_H
#define LOGMNT_ENGINE_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum {
    HISTOGRAM_LEAST_US = 16, /* the first bound, a power of two */
    HISTOGRAM_BOUNDS = 22,
};

struct histogram {
    _Atomic uint64_t counts[HISTOGRAM_BOUNDS + 1]; /* between a bound and the one before; the last: above them all */
    _Atomic uint64_t sum_us;
};

/* It has taken so long; what a clock that was put back makes negative counts as 0. */
void histogram_add(struct histogram *histogram, int64_t us);

/* As it was read. */
struct histogram_view {
    uint64_t counts[HISTOGRAM_BOUNDS + 1]; /* as above */
    uint64_t count, sum_us;
};
void histogram_read(const struct histogram *histogram, struct histogram_view *out);

/* Within the bound i are those that took so long at most, µs. */
static inline int64_t histogram_bound_us(int i)
{
    return (int64_t)HISTOGRAM_LEAST_US << i;
}

#endif
