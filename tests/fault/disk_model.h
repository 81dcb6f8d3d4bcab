/* tests/fault/disk_model.h: what a disk may hold after a crash.
 *
 * The model is fed with a recording, operation by operation. It knows what is durable: of a file the bytes and the size
 * as of its last sync, of a directory the names as of its own last sync. Everything since then is pending, and at a
 * crash each pending operation has an outcome of its own: a write       kept, lost, torn at a sector's boundary (either
 * part kept), or only its size kept, with zeros a truncation  kept or lost a name        made, renamed, unlinked or
 * not; but never later ones of one file or one name without earlier ones A dead process loses nothing: there all
 * outcomes are `kept`. */
#ifndef LOGMNT_TESTS_DISK_MODEL_H
#define LOGMNT_TESTS_DISK_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/fault/recorder.h"

enum { DISK_SECTOR_BYTES = 512 };

enum disk_outcome { DISK_KEPT, DISK_LOST, DISK_HEAD, DISK_TAIL, DISK_ZEROS, DISK_OUTCOMES };

struct disk_choice {
    enum disk_outcome outcome;
    int64_t cut; /* of a torn write: the boundary, a position in the file */
};

struct disk_model;

/* Begins with what is in the directory now, all of it durable. */
struct disk_model *disk_model_new(const char *root);
void disk_model_free(struct disk_model *m);
/* The next operation. The record must outlive the model. */
void disk_model_apply(struct disk_model *m, const struct record *record);

/* What is pending, in order. */
uint32_t disk_model_pending(const struct disk_model *m);
const struct record *disk_model_pending_record(const struct disk_model *m, uint32_t i);
/* Whether the pending operation can end that way. *cut: a boundary, chosen by `random`, where it is torn. */
bool disk_model_possible(const struct disk_model *m, uint32_t i, enum disk_outcome outcome, uint64_t random,
                         int64_t *cut);

/* Makes the state, one choice for each pending operation, in `to`, which is made, or emptied first. choices NULL: all
 * kept. */
void disk_model_build(const struct disk_model *m, const struct disk_choice *choices, const char *to);

/* rm -rf, of what lies in the directory; the directory itself stays. */
void disk_empty(const char *path);

#endif
