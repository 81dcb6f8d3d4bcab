/* tests/unit/test_group_listing.c: how far a group is in each partition, without anybody's being held up by it. */
#include "tests/unit/one_thread.h"

#include "replication/group/groups_internal.h"
#include "replication/group/listing.h"

enum { PARTITIONS = 60 };

/* ---- a disk that counts how often it is read ---- */

static int preads;

static ssize_t count_pread(struct io *io, int fd, void *buf, size_t len, int64_t at)
{
    (void)io;
    preads++;
    return io_posix()->pread(io_posix(), fd, buf, len, at);
}

/* ---- ops ---- */

static void on_reset(struct group_op *op, int rc)
{
    op->partition = -1;
    assert_int_equal(rc, 0);
}

static void commit(struct fixture *f, int32_t partition, int64_t offset)
{
    struct group_op op = {.groups = node_group_room(f->node),
                          .ask = GROUP_RESET,
                          .group = "kitchen",
                          .topic = "orders",
                          .partition = partition,
                          .offset = offset,
                          .timeout_ms = 30000,
                          .done = on_reset};
    assert_int_equal(group_op_submit(&op), 0);
    pass_until(op.partition == -1);
    group_op_free(&op);
}

struct listed {
    struct group_listing listing;
    int calls, rc;
};

static void on_listed(struct group_listing *listing, int rc)
{
    struct listed *listed = CONTAINER_OF(listing, struct listed, listing);
    listed->calls++;
    listed->rc = rc;
}

static void begin_listing(struct fixture *f, struct listed *listed)
{
    *listed = (struct listed){.listing = {.done = on_listed}};
    listed->listing.op = (struct group_op){
        .groups = node_group_room(f->node), .ask = GROUP_ASK_ALL, .partition = -1, .timeout_ms = 1000};
    assert_int_equal(group_listing_submit(&listed->listing), 0);
}

/* The next work. Whether it is a turn of the room's. */
static bool step(struct fixture *f)
{
    const struct work *turn = &node_group_room(f->node)->mailbox.work;
    bool is_turn = hand.first[WORK_PROMPT] == turn;
    assert_true(hand_step(&hand));
    return is_turn;
}

static void setup_rows(struct fixture *f)
{
    f->disk.io.pread = count_pread;
    make(f, "orders");
    add_partitions(f, PARTITIONS);
    make_group(f);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        append_at(f, i, "one\ntwo\n");
        commit(f, i, 1);
    }
}

/* ---- tests ---- */

static void no_turn_reads_and_no_work_reads_all(void **state)
{
    struct fixture *f = *state;
    struct listed listed;
    int all = 0, most = 0;
    setup_rows(f);
    begin_listing(f, &listed);
    while (listed.calls == 0) {
        preads = 0;
        if (step(f))
            assert_int_equal(preads, 0);
        all += preads;
        most = preads > most ? preads : most;
    }
    assert_int_equal(listed.rc, 0);
    assert_int_equal(listed.listing.op.row_count, PARTITIONS);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        assert_int_equal(listed.listing.lines[i].end, 2);
        assert_int_equal(listed.listing.lines[i].lag, 1);
        assert_true(listed.listing.lines[i].lag_ms >= 0);
    }
    assert_true(all > 0);
    assert_true(most < all / 2);
    group_listing_free(&listed.listing);
}

static void one_that_nobody_waits_for_any_more_asks_no_more_partitions(void **state)
{
    struct fixture *f = *state;
    struct listed listed;
    setup_rows(f);
    begin_listing(f, &listed);
    preads = 0;
    while (preads == 0)
        (void)step(f);
    assert_int_equal(listed.calls, 0);
    assert_false(group_listing_cancel(&listed.listing));
    preads = 0;
    while (listed.calls == 0)
        (void)step(f);
    assert_int_equal(preads, 0);
    group_listing_free(&listed.listing);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_one, teardown_one)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(no_turn_reads_and_no_work_reads_all),
        STORY(one_that_nobody_waits_for_any_more_asks_no_more_partitions),
    };
    return cmocka_run_group_tests_name("group_listing", tests, NULL, NULL);
}
