/* tests/fuzz/fuzz_json.c: any record: its line is valid JSON and valid UTF-8, and its bytes can be had back from it.
 *
 * The checker is of its own: RFC 8259 by a loop over a stack of brackets. Input: a byte of flags (MessagePack,
 * separator, array key), then the record. */
#include <stdbool.h>
#include <string.h>

#include "fs/consume/json.h"
#include "tests/fuzz/fuzz.h"

/* ---- is it JSON? ---- */

struct parser {
    const uint8_t *at, *end;
    uint8_t *stack; /* '{' or '[' for each that is open */
    size_t depth;
};

static bool utf8_tail(struct parser *p, uint32_t first, int tail, uint32_t least)
{
    uint32_t code = first;

    for (; tail > 0; tail--) {
        if (p->at == p->end || (*p->at & 0xc0) != 0x80) {
            return false;
        }
        code = code << 6 | (*p->at++ & 0x3fu);
    }
    return code >= least && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

static bool skip_char(struct parser *p, uint8_t c)
{
    if (c < 0x80) {
        return c >= 0x20;
    }
    if (c >= 0xc0 && c < 0xe0) {
        return utf8_tail(p, c & 0x1fu, 1, 0x80);
    }
    if (c >= 0xe0 && c < 0xf0) {
        return utf8_tail(p, c & 0x0fu, 2, 0x800);
    }
    return c >= 0xf0 && c < 0xf8 && utf8_tail(p, c & 0x07u, 3, 0x10000);
}

static bool skip_escape(struct parser *p)
{
    uint8_t c = p->at < p->end ? *p->at++ : 0;

    if (c != 'u') {
        return c != 0 && strchr("\"\\/bfnrt", c) != NULL;
    }
    for (int i = 0; i < 4; i++, p->at++) {
        if (p->at == p->end || *p->at == 0 || strchr("0123456789abcdefABCDEF", *p->at) == NULL) {
            return false;
        }
    }
    return true;
}

/* Behind the opening quote. */
static bool skip_string(struct parser *p)
{
    while (p->at < p->end) {
        uint8_t c = *p->at++;

        if (c == '"') {
            return true;
        }
        if (c == '\\' ? !skip_escape(p) : !skip_char(p, c)) {
            return false;
        }
    }
    return false;
}

static bool skip_digits(struct parser *p)
{
    const uint8_t *from = p->at;

    while (p->at < p->end && *p->at >= '0' && *p->at <= '9') {
        p->at++;
    }
    return p->at > from;
}

static bool skip_number(struct parser *p)
{
    const uint8_t *from;

    p->at += *p->at == '-';
    from = p->at;
    if (!skip_digits(p) || (*from == '0' && p->at - from > 1)) {
        return false;
    }
    if (p->at < p->end && *p->at == '.') {
        p->at++;
        if (!skip_digits(p)) {
            return false;
        }
    }
    if (p->at < p->end && (*p->at == 'e' || *p->at == 'E')) {
        p->at++;
        p->at += p->at < p->end && (*p->at == '+' || *p->at == '-');
        return skip_digits(p);
    }
    return true;
}

static bool skip_word(struct parser *p, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(p->end - p->at) < len || memcmp(p->at, word, len) != 0) {
        return false;
    }
    p->at += len;
    return true;
}

/* A name and its colon. */
static bool skip_name(struct parser *p)
{
    return skip_word(p, "\"") && skip_string(p) && skip_word(p, ":");
}

/* A value that is not a container, or the start of one; *opened then. */
static bool skip_value(struct parser *p, bool *opened)
{
    uint8_t c = p->at < p->end ? *p->at : 0;

    *opened = false;
    if (c == '{' || c == '[') {
        p->at++;
        if (p->at < p->end && *p->at == c + 2) {
            p->at++;
            return true;
        }
        p->stack[p->depth++] = c;
        *opened = true;
        return c == '[' || skip_name(p);
    }
    if (c == '"') {
        p->at++;
        return skip_string(p);
    }
    if (c == '-' || (c >= '0' && c <= '9')) {
        return skip_number(p);
    }
    return skip_word(p, "true") || skip_word(p, "false") || skip_word(p, "null");
}

/* What follows a value: closing brackets, a comma. *more: another value. */
static bool skip_between(struct parser *p, bool *more)
{
    *more = false;
    while (p->depth > 0) {
        uint8_t open = p->stack[p->depth - 1];
        uint8_t c = p->at < p->end ? *p->at++ : 0;

        if (c == ',') {
            *more = true;
            return open == '[' || skip_name(p);
        }
        if (c != open + 2) {
            return false;
        }
        p->depth--;
    }
    return true;
}

