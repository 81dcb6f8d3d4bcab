#include "fs/produce/any.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "fs/produce/produce_file.h"
#include "fs/produce/producer.h"

bool any_keyed(const struct handle *handle)
{
    const struct log_config *config = &handle->producer->config.log;
    if (handle->pfile->part != NULL)
        return false;
    return config->framing == FRAMING_LINE ? config->key_separator_len > 0
                                           : (config->cleanup_policy & CLEANUP_COMPACT) != 0;
}

/* The pfile of a partition, kept in the open file. */
static struct pfile *target(struct handle *handle, int32_t index)
{
    struct producer *producer = handle->producer;
    pthread_mutex_lock(&producer->lock);
    if (index >= producer->target_count) {
        struct pfile **targets = realloc(producer->targets, (size_t)(index + 1) * sizeof(struct pfile *));
        if (targets == NULL) {
            pthread_mutex_unlock(&producer->lock);
            return NULL;
        }
        memset(targets + producer->target_count, 0,
               (size_t)(index + 1 - producer->target_count) * sizeof(struct pfile *));
        producer->targets = targets;
        producer->target_count = index + 1;
    }
    if (producer->targets[index] == NULL)
        producer->targets[index] = tree_pfile(handle->session->tree, handle->pfile->topic, index);
    struct pfile *pfile = producer->targets[index];
    pthread_mutex_unlock(&producer->lock);
    return pfile;
}

static int32_t sticky(struct handle *handle, size_t len)
{
    struct pfile *any = handle->pfile;
    struct clock *clock = node_clock(handle->session->node);
    pthread_mutex_lock(&any->produce->lock);
    int32_t index = partitioner_sticky_next(&any->produce->sticky, topic_partition_count(any->topic), len,
                                            handle->session->options->batch_size_bytes,
                                            (uint32_t)clock->wall_ms(clock) * 2654435761U);
    pthread_mutex_unlock(&any->produce->lock);
    return index;
}

struct pfile *any_target(struct handle *handle, size_t len)
{
    if (handle->pfile->part != NULL)
        return handle->pfile;
    return target(handle, sticky(handle, len));
}

static int32_t partition_of(struct handle *handle, const uint8_t *record, size_t len)
{
    const struct log_config *config = &handle->producer->config.log;
    struct framing_kv kv;
    framing_key_value(config->framing, record, len, config->key_separator, config->key_separator_len, &kv);
    if (kv.key == NULL)
        return sticky(handle, len);
    return partitioner_for_key(kv.key, kv.key_len, topic_partition_count(handle->pfile->topic));
}

bool any_lacks_key(const struct handle *handle, const uint8_t *data, size_t end)
{
    const struct producer *producer = handle->producer;
    const struct log_config *config = &producer->config.log;
    return (config->cleanup_policy & CLEANUP_COMPACT) != 0 &&
           !framing_all_keyed(config->framing, producer->rest, producer->rest_len, data, end, config->key_separator,
                              config->key_separator_len);
}

struct pfile *any_target_of(struct handle *handle, const uint8_t *record, size_t len)
{
    if (!any_keyed(handle))
        return any_target(handle, len);
    return target(handle, partition_of(handle, record, len));
}

/* ---- records with keys: counted by partition, then filled ---- */

/* One record of what is being split. */
struct piece {
    int32_t partition;
    uint32_t place, len;
};

struct pieces {
    struct piece *all;
    uint32_t count;
    int32_t partitions; /* above each piece's */
};

/* What goes to one partition. */
struct share {
    size_t len;
    uint8_t *at; /* where its next record goes */
};

