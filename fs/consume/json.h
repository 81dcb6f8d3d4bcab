/* fs/consume/json.h: one record as one line of JSON, valid for any bytes.
 *
 * {"partition":0,"offset":5,"timestamp":1763800000000,"key":null,"value":"…"}\n; with a key separator key is what comes
 * before the first separator and value what comes after (no separator in the record: key null); bytes that are not
 * UTF-8 show as U+FFFD (one for each maximal ill-formed subsequence, as the WHATWG and Unicode recommend) and the exact
 * ones are in value_base64 or key_base64 behind. A MessagePack record's value is the object as JSON (64-bit integers in
 * full, NaN and infinities as null, bin as base64 text, ext as {"type":n,"data":base64}; map keys that are not text as
 * their JSON text, and inside such a key's text further keys that are arrays, maps or ext as base64 of their bytes, so
 * that quoting never nests); its key is null. What is not one MessagePack object, which the engine lets nobody append,
 * shows as value null and value_base64.
 * Iterative on nested input. Pure. */
#ifndef LOGMNT_FS_CONSUME_JSON_H
#define LOGMNT_FS_CONSUME_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/record/framing.h"

/* A growing buffer; zero-initialise, free(data). */
struct json_text {
    char *data;
    size_t len, capacity;
};

struct json_record {
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms;
    enum framing framing;
    const char *separator;
    size_t separator_len; /* 0: no key */
    const uint8_t *bytes; /* without the newline */
    size_t len;
};

/* Appends the line. 0 or -ENOMEM (then the text is as before). */
int json_append_record(struct json_text *text, const struct json_record *record);

#endif
