/* replication/metadata/raft.h: one server of the metadata quorum as a pure state machine: an event in, actions out.
 *
 * Raft as KRaft does it: KIP-595 (the log is fetched), 630 (snapshots), 853 (voters are records, servers have
 * incarnations), 996 (pre-vote). It owns votes, voters and the high watermark. It has no thread, socket, disk, clock or
 * randomness of its own: time comes with each event, messages and log records are told to it and asked of its owner.
 * Divergence, truncation and reset belong to the fetcher, which settles them before it tells the machine of a fetch.
 *
 * Happy path: START; the timer or the first connections make it ask the voters (pre-vote, then vote); a majority makes
 * it leader; it asks for a record of its own epoch; fetches say how far each voter has flushed; from that record on
 * what a majority has flushed is decided (HIGH_WATERMARK).
 *
 * The owner's part. It tells of one event at a time and then does all actions, in their order, each complete before the
 * next begins, and before it tells of another event: so PERSIST, which always comes first, is on the disk before
 * anything that depends on it is sent or appended. A failed PERSIST ends the node. Records that it appends for the
 * machine, and those that it fetches, it tells of as events; what else is in the log the machine asks `struct
 * raft_log`.
 *
 * Failing: an event that the machine can make nothing of (an old answer, a message of another epoch) changes nothing.
 * Messages may be lost, doubled, late and in any order. Only CHANGE_VOTERS and what allocates has an errno. */
#ifndef LOGMNT_REPLICATION_METADATA_RAFT_H
#define LOGMNT_REPLICATION_METADATA_RAFT_H

#include <stdbool.h>
#include <stdint.h>

#include "replication/metadata/raft_history.h"
#include "replication/wire/raft_message.h"

enum {
    /* Election timeouts are drawn from this range; its lower end is also how long a leader goes on without a majority
     * of the voters fetching from it. */
    RAFT_ELECTION_MIN_MS = 1000,
    RAFT_ELECTION_MAX_MS = 2000,
    /* Who need not wait for a timeout (a leader that is known to be dead, a start) stands after its rank among the
     * voters times this, and a chance below this. */
    RAFT_STAGGER_MS = 40,
    /* And that long after it could not win, or let another go first. */
    RAFT_RETRY_MS = 100,
    /* Who knows no leader asks for one this often. */
    RAFT_FIND_MS = 250,
    /* So long at most a leader that stops waits for a voter that has all of its log. */
    RAFT_LEAVE_MS = 500,
    /* A new leader tells each voter that has not fetched yet this often. */
    RAFT_BEGIN_MS = 500,
    /* A recovered quorum, and a lone voter that has lost its state, begin so many epochs later: they need not have
     * heard of the last epochs that were lost. */
    RAFT_RECOVER_EPOCHS = 1000,
    /* A recovered quorum by chance so many more: two servers that recover it from the same past are to be two, whose
     * (offset, epoch) name other records. */
    RAFT_RECOVER_CHANCE = 1000000,
    /* In one step. */
    RAFT_ACTIONS_MAX = 24,
    /* Fetchers whose progress a leader remembers; beyond, the observer that was silent for longest is forgotten. */
    RAFT_REPLICAS_MAX = LIMIT_NODES + LIMIT_VOTERS,
};

enum raft_role {
    RAFT_UNATTACHED,  /* a voter that knows no leader in its epoch */
    RAFT_PROSPECTIVE, /* asks for pre-votes, in its old epoch */
    RAFT_CANDIDATE,   /* has voted for itself in a new epoch and asks for votes */
    RAFT_LEADER,
    RAFT_FOLLOWER, /* a voter that fetches from the leader of its epoch */
    RAFT_OBSERVER, /* does not stand: no voter by its log; fetches, or looks for whom to fetch from */
    RAFT_RESIGNED, /* led in this epoch and does no more */
    RAFT_ROLES,
};

/* What must survive. A vote is given once an epoch, to a server with its incarnation. */
struct raft_state {
    int32_t epoch;         /* 0: before the first election */
    struct raft_id vote;   /* given in epoch; node 0: none */
    struct raft_id leader; /* known in epoch; node 0: none */
};

/* The log, as it is now: asked while an event is worked on. `start` is its first offset, `end` the offset behind its
 * last record, `end_epoch` that record's epoch (with the log empty: the snapshot's, -1 without one), `flushed` as far
 * as it is on this disk. */
struct raft_log {
    int64_t (*start)(const struct raft_log *log);
    int64_t (*end)(const struct raft_log *log);
    int64_t (*flushed)(const struct raft_log *log);
    int32_t (*end_epoch)(const struct raft_log *log);
};

/* ---- in ---- */

