/* replication/group/outbox.h: items on their way to nodes, until they go: one body a node, or several where they are
 * many. Zero-initialise. One thread at a time. */
#ifndef LOGMNT_REPLICATION_GROUP_OUTBOX_H
#define LOGMNT_REPLICATION_GROUP_OUTBOX_H

#include "replication/wire/elements.h"
#include "replication/wire/message.h"

struct group_env;

struct outbox {
    struct parcel_out {
        int32_t node;
        uint64_t process; /* for the head */
        struct elements_buffer body;
    } * parcels;
    size_t count, room;
};

enum { OUTBOX_PARCEL_BYTES = 1 << 20 };

/* Where the next item for that node goes. NULL: no memory, so that it is lost as a frame may be. */
struct elements_buffer *outbox_to(struct outbox *box, int32_t node, uint64_t process);
/* Sends all. What cannot be sent is lost: it is asked again. */
void outbox_send(struct outbox *box, const struct group_env *env, enum message_kind kind);
void outbox_drop(struct outbox *box);

#endif
