#include "fs/base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { LINE_BYTES = 4096 };

/* It is not the daemon, though it has its command line. */
static void rename_process(const char *name)
{
    char line[LINE_BYTES], title[32];
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, line, sizeof line);
    if (fd >= 0)
        close(fd);
    snprintf(title, sizeof title, "logmnt-%s", name);
    prctl(PR_SET_NAME, title);
    snprintf(title, sizeof title, "logmnt: %s", name);
    if (len > (ssize_t)strlen(title) + 1) {
        memset(program_invocation_name, 0, (size_t)len); /* argv[0], and the others behind it */
        memcpy(program_invocation_name, title, strlen(title));
    }
}

void child_become(const char *name, int fd)
{
    rename_process(name);
    if (fd > 0)
        close_range(0, (unsigned)fd - 1, 0);
    close_range((unsigned)fd + 1, ~0U, 0);
}
