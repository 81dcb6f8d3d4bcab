#include "tests/hands/trim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "tests/hands/read.h"
#include "tests/hands/rings.h"

enum { THREADS = 6, POSITION_READS = 60, ASYNC_BYTES = 6 << 20, SERVED_S = 20 };

static void path_of(const struct world *world, char path[4096])
{
    snprintf(path, 4096, "%s/0", world->story.topic);
}

static int open_it(const struct world *world, int flags)
{
    char path[4096];
    int fd;

    path_of(world, path);
    fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "hands: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    return fd;
}

/* Returns where what is retained starts. */
static int64_t drop_half(const struct world *world, size_t len)
{
    char path[4096];
    char value[32] = "";
    int fd = open_it(world, O_RDWR);

    path_of(world, path);
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)(len / 2)) != 0 ||
        getxattr(path, "user.log.start_position", value, sizeof value - 1) < 0) {
        perror("hands: DeleteRecords");
        exit(1);
    }
    close(fd);
    return atoll(value);
}

static bool read_asynchronously(const struct world *world, const struct content *kept, bool aio)
{
    struct rings *rings = rings_new();
    uint8_t *buffer = malloc(ASYNC_BYTES);
    int fd = open_it(world, O_RDONLY);
    int64_t at = 0;
    bool ok = true;

    while (ok) {
        struct iovec iov = {buffer, ASYNC_BYTES};
        struct ring_call call = {fd, false, &iov, 1, at, 0};

        if (aio || !ring_uring(rings, &call, 1)) {
            ring_aio(rings, &call, 1);
        }
        if (call.result <= 0) {
            ok = call.result == 0 && (size_t)at == kept->len;
            break;
        }
        ok = (size_t)(at + call.result) <= kept->len && memcmp(buffer, kept->bytes + at, (size_t)call.result) == 0;
        at += call.result;
    }
    if (!ok) {
        fprintf(stderr, "hands: an asynchronous read of a trimmed partition is wrong near position %lld\n",
                (long long)at);
    }
    close(fd);
    free(buffer);
    rings_free(rings);
    return ok;
}

/* One thread of those that read together. */
struct reader {
    struct hand hand;
    int fd;
    int64_t start; /* ≥ 0: by position, from here on */
    int64_t end;
    pthread_t thread;
};

static void *reader_run(void *arg)
{
    struct reader *reader = arg;

    if (reader->start < 0) {
        read_turns(&reader->hand, VIEW_IN_TURN, 0, reader->fd);
        return NULL;
    }
    for (int i = 0; i < POSITION_READS; i++) {
        int64_t at = reader->start + (int64_t)hands_below(&reader->hand, (uint64_t)(reader->end - reader->start));

        if (hands_chance(&reader->hand, 50)) {
            read_at(&reader->hand, 0, reader->fd, at);
        } else {
            read_spliced_at(&reader->hand, 0, reader->fd, at);
        }
    }
    return NULL;
}

static void read_together(struct world *world, int fd, int64_t start, int64_t end)
{
    struct reader readers[THREADS] = {0};

    for (int i = 0; i < THREADS; i++) {
        readers[i] = (struct reader){.hand = {.world = world,
                                              .log = &world->logs[i],
                                              .id = i,
                                              .random = world->story.seed + (uint64_t)i,
                                              .rings = rings_new(),
                                              .buffer = malloc(READ_BUFFER_BYTES)},
                                     .fd = fd,
                                     .start = start,
                                     .end = end};
        world->logs[i].reading_count = 0;
        pthread_create(&readers[i].thread, NULL, reader_run, &readers[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(readers[i].thread, NULL);
        rings_free(readers[i].hand.rings);
        free(readers[i].hand.buffer);
    }
}

static void forget_readings(struct world *world)
{
    for (int hand = 0; hand <= HANDS; hand++) {
        world->logs[hand].reading_count = 0;
    }
}

/* An open file that is served out of the page cache: none is while the partition is open for appending, which it may be
 * for a moment after the last close(2). */
static int open_served(struct world *world)
{
    struct hand hand = {.world = world, .log = &world->logs[0], .random = world->story.seed};
    time_t end = time(NULL) + SERVED_S;
    bool served = false;
    int fd;

    hand.buffer = malloc(READ_BUFFER_BYTES);
    do {
        fd = open_it(world, O_RDONLY);
        served = read_spliced_at(&hand, 0, fd, 0);
        if (!served) {
            close(fd);
        }
    } while (!served && time(NULL) < end);
    free(hand.buffer);
    if (!served) {
        fprintf(stderr, "hands: nothing is served out of the page cache\n");
        exit(1);
    }
    return fd;
}

/* Nobody appends, and nothing is trimmed yet: by splice and read at once. */
static bool read_whole(struct world *world, const struct content all[PARTITIONS])
{
    int fd;

    forget_readings(world);
    fd = open_served(world);
    read_together(world, fd, 0, (int64_t)all[0].len);
    close(fd);
    return check_positions(world, all, NULL);
}

bool trim_and_read(struct world *world, const struct content *content)
{
    struct content all[PARTITIONS] = {*content};
    bool whole = read_whole(world, all);
    int64_t start = drop_half(world, content->len);
    struct content kept = {content->bytes + start, content->len - (size_t)start};
    bool ok = whole && read_asynchronously(world, &kept, true) && read_asynchronously(world, &kept, false);
    int fd;

    forget_readings(world);
    fd = open_it(world, O_RDONLY);
    read_together(world, fd, -1, 0);
    close(fd);
    ok = ok && check_turns(world, &kept, VIEW_IN_TURN, 0, true);
    fd = open_it(world, O_RDONLY);
    read_together(world, fd, start, (int64_t)content->len);
    close(fd);
    return ok && check_positions(world, all, NULL);
}
