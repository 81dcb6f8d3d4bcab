/* replication/wire/voters_message.h: the voters of the metadata quorum that are asked for, on their way to the
 * controller, and its answer: the headers of both frames. docs/WIRE.md lays them down. Pure; any thread, no locks. */
#ifndef LOGMNT_REPLICATION_WIRE_VOTERS_MESSAGE_H
#define LOGMNT_REPLICATION_WIRE_VOTERS_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "replication/base/limits.h"
#include "replication/wire/raft_message.h"
#include "replication/wire/raft_voters.h"

enum { VOTERS_REQUEST_BYTES = 512, VOTERS_ANSWER_BYTES = 1024 };

struct voters_request {
    uint64_t number;         /* the sender's own; comes back */
    int32_t epoch;           /* of the quorum: judged by who leads in this one alone */
    struct raft_peers nodes; /* ascending */
    int64_t uid;             /* of the user who asks; -1: of a build that does not say, or it is the daemon */
};

enum voters_outcome {
    VOTERS_NOT_TAKEN, /* whoever got it does not lead in that epoch: it may be asked again */
    VOTERS_REFUSED,   /* nothing has changed */
    VOTERS_ACCEPTED,  /* they are, or become, target */
    VOTERS_OUTCOMES,
};

struct voters_answer {
    uint64_t number;
    enum voters_outcome outcome;
    int error;                 /* REFUSED: an errno of Linux, positive */
    struct raft_voters target; /* ACCEPTED: with the incarnations that are meant */
};

size_t voters_request_encode(const struct voters_request *request, uint8_t out[VOTERS_REQUEST_BYTES]);
/* -EBADMSG with the reason: not one array, too few elements, one that is not what it should be, no memory. */
int voters_request_decode(const uint8_t *data, size_t len, struct voters_request *out, struct err *e);
size_t voters_answer_encode(const struct voters_answer *answer, uint8_t out[VOTERS_ANSWER_BYTES]);
int voters_answer_decode(const uint8_t *data, size_t len, struct voters_answer *out, struct err *e);

#endif
