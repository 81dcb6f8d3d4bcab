/* tests/sim/seesaw.h: one topic of one partition, whose replicas lead in turn, often before they have heard what the
 * one before had: logs that part in several epochs, followers that were deposed with records of their own, requests
 * that overtake the news of who leads. By chance such a thing comes about once in thousands of runs. */
#ifndef LOGMNT_TESTS_SIM_SEESAW_H
#define LOGMNT_TESTS_SIM_SEESAW_H

#include "tests/sim/world.h"

/* One thing more, by chance, and some time. */
void seesaw_act(struct world *world);

#endif
