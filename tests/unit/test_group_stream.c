/* tests/unit/test_group_stream.c: an open file of a group's stream, with requests of many threads in an order that the
 * test says (interface.md, Consumer groups). */
#include "tests/unit/one_thread.h"

#include "fs/base/limits.h"
#include "tests/unit/group_hands.h"
#include "tests/unit/group_stream_fixture.h"

/* ---- requests ---- */

/* How many bytes it was answered with. */
static size_t given(struct fuse_req *req)
{
    assert_true(is_answered(req));
    assert_int_equal(atomic_load(&req->err), 0);
    assert_non_null(req->bytes);
    free(req->bytes);
    return req->len;
}

/* A read at pos gets this, perhaps after a while. */
static void reads(struct stream *s, int64_t pos, const char *want)
{
    struct fuse_req req;
    begin_read(s, &req, 4096, pos);
    pass_until(is_answered(&req));
    assert_given(&req, want);
}

/* All that was delivered is committed. */
static void commits(struct stream *s)
{
    struct fuse_req req;
    begin_fsync(s, &req);
    pass_until(is_answered(&req));
    assert_int_equal(atomic_load(&req.err), 0);
}

/* ---- another member ---- */

static void on_changed(void *arg)
{
    (void)arg;
}

static struct group_member *join_another(struct fixture *f)
{
    struct group_join join = {.group = "kitchen", .topic = "orders", .pid = getpid(), .changed = on_changed};
    struct group_member *member;
    assert_int_equal(group_member_join(node_group_room(f->node), &join, &member), 0);
    return member;
}

/* How many partitions the stream's member has, or is asked to give up. */
static size_t parts_of(struct stream *s, bool revoked)
{
    struct group_stream *stream = s->handle->reader->group;
    size_t count = 0;
    for (size_t i = 0; i < stream->count; i++)
        count += stream->parts[i]->revoked == revoked;
    return count;
}

/* ---- tests ---- */

/* Another member comes; the reader has its hands in a record of the partition that is to go to it, so that it is not
 * given up; the other one leaves. What was withdrawn meanwhile is delivered by who has the partition still. */
static void what_was_withdrawn_comes_again_if_the_partition_stays(void **state)
{
    struct fixture *f = *state;
    struct stream s;
    make(f, "orders");
    add_partitions(f, 2);
    make_group(f);
    append_at(f, 1, "a;b\nc\nd\n");
    open_stream(&s, f->node, "kitchen");
    reads(&s, 0, "a;b\nc\nd\n");
    struct group_member *other = join_another(f);
    pass_until(parts_of(&s, true) == 1);
    assert_int_equal(parts_of(&s, false), 1);
    reads(&s, 2, "b\n");
    group_member_leave(other);
    pass_until(parts_of(&s, false) == 2);
    reads(&s, 4, "c\nd\n");
    close_stream(&s);
}

/* ---- a disk that cannot read a partition ---- */

static const char *unreadable; /* a part of its path; NULL: none */

static ssize_t bad_pread(struct io *io, int fd, void *buf, size_t len, int64_t at)
{
    char link[64], path[4096] = "";
    (void)io;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (unreadable != NULL && readlink(link, path, sizeof path - 1) > 0 && strstr(path, unreadable) != NULL)
        return -EIO;
    return io_posix()->pread(io_posix(), fd, buf, len, at);
}

/* Whoever writes to the one is faster than the reader: it never comes to its end. */
static void a_partition_that_failed_once_has_its_turn_again(void **state)
{
    struct fixture *f = *state;
    struct stream s;
    int64_t pos = 0;
    f->disk.io.pread = bad_pread;
    make(f, "orders");
    add_partitions(f, 2);
    make_group(f);
    open_stream(&s, f->node, "kitchen");
    struct fuse_req req;
    begin_read(&s, &req, 4096, 0);
    pass_until(parts_of(&s, false) == 2);
    unreadable = "/orders-0/";
    append_at(f, 0, "zero\n");
    append_at(f, 1, "one\n");
    pass_until(is_answered(&req));
    unreadable = NULL;
    for (int rounds = 0;; rounds++) {
        bool zero = strcmp(req.bytes, "zero\n") == 0;
        pos += (int64_t)given(&req);
        if (zero)
            break;
        assert_in_range(rounds, 0, 60); /* of 100 ms each */
        append_at(f, 1, "one\n");
        executor_pause(&hand.executor, 100);
        begin_read(&s, &req, 4096, pos);
        assert_true(is_answered(&req));
    }
    assert_true(pos > 5); /* it did fail */
    close_stream(&s);
}

