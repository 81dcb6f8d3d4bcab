/* replication/wire/flaps.h: of a peer that comes and goes: when it is looked for again, and which of its comings and
 * goings are worth a line. Pure. */
#ifndef LOGMNT_REPLICATION_WIRE_FLAPS_H
#define LOGMNT_REPLICATION_WIRE_FLAPS_H

#include <stdbool.h>
#include <stdint.h>

/* Zero-initialise. */
struct flaps {
    uint64_t up_ms;    /* since when it is up, or was */
    unsigned brief;    /* sessions in a row that were over within LIMIT_BRIEF_MS */
    uint64_t since_ms; /* of the lines */
    unsigned said, left_out;
};

void flaps_up(struct flaps *flaps, uint64_t now_ms);
/* It was lost. Returns the pause before it is looked for: 0 for the first few times, and where it had stood for long;
 * then doubled from one to the next, to LIMIT_BACKOFF_LAST_MS. */
uint64_t flaps_down(struct flaps *flaps, uint64_t now_ms);
/* Is a line to be logged? No more than LIMIT_FLAP_LINES are in LIMIT_REFUSAL_LOG_MS; what is left out is counted. */
bool flaps_log(struct flaps *flaps, uint64_t now_ms);
/* How many were left out since this was asked last. */
unsigned flaps_left_out(struct flaps *flaps);

#endif
