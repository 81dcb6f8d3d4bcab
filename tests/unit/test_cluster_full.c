/* A follower whose disk is full comes back once its leader has removed what lies there, with no more room than its
 * reserve to begin with: REPLICATION.md, rule 45; OPERATIONS.md, "Disk full". */
#include "tests/unit/cluster_orders.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/log/log_internal.h"

enum { FIRST = 10, LINES = 12, LINE_BYTES = 3 };

/* ---- a disk that is full until a segment's bytes go ---- */

enum full {
    ROOM,
    FULL,          /* nothing can be written */
    FULL_OF_FILES, /* no segment's file can be made */
};

static enum full full;
static char reserve_path[128];

/* What the reserve holds is all that there is. */
static bool is_full(void)
{
    struct stat st;
    return full != ROOM && (stat(reserve_path, &st) != 0 || st.st_size > 0);
}

static ssize_t full_pwritev(struct io *io, int fd, const struct iovec *iov, int iovcnt, int64_t at)
{
    (void)io;
    return full == FULL && is_full() ? -ENOSPC : io_posix()->pwritev(io_posix(), fd, iov, iovcnt, at);
}

static int full_open(struct io *io, int dirfd, const char *name, int flags, mode_t mode)
{
    bool makes = (flags & O_CREAT) != 0 && faccessat(dirfd, name, F_OK, 0) != 0;
    (void)io;
    if (makes && (full == FULL || strncmp(name, "000000", 6) == 0) && is_full())
        return -ENOSPC;
    return io_posix()->open(io_posix(), dirfd, name, flags, mode);
}

static int full_unlink(struct io *io, int dirfd, const char *name, int flags)
{
    int rc = io_posix()->unlink(io_posix(), dirfd, name, flags);
    (void)io;
    if (rc == 0 && strstr(name, ".log.") != NULL &&
        (strstr(name, ".deleted") != NULL || strstr(name, ".truncated") != NULL))
        full = ROOM;
    return rc;
}

static void fill_disk(int32_t id, enum full how)
{
    struct io *io = &c->nodes[id].disk.io;
    snprintf(reserve_path, sizeof reserve_path, "%s/reserve", c->nodes[id].dir);
    io->pwritev = full_pwritev;
    io->open = full_open;
    io->unlink = full_unlink;
    full = how;
}

/* ---- what it says ---- */

static int cut_lines, anew_lines, start_lines;

static void count_line(int level, const char *line)
{
    cut_lines += strstr(line, "reset orders-0: ") != NULL;
    anew_lines += strstr(line, "orders-0: begins anew") != NULL;
    start_lines += strstr(line, "orders-0: follow the log start: ") != NULL;
    log_to_stderr(level, line);
}

static int setup_counting(void **state)
{
    cut_lines = anew_lines = start_lines = 0;
    full = ROOM;
    log_sink_set(count_line);
    return setup_three(state);
}

static int teardown_counting(void **state)
{
    full = ROOM;
    log_sink_set(NULL);
    return cluster_teardown(state);
}

/* ---- a topic, and what is removed from it ---- */

static void append_lines(int32_t id, int from, int count)
{
    struct appended appended;
    for (int i = from; i < from + count; i++) {
        append_at(id, &appended, i);
        cluster_await(c, LONG_MS, appended.calls == 1);
        assert_int_equal(appended.rc, 0);
    }
}

/* LINES lines everywhere. Returns a node that leads neither them nor the quorum. */
static int32_t fill_orders(const char *segment_bytes)
{
    static char text[1 << 10];
    struct cluster_op op;
    int32_t id = 1;
    make_orders();
    assert_int_equal(
        cluster_op_end(
            c, &op, node_set_config(c->nodes[1].node, cluster_op_init(&op), "orders", "segment.bytes", segment_bytes)),
        0);
    append_lines(leader_at(1), FIRST, LINES);
    cluster_await(c, LONG_MS, is_same_everywhere(text, sizeof text));
    while (id == leader_at(1) || id == cluster_leader(c))
        id++;
    return id;
}

/* DeleteRecords on the leader: so many lines. */
static void remove_lines(int lines)
{
    struct deleted deleted = {.op = {.position = (int64_t)lines * LINE_BYTES, .done = on_deleted}};
    assert_int_equal(partition_delete_records(partition_at(leader_at(1)), &deleted.op), 0);
    cluster_await(c, LONG_MS, deleted.calls == 1);
    assert_int_equal(deleted.rc, 0);
}

static struct log *log_at(int32_t id)
{
    return partition_at(id)->log;
}

static bool is_back(int32_t id)
{
    int32_t leader = leader_at(1);
    return isr_at(leader) == 3 && log_start(log_at(id)).offset == log_start(log_at(leader)).offset &&
           log_end(log_at(id)).offset == log_end(log_at(leader)).offset;
}

/* ---- stories ---- */

static void all_that_it_has_is_removed(void **state)
{
    (void)state;
    int32_t id = fill_orders("1000000"), leader = leader_at(1);
    fill_disk(id, FULL);
    append_lines(leader, FIRST + LINES, LINES);
    assert_int_equal(isr_at(leader), 2);
    remove_lines(2 * LINES);
    cluster_await(c, LONG_MS, is_back(id));
    assert_int_equal(log_start(log_at(id)).offset, 2 * LINES);
    assert_int_equal(full, ROOM);
    assert_int_equal(anew_lines, 1);
    assert_int_equal(cut_lines, 0);
    append_lines(leader, FIRST, LINES);
    cluster_await(c, LONG_MS, is_back(id));
}

