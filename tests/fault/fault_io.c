/* A disk that fails once: each call to struct io that the workloads make is made to fail, one run for each, with EIO,
 * with ENOSPC, as a short write, as a short write and ENOSPC after it, and with a disk that is full from there on until
 * the step is over. Whatever fails must say why, lose nothing that was acknowledged, and leave no descriptor behind;
 * a full disk must leave the log going, and after a failed write or sync nothing may be tried again.
 *
 * FAULT_CALL=PLAN:SEED:KIND:CALL tries one again; a failure prints it. FAULT_SEEDS=N works through seeds 1 to N. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/fault/disk_model.h"
#include "tests/fault/workload.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SEEDS = 1 };
#else
enum { SEEDS = 3 };
#endif

static const struct workload_plan plans[] = {
    {"append",
     FRAMING_LINE,
     CLEANUP_DELETE,
     900,
     -1,
     14,
     false,
     {[STEP_APPEND] = 7, [STEP_FLUSH] = 2, [STEP_CHECKPOINT] = 1, [STEP_ROLL] = 1, [STEP_REOPEN] = 1}},
    {"retain",
     FRAMING_MSGPACK,
     CLEANUP_DELETE,
     900,
     2500,
     20,
     false,
     {[STEP_APPEND] = 8,
      [STEP_FLUSH] = 2,
      [STEP_CHECKPOINT] = 1,
      [STEP_DELETE] = 3,
      [STEP_RETAIN] = 2,
      [STEP_KILL] = 1,
      [STEP_REOPEN] = 1}},
    {"compact",
     FRAMING_LINE,
     CLEANUP_COMPACT,
     700,
     -1,
     20,
     false,
     {[STEP_APPEND] = 8, [STEP_FLUSH] = 2, [STEP_ROLL] = 2, [STEP_COMPACT] = 3, [STEP_KILL] = 1, [STEP_REOPEN] = 1}},
    {"cut",
     FRAMING_LINE,
     CLEANUP_DELETE,
     700,
     -1,
     20,
     true,
     {[STEP_APPEND] = 6,
      [STEP_FLUSH] = 2,
      [STEP_CHECKPOINT] = 1,
      [STEP_COPY] = 4,
      [STEP_SKIP] = 1,
      [STEP_TRUNCATE] = 4,
      [STEP_RESET] = 1,
      [STEP_KILL] = 1,
      [STEP_REOPEN] = 1}},
};

static const struct {
    const char *name;
    struct fault fault;
} kinds[] = {
    {"eio", {.kind = FAULT_ERROR, .error = -EIO}},
    {"enospc", {.kind = FAULT_ERROR, .error = -ENOSPC}},
    {"short", {.kind = FAULT_SHORT}},
    {"short-enospc", {.kind = FAULT_SHORT_STOP, .error = -ENOSPC}},
    {"short-eio", {.kind = FAULT_SHORT_STOP, .error = -EIO}},
    {"full", {.kind = FAULT_FULL, .error = -ENOSPC}},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static char base[64];
static char wanted[96];
static uint64_t runs;
static uint64_t seeds = SEEDS;

/* ---- one run ---- */

struct run {
    const struct workload_plan *plan;
    uint64_t seed;
    int kind;
    uint32_t call;
    enum io_call hit; /* the call that fails */
    struct recorder recorder;
    struct workload w;
    int rc;      /* of the step that failed */
    bool failed; /* a step did */
    enum workload_step step;
};

static void require(struct run *run, bool good, const char *what)
{
    char id[96];

    if (good) {
        return;
    }
    snprintf(id, sizeof id, "%s:%" PRIu64 ":%s:%u", run->plan->name, run->seed, kinds[run->kind].name, run->call);
    fail_msg("FAULT_CALL=%s: %s fails in %s: %s: %d '%s'%s%s", id, io_call_names[run->hit],
             workload_step_names[run->step], what, run->rc, run->w.e.text, run->w.offline ? ", offline: " : "",
             run->w.offline ? run->w.offline_reason : "");
}

static int count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

static bool is_full_disk(const struct run *run)
{
    return kinds[run->kind].fault.error == -ENOSPC && io_call_needs_room(run->hit);
}

/* What is acknowledged is there, and the log takes appends, when a new process opens it with nothing failing. */
static void check_restart(struct run *run)
{
    const struct ledger *book;
    struct ledger fresh;
    struct image image;

    run->w.e = (struct err){0};
    require(run, workload_open(&run->w) == 0, "opening after it");
    require(run, image_read(&image, run->w.log, &run->w.e) == 0, "reading after it");
    book = ledger_check(&run->w.ledger, &image, UINT32_MAX - 1, false, &run->w.e);
    require(run, book != NULL, "books after it");
    require(run, ledger_check_epochs(book, &image, run->w.log, &run->w.e), "epochs after it");
    require(run, ledger_check_producers(book, &image, run->w.log, &run->w.e), "producers after it");
    require(run, ledger_check_lookups(&image, run->w.log, run->plan->framing, &run->w.random, &run->w.e), "look-up");
    /* What was refused may be there or not. */
    ledger_copy(&fresh, book, &image);
    ledger_free(&run->w.ledger);
    run->w.ledger = fresh;
    image_free(&image);
    require(run, workload_append(&run->w, 3, 200) == 0, "append after it");
    require(run, workload_do(&run->w, STEP_FLUSH) == 0, "flush after it");
    require(run, workload_close(&run->w) == 0, "close after it");
}

