/* tests/unit/test_process.c: what can be seen of a process that is ending, on real ones.
 *
 * A stopped process keeps its signals pending, and one that was not waited for stays in /proc with PF_EXITING: both
 * stand still while they are looked at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/base/process.h"

static void handler(int sig)
{
    (void)sig;
}

/* A child that has set its signals up and stopped itself. */
static pid_t stopped_child(void (*set_up)(void))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        if (set_up != NULL) {
            set_up();
        }
        raise(SIGSTOP);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    return pid;
}

static void end(pid_t pid)
{
    int status;

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void odd_name(void)
{
    prctl(PR_SET_NAME, "a) R 1 (b");
}

static void block_term(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static void ignore_term(void)
{
    signal(SIGTERM, SIG_IGN);
}

static void catch_term(void)
{
    signal(SIGTERM, handler);
}

static void we_are_neither_exiting_nor_dying(void **state)
{
    (void)state;
    assert_false(process_exiting(getpid()));
    assert_false(process_dying(getpid()));
}

static void nobody_is_neither(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_false(process_exiting(pid));
    assert_false(process_dying(pid));
    assert_false(process_exiting(0));
    assert_false(process_dying(0));
    assert_false(process_exiting(-1));
    assert_false(process_dying(-1));
}

static void expect_exiting_after(void (*set_up)(void))
{
    siginfo_t info;
    pid_t pid = stopped_child(set_up);

    assert_false(process_exiting(pid));
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_true(process_exiting(pid));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_process_that_has_ended_is_exiting(void **state)
{
    (void)state;
    expect_exiting_after(NULL);
}

static void a_name_with_parentheses_and_spaces_does_not_confuse(void **state)
{
    (void)state;
    expect_exiting_after(odd_name);
}

/* What process_dying() says of a stopped child with SIGTERM pending. */
static void expect_dying(void (*set_up)(void), int sig, bool dying)
{
    pid_t pid = stopped_child(set_up);

    assert_false(process_dying(pid));
    assert_int_equal(kill(pid, sig), 0);
    assert_int_equal(process_dying(pid), dying);
    end(pid);
}

static void a_pending_signal_that_ends_the_process_is_seen(void **state)
{
    (void)state;
    expect_dying(NULL, SIGTERM, true);
    expect_dying(NULL, SIGINT, true);
    expect_dying(NULL, SIGRTMIN + 3, true);
}

static void one_that_is_blocked_ignored_or_caught_does_not_end_it(void **state)
{
    (void)state;
    expect_dying(block_term, SIGTERM, false);
    expect_dying(ignore_term, SIGTERM, false);
    expect_dying(catch_term, SIGTERM, false);
}

static void one_that_is_harmless_by_default_does_not_either(void **state)
{
    (void)state;
    expect_dying(NULL, SIGCHLD, false);
    expect_dying(NULL, SIGWINCH, false);
    expect_dying(NULL, SIGTSTP, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(we_are_neither_exiting_nor_dying),
        cmocka_unit_test(nobody_is_neither),
        cmocka_unit_test(a_process_that_has_ended_is_exiting),
        cmocka_unit_test(a_name_with_parentheses_and_spaces_does_not_confuse),
        cmocka_unit_test(a_pending_signal_that_ends_the_process_is_seen),
        cmocka_unit_test(one_that_is_blocked_ignored_or_caught_does_not_end_it),
        cmocka_unit_test(one_that_is_harmless_by_default_does_not_either),
    };

    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
