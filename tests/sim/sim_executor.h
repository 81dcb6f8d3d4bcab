/* tests/sim/sim_executor.h: one node's executor and clock in a simulation: works and alarms that wait to be run, on one
 * thread, in an order that chance decides within what executor.h promises.
 *
 * Works of a kind begin in the order of their submission; which kind is next, and what of other nodes comes between, is
 * chance. A work runs to its end at once. An alarm that is due becomes a work of its kind. Time passes only when the
 * simulation says so. */
#ifndef LOGMNT_TESTS_SIM_EXECUTOR_H
#define LOGMNT_TESTS_SIM_EXECUTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/clock.h"
#include "replication/executor/alarms.h"
#include "replication/executor/executor.h"

/* The simulation's one time, and a node's view of it. */
struct sim_clock {
    struct clock clock;
    const int64_t *now_ms; /* the simulation's */
    int64_t wall_offset_ms;
    int64_t mono_offset_ms;
    int32_t drift_ppm; /* runs this much faster (or slower) */
};

void sim_clock_init(struct sim_clock *clock, const int64_t *now_ms, int64_t wall_offset_ms, int32_t drift_ppm);

struct sim_executor {
    struct executor executor;
    struct sim_clock *clock;
    uint64_t random; /* of its own: the node's random bytes, and which kind is next */
    struct {
        struct work *first, **last;
        unsigned count;
    } queues[WORK_KINDS];
    struct alarms alarms;
    bool silent;
    uint64_t works_run;
    /* Others live on while the node pauses at a start or a stop; NULL: there are none. */
    void (*meanwhile)(void *arg, int64_t ms);
    void *arg;
};

void sim_executor_init(struct sim_executor *executor, struct sim_clock *clock, uint64_t seed);
/* Nothing may be queued. */
void sim_executor_free(struct sim_executor *executor);

/* Whatever is queued is forgotten: its process is no more. */
void sim_executor_abandon(struct sim_executor *executor);

/* Is there something to run now? Moves alarms that are due to their queues. */
bool sim_executor_ready(struct sim_executor *executor);
/* Runs one work. There is one. */
void sim_executor_step(struct sim_executor *executor);
/* When the next alarm is due, on the simulation's clock; INT64_MAX: none is set. */
int64_t sim_executor_next_ms(const struct sim_executor *executor);

#endif
