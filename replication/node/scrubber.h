/* replication/node/scrubber.h: the slow check of all closed segments' CRCs: LIMIT_SCRUB_BYTES_PER_SECOND while a round
 * is under way, a round at most every LIMIT_SCRUB_ROUND_MS. Between rounds it has no timer. */
#ifndef LOGMNT_REPLICATION_NODE_SCRUBBER_H
#define LOGMNT_REPLICATION_NODE_SCRUBBER_H

#include <stdatomic.h>

#include "replication/node/node.h"

struct scrubber {
    struct node *node;
    struct node_timer timer;
    struct node_work work;
    _Atomic bool active;
    bool begun;            /* the work's: this round's figures are there */
    int64_t last_round_ms; /* loop thread; INT64_MIN: none yet */
};

void scrubber_init(struct scrubber *scrubber, struct node *node);
/* Begins a round if one is due. The loop thread, at each check of retention. */
void scrubber_check(struct scrubber *scrubber);

#endif
