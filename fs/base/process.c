/* fs/base/process.c: questions to /proc, each one open, read and close. Whatever cannot be read or understood is
 * answered "no": the request then waits as if the process lived, which is always safe.
 *
 * Only /proc/TID/status is read. stat, ns/, fd/ and others take the process's exec_update_lock, and who calls
 * execve(2) holds that while its close-on-exec descriptors are closed, with a FLUSH each: it would wait for us, and we
 * for it, and nobody could kill it. */
#include "fs/base/process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t bit(int sig)
{
    return UINT64_C(1) << (sig - 1);
}

struct status {
    uint64_t pending, shared_pending, blocked, ignored, caught;
    uint64_t tgid;
    uint64_t vm_kib; /* 0: it has no memory of its own any more */
    uint64_t kernel; /* 1: it never had, and lives (of NFS, for instance); Linux 6.2 */
    uint64_t dumps;  /* 1: its core is being dumped, or would be but for a limit */
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
        {"VmSize:", &s->vm_kib, 10},  {"Kthread:", &s->kernel, 10}, {"CoreDumping:", &s->dumps, 10},
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

bool process_exiting(pid_t tid)
{
    struct status s = {0};

    return tid > 0 && status_read(tid, &s) && s.vm_kib == 0 && s.kernel == 0;
}

enum process_life process_life(pid_t pid)
{
    struct status s = {0};

    if (!status_read(pid, &s)) {
        return PROCESS_UNKNOWN;
    }
    return (s.vm_kib == 0 && s.kernel == 0) || s.dumps != 0 ? PROCESS_ENDS : PROCESS_LIVES;
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
