/* tests/sim/faults.h: what befalls nodes, disks, clocks and the network. */
#ifndef LOGMNT_TESTS_SIM_FAULTS_H
#define LOGMNT_TESTS_SIM_FAULTS_H

#include "tests/sim/world.h"

/* One thing that goes wrong, or is mended, by chance; host is up, and mostly it that is concerned. */
void faults_happen(struct sim_node *host);
/* Its disk is replaced by an empty one, where all that is on it is on others', too. */
void faults_wipe(struct sim_node *host);
/* It has lost its power, and may not be reached by everybody, or late, when it is back: who knows what it had does not
 * hear what it has. */
void faults_come_back(struct sim_node *host);
/* Who leads the quorum hears nobody any more, nor anybody it, where such things happen: what it alone has will go. */
void faults_cut_off_leader(struct world *world);
/* Nothing is in anybody's way any more, and nothing goes wrong from here on. Who is down will be started. */
void faults_heal(struct world *world);

#endif
