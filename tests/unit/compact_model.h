/* tests/unit/compact_model.h: compaction as Kafka's documentation tells it, on a plain array of records, and the check
 * of a log against it. */
#ifndef LOGMNT_TESTS_COMPACT_MODEL_H
#define LOGMNT_TESTS_COMPACT_MODEL_H

#include "tests/unit/log_fixture.h"

enum { MODEL_MAX = 20000, MODEL_TEXT_BYTES = 48 };

struct model_record {
    int64_t position;
    int64_t timestamp_ms;
    int64_t horizon_ms; /* of a tombstone that compaction has passed over; 0: not yet */
    int key;            /* -1: none */
    bool tombstone;
    bool gone;
    char text[MODEL_TEXT_BYTES]; /* with its newline; the record n is the one with offset n */
};

struct compact_model {
    struct model_record records[MODEL_MAX];
    int count;
    int start;  /* log start offset */
    int closed; /* offset of the active segment */
};

/* Appends one batch of random records with one of `keys` keys to both. */
void compact_model_append(struct compact_model *m, struct log_fixture *f, int keys);
void compact_model_roll(struct compact_model *m, struct log_fixture *f);
void compact_model_delete(struct compact_model *m, struct log_fixture *f, int offset);
/* One pass over [first_dirty, end of the closed part), with at most max_keys keys in its map. Returns where it ended.
 */
int compact_model_pass(struct compact_model *m, int64_t now_ms, int64_t delete_retention_ms, int first_dirty,
                       size_t max_keys);

/* The log holds exactly the model's survivors: bytes, offsets, positions, timestamps, and finds them. */
void compact_model_check(const struct compact_model *m, struct log_fixture *f);

#endif
