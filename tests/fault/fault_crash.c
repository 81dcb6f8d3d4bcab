/* A log that crashes: workloads over one log and its checkpoints are recorded, and for each prefix of what they did to
 * the disk, and each way in which what was not synced may have ended, the result is opened and checked.
 *
 * FAULT_STATE=PLAN:SEED:MOMENT:NUMBER tries that one state again and tells what led to it; a failure prints it.
 * FAULT_SEEDS=N works through seeds 1 to N instead of the few of a usual run. */
#include <errno.h>
#include <fcntl.h>
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

#include "tests/fault/disk_states.h"
#include "tests/fault/workload.h"

#if defined(__SANITIZE_THREAD__)
/* one thread: a look is enough */
enum { RANDOM_STATES = 0, SEEDS = 1, AGAIN_ONE_IN = 300, AGAIN_STATES = 0, REFUSED_STATES = 2 };
#elif defined(__SANITIZE_ADDRESS__)
enum { RANDOM_STATES = 2, SEEDS = 1, AGAIN_ONE_IN = 300, AGAIN_STATES = 1, REFUSED_STATES = 20 };
#else
enum { RANDOM_STATES = 4, SEEDS = 2, AGAIN_ONE_IN = 200, AGAIN_STATES = 3, REFUSED_STATES = 100 };
#endif

static const struct workload_plan plans[] = {
    {"append",
     FRAMING_LINE,
     CLEANUP_DELETE,
     1 << 20,
     -1,
     14,
     false,
     {[STEP_APPEND] = 6, [STEP_FLUSH] = 2, [STEP_CHECKPOINT] = 1}},
    {"roll",
     FRAMING_LINE,
     CLEANUP_DELETE,
     1200,
     -1,
     22,
     false,
     {[STEP_APPEND] = 8, [STEP_FLUSH] = 2, [STEP_CHECKPOINT] = 2, [STEP_ROLL] = 1, [STEP_KILL] = 1, [STEP_REOPEN] = 1}},
    {"msgpack",
     FRAMING_MSGPACK,
     CLEANUP_DELETE,
     1000,
     -1,
     18,
     false,
     {[STEP_APPEND] = 8, [STEP_FLUSH] = 2, [STEP_CHECKPOINT] = 2, [STEP_ROLL] = 1, [STEP_KILL] = 1, [STEP_REOPEN] = 1}},
    {"retain",
     FRAMING_LINE,
     CLEANUP_DELETE,
     900,
     2500,
     26,
     false,
     {[STEP_APPEND] = 9,
      [STEP_FLUSH] = 2,
      [STEP_CHECKPOINT] = 1,
      [STEP_ROLL] = 1,
      [STEP_DELETE] = 3,
      [STEP_RETAIN] = 2,
      [STEP_KILL] = 1,
      [STEP_REOPEN] = 1}},
    {"compact",
     FRAMING_LINE,
     CLEANUP_COMPACT,
     900,
     -1,
     26,
     false,
     {[STEP_APPEND] = 9,
      [STEP_FLUSH] = 2,
      [STEP_CHECKPOINT] = 1,
      [STEP_ROLL] = 2,
      [STEP_COMPACT] = 3,
      [STEP_KILL] = 1,
      [STEP_REOPEN] = 1}},
    {"all",
     FRAMING_MSGPACK,
     CLEANUP_COMPACT | CLEANUP_DELETE,
     800,
     4000,
     34,
     false,
     {[STEP_APPEND] = 9,
      [STEP_FLUSH] = 2,
      [STEP_CHECKPOINT] = 1,
      [STEP_ROLL] = 1,
      [STEP_DELETE] = 2,
      [STEP_RETAIN] = 2,
      [STEP_COMPACT] = 3,
      [STEP_KILL] = 1,
      [STEP_REOPEN] = 1}},
    {"cut",
     FRAMING_LINE,
     CLEANUP_DELETE,
     900,
     -1,
     22,
     true,
     {[STEP_APPEND] = 6,
      [STEP_FLUSH] = 2,
      [STEP_CHECKPOINT] = 2,
      [STEP_ROLL] = 1,
      [STEP_COPY] = 4,
      [STEP_SKIP] = 1,
      [STEP_TRUNCATE] = 4,
      [STEP_KILL] = 1,
      [STEP_REOPEN] = 1}},
    {"reset",
     FRAMING_MSGPACK,
     CLEANUP_DELETE,
     700,
     -1,
     18,
     true,
     {[STEP_APPEND] = 6,
      [STEP_FLUSH] = 2,
      [STEP_CHECKPOINT] = 2,
      [STEP_DELETE] = 1,
      [STEP_COPY] = 3,
      [STEP_SKIP] = 1,
      [STEP_TRUNCATE] = 1,
      [STEP_RESET] = 2,
      [STEP_KILL] = 1,
      [STEP_REOPEN] = 1}},
    /* A log that has its very first segment, whose header nothing has synced yet. */
    {"reset-young",
     FRAMING_LINE,
     CLEANUP_DELETE,
     700,
     -1,
     4,
     true,
     {[STEP_APPEND] = 1, [STEP_CHECKPOINT] = 1, [STEP_COPY] = 1, [STEP_RESET] = 4, [STEP_KILL] = 1}},
    {"cut-compacted",
     FRAMING_LINE,
     CLEANUP_COMPACT | CLEANUP_DELETE,
     700,
     6000,
     26,
     true,
     {[STEP_APPEND] = 7,
      [STEP_FLUSH] = 2,
      [STEP_CHECKPOINT] = 1,
      [STEP_DELETE] = 1,
      [STEP_RETAIN] = 1,
      [STEP_COMPACT] = 3,
      [STEP_COPY] = 3,
      [STEP_SKIP] = 1,
      [STEP_TRUNCATE] = 3,
      [STEP_KILL] = 1,
      [STEP_REOPEN] = 1}},
};

