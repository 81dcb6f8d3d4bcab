/* replication/wire/command_message.h: a command of the metadata on its way to the controller, and what is said to one
 * that is not appended: the headers of both frames. docs/WIRE.md lays them down. Pure; any thread, no locks.
 *
 * The command itself is the frame's body, as it will lie in the log. What becomes of one that was appended shows where
 * its record is applied; there is no other answer to it. */
#ifndef LOGMNT_REPLICATION_WIRE_COMMAND_MESSAGE_H
#define LOGMNT_REPLICATION_WIRE_COMMAND_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

enum { COMMAND_REQUEST_BYTES = 64, COMMAND_ANSWER_BYTES = 1024 };

struct command_request {
    uint64_t number; /* the sender's own, also in the command */
    int32_t epoch;   /* of the quorum: taken by who leads in this one alone */
};

enum command_outcome {
    COMMAND_NOT_TAKEN, /* whoever got it does not lead in that epoch, or has no room for more: it may be sent again */
    COMMAND_REFUSED,   /* it was judged, and is not appended */
    COMMAND_OUTCOMES,
};

struct command_answer {
    uint64_t number;
    int32_t epoch; /* in which it was asked for: one of an earlier asking says nothing of a later one */
    enum command_outcome outcome;
    int error;         /* REFUSED: an errno of Linux, positive */
    struct err reason; /* likewise, in words */
};

size_t command_request_encode(const struct command_request *request, uint8_t out[COMMAND_REQUEST_BYTES]);
/* -EBADMSG with the reason: not one array, too few elements, one that is not what it should be, no memory. */
int command_request_decode(const uint8_t *data, size_t len, struct command_request *out, struct err *e);
size_t command_answer_encode(const struct command_answer *answer, uint8_t out[COMMAND_ANSWER_BYTES]);
/* Likewise. The reason is made printable. */
int command_answer_decode(const uint8_t *data, size_t len, struct command_answer *out, struct err *e);

#endif
