/* replication/executor/node_loop.h: one libuv loop on a thread of its own: one-shot timers in a heap, and works handed
 * to libuv's pool. node.h's node_timer and node_work run here. The only user of uv.h. */
#ifndef LOGMNT_REPLICATION_EXECUTOR_NODE_LOOP_H
#define LOGMNT_REPLICATION_EXECUTOR_NODE_LOOP_H

#include "engine/base/clock.h"
#include "engine/base/err.h"
#include "replication/node/node.h"

struct node_loop;

/* Starts the thread. -ENOMEM, errnos of libuv. The clock's mono_ms() is the time of the timers. */
int node_loop_start(struct clock *clock, struct node_loop **out, struct err *e);
/* Runs the works that were submitted to their end, and those that they submit; timers still set are dropped without
 * firing. Joins the thread and frees the loop. Not on the loop or the pool. */
void node_loop_stop(struct node_loop *loop);
/* Looks at the timers again: for a test that moved its clock. Any thread. */
void node_loop_wake(struct node_loop *loop);

/* As in node.h. Any thread. */
void node_loop_timer_start(struct node_loop *loop, struct node_timer *timer, int64_t after_ms);
bool node_loop_timer_cancel(struct node_loop *loop, struct node_timer *timer);
/* Is it set and not yet firing? */
bool node_loop_timer_running(struct node_loop *loop, struct node_timer *timer);
void node_loop_submit(struct node_loop *loop, struct node_work *work);

#endif
