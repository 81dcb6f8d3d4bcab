/* fs/consume/json_msgpack.c: walks one MessagePack object with a stack of the containers that are open, on the heap, so
 * that nested input costs 8 bytes a level and no call.
 *
 * The happy path: a token is read and written; a container is pushed; when the last child of one has been written it is
 * closed and counts as a child of the one around it. A container or ext that is a map's key is written as if it were a
 * value, and its text is then turned into a string in place; inside it such keys are base64, so that this happens to
 * each byte once. Anything that is not MessagePack, or ends too early, ends the walk. */
#include "fs/consume/json_msgpack.h"

#include <endian.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No record comes near this; it lets a frame count its children in 32 bits. */
enum { MSGPACK_MAX_BYTES = 1 << 30 };

/* ---- tokens ---- */

enum token_kind {
    TOKEN_NIL,
    TOKEN_BOOL,
    TOKEN_UINT,
    TOKEN_INT,
    TOKEN_FLOAT,
    TOKEN_DOUBLE,
    TOKEN_STR,
    TOKEN_BIN,
    TOKEN_EXT,
    TOKEN_ARRAY,
    TOKEN_MAP,
};

struct token {
    enum token_kind kind;
    uint64_t uint; /* also bool */
    int64_t sint;
    double real;
    const uint8_t *data; /* of str, bin and ext */
    size_t len;
    uint32_t children; /* of array and map: keys and values */
    int8_t ext_type;
};

static uint64_t big_endian(const uint8_t *at, size_t size)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

/* The numbers 0xca … 0xd3, whose bytes are at `at`. */
static void token_number(struct token *t, uint8_t type, const uint8_t *at, size_t size)
{
    uint64_t bits = big_endian(at, size);
    unsigned unused = 64 - 8 * (unsigned)size;

    if (type == 0xca) {
        uint32_t half = (uint32_t)bits;
        float value;

        memcpy(&value, &half, sizeof value);
        t->kind = TOKEN_FLOAT;
        t->real = (double)value;
    } else if (type == 0xcb) {
        t->kind = TOKEN_DOUBLE;
        memcpy(&t->real, &bits, sizeof t->real);
    } else if (type <= 0xcf) {
        t->kind = TOKEN_UINT;
        t->uint = bits;
    } else {
        t->kind = TOKEN_INT;
        t->sint = (int64_t)(bits << unused) >> unused;
    }
}

/* Bytes of the length or number that follows the type byte. */
static size_t type_head(uint8_t type)
{
    static const uint8_t sizes[32] = {
        [0x04] = 1, [0x05] = 2, [0x06] = 4,             /* bin */
        [0x07] = 1, [0x08] = 2, [0x09] = 4,             /* ext */
        [0x0a] = 4, [0x0b] = 8,                         /* float */
        [0x0c] = 1, [0x0d] = 2, [0x0e] = 4, [0x0f] = 8, /* uint */
        [0x10] = 1, [0x11] = 2, [0x12] = 4, [0x13] = 8, /* int */
        [0x19] = 1, [0x1a] = 2, [0x1b] = 4,             /* str */
        [0x1c] = 2, [0x1d] = 4,                         /* array */
        [0x1e] = 2, [0x1f] = 4,                         /* map */
    };

    return type >= 0xc0 && type <= 0xdf ? sizes[type - 0xc0] : 0;
}

/* What has a body: its kind and length. False: it has none. */
static bool token_body(struct token *t, uint8_t type, uint64_t count)
{
    if (type >= 0xa0 && type <= 0xbf) {
        t->kind = TOKEN_STR;
        t->len = type & 0x1f;
    } else if (type >= 0xd9 && type <= 0xdb) {
        t->kind = TOKEN_STR;
        t->len = (size_t)count;
    } else if (type >= 0xc4 && type <= 0xc6) {
        t->kind = TOKEN_BIN;
        t->len = (size_t)count;
    } else if (type >= 0xc7 && type <= 0xc9) {
        t->kind = TOKEN_EXT;
        t->len = (size_t)count;
    } else if (type >= 0xd4 && type <= 0xd8) {
        t->kind = TOKEN_EXT;
        t->len = (size_t)1 << (type - 0xd4);
    } else {
        return false;
    }
    return true;
}