/* ---- the power goes ---- */

/* The disk has what the group has committed, and of the records only so many bytes. */
static void lose_power(struct fixture *f, int64_t kept_bytes)
{
    char path[256];
    close_on_one(f);
    path_in(f, "clean-shutdown", path);
    assert_int_equal(unlink(path), 0);
    path_in(f, "recovery-point-offset-checkpoint", path);
    assert_int_equal(unlink(path), 0);
    path_in(f, "topics/orders-0/00000000000000000000.log", path);
    assert_int_equal(truncate(path, kept_bytes), 0);
    assert_int_equal(open_on_one(f), 0);
    executor_settle(&hand.executor);
}

/* What is written then has the offsets of what is lost: as many as were committed, more, and fewer. */
static void what_took_the_place_of_lost_records_is_given_out(void **state)
{
    static const char *const lines[] = {"four\n", "five\n", "six\n", "seven\n"};
    struct fixture *f = *state;
    struct stream s;
    make(f, "orders");
    make_group(f);
    append_at(f, 0, "one\n");
    append_at(f, 0, "two\n");
    append_at(f, 0, "three\n");
    open_stream(&s, f->node, "kitchen");
    reads(&s, 0, "one\ntwo\nthree\n");
    commits(&s);
    close_stream(&s);
    for (int left = 1; left <= 4; left++) { /* and what was given of those is lost as well, but the first one */
        char want[32] = "";
        lose_power(f, 4);
        for (int i = 0; i < left; i++) {
            append_at(f, 0, lines[i]);
            strcat(want, lines[i]);
        }
        open_stream(&s, f->node, "kitchen");
        reads(&s, 0, want);
        commits(&s);
        close_stream(&s);
        executor_settle(&hand.executor);
    }
}

/* All stood still for longer than session.timeout.ms: whether what it has is another's by then it has to hear first. */
static void who_stood_still_asks_before_it_goes_on(void **state)
{
    struct fixture *f = *state;
    struct stream s;
    struct fuse_req req;
    struct group_shares shares;
    make(f, "orders");
    make_group(f);
    append_at(f, 0, "one\n");
    open_stream(&s, f->node, "kitchen");
    reads(&s, 0, "one\n");
    append_at(f, 0, "two\n");
    atomic_fetch_add(&f->clock.passed_ms, 11000);
    begin_read(&s, &req, 4096, 4);
    assert_false(is_answered(&req));
    pass_until(is_answered(&req));
    assert_given(&req, "two\n");
    assert_int_equal(group_member_shares(s.handle->reader->group->member, &shares), 0);
    assert_int_equal(shares.shares[0].epoch, 1); /* it was not: the coordinator stood still, too */
    free(shares.shares);
    close_stream(&s);
}

/* It was put out for its silence. Its coordinator cannot write for now, so that it hears of that later than it is heard
 * of again: it does not go on in between. */
static void who_was_silent_goes_on_once_all_was_told(void **state)
{
    struct fixture *f = *state;
    struct stream s;
    struct fuse_req req;
    struct groups *groups = node_group_room(f->node);
    make(f, "orders");
    make_group(f);
    append_at(f, 0, "one\n");
    open_stream(&s, f->node, "kitchen");
    reads(&s, 0, "one\n");
    group_hands_lose(groups, true, false);
    pass_until(group_hands_readers(groups, "kitchen") == 0);
    append_at(f, 0, "two\n");
    begin_read(&s, &req, 4096, 4);
    assert_false(is_answered(&req));
    atomic_store(&f->disk.pwritev_rc, -ENOSPC);
    group_hands_lose(groups, false, false);
    struct group_op reset;
    group_hands_reset(groups, &reset);
    pass_until(group_hands_stalled(groups, "kitchen"));
    for (int beats = 0; beats < 10; beats++) {
        executor_pause(&hand.executor, LIMIT_GROUP_BEAT_MS);
        assert_false(is_answered(&req));
    }
    atomic_store(&f->disk.pwritev_rc, 0);
    pass_until(is_answered(&req));
    assert_given(&req, "one\ntwo\n"); /* by its new share */
    close_stream(&s);
}

