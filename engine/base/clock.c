/* engine/base/clock.c: the machine's clocks. CLOCK_BOOTTIME counts a suspended machine's time too, so that a timer that
 * should have fired meanwhile does. clock_gettime(2) cannot fail for these two. */
#include "engine/base/clock.h"

#include <time.h>

static int64_t now_us(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int64_t now_ms(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t wall_ms(struct clock *clock)
{
    (void)clock;
    return now_ms(CLOCK_REALTIME);
}

static int64_t mono_ms(struct clock *clock)
{
    (void)clock;
    return now_ms(CLOCK_BOOTTIME);
}

static int64_t wall_us(struct clock *clock)
{
    (void)clock;
    return now_us(CLOCK_REALTIME);
}

static int64_t mono_us(struct clock *clock)
{
    (void)clock;
    return now_us(CLOCK_BOOTTIME);
}

static struct clock system_clock = {.wall_ms = wall_ms, .mono_ms = mono_ms, .wall_us = wall_us, .mono_us = mono_us};

struct clock *clock_system(void)
{
    return &system_clock;
}
