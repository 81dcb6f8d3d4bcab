/* A node that crashes: topics made, grown and deleted, records appended, flushed and deleted, stops clean and not, all
 * over one recorded disk; then for each prefix of it, and each way in which what was not synced may have ended, a node
 * is opened on the result and must have what was acknowledged. Its threads write when they like: what is checked is not
 * when, but that promises hold.
 *
 * A failure prints seed, moment and number. FAULT_STATE=SEED:MOMENT:NUMBER tries that state again: threads may make it
 * a neighbour of the one that failed. FAULT_SEEDS=N works through seeds 1 to N. */
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

#include "engine/crc32c.h"
#include "replication/node.h"
#include "replication/partition_internal.h"
#include "tests/fault/disk_states.h"
#include "tests/fault/ledger.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { RANDOM_STATES = 0, SEEDS = 1 };
#else
enum { RANDOM_STATES = 1, SEEDS = 2 };
#endif

enum { STEPS = 30, TOPICS_MAX = 24, PARTITIONS_MAX = 3 };

static const char *const names[] = {"orders", "logs"};
static const struct tree_attr attr = {.dir_mode = 0755, .file_mode = 0644};
static char base[64];
static char wanted[64];
static uint64_t seeds;
static uint64_t states_checked;

/* One topic from mkdir to rmdir. Moments; UINT32_MAX: never. */
struct topic_book {
    const char *name;
    char id[32];
    uint32_t made_begun, made_done, gone_begun, gone_done;
    uint32_t part_begun[PARTITIONS_MAX], part_done[PARTITIONS_MAX];
    int32_t partitions;
    struct ledger parts[PARTITIONS_MAX];
};

struct story {
    struct recorder recorder;
    struct node *node;
    char data[96];
    struct topic_book topics[TOPICS_MAX];
    uint32_t topic_count;
    uint64_t random;
    struct err e;
};

static void no_lines(int level, const char *line)
{
    (void)level;
    (void)line;
}

static uint32_t moment(struct story *story)
{
    return recorder_count(&story->recorder);
}

/* ---- a node ---- */

static int open_node(const char *data, struct recorder *recorder, struct node **out, struct err *e)
{
    struct node_options options = {.data_dir = data,
                                   .id = 1,
                                   .check_crcs = true,
                                   .log_retention_check_interval_ms = 300000,
                                   .log_cleaner_backoff_ms = 15000,
                                   .io = &recorder->io};

    return node_open(&options, out, e);
}

static void kill_node(struct recorder *recorder, struct node *node)
{
    recorder_stop(recorder);
    (void)node_close(node, NULL);
    recorder_resume(recorder);
}

static int append_line(struct partition *part, struct ledger *l, uint64_t *random, uint32_t begun, struct err *e)
{
    char line[300];
    uint32_t len = 1 + random_below(random, random_below(random, 4) == 0 ? sizeof line - 2 : 40);
    struct iovec iov = {line, len + 1};
    struct append_batch batch = {
        .iov = &iov, .iovcnt = 1, .len = len + 1, .records = 1, .producer_id = -1, .sequence = -1};
    struct append_op op = {0};
    int rc;

    for (uint32_t i = 0; i < len; i++) {
        line[i] = (char)('a' + random_below(random, 26));
    }
    line[len] = '\n';
    batch.crc = crc32c(0, line, len + 1);
    batch.first_timestamp_ms = clock_system()->wall_ms(clock_system());
    batch.last_timestamp_ms = batch.first_timestamp_ms;
    ledger_add(l, line, len + 1, -1, false, true, batch.first_timestamp_ms, begun);
    rc = partition_append(part, &batch, ACKS_ALL, 1000, &op, e);
    return rc == 1 ? 0 : rc < 0 ? rc : -EAGAIN;
}

struct waiter {
    struct log_flush flush;
    _Atomic int rc; /* 1: not yet */
};

static void on_flushed(struct log_flush *flush, int rc)
{
    atomic_store(&((struct waiter *)flush)->rc, rc);
}

