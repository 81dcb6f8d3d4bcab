/* replication/group/remembered.h: what coordinators answered last: shown while they do not answer.
 *
 * One memory for all questions: an answer about all groups, with what was answered about single groups and partitions
 * since. At most REMEMBERED_ROWS rows in all; the oldest answers go first, and one with more is not kept. The turn's.
 */
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
/* 0: op has, unsorted, what was answered last to this question, whole or by parts, or to one that asks for more; of an
 * ASK_GROUP nothing is `described` where only some of its rows are known. -ENOENT: it never was, or not lately; of all
 * groups, or whether a partition has none, only an answer about all of that tells. -ENOMEM. */
int remembered_find(const struct remembered *all, struct group_op *op);
void remembered_free(struct remembered *all);

#endif
