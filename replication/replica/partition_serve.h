/* replication/replica/partition_serve.h: what other nodes' reads of a partition are answered here, by its leader or a
 * replica that is in sync, from its log below its own high watermark. Each may wait for the disk; heads are the
 * caller's. Any thread. */
#ifndef LOGMNT_REPLICATION_REPLICA_PARTITION_SERVE_H
#define LOGMNT_REPLICATION_REPLICA_PARTITION_SERVE_H

#include "replication/replica/partition.h"
#include "replication/wire/read_message.h"

/* Whether it leads here, or is in sync. */
bool partition_serves(struct partition *part);
/* body has room for request->max bytes. Returns how many of them are the answer's. */
size_t partition_serve_read(struct partition *part, const struct read_request *request, struct read_answer *answer,
                            uint8_t *body);
void partition_serve_lookup(struct partition *part, const struct lookup_request *request, struct lookup_answer *answer);
void partition_serve_stat(struct partition *part, struct stat_answer *answer);

#endif
