/* Who made a request, as a command names him. */
#include "fs/base/caller.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "replication/base/limits.h"
#include "tests/unit/fake_fuse.h"

enum { MANY = LIMIT_CALLER_GROUPS + 1 };

static gid_t groups[MANY];

static int setup(void **state)
{
    (void)state;
    for (int i = 0; i < MANY; i++)
        groups[i] = 100 + (gid_t)i;
    return 0;
}

static struct command_caller caller(uid_t uid, int group_count)
{
    struct fuse_req req;
    struct command_caller out;
    fake_fuse_request(&req, 1);
    req.ctx.uid = uid;
    req.ctx.gid = 70;
    req.groups = groups;
    req.group_count = group_count;
    caller_of(&req, &out);
    assert_true(out.is_user);
    assert_false(out.by_attribute);
    assert_int_equal(out.uid, uid);
    assert_int_equal(out.gid, 70);
    return out;
}

static void test_all_groups_that_go_with_a_command(void **state)
{
    (void)state;
    assert_int_equal(caller(7, 0).group_count, 0);
    for (int count = 1; count < MANY; count++) {
        struct command_caller out = caller(7, count);
        assert_int_equal(out.group_count, count);
        assert_memory_equal(out.groups, groups, (size_t)count * sizeof groups[0]);
    }
}

/* Some of them would say that he is in no other. */
static void test_more_groups_are_not_known(void **state)
{
    (void)state;
    assert_int_equal(caller(7, MANY).group_count, -1);
}

static void test_groups_that_proc_does_not_tell(void **state)
{
    (void)state;
    assert_int_equal(caller(7, -ENOENT).group_count, -1);
    assert_int_equal(caller(7, -ENOSYS).group_count, -1);
}

static void test_root_needs_none(void **state)
{
    (void)state;
    assert_int_equal(caller(0, MANY).group_count, 0);
    assert_int_equal(caller(0, -ENOENT).group_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_groups_that_go_with_a_command),
        cmocka_unit_test(test_more_groups_are_not_known),
        cmocka_unit_test(test_groups_that_proc_does_not_tell),
        cmocka_unit_test(test_root_needs_none),
    };
    return cmocka_run_group_tests_name("caller", tests, setup, NULL);
}