static int flush_part(struct partition *part)
{
    struct waiter waiter = {.flush = {.upto = partition_log_end(part).offset, .done = on_flushed}, .rc = 1};

    if (partition_flush(part, &waiter.flush) == 1) {
        return 0;
    }
    while (atomic_load(&waiter.rc) == 1) {
        usleep(100);
    }
    return atomic_load(&waiter.rc);
}

/* ---- the story that is recorded ---- */

static struct topic_book *living(struct story *story, const char *name)
{
    for (uint32_t i = 0; i < story->topic_count; i++) {
        if (strcmp(story->topics[i].name, name) == 0 && story->topics[i].gone_begun == UINT32_MAX) {
            return &story->topics[i];
        }
    }
    return NULL;
}

static int step_make(struct story *story, const char *name)
{
    struct topic_book *book = &story->topics[story->topic_count++];
    struct topic *topic;
    int rc;

    *book = (struct topic_book){
        .name = name, .made_begun = moment(story), .gone_begun = UINT32_MAX, .gone_done = UINT32_MAX, .partitions = 1};
    rc = node_create_topic(story->node, name, &attr, &story->e);
    if (rc != 0) {
        return rc;
    }
    book->made_done = book->part_done[0] = moment(story);
    book->part_begun[0] = book->made_begun;
    topic = node_topic(story->node, name);
    snprintf(book->id, sizeof book->id, "%s", topic_id(topic));
    topic_unref(topic);
    rc = node_set_config(story->node, name, "segment.bytes", "1024", &story->e);
    return rc == 0 ? node_set_config(story->node, name, "delete.topic.enable", "true", &story->e) : rc;
}

static int step_grow(struct story *story, struct topic_book *book)
{
    int32_t n = book->partitions;
    int rc;

    if (n == PARTITIONS_MAX) {
        return 0;
    }
    book->part_begun[n] = moment(story);
    rc = node_create_partitions(story->node, book->name, n + 1, &story->e);
    book->part_done[n] = moment(story);
    book->partitions++;
    return rc;
}

static int step_remove(struct story *story, struct topic_book *book)
{
    int rc;

    book->gone_begun = moment(story);
    rc = node_delete_topic(story->node, book->name, &story->e);
    book->gone_done = moment(story);
    return rc;
}

static int step_records(struct story *story, struct topic_book *book, bool flush)
{
    struct topic *topic = node_topic(story->node, book->name);
    int32_t index = (int32_t)random_below(&story->random, (uint32_t)book->partitions);
    struct partition *part = topic_partition(topic, index);
    struct ledger *l = &book->parts[index];
    int rc = 0;

    for (uint32_t n = 1 + random_below(&story->random, 6); n > 0 && rc == 0; n--) {
        int64_t from = l->count;

        rc = append_line(part, l, &story->random, moment(story), &story->e);
        ledger_acked(l, from, moment(story));
    }
    if (rc == 0 && flush) {
        rc = flush_part(part);
        ledger_event(l, LEDGER_FLUSHED, ledger_end(l), 0, moment(story));
    }
    topic_unref(topic);
    return rc;
}

static int step_trim(struct story *story, struct topic_book *book)
{
    struct topic *topic = node_topic(story->node, book->name);
    struct ledger *l = &book->parts[0];
    struct log_point to = ledger_point(l, random_below(&story->random, (uint32_t)l->count + 1));
    int rc;

    ledger_event(l, LEDGER_STARTED, to, moment(story), moment(story));
    rc = partition_delete_records(topic_partition(topic, 0), to.position, &story->e);
    ledger_event(l, LEDGER_TRIMMED, to, 0, moment(story));
    topic_unref(topic);
    return rc;
}

/* A clean stop has everything on the disk. */
static int step_reopen(struct story *story, bool clean)
{
    int rc = 0;

    if (!clean) {
        kill_node(&story->recorder, story->node);
        return open_node(story->data, &story->recorder, &story->node, &story->e);
    }
    rc = node_close(story->node, &story->e);
    for (uint32_t i = 0; i < story->topic_count; i++) {
        for (int32_t p = 0; p < story->topics[i].partitions; p++) {
            struct ledger *l = &story->topics[i].parts[p];

            ledger_event(l, LEDGER_FLUSHED, ledger_end(l), 0, moment(story));
        }
    }
    return rc == 0 ? open_node(story->data, &story->recorder, &story->node, &story->e) : rc;
}

