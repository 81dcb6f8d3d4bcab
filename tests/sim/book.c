/* tests/sim/book.c: keeping the books. */
#include "tests/sim/book.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/chance.h"

/* ---- keeping ---- */

void book_free(struct book *book)
{
    for (int t = 0; t < book->count; t++) {
        for (int p = 0; p < BOOK_PARTITIONS; p++) {
            struct book_partition *part = &book->topics[t]->parts[p];
            for (int64_t i = 0; i < part->count; i++)
                free(part->batches[i].bytes);
            free(part->batches);
            free(part->by_offset);
            for (int i = 0; i < BOOK_NODES; i++)
                free(part->views[i]);
        }
        for (int i = 0; i < book->topics[t]->setting_count; i++)
            setting_free(&book->topics[t]->settings[i]);
        free(book->topics[t]);
    }
    free(book->topics);
    setting_free(&book->fallback);
    setting_free(&book->mode);
}

struct book_topic *book_add_topic(struct book *book, const char *name)
{
    struct book_topic *topic = calloc(1, sizeof *topic);
    assert(topic != NULL);
    if (book->count == book->room) {
        book->room = book->room == 0 ? 8 : 2 * book->room;
        book->topics = realloc(book->topics, (size_t)book->room * sizeof(struct book_topic *));
        assert(book->topics != NULL);
    }
    snprintf(topic->name, sizeof topic->name, "%s", name);
    topic->partitions = topic->partitions_max = 1;
    book->topics[book->count++] = topic;
    return topic;
}

struct book_topic *book_topic(struct book *book, const char *name)
{
    for (int t = book->count; t-- > 0;) {
        if (strcmp(book->topics[t]->name, name) == 0 && book->topics[t]->state != TOPIC_GONE)
            return book->topics[t];
    }
    return NULL;
}

struct book_topic *book_topic_by_id(struct book *book, const char *id)
{
    for (int t = book->count; t-- > 0;) {
        if (strcmp(book->topics[t]->id, id) == 0)
            return book->topics[t];
    }
    return NULL;
}

void book_topic_gone(struct book *book, struct book_topic *topic)
{
    topic->state = TOPIC_GONE;
    topic->gone_at = ++book->asked;
}

/* DeleteRecords may have removed all of it. */
static bool may_be_trimmed(const struct book_partition *part, const struct book_batch *batch)
{
    return part->trim_asked.offset >= (batch->placed ? batch->base.offset + batch->lines : 1);
}

bool book_may_be_gone(const struct book_topic *topic, struct err *e)
{
    for (int p = 0; p < BOOK_PARTITIONS && !topic->delete_any && !topic->retains; p++) {
        const struct book_partition *part = &topic->parts[p];
        for (int64_t i = 0; i < part->count; i++) {
            const struct book_batch *batch = &part->batches[i];
            if (batch->state != BATCH_IN || book_may_go(batch) || may_be_trimmed(part, batch))
                continue;
            err_set(e, 0,
                    "%s (%s) was to be deleted if it is empty, is gone, and has batch %" PRId64 " in %d (rule 58)",
                    topic->name, topic->id, i, p);
            return false;
        }
    }
    return true;
}

bool book_name_was_taken(const struct book *book, const struct book_topic *but, const char *name, int64_t since)
{
    for (int t = 0; t < book->count; t++) {
        const struct book_topic *other = book->topics[t];
        if (other != but && strcmp(other->name, name) == 0 && (other->state != TOPIC_GONE || other->gone_at > since))
            return true;
    }
    return false;
}

struct setting *book_setting(struct book_topic *topic, const char *name)
{
    for (int i = 0; i < topic->setting_count; i++) {
        if (strcmp(topic->settings[i].name, name) == 0)
            return &topic->settings[i];
    }
    assert(topic->setting_count < BOOK_SETTINGS);
    topic->settings[topic->setting_count] = (struct setting){.name = name};
    return &topic->settings[topic->setting_count++];
}

static uint32_t write_line(char *out, int64_t serial, int number, int key, uint64_t *chance)
{
    int len = key >= 0 ? snprintf(out, BOOK_LINE_BYTES, "k%d=", key) : 0;
    len += snprintf(out + len, (size_t)(BOOK_LINE_BYTES - len), "%" PRId64 ".%d:", serial, number);
    int padding = (int)chance_below(chance, chance_in(chance, 8) ? 300 : 20);
    for (int i = 0; i < padding; i++)
        out[len++] = (char)('a' + chance_below(chance, 26));
    out[len++] = '\n';
    return (uint32_t)len;
}

