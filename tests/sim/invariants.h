/* tests/sim/invariants.h: what must hold between the nodes after each step, seen from inside (docs/REPLICATION.md has
 * the rules; who asserts one cites it).
 *
 *   one leader an epoch, of the quorum and of each partition
 *   metadata is the same on all nodes that have applied the same commands (rule 10), and so are its commands' order
 *   what is known of the metadata's decisions goes back nowhere while a node lives
 *   who is fenced for its silence has no lease any more, and takes no append in (rule 46)
 *
 * And what only insiders know, for the books: who had what when a power cut came. */
#ifndef LOGMNT_TESTS_SIM_INVARIANTS_H
#define LOGMNT_TESTS_SIM_INVARIANTS_H

#include "tests/sim/world.h"

struct invariants *invariants_new(void);
void invariants_free(struct invariants *invariants);

/* So much of the metadata was applied by somebody. */
int64_t invariants_newest(const struct world *world);

/* After a step of the node, which lives. */
void invariants_check(struct sim_node *host);
/* What the node has applied counts, also if it has just crashed. */
void invariants_look(struct sim_node *host);
/* What is not equal on all nodes, which are all up, or not as it has to be in the end; out[0] '\0': nothing. */
void invariants_find_unrest(struct world *world, char out[WORLD_FAILURE_BYTES]);
/* Nothing is lost with its disk: everybody knows the same, all replicas are in sync, and one that is here has another.
 */
bool invariants_can_be_spared(struct sim_node *host);
/* By what is decided the node has all of a partition, or may. */
bool invariants_count_on(struct world *world, int32_t id);
/* Its power goes: what nobody else had in sync may be lost. */
void invariants_power_cut(struct sim_node *host);

#endif
