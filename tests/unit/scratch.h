/* tests/unit/scratch.h: directories of the tests' own, on a disk in memory: none of these programs is about what a sync
 * does, and on a real disk each of them waits for hundreds. */
#ifndef LOGMNT_TESTS_UNIT_SCRATCH_H
#define LOGMNT_TESTS_UNIT_SCRATCH_H

#include <stdio.h>
#include <stdlib.h>

/* Makes one; its path goes to out, and the caller removes it in the end. Ends the program if it cannot. */
static inline void scratch_make(char *out, size_t size, const char *name)
{
    int len = snprintf(out, size, "/dev/shm/logmnt-test-%s-XXXXXX", name);

    if (len < 0 || (size_t)len >= size || mkdtemp(out) == NULL) {
        perror(out);
        abort();
    }
}

#endif
