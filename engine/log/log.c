/* engine/log/log.c: a log as a whole: closed, destroyed, asked for its figures, taken offline.
 *
 * Happy path: log_open() (engine/recover) makes the struct and fills its list of segments, and the rest of the log*.c
 * files work on it. Failure: once `offline` is set it stays, and whoever touches bytes is told -EIO. */
#include "engine/log/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bugs.h"
#include "engine/base/container.h"
#include "engine/log/log_internal.h"

/* ---- offline ---- */

int log_go_offline(struct log *log, int rc, const char *reason)
{
    int online = 0;

    if (atomic_compare_exchange_strong(&log->offline, &online, rc) && log->env->on_offline != NULL) {
        log->env->on_offline(log->env->arg, log->name, reason);
    }
    assert(atomic_load(&log->offline) != 0); /* REPLICATION.md, rule 13: until the next start, whoever was first */
    return -EIO;
}

int log_check_online(struct log *log, struct err *e)
{
    if (atomic_load_explicit(&log->offline, memory_order_relaxed) != 0) {
        return err_set(e, -EIO, "%s is offline after an error", log->name);
    }
    return 0;
}

int log_fail(struct log *log, int rc, struct err *e)
{
    if (BUG(appends_after_failure)) {
        return rc;
    }
    return err_is_passing(rc) ? rc : log_go_offline(log, -EIO, e != NULL ? e->text : "I/O error");
}

bool log_checks(const struct log *log)
{
    return log->obeyed || atomic_load_explicit(&log->env->check_crcs, memory_order_relaxed);
}

int log_report_corruption(struct log *log, struct err *e)
{
    if (!atomic_exchange(&log->bad_reported, true) && log->env->on_offline != NULL) {
        log->env->on_offline(log->env->arg, log->name, e != NULL ? e->text : "damaged bytes");
    }
    return -EIO;
}

/* ---- locks and lives ---- */

void log_lock(struct log *log)
{
    pthread_mutex_lock(&log->append_lock);
}

void log_unlock(struct log *log)
{
    struct segment *retired = log->retired;

    log->retired = NULL;
    pthread_mutex_unlock(&log->append_lock);
    while (retired != NULL) {
        struct segment *next = retired->retired_next;

        segment_unref(retired);
        retired = next;
    }
}

/* ---- the struct ---- */

/* A segment's file could not be flushed when it had to be closed. */
static void segment_failed(struct segment_env *env, const char *reason)
{
    log_go_offline(CONTAINER_OF(env, struct log, segment_env), -EIO, reason);
}

struct log *log_new(struct log_env *env, const char *name, const struct log_config *config)
{
    struct log *log = calloc(1, sizeof *log);

    if (log == NULL) {
        return NULL;
    }
    log->env = env;
    snprintf(log->name, sizeof log->name, "%s", name);
    log->config = *config;
    atomic_init(&log->framing, (int)config->framing);
    log->obeyed = config->obeyed;
    dir_init(&log->dir, env->io, env->topics_dirfd, name);
    log->role_epoch = -1;
    log->producers_stored = -1;
    log->segment_env.io = env->io;
    log->segment_env.clock = env->clock;
    log->segment_env.cache = env->cache;
    log->segment_env.dir = &log->dir;
    log->segment_env.log_name = log->name;
    log->segment_env.failed = segment_failed;
    atomic_init(&log->segment_env.index_bytes, config->segment_index_bytes);
    segment_env_init(&log->segment_env);
    log->last_append_ms = INDEX_NO_TIMESTAMP;
    pthread_mutex_init(&log->append_lock, NULL);
    pthread_mutex_init(&log->state_lock, NULL);
    pthread_cond_init(&log->flush_changed, NULL);
    log->flush_last = &log->flush_first;
    return log;
}

void log_drop_segments(struct log *log)
{
    struct segment *seg;
    uint32_t i;

    for (i = 0; i < log->segment_count; i++) {
        segment_unref(log->segments[i]);
    }
    while ((seg = log->retiring) != NULL) {
        log->retiring = seg->retired_next;
        atomic_store(&seg->retired, false); /* its files stay: the next open finds them, and that they are to go */
        segment_unref(seg);
    }
    segment_env_wait(&log->segment_env);
    free(log->segments);
    log->segments = NULL;
    log->segment_count = 0;
    log->segment_max = 0;
}

void log_free(struct log *log)
{
    log_drop_segments(log);
    segment_env_destroy(&log->segment_env);
    dir_destroy(&log->dir);
    assert(log->flush_state == FLUSH_IDLE && log->flush_first == NULL);
    pthread_cond_destroy(&log->flush_changed);
    pthread_mutex_destroy(&log->state_lock);
    pthread_mutex_destroy(&log->append_lock);
    epochs_free(&log->epochs);
    producers_free(&log->producers);
    free(log);
}

