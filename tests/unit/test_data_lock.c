/* The lock on a data directory, between processes. */
#include "replication/node/data_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "replication/executor/executor_uv.h"
#include "tests/unit/scratch.h"

struct directory {
    char name[64];
    int fd;
    struct executor *executor;
};

static int setup(void **state)
{
    struct directory *dir = calloc(1, sizeof *dir);
    scratch_make(dir->name, sizeof dir->name, "lock");
    dir->fd = open(dir->name, O_RDONLY | O_DIRECTORY);
    assert_int_equal(executor_uv_start(clock_system(), &dir->executor, NULL), 0);
    *state = dir;
    return 0;
}

static int teardown(void **state)
{
    struct directory *dir = *state;
    executor_uv_stop(dir->executor);
    unlinkat(dir->fd, "lock", 0);
    close(dir->fd);
    assert_int_equal(rmdir(dir->name), 0);
    free(dir);
    return 0;
}

/* A process that holds the lock until a byte comes (then it says "stopping", and ends at the next one). */
struct holder {
    pid_t pid;
    int say; /* writing end */
    int hear;
};

static struct holder hold(struct directory *dir)
{
    int to[2], from[2];
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    struct holder holder = {.pid = fork(), .say = to[1], .hear = from[0]};
    if (holder.pid == 0) {
        struct data_lock lock;
        char byte = 'x';
        close(to[1]);
        if (data_lock_take(io_posix(), dir->executor, dir->fd, dir->name, 0, &lock, NULL) != 0 ||
            write(from[1], &byte, 1) != 1)
            _exit(1);
        if (read(to[0], &byte, 1) == 1) {
            data_lock_stopping(&lock);
            if (write(from[1], &byte, 1) == 1 && read(to[0], &byte, 1) == 1)
                _exit(0);
        }
        _exit(2);
    }
    close(to[0]);
    close(from[1]);
    char byte;
    assert_int_equal(read(holder.hear, &byte, 1), 1);
    return holder;
}

static void step(struct holder *holder)
{
    assert_int_equal(write(holder->say, "x", 1), 1);
}

