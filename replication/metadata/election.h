/* replication/metadata/election.h: what is to become of one partition: a pure function of how it stands and of which
 * nodes live.
 *
 * The controller asks for each partition that a change of nodes, settings or replicas may concern; the answers go into
 * CHANGE_PARTITIONS commands as explicit results, so that builds of different versions never disagree on what was
 * decided.
 *
 * The rules: leaders come from the ISR, then from the eligible leader replicas (KIP-966), and only where
 * unclean.leader.election.enable says so from any replica: of those that live the one with the greatest (epoch, end
 * offset), for which they are asked (last_isr.h). A member that leaves the ISR while it falls below
 * min.insync.replicas stays eligible, for nothing is committed without it. One that lost what was not on its disk goes
 * to the last ISR (election_forget()); when ISR and eligible replicas are empty, all of the last ISR have to be heard
 * before the one with the greatest (epoch, end offset) leads. An election takes nobody but the leader out of the last
 * ISR: who is elected may have lost its power, too, and not be back. A leader that others are in sync with does, enough
 * of them to commit something (KIP-966 for its last known eligible leaders). */
#ifndef LOGMNT_REPLICATION_METADATA_ELECTION_H
#define LOGMNT_REPLICATION_METADATA_ELECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "replication/metadata/replica_set.h"

enum { LEADER_NONE = -1 };

/* A partition as the cluster knows it. */
struct partition_registration {
    struct replica_set replicas; /* the first one is preferred as leader */
    struct replica_set target;   /* a move: what replicas shall become; none: no move */
    struct replica_set isr;
    struct replica_set elr;      /* eligible: outside the ISR, with all that was committed */
    struct replica_set last_isr; /* members that stopped uncleanly, until that is settled */
    int32_t leader;              /* LEADER_NONE */
    int32_t leader_epoch;        /* rises with each election */
    int32_t partition_epoch;     /* rises with each change of any of this */
};

/* What elections have to know of the nodes. */
struct election_nodes {
    bool (*lives)(const void *arg, int32_t node); /* registered and not fenced */
    bool (*stays)(const void *arg, int32_t node); /* lives, and is not shutting down: it may lead and be in sync */
    const void *arg;
};

struct election_rules {
    int32_t min_insync_replicas;
    bool unclean; /* unclean.leader.election.enable */
};

/* The state that the partition should have now: dead members out of the ISR, a leader where one may be had, a move that
 * is through ended. Epochs are as in part; `leader` differs where there is an election. Returns whether anything
 * differs from part. */
bool election_settle(const struct partition_registration *part, const struct election_nodes *nodes,
                     const struct election_rules *rules, struct partition_registration *out);
/* As election_settle(), with the preferred replica as leader where it is in the ISR and may lead. */
bool election_prefer(const struct partition_registration *part, const struct election_nodes *nodes,
                     const struct election_rules *rules, struct partition_registration *out);
/* A move of the partition to those replicas, in that order, begins, in the place of one that is under way: they are
 * added; who is none of them goes once all of them are in sync, or at once if nothing depends on it. false: that would
 * be more than LIMIT_REPLICA_SET. */
bool election_move(const struct partition_registration *part, const struct replica_set *target,
                   struct partition_registration *out);
/* A change of the ISR by the partition's leader: the eligible replicas follow from it. */
void election_set_isr(const struct partition_registration *part, const struct replica_set *isr,
                      const struct election_rules *rules, struct partition_registration *out);
/* The node has stopped uncleanly (or comes with another disk: lost): it is neither in sync nor eligible any more.
 * Returns whether anything differs. */
bool election_forget(const struct partition_registration *part, int32_t node, bool lost,
                     struct partition_registration *out);
/* The node's log is damaged, and others go on without it: it is neither in sync nor eligible nor waited for, and
 * whoever leads from here on does so in a new epoch, which *out has already. false: it is the only one in sync, or the
 * only one that is known to have what was committed. */
bool election_resign(const struct partition_registration *part, int32_t node, const struct election_nodes *nodes,
                     const struct election_rules *rules, struct partition_registration *out);
/* The node's disk does not do what it should (its log is offline, or hangs), and others go on without it: it leads no
 * more and is neither in sync nor eligible, and whoever leads from here on does so in a new epoch, which *out has
 * already. As who leaves the ISR is eligible while that is too small to commit anything, it is in the last ISR then:
 * it may have lost what it had. false: nobody else could lead; or it is neither in sync nor eligible. */
bool election_withdraw(const struct partition_registration *part, int32_t node, const struct election_nodes *nodes,
                       const struct election_rules *rules, struct partition_registration *out);
/* That replica leads, and it alone is in sync: after an unclean stop of all, or an unclean election. */
void election_appoint(const struct partition_registration *part, int32_t node, struct partition_registration *out);

/* Whether nobody lives who may lead but by an unclean election, which the rules allow: *asked are the replicas that do.
 */
bool election_needs_unclean(const struct partition_registration *part, const struct election_nodes *nodes,
                            const struct election_rules *rules, struct replica_set *asked);
/* Whether the ISR and the eligible replicas are empty, so that the last ISR decides. */
bool election_needs_last_isr(const struct partition_registration *part);
bool partition_registration_equal(const struct partition_registration *a,
                                  const struct partition_registration *b); /* epochs too */

#endif
