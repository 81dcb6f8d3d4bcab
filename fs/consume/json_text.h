/* fs/consume/json_text.h: appends the small pieces of JSON to a growing buffer.
 *
 * A writer remembers its first failure and does nothing from then on, so that a caller may look at rc once, at the end.
 * Pure; one thread. */
#ifndef LOGMNT_FS_CONSUME_JSON_TEXT_H
#define LOGMNT_FS_CONSUME_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/consume/json.h"

struct json_writer {
    struct json_text *text;
    int rc; /* 0 or -ENOMEM */
};

void json_text_put(struct json_writer *w, const void *data, size_t len);
void json_text_puts(struct json_writer *w, const char *literal);
void json_text_put_int(struct json_writer *w, int64_t value);
void json_text_put_uint(struct json_writer *w, uint64_t value);
/* Bytes as a JSON string, U+FFFD for each maximal ill-formed subsequence. False: there was one. */
bool json_text_put_string(struct json_writer *w, const uint8_t *bytes, size_t len);
/* Bytes as a JSON string of base64 (RFC 4648, padded). */
void json_text_put_base64(struct json_writer *w, const uint8_t *bytes, size_t len);

#endif
