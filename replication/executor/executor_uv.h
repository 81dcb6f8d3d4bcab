/* replication/executor/executor_uv.h: the executor of a daemon: one libuv loop on a thread of its own, which keeps the
 * time and serves the peers, and two pools of threads with a queue each. */
#ifndef LOGMNT_REPLICATION_EXECUTOR_EXECUTOR_UV_H
#define LOGMNT_REPLICATION_EXECUTOR_EXECUTOR_UV_H

#include "engine/base/clock.h"
#include "engine/base/err.h"
#include "replication/executor/executor.h"

struct uv_loop_s;

/* Starts the threads. The clock's mono_ms() is the time of the alarms. -ENOMEM, -EAGAIN, errnos of libuv. */
int executor_uv_start(struct clock *clock, struct executor **out, struct err *e);
/* As executor_silence() and executor_settle(); then joins the threads and frees it. Not from a work. */
void executor_uv_stop(struct executor *executor);

/* A call on the thread of the loop, for what lives there (peers.h). The caller embeds it and sets run. */
struct loop_call {
    void (*run)(struct loop_call *call, struct uv_loop_s *loop);
    /* the executor's */
    struct loop_call *next;
    bool over;
};

/* Calls run() on the loop's thread and returns when executor_uv_called() has said that it is over. One that is made
 * after executor_uv_stop() has begun, or on the loop's thread, never is. */
void executor_uv_call(struct executor *executor, struct loop_call *call);
/* The call is over: from run(), or from what the loop calls later. The caller's from here on. The loop's thread. */
void executor_uv_called(struct executor *executor, struct loop_call *call);

/* For tests. Looks at the alarms again, after the clock was moved. */
void executor_uv_look(struct executor *executor);
/* Is it set, and has not begun to ring? */
bool executor_uv_is_set(struct executor *executor, struct alarm *alarm);

#endif
