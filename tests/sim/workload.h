/* tests/sim/workload.h: what users do to nodes: calls of all kinds, by chance, each noted in the books when it is made
 * and when it is answered. */
#ifndef LOGMNT_TESTS_SIM_WORKLOAD_H
#define LOGMNT_TESTS_SIM_WORKLOAD_H

#include "tests/sim/world.h"

/* One call, or one turn of fate (faults.h). */
void workload_act(struct sim_node *host);
/* An append of some lines. */
void workload_append(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index,
                     enum acks acks, int64_t timeout_ms);
/* A node has died: on the others somebody reads on. */
void workload_go_on(struct world *world);
/* Takes back every call that can be taken back, for a node that goes down or stops. What is left is answered while its
 * executor runs. heard: by living callers, who know what was taken back. */
void workload_cancel(struct sim_node *host, bool heard);
/* The node's process has ended where it stood: nothing of what waits there ever goes on. */
void workload_abandon(struct sim_node *host);
/* Frees the calls that are over. */
void workload_sweep(struct sim_node *host);
/* Faults are over: min.insync.replicas of 1, where the node is alone. */
void workload_heal(struct sim_node *host);
/* The same for nodes that are not: where more replicas have to be in sync than there are, that is changed. */
void workload_calm(struct world *world);
/* How many calls wait for an answer; without readers, which wait for records. */
int workload_waiting(const struct sim_node *host);
/* What kind of call the first of them is. */
const char *workload_first_waiting(const struct sim_node *host);
/* Each partition takes an append, shows it, and wakes whoever waited for it. Of a cluster: from each node, and on each
 * replica. */
void workload_prove(struct world *world);

#endif
