/* fs/consume/posmap.c: a sorted array of runs, found by binary search.
 *
 * What a new run overlaps is cut away first, which leaves at most one run more (one that was split); then the new run
 * joins the neighbours that it continues, so that reading again what was read before never makes the map grow. Only
 * memory can fail, and it is asked for before anything changes. */
#include "fs/consume/posmap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { POSMAP_FIRST_RUNS = 8, POSMAP_SPARE_RUNS = 2 };

static int64_t run_end(const struct posmap_run *run)
{
    return run->file_pos + run->len;
}

/* b starts where a ends, in the file and in the log. */
static bool continues(const struct posmap_run *a, const struct posmap_run *b)
{
    return run_end(a) == b->file_pos && a->log_pos + a->len == b->log_pos;
}

/* How many runs start at or before file_pos. */
static uint32_t runs_upto(const struct posmap *map, int64_t file_pos)
{
    uint32_t low = 0;
    uint32_t high = map->count;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (map->runs[mid].file_pos <= file_pos) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

int64_t posmap_translate(const struct posmap *map, int64_t file_pos, bool *known)
{
    uint32_t n = runs_upto(map, file_pos);

    if (n > 0 && file_pos <= run_end(&map->runs[n - 1])) {
        *known = true;
        return map->runs[n - 1].log_pos + (file_pos - map->runs[n - 1].file_pos);
    }
    *known = false;
    return file_pos;
}

static void insert_at(struct posmap *map, uint32_t i, const struct posmap_run *run)
{
    memmove(&map->runs[i + 1], &map->runs[i], (map->count - i) * sizeof *map->runs);
    map->runs[i] = *run;
    map->count++;
}

static void remove_at(struct posmap *map, uint32_t i, uint32_t n)
{
    memmove(&map->runs[i], &map->runs[i + n], (map->count - i - n) * sizeof *map->runs);
    map->count -= n;
}

/* Cuts [start, end) out of all runs. Returns where a run starting at `start` belongs. */
static uint32_t cut_out(struct posmap *map, int64_t start, int64_t end)
{
    uint32_t i = runs_upto(map, start);
    uint32_t n = 0;

    if (i > 0 && run_end(&map->runs[i - 1]) > start) {
        struct posmap_run *run = &map->runs[i - 1];
        struct posmap_run right = *run;

        if (run_end(run) > end) {
            right.file_pos = end;
            right.log_pos += end - run->file_pos;
            right.len = run_end(run) - end;
            insert_at(map, i, &right);
            run = &map->runs[i - 1];
        }
        run->len = start - run->file_pos;
        if (run->len == 0) {
            remove_at(map, --i, 1);
        }
    }
    while (i + n < map->count && run_end(&map->runs[i + n]) <= end) {
        n++;
    }
    remove_at(map, i, n);
    if (i < map->count && map->runs[i].file_pos < end) {
        int64_t gone = end - map->runs[i].file_pos;

        map->runs[i].file_pos += gone;
        map->runs[i].log_pos += gone;
        map->runs[i].len -= gone;
    }
    return i;
}

/* How many runs were added to after `stamp`; drops: the others go. */
static uint32_t newer_than(struct posmap *map, uint64_t stamp, bool drops)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < map->count; i++) {
        if (map->runs[i].stamp <= stamp) {
            continue;
        }
        if (drops) {
            map->runs[kept] = map->runs[i];
        }
        kept++;
    }
    return kept;
}

/* A READ over very many holes does not cost its memory for good. */
static void shrink(struct posmap *map)
{
    uint32_t capacity = POSMAP_RUNS + POSMAP_SPARE_RUNS;
    struct posmap_run *runs;

    if (map->capacity <= 2 * capacity) {
        return;
    }
    runs = reallocarray(map->runs, capacity, sizeof *runs);
    if (runs != NULL) {
        map->runs = runs;
        map->capacity = capacity;
    }
}

void posmap_begin(struct posmap *map)
{
    uint64_t low = 0, high = map->clock; /* the stamp behind which so many are left is in between */

    if (map->count <= POSMAP_RUNS) {
        return;
    }
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;

        if (newer_than(map, mid, false) <= POSMAP_RUNS) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    map->count = newer_than(map, low, true);
    shrink(map);
}

static int reserve(struct posmap *map)
{
    uint32_t capacity = map->capacity > 0 ? map->capacity * 2 : POSMAP_FIRST_RUNS;
    struct posmap_run *runs;

    if (map->count + POSMAP_SPARE_RUNS <= map->capacity) {
        return 0;
    }
    runs = reallocarray(map->runs, capacity, sizeof *runs);
    if (runs == NULL) {
        return -ENOMEM;
    }
    map->runs = runs;
    map->capacity = capacity;
    return 0;
}

/* [file_pos, file_pos + len) overlaps a run or starts right at one's end. */
static bool meets(const struct posmap *map, int64_t file_pos, int64_t len)
{
    uint32_t n = runs_upto(map, file_pos);

    return (n > 0 && run_end(&map->runs[n - 1]) >= file_pos) ||
           (n < map->count && map->runs[n].file_pos < file_pos + len);
}

int posmap_add(struct posmap *map, int64_t file_pos, int64_t log_pos, int64_t len)
{
    struct posmap_run run = {file_pos, log_pos, len, 0};
    uint32_t i;
    int rc;

    assert(file_pos >= 0 && log_pos >= 0 && len >= 0);
    if (len == 0 || (file_pos == log_pos && !meets(map, file_pos, len))) {
        return 0;
    }
    rc = reserve(map);
    if (rc < 0) {
        return rc;
    }
    run.stamp = ++map->clock;
    i = cut_out(map, file_pos, file_pos + len);
    if (i < map->count && continues(&run, &map->runs[i])) {
        run.len += map->runs[i].len;
        remove_at(map, i, 1);
    }
    if (i > 0 && continues(&map->runs[i - 1], &run)) {
        map->runs[i - 1].len += run.len;
        map->runs[i - 1].stamp = run.stamp;
    } else {
        insert_at(map, i, &run);
    }
    return 0;
}

void posmap_free(struct posmap *map)
{
    free(map->runs);
    *map = (struct posmap){0};
}
