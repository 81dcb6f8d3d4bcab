/* replication/wire/hello.h: the first frame each way of a connection: who speaks, of which cluster, in which version.
 *
 * A hello is checked by whoever gets it: by the side that was connected to (which answers a welcome, a hello of its
 * own, or a refusal with the cause in words) and by the side that connected. Pure; no locks. */
#ifndef LOGMNT_REPLICATION_WIRE_HELLO_H
#define LOGMNT_REPLICATION_WIRE_HELLO_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "replication/base/uuid.h"

enum {
    HELLO_PROTOCOL_MIN = 1, /* the protocol versions that this build speaks */
    HELLO_PROTOCOL_MAX = 1,
    HELLO_HOST_BYTES = 256,
    HELLO_BYTES_MAX = 1024, /* an encoded one; a refusal's text is cut to fit it */
};

/* What a connection is for: what is small and urgent, or records. */
enum channel { CHANNEL_CONTROL, CHANNEL_RECORDS, CHANNELS };

struct hello {
    int32_t protocol_min, protocol_max;
    char cluster_id[UUID_TEXT_BYTES]; /* "": a node that is of no cluster yet */
    int32_t from;                     /* node id of the speaker */
    int32_t to;                       /* whom the speaker believes to speak to */
    uint64_t incarnation;             /* of the speaker's data directory (raft_voters.h) */
    uint64_t process;                 /* random, of the speaker's process: another one is another start */
    int32_t channel;                  /* enum channel */
    int32_t feature_level;            /* the highest that the speaker knows */
    char host[HELLO_HOST_BYTES];      /* where the speaker listens; "": not known */
    int32_t port;
    /* Another one, a higher one, once the speaker has lost the other side: what it says it of are connections of one
     * session of its own. 0: a build that does not say. */
    uint64_t session;
};

/* Why a hello was refused: each has its line in OPERATIONS.md. */
enum refusal {
    REFUSAL_NONE,
    REFUSAL_VERSION,     /* no protocol version in common */
    REFUSAL_CLUSTER,     /* another cluster's */
    REFUSAL_ID,          /* the node that was meant has another id, or speaker and listener have the same */
    REFUSAL_CERTIFICATE, /* the certificate does not name the id */
    REFUSAL_TLS,         /* one side has TLS and the other has not */
    REFUSAL_DUPLICATE,   /* both connected at once, and the other connection stays; or it is late: not logged */
    REFUSAL_OTHER,       /* of a version to come */
};

/* Encodes into out; returns the length. */
size_t hello_encode(const struct hello *hello, uint8_t out[HELLO_BYTES_MAX]);
/* -EBADMSG with the reason. A hello of a later protocol is decoded as far as all versions have it: the range first. */
int hello_decode(const uint8_t *data, size_t len, struct hello *out, struct err *e);

/* Whether the speaker of ours can speak with that of theirs: REFUSAL_NONE, or the cause with one clear line in e. */
enum refusal hello_check(const struct hello *ours, const struct hello *theirs, struct err *e);

size_t refusal_encode(enum refusal cause, const char *text, uint8_t out[HELLO_BYTES_MAX]);
/* text is that of the other side, made printable. -EBADMSG. */
int refusal_decode(const uint8_t *data, size_t len, enum refusal *cause, char text[HELLO_BYTES_MAX], struct err *e);

#endif
