/* fs/consume/json.c: the line around key and value. What the parts look like is json_text.c's and json_msgpack.c's;
 * here is the order of the members, and that a line is whole or not there. */
#include "fs/consume/json.h"

#include <errno.h>

#include "fs/consume/json_msgpack.h"
#include "fs/consume/json_text.h"

/* A key or a value: bytes, and whether the JSON shows all of them. */
struct part {
    const uint8_t *bytes; /* NULL: there is none */
    size_t len;
    bool clean;
};

/* What is not a whole MessagePack object shows as null; its bytes follow as base64. */
static void put_part(struct json_writer *w, enum framing framing, struct part *part)
{
    size_t start = w->text->len;

    part->clean = true;
    if (part->bytes == NULL) {
        json_text_puts(w, "null");
    } else if (framing == FRAMING_LINE) {
        part->clean = json_text_put_string(w, part->bytes, part->len);
    } else if (!json_msgpack_put(w, part->bytes, part->len, &part->clean) && w->rc == 0) {
        w->text->len = start;
        json_text_puts(w, "null");
        part->clean = false;
    }
}

static void put_exact(struct json_writer *w, const char *name, const struct part *part)
{
    if (!part->clean) {
        json_text_puts(w, name);
        json_text_put_base64(w, part->bytes, part->len);
    }
}

/* key.bytes stays NULL when there is none. */
static void split(const struct json_record *record, struct part *key, struct part *value)
{
    value->bytes = record->bytes != NULL ? record->bytes : (const uint8_t *)"";
    value->len = record->len;
    if (record->framing == FRAMING_LINE && record->separator_len > 0) {
        struct framing_kv kv;

        framing_key_value(FRAMING_LINE, value->bytes, value->len, record->separator, record->separator_len, &kv);
        *key = (struct part){.bytes = kv.key, .len = kv.key_len};
        *value = (struct part){.bytes = kv.value, .len = kv.value_len};
    }
}

int json_append_record(struct json_text *text, const struct json_record *record)
{
    struct json_writer w = {.text = text};
    struct part key = {0};
    struct part value = {0};
    size_t start = text->len;

    split(record, &key, &value);
    json_text_puts(&w, "{\"partition\":");
    json_text_put_int(&w, record->partition);
    json_text_puts(&w, ",\"offset\":");
    json_text_put_int(&w, record->offset);
    json_text_puts(&w, ",\"timestamp\":");
    json_text_put_int(&w, record->timestamp_ms);
    json_text_puts(&w, ",\"key\":");
    put_part(&w, record->framing, &key);
    json_text_puts(&w, ",\"value\":");
    put_part(&w, record->framing, &value);
    put_exact(&w, ",\"key_base64\":", &key);
    put_exact(&w, ",\"value_base64\":", &value);
    json_text_puts(&w, "}\n");
    if (w.rc < 0) {
        text->len = start;
    }
    return w.rc;
}
