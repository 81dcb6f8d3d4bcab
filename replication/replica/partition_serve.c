#include "replication/replica/partition_serve.h"

#include "engine/base/bugs.h"
#include "engine/base/crc32c.h"
#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"

bool partition_serves(struct partition *part)
{
    enum partition_role role = partition_role(part);
    if (role == ROLE_NONE || partition_usable(part, NULL) != 0)
        return false;
    if (role == ROLE_LEADER)
        return true;
    pthread_mutex_lock(&part->lock);
    bool in_sync = replica_set_has(&part->registration.isr, part->manager->id);
    pthread_mutex_unlock(&part->lock);
    return in_sync;
}

/* A leader that is new may not know yet how far its predecessor's high watermark was: no end is told before that. */
static enum read_outcome readiness(struct partition *part, int64_t shown, struct log_point *high_watermark,
                                   struct read_epochs *epochs)
{
    pthread_mutex_lock(&part->lock);
    *high_watermark = part->isr.high_watermark;
    epochs->leader = atomic_load(&part->leader_epoch);
    pthread_mutex_unlock(&part->lock);
    epochs->record = part->log != NULL ? log_epoch_before(part->log, high_watermark->offset) : -1;
    bool known = high_watermark->position >= shown || BUG(answers_before_known);
    return partition_serves(part) && known ? READ_OUTCOME_OK : READ_OUTCOME_LATER;
}

/* The bytes of an extent behind those that there are, as a piece of its own or more of the last one. 0; 1: there are as
 * many pieces as there may be; or a negative errno. */
static int add_piece(struct read_answer *answer, const struct log_extent *extent, uint8_t *out)
{
    struct read_piece *last = answer->count > 0 ? &answer->pieces[answer->count - 1] : NULL;
    bool joins = last != NULL && last->position + last->len == extent->position;
    if (!joins && answer->count == LIMIT_READ_PIECES)
        return 1;
    int rc = log_extent_read(extent, out, NULL);
    if (rc != 0)
        return rc;
    if (joins) {
        last->len += (uint32_t)extent->len;
    } else {
        answer->pieces[answer->count++] =
            (struct read_piece){.position = extent->position, .len = (uint32_t)extent->len};
    }
    return 0;
}

size_t partition_serve_read(struct partition *part, const struct read_request *request, struct read_answer *answer,
                            uint8_t *body)
{
    size_t got = 0;
    int found = 1, rc = 0;
    answer->count = 0;
    answer->crc = 0;
    answer->end = request->position;
    answer->outcome = readiness(part, request->shown, &answer->high_watermark, &answer->epochs);
    if (answer->outcome != READ_OUTCOME_OK)
        return 0;
    while (rc == 0 && got < request->max) {
        struct log_extent extent;
        found =
            log_extent_at(part->log, answer->end, answer->high_watermark.position, request->max - got, &extent, NULL);
        if (found <= 0)
            break;
        rc = add_piece(answer, &extent, body + got);
        if (rc == 0) {
            answer->end = extent.position + (int64_t)extent.len;
            got += extent.len;
        }
        log_extent_release(&extent);
    }
    if (found == 0 && answer->end < answer->high_watermark.position)
        answer->end = answer->high_watermark.position; /* nothing but holes up to there */
    if ((found < 0 || rc < 0) && answer->count == 0)
        answer->outcome = READ_OUTCOME_FAILED;
    answer->crc = crc32c(0, body, got);
    return got;
}

static enum read_kind kind_of(enum lookup_kind kind)
{
    static const enum read_kind kinds[LOOKUP_KINDS] = {
        [LOOKUP_RUN] = READ_RUN,   [LOOKUP_OFFSET] = FIND_OFFSET,     [LOOKUP_TIME] = FIND_TIME,
        [LOOKUP_LAST] = FIND_LAST, [LOOKUP_POSITION] = FIND_POSITION, [LOOKUP_END] = FIND_END};
    return kinds[kind];
}

/* Of the leader alone. */
static void serve_epoch_end(struct partition *part, int32_t epoch, struct lookup_answer *answer)
{
    (void)readiness(part, 0, &answer->high_watermark, &answer->epochs);
    int rc = partition_epoch_end(part, epoch, &answer->epochs.leader, &answer->epoch_end);
    answer->outcome = rc < 0 ? READ_OUTCOME_FAILED : rc == 0 ? READ_OUTCOME_LATER : READ_OUTCOME_OK;
}

void partition_serve_lookup(struct partition *part, const struct lookup_request *request, struct lookup_answer *answer)
{
    if (request->kind == LOOKUP_END && request->epoch >= 0) {
        serve_epoch_end(part, request->epoch, answer);
        return;
    }
    answer->epoch_end = -1;
    struct read_op op = {.part = part, .kind = kind_of(request->kind), .at = request->at, .limit = INT64_MAX, .max = 1};
    answer->outcome = readiness(part, request->shown, &answer->high_watermark, &answer->epochs);
    if (answer->outcome != READ_OUTCOME_OK)
        return;
    if (partition_read_here(&op) < 0) {
        answer->outcome = READ_OUTCOME_FAILED;
        return;
    }
    /* Another epoch's would be another one's. */
    if (atomic_load(&part->leader_epoch) != answer->epochs.leader) {
        answer->outcome = READ_OUTCOME_LATER;
        return;
    }
    answer->high_watermark = op.high_watermark;
    answer->epochs.record = log_epoch_before(part->log, op.high_watermark.offset);
    answer->point = op.kind == READ_RUN ? op.log_start : op.point;
    answer->found = op.kind == READ_RUN && op.found;
    if (!answer->found)
        return;
    answer->base = op.run.base;
    answer->len = op.run.len;
    answer->records = op.run.records;
    answer->timestamp_ms = op.run.timestamp_ms;
}

void partition_serve_stat(struct partition *part, struct stat_answer *answer)
{
    struct log_size size = {0};
    answer->outcome = readiness(part, 0, &answer->high_watermark, &answer->epochs);
    if (answer->outcome != READ_OUTCOME_OK)
        return;
    log_size(part->log, &size);
    answer->log_start = size.start;
    answer->log_end = size.end;
    answer->retained_bytes = size.retained_bytes;
    answer->segments = size.segments;
    answer->mtime_ms = log_last_append_ms(part->log);
}
