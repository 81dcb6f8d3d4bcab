/* engine/log/producers.c: the table, the judgement, and the file.
 *
 * The file is sealed (engine/base/seal.h), a line each: ID EPOCH LAST_SEQUENCE LAST_OFFSET LAST_MS. */
#include "engine/log/producers.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/base/seal.h"

static const char magic[] = "logmnt producers 1";

enum { FIRST_SLOTS = 16 };

/* ---- the table ---- */

/* Ids are handed out one behind the other: all bits have to count. */
static uint32_t hash(int64_t id)
{
    uint64_t z = (uint64_t)id * UINT64_C(0x9e3779b97f4a7c15);

    return (uint32_t)(z >> 32);
}

static struct producer_state *slot_of(const struct producers *producers, int64_t id)
{
    uint32_t i = hash(id);

    for (;; i++) {
        struct producer_state *slot = &producers->slots[i & (producers->size - 1)];

        if (slot->id == id || slot->id < 0) {
            return slot;
        }
    }
}

void producers_free(struct producers *producers)
{
    free(producers->slots);
    *producers = (struct producers){0};
}

const struct producer_state *producers_find(const struct producers *producers, int64_t id)
{
    const struct producer_state *slot = producers->size > 0 && id >= 0 ? slot_of(producers, id) : NULL;

    return slot != NULL && slot->id >= 0 ? slot : NULL;
}

/* A table of so many slots with all whose last batch, and whose being seen, is not older. -ENOMEM: as it was. */
static int rebuild(struct producers *producers, uint32_t size, int64_t last_ms, int64_t seen_ms)
{
    struct producers made = {.size = size, .slots = malloc(size * sizeof *made.slots), .look_ms = producers->look_ms};

    if (made.slots == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < size; i++) {
        made.slots[i].id = -1;
    }
    for (uint32_t i = 0; i < producers->size; i++) {
        const struct producer_state *old = &producers->slots[i];

        if (old->id >= 0 && old->last_ms >= last_ms && old->seen_ms >= seen_ms) {
            *slot_of(&made, old->id) = *old;
            made.count++;
        }
    }
    free(producers->slots);
    *producers = made;
    return 0;
}

/* The last time of the one that has been silent for longest. */
static int64_t oldest_ms(const struct producers *producers)
{
    int64_t oldest = INT64_MAX;

    for (uint32_t i = 0; i < producers->size; i++) {
        if (producers->slots[i].id >= 0 && producers->slots[i].last_ms < oldest) {
            oldest = producers->slots[i].last_ms;
        }
    }
    return oldest;
}

int producers_reserve(struct producers *producers, uint32_t n)
{
    uint32_t size = producers->size > 0 ? producers->size : FIRST_SLOTS;

    while (producers->count > 0 && producers->count + n > LIMIT_PRODUCERS) {
        int64_t oldest = oldest_ms(producers);

        if (rebuild(producers, size, oldest < INT64_MAX ? oldest + 1 : oldest, INT64_MIN) < 0) {
            return -ENOMEM;
        }
        if (oldest == INT64_MAX) {
            break;
        }
    }
    /* A quarter stays free, so that a search ends soon. */
    while ((producers->count + n) * 4 > size * 3) {
        size *= 2;
    }
    return size != producers->size ? rebuild(producers, size, INT64_MIN, INT64_MIN) : 0;
}

void producers_expire(struct producers *producers, int64_t now_ms)
{
    int64_t kept_ms = now_ms - LIMIT_PRODUCER_SILENT_MS + 1, first_ms = now_ms;
    bool due = false;

    if (now_ms < producers->look_ms) {
        return;
    }
    for (uint32_t i = 0; i < producers->size; i++) {
        const struct producer_state *slot = &producers->slots[i];

        if (slot->id >= 0 && slot->seen_ms < kept_ms) {
            due = true;
        } else if (slot->id >= 0 && slot->seen_ms < first_ms) {
            first_ms = slot->seen_ms;
        }
    }
    if (due && rebuild(producers, producers->size, INT64_MIN, kept_ms) < 0) {
        first_ms = kept_ms;
    }
    producers->look_ms = first_ms + LIMIT_PRODUCER_SILENT_MS;
    if (producers->look_ms < now_ms + LIMIT_PRODUCERS_LOOK_MS) {
        producers->look_ms = now_ms + LIMIT_PRODUCERS_LOOK_MS;
    }
}

/* ---- sequences ---- */

static int32_t sequence_add(int32_t sequence, uint32_t n)
{
    return (int32_t)(((uint32_t)sequence + n) & INT32_MAX);
}

/* How far a sequence lies ahead of the one that is due. They go round: half of the circle is ahead, half behind. */
static uint32_t ahead_of(const struct producer_state *known, int32_t sequence)
{
    return ((uint32_t)sequence - (uint32_t)sequence_add(known->last_sequence, 1)) & INT32_MAX;
}

