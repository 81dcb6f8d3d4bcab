/* engine/log/log_flush.c: group commit.
 *
 * One thread at a time flushes; whoever comes meanwhile leaves its request in the queue and goes. A round takes the
 * whole queue and flushes what was appended before it began, so one pair of fdatasync calls answers all who came
 * before.
 *
 * Nobody works for others without end. A thread takes the lead for one round, in which its own request is answered,
 * and goes; what has come meanwhile is for another:
 *
 *     IDLE --- a request ---> RUNNING --- the round is over, nothing has come --------------------> IDLE
 *                              ^   |
 *                              |   +------ the round is over, requests have come --> LEFT
 *                              |                                                      |
 *                              +--- a thread of log_flush_all() or on_flush_left(), --+
 *                                   or whoever comes next with a request
 *
 * The next leader is a thread that waits in log_flush_all() if there is one, else on_flush_left() finds one; and
 * whoever comes before it has, with a request of its own, takes the lead at once. A log without that callback has
 * nobody else: there the thread goes on until the queue is empty.
 *
 * While a leader gives its answers nobody is at the disk, and who is told may come to wait in log_flush_all(), for a
 * round of this log or of another one. So a thread there waits for no answers of others: it leads beside who gives
 * them, or within, on the same thread; and the last of them leaves.
 *
 * Failure of a sync, whatever its errno: the log goes offline and every waiter gets -EIO; nothing is synced a second
 * time, since after a failed fsync the kernel may have dropped the pages. A file that cannot be opened for want of
 * descriptors: the waiters get that errno, and all is as before. That is rare, since what is not on the disk is open
 * (segment_cache.h); no memory is allocated. */
#include "engine/log/log.h"

#include <errno.h>

#include "engine/base/container.h"
#include "engine/log/log_internal.h"

/* One pass over the files. */
struct round {
    struct log_flush *queue; /* whom it answers */
    int64_t upto;            /* the log's end when it began */
    int64_t next_base;       /* segments from this base offset on are still to be looked at */
    bool begun;              /* one was */
    bool directory;
};

/* Takes the queue as it is. Under the state lock. */
static void round_begin(struct log *log, struct round *round)
{
    uint32_t first = log->segment_count > 0 ? log->segment_count - 1 : 0;

    *round = (struct round){.queue = log->flush_first, .upto = log->end.offset, .directory = log->directory_dirty};
    log->flush_first = NULL;
    log->flush_last = &log->flush_first;
    log->flush_threads = 0;
    log->flush_rounds++;
    log->flush_floor = INT64_MAX;
    /* The active one always, and back as far as anything may wait: data above the recovery point, or the indexes of one
     * that was sealed after the last round had looked at it. */
    while (first > 0 && (log->segments[first - 1]->end.offset > log->recovery_point ||
                         !segment_is_flushed(log->segments[first - 1], log->segments[first - 1]->log_bytes))) {
        first--;
    }
    if (log->segment_count > 0) {
        round->next_base = log->segments[first]->base.offset;
    }
}

/* The next segment of the round, referenced. What took the place of others meanwhile is on the disk already, so none is
 * missed. Takes the state lock. */
static bool round_next(struct log *log, struct round *round, struct segment_view *out)
{
    bool found;
    uint32_t i;

    pthread_mutex_lock(&log->state_lock);
    i = log->segment_count;
    while (i > 0 && log->segments[i - 1]->base.offset >= round->next_base) {
        i--;
    }
    found = i < log->segment_count && (!round->begun || log->segments[i]->base.offset < round->upto);
    if (found) {
        log_view(log->segments[i], out);
        segment_ref(out->seg);
        round->begun = true;
        round->next_base = out->base.offset + 1;
        log->flush_segments++;
    }
    pthread_mutex_unlock(&log->state_lock);
    return found;
}

static int flush_segment(const struct segment_view *view, struct err *e)
{
    int rc;

    if (segment_is_flushed(view->seg, view->log_bytes)) {
        return 0;
    }
    rc = segment_pin(view->seg, e);
    if (rc == -ESTALE || (rc < 0 && segment_is_flushed(view->seg, view->log_bytes))) {
        return 0; /* deleted meanwhile, so nothing of it is to survive; or flushed and closed by the cache */
    }
    if (rc < 0) {
        return rc;
    }
    rc = segment_flush(view->seg, view->log_bytes, e);
    segment_unpin(view->seg);
    return rc;
}

