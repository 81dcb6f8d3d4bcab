/* A replica whose log is damaged gives itself up, and fetches all of it again from the leader: REPLICATION.md, rule 54.
 */
#include "tests/unit/cluster_orders.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/log/log_internal.h"

enum { LINES = 12 };

static void set_orders(const char *name, const char *value)
{
    struct cluster_op op;
    assert_int_equal(
        cluster_op_end(c, &op, node_set_config(c->nodes[1].node, cluster_op_init(&op), "orders", name, value)), 0);
}

/* Six closed segments of two lines each, on all nodes and flushed; the text is in *text. */
static void fill_orders(char *text, size_t size)
{
    struct appended appended;
    make_orders();
    set_orders("segment.bytes", "14");
    for (int i = 10; i < 10 + LINES; i++) {
        append_at(1, &appended, i);
        cluster_await(c, LONG_MS, appended.calls == 1);
        assert_int_equal(appended.rc, 0);
    }
    cluster_await(c, LONG_MS, is_same_everywhere(text, size));
    for (int32_t id = 1; id <= 3; id++)
        assert_int_equal(log_flush_all(partition_at(id)->log), 0);
}

static int32_t other_than(int32_t id)
{
    return id % 3 + 1;
}

static void file_of(int32_t id, const char *name, char out[256])
{
    snprintf(out, 256, "%s/topics/orders-0/%s", c->nodes[id].dir, name);
}

