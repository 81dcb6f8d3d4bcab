/* engine/log/compact_group.h: a few neighbouring closed segments rewritten as one. For compact.c alone. */
#ifndef LOGMNT_ENGINE_LOG_COMPACT_GROUP_H
#define LOGMNT_ENGINE_LOG_COMPACT_GROUP_H

#include "engine/log/log.h"
#include "engine/record/key_map.h"
#include "engine/segment/batch_reader.h"

/* What a pass knows while it rewrites. */
struct compact_pass {
    struct log *log;
    struct log_config config; /* as the pass began */
    uint32_t cuts;            /* log_cuts() then: after another one the pass ends, for what it knows may be wrong */
    int64_t now_ms;
    int64_t start_offset; /* records below the log start go */
    struct key_map map;   /* the last offset of each key in [first dirty, map_end) */
    int64_t map_end;      /* records from here on stay, and so do tombstones' rights */
    struct batch_reader reader;
    const _Atomic bool *stop; /* may be NULL */
};

/* log_compact() with another bound than LIMIT_COMPACT_KEYS, which no test can reach. */
int compact_bounded(struct log *log, struct log_point limit, const _Atomic bool *stop, size_t max_keys, struct err *e);

bool compact_is_stopped(const struct compact_pass *pass);

/* The record's key and value, its newline taken off. */
void compact_key_value(const struct compact_pass *pass, const struct batch_record *record, struct framing_kv *kv);

/* Writes what stays of segments views[0 … n), which are pinned, into *out, for log_replace(). *out is NULL when there
 * is nothing to change (one segment, every record stays). -ECANCELED: stopped; -EBADMSG: damage; -ENOSPC, -EDQUOT and
 * others of the disk. On failure nothing is left. No lock held. */
int compact_group(struct compact_pass *pass, const struct segment_view *views, uint32_t n, struct segment **out,
                  struct err *e);

#endif
