/* tests/unit/test_produce.c: writes of one open file that come side by side, as the kernel does not send them. */
#include "tests/unit/session_fixture.h"

enum { WRITES = 20 };

/* An open `.any` of a topic of one partition, where what is appended waits for a second replica. */
struct story {
    struct opened any;
    struct fixture *f;
    struct fuse_req reqs[WRITES];
};

static void begin(struct story *s, struct fixture *f)
{
    s->f = f;
    create(f, "orders");
    set(f, "orders", "min.insync.replicas", "2");
    open_any(&s->any, f, "orders");
    s->any.options.linger_ms = 0;
}

static void send(struct story *s, int i, const char *text)
{
    fake_fuse_request(&s->reqs[i], getpid());
    write_to(&s->reqs[i], s->any.handle, text, strlen(text), O_WRONLY | O_APPEND);
}

static void let_go(struct story *s)
{
    set(s->f, "orders", "min.insync.replicas", "1");
}

/* It was answered once, with this. */
static void is_answered(struct story *s, int i, int err, size_t written)
{
    wait_until(atomic_load(&s->reqs[i].answers) > 0);
    assert_int_equal(atomic_load(&s->reqs[i].answers), 1);
    assert_int_equal(atomic_load(&s->reqs[i].err), err);
    assert_int_equal(atomic_load(&s->reqs[i].written), written);
}

static void is_waiting(struct story *s, int i)
{
    assert_int_equal(atomic_load(&s->reqs[i].answers), 0);
}

/* What the last close would append. */
static void over(struct story *s)
{
    produce_release(s->any.handle);
    close_any(&s->any);
}

static void one_that_comes_while_another_waits_goes_on_with_its_line(void **state)
{
    struct story s;
    begin(&s, *state);
    send(&s, 0, "one\nuser=");
    send(&s, 1, "joe\nx");
    is_waiting(&s, 0);
    is_waiting(&s, 1);
    let_go(&s);
    is_answered(&s, 0, 0, 9);
    is_answered(&s, 1, 0, 5);
    assert_content(s.f, "orders", "one\nuser=joe\n");
    over(&s);
    assert_content(*state, "orders", "one\nuser=joe\nx\n");
}

static void a_look_after_the_close_waits_for_the_last_line(void **state)
{
    struct story s;
    struct fuse_req close;
    begin(&s, *state);
    send(&s, 0, "rest");
    is_answered(&s, 0, 0, 4);
    fake_fuse_request(&close, getpid());
    produce_flush(&close, s.any.handle);
    produce_release(s.any.handle);
    assert_true(fence_is_up(s.any.handle->pfile->fence));
    let_go(&s);
    wait_until(!fence_is_up(s.any.handle->pfile->fence));
    assert_content(s.f, "orders", "rest\n");
    close_any(&s.any);
}

static void they_are_appended_in_the_order_in_which_they_came(void **state)
{
    struct story s;
    char expected[WRITES * 16] = "";
    char text[16];
    begin(&s, *state);
    for (int i = 0; i < WRITES; i++) {
        snprintf(text, sizeof text, "%s%d", i > 0 ? "\n" : "", i);
        strcat(expected, text);
        send(&s, i, text);
    }
    let_go(&s);
    for (int i = 0; i < WRITES; i++)
        is_answered(&s, i, 0, strlen(i == 0 ? "0" : i < 10 ? "\n0" : "\n10"));
    over(&s);
    assert_content(*state, "orders", strcat(expected, "\n"));
}

static void one_that_waits_for_its_turn_can_be_interrupted(void **state)
{
    struct story s;
    begin(&s, *state);
    send(&s, 0, "one\n");
    send(&s, 1, "two\n");
    send(&s, 2, "three\n");
    fake_fuse_interrupt(&s.reqs[1]);
    is_answered(&s, 1, EINTR, 0);
    is_waiting(&s, 0);
    let_go(&s);
    is_answered(&s, 0, 0, 4);
    is_answered(&s, 2, 0, 6);
    assert_content(s.f, "orders", "one\nthree\n");
    over(&s);
}

static void when_the_one_that_has_the_turn_is_interrupted_the_next_has_it(void **state)
{
    struct story s;
    begin(&s, *state);
    send(&s, 0, "one\nrest");
    send(&s, 1, "two\n");
    fake_fuse_interrupt(&s.reqs[0]);
    is_answered(&s, 0, EINTR, 0);
    is_waiting(&s, 1);
    let_go(&s);
    is_answered(&s, 1, 0, 4);
    assert_content(s.f, "orders", "two\n");
    over(&s);
}

static void the_end_of_the_session_ends_them_all(void **state)
{
    struct story s;
    begin(&s, *state);
    for (int i = 0; i < WRITES; i++)
        send(&s, i, "line\n");
    parks_abort(&s.any.session);
    for (int i = 0; i < WRITES; i++)
        is_answered(&s, i, ENOTCONN, 0);
    let_go(&s);
    assert_content(s.f, "orders", "");
    over(&s);
}

static void a_full_buffer_memory_holds_the_turn(void **state)
{
    struct story s;
    begin(&s, *state);
    s.any.options.linger_ms = INT64_C(1) << 40;
    struct accumulator_waiter all = {.len = (size_t)s.any.options.buffer_memory_bytes};
    assert_true(accumulators_reserve(s.any.session.accumulators, &all));
    send(&s, 0, "one\nuser=");
    send(&s, 1, "joe\n");
    is_waiting(&s, 0);
    is_waiting(&s, 1);
    accumulators_give_back(s.any.session.accumulators, all.len);
    is_answered(&s, 0, 0, 9);
    is_answered(&s, 1, 0, 4);
    let_go(&s);
    accumulators_drain(s.any.session.accumulators, s.f->node);
    assert_content(s.f, "orders", "one\nuser=joe\n");
    over(&s);
}

