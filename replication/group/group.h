/* replication/group/group.h: one consumer group as its coordinator has it: members, who owns which partition, and how
 * far each is processed. A pure state machine: no I/O, no clock, no locks.
 *
 * A partition of a topic that the group reads, or has read:
 *
 *              is to be a member's,            the place where the
 *              nothing is committed            group begins is known
 *     FREE ------------------------> STARTING ------------------------> OWNED <-----------+
 *      | ^                              |                                | |              |
 *      | +---- is nobody's to be -------+                                | |              | is its owner's
 *      |                                                                 | |              | to be again
 *      +---- is to be a member's, something is committed ----------------+ |              |
 *                                                                          |              |
 *     FREE <--- given up, its owner left, or rebalance.timeout.ms --- REVOKING <----------+
 *                                                                      is to be another's
 *
 * Each time that it comes to be OWNED its assignment epoch is one more, and by that epoch commits are accepted
 * (KIP-1251): so at no time do two members own it, and nobody who owned it before can commit. Its owner's end takes it
 * to FREE from anywhere. */
#ifndef LOGMNT_REPLICATION_GROUP_GROUP_H
#define LOGMNT_REPLICATION_GROUP_GROUP_H

#include "replication/group/assignor.h"
#include "replication/group/offsets_record.h"
#include "replication/group/table.h"
#include "replication/wire/elements.h"

/* What the cluster has decided of a group. */
struct group_rules {
    uint8_t id[UUID_BYTES];
    enum assignor assignor;
    int64_t session_timeout_ms;
    int64_t rebalance_timeout_ms;
    int64_t offsets_retention_ms;
    bool from_latest; /* auto.offset.reset */
    /* What its members go by. */
    int64_t max_poll_interval_ms;
};

struct reader;

/* Who asked for a reset: a question repeats itself until it is answered. */
struct reset_origin {
    int32_t node; /* 0: nobody */
    uint64_t process, ticket;
};

enum claim_state { CLAIM_FREE, CLAIM_STARTING, CLAIM_OWNED, CLAIM_REVOKING };

struct claim {
    enum claim_state state;
    struct reader *owner;  /* OWNED, REVOKING */
    struct reader *target; /* whose it is to be; NULL: nobody's */
    int32_t epoch;
    int64_t committed;         /* GROUP_OFFSET_NONE */
    int64_t commit_ms;         /* wall time */
    int32_t leader_epoch;      /* no record in front of that is of a later one (KIP-320); -1: not known */
    struct reset_origin reset; /* the last one */
    int64_t start;             /* committed, when it was handed over … */
    int32_t start_epoch;       /* … and its leader epoch */
    int64_t revoke_ms;         /* REVOKING: until then, on the clock of timers */
    bool asked;                /* STARTING: the question is under way */
    struct member_id replayed; /* whose the records say it is, until all of them are read */
};

struct group_topic {
    struct group_topic *next; /* by name */
    uint8_t id[UUID_BYTES];
    char name[GROUP_NAME_BYTES]; /* "": not known yet */
    struct claim *claims;        /* of each partition that there is */
    int32_t partitions;
    bool counted; /* there were no others: what comes is added to it */
    int32_t readers;
    int32_t place; /* while partitions are shared out */
};

/* A member. */
struct reader {
    struct table_link link; /* the coordinator's readers, by id */
    struct group *group;
    struct reader *next; /* of the group, by id */
    struct member_id id;
    struct group_topic *topic;
    char host[GROUP_HOST_BYTES];
    int32_t pid;
    int64_t version; /* of its shares, as they were told last */
    bool changed;    /* they are others since: in the list of changes */
    bool listed;     /* while it is looked which ones their process has */
    struct reader *next_changed;
    int32_t place; /* while partitions are shared out */
};

struct group {
    struct table_link link; /* the coordinator's groups, by name */
    char name[GROUP_NAME_BYTES];
    struct group_rules rules;
    int32_t generation;
    int64_t empty_since_ms; /* wall time; -1: it has members */
    int64_t sealed_ms;      /* until then nobody joins it, on the clock of timers */
    struct reader *readers;
    int32_t reader_count;
    struct group_topic *topics;
    bool unsettled; /* partitions are to be shared out anew */
    bool stirred;   /* since there are other members, partitions or another assignor */
    struct group *next_unsettled;
    bool known; /* rules are as the cluster has them; until then it is left as it is */
};

