/* tests/fuzz/fuzz_group_message.c: any bytes as a message between members and a coordinator: the first byte chooses
 * which way. Refused, or understood, and the same when it is encoded and decoded again. */
#include <stdlib.h>
#include <string.h>

#include "replication/wire/elements.h"
#include "replication/wire/group_message.h"
#include "tests/fuzz/fuzz.h"

static void items(const uint8_t *data, size_t len)
{
    struct group_item item, again;
    struct elements_buffer bytes = {0};
    struct err e = {""};
    size_t used = 0, used_again;

    if (group_item_decode(data, len, &used, &item, &e) != 0)
        return;
    FUZZ_CHECK(used <= len && item.index < LIMIT_OFFSETS_PARTITIONS);
    group_item_encode(&item, &bytes);
    FUZZ_CHECK(group_item_decode(bytes.bytes, bytes.len, &used_again, &again, &e) == 0 && used_again == bytes.len);
    FUZZ_CHECK(again.kind == item.kind && again.ticket == item.ticket && again.number == item.number &&
               strcmp(again.group, item.group) == 0 && again.offset == item.offset &&
               again.partition == item.partition && again.entry_count == item.entry_count);
    for (size_t i = 0; i < item.entry_count; i++) {
        FUZZ_CHECK(item.entries[i].key == again.entries[i].key && item.entries[i].value == again.entries[i].value &&
                   item.entries[i].epoch == again.entries[i].epoch &&
                   item.entries[i].release == again.entries[i].release);
    }
    free(bytes.bytes);
    free(item.entries);
    free(again.entries);
}

static void answers(const uint8_t *data, size_t len)
{
    struct group_told told, again;
    struct elements_buffer bytes = {0};
    struct err e = {""};
    size_t used = 0, used_again;

    if (group_told_decode(data, len, &used, &told, &e) != 0)
        return;
    group_told_encode(&told, &bytes);
    FUZZ_CHECK(group_told_decode(bytes.bytes, bytes.len, &used_again, &again, &e) == 0 && used_again == bytes.len);
    FUZZ_CHECK(again.kind == told.kind && again.outcome == told.outcome && again.version == told.version &&
               again.row_count == told.row_count && again.share_count == told.share_count &&
               again.group_count == told.group_count && again.refused_count == told.refused_count);
    for (size_t i = 0; i < told.share_count; i++) {
        FUZZ_CHECK(told.shares[i].partition == again.shares[i].partition && told.shares[i].start >= 0 &&
                   told.shares[i].epoch == again.shares[i].epoch && told.shares[i].start == again.shares[i].start);
    }
    free(bytes.bytes);
    group_told_free(&told);
    group_told_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {""};
    uint64_t process;

    if (size == 0)
        return 0;
    if (data[0] % 3 == 0)
        items(data + 1, size - 1);
    else if (data[0] % 3 == 1)
        answers(data + 1, size - 1);
    else
        (void)group_head_decode(data + 1, size - 1, &process, &e);
    return 0;
}
