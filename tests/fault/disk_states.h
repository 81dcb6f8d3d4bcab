/* tests/fault/disk_states.h: which of the states that a disk may be in after a crash are tried.
 *
 * At each moment of a recording: the dead process (number 0), nothing of what is pending (1), only the newest operation
 * (2), then every combination where there are few, and otherwise random ones. A state is named by seed, moment and
 * number, and depends on nothing else. */
#ifndef LOGMNT_TESTS_DISK_STATES_H
#define LOGMNT_TESTS_DISK_STATES_H

#include "tests/fault/disk_model.h"

/* How many states there are to try at this moment, given how many random ones are wanted. */
uint32_t disk_states_count(const struct disk_model *m, const struct record *newest, uint32_t random_states);
/* Makes one of them. *lost: the power went; false: only the process died. */
void disk_states_build(const struct disk_model *m, const struct record *newest, uint64_t seed, uint32_t number,
                       const char *to, bool *lost);
/* The pending operations and how they ended, on stderr. */
void disk_states_print(const struct disk_model *m, const struct record *newest, uint64_t seed, uint32_t number);

#endif