static char base[64];
static uint64_t states_checked;
static char wanted[96]; /* FAULT_STATE; "": all */
static uint64_t seeds;

/* A recording under examination: of the workload, or of what followed one of its states. */
struct crash {
    struct workload *w;
    struct disk_model *model;
    uint64_t seed;
    uint32_t moment;
    int depth; /* 0: of the workload */
    char id[96];
};

static const struct record *newest_of(const struct crash *c)
{
    return c->moment > 0 ? &c->w->recorder->records[c->moment - 1] : NULL;
}

static void fail_state(const struct crash *c, uint32_t number, const char *step, const struct err *e)
{
    fprintf(stderr, "FAULT_STATE=%s\n%s state %u at operation %u: %s: %s\n", c->id,
            c->depth > 0 ? "after a second crash," : "", number, c->moment, step, e->text);
    disk_states_print(c->model, newest_of(c), c->seed + c->moment, number);
    fail_msg("FAULT_STATE=%s: %s: %s", c->id, step, e->text);
}

/* ---- one state ---- */

struct state {
    const struct crash *c;
    uint32_t number;
    bool lost;
    struct recorder gate;
    struct workload w;
    struct image found;        /* what the first opening showed */
    const struct ledger *book; /* that allows it */
};

static void require(struct state *s, bool good, const char *step)
{
    if (!good) {
        fail_state(s->c, s->number, step, &s->w.e);
    }
}

static void open_and_read(struct state *s, struct image *image, const char *step)
{
    require(s, workload_open(&s->w) == 0, step);
    require(s, image_read(image, s->w.log, &s->w.e) == 0, step);
}

/* Dies in the middle of its recovery first, every now and then. */
static void open_first(struct state *s)
{
    if (random_below(&s->w.random, 4) == 0) {
        recorder_stop_after(&s->gate, random_below(&s->w.random, 12));
        (void)workload_open(&s->w);
        workload_kill(&s->w);
        recorder_resume(&s->gate);
    }
    open_and_read(s, &s->found, "first opening");
    s->book = ledger_check(&s->c->w->ledger, &s->found, s->c->moment, s->lost, &s->w.e);
    require(s, s->book != NULL, "books");
    require(s, ledger_check_epochs(s->book, &s->found, s->w.log, &s->w.e), "epochs");
    require(s, ledger_check_producers(s->book, &s->found, s->w.log, &s->w.e), "producers");
    require(s, ledger_check_lookups(&s->found, s->w.log, s->w.plan->framing, &s->w.random, &s->w.e), "look-up");
}

/* Opened again, without or with a clean close before, it shows the same. */
static void open_again(struct state *s, bool clean, const struct image *before, const char *step)
{
    struct image again;

    if (clean) {
        require(s, workload_close(&s->w) == 0, "clean close");
    } else {
        workload_kill(&s->w);
    }
    open_and_read(s, &again, step);
    require(s, image_equal(before, &again, &s->w.e), step);
    image_free(&again);
}

/* It takes appends, and keeps them over another death of the process and over a clean stop. */
static void go_on(struct state *s)
{
    struct image image;

    ledger_copy(&s->w.ledger, s->book, &s->found);
    s->w.now_ms = s->c->w->now_ms;
    require(s, workload_append(&s->w, 1, 30) == 0, "append");
    require(s, workload_append(&s->w, 20, 60) == 0, "append");
    require(s, workload_do(&s->w, STEP_FLUSH) == 0, "flush");
    workload_kill(&s->w);
    open_and_read(s, &image, "opening after appends");
    require(s, ledger_check(&s->w.ledger, &image, UINT32_MAX - 1, false, &s->w.e) != NULL, "books after appends");
    require(s, ledger_check_epochs(&s->w.ledger, &image, s->w.log, &s->w.e), "epochs after appends");
    require(s, ledger_check_producers(&s->w.ledger, &image, s->w.log, &s->w.e), "producers after appends");
    require(s, ledger_check_lookups(&image, s->w.log, s->w.plan->framing, &s->w.random, &s->w.e),
            "look-up after appends");
    open_again(s, true, &image, "opening after a clean stop");
    image_free(&image);
}

