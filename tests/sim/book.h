/* tests/sim/book.h: the books of a cluster as its users see it: which topics they made, what they wrote and what they
 * were told of it. audit.h holds them against what nodes show.
 *
 * A batch's lines are `[kKEY=]SERIAL.NUMBER:padding`, each there once in a partition's life, so whatever is read names
 * itself. What a call told its caller after the crash of its node nobody heard: it is unknown, and the next audit finds
 * out.
 *
 * What may be lost: a batch that was promised (acks=all was answered, or somebody has read it) while another replica in
 * sync has it, or it is on the disk, never. One that was acknowledged by a leader alone may go with that leader; and
 * any with an unclean election. But what a mount has shown at a place is there or nothing is, as long as it is mounted.
 */
#ifndef LOGMNT_TESTS_SIM_BOOK_H
#define LOGMNT_TESTS_SIM_BOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "replication/node/node.h"
#include "tests/sim/setting.h"

enum {
    BOOK_NODES = 5,
    BOOK_PARTITIONS = 4,
    BOOK_LINES = 6, /* in a batch, at most */
    BOOK_LINE_BYTES = 400,
    BOOK_KEYS = 8,
    BOOK_SETTINGS = 9,
};

enum batch_state {
    BATCH_OPEN,    /* on its way */
    BATCH_IN,      /* acknowledged, or found in the log */
    BATCH_UNKNOWN, /* may be there */
    BATCH_GONE,    /* certainly not there, and never again */
};

struct book_batch {
    enum batch_state state;
    bool durable;   /* acknowledged as on the disk (rules 8, 39) */
    bool promised;  /* acknowledged as held by all in sync, or read */
    bool may_go;    /* whoever was in sync has lost its power since */
    bool placed;    /* base is known */
    bool settled;   /* and it stays there, and no other does */
    bool late;      /* acks=0, and it was on its way when that was said: the next fsync tells if it has failed */
    bool lost;      /* GONE: it was there. Who has not heard of that yet may still show it */
    int32_t epoch;  /* of the leader that acknowledged it */
    int64_t writer; /* one mount of one node: what it wrote is in the order in which it wrote */
    int lines;
    int keys[BOOK_LINES]; /* -1: none */
    uint32_t lens[BOOK_LINES];
    char *bytes;
    uint32_t len;
    struct log_point base;
};

/* A batch where a mount has shown it. */
struct book_view {
    int64_t serial;
    int64_t position;
    uint32_t len;
};

struct book_partition {
    struct book_batch *batches; /* by serial */
    int64_t count, room;
    int64_t *by_offset; /* serials of those that are placed, ascending by base */
    int64_t placed_count, placed_room;
    struct log_point trimmed;    /* DeleteRecords up to here were acknowledged (rule 40) */
    struct log_point trim_asked; /* and asked for */
    bool may_go;                 /* whoever was in sync has lost its power: records that were shown may be gone */
    int32_t unclean_epoch;       /* who led before the last unclean election promises nothing since */
    /* By place of the node, since its start: the high watermark and the log start that were seen last. */
    struct log_point shown[BOOK_NODES], start_shown[BOOK_NODES];
    /* Likewise, how far it was compacted when that was seen first: a checkpoint may say so, and an older one how far
     * the high watermark was. */
    struct {
        bool seen;
        int64_t offset;
    } cleaned[BOOK_NODES];
    /* Likewise, all that it was seen to show: nothing else is ever there, though it may be lost (rule 53). */
    struct book_view *views[BOOK_NODES];
    int64_t view_count[BOOK_NODES], view_room[BOOK_NODES];
    int32_t stale_epoch[BOOK_NODES]; /* what it shows in earlier leader epochs binds nobody: it could not be asked */
    int32_t asks_epoch;              /* whose leader may have lost some, and has not begun yet; 0: none */
};

enum topic_state { TOPIC_MAKING, TOPIC_THERE, TOPIC_UNKNOWN, TOPIC_GONE };

