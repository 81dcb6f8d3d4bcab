/* fs/consume/group_map.c: a list of stretches, each of records that follow each other in the stream and in the
 * partition, with the length of each record. What is read and committed lies near the list's ends.
 */
#include "fs/consume/group_map.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A longer one is begun anew, so that what is committed can go. */
enum { STRETCH_RECORDS = 4096, STRETCH_WEIGHT = 16 };

/* A read of fewer bytes is never one of several that the kernel makes of one read(2): it puts as many pages, or ends of
 * segments, into each. It may be filled. */
enum { READ_NEVER_CUT = 256 };

struct group_stretch {
    struct group_owner owner;
    int64_t pos; /* in the stream */
    int64_t len;
    int64_t offset; /* of the first record; the others follow it without a gap */
    uint32_t records, capacity;
    uint32_t *lens;
    struct group_stretch *prev, *next;
};

/* ---- the list ---- */

static void take_out(struct group_map *map, struct group_stretch *stretch)
{
    if (stretch->prev != NULL)
        stretch->prev->next = stretch->next;
    else
        map->first = stretch->next;
    if (stretch->next != NULL)
        stretch->next->prev = stretch->prev;
    else
        map->last = stretch->prev;
    map->weight -= stretch->records + STRETCH_WEIGHT;
    free(stretch->lens);
    free(stretch);
}

static struct group_stretch *stretch_new(struct group_map *map, struct group_owner owner, int64_t pos, int64_t offset)
{
    struct group_stretch *stretch = calloc(1, sizeof *stretch);
    if (stretch == NULL)
        return NULL;
    stretch->owner = owner;
    stretch->pos = pos;
    stretch->offset = offset;
    stretch->prev = map->last;
    if (map->last != NULL)
        map->last->next = stretch;
    else
        map->first = stretch;
    map->last = stretch;
    map->weight += STRETCH_WEIGHT;
    return stretch;
}

/* Whether a record at stream position pos goes on where the stretch ends. */
static bool continues(const struct group_stretch *stretch, struct group_owner owner, int64_t pos, int64_t offset)
{
    return stretch != NULL && group_owner_is(stretch->owner, owner) && stretch->pos + stretch->len == pos &&
           stretch->offset + stretch->records == offset && stretch->records < STRETCH_RECORDS;
}

/* Room for the lengths of so many more. 0 or -ENOMEM. */
static int reserve(struct group_stretch *stretch, uint32_t more)
{
    uint32_t capacity = stretch->capacity > 0 ? stretch->capacity : 8;
    while (capacity < stretch->records + more)
        capacity *= 2;
    if (capacity == stretch->capacity)
        return 0;
    uint32_t *lens = realloc(stretch->lens, capacity * sizeof *lens);
    if (lens == NULL)
        return -ENOMEM;
    stretch->lens = lens;
    stretch->capacity = capacity;
    return 0;
}

/* How many of the records, of which the first one goes on where the stretch ends, do so. */
static uint32_t run_of(const struct group_stretch *stretch, const struct group_record *records, size_t count)
{
    uint32_t run = 1, most = STRETCH_RECORDS - stretch->records;
    while (run < most && run < count && records[run].offset == records[0].offset + run)
        run++;
    return run;
}

/* Adds as many as fit into the stretch. Their number, or -ENOMEM. */
static int add_run(struct group_map *map, struct group_stretch *stretch, const struct group_record *records,
                   size_t count)
{
    uint32_t run = run_of(stretch, records, count);
    uint32_t *lens;
    if (reserve(stretch, run) != 0)
        return -ENOMEM;
    lens = stretch->lens + stretch->records;
    for (uint32_t i = 0; i < run; i++) {
        lens[i] = records[i].len;
        stretch->len += records[i].len;
    }
    stretch->records += run;
    map->weight += run;
    return (int)run;
}

/* The end of the last of its records that ends at or before pos, and their number. */
static int64_t records_until(const struct group_stretch *stretch, int64_t pos, uint32_t *records)
{
    int64_t at = stretch->pos;
    if (pos >= stretch->pos + stretch->len) {
        *records = stretch->records;
        return stretch->pos + stretch->len;
    }
    if (pos - stretch->pos > stretch->len / 2) {
        *records = stretch->records;
        for (at += stretch->len; at > pos;)
            at -= stretch->lens[--*records];
        return at;
    }
    for (*records = 0; at + stretch->lens[*records] <= pos; (*records)++)
        at += stretch->lens[*records];
    return at;
}

/* Cuts the list's end off at pos, where a record ends. */
static void cut_list(struct group_map *map, int64_t pos)
{
    while (map->last != NULL && map->last->pos >= pos)
        take_out(map, map->last);
    if (map->last != NULL && map->last->pos + map->last->len > pos) {
        struct group_stretch *stretch = map->last;
        uint32_t left;
        stretch->len = records_until(stretch, pos, &left) - stretch->pos;
        map->weight -= stretch->records - left;
        stretch->records = left;
    }
}

