/* replication/wire/elements.h: headers of frames as MessagePack arrays: whole messages into a buffer of their own, and
 * one element after the other out of what somebody has sent.
 *
 * Later versions add elements behind those that are known, so more of them are no error. Pure; no locks. */
#ifndef LOGMNT_REPLICATION_WIRE_ELEMENTS_H
#define LOGMNT_REPLICATION_WIRE_ELEMENTS_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a message is packed to. There is room for all of it: what its parts can be at most adds up to less. */
struct elements_out {
    uint8_t *out;
    size_t room, len;
    msgpack_packer pk;
};
void elements_begin(struct elements_out *to, uint8_t *out, size_t room, size_t elements);
void elements_pack_text(struct elements_out *to, const char *text, size_t len);
void elements_pack_bool(msgpack_packer *pk, bool value);

/* Bytes that grow with what is packed into them. Zero-initialise; bytes is the owner's to free. */
struct elements_buffer {
    uint8_t *bytes;
    size_t len, room;
    bool failed; /* there was no memory, and what is there is of no use */
};
/* Begins an array of so many elements behind what is there. */
void elements_append(struct elements_buffer *to, msgpack_packer *pk, size_t elements);

/* Takes data apart. 0: *unpacked.data is an array of at least `elements`, for msgpack_unpacked_destroy(). -EBADMSG: it
 * is none, or not complete, or more follows, or there is no memory for it, which is also what msgpack-c says of one
 * that is nested too deep. Nothing is allocated for lengths that data only claims to have. */
int elements_take(const uint8_t *data, size_t len, size_t elements, msgpack_unpacked *unpacked);

/* Each takes one element and says whether it is what it should be. */
bool elements_int32(const msgpack_object *o, int32_t min, int32_t *out);
bool elements_int64(const msgpack_object *o, int64_t min, int64_t *out);
bool elements_uint64(const msgpack_object *o, uint64_t *out);
bool elements_uint32(const msgpack_object *o, uint32_t *out);
bool elements_bool(const msgpack_object *o, bool *out);
/* Printable ASCII, so that it can be logged and resolved; room for its NUL included. */
bool elements_text(const msgpack_object *o, char *out, size_t room);

#endif
