/* replication/wire/group_message.h: what nodes with members of consumer groups and the groups' coordinators say to each
 * other, as bytes.
 *
 * Either way a frame has a head, and a body of items, one MessagePack array behind the other. What comes from elsewhere
 * is checked here: numbers, lengths, names. docs/WIRE.md lays the bytes down. Pure; no locks. */
#ifndef LOGMNT_REPLICATION_WIRE_GROUP_MESSAGE_H
#define LOGMNT_REPLICATION_WIRE_GROUP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "replication/base/limits.h"
#include "replication/base/uuid.h"

struct elements_buffer;

enum {
    GROUP_HOST_BYTES = 65,      /* uname -n */
    GROUP_MEMBER_ID_BYTES = 64, /* a member's id as text */
    GROUP_OFFSET_NONE = -1,     /* no offset is committed */
    GROUP_HEAD_BYTES = 32,
    GROUP_PHASES = 4, /* enum group_phase of group/member.h */
};

/* Who a member is: the node that its stream was opened on, the process of it that runs there, and a number that this
 * process gives to no other. */
struct member_id {
    int32_t node; /* 0: nobody */
    uint64_t process;
    uint64_t number;
};
void member_id_text(const struct member_id *id, char out[GROUP_MEMBER_ID_BYTES]); /* "": nobody */
/* Of which the order in which assignors take members is made. */
int member_id_compare(const struct member_id *a, const struct member_id *b);

/* The head of both: the process of the members' node. */
size_t group_head_encode(uint64_t process, uint8_t out[GROUP_HEAD_BYTES]);
int group_head_decode(const uint8_t *data, size_t len, uint64_t *process, struct err *e);

/* ---- from a members' node ---- */

enum group_item_kind {
    GROUP_ITEM_BEAT,   /* entries: the members here, what they know; number: which they may be */
    GROUP_ITEM_JOIN,   /* group, number, topic, pid, host */
    GROUP_ITEM_LEAVE,  /* group, number, entries: what was committed so far */
    GROUP_ITEM_COMMIT, /* likewise */
    GROUP_ITEM_RESET,  /* group, topic, partition, offset */
    GROUP_ITEM_FORGET, /* group, topic, partition */
    GROUP_ITEM_ASK,    /* group, or "" for all; topic and partition, or partition -1 for all */
    GROUP_ITEM_KINDS,
};

struct group_entry {
    uint64_t key;  /* BEAT: a member's number; else a partition */
    int32_t epoch; /* BEAT: the coordinator's epoch in which it said what it said last, -1: nothing; else the assignment
                      epoch */
    int64_t value; /* BEAT: the version of that; else an offset */
    bool release;  /* the partition is given up behind that; BEAT: it is on its way in, or out */
    /* COMMIT, LEAVE: the log that the records in front of that were read from has none of a later leader epoch there
     * (KIP-320); -1: not known */
    int32_t leader_epoch;
    bool lost; /* COMMIT, LEAVE: and what was behind it is lost: from there on it is to be read again */
};

struct group_item {
    enum group_item_kind kind;
    uint64_t ticket;              /* the answer has it too; not of a BEAT */
    int32_t index;                /* the partition of __consumer_offsets that the group belongs to */
    char group[GROUP_NAME_BYTES]; /* name and id */
    uint8_t group_id[UUID_BYTES];
    /* The member's; ASK: of this asking, from 1, which the answer's pieces name; BEAT: no other member of this process
     * has this or a lower one; 0: not said. */
    uint64_t number;
    uint8_t topic_id[UUID_BYTES];
    int32_t partition;
    /* RESET; ASK: 1: nobody joins the group for a while, if it is empty; BEAT: a time of the
     * sender's, which its answer has, too; 0: it is not answered */
    int64_t offset;
    int32_t pid;
    char host[GROUP_HOST_BYTES];
    struct group_entry *entries; /* malloc-ed by decode */
    size_t entry_count;
};

/* Adds it to a body. */
void group_item_encode(const struct group_item *item, struct elements_buffer *to);
/* Takes one off the front of a body: *used bytes. The caller frees entries. -EBADMSG with the reason; -ENOMEM. */
int group_item_decode(const uint8_t *data, size_t len, size_t *used, struct group_item *item, struct err *e);

/* ---- from a coordinator ---- */

enum group_told_kind {
    GROUP_TOLD_RESULT, /* of the item with that ticket */
    GROUP_TOLD_SHARES, /* what a member has now */
    GROUP_TOLD_HEARD,  /* a beat came, of which this has the time as its version */
    GROUP_TOLD_KINDS,
};

enum group_outcome {
    GROUP_OUTCOME_OK,
    GROUP_OUTCOME_LATER,     /* loading, or it does not know of the group or topic yet: to be asked again */
    GROUP_OUTCOME_ELSEWHERE, /* this node does not lead that partition */
    GROUP_OUTCOME_UNKNOWN,   /* COMMIT, LEAVE; SHARES: it has no such member */
    GROUP_OUTCOME_NONE,      /* FORGET: there is no offset */
    GROUP_OUTCOME_FULL, /* there is no room for its record: it may be in force later, when there is, or asked again */
};

/* A share of a member: partition, assignment epoch, where it began. */
struct group_told_share {
    int32_t partition;
    int32_t epoch;
    int64_t start;
    bool revoked;
    int32_t leader_epoch; /* of start, as in a commit's entry */
};

/* What a group has in a partition; topic by its id. */
struct group_told_row {
    char group[GROUP_NAME_BYTES];
    uint8_t topic_id[UUID_BYTES];
    int32_t partition;
    int64_t committed;      /* GROUP_OFFSET_NONE */
    struct member_id owner; /* node 0: nobody */
    int32_t pid;
    char host[GROUP_HOST_BYTES];
};

struct group_told_group {
    char group[GROUP_NAME_BYTES];
    int32_t phase; /* enum group_phase of group/member.h */
    int32_t generation;
    int32_t members;
};

struct group_told {
    enum group_told_kind kind;
    uint64_t ticket; /* RESULT; SHARES: the member's number */
    int32_t index;
    enum group_outcome outcome;
    /* RESULT of a COMMIT or LEAVE: one for each entry: whether it was refused */
    bool *refused; /* malloc-ed by decode, as all lists here */
    size_t refused_count;
    /* RESULT of an ASK, in one or several pieces; more: another one follows */
    bool more;
    struct group_told_row *rows;
    size_t row_count;
    struct group_told_group *groups;
    size_t group_count;
    /* SHARES: as of this version in this epoch of the coordinator's; the later one counts. RESULT: version is the
     * member's number, of an ASK group_piece() */
    int32_t epoch;
    int64_t version;
    struct group_told_share *shares;
    size_t share_count;
};

/* The version of a piece of an answer, from 0, to that asking. */
int64_t group_piece(uint64_t asking, uint32_t piece);

void group_told_encode(const struct group_told *told, struct elements_buffer *to);
/* As group_item_decode(); group_told_free() frees the lists, whatever came. */
int group_told_decode(const uint8_t *data, size_t len, size_t *used, struct group_told *told, struct err *e);
void group_told_free(struct group_told *told);

#endif
