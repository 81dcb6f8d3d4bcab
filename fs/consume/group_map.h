/* fs/consume/group_map.h: which stretch of a group's stream is which stretch of which partition, with its bytes.
 *
 * A stream (group_stream.h) is the records that one open file was given, one behind the other; its positions count
 * their bytes, from 0:
 *
 *     0 ───── committed ───── read ───── given ───── end
 *       done, and so handed      │          │          └ a record that is given in pieces is held to its end
 *       on by the stream         │          └ behind what the reads have returned
 *                                └ the highest position that was read at: the reader has done with all before it
 *
 * A record is delivered when all of its bytes were given. Its owner is the member's share of a partition that it came
 * through, by its assignment epoch (KIP-1251): what one owner has delivered another one does not commit. Kept are the
 * bytes of the last MiB that was given (history.h) with what was not given yet, and where records end from there on or
 * from `committed` on, whichever is before; of more than LIMIT_STREAM_RECORDS the oldest are folded: they are committed
 * together or not at all. Pure; the caller's lock. */
#ifndef LOGMNT_FS_CONSUME_GROUP_MAP_H
#define LOGMNT_FS_CONSUME_GROUP_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/consume/history.h"

struct group_owner {
    int32_t partition;
    int32_t epoch;
};

/* A record, or its line of `.json`. */
struct group_record {
    int64_t offset;
    uint32_t len; /* in the stream */
};

/* How far an owner's records are done: up to this offset, exclusive. */
struct group_offset {
    struct group_owner owner;
    int64_t offset;
};

struct group_stretch;

struct group_map { /* zero-initialise */
    struct history history;
    int64_t read_pos, given_pos, committed_pos;
    struct group_stretch *first, *last;
    size_t weight;      /* of the list: LIMIT_STREAM_RECORDS */
    int64_t folded_pos; /* behind what was folded */
    struct group_offset *folded;
    size_t folded_count;
};

/* Records that follow each other in the partition are to be given next. bytes: all of them. 0, or -ENOMEM: nothing has
 * changed. */
int group_map_add(struct group_map *map, struct group_owner owner, const struct group_record *records, size_t count,
                  const void *bytes);
/* The same where the bytes are the first ones of a piece. */
int group_map_add_piece(struct group_map *map, struct group_owner owner, const struct group_record *records,
                        size_t count, struct history_piece *piece);

/* A read at pos, of so many bytes. 0: everything before pos is done; -EINVAL: nothing was given there, or it lies more
 * than a MiB back. */
int group_map_read_at(struct group_map *map, int64_t pos);

/* What a read of `size` bytes at pos is given of what is held: whole records of one partition, at most max_records,
 * that come to less than size; or a piece of the first one, if that is longer. out: `size` bytes; NULL: the caller has
 * them. Their number; 0: none is held there; -EINVAL: since group_map_read_at() others have gone on, so that it lies
 * more than a MiB back now. */
int64_t group_map_give(struct group_map *map, int64_t pos, size_t size, int64_t max_records, void *out);

/* Calls each() for the owners of what is delivered before pos and was not committed yet, with how far; an owner may
 * come more than once, with higher offsets. Then that is committed. */
void group_map_commit(struct group_map *map, int64_t pos, void (*each)(void *arg, const struct group_offset *upto),
                      void *arg);
/* The same of what is among `asked`, each owner once, alone: since they were listed some may have been withdrawn, and
 * others' may be there now. */
void group_map_settle(struct group_map *map, int64_t pos, const struct group_offset *asked, size_t count,
                      void (*each)(void *arg, const struct group_offset *upto), void *arg);
/* What group_map_commit() would call, as a malloc-ed list with each owner once, and nothing is committed yet. 0;
 * -ENOMEM; -EINVAL: pos is beyond what was given; -ERANGE: it is so far back that it was folded. */
int group_map_offsets(const struct group_map *map, int64_t pos, struct group_offset **out, size_t *count);

/* The owner is none any more: what it has delivered and its reader has yet to read on from is taken back, from the
 * position that was read at on, or from the end of the record that this lies in: none is torn. What was committed
 * stays. (No other owner's is behind that: what was not read on from is of one read.) Returns the offset of the first
 * record that was taken back; -1: none was. */
int64_t group_map_withdraw(struct group_map *map, struct group_owner owner);
/* Whose the last record that is held is. false: none is. */
bool group_map_last_owner(const struct group_map *map, struct group_owner *owner);
/* Whether something of this owner is held that was neither read on from nor committed. */
bool group_map_holds(const struct group_map *map, struct group_owner owner);
/* Whether something of it was given, and is not committed. */
bool group_map_owes(const struct group_map *map, struct group_owner owner);
/* The offset of the record that is not wholly given yet, if it is this owner's; -1. */
int64_t group_map_unfinished(const struct group_map *map, struct group_owner owner);

static inline bool group_owner_is(struct group_owner a, struct group_owner b)
{
    return a.partition == b.partition && a.epoch == b.epoch;
}

static inline int64_t group_map_end(const struct group_map *map)
{
    return map->history.end;
}

/* Nothing more is to come for a while. */
static inline void group_map_rest(struct group_map *map)
{
    history_rest(&map->history);
}

void group_map_free(struct group_map *map);

#endif
