/* tests/sim/sim_executor.c: the queues, the alarms, and time as a node sees it. */
#include "tests/sim/sim_executor.h"

#include <assert.h>
#include <string.h>

#include "engine/base/container.h"
#include "tests/sim/chance.h"

/* ---- the clock ---- */

static struct sim_clock *clock_of(struct clock *clock)
{
    return CONTAINER_OF(clock, struct sim_clock, clock);
}

static int64_t elapsed_ms(const struct sim_clock *clock)
{
    return *clock->now_ms + *clock->now_ms * clock->drift_ppm / 1000000;
}

static int64_t mono_ms(struct clock *clock)
{
    return elapsed_ms(clock_of(clock)) + clock_of(clock)->mono_offset_ms;
}

static int64_t wall_ms(struct clock *clock)
{
    return elapsed_ms(clock_of(clock)) + clock_of(clock)->wall_offset_ms;
}

void sim_clock_init(struct sim_clock *clock, const int64_t *now_ms, int64_t wall_offset_ms, int32_t drift_ppm)
{
    *clock = (struct sim_clock){.clock = {.wall_ms = wall_ms, .mono_ms = mono_ms},
                                .now_ms = now_ms,
                                .wall_offset_ms = wall_offset_ms,
                                .drift_ppm = drift_ppm};
}

/* ---- the executor ---- */

static struct sim_executor *of(struct executor *executor)
{
    return CONTAINER_OF(executor, struct sim_executor, executor);
}

static void submit(struct executor *executor, enum work_kind kind, struct work *work)
{
    struct sim_executor *sim = of(executor);
    assert(!work->queued);
    kind = kind == WORK_URGENT ? WORK_PROMPT : kind; /* there is one thread, and chance is the same for both */
    work->queued = true;
    work->next = NULL;
    *sim->queues[kind].last = work;
    sim->queues[kind].last = &work->next;
    sim->queues[kind].count++;
}

static void set_alarm(struct executor *executor, struct alarm *alarm, int64_t after_ms)
{
    struct sim_executor *sim = of(executor);
    if (alarms_hold(alarm))
        alarms_remove(&sim->alarms, alarm);
    if (sim->silent)
        return;
    alarm->deadline_ms = alarms_deadline_ms(mono_ms(&sim->clock->clock), after_ms);
    alarms_add(&sim->alarms, alarm);
}

static bool cancel_alarm(struct executor *executor, struct alarm *alarm)
{
    if (!alarms_hold(alarm))
        return false;
    alarms_remove(&of(executor)->alarms, alarm);
    return true;
}

static int random_bytes(struct executor *executor, void *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (uint8_t)chance_next(&of(executor)->random);
    return 0;
}

static void silence(struct executor *executor)
{
    of(executor)->silent = true;
    alarms_clear(&of(executor)->alarms);
}

/* Whoever stops waits for nothing but its own works: they are run here. */
static void settle(struct executor *executor)
{
    struct sim_executor *sim = of(executor);
    while (sim_executor_ready(sim))
        sim_executor_step(sim);
}

/* Time that passes in the middle of a call passes for all nodes. Where there are no others, who polls at a start or a
 * stop finds at once what there is to be found. */
static void pause_ms(struct executor *executor, int64_t ms)
{
    struct sim_executor *sim = of(executor);
    if (sim->meanwhile != NULL)
        sim->meanwhile(sim->arg, ms);
    else
        sim->clock->mono_offset_ms += ms;
}

void sim_executor_init(struct sim_executor *sim, struct sim_clock *clock, uint64_t seed)
{
    *sim = (struct sim_executor){.executor = {.submit = submit,
                                              .alarm_set = set_alarm,
                                              .alarm_cancel = cancel_alarm,
                                              .random = random_bytes,
                                              .silence = silence,
                                              .settle = settle,
                                              .pause = pause_ms},
                                 .clock = clock,
                                 .random = seed};
    for (int kind = 0; kind < WORK_KINDS; kind++)
        sim->queues[kind].last = &sim->queues[kind].first;
}

void sim_executor_free(struct sim_executor *sim)
{
    for (int kind = 0; kind < WORK_KINDS; kind++)
        assert(sim->queues[kind].count == 0);
    alarms_free(&sim->alarms);
}

void sim_executor_abandon(struct sim_executor *sim)
{
    alarms_free(&sim->alarms);
}

bool sim_executor_ready(struct sim_executor *sim)
{
    int64_t now_ms = mono_ms(&sim->clock->clock);
    struct alarm *alarm;
    while ((alarm = alarms_first(&sim->alarms)) != NULL && alarm->deadline_ms <= now_ms) {
        alarms_remove(&sim->alarms, alarm);
        /* One whose last ring has not begun rings once for both. */
        if (!alarm->work.queued)
            submit(&sim->executor, alarm->kind, &alarm->work);
    }
    return sim->queues[WORK_PROMPT].count + sim->queues[WORK_BULK].count > 0;
}

void sim_executor_step(struct sim_executor *sim)
{
    unsigned prompt = sim->queues[WORK_PROMPT].count, bulk = sim->queues[WORK_BULK].count;
    assert(prompt + bulk > 0);
    enum work_kind kind = bulk == 0 || (prompt > 0 && !chance_in(&sim->random, 4)) ? WORK_PROMPT : WORK_BULK;
    struct work *work = sim->queues[kind].first;
    sim->queues[kind].first = work->next;
    if (sim->queues[kind].first == NULL)
        sim->queues[kind].last = &sim->queues[kind].first;
    sim->queues[kind].count--;
    sim->works_run++;
    work->queued = false;
    work->run(work);
}

int64_t sim_executor_next_ms(const struct sim_executor *sim)
{
    const struct alarm *alarm = alarms_first(&sim->alarms);
    if (alarm == NULL)
        return INT64_MAX;
    int64_t wait_ms = alarm->deadline_ms - mono_ms(&sim->clock->clock);
    return *sim->clock->now_ms + (wait_ms > 0 ? wait_ms : 0);
}
