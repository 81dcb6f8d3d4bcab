/* tests/sim/topics.h: the calls that change the tree, and what the books say of them. */
#ifndef LOGMNT_TESTS_SIM_TOPICS_H
#define LOGMNT_TESTS_SIM_TOPICS_H

#include "tests/sim/pending.h"

void topics_make(struct sim_node *host, const char *name);
void topics_delete(struct sim_node *host, struct topic *topic, struct book_topic *known);
void topics_add_partition(struct sim_node *host, struct topic *topic, struct book_topic *known);
void topics_set(struct sim_node *host, struct topic *topic, struct book_topic *known, const char *name,
                const char *value);
/* Also where it is not known what it is now, or will be. */
void topics_force(struct sim_node *host, struct topic *topic, struct book_topic *known, const char *name,
                  const char *value);
void topics_set_something(struct sim_node *host, struct topic *topic, struct book_topic *known);
/* What its users set before they write to it. false: nothing more. */
bool topics_prepare(struct sim_node *host, struct topic *topic, struct book_topic *known);
void topics_set_leader(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index,
                       int32_t leader);
/* Who leads, or holds, one of its partitions, or all; or whether an election may be an unclean one. */
void topics_move(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index);
/* Who votes on the metadata. */
void topics_change_voters(struct sim_node *host);
/* A node that is down is to be forgotten: what it holds is moved away first. */
void topics_retire(struct sim_node *host);
/* A setting of MOUNT. */
void topics_set_default(struct sim_node *host);
/* Root opens MOUNT to all, or closes it; or a user makes a topic, if he may. */
void topics_use_rights(struct sim_node *host, const char *name);
/* A command has ended so; or nobody heard how. */
void topics_over(struct pending *p, int rc);
void topics_unheard(struct pending *p);

#endif
