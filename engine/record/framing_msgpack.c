/* engine/record/framing_msgpack.c: MessagePack without a stack.
 *
 * All that is needed to find where an object ends is how many objects are still to come: each one read takes one off,
 * an array or a map adds its elements. A body (a string, a number) is skipped, not looked at. So a million nested
 * arrays cost one counter, and every byte is touched at most once. The byte 0xc1 is in no object: -EINVAL. As every
 * object still to come has at least a byte, a length that cannot fit is refused when its head is read, not when its
 * bytes have come: -EMSGSIZE. */
#include "engine/record/framing_msgpack.h"

#include <errno.h>
#include <string.h>

/* What a type byte says. */
struct shape {
    uint8_t len_bytes; /* of a big-endian length behind it: 0, 1, 2 or 4 */
    uint8_t fixed;     /* bytes of body, beside those the length says */
    uint8_t each;      /* what the length counts: 0: body bytes; 1, 2: objects an element */
    uint8_t objects;   /* of a fixarray or fixmap */
};

static struct shape shape_of(uint8_t type)
{
    if (type <= 0x7f || type >= 0xe0) {
        return (struct shape){0}; /* fixint */
    }
    if (type <= 0x8f) {
        return (struct shape){.objects = (uint8_t)((type & 0x0f) * 2)}; /* fixmap */
    }
    if (type <= 0x9f) {
        return (struct shape){.objects = type & 0x0f}; /* fixarray */
    }
    if (type <= 0xbf) {
        return (struct shape){.fixed = type & 0x1f}; /* fixstr */
    }
    switch (type) {
    case 0xc4: /* bin 8 */
    case 0xd9: /* str 8 */
        return (struct shape){.len_bytes = 1};
    case 0xc5:
    case 0xda:
        return (struct shape){.len_bytes = 2};
    case 0xc6:
    case 0xdb:
        return (struct shape){.len_bytes = 4};
    case 0xc7: /* ext 8, 16, 32: a type byte precedes the body */
        return (struct shape){.len_bytes = 1, .fixed = 1};
    case 0xc8:
        return (struct shape){.len_bytes = 2, .fixed = 1};
    case 0xc9:
        return (struct shape){.len_bytes = 4, .fixed = 1};
    case 0xcc: /* uint 8, int 8 */
    case 0xd0:
        return (struct shape){.fixed = 1};
    case 0xcd:
    case 0xd1:
        return (struct shape){.fixed = 2};
    case 0xca: /* float 32 */
    case 0xce:
    case 0xd2:
        return (struct shape){.fixed = 4};
    case 0xcb: /* float 64 */
    case 0xcf:
    case 0xd3:
        return (struct shape){.fixed = 8};
    case 0xd4: /* fixext 1, 2, 4, 8, 16, each with its type byte */
        return (struct shape){.fixed = 2};
    case 0xd5:
        return (struct shape){.fixed = 3};
    case 0xd6:
        return (struct shape){.fixed = 5};
    case 0xd7:
        return (struct shape){.fixed = 9};
    case 0xd8:
        return (struct shape){.fixed = 17};
    case 0xdc: /* array 16, 32 */
        return (struct shape){.len_bytes = 2, .each = 1};
    case 0xdd:
        return (struct shape){.len_bytes = 4, .each = 1};
    case 0xde: /* map 16, 32 */
        return (struct shape){.len_bytes = 2, .each = 2};
    case 0xdf:
        return (struct shape){.len_bytes = 4, .each = 2};
    default: /* nil, false, true */
        return (struct shape){0};
    }
}

static uint64_t big_endian(const uint8_t *at, uint8_t len)
{
    uint64_t v = 0;

    while (len-- > 0) {
        v = v << 8 | *at++;
    }
    return v;
}

/* Takes one complete head up into the counters. */
static void take_head(struct framing_state *st, const uint8_t *head, struct shape shape)
{
    uint64_t n = big_endian(head + 1, shape.len_bytes);

    st->objects += shape.objects + n * shape.each;
    st->objects--;
    st->skip = shape.fixed + (shape.each == 0 ? n : 0);
}

/* Reads from data to the end of the current record or of data; st->objects > 0 on entry. Returns the bytes taken, or a
 * negative errno. `room` is what the record may still grow by. */
static int64_t scan_record(struct framing_state *st, const uint8_t *data, size_t len, uint64_t room)
{
    size_t at = 0;

    for (;;) {
        struct shape shape;
        const uint8_t *head;

        if (st->skip > 0) {
            uint64_t part = st->skip < len - at ? st->skip : len - at;

            at += part;
            st->skip -= part;
        }
        if (at == len || st->objects == 0) {
            return (int64_t)at;
        }
        head = data + at;
        if (st->head_len > 0) {
            /* The head came in pieces: it is put together in st. */
            head = st->head;
        } else if (*head == 0xc1) {
            return -EINVAL;
        }
        shape = shape_of(*head);
        if (head == st->head || len - at < 1U + shape.len_bytes) {
            while (at < len && st->head_len < 1 + shape.len_bytes) {
                st->head[st->head_len++] = data[at++];
            }
            if (st->head_len < 1 + shape.len_bytes) {
                return (int64_t)at;
            }
            head = st->head;
            st->head_len = 0;
        } else {
            at += 1U + shape.len_bytes;
        }
        take_head(st, head, shape);
        if (at > room || st->skip > room - at || st->objects > room - at - st->skip) {
            return -EMSGSIZE;
        }
    }
}

