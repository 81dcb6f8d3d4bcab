/* tests/unit/test_mounted.c: whether a mount is there, here, elsewhere or nowhere (tests/mount/unmount.bats has what
 * follows from it). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fs/base/limits.h"
#include "fs/base/mounted.h"

static void what_is_mounted_is_here(void **state)
{
    (void)state;
    struct mounted_device device;
    struct mounted mounted;
    pid_t pid;
    assert_int_equal(mounted_device("/proc", &device), 0);
    assert_true(mounted_is_at(&device, "/proc"));
    assert_false(mounted_is_at(&device, "/"));
    assert_int_equal(mounted_open(&mounted, &device, NULL), 0);
    assert_int_equal(mounted_look(&mounted, 0, 0, &pid), MOUNTED_HERE);
    mounted_close(&mounted);
}

static void what_nobody_has_is_nowhere(void **state)
{
    (void)state;
    struct mounted_device none = {.major = 0xfff, .minor = 0xfffff};
    struct mounted mounted;
    pid_t pid;
    assert_int_equal(mounted_open(&mounted, &none, NULL), 0);
    assert_int_equal(mounted_look(&mounted, 0, 0, &pid), MOUNTED_NOWHERE);
    mounted_close(&mounted);
}

static void a_path_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    struct mounted_device device;
    assert_int_equal(mounted_device("/nonexistent", &device), -ENOENT);
}

static void without_a_table_it_is_taken_to_be_here(void **state)
{
    (void)state;
    struct mounted mounted = {.table = NULL};
    pid_t pid;
    assert_int_equal(mounted_look(&mounted, 0, 0, &pid), MOUNTED_HERE);
    mounted_close(&mounted);
}

static void expect_wait(const struct mounted *mounted, int64_t now_ms, int ms, bool listens)
{
    bool found;
    assert_int_equal(mounted_wait(mounted, now_ms, &found), ms);
    assert_int_equal(found, listens);
}

static void after_a_look_the_table_is_left_alone_for_a_while(void **state)
{
    (void)state;
    struct mounted mounted = {.table = NULL};
    pid_t pid;
    mounted_look(&mounted, 0, 5000, &pid);
    expect_wait(&mounted, 5000, LIMIT_MOUNT_PAUSE_MS, false);
    expect_wait(&mounted, 5000 + LIMIT_MOUNT_PAUSE_MS - 1, 1, false);
    expect_wait(&mounted, 5000 + LIMIT_MOUNT_PAUSE_MS, -1, true);
    expect_wait(&mounted, 1000000, -1, true);
}

static void what_is_elsewhere_is_looked_at_by_the_clock_alone(void **state)
{
    (void)state;
    struct mounted mounted = {.looked_ms = 5000, .was = MOUNTED_ELSEWHERE};
    expect_wait(&mounted, 5000, LIMIT_MOUNT_LOOK_MS, false);
    expect_wait(&mounted, 5000 + LIMIT_MOUNT_LOOK_MS, 0, false);
    expect_wait(&mounted, 1000000, 0, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_mounted_is_here),
        cmocka_unit_test(what_nobody_has_is_nowhere),
        cmocka_unit_test(a_path_that_is_not_there_is_an_error),
        cmocka_unit_test(without_a_table_it_is_taken_to_be_here),
        cmocka_unit_test(after_a_look_the_table_is_left_alone_for_a_while),
        cmocka_unit_test(what_is_elsewhere_is_looked_at_by_the_clock_alone),
    };
    return cmocka_run_group_tests_name("mounted", tests, NULL, NULL);
}
