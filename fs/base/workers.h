/* fs/base/workers.h: whether a FUSE worker may have a RELEASE in hand.
 *
 * The kernel hands requests over in the order in which they were sent, so who holds a request knows that a RELEASE sent
 * before it was taken, too: by a worker that may not have come to it yet, or, on a busy machine, not even back from
 * read(2). Whoever must not overtake it (fence.h) looks once who may have one, and waits until none of those has.
 *
 *   reading --a RELEASE--> releasing --+--> reading, the next turn
 *      |                               |
 *      +----another request--> busy ---+
 *
 * A worker that is reading may have taken one if it does not sleep there. Any thread. */
#ifndef LOGMNT_FS_BASE_WORKERS_H
#define LOGMNT_FS_BASE_WORKERS_H

#include <stdbool.h>
#include <stdint.h>

enum { WORKERS_MAX = 32 };

/* Those that may have one: their turns; 0: not this one. */
struct workers_look {
    uint64_t turns[WORKERS_MAX];
};

/* Around each read(2) of a request, by the worker. */
void workers_read_begin(void);
void workers_read_end(bool release);

/* false: nobody has one. */
bool workers_look(struct workers_look *look);
/* Whether it has been done by whoever had it; those who had not any more are struck off. */
bool workers_done(struct workers_look *look);

#endif