static bool is_json(const char *text, size_t len)
{
    struct parser p = {.at = (const uint8_t *)text, .end = (const uint8_t *)text + len, .stack = malloc(len + 1)};
    bool more = true;
    bool ok = true;

    FUZZ_CHECK(p.stack != NULL);
    while (ok && more) {
        bool opened;

        ok = skip_value(&p, &opened);
        if (ok && !opened) {
            ok = skip_between(&p, &more);
        }
    }
    free(p.stack);
    return ok && p.at == p.end;
}

/* ---- are its bytes in it? ---- */

static int unhex(char c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* The string behind `text`'s opening quote, which is valid, as bytes; malloc-ed. Escapes that we make only. */
static uint8_t *unescape(const char *text, size_t *len)
{
    uint8_t *out = malloc(strlen(text) + 1);

    FUZZ_CHECK(out != NULL);
    for (*len = 0; *text != '"'; text++) {
        const char *letters = "bfnrt";
        const char *found;

        if (*text != '\\') {
            out[(*len)++] = (uint8_t)*text;
            continue;
        }
        text++;
        found = strchr(letters, *text);
        if (*text == 'u') {
            FUZZ_CHECK(text[1] == '0' && text[2] == '0');
            out[(*len)++] = (uint8_t)(unhex(text[3]) << 4 | unhex(text[4]));
            text += 4;
        } else {
            out[(*len)++] = found != NULL ? (uint8_t) "\b\f\n\r\t"[found - letters] : (uint8_t)*text;
        }
    }
    return out;
}

static uint8_t *unbase64(const char *text, size_t *len)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t *out = malloc(strlen(text) + 1);
    uint32_t bits = 0;
    int have = 0;

    FUZZ_CHECK(out != NULL);
    for (*len = 0; *text != '"' && *text != '='; text++) {
        const char *found = strchr(letters, *text);

        FUZZ_CHECK(found != NULL);
        bits = bits << 6 | (uint32_t)(found - letters);
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[(*len)++] = (uint8_t)(bits >> have);
        }
    }
    return out;
}

/* What follows the first `name` from `text` on is a string that stands for these bytes. */
static void check_bytes(const char *text, const char *name, bool base64, const uint8_t *bytes, size_t len)
{
    const char *at = strstr(text, name);
    uint8_t *got;
    size_t got_len;

    FUZZ_CHECK(at != NULL);
    at += strlen(name);
    got = base64 ? unbase64(at, &got_len) : unescape(at, &got_len);
    FUZZ_CHECK(got_len == len && memcmp(got, bytes, len) == 0);
    free(got);
}

/* The last members, which no record can imitate: quotes in records are escaped. */
static void check_line(const char *text, const uint8_t *bytes, size_t len)
{
    static const char exact[] = "\",\"value_base64\":\"";

    if (strstr(text, exact) != NULL) {
        check_bytes(text, exact, true, bytes, len);
    } else {
        check_bytes(text, ",\"key\":null,\"value\":\"", false, bytes, len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz_input in = {data, len};
    uint32_t flags = fuzz_take(&in, 1);
    struct json_text text = {0};
    struct json_record record = {
        .partition = 3,
        .offset = INT64_MAX,
        .timestamp_ms = -1,
        .framing = (flags & 1) != 0 ? FRAMING_MSGPACK : FRAMING_LINE,
        .separator = "=>",
        .separator_len = (flags & 2) != 0 ? 2 : 0,
        .bytes = in.data,
        .len = in.len,
    };

    FUZZ_CHECK(json_append_record(&text, &record) == 0);
    FUZZ_CHECK(text.len > 0 && text.data[text.len - 1] == '\n' && memchr(text.data, '\0', text.len) == NULL);
    FUZZ_CHECK(is_json(text.data, text.len - 1));
    FUZZ_CHECK(text.len < 40 * in.len + 300);
    text.data[text.len - 1] = '\0';
    if ((flags & 3) == 0) {
        check_line(text.data, in.data, in.len);
    }
    if ((flags & 1) != 0) {
        const char *exact = strstr(text.data, ",\"value_base64\":\"");

        if (exact != NULL && strchr(exact + 17, ',') == NULL) {
            check_bytes(exact, ",\"value_base64\":\"", true, in.data, in.len);
        }
    }
    free(text.data);
    return 0;
}
