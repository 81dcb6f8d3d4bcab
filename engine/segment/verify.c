/* engine/segment/verify.c: the bits and the mark.
 *
 * A reader that goes through a log from its start moves the prefix, and with it the place below which one load
 * suffices; one that jumps about sets bits. Races are harmless: at worst a batch is checked twice. */
#include "engine/segment/verify.h"

#include <stdlib.h>

enum { WORD_BITS = 64 };

void verify_init(struct verify *v, uint32_t unchecked)
{
    atomic_init(&v->unchecked, unchecked);
    atomic_init(&v->prefix, 0);
    atomic_init(&v->checked_place, unchecked == 0 ? UINT32_MAX : 0);
    atomic_init(&v->bits, NULL);
}

void verify_free(struct verify *v)
{
    free(atomic_load_explicit(&v->bits, memory_order_relaxed));
    atomic_store_explicit(&v->bits, NULL, memory_order_relaxed);
}

static uint32_t unchecked_of(const struct verify *v)
{
    return atomic_load_explicit(&v->unchecked, memory_order_relaxed);
}

bool verify_done(const struct verify *v, uint32_t place)
{
    return place <= atomic_load_explicit(&v->checked_place, memory_order_relaxed);
}

static _Atomic uint64_t *bits_get(struct verify *v)
{
    _Atomic uint64_t *bits = atomic_load_explicit(&v->bits, memory_order_acquire);
    _Atomic uint64_t *made;

    if (bits != NULL) {
        return bits;
    }
    made = calloc((unchecked_of(v) + WORD_BITS - 1) / WORD_BITS, sizeof *made);
    if (made == NULL) {
        return NULL;
    }
    if (!atomic_compare_exchange_strong_explicit(&v->bits, &bits, made, memory_order_acq_rel, memory_order_acquire)) {
        free(made);
        return bits;
    }
    return made;
}

uint32_t verify_next(const struct verify *v, uint32_t first, uint32_t last)
{
    const _Atomic uint64_t *bits = atomic_load_explicit(&v->bits, memory_order_acquire);
    uint32_t prefix = atomic_load_explicit(&v->prefix, memory_order_relaxed);
    uint32_t end = last < unchecked_of(v) ? last : unchecked_of(v);
    uint32_t i = first > prefix ? first : prefix;

    while (i < end && bits != NULL) {
        uint64_t clear = ~atomic_load_explicit(&bits[i / WORD_BITS], memory_order_relaxed) >> (i % WORD_BITS);

        if (clear != 0) {
            i += (uint32_t)__builtin_ctzll(clear);
            break;
        }
        i += WORD_BITS - i % WORD_BITS;
    }
    return i < end ? i : last;
}

uint32_t verify_mark(struct verify *v, uint32_t first, uint32_t last)
{
    uint32_t prefix = atomic_load_explicit(&v->prefix, memory_order_relaxed);
    uint32_t end = last < unchecked_of(v) ? last : unchecked_of(v);
    _Atomic uint64_t *bits;
    uint32_t i, reached;

    if (first > prefix) {
        bits = bits_get(v);
        for (i = first; i < end && bits != NULL; i++) {
            atomic_fetch_or_explicit(&bits[i / WORD_BITS], UINT64_C(1) << (i % WORD_BITS), memory_order_relaxed);
        }
        return prefix;
    }
    /* What was checked out of order joins the prefix once the gap before it is closed. */
    reached = end > prefix ? verify_next(v, end, unchecked_of(v)) : prefix;
    while (prefix < reached && !atomic_compare_exchange_weak_explicit(&v->prefix, &prefix, reached,
                                                                      memory_order_relaxed, memory_order_relaxed)) {
    }
    return prefix < reached ? reached : prefix;
}

void verify_set_place(struct verify *v, uint32_t prefix, uint32_t place)
{
    uint32_t old = atomic_load_explicit(&v->checked_place, memory_order_relaxed);

    if (prefix >= unchecked_of(v)) {
        place = UINT32_MAX;
    }
    while (old < place && !atomic_compare_exchange_weak_explicit(&v->checked_place, &old, place, memory_order_relaxed,
                                                                 memory_order_relaxed)) {
    }
}

void verify_cut(struct verify *v, uint32_t batches)
{
    uint32_t prefix = atomic_load_explicit(&v->prefix, memory_order_relaxed);

    if (batches >= unchecked_of(v)) {
        return;
    }
    /* Nobody looks at what lies behind: of what is left, what was checked stays checked. */
    atomic_store_explicit(&v->unchecked, batches, memory_order_relaxed);
    verify_set_place(v, prefix < batches ? prefix : batches, 0);
}
