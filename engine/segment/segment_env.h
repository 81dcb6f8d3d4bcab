/* engine/segment/segment_env.h: what segments need of the log that they belong to.
 *
 * It is part of the log and outlives its segments: segment_env_wait() returns when the last of their structs, which the
 * cache may hold for a moment, has gone. */
#ifndef LOGMNT_ENGINE_SEGMENT_SEGMENT_ENV_H
#define LOGMNT_ENGINE_SEGMENT_SEGMENT_ENV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "engine/base/clock.h"
#include "engine/base/dir.h"
#include "engine/base/io.h"

struct segment_cache;

struct segment_env {
    struct io *io;
    struct clock *clock;
    struct segment_cache *cache;
    struct dir *dir;
    const char *log_name;        /* for what is said */
    _Atomic int64_t index_bytes; /* segment.index.bytes */
    /* What was written could not be brought to the disk, and nobody else will be told: the log goes offline. Any
     * thread; no lock but possibly a segment's open_lock. */
    void (*failed)(struct segment_env *env, const char *reason);

    pthread_mutex_t lock; /* of the count, for a load and a store */
    pthread_cond_t none;
    uint32_t alive; /* segment structs */
};

/* The other fields are the caller's to fill. */
void segment_env_init(struct segment_env *env);
void segment_env_destroy(struct segment_env *env);
void segment_env_wait(struct segment_env *env);

/* For segment.c. */
void segment_env_born(struct segment_env *env);
void segment_env_gone(struct segment_env *env);

#endif