static void end(struct holder *holder)
{
    close(holder->say);
    close(holder->hear);
    assert_int_equal(waitpid(holder->pid, NULL, 0), holder->pid);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void test_a_running_holder_is_not_waited_for(void **state)
{
    struct directory *dir = *state;
    struct holder holder = hold(dir);
    struct err e = {0};
    char pid[32];
    struct data_lock lock;
    /* An hour would be the whole test's timeout: it must not be waited for at all. */
    assert_int_equal(data_lock_take(io_posix(), dir->executor, dir->fd, dir->name, 3600 * 1000, &lock, &e), -EBUSY);
    snprintf(pid, sizeof pid, "process %d", (int)holder.pid);
    assert_non_null(strstr(e.text, pid));
    assert_non_null(strstr(e.text, dir->name));
    end(&holder);
}

static void test_a_stopping_holder_is_waited_for(void **state)
{
    struct directory *dir = *state;
    struct holder holder = hold(dir);
    struct err e = {0};
    char byte;
    struct data_lock lock;
    step(&holder);
    assert_int_equal(read(holder.hear, &byte, 1), 1);
    int64_t began_ms = now_ms();
    assert_int_equal(data_lock_take(io_posix(), dir->executor, dir->fd, dir->name, 100, &lock, &e), -EBUSY);
    assert_true(now_ms() - began_ms >= 100);
    assert_non_null(strstr(e.text, "stopping"));
    step(&holder);
    assert_int_equal(data_lock_take(io_posix(), dir->executor, dir->fd, dir->name, 60000, &lock, &e), 0);
    data_lock_release(&lock);
    end(&holder);
}

static ssize_t read_file(struct directory *dir, char *text, size_t size)
{
    int fd = openat(dir->fd, "lock", O_RDONLY | O_CLOEXEC);
    ssize_t got = read(fd, text, size - 1);
    close(fd);
    return got;
}

/* A process that holds the lock until a byte comes, and says that it serves a mount of the device of /proc; at: not
 * there. */
static struct holder serve(struct directory *dir, const char *at)
{
    int to[2], from[2];
    char byte = 'x';
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    struct holder holder = {.pid = fork(), .say = to[1], .hear = from[0]};
    if (holder.pid == 0) {
        struct stat st;
        struct data_lock lock;
        close(to[1]);
        if (stat("/proc", &st) == 0 &&
            data_lock_take(io_posix(), dir->executor, dir->fd, dir->name, 0, &lock, NULL) == 0) {
            data_lock_mounted(&lock, major(st.st_dev), minor(st.st_dev));
            if (at != NULL)
                dprintf(lock.fd, "%d\nrunning\nmount %u:%u %s\n", (int)getpid(), major(st.st_dev), minor(st.st_dev),
                        at);
            if (write(from[1], &byte, 1) == 1 && read(to[0], &byte, 1) == 1)
                _exit(0);
        }
        _exit(1);
    }
    close(to[0]);
    close(from[1]);
    assert_int_equal(read(holder.hear, &byte, 1), 1);
    return holder;
}

static void test_a_holder_whose_mount_is_there_is_not_waited_for(void **state)
{
    struct directory *dir = *state;
    char text[256] = "";
    struct data_lock lock;
    struct holder holder = serve(dir, NULL);
    assert_true(read_file(dir, text, sizeof text) > 0);
    assert_non_null(strstr(text, " /proc\n"));
    assert_int_equal(data_lock_take(io_posix(), dir->executor, dir->fd, dir->name, 3600 * 1000, &lock, NULL), -EBUSY);
    end(&holder);
}

/* By a daemon that serves on where its mount table has nothing. */
static void test_a_holder_whose_mount_is_elsewhere_is_not_waited_for(void **state)
{
    struct directory *dir = *state;
    struct data_lock lock;
    struct err e;
    char text[256] = "";
    assert_int_equal(data_lock_take(io_posix(), dir->executor, dir->fd, dir->name, 0, &lock, NULL), 0);
    data_lock_mounted(&lock, 0, 0);
    assert_true(read_file(dir, text, sizeof text) > 0);
    assert_null(strstr(text, "mount"));
    assert_non_null(strstr(text, "\nrunning\n"));
    struct data_lock other;
    assert_int_equal(data_lock_take(io_posix(), dir->executor, dir->fd, dir->name, 3600 * 1000, &other, &e), -EBUSY);
    assert_null(strstr(e.text, "not yet ended"));
    data_lock_stopping(&lock);
    data_lock_mounted(&lock, 0, 0); /* a look that was under way */
    assert_true(read_file(dir, text, sizeof text) > 0);
    assert_non_null(strstr(text, "\nstopping\n"));
    data_lock_release(&lock);
}

/* However long it takes to notice; another file system has the device by then. */
static void test_a_holder_whose_mount_has_gone_is_waited_for(void **state)
{
    struct directory *dir = *state;
    struct holder holder = serve(dir, "/proc/that/was");
    int64_t began_ms = now_ms();
    struct data_lock lock;
    assert_int_equal(data_lock_take(io_posix(), dir->executor, dir->fd, dir->name, 1000, &lock, NULL), -EBUSY);
    assert_true(now_ms() - began_ms >= 1000);
    step(&holder);
    assert_int_equal(data_lock_take(io_posix(), dir->executor, dir->fd, dir->name, 60000, &lock, NULL), 0);
    data_lock_release(&lock);
    end(&holder);
}

static void test_a_killed_holder_is_waited_for(void **state)
{
    struct directory *dir = *state;
    struct data_lock lock;
    for (int i = 0; i < 20; i++) {
        struct holder holder = hold(dir);
        assert_int_equal(kill(holder.pid, SIGKILL), 0);
        assert_int_equal(data_lock_take(io_posix(), dir->executor, dir->fd, dir->name, 60000, &lock, NULL), 0);
        data_lock_release(&lock);
        end(&holder);
    }
}

static void test_a_lock_is_given_back(void **state)
{
    struct directory *dir = *state;
    struct data_lock lock;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(data_lock_take(io_posix(), dir->executor, dir->fd, dir->name, 0, &lock, NULL), 0);
        data_lock_release(&lock);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_running_holder_is_not_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_stopping_holder_is_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_holder_whose_mount_is_there_is_not_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_holder_whose_mount_is_elsewhere_is_not_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_holder_whose_mount_has_gone_is_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_killed_holder_is_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_lock_is_given_back, setup, teardown),
    };
    return cmocka_run_group_tests_name("data_lock", tests, NULL, NULL);
}