/* ---- what must be kept ---- */

static int fold(struct group_map *map, const struct group_stretch *stretch)
{
    int64_t upto = stretch->offset + stretch->records;
    for (size_t i = 0; i < map->folded_count; i++) {
        if (group_owner_is(map->folded[i].owner, stretch->owner)) {
            map->folded[i].offset = upto;
            return 0;
        }
    }
    struct group_offset *folded = realloc(map->folded, (map->folded_count + 1) * sizeof *folded);
    if (folded == NULL)
        return -ENOMEM;
    map->folded = folded;
    map->folded[map->folded_count++] = (struct group_offset){.owner = stretch->owner, .offset = upto};
    return 0;
}

/* Drops what is committed and will not be read again; folds what is too much. Where there is no memory for that, it is
 * done later. */
static void trim(struct group_map *map)
{
    while (map->first != NULL) {
        struct group_stretch *stretch = map->first;
        int64_t end = stretch->pos + stretch->len;
        if (end > map->given_pos - LIMIT_STREAM_BACK_BYTES)
            return;
        if (end > map->committed_pos) {
            if (map->weight <= LIMIT_STREAM_RECORDS || fold(map, stretch) != 0)
                return;
            map->folded_pos = end;
        }
        take_out(map, stretch);
    }
}

/* ---- giving ---- */

/* In the list. 0, or -ENOMEM: as many as were added are to be cut off. */
static int add_records(struct group_map *map, struct group_owner owner, const struct group_record *records,
                       size_t count, int64_t *end)
{
    int added = 0;
    *end = group_map_end(map);
    for (size_t i = 0; i < count; i += (size_t)added) {
        struct group_stretch *stretch = map->last;
        if (!continues(stretch, owner, *end, records[i].offset))
            stretch = stretch_new(map, owner, *end, records[i].offset);
        added = stretch == NULL ? -ENOMEM : add_run(map, stretch, records + i, count - i);
        if (added < 0)
            return added;
        *end = stretch->pos + stretch->len;
    }
    return 0;
}

/* piece: NULL where the bytes are copied. */
static int add(struct group_map *map, struct group_owner owner, const struct group_record *records, size_t count,
               const void *bytes, struct history_piece *piece)
{
    int64_t begin = group_map_end(map), end;
    int rc = add_records(map, owner, records, count, &end);
    if (rc == 0 && piece != NULL)
        rc = history_append_piece(&map->history, piece, (size_t)(end - begin), map->given_pos);
    else if (rc == 0)
        rc = history_append_unread(&map->history, bytes, (size_t)(end - begin), map->given_pos);
    if (rc != 0)
        cut_list(map, begin);
    return rc;
}

int group_map_add(struct group_map *map, struct group_owner owner, const struct group_record *records, size_t count,
                  const void *bytes)
{
    return add(map, owner, records, count, bytes, NULL);
}

int group_map_add_piece(struct group_map *map, struct group_owner owner, const struct group_record *records,
                        size_t count, struct history_piece *piece)
{
    return add(map, owner, records, count, NULL, piece);
}

/* Where what can be read again begins: after a withdrawal that is less than a MiB before what was given. */
static int64_t kept_from(const struct group_map *map)
{
    int64_t bytes = map->history.end - (int64_t)map->history.len;
    int64_t ends = map->first != NULL ? map->first->pos : map->history.end;
    return bytes > ends ? bytes : ends;
}

static bool can_read(const struct group_map *map, int64_t pos)
{
    return pos <= map->given_pos && pos >= map->given_pos - LIMIT_STREAM_BACK_BYTES && pos >= kept_from(map);
}

int group_map_read_at(struct group_map *map, int64_t pos)
{
    if (!can_read(map, pos))
        return -EINVAL;
    if (pos > map->read_pos)
        map->read_pos = pos;
    return 0;
}

/* Where the last of at most max_records records of one owner, from that one of the stretch on, ends that ends at `room`
 * or before; `at`, where it begins: none does. */
static int64_t end_of_fitting(const struct group_stretch *stretch, uint32_t record, int64_t at, int64_t room,
                              int64_t max_records)
{
    struct group_owner owner = stretch->owner;
    while (stretch->pos + stretch->len <= room && stretch->records - record <= max_records) {
        at = stretch->pos + stretch->len;
        max_records -= stretch->records - record;
        stretch = stretch->next;
        if (stretch == NULL || !group_owner_is(stretch->owner, owner))
            return at;
        record = 0;
    }
    for (; max_records > 0 && record < stretch->records && at + stretch->lens[record] <= room; max_records--)
        at += stretch->lens[record++];
    return at;
}

