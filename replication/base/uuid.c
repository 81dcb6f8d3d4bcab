/* replication/base/uuid.c: base64url (RFC 4648, section 5) of 16 bytes, without padding. */
#include "replication/base/uuid.h"

#include <errno.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

bool uuid_make(uint8_t id[UUID_BYTES])
{
    char text[UUID_TEXT_BYTES];
    id[6] = (uint8_t)((id[6] & 0x0f) | 0x40);
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
    uuid_text(id, text);
    return text[0] != '-';
}

void uuid_text(const uint8_t id[UUID_BYTES], char out[UUID_TEXT_BYTES])
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t n = 0;
    for (size_t i = 0; i < UUID_BYTES; i++) {
        bits = bits << 8 | id[i];
        held += 8;
        while (held >= 6) {
            held -= 6;
            out[n++] = digits[bits >> held & 63];
        }
    }
    out[n++] = digits[bits << (6 - held) & 63];
    out[n] = '\0';
}

int uuid_parse(const char *text, uint8_t out[UUID_BYTES])
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t n = 0;
    if (strlen(text) != UUID_TEXT_BYTES - 1)
        return -EINVAL;
    for (size_t i = 0; i < UUID_TEXT_BYTES - 1; i++) {
        const char *digit = strchr(digits, text[i]);
        if (digit == NULL)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)(digit - digits);
        held += 6;
        if (held >= 8 && n < UUID_BYTES) {
            held -= 8;
            out[n++] = (uint8_t)(bits >> held);
        }
    }
    /* 132 bits were read for 128: the last four are zero in what uuid_text() writes. */
    return (bits & 15) == 0 ? 0 : -EINVAL;
}
