/* tests/sim/setting.c: keeping, and what explains what. */
#include "tests/sim/setting.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *grown(void *all, int count, int *room, size_t size)
{
    if (count < *room)
        return all;
    *room = *room == 0 ? 8 : 2 * *room;
    all = realloc(all, (size_t)*room * size);
    assert(all != NULL);
    return all;
}

static void copy(char out[SETTING_VALUE_BYTES], const char *value)
{
    assert(strlen(value) < SETTING_VALUE_BYTES);
    strcpy(out, value);
}

void setting_free(struct setting *setting)
{
    free(setting->changes);
    free(setting->spans);
}

int setting_asked(struct setting *setting, const char *value, int64_t decided)
{
    setting->changes = grown(setting->changes, setting->change_count, &setting->change_room, sizeof *setting->changes);
    struct setting_change *change = &setting->changes[setting->change_count];
    *change = (struct setting_change){.after = decided};
    copy(change->value, value);
    return setting->change_count++;
}

void setting_set(struct setting *setting, int at, int64_t decided)
{
    struct setting_change *change = &setting->changes[at];
    change->end = CHANGE_DECIDED;
    change->decided = decided;
    if (decided < setting->decided)
        return;
    setting->decided = decided;
    copy(setting->value, change->value);
}

void setting_refused(struct setting *setting, int change)
{
    setting->changes[change].end = CHANGE_NONE;
}

void setting_over(struct setting *setting)
{
    for (int i = 0; i < setting->change_count; i++) {
        if (setting->changes[i].end == CHANGE_OPEN)
            setting->changes[i].end = CHANGE_NONE;
    }
}

bool setting_is_open(const struct setting *setting)
{
    for (int i = 0; i < setting->change_count; i++) {
        if (setting->changes[i].end == CHANGE_OPEN)
            return true;
    }
    return false;
}

void setting_seen(struct setting *setting, int64_t offset, const char *value)
{
    struct setting_span *last = setting->span_count > 0 ? &setting->spans[setting->span_count - 1] : NULL;
    assert(last == NULL || offset >= last->to);
    if (last != NULL && strcmp(last->value, value) == 0) {
        last->to = offset;
        return;
    }
    setting->spans = grown(setting->spans, setting->span_count, &setting->span_room, sizeof *setting->spans);
    struct setting_span *span = &setting->spans[setting->span_count++];
    *span = (struct setting_span){.from = offset, .to = offset};
    copy(span->value, value);
}

/* ---- the history ---- */

/* The value as of an offset, and whether that is by a change that was acknowledged there. */
struct point {
    int64_t offset;
    const char *value;
    bool set;
};

static int compare(const void *left, const void *right)
{
    const struct point *a = left, *b = right;
    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    return b->set - a->set;
}

static int list(const struct setting *setting, struct point *out)
{
    int count = 0;
    for (int i = 0; i < setting->change_count; i++) {
        const struct setting_change *change = &setting->changes[i];
        if (change->end == CHANGE_DECIDED)
            out[count++] = (struct point){change->decided, change->value, true};
    }
    for (int i = 0; i < setting->span_count; i++) {
        out[count++] = (struct point){setting->spans[i].from, setting->spans[i].value, false};
        out[count++] = (struct point){setting->spans[i].to, setting->spans[i].value, false};
    }
    qsort(out, (size_t)count, sizeof *out, compare);
    return count;
}

/* One of which nobody heard what became of it was decided between the two. */
static bool explain(struct setting *setting, const struct point *point)
{
    for (int i = 0; i < setting->change_count; i++) {
        struct setting_change *change = &setting->changes[i];
        if (change->end != CHANGE_OPEN || change->taken || change->after >= point->offset ||
            strcmp(change->value, point->value) != 0)
            continue;
        change->taken = true;
        return true;
    }
    return false;
}

static bool is_history(struct setting *setting, const struct point *points, int count, struct err *e)
{
    struct point now = {0, "", true};
    for (int i = 0; i < count; i++) {
        const struct point *next = &points[i];
        bool same = strcmp(next->value, now.value) == 0;
        if (!next->set && !same && (next->offset == now.offset || !explain(setting, next))) {
            err_set(e, 0,
                    "%s is \"%s\" as of %" PRId64 ", was set to \"%s\"%s by %" PRId64 ", and by nobody since (rule 10)",
                    setting->name, next->value, next->offset, now.value, now.offset == 0 ? " (the default)" : "",
                    now.offset);
            return false;
        }
        if (next->set || !same || next->offset > now.offset)
            now = *next;
    }
    copy(setting->value, now.value);
    return true;
}

bool setting_settle(struct setting *setting, struct err *e)
{
    size_t room = (size_t)(setting->change_count + 2 * setting->span_count) + 1;
    struct point *points = malloc(room * sizeof *points);
    assert(points != NULL);
    bool good = is_history(setting, points, list(setting, points), e);
    free(points);
    setting_over(setting);
    return good;
}
