/* replication/executor/executor.h: where and when things are done: the seam between a node and the threads it runs on.
 *
 * A table of functions, passed in and never reached for. In production they are a libuv loop and three pools of threads
 * (executor_uv.h); a simulation gives one thread and a seed. An executor serves one node, from its start to its stop.
 *
 * Works are done by threads of a pool, and may touch the disk. There are three kinds, each with threads of its own:
 *   urgent   what keeps this node in its cluster: heartbeats, the controller's and the quorum's turns, the beat of
 *            replicas. They wait for no partition's disk, so that a slow one costs no leadership by silence
 *   prompt   what somebody waits for: interrupts, fences, linger, timeouts, flushes, decisions
 *   bulk     what nobody waits for and may take long: retention, compaction, the scrub, the removal of directories
 * Bulk never holds up prompt, and neither of them what is urgent. Works of one kind begin in the order of their
 * submission and may be under way together; none waits for another.
 *
 * An alarm is a time and a work: once its time has come it rings, as a work of its kind. Neither
 * runs on the thread that keeps the time.
 *
 * Any thread, a work's or an alarm's too, unless said otherwise; no lock of the executor is held while one runs. */
#ifndef LOGMNT_REPLICATION_EXECUTOR_EXECUTOR_H
#define LOGMNT_REPLICATION_EXECUTOR_EXECUTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replication/base/uuid.h"

enum work_kind { WORK_PROMPT, WORK_BULK, WORK_URGENT, WORK_KINDS };

/* Embed it, zero-initialise, set run. It is run() once for each submit, and may be freed or submitted again from there
 * on; not submitted while it is queued. */
struct work {
    void (*run)(struct work *work);
    /* the executor's */
    struct work *next;
    bool queued;
};

/* Embed it; alarm_init(). */
struct alarm {
    void (*ring)(struct alarm *alarm);
    enum work_kind kind;
    int64_t deadline_ms; /* while it is set: on the monotonic clock */
    /* the executor's */
    struct work work;
    size_t heap_index; /* alarms.h; 0: not set */
};

struct executor {
    void (*submit)(struct executor *executor, enum work_kind kind, struct work *work);
    void (*alarm_set)(struct executor *executor, struct alarm *alarm, int64_t after_ms);
    bool (*alarm_cancel)(struct executor *executor, struct alarm *alarm);
    int (*random)(struct executor *executor, void *out, size_t len);
    void (*silence)(struct executor *executor);
    void (*settle)(struct executor *executor);
    void (*pause)(struct executor *executor, int64_t ms);
};

static inline void executor_prompt(struct executor *executor, struct work *work)
{
    executor->submit(executor, WORK_PROMPT, work);
}

static inline void executor_bulk(struct executor *executor, struct work *work)
{
    executor->submit(executor, WORK_BULK, work);
}

void alarm_init(struct alarm *alarm, enum work_kind kind, void (*ring)(struct alarm *alarm));

/* Rings once, after_ms from now (0 and less: at once). One that is set already is moved. One whose last ring has not
 * begun when the next is due rings once for both; one that has begun may overlap with the next. */
static inline void alarm_set(struct executor *executor, struct alarm *alarm, int64_t after_ms)
{
    executor->alarm_set(executor, alarm, after_ms);
}

/* true: it was set and does not ring. false: it was not set, or is about to ring, is ringing or has rung. */
static inline bool alarm_cancel(struct executor *executor, struct alarm *alarm)
{
    return executor->alarm_cancel(executor, alarm);
}

/* Random bytes that nobody can foretell. 0 or a negative errno. */
static inline int executor_random(struct executor *executor, void *out, size_t len)
{
    return executor->random(executor, out, len);
}

/* A new id. 0, or the errno of executor_random(). */
int executor_uuid(struct executor *executor, uint8_t out[UUID_BYTES]);

/* ---- for a stop ---- */

/* From here on no alarm rings: those that are set are dropped, and so are those that are set later. What has begun to
 * ring goes on. */
static inline void executor_silence(struct executor *executor)
{
    executor->silence(executor);
}

/* Returns when no work is queued or under way, those that works submit meanwhile included. Not from a work. */
static inline void executor_settle(struct executor *executor)
{
    executor->settle(executor);
}

/* Lets `ms` go by: for a start or a stop that polls what nobody tells it. Not from a work. */
static inline void executor_pause(struct executor *executor, int64_t ms)
{
    executor->pause(executor, ms);
}

#endif
