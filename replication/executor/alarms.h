/* replication/executor/alarms.h: the alarms that are set, the earliest first: a binary heap of pointers. For those who
 * implement an executor.
 *
 * Alarms of one deadline come out in an order that depends on nothing but what was put in and taken out before, so that
 * a simulation repeats itself. Pure; the executor's lock guards it. */
#ifndef LOGMNT_REPLICATION_EXECUTOR_ALARMS_H
#define LOGMNT_REPLICATION_EXECUTOR_ALARMS_H

#include "replication/executor/executor.h"

/* Zero-initialise. */
struct alarms {
    struct alarm **heap; /* 1 … count */
    size_t count, room;
};

void alarms_free(struct alarms *alarms);

/* deadline_ms is set, and the alarm is not in it. Aborts the process where there is no memory for a pointer: the heap
 * doubles, so that this is a matter of some bytes, and who sets an alarm has no way to go on without it. */
void alarms_add(struct alarms *alarms, struct alarm *alarm);
void alarms_remove(struct alarms *alarms, struct alarm *alarm);
static inline bool alarms_hold(const struct alarm *alarm)
{
    return alarm->heap_index != 0;
}
/* The earliest; NULL: none is set. It stays in. */
struct alarm *alarms_first(const struct alarms *alarms);
void alarms_clear(struct alarms *alarms);

/* after_ms from now_ms, and never behind the end of time. */
int64_t alarms_deadline_ms(int64_t now_ms, int64_t after_ms);

#endif
