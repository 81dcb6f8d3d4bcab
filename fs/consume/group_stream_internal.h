/* fs/consume/group_stream_internal.h: struct group_stream, for the group_stream*.c alone. All of it is under its
 * handle's lock, which is never held through I/O or a callback. */
#ifndef LOGMNT_FS_CONSUME_GROUP_STREAM_INTERNAL_H
#define LOGMNT_FS_CONSUME_GROUP_STREAM_INTERNAL_H

#include "fs/consume/group_map.h"
#include "fs/consume/group_stream.h"
#include "fs/consume/reading.h"
#include "fs/consume/record_fetch.h"
#include "replication/group/member.h"

/* One partition that is the member's. */
struct group_part {
    struct group_stream *stream;
    struct group_owner owner;
    struct partition *part; /* referenced */
    bool revoked;           /* delivers no more */
    int failures;           /* questions in a row that failed; it is asked behind those without, and probed */
    int64_t probe_ms;       /* not before, on the clock of timers */
    struct log_point next;  /* the record to deliver next */
    bool placed;            /* next.position is known */
    int32_t leader_epoch;   /* record_fetch's, of next */
    bool lost;              /* the log has less than was read of it: delivers no more until it is handed over anew */
    int64_t searched;       /* an offset: from `next` to here nothing was found */
    int64_t committed;      /* what was committed in this epoch; GROUP_OFFSET_NONE */
    uint32_t mean_len;      /* of the records last delivered */
    /* Waits for records, from when none were found. Refers to the handle, and is the partition's, while it is armed. */
    struct partition_waiter waiter;
    bool armed;
    /* Asks, of no READ, whether it answers again, or where there are no records whether some were lost. Refers to the
     * handle while it is under way. */
    struct read_op probe;
    int32_t probed_epoch; /* FIND_EPOCH_END: leader_epoch, when it was asked */
    struct work probe_work;
    bool probing;
    bool dropped; /* the last call of the two frees it */
    bool kept;    /* while the parts are made anew */
};

/* A READ of it. */
struct group_reading {
    struct reading *reading;
    struct record_fetch *fetch; /* under way, or what the READ is answered from; NULL: none */
    bool added;                 /* what it brought is the stream's */
    struct group_owner owner;   /* whose */
    int64_t from_offset;        /* where it began */
    int64_t max_records;
    int failed;     /* why the last question of a part failed; 0 */
    uint64_t stirs; /* of the stream, when it was last looked at */
    bool begun;
    bool waits; /* in stream->waiting */
    struct group_reading *prev, *next;
};

struct group_stream {
    struct handle *handle;
    pid_t pid; /* that opened it */
    bool json;
    bool by_hand; /* enable.auto.commit is off, as of the last READ: what was read on from is not committed by that */
    struct group_member *member; /* NULL: it has not joined, or has been released */
    struct group_member *leaver; /* it is released, and a commit is still under way: the last one leaves */
    int member_refs;             /* commits under way, and one for the open file */
    bool silent;                 /* as of stream_update(): its coordinator is, so that nothing more is delivered */
    int over;                    /* -ESTALE: it is a member no more */
    int refused;                 /* -ENOSPC: the coordinator has no room to take it in; it is asked again */
    uint64_t version;            /* group_member_version() of the parts */
    struct group_part **parts;   /* by partition */
    size_t count;
    int32_t turn; /* the partition that was delivered from last: the next one is asked first */
    struct group_map map;
    int64_t stale_pos; /* an explicit commit of what is before it was ESTALE, and is; -1: none was */
    int64_t skipped;
    struct work news;         /* what changed() has queued; it refers to the handle then */
    struct alarm again;       /* likewise, and is set: what is not known here yet is looked at later */
    _Atomic bool news_queued; /* likewise */
    bool unread;              /* group_member_polled() was told so last */
    uint64_t stirs;           /* moves when something may be there that was not */
    struct group_reading *waiting;
    struct fuse_pollhandle *poll_handle;
};

/* ---- group_stream.c: the member and its parts; under the handle's lock, but where it says otherwise ---- */

/* Joins if it has not. 0, or a negative errno: -ESTALE, it is one no more. */
int stream_join(struct group_stream *stream);
/* Takes over what the coordinator says, and whether it says anything. 0, -ESTALE, -ENOMEM. */
int stream_update(struct group_stream *stream);
/* Gives up what the coordinator asks for and the reader is done with. */
void stream_give_up(struct group_stream *stream);
/* The part that is to be asked next; NULL: none has records, and each is waited for from now on. */
struct group_part *stream_next_part(struct group_stream *stream);
/* A question of it has failed. */
void stream_part_failed(struct group_part *part);
/* Its log parts from the one that it was read from, at this offset. */
void stream_part_lost(struct group_part *part, int64_t offset);
/* The part of an owner, which may be about to be given up; NULL: it is not the member's any more. */
struct group_part *stream_any_part(struct group_stream *stream, struct group_owner owner);
/* The part of an owner that delivers; NULL: it does not, or is not the member's any more. */
struct group_part *stream_part(struct group_stream *stream, struct group_owner owner);
/* For group_member_polled(). */
void stream_polled(struct group_stream *stream, bool unread);
/* upto is committed, by whichever way; a group_map_commit()'s each(). */
void stream_committed(void *arg, const struct group_offset *upto);

/* Of a commit that counted in member_refs. Takes the handle's lock: the last one leaves. */
void stream_member_put(struct group_stream *stream);

/* ---- group_stream_read.c ---- */

/* They are in no list any more: go on with them, on threads of the pool. No lock held. */
void stream_wake(struct group_reading *readings);

#endif