int64_t book_add_batch(struct book_topic *topic, int32_t index, int64_t writer, int lines, bool keyed, uint64_t *chance)
{
    struct book_partition *part = &topic->parts[index];
    if (part->count == part->room) {
        part->room = part->room == 0 ? 64 : 2 * part->room;
        part->batches = realloc(part->batches, (size_t)part->room * sizeof *part->batches);
        assert(part->batches != NULL);
    }
    struct book_batch *batch = &part->batches[part->count];
    *batch = (struct book_batch){.writer = writer, .lines = lines, .bytes = malloc(BOOK_LINES * BOOK_LINE_BYTES)};
    assert(batch->bytes != NULL && lines <= BOOK_LINES);
    for (int i = 0; i < lines; i++) {
        batch->keys[i] = keyed ? (int)chance_below(chance, BOOK_KEYS) : -1;
        batch->lens[i] = write_line(batch->bytes + batch->len, part->count, i, batch->keys[i], chance);
        batch->len += batch->lens[i];
    }
    return part->count++;
}

struct book_batch *book_identify(struct book_partition *part, const char *line, uint32_t len, int64_t *serial,
                                 int *number)
{
    char text[64];
    int key;
    size_t some = len < sizeof text - 1 ? len : sizeof text - 1;
    memcpy(text, line, some);
    text[some] = '\0';
    if (sscanf(text, "k%d=%" SCNd64 ".%d:", &key, serial, number) != 3 &&
        sscanf(text, "%" SCNd64 ".%d:", serial, number) != 2)
        return NULL;
    if (*serial < 0 || *serial >= part->count || *number < 0 || *number >= part->batches[*serial].lines)
        return NULL;
    return &part->batches[*serial];
}

uint32_t book_bytes_before(const struct book_batch *batch, int number)
{
    uint32_t bytes = 0;
    for (int i = 0; i < number; i++)
        bytes += batch->lens[i];
    return bytes;
}

/* ---- where batches lie ---- */

