/* tests/sim/groups.h: members of one consumer group on the nodes of a cluster: they join, read, commit, stall, leave,
 * and die with their nodes. What must never happen is looked at with each share and each answer:
 *
 *   two members are given a partition under one assignment epoch
 *   a member begins behind what anybody was given of the partition: something was passed over
 *   it begins before what a commit that was answered has said (but for resets)
 *   a commit is accepted from an epoch, when a later one had been given out before it was asked for
 *   in the end, when another member comes, a partition is taken from one that was not asked for it
 *
 * In the end: everybody who is in it has a share, as equal as can be, and all that there is was given to somebody.
 *
 * In such a run no power is cut: records of groups' offsets that are on no disk may be lost then, as any. */
#ifndef LOGMNT_TESTS_SIM_GROUPS_H
#define LOGMNT_TESTS_SIM_GROUPS_H

#include "tests/sim/world.h"

struct sim_groups;

/* For world->groups; NULL where a run has none. */
struct sim_groups *groups_play_new(struct world *world);
void groups_play_free(struct sim_groups *groups);
/* A member of that node does something, by chance. */
void groups_play_act(struct sim_node *host);
/* The node goes down: its members are closed. */
void groups_play_close(struct sim_node *host);
/* Its process has ended where it stood. */
void groups_play_abandon(struct sim_node *host);
/* Nothing is in the way any more: everybody reads on. */
void groups_play_calm(struct world *world);
/* All is at rest: one member stays, has all, and lets go of what another one is to have. */
void groups_play_prove(struct world *world);
/* What is missing for rest; out is left alone if nothing is. */
void groups_play_find_unrest(struct world *world, char out[WORLD_FAILURE_BYTES]);

#endif
