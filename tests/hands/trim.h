/* tests/hands/trim.h: the same open files, once more on a partition whose first half was dropped. */
#ifndef LOGMNT_TESTS_HANDS_TRIM_H
#define LOGMNT_TESTS_HANDS_TRIM_H

#include "tests/hands/check.h"

/* Drops records of partition 0 and reads what is left: in single asynchronous reads that are larger than a request, in
 * turn by several threads, and by position by several threads. */
bool trim_and_read(struct world *world, const struct content *content);

#endif
