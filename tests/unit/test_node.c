/* A node on a directory of its own: topics, records and settings over stops, crashes and damage. */
#include "replication/node.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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
#include "replication/partition.h"

/* ---- fixture: a directory, a node in it ---- */

struct fixture {
    char dir[64];
    struct node *node;
};

static struct node *open_node(const char *dir)
{
    struct node *node;
    struct err e = {0};
    struct node_options options = {.data_dir = dir,
                                   .id = 1,
                                   .check_crcs = true,
                                   .log_retention_check_interval_ms = 300000,
                                   .log_cleaner_backoff_ms = 15000};
    int rc = node_open(&options, &node, &e);
    if (rc != 0)
        fail_msg("node_open: %d %s", rc, e.text);
    return node;
}

static void close_node(struct node *node)
{
    struct err e = {0};
    int rc = node_close(node, &e);
    if (rc != 0)
        fail_msg("node_close: %d %s", rc, e.text);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/logmnt-test-node-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->node = open_node(f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    if (f->node != NULL)
        close_node(f->node);
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void reopen(struct fixture *f)
{
    close_node(f->node);
    f->node = open_node(f->dir);
}

static const struct tree_attr attr = {.uid = 1000, .gid = 100, .dir_mode = 0755, .file_mode = 0644};

static void create(struct fixture *f, const char *name)
{
    struct err e = {0};
    if (node_create_topic(f->node, name, &attr, &e) != 0)
        fail_msg("create %s: %s", name, e.text);
}

/* Appends one batch of lines, each ending in a newline; returns the result of partition_append(). */
static int append(struct fixture *f, const char *topic_name, const char *lines, struct append_op *op)
{
    struct topic *topic = node_topic(f->node, topic_name);
    struct iovec iov = {.iov_base = (char *)lines, .iov_len = strlen(lines)};
    int64_t now_ms = clock_system()->wall_ms(clock_system());
    uint32_t records = 0;
    for (const char *c = lines; *c != '\0'; c++)
        records += *c == '\n';
    struct append_batch batch = {.iov = &iov,
                                 .iovcnt = 1,
                                 .len = (uint32_t)iov.iov_len,
                                 .records = records,
                                 .crc = crc32c(0, lines, iov.iov_len),
                                 .first_timestamp_ms = now_ms,
                                 .last_timestamp_ms = now_ms,
                                 .producer_id = -1,
                                 .sequence = -1};
    assert_non_null(topic);
    struct err e = {0};
    int rc = partition_append(topic_partition(topic, 0), &batch, ACKS_ALL, 30000, op, &e);
    topic_unref(topic);
    return rc;
}

static void append_ok(struct fixture *f, const char *topic, const char *lines)
{
    struct append_op op = {0};
    assert_int_equal(append(f, topic, lines, &op), 1);
}

/* The whole of partition 0 as text. */
static void assert_content(struct fixture *f, const char *topic_name, const char *expected)
{
    struct topic *topic = node_topic(f->node, topic_name);
    assert_non_null(topic);
    struct partition *part = topic_partition(topic, 0);
    int64_t end = partition_high_watermark(part).position, position = partition_log_start(part).position;
    char text[4096];
    size_t len = 0;
    struct log_extent extent;
    struct err e = {0};
    int rc;
    while ((rc = partition_extent_at(part, position, end, sizeof text, &extent, &e)) > 0) {
        assert_true(len + extent.len < sizeof text);
        assert_int_equal(pread(extent.fd, text + len, extent.len, extent.place), extent.len);
        len += extent.len;
        position = extent.position + (int64_t)extent.len;
        log_extent_release(&extent);
    }
    if (rc != 0)
        fail_msg("read %s: %d %s", topic_name, rc, e.text);
    text[len] = '\0';
    assert_string_equal(text, expected);
    topic_unref(topic);
}

/* ---- stories ---- */

static void test_append_read_close_reopen(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    append_ok(f, "orders", "one\ntwo\n");
    append_ok(f, "orders", "three\n");
    assert_content(f, "orders", "one\ntwo\nthree\n");
    reopen(f);
    assert_content(f, "orders", "one\ntwo\nthree\n");
    append_ok(f, "orders", "four\n");
    assert_content(f, "orders", "one\ntwo\nthree\nfour\n");

    struct topic *topic = node_topic(f->node, "orders");
    struct log_point hw = partition_high_watermark(topic_partition(topic, 0));
    assert_int_equal(hw.offset, 4);
    assert_int_equal(hw.position, 19);
    topic_unref(topic);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_append_read_close_reopen, setup, teardown),
    };
    return cmocka_run_group_tests_name("node", tests, NULL, NULL);
}