/* ---- closing ---- */

void log_trim_segments(struct log *log)
{
    for (uint32_t i = 0; i < log->segment_count; i++) {
        struct segment *seg = log->segments[i];

        if (seg->allocated > seg->log_bytes && segment_pin(seg, NULL) == 0) {
            segment_trim(seg);
            segment_unpin(seg);
        }
    }
}

void log_trim(struct log *log)
{
    log_lock(log);
    if (atomic_load(&log->offline) == 0) {
        log_trim_segments(log);
    }
    log_unlock(log);
}

int log_close(struct log *log, struct err *e)
{
    int rc = 0;

    if (atomic_load(&log->offline) == 0) {
        log_trim_segments(log);
        rc = log_flush_files(log);
        if (rc < 0) {
            err_set(e, rc, "close %s: flush failed", log->name);
        }
    }
    log_free(log);
    return rc;
}

int log_retire(struct log *log, struct err *e)
{
    int rc = dir_put_aside(&log->dir, "delete");

    return rc < 0 ? err_sys(e, rc, "rename the directory of %s", log->name) : 0;
}

int log_destroy(struct log *log, struct err *e)
{
    int rc;

    if (log->dir.aside) {
        /* A start's look at what was left may have come upon it first. */
        rc = io_remove_dir(log->env->io, log->env->topics_dirfd, log->dir.name);
        if (rc < 0) {
            err_sys(e, rc, "delete %s", log->name);
        }
    } else {
        /* What has its name now may be another log's. */
        rc = err_set(e, -EINVAL, "delete %s: its directory was not renamed and stays", log->name);
    }
    log_free(log);
    return rc;
}

void log_set_config(struct log *log, const struct log_config *config)
{
    log_lock(log);
    log->config = *config;
    atomic_store(&log->framing, (int)config->framing);
    atomic_store(&log->segment_env.index_bytes, config->segment_index_bytes);
    log_unlock(log);
}

/* ---- figures ---- */

struct log_point log_start(struct log *log)
{
    struct log_point start;

    pthread_mutex_lock(&log->state_lock);
    start = log->start;
    pthread_mutex_unlock(&log->state_lock);
    return start;
}

struct log_point log_end(struct log *log)
{
    struct log_point end;

    pthread_mutex_lock(&log->state_lock);
    end = log->end;
    pthread_mutex_unlock(&log->state_lock);
    return end;
}

int64_t log_recovery_point(struct log *log)
{
    return atomic_load(&log->recovery_point);
}

int64_t log_cleaner_offset(struct log *log)
{
    return atomic_load(&log->cleaner_offset);
}

bool log_set_cleaner_offset(struct log *log, int64_t offset, uint32_t cuts)
{
    bool good;

    pthread_mutex_lock(&log->state_lock);
    good = epochs_cuts(&log->epochs) == cuts;
    if (good) {
        log->cleaner_offset = offset;
    }
    pthread_mutex_unlock(&log->state_lock);
    return good;
}

int64_t log_last_append_ms(struct log *log)
{
    return atomic_load(&log->last_append_ms);
}

const char *log_name(struct log *log)
{
    return log->name;
}

int log_offline(struct log *log)
{
    return atomic_load(&log->offline);
}

void log_busy(struct log *log, struct log_busy *out)
{
    bool writes = pthread_mutex_trylock(&log->append_lock) != 0;

    if (!writes) {
        pthread_mutex_unlock(&log->append_lock);
    }
    pthread_mutex_lock(&log->state_lock);
    *out = (struct log_busy){.writes = writes,
                             .flushes = log->flush_state == FLUSH_RUNNING,
                             .written = (uint64_t)log->end.offset + log->segment_count,
                             .flushed = log->flush_rounds + log->flush_segments};
    pthread_mutex_unlock(&log->state_lock);
}

bool log_is_damaged(struct log *log)
{
    return atomic_load_explicit(&log->bad_reported, memory_order_relaxed) || log_offline(log) == -EBADMSG;
}

void log_size(struct log *log, struct log_size *out)
{
    const struct segment *active;

    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&log->state_lock);
    if (log->segment_count > 0) {
        active = log->segments[log->segment_count - 1];
        out->retained_bytes = log->closed_log_bytes + active->log_bytes - log->cut_bytes;
        out->disk_bytes = log->closed_disk_bytes + segment_disk_bytes(active);
        out->segments = log->segment_count;
    }
    out->start = log->start;
    out->end = log->end;
    pthread_mutex_unlock(&log->state_lock);
}
