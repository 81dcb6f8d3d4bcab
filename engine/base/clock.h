/* engine/base/clock.h: time, passed in and never reached for, so that tests and the simulator decide what it is. */
#ifndef LOGMNT_ENGINE_BASE_CLOCK_H
#define LOGMNT_ENGINE_BASE_CLOCK_H

#include <stdint.h>

struct clock {
    int64_t (*wall_ms)(struct clock *clock); /* ms since 1970, CLOCK_REALTIME: the time of records */
    int64_t (*mono_ms)(struct clock *clock); /* ms, CLOCK_BOOTTIME: the time of timers */
};

/* The machine's clocks; any thread. */
struct clock *clock_system(void);

#endif
