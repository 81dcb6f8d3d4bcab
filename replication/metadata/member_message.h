/* replication/metadata/member_message.h: what nodes and their controller say to each other, as headers of frames:
 * heartbeats, processes that have gone, and what the members of a last ISR have.
 *
 * All of them go over the control channel; who speaks is who the connection belongs to. docs/WIRE.md lays them down.
 * Pure; no locks. */
#ifndef LOGMNT_REPLICATION_METADATA_MEMBER_MESSAGE_H
#define LOGMNT_REPLICATION_METADATA_MEMBER_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "replication/metadata/controller.h"
#include "replication/metadata/last_isr.h"

enum {
    MEMBER_MESSAGE_BYTES = 64,                             /* a heartbeat, its answer, a process that has gone */
    LAST_ISR_MESSAGE_BYTES = 32 + LAST_ISR_PARTITIONS * 48 /* a question or answer about a last ISR */
};

/* MESSAGE_HEARTBEAT, and MESSAGE_HEARTBEAT_ANSWER with its number. */
struct heartbeat_message {
    uint64_t number;       /* of the process's heartbeats: which one is answered */
    struct heartbeat beat; /* node: the connection's */
};
struct heartbeat_answer_message {
    uint64_t number;
    struct heartbeat_answer answer;
};

/* MESSAGE_GONE: that process of that node no longer exists, as far as the speaker sees. */
struct gone_message {
    int32_t node;
    uint64_t process;
};

/* MESSAGE_LAST_ISR, which asks, and MESSAGE_LAST_ISR_ANSWER with the same partitions. */
struct last_isr_message {
    uint64_t round;
    int64_t node_epoch; /* an answer's: the registration in force of who answers; -1 in a question */
    int32_t count;
    struct last_isr_found found[LAST_ISR_PARTITIONS];
};

/* Each encodes into out, returning the length; and decodes: -EBADMSG with the reason, -ENOMEM. */
size_t heartbeat_encode(const struct heartbeat_message *msg, uint8_t out[MEMBER_MESSAGE_BYTES]);
int heartbeat_decode(const uint8_t *data, size_t len, struct heartbeat_message *out, struct err *e);
size_t heartbeat_answer_encode(const struct heartbeat_answer_message *msg, uint8_t out[MEMBER_MESSAGE_BYTES]);
int heartbeat_answer_decode(const uint8_t *data, size_t len, struct heartbeat_answer_message *out, struct err *e);
size_t gone_encode(const struct gone_message *msg, uint8_t out[MEMBER_MESSAGE_BYTES]);
int gone_decode(const uint8_t *data, size_t len, struct gone_message *out, struct err *e);
size_t last_isr_encode(const struct last_isr_message *msg, uint8_t out[LAST_ISR_MESSAGE_BYTES]);
int last_isr_decode(const uint8_t *data, size_t len, struct last_isr_message *out, struct err *e);

#endif
