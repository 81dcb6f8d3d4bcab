/* replication/group/offsets_record.h: one record of __consumer_offsets, in memory and as bytes: a MessagePack array,
 * key first, so that compaction keeps the last of each key; nil behind the key alone is its tombstone.
 *
 *   [[group], version, group id, generation, empty since]
 *   [[group, node, process, number], version, group id, topic id, host, pid, partitions]            a member
 *   [[group, topic id, partition], version, group id, offset, commit time, epoch, node, process, number, leader epoch,
 *    node, process, ticket of its last reset]
 *
 * docs/DISK_FORMAT.md lays them down. A version that this build does not know is -EBADMSG, never skipped. Pure. */
#ifndef LOGMNT_REPLICATION_GROUP_OFFSETS_RECORD_H
#define LOGMNT_REPLICATION_GROUP_OFFSETS_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replication/wire/group_message.h"

enum { OFFSETS_RECORD_VERSION = 1 };

enum offsets_record_kind { OFFSETS_GROUP, OFFSETS_MEMBER, OFFSETS_PARTITION };

struct offsets_record {
    enum offsets_record_kind kind;
    bool tombstone; /* only the key is set */
    /* the key */
    char group[GROUP_NAME_BYTES];
    struct member_id member;      /* MEMBER; PARTITION, not of its key: the owner, node 0: nobody */
    uint8_t topic_id[UUID_BYTES]; /* PARTITION; MEMBER, not of its key: what it reads */
    int32_t partition;            /* PARTITION */
    /* the value */
    uint8_t group_id[UUID_BYTES];
    int32_t generation;     /* GROUP */
    int64_t empty_since_ms; /* GROUP: wall time; -1: it has members */
    char host[GROUP_HOST_BYTES];
    int32_t pid;
    int32_t partitions;     /* MEMBER: of its topic, when it joined; 0: not known */
    int64_t committed;      /* PARTITION: GROUP_OFFSET_NONE */
    int64_t commit_ms;      /* wall time */
    int32_t leader_epoch;   /* of the records in front of that none is of a later one; -1: not known */
    struct member_id reset; /* who asked for its last reset; number is the ticket. node 0: nobody, or not known */
    int32_t epoch;          /* the assignment epoch in which it was handed over last; 0: never was */
};

/* Adds it to a batch. */
void offsets_record_encode(const struct offsets_record *record, struct elements_buffer *to);
/* -EBADMSG with the reason. */
int offsets_record_decode(const uint8_t *data, size_t len, struct offsets_record *record, struct err *e);

#endif
