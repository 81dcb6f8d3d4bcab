/* tests/unit/test_last_line.c: what a write(2) has taken is not lost for want of memory: a last line at the last close,
 * lines that linger. The program is linked with --wrap for the allocator, so that memory can end for a thread. */
#include "tests/unit/session_fixture.h"

#include "fs/produce/sync.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static _Thread_local bool memory_ended;
static _Thread_local int refused;

static bool refuse(void)
{
    refused += memory_ended;
    return memory_ended;
}

void *__wrap_malloc(size_t size)
{
    return refuse() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return refuse() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return refuse() ? NULL : __real_realloc(old, size);
}

/* An open `.any` of a topic of one partition. */
struct story {
    struct opened any;
    struct fixture *f;
    char topic[16];
};

static void begin(struct story *s, struct fixture *f, int64_t linger_ms, const char *min_insync)
{
    static int count;
    s->f = f;
    snprintf(s->topic, sizeof s->topic, "orders%d", count++);
    create(f, s->topic);
    set(f, s->topic, "min.insync.replicas", min_insync);
    open_any(&s->any, f, s->topic);
    s->any.options.linger_ms = linger_ms;
}

static void write_text(struct story *s, const char *text)
{
    struct fuse_req req;
    fake_fuse_request(&req, getpid());
    write_to(&req, s->any.handle, text, strlen(text), O_WRONLY | O_APPEND);
    wait_until(atomic_load(&req.answers) == 1);
    assert_int_equal(atomic_load(&req.written), strlen(text));
}

/* The last close, which finds no memory for anything. */
static void release_without_memory(struct story *s)
{
    refused = 0;
    memory_ended = true;
    produce_release(s->any.handle);
    memory_ended = false;
    assert_true(refused > 0);
}

static bool holds(struct story *s, const char *text)
{
    char got[256] = "";
    return content(s->f, s->topic, got, sizeof got) == 0 && strcmp(got, text) == 0;
}

static void comes_to_hold(struct story *s, const char *text)
{
    wait_until((pass_ms(s->f, LIMIT_APPEND_AGAIN_MS), holds(s, text)));
    executor_settle(s->f->node->executor); /* what was told of it has done what it does then */
}

static void over(struct story *s)
{
    accumulators_drain(s->any.session.accumulators, s->f->node); /* the alarm, too */
    close_any(&s->any);
}

static void of_a_line_that_is_held_the_copy_is_made_later(void **state)
{
    struct story s;
    begin(&s, *state, 0, "1");
    write_text(&s, "one\nrest");
    set(s.f, s.topic, "min.insync.replicas", "2");
    release_without_memory(&s);
    set(s.f, s.topic, "min.insync.replicas", "1");
    comes_to_hold(&s, "one\nrest\n");
    over(&s);
}

static void the_partition_of_any_is_chosen_later(void **state)
{
    struct story s;
    begin(&s, *state, 0, "1");
    write_text(&s, "rest");
    release_without_memory(&s);
    comes_to_hold(&s, "rest\n");
    over(&s);
}

static void where_lines_linger_a_last_line_needs_no_batch(void **state)
{
    struct story s;
    begin(&s, *state, INT64_C(1) << 40, "1");
    write_text(&s, "rest");
    release_without_memory(&s);
    comes_to_hold(&s, "rest\n");
    over(&s);
}

static void a_last_line_comes_behind_what_lingers_in_front_of_it(void **state)
{
    struct story s;
    begin(&s, *state, INT64_C(1) << 40, "1");
    write_text(&s, "one\nrest");
    atomic_store(&s.f->disk.pwritev_rc, -ENOMEM);
    produce_release(s.any.handle);
    pass_ms(s.f, LIMIT_APPEND_AGAIN_MS);
    atomic_store(&s.f->disk.pwritev_rc, 0);
    comes_to_hold(&s, "one\nrest\n");
    over(&s);
}

static void the_log_may_be_short_of_memory_as_well(void **state)
{
    static const int reasons[] = {-ENOMEM, -EMFILE, -ENFILE};
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        struct story s;
        begin(&s, *state, 0, "1");
        write_text(&s, "rest");
        atomic_store(&s.f->disk.pwritev_rc, reasons[i]);
        produce_release(s.any.handle);
        assert_true(holds(&s, ""));
        atomic_store(&s.f->disk.pwritev_rc, 0);
        comes_to_hold(&s, "rest\n");
        over(&s);
    }
}

static void begin_close(struct story *s, struct fuse_req *req)
{
    fake_fuse_request(req, getpid());
    sync_close(req, s->any.handle);
}

static void what_lingers_is_tried_again(void **state)
{
    struct story s;
    struct fuse_req req;
    begin(&s, *state, INT64_C(1) << 40, "2");
    write_text(&s, "one\n");
    memory_ended = true;
    accumulator_send(&s.any.session, s.any.handle->producer->targets[0]);
    memory_ended = false;
    begin_close(&s, &req);
    set(s.f, s.topic, "min.insync.replicas", "1");
    comes_to_hold(&s, "one\n");
    wait_until(atomic_load(&req.answers) == 1);
    assert_int_equal(atomic_load(&req.err), 0);
    over(&s);
}

static void a_close_is_told_of_what_lingered_in_vain(void **state)
{
    struct story s;
    struct fuse_req req;
    begin(&s, *state, INT64_C(1) << 40, "1");
    s.any.options.delivery_timeout_ms = 5000;
    write_text(&s, "one\n");
    atomic_store(&s.f->disk.pwritev_rc, -ENOMEM);
    begin_close(&s, &req);
    pass_ms(s.f, 4999);
    await_alarms(s.f);
    assert_int_equal(atomic_load(&req.answers), 0);
    wait_until((pass_ms(s.f, LIMIT_APPEND_AGAIN_MS), atomic_load(&req.answers) == 1));
    assert_int_equal(atomic_load(&req.err), ENOMEM);
    atomic_store(&s.f->disk.pwritev_rc, 0);
    assert_true(holds(&s, ""));
    over(&s);
}

#define STORY(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(of_a_line_that_is_held_the_copy_is_made_later),
        STORY(the_partition_of_any_is_chosen_later),
        STORY(where_lines_linger_a_last_line_needs_no_batch),
        STORY(a_last_line_comes_behind_what_lingers_in_front_of_it),
        STORY(the_log_may_be_short_of_memory_as_well),
        STORY(what_lingers_is_tried_again),
        STORY(a_close_is_told_of_what_lingered_in_vain),
    };
    return cmocka_run_group_tests_name("last_line", tests, NULL, NULL);
}