/* How many bytes a read of `size` at pos, in stretch, is given. */
static size_t fitting(const struct group_stretch *stretch, int64_t pos, size_t size, int64_t max_records)
{
    uint32_t record;
    int64_t at = records_until(stretch, pos, &record);
    int64_t end = end_of_fitting(stretch, record, at, pos + (int64_t)size - 1, max_records);
    if (end > at)
        return (size_t)(end - pos);
    int64_t left = at + stretch->lens[record] - pos;
    int64_t piece = size < READ_NEVER_CUT ? (int64_t)size : (int64_t)size - 1;
    return (size_t)(left < piece ? left : piece);
}

int64_t group_map_give(struct group_map *map, int64_t pos, size_t size, int64_t max_records, void *out)
{
    struct group_stretch *stretch = map->last;
    if (!can_read(map, pos))
        return -EINVAL;
    if (size == 0 || pos == group_map_end(map))
        return 0;
    while (stretch->pos > pos)
        stretch = stretch->prev;
    size_t given = fitting(stretch, pos, size, max_records);
    if (out != NULL) {
        int64_t copied = history_read(&map->history, pos, out, given);
        assert(copied == (int64_t)given);
    }
    if (pos + (int64_t)given > map->given_pos) {
        map->given_pos = pos + (int64_t)given;
        history_shown(&map->history, map->given_pos);
        trim(map);
    }
    return (int64_t)given;
}

/* ---- committing ---- */

/* What stretch has to say to a commit up to pos, where committed_pos is the last one. false: nothing. */
static bool done_of(const struct group_map *map, const struct group_stretch *stretch, int64_t pos,
                    struct group_offset *upto, int64_t *end)
{
    uint32_t records;
    *end = records_until(stretch, pos, &records);
    *upto = (struct group_offset){.owner = stretch->owner, .offset = stretch->offset + records};
    return records > 0 && *end > map->committed_pos;
}

/* What is to be committed: all, or of these owners what is asked for. */
struct asked {
    const struct group_offset *offsets; /* NULL: all */
    size_t count;
};

/* How far of an owner's records may be committed, if that is less than `upto`. */
static int64_t least_asked(const struct asked *asked, const struct group_offset *upto)
{
    if (asked->offsets == NULL)
        return upto->offset;
    for (size_t i = 0; i < asked->count; i++) {
        if (group_owner_is(asked->offsets[i].owner, upto->owner))
            return asked->offsets[i].offset < upto->offset ? asked->offsets[i].offset : upto->offset;
    }
    return -1;
}

static int64_t end_of_record(const struct group_stretch *stretch, int64_t offset)
{
    int64_t end = stretch->pos;
    for (int64_t i = 0; i < offset - stretch->offset; i++)
        end += stretch->lens[i];
    return end;
}

/* What was folded. false: it is not to be committed. */
static bool commit_folded(struct group_map *map, int64_t pos, const struct asked *asked,
                          void (*each)(void *arg, const struct group_offset *upto), void *arg)
{
    if (pos < map->folded_pos)
        return true; /* what is before it is committed, or goes with it */
    for (size_t i = 0; i < map->folded_count; i++) {
        if (least_asked(asked, &map->folded[i]) < map->folded[i].offset)
            return false;
    }
    for (size_t i = 0; i < map->folded_count; i++)
        each(arg, &map->folded[i]);
    map->folded_count = 0;
    if (map->folded_pos > map->committed_pos)
        map->committed_pos = map->folded_pos;
    return true;
}

static void commit(struct group_map *map, int64_t pos, const struct asked *asked,
                   void (*each)(void *arg, const struct group_offset *upto), void *arg)
{
    int64_t committed = map->committed_pos;
    if (pos <= committed || !commit_folded(map, pos, asked, each, arg))
        return;
    struct group_stretch *stretch = map->last;
    while (stretch != NULL && stretch->prev != NULL && stretch->prev->pos + stretch->prev->len > committed)
        stretch = stretch->prev;
    for (; stretch != NULL && stretch->pos < pos; stretch = stretch->next) {
        struct group_offset upto;
        int64_t end;
        if (!done_of(map, stretch, pos, &upto, &end))
            continue;
        int64_t least = least_asked(asked, &upto);
        bool less = least < upto.offset;
        if (less) {
            upto.offset = least;
            end = end_of_record(stretch, least);
        }
        if (end > map->committed_pos) {
            each(arg, &upto);
            map->committed_pos = end;
        }
        if (less)
            break;
    }
    trim(map);
}

void group_map_commit(struct group_map *map, int64_t pos, void (*each)(void *arg, const struct group_offset *upto),
                      void *arg)
{
    commit(map, pos, &(struct asked){0}, each, arg);
}

