/* replication/metadata/controller.h: what the quorum's leader decides by itself: who is fenced, who leads, who is in
 * sync.
 *
 * A pure state machine beside the metadata: told of heartbeats, of processes that ended and of what was applied, it
 * says which command is to be proposed next, one at a time. Each command is the result of looking at the state as
 * applied, so whatever is lost (a command that a race refused, a leader that came and went) is found again by the next
 * look. Beside the metadata it remembers only when it heard of each node; a new controller grants each a full session
 * first.
 *
 * Kafka's, as in KRaft: KIP-631 (heartbeats, fencing), KIP-841 (fenced means out of the ISR), KIP-966 (election.h). No
 * clock, no locks: its owner's thread, the metadata held still meanwhile. */
#ifndef LOGMNT_REPLICATION_METADATA_CONTROLLER_H
#define LOGMNT_REPLICATION_METADATA_CONTROLLER_H

#include <stdbool.h>
#include <stdint.h>

#include "replication/metadata/metadata.h"

enum {
    /* A node that has not acted for so long upon what was decided, nor got on with it, is fenced: what it leads it may
     * have lost. */
    CONTROLLER_LATE_MS = LIMIT_STUCK_MS,
    /* After a node has come back, until leadership is given back to it: what it left is settled by then. */
    CONTROLLER_PREFER_DELAY_MS = 10000,
    /* Partitions whose leadership is given back at once, and the pause until the next ones. */
    CONTROLLER_PREFER_COUNT = 64,
    CONTROLLER_PREFER_PAUSE_MS = 1000,
    /* For so long a voter's word that a process has gone is good: it repeats it with each heartbeat. */
    CONTROLLER_GONE_MS = 1500,
    /* While somebody's session may end: looked at the time so often, at least. Each heartbeat of its own node is such a
     * look, so that an alarm for it hardly ever rings. */
    CONTROLLER_TICK_MS = 600,
};

/* One voter finds that a process of some node no longer exists. */
struct gone_vote {
    int32_t voter; /* 0: none */
    int64_t at_ms;
};

struct controller_node {
    int32_t id;
    int64_t heard_ms;       /* the last heartbeat of its registration in force; later by what was slept through since */
    int64_t applied_offset; /* as of that */
    uint64_t acted_count;   /* as of that */
    /* All below owed_offset was decided by owed_ms, and the node has yet to act upon it, and has not got on with it
     * since; INT64_MAX: it owes nothing. */
    int64_t owed_offset, owed_ms;
    bool dead;             /* its process has ended */
    bool fencing;          /* that it is to be fenced was proposed, and may be decided whatever is heard of it since */
    bool wants_stop;       /* a clean stop: it hands over first */
    uint64_t gone_process; /* that the votes are about */
    struct gone_vote gone[LIMIT_VOTERS];
};

struct controller {
    int32_t self; /* the node that it runs on: not silent while it decides; 0: none */
    int64_t session_timeout_ms;
    bool active;
    int64_t tick_ms; /* when controller_tick() is due */
    struct controller_node nodes[LIMIT_NODES];
    int32_t count;

    int64_t elected_offset; /* behind the last record by which somebody may lead no more */

    /* Looking through the partitions: from here on they have not been looked at since something changed. */
    bool look;
    size_t look_topic;
    int32_t look_part;
    /* Giving leadership back. INT64_MAX: nothing to give. */
    int64_t prefer_at_ms;
    size_t prefer_topic;
    int32_t prefer_part;
};

struct heartbeat {
    int32_t node;
    int64_t node_epoch;
    int64_t applied_offset; /* of the metadata log: everything below was applied by it, and acted upon */
    bool wants_stop;
    uint64_t acted_count; /* moves while it acts upon what follows; 0: it does not say */
};

struct heartbeat_answer {
    bool known;    /* false: that registration is not in force; register anew */
    bool fenced;   /* or is to be, or it may not know that another one leads what it has led: no lease is carried on */
    bool may_stop; /* nothing waits for it any more: it leads nothing that another could lead */
};

void controller_init(struct controller *controller, int32_t self, int64_t session_timeout_ms);
/* This node leads the quorum and has applied all that was decided before. */
void controller_begin(struct controller *controller, const struct metadata *meta, int64_t now_ms);
void controller_end(struct controller *controller);

/* false: there is no answer yet. The registration that it names is not applied here, while the node itself has applied
 * it: the next heartbeat comes soon. */
bool controller_heartbeat(struct controller *controller, const struct metadata *meta, int64_t now_ms,
                          const struct heartbeat *beat, struct heartbeat_answer *answer);
/* A voter finds that the process of the node no longer exists. Once a majority of the voters in force does, each having
 * said so within CONTROLLER_GONE_MS, that is controller_gone(). Returns whether it is. */
bool controller_gone_vote(struct controller *controller, const struct metadata *meta, int64_t now_ms, int32_t voter,
                          int32_t node, uint64_t process);
/* It is so. */
void controller_gone(struct controller *controller, const struct metadata *meta, int32_t node, uint64_t process);
/* A command was applied, by whomever it was proposed. */
void controller_applied(struct controller *controller, const struct metadata *meta, const struct command *cmd,
                        int64_t now_ms);

/* Before controller_next(), and CONTROLLER_TICK_MS after the last one at the latest, as long as there is a deadline:
 * what has passed beyond that this node stood still, and what the others have said meanwhile lies in its sockets. */
void controller_tick(struct controller *controller, int64_t now_ms);
/* What to propose now: 1: *out is a command (command_free() it); 0: nothing until something is told or
 * controller_deadline_ms() has come; -ENOMEM. Not called again before that command was applied or has failed. */
int controller_next(struct controller *controller, const struct metadata *meta, int64_t now_ms, struct command *out);
/* INT64_MAX: none. */
int64_t controller_deadline_ms(const struct controller *controller, const struct metadata *meta);

#endif