/* One attempt to make a topic, and what came of it. */
struct book_topic {
    char name[16];
    char id[32];
    enum topic_state state;
    bool deleting;
    bool delete_asked;                  /* and nobody knows what came of it */
    bool delete_any;                    /* ever asked for with all that it holds; else only if that is nothing */
    int64_t gone_at;                    /* GONE: when (world.clock); what was asked for before may have met it */
    bool to_compact;                    /* its users want that, and write nothing before */
    bool compacts, retains;             /* ever asked for: records may be missing, the start may move */
    bool unclean;                       /* likewise: whoever lives may be elected */
    int32_t partitions, partitions_max; /* acknowledged; perhaps */
    struct setting settings[BOOK_SETTINGS];
    int setting_count;
    struct book_partition parts[BOOK_PARTITIONS];
};

struct book {
    struct book_topic **topics;
    int count, room;
    int node_count;
    int64_t asked;                 /* counts calls: the time of what happens to topics */
    struct setting fallback, mode; /* of MOUNT: a default for topics; its mode, in octal */
    /* Of MOUNT's modes, by whether all may make topics then: when it was last acknowledged, and last asked for; how
     * many such are not known to be over. */
    struct {
        int64_t since, asked;
        int open;
    } modes[2];
    bool full; /* a disk had no room at times, or failed: a partition that could not be made is offline until it
                * has, and what waited may be refused for want of it */
    uint64_t lines_checked, lines_lost, batches_found; /* how much was proved */
};

void book_free(struct book *book);
struct book_topic *book_add_topic(struct book *book, const char *name);
/* The last one of that name that may be there; NULL: none. */
struct book_topic *book_topic(struct book *book, const char *name);
struct book_topic *book_topic_by_id(struct book *book, const char *id);
void book_topic_gone(struct book *book, struct book_topic *topic);
/* Whether the topic may have been deleted as an empty one, or could be otherwise. False, with the reason: something
 * that was promised is in it. */
bool book_may_be_gone(const struct book_topic *topic, struct err *e);
/* Another one of that name may have been there since then. */
bool book_name_was_taken(const struct book *book, const struct book_topic *but, const char *name, int64_t since);

/* A new batch of `lines` lines, keyed where keys is set. Returns its serial. */
int64_t book_add_batch(struct book_topic *topic, int32_t part, int64_t writer, int lines, bool keyed, uint64_t *chance);
/* Whose line that is, and which; NULL: nobody's. Its bytes may be others still. */
struct book_batch *book_identify(struct book_partition *part, const char *line, uint32_t len, int64_t *serial,
                                 int *number);
uint32_t book_bytes_before(const struct book_batch *batch, int number);
/* Nobody was promised that it stays, or nobody is left who could keep that. */
static inline bool book_may_go(const struct book_batch *batch)
{
    return !batch->promised || (batch->may_go && !batch->durable);
}
/* It is there in the log. False, with the reason, if it was elsewhere, another one is there that may not go either, or
 * its writer wrote it before (after) one that lies behind (before) it. */
bool book_place(struct book_partition *part, int64_t serial, struct log_point base, struct err *e);
/* From here on it stays where it is, or will be. False: it cannot, with the reason. */
bool book_promise(struct book_partition *part, int64_t serial, struct err *e);
/* Whoever was in sync has lost its power: what is not on the disk may be gone. */
void book_may_lose(struct book_partition *part);
/* An unclean election, in that leader epoch: also what is on the disk. */
void book_elected_unclean(struct book_partition *part, int32_t epoch);
/* A mount shows (a line of) it there, in that leader epoch as it knows it. False with the reason: it has shown
 * something else there. */
bool book_show(struct book_partition *part, int place, int64_t serial, struct log_point base, int32_t epoch,
               struct err *e);
/* What it shows in earlier epochs binds nobody: it could not be asked by who leads in this one. */
void book_unbind(struct book_partition *part, int place, int32_t epoch);
struct setting *book_setting(struct book_topic *topic, const char *name);

/* A node has ended: what it has shown is no promise any more. */
void book_ended(struct book *book, int place);
/* The only node was stopped cleanly: all that is in the log is on the disk. */
void book_stopped_cleanly(struct book *book);

#endif