enum raft_event_type {
    RAFT_EVENT_START,     /* once, when the log's voters have been told */
    RAFT_EVENT_TICK,      /* raft_deadline_ms() has come; early or late ones do no harm */
    RAFT_EVENT_CONNECTED, /* node: can be talked to */
    RAFT_EVENT_LOST,      /* node: cannot be, nobody knows why */
    RAFT_EVENT_GONE,      /* node: its process is known to have ended: connections ended without a goodbye and
                             reconnecting was refused, or a newer process of that node said hello */
    RAFT_EVENT_MESSAGE,   /* message; a FETCH after the log's side has looked at it (diverging), a FETCH_ANSWER after
                             what it brought was appended, or the log truncated or reset */
    RAFT_EVENT_LEADER_RECORD, /* record: one that begins an epoch is in the log */
    RAFT_EVENT_VOTERS_RECORD, /* record: one that sets the voters is in the log */
    RAFT_EVENT_TRUNCATED,     /* offset: the log ends there now */
    RAFT_EVENT_RESET,         /* change: the log begins behind a snapshot with these voters and is empty */
    RAFT_EVENT_TRIMMED,       /* offset: a snapshot holds what is below it */
    RAFT_EVENT_FLUSHED,       /* the log's `flushed` has moved */
    RAFT_EVENT_CHANGE_VOTERS, /* peers: what the voters shall be, 1, 3 or 5. Takes its way through the log, one server a
                                 step. -EINVAL: another number; -EAGAIN: not the leader, not yet deciding, another step
                                 under way, or one of them that does not fetch or is not caught up. 0: appended, or
                                 so already */
    RAFT_EVENT_RECOVER, /* make the quorum anew of this server alone: its owner has listened, and no other voter is
                           there */
    RAFT_EVENT_APPEND_FAILED, /* what an action asked to append, or a command, could not be: a leader resigns */
    RAFT_EVENT_UNREADABLE, /* a follower asks for what cannot be read in this log: a leader resigns, if a voter that can
                              be talked to is caught up */
    RAFT_EVENT_STOP,       /* the node stops cleanly: it will not stand again. A leader appends no more, and hands over
                              as soon as a voter has all of its log, RAFT_LEAVE_MS later at the latest */
};

struct raft_event {
    enum raft_event_type type;
    union {
        int32_t node;
        int64_t offset;
        const struct raft_peers *peers;
        const struct raft_change *change;
        struct {
            const struct raft_message *message;
            bool diverging; /* FETCH: the follower was told to truncate or to take a snapshot */
        };
        struct {
            int64_t base_offset; /* of its batch */
            int32_t index;       /* in that batch */
            int32_t epoch;
            const struct raft_voters *voters, *target; /* VOTERS_RECORD */
        } record;
    };
};

/* ---- out ---- */

enum raft_action_type {
    RAFT_PERSIST,        /* state, durably */
    RAFT_APPEND_LEADER,  /* append: the record that begins its epoch */
    RAFT_APPEND_VOTERS,  /* append: the record of its voters and target, in its epoch */
    RAFT_BOOTSTRAP,      /* append: as APPEND_VOTERS; the cluster begins with it: choose the cluster's id first, and
                            flush before going on */
    RAFT_SEND,           /* message; of a FETCH_ANSWER the log's side fills in what it knows, and may keep it back
                            for a while if it is RAFT_FETCH_OK and there is nothing to say */
    RAFT_ROLE,           /* the role, the epoch, or whom to fetch from has changed */
    RAFT_HIGH_WATERMARK, /* offset: all below it is decided */
};

struct raft_action {
    enum raft_action_type type;
    union {
        struct raft_state state;
        struct raft_message message;
        struct {
            int32_t epoch;
            struct raft_voters voters, target;
        } append;
        int64_t offset;
    };
};

struct raft_actions {
    int count;
    struct raft_action actions[RAFT_ACTIONS_MAX];
};

/* ---- the machine ---- */

/* What a leader knows of who fetches from it. Nothing in it goes back within an epoch. */
struct raft_replica {
    struct raft_id id;
    int64_t offset, flushed; /* -1: has not fetched in this epoch */
    int64_t fetched_ms;      /* when it last did, or when this server became leader */
    int64_t heard_ms;        /* when this leader last sent what it is known to have heard; INT64_MIN: not known */
    /* What was decided when it fetched once: as soon as it has flushed that, it is caught up as of then, however much
     * was decided meanwhile (Kafka's lastCaughtUpTimeMs). */
    int64_t decided, decided_ms;
    int64_t caught_up_ms; /* as of when it last had flushed all that was decided; INT64_MIN: never */
};