static int step(struct story *story)
{
    const char *name = names[random_below(&story->random, 2)];
    struct topic_book *book = living(story, name);
    uint32_t what = random_below(&story->random, 16);

    if (what >= 14) {
        return step_reopen(story, what == 14);
    }
    if (book == NULL) {
        return step_make(story, name);
    }
    switch (what) {
    case 0:
        return step_grow(story, book);
    case 1:
    case 2:
        return step_remove(story, book);
    case 3:
    case 4:
        return step_trim(story, book);
    default:
        return step_records(story, book, what < 9);
    }
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
    struct story *story;
    const struct disk_model *model;
    uint64_t seed;
    uint32_t at; /* moment */
    uint32_t number;
    bool lost;
    struct recorder gate;
    char data[96];
    struct node *node;
    struct ledger found[TOPICS_MAX][PARTITIONS_MAX]; /* what the first opening showed, and what was added to it */
    uint64_t random;
    struct err e;
};

static const struct record *newest_of(const struct state *s)
{
    return s->at > 0 ? &s->story->recorder.records[s->at - 1] : NULL;
}

static void require(struct state *s, bool good, const char *what)
{
    if (good) {
        return;
    }
    fprintf(stderr, "FAULT_STATE=%" PRIu64 ":%u:%u: %s: %s\n", s->seed, s->at, s->number, what, s->e.text);
    disk_states_print(s->model, newest_of(s), s->seed + s->at, s->number);
    fail_msg("FAULT_STATE=%" PRIu64 ":%u:%u: %s: %s", s->seed, s->at, s->number, what, s->e.text);
}

static void open_state(struct state *s, const char *what)
{
    s->e = (struct err){0};
    require(s, open_node(s->data, &s->gate, &s->node, &s->e) == 0, what);
}

/* The partition's own books, or those of what was found before; then what is found becomes the books. */
static void check_part(struct state *s, struct partition *part, const struct ledger *l, struct ledger *found,
                       bool first)
{
    struct image image;

    err_set(&s->e, 0, "%s, high watermark %" PRId64 ", end %" PRId64, partition_name(part),
            partition_high_watermark(part).offset, partition_log_end(part).offset);
    require(s, partition_state(part) == 0, "a partition is offline");
    require(s, partition_high_watermark(part).offset == partition_log_end(part).offset, "the high watermark");
    require(s, image_read(&image, part->log, &s->e) == 0, partition_name(part));
    if (first) {
        require(s, ledger_check(l, &image, s->at, s->lost, &s->e), partition_name(part));
        ledger_copy(found, l, &image);
    } else {
        require(s, ledger_check(found, &image, UINT32_MAX - 1, false, &s->e), partition_name(part));
    }
    image_free(&image);
}

static void check_topic(struct state *s, uint32_t number, bool first)
{
    const struct topic_book *book = &s->story->topics[number];
    struct topic *topic = node_topic(s->node, book->name);
    bool there = topic != NULL && strcmp(topic_id(topic), book->id) == 0;
    int32_t must = 0, may = 0;

    err_set(&s->e, 0, "%s, made %u to %u, gone %u to %u", book->name, book->made_begun, book->made_done,
            book->gone_begun, book->gone_done);
    require(s, there || book->made_done > s->at || book->gone_begun < s->at, "a topic is not there");
    require(s, !there || (book->made_begun < s->at && book->gone_done > s->at), "a topic is there");
    for (int32_t p = 0; p < book->partitions; p++) {
        must += book->part_done[p] <= s->at;
        may += book->part_begun[p] < s->at;
    }
    require(s, !there || (topic_partition_count(topic) >= must && topic_partition_count(topic) <= may),
            "the number of partitions");
    for (int32_t p = 0; there && p < topic_partition_count(topic); p++) {
        check_part(s, topic_partition(topic, p), &book->parts[p], &s->found[number][p], first);
    }
    if (topic != NULL) {
        topic_unref(topic);
    }
}

