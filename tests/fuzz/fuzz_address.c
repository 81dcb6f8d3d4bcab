/* tests/fuzz/fuzz_address.c: any name: what is understood is in range, and says the same when written again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/tree/address.h"
#include "tests/fuzz/fuzz.h"

static void check_again(const struct address *address)
{
    char name[64];
    struct address again;
    const char *form = NULL;

    switch (address->kind) {
    case ADDRESS_OFFSET:
        form = "%d@%lld";
        break;
    case ADDRESS_LAST:
        form = "%d@-%lld";
        break;
    case ADDRESS_START:
        form = "%d@start";
        break;
    case ADDRESS_END:
        form = "%d@end";
        break;
    case ADDRESS_TIME:
    case ADDRESS_AGO:
        return;
    }
    snprintf(name, sizeof name, form, (int)address->partition, (long long)address->value);
    FUZZ_CHECK(address_parse(name, &again) == 0);
    FUZZ_CHECK(again.partition == address->partition && again.kind == address->kind && again.value == address->value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static int zone_set;
    struct address address;
    char *name = fuzz_text(data, len);
    int32_t partition;
    int rc;

    if (zone_set == 0) {
        setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
        zone_set = 1;
    }
    rc = address_parse(name, &address);
    FUZZ_CHECK(rc == 0 || rc == -ENOENT);
    if (rc == 0) {
        FUZZ_CHECK(address.partition >= 0);
        FUZZ_CHECK(address.kind == ADDRESS_TIME || address.value >= 0);
        check_again(&address);
    }
    partition = address_partition(name);
    FUZZ_CHECK(partition >= -1);
    if (partition >= 0) {
        char again[16];

        snprintf(again, sizeof again, "%d", (int)partition);
        FUZZ_CHECK(strcmp(again, name) == 0);
    }
    free(name);
    return 0;
}