/* Offline: every further step is refused, and none of them touches the disk. */
static void check_offline(struct run *run)
{
    uint32_t writes = recorder_count(&run->recorder);
    struct err e = {0};

    require(run, log_offline(run->w.log) != 0, "the log is not offline");
    require(run, run->w.offline_reason[0] != '\0', "offline without a reason");
    require(run, workload_append(&run->w, 1, 20) == -EIO && run->w.e.text[0] != '\0', "append while offline");
    require(run, log_flush_all(run->w.log) == -EIO, "flush while offline");
    require(run, log_roll(run->w.log, &e) == -EIO && e.text[0] != '\0', "roll while offline");
    require(run, log_retain(run->w.log, log_end(run->w.log), &e) == -EIO, "retention while offline");
    workload_kill(&run->w);
    require(run, recorder_count(&run->recorder) == writes, "something was written after the failure");
}

/* The same process goes on, and the log holds exactly what was acknowledged. */
static void check_goes_on(struct run *run)
{
    struct image image;

    require(run, log_offline(run->w.log) == 0, "a full disk took the log offline");
    require(run, workload_append(&run->w, 2, 60) == 0, "append once there is room");
    require(run, workload_do(&run->w, STEP_FLUSH) == 0, "flush once there is room");
    require(run, image_read(&image, run->w.log, &run->w.e) == 0, "reading once there is room");
    require(run, image.end.offset == run->w.ledger.count, "more or less than was acknowledged");
    require(run, ledger_check(&run->w.ledger, &image, UINT32_MAX - 1, false, &run->w.e) == &run->w.ledger,
            "books once there is room");
    require(run, ledger_check_epochs(&run->w.ledger, &image, run->w.log, &run->w.e), "epochs once there is room");
    require(run, ledger_check_producers(&run->w.ledger, &image, run->w.log, &run->w.e), "producers once there is room");
    require(run, ledger_check_lookups(&image, run->w.log, run->plan->framing, &run->w.random, &run->w.e), "look-up");
    image_free(&image);
    if (run->call % 2 == 0) {
        require(run, workload_close(&run->w) == 0, "close once there is room");
    }
    workload_kill(&run->w);
}

static void check_failure(struct run *run)
{
    bool offline;

    require(run, run->rc < 0, "a failure that is no errno");
    require(run, run->w.e.text[0] != '\0', "no reason");
    if (run->w.log == NULL) {
        return;
    }
    offline = log_offline(run->w.log) != 0;
    /* While it is opened or closed there is no log that could go on. */
    if (is_full_disk(run) && run->step != STEP_REOPEN && run->step != STEP_KILL) {
        check_goes_on(run);
    } else if (offline) {
        check_offline(run);
    }
}

/* After a write or a sync that failed nothing may pass for done: the step fails, or the log goes offline. What a full
 * disk refuses may be put off (DeleteRecords does without the roll), and the files that a roll was making go again. */
static bool must_fail(const struct run *run)
{
    const struct fault *fault = &kinds[run->kind].fault;
    bool writes = run->hit == CALL_PWRITEV || run->hit == CALL_FSYNC;

    return fault->kind == FAULT_ERROR && ((writes && fault->error == -EIO) || run->hit == CALL_FDATASYNC);
}

/* The log's own files, not those of a checkpoint or of a segment that compaction is making. */
static bool must_be_offline(const struct run *run)
{
    return must_fail(run) && (run->step == STEP_APPEND || run->step == STEP_FLUSH || run->step == STEP_ROLL);
}

/* Runs the script until the fault has happened and the step in which it did is over. Returns the number of calls. */
static uint32_t play(struct run *run)
{
    struct fault fault = kinds[run->kind].fault;
    bool hit = false;

    fault.call = run->call;
    recorder_arm(&run->recorder, &fault);
    run->step = STEP_REOPEN;
    run->rc = workload_open(&run->w);
    for (uint32_t i = 0; run->rc == 0 && !hit; i++) {
        hit = recorder_hit(&run->recorder);
        if (hit || i > run->plan->steps) {
            break;
        }
        if (i == run->plan->steps) {
            run->step = STEP_REOPEN;
            run->rc = workload_do(&run->w, STEP_REOPEN);
        } else {
            run->rc = workload_step(&run->w, &run->step);
        }
    }
    if (recorder_hit(&run->recorder)) {
        run->hit = (enum io_call)run->recorder.calls[run->call];
    }
    recorder_clear(&run->recorder);
    return run->recorder.call_count;
}