/* ---- who is told that it is being appended to ---- */

/* As close(2) of a descriptor that is not the last one. */
static void close_one(struct story *s, struct fuse_req *req)
{
    fake_fuse_request(req, getpid());
    produce_flush(req, s->any.handle);
}

static int appending(struct story *s)
{
    assert_int_equal(atomic_load(&s->any.vnode->appending), atomic_load(&s->any.handle->pfile->appending));
    return atomic_load(&s->any.vnode->appending);
}

static void a_close_beside_writes_does_not_end_them(void **state)
{
    struct story s;
    struct fuse_req closes[3];
    int beside_two, beside_one, not_closed, closed;
    begin(&s, *state);
    send(&s, 0, "one\n");
    send(&s, 1, "two\n");
    close_one(&s, &closes[0]);
    beside_two = appending(&s);
    fake_fuse_interrupt(&s.reqs[1]); /* it waits for its turn */
    is_answered(&s, 1, EINTR, 0);
    close_one(&s, &closes[1]);
    beside_one = appending(&s);
    let_go(&s);
    is_answered(&s, 0, 0, 4);
    not_closed = appending(&s);
    close_one(&s, &closes[2]);
    closed = appending(&s);
    over(&s);
    for (int i = 0; i < 3; i++)
        assert_int_equal(atomic_load(&closes[i].answers), 1);
    assert_int_equal(beside_two, 1);
    assert_int_equal(beside_one, 1);
    assert_int_equal(not_closed, 1);
    assert_int_equal(closed, 0);
}

static void what_lingers_is_being_appended_until_the_close_is_answered(void **state)
{
    struct story s;
    struct fuse_req close;
    int answers, before, after;
    begin(&s, *state);
    s.any.options.linger_ms = INT64_C(1) << 40;
    send(&s, 0, "one\n");
    is_answered(&s, 0, 0, 4);
    close_one(&s, &close);
    answers = atomic_load(&close.answers);
    before = appending(&s);
    let_go(&s);
    wait_until(atomic_load(&close.answers) == 1);
    after = appending(&s);
    accumulators_drain(s.any.session.accumulators, s.f->node); /* the alarm */
    over(&s);
    assert_int_equal(atomic_load(&close.err), 0);
    assert_int_equal(answers, 0);
    assert_int_equal(before, 1);
    assert_int_equal(after, 0);
}

static void one_that_is_refused_is_over(void **state)
{
    struct story s;
    struct fuse_req close;
    begin(&s, *state);
    fake_fuse_request(&s.reqs[0], getpid());
    write_to(&s.reqs[0], s.any.handle, "one\n", 4, O_WRONLY);
    is_answered(&s, 0, EPERM, 0);
    close_one(&s, &close);
    assert_int_equal(appending(&s), 0);
    over(&s);
}

/* ---- threads ---- */

enum { THREADS = 4, OF_EACH = 200, PIECE_BYTES = 6 };

struct writer {
    struct story *s;
    int id;
    pthread_t thread;
};

/* Pieces of lines: "<A7>" with its number in two letters, every third with its newline. */
static int piece(char out[8], int id, int i)
{
    return snprintf(out, 8, "<%c%c%c>%s", 'A' + id, 'a' + i / 26, 'a' + i % 26, i % 3 == 0 ? "\n" : "");
}

static void *write_pieces(void *arg)
{
    struct writer *writer = arg;
    for (int i = 0; i < OF_EACH; i++) {
        struct fuse_req req;
        char text[8];
        int len = piece(text, writer->id, i);
        fake_fuse_request(&req, getpid());
        write_to(&req, writer->s->any.handle, text, (size_t)len, O_WRONLY | O_APPEND);
        wait_until(atomic_load(&req.answers) == 1);
        assert_int_equal(atomic_load(&req.written), (size_t)len);
    }
    return NULL;
}

static void threads_that_write_at_once_tear_nothing(void **state)
{
    static char seen[THREADS * OF_EACH * PIECE_BYTES + 2];
    struct story s;
    struct writer writers[THREADS];
    int next[THREADS] = {0};
    begin(&s, *state);
    let_go(&s);
    for (int i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){.s = &s, .id = i};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_pieces, &writers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(writers[i].thread, NULL);
    over(&s);
    content(*state, "orders", seen, sizeof seen);
    int len = (int)strlen(seen);
    for (int at = 0; at < len - 1;) {
        int id = seen[at + 1] - 'A';
        char text[8];
        assert_in_range(id, 0, THREADS - 1);
        int piece_len = piece(text, id, next[id]++);
        assert_memory_equal(seen + at, text, (size_t)piece_len);
        at += piece_len;
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(next[i], OF_EACH);
}

#define STORY(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(one_that_comes_while_another_waits_goes_on_with_its_line),
        STORY(a_look_after_the_close_waits_for_the_last_line),
        STORY(they_are_appended_in_the_order_in_which_they_came),
        STORY(one_that_waits_for_its_turn_can_be_interrupted),
        STORY(when_the_one_that_has_the_turn_is_interrupted_the_next_has_it),
        STORY(the_end_of_the_session_ends_them_all),
        STORY(a_full_buffer_memory_holds_the_turn),
        STORY(a_close_beside_writes_does_not_end_them),
        STORY(what_lingers_is_being_appended_until_the_close_is_answered),
        STORY(one_that_is_refused_is_over),
        STORY(threads_that_write_at_once_tear_nothing),
    };
    return cmocka_run_group_tests_name("produce", tests, NULL, NULL);
}
