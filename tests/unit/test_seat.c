/* tests/unit/test_seat.c: what waits at a coordinator while its records are being written. */
#include "tests/unit/one_thread.h"

#include "replication/group/groups_internal.h"

enum { SELF = 1, OTHER = 2 };

static struct group_item item_of(enum group_item_kind kind, int32_t index, size_t entries)
{
    struct group_item item = {.kind = kind, .index = index, .ticket = 99, .number = 77, .partition = -1};
    strcpy(item.group, "kitchen");
    item.entries = calloc(entries + 1, sizeof *item.entries);
    item.entry_count = entries;
    for (size_t i = 0; i < entries; i++)
        item.entries[i] = (struct group_entry){.key = 1000 + i, .epoch = 1, .value = 1};
    return item;
}

static void give(struct seat *seat, int32_t node, enum group_item_kind kind, size_t entries)
{
    struct group_item item = item_of(kind, seat->index, entries);
    seat_take(seat, node, 4711, &item);
}

static void on_changed(void *arg)
{
    (void)arg;
}

static size_t waiting(const struct seat *seat)
{
    size_t count = 0;
    for (const struct seat_item *it = seat->first; it != NULL; it = it->next)
        count++;
    return count;
}

static struct seat *ready_seat(struct fixture *f)
{
    struct groups *groups = node_group_room(f->node);
    make(f, "orders");
    make_group(f);
    struct seat *seat = &groups->seats[group_index("kitchen")];
    pass_until(seat->state == SEAT_READY);
    return seat;
}

/* It acts on what waits. */
static void turn(struct seat *seat)
{
    mailbox_kick(&seat->groups->mailbox);
    executor_settle(&hand.executor);
    assert_int_equal(waiting(seat), 0);
}

/* Its record is there, as one may be whose member's node knows nothing of it: a beat says who is. */
static void a_member_that_is_nobodys_is_put_out(void **state)
{
    struct fixture *f = *state;
    struct seat *seat = ready_seat(f);
    struct group_join join = {.group = "kitchen", .topic = "orders", .pid = 1, .changed = on_changed};
    struct group_member *member;
    assert_int_equal(group_member_join(seat->groups, &join, &member), 0);
    pass_until(seat->core.readers.count == 1);
    struct group_item item = item_of(GROUP_ITEM_JOIN, seat->index, 0);
    struct topic *topic = node_topic(f->node, "orders");
    memcpy(item.topic_id, topic->id, UUID_BYTES);
    topic_unref(topic);
    memcpy(item.group_id, member->group_id, UUID_BYTES);
    item.number = groups_number(seat->groups);
    seat_take(seat, SELF, seat->groups->env.process, &item);
    mailbox_kick(&seat->groups->mailbox);
    pass_until(seat->core.readers.count == 2);
    pass_until(seat->core.readers.count == 1);
    assert_int_equal(member->session, SESSION_INSIDE);
    group_member_leave(member);
    pass_until(seat->core.readers.count == 0);
}

/* A coordinator that cannot write for long. */
static void of_a_nodes_beats_one_waits(void **state)
{
    struct fixture *f = *state;
    struct seat *seat = ready_seat(f);
    for (int i = 0; i < 100; i++) {
        give(seat, SELF, GROUP_ITEM_BEAT, 3);
        give(seat, OTHER, GROUP_ITEM_BEAT, 3);
    }
    assert_int_equal(waiting(seat), 2);
    turn(seat);
    give(seat, SELF, GROUP_ITEM_BEAT, 3);
    assert_int_equal(waiting(seat), 1);
    turn(seat);
}

static void what_waits_is_bounded_by_the_memory_that_it_takes(void **state)
{
    struct fixture *f = *state;
    struct seat *seat = ready_seat(f);
    size_t bytes = 0;
    for (int i = 0; i < 200000; i++)
        give(seat, OTHER, GROUP_ITEM_COMMIT, 1);
    for (const struct seat_item *it = seat->first; it != NULL; it = it->next)
        bytes += sizeof *it + it->item.entry_count * sizeof *it->item.entries;
    assert_in_range(bytes, LIMIT_GROUP_INBOX_BYTES / 2, LIMIT_GROUP_INBOX_BYTES);
    turn(seat);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_one, teardown_one)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_member_that_is_nobodys_is_put_out),
        STORY(of_a_nodes_beats_one_waits),
        STORY(what_waits_is_bounded_by_the_memory_that_it_takes),
    };
    return cmocka_run_group_tests_name("seat", tests, NULL, NULL);
}
