/* replication/node/forwarding.h: what nodes ask each other about partitions that one of them leads: frames to the
 * partitions they are about, and this process's producer id.
 *
 * Requests and answers are taken apart on the transport's thread and worked on in turns: those about one partition in
 * the order in which they came, those about others beside them. A link's beginning or end is told to all partitions.
 *
 * The producer id is a new one for each process (COMMAND_PRODUCER_IDS), asked for when the first peer is met, or by the
 * first who needs it, and again until it is granted; a node alone never asks. */
#ifndef LOGMNT_REPLICATION_NODE_FORWARDING_H
#define LOGMNT_REPLICATION_NODE_FORWARDING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "replication/executor/mailbox.h"
#include "replication/metadata/quorum.h"
#include "replication/wire/network.h"

struct node;

enum { FORWARDING_BOXES = 16 };

struct forwarding {
    struct node *node;
    struct mailbox boxes[FORWARDING_BOXES];
    struct mailbox links; /* kicked when one began or ended */
    struct network_listener listener;

    _Atomic int64_t producer_id; /* -1: none yet */
    _Atomic int64_t granted;     /* the first of the ids that this node was granted last */
    _Atomic bool asking;         /* from the first time on */
    struct work ask;
    struct alarm again; /* it was not granted */
    struct quorum_op op;
    _Atomic int64_t node_epoch; /* of this process's registration; -1: not yet */
};

/* Before the network is attached. */
void forwarding_init(struct forwarding *forwarding, struct node *node);
/* The executor is settled, and nothing comes from the network any more. */
void forwarding_free(struct forwarding *forwarding);

/* node_apply.c: ids were granted to this node; it is registered. */
void forwarding_granted(struct forwarding *forwarding, int64_t first);
void forwarding_registered(struct forwarding *forwarding, int64_t node_epoch);

#endif