/* Between records the next byte begins one. */
static bool is_between(const struct framing_state *st)
{
    return st->partial_bytes == 0;
}

int framing_msgpack_scan(struct framing_state *st, const uint8_t *data, size_t len, uint64_t max_record_bytes,
                         struct framing_result *r, struct framing_marker *marker)
{
    struct framing_state now = *st;
    size_t at = 0;

    while (at < len) {
        int64_t taken;

        if (is_between(&now)) {
            now.objects = 1;
        }
        if (now.partial_bytes > max_record_bytes) {
            return -EMSGSIZE;
        }
        taken = scan_record(&now, data + at, len - at, max_record_bytes - now.partial_bytes);
        if (taken < 0) {
            return (int)taken;
        }
        now.partial_bytes += (uint64_t)taken;
        if (now.partial_bytes > max_record_bytes) {
            return -EMSGSIZE;
        }
        if (now.objects == 0 && now.skip == 0) {
            if (at >= marker->next) {
                framing_marker_add(marker, r->records, at);
            }
            r->records++;
            now.partial_bytes = 0;
            r->end = at + (size_t)taken;
        }
        at += (size_t)taken;
    }
    *st = now;
    return 0;
}

size_t framing_msgpack_record_len(const uint8_t *data, size_t len)
{
    struct framing_state st = {.objects = 1};
    int64_t taken = len > 0 ? scan_record(&st, data, len, UINT64_MAX) : 0;

    return taken > 0 && st.objects == 0 && st.skip == 0 ? (size_t)taken : 0;
}

/* An array's head and the byte behind it, at the most. */
enum { ARRAY_HEAD_BYTES = 1 + 4 + 1, NIL = 0xc0 };

/* The bytes of an array's head, and its elements; 0: data does not begin with the whole head of an array. */
static size_t array_head(const uint8_t *data, size_t len, uint64_t *elements)
{
    struct framing_state st = {.objects = 1};
    struct shape shape;

    if (len == 0 || ((data[0] & 0xf0) != 0x90 && data[0] != 0xdc && data[0] != 0xdd)) {
        return 0;
    }
    shape = shape_of(data[0]);
    if (len < 1U + shape.len_bytes) {
        return 0;
    }
    take_head(&st, data, shape);
    *elements = st.objects;
    return 1U + shape.len_bytes;
}

/* Of a record whose first ARRAY_HEAD_BYTES, or all of which, are there. */
static bool has_key(const uint8_t *record, size_t len)
{
    uint64_t elements = 0;
    size_t head_len = array_head(record, len, &elements);

    return head_len > 0 && elements > 0 && head_len < len && record[head_len] != NIL;
}

void framing_msgpack_key_value(const uint8_t *record, size_t len, struct framing_kv *kv)
{
    uint64_t elements = 0;
    size_t head_len = array_head(record, len, &elements);
    size_t key_len = has_key(record, len) ? framing_msgpack_record_len(record + head_len, len - head_len) : 0;

    if (key_len == 0) {
        return;
    }
    kv->key = record + head_len;
    kv->key_len = key_len;
    kv->value = kv->key + key_len;
    kv->value_len = len - head_len - key_len;
    kv->tombstone = elements == 1 || (elements == 2 && kv->value_len == 1 && kv->value[0] == NIL);
}

bool framing_msgpack_all_keyed(const uint8_t *before, size_t before_len, const uint8_t *data, size_t len)
{
    size_t at = 0;

    if (before_len > 0) {
        struct framing_state st = {.objects = 1};
        uint8_t head[ARRAY_HEAD_BYTES];
        size_t head_len = before_len < sizeof head ? before_len : sizeof head;
        size_t more = len < sizeof head - head_len ? len : sizeof head - head_len;
        int64_t taken;

        memcpy(head, before, head_len);
        memcpy(head + head_len, data, more);
        if (!has_key(head, head_len + more) || scan_record(&st, before, before_len, UINT64_MAX) < 0) {
            return false;
        }
        taken = scan_record(&st, data, len, UINT64_MAX);
        if (taken <= 0) {
            return false;
        }
        at = (size_t)taken;
    }
    while (at < len) {
        size_t record_len = framing_msgpack_record_len(data + at, len - at);

        if (record_len == 0 || !has_key(data + at, record_len)) {
            return false;
        }
        at += record_len;
    }
    return true;
}
