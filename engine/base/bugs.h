/* engine/base/bugs.h: errors that others made, to be put in by the test that must find them (tests/sim/sim_bugs.c).
 * Only a build with -DLOGMNT_BUGS has them; those of the metadata quorum are raft_bugs.h. */
#ifndef LOGMNT_ENGINE_BASE_BUGS_H
#define LOGMNT_ENGINE_BASE_BUGS_H

#include <stdbool.h>

#ifdef LOGMNT_BUGS
struct bugs {
    bool cuts_to_high_watermark; /* KIP-101: who follows anew goes back to what it knows to be committed */
    bool diverges_once;          /* KIP-279: one comparison of epochs and no more, whatever it found */
    bool fetches_not_fenced;     /* KIP-320: a fetch, and its answer, are taken in any epoch */
    bool isr_not_compared;       /* KIP-497: a change of an ISR is decided whatever that is by then */
    bool stale_epoch_joins;      /* KIP-903: who has registered anew joins by what was known of it before */
    bool mark_before_cut;        /* KAFKA-14704: a high watermark that comes with a divergence counts before the cut */
    bool isr_keeps_old_end;      /* KAFKA-15221: who comes back joins by what its last process had */
    bool counts_diverging;       /* KAFKA-13141: the fetch of a log that does not agree counts */
    bool leads_on_after_loss;    /* KAFKA-10527: who lost what was not on its disk leads on in the same epoch */
    bool appends_twice;          /* a log takes what was sent again once more */
    bool gaps_taken;             /* and the later one of two that were sent again before the earlier one */
    bool cut_epochs_unsynced;    /* KAFKA-16541: a cut is on the disk before the map of epochs says so */
    bool compacts_undecided;     /* KAFKA-13194: compaction passes the high watermark */
    bool compaction_loses_end;   /* KAFKA-17076: a segment ends with the last record that is left in it */
    bool answers_before_known;   /* Redpanda 5090: a new leader answers before it knows what its predecessor showed */
    bool recovery_point_ahead;   /* KAFKA-10101: it moves over a tail that nobody has flushed */
    bool clean_mark_late;        /* KAFKA-10471: the mark of a clean stop goes when the start is through */
    bool appends_after_failure;  /* KAFKA-10778: a failed write or flush does not end the log */
    bool seal_ends_by_time;      /* logmnt's own: a partition takes appends while its rmdir may still be decided */
    bool judged_by_asker;        /* likewise: a right that is gone elsewhere is there where that is not known yet */
    bool later_clock_wins;       /* Cassandra's last write wins: a setting of a clock that is behind changes nothing */
    bool lease_from_answer;      /* a lease begins when the answer comes, not when the heartbeat was sent */
    bool lease_not_asked;        /* a leader takes appends in for as long as it has not heard of another one */
    bool session_not_granted;    /* a new controller takes for silent whom it has not heard yet */
    bool snapshot_of_some;       /* a snapshot of the metadata leaves out what is set on topics */
    /* Of consumer groups. */
    bool commits_unfenced;        /* KAFKA-6052, KIP-1251's reverse: whoever was a member commits anything */
    bool offsets_taken_for_none;  /* KAFKA-9835: what cannot be read yet is read as empty */
    bool coordinator_unloaded;    /* KAFKA-4682: it answers before it has loaded */
    bool old_coordinator_goes_on; /* KAFKA-5154: it tells what nobody will ever commit */
    bool given_before_let_go;     /* KIP-848 revokes first: the next owner has it while the last one goes on */
    bool leaver_keeps_its_target; /* KAFKA-15556: what a member had is nobody's once it is gone */
};
extern struct bugs bugs;
#define BUG(name) (bugs.name)
#else
#define BUG(name) false
#endif

#endif
