/* replication/base/reserve.c: a file of no content. It is written, since a length alone holds no room, with numbers
 * that no file system can compress or share, and synced, since room is found then at the latest. */
#include "replication/base/reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CHUNK_BYTES = 64 << 10 };

static const char file_name[] = "reserve";
static const char magic[] = "logmnt reserve 1\n";

/* Numbers that nothing follows from, by their place (the finaliser of MurmurHash3). */
static uint64_t number_at(uint64_t place)
{
    uint64_t n = place + UINT64_C(0x9e3779b97f4a7c15);
    n = (n ^ n >> 33) * UINT64_C(0xff51afd7ed558ccd);
    n = (n ^ n >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return n ^ n >> 33;
}

/* Writes on from byte `at`, a multiple of CHUNK_BYTES, as far as there is room. */
static int write_from(struct io *io, int fd, int64_t at, int64_t bytes)
{
    uint64_t *words = malloc(CHUNK_BYTES);
    int rc = words != NULL ? 0 : -ENOMEM;
    for (; rc == 0 && at < bytes; at += CHUNK_BYTES) {
        int64_t left = bytes - at;
        struct iovec iov = {.iov_base = words, .iov_len = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES};
        for (size_t i = 0; i < CHUNK_BYTES / sizeof *words; i++)
            words[i] = number_at((uint64_t)at + i);
        if (at == 0)
            memcpy(words, magic, sizeof magic - 1);
        rc = io_pwritev_all(io, fd, &iov, 1, at);
    }
    free(words);
    int sync_rc = io->fdatasync(io, fd);
    return rc == 0 ? sync_rc : rc;
}

/* Under the lock. What cannot be had now is fetched another time; what is had is kept. */
static void fill(struct reserve *reserve)
{
    struct io *io = reserve->io;
    struct stat st;
    int fd = reserve->bytes > 0 ? io->open(io, reserve->dirfd, file_name, O_RDWR | O_CREAT, 0600) : -ENOENT;
    if (fd < 0)
        return;
    int rc = io->fstat(io, fd, &st);
    if (rc == 0 && st.st_size > reserve->bytes)
        rc = io->ftruncate(io, fd, reserve->bytes);
    else if (rc == 0 && st.st_size < reserve->bytes)
        rc = write_from(io, fd, st.st_size / CHUNK_BYTES * CHUNK_BYTES, reserve->bytes);
    reserve->filled = rc == 0;
    reserve->empty = io->fstat(io, fd, &st) != 0 || st.st_size == 0;
    io->close(io, fd);
}

void reserve_open(struct reserve *reserve, struct io *io, int dirfd, int64_t bytes)
{
    *reserve = (struct reserve){.io = io, .dirfd = dirfd, .bytes = bytes, .empty = true};
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
    if (!err_is_full_disk(rc) || reserve->bytes == 0)
        return false;
    pthread_mutex_lock(&reserve->lock);
    atomic_fetch_add(&reserve->users, 1);
    if (!reserve->empty && give_up(reserve)) {
        reserve->filled = false;
        reserve->empty = true;
        reserve->given = true;
    }
    /* Another one that has begun has made room for this one too. */
    bool room = reserve->given;
    if (!room)
        atomic_fetch_sub(&reserve->users, 1);
    pthread_mutex_unlock(&reserve->lock);
    return room;
}

void reserve_end(struct reserve *reserve)
{
    pthread_mutex_lock(&reserve->lock);
    if (atomic_load(&reserve->users) == 1) {
        fill(reserve); /* with appends still held off */
        reserve->given = false;
    }
    atomic_fetch_sub(&reserve->users, 1);
    pthread_mutex_unlock(&reserve->lock);
}

void reserve_refill(struct reserve *reserve)
{
    pthread_mutex_lock(&reserve->lock);
    if (!reserve->filled && atomic_load(&reserve->users) == 0)
        fill(reserve);
    pthread_mutex_unlock(&reserve->lock);
}
