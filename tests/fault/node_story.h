/* tests/fault/node_story.h: a node on a recorded disk, worked on by a script that a seed decides, with its books kept:
 * which topics there are, how many partitions they have, and each partition's records (ledger.h). And the audit of a
 * node that was opened on what became of that disk.
 *
 * All of it is in this header, so that programs about a log alone link without replication/. */
#ifndef LOGMNT_TESTS_NODE_STORY_H
#define LOGMNT_TESTS_NODE_STORY_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/crc32c.h"
#include "replication/node/node.h"
#include "replication/node/node_internal.h"
#include "replication/replica/partition_internal.h"
#include "tests/fault/ledger.h"
#include "tests/fault/recorder.h"
#include "tests/unit/commands.h"

enum { TOPICS_MAX = 32, PARTITIONS_MAX = 3 };

static const char *const names[] = {"orders", "logs"};
static const struct tree_attr attr = {.dir_mode = 0755, .file_mode = 0644};

/* One topic from mkdir to rmdir. Moments; UINT32_MAX: never. */
struct topic_book {
    const char *name;
    char id[32]; /* "": it was never known to be made */
    uint32_t made_begun, made_done, gone_begun, gone_done;
    uint32_t part_begun[PARTITIONS_MAX], part_done[PARTITIONS_MAX];
    int32_t partitions;
    struct ledger parts[PARTITIONS_MAX];
};

struct story {
    struct recorder recorder;
    struct node *node; /* NULL: not open */
    char data[96];
    struct topic_book topics[TOPICS_MAX];
    uint32_t topic_count;
    uint64_t random;
    struct err e;
};

static inline uint32_t moment(struct story *story)
{
    return recorder_count(&story->recorder);
}

static inline void story_free(struct story *story)
{
    recorder_free(&story->recorder);
    for (uint32_t i = 0; i < story->topic_count; i++) {
        for (int p = 0; p < PARTITIONS_MAX; p++) {
            ledger_free(&story->topics[i].parts[p]);
        }
    }
    free(story);
}

/* ---- a node ---- */

static inline int open_node(const char *data, struct recorder *recorder, struct node **out, struct err *e)
{
    struct node_options options = {.data_dir = data,
                                   .id = 1,
                                   .check_crcs = true,
                                   .log_retention_check_interval_ms = 300000,
                                   .log_cleaner_backoff_ms = 15000,
                                   .io = &recorder->io};

    *out = NULL;
    return node_open(&options, out, e);
}

static inline void kill_node(struct recorder *recorder, struct node *node)
{
    recorder_stop(recorder);
    (void)node_close(node, NULL);
    recorder_resume(recorder);
}

static inline int append_line(struct partition *part, struct ledger *l, uint64_t *random, uint32_t begun, struct err *e)
{
    char line[300];
    uint32_t len = 1 + random_below(random, random_below(random, 4) == 0 ? sizeof line - 2 : 40);
    struct iovec iov = {line, len + 1};
    struct append_op op = {
        .part = part,
        .acks = ACKS_ALL,
        .timeout_ms = 1000,
        .batch = {.iov = &iov, .iovcnt = 1, .len = len + 1, .records = 1, .producer_id = -1, .sequence = -1}};
    struct append_batch *batch = &op.batch;
    int rc;

    for (uint32_t i = 0; i < len; i++) {
        line[i] = (char)('a' + random_below(random, 26));
    }
    line[len] = '\n';
    batch->crc = crc32c(0, line, len + 1);
    batch->first_timestamp_ms = clock_system()->wall_ms(clock_system());
    batch->last_timestamp_ms = batch->first_timestamp_ms;
    ledger_add(l, line, len + 1, -1, false, true, batch->first_timestamp_ms, begun);
    rc = partition_append_submit(&op, e);
    return rc == 1 ? 0 : rc < 0 ? rc : -EAGAIN;
}

struct waiter {
    struct log_flush flush;
    _Atomic int rc; /* 1: not yet */
};

static inline void on_flushed(struct log_flush *flush, int rc)
{
    atomic_store(&((struct waiter *)flush)->rc, rc);
}

static inline int flush_part(struct partition *part)
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

