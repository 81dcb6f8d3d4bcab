/* replication/base/uuid.h: ids of topics and clusters: 16 random bytes, written as Kafka's Uuid class writes them, 22
 * characters of base64url. Any thread. */
#ifndef LOGMNT_REPLICATION_BASE_UUID_H
#define LOGMNT_REPLICATION_BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>

enum { UUID_BYTES = 16, UUID_TEXT_BYTES = 23 };

/* Makes an id (version 4) of 16 random bytes. false: its text would begin with '-', so that it could not be given to a
 * command line; other bytes are needed. */
bool uuid_make(uint8_t id[UUID_BYTES]);
void uuid_text(const uint8_t id[UUID_BYTES], char out[UUID_TEXT_BYTES]);
/* -EINVAL: not 22 characters of base64url that uuid_text() could have written. */
int uuid_parse(const char *text, uint8_t out[UUID_BYTES]);

#endif
