/* fs/base/process.c: questions to /proc, each one open, read and close. Whatever cannot be read or understood is
 * answered "no": the request then waits as if the process lived, which is always safe. */
#include "fs/base/process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PROC_FLAG_EXITING = 0x4, /* PF_EXITING of the kernel's sched.h */
    PROC_STAT_BYTES = 1024,
    PROC_STAT_FLAGS_FIELD = 7, /* counted behind the name: state is 1 (proc(5): flags is field 9) */
};

static uint64_t bit(int sig)
{
    return UINT64_C(1) << (sig - 1);
}

/* Where flags starts in a line of /proc/PID/stat; NULL: not such a line. The name may hold anything but NUL, so its
 * end is the last parenthesis. */
static const char *stat_flags(const char *line)
{
    const char *at = strrchr(line, ')');

    for (int field = 0; at != NULL && field < PROC_STAT_FLAGS_FIELD; field++) {
        at = strchr(at, ' ');
        if (at != NULL) {
            at++;
        }
    }
    return at;
}

bool process_exiting(pid_t tid)
{
    char path[64];
    char line[PROC_STAT_BYTES];
    const char *flags;
    ssize_t n;
    int fd;

    if (tid <= 0) {
        return false;
    }
    snprintf(path, sizeof path, "/proc/%d/stat", (int)tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    n = read(fd, line, sizeof line - 1);
    close(fd);
    if (n <= 0) {
        return false;
    }
    line[n] = '\0';
    flags = stat_flags(line);
    return flags != NULL && (strtoul(flags, NULL, 10) & PROC_FLAG_EXITING) != 0;
}

struct status {
    uint64_t pending, shared_pending, blocked, ignored, caught;
    uint64_t tgid;
};

static void status_take(struct status *s, const char *line)
{
    const struct {
        const char *name;
        uint64_t *value;
        int base;
    } lines[] = {
        {"Tgid:", &s->tgid, 10},      {"SigPnd:", &s->pending, 16}, {"ShdPnd:", &s->shared_pending, 16},
        {"SigBlk:", &s->blocked, 16}, {"SigIgn:", &s->ignored, 16}, {"SigCgt:", &s->caught, 16},
    };

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        size_t len = strlen(lines[i].name);

        if (strncmp(line, lines[i].name, len) == 0) {
            *lines[i].value = strtoull(line + len, NULL, lines[i].base);
        }
    }
}

/* The file is read line by line because its Groups line has no bound that would be worth a buffer. */
static bool status_read(pid_t tid, struct status *s)
{
    char path[64];
    char *line = NULL;
    size_t capacity = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/status", (int)tid);
    file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    while (getline(&line, &capacity, file) > 0) {
        status_take(s, line);
    }
    free(line);
    fclose(file);
    return true;
}

bool process_dying(pid_t tid)
{
    /* signal(7): what these do by default does not end a process. */
    const uint64_t harmless = bit(SIGCHLD) | bit(SIGURG) | bit(SIGWINCH) | bit(SIGCONT) | bit(SIGSTOP) | bit(SIGTSTP) |
                              bit(SIGTTIN) | bit(SIGTTOU);
    struct status s = {0};
    uint64_t pending;

    if (tid <= 0 || !status_read(tid, &s)) {
        return false;
    }
    pending = s.pending | s.shared_pending;
    if ((pending & bit(SIGKILL)) != 0) {
        return true;
    }
    return (pending & ~s.blocked & ~s.ignored & ~s.caught & ~harmless) != 0;
}

pid_t process_of(pid_t tid)
{
    struct status s = {0};

    return tid > 0 && status_read(tid, &s) && s.tgid > 0 ? (pid_t)s.tgid : tid;
}