/* Cuts into records and picks their partitions. pieces->all is NULL when there is no memory. */
static void cut(struct handle *handle, const uint8_t *bytes, size_t len, struct pieces *pieces)
{
    enum framing framing = handle->producer->config.log.framing;
    size_t newline = framing == FRAMING_LINE;
    uint32_t max = 0;
    *pieces = (struct pieces){0};
    for (size_t place = 0; place < len;) {
        if (pieces->count == max) {
            max = max != 0 ? max * 2 : 64;
            struct piece *more = realloc(pieces->all, max * sizeof *more);
            if (more == NULL) {
                free(pieces->all);
                pieces->all = NULL;
                return;
            }
            pieces->all = more;
        }
        size_t record = framing_record_len(framing, bytes + place, len - place);
        int32_t partition = partition_of(handle, bytes + place, record - newline);
        if (partition >= pieces->partitions)
            pieces->partitions = partition + 1;
        pieces->all[pieces->count++] = (struct piece){partition, (uint32_t)place, (uint32_t)record};
        place += record;
    }
}

static uint32_t marks_max(size_t len, uint32_t interval)
{
    return len / interval < LIMIT_BATCH_MARKS ? (uint32_t)(len / interval) + 1 : LIMIT_BATCH_MARKS;
}

static uint32_t index_interval(const struct handle *handle)
{
    int64_t bytes = handle->producer->config.log.index_interval_bytes;
    return bytes < 1 ? 1 : (uint32_t)bytes;
}

/* A part with room for the share's records, and for marks in front of them. false: no memory. */
static bool make_part(struct handle *handle, struct write_op *op, struct share *share, int32_t partition)
{
    size_t marks_bytes = marks_max(share->len, index_interval(handle)) * sizeof(struct framing_mark);
    struct write_part *part = write_op_add(op);
    part->owned = malloc(marks_bytes + share->len);
    part->pfile = target(handle, partition);
    if (part->owned == NULL || part->pfile == NULL)
        return false;
    share->at = (uint8_t *)part->owned + marks_bytes;
    part->iov[0] = (struct iovec){share->at, share->len};
    return true;
}

/* The records of a part are in place. */
static void describe(struct handle *handle, struct write_part *part)
{
    const struct log_config *config = &handle->producer->config.log;
    const struct iovec *bytes = &part->iov[0];
    int64_t now_us = clock_wall_us(node_clock(handle->session->node));
    append_batch_scan(&part->append.batch, config->framing, bytes, now_us / 1000, index_interval(handle), part->owned,
                      marks_max(bytes->iov_len, index_interval(handle)));
    part->append.came_us = now_us;
}

/* One part for each partition, in their order. NULL: no memory. */
static struct write_op *gather(struct handle *handle, const uint8_t *bytes, const struct pieces *pieces,
                               struct share *shares)
{
    int count = 0;
    for (uint32_t i = 0; i < pieces->count; i++) {
        struct share *share = &shares[pieces->all[i].partition];
        count += share->len == 0;
        share->len += pieces->all[i].len;
    }
    struct write_op *op = write_op_new(handle, count < 2 ? 2 : count);
    bool ok = op != NULL;
    for (int32_t p = 0; ok && p < pieces->partitions; p++)
        ok = shares[p].len == 0 || make_part(handle, op, &shares[p], p);
    for (uint32_t i = 0; ok && i < pieces->count; i++) {
        const struct piece *piece = &pieces->all[i];
        struct share *share = &shares[piece->partition];
        memcpy(share->at, bytes + piece->place, piece->len);
        share->at += piece->len;
    }
    for (int i = 0; ok && i < op->count; i++)
        describe(handle, &op->parts[i]);
    if (op != NULL && !ok) {
        write_op_free(op);
        op = NULL;
    }
    return op;
}

struct write_op *any_split(struct handle *handle, const uint8_t *data, size_t end)
{
    struct producer *producer = handle->producer;
    size_t len = producer->rest_len + end;
    uint8_t *bytes = malloc(len);
    if (bytes == NULL)
        return NULL;
    if (producer->rest_len != 0)
        memcpy(bytes, producer->rest, producer->rest_len);
    memcpy(bytes + producer->rest_len, data, end);
    struct pieces pieces;
    cut(handle, bytes, len, &pieces);
    struct share *shares = pieces.all != NULL ? calloc((size_t)pieces.partitions, sizeof *shares) : NULL;
    struct write_op *op = shares != NULL ? gather(handle, bytes, &pieces, shares) : NULL;
    free(shares);
    free(pieces.all);
    free(bytes);
    return op;
}