static void check_topics(struct state *s, bool first)
{
    struct topic **topics;
    size_t count;

    for (uint32_t i = 0; i < s->story->topic_count; i++) {
        check_topic(s, i, first);
    }
    assert_int_equal(node_topics(s->node, &topics, &count), 0);
    for (size_t i = 0; i < count; i++) {
        bool known = strcmp(topic_name(topics[i]), "more") == 0;

        for (uint32_t k = 0; k < s->story->topic_count; k++) {
            known = known || strcmp(topic_id(topics[i]), s->story->topics[k].id) == 0;
        }
        require(s, known, "a topic that nobody made");
        topic_unref(topics[i]);
    }
    free(topics);
}

/* A record more in each partition, flushed, and a new topic. */
static void go_on(struct state *s)
{
    struct topic *more;

    for (uint32_t i = 0; i < s->story->topic_count; i++) {
        struct topic *topic = node_topic(s->node, s->story->topics[i].name);

        for (int32_t p = 0; topic != NULL && p < topic_partition_count(topic); p++) {
            struct partition *part = topic_partition(topic, p);

            if (strcmp(topic_id(topic), s->story->topics[i].id) == 0) {
                require(s, append_line(part, &s->found[i][p], &s->random, 0, &s->e) == 0, "append");
                require(s, flush_part(part) == 0, "flush");
                ledger_acked(&s->found[i][p], 0, 0);
                ledger_event(&s->found[i][p], LEDGER_FLUSHED, ledger_end(&s->found[i][p]), 0, 0);
            }
        }
        if (topic != NULL) {
            topic_unref(topic);
        }
    }
    require(s, node_create_topic(s->node, "more", &attr, &s->e) == 0, "make another topic");
    more = node_topic(s->node, "more");
    require(s, partition_state(topic_partition(more, 0)) == 0, "another topic");
    topic_unref(more);
}

static void check_state(struct state *s)
{
    char path[80];

    states_checked++;
    s->random = s->seed + s->at;
    snprintf(path, sizeof path, "%s/state", base);
    snprintf(s->data, sizeof s->data, "%s/data", path);
    disk_states_build(s->model, newest_of(s), s->seed + s->at, s->number, path, &s->lost);
    recorder_init(&s->gate, false);
    open_state(s, "first opening");
    check_topics(s, true);
    kill_node(&s->gate, s->node);
    open_state(s, "second opening");
    check_topics(s, false);
    go_on(s);
    kill_node(&s->gate, s->node);
    open_state(s, "opening after appends");
    check_topics(s, false);
    require(s, node_close(s->node, &s->e) == 0, "clean stop");
    open_state(s, "opening after a clean stop");
    check_topics(s, false);
    require(s, node_close(s->node, &s->e) == 0, "clean stop");
    recorder_free(&s->gate);
    for (uint32_t i = 0; i < s->story->topic_count; i++) {
        for (int p = 0; p < PARTITIONS_MAX; p++) {
            ledger_free(&s->found[i][p]);
        }
    }
}

/* ---- all states ---- */

static bool is_wanted(const struct state *s)
{
    char id[64];

    snprintf(id, sizeof id, "%" PRIu64 ":%u:%u", s->seed, s->at, s->number);
    return wanted[0] == '\0' || strcmp(wanted, id) == 0;
}

static void check_moment(struct story *story, const struct disk_model *model, uint64_t seed, uint32_t at)
{
    const struct record *newest = at > 0 ? &story->recorder.records[at - 1] : NULL;
    uint32_t count = disk_states_count(model, newest, RANDOM_STATES);

    for (uint32_t number = 0; number < count; number++) {
        struct state *s = calloc(1, sizeof *s);

        assert_non_null(s);
        s->story = story;
        s->model = model;
        s->seed = seed;
        s->at = at;
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
    recorder_free(&story->recorder);
    for (uint32_t i = 0; i < story->topic_count; i++) {
        for (int p = 0; p < PARTITIONS_MAX; p++) {
            ledger_free(&story->topics[i].parts[p]);
        }
    }
    free(story);
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
