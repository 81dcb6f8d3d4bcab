#include "tests/hands/text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { TABLE_BYTES = 1 << 20 };

/* Fillings are pieces of this, so that making and comparing them costs a memcpy and a memcmp. */
static uint8_t table[TABLE_BYTES];

void text_begin(uint64_t seed)
{
    uint64_t x = seed * 2 + 1;

    for (size_t i = 0; i < TABLE_BYTES; i++) {
        x = x * 6364136223846793005U + 1442695040888963407U;
        table[i] = (uint8_t)('A' + (x >> 33) % 26);
    }
}

static size_t table_start(const struct text_id *id)
{
    return ((size_t)id->hand * 7919 + (size_t)id->number * 104729) % TABLE_BYTES;
}

static void head(char out[TEXT_HEAD_BYTES + 1], const struct text_id *id)
{
    int n = snprintf(out, TEXT_HEAD_BYTES + 1, "<%02u.%02u.%06u.%08u:", (unsigned)id->file % 100,
                     (unsigned)id->hand % 100, id->number % 1000000, id->len % 100000000);

    assert(n == TEXT_HEAD_BYTES);
}

void text_make(uint8_t *out, const struct text_id *id)
{
    char text[TEXT_HEAD_BYTES + 1];
    size_t at = TEXT_HEAD_BYTES;
    size_t from = table_start(id);

    assert(id->len >= TEXT_MIN_BYTES);
    head(text, id);
    memcpy(out, text, TEXT_HEAD_BYTES);
    while (at < id->len - 1) {
        size_t n = TABLE_BYTES - from;

        if (n > id->len - 1 - at) {
            n = id->len - 1 - at;
        }
        memcpy(out + at, table + from, n);
        at += n;
        from = 0;
    }
    out[at] = '>';
}

bool text_head(const uint8_t *bytes, size_t len, struct text_id *id)
{
    char text[TEXT_HEAD_BYTES + 1] = "";

    if (len < TEXT_HEAD_BYTES) {
        return false;
    }
    memcpy(text, bytes, TEXT_HEAD_BYTES);
    return sscanf(text, "<%2d.%2d.%6u.%8u:", &id->file, &id->hand, &id->number, &id->len) == 4 &&
           text[TEXT_HEAD_BYTES - 1] == ':' && id->len >= TEXT_MIN_BYTES;
}

bool text_is_whole(const uint8_t *bytes, size_t len, const struct text_id *id)
{
    size_t at = TEXT_HEAD_BYTES;
    size_t from = table_start(id);

    if (len < id->len || bytes[id->len - 1] != '>') {
        return false;
    }
    while (at < id->len - 1) {
        size_t n = TABLE_BYTES - from;

        if (n > id->len - 1 - at) {
            n = id->len - 1 - at;
        }
        if (memcmp(bytes + at, table + from, n) != 0) {
            return false;
        }
        at += n;
        from = 0;
    }
    return true;
}

char text_letter(int hand)
{
    return (char)('a' + hand % 26);
}
