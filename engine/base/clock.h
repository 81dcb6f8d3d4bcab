/* engine/base/clock.h: time, passed in and never reached for, so that tests and the simulator decide what it is. */
#ifndef LOGMNT_ENGINE_BASE_CLOCK_H
#define LOGMNT_ENGINE_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

struct clock {
    int64_t (*wall_ms)(struct clock *clock); /* ms since 1970, CLOCK_REALTIME: the time of records */
    int64_t (*mono_ms)(struct clock *clock); /* ms, CLOCK_BOOTTIME: the time of timers */
    /* Both in µs, for how long something took; NULL: this clock is no finer than ms. */
    int64_t (*wall_us)(struct clock *clock);
    int64_t (*mono_us)(struct clock *clock);
};

static inline int64_t clock_wall_us(struct clock *clock)
{
    return clock->wall_us != NULL ? clock->wall_us(clock) : clock->wall_ms(clock) * 1000;
}

static inline int64_t clock_mono_us(struct clock *clock)
{
    return clock->mono_us != NULL ? clock->mono_us(clock) : clock->mono_ms(clock) * 1000;
}

/* The machine's clocks; any thread. */
struct clock *clock_system(void);

#endif
