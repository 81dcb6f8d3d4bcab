/* tests/unit/hand_executor.h: an executor of one thread, the caller's, and of a clock that the test moves: works are
 * done when the test lets them, in the order of their submission, prompt ones first. Random bytes are numbers in a row.
 */
#ifndef LOGMNT_TESTS_UNIT_HAND_EXECUTOR_H
#define LOGMNT_TESTS_UNIT_HAND_EXECUTOR_H

#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/container.h"
#include "replication/executor/alarms.h"

struct hand_executor {
    struct executor executor;
    struct clock *clock;
    void (*pass)(void *arg, int64_t ms); /* moves the clock */
    void *arg;
    struct alarms alarms;
    struct work *first[WORK_KINDS], **last[WORK_KINDS];
    bool silent;
    uint8_t chance;
};

static inline void hand_submit(struct executor *base, enum work_kind kind, struct work *work)
{
    struct hand_executor *hand = CONTAINER_OF(base, struct hand_executor, executor);
    kind = kind == WORK_URGENT ? WORK_PROMPT : kind;
    work->queued = true;
    work->next = NULL;
    *hand->last[kind] = work;
    hand->last[kind] = &work->next;
}

static inline void hand_ring(struct hand_executor *hand, struct alarm *alarm)
{
    if (!alarm->work.queued)
        hand_submit(&hand->executor, alarm->kind, &alarm->work);
}

static inline void hand_alarm_set(struct executor *base, struct alarm *alarm, int64_t after_ms)
{
    struct hand_executor *hand = CONTAINER_OF(base, struct hand_executor, executor);
    if (alarms_hold(alarm))
        alarms_remove(&hand->alarms, alarm);
    alarm->deadline_ms = alarms_deadline_ms(hand->clock->mono_ms(hand->clock), after_ms);
    if (!hand->silent && after_ms <= 0)
        hand_ring(hand, alarm);
    else if (!hand->silent)
        alarms_add(&hand->alarms, alarm);
}

static inline bool hand_alarm_cancel(struct executor *base, struct alarm *alarm)
{
    struct hand_executor *hand = CONTAINER_OF(base, struct hand_executor, executor);
    bool set = alarms_hold(alarm);
    if (set)
        alarms_remove(&hand->alarms, alarm);
    return set;
}

static inline int hand_random(struct executor *base, void *out, size_t len)
{
    struct hand_executor *hand = CONTAINER_OF(base, struct hand_executor, executor);
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = hand->chance++;
    return 0;
}

static inline void hand_silence(struct executor *base)
{
    struct hand_executor *hand = CONTAINER_OF(base, struct hand_executor, executor);
    hand->silent = true;
    alarms_clear(&hand->alarms);
}

/* Does the next work. false: there is none. */
static inline bool hand_step(struct hand_executor *hand)
{
    struct alarm *alarm;
    while ((alarm = alarms_first(&hand->alarms)) != NULL && alarm->deadline_ms <= hand->clock->mono_ms(hand->clock)) {
        alarms_remove(&hand->alarms, alarm);
        hand_ring(hand, alarm);
    }
    for (int kind = 0; kind < WORK_KINDS; kind++) {
        struct work *work = hand->first[kind];
        if (work == NULL)
            continue;
        hand->first[kind] = work->next;
        if (work->next == NULL)
            hand->last[kind] = &hand->first[kind];
        work->queued = false;
        work->run(work);
        return true;
    }
    return false;
}

static inline void hand_settle(struct executor *base)
{
    while (hand_step(CONTAINER_OF(base, struct hand_executor, executor)))
        ;
}

static inline void hand_pause(struct executor *base, int64_t ms)
{
    struct hand_executor *hand = CONTAINER_OF(base, struct hand_executor, executor);
    hand->pass(hand->arg, ms);
    hand_settle(base);
}

static inline void hand_executor_init(struct hand_executor *hand, struct clock *clock,
                                      void (*pass)(void *arg, int64_t ms), void *arg)
{
    *hand = (struct hand_executor){.executor = {.submit = hand_submit,
                                                .alarm_set = hand_alarm_set,
                                                .alarm_cancel = hand_alarm_cancel,
                                                .random = hand_random,
                                                .silence = hand_silence,
                                                .settle = hand_settle,
                                                .pause = hand_pause},
                                   .clock = clock,
                                   .pass = pass,
                                   .arg = arg,
                                   .chance = 1};
    for (int kind = 0; kind < WORK_KINDS; kind++)
        hand->last[kind] = &hand->first[kind];
}

static inline void hand_executor_free(struct hand_executor *hand)
{
    alarms_free(&hand->alarms);
}

#endif
