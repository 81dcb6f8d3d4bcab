/* tests/fault/disk_states.c: outcomes for each pending operation, by number. */
#include "tests/fault/disk_states.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/fault/ledger.h"

enum { FIRST_COMBINATION = 3, COMBINATIONS_MAX = 48 };

/* Whether the last recorded operation is pending, and not a sync. */
static bool is_newest_pending(const struct disk_model *m, const struct record *newest)
{
    uint32_t n = disk_model_pending(m);

    return n > 0 && disk_model_pending_record(m, n - 1) == newest;
}

static uint32_t outcomes_of(const struct disk_model *m, uint32_t i, enum disk_outcome out[DISK_OUTCOMES])
{
    uint32_t n = 0;
    int64_t cut;

    for (int o = 0; o < DISK_OUTCOMES; o++) {
        if (disk_model_possible(m, i, (enum disk_outcome)o, 0, &cut)) {
            out[n++] = (enum disk_outcome)o;
        }
    }
    return n;
}

/* All combinations; COMBINATIONS_MAX + 1: too many. */
static uint32_t count_combinations(const struct disk_model *m)
{
    enum disk_outcome unused[DISK_OUTCOMES];
    uint32_t n = 1;

    for (uint32_t i = 0; i < disk_model_pending(m) && n <= COMBINATIONS_MAX; i++) {
        n *= outcomes_of(m, i, unused);
    }
    return n <= COMBINATIONS_MAX ? n : COMBINATIONS_MAX + 1;
}

uint32_t disk_states_count(const struct disk_model *m, const struct record *newest, uint32_t random_states)
{
    uint32_t combinations = count_combinations(m);

    if (disk_model_pending(m) == 0) {
        return 1;
    }
    /* After a sync there is nothing new on the disk, but there may be promises. */
    if (!is_newest_pending(m, newest)) {
        random_states = random_states / 3 + 1;
    }
    return FIRST_COMBINATION + (combinations < random_states ? combinations : random_states);
}

static void choose_combination(const struct disk_model *m, uint32_t number, uint64_t *random, struct disk_choice *out)
{
    enum disk_outcome outcomes[DISK_OUTCOMES];

    for (uint32_t i = 0; i < disk_model_pending(m); i++) {
        uint32_t n = outcomes_of(m, i, outcomes);

        out[i].outcome = outcomes[number % n];
        (void)disk_model_possible(m, i, out[i].outcome, random_next(random), &out[i].cut);
        number /= n;
    }
}

static bool is_of_names(const struct record *record)
{
    return record->kind != RECORD_WRITE && record->kind != RECORD_TRUNCATE;
}

/* As a journal has it: names up to some operation, and none after it. */
static void cut_names(const struct disk_model *m, uint64_t *random, struct disk_choice *out)
{
    uint32_t upto = random_below(random, disk_model_pending(m) + 1);

    for (uint32_t i = 0; i < disk_model_pending(m); i++) {
        if (is_of_names(disk_model_pending_record(m, i))) {
            out[i].outcome = i < upto ? DISK_KEPT : DISK_LOST;
        }
    }
}

static void choose_random(const struct disk_model *m, bool newest_pending, uint64_t *random, struct disk_choice *out)
{
    /* Mostly kept, mostly lost, or anything. */
    uint32_t style = random_below(random, 4);
    uint32_t n = disk_model_pending(m);

    for (uint32_t i = 0; i < n; i++) {
        enum disk_outcome outcomes[DISK_OUTCOMES];
        uint32_t count = outcomes_of(m, i, outcomes);
        bool any = style >= 2 || random_below(random, 4) == 0;

        out[i].outcome = any ? outcomes[random_below(random, count)] : style == 0 ? DISK_KEPT : DISK_LOST;
        (void)disk_model_possible(m, i, out[i].outcome, random_next(random), &out[i].cut);
    }
    if (random_below(random, 2) == 0) {
        cut_names(m, random, out);
    }
    /* Without the newest one it is a state of the moment before. */
    if (newest_pending && out[n - 1].outcome == DISK_LOST) {
        out[n - 1].outcome = DISK_KEPT;
    }
}

/* NULL: number 0. */
static struct disk_choice *choose(const struct disk_model *m, const struct record *newest, uint64_t seed,
                                  uint32_t number)
{
    uint32_t n = disk_model_pending(m);
    uint64_t random = seed * 1000003 + number;
    struct disk_choice *choices;

    if (number == 0) {
        return NULL;
    }
    choices = calloc(n + 1, sizeof *choices);
    if (choices == NULL) {
        abort();
    }
    for (uint32_t i = 0; i < n; i++) {
        choices[i].outcome = DISK_LOST;
    }
    if (number == 2 && n > 0) {
        choices[n - 1].outcome = DISK_KEPT;
    } else if (number >= FIRST_COMBINATION && count_combinations(m) <= COMBINATIONS_MAX) {
        choose_combination(m, number - FIRST_COMBINATION, &random, choices);
    } else if (number >= FIRST_COMBINATION) {
        choose_random(m, is_newest_pending(m, newest), &random, choices);
    }
    return choices;
}

void disk_states_build(const struct disk_model *m, const struct record *newest, uint64_t seed, uint32_t number,
                       const char *to, bool *lost)
{
    struct disk_choice *choices = choose(m, newest, seed, number);

    disk_model_build(m, choices, to);
    *lost = choices != NULL;
    free(choices);
}

void disk_states_print(const struct disk_model *m, const struct record *newest, uint64_t seed, uint32_t number)
{
    static const char *const outcomes[DISK_OUTCOMES] = {"kept", "lost", "head kept", "tail kept", "zeros"};
    struct disk_choice *choices = choose(m, newest, seed, number);

    if (choices == NULL) {
        fprintf(stderr, "  the process died\n");
        return;
    }
    for (uint32_t i = 0; i < disk_model_pending(m); i++) {
        fprintf(stderr, "  %s (cut at %" PRId64 "): ", outcomes[choices[i].outcome], choices[i].cut);
        record_print(disk_model_pending_record(m, i));
    }
    free(choices);
}
