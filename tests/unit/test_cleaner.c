/* The background: compaction and the scrub, as settings and time bring them about. */
#include "tests/unit/node_fixture.h"

#include <syslog.h>

/* ---- the daemon's log, caught ---- */

static pthread_mutex_t caught_lock = PTHREAD_MUTEX_INITIALIZER;
static char caught[8192];

static void catch_line(int level, const char *line)
{
    (void)level;
    pthread_mutex_lock(&caught_lock);
    size_t len = strlen(caught);
    snprintf(caught + len, sizeof caught - len, "%s\n", line);
    pthread_mutex_unlock(&caught_lock);
}

static bool was_logged(const char *text)
{
    pthread_mutex_lock(&caught_lock);
    bool found = strstr(caught, text) != NULL;
    pthread_mutex_unlock(&caught_lock);
    return found;
}

static bool was_quiet(void)
{
    pthread_mutex_lock(&caught_lock);
    bool quiet = caught[0] == '\0';
    pthread_mutex_unlock(&caught_lock);
    return quiet;
}

static int setup_caught(void **state)
{
    caught[0] = '\0';
    log_sink_set(catch_line);
    return setup(state);
}

/* ---- compaction ---- */

static bool shows(struct fixture *f, const char *topic, const char *expected)
{
    char text[4096];
    assert_int_equal(content(f, topic, text, sizeof text), 0);
    return strcmp(text, expected) == 0;
}

/* Each append begins a segment of its own, so that all but the last are closed. */
static void make_keyed(struct fixture *f)
{
    create(f, "state");
    set(f, "state", "segment.bytes", "14");
    set(f, "state", "key.separator", ":");
    append(f, "state", "a:1 .........\n");
    append(f, "state", "b:1 .........\n");
    append(f, "state", "a:2 .........\n");
    append(f, "state", "c:1 .........\n");
}

static void test_compaction_begins_when_it_is_set(void **state)
{
    struct fixture *f = *state;
    struct node_metrics metrics;
    make_keyed(f);
    set(f, "state", "cleanup.policy", "compact");
    wait_until(shows(f, "state", "b:1 .........\na:2 .........\nc:1 .........\n"));
    wait_until((node_metrics(f->node, &metrics), metrics.segments_compacted > 0));
    restart(f);
    assert_true(shows(f, "state", "b:1 .........\na:2 .........\nc:1 .........\n"));
}

static void test_compaction_comes_again_with_its_alarm(void **state)
{
    struct fixture *f = *state;
    make_keyed(f);
    set(f, "state", "min.cleanable.dirty.ratio", "0");
    set(f, "state", "cleanup.policy", "compact");
    wait_until(shows(f, "state", "b:1 .........\na:2 .........\nc:1 .........\n"));
    append(f, "state", "b:2 .........\n");
    append(f, "state", "d:1 .........\n");
    wait_until(executor_uv_is_set(f->node->executor, &f->node->cleaner.compaction));
    pass_ms(f, 15000);
    wait_until(shows(f, "state", "a:2 .........\nc:1 .........\nb:2 .........\nd:1 .........\n"));
}

/* ---- the scrub ---- */

static void test_the_scrub_finds_damage_that_nobody_reads(void **state)
{
    struct fixture *f = *state;
    char path[256];
    create(f, "orders");
    set(f, "orders", "segment.bytes", "14");
    append(f, "orders", "the first one\n");
    append(f, "orders", "the second one\n");
    path_in(f, "topics/orders-0/00000000000000000000.log", path);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "T", 1, 0), 1);
    close(fd);
    wait_until(executor_uv_is_set(f->node->executor, &f->node->cleaner.retention));
    assert_false(was_logged("orders-0"));
    wait_until((pass_ms(f, 1000), was_logged("orders-0")));
    /* It is a round and then rest. */
    wait_until(!atomic_load(&f->node->scrubber.active));
    assert_false(executor_uv_is_set(f->node->executor, &f->node->scrubber.alarm));
}

static void test_the_scrub_takes_its_time(void **state)
{
    struct fixture *f = *state;
    enum { LINE = 1 << 20, LINES = 10 };
    static char line[LINE + 1];
    memset(line, 'x', LINE - 1);
    line[LINE - 1] = '\n';
    create(f, "orders");
    set(f, "orders", "segment.bytes", "1048576");
    for (int i = 0; i < LINES; i++)
        append(f, "orders", line);
    wait_until(executor_uv_is_set(f->node->executor, &f->node->cleaner.retention));
    pass_ms(f, 300000);
    /* 9 MiB are closed, 4 MiB a second are read: it does not end with the first second's share. */
    wait_until(executor_uv_is_set(f->node->executor, &f->node->scrubber.alarm));
    assert_true(atomic_load(&f->node->scrubber.active));
    wait_until((pass_ms(f, 1000), !atomic_load(&f->node->scrubber.active)));
    assert_true(was_quiet());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_compaction_begins_when_it_is_set, setup_caught, teardown),
        cmocka_unit_test_setup_teardown(test_compaction_comes_again_with_its_alarm, setup_caught, teardown),
        cmocka_unit_test_setup_teardown(test_the_scrub_finds_damage_that_nobody_reads, setup_caught, teardown),
        cmocka_unit_test_setup_teardown(test_the_scrub_takes_its_time, setup_caught, teardown),
    };
    return cmocka_run_group_tests_name("cleaner", tests, NULL, NULL);
}
