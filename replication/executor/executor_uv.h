/* replication/executor/executor_uv.h: the executor of a daemon: one libuv loop on a thread of its own, which keeps the
 * time, and two pools of threads with a queue each. The only user of uv.h. */
#ifndef LOGMNT_REPLICATION_EXECUTOR_EXECUTOR_UV_H
#define LOGMNT_REPLICATION_EXECUTOR_EXECUTOR_UV_H

#include "engine/base/clock.h"
#include "engine/base/err.h"
#include "replication/executor/executor.h"

/* Starts the threads. The clock's mono_ms() is the time of the alarms. -ENOMEM, -EAGAIN, errnos of libuv. */
int executor_uv_start(struct clock *clock, struct executor **out, struct err *e);
/* As executor_silence() and executor_settle(); then joins the threads and frees it. Not from a work. */
void executor_uv_stop(struct executor *executor);

/* For tests. Looks at the alarms again, after the clock was moved. */
void executor_uv_look(struct executor *executor);
/* Is it set, and has not begun to ring? */
bool executor_uv_is_set(struct executor *executor, struct alarm *alarm);

#endif