/* The first of by_offset that begins behind offset. */
static int64_t behind(const struct book_partition *part, int64_t offset)
{
    int64_t low = 0, high = part->placed_count;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (part->batches[part->by_offset[middle]].base.offset > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static bool overlap(const struct book_batch *a, const struct book_batch *b)
{
    return a->state != BATCH_GONE && b->state != BATCH_GONE &&
           ((a->base.offset < b->base.offset + b->lines && b->base.offset < a->base.offset + a->lines) ||
            (a->base.position < b->base.position + b->len && b->base.position < a->base.position + a->len));
}

/* Where its own node wrote it, it lies behind what that wrote before; of those that stay. */
static bool in_order(const struct book_partition *part, int64_t serial, struct err *e)
{
    const struct book_batch *batch = &part->batches[serial];
    for (int step = -1; step <= 1; step += 2) {
        for (int64_t i = serial + step; i >= 0 && i < part->count; i += step) {
            const struct book_batch *other = &part->batches[i];
            if (other->writer != batch->writer || !other->settled || other->state == BATCH_GONE)
                continue;
            if ((other->base.offset > batch->base.offset) == (step > 0))
                break;
            err_set(e, 0,
                    "batch %" PRId64 " is at %" PRId64 ", and batch %" PRId64 " of the same writer at %" PRId64
                    " (rule 34)",
                    serial, batch->base.offset, i, other->base.offset);
            return false;
        }
    }
    return true;
}

/* Its place among those that are placed. */
static int64_t place_of(const struct book_partition *part, int64_t serial)
{
    int64_t at = behind(part, part->batches[serial].base.offset);
    while (part->by_offset[--at] != serial)
        ;
    return at;
}

static void unplace(struct book_partition *part, int64_t serial)
{
    int64_t at = place_of(part, serial);
    memmove(&part->by_offset[at], &part->by_offset[at + 1],
            (size_t)(part->placed_count - at - 1) * sizeof *part->by_offset);
    part->placed_count--;
    part->batches[serial].placed = false;
}

static void put(struct book_partition *part, int64_t serial, struct log_point base)
{
    struct book_batch *batch = &part->batches[serial];
    if (part->placed_count == part->placed_room) {
        part->placed_room = part->placed_room == 0 ? 64 : 2 * part->placed_room;
        part->by_offset = realloc(part->by_offset, (size_t)part->placed_room * sizeof *part->by_offset);
        assert(part->by_offset != NULL);
    }
    int64_t at = behind(part, base.offset);
    memmove(&part->by_offset[at + 1], &part->by_offset[at],
            (size_t)(part->placed_count - at) * sizeof *part->by_offset);
    part->by_offset[at] = serial;
    part->placed_count++;
    batch->placed = true;
    batch->base = base;
}

/* Of two at one place the one that may not go stays; which of two stays that may go nobody knows yet: leaders of two
 * epochs have acknowledged them, each by itself. */
static bool settle(struct book_partition *part, int64_t serial, struct err *e)
{
    struct book_batch *batch = &part->batches[serial];
    for (int64_t i = 0; i < part->placed_count && batch->state != BATCH_GONE; i++) {
        struct book_batch *other = &part->batches[part->by_offset[i]];
        if (other == batch || !overlap(batch, other) || (book_may_go(batch) && book_may_go(other)))
            continue;
        if (!book_may_go(batch) && !book_may_go(other)) {
            err_set(e, 0,
                    "batch %" PRId64 " is at %" PRId64 "/%" PRId64 ", and so is batch %" PRId64 " at %" PRId64
                    " (rule 4)",
                    serial, batch->base.offset, batch->base.position, part->by_offset[i], other->base.offset);
            return false;
        }
        struct book_batch *gone = book_may_go(batch) ? batch : other;
        gone->lost = gone->state != BATCH_GONE;
        gone->state = BATCH_GONE;
    }
    batch->settled = batch->state != BATCH_GONE && !book_may_go(batch);
    return !batch->settled || in_order(part, serial, e);
}

bool book_place(struct book_partition *part, int64_t serial, struct log_point base, struct err *e)
{
    struct book_batch *batch = &part->batches[serial];
    bool same = batch->placed && batch->base.offset == base.offset && batch->base.position == base.position;
    if (batch->placed && !same && !book_may_go(batch)) {
        err_set(e, 0, "batch %" PRId64 " is at %" PRId64 "/%" PRId64 ", it was at %" PRId64 "/%" PRId64 " (rule 53)",
                serial, base.offset, base.position, batch->base.offset, batch->base.position);
        return false;
    }
    if (batch->placed && !same)
        unplace(part, serial); /* lost, and sent again by its writer's node */
    if (!batch->placed)
        put(part, serial, base);
    return (same && batch->settled) || settle(part, serial, e);
}

bool book_promise(struct book_partition *part, int64_t serial, struct err *e)
{
    struct book_batch *batch = &part->batches[serial];
    batch->promised = true;
    return !batch->placed || batch->settled || settle(part, serial, e);
}

void book_may_lose(struct book_partition *part)
{
    part->may_go = true;
    for (int64_t i = 0; i < part->count; i++) {
        part->batches[i].may_go = true;
        part->batches[i].settled = false;
    }
}

void book_elected_unclean(struct book_partition *part, int32_t epoch)
{
    part->unclean_epoch = epoch;
    for (int64_t i = 0; i < part->count; i++)
        part->batches[i].durable = false;
    book_may_lose(part);
}

/* ---- what mounts have shown ---- */

bool book_show(struct book_partition *part, int place, int64_t serial, struct log_point base, int32_t epoch,
               struct err *e)
{
    struct book_view view = {serial, base.position, part->batches[serial].len};
    if (epoch < part->stale_epoch[place])
        return true;
    for (int64_t i = 0; i < part->view_count[place]; i++) {
        const struct book_view *other = &part->views[place][i];
        if (other->serial == serial && other->position == view.position)
            return true;
        if (view.position < other->position + other->len && other->position < view.position + view.len) {
            err_set(e, 0, "position %" PRId64 " shows batch %" PRId64 ", and has shown batch %" PRId64 " (rule 53)",
                    view.position, serial, other->serial);
            return false;
        }
    }
    if (part->view_count[place] == part->view_room[place]) {
        part->view_room[place] = part->view_room[place] == 0 ? 64 : 2 * part->view_room[place];
        part->views[place] = realloc(part->views[place], (size_t)part->view_room[place] * sizeof *part->views[place]);
        assert(part->views[place] != NULL);
    }
    part->views[place][part->view_count[place]++] = view;
    return true;
}

void book_unbind(struct book_partition *part, int place, int32_t epoch)
{
    part->view_count[place] = 0;
    part->stale_epoch[place] = epoch;
}

/* ---- ends ---- */

void book_ended(struct book *book, int place)
{
    for (int t = 0; t < book->count; t++) {
        for (int p = 0; p < BOOK_PARTITIONS; p++) {
            struct book_partition *part = &book->topics[t]->parts[p];
            part->shown[place] = part->start_shown[place] = (struct log_point){0};
            part->cleaned[place].seen = false;
            part->view_count[place] = 0;
        }
    }
}

void book_stopped_cleanly(struct book *book)
{
    for (int t = 0; t < book->count; t++) {
        for (int p = 0; p < BOOK_PARTITIONS; p++) {
            struct book_partition *part = &book->topics[t]->parts[p];
            for (int64_t i = 0; i < part->count; i++)
                part->batches[i].durable |= part->batches[i].state == BATCH_IN;
        }
    }
}
