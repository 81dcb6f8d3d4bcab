#include "fs/consume/reader.h"

#include <errno.h>
#include <stdlib.h>

#include "fs/consume/group_stream.h"

int reader_open(struct handle *handle)
{
    struct reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL)
        return -ENOMEM;
    handle->reader = reader;
    if (handle->vnode->key.kind == VNODE_FOLLOW)
        passed_open(handle);
    if (handle->vnode->key.kind != VNODE_JSON)
        return 0;
    reader->json = calloc(1, sizeof *reader->json);
    if (reader->json == NULL)
        return -ENOMEM;
    reader->json->next =
        vnode_addressed(handle->vnode) ? handle->vnode->start : partition_log_start(handle->pfile->part);
    return 0;
}

void reader_free(struct handle *handle)
{
    struct reader *reader = handle->reader;
    if (reader == NULL)
        return;
    posmap_free(&reader->map);
    group_stream_free(reader->group);
    if (reader->poll_handle != NULL)
        fuse_pollhandle_destroy(reader->poll_handle);
    if (reader->json != NULL) {
        history_free(&reader->json->history);
        free(reader->json->text);
        free(reader->json);
    }
    free(reader);
}

int64_t reader_position(struct handle *handle, int64_t pos)
{
    int64_t base = vnode_addressed(handle->vnode) ? handle->vnode->start.position : 0;
    bool known;
    pthread_mutex_lock(&handle->lock);
    int64_t at = base + posmap_translate(&handle->reader->map, pos, &known);
    pthread_mutex_unlock(&handle->lock);
    return at;
}
