/* replication/reserve.c: a file of no content. It is written, since a length alone holds no room, with numbers that no
 * file system can compress or share, and synced, since room is found at the latest then. */
#include "replication/reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

enum { CHUNK_BYTES = 64 << 10 };

static const char file_name[] = "reserve";
static const char magic[] = "logmnt reserve 1\n";

static bool is_full_disk(int rc)
{
    return rc == -ENOSPC || rc == -EDQUOT;
}

/* Xorshift. */
static void fill_chunk(uint64_t *state, uint64_t *words)
{
    for (size_t i = 0; i < CHUNK_BYTES / sizeof *words; i++) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        words[i] = *state;
    }
}

static int write_all(struct io *io, int fd, int64_t bytes)
{
    static uint64_t words[CHUNK_BYTES / sizeof(uint64_t)]; /* under the lock */
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
    int rc = 0;
    for (int64_t at = 0; rc == 0 && at < bytes; at += CHUNK_BYTES) {
        fill_chunk(&state, words);
        if (at == 0)
            memcpy(words, magic, sizeof magic - 1);
        int64_t left = bytes - at;
        struct iovec iov = {.iov_base = words, .iov_len = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES};
        rc = io_pwritev_all(io, fd, &iov, 1, at);
    }
    return rc == 0 ? io->fdatasync(io, fd) : rc;
}

/* Under the lock. */
static void fill(struct reserve *reserve)
{
    struct io *io = reserve->io;
    struct stat st;
    int fd = reserve->bytes > 0 ? io->open(io, reserve->dirfd, file_name, O_RDWR | O_CREAT, 0600) : -ENOENT;
    if (fd < 0)
        return;
    reserve->filled = io->fstat(io, fd, &st) == 0 && st.st_size == reserve->bytes;
    if (!reserve->filled) {
        reserve->filled = write_all(io, fd, reserve->bytes) == 0;
        if (!reserve->filled) /* the little that was got is somebody else's */
            (void)io->ftruncate(io, fd, 0);
    }
    io->close(io, fd);
}

void reserve_open(struct reserve *reserve, struct io *io, int dirfd, int64_t bytes)
{
    *reserve = (struct reserve){.io = io, .dirfd = dirfd, .bytes = bytes};
    pthread_mutex_init(&reserve->lock, NULL);
    fill(reserve);
}

void reserve_close(struct reserve *reserve)
{
    pthread_mutex_destroy(&reserve->lock);
}

/* Under the lock. false: it is as it was. */
static bool give_up(struct reserve *reserve)
{
    struct io *io = reserve->io;
    int fd = io->open(io, reserve->dirfd, file_name, O_RDWR, 0);
    if (fd < 0)
        return false;
    int rc = io->ftruncate(io, fd, 0);
    /* What a journal frees is free for others once that is on the disk. */
    if (rc == 0)
        rc = io->fsync(io, fd);
    io->close(io, fd);
    return rc == 0;
}

bool reserve_begin(struct reserve *reserve, int rc)
{
    if (!is_full_disk(rc))
        return false;
    pthread_mutex_lock(&reserve->lock);
    atomic_fetch_add(&reserve->users, 1);
    bool given = reserve->filled && give_up(reserve);
    if (given)
        reserve->filled = false;
    /* Another one that has just begun has made room for this one too. */
    bool room = given || atomic_load(&reserve->users) > 1;
    if (!room)
        atomic_fetch_sub(&reserve->users, 1);
    pthread_mutex_unlock(&reserve->lock);
    return room;
}

void reserve_end(struct reserve *reserve)
{
    atomic_fetch_sub(&reserve->users, 1);
    reserve_refill(reserve);
}

void reserve_refill(struct reserve *reserve)
{
    pthread_mutex_lock(&reserve->lock);
    if (!reserve->filled && atomic_load(&reserve->users) == 0)
        fill(reserve);
    pthread_mutex_unlock(&reserve->lock);
}
