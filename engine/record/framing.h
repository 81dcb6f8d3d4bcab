/* engine/record/framing.h: where records end.
 *
 * One interface over the two framings a topic can have. A scan is incremental: feed the pieces of a stream in order and
 * it says how far complete records reach; its state carries over an unfinished record. The MessagePack scan keeps one
 * counter of objects still to come instead of a stack, so nested input costs no memory, and its work is linear in the
 * bytes. No I/O, no locks; one scan belongs to one thread at a time. */
#ifndef LOGMNT_ENGINE_RECORD_FRAMING_H
#define LOGMNT_ENGINE_RECORD_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum framing { FRAMING_LINE = 0, FRAMING_MSGPACK = 1 };

/* A place where the sparse offset index may point: a record's start, counted from the start of the batch. */
struct framing_mark {
    uint32_t record; /* number of the record in the batch, 0 first */
    uint32_t place;  /* its first byte in the batch */
};

/* An unfinished record: how many bytes of it were fed, and for MessagePack what is still to come. Zero-initialise. */
struct framing_state {
    uint64_t partial_bytes; /* bytes of the unfinished record so far, 0: between records */
    uint64_t objects;       /* MessagePack: objects still to come */
    uint64_t skip;          /* MessagePack: bytes of the current object's body still to come */
    uint8_t head[9];        /* MessagePack: a type byte and its length so far, when they came in pieces */
    uint8_t head_len;
};

struct framing_result {
    size_t end;       /* bytes of this piece up to the end of its last complete record; 0: none ends in it */
    uint32_t records; /* records that end in this piece */
};

/* Scans one more piece. On success st describes what follows r->end: an unfinished record of len - r->end bytes (or,
 * with r->end 0, len bytes more than before).
 *
 * crc: CRC-32C running over the complete bytes; *crc is taken up and continued over data[0 … r->end). NULL: no CRC.
 * marks/mark_count/mark_max: record starts in data[0 … r->end), the first one at or after each multiple of
 * mark_interval bytes of this piece, never the piece's own first byte; places count from this piece's start and record
 * numbers from the first record that starts or continues at this piece's first byte. *mark_count is set; when mark_max
 * is reached the rest is left out. marks may be NULL.
 *
 * A record is at most max_record_bytes, its newline (line framing) not counted.
 * Returns 0; -EMSGSIZE: a record, complete or not, is longer (of MessagePack: will be, by a length it gives); -EINVAL:
 * not MessagePack (byte 0xc1). After an error st is unchanged. */
int framing_scan(enum framing framing, struct framing_state *st, const uint8_t *data, size_t len,
                 uint64_t max_record_bytes, struct framing_result *r, uint32_t *crc, uint32_t mark_interval,
                 struct framing_mark *marks, uint32_t *mark_count, uint32_t mark_max);

/* The length of the record at data, which starts there: with its newline for lines. 0: it is not complete in len. */
size_t framing_record_len(enum framing framing, const uint8_t *data, size_t len);

/* Skips `records` complete records from data. Returns the bytes skipped, or SIZE_MAX if there are fewer. */
size_t framing_skip(enum framing framing, const uint8_t *data, size_t len, uint64_t records);

/* The key and value of one complete record (without its newline) under key.separator (sep_len 0: no key). Kafka's
 * console producer's parse.key: key is what precedes the first separator, an empty key is a key; no separator in the
 * record: no key. For MessagePack the key is the first element of an array, its encoded bytes, and value the rest of
 * the array as encoded bytes; nil is Kafka's null: as the first element no key, as the only other one no value. */
struct framing_kv {
    const uint8_t *key; /* NULL: no key */
    size_t key_len;
    const uint8_t *value;
    size_t value_len;
    bool tombstone; /* has a key, and an empty value or nil */
};
void framing_key_value(enum framing framing, const uint8_t *record, size_t len, const char *sep, size_t sep_len,
                       struct framing_kv *kv);

/* Has each record a key, as a compacted topic wants it (Kafka's LogValidator)? The records are all complete and lie in
 * before and data, one behind the other; before is empty or a piece of the first one, which ends in data. */
bool framing_all_keyed(enum framing framing, const uint8_t *before, size_t before_len, const uint8_t *data, size_t len,
                       const char *sep, size_t sep_len);

#endif
