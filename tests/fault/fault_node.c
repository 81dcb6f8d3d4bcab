/* A node that crashes: topics made, grown and deleted, records appended, flushed and deleted, stops clean and not, all
 * over one recorded disk; then for each prefix of it, and each way in which what was not synced may have ended, a node
 * is opened on the result and must have what was acknowledged. Its threads write when they like: what is checked is not
 * when, but that promises hold.
 *
 * A failure prints seed, moment and number. FAULT_STATE=SEED:MOMENT:NUMBER tries that state again: threads may make it
 * a neighbour of the one that failed. FAULT_SEEDS=N works through seeds 1 to N. */
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
#include "tests/fault/node_story.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { RANDOM_STATES = 0, SEEDS = 1 };
#else
enum { RANDOM_STATES = 1, SEEDS = 2 };
#endif

enum { STEPS = 30 };

static char base[64];
static char wanted[64];
static uint64_t seeds;
static uint64_t states_checked;

static void no_lines(int level, const char *line)
{
    (void)level;
    (void)line;
}

static void tell(struct story *story, uint64_t seed)
{
    int rc = open_node(story->data, &story->recorder, &story->node, &story->e);

    for (int i = 0; i < STEPS && rc == 0; i++) {
        rc = step(story);
    }
    if (rc == 0) {
        rc = node_close(story->node, &story->e);
    }
    if (rc != 0) {
        fail_msg("seed %" PRIu64 ": %d %s", seed, rc, story->e.text);
    }
}

/* ---- one state ---- */

struct state {
    struct audit audit; /* the first member */
    const struct disk_model *model;
    uint64_t seed;
    uint32_t number;
};

static const struct record *newest_of(const struct state *s)
{
    return s->audit.at > 0 ? &s->audit.story->recorder.records[s->audit.at - 1] : NULL;
}

static void fail_state(struct audit *audit, const char *what)
{
    struct state *s = (struct state *)audit;

    fprintf(stderr, "FAULT_STATE=%" PRIu64 ":%u:%u: %s: %s\n", s->seed, audit->at, s->number, what, audit->e.text);
    disk_states_print(s->model, newest_of(s), s->seed + audit->at, s->number);
    fail_msg("FAULT_STATE=%" PRIu64 ":%u:%u: %s: %s", s->seed, audit->at, s->number, what, audit->e.text);
}

static void check_state(struct state *s)
{
    struct audit *audit = &s->audit;
    char path[80];

    states_checked++;
    audit->wrong = fail_state;
    audit->random = s->seed + audit->at;
    snprintf(path, sizeof path, "%s/state", base);
    snprintf(audit->data, sizeof audit->data, "%s/data", path);
    disk_states_build(s->model, newest_of(s), s->seed + audit->at, s->number, path, &audit->lost);
    recorder_init(&audit->gate, false);
    audit_node(audit);
    audit_free(audit);
}

/* ---- all states ---- */

static bool is_wanted(const struct state *s)
{
    char id[64];

    snprintf(id, sizeof id, "%" PRIu64 ":%u:%u", s->seed, s->audit.at, s->number);
    return wanted[0] == '\0' || strcmp(wanted, id) == 0;
}

static void check_moment(struct story *story, const struct disk_model *model, uint64_t seed, uint32_t at)
{
    const struct record *newest = at > 0 ? &story->recorder.records[at - 1] : NULL;
    uint32_t count = disk_states_count(model, newest, RANDOM_STATES);

    for (uint32_t number = 0; number < count; number++) {
        struct state *s = calloc(1, sizeof *s);

        assert_non_null(s);
        s->audit.story = story;
        s->model = model;
        s->seed = seed;
        s->audit.at = at;
        s->number = number;
        if (is_wanted(s)) {
            check_state(s);
        }
        free(s);
    }
}

static void crash_story(uint64_t seed)
{
    struct story *story = calloc(1, sizeof *story);
    struct disk_model *model;
    char path[80];

    assert_non_null(story);
    snprintf(path, sizeof path, "%s/work", base);
    mkdir(path, 0700);
    disk_empty(path);
    snprintf(story->data, sizeof story->data, "%s/data", path);
    story->random = seed;
    recorder_init(&story->recorder, true);
    model = disk_model_new(path);
    tell(story, seed);
    for (uint32_t i = 0; i < story->recorder.count && wanted[0] != '\0'; i++) {
        fprintf(stderr, "%u ", i);
        record_print(&story->recorder.records[i]);
    }
    for (uint32_t at = 0; at <= story->recorder.count; at++) {
        if (at > 0) {
            disk_model_apply(model, &story->recorder.records[at - 1]);
        }
        check_moment(story, model, seed, at);
    }
    disk_model_free(model);
    story_free(story);
}

static void test_node_crashes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        if (wanted[0] == '\0' || strtoull(wanted, NULL, 10) == seed) {
            crash_story(seed);
        }
    }
}

static int setup(void **state)
{
    const char *text = getenv("FAULT_STATE");
    const char *count = getenv("FAULT_SEEDS");

    (void)state;
    seeds = count != NULL ? strtoull(count, NULL, 10) : SEEDS;
    if (text != NULL && sscanf(text, "%" SCNu64 ":", &seeds) == 1) {
        snprintf(wanted, sizeof wanted, "%s", text);
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_node_crashes)};

    return cmocka_run_group_tests_name("fault_node", tests, setup, teardown);
}
