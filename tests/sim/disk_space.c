/* tests/sim/disk_space.c: where the bytes of files lie: places of FILE_BYTES_MAX of address space, all zeros, that
 * never move. Those that were given back are given out again, so that a run asks the system for few of them. */
#include <assert.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/sim/disk_internal.h"

enum { PLACES = 64 }; /* that are asked for at once */

/* A place that nobody has, while its first bytes say which is the next. */
struct vacant {
    struct vacant *next;
};

static struct vacant *vacant;

uint8_t *disk_space_take(void)
{
    if (vacant == NULL) {
        uint8_t *more = mmap(NULL, (size_t)PLACES * FILE_BYTES_MAX, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        assert(more != MAP_FAILED);
        for (int i = PLACES; i-- > 0;)
            disk_space_give(more + (size_t)i * FILE_BYTES_MAX, 0);
    }
    struct vacant *taken = vacant;
    vacant = taken->next;
    taken->next = NULL;
    return (uint8_t *)taken;
}

void disk_space_give(uint8_t *bytes, int64_t used)
{
    struct vacant *given = (struct vacant *)(void *)bytes;
    memset(bytes, 0, (size_t)used);
    given->next = vacant;
    vacant = given;
}
