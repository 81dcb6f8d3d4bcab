/* replication/group/seat_load.c: a partition of __consumer_offsets, read from its start to where the log ended when
 * this node began to lead it.
 *
 *     WAITING --- the high watermark is there ---> READING --- to the end, or an error ---> OVER
 *
 * The seat and the reading each hold a reference; whoever drops the last one frees it. Reading is a work, or the
 * callback of what it waits for. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/bugs.h"
#include "engine/base/container.h"
#include "engine/record/framing.h"
#include "replication/group/groups_internal.h"
#include "replication/replica/partition_read.h"

enum { READ_AT_ONCE_BYTES = 1 << 20, READ_TIMEOUT_MS = 5000 };

struct group_load {
    struct groups *groups;
    int32_t index;
    struct partition *part; /* referenced */
    _Atomic int refs;
    _Atomic bool cancelled, over;
    struct work work;
    struct partition_waiter waiter;
    struct read_op read;
    bool targeted;
    int64_t target;   /* a position: the end of what is to be read */
    int64_t position; /* of what is read next */
    uint8_t *bytes;   /* the beginning of a record whose end is not read yet */
    size_t len, room;
    struct coordinator core;
    int rc;
    struct err e;
};

static void unref(struct group_load *load)
{
    if (atomic_fetch_sub(&load->refs, 1) != 1)
        return;
    coordinator_free(&load->core);
    partition_unref(load->part);
    free(load->bytes);
    free(load);
}

static void end(struct group_load *load, int rc)
{
    struct groups *groups = load->groups;

    load->rc = rc;
    atomic_store(&load->over, true);
    mailbox_kick(&groups->mailbox);
    unref(load);
}

/* ---- the high watermark ---- */

static void on_ready(struct partition_waiter *waiter)
{
    struct group_load *load = CONTAINER_OF(waiter, struct group_load, waiter);

    executor_prompt(load->groups->env.executor, &load->work);
}

/* As await(): what waits may be gone on with by another thread at once, to its end. */
static int wait_on(struct group_load *load)
{
    bool waits, taken;

    atomic_fetch_add(&load->refs, 1);
    waits = partition_wait(load->part, &load->waiter);
    /* Whoever cancels may have looked just before: one of both takes it back. */
    taken = waits && atomic_load(&load->cancelled) && partition_unwait(load->part, &load->waiter);
    unref(load);
    return taken ? -ECANCELED : !waits;
}

/* 1: it is there; 0: it is waited for, and another thread's; or a negative errno. */
static int await(struct group_load *load)
{
    int rc;

    if (!load->targeted) {
        load->target = partition_log_end(load->part).position;
        load->position = partition_log_start(load->part).position;
        load->targeted = true;
    }
    if (partition_high_watermark(load->part).position < load->target && BUG(offsets_taken_for_none))
        load->target = load->position;
    while (partition_high_watermark(load->part).position < load->target) {
        load->waiter.position = load->target - 1;
        rc = wait_on(load);
        if (rc <= 0)
            return rc;
        rc = partition_state(load->part);
        if (rc < 0)
            return err_sys(&load->e, rc, "wait for its high watermark");
    }
    return 1;
}

/* ---- records ---- */

static int replay(struct group_load *load)
{
    size_t at = 0;
    int rc = 0;

    while (rc == 0 && at < load->len) {
        size_t len = framing_record_len(FRAMING_MSGPACK, load->bytes + at, load->len - at);
        if (len == 0)
            break;
        rc = coordinator_replay(&load->core, load->bytes + at, len, &load->e);
        if (rc != 0)
            (void)err_wrap(&load->e, rc, "position %lld", (long long)(load->position - (int64_t)(load->len - at)));
        at += len;
    }
    memmove(load->bytes, load->bytes + at, load->len - at);
    load->len -= at;
    return rc;
}

static int take(struct group_load *load)
{
    struct read_op *read = &load->read;
    size_t len = read->extent.len;

    if (!read->found) { /* the rest was compacted away */
        load->position = load->target;
        return 0;
    }
    /* Compaction went on since, and the record whose beginning was read is not needed: its key has a later one. */
    if (read->extent.position != load->position)
        load->len = 0;
    if (load->room - load->len < len) {
        size_t room = load->len + len;
        uint8_t *more = realloc(load->bytes, room);
        if (more == NULL) {
            partition_read_release(read);
            return err_sys(&load->e, -ENOMEM, "read");
        }
        load->bytes = more;
        load->room = room;
    }
    int rc = partition_read_copy(read, load->bytes + load->len);
    load->position = read->extent.position + (int64_t)len;
    partition_read_release(read);
    if (rc != 0)
        return err_sys(&load->e, rc, "read");
    load->len += len;
    return replay(load);
}

static void on_read(struct read_op *op, int rc)
{
    struct group_load *load = CONTAINER_OF(op, struct group_load, read);

    load->rc = rc;
    executor_prompt(load->groups->env.executor, &load->work);
}

/* 1: something is read; 0: it will be; or a negative errno. */
static int ask(struct group_load *load)
{
    load->read = (struct read_op){.part = load->part,
                                  .kind = READ_BYTES,
                                  .at = load->position,
                                  .limit = load->target,
                                  .max = READ_AT_ONCE_BYTES,
                                  .timeout_ms = READ_TIMEOUT_MS,
                                  .done = on_read};
    load->rc = 1; /* on_read() has not been called */
    return partition_read_submit(&load->read);
}

static void run(struct work *work)
{
    struct group_load *load = CONTAINER_OF(work, struct group_load, work);
    bool awaits = load->read.part == NULL;
    int rc = awaits ? await(load) : load->rc;

    if (rc == 0 && awaits)
        return;  /* on_ready() */
    if (rc == 0) /* on_read() has brought something */
        rc = take(load);
    while (rc >= 0 && load->position < load->target && !atomic_load(&load->cancelled)) {
        rc = ask(load);
        if (rc == 0)
            return; /* on_read() */
        if (rc == 1)
            rc = take(load);
    }
    if (rc >= 0 && load->len > 0 && !atomic_load(&load->cancelled))
        rc = err_set(&load->e, -EBADMSG, "it ends within a record");
    end(load, rc < 0 ? rc : 0);
}

/* ---- for the seat ---- */

struct group_load *seat_load_begin(struct seat *seat)
{
    struct group_load *load = calloc(1, sizeof *load);

    if (load == NULL)
        return NULL;
    load->groups = seat->groups;
    load->index = seat->index;
    load->part = partition_ref(seat->part);
    load->work.run = run;
    load->waiter.ready = on_ready;
    atomic_init(&load->refs, 2);
    coordinator_init(&load->core, &seat->groups->env.facts);
    executor_prompt(seat->groups->env.executor, &load->work);
    return load;
}

bool seat_load_over(struct group_load *load)
{
    return atomic_load(&load->over);
}

int seat_load_take(struct group_load *load, struct coordinator *out, struct err *e)
{
    int rc = load->rc;

    if (rc == 0) {
        *out = load->core;
        coordinator_init(&load->core, load->core.facts);
    } else {
        *e = load->e;
    }
    unref(load);
    return rc;
}

void seat_load_cancel(struct group_load *load)
{
    atomic_store(&load->cancelled, true);
    if (partition_unwait(load->part, &load->waiter))
        unref(load); /* the reading's: it never goes on */
    unref(load);
}