int log_flush_directory(struct log *log, struct err *e)
{
    struct io *io = log->env->io;
    int rc = dir_hold(&log->dir, e);

    if (rc < 0) {
        return rc;
    }
    rc = io->fsync(io, log->dir.fd);
    dir_release(&log->dir);
    if (rc == 0) {
        rc = io->fsync(io, log->env->topics_dirfd);
    }
    return rc < 0 ? err_sys(e, -EIO, "flush the directory") : 0;
}

int log_settle_directory(struct log *log, struct err *e)
{
    bool dirty;
    int rc = 0;

    pthread_mutex_lock(&log->state_lock);
    dirty = log->directory_dirty;
    pthread_mutex_unlock(&log->state_lock);
    if (dirty) {
        rc = log_flush_directory(log, e);
        pthread_mutex_lock(&log->state_lock);
        log->directory_dirty = rc < 0;
        pthread_mutex_unlock(&log->state_lock);
    }
    return rc < 0 ? log_fail(log, rc, e) : 0;
}

/* A first segment's header is otherwise synced with its first batch: an empty one has to wait for none. */
static int flush_header(const struct segment_view *view, struct err *e)
{
    struct segment *seg = view->seg;
    int rc = segment_pin(seg, e);

    if (rc < 0) {
        return rc == -ESTALE ? 0 : rc;
    }
    rc = seg->io->fdatasync(seg->io, seg->fd[SEGMENT_BATCHES]);
    segment_unpin(seg);
    return rc < 0 ? err_sys(e, -EIO, "flush the header") : 0;
}

/* No lock held. */
static int round_run(struct log *log, struct round *round)
{
    struct segment_view view;
    struct err e = {0};
    int rc = log_check_online(log, &e);

    while (rc == 0 && round_next(log, round, &view)) {
        rc = flush_segment(&view, &e);
        if (rc == 0 && round->directory && view.batches == 0) {
            rc = flush_header(&view, &e);
        }
        segment_unref(view.seg);
    }
    if (rc == 0 && round->directory) {
        rc = log_flush_directory(log, &e);
    }
    return rc < 0 ? log_fail(log, rc, &e) : 0;
}

/* Likewise. */
static int round_run_timed(struct log *log, struct round *round)
{
    int64_t begun_us = clock_mono_us(log->env->clock);
    int rc = round_run(log, round);

    histogram_add(&log->env->flush_times, clock_mono_us(log->env->clock) - begun_us);
    return rc;
}

/* Tells them, in the order in which they came. A log that was cut back meanwhile has not kept what some waited for. */
static void round_answer(const struct round *round, int rc)
{
    struct log_flush *flush = round->queue;

    while (flush != NULL) {
        struct log_flush *next = flush->next;

        flush->done(flush, rc < 0 || flush->upto <= round->upto ? rc : -EIO); /* REPLICATION.md, rule 8 */
        flush = next;
    }
}

/* The leader goes. true: on_flush_left() is to be called, without the lock. Under the state lock. */
static bool leave(struct log *log)
{
    if (log->flush_first == NULL) {
        log->flush_state = FLUSH_IDLE;
        return false;
    }
    log->flush_state = FLUSH_LEFT;
    if (log->flush_threads > 0) {
        pthread_cond_broadcast(&log->flush_changed);
        return false;
    }
    return true;
}

/* One round. State lock held on entry and on return, but not in between. */
static void do_round(struct log *log)
{
    struct round round;
    int rc;

    log->flushing = true;
    round_begin(log, &round);
    pthread_mutex_unlock(&log->state_lock);
    rc = round_run_timed(log, &round);
    pthread_mutex_lock(&log->state_lock);
    log->flushing = false;
    if (round.upto > log->flush_floor) {
        round.upto = log->flush_floor;
    }
    if (rc == 0) {
        if (round.upto > log->recovery_point) {
            log->recovery_point = round.upto;
        }
        log->directory_dirty = log->directory_dirty && !round.directory;
    }
    if (log->flush_threads > 0) {
        pthread_cond_broadcast(&log->flush_changed);
    }
    pthread_mutex_unlock(&log->state_lock);
    round_answer(&round, rc);
    pthread_mutex_lock(&log->state_lock);
}

/* One round; without on_flush_left() as many as there is anything to do for. The answers belong to it: whoever is
 * called back and asks for another flush finds this one RUNNING and is queued, so it does not lead from in there.
 * Nobody is at the disk. Likewise. */
