/* fs/base/reread.h: io_uring asks twice.
 *
 * Without FUSE_CAP_ASYNC_DIO the kernel does not move an asynchronous read's position on when it comes back short, and
 * io_uring goes on for what is left: at the same position. Answered as any other READ, the program would have the same
 * bytes in its buffer twice. What one thread asks of one open file tells (Linux 6.18, fuse_direct_IO and io_read); one
 * read may be several READs:
 *
 *     POLL for POLLIN alone ──→ PROBED ──→ READ ──→ READING ──┬──→ READ, … (the next piece)
 *                                                             └──→ POLL for POLLIN and POLLERR without POLLHUP, and
 *                                                                  something was given ──→ ARMED
 *     ARMED ──→ READ at the position of one of those: the repetition, which gets nothing ──→ forgotten
 *
 * An open file with O_NONBLOCK is not probed: there each READ may be the first. poll(2), epoll and a
 * select(2) for reading always ask for POLLHUP, too, other selects not for POLLIN, and a kernel that moves the position
 * asks for what follows: all of that is answered as ever.
 *
 * Any thread; a mutex inside, taken only where somebody came with io_uring, or with O_NONBLOCK. */
#ifndef LOGMNT_FS_BASE_REREAD_H
#define LOGMNT_FS_BASE_REREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct reread;

/* The threads that read one open file so. */
struct rereads {
    _Atomic uint32_t count;
    pthread_mutex_t lock; /* of what follows, and of changes to count */
    uint32_t capacity;
    struct reread *all;
};

void rereads_init(struct rereads *rereads);
void rereads_free(struct rereads *rereads);
/* A POLL for these events came from thread tid. 1: it is about to repeat its read, and need not wait; 0; -ENOMEM. */
int rereads_poll(struct rereads *rereads, pid_t tid, uint32_t events);
/* A READ came. 1: it is a repetition, to be answered with 0 bytes; 0; -ENOMEM. */
int rereads_read(struct rereads *rereads, pid_t tid, int64_t pos, bool nonblock);
/* It is about to be answered with so many bytes. */
void rereads_given(struct rereads *rereads, pid_t tid, int64_t pos, size_t given);

#endif
