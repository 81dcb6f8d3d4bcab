#include "fs/produce/rest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/produce/producer.h"

enum { REST_KEEP_BYTES = 64 << 10 }; /* a larger buffer is given back when the rest is gone */

static int grow(struct producer *producer, size_t len)
{
    if (len <= producer->rest_capacity)
        return 0;
    size_t capacity = producer->rest_capacity ? producer->rest_capacity : 256;
    while (capacity < len)
        capacity *= 2;
    uint8_t *rest = realloc(producer->rest, capacity);
    if (!rest)
        return -ENOMEM;
    producer->rest = rest;
    producer->rest_capacity = capacity;
    return 0;
}

int rest_reserve(struct handle *handle, size_t len)
{
    if (len <= handle->producer->rest_capacity) /* only the one write(2) changes it */
        return 0;
    pthread_mutex_lock(&handle->producer->lock);
    int rc = grow(handle->producer, len);
    pthread_mutex_unlock(&handle->producer->lock);
    return rc;
}

static int put(struct handle *handle, size_t at, const uint8_t *data, size_t len, const struct framing_state *scan)
{
    struct producer *producer = handle->producer;
    if (!producer->rest_len && !len) {
        producer->scan = *scan;
        return 0;
    }
    pthread_mutex_lock(&producer->lock);
    int rc = grow(producer, at + len);
    if (rc == 0) {
        if (len)
            memcpy(producer->rest + at, data, len);
        producer->rest_len = at + len;
        producer->scan = *scan; /* FLUSH looks at the length only */
        if (!producer->rest_len && producer->rest_capacity > REST_KEEP_BYTES) {
            free(producer->rest);
            producer->rest = NULL;
            producer->rest_capacity = 0;
        }
    }
    pthread_mutex_unlock(&producer->lock);
    return rc;
}

int rest_set(struct handle *handle, const uint8_t *data, size_t len, const struct framing_state *scan)
{
    return put(handle, 0, data, len, scan);
}

int rest_append(struct handle *handle, const uint8_t *data, size_t len, const struct framing_state *scan)
{
    return put(handle, handle->producer->rest_len, data, len, scan);
}

void rest_drop(struct handle *handle)
{
    struct framing_state between = {0};
    put(handle, 0, NULL, 0, &between);
}

void rest_fence(struct handle *handle)
{
    struct producer *producer = handle->producer;
    pthread_mutex_lock(&producer->lock);
    bool waits = producer->rest_len > 0;
    pthread_mutex_unlock(&producer->lock);
    if (waits)
        fence_raise(handle->pfile->fence, &producer->post);
}
