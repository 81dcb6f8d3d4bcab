/* replication/wire/frame.h: what travels between nodes, as bytes: a preamble, a MessagePack header, raw bytes.
 *
 * docs/WIRE.md lays the bytes down. A frame that comes in is one allocation, made after both of its lengths were found
 * to be within their limits; a frame that goes out is borrowed from whoever sends it. Pure; no locks: one reader
 * belongs to one thread at a time. */
#ifndef LOGMNT_REPLICATION_WIRE_FRAME_H
#define LOGMNT_REPLICATION_WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "engine/base/err.h"

struct account;

enum { FRAME_PREAMBLE_BYTES = 16, FRAME_VERSION = 1 };

/* Frames of the connection itself; what the nodes say to each other is numbered from FRAME_MESSAGES on (message.h). */
enum {
    FRAME_HELLO = 1,   /* the first one, from the side that connected */
    FRAME_WELCOME = 2, /* its answer: a hello of the other side */
    FRAME_REFUSAL = 3, /* or this */
    FRAME_GOODBYE = 4, /* a clean stop: the end of the connection that follows is no failure */
    FRAME_MESSAGES = 16,
};

/* One that came in. header and body point into the same allocation. */
struct frame {
    struct frame *next; /* for whoever queues it */
    uint8_t kind;
    bool refused; /* there are too many of its kind: to be answered so at once */
    uint32_t header_bytes;
    uint32_t body_bytes;
    uint8_t *header;
    uint8_t *body;
    struct account *account; /* where it counts until it is freed (account.h); NULL: nowhere */
};

/* As which it counts. */
size_t frame_memory(const struct frame *frame);
/* It counts no more: whoever has it has a bound of its own. */
void frame_settle(struct frame *frame);
/* NULL does nothing. Any thread. */
void frame_free(struct frame *frame);

/* One that goes out. Nothing is owned: all of it has to stay until the call that takes it has returned. */
struct frame_out {
    uint8_t kind;
    const void *header;
    uint32_t header_bytes;
    const struct iovec *body;
    int body_count;
};

size_t frame_body_bytes(const struct frame_out *out);
/* The preamble of a frame. Its header and body are within their limits (asserted: the sender's duty). */
void frame_preamble(const struct frame_out *out, uint8_t preamble[FRAME_PREAMBLE_BYTES]);

/* Cuts a stream of bytes into frames. Zero-initialise. Until it is told that the other side is known it takes none that
 * is longer than a hello. */
struct frame_reader {
    bool greeted;
    uint8_t preamble[FRAME_PREAMBLE_BYTES];
    size_t preamble_len;
    struct frame *frame; /* being filled; NULL: between frames or in a preamble */
    size_t filled;       /* bytes of its header and body */
};

/* Takes bytes of data, *used of them. Returns 1: *out is a whole frame, the caller's to free, and the rest of data is
 * still to be fed; 0: all bytes were used; -EBADMSG (not a frame, or one over a limit, with the reason), -EPROTO (TLS),
 * -ENOMEM: the stream is of no further use. */
int frame_feed(struct frame_reader *reader, const uint8_t *data, size_t len, size_t *used, struct frame **out,
               struct err *e);
/* Where the rest of the frame that is being filled goes, so that a large body need not be copied: *room bytes are
 * missing, read up to that many into the return value and say how many it were by frame_filled(). NULL: no frame is
 * being filled. */
uint8_t *frame_space(struct frame_reader *reader, size_t *room);
/* 1: *out is whole; 0: more is missing; -EBADMSG. */
int frame_filled(struct frame_reader *reader, size_t len, struct frame **out, struct err *e);
void frame_reader_free(struct frame_reader *reader);

#endif
