/* replication/wire/twins.h: which processes have said that they are one peer, and which of two that both live is let
 * in. Pure.
 *
 * A process says a random number of its own (hello.h). One that has not been heard before is a start anew, and takes
 * the place of the last one at once, whatever is left of that. One that was heard before, and whose place another has
 * taken since, still runs: the node runs twice. The elder of the two has the place, so that a mistaken start takes it
 * from nobody for longer than it needs to come back; but one that was away for LIMIT_SETTLED_MS finds it taken. The
 * other one is let in when that has gone.
 *
 * That keeps two of them from taking the place from each other for ever. It is no fence: other nodes judge for
 * themselves. */
#ifndef LOGMNT_REPLICATION_WIRE_TWINS_H
#define LOGMNT_REPLICATION_WIRE_TWINS_H

#include <stdbool.h>
#include <stdint.h>

enum { TWINS_KEPT = 4 };

/* Zero-initialise. */
struct twins {
    struct {
        uint64_t process;
        uint64_t had_ms; /* when it had the place last */
    } known[TWINS_KEPT]; /* in the order in which they were first heard */
    unsigned count;
    uint64_t current; /* who has the place, or had it last */
    uint64_t since_ms;
};

/* Has another one taken that process's place? */
bool twins_are(const struct twins *twins, uint64_t process);
/* Is it to be refused, while the current one stands? */
bool twins_refuse(const struct twins *twins, uint64_t process, uint64_t now_ms);
/* It has the place from here on. Of more than are kept the one that has not had it for longest is forgotten. */
void twins_take(struct twins *twins, uint64_t process, uint64_t now_ms);

#endif