uint32_t producers_missing(const struct producers *producers, int64_t id, int16_t epoch, int32_t sequence)
{
    const struct producer_state *known = producers_find(producers, id);

    if (known == NULL || epoch != known->epoch) {
        return BATCH_GAP_ALL;
    }
    return ahead_of(known, sequence);
}

enum producer_verdict producers_judge(const struct producers *producers, int64_t id, int16_t epoch, int32_t sequence)
{
    const struct producer_state *known = producers_find(producers, id);
    uint32_t ahead;

    if (known == NULL) {
        return PRODUCER_UNKNOWN;
    }
    if (epoch < known->epoch) {
        return PRODUCER_FENCED;
    }
    if (epoch > known->epoch) {
        return sequence == 0 ? PRODUCER_NEXT : PRODUCER_GAP;
    }
    ahead = ahead_of(known, sequence);
    return ahead == 0 ? PRODUCER_NEXT : ahead <= INT32_MAX / 2 ? PRODUCER_GAP : PRODUCER_DUPLICATE;
}

void producers_note(struct producers *producers, const struct batch_entry *b, int64_t offset, int64_t now_ms)
{
    struct producer_state *slot;

    if (b->producer_id < 0 || b->sequence < 0) {
        return;
    }
    slot = slot_of(producers, b->producer_id);
    if (slot->id < 0) {
        producers->count++;
        slot->id = b->producer_id;
    }
    slot->epoch = b->producer_epoch;
    slot->last_sequence = sequence_add(b->sequence, b->records - 1);
    slot->last_offset = offset + b->records - 1;
    slot->last_ms = b->last_timestamp_ms;
    slot->seen_ms = now_ms;
}

/* ---- the file ---- */

void producers_name(int64_t offset, char out[PRODUCERS_NAME_BYTES])
{
    snprintf(out, PRODUCERS_NAME_BYTES, "%020" PRId64 ".producers", offset);
}

bool producers_name_parse(const char *name, int64_t *offset)
{
    int64_t value = 0;

    for (int i = 0; i < 20; i++) {
        if (name[i] < '0' || name[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, name[i] - '0', &value)) {
            return false;
        }
    }
    *offset = value;
    return strcmp(name + 20, ".producers") == 0 || strcmp(name + 20, ".producers.tmp") == 0;
}

int producers_store(struct io *io, int dirfd, int64_t offset, const struct producers *producers, struct err *e)
{
    char name[PRODUCERS_NAME_BYTES];
    struct seal_text body = {0};
    int rc = 0;

    producers_name(offset, name);
    for (uint32_t i = 0; i < producers->size && rc == 0; i++) {
        const struct producer_state *p = &producers->slots[i];

        if (p->id >= 0) {
            rc = seal_printf(&body, "%" PRId64 " %d %" PRId32 " %" PRId64 " %" PRId64 "\n", p->id, p->epoch,
                             p->last_sequence, p->last_offset, p->last_ms);
        }
    }
    if (rc < 0) {
        err_sys(e, rc, "write %s", name);
    } else {
        rc = seal_write(io, dirfd, name, magic, &body, e);
    }
    free(body.text);
    return rc;
}

static bool parse_line(const char **at, struct producer_state *p)
{
    int64_t epoch, sequence;

    if (!seal_number(at, ' ', 0, INT64_MAX, &p->id) || !seal_number(at, ' ', INT16_MIN, INT16_MAX, &epoch) ||
        !seal_number(at, ' ', 0, INT32_MAX, &sequence) || !seal_number(at, ' ', 0, INT64_MAX, &p->last_offset) ||
        !seal_number(at, '\n', INT64_MIN, INT64_MAX, &p->last_ms)) {
        return false;
    }
    p->epoch = (int16_t)epoch;
    p->last_sequence = (int32_t)sequence;
    return true;
}

static int parse(const char *at, int64_t now_ms, struct producers *producers)
{
    struct producer_state p, *slot;

    while (*at != '\0') {
        int rc;

        if (!parse_line(&at, &p) || producers->count >= LIMIT_PRODUCERS) {
            return -EBADMSG;
        }
        rc = producers_reserve(producers, 1);
        if (rc < 0) {
            return rc;
        }
        slot = slot_of(producers, p.id);
        if (slot->id >= 0) {
            return -EBADMSG; /* twice */
        }
        *slot = p;
        slot->seen_ms = now_ms;
        producers->count++;
    }
    return 0;
}

int producers_load(struct io *io, int dirfd, int64_t offset, int64_t now_ms, struct producers *producers, struct err *e)
{
    char name[PRODUCERS_NAME_BYTES];
    char *body;
    int rc;

    *producers = (struct producers){0};
    producers_name(offset, name);
    rc = seal_read(io, dirfd, name, magic, &body, e);
    if (rc < 0) {
        return rc;
    }
    rc = parse(body, now_ms, producers);
    free(body);
    if (rc < 0) {
        producers_free(producers);
        return rc == -ENOMEM ? err_sys(e, rc, "read %s", name)
                             : err_set(e, rc, "%s is damaged: it holds a line that is no producer", name);
    }
    return 0;
}
