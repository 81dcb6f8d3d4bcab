/* replication/wire/refusals.h: which refusals are worth a line: one a cause in LIMIT_REFUSAL_LOG_MS. Pure. */
#ifndef LOGMNT_REPLICATION_WIRE_REFUSALS_H
#define LOGMNT_REPLICATION_WIRE_REFUSALS_H

#include <stdbool.h>
#include <stdint.h>

#include "replication/wire/hello.h"

enum { REFUSALS_KEPT = 8 };

/* Zero-initialise; again, and all are worth a line again. */
struct refusals {
    struct {
        uint64_t key; /* 0: none */
        uint64_t at_ms;
    } kept[REFUSALS_KEPT];
    unsigned next;
};

/* Is it to be logged? What a hello was refused for is one cause whatever the words and whichever side found it; for all
 * else the words are the cause. */
bool refusals_log(struct refusals *refusals, enum refusal cause, const char *text, uint64_t now_ms);

#endif
