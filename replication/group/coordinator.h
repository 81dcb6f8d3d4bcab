/* replication/group/coordinator.h: the groups of one partition of __consumer_offsets, as its leader has them.
 *
 * A pure state machine. What its partition's records say is what it is: coordinator_replay() is fed with all of them,
 * coordinator_loaded() brings it to what the cluster says by now. Then events come, in turns: each turn begins with
 * coordinator_begin(), ends with coordinator_end(), and leaves in `changes` the records that make it durable, whom to
 * tell of other shares, and what to find out. Nothing of a turn may be told before its records are committed; if they
 * cannot be, the coordinator is of no use any more and is read anew.
 *
 * Members live by sessions, one a node: a node that was not heard of for a group's session.timeout.ms, or that the
 * cluster says is gone, takes its members with it. One thread at a time; no locks, no I/O, no clock. */
#ifndef LOGMNT_REPLICATION_GROUP_COORDINATOR_H
#define LOGMNT_REPLICATION_GROUP_COORDINATOR_H

#include "replication/group/group.h"

/* What the cluster has decided, as this node knows it. */
struct group_facts {
    /* 0; -ENOENT: no such group; -ENOMEM: there is one, of which no more can be said for now. */
    int (*group)(void *arg, const char *name, struct group_rules *out);
    /* 0; -ENOENT: no such topic. */
    int (*topic)(void *arg, const uint8_t id[UUID_BYTES], char name[GROUP_NAME_BYTES], int32_t *partitions);
    /* Whether that process of the node may be alive: false where it is fenced, another one has registered, or none is
     * (yet, or any more). */
    bool (*lives)(void *arg, int32_t node, uint64_t process);
    void *arg;
};

/* When a node was heard of last, on the clock of timers. */
struct group_session {
    int32_t node; /* 0: a free place */
    uint64_t process;
    int64_t heard_ms;
};

/* A question repeats itself until it is answered. What it did is done once. */
struct reset_done {
    int32_t node;
    uint64_t process, ticket;
    enum group_outcome outcome;
};

/* More of them in the time in which one may come again are not known any more, and done twice. */
enum { COORDINATOR_RESETS = 64 };

struct coordinator {
    const struct group_facts *facts;
    struct table groups, readers;
    struct group_session sessions[LIMIT_NODES_MET];
    struct reset_done resets[COORDINATOR_RESETS]; /* the last ones, in a ring */
    size_t reset_count;
    struct group_changes changes;
    int64_t tick_ms; /* when time has to be looked at next */
};

enum { COORDINATOR_TICK_MS = 1000 };

void coordinator_init(struct coordinator *coordinator, const struct group_facts *facts);
void coordinator_free(struct coordinator *coordinator);

/* The next record of the partition. 0; -EBADMSG with the reason; -ENOMEM. */
int coordinator_replay(struct coordinator *coordinator, const uint8_t *record, size_t len, struct err *e);
/* Within a turn, the first one: all records were replayed. What belongs to groups and topics that are no more goes,
 * members of nodes that are gone too; every other node has a whole session from now on. */
void coordinator_loaded(struct coordinator *coordinator);

/* ---- turns ---- */

void coordinator_begin(struct coordinator *coordinator, int64_t now_ms, int64_t wall_ms);
/* Partitions are shared out where that is due. changes.failed: there was no memory. */
void coordinator_end(struct coordinator *coordinator);
/* The records are committed: they go, and so does what was to be told or found out, once it was looked at. */
void coordinator_clear(struct coordinator *coordinator);

/* A node was heard of. */
void coordinator_heard(struct coordinator *coordinator, int32_t node, uint64_t process);
/* Whether there is no reader of that process but those that its beat lists, and such as have joined since. */
bool coordinator_lists_all(struct coordinator *coordinator, int32_t node, uint64_t process,
                           const struct group_item *beat);
/* Those that there are go. */
void coordinator_drop_unlisted(struct coordinator *coordinator, int32_t node, uint64_t process,
                               const struct group_item *beat);
/* The cluster's metadata is another. */
void coordinator_look(struct coordinator *coordinator);
/* What is due by time. */
void coordinator_tick(struct coordinator *coordinator);

/* Each of these does what the item asks for, of that process of that node, and fills in the result; refused, where
 * there is one, has room for its entries. */
enum group_outcome coordinator_join(struct coordinator *coordinator, int32_t node, uint64_t process,
                                    const struct group_item *item);
enum group_outcome coordinator_leave(struct coordinator *coordinator, int32_t node, uint64_t process,
                                     const struct group_item *item, bool *refused);
enum group_outcome coordinator_commit(struct coordinator *coordinator, int32_t node, uint64_t process,
                                      const struct group_item *item, bool *refused);
/* One that is asked for again was done already, and is not done again. */
enum group_outcome coordinator_reset(struct coordinator *coordinator, int32_t node, uint64_t process,
                                     const struct group_item *item);
/* Who asks is about to remove the group: if nobody is in it nobody joins it for a while. false: this node does not know
 * of it yet. */
bool coordinator_seal(struct coordinator *coordinator, const struct group_item *item);
/* A start was found, with read_op's leader epoch. */
void coordinator_started(struct coordinator *coordinator, const struct claim_start *start, int64_t offset,
                         int32_t leader_epoch);
/* Whether it is still to be found out. */
bool coordinator_starts(struct coordinator *coordinator, const struct claim_start *start);

/* ---- looks ---- */

struct reader *coordinator_reader(struct coordinator *coordinator, const struct member_id *id);
/* What a member has, as it is to be told: shares are malloc-ed. -ENOMEM. */
int coordinator_shares(const struct reader *reader, struct group_told *out);
/* What is known of one group ("": all) and, unless partition is -1, one partition: lists malloc-ed. -ENOMEM. */
int coordinator_ask(struct coordinator *coordinator, const struct group_item *item, struct group_told *out);

#endif
