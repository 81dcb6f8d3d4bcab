/* engine/base/crc32c.c: ISA-L's crc32_iscsi() runs the bare polynomial; the inversions before and after, which make
 * leading and trailing zeros count, are ours. */
#include "engine/base/crc32c.h"

#include <limits.h>

#include <isa-l/crc.h>

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;

    crc = ~crc;
    while (len > 0) {
        int part = len > INT_MAX ? INT_MAX : (int)len;

        /* The library takes a pointer to non-const and only reads through it. */
        crc = crc32_iscsi((unsigned char *)(uintptr_t)p, part, crc);
        p += part;
        len -= (size_t)part;
    }
    return ~crc;
}