/* So many records of 1,000 bytes, by the batch. */
static void append_many(struct fixture *f, int batches)
{
    enum { RECORD = 1000, RECORDS = 500 };
    char *lines = malloc(RECORDS * RECORD + 1);
    for (int batch = 0; batch < batches; batch++) {
        for (int i = 0; i < RECORDS; i++)
            sprintf(lines + (ptrdiff_t)i * RECORD, "%0*d\n", RECORD - 1, batch * RECORDS + i);
        append(f, "orders", lines);
    }
    free(lines);
}

/* Threads read at one position, where records come: the one whose work is done first goes on to that position, and the
 * other one's work is done then. What it asked for is more than a MiB back. */
static void a_read_is_overtaken(struct fixture *f, int batches, int64_t upto)
{
    struct stream s;
    struct fuse_req first, second;
    make(f, "orders");
    make_group(f);
    open_stream(&s, f->node, "kitchen");
    begin_read(&s, &first, 128 << 10, 0);
    begin_read(&s, &second, 128 << 10, 0);
    executor_pause(&hand.executor, 1000);
    assert_false(is_answered(&first) || is_answered(&second));
    append_many(f, batches);
    while (!is_answered(&first) && !is_answered(&second))
        assert_true(hand_step(&hand));
    struct fuse_req *early = is_answered(&first) ? &first : &second, *late = early == &first ? &second : &first;
    int64_t pos = (int64_t)given(early);
    while (pos < upto) {
        struct fuse_req req;
        begin_read(&s, &req, 128 << 10, pos);
        pos += (int64_t)given(&req);
    }
    assert_false(is_answered(late));
    executor_settle(&hand.executor);
    assert_true(is_answered(late));
    assert_int_equal(atomic_load(&late->err), EINVAL);
    assert_null(late->bytes);
    close_stream(&s);
}

static void a_read_that_others_went_on_from_is_refused(void **state)
{
    a_read_is_overtaken(*state, 6, 2500000);
}

static void a_read_that_is_long_forgotten_is_refused(void **state)
{
    a_read_is_overtaken(*state, 14, 6500000);
}

/* As far back as it may be read again. */
static void one_that_waits_keeps_little_but_the_last_mebibyte(void **state)
{
    enum { MIB = LIMIT_STREAM_BACK_BYTES, MOST = MIB + MIB / 4, ALL = 3000000 };
    struct fixture *f = *state;
    struct stream s;
    struct fuse_req req;
    make(f, "orders");
    make_group(f);
    open_stream(&s, f->node, "kitchen");
    begin_read(&s, &req, MIB, 0);
    executor_pause(&hand.executor, 1000);
    append_many(f, 6);
    for (int64_t pos = 0; pos < ALL;) {
        pass_until(is_answered(&req));
        pos += (int64_t)given(&req);
        begin_read(&s, &req, MIB, pos);
    }
    assert_false(is_answered(&req));
    assert_true(s.handle->reader->group->map.history.len == MIB);
    assert_true(s.handle->reader->group->map.history.capacity <= MOST);
    append(f, "orders", "more\n");
    pass_until(is_answered(&req));
    assert_given(&req, "more\n");
    begin_read(&s, &req, 1001, ALL - 1000); /* and may be read again */
    char want[1001];
    sprintf(want, "%0999d\n", 2999);
    pass_until(is_answered(&req));
    assert_given(&req, want);
    close_stream(&s);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_one, teardown_one)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(what_was_withdrawn_comes_again_if_the_partition_stays),
        STORY(a_partition_that_failed_once_has_its_turn_again),
        STORY(what_took_the_place_of_lost_records_is_given_out),
        STORY(who_stood_still_asks_before_it_goes_on),
        STORY(who_was_silent_goes_on_once_all_was_told),
        STORY(a_read_that_others_went_on_from_is_refused),
        STORY(a_read_that_is_long_forgotten_is_refused),
        STORY(one_that_waits_keeps_little_but_the_last_mebibyte),
    };
    return cmocka_run_group_tests_name("group_stream", tests, NULL, NULL);
}
