/* tests/fuzz/fuzz_quorum_message.c: any bytes as what the quorum's nodes say to each other beside votes and fetches,
 * and as the records that a fetch brings: refused, or understood, and the same when it is encoded and decoded again.
 * The first byte says as what. */
#include <errno.h>

#include "replication/metadata/quorum_records.h"
#include "replication/wire/command_message.h"
#include "replication/wire/snapshot_message.h"
#include "replication/wire/voters_message.h"
#include "tests/fuzz/fuzz.h"

/* Decodes; what was understood is encoded, decoded and encoded once more. */
#define TRY(name, type, bytes)                                                                                         \
    static void try_##name(const uint8_t *data, size_t len)                                                            \
    {                                                                                                                  \
        uint8_t out[bytes], out_again[bytes];                                                                          \
        struct type msg, again;                                                                                        \
        struct err e = {0};                                                                                            \
        int rc = name##_decode(data, len, &msg, &e);                                                                   \
        if (rc != 0) {                                                                                                 \
            FUZZ_CHECK(rc == -EBADMSG && e.text[0] != '\0');                                                           \
            return;                                                                                                    \
        }                                                                                                              \
        size_t encoded = name##_encode(&msg, out);                                                                     \
        FUZZ_CHECK(name##_decode(out, encoded, &again, &e) == 0);                                                      \
        FUZZ_CHECK(name##_encode(&again, out_again) == encoded && memcmp(out, out_again, encoded) == 0);               \
    }

TRY(command_request, command_request, COMMAND_REQUEST_BYTES)
TRY(command_answer, command_answer, COMMAND_ANSWER_BYTES)
TRY(snapshot_message, snapshot_message, SNAPSHOT_MESSAGE_BYTES)
TRY(voters_request, voters_request, VOTERS_REQUEST_BYTES)
TRY(voters_answer, voters_answer, VOTERS_ANSWER_BYTES)

/* What it points to is there. */
static void try_records(const uint8_t *data, size_t len)
{
    const uint8_t *end = data + len;
    struct log_copy copy;
    struct err e = {0};
    int rc;

    while ((rc = quorum_records_next(&data, &len, &copy, &e)) > 0) {
        FUZZ_CHECK(data + len == end && (const uint8_t *)copy.bytes + copy.entry.len == data);
        FUZZ_CHECK(copy.base.offset >= 0 && copy.base.position >= 0);
    }
    FUZZ_CHECK(rc == 0 || (rc == -EBADMSG && e.text[0] != '\0'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static void (*const tries[])(const uint8_t *data, size_t len) = {
        try_command_request, try_command_answer, try_snapshot_message,
        try_voters_request,  try_voters_answer,  try_records,
    };

    if (len > 0)
        tries[data[0] % (sizeof tries / sizeof *tries)](data + 1, len - 1);
    return 0;
}
