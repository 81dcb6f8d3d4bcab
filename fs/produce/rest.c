#include "fs/produce/rest.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/produce/last_line.h"
#include "fs/produce/producer.h"

enum {
    REST_FIRST_BYTES = 256,
    REST_KEEP_BYTES = 64 << 10, /* a larger buffer is given back when the rest is gone */
};

static int grow(struct producer *producer, size_t len)
{
    size_t capacity = producer->rest_capacity > 0 ? producer->rest_capacity : REST_FIRST_BYTES;
    uint8_t *rest;

    while (capacity < len) {
        capacity *= 2;
    }
    pthread_mutex_lock(&producer->lock);
    rest = realloc(producer->rest, capacity);
    if (rest != NULL) {
        producer->rest = rest;
        producer->rest_capacity = capacity;
    }
    pthread_mutex_unlock(&producer->lock);
    return rest != NULL ? 0 : -ENOMEM;
}

int rest_reserve(struct handle *handle, size_t len)
{
    struct producer *producer = handle->producer;
    size_t needed = producer->rest_len + len + 1;
    int rc = 0;

    if (len == 0) {
        return 0;
    }
    if (needed > producer->rest_capacity) {
        rc = grow(producer, needed);
    }
    return rc == 0 ? last_line_reserve(handle) : rc;
}

/* What lies at `from` in the buffer, len bytes, is the rest. Under the lock. */
static void replace(struct producer *producer, size_t from, size_t len, const struct framing_state *scan)
{
    if (from > 0 && len > 0) {
        memmove(producer->rest, producer->rest + from, len);
    }
    producer->rest_len = len;
    producer->scan = *scan;
    if (len == 0 && producer->rest_capacity > REST_KEEP_BYTES) {
        free(producer->rest);
        producer->rest = NULL;
        producer->rest_capacity = 0;
    }
}

static void put(struct handle *handle, size_t at, const uint8_t *data, size_t len, const struct framing_state *scan)
{
    struct producer *producer = handle->producer;

    if (producer->rest_len == 0 && len == 0) {
        producer->scan = *scan;
        return;
    }
    pthread_mutex_lock(&producer->lock);
    if (len > 0) {
        assert(at + len < producer->rest_capacity);
        memcpy(producer->rest + at, data, len);
    }
    replace(producer, 0, at + len, scan);
    pthread_mutex_unlock(&producer->lock);
}

void rest_set(struct handle *handle, const uint8_t *data, size_t len, const struct framing_state *scan)
{
    put(handle, 0, data, len, scan);
}

void rest_append(struct handle *handle, const uint8_t *data, size_t len, const struct framing_state *scan)
{
    put(handle, handle->producer->rest_len, data, len, scan);
}

void rest_stage(struct handle *handle, const uint8_t *data, size_t len)
{
    struct producer *producer = handle->producer;

    if (len > 0) { /* nobody but who has the turn looks behind the rest */
        assert(producer->rest_len + len < producer->rest_capacity);
        memcpy(producer->rest + producer->rest_len, data, len);
    }
}

void rest_set_staged(struct handle *handle, size_t len, const struct framing_state *scan)
{
    struct producer *producer = handle->producer;

    pthread_mutex_lock(&producer->lock);
    replace(producer, producer->rest_len, len, scan);
    pthread_mutex_unlock(&producer->lock);
}

void rest_drop(struct handle *handle)
{
    struct framing_state between = {0};

    put(handle, 0, NULL, 0, &between);
}

uint8_t *rest_take(struct handle *handle)
{
    struct producer *producer = handle->producer;
    uint8_t *rest = producer->rest;

    pthread_mutex_lock(&producer->lock);
    producer->rest = NULL;
    producer->rest_len = producer->rest_capacity = 0;
    memset(&producer->scan, 0, sizeof producer->scan);
    pthread_mutex_unlock(&producer->lock);
    return rest;
}

void rest_fence(struct handle *handle)
{
    struct producer *producer = handle->producer;
    bool waits;

    pthread_mutex_lock(&producer->lock);
    waits = producer->rest_len > 0;
    pthread_mutex_unlock(&producer->lock);
    if (waits) {
        fence_raise(handle->pfile->fence, &producer->post);
    }
}
