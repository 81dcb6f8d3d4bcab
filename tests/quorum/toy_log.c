/* tests/quorum/toy_log.c: records in an array by offset. */
#include <assert.h>
#include <string.h>

#include "tests/quorum/model.h"

static int64_t start_of(const struct raft_log *facts)
{
    return ((const struct toy_log *)facts)->start;
}

static int64_t end_of(const struct raft_log *facts)
{
    return ((const struct toy_log *)facts)->end;
}

static int64_t flushed_of(const struct raft_log *facts)
{
    return ((const struct toy_log *)facts)->flushed;
}

static int32_t end_epoch_of(const struct raft_log *facts)
{
    const struct toy_log *log = (const struct toy_log *)facts;

    return toy_log_epoch_at(log, log->end);
}

void toy_log_init(struct toy_log *log)
{
    log->facts = (struct raft_log){.start = start_of, .end = end_of, .flushed = flushed_of, .end_epoch = end_epoch_of};
    log->start = log->end = log->flushed = 0;
    log->start_epoch = -1;
    log->start_set = log->set = -1;
    log->start_set_offset = log->set_offset = -1;
    log->generation++;
}

static void find_voters(struct toy_log *log)
{
    int64_t at = log->end;

    while (at > log->start && log->records[at - 1].kind != RECORD_VOTERS)
        at--;
    log->set = log->start_set;
    if (at > log->start)
        log->set = log->records[at - 1].set;
    log->set_offset = at > log->start ? at - 1 : log->start_set_offset;
}

void toy_log_append(struct toy_log *log, const struct record *records, int count)
{
    assert(log->end + count <= LOG_MAX);
    memcpy(log->records + log->end, records, (size_t)count * sizeof *records);
    for (int i = 0; i < count; i++) {
        if (records[i].kind == RECORD_VOTERS) {
            log->set = records[i].set;
            log->set_offset = log->end + i;
        }
    }
    log->end += count;
}

void toy_log_truncate(struct toy_log *log, int64_t end)
{
    assert(end >= log->start && end <= log->end);
    log->end = end;
    log->flushed = log->flushed < end ? log->flushed : end;
    log->generation++;
    find_voters(log);
}

void toy_log_reset(struct toy_log *log, int64_t start, int32_t epoch, int16_t set, int64_t set_offset)
{
    log->start = log->end = log->flushed = start;
    log->start_epoch = epoch;
    log->start_set = log->set = set;
    log->start_set_offset = log->set_offset = set_offset;
    log->generation++;
}

void toy_log_trim(struct toy_log *log, int64_t start)
{
    int32_t epoch = toy_log_epoch_at(log, start);

    for (int64_t at = log->start; at < start; at++) {
        if (log->records[at].kind == RECORD_VOTERS) {
            log->start_set = log->records[at].set;
            log->start_set_offset = at;
        }
    }
    log->start = start;
    log->start_epoch = epoch;
}

void toy_log_crash(struct toy_log *log, struct chance *chance)
{
    int64_t end = log->flushed;

    while (end < log->end && chance_percent(chance, 60)) {
        end++;
        while (end < log->end && log->records[end].index > 0)
            end++;
    }
    log->end = end;
    log->flushed = end; /* the next start flushes what it finds */
    log->generation++;
    find_voters(log);
}

int32_t toy_log_epoch_at(const struct toy_log *log, int64_t offset)
{
    return offset <= log->start ? log->start_epoch : log->records[offset - 1].epoch;
}

int32_t toy_log_epoch_end(const struct toy_log *log, int32_t epoch, int64_t *end)
{
    int64_t at = log->end;

    while (at > log->start && log->records[at - 1].epoch > epoch)
        at--;
    *end = at;
    if (at > log->start || (log->end == log->start && epoch >= log->start_epoch))
        return toy_log_epoch_at(log, at);
    return epoch;
}