static inline struct topic_book *living(struct story *story, const char *name)
{
    for (uint32_t i = 0; i < story->topic_count; i++) {
        if (strcmp(story->topics[i].name, name) == 0 && story->topics[i].gone_begun == UINT32_MAX) {
            return &story->topics[i];
        }
    }
    return NULL;
}

static inline int step_make(struct story *story, const char *name)
{
    struct topic_book *book = &story->topics[story->topic_count++];
    struct topic *topic;
    int rc;

    *book = (struct topic_book){.name = name,
                                .made_begun = moment(story),
                                .made_done = UINT32_MAX,
                                .gone_begun = UINT32_MAX,
                                .gone_done = UINT32_MAX,
                                .partitions = 1};
    rc = create_topic(story->node, name, &attr, &story->e);
    if (rc != 0) {
        return rc;
    }
    book->made_done = book->part_done[0] = moment(story);
    book->part_begun[0] = book->made_begun;
    topic = node_topic(story->node, name);
    snprintf(book->id, sizeof book->id, "%s", topic_id(topic));
    topic_unref(topic);
    rc = set_config(story->node, name, "segment.bytes", "1024", &story->e);
    return rc == 0 ? set_config(story->node, name, "delete.topic.enable", "true", &story->e) : rc;
}

static inline int step_grow(struct story *story, struct topic_book *book)
{
    int32_t n = book->partitions;
    int rc;

    if (n == PARTITIONS_MAX) {
        return 0;
    }
    book->part_begun[n] = moment(story);
    book->part_done[n] = UINT32_MAX;
    book->partitions++;
    rc = create_partitions(story->node, book->name, n + 1, &story->e);
    if (rc == 0) {
        book->part_done[n] = moment(story);
    }
    return rc;
}

static inline int step_remove(struct story *story, struct topic_book *book)
{
    int rc;

    book->gone_begun = moment(story);
    rc = delete_topic(story->node, book->name, &story->e);
    if (rc == 0) {
        book->gone_done = moment(story);
    }
    return rc;
}

/* How many partitions are known to have been made. */
static inline int32_t count_made(const struct topic_book *book)
{
    int32_t n = book->partitions;

    while (n > 1 && book->part_done[n - 1] == UINT32_MAX) {
        n--;
    }
    return n;
}

static inline int step_records(struct story *story, struct topic_book *book, bool flush)
{
    struct topic *topic = node_topic(story->node, book->name);
    int32_t index = (int32_t)random_below(&story->random, (uint32_t)count_made(book));
    struct partition *part = topic_partition(topic, index);
    struct ledger *l = &book->parts[index];
    int rc = 0;

    for (uint32_t n = 1 + random_below(&story->random, 6); n > 0 && rc == 0; n--) {
        int64_t from = l->count;

        rc = append_line(part, l, &story->random, moment(story), &story->e);
        if (rc == 0) {
            ledger_acked(l, from, moment(story));
        } else if (rc == -ENOSPC) {
            ledger_take_back(l, from);
        }
    }
    if (rc == 0 && flush) {
        rc = flush_part(part);
        if (rc == 0) {
            ledger_event(l, LEDGER_FLUSHED, ledger_end(l), 0, moment(story));
        } else {
            err_set(&story->e, rc, "flush failed"); /* done() is told only the errno */
        }
    }
    topic_unref(topic);
    return rc;
}

static inline int step_trim(struct story *story, struct topic_book *book)
{
    struct topic *topic = node_topic(story->node, book->name);
    struct ledger *l = &book->parts[0];
    struct log_point to = ledger_point(l, random_below(&story->random, (uint32_t)l->count + 1));
    int rc;

    ledger_event(l, LEDGER_STARTED, to, moment(story), moment(story));
    rc = delete_records(topic_partition(topic, 0), to.position, &story->e);
    if (rc == 0) {
        ledger_event(l, LEDGER_TRIMMED, to, 0, moment(story));
    }
    topic_unref(topic);
    return rc;
}