/* Another byte at that place of the first segment's log. */
static void flip(int32_t id, int64_t at)
{
    char path[256], byte;
    file_of(id, "00000000000000000000.log", path);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static bool was_fetched_again(int32_t id, const char *text)
{
    char now[256];
    if (log_is_damaged(partition_at(id)->log) || isr_at(id) != 3)
        return false;
    text_of(partition_at(id), now, sizeof now);
    return strcmp(now, text) == 0;
}

static void a_follower_that_cannot_open_its_log(void **state)
{
    char text[256], path[256];
    (void)state;
    fill_orders(text, sizeof text);
    int32_t id = other_than(leader_at(1));
    cluster_stop(c, id);
    file_of(id, "00000000000000000004.batches", path);
    assert_int_equal(truncate(path, 10), 0);
    cluster_start(c, id);
    assert_int_equal(partition_at(id)->disk.life, LIFE_DAMAGED);
    cluster_await(c, LONG_MS, was_fetched_again(id, text));
    /* It is whole for the next start, too. */
    cluster_stop(c, id);
    cluster_start(c, id);
    assert_int_equal(partition_at(id)->disk.life, LIFE_OPEN);
    cluster_await(c, LONG_MS, was_fetched_again(id, text));
}

static void a_follower_that_finds_wrong_bytes(void **state)
{
    char text[256];
    (void)state;
    fill_orders(text, sizeof text);
    int32_t leader = leader_at(1), id = other_than(leader), epoch = partition_at(leader)->leader_epoch;
    struct log_point shown = partition_high_watermark(partition_at(id));
    flip(id, 2);
    assert_int_equal(log_scrub(partition_at(id)->log, 1000, NULL), -EBADMSG);
    cluster_await(c, LONG_MS, isr_at(leader) == 2 || partition_at(id)->leader_epoch > epoch);
    assert_int_equal(partition_high_watermark(partition_at(id)).position, shown.position);
    cluster_await(c, LONG_MS, was_fetched_again(id, text));
    assert_int_equal(partition_high_watermark(partition_at(id)).position, shown.position);
    assert_int_equal(leader_at(id), leader);
}

/* As a cut that meets wrong bytes takes its log offline: what has taken its place is dropped likewise. */
static void a_follower_that_is_damaged_twice(void **state)
{
    char text[256];
    (void)state;
    fill_orders(text, sizeof text);
    int32_t id = other_than(leader_at(1));
    for (int i = 0; i < 2; i++) {
        log_go_offline(partition_at(id)->log, -EBADMSG, "wrong bytes");
        cluster_await(c, LONG_MS, was_fetched_again(id, text));
    }
}

/* Files that are gone, too: what is dropped does not have to be there. */
static void a_follower_whose_files_are_gone(void **state)
{
    char text[256], path[256];
    (void)state;
    fill_orders(text, sizeof text);
    int32_t id = other_than(leader_at(1));
    file_of(id, "00000000000000000008.log", path);
    assert_int_equal(unlink(path), 0);
    file_of(id, "00000000000000000004.batches", path);
    assert_int_equal(unlink(path), 0);
    flip(id, 2);
    assert_int_equal(log_scrub(partition_at(id)->log, 1000, NULL), -EBADMSG);
    cluster_await(c, LONG_MS, was_fetched_again(id, text));
}

/* A disk that fails at the drop itself is not tried again, whatever it says later. */
static void a_follower_whose_disk_fails_at_the_drop(void **state)
{
    char text[256], path[256];
    (void)state;
    fill_orders(text, sizeof text);
    int32_t leader = leader_at(1), id = other_than(leader);
    flip(id, 2);
    assert_int_equal(log_scrub(partition_at(id)->log, 1000, NULL), -EBADMSG);
    file_of(id, "leader-epochs.tmp", path);
    assert_int_equal(mkdir(path, 0700), 0); /* where a file is to be written */
    cluster_await(c, LONG_MS, log_offline(partition_at(id)->log) == -EIO);
    assert_int_equal(rmdir(path), 0);
    cluster_pass(c, 15000);
    assert_int_equal(log_offline(partition_at(id)->log), -EIO);
    assert_int_equal(isr_at(leader), 2);
    cluster_stop(c, id);
    cluster_start(c, id);
    cluster_await(c, LONG_MS, isr_at(leader) == 3);
    assert_int_equal(log_scrub(partition_at(id)->log, 1000, NULL), -EBADMSG);
    cluster_await(c, LONG_MS, was_fetched_again(id, text));
}

static void a_leader_that_finds_wrong_bytes(void **state)
{
    char text[256];
    struct appended appended;
    (void)state;
    fill_orders(text, sizeof text);
    int32_t leader = leader_at(1);
    flip(leader, 2);
    assert_int_equal(log_scrub(partition_at(leader)->log, 1000, NULL), -EBADMSG);
    append_at(other_than(leader), &appended, 99); /* on its way meanwhile */
    cluster_await(c, LONG_MS, leader_at(leader) != leader && leader_at(leader) != LEADER_NONE);
    cluster_await(c, LONG_MS, appended.calls == 1);
    assert_int_equal(appended.rc, 0);
    strcat(text, "99\n");
    cluster_await(c, LONG_MS, was_fetched_again(leader, text));
}

/* The other replica is down: what this one has is all there is. */
static void who_is_alone_in_sync_keeps_what_it_has(void **state)
{
    char text[256];
    struct appended appended;
    struct cluster_op op;
    (void)state;
    assert_int_equal(
        cluster_op_end(
            c, &op, node_set_config(c->nodes[1].node, cluster_op_init(&op), NULL, "default.replication.factor", "2")),
        0);
    assert_int_equal(cluster_mkdir(c, 1, "orders"), 0);
    cluster_await(c, LONG_MS, leader_at(1) != LEADER_NONE);
    int32_t leader = leader_at(1), other = partition_at(1)->registration.replicas.ids[1];
    assert_int_not_equal(leader, other);
    append_at(leader, &appended, 10);
    cluster_await(c, LONG_MS, appended.calls == 1 && appended.rc == 0);
    cluster_kill(c, other);
    cluster_await(c, LONG_MS, leader_at(leader) == leader && isr_at(leader) == 1);
    assert_int_equal(log_roll(partition_at(leader)->log, NULL), 0);
    flip(leader, 1);
    assert_int_equal(log_scrub(partition_at(leader)->log, 1000, NULL), -EBADMSG);
    cluster_pass(c, 3000);
    assert_int_equal(leader_at(leader), leader);
    assert_true(log_is_damaged(partition_at(leader)->log));
    /* What of it is whole is there for ever. */
    flip(leader, 1);
    text_of(partition_at(leader), text, sizeof text);
    assert_string_equal(text, "10\n");
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_three, cluster_teardown)
    const struct CMUnitTest tests[] = {
        STORY(a_follower_that_cannot_open_its_log),     STORY(a_follower_that_finds_wrong_bytes),
        STORY(a_follower_that_is_damaged_twice),        STORY(a_follower_whose_files_are_gone),
        STORY(a_follower_whose_disk_fails_at_the_drop), STORY(a_leader_that_finds_wrong_bytes),
        STORY(who_is_alone_in_sync_keeps_what_it_has),
    };
    return cmocka_run_group_tests_name("damaged replicas", tests, NULL, NULL);
}
