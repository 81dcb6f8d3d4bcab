/* tests/fault/ledger.h: the books of one log: what was appended to it, what was promised when, and what may have gone.
 * With each cut of the log a new book begins, and the one before it is kept: it holds in states from before the cut was
 * over.
 *
 * Moments are counts of recorded operations (recorder_count()): a promise made at moment m holds in each state with at
 * least m operations; something begun at moment b can show in states with more than b, and at 0 in all.
 *
 * A log as found is read into an image; ledger_check() says whether the books allow it. */
#ifndef LOGMNT_TESTS_LEDGER_H
#define LOGMNT_TESTS_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/log/log.h"

enum { LEDGER_UNSIGNED = -1 };

struct ledger_record {
    int64_t position;
    uint32_t len;
    int key; /* -1: none */
    bool tombstone;
    bool first;          /* of its batch */
    bool hole;           /* of a hole: it never was in this log */
    int32_t epoch;       /* LEDGER_UNSIGNED: the log's owner chose it, and the books do not know it */
    int64_t producer_id; /* -1: none */
    int32_t sequence;
    int64_t timestamp_ms;
    uint32_t begun, acked; /* moments */
};

enum ledger_kind {
    LEDGER_FLUSHED,   /* everything below point is on the disk */
    LEDGER_STARTED,   /* the start may be up to point from `begun` on */
    LEDGER_TRIMMED,   /* the start is not below point (DeleteRecords, checkpointed) */
    LEDGER_COMPACTED, /* superseded records may be gone from `begun` on */
};

struct ledger_event {
    enum ledger_kind kind;
    uint32_t begun, done; /* moments */
    struct log_point point;
};

struct ledger {
    struct ledger *before;        /* the book until the last cut; owned; NULL: there was none */
    uint32_t cut_begun, cut_done; /* moments of that cut; UINT32_MAX: not done */
    struct log_point cut_to;
    bool reset;                    /* it was one of everything */
    struct ledger_record *records; /* by offset */
    int64_t count, max;
    char *bytes; /* by position */
    int64_t size, bytes_max;
    struct ledger_event *events;
    uint32_t event_count, event_max;
};

void ledger_free(struct ledger *l);
/* One record of the batch that is being appended at `begun`; first: it begins the batch. */
void ledger_add(struct ledger *l, const void *bytes, size_t len, int key, bool tombstone, bool first,
                int64_t timestamp_ms, uint32_t begun);
/* Offsets and positions up to a point are a hole, in front of a batch that is appended at `begun`. */
void ledger_add_hole(struct ledger *l, struct log_point to, uint32_t begun);
/* The records from offset `from` on are of this epoch and producer; sequences count on from the first. */
void ledger_sign(struct ledger *l, int64_t from, int32_t epoch, int64_t producer_id, int32_t sequence);
/* A cut begins: a new book, in which what lies behind the point is not any more; with reset nothing is left. */
void ledger_cut(struct ledger *l, struct log_point to, bool reset, uint32_t begun);
void ledger_cut_done(struct ledger *l, uint32_t moment);
/* It was refused: the old book goes on. */
void ledger_cut_refused(struct ledger *l);
/* The records from offset `from` on are acknowledged. */
void ledger_acked(struct ledger *l, int64_t from, uint32_t moment);
/* The records from offset `from` on were refused. */
void ledger_take_back(struct ledger *l, int64_t from);
void ledger_event(struct ledger *l, enum ledger_kind kind, struct log_point point, uint32_t begun, uint32_t done);
struct log_point ledger_end(const struct ledger *l);
/* The point of an offset; at the end too. */
struct log_point ledger_point(const struct ledger *l, int64_t offset);

/* ---- what a log shows ---- */

struct image {
    struct log_point start, end;
    struct log_run *runs;
    uint32_t count, max;
    char *bytes; /* of the runs, one behind the other, from the start on */
    size_t size, bytes_max;
};

/* New books for a log that was found like that, which holds now and for ever. `from` is the book that allowed it. */
void ledger_copy(struct ledger *to, const struct ledger *from, const struct image *image);
/* Reads all of it. 0, or a negative errno with the reason. */
int image_read(struct image *image, struct log *log, struct err *e);
void image_free(struct image *image);
/* The same, byte for byte. False with the difference. */
bool image_equal(const struct image *a, const struct image *b, struct err *e);

/* Everything that the books demand of the state after `moment` operations. lost: the power went, so only what was
 * flushed must be there; otherwise all that was acknowledged. Returns the book that allows it; NULL with the reason. */
const struct ledger *ledger_check(const struct ledger *l, const struct image *image, uint32_t moment, bool lost,
                                  struct err *e);
/* The log knows the epochs and the producers of the records as the image shows them, and no others. */
bool ledger_check_epochs(const struct ledger *l, const struct image *image, struct log *log, struct err *e);
bool ledger_check_producers(const struct ledger *l, const struct image *image, struct log *log, struct err *e);
/* The log finds records as the image says: by offset, time, position and from the end, at a few random places. */
bool ledger_check_lookups(const struct image *image, struct log *log, enum framing framing, uint64_t *random,
                          struct err *e);

/* splitmix64 */
uint64_t random_next(uint64_t *state);
uint32_t random_below(uint64_t *state, uint32_t n);

#endif
