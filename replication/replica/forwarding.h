/* replication/replica/forwarding.h: what nodes ask each other about partitions that one of them leads: frames to the
 * partitions they are about, and this process's producer id.
 *
 * Requests and answers are taken apart on the transport's thread and worked on in turns: those about one partition in
 * the order in which they came, those about others beside them. A link's beginning or end is told to all partitions.
 *
 * The producer id is a new one for each process (COMMAND_PRODUCER_IDS), asked for when the first peer is met, or by the
 * first who needs it, and again until it is granted; a node alone never asks. */
#ifndef LOGMNT_REPLICATION_REPLICA_FORWARDING_H
#define LOGMNT_REPLICATION_REPLICA_FORWARDING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "replication/executor/mailbox.h"
#include "replication/metadata/quorum.h"
#include "replication/wire/network.h"

struct replica_manager;

enum { FORWARDING_BOXES = 16 };

struct forwarding {
    struct replica_manager *manager;
    struct mailbox boxes[FORWARDING_BOXES];
    struct mailbox links; /* kicked when one began or ended */
    struct network_listener listener;

    _Atomic int64_t producer_id; /* -1: none yet */
    _Atomic int64_t granted;     /* the first of the ids that this node was granted last */
    _Atomic bool asking;         /* from the first time on */
    struct work ask;
    struct alarm again;       /* it was not granted */
    struct alarm links_again; /* there was no memory to look at all partitions */
    struct quorum_op op;
    _Atomic int64_t node_epoch; /* of this process's registration; -1: not yet */
};

/* network_send(), also to this node itself: then it comes as if it had been sent. */
int forwarding_send(struct replica_manager *manager, int32_t to, enum channel channel, enum message_kind kind,
                    const void *header, size_t header_bytes, const struct iovec *body, int body_count);
/* Of this process; -1: there is none yet, and one is asked for. */
int64_t manager_producer_id(struct replica_manager *manager);
int64_t manager_own_epoch(struct replica_manager *manager); /* of this process's registration; -1: not yet */

/* Before the network is attached. */
void forwarding_init(struct forwarding *forwarding, struct replica_manager *manager);
/* The executor is settled, and nothing comes from the network any more. */
void forwarding_free(struct forwarding *forwarding);

/* node_apply.c: ids were granted to this node; it is registered. */
void forwarding_granted(struct forwarding *forwarding, int64_t first);
void forwarding_registered(struct forwarding *forwarding, int64_t node_epoch);

#endif
