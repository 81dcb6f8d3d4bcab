/* tests/hands/rings.h: libaio and io_uring by their system calls, a context of each for one thread. */
#ifndef LOGMNT_TESTS_HANDS_RINGS_H
#define LOGMNT_TESTS_HANDS_RINGS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum { RINGS_MAX = 4 }; /* calls under way at once */

struct rings;

/* One call. */
struct ring_call {
    int fd;
    bool writes;
    struct iovec *iov;
    int iovcnt; /* 1: the plain call, not the one with a vector */
    int64_t at;
    ssize_t result; /* as of the plain call, or a negative errno */
};

/* Ends the program when there is no libaio. A kernel (or a container) without io_uring is one in which ring_uring()
 * answers false. */
struct rings *rings_new(void);
void rings_free(struct rings *rings);
/* All of them are submitted at once and waited for. */
void ring_aio(struct rings *rings, struct ring_call *calls, int count);
bool ring_uring(struct rings *rings, struct ring_call *calls, int count);

#endif
