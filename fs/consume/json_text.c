/* fs/consume/json_text.c: escaping, base64 and numbers.
 *
 * The happy path of a string: eight bytes at a time are looked at, and runs that need no escape are copied whole. The
 * rest goes byte by byte: escapes of RFC 8259, and UTF-8 by table 3-7 of the Unicode standard. Only memory can fail. */
#include "fs/consume/json_text.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_FIRST_BYTES = 4096 };

static const uint64_t all_bytes = UINT64_C(0x0101010101010101);
static const uint64_t high_bits = UINT64_C(0x8080808080808080);

/* Room for `more` bytes; NULL and w->rc when there is none. */
static char *reserve(struct json_writer *w, size_t more)
{
    struct json_text *text = w->text;
    size_t capacity = text->capacity > 0 ? text->capacity : TEXT_FIRST_BYTES;
    char *data;

    if (w->rc < 0) {
        return NULL;
    }
    if (more <= text->capacity - text->len && text->data != NULL) {
        return text->data + text->len;
    }
    while (capacity - text->len < more) {
        if (capacity > SIZE_MAX / 2) {
            w->rc = -ENOMEM;
            return NULL;
        }
        capacity *= 2;
    }
    data = realloc(text->data, capacity);
    if (data == NULL) {
        w->rc = -ENOMEM;
        return NULL;
    }
    text->data = data;
    text->capacity = capacity;
    return data + text->len;
}

void json_text_put(struct json_writer *w, const void *data, size_t len)
{
    char *to = reserve(w, len);

    if (to != NULL && len > 0) {
        memcpy(to, data, len);
        w->text->len += len;
    }
}

void json_text_puts(struct json_writer *w, const char *literal)
{
    json_text_put(w, literal, strlen(literal));
}

void json_text_put_uint(struct json_writer *w, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    json_text_put(w, digits + at, sizeof digits - at);
}

void json_text_put_int(struct json_writer *w, int64_t value)
{
    if (value < 0) {
        json_text_put(w, "-", 1);
    }
    json_text_put_uint(w, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* ---- strings ---- */

static bool plain(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* How many bytes from here are ASCII that JSON takes as it is. The usual tricks for "has a byte below n" and "has a
 * zero byte": the lowest flag that they set is always right. */
static size_t plain_run(const uint8_t *bytes, size_t len)
{
    size_t n = 0;

    for (; len - n >= sizeof(uint64_t); n += sizeof(uint64_t)) {
        uint64_t x;
        uint64_t quote;
        uint64_t backslash;
        uint64_t flags;

        memcpy(&x, bytes + n, sizeof x);
        x = le64toh(x);
        quote = x ^ all_bytes * '"';
        backslash = x ^ all_bytes * '\\';
        flags =
            ((x - all_bytes * 0x20) & ~x) | x | ((quote - all_bytes) & ~quote) | ((backslash - all_bytes) & ~backslash);
        if ((flags & high_bits) != 0) {
            return n + ((size_t)__builtin_ctzll(flags & high_bits) >> 3);
        }
    }
    while (n < len && plain(bytes[n])) {
        n++;
    }
    return n;
}

static bool in(uint8_t c, uint8_t low, uint8_t high)
{
    return c >= low && c <= high;
}

/* The length of the UTF-8 sequence that starts here with a byte from 0x80 on, *valid saying what it is; of an
 * ill-formed one that of its maximal subpart, at least 1. */
static size_t utf8_sequence(const uint8_t *bytes, size_t len, bool *valid)
{
    uint8_t c = bytes[0];
    uint8_t low = 0x80;
    uint8_t high = 0xbf;
    size_t want;

    *valid = false;
    if (in(c, 0xc2, 0xdf)) {
        want = 2;
    } else if (in(c, 0xe0, 0xef)) {
        want = 3;
        low = c == 0xe0 ? 0xa0 : low;
        high = c == 0xed ? 0x9f : high;
    } else if (in(c, 0xf0, 0xf4)) {
        want = 4;
        low = c == 0xf0 ? 0x90 : low;
        high = c == 0xf4 ? 0x8f : high;
    } else {
        return 1;
    }
    for (size_t n = 1; n < want; n++) {
        if (n >= len || !in(bytes[n], low, high)) {
            return n;
        }
        low = 0x80;
        high = 0xbf;
    }
    *valid = true;
    return want;
}

static void put_escape(struct json_writer *w, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    char code[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    const char *at = c != 0 ? strchr("\"\"\\\\\bb\ff\nn\rr\tt", c) : NULL;

    /* The letters of the table are no control characters, so what is found is the first of a pair. */
    if (at != NULL) {
        json_text_put(w, (char[2]){'\\', at[1]}, 2);
    } else {
        json_text_put(w, code, sizeof code);
    }
}

bool json_text_put_string(struct json_writer *w, const uint8_t *bytes, size_t len)
{
    bool clean = true;

    if (reserve(w, len + 2) == NULL) {
        return true;
    }
    json_text_put(w, "\"", 1);
    for (size_t at = 0; at < len && w->rc == 0;) {
        size_t run = plain_run(bytes + at, len - at);
        bool valid;

        json_text_put(w, bytes + at, run);
        at += run;
        if (at == len) {
            break;
        }
        if (bytes[at] < 0x80) {
            put_escape(w, bytes[at]);
            at++;
            continue;
        }
        run = utf8_sequence(bytes + at, len - at, &valid);
        if (valid) {
            json_text_put(w, bytes + at, run);
        } else {
            json_text_puts(w, "\xef\xbf\xbd");
            clean = false;
        }
        at += run;
    }
    json_text_put(w, "\"", 1);
    return clean;
}

void json_text_put_base64(struct json_writer *w, const uint8_t *bytes, size_t len)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *to = reserve(w, (len + 2) / 3 * 4 + 2);
    char *start = to;

    if (to == NULL) {
        return;
    }
    *to++ = '"';
    for (; len > 0; bytes += 3) {
        size_t n = len < 3 ? len : 3;
        uint32_t bits = (uint32_t)bytes[0] << 16 | (n > 1 ? (uint32_t)bytes[1] << 8 : 0) | (n > 2 ? bytes[2] : 0);

        *to++ = letters[bits >> 18];
        *to++ = letters[bits >> 12 & 63];
        *to++ = (char)(n > 1 ? letters[bits >> 6 & 63] : '=');
        *to++ = (char)(n > 2 ? letters[bits & 63] : '=');
        len -= n;
    }
    *to++ = '"';
    w->text->len += (size_t)(to - start);
}
