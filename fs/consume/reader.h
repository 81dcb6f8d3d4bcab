/* fs/consume/reader.h: what consuming keeps of an open file (handle.h) of a partition, or of a view of one. All of it
 * is under the handle's lock. */
#ifndef LOGMNT_FS_CONSUME_READER_H
#define LOGMNT_FS_CONSUME_READER_H

#include "fs/consume/history.h"
#include "fs/consume/passed.h"
#include "fs/consume/posmap.h"
#include "fs/tree/handle.h"

/* `.json`: text is generated as it is read. */
struct json_view {
    struct history history; /* what was read */
    char *text;             /* what was made and not yet read */
    size_t text_len, text_used;
    struct log_point next; /* the record to show next */
    uint64_t made;         /* how often text was made: `next` is another one */
};

struct group_stream;

struct reader {
    struct posmap map;    /* partitions, .follow */
    int64_t read_pos;     /* partitions: where the last read began */
    int64_t next_pos;     /* .follow: file position behind what was read */
    struct passed passed; /* .follow */
    struct fuse_pollhandle *poll_handle;
    struct poll_watch *poll_watch;
    struct json_view *json;     /* .json alone */
    struct group_stream *group; /* a group's stream alone: group_stream.h */
};

/* For a new open file. -ENOMEM. */
int reader_open(struct handle *handle);
/* The open file's last reference goes. */
void reader_free(struct handle *handle);

/* The partition's position that a position of an open file of a partition means. Takes the handle's lock. */
int64_t reader_position(struct handle *handle, int64_t pos);

#endif
