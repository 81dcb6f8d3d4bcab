/* tests/bench/appends.c: appends lines, and prints how long they took.
 *
 *   appends open|reopen WRITERS TOTAL LINE_BYTES FILE...
 *
 * WRITERS processes append TOTAL lines between them, one write(2) a line; writer i uses FILE i modulo their number.
 * `open`: on one open file each. `reopen`: open, write, close for each line, as `echo >>` does. Prints the elapsed
 * nanoseconds a line, from the moment when all writers are ready until the last is done. */
#include "tests/bench/measure.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

struct appends {
    bool reopen;
    long writers;
    long total;
    size_t line_bytes;
    char *line;
};

static int open_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

    if (fd < 0)
        measure_fail(path);
    return fd;
}

static void append(const struct appends *appends, int fd, const char *path)
{
    if (write(fd, appends->line, appends->line_bytes) != (ssize_t)appends->line_bytes)
        measure_fail(path);
}

static void run_writer(const struct appends *appends, const char *path, int ready_fd, int start_fd)
{
    long lines = appends->total / appends->writers;
    int fd = open_file(path);
    char byte = 0;

    if (appends->reopen)
        close(fd);
    if (write(ready_fd, &byte, 1) != 1 || read(start_fd, &byte, 1) != 0)
        measure_fail("start");
    for (long i = 0; i < lines; i++) {
        if (appends->reopen)
            fd = open_file(path);
        append(appends, fd, path);
        if (appends->reopen && close(fd) != 0)
            measure_fail(path);
    }
    if (!appends->reopen && close(fd) != 0)
        measure_fail(path);
    _exit(0);
}

/* All writers are forked and have said that they are ready; closing the start pipe lets them go. */
static int64_t run(const struct appends *appends, char **files, int count)
{
    int ready[2], start[2], status, failed = 0;
    int64_t begun_ns;
    char byte;

    if (pipe(ready) != 0 || pipe(start) != 0)
        measure_fail("pipe");
    for (long i = 0; i < appends->writers; i++) {
        pid_t pid = fork();

        if (pid < 0)
            measure_fail("fork");
        if (pid == 0) {
            close(start[1]);
            run_writer(appends, files[i % count], ready[1], start[0]);
        }
    }
    close(ready[1]);
    for (long i = 0; i < appends->writers; i++) {
        if (read(ready[0], &byte, 1) != 1)
            exit(1);
    }
    begun_ns = measure_now_ns();
    close(start[1]);
    for (long i = 0; i < appends->writers; i++) {
        if (wait(&status) < 0 || status != 0)
            failed = 1;
    }
    if (failed != 0)
        exit(1);
    return measure_now_ns() - begun_ns;
}

int main(int argc, char **argv)
{
    struct appends appends;
    int64_t elapsed_ns;

    if (argc < 6 || (strcmp(argv[1], "open") != 0 && strcmp(argv[1], "reopen") != 0)) {
        fprintf(stderr, "usage: appends open|reopen WRITERS TOTAL LINE_BYTES FILE...\n");
        return 2;
    }
    appends.reopen = strcmp(argv[1], "reopen") == 0;
    appends.writers = measure_number(argv[2], "WRITERS");
    appends.total = measure_number(argv[3], "TOTAL");
    appends.line_bytes = (size_t)measure_number(argv[4], "LINE_BYTES");
    appends.line = malloc(appends.line_bytes);
    if (appends.line == NULL)
        measure_fail("malloc");
    memset(appends.line, 'x', appends.line_bytes);
    appends.line[appends.line_bytes - 1] = '\n';

    elapsed_ns = run(&appends, argv + 5, argc - 5);
    printf("%.1f\n", (double)elapsed_ns / (double)appends.total);
    free(appends.line);
    return 0;
}
