/* replication/replica/late_replica.h: a replica that answers as one on another node does: later, by another thread,
 * with bytes in memory, and in pieces that end anywhere.
 *
 * For a test build alone (LOGMNT_LATE_REPLICA, `make late`): the reading stories of tests/mount are told over it, so
 * that whoever asks is known to be right where the replica is not here. Production has none of it. */
#ifndef LOGMNT_REPLICATION_REPLICA_LATE_REPLICA_H
#define LOGMNT_REPLICATION_REPLICA_LATE_REPLICA_H

#include "replication/replica/partition_read.h"

/* As partition_read_submit(), but never over at once, unless there is no memory: -ENOMEM. */
int late_replica_submit(struct read_op *op);

#endif