/* Containers: *children is how many objects they hold. False: it is none. */
static bool token_container(struct token *t, uint8_t type, uint64_t count, uint64_t *children)
{
    if ((type >= 0x90 && type <= 0x9f) || type == 0xdc || type == 0xdd) {
        t->kind = TOKEN_ARRAY;
        *children = type <= 0x9f ? type & 0x0f : count;
    } else if ((type >= 0x80 && type <= 0x8f) || type == 0xde || type == 0xdf) {
        t->kind = TOKEN_MAP;
        *children = 2 * (type <= 0x8f ? type & 0x0f : count);
    } else {
        return false;
    }
    return true;
}

/* Reads one token, a container without its children. Returns its bytes; 0: there is no whole one. */
static size_t token_read(const uint8_t *bytes, size_t len, struct token *t)
{
    uint8_t type = len > 0 ? bytes[0] : 0xc1;
    size_t head = type_head(type);
    size_t used = 1 + head;
    uint64_t count = head > 0 && used <= len ? big_endian(bytes + 1, head) : 0;
    uint64_t children = 0;

    if (type == 0xc1 || used > len) {
        return 0;
    }
    if (token_body(t, type, count)) {
        if (t->kind == TOKEN_EXT) {
            if (used == len) {
                return 0;
            }
            t->ext_type = (int8_t)bytes[used++];
        }
        t->data = bytes + used;
        return t->len <= len - used ? used + t->len : 0;
    }
    if (token_container(t, type, count, &children)) {
        t->children = (uint32_t)children;
        /* Each child is a byte at least. */
        return children <= len - used ? used : 0;
    }
    if (head > 0) {
        token_number(t, type, bytes + 1, head);
    } else if (type == 0xc0) {
        t->kind = TOKEN_NIL;
    } else if (type == 0xc2 || type == 0xc3) {
        t->kind = TOKEN_BOOL;
        t->uint = type & 1;
    } else {
        t->kind = TOKEN_INT;
        t->sint = type < 0x80 ? type : type - 0x100; /* fixints */
    }
    return used;
}

/* The length of the object that starts at bytes; 0: it is not a whole one. */
static size_t object_len(const uint8_t *bytes, size_t len)
{
    size_t used = 0;

    for (uint64_t objects = 1; objects > 0; objects--) {
        struct token t = {0};
        size_t n = len <= MSGPACK_MAX_BYTES ? token_read(bytes + used, len - used, &t) : 0;

        if (n == 0) {
            return 0;
        }
        used += n;
        objects += t.children;
    }
    return used;
}

/* ---- writing ---- */

struct frame {
    uint32_t left; /* children still to come */
    bool map;
    bool key; /* it is itself a map's key: its text becomes a string when it ends */
};

struct walk {
    struct json_writer *w;
    const uint8_t *bytes;
    size_t len, at;
    struct frame *frames;
    size_t depth, capacity;
    bool in_key;      /* inside a key that is a container */
    size_t key_start; /* where its text starts */
    bool clean;
};

static bool push(struct walk *walk, const struct token *t, bool key)
{
    if (walk->depth == walk->capacity) {
        size_t capacity = walk->capacity > 0 ? walk->capacity * 2 : 32;
        struct frame *frames = reallocarray(walk->frames, capacity, sizeof *frames);

        if (frames == NULL) {
            walk->w->rc = -ENOMEM;
            return false;
        }
        walk->frames = frames;
        walk->capacity = capacity;
    }
    walk->frames[walk->depth++] = (struct frame){t->children, t->kind == TOKEN_MAP, key};
    json_text_put(walk->w, t->kind == TOKEN_MAP ? "{" : "[", 1);
    return true;
}

/* The text from `start` on becomes a JSON string of itself. */
static void quote_from(struct json_writer *w, size_t start)
{
    size_t len = w->text->len - start;
    uint8_t *copy;

    if (w->rc < 0) {
        return;
    }
    copy = malloc(len);
    if (copy == NULL) {
        w->rc = -ENOMEM;
        return;
    }
    memcpy(copy, w->text->data + start, len);
    w->text->len = start;
    (void)json_text_put_string(w, copy, len);
    free(copy);
}

/* The shortest decimal that is read back as the same number. JSON has no NaN and no infinities. */
static void put_real(struct json_writer *w, const struct token *t)
{
    char text[40];
    int digits = t->kind == TOKEN_FLOAT ? 6 : 15;
    int most = t->kind == TOKEN_FLOAT ? 9 : 17;

    if (!isfinite(t->real)) {
        json_text_puts(w, "null");
        return;
    }
    for (; digits <= most; digits++) {
        double back;

        snprintf(text, sizeof text, "%.*g", digits, t->real);
        back = t->kind == TOKEN_FLOAT ? (double)strtof(text, NULL) : strtod(text, NULL);
        if (back >= t->real && back <= t->real) {
            break;
        }
    }
    json_text_puts(w, text);
}

