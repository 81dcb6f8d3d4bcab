/* replication/wire/message.h: every kind of frame that nodes send each other (frame.h), numbered in one place.
 *
 * docs/WIRE.md has the bytes of each. A number is never used for anything else; a kind that a build does not know is
 * logged and dropped. */
#ifndef LOGMNT_REPLICATION_WIRE_MESSAGE_H
#define LOGMNT_REPLICATION_WIRE_MESSAGE_H

#include "replication/wire/frame.h"

enum message_kind {
    /* The metadata quorum, metadata/quorum. */
    MESSAGE_RAFT = FRAME_MESSAGES, /* control: raft_message.h; the answer of a fetch has records as its body */
    MESSAGE_SNAPSHOT_FETCH,        /* records */
    MESSAGE_SNAPSHOT_ANSWER,
    MESSAGE_COMMAND, /* control: a command on its way to the controller */
    MESSAGE_COMMAND_ANSWER,
    MESSAGE_CHANGE_VOTERS, /* control: likewise, other voters of the quorum */
    MESSAGE_CHANGE_VOTERS_ANSWER,

    /* Membership, node/membership. */
    MESSAGE_HEARTBEAT = 32, /* control */
    MESSAGE_HEARTBEAT_ANSWER,
    MESSAGE_GONE, /* control: a voter finds that a process no longer exists */
    MESSAGE_LAST_ISR,
    MESSAGE_LAST_ISR_ANSWER,

    /* Replication, replica/serving and replica/fetcher: all on the records channel. */
    MESSAGE_FETCH = 48,
    MESSAGE_RECORDS,
    MESSAGE_DIVERGING,
    MESSAGE_FENCED,
    MESSAGE_RESET,
    MESSAGE_BEAT,

    /* Appends from elsewhere, replica/forwarder. */
    MESSAGE_APPEND = 64,
    MESSAGE_APPEND_ANSWER,
    MESSAGE_FLUSH,
    MESSAGE_FLUSH_ANSWER,
    MESSAGE_DELETE_RECORDS,
    MESSAGE_DELETE_RECORDS_ANSWER,
    MESSAGE_FLUSH_INSYNC, /* the leader asks a replica */
    MESSAGE_FLUSH_INSYNC_ANSWER,
    MESSAGE_SHOWN, /* a leader asks any node */
    MESSAGE_SHOWN_ANSWER,
    MESSAGE_SEAL, /* any node asks the leader */
    MESSAGE_SEAL_ANSWER,

    /* Reads from elsewhere, replica/partition_read. */
    MESSAGE_READ = 80,
    MESSAGE_READ_ANSWER,
    MESSAGE_LOOKUP,
    MESSAGE_LOOKUP_ANSWER,
    MESSAGE_STAT,
    MESSAGE_STAT_ANSWER,

    /* Consumer groups, group/groups: both on the control channel. */
    MESSAGE_GROUP_REQUEST = 96, /* members' node to coordinator */
    MESSAGE_GROUP_ANSWER,       /* and back, asked for or not */

    MESSAGE_KINDS = 128,
};

#endif
