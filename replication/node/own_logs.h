/* replication/node/own_logs.h: what this node's logs have of the partitions of which the controller asks before it
 * appoints a leader (last_isr.h).
 *
 * By a prompt work, since one that could not be opened for want of room may find some now, and is recovered then:
 * heartbeats do not wait for that. One question at a time; who asks asks again. */
#ifndef LOGMNT_REPLICATION_NODE_OWN_LOGS_H
#define LOGMNT_REPLICATION_NODE_OWN_LOGS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "replication/metadata/member_message.h"

struct node;

struct own_logs {
    struct node *node;
    _Atomic bool busy;
};

void own_logs_init(struct own_logs *logs, struct node *node);
/* The answer goes to node `from`, which may be this one; or none does. Waits for nothing. */
void own_logs_ask(struct own_logs *logs, int32_t from, const struct last_isr_message *msg);

#endif
