/* tests/fuzz/fuzz_snapshot.c: any bytes as a snapshot of the metadata, from a disk or from another node, with a CRC
 * that holds: refused with the reason, or understood; and what was understood is the same when it is encoded and
 * decoded again. The first byte says how much of the header is as it should be: bit 0, the magic and the version, bit
 * 1, the length. */
#include <errno.h>

#include "engine/base/bytes.h"
#include "engine/base/crc32c.h"
#include "replication/metadata/snapshot.h"
#include "tests/fuzz/fuzz.h"

enum { AT_VERSION = 8, AT_CRC = 12, AT_BODY_LEN = 16, HEADER_BYTES_1 = 32, HEADER_BYTES = 48 };

static const uint8_t magic[] = {'L', 'O', 'G', 'M', 'N', 'T', 'M', 'S'};
static const struct tree_attr root = {.dir_mode = 0755, .file_mode = 0644};

static void mend(uint8_t *bytes, size_t len, unsigned how)
{
    if (len >= HEADER_BYTES_1 && (how & 1) != 0) {
        memcpy(bytes, magic, sizeof magic);
        put32(bytes + AT_VERSION, 1 + bytes[AT_VERSION] % 2);
    }
    if (len >= HEADER_BYTES_1 && (how & 2) != 0) {
        size_t header = get32(bytes + AT_VERSION) == 1 || len < HEADER_BYTES ? HEADER_BYTES_1 : HEADER_BYTES;
        put64(bytes + AT_BODY_LEN, len - header);
    }
    if (len >= AT_BODY_LEN)
        put32(bytes + AT_CRC, crc32c(0, bytes + AT_BODY_LEN, len - AT_BODY_LEN));
}

static void encode(const struct metadata *meta, struct snapshot *out)
{
    struct log_point end = {meta->next_offset, 0};
    FUZZ_CHECK(snapshot_encode(meta, end, out, NULL) == 0);
}

static void must_stay(const struct metadata *meta)
{
    struct snapshot first, second;
    struct snapshot_id id;
    struct metadata read;
    struct err e = {0};
    encode(meta, &first);
    metadata_init(&read, &root);
    if (snapshot_decode(&first, &read, &id, &e) != 0) {
        fprintf(stderr, "its own snapshot: %s\n", e.text);
        abort();
    }
    FUZZ_CHECK(id.end.offset == meta->next_offset && id.end.position == 0);
    encode(&read, &second);
    FUZZ_CHECK(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
    snapshot_free(&first);
    snapshot_free(&second);
    metadata_free(&read);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct metadata meta;
    struct snapshot_id id;
    struct err e = {0};
    if (len == 0)
        return 0;
    /* As long as it is, so that a byte behind it is found. */
    struct snapshot snapshot = {.data = malloc(len - 1 > 0 ? len - 1 : 1), .len = len - 1};
    FUZZ_CHECK(snapshot.data != NULL);
    memcpy(snapshot.data, data + 1, len - 1);
    mend(snapshot.data, snapshot.len, data[0]);
    metadata_init(&meta, &root);
    int rc = snapshot_decode(&snapshot, &meta, &id, &e);
    FUZZ_CHECK(rc == 0 || (rc == -EBADMSG && e.text[0] != '\0'));
    if (rc == 0)
        must_stay(&meta);
    metadata_free(&meta);
    snapshot_free(&snapshot);
    return 0;
}
