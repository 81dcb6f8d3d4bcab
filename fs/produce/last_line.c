#include "fs/produce/last_line.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/container.h"
#include "fs/produce/any.h"
#include "fs/produce/kept.h"
#include "fs/produce/producer.h"
#include "fs/produce/rest.h"
#include "fs/produce/sync.h"

/* The last line of an open file on its way to the log. */
struct last_line {
    struct kept kept;
    struct sync_drain drain;
    struct handle *handle;         /* referenced */
    struct last_line *prev, *next; /* last_lines */
    bool in_flight;                /* topic_begin_flight() */
    uint8_t *bytes;                /* that were the open file's rest */
    size_t len;
};

/* Those under way. */
static struct {
    pthread_mutex_t lock;
    struct last_line *head;
} last_lines = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Where it goes, or would. */
static const char *last_line_goal(const struct last_line *last)
{
    struct partition *part = last->kept.append.part;
    return part != NULL ? partition_name(part) : topic_name(last->handle->pfile->topic);
}

static void last_line_over(struct kept *kept, int rc)
{
    struct last_line *last = CONTAINER_OF(kept, struct last_line, kept);
    if (rc != 0) {
        log_line(LOG_ERR, "%s: a last line of %zu bytes %s: %s", last_line_goal(last), last->len,
                 rc == -ETIMEDOUT ? "was appended, but not acknowledged" : "could not be appended",
                 rc == -EAGAIN ? "the framing was changed" : strerror(-rc));
    }
    pthread_mutex_lock(&last_lines.lock);
    if (last->prev != NULL)
        last->prev->next = last->next;
    else
        last_lines.head = last->next;
    if (last->next != NULL)
        last->next->prev = last->prev;
    pthread_mutex_unlock(&last_lines.lock);
    if (last->in_flight)
        topic_end_flight(last->handle->pfile->topic);
    sync_last_line_over(last->handle);
    handle_unref(last->handle);
    free(last->bytes);
    free(last);
}

/* Its partition, which stays. NULL: no memory. */
static struct partition *last_line_part(struct last_line *last)
{
    struct append_op *append = &last->kept.append;
    struct pfile *pfile = append->part == NULL ? any_target_of(last->handle, last->bytes, last->len - 1) : NULL;
    if (pfile != NULL) {
        pthread_mutex_lock(&last_lines.lock);
        append->part = pfile->part;
        pthread_mutex_unlock(&last_lines.lock);
    }
    return append->part;
}

static int last_line_submit(struct kept *kept)
{
    struct last_line *last = CONTAINER_OF(kept, struct last_line, kept);
    const struct options *options = last->handle->session->options;
    struct clock *clock = node_clock(last->handle->session->node);
    struct iovec iov = {last->bytes, last->len};
    if (last_line_part(last) == NULL)
        return -ENOMEM;
    kept->append.acks = options->acks;
    kept->append.timeout_ms = options->delivery_timeout_ms;
    append_batch_scan(&kept->append.batch, FRAMING_LINE, &iov, clock->wall_ms(clock), 0, NULL, 0);
    return partition_append_submit(&kept->append, NULL);
}

/* What lingered in front of it is over: it comes from the end of an append, and this is another one. */
static void lingering_over(struct sync_drain *drain)
{
    kept_submit_soon(&CONTAINER_OF(drain, struct last_line, drain)->kept);
}

int last_line_reserve(struct handle *handle)
{
    struct producer *producer = handle->producer;
    if (producer->last_line == NULL)
        producer->last_line = calloc(1, sizeof *producer->last_line);
    return producer->last_line != NULL ? 0 : -ENOMEM;
}

/* It is under way. */
static void last_line_begin(struct last_line *last)
{
    pthread_mutex_lock(&last_lines.lock);
    last->next = last_lines.head;
    if (last->next != NULL)
        last->next->prev = last;
    last_lines.head = last;
    pthread_mutex_unlock(&last_lines.lock);
    sync_last_line_begun(last->handle);
}

void last_line_append(struct handle *handle)
{
    struct producer *producer = handle->producer;
    struct last_line *last = producer->last_line;
    producer->last_line = NULL;
    last->handle = handle_ref(handle);
    last->len = producer->rest_len + 1;
    last->bytes = rest_take(handle);
    last->bytes[last->len - 1] = '\n';
    last->in_flight = topic_begin_flight(handle->pfile->topic, FRAMING_LINE);
    last->drain.over = lingering_over;
    last->kept.patience_ms = INT64_MAX;
    last->kept.submit = last_line_submit;
    last->kept.done = last_line_over;
    kept_init(&last->kept, handle->session);
    last_line_begin(last);
    if (!last->in_flight) {
        last_line_over(&last->kept, -EAGAIN);
    } else if (!sync_drain(handle, &last->drain)) {
        int rc = kept_submit(&last->kept);
        if (rc != 0)
            last_line_over(&last->kept, rc < 0 ? rc : 0);
    }
}

void last_lines_end(struct session *session)
{
    for (;;) {
        pthread_mutex_lock(&last_lines.lock);
        struct last_line *last = last_lines.head;
        int rc = last != NULL ? kept_give_up(&last->kept) : 0;
        pthread_mutex_unlock(&last_lines.lock);
        if (last == NULL)
            return;
        if (rc < 0)
            last_line_over(&last->kept, rc);
        else
            executor_pause(node_executor(session->node), 1); /* it is being appended */
    }
}
