#include "fs/any.h"

#include <stdlib.h>
#include <string.h>

#include "engine/limits.h"

bool any_keyed(const struct handle *handle)
{
    const struct log_config *config = &handle->producer.config.log;
    if (handle->pfile->part)
        return false;
    return config->framing == FRAMING_LINE ? config->key_separator_len > 0
                                           : (config->cleanup_policy & CLEANUP_COMPACT) != 0;
}

/* The pfile of a partition, kept in the open file. */
static struct pfile *target(struct handle *handle, int32_t index)
{
    struct producer *producer = &handle->producer;
    pthread_mutex_lock(&producer->lock);
    if (index >= producer->target_count) {
        struct pfile **targets = realloc(producer->targets, (size_t)(index + 1) * sizeof(struct pfile *));
        if (!targets) {
            pthread_mutex_unlock(&producer->lock);
            return NULL;
        }
        memset(targets + producer->target_count, 0,
               (size_t)(index + 1 - producer->target_count) * sizeof(struct pfile *));
        producer->targets = targets;
        producer->target_count = index + 1;
    }
    if (!producer->targets[index])
        producer->targets[index] = tree_pfile(handle->session->tree, handle->pfile->topic, index);
    struct pfile *pfile = producer->targets[index];
    pthread_mutex_unlock(&producer->lock);
    return pfile;
}

static int32_t sticky(struct handle *handle, size_t len)
{
    struct pfile *any = handle->pfile;
    struct clock *clock = node_clock(handle->session->node);
    pthread_mutex_lock(&any->sticky_lock);
    int32_t index = partitioner_sticky_next(&any->sticky, topic_partition_count(any->topic), len,
                                            handle->session->options->batch_size_bytes,
                                            (uint32_t)clock->wall_ms(clock) * 2654435761U);
    pthread_mutex_unlock(&any->sticky_lock);
    return index;
}

struct pfile *any_target(struct handle *handle, size_t len)
{
    if (handle->pfile->part)
        return handle->pfile;
    return target(handle, sticky(handle, len));
}

static int32_t partition_of(struct handle *handle, const uint8_t *record, size_t len)
{
    const struct log_config *config = &handle->producer.config.log;
    struct framing_kv kv;
    framing_key_value(config->framing, record, len, config->key_separator, config->key_separator_len, &kv);
    if (!kv.key)
        return sticky(handle, len);
    return partitioner_for_key(kv.key, kv.key_len, topic_partition_count(handle->pfile->topic));
}

struct pfile *any_target_of(struct handle *handle, const uint8_t *record, size_t len)
{
    if (!any_keyed(handle))
        return any_target(handle, len);
    return target(handle, partition_of(handle, record, len));
}

/* One record of what is being split. */
struct piece {
    int32_t partition;
    uint32_t place, len;
};

/* Gathers the pieces of one partition into a part. false: no memory. */
static bool gather(struct handle *handle, struct write_op *op, const uint8_t *all, const struct piece *pieces,
                   uint32_t count, int32_t partition)
{
    const struct log_config *config = &handle->producer.config.log;
    size_t len = 0;
    for (uint32_t i = 0; i < count; i++)
        len += pieces[i].partition == partition ? pieces[i].len : 0;
    struct framing_mark *marks = malloc(LIMIT_BATCH_MARKS * sizeof(*marks) + len);
    if (!marks)
        return false;
    struct write_part *part = write_op_add(op);
    part->owned = marks;
    part->pfile = target(handle, partition);
    if (!part->pfile)
        return false;
    uint8_t *bytes = (uint8_t *)(marks + LIMIT_BATCH_MARKS), *at = bytes;
    for (uint32_t i = 0; i < count; i++)
        if (pieces[i].partition == partition) {
            memcpy(at, all + pieces[i].place, pieces[i].len);
            at += pieces[i].len;
        }
    struct framing_state scan = {0};
    struct framing_result r = {0};
    struct clock *clock = node_clock(handle->session->node);
    int64_t interval = config->index_interval_bytes;
    part->batch = (struct append_batch){
        .iovcnt = 1,
        .len = (uint32_t)len,
        .first_timestamp_ms = clock->wall_ms(clock),
        .producer_id = -1,
        .producer_epoch = -1,
        .sequence = -1,
        .attributes = handle->producer.config.log_append_time ? BATCH_LOG_APPEND_TIME : 0,
        .marks = marks,
    };
    framing_scan(config->framing, &scan, bytes, len, UINT64_MAX, &r, &part->batch.crc,
                 interval < 1 ? 1 : (uint32_t)interval, marks, &part->batch.mark_count, LIMIT_BATCH_MARKS);
    part->batch.records = r.records;
    part->batch.last_timestamp_ms = part->batch.first_timestamp_ms;
    part->iov[0] = (struct iovec){bytes, len};
    return true;
}

/* Cuts into records and picks their partitions. *partitions is how many different ones at most. */
static struct piece *cut(struct handle *handle, const uint8_t *all, size_t len, uint32_t *count, int *partitions)
{
    enum framing framing = handle->producer.config.log.framing;
    int32_t total = topic_partition_count(handle->pfile->topic);
    bool *seen = calloc((size_t)total, sizeof(*seen));
    struct piece *pieces = NULL;
    uint32_t n = 0, max = 0;
    *partitions = 0;
    for (size_t place = 0; seen && place < len; n++) {
        if (n == max) {
            max = max ? max * 2 : 64;
            struct piece *more = realloc(pieces, max * sizeof(*pieces));
            if (!more) {
                free(pieces);
                free(seen);
                return NULL;
            }
            pieces = more;
        }
        size_t record = framing_record_len(framing, all + place, len - place);
        size_t newline = framing == FRAMING_LINE;
        int32_t partition = partition_of(handle, all + place, record - newline);
        pieces[n] = (struct piece){partition, (uint32_t)place, (uint32_t)record};
        if (partition >= total || !seen[partition]) /* one that was made meanwhile counts each time */
            ++*partitions;
        if (partition < total)
            seen[partition] = true;
        place += record;
    }
    free(seen);
    *count = n;
    return pieces;
}

struct write_op *any_split(struct handle *handle, const uint8_t *data, size_t end)
{
    struct producer *producer = &handle->producer;
    size_t len = producer->rest_len + end;
    uint8_t *all = malloc(len);
    if (!all)
        return NULL;
    if (producer->rest_len)
        memcpy(all, producer->rest, producer->rest_len);
    memcpy(all + producer->rest_len, data, end);
    uint32_t count = 0;
    int partitions = 0;
    struct piece *pieces = cut(handle, all, len, &count, &partitions);
    struct write_op *op = pieces ? write_op_new(handle, partitions < 2 ? 2 : partitions) : NULL;
    bool ok = op != NULL;
    for (uint32_t i = 0; ok && i < count; i++) {
        bool first = true;
        for (int p = 0; p < op->count && first; p++)
            first = partition_index(op->parts[p].pfile->part) != pieces[i].partition;
        if (first)
            ok = gather(handle, op, all, pieces, count, pieces[i].partition);
    }
    if (op && !ok) {
        write_op_free(op);
        op = NULL;
    }
    free(pieces);
    free(all);
    return op;
}