static void put_plain(struct json_writer *w, const struct token *t)
{
    switch (t->kind) {
    case TOKEN_BOOL:
        json_text_puts(w, t->uint != 0 ? "true" : "false");
        break;
    case TOKEN_UINT:
        json_text_put_uint(w, t->uint);
        break;
    case TOKEN_INT:
        json_text_put_int(w, t->sint);
        break;
    case TOKEN_FLOAT:
    case TOKEN_DOUBLE:
        put_real(w, t);
        break;
    default:
        json_text_puts(w, "null");
        break;
    }
}

static void put_ext(struct json_writer *w, const struct token *t)
{
    json_text_puts(w, "{\"type\":");
    json_text_put_int(w, t->ext_type);
    json_text_puts(w, ",\"data\":");
    json_text_put_base64(w, t->data, t->len);
    json_text_puts(w, "}");
}

/* What is neither array nor map. Text and bin are strings already; other keys become one. */
static void put_scalar(struct walk *walk, const struct token *t, bool key)
{
    struct json_writer *w = walk->w;
    size_t start = w->text->len;

    if (t->kind == TOKEN_STR) {
        walk->clean = json_text_put_string(w, t->data, t->len) && walk->clean;
    } else if (t->kind == TOKEN_BIN) {
        json_text_put_base64(w, t->data, t->len);
    } else {
        if (t->kind == TOKEN_EXT) {
            put_ext(w, t);
        } else {
            put_plain(w, t);
        }
        if (key) {
            quote_from(w, start);
        }
    }
}

/* Reads and writes one object, a container without its children. *opened: it was one. False: not MessagePack, or no
 * memory. */
static bool put_object(struct walk *walk, bool *opened)
{
    const struct frame *top = walk->depth > 0 ? &walk->frames[walk->depth - 1] : NULL;
    bool key = top != NULL && top->map && top->left % 2 == 0;
    const uint8_t *start = walk->bytes + walk->at;
    struct token t = {0};
    size_t used = token_read(start, walk->len - walk->at, &t);
    bool container = t.kind == TOKEN_ARRAY || t.kind == TOKEN_MAP;

    *opened = false;
    if (used == 0) {
        return false;
    }
    if (key && walk->in_key && (container || t.kind == TOKEN_EXT)) {
        used = object_len(start, walk->len - walk->at);
        if (used == 0) {
            return false;
        }
        json_text_put_base64(walk->w, start, used);
    } else if (container) {
        *opened = true;
        if (key) {
            walk->in_key = true;
            walk->key_start = walk->w->text->len;
        }
        if (!push(walk, &t, key)) {
            return false;
        }
    } else {
        put_scalar(walk, &t, key);
    }
    walk->at += used;
    return walk->w->rc == 0;
}

/* One more child of the top container has been written. */
static void count_child(struct walk *walk)
{
    struct frame *top;

    if (walk->depth == 0) {
        return;
    }
    top = &walk->frames[walk->depth - 1];
    top->left--;
    if (top->left > 0) {
        json_text_puts(walk->w, top->map && top->left % 2 == 1 ? ":" : ",");
    }
}

/* Closes what has no more children to come. */
static void close_full(struct walk *walk)
{
    while (walk->depth > 0 && walk->frames[walk->depth - 1].left == 0) {
        const struct frame *top = &walk->frames[--walk->depth];

        json_text_puts(walk->w, top->map ? "}" : "]");
        if (top->key) {
            quote_from(walk->w, walk->key_start);
            walk->in_key = false;
        }
        count_child(walk);
    }
}

bool json_msgpack_put(struct json_writer *w, const uint8_t *bytes, size_t len, bool *clean)
{
    struct walk walk = {.w = w, .bytes = bytes, .len = len, .clean = true};
    bool ok = len <= MSGPACK_MAX_BYTES;

    do {
        bool opened = false;

        ok = ok && put_object(&walk, &opened);
        if (ok && !opened) {
            count_child(&walk);
        }
        if (ok) {
            close_full(&walk);
        }
    } while (ok && walk.depth > 0);
    free(walk.frames);
    *clean = *clean && walk.clean;
    return ok && walk.at == len;
}