void group_map_settle(struct group_map *map, int64_t pos, const struct group_offset *asked, size_t count,
                      void (*each)(void *arg, const struct group_offset *upto), void *arg)
{
    commit(map, pos, &(struct asked){.offsets = asked, .count = count}, each, arg);
}

/* Takes upto into a list that has room for it. */
static void collect(struct group_offset *list, size_t *count, const struct group_offset *upto)
{
    for (size_t i = 0; i < *count; i++) {
        if (group_owner_is(list[i].owner, upto->owner)) {
            if (list[i].offset < upto->offset)
                list[i].offset = upto->offset;
            return;
        }
    }
    list[(*count)++] = *upto;
}

int group_map_offsets(const struct group_map *map, int64_t pos, struct group_offset **out, size_t *count)
{
    size_t room = map->folded_count + 1; /* 1: malloc(0) may be NULL */
    *out = NULL;
    *count = 0;
    if (pos < 0 || pos > map->given_pos)
        return -EINVAL;
    if (pos > map->committed_pos && pos < map->folded_pos)
        return -ERANGE;
    for (const struct group_stretch *stretch = map->last;
         stretch != NULL && stretch->pos + stretch->len > map->committed_pos; stretch = stretch->prev)
        room++;
    struct group_offset *list = malloc(room * sizeof *list);
    if (list == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < map->folded_count && pos > map->committed_pos; i++)
        collect(list, count, &map->folded[i]);
    for (const struct group_stretch *stretch = map->last;
         stretch != NULL && stretch->pos + stretch->len > map->committed_pos; stretch = stretch->prev) {
        struct group_offset upto;
        int64_t end;
        if (done_of(map, stretch, pos, &upto, &end))
            collect(list, count, &upto);
    }
    *out = list;
    return 0;
}

/* ---- withdrawing ---- */

/* Up to where the reader has said that it is done, by reading on or by a commit. */
static int64_t done_pos(const struct group_map *map)
{
    return map->committed_pos > map->read_pos ? map->committed_pos : map->read_pos;
}

/* Where what it is not done with begins: no record is torn. */
static int64_t unread_from(const struct group_map *map)
{
    const struct group_stretch *stretch = map->last;
    int64_t pos = done_pos(map);
    if (pos >= group_map_end(map))
        return group_map_end(map);
    while (stretch->pos > pos)
        stretch = stretch->prev;
    uint32_t record;
    int64_t at = records_until(stretch, pos, &record);
    return at < pos ? at + stretch->lens[record] : pos;
}

bool group_map_owes(const struct group_map *map, struct group_owner owner)
{
    const struct group_stretch *stretch = map->last;
    for (size_t i = 0; i < map->folded_count; i++) {
        if (group_owner_is(map->folded[i].owner, owner))
            return true;
    }
    while (stretch != NULL && stretch->pos + stretch->len > map->committed_pos) {
        if (group_owner_is(stretch->owner, owner) && stretch->pos < map->given_pos)
            return true;
        stretch = stretch->prev;
    }
    return false;
}

bool group_map_holds(const struct group_map *map, struct group_owner owner)
{
    const struct group_stretch *stretch = map->last;
    while (stretch != NULL && stretch->pos + stretch->len > done_pos(map)) {
        if (group_owner_is(stretch->owner, owner))
            return true;
        stretch = stretch->prev;
    }
    return false;
}

bool group_map_last_owner(const struct group_map *map, struct group_owner *owner)
{
    if (map->last == NULL)
        return false;
    *owner = map->last->owner;
    return true;
}

int64_t group_map_withdraw(struct group_map *map, struct group_owner owner)
{
    int64_t from = unread_from(map), offset = -1;
    if (!group_map_holds(map, owner))
        return -1;
    for (const struct group_stretch *stretch = map->last; stretch != NULL && stretch->pos + stretch->len > from;
         stretch = stretch->prev) {
        uint32_t record;
        assert(group_owner_is(stretch->owner, owner));
        (void)records_until(stretch, from, &record);
        offset = stretch->offset + record;
    }
    cut_list(map, from);
    history_cut(&map->history, from);
    if (map->given_pos > from)
        map->given_pos = from;
    return offset;
}

int64_t group_map_unfinished(const struct group_map *map, struct group_owner owner)
{
    const struct group_stretch *stretch = map->last;
    if (map->given_pos >= group_map_end(map) || !group_owner_is(stretch->owner, owner))
        return -1;
    uint32_t records;
    (void)records_until(stretch, map->given_pos, &records);
    return stretch->offset + records;
}

void group_map_free(struct group_map *map)
{
    while (map->first != NULL)
        take_out(map, map->first);
    free(map->folded);
    history_free(&map->history);
    *map = (struct group_map){0};
}