/* Returns how many calls there are without the fault; false in *happened: it was not reached. */
static uint32_t run_once(const struct workload_plan *plan, uint64_t seed, int kind, uint32_t call, bool *happened)
{
    struct run *run = calloc(1, sizeof *run);
    int descriptors = count_descriptors();
    char path[80];
    uint32_t calls;

    assert_non_null(run);
    runs++;
    snprintf(path, sizeof path, "%s/work", base);
    disk_empty(path);
    *run = (struct run){.plan = plan, .seed = seed, .kind = kind, .call = call};
    recorder_init(&run->recorder, true);
    workload_init(&run->w, plan, &run->recorder, path, seed);
    calls = play(run);
    *happened = recorder_hit(&run->recorder);
    require(run, !*happened || !must_be_offline(run) || log_offline(run->w.log) != 0, "it is not offline");
    if (run->rc != 0) {
        require(run, *happened, "a failure without a cause");
        check_failure(run);
    } else {
        require(run, !*happened || !must_fail(run) || log_offline(run->w.log) != 0, "it passed for done");
    }
    workload_kill(&run->w);
    check_restart(run);
    workload_free(&run->w);
    recorder_free(&run->recorder);
    require(run, count_descriptors() == descriptors, "descriptors were left open");
    free(run);
    return calls;
}

/* ---- all runs ---- */

/* Whether a fault of this kind can happen to this call. */
static bool applies(int kind, enum io_call call)
{
    switch (kinds[kind].fault.kind) {
    case FAULT_SHORT:
        return call == CALL_PREAD || call == CALL_PWRITEV;
    case FAULT_SHORT_STOP:
        return call == CALL_PWRITEV;
    case FAULT_FULL:
        return io_call_needs_room(call);
    default:
        return kinds[kind].fault.error == -EIO || io_call_mutates(call) || call == CALL_OPEN;
    }
}

/* The calls of a run in which nothing fails. */
static uint8_t *list_calls(const struct workload_plan *plan, uint64_t seed, uint32_t *count)
{
    struct run run = {.plan = plan, .seed = seed, .call = UINT32_MAX};
    char path[80];
    uint8_t *calls;

    snprintf(path, sizeof path, "%s/work", base);
    disk_empty(path);
    recorder_init(&run.recorder, true);
    workload_init(&run.w, plan, &run.recorder, path, seed);
    *count = play(&run);
    require(&run, run.rc == 0, "a failure without a fault");
    calls = malloc(*count);
    assert_non_null(calls);
    memcpy(calls, run.recorder.calls, *count);
    workload_free(&run.w);
    recorder_free(&run.recorder);
    return calls;
}

static void fail_all(const struct workload_plan *plan, uint64_t seed, int kind, const uint8_t *calls, uint32_t count)
{
    bool happened;

    for (uint32_t call = 0; call < count; call++) {
        char id[96];

        snprintf(id, sizeof id, "%s:%" PRIu64 ":%s:%u", plan->name, seed, kinds[kind].name, call);
        if (applies(kind, (enum io_call)calls[call]) && (wanted[0] == '\0' || strcmp(wanted, id) == 0)) {
            run_once(plan, seed, kind, call, &happened);
        }
    }
}

static void test_kind(void **state)
{
    int kind = (int)(uintptr_t)*state;
    uint64_t before = runs;

    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
        for (uint64_t seed = 1; seed <= seeds; seed++) {
            uint32_t count;
            uint8_t *calls = list_calls(&plans[i], seed, &count);

            fail_all(&plans[i], seed, kind, calls, count);
            free(calls);
        }
    }
    print_message("# %s: %" PRIu64 " runs\n", kinds[kind].name, runs - before);
}

static void no_lines(int level, const char *line)
{
    (void)level;
    (void)line;
}

static int setup(void **state)
{
    const char *text = getenv("FAULT_CALL");
    const char *count = getenv("FAULT_SEEDS");
    char path[80];

    (void)state;
    if (count != NULL) {
        seeds = strtoull(count, NULL, 10);
    } else if (text != NULL) {
        (void)sscanf(text, "%*[^:]:%" SCNu64, &seeds);
    }
    snprintf(wanted, sizeof wanted, "%s", text != NULL ? text : "");
    log_sink_set(wanted[0] == '\0' ? no_lines : NULL);
    strcpy(base, "/dev/shm/logmnt-io-XXXXXX");
    if (mkdtemp(base) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/work", base);
    return mkdir(path, 0700);
}

static int teardown(void **state)
{
    (void)state;
    disk_empty(base);
    rmdir(base);
    return 0;
}

#define KIND(i)                                                                                                        \
    {                                                                                                                  \
        kinds[i].name, test_kind, NULL, NULL, (void *)(uintptr_t)(i)                                                   \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {KIND(0), KIND(1), KIND(2), KIND(3), KIND(4), KIND(5)};

    return cmocka_run_group_tests_name("fault_io", tests, setup, teardown);
}
