/* tests/fuzz/fuzz_batch.c: the 64 bytes of a header and of an entry: what is read is what would have been written.
 *
 * Input: 0 as it is, 1 with the CRC made to hold; then a header, then entries. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "engine/base/crc32c.h"
#include "engine/record/batch.h"
#include "tests/fuzz/fuzz.h"

enum { CRC_AT = 60 };

static void make_hold(uint8_t bytes[64])
{
    uint32_t crc = htole32(crc32c(0, bytes, CRC_AT));

    memcpy(bytes + CRC_AT, &crc, sizeof crc);
}

static void check_header(const uint8_t bytes[BATCH_HEADER_BYTES])
{
    uint8_t out[BATCH_HEADER_BYTES], of_again[BATCH_HEADER_BYTES];
    struct batch_header header, again;
    int rc = batch_header_decode(bytes, &header);

    FUZZ_CHECK(rc == 0 || rc == -EBADMSG);
    if (rc == 0) {
        batch_header_encode(&header, out);
        FUZZ_CHECK(batch_header_decode(out, &again) == 0);
        batch_header_encode(&again, of_again);
        FUZZ_CHECK(memcmp(out, of_again, sizeof out) == 0);
    }
}

static void check_entry(const uint8_t bytes[BATCH_ENTRY_BYTES])
{
    uint8_t out[BATCH_ENTRY_BYTES];
    struct batch_entry entry;
    int rc = batch_entry_decode(bytes, &entry);

    FUZZ_CHECK(rc == 0 || rc == -EBADMSG);
    if (rc == 0) {
        batch_entry_encode_appended(&entry, batch_entry_unflushed(bytes), out);
        FUZZ_CHECK(memcmp(bytes, out, sizeof out) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    int hold = len > 0 && data[0] % 2 == 1;
    uint8_t bytes[64];

    for (size_t at = 1; at < len; at += sizeof bytes) {
        size_t n = len - at < sizeof bytes ? len - at : sizeof bytes;

        memset(bytes, 0, sizeof bytes);
        memcpy(bytes, data + at, n);
        if (hold != 0) {
            make_hold(bytes);
        }
        check_header(bytes);
        check_entry(bytes);
    }
    return 0;
}
