/* replication/group/outbox.c: bodies by node. */
#include "replication/group/outbox.h"

#include <stdlib.h>

#include "replication/group/groups.h"

struct elements_buffer *outbox_to(struct outbox *box, int32_t node, uint64_t process)
{
    for (size_t i = 0; i < box->count; i++) {
        struct parcel_out *parcel = &box->parcels[i];
        if (parcel->node == node && parcel->process == process && parcel->body.len < OUTBOX_PARCEL_BYTES)
            return &parcel->body;
    }
    if (box->count == box->room) {
        size_t room = box->room * 2 + 4;
        struct parcel_out *more = realloc(box->parcels, room * sizeof *more);
        if (more == NULL)
            return NULL;
        box->parcels = more;
        box->room = room;
    }
    box->parcels[box->count] = (struct parcel_out){.node = node, .process = process};
    return &box->parcels[box->count++].body;
}

void outbox_send(struct outbox *box, const struct group_env *env, enum message_kind kind)
{
    for (size_t i = 0; i < box->count; i++) {
        const struct parcel_out *parcel = &box->parcels[i];
        uint8_t head[GROUP_HEAD_BYTES];
        size_t len = group_head_encode(parcel->process, head);
        if (parcel->body.len > 0 && !parcel->body.failed)
            (void)env->send(env->facts.arg, parcel->node, kind, head, len, parcel->body.bytes, parcel->body.len);
    }
    outbox_drop(box);
}

void outbox_drop(struct outbox *box)
{
    for (size_t i = 0; i < box->count; i++)
        free(box->parcels[i].body.bytes);
    free(box->parcels);
    *box = (struct outbox){0};
}
