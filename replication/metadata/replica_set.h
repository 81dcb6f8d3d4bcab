/* replication/metadata/replica_set.h: a few node ids, in the order in which they were put in. Pure. */
#ifndef LOGMNT_REPLICATION_METADATA_REPLICA_SET_H
#define LOGMNT_REPLICATION_METADATA_REPLICA_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "replication/base/limits.h"

struct replica_set {
    int32_t count;
    int32_t ids[LIMIT_REPLICA_SET]; /* no id twice */
};

bool replica_set_has(const struct replica_set *set, int32_t id);
/* Behind the others, unless it is in it. false: there is no room. */
bool replica_set_add(struct replica_set *set, int32_t id);
void replica_set_remove(struct replica_set *set, int32_t id);
/* All of some; false: there is no room for all. */
bool replica_set_add_all(struct replica_set *set, const struct replica_set *some);
void replica_set_remove_all(struct replica_set *set, const struct replica_set *some);
bool replica_set_equal(const struct replica_set *a, const struct replica_set *b); /* in the same order */
bool replica_set_within(const struct replica_set *some, const struct replica_set *all);
void replica_set_sort(struct replica_set *set); /* by id */

#endif
