/* fs/consume/reading.h: one READ (or POLL) of an open file under way: how far it has come, for all that read a
 * partition (consume.h, follow.h, json_view.h).
 *
 * A thread keeps one at hand, and a buffer, so that a READ which is answered at once allocates nothing. One that has to
 * wait is taken along, and has a buffer of its own from when there is something in it to be kept. */
#ifndef LOGMNT_FS_CONSUME_READING_H
#define LOGMNT_FS_CONSUME_READING_H

#include "engine/base/container.h"
#include "fs/consume/passed.h"
#include "fs/tree/asking.h"
#include "fs/tree/handle.h"

/* Bytes at a position of an open file, over holes (consume.h). */
struct copying {
    int64_t base;   /* partition position of the file's position 0 */
    int64_t at;     /* partition position of the next byte */
    int64_t limit;  /* nothing at or behind it; INT64_MAX until the first answer says where the high watermark is */
    size_t size;    /* how many are wanted */
    bool begun;     /* a question was asked */
    bool filled;    /* up to what is shown, though the replica here ends before: a short read is taken for the end */
    bool plain;     /* the open file had met no hole when it began */
    bool known;     /* it goes on where the open file has read */
    bool backwards; /* it is the block right before the one that was read last */
    struct passing passing; /* .follow */
};

struct making;
struct group_reading;

struct reading {
    struct asking asking; /* first */
    struct handle *handle;
    size_t size;
    int64_t pos;
    int64_t got;   /* bytes in the buffer, or a negative errno */
    uint8_t *own;  /* the buffer, `size` bytes; NULL: this thread's */
    bool nonblock; /* .follow */
    bool spliced;  /* the answer is the question's extent itself */
    bool counted;  /* in pfile->followers */
    struct fuse_pollhandle *ph;
    struct work work;
    union {
        struct copying copy;
        struct making *making;       /* .json, once there is something to be made */
        struct group_reading *group; /* a group's stream */
    };
};

/* This thread's, with the request filled in; NULL: no memory, and the request was answered so. */
struct reading *reading_new(fuse_req_t req, struct handle *handle, size_t size, int64_t pos,
                            const struct asking_kind *kind);
/* Where its bytes go, and those that it has got are; NULL: no memory. */
uint8_t *reading_bytes(const struct reading *reading);
/* Before a question of one that is parked: what it has got outlasts this thread's buffer. 0 or -ENOMEM. */
int reading_keep(struct reading *reading);

static inline struct reading *reading_of(struct asking *asking)
{
    return CONTAINER_OF(asking, struct reading, asking);
}

/* asking_kind.parked, .answer and .free of most of them. */
void reading_parked(struct asking *asking);
void reading_answer(struct asking *asking);
void reading_free(struct asking *asking);

/* This thread's buffer of LIMIT_REQUEST_BYTES. NULL: no memory. */
uint8_t *reading_buffer(void);
/* Answers a READ at pos with got bytes, or with a negative errno. */
void reading_reply(fuse_req_t req, struct handle *handle, int64_t pos, const uint8_t *bytes, int64_t got);

#endif
