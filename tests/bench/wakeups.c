/* tests/bench/wakeups.c: how long a blocked reader waits for what a writer has written, through a pipe and through a
 * partition's `.follow`.
 *
 *   wakeups PARTITION FOLLOW ROUNDS
 *
 * One writing process, one reading: in each round a line goes through the pipe, then one through the partition. The
 * time runs from just before write(2) until the reader's read(2) has returned. Each write waits until the reader sleeps
 * in its read. Prints the two medians in nanoseconds: the pipe's, the partition's. */
#include "tests/bench/measure.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINE_BYTES = 100, SETTLE_NS = 200000 };

/* Shared by the two processes; handed over by the turn pipe. */
struct shared {
    int64_t woken_ns;
};

struct wakeups {
    struct shared *shared;
    pid_t reader;
    int data[2]; /* the pipe that is measured */
    int turn[2]; /* the reader's: I have read it */
    long rounds;
};

static void read_line(int fd, const char *name)
{
    char line[4096];

    if (read(fd, line, sizeof line) != LINE_BYTES)
        measure_fail(name);
}

static void run_reader(const struct wakeups *wakeups, const char *follow)
{
    int fd = open(follow, O_RDONLY | O_CLOEXEC);
    char byte = 0;

    if (fd < 0)
        measure_fail(follow);
    close(wakeups->data[1]);
    if (write(wakeups->turn[1], &byte, 1) != 1)
        measure_fail("turn");
    for (long i = 0; i < 2 * wakeups->rounds; i++) {
        if (i % 2 == 0)
            read_line(wakeups->data[0], "pipe");
        else
            read_line(fd, follow);
        wakeups->shared->woken_ns = measure_now_ns();
        if (write(wakeups->turn[1], &byte, 1) != 1)
            measure_fail("turn");
    }
    _exit(0);
}

/* The state letter of /proc/PID/stat follows the last parenthesis. */
static char state_of(pid_t pid)
{
    char path[64], text[512];
    char *at;
    FILE *file;
    size_t len;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    if (file == NULL)
        measure_fail(path);
    len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[len] = 0;
    at = strrchr(text, ')');
    return at != NULL && at[1] != '\0' ? at[2] : '?';
}

/* Asleep means that its request is on the way; a moment more, and whoever keeps it waiting has it. */
static void await_sleep(pid_t pid)
{
    struct timespec settle = {0, SETTLE_NS};

    while (state_of(pid) != 'S')
        sched_yield();
    nanosleep(&settle, NULL);
}

static int64_t measure_wake(const struct wakeups *wakeups, int fd, const char *line)
{
    int64_t begun_ns;
    char byte;

    await_sleep(wakeups->reader);
    begun_ns = measure_now_ns();
    if (write(fd, line, LINE_BYTES) != LINE_BYTES)
        measure_fail("write");
    if (read(wakeups->turn[0], &byte, 1) != 1)
        exit(1);
    return wakeups->shared->woken_ns - begun_ns;
}

static void run_writer(const struct wakeups *wakeups, const char *partition)
{
    int64_t *samples[2];
    int fds[2] = {wakeups->data[1], open(partition, O_WRONLY | O_APPEND | O_CLOEXEC)};
    char line[LINE_BYTES];
    char byte;

    if (fds[1] < 0)
        measure_fail(partition);
    memset(line, 'x', sizeof line);
    line[LINE_BYTES - 1] = '\n';
    for (int kind = 0; kind < 2; kind++) {
        if ((samples[kind] = calloc((size_t)wakeups->rounds, sizeof(int64_t))) == NULL)
            measure_fail("calloc");
    }
    if (read(wakeups->turn[0], &byte, 1) != 1)
        exit(1);
    for (long i = 0; i < wakeups->rounds; i++) {
        for (int kind = 0; kind < 2; kind++)
            samples[kind][i] = measure_wake(wakeups, fds[kind], line);
    }
    for (int kind = 0; kind < 2; kind++) {
        printf("%lld\n", (long long)measure_median_ns(samples[kind], (size_t)wakeups->rounds));
        free(samples[kind]);
    }
    close(fds[1]);
}

int main(int argc, char **argv)
{
    struct wakeups wakeups = {0};
    int status;

    if (argc != 4) {
        fprintf(stderr, "usage: wakeups PARTITION FOLLOW ROUNDS\n");
        return 2;
    }
    wakeups.rounds = measure_number(argv[3], "ROUNDS");
    wakeups.shared = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (wakeups.shared == MAP_FAILED || pipe(wakeups.data) != 0 || pipe(wakeups.turn) != 0)
        measure_fail("setup");
    wakeups.reader = fork();
    if (wakeups.reader < 0)
        measure_fail("fork");
    if (wakeups.reader == 0)
        run_reader(&wakeups, argv[2]);
    close(wakeups.turn[1]);
    run_writer(&wakeups, argv[1]);
    return wait(&status) == wakeups.reader && status == 0 ? 0 : 1;
}