static void lead(struct log *log)
{
    log->flush_state = FLUSH_RUNNING;
    log->flush_leaders++;
    do {
        do_round(log);
    } while (log->on_flush_left == NULL && log->flush_first != NULL && !log->flushing);
    if (--log->flush_leaders == 0 && leave(log)) {
        pthread_mutex_unlock(&log->state_lock);
        log->on_flush_left(log->on_flush_left_arg);
        pthread_mutex_lock(&log->state_lock);
    }
}

void log_flush_cut(struct log *log, int64_t to)
{
    struct log_flush *flush;

    if (to < log->flush_floor) {
        log->flush_floor = to;
    }
    for (flush = log->flush_first; flush != NULL; flush = flush->next) {
        if (flush->upto > to) {
            flush->upto = INT64_MAX; /* what is appended in the place of what it waits for is something else */
        }
    }
}

/* Under the state lock. */
static bool on_disk(const struct log *log, const struct log_flush *flush)
{
    return flush->upto <= log->recovery_point && !log->directory_dirty;
}

static void enqueue(struct log *log, struct log_flush *flush)
{
    flush->next = NULL;
    *log->flush_last = flush;
    log->flush_last = &flush->next;
}

int log_flush(struct log *log, struct log_flush *flush)
{
    bool over;

    pthread_mutex_lock(&log->state_lock);
    over = on_disk(log, flush);
    if (!over) {
        enqueue(log, flush);
        if (log->flush_state != FLUSH_RUNNING) {
            lead(log);
        }
    }
    pthread_mutex_unlock(&log->state_lock);
    return over;
}

void log_flush_next(struct log *log)
{
    pthread_mutex_lock(&log->state_lock);
    if (log->flush_state == FLUSH_LEFT) {
        lead(log);
    }
    pthread_mutex_unlock(&log->state_lock);
}

void log_set_on_flush_left(struct log *log, void (*left)(void *arg), void *arg)
{
    pthread_mutex_lock(&log->state_lock);
    log->on_flush_left = left;
    log->on_flush_left_arg = arg;
    pthread_mutex_unlock(&log->state_lock);
}

uint64_t log_flushes(struct log *log)
{
    uint64_t rounds;

    pthread_mutex_lock(&log->state_lock);
    rounds = log->flush_rounds;
    pthread_mutex_unlock(&log->state_lock);
    return rounds;
}

/* ---- a thread that waits ---- */

struct waiter {
    struct log_flush flush;
    struct log *log;
    uint64_t round; /* flush_rounds when it came: it is in the queue while that is the same */
    bool done;
    int rc;
};

static void wake(struct log_flush *flush, int rc)
{
    struct waiter *waiter = CONTAINER_OF(flush, struct waiter, flush);
    struct log *log = waiter->log;

    pthread_mutex_lock(&log->state_lock);
    waiter->done = true;
    waiter->rc = rc;
    pthread_cond_broadcast(&log->flush_changed);
    pthread_mutex_unlock(&log->state_lock);
}

int log_flush_all(struct log *log)
{
    struct waiter waiter = {.flush.done = wake, .log = log};

    if (log_check_online(log, NULL) < 0) {
        return -EIO;
    }
    pthread_mutex_lock(&log->state_lock);
    waiter.flush.upto = log->end.offset;
    waiter.done = on_disk(log, &waiter.flush);
    if (!waiter.done) {
        enqueue(log, &waiter.flush);
        log->flush_threads++;
        waiter.round = log->flush_rounds;
    }
    while (!waiter.done) {
        if (!log->flushing && waiter.round == log->flush_rounds) {
            lead(log);
        } else {
            pthread_cond_wait(&log->flush_changed, &log->state_lock);
        }
    }
    pthread_mutex_unlock(&log->state_lock);
    return waiter.rc;
}

int log_flush_files(struct log *log)
{
    struct err e = {0};
    uint32_t i;
    int rc = log_flush_all(log);

    if (rc == 0) {
        rc = log_finish_cut(log, &e); /* a start behind a clean mark looks for nothing that a cut has left */
    }
    if (rc == 0) {
        rc = log_store_producers(log, &e);
    }
    for (i = 0; i < log->segment_count && rc == 0; i++) {
        struct segment *seg = log->segments[i];

        if (atomic_load(&seg->indexes_flushed)) {
            continue;
        }
        rc = segment_pin(seg, &e);
        if (rc == 0) {
            rc = segment_flush_indexes(seg, &e);
            segment_unpin(seg);
        }
        if (rc < 0) {
            rc = log_fail(log, rc, &e);
        }
    }
    return rc;
}
