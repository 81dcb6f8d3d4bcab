/* replication/metadata/last_isr.h: elections by the last ISR (KIP-966): a partition whose ISR and eligible replicas are
 * empty, because all of them stopped uncleanly, gets as leader the one of its last ISR that has most.
 *
 * The controller asks in rounds: some partitions at a time, each of whose last ISR lives; every member says what its
 * log holds; when all have, the greatest (epoch, end offset) leads. A member that cannot tell (its log is damaged)
 * leaves its partitions as they are: an operator may take it out of the replicas.
 *
 * Unclean elections (unclean.leader.election.enable) are held likewise, among the replicas that live: who cannot tell,
 * or does not in time (last_isr_late()), is passed over.
 *
 * What came of a round is judged again
 * when it is applied: the partition epoch and the node epochs have to be those of the round.
 *
 * A pure state machine beside the metadata. No clock, no locks: its owner's thread, the metadata held still. */
#ifndef LOGMNT_REPLICATION_METADATA_LAST_ISR_H
#define LOGMNT_REPLICATION_METADATA_LAST_ISR_H

#include <stdbool.h>
#include <stdint.h>

#include "replication/metadata/metadata.h"

enum { LAST_ISR_PARTITIONS = 256 /* of one round, and of one message */ };

/* What a replica has of a partition. */
struct last_isr_found {
    uint8_t topic_id[UUID_BYTES];
    int32_t index;
    int32_t epoch; /* the last one in its log; -1: it cannot tell, or in an answer to come */
    int64_t end_offset;
};

struct last_isr_partition {
    uint8_t topic_id[UUID_BYTES];
    int32_t index;
    int32_t partition_epoch;
    bool unclean;             /* anyone who lives is asked, and none of them is waited for for long */
    struct replica_set waits; /* members that have not answered */
    bool lost;                /* one cannot tell */
    /* of those that have answered, the one that has most */
    int32_t best; /* 0: none yet */
    int64_t best_node_epoch;
    int32_t best_epoch;
    int64_t best_end_offset;
};

struct last_isr {
    uint64_t round; /* rises with each; its messages carry it */
    int32_t count;  /* 0: no round is under way */
    bool lost;      /* since the restart there were some that a member could not tell about */
    struct last_isr_partition parts[LAST_ISR_PARTITIONS];
    /* Where the next round looks on. */
    size_t next_topic;
    int32_t next_part;
};

/* The next rounds begin with the first partition. Ends one that is under way: its answers count no more. */
void last_isr_restart(struct last_isr *asked);
/* Begins a round with the next partitions that can be asked for; with none of them there is no round. Returns whether
 * there may be more behind them; if not, the next call begins at the first one again. */
bool last_isr_begin(struct last_isr *asked, const struct metadata *meta);
/* What `node` is asked for, LAST_ISR_PARTITIONS at most; returns how many. */
int32_t last_isr_asks(const struct last_isr *asked, int32_t node, struct last_isr_found *out);
/* Its answer, in its registration node_epoch. Of another round, or what was not asked: ignored. */
void last_isr_answer(struct last_isr *asked, uint64_t round, int32_t node, int64_t node_epoch,
                     const struct last_isr_found *found, int32_t count);
/* Every member has answered. */
bool last_isr_complete(const struct last_isr *asked);
/* Time is up for a round: of those that have not answered nothing is waited for any more where the election is an
 * unclean one; the others are asked for again. Returns whether anything is left of the round, which is complete. The
 * next one begins with the first partition. */
bool last_isr_late(struct last_isr *asked);
/* Ends a round that is complete. 1: *out is the command to propose (command_free() it); 0: nothing came of it;
 * -ENOMEM. */
int last_isr_end(struct last_isr *asked, const struct metadata *meta, struct command *out);

#endif
