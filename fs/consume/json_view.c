#include "fs/consume/json_view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/base/limits.h"
#include "fs/consume/consume.h"
#include "fs/consume/json.h"
#include "fs/consume/reader.h"

/* Records' bytes from json->next on, within its run, at least one whole record. *out is malloc-ed. */
static int read_chunk(struct handle *handle, int64_t limit, uint8_t **out, size_t *out_len)
{
    struct json_view *json = handle->reader->json;
    enum framing framing = json->config.log.framing;
    int64_t run_end = json->run.base.position + json->run.len;
    *out = NULL;
    for (size_t want = LIMIT_JSON_CHUNK_BYTES;; want *= 4) {
        struct log_extent extent;
        struct err e = {0};
        size_t left = (size_t)(run_end - json->next.position);
        if (want > left)
            want = left;
        int rc = partition_extent_at(handle->pfile->part, json->next.position, limit, want, &extent, &e);
        if (rc <= 0)
            return rc < 0 ? rc : -EIO;
        bool moved = extent.position != json->next.position || extent.len < want;
        uint8_t *bytes = realloc(*out, want ? want : 1);
        if (bytes)
            *out = bytes;
        ssize_t got = bytes && !moved ? pread(extent.fd, bytes, want, extent.place) : -1;
        log_extent_release(&extent);
        if (moved)
            return -EAGAIN; /* retention or compaction came between: look again */
        if (got != (ssize_t)want)
            return bytes ? -EIO : -ENOMEM;
        if (want == left || framing_record_len(framing, bytes, want)) {
            *out_len = want;
            return 0;
        }
    }
}

/* Appends the records of a chunk to the text, advancing json->next, until about `enough` bytes of text. */
static int show_chunk(struct handle *handle, const uint8_t *bytes, size_t len, struct json_text *text, size_t enough)
{
    struct json_view *json = handle->reader->json;
    const struct log_config *config = &json->config.log;
    struct json_record record = {
        .partition = partition_index(handle->pfile->part),
        .timestamp_ms = json->run.timestamp_ms,
        .framing = config->framing,
        .separator = config->key_separator,
        .separator_len = config->key_separator_len,
    };
    for (size_t at = 0; at < len && text->len < enough;) {
        size_t record_len = framing_record_len(config->framing, bytes + at, len - at);
        if (!record_len)
            return at ? 0 : -EIO;
        record.offset = json->next.offset;
        record.bytes = bytes + at;
        record.len = record_len - (config->framing == FRAMING_LINE);
        int rc = json_append_record(text, &record);
        if (rc)
            return rc;
        at += record_len;
        json->next.offset++;
        json->next.position += (int64_t)record_len;
    }
    return 0;
}

/* Finds the run that holds json->next. 1, 0: the end, or a negative errno. */
static int find_run(struct handle *handle, int64_t limit)
{
    struct json_view *json = handle->reader->json;
    struct err e = {0};
    struct log_point start = partition_log_start(handle->pfile->part);
    if (json->next.position < start.position)
        json->next = start;
    int rc = partition_run_at(handle->pfile->part, json->next.position, limit, &json->run, &e);
    if (rc > 0 && json->run.base.position >= json->next.position)
        json->next = json->run.base;
    return rc;
}

/* Makes about `size` bytes of text, a record at least. 0 or a negative errno. Under handle's lock. */
static int generate(struct handle *handle, size_t size)
{
    struct json_view *json = handle->reader->json;
    struct json_text text = {0};
    int64_t limit = partition_high_watermark(handle->pfile->part).position;
    int rc = 0;
    topic_config(handle->pfile->topic, &json->config);
    while (text.len < size && rc == 0) {
        uint8_t *bytes = NULL;
        size_t len = 0;
        struct log_point before = json->next;
        int found = find_run(handle, limit);
        if (found <= 0) {
            rc = found;
            break;
        }
        rc = read_chunk(handle, limit, &bytes, &len);
        if (rc == 0)
            rc = show_chunk(handle, bytes, len, &text, size);
        free(bytes);
        if (rc == -EAGAIN) {
            rc = 0;
            json->next = before;
        }
    }
    free(json->text);
    json->text = text.data;
    json->text_len = text.len;
    json->text_used = 0;
    return text.len ? 0 : rc; /* what was made is shown first; the error comes again */
}

/* Hands out what was made, and keeps it to be read again. */
static int64_t take(struct json_view *json, uint8_t *out, size_t size)
{
    size_t left = json->text_len - json->text_used;
    size_t len = size < left ? size : left;
    int rc = history_append(&json->history, json->text + json->text_used, len);
    if (rc != 0)
        return rc;
    memcpy(out, json->text + json->text_used, len);
    json->text_used += len;
    return (int64_t)len;
}

/* Goes on where reading stands, until `out` is full or there is no more. Returns the count, or the negative errno of
 * what failed before there was anything; behind something it comes again with the next read. Under handle's lock. */
static int64_t read_on(struct handle *handle, uint8_t *out, size_t size)
{
    struct json_view *json = handle->reader->json;
    size_t got = 0;
    while (got < size) {
        int64_t rc = 0;
        if (json->text_used == json->text_len)
            rc = generate(handle, LIMIT_JSON_TEXT_BYTES);
        if (rc == 0 && json->text_len == json->text_used)
            break;
        if (rc == 0)
            rc = take(json, out + got, size - got);
        if (rc < 0)
            return got > 0 ? (int64_t)got : rc;
        got += (size_t)rc;
    }
    return (int64_t)got;
}

/* What was read before, and on from there. Under handle's lock. */
static int64_t read_at(struct handle *handle, int64_t pos, uint8_t *out, size_t size)
{
    int64_t got = history_read(&handle->reader->json->history, pos, out, size);
    if (got < 0 || (size_t)got == size)
        return got;
    int64_t more = read_on(handle, out + got, size - (size_t)got);
    return more < 0 && got > 0 ? got : got + more;
}

void json_view_read(fuse_req_t req, struct handle *handle, size_t size, int64_t pos, uint64_t owner)
{
    uint8_t *buffer = consume_buffer();
    int64_t got = partition_state(handle->pfile->part);
    if (got == 0 && (owner == 0 || buffer == NULL))
        got = owner == 0 ? -EINVAL : -ENOMEM;
    if (size > LIMIT_REQUEST_BYTES)
        size = LIMIT_REQUEST_BYTES;
    if (got == 0) {
        pthread_mutex_lock(&handle->lock);
        got = read_at(handle, pos, buffer, size);
        pthread_mutex_unlock(&handle->lock);
    }
    consume_answer(req, handle, pos, buffer, got);
}
