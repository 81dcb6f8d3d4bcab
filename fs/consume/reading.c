#include "fs/consume/reading.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fs/base/limits.h"

/* What a thread keeps at hand. */
struct spare {
    struct reading *reading;
    uint8_t *buffer;
};

static pthread_key_t spare_key; /* for its end */
static pthread_once_t spare_once = PTHREAD_ONCE_INIT;
static _Thread_local struct spare *mine;

static void spare_free(void *arg)
{
    struct spare *spare = arg;
    mine = NULL;
    free(spare->reading);
    free(spare->buffer);
    free(spare);
}

static void make_spare_key(void)
{
    pthread_key_create(&spare_key, spare_free);
}

static struct spare *spare_get(void)
{
    if (mine == NULL) {
        pthread_once(&spare_once, make_spare_key);
        mine = calloc(1, sizeof *mine);
        if (mine != NULL)
            pthread_setspecific(spare_key, mine);
    }
    return mine;
}

uint8_t *reading_buffer(void)
{
    struct spare *spare = spare_get();
    if (spare != NULL && spare->buffer == NULL)
        spare->buffer = malloc(LIMIT_REQUEST_BYTES);
    return spare != NULL ? spare->buffer : NULL;
}

void reading_reply(fuse_req_t req, struct handle *handle, int64_t pos, const uint8_t *bytes, int64_t got)
{
    if (got < 0) {
        fuse_reply_err(req, (int)-got);
        return;
    }
    rereads_given(&handle->rereads, fuse_req_ctx(req)->pid, pos, (size_t)got);
    fuse_reply_buf(req, (const char *)bytes, (size_t)got);
}

struct reading *reading_new(fuse_req_t req, struct handle *handle, size_t size, int64_t pos,
                            const struct asking_kind *kind)
{
    struct spare *spare = spare_get();
    struct reading *reading = spare != NULL ? spare->reading : NULL;
    if (reading != NULL)
        spare->reading = NULL;
    else
        reading = calloc(1, sizeof *reading);
    if (reading == NULL || reading_buffer() == NULL) {
        free(reading);
        fuse_reply_err(req, ENOMEM);
        return NULL;
    }
    struct asking *asking = &reading->asking;
    asking->req = req;
    asking->session = handle->session;
    asking->kind = kind;
    asking->part = asking->op.part = handle->pfile != NULL ? handle->pfile->part : NULL;
    asking->op.timeout_ms = LIMIT_ANSWER_MS;
    asking->op.more = false;
    asking->parked = false;
    reading->handle = handle;
    reading->size = size < LIMIT_REQUEST_BYTES ? size : LIMIT_REQUEST_BYTES;
    reading->pos = pos;
    reading->got = 0;
    reading->own = NULL;
    reading->nonblock = reading->spliced = reading->counted = false;
    reading->ph = NULL;
    return reading;
}

uint8_t *reading_bytes(const struct reading *reading)
{
    return reading->own != NULL ? reading->own : reading_buffer();
}

int reading_keep(struct reading *reading)
{
    if (reading->own != NULL || reading->got <= 0)
        return 0;
    const uint8_t *got = reading_buffer();
    uint8_t *own = malloc(reading->size);
    if (own == NULL)
        return -ENOMEM;
    memcpy(own, got, (size_t)reading->got);
    reading->own = own;
    return 0;
}

void reading_parked(struct asking *asking)
{
    struct reading *reading = reading_of(asking);
    handle_ref(reading->handle);
    if (reading_keep(reading) != 0)
        reading->got = -ENOMEM;
}

static void reply_spliced(struct reading *reading)
{
    const struct log_extent *extent = &reading->asking.op.extent;
    struct fuse_bufvec data = FUSE_BUFVEC_INIT(extent->len);
    data.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
    data.buf[0].fd = extent->fd;
    data.buf[0].pos = extent->place;
    fuse_req_t req = reading->asking.req;
    rereads_given(&reading->handle->rereads, fuse_req_ctx(req)->pid, reading->pos, extent->len);
    fuse_reply_data(req, &data, 0);
    partition_read_release(&reading->asking.op);
}

void reading_answer(struct asking *asking)
{
    struct reading *reading = reading_of(asking);
    if (reading->spliced)
        reply_spliced(reading);
    else
        reading_reply(asking->req, reading->handle, reading->pos, reading_bytes(reading), reading->got);
}

void reading_free(struct asking *asking)
{
    struct reading *reading = reading_of(asking);
    struct spare *spare = spare_get();
    free(reading->own);
    if (asking->parked)
        handle_unref(reading->handle);
    if (spare != NULL && spare->reading == NULL)
        spare->reading = reading;
    else
        free(reading);
}
