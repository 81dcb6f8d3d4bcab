/* engine/log/log_flush.c: group commit.
 *
 * One thread at a time flushes; whoever comes meanwhile leaves its request in the queue and goes. A round takes the
 * whole queue and the list of what is not on disk as they are at that moment, so one pair of fdatasync calls answers
 * all who came before it began.
 *
 * Failure of a sync, whatever its errno: the log goes offline and every waiter gets -EIO; nothing is synced a second
 * time, since after a failed fsync the kernel may have dropped the pages. A file that cannot be opened for want of
 * descriptors or memory: the waiters get that errno, and all is as before. */
#include "engine/log/log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "engine/log/log_internal.h"

/* What one round flushes: a snapshot. */
struct round {
    struct segment_view *views; /* referenced */
    uint32_t count;
    int64_t upto;
    bool directory;
};

/* Under the state lock. Out of memory: -ENOMEM, and the round fails without harm to the log. */
static int round_begin(struct log *log, struct round *round)
{
    uint32_t first = log->segment_count > 0 ? log->segment_count - 1 : 0;
    uint32_t i;

    round->upto = log->end.offset;
    round->directory = log->directory_dirty;
    round->count = 0;
    /* The active one always, and back as far as anything may wait: data above the recovery point, or the indexes of one
     * that was sealed after the last round had looked at it. */
    while (first > 0 && (log->segments[first - 1]->end.offset > log->recovery_point ||
                         !segment_is_flushed(log->segments[first - 1], log->segments[first - 1]->log_bytes))) {
        first--;
    }
    round->views = malloc((log->segment_count - first) * sizeof *round->views + 1);
    if (round->views == NULL) {
        return -ENOMEM;
    }
    for (i = first; i < log->segment_count; i++) {
        log_view(log->segments[i], &round->views[round->count]);
        segment_ref(log->segments[i]);
        round->count++;
    }
    return 0;
}

static int flush_segment(const struct segment_view *view, struct err *e)
{
    int rc;

    if (segment_is_flushed(view->seg, view->log_bytes)) {
        return 0;
    }
    rc = segment_pin(view->seg, e);
    if (rc == -ESTALE) {
        return 0; /* deleted meanwhile: nothing of it is to survive */
    }
    if (rc < 0) {
        return rc;
    }
    rc = segment_flush(view->seg, view->log_bytes, e);
    segment_unpin(view->seg);
    return rc;
}

/* The new log's directory and its name in DATA/topics. */
static int flush_directory(struct log *log, struct err *e)
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
    struct err e = {0};
    int rc = log_check_online(log, &e);
    uint32_t i;

    for (i = 0; i < round->count && rc == 0; i++) {
        rc = flush_segment(&round->views[i], &e);
    }
    if (rc == 0 && round->directory && round->count > 0 && round->views[0].batches == 0) {
        rc = flush_header(&round->views[0], &e);
    }
    if (rc == 0 && round->directory) {
        rc = flush_directory(log, &e);
    }
    for (i = 0; i < round->count; i++) {
        segment_unref(round->views[i].seg);
    }
    free(round->views);
    return rc < 0 ? log_fail(log, rc, &e) : 0;
}

/* upto: what is on the disk now, if rc is 0. */
static void answer(struct log_flush *queue, int64_t upto, int rc)
{
    while (queue != NULL) {
        struct log_flush *next = queue->next;

        assert(rc < 0 || queue->upto <= upto); /* REPLICATION.md, rule 8 */
        queue->done(queue, rc);
        queue = next;
    }
}

/* One round: the queue as it is, one pass over the files, the answers. State lock held on entry and on return. */
static void run_once(struct log *log)
{
    struct log_flush *queue = log->flush_queue;
    struct round round;
    int rc;

    log->flush_queue = NULL;
    rc = round_begin(log, &round);
    pthread_mutex_unlock(&log->state_lock);
    if (rc == 0) {
        rc = round_run(log, &round);
    }
    pthread_mutex_lock(&log->state_lock);
    if (rc == 0) {
        if (round.upto > log->recovery_point) {
            log->recovery_point = round.upto;
        }
        log->directory_dirty = log->directory_dirty && !round.directory;
    }
    pthread_mutex_unlock(&log->state_lock);
    answer(queue, round.upto, rc);
    pthread_mutex_lock(&log->state_lock);
}

int log_flush(struct log *log, struct log_flush *flush)
{
    pthread_mutex_lock(&log->state_lock);
    if (flush->upto <= log->recovery_point && !log->directory_dirty) {
        pthread_mutex_unlock(&log->state_lock);
        return 1;
    }
    flush->next = log->flush_queue;
    log->flush_queue = flush;
    if (!log->flushing) {
        log->flushing = true;
        while (log->flush_queue != NULL) {
            run_once(log);
        }
        log->flushing = false;
    }
    pthread_mutex_unlock(&log->state_lock);
    return 0;
}

struct waiter {
    struct log_flush flush;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
    int rc;
};

static void wake(struct log_flush *flush, int rc)
{
    struct waiter *waiter = (struct waiter *)flush; /* its first member */

    pthread_mutex_lock(&waiter->lock);
    waiter->done = true;
    waiter->rc = rc;
    pthread_cond_signal(&waiter->cond);
    pthread_mutex_unlock(&waiter->lock);
}

int log_flush_all(struct log *log)
{
    struct waiter waiter = {.flush = {.upto = log_end(log).offset, .done = wake},
                            .lock = PTHREAD_MUTEX_INITIALIZER,
                            .cond = PTHREAD_COND_INITIALIZER};

    if (log_check_online(log, NULL) < 0) {
        return -EIO;
    }
    if (log_flush(log, &waiter.flush) == 1) {
        return 0;
    }
    pthread_mutex_lock(&waiter.lock);
    while (!waiter.done) {
        pthread_cond_wait(&waiter.cond, &waiter.lock);
    }
    pthread_mutex_unlock(&waiter.lock);
    pthread_cond_destroy(&waiter.cond);
    pthread_mutex_destroy(&waiter.lock);
    return waiter.rc;
}

int log_flush_files(struct log *log)
{
    struct err e = {0};
    uint32_t i;
    int rc = log_flush_all(log);

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
