/* replication/wire/flaps.c: two counters and their times. */
#include "replication/wire/flaps.h"

#include "replication/base/limits.h"

void flaps_up(struct flaps *flaps, uint64_t now_ms)
{
    flaps->up_ms = now_ms;
}

uint64_t flaps_down(struct flaps *flaps, uint64_t now_ms)
{
    uint64_t pause_ms = LIMIT_BACKOFF_FIRST_MS;
    flaps->brief = now_ms - flaps->up_ms < LIMIT_BRIEF_MS ? flaps->brief + 1 : 0;
    if (flaps->brief <= LIMIT_BRIEF_TIMES)
        return 0;
    for (unsigned i = LIMIT_BRIEF_TIMES + 1; i < flaps->brief && pause_ms < LIMIT_BACKOFF_LAST_MS; i++)
        pause_ms *= 2;
    return pause_ms < LIMIT_BACKOFF_LAST_MS ? pause_ms : LIMIT_BACKOFF_LAST_MS;
}

bool flaps_log(struct flaps *flaps, uint64_t now_ms)
{
    if (flaps->said == 0 || now_ms - flaps->since_ms >= LIMIT_REFUSAL_LOG_MS) {
        flaps->since_ms = now_ms;
        flaps->said = 0;
    }
    if (flaps->said < LIMIT_FLAP_LINES) {
        flaps->said++;
        return true;
    }
    flaps->left_out++;
    return false;
}

unsigned flaps_left_out(struct flaps *flaps)
{
    unsigned left_out = flaps->left_out;
    flaps->left_out = 0;
    return left_out;
}
