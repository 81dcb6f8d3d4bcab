/* replication/metadata/proposal.h: what the quorum keeps of a command until it is over (quorum_ops.c), and the lists
 * that it lies in. */
#ifndef LOGMNT_REPLICATION_METADATA_PROPOSAL_H
#define LOGMNT_REPLICATION_METADATA_PROPOSAL_H

#include "replication/metadata/quorum.h"

/* It may have to be applied when its op is over. */
struct proposal {
    struct quorum_op *op; /* the lock; NULL: another node's, or nobody waits for it any more */
    int64_t deadline_ms;
    bool forgiven; /* it waits longer, since this node stood still */
    struct command cmd;
    void *data; /* cmd, encoded */
    size_t len;
    int32_t epoch; /* in which it was given; 0: QUEUED */
    int32_t asked; /* another node's: the epoch that it was sent in */
    /* Another node's: what was decided when it came. Its origin may have acted upon all of it, so that a refusal by who
     * has applied less is none. */
    int64_t seen_offset;
    struct proposal *next;
};

/* A copy of the command. NULL: no memory. */
struct proposal *proposal_new(const struct command *cmd);
void proposal_free(struct proposal *proposal);

/* The following under the quorum's lock. Its op is over, and somebody else's to answer from here on. NULL: it was over
 * already. */
struct quorum_op *proposal_detach(struct proposal *proposal);
/* `last`: the list's last link. */
void proposal_put_last(struct proposal *proposal, struct proposal ***last);
void proposal_take_out(struct proposal *proposal, struct proposal **list, struct proposal ***last);
/* Who proposed it, and its number there. NULL: there is none. */
struct proposal *proposal_find(struct proposal *list, int32_t node, uint64_t number);

#endif
