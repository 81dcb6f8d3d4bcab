/* replication/metadata/raft_bugs.h: errors that others made, to be put in by the test that must find them
 * (tests/quorum). Only a build with -DLOGMNT_BUGS has them. */
#ifndef LOGMNT_REPLICATION_METADATA_RAFT_BUGS_H
#define LOGMNT_REPLICATION_METADATA_RAFT_BUGS_H

#include <stdbool.h>

#ifdef LOGMNT_BUGS
struct raft_bugs {
    bool lease_from_arrival; /* a fetch counts for the lease from when it is read, however long it lay in a socket */
    bool lone_voter_keeps_epoch;    /* elects itself without a new epoch, and reuses (offset, epoch) after a crash */
    bool ack_moves_back;            /* an old fetch moves the leader's idea of a follower back */
    bool high_watermark_moves_back; /* it is whatever the majority says now */
    bool change_at_batch_offset;    /* the first offset of the batch is taken for the voters' record's */
    bool voters_before_lost;        /* a truncated change leaves no voters, or old ones */
    bool removed_voter_stands;      /* who was removed goes on as a voter, and asks nobody first */
    bool answer_echoes_epoch;       /* pre-votes are answered with the asker's epoch */
    bool candidate_skips_pre_vote;  /* after a failed election the next one follows in the next epoch */
    bool bootstrap_by_majority;     /* two of three lost disks make a new cluster */
    bool wiped_voter_votes;         /* the incarnation that a vote is asked of is not looked at */
    bool ack_before_flush;          /* what was fetched counts, not what was flushed */
    bool old_epoch_counted;         /* records of an older epoch are decided by counting */
    bool never_resigns;             /* a leader that nobody fetches from goes on */
    bool answers_early;             /* a new leader answers before it knows what was decided */
    bool change_before_own_epoch;   /* voters change before a record of the leader's epoch is decided */
    bool pre_vote_with_leader;      /* a voter with a living leader grants pre-votes */
    bool vote_not_persisted;        /* a vote is sent before it is on the disk */
    bool two_changes_at_once;       /* the next step of the voters does not wait for the last to be decided */
    bool votes_for_behind;          /* the candidate's log is not looked at */
    bool snapshot_epoch_unread;     /* who parts before the log's start is only known by its offset */
};
extern struct raft_bugs raft_bugs;
#define RAFT_BUG(name) (raft_bugs.name)
#else
#define RAFT_BUG(name) false
#endif

#endif
