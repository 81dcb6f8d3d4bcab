/* A node on a disk that fails once: each call to struct io of a story (node_story.h) is made to fail, one run for each,
 * with EIO, with ENOSPC, as a short write and ENOSPC after it, and with a disk that is full until the step is over.
 * What fails must say why and leave no descriptor behind; with room again the node goes on; and a node opened
 * afterwards has all that was acknowledged.
 *
 * FAULT_CALL=SEED:KIND:CALL tries one again: threads may make it a neighbour of the one that failed. FAULT_SEED=N tells
 * another story. */
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
#include "tests/fault/node_story.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STEPS = 9, STRIDE = 7 };
#else
enum { STEPS = 14, STRIDE = 1 };
#endif

static const struct {
    const char *name;
    struct fault fault;
} kinds[] = {
    {"eio", {.kind = FAULT_ERROR, .error = -EIO}},
    {"enospc", {.kind = FAULT_ERROR, .error = -ENOSPC}},
    {"short-enospc", {.kind = FAULT_SHORT_STOP, .error = -ENOSPC}},
    {"full", {.kind = FAULT_FULL, .error = -ENOSPC}},
};

static char base[64];
static char wanted[64];
static uint64_t seed = 3;

struct run {
    struct audit audit; /* the first member */
    struct story *story;
    int kind;
    uint32_t call;
    enum io_call hit;
    int rc;
};

static void fail_run(struct audit *audit, const char *what)
{
    struct run *run = (struct run *)audit;

    fail_msg("FAULT_CALL=%" PRIu64 ":%s:%u: %s: %s: %d '%s', '%s'", seed, kinds[run->kind].name, run->call,
             io_call_names[run->hit], what, run->rc, run->story->e.text, audit->e.text);
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

/* Tells the story until the fault has happened. */
static void play(struct run *run)
{
    struct story *story = run->story;
    struct fault fault = kinds[run->kind].fault;

    fault.call = run->call;
    recorder_arm(&story->recorder, &fault);
    run->rc = open_node(story->data, &story->recorder, &story->node, &story->e);
    for (int i = 0; i < STEPS && run->rc == 0 && !recorder_hit(&story->recorder); i++) {
        run->rc = step(story);
    }
    if (run->rc == 0 && !recorder_hit(&story->recorder)) {
        run->rc = step_reopen(story, true);
    }
}

/* There is room again. What the failed step was about is not asked for. */
static void check_goes_on(struct run *run)
{
    struct story *story = run->story;

    for (uint32_t i = 0; i < story->topic_count; i++) {
        struct topic_book *book = &story->topics[i];

        if (book->made_done == UINT32_MAX || book->gone_begun != UINT32_MAX) {
            continue;
        }
        story->e = (struct err){0};
        run->rc = step_records(story, book, true);
        require(&run->audit, run->rc == 0, "append once there is room");
    }
}

static void check_afterwards(struct run *run)
{
    struct audit *audit = &run->audit;
    struct story *story = run->story;

    audit->story = story;
    audit->at = moment(story) + 1;
    audit->wrong = fail_run;
    audit->random = seed + run->call;
    memcpy(audit->data, story->data, sizeof audit->data);
    recorder_init(&audit->gate, false);
    audit_node(audit);
    audit_free(audit);
}

static struct run *begin(int kind, uint32_t call)
{
    struct run *run = calloc(1, sizeof *run);
    char path[80];

    assert_non_null(run);
    *run = (struct run){.kind = kind, .call = call, .audit = {.wrong = fail_run}};
    run->story = calloc(1, sizeof *run->story);
    assert_non_null(run->story);
    snprintf(path, sizeof path, "%s/work", base);
    disk_empty(path);
    snprintf(run->story->data, sizeof run->story->data, "%s/data", path);
    run->story->random = seed;
    recorder_init(&run->story->recorder, true);
    play(run);
    return run;
}

static void run_once(int kind, uint32_t call)
{
    int descriptors = count_descriptors();
    struct run *run = begin(kind, call);
    struct story *story = run->story;
    bool hit = recorder_hit(&story->recorder);

    /* Threads: this time there may have been fewer calls. */
    run->hit = hit ? recorder_call(&story->recorder, call) : CALL_CLOSE;
    recorder_clear(&story->recorder);
    require(&run->audit, run->rc == 0 || story->e.text[0] != '\0', "no reason");
    require(&run->audit, run->rc == 0 || hit, "a failure without a cause");
    if (story->node != NULL && hit && kinds[kind].fault.error == -ENOSPC && io_call_needs_room(run->hit)) {
        check_goes_on(run);
    }
    if (story->node != NULL && call % 2 == 0) {
        kill_node(&story->recorder, story->node);
    } else if (story->node != NULL) {
        run->rc = node_close(story->node, &story->e);
        require(&run->audit, run->rc == 0 || story->e.text[0] != '\0', "no reason for a stop that is not clean");
    }
    check_afterwards(run);
    story_free(story);
    require(&run->audit, count_descriptors() == descriptors, "descriptors were left open");
    free(run);
}

static bool applies(int kind, enum io_call call)
{
    switch (kinds[kind].fault.kind) {
    case FAULT_SHORT_STOP:
        return call == CALL_PWRITEV;
    case FAULT_FULL:
        return io_call_needs_room(call);
    default:
        return kinds[kind].fault.error == -EIO || io_call_needs_room(call) || call == CALL_FDATASYNC ||
               call == CALL_FSYNC;
    }
}

static void test_kind(void **state)
{
    int kind = (int)(uintptr_t)*state;
    struct run *run = begin(kind, UINT32_MAX);
    uint8_t *calls;
    uint32_t count = recorder_calls(&run->story->recorder, &calls), runs = 0;

    require(&run->audit, run->rc == 0, "a failure without a fault");
    kill_node(&run->story->recorder, run->story->node);
    story_free(run->story);
    free(run);
    for (uint32_t call = 0; call < count; call += STRIDE) {
        char id[64];

        snprintf(id, sizeof id, "%" PRIu64 ":%s:%u", seed, kinds[kind].name, call);
        if (applies(kind, (enum io_call)calls[call]) && (wanted[0] == '\0' || strcmp(wanted, id) == 0)) {
            run_once(kind, call);
            runs++;
        }
    }
    free(calls);
    print_message("# %s: %u runs\n", kinds[kind].name, runs);
}

static void no_lines(int level, const char *line)
{
    (void)level;
    (void)line;
}

static int setup(void **state)
{
    const char *text = getenv("FAULT_CALL");
    char path[80];

    (void)state;
    snprintf(wanted, sizeof wanted, "%s", text != NULL ? text : "");
    if (text == NULL) {
        text = getenv("FAULT_SEED");
    }
    if (text != NULL) {
        seed = strtoull(text, NULL, 10);
    }
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
    const struct CMUnitTest tests[] = {KIND(0), KIND(1), KIND(2), KIND(3)};

    return cmocka_run_group_tests_name("fault_node_io", tests, setup, teardown);
}
