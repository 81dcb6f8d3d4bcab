/* replication/replica/deleter.h: DeleteRecords of all partitions, by one prompt work at a time: those that come
 * together share a checkpoint, and however many there are one thread waits for the disk. */
#ifndef LOGMNT_REPLICATION_REPLICA_DELETER_H
#define LOGMNT_REPLICATION_REPLICA_DELETER_H

#include <pthread.h>
#include <stdbool.h>

#include "replication/executor/executor.h"

struct replica_manager;
struct partition;

struct deleter {
    struct replica_manager *manager;
    pthread_mutex_t lock;
    struct partition *first, **last; /* with ops that have not begun, each referenced */
    bool busy;                       /* the work is queued or under way */
    struct work work;
};

void deleter_init(struct deleter *deleter, struct replica_manager *manager);
void deleter_free(struct deleter *deleter);
/* A partition has ops, and is not in the list. Any thread. */
void deleter_request(struct deleter *deleter, struct partition *part);

#endif
