/* replication/node/scrubber.h: the slow check of all closed segments' CRCs: LIMIT_SCRUB_BYTES_PER_SECOND while a round
 * is under way, a round at most every LIMIT_SCRUB_ROUND_MS. Between rounds no alarm is set. */
#ifndef LOGMNT_REPLICATION_NODE_SCRUBBER_H
#define LOGMNT_REPLICATION_NODE_SCRUBBER_H

#include <stdatomic.h>

#include "replication/node/node.h"

struct scrubber {
    struct node *node;
    struct alarm alarm;
    _Atomic bool active;   /* a round is under way */
    bool begun;            /* the work's: this round's figures are there */
    int64_t last_round_ms; /* whoever makes it active; INT64_MIN: none yet */
};

void scrubber_init(struct scrubber *scrubber, struct node *node);
/* Begins a round if one is due: at each check of retention. */
void scrubber_check(struct scrubber *scrubber);

#endif
