/* tests/sim/run.h: the life of a world, from its seed to its judgement. */
#ifndef LOGMNT_TESTS_SIM_RUN_H
#define LOGMNT_TESTS_SIM_RUN_H

#include "tests/sim/world.h"

enum {
    RUN_RACES = 8, /* in one of so many new topics are deleted again, and written to at the same time */
    RUN_TIGHT = 7, /* in one of so many nodes have room for next to nothing of what others send */
};

/* What a cluster of that seed is made of: metadata alone, without a record; leaders in turn (seesaw.h); with members of
 * a group. */
bool run_is_of_metadata(uint64_t seed);
bool run_is_seesaw(uint64_t seed);
bool run_has_members(uint64_t seed);

/* How much was proved; counts, all of them uint64_t. */
struct totals {
    uint64_t lines_checked, lines_lost, batches_found, answers, crashes, power_cuts, stops, unclean, wipes, retired,
        faults[5];
    uint64_t sessions, crossed, frames, deaths, lived_ms;
};

/* nodes 0: 3 to 5, by the seed. Returns its trace. failure: "": none. totals, unless NULL, grow. */
uint64_t run_seed(uint64_t seed, int nodes, bool verbose, struct totals *totals, char failure[WORLD_FAILURE_BYTES]);

#endif
