/* replication/wire/refusals.c: the last few causes, as hashes. More than are kept are logged more often. */
#include "replication/wire/refusals.h"

#include "replication/base/limits.h"

/* FNV-1a, 64 bits. */
static uint64_t key_of(enum refusal cause, const char *text)
{
    uint64_t key = 14695981039346656037U;
    key = (key ^ (uint64_t)cause) * 1099511628211U;
    if (cause == REFUSAL_TLS || cause == REFUSAL_OTHER) {
        for (const char *at = text; *at != '\0'; at++)
            key = (key ^ (uint8_t)*at) * 1099511628211U;
    }
    return key | 1;
}

bool refusals_log(struct refusals *refusals, enum refusal cause, const char *text, uint64_t now_ms)
{
    uint64_t key = key_of(cause, text);
    for (int i = 0; i < REFUSALS_KEPT; i++) {
        if (refusals->kept[i].key != key)
            continue;
        if (now_ms - refusals->kept[i].at_ms < LIMIT_REFUSAL_LOG_MS)
            return false;
        refusals->kept[i].at_ms = now_ms;
        return true;
    }
    refusals->kept[refusals->next].key = key;
    refusals->kept[refusals->next].at_ms = now_ms;
    refusals->next = (refusals->next + 1) % REFUSALS_KEPT;
    return true;
}
