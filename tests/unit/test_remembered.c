/* tests/unit/test_remembered.c: what coordinators answered to one question answers the others, too. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replication/group/remembered.h"

static struct remembered memory;

static struct group_row row(const char *group, const char *topic, int32_t partition, int64_t committed)
{
    struct group_row out = {.partition = partition, .committed = committed};

    strncpy(out.group, group, sizeof out.group - 1);
    strncpy(out.topic, topic, sizeof out.topic - 1);
    return out;
}

static struct group_described described(const char *group, int32_t members)
{
    struct group_described out = {.phase = GROUP_STABLE, .members = members};

    strncpy(out.group, group, sizeof out.group - 1);
    return out;
}

static void answered(struct group_op question, struct group_row *rows, size_t row_count, struct group_described *groups,
                     size_t group_count)
{
    question.rows = rows;
    question.row_count = row_count;
    question.described = groups;
    question.described_count = group_count;
    remembered_keep(&memory, &question);
}

static struct group_op all(void)
{
    return (struct group_op){.ask = GROUP_ASK_ALL};
}

static struct group_op of_group(const char *group)
{
    return (struct group_op){.ask = GROUP_ASK_GROUP, .group = group};
}

static struct group_op of_partition(const char *topic, int32_t partition)
{
    return (struct group_op){.ask = GROUP_ASK_PARTITION, .topic = topic, .partition = partition};
}

/* Two groups on two partitions. */
static void answer_all(void)
{
    struct group_row rows[] = {row("a", "orders", 0, 5), row("a", "orders", 1, 6), row("b", "orders", 1, 7)};
    struct group_described groups[] = {described("a", 2), described("b", 0)};

    answered(all(), rows, 3, groups, 2);
}

/* The sum tells which rows came; members of the first group. */
static void finds(struct group_op question, size_t rows, int64_t sum, size_t groups, int32_t members)
{
    assert_int_equal(remembered_find(&memory, &question), 0);
    assert_true(question.stale);
    assert_int_equal(question.row_count, rows);
    for (size_t i = 0; i < rows; i++)
        sum -= question.rows[i].committed;
    assert_int_equal(sum, 0);
    assert_int_equal(question.described_count, groups);
    if (groups > 0)
        assert_int_equal(question.described[0].members, members);
    group_op_free(&question);
}

static void finds_none(struct group_op question)
{
    assert_int_equal(remembered_find(&memory, &question), -ENOENT);
    assert_false(question.stale);
    assert_null(question.rows);
    assert_null(question.described);
}

static void all_answers_each(void **state)
{
    (void)state;
    finds_none(all());
    answer_all();
    finds(all(), 3, 18, 2, 2);
    finds(of_group("a"), 2, 11, 1, 2);
    finds(of_group("b"), 1, 7, 1, 0);
    finds_none(of_group("c"));
    finds(of_partition("orders", 1), 2, 13, 0, 0);
    finds(of_partition("other", 1), 0, 0, 0, 0); /* no group has one there */
}

static void a_later_answer_replaces_its_part(void **state)
{
    struct group_row of_a = row("a", "orders", 1, 60), of_c = row("c", "orders", 0, 8);
    struct group_described a = described("a", 1);

    (void)state;
    answer_all();
    answered(of_group("a"), &of_a, 1, &a, 1); /* its other offset is gone */
    finds(of_group("a"), 1, 60, 1, 1);
    finds(of_partition("orders", 0), 0, 0, 0, 0);
    finds(of_partition("orders", 1), 2, 67, 0, 0);
    answered(of_partition("orders", 0), &of_c, 1, NULL, 0);
    finds(all(), 3, 75, 2, 0);
    answer_all();
    finds(all(), 3, 18, 2, 2);
    finds_none(of_group("c"));
}

static void parts_are_not_taken_for_all(void **state)
{
    struct group_row of_a = row("a", "orders", 1, 60), of_c = row("c", "orders", 0, 8);
    struct group_described a = described("a", 1);

    (void)state;
    answered(of_group("a"), &of_a, 1, &a, 1);
    answered(of_partition("orders", 0), &of_c, 1, NULL, 0);
    finds(of_partition("orders", 1), 1, 60, 0, 0);
    finds(of_group("c"), 1, 8, 0, 0); /* an offset of it is known, and not what it is */
    finds_none(of_partition("orders", 2));
    finds_none(all());
}

static void what_is_too_much_is_not_kept(void **state)
{
    struct group_row of_a = row("a", "orders", 1, 60), *many = calloc(REMEMBERED_ROWS, sizeof *many);
    struct group_described a = described("a", 1);

    (void)state;
    assert_non_null(many);
    for (int32_t i = 0; i < REMEMBERED_ROWS; i++)
        many[i] = row("b", "orders", i, 1);
    answered(of_group("a"), &of_a, 1, &a, 1);
    answered(all(), many, REMEMBERED_ROWS, NULL, 0);
    finds_none(all());
    finds(of_group("a"), 1, 60, 1, 1);
    answered(all(), many, REMEMBERED_ROWS - 1, NULL, 0);
    finds(all(), REMEMBERED_ROWS - 1, REMEMBERED_ROWS - 1, 0, 0);
    answered(of_group("a"), &of_a, 1, &a, 1); /* the oldest goes */
    finds_none(all());
    finds(of_group("a"), 1, 60, 1, 1);
    free(many);
}

static int teardown(void **state)
{
    (void)state;
    remembered_free(&memory);
    assert_int_equal(memory.rows, 0);
    return 0;
}

#define TEST(t) cmocka_unit_test_teardown(t, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_answers_each),
        TEST(a_later_answer_replaces_its_part),
        TEST(parts_are_not_taken_for_all),
        TEST(what_is_too_much_is_not_kept),
    };

    return cmocka_run_group_tests_name("remembered", tests, NULL, NULL);
}
