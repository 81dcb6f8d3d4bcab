/* tests/unit/node_fixture.h: a node on a directory of its own, with a clock that the test moves and a disk that it can
 * make fail; a few verbs that read as the story does. */
#ifndef LOGMNT_TESTS_UNIT_NODE_FIXTURE_H
#define LOGMNT_TESTS_UNIT_NODE_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/crc32c.h"
#include "replication/executor/executor_uv.h"
#include "replication/node/node.h"
#include "replication/node/node_internal.h"
#include "replication/replica/partition.h"
#include "tests/unit/commands.h"
#include "tests/unit/scratch.h"

/* ---- a clock: the machine's, moved on by what the test says ---- */

struct hand_clock {
    struct clock clock;
    _Atomic int64_t wall_start_ms;
    _Atomic int64_t passed_ms;
};

static inline int64_t hand_wall_ms(struct clock *clock)
{
    struct hand_clock *hand = CONTAINER_OF(clock, struct hand_clock, clock);
    return atomic_load(&hand->wall_start_ms) + atomic_load(&hand->passed_ms);
}

static inline int64_t hand_mono_ms(struct clock *clock)
{
    return 1000000 + atomic_load(&CONTAINER_OF(clock, struct hand_clock, clock)->passed_ms);
}

/* ---- a disk that fails on demand; 0: it does not ---- */

struct bad_disk {
    struct io io; /* first; the rest is io_posix() */
    _Atomic int pwritev_rc, fdatasync_rc, mkdir_rc;
    _Atomic int pwritev_left; /* so many calls go well before */
    _Atomic int fsyncs;       /* fsync and fdatasync calls */
    /* A gate that the test shuts: the first call to come waits in front of it until it is opened; others pass. */
    _Atomic int pwritev_gate, fdatasync_gate; /* enum gate_state */
};

enum gate_state { GATE_OPEN, GATE_SHUT, GATE_WAITED_AT };

static inline void pass_gate(_Atomic int *gate)
{
    int shut = GATE_SHUT;
    if (atomic_load(gate) == GATE_SHUT && atomic_compare_exchange_strong(gate, &shut, GATE_WAITED_AT)) {
        while (atomic_load(gate) == GATE_WAITED_AT)
            sched_yield();
    }
}

static inline ssize_t bad_pwritev(struct io *io, int fd, const struct iovec *iov, int iovcnt, int64_t at)
{
    pass_gate(&((struct bad_disk *)io)->pwritev_gate);
    int rc = atomic_load(&((struct bad_disk *)io)->pwritev_rc);
    if (rc != 0 && atomic_fetch_sub(&((struct bad_disk *)io)->pwritev_left, 1) > 0)
        rc = 0;
    return rc != 0 ? rc : io_posix()->pwritev(io_posix(), fd, iov, iovcnt, at);
}

static inline int bad_fdatasync(struct io *io, int fd)
{
    struct bad_disk *disk = (struct bad_disk *)io;
    atomic_fetch_add(&disk->fsyncs, 1);
    pass_gate(&disk->fdatasync_gate);
    int rc = atomic_load(&disk->fdatasync_rc);
    return rc != 0 ? rc : io_posix()->fdatasync(io_posix(), fd);
}

static inline int bad_fsync(struct io *io, int fd)
{
    atomic_fetch_add(&((struct bad_disk *)io)->fsyncs, 1);
    return io_posix()->fsync(io_posix(), fd);
}

static inline int bad_mkdir(struct io *io, int dirfd, const char *name, mode_t mode)
{
    int rc = atomic_load(&((struct bad_disk *)io)->mkdir_rc);
    return rc != 0 ? rc : io_posix()->mkdir(io_posix(), dirfd, name, mode);
}

/* ---- the fixture ---- */

struct fixture {
    char dir[64];
    struct hand_clock clock;
    struct bad_disk disk;
    bool unchecked;    /* start with check.crcs=false */
    struct node *node; /* NULL: stopped */
};