static void it_is_started_again_in_between(void **state)
{
    (void)state;
    int32_t id = fill_orders("1000000"), leader = leader_at(1);
    fill_disk(id, FULL);
    append_lines(leader, FIRST + LINES, LINES);
    full = ROOM; /* its stop alone */
    cluster_kill(c, id);
    full = FULL;
    remove_lines(2 * LINES);
    cluster_start(c, id);
    cluster_await(c, LONG_MS, partition_at(id) != NULL && is_back(id));
    assert_int_equal(full, ROOM);
}

static void a_part_of_what_it_has_is_removed(void **state)
{
    (void)state;
    int32_t id = fill_orders("14"), leader = leader_at(1); /* four lines a segment */
    fill_disk(id, FULL);
    append_lines(leader, FIRST + LINES, LINES);
    assert_int_equal(isr_at(leader), 2);
    remove_lines(LINES / 2);
    cluster_await(c, LONG_MS, is_back(id));
    assert_int_equal(log_start(log_at(id)).offset, LINES / 2);
    assert_int_equal(anew_lines + cut_lines, 0);
}

/* The checkpoint finds room, and the segment that is to take the place of the last one does not. */
static void all_is_removed_and_it_has_all(void **state)
{
    (void)state;
    int32_t id = fill_orders("1000000");
    fill_disk(id, FULL_OF_FILES);
    remove_lines(LINES);
    cluster_await(c, LONG_MS, full == ROOM);
    assert_int_equal(log_start(log_at(id)).offset, LINES);
    assert_int_equal(log_at(id)->segments[0]->base.offset, LINES);
    assert_true(is_back(id));
}

static void a_damaged_log_is_dropped(void **state)
{
    char path[256];
    (void)state;
    int32_t id = fill_orders("14");
    for (int32_t each = 1; each <= 3; each++)
        assert_int_equal(log_flush_all(log_at(each)), 0);
    snprintf(path, sizeof path, "%s/topics/orders-0/00000000000000000000.log", c->nodes[id].dir);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "?", 1, 1), 1);
    close(fd);
    fill_disk(id, FULL);
    assert_int_equal(log_scrub(log_at(id), 1000, NULL), -EBADMSG);
    cluster_await(c, LONG_MS, full == ROOM && !log_is_damaged(log_at(id)) && is_back(id));
}

static void its_log_is_cut_where_it_parts(void **state)
{
    struct err e = {0};
    (void)state;
    int32_t id = fill_orders("1000000");
    struct partition *part = partition_at(id);
    fill_disk(id, FULL);
    int rc = partition_cut(part, atomic_load(&part->leader_epoch), (struct log_point){3, (int64_t)3 * LINE_BYTES}, &e);
    if (rc != 0)
        fail_msg("%s", e.text);
    assert_int_equal(log_end(log_at(id)).offset, 3);
}

/* The reserve is gone, too. */
static void what_it_cannot_do_it_says_once(void **state)
{
    (void)state;
    int32_t id = fill_orders("1000000"), leader = leader_at(1);
    fill_disk(id, FULL);
    append_lines(leader, FIRST + LINES, LINES);
    c->nodes[id].node->reserve.bytes = 0;
    remove_lines(2 * LINES);
    cluster_pass(c, 20000);
    assert_int_equal(full, FULL);
    assert_int_equal(cut_lines, 1);
    assert_int_equal(anew_lines, 1);
    full = ROOM;
    cluster_await(c, LONG_MS, is_back(id));
    assert_int_equal(cut_lines, 1);
    assert_int_equal(anew_lines, 1);
}

static void nor_does_it_say_twice_that_it_cannot_follow_the_log_start(void **state)
{
    (void)state;
    int32_t id = fill_orders("14"), leader = leader_at(1);
    fill_disk(id, FULL);
    append_lines(leader, FIRST + LINES, LINES);
    c->nodes[id].node->reserve.bytes = 0;
    remove_lines(LINES / 2);
    cluster_pass(c, 20000);
    assert_int_equal(full, FULL);
    assert_int_equal(start_lines, 1);
    full = ROOM;
    cluster_await(c, LONG_MS, is_back(id));
    assert_int_equal(start_lines, 1);
}

/* What was given up for a deletion is not for what the leader sends of other partitions. */
static void nothing_is_copied_into_the_reserve(void **state)
{
    (void)state;
    int32_t id = fill_orders("1000000"), leader = leader_at(1);
    struct reserve *reserve = &c->nodes[id].node->reserve;
    assert_true(reserve_begin(reserve, -ENOSPC));
    append_lines(leader, FIRST + LINES, 1);
    assert_int_equal(log_end(log_at(id)).offset, LINES);
    reserve_end(reserve);
    cluster_await(c, LONG_MS, is_back(id));
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_counting, teardown_counting)
    const struct CMUnitTest tests[] = {
        STORY(all_that_it_has_is_removed),         STORY(it_is_started_again_in_between),
        STORY(a_part_of_what_it_has_is_removed),   STORY(all_is_removed_and_it_has_all),
        STORY(a_damaged_log_is_dropped),           STORY(its_log_is_cut_where_it_parts),
        STORY(what_it_cannot_do_it_says_once),     STORY(nor_does_it_say_twice_that_it_cannot_follow_the_log_start),
        STORY(nothing_is_copied_into_the_reserve),
    };
    return cmocka_run_group_tests_name("cluster_full", tests, NULL, NULL);
}
