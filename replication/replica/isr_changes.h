/* replication/replica/isr_changes.h: changes of ISRs on their way to the controller (Kafka's AlterPartitionManager).
 *
 *     IDLE --- some partitions may have a change ---> PROPOSED, all of them in one command ---+--- applied ---> IDLE
 *      ^                                                 ^                                    |
 *      |                                                 +--- it is not known: the same again-+
 *      +--- refused for certain: taken back ------------------------------------------------- +
 *
 * Compare-and-set on partition epoch and node epochs (KIP-497, KIP-903). What is proposed counts in the maximal ISR
 * until the partition's registration says what was decided. A command that is refused for one partition is refused for
 * all: the next ones have one each, until one has passed.
 *
 * Of one that was repeated a refusal by what the partition's registration is by then (-ESTALE) says that this
 * registration will tell, and one by the nodes (-EAGAIN) that nothing was decided: the leader of the quorum that judged
 * it would have found another registration, and takes what was sent to it before in no other order. Where it had
 * several partitions each of them is repeated by itself. */
#ifndef LOGMNT_REPLICATION_REPLICA_ISR_CHANGES_H
#define LOGMNT_REPLICATION_REPLICA_ISR_CHANGES_H

#include <stdbool.h>

#include "replication/executor/mailbox.h"
#include "replication/metadata/quorum.h"

struct partition;
struct replica_manager;

enum { ISR_CHANGES_MAX = 256 };

struct isr_changes {
    struct replica_manager *manager;
    struct mailbox box;
    pthread_mutex_t lock;            /* of the list */
    struct partition *first, **last; /* by proposal.next; each holds a reference */
    struct alarm again;

    /* the turn's */
    enum { ISR_CHANGES_IDLE, ISR_CHANGES_PROPOSED, ISR_CHANGES_WAITING } state;
    bool repeated; /* PROPOSED: it was, and what became of the first is not known */
    bool single;   /* one partition a command, for now */
    struct partition *parts[ISR_CHANGES_MAX];
    struct command command;
    int32_t doubted; /* it was repeated, and refused for one of several: so many more lie behind its first change */
    struct quorum_op op;
    _Atomic bool over;
    int rc;
};

void isr_changes_init(struct isr_changes *changes, struct replica_manager *manager);
/* No turn comes any more: gives up the references. */
void isr_changes_stop(struct isr_changes *changes);
void isr_changes_free(struct isr_changes *changes);
/* The partition's ISR may be another one. Any thread; not under the partition's lock. */
void isr_changes_want(struct isr_changes *changes, struct partition *part);

#endif