static inline int try_open(struct fixture *f, int32_t id, struct err *e)
{
    struct node_options options = {.data_dir = f->dir,
                                   .id = id,
                                   .check_crcs = !f->unchecked,
                                   .log_retention_check_interval_ms = 300000,
                                   .log_cleaner_backoff_ms = 15000,
                                   .io = &f->disk.io,
                                   .clock = &f->clock.clock};
    return node_open(&options, &f->node, e);
}

static inline void start(struct fixture *f)
{
    struct err e = {0};
    int rc = try_open(f, 1, &e);
    if (rc != 0)
        fail_msg("node_open: %d %s", rc, e.text);
}

static inline void stop(struct fixture *f)
{
    struct err e = {0};
    int rc = node_close(f->node, &e);
    f->node = NULL;
    if (rc != 0)
        fail_msg("node_close: %d %s", rc, e.text);
}

static inline void restart(struct fixture *f)
{
    stop(f);
    start(f);
}

/* ".../path" in the data directory. */
static inline void path_in(const struct fixture *f, const char *name, char out[256])
{
    snprintf(out, 256, "%s/%s", f->dir, name);
}

static inline bool exists(const struct fixture *f, const char *name)
{
    char path[256];
    path_in(f, name, path);
    return access(path, F_OK) == 0;
}

/* As kill -9 leaves it, as far as the files go: a clean stop without its mark. */
static inline void crash_and_restart(struct fixture *f)
{
    char path[256];
    stop(f);
    path_in(f, "clean-shutdown", path);
    assert_int_equal(unlink(path), 0);
    start(f);
}

static inline int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct clock *machine = clock_system();
    scratch_make(f->dir, sizeof f->dir, "node");
    f->clock.clock = (struct clock){.wall_ms = hand_wall_ms, .mono_ms = hand_mono_ms};
    f->clock.wall_start_ms = machine->wall_ms(machine);
    f->disk.io = *io_posix();
    f->disk.io.pwritev = bad_pwritev;
    f->disk.io.fdatasync = bad_fdatasync;
    f->disk.io.fsync = bad_fsync;
    f->disk.io.mkdir = bad_mkdir;
    start(f);
    executor_settle(f->node->executor); /* nothing of the start is under way any more */
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    /* Not looked at: a test may have left the disk broken. */
    if (f->node != NULL)
        node_close(f->node, NULL);
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* Time passes; the alarms that are due ring. */
static inline void pass_ms(struct fixture *f, int64_t ms)
{
    atomic_fetch_add(&f->clock.passed_ms, ms);
    executor_uv_look(f->node->executor);
}

struct loop_look {
    struct loop_call call;
    struct executor *executor;
};

static inline void loop_looked(struct loop_call *call, struct uv_loop_s *loop)
{
    (void)loop;
    executor_uv_called(CONTAINER_OF(call, struct loop_look, call)->executor, call);
}

/* Until the alarms that are due have begun to ring: the loop looks at them behind the first call and before the second.
 */
static inline void await_alarms(struct fixture *f)
{
    struct loop_look look = {.call.run = loop_looked, .executor = f->node->executor};
    for (int i = 0; i < 2; i++)
        executor_uv_call(look.executor, &look.call);
}

