#include "tests/hands/rings.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct rings {
    aio_context_t aio;
    int uring_fd; /* -1: there is none */
    _Atomic uint32_t *sq_tail, *cq_head, *cq_tail;
    uint32_t sq_mask, cq_mask;
    uint32_t *sq_array;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
    void *sq_map, *cq_map;
    size_t sq_bytes, cq_bytes, sqes_bytes;
};

static void *ring_map(int fd, size_t bytes, off_t what)
{
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, what);

    if (map == MAP_FAILED) {
        perror("hands: the rings of io_uring");
        exit(1);
    }
    return map;
}

static void uring_new(struct rings *rings)
{
    struct io_uring_params p = {0};
    uint8_t *sq;
    uint8_t *cq;

    rings->uring_fd = (int)syscall(SYS_io_uring_setup, RINGS_MAX, &p);
    if (rings->uring_fd < 0) {
        return;
    }
    rings->sq_bytes = p.sq_off.array + p.sq_entries * sizeof(uint32_t);
    rings->cq_bytes = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
    rings->sqes_bytes = p.sq_entries * sizeof(struct io_uring_sqe);
    rings->sq_map = sq = ring_map(rings->uring_fd, rings->sq_bytes, (off_t)IORING_OFF_SQ_RING);
    rings->cq_map = cq = ring_map(rings->uring_fd, rings->cq_bytes, (off_t)IORING_OFF_CQ_RING);
    rings->sqes = ring_map(rings->uring_fd, rings->sqes_bytes, (off_t)IORING_OFF_SQES);
    rings->sq_tail = (_Atomic uint32_t *)(void *)(sq + p.sq_off.tail);
    rings->sq_mask = *(uint32_t *)(void *)(sq + p.sq_off.ring_mask);
    rings->sq_array = (uint32_t *)(void *)(sq + p.sq_off.array);
    rings->cq_head = (_Atomic uint32_t *)(void *)(cq + p.cq_off.head);
    rings->cq_tail = (_Atomic uint32_t *)(void *)(cq + p.cq_off.tail);
    rings->cq_mask = *(uint32_t *)(void *)(cq + p.cq_off.ring_mask);
    rings->cqes = (struct io_uring_cqe *)(void *)(cq + p.cq_off.cqes);
}

struct rings *rings_new(void)
{
    struct rings *rings = calloc(1, sizeof *rings);

    if (rings == NULL || syscall(SYS_io_setup, RINGS_MAX, &rings->aio) != 0) {
        perror("hands: io_setup");
        exit(1);
    }
    uring_new(rings);
    return rings;
}

void rings_free(struct rings *rings)
{
    if (rings->uring_fd >= 0) {
        munmap(rings->sq_map, rings->sq_bytes);
        munmap(rings->cq_map, rings->cq_bytes);
        munmap(rings->sqes, rings->sqes_bytes);
        close(rings->uring_fd);
    }
    syscall(SYS_io_destroy, rings->aio);
    free(rings);
}

void ring_aio(struct rings *rings, struct ring_call *calls, int count)
{
    struct iocb blocks[RINGS_MAX] = {0};
    struct iocb *list[RINGS_MAX];
    struct io_event events[RINGS_MAX];
    int submitted = 0;
    int done = 0;

    for (int i = 0; i < count; i++) {
        bool one = calls[i].iovcnt == 1;

        list[i] = &blocks[i];
        blocks[i].aio_data = (unsigned)i;
        blocks[i].aio_fildes = (uint32_t)calls[i].fd;
        blocks[i].aio_lio_opcode =
            calls[i].writes ? (one ? IOCB_CMD_PWRITE : IOCB_CMD_PWRITEV) : (one ? IOCB_CMD_PREAD : IOCB_CMD_PREADV);
        blocks[i].aio_buf = (uint64_t)(uintptr_t)(one ? calls[i].iov->iov_base : calls[i].iov);
        blocks[i].aio_nbytes = one ? calls[i].iov->iov_len : (unsigned)calls[i].iovcnt;
        blocks[i].aio_offset = calls[i].at;
        calls[i].result = -ECANCELED;
    }
    while (submitted < count) {
        long n = syscall(SYS_io_submit, rings->aio, (long)(count - submitted), list + submitted);

        if (n < 0) { /* the first of them was not begun */
            calls[submitted++].result = -errno;
            done++;
            continue;
        }
        submitted += (int)n;
    }
    while (done < count) {
        long n = syscall(SYS_io_getevents, rings->aio, 1L, (long)RINGS_MAX, events, NULL);

        if (n < 0 && errno != EINTR) {
            perror("hands: io_getevents");
            exit(1);
        }
        for (long i = 0; i < n; i++) {
            calls[events[i].data].result = (ssize_t)events[i].res;
        }
        done += n > 0 ? (int)n : 0;
    }
}

bool ring_uring(struct rings *rings, struct ring_call *calls, int count)
{
    uint32_t tail;
    int left = count;
    uint32_t to_submit = (uint32_t)count;

    if (rings->uring_fd < 0) {
        return false;
    }
    tail = atomic_load(rings->sq_tail);
    for (int i = 0; i < count; i++, tail++) {
        struct io_uring_sqe *sqe = &rings->sqes[tail & rings->sq_mask];
        bool one = calls[i].iovcnt == 1;

        memset(sqe, 0, sizeof *sqe);
        sqe->opcode =
            calls[i].writes ? (one ? IORING_OP_WRITE : IORING_OP_WRITEV) : (one ? IORING_OP_READ : IORING_OP_READV);
        sqe->fd = calls[i].fd;
        sqe->off = (uint64_t)calls[i].at;
        sqe->addr = (uint64_t)(uintptr_t)(one ? calls[i].iov->iov_base : calls[i].iov);
        sqe->len = one ? (uint32_t)calls[i].iov->iov_len : (uint32_t)calls[i].iovcnt;
        sqe->user_data = (unsigned)i;
        rings->sq_array[tail & rings->sq_mask] = tail & rings->sq_mask;
    }
    atomic_store(rings->sq_tail, tail);
    while (left > 0) {
        uint32_t head = atomic_load(rings->cq_head);
        long n = syscall(SYS_io_uring_enter, rings->uring_fd, to_submit, 1, IORING_ENTER_GETEVENTS, NULL, 0);

        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            perror("hands: io_uring_enter");
            exit(1);
        }
        to_submit -= n > 0 ? (uint32_t)n : 0;
        for (; head != atomic_load(rings->cq_tail); head++, left--) {
            const struct io_uring_cqe *cqe = &rings->cqes[head & rings->cq_mask];

            calls[cqe->user_data].result = cqe->res;
        }
        atomic_store(rings->cq_head, head);
    }
    return true;
}