/* A clean stop has everything on the disk. */
static inline int step_reopen(struct story *story, bool clean)
{
    struct node *node = story->node;
    int rc = 0;

    story->node = NULL;
    if (clean) {
        rc = node_close(node, &story->e);
    } else {
        kill_node(&story->recorder, node);
    }
    for (uint32_t i = 0; i < story->topic_count && clean && rc == 0; i++) {
        for (int32_t p = 0; p < story->topics[i].partitions; p++) {
            struct ledger *l = &story->topics[i].parts[p];

            ledger_event(l, LEDGER_FLUSHED, ledger_end(l), 0, moment(story));
        }
    }
    return rc == 0 ? open_node(story->data, &story->recorder, &story->node, &story->e) : rc;
}

static inline int step(struct story *story)
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

/* ---- the audit ---- */

/* A node that was opened on what a story left. */
struct audit {
    const struct story *story;
    uint32_t at; /* moment */
    bool lost;   /* the power went */
    struct recorder gate;
    char data[96];
    struct node *node;
    struct ledger found[TOPICS_MAX][PARTITIONS_MAX]; /* what the first opening showed, and what was added to it */
    uint64_t random;
    struct err e;
    void (*wrong)(struct audit *s, const char *what); /* does not return */
};

static inline void audit_free(struct audit *s)
{
    recorder_free(&s->gate);
    for (uint32_t i = 0; i < s->story->topic_count; i++) {
        for (int p = 0; p < PARTITIONS_MAX; p++) {
            ledger_free(&s->found[i][p]);
        }
    }
}

static inline void require(struct audit *s, bool good, const char *what)
{
    if (!good) {
        s->wrong(s, what);
    }
}

static inline void open_state(struct audit *s, const char *what)
{
    s->e = (struct err){0};
    require(s, open_node(s->data, &s->gate, &s->node, &s->e) == 0, what);
}

/* The partition's own books, or those of what was found before; then what is found becomes the books. */
static inline void check_part(struct audit *s, struct partition *part, const struct ledger *l, struct ledger *found,
                              bool first)
{
    struct image image;

    err_set(&s->e, 0, "%s, high watermark %" PRId64 ", end %" PRId64, partition_name(part),
            partition_high_watermark(part).offset, partition_log_end(part).offset);
    require(s, partition_state(part) == 0, "a partition is offline");
    require(s, partition_high_watermark(part).offset == partition_log_end(part).offset, "the high watermark");
    require(s, image_read(&image, part->log, &s->e) == 0, partition_name(part));
    if (first) {
        require(s, ledger_check(l, &image, s->at, s->lost, &s->e) != NULL, partition_name(part));
        ledger_copy(found, l, &image);
    } else {
        require(s, ledger_check(found, &image, UINT32_MAX - 1, false, &s->e) != NULL, partition_name(part));
    }
    image_free(&image);
}

static inline void check_topic(struct audit *s, uint32_t number, bool first)
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

static inline void check_topics(struct audit *s, bool first)
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
            const struct topic_book *book = &s->story->topics[k];

            known = known || strcmp(topic_id(topics[i]), book->id) == 0 ||
                    (book->id[0] == '\0' && strcmp(topic_name(topics[i]), book->name) == 0);
        }
        require(s, known, "a topic that nobody made");
        topic_unref(topics[i]);
    }
    free(topics);
}

/* A record more in each partition, flushed, and a new topic. */
static inline void go_on(struct audit *s)
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
    require(s, create_topic(s->node, "more", &attr, &s->e) == 0, "make another topic");
    more = node_topic(s->node, "more");
    require(s, partition_state(topic_partition(more, 0)) == 0, "another topic");
    topic_unref(more);
}

static inline int check_directory(void *arg, const char *name)
{
    struct audit *s = arg;

    err_set(&s->e, 0, "topics/%s", name);
    require(s, manager_has_partition(&s->node->replicas, name), "a directory that is no partition's");
    return 0;
}

/* What deletions left has gone. */
static inline void check_directories(struct audit *s)
{
    executor_settle(s->node->executor);
    require(s, s->node->io->list(s->node->io, s->node->replicas.topics_dirfd, check_directory, s) == 0, "list");
}

/* Opened, killed, opened, appended to, killed, opened, closed, opened: each time it has what it must have. */
static inline void audit_node(struct audit *s)
{
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
    check_directories(s);
    require(s, node_close(s->node, &s->e) == 0, "clean stop");
}

#endif