struct raft_config {
    struct raft_id self;
    const struct raft_log *log;
    struct raft_peers peers; /* the first members of the cluster, this node included */
    /* A number below `below`, each as likely; the machine's only chance. */
    uint32_t (*random)(void *arg, uint32_t below);
    void *random_arg;
};

/* Visible to its owner and to tests; changed by raft_step() alone. */
struct raft {
    struct raft_config config;
    enum raft_role role;
    struct raft_state state;
    int64_t high_watermark;
    struct raft_history voters;

    /* Elections. */
    int64_t
        election_at_ms; /* FOLLOWER, OBSERVER: when the leader has been silent for too long; others: when to stand */
    bool leader_heard;  /* the leader itself has said so, or answered a fetch */
    bool leader_gone;   /* is known not to lead any more, though no other epoch is known */
    bool called;        /* by the leader that has ended this epoch, to stand before all others */
    bool started;
    bool starting; /* no leader was heard since the start */
    bool stopping;
    uint64_t elections;        /* that it stood in, since it was made */
    uint32_t round;            /* of pre-votes */
    unsigned granted, refused; /* bits by place in the voters in force */
    bool leader_named;         /* by one who refused */
    int32_t connected[LIMIT_NODES];
    int32_t connected_count;

    /* Looking for a leader or a cluster. */
    uint32_t run; /* unlike that of this node's other processes */
    int64_t find_at_ms;
    int32_t find_next; /* the place in the list of whom to ask next */
    struct {
        uint64_t incarnation;
        int64_t answered_ms; /* that it is empty and has the same list */
    } empty[LIMIT_NODES];    /* by place in config.peers */

    /* A leader's. */
    int64_t epoch_start; /* the offset of the record that began its epoch; INT64_MAX: not in the log yet */
    bool change_asked;   /* APPEND_VOTERS is out, its record not yet in the log */
    int64_t lead_ms;     /* since when it leads */
    int64_t begin_at_ms;
    int64_t leave_at_ms; /* stopping: when it hands over, whoever has what */
    struct raft_replica replicas[RAFT_REPLICAS_MAX];
    int32_t replica_count;

    /* While a step runs. */
    int64_t now_ms;
    struct raft_actions *out;
    struct raft_state persisted;
};

/* state: as it was persisted last, or zero. */
void raft_init(struct raft *raft, const struct raft_config *config, const struct raft_state *state);
void raft_free(struct raft *raft);
/* Before START, when the log's voters have been told: another state than raft_init() was given. What was persisted was
 * lost, and what the log says is the best that is known. */
void raft_set_state(struct raft *raft, const struct raft_state *state);

/* One event at now_ms, which never goes back. *out is made anew. Before START only VOTERS_RECORD, RESET and TRIMMED may
 * come, and no action comes of them. 0; -ENOMEM: a record or reset could not be remembered, the node must not go on
 * (after raft_make_room() none is); the errnos of CHANGE_VOTERS. */
int raft_step(struct raft *raft, int64_t now_ms, const struct raft_event *event, struct raft_actions *out);

/* Room for so many VOTERS_RECORDs, or a RESET, before they are in the log. -ENOMEM. */
int raft_make_room(struct raft *raft, size_t records);

/* When the next TICK is due; INT64_MAX: never. */
int64_t raft_deadline_ms(const struct raft *raft);

/* The voters in force. */
const struct raft_voters *raft_voters(const struct raft *raft);
bool raft_is_voter(const struct raft *raft);
/* A voter, or one that was before a change that is not known to be decided. */
bool raft_may_stand(const struct raft *raft);
/* Whom to send to, or to tell others of: this server if it leads, the leader that it follows and that is not known to
 * be gone; node 0: none. */
struct raft_id raft_leader(const struct raft *raft);
/* Whom the fetcher of this server is to fetch from; node 0: nobody, for now. */
struct raft_id raft_fetch_from(const struct raft *raft);
/* A leader that is on its way out: it takes no more commands, and its records are on their way to a successor. */
bool raft_is_leaving(const struct raft *raft);
/* A leader that knows all that was ever decided: a record of its own epoch is. Before that it answers no question about
 * what is decided, and changes no voters. */
bool raft_may_answer(const struct raft *raft);
/* When a majority of the voters, this leader included, had last fetched. INT64_MAX: it is the only one. */
int64_t raft_majority_fetched_ms(const struct raft *raft);
/* Likewise, when it last sent what they are known to have heard: its lease begins there. A fetch may lie in a socket
 * for as long as this server stands still, and says nothing of those who have sent it by then. */
int64_t raft_majority_heard_ms(const struct raft *raft);
const char *raft_role_name(enum raft_role role);

#endif
