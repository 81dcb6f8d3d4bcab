/* tests/bench/tails.c: how long the slowest writes take, beside others of their kind.
 *
 *   tails plain|sync WRITERS COUNT LINE_BYTES FILE
 *
 * WRITERS processes append COUNT lines each to one file, one write(2) a line, with O_SYNC or without, all at once.
 * Prints the median, the 99th and the 99.9th percentile, and the longest of all these writes, in nanoseconds. */
#include "tests/bench/measure.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct tails {
    bool sync;
    long writers;
    long count;
    size_t line_bytes;
    const char *path;
    char *line;
    int64_t *samples; /* shared by all: count of each writer in a row */
};

static void run_writer(const struct tails *tails, int64_t *samples, int ready_fd, int start_fd)
{
    int fd = open(tails->path, O_WRONLY | O_APPEND | O_CLOEXEC | (tails->sync ? O_SYNC : 0));
    char byte = 0;

    if (fd < 0)
        measure_fail(tails->path);
    if (write(ready_fd, &byte, 1) != 1 || read(start_fd, &byte, 1) != 0)
        measure_fail("start");
    for (long i = 0; i < tails->count; i++) {
        int64_t begun_ns = measure_now_ns();

        if (write(fd, tails->line, tails->line_bytes) != (ssize_t)tails->line_bytes)
            measure_fail(tails->path);
        samples[i] = measure_now_ns() - begun_ns;
    }
    if (close(fd) != 0)
        measure_fail(tails->path);
    _exit(0);
}

/* All writers are forked and have said that they are ready; closing the start pipe lets them go. */
static void run(const struct tails *tails)
{
    int ready[2], start[2], status, failed = 0;
    char byte;

    if (pipe(ready) != 0 || pipe(start) != 0)
        measure_fail("pipe");
    for (long i = 0; i < tails->writers; i++) {
        pid_t pid = fork();

        if (pid < 0)
            measure_fail("fork");
        if (pid == 0) {
            close(start[1]);
            run_writer(tails, tails->samples + i * tails->count, ready[1], start[0]);
        }
    }
    close(ready[1]);
    for (long i = 0; i < tails->writers; i++) {
        if (read(ready[0], &byte, 1) != 1)
            exit(1);
    }
    close(start[1]);
    for (long i = 0; i < tails->writers; i++) {
        if (wait(&status) < 0 || status != 0)
            failed = 1;
    }
    if (failed != 0)
        exit(1);
}

int main(int argc, char **argv)
{
    struct tails tails;
    size_t total;
    int64_t median_ns;

    if (argc != 6 || (strcmp(argv[1], "plain") != 0 && strcmp(argv[1], "sync") != 0)) {
        fprintf(stderr, "usage: tails plain|sync WRITERS COUNT LINE_BYTES FILE\n");
        return 2;
    }
    tails.sync = strcmp(argv[1], "sync") == 0;
    tails.writers = measure_number(argv[2], "WRITERS");
    tails.count = measure_number(argv[3], "COUNT");
    tails.line_bytes = (size_t)measure_number(argv[4], "LINE_BYTES");
    tails.path = argv[5];
    tails.line = malloc(tails.line_bytes);
    if (tails.line == NULL)
        measure_fail("malloc");
    memset(tails.line, 'x', tails.line_bytes);
    tails.line[tails.line_bytes - 1] = '\n';
    total = (size_t)(tails.writers * tails.count);
    tails.samples =
        mmap(NULL, total * sizeof *tails.samples, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tails.samples == MAP_FAILED)
        measure_fail("mmap");
    run(&tails);
    median_ns = measure_median_ns(tails.samples, total);
    printf("%lld %lld %lld %lld\n", (long long)median_ns, (long long)tails.samples[total * 99 / 100],
           (long long)tails.samples[total * 999 / 1000], (long long)tails.samples[total - 1]);
    munmap(tails.samples, total * sizeof *tails.samples);
    free(tails.line);
    return 0;
}
