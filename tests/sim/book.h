/* tests/sim/book.h: the books of a cluster as its users see it: which topics they made, what they wrote and what they
 * were told of it. And the audit: does what a node shows agree with the books?
 *
 * A batch's lines are `[kKEY=]SERIAL.NUMBER:padding`, each there once in a partition's life, so whatever is read names
 * itself. What a call told its caller after the crash of its node nobody heard: it is unknown, and the next audit finds
 * out. */
#ifndef LOGMNT_TESTS_SIM_BOOK_H
#define LOGMNT_TESTS_SIM_BOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "replication/node/node.h"

enum {
    BOOK_PARTITIONS = 4,
    BOOK_LINES = 6, /* in a batch, at most */
    BOOK_LINE_BYTES = 400,
    BOOK_KEYS = 8,
    BOOK_SETTINGS = 8,
};

enum batch_state {
    BATCH_OPEN,    /* on its way */
    BATCH_IN,      /* acknowledged, or found in the log */
    BATCH_UNKNOWN, /* may be there */
    BATCH_GONE,    /* certainly not there, and never again */
};

struct book_batch {
    enum batch_state state;
    bool durable; /* acknowledged as on the disk */
    bool placed;  /* base is known */
    int lines;
    int keys[BOOK_LINES]; /* -1: none */
    uint32_t lens[BOOK_LINES];
    char *bytes;
    uint32_t len;
    struct log_point base;
};

struct book_partition {
    struct book_batch *batches; /* by serial */
    int64_t count, room;
    struct log_point trimmed;     /* DeleteRecords up to here were acknowledged */
    struct log_point trim_asked;  /* and asked for */
    struct log_point shown;       /* the high watermark that was seen last; since the node's start */
    struct log_point start_shown; /* likewise the log start */
};

enum topic_state { TOPIC_MAKING, TOPIC_THERE, TOPIC_UNKNOWN, TOPIC_GONE };

/* A setting as it was acknowledged; unknown while a change of it is on its way, or was when its node crashed. */
struct book_setting {
    const char *name;
    char value[32]; /* "": the default */
    bool unknown;
};

struct book_topic {
    char name[16];
    char id[32]; /* "": not known yet */
    enum topic_state state;
    bool deleting;
    bool compacts, retains;             /* ever asked for: records may be missing, the start may move */
    int32_t partitions, partitions_max; /* acknowledged; perhaps */
    struct book_setting settings[BOOK_SETTINGS];
    int setting_count;
    struct book_partition parts[BOOK_PARTITIONS];
};

struct book {
    struct book_topic **topics;
    int count, room;
    bool full; /* the disk had no room at times: a partition that could not be made is offline until it has, and what
                * waited may be refused for want of it */
    uint64_t lines_checked, lines_lost, batches_found; /* how much was proved */
};

void book_free(struct book *book);
struct book_topic *book_add_topic(struct book *book, const char *name);
/* The one of that name that is not gone; NULL: none. */
struct book_topic *book_topic(struct book *book, const char *name);
/* A new batch of `lines` lines, keyed where keys is set. Returns its serial. */
int64_t book_add_batch(struct book_topic *topic, int32_t part, int lines, bool keyed, uint64_t *chance);
struct book_setting *book_setting(struct book_topic *topic, const char *name);

/* The node has crashed (or stopped): whatever was on its way is unknown, what it has shown is no promise any more. */
void book_crashed(struct book *book);
/* It was stopped cleanly: all that is in the log is on the disk. */
void book_stopped_cleanly(struct book *book);

/* What the node shows against the books. fresh: it was just opened, and nothing was appended since; power: its disk
 * has lost what was not synced. False with the reason. */
bool book_audit(struct book *book, struct node *node, struct io *io, bool fresh, bool power, struct err *e);
/* One partition alone. */
bool book_audit_partition(struct book *book, struct book_topic *topic, int32_t index, struct partition *part,
                          struct io *io, bool fresh, bool power, struct err *e);

#endif
