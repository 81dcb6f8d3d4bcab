/* tests/fault/workload.h: a log and its checkpoints in a directory of their own, worked on by a script that a seed
 * decides, with its books kept (ledger.h). The checkpoints are written as a node writes them. */
#ifndef LOGMNT_TESTS_WORKLOAD_H
#define LOGMNT_TESTS_WORKLOAD_H

#include "engine/recover/log_open.h"
#include "tests/fault/ledger.h"
#include "tests/fault/recorder.h"

enum workload_step {
    STEP_APPEND,
    STEP_FLUSH,
    STEP_ROLL,
    STEP_CHECKPOINT,
    STEP_DELETE, /* DeleteRecords, and its checkpoint */
    STEP_RETAIN,
    STEP_COMPACT,
    STEP_COPY,     /* it follows, and gets batches of another log, some with holes before them */
    STEP_SKIP,     /* whoever leads or follows moves its end to a later point */
    STEP_TRUNCATE, /* it follows, and is cut back to any point */
    STEP_RESET,    /* it follows, and begins anew further on, or earlier */
    STEP_KILL,     /* the process dies and a new one opens the log */
    STEP_REOPEN,   /* closed cleanly and opened again */
    WORKLOAD_STEPS,
};
extern const char *const workload_step_names[WORKLOAD_STEPS];

/* How often each step comes, and the settings. */
struct workload_plan {
    const char *name;
    enum framing framing;
    uint32_t cleanup_policy;
    int64_t segment_bytes;
    int64_t retention_bytes;
    uint32_t steps;
    bool producers;
    uint8_t weights[WORKLOAD_STEPS];
};

/* Everything of one directory that has a log open. */
struct workload {
    const struct workload_plan *plan;
    char root[128]; /* checkpoints; topics/t-0 */
    struct recorder *recorder;
    struct clock clock;
    int64_t now_ms;
    struct log_env env;
    struct log_config config;
    int root_fd;
    struct log *log; /* NULL: not open */
    int32_t epoch;   /* that it is led or followed in */
    bool follows;
    int64_t compacted; /* below this offset */
    struct ledger ledger;
    uint64_t random;
    bool offline;
    char offline_reason[256];
    struct err e; /* the last failure's */
};

/* Makes root/topics if it is not there. The recorder is the only way to the disk from here on. */
void workload_init(struct workload *w, const struct workload_plan *plan, struct recorder *recorder, const char *root,
                   uint64_t seed);
/* Drops what is open without touching the disk, and frees. */
void workload_free(struct workload *w);

/* Opens the log by what the checkpoints and the clean-shutdown mark in the directory say. */
int workload_open(struct workload *w);
/* As a process that dies: nothing is written any more. */
void workload_kill(struct workload *w);
/* Closes cleanly, with checkpoints and the mark. */
int workload_close(struct workload *w);

/* The next step, as the seed has it. 0 or what failed; with an error the books say what then must hold. */
int workload_step(struct workload *w, enum workload_step *step);
int workload_do(struct workload *w, enum workload_step step);
/* One batch of that many records, each of about that size. */
int workload_append(struct workload *w, uint32_t records, uint32_t bytes);

#endif