static void state_begin(struct state *s, const struct crash *c, uint32_t number, bool recording)
{
    char path[96];

    *s = (struct state){.c = c, .number = number};
    snprintf(path, sizeof path, "%s/state%d", base, c->depth);
    disk_states_build(c->model, newest_of(c), c->seed + c->moment, number, path, &s->lost);
    recorder_init(&s->gate, recording);
    workload_init(&s->w, c->w->plan, &s->gate, path, c->seed + c->moment * UINT64_C(4099) + number);
}

static void state_end(struct state *s)
{
    workload_free(&s->w);
    recorder_free(&s->gate);
    image_free(&s->found);
}

static void check_state(const struct crash *c, uint32_t number)
{
    struct state s;

    states_checked++;
    state_begin(&s, c, number, false);
    open_first(&s);
    open_again(&s, false, &s.found, "second opening");
    go_on(&s);
    state_end(&s);
}

static void check_all(struct crash *c, uint32_t from, uint32_t random_states);

/* The power goes a second time: in the recovery, or soon after it. */
static void crash_again(const struct crash *c, uint32_t number)
{
    struct state s;
    struct crash again = {.seed = c->seed + number, .depth = c->depth + 1};
    uint32_t end;

    state_begin(&s, c, number, true);
    memcpy(again.id, c->id, sizeof again.id);
    again.w = &s.w;
    again.model = disk_model_new(s.w.root);
    open_and_read(&s, &s.found, "opening to crash again");
    s.book = ledger_check(&c->w->ledger, &s.found, c->moment, s.lost, &s.w.e);
    require(&s, s.book != NULL, "books before the second crash");
    ledger_copy(&s.w.ledger, s.book, &s.found);
    s.w.now_ms = c->w->now_ms;
    require(&s, workload_append(&s.w, 2, 40) == 0, "append");
    require(&s, workload_do(&s.w, STEP_FLUSH) == 0, "flush");
    require(&s, workload_append(&s.w, 1, 600) == 0, "append");
    end = recorder_count(&s.gate);
    workload_kill(&s.w);
    require(&s, recorder_count(&s.gate) == end, "a dead process wrote");
    check_all(&again, 0, AGAIN_STATES);
    disk_model_free(again.model);
    state_end(&s);
}

/* ---- all states of a recording ---- */

static void check_moment(struct crash *c, uint32_t random_states)
{
    uint32_t count = disk_states_count(c->model, newest_of(c), random_states);

    for (uint32_t number = 0; number < count; number++) {
        if (c->depth == 0) {
            snprintf(c->id, sizeof c->id, "%s:%" PRIu64 ":%u:%u", c->w->plan->name, c->seed, c->moment, number);
            if (wanted[0] != '\0' && strcmp(wanted, c->id) != 0) {
                continue;
            }
        }
        check_state(c, number);
        if (c->depth == 0 && (wanted[0] != '\0' || (c->moment * 7 + number) % AGAIN_ONE_IN == 0)) {
            crash_again(c, number);
        }
    }
}

/* From a moment on. */
static void check_all(struct crash *c, uint32_t from, uint32_t random_states)
{
    uint32_t end = c->w->recorder->count;

    for (c->moment = 0;; c->moment++) {
        if (c->moment >= from) {
            check_moment(c, random_states);
        }
        if (c->moment == end) {
            return;
        }
        disk_model_apply(c->model, &c->w->recorder->records[c->moment]);
    }
}

/* Records the workload. */
static void run_workload(struct workload *w, uint64_t seed)
{
    enum workload_step step;

    assert_int_equal(workload_open(w), 0);
    for (uint32_t i = 0; i < w->plan->steps; i++) {
        int rc = workload_step(w, &step);

        if (wanted[0] != '\0') {
            fprintf(stderr, "%u: %s\n", recorder_count(w->recorder), workload_step_names[step]);
        }
        if (rc != 0) {
            fail_msg("%s:%" PRIu64 ": step %u, %s: %d %s", w->plan->name, seed, i, workload_step_names[step], rc,
                     w->e.text);
        }
    }
    assert_int_equal(workload_close(w), 0);
}