/* Where a group begins on a partition is to be found out. */
struct claim_start {
    char group[GROUP_NAME_BYTES];
    uint8_t group_id[UUID_BYTES];
    uint8_t topic_id[UUID_BYTES];
    int32_t partition;
    bool from_latest;
};

/* What one turn has brought, for whoever holds the groups to act on. */
struct group_changes {
    int64_t now_ms, wall_ms; /* in: the clocks, as of this turn */
    int64_t due_ms;          /* when a partition that is being revoked is due, the first one; INT64_MAX: none */
    struct elements_buffer records;
    uint32_t record_count;
    struct reader *changed; /* whose shares are others */
    struct claim_start *starts;
    size_t start_count;
    struct group *unsettled;
    bool failed; /* there was no memory: what the groups say is of no use any more */
    uint64_t commits, fenced, handovers;
};

/* NULL: no memory. */
struct group *group_create(const char *name, const struct group_rules *rules);
/* Readers are removed. */
void group_free(struct group *group);

/* The topic in the group, added if it is not there; grown if it has more partitions by now. NULL: no memory. */
struct group_topic *group_add_topic(struct group *group, const uint8_t id[UUID_BYTES], const char *name,
                                    int32_t partitions);
/* The partitions from `from` on were added to a topic that the group reads: whatever auto.offset.reset says it begins
 * with their first record, since it has been there all the time (KAFKA-12478). */
void group_begin_added(struct group *group, struct group_topic *topic, int32_t from, struct group_changes *changes);
struct group_topic *group_find_topic(struct group *group, const uint8_t id[UUID_BYTES]);
/* The topic was deleted: offsets go, with tombstones. Its readers are removed. */
void group_drop_topic(struct group *group, struct group_topic *topic, struct group_changes *changes);

/* Puts it into the group, in its place; a record is written. The group is unsettled. */
void group_add_reader(struct group *group, struct reader *reader, struct group_changes *changes);
/* Takes it out; what it owned is free. Not freed. */
void group_remove_reader(struct reader *reader, struct group_changes *changes);
/* Partitions are to be shared out anew at the end of the turn. stirred: members, partitions or the assignor are others,
 * and the group's epoch is another one from then on; else it is a look, which may move nobody. */
void group_unsettle(struct group *group, bool stirred, struct group_changes *changes);
/* Shares out. */
void group_settle(struct group *group, struct group_changes *changes);

/* All below entry->value is processed; release: it gives the partition up. lost: it has read more than is there of that
 * by now, which others may have the offsets of: so the partition is handed over anew, and begins there at the latest.
 * false: refused, for this reader does not own the partition by that epoch. */
bool group_commit(struct reader *reader, const struct group_entry *entry, struct group_changes *changes);
/* Sets (or, GROUP_OFFSET_NONE, forgets) the offset; its owner is handed the partition anew. false: there was none to
 * forget. */
bool group_reset(struct group *group, struct group_topic *topic, int32_t partition, int64_t offset,
                 struct group_changes *changes);
/* Where it begins is known. */
void group_started(struct group *group, struct group_topic *topic, int32_t partition, int64_t offset,
                   int32_t leader_epoch, struct group_changes *changes);
/* What is due by changes->now_ms and wall_ms: partitions that are not given up, offsets that have expired. */
void group_tick(struct group *group, struct group_changes *changes);

/* Nothing is kept of it that a record would have to say. */
bool group_is_blank(const struct group *group);
/* 0 … : enum group_phase of member.h. */
int32_t group_phase(const struct group *group);

void group_mark_changed(struct reader *reader, struct group_changes *changes);
/* Its state as a record. */
void group_write(const struct group *group, struct group_changes *changes);
void group_write_claim(const struct group *group, const struct group_topic *topic, int32_t partition, bool tombstone,
                       struct group_changes *changes);

#endif
