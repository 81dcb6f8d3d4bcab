/* replication/group/remembered.h: what coordinators answered last, by question: shown while they do not answer.
 *
 * At most REMEMBERED_ROWS rows in all; the oldest answers go first, and one with more is not kept. The turn's. */
#ifndef LOGMNT_REPLICATION_GROUP_REMEMBERED_H
#define LOGMNT_REPLICATION_GROUP_REMEMBERED_H

#include "replication/group/member.h"

enum { REMEMBERED_ROWS = 16384 };

struct remembered_answer;

/* Zero-initialise. */
struct remembered {
    struct remembered_answer *first, *last; /* the oldest first */
    size_t rows;
};

/* What op brought. Without memory nothing is kept. */
void remembered_keep(struct remembered *all, const struct group_op *op);
/* 0: op has what was answered last to the same question; -ENOENT: it never was, or not lately; -ENOMEM. */
int remembered_find(const struct remembered *all, struct group_op *op);
void remembered_free(struct remembered *all);

#endif
