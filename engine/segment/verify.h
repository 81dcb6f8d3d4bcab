/* engine/segment/verify.h: which batches of a segment have had their CRC checked since the start: one bit a batch.
 *
 * What this process appended itself counts as checked; after a start the bits of what was there are clear. A mark says
 * up to which place everything is checked, so that reading again costs one load. Any thread. */
#ifndef LOGMNT_ENGINE_SEGMENT_VERIFY_H
#define LOGMNT_ENGINE_SEGMENT_VERIFY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct verify {
    _Atomic uint32_t unchecked;       /* batches [0, unchecked) were there at the start; the rest are checked */
    _Atomic uint32_t prefix;          /* batches [0, prefix) are checked */
    _Atomic uint32_t checked_place;   /* bytes of `.log` below this are checked; UINT32_MAX: all of them */
    _Atomic(_Atomic uint64_t *) bits; /* of [0, unchecked); made when first needed */
};

/* unchecked: the number of batches that nobody has looked at yet. */
void verify_init(struct verify *v, uint32_t unchecked);
void verify_free(struct verify *v);
/* Whether all bytes below place are checked: one load. */
bool verify_done(const struct verify *v, uint32_t place);
/* The first batch in [first, last) that is not checked; last: none. */
uint32_t verify_next(const struct verify *v, uint32_t first, uint32_t last);
/* Batches [first, last) hold. Moves the prefix on; returns it. Out of memory: they are forgotten, that is, checked
 * again. */
uint32_t verify_mark(struct verify *v, uint32_t first, uint32_t last);
/* place: where batch `prefix` (of verify_mark()) starts. Ignored unless larger than before. */
void verify_set_place(struct verify *v, uint32_t prefix, uint32_t place);
/* Batches from `batches` on are no more; what is appended in their place counts as checked. */
void verify_cut(struct verify *v, uint32_t batches);

#endif
