/* tests/hands/check.c: what is there against what the hands were told.
 *
 * A partition is taken apart from its start: lines of fragments and letters. Each fragment says who wrote it, so it is
 * found in what its hand noted, ticked off, and compared byte by byte. */
#include "tests/hands/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/hands/text.h"

enum { NO_FILE = -1, CONTENT_FIRST_BYTES = 1 << 20, READ_BYTES = 256 << 10 };

/* One partition as it is taken apart. */
struct parse {
    struct world *world;
    const uint8_t *bytes;
    size_t len, at;
    int partition;
    size_t line_start;
    int line_file;                   /* that the line's fragments came through */
    const struct fragment *previous; /* the fragment right before; NULL: a letter, or nothing */
    uint32_t previous_number;
    int previous_hand;
    /* The last fragment of a hand through a shared file: its group, write and number. */
    int64_t groups[HANDS][SHARED_FILES];
    int64_t numbers[HANDS][SHARED_FILES];
    uint32_t letters[26];
    uint32_t unended[FILES]; /* lines whose newline came with a close */
};

struct content content_read(const struct world *world, const char *name, int partition)
{
    char path[4096];
    struct content content = {0};
    size_t capacity = CONTENT_FIRST_BYTES;
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "%s/%s%d", world->story.topic, name, partition);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    content.bytes = malloc(capacity);
    while (fd >= 0 && (n = read(fd, content.bytes + content.len, capacity - content.len)) != 0) {
        if (n < 0) {
            break;
        }
        content.len += (size_t)n;
        if (capacity - content.len < READ_BYTES) {
            content.bytes = realloc(content.bytes, capacity *= 2);
        }
    }
    if (fd < 0 || n < 0) {
        fprintf(stderr, "hands: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    close(fd);
    return content;
}

static bool wrong(const struct parse *p, const char *what)
{
    size_t len = p->len - p->at < 80 ? p->len - p->at : 80;

    fprintf(stderr, "hands: partition %d, position %zu: %s: %.*s\n", p->partition, p->at, what, (int)len,
            (const char *)p->bytes + p->at);
    return false;
}

int check_key_partition(const uint8_t *key, size_t len)
{
    const uint32_t m = 0x5bd1e995;
    uint32_t h = 0x9747b28c ^ (uint32_t)len;
    size_t at = 0;

    for (; len - at >= 4; at += 4) {
        uint32_t k =
            (uint32_t)key[at] | (uint32_t)key[at + 1] << 8 | (uint32_t)key[at + 2] << 16 | (uint32_t)key[at + 3] << 24;

        k *= m;
        k ^= k >> 24;
        k *= m;
        h = h * m ^ k;
    }
    if (len - at > 2) {
        h ^= (uint32_t)key[at + 2] << 16;
    }
    if (len - at > 1) {
        h ^= (uint32_t)key[at + 1] << 8;
    }
    if (len - at > 0) {
        h = (h ^ key[at]) * m;
    }
    h ^= h >> 13;
    h *= m;
    h ^= h >> 15;
    return (int)((h & 0x7fffffff) % PARTITIONS);
}

/* Its place among what else its hand wrote through the same open file. */
static bool check_order(struct parse *p, const struct text_id *id, const struct fragment *f)
{
    int64_t *group;
    int64_t *number;

    if (id->file >= SHARED_FILES) {
        return true;
    }
    group = &p->groups[id->hand][id->file];
    number = &p->numbers[id->hand][id->file];
    if (f->group + 1 < *group || (f->group + 1 == *group && id->number < *number &&
                                  p->world->logs[id->hand].fragments[*number].write == f->write)) {
        return wrong(p, "after a later one of its writer");
    }
    *group = (int64_t)f->group + 1;
    *number = id->number;
    return true;
}

/* The complete lines of one request stand side by side: behind one comes the next of the same write, unless `.any` sent
 * that elsewhere. id: of the fragment that comes now; NULL: of none. */
static bool check_company(const struct parse *p, const struct text_id *id)
{
    const struct fragment *f = p->previous;

    if (f == NULL || !f->whole || f->last == 0 || !f->ends) {
        return true;
    }
    if (p->world->story.keyed && (f->file >= SHARED_FILES || hands_partition(f->file) < 0)) {
        return true;
    }
    if (id != NULL && id->hand == p->previous_hand && id->number == p->previous_number + 1) {
        return true;
    }
    return wrong(p, "comes between lines of one write");
}

static bool check_line_start(const struct parse *p, const struct text_id *id)
{
    int partition = id->file < SHARED_FILES ? hands_partition(id->file) : p->partition;

    if (partition < 0 && p->world->story.keyed) {
        partition = check_key_partition(p->bytes + p->at, TEXT_KEY_BYTES);
    }
    return partition < 0 || partition == p->partition || wrong(p, "in the wrong partition");
}

static bool take_fragment(struct parse *p)
{
    struct text_id id;
    struct fragment *f;

    if (!text_head(p->bytes + p->at, p->len - p->at, &id) || id.hand < 0 || id.hand >= HANDS ||
        id.number >= p->world->logs[id.hand].fragment_count) {
        return wrong(p, "no fragment");
    }
    f = &p->world->logs[id.hand].fragments[id.number];
    if (f->len != id.len || f->file != id.file || !text_is_whole(p->bytes + p->at, p->len - p->at, &id)) {
        return wrong(p, "other bytes than were written");
    }
    if (++f->found > 1) {
        return wrong(p, "there twice");
    }
    if (f->fate == FATE_NONE) {
        return wrong(p, "refused, and there");
    }
    if (p->line_file != NO_FILE && p->line_file != id.file) {
        return wrong(p, "in a line of another open file");
    }
    if (p->at == p->line_start && !check_line_start(p, &id)) {
        return false;
    }
    if (!check_company(p, &id) || !check_order(p, &id, f)) {
        return false;
    }
    p->line_file = id.file;
    p->previous = f;
    p->previous_hand = id.hand;
    p->previous_number = id.number;
    p->at += id.len;
    return true;
}

static bool end_line(struct parse *p)
{
    if (p->at == p->line_start) {
        return wrong(p, "an empty line");
    }
    if ((int64_t)(p->at - p->line_start) > p->world->story.max_record) {
        return wrong(p, "behind a line that is too long");
    }
    if (p->bytes[p->at - 1] == '>' && !p->previous->ends) {
        p->unended[p->previous->file]++;
    }
    p->at++;
    p->line_start = p->at;
    p->line_file = NO_FILE;
    return true;
}

static bool take_apart(struct parse *p)
{
    while (p->at < p->len) {
        uint8_t c = p->bytes[p->at];

        if (c == '\n') {
            if (!end_line(p)) {
                return false;
            }
        } else if (c >= 'a' && c <= 'z') {
            if (!check_company(p, NULL)) {
                return false;
            }
            p->letters[c - 'a']++;
            p->previous = NULL;
            p->at++;
        } else if (p->at > p->line_start && p->bytes[p->at - 1] == '>' && p->previous->ends) {
            return wrong(p, "a newline is missing before this");
        } else if (!take_fragment(p)) {
            return false;
        }
    }
    return p->at == p->line_start || wrong(p, "no newline at the end");
}

/* What waited in front of a line that became too long is dropped with it. */
static bool may_be_dropped(const struct world *world, const struct fragment *f)
{
    return !f->ends && atomic_load(&world->oversize[f->file]);
}

static bool check_lost(const struct world *world)
{
    for (int hand = 0; hand < HANDS; hand++) {
        const struct hand_log *log = &world->logs[hand];

        for (uint32_t n = 0; n < log->fragment_count; n++) {
            const struct fragment *f = &log->fragments[n];

            if (f->fate == FATE_ACKED && f->found == 0 && !may_be_dropped(world, f)) {
                fprintf(stderr, "hands: acknowledged and lost: <%02d.%02d.%06u.%08u:\n", f->file, hand, n, f->len);
                return false;
            }
        }
    }
    return true;
}

static bool check_letters(const struct world *world, const uint32_t found[26])
{
    for (int letter = 0; letter < 26; letter++) {
        uint32_t least = 0;
        uint32_t most = 0;

        for (int hand = letter; hand <= HANDS; hand += 26) {
            least += world->logs[hand].letters;
            most += world->logs[hand].letters + world->logs[hand].letters_tried;
        }
        if (found[letter] < least || found[letter] > most) {
            fprintf(stderr, "hands: %u lines of '%c' were acknowledged, %u are there\n", least, 'a' + letter,
                    found[letter]);
            return false;
        }
    }
    return true;
}

bool check_partitions(struct world *world, const struct content contents[PARTITIONS])
{
    uint32_t letters[26] = {0};
    uint32_t unended[FILES] = {0};
    bool ok = true;

    for (int i = 0; i < PARTITIONS && ok; i++) {
        struct parse p = {
            .world = world, .bytes = contents[i].bytes, .len = contents[i].len, .partition = i, .line_file = NO_FILE};

        ok = take_apart(&p);
        for (int letter = 0; letter < 26; letter++) {
            letters[letter] += p.letters[letter];
        }
        for (int file = 0; file < FILES; file++) {
            unended[file] += p.unended[file];
        }
    }
    for (int file = 0; file < FILES && ok; file++) {
        if (unended[file] > (uint32_t)atomic_load(&world->closes[file])) {
            fprintf(stderr, "hands: open file %d was closed %d times, and %u lines got their newline by that\n", file,
                    atomic_load(&world->closes[file]), unended[file]);
            ok = false;
        }
    }
    return ok && check_lost(world) && check_letters(world, letters);
}

/* ---- readings ---- */

static bool is_at(const struct content *content, int64_t at, const struct reading *r)
{
    return at >= 0 && (size_t)at + r->len <= content->len && hands_hash(content->bytes + at, r->len) == r->hash;
}

bool check_positions(const struct world *world, const struct content contents[PARTITIONS],
                     const struct content json[PARTITIONS])
{
    for (int hand = 0; hand <= HANDS; hand++) {
        for (uint32_t i = 0; i < world->logs[hand].reading_count; i++) {
            const struct reading *r = &world->logs[hand].readings[i];
            const struct content *all = r->view == VIEW_JSON ? json : contents;

            if (r->at >= 0 && !is_at(&all[r->partition], r->at, r)) {
                fprintf(stderr, "hands: partition %d, position %lld: hand %d read %u other bytes (view %d)\n",
                        r->partition, (long long)r->at, hand, r->len, r->view);
                return false;
            }
        }
    }
    return true;
}

static const struct reading *next_reading(const struct world *world, int hand, uint32_t *from, enum view view,
                                          int partition)
{
    const struct hand_log *log = &world->logs[hand];

    for (; *from < log->reading_count; ++*from) {
        if (log->readings[*from].view == view && log->readings[*from].partition == partition) {
            return &log->readings[*from];
        }
    }
    return NULL;
}

/* ---- readings by turns: each hand's are in order, and whose is next shows by what it holds ---- */

_Static_assert(HANDS < 32, "a bit each hand");

/* Short ones fit by chance, too: where several do, those that were not tried are gone back to. */
struct turn {
    int64_t at;
    uint32_t from[HANDS + 1];
    uint32_t untried; /* a bit each hand */
};

struct turns {
    struct turn now;
    struct turn *back;
    size_t count, room;
    long returns;
};

enum { MOST_RETURNS = 100000 };

static bool keep_turn(struct turns *turns, uint32_t untried)
{
    if (turns->count == turns->room) {
        size_t room = turns->room == 0 ? 256 : 2 * turns->room;
        struct turn *back = realloc(turns->back, room * sizeof *back);

        if (back == NULL) {
            return false;
        }
        turns->back = back;
        turns->room = room;
    }
    turns->back[turns->count] = turns->now;
    turns->back[turns->count++].untried = untried;
    return true;
}

/* The longest of those hands' next readings is the one that was next. */
static void take_turn(struct turns *turns, uint32_t hands, const struct reading *next[HANDS + 1])
{
    int longest = -1;

    for (int hand = 0; hand <= HANDS; hand++) {
        if ((hands >> hand & 1) != 0 && (longest < 0 || next[hand]->len > next[longest]->len)) {
            longest = hand;
        }
    }
    hands &= ~(UINT32_C(1) << longest);
    if (hands != 0) {
        (void)keep_turn(turns, hands); /* without memory it is not gone back to */
    }
    turns->now.at += next[longest]->len;
    turns->now.from[longest]++;
}

/* Whose next reading is there. *left: of how many hands there is one at all. */
static uint32_t find_next(const struct world *world, const struct content *content, enum view view, int partition,
                          struct turn *turn, const struct reading *next[HANDS + 1], int *left)
{
    uint32_t fit = 0;

    *left = 0;
    for (int hand = 0; hand <= HANDS; hand++) {
        next[hand] = next_reading(world, hand, &turn->from[hand], view, partition);
        *left += next[hand] != NULL;
        if (next[hand] != NULL && is_at(content, turn->at, next[hand])) {
            fit |= UINT32_C(1) << hand;
        }
    }
    return fit;
}

/* From the first to the last. Returns how far they reach; -1: some fit nowhere. */
static int64_t follow_turns(const struct world *world, const struct content *content, enum view view, int partition)
{
    struct turns turns = {.returns = 0};
    const struct reading *next[HANDS + 1];
    int64_t furthest = 0;
    int left;

    for (;;) {
        uint32_t fit = find_next(world, content, view, partition, &turns.now, next, &left);

        furthest = turns.now.at > furthest ? turns.now.at : furthest;
        if (left == 0) {
            break;
        }
        if (fit == 0) {
            if (turns.count == 0 || ++turns.returns > MOST_RETURNS) {
                fprintf(stderr, "hands: partition %d, view %d, position %lld: no hand read what is there\n", partition,
                        view, (long long)furthest);
                turns.now.at = -1;
                break;
            }
            turns.now = turns.back[--turns.count];
            fit = turns.now.untried;
            (void)find_next(world, content, view, partition, &turns.now, next, &left);
        }
        take_turn(&turns, fit, next);
    }
    free(turns.back);
    return turns.now.at;
}

bool check_turns(const struct world *world, const struct content *content, enum view view, int partition, bool to_end)
{
    int64_t at = follow_turns(world, content, view, partition);

    if (at >= 0 && to_end && (size_t)at != content->len) {
        fprintf(stderr, "hands: partition %d, view %d: read up to %lld of %zu\n", partition, view, (long long)at,
                content->len);
    }
    return at >= 0 && (!to_end || (size_t)at == content->len);
}

bool check_readings(const struct world *world, const struct content contents[PARTITIONS],
                    const struct content json[PARTITIONS])
{
    bool ok = check_positions(world, contents, json);

    for (int i = 0; i < PARTITIONS && ok; i++) {
        ok = check_turns(world, &contents[i], VIEW_IN_TURN, i, true) &&
             check_turns(world, &contents[i], VIEW_FOLLOW_IN_TURN, i, false) &&
             check_turns(world, &json[i], VIEW_JSON_IN_TURN, i, true);
    }
    return ok;
}
