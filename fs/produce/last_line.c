#include "fs/produce/last_line.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/crc32c.h"
#include "engine/base/container.h"
#include "fs/produce/accumulator.h"
#include "fs/produce/any.h"
#include "fs/produce/producer.h"
#include "fs/produce/rest.h"
#include "fs/produce/sync.h"

/* The last line of an open file on its way to the log. */
struct last_line {
    struct append_op append;
    struct accumulator_waiter waiter;
    struct handle *handle; /* referenced */
    struct pfile *pfile;
    struct last_line *prev, *next; /* last_lines */
    bool pledged;                  /* linger.ms: topic_pledge() */
    uint8_t *bytes;                /* that were the open file's rest */
    size_t len;
};

/* Those under way. */
static struct {
    pthread_mutex_t lock;
    struct last_line *head;
} last_lines = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void last_line_over(struct last_line *last, int rc)
{
    if (rc)
        log_line(LOG_ERR, "%s: a last line of %zu bytes %s: %s", partition_name(last->pfile->part), last->len,
                 rc == -ETIMEDOUT ? "was appended, but not acknowledged" : "could not be appended",
                 rc == -EAGAIN ? "the framing was changed" : strerror(-rc));
    pthread_mutex_lock(&last_lines.lock);
    if (last->prev)
        last->prev->next = last->next;
    else
        last_lines.head = last->next;
    if (last->next)
        last->next->prev = last->prev;
    pthread_mutex_unlock(&last_lines.lock);
    if (last->pledged)
        topic_unpledge(last->handle->pfile->topic);
    sync_last_line_over(last->handle);
    handle_unref(last->handle);
    free(last->bytes);
    free(last);
}

static void last_line_done(struct append_op *append, int rc)
{
    last_line_over(CONTAINER_OF(append, struct last_line, append), rc);
}

static void last_line_batch(struct last_line *last, struct iovec *iov, struct append_batch *batch)
{
    struct clock *clock = node_clock(last->handle->session->node);
    *iov = (struct iovec){last->bytes, last->len};
    append_batch_scan(batch, FRAMING_LINE, iov, clock->wall_ms(clock), 0, NULL, 0);
}

static void last_line_room(struct accumulator_waiter *waiter)
{
    struct last_line *last = CONTAINER_OF(waiter, struct last_line, waiter);
    struct iovec iov;
    struct append_batch batch;
    last_line_batch(last, &iov, &batch);
    int rc = accumulator_add(last->handle->session, last->pfile, last->handle, &batch);
    if (rc == 0) /* a look after the close is to find it */
        accumulator_send(last->handle->session, last->pfile);
    last_line_over(last, rc);
}

int last_line_reserve(struct handle *handle)
{
    struct producer *producer = handle->producer;
    if (producer->last_line == NULL)
        producer->last_line = calloc(1, sizeof *producer->last_line);
    return producer->last_line != NULL ? 0 : -ENOMEM;
}

void last_line_append(struct handle *handle)
{
    struct producer *producer = handle->producer;
    const struct options *options = handle->session->options;
    struct last_line *last = producer->last_line;
    bool lacks_key = any_lacks_key(handle, (const uint8_t *)"\n", 1); /* the rest, and what ends it */
    producer->last_line = NULL;
    last->handle = handle_ref(handle);
    last->pfile = any_target_of(handle, producer->rest, producer->rest_len);
    last->len = producer->rest_len + 1;
    last->bytes = rest_take(handle);
    last->bytes[last->len - 1] = '\n';
    last->append.done = last_line_done;
    last->waiter.len = last->len;
    last->waiter.room = last_line_room;
    if (!last->pfile) {
        log_line(LOG_ERR, "%s: no memory for a last line", topic_name(handle->pfile->topic));
        handle_unref(handle);
        free(last->bytes);
        free(last);
        return;
    }
    pthread_mutex_lock(&last_lines.lock);
    last->next = last_lines.head;
    if (last->next)
        last->next->prev = last;
    last_lines.head = last;
    pthread_mutex_unlock(&last_lines.lock);
    sync_last_line_begun(handle);
    if (options->linger_ms > 0) {
        last->pledged = topic_pledge(handle->pfile->topic, FRAMING_LINE);
        if (!last->pledged)
            last_line_over(last, -EAGAIN);
        else if (lacks_key)
            last_line_over(last, -EINVAL);
        else if (accumulators_reserve(handle->session->accumulators, &last->waiter))
            last_line_room(&last->waiter);
        return;
    }
    struct iovec iov;
    last->append.part = last->pfile->part;
    last->append.acks = options->acks;
    last->append.timeout_ms = options->delivery_timeout_ms;
    last_line_batch(last, &iov, &last->append.batch);
    int rc = partition_append_submit(&last->append, NULL);
    if (rc)
        last_line_over(last, rc < 0 ? rc : 0);
}

void last_lines_end(struct session *session)
{
    for (;;) {
        pthread_mutex_lock(&last_lines.lock);
        struct last_line *last = last_lines.head;
        bool lingers = session->options->linger_ms > 0;
        bool taken = last && (lingers ? accumulators_cancel(session->accumulators, &last->waiter)
                                      : partition_append_cancel(&last->append));
        bool forgotten = last && !lingers && !taken && partition_append_forget(&last->append);
        pthread_mutex_unlock(&last_lines.lock);
        if (!last)
            return;
        if (taken || forgotten)
            last_line_over(last, taken ? -EROFS : -ETIMEDOUT);
        else
            executor_pause(node_executor(session->node), 1); /* it is being appended */
    }
}
