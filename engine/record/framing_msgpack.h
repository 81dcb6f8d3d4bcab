/* engine/record/framing_msgpack.h: where MessagePack objects end. Only framing.c includes this. */
#ifndef LOGMNT_ENGINE_RECORD_FRAMING_MSGPACK_H
#define LOGMNT_ENGINE_RECORD_FRAMING_MSGPACK_H

#include "engine/record/framing.h"

/* Where the next mark is due, and those that were set. */
struct framing_marker {
    uint32_t interval;
    uint64_t next; /* the first record start at or behind this place is marked; UINT64_MAX: no more */
    struct framing_mark *marks;
    uint32_t count;
    uint32_t max;
};

static inline void framing_marker_add(struct framing_marker *marker, uint32_t record, size_t place)
{
    marker->marks[marker->count++] = (struct framing_mark){record, (uint32_t)place};
    marker->next = marker->count < marker->max ? (place / marker->interval + 1) * marker->interval : UINT64_MAX;
}

/* As framing_scan(), but for the CRC. */
int framing_msgpack_scan(struct framing_state *st, const uint8_t *data, size_t len, uint64_t max_record_bytes,
                         struct framing_result *r, struct framing_marker *marker);
/* As framing_record_len(). */
size_t framing_msgpack_record_len(const uint8_t *data, size_t len);
/* As framing_key_value(); kv holds "no key, all value" on entry and keeps it where there is none. */
void framing_msgpack_key_value(const uint8_t *record, size_t len, struct framing_kv *kv);
/* As framing_all_keyed(). */
bool framing_msgpack_all_keyed(const uint8_t *before, size_t before_len, const uint8_t *data, size_t len);

#endif