static void crash_workload(const struct workload_plan *plan, uint64_t seed)
{
    struct recorder recorder;
    struct workload w;
    struct crash c = {.w = &w, .seed = seed};
    char path[96];

    snprintf(path, sizeof path, "%s/work", base);
    mkdir(path, 0700);
    disk_empty(path);
    recorder_init(&recorder, true);
    workload_init(&w, plan, &recorder, path, seed);
    c.model = disk_model_new(path);
    run_workload(&w, seed);
    for (uint32_t i = 0; i < recorder.count && wanted[0] != '\0'; i++) {
        fprintf(stderr, "%u ", i);
        record_print(&recorder.records[i]);
    }
    check_all(&c, 0, RANDOM_STATES);
    disk_model_free(c.model);
    workload_free(&w);
    recorder_free(&recorder);
}

static void test_plan(void **state)
{
    const struct workload_plan *plan = *state;
    uint64_t before = states_checked;

    for (uint64_t seed = 1; seed <= seeds; seed++) {
        char prefix[64];

        snprintf(prefix, sizeof prefix, "%s:%" PRIu64 ":", plan->name, seed);
        if (wanted[0] == '\0' || strncmp(wanted, prefix, strlen(prefix)) == 0) {
            crash_workload(plan, seed);
        }
    }
    print_message("# %s: %" PRIu64 " states\n", plan->name, states_checked - before);
}

/* ---- a full disk, then no power ---- */

/* The n-th write of an append finds no room, and it is refused. Returns the moment at which the
 * refusal was told. */
static uint32_t run_refused(struct workload *w, uint32_t n)
{
    struct fault fault = {.kind = FAULT_ERROR, .error = -ENOSPC, .call = n};
    uint32_t refused;

    assert_int_equal(workload_open(w), 0);
    assert_int_equal(workload_append(w, 1, 20), 0);
    assert_int_equal(workload_do(w, STEP_FLUSH), 0);
    recorder_arm(w->recorder, &fault);
    assert_int_equal(workload_append(w, 20, 60), -ENOSPC);
    assert_true(recorder_hit(w->recorder));
    recorder_clear(w->recorder);
    refused = recorder_count(w->recorder);
    /* The newest operation has happened in most states that are tried: here it is none of the log's. */
    assert_int_equal(workload_do(w, STEP_CHECKPOINT), 0);
    return refused;
}

/* What was refused does not come back, whatever of the cut had reached the disk. An append has four writes: bytes,
 * entry, and one for each index. */
static void test_refused(void **state)
{
    static const struct workload_plan plan = {.name = "refused", .segment_bytes = 1 << 20, .retention_bytes = -1};
    uint64_t before = states_checked;
    char path[96];

    (void)state;
    snprintf(path, sizeof path, "%s/work", base);
    for (uint32_t n = 0; n < 4; n++) {
        struct recorder recorder;
        struct workload w;
        struct crash c = {.w = &w, .seed = n};
        uint32_t refused;

        mkdir(path, 0700);
        disk_empty(path);
        recorder_init(&recorder, true);
        workload_init(&w, &plan, &recorder, path, n);
        c.model = disk_model_new(path);
        refused = run_refused(&w, n);
        check_all(&c, refused, REFUSED_STATES);
        disk_model_free(c.model);
        workload_free(&w);
        recorder_free(&recorder);
    }
    print_message("# %s: %" PRIu64 " states\n", plan.name, states_checked - before);
}

/* ---- frame ---- */

static void no_lines(int level, const char *line)
{
    (void)level;
    (void)line;
}

static int setup(void **state)
{
    const char *text = getenv("FAULT_STATE");
    const char *count = getenv("FAULT_SEEDS");

    (void)state;
    snprintf(wanted, sizeof wanted, "%s", text != NULL ? text : "");
    seeds = count != NULL ? strtoull(count, NULL, 10) : SEEDS;
    if (sscanf(wanted, "%*[^:]:%" SCNu64, &seeds) != 1) {
        wanted[0] = '\0';
    }
    log_sink_set(wanted[0] == '\0' ? no_lines : NULL);
    strcpy(base, "/dev/shm/logmnt-crash-XXXXXX");
    return mkdtemp(base) == NULL;
}

static int teardown(void **state)
{
    (void)state;
    disk_empty(base);
    rmdir(base);
    print_message("# %" PRIu64 " states checked\n", states_checked);
    return 0;
}

#define PLAN(i)                                                                                                        \
    {                                                                                                                  \
        plans[i].name, test_plan, NULL, NULL, (void *)(uintptr_t)&plans[i]                                             \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {PLAN(0),
                                       PLAN(1),
                                       PLAN(2),
                                       PLAN(3),
                                       PLAN(4),
                                       PLAN(5),
                                       PLAN(6),
                                       PLAN(7),
                                       PLAN(8),
                                       PLAN(9),
                                       cmocka_unit_test(test_refused)};

    return cmocka_run_group_tests_name("fault_crash", tests, setup, teardown);
}