/* Waits until the condition holds; a minute without is a failure. */
#define wait_until(condition)                                                                                          \
    for (int waited_ms = 0; !(condition); waited_ms++) {                                                               \
        if (waited_ms > 60000)                                                                                         \
            fail_msg("waited in vain for %s", #condition);                                                             \
        usleep(1000);                                                                                                  \
    }

/* From here on that call on the disk is another function. Nobody is at one meanwhile: what was begun has come to rest,
 * and more begins with the next verb. */
#define replace_disk_call(f, call, by)                                                                                 \
    do {                                                                                                               \
        executor_settle((f)->node->executor);                                                                          \
        (f)->disk.io.call = (by);                                                                                      \
    } while (0)

/* ---- verbs ---- */

static const struct tree_attr some_attr = {.uid = 1000, .gid = 100, .dir_mode = 0755, .file_mode = 0644};

static inline void create(struct fixture *f, const char *name)
{
    struct err e = {0};
    int rc = create_topic(f->node, name, &some_attr, &e);
    if (rc != 0)
        fail_msg("create %s: %d %s", name, rc, e.text);
}

static inline void set(struct fixture *f, const char *topic, const char *name, const char *value)
{
    struct err e = {0};
    int rc = set_config(f->node, topic, name, value, &e);
    if (rc != 0)
        fail_msg("set %s=%s: %d %s", name, value, rc, e.text);
    executor_settle(f->node->executor); /* what it set free has gone on */
}

/* Partition 0 of a topic, with a reference. */
static inline struct partition *get(struct fixture *f, const char *name)
{
    struct topic *topic = node_topic(f->node, name);
    assert_non_null(topic);
    struct partition *part = topic_partition(topic, 0);
    assert_non_null(part);
    return part; /* the topic's reference is the partition's */
}

/* Appends one batch of lines, each ending in a newline. */
static inline int append_to(struct fixture *f, struct partition *part, const char *lines, enum acks acks,
                            struct append_op *op, struct err *e)
{
    struct iovec iov = {.iov_base = (char *)lines, .iov_len = strlen(lines)};
    int64_t now_ms = hand_wall_ms(&f->clock.clock);
    uint32_t records = 0;
    for (const char *c = lines; *c != '\0'; c++)
        records += *c == '\n';
    op->part = part;
    op->acks = acks;
    op->timeout_ms = 30000;
    op->batch = (struct append_batch){.iov = &iov,
                                      .iovcnt = 1,
                                      .len = (uint32_t)iov.iov_len,
                                      .records = records,
                                      .crc = crc32c(0, lines, iov.iov_len),
                                      .first_timestamp_ms = now_ms,
                                      .last_timestamp_ms = now_ms,
                                      .producer_id = -1,
                                      .sequence = -1};
    return partition_append_submit(op, e);
}

static inline void append(struct fixture *f, const char *topic, const char *lines)
{
    struct append_op op = {0};
    struct err e = {0};
    struct partition *part = get(f, topic);
    int rc = append_to(f, part, lines, ACKS_ALL, &op, &e);
    partition_unref(part);
    if (rc != 1)
        fail_msg("append to %s: %d %s", topic, rc, e.text);
}

/* All that this node's own replica shows, as text. 0, or what a read failed with. */
static inline int text_of(struct partition *part, char *out, size_t size)
{
    struct read_op read = {.part = part, .kind = READ_BYTES, .limit = INT64_MAX, .max = size};
    size_t len = 0;
    int rc;
    while ((rc = partition_read_here(&read)) > 0 && read.found) {
        struct log_extent *extent = &read.extent;
        assert_true(len + extent->len < size);
        assert_int_equal(pread(extent->fd, out + len, extent->len, extent->place), extent->len);
        len += extent->len;
        read.at = extent->position + (int64_t)extent->len;
        log_extent_release(extent);
    }
    out[len] = '\0';
    return rc < 0 ? rc : 0;
}

static inline int content(struct fixture *f, const char *topic, char *out, size_t size)
{
    struct partition *part = get(f, topic);
    int rc = text_of(part, out, size);
    partition_unref(part);
    return rc;
}

/* Soon: behind a start a log shows what it has once its epoch has begun. */
static inline void assert_content(struct fixture *f, const char *topic, const char *expected)
{
    enum { PATIENCE_MS = 10000 };
    char text[65536];
    for (int waited_ms = 0; waited_ms < PATIENCE_MS; waited_ms++) {
        assert_int_equal(content(f, topic, text, sizeof text), 0);
        if (strcmp(text, expected) == 0)
            return;
        usleep(1000);
    }
    assert_string_equal(text, expected);
}

#endif
