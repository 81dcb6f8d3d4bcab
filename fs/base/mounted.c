#include "fs/base/mounted.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/base/limits.h"

static int device_at(int dirfd, const char *path, int flags, struct mounted_device *device)
{
    struct statx stx;
    if (statx(dirfd, path, AT_STATX_DONT_SYNC | flags, STATX_TYPE, &stx) != 0)
        return -errno;
    device->major = stx.stx_dev_major;
    device->minor = stx.stx_dev_minor;
    return 0;
}

static bool is_device(const struct mounted_device *device, const struct mounted_device *other)
{
    return device->major == other->major && device->minor == other->minor;
}

int mounted_device(const char *path, struct mounted_device *device)
{
    return device_at(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, device);
}

bool mounted_is_at(const struct mounted_device *device, const char *path)
{
    struct mounted_device there;
    return mounted_device(path, &there) == 0 && is_device(device, &there);
}

bool mounted_is_on(const struct mounted_device *device, int fd)
{
    struct mounted_device there;
    return device_at(fd, "", AT_EMPTY_PATH, &there) == 0 && is_device(device, &there);
}

int mounted_open(struct mounted *mounted, const struct mounted_device *device, struct err *e)
{
    mounted->device = *device;
    mounted->table = fopen("/proc/self/mountinfo", "re");
    return mounted->table == NULL ? err_sys(e, -errno, "/proc/self/mountinfo") : 0;
}

void mounted_close(struct mounted *mounted)
{
    if (mounted->table != NULL)
        fclose(mounted->table);
}

/* Lines of a mount table begin: mount id, parent's id, MAJOR:MINOR. */
static bool has_device(FILE *table, const struct mounted_device *device)
{
    char *line = NULL;
    size_t size = 0;
    bool found = false;
    while (!found && getline(&line, &size, table) > 0) {
        unsigned dev_major, dev_minor;
        found = sscanf(line, "%*d %*d %u:%u", &dev_major, &dev_minor) == 2 && dev_major == device->major &&
                dev_minor == device->minor;
    }
    free(line);
    return found;
}

/* Mount tables that were looked at, by the id of their first mount. The id of the namespace is not asked for: for that
 * (/proc/PID/ns) the kernel waits for an execve(2) of the process to end, and that may wait for a dead mount. */
struct seen {
    int *all;
    size_t count, max;
};

/* false: it was there already. Without memory it is looked at again. */
static bool seen_add(struct seen *seen, int mount)
{
    for (size_t i = 0; i < seen->count; i++) {
        if (seen->all[i] == mount)
            return false;
    }
    if (seen->count == seen->max) {
        size_t max = seen->max > 0 ? seen->max * 2 : 16;
        int *all = realloc(seen->all, max * sizeof *all);
        if (all == NULL)
            return true;
        seen->all = all;
        seen->max = max;
    }
    seen->all[seen->count++] = mount;
    return true;
}

static bool is_new(struct seen *seen, FILE *table)
{
    int first;
    rewind(table);
    return fscanf(table, "%d", &first) != 1 || seen_add(seen, first);
}

static bool process_has(const struct mounted *mounted, struct seen *seen, const char *pid)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/mountinfo", pid);
    FILE *table = fopen(path, "re"); /* of another user's process it may not be shown */
    bool found = table != NULL && is_new(seen, table);
    if (found) {
        rewind(table);
        found = has_device(table, &mounted->device);
    }
    if (table != NULL)
        fclose(table);
    return found;
}

/* The process in whose namespace it is mounted; 0: there is none that can be seen. */
static pid_t find_elsewhere(const struct mounted *mounted, pid_t except)
{
    struct seen seen = {0};
    pid_t found = 0;
    DIR *proc = opendir("/proc");
    (void)is_new(&seen, mounted->table);
    for (struct dirent *entry; found == 0 && proc != NULL && (entry = readdir(proc)) != NULL;) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && pid != except && process_has(mounted, &seen, entry->d_name))
            found = pid;
    }
    if (proc != NULL)
        closedir(proc);
    free(seen.all);
    return found;
}

static enum mounted_where look(const struct mounted *mounted, pid_t except, pid_t *pid)
{
    if (mounted->table == NULL)
        return MOUNTED_HERE;
    rewind(mounted->table);
    if (has_device(mounted->table, &mounted->device))
        return MOUNTED_HERE;
    *pid = find_elsewhere(mounted, except);
    return *pid != 0 ? MOUNTED_ELSEWHERE : MOUNTED_NOWHERE;
}

enum mounted_where mounted_look(struct mounted *mounted, pid_t except, int64_t now_ms, pid_t *pid)
{
    mounted->looked_ms = now_ms;
    mounted->was = look(mounted, except, pid);
    return mounted->was;
}

int mounted_wait(const struct mounted *mounted, int64_t now_ms, bool *listens)
{
    bool elsewhere = mounted->was == MOUNTED_ELSEWHERE;
    int64_t left_ms = mounted->looked_ms + (elsewhere ? LIMIT_MOUNT_LOOK_MS : LIMIT_MOUNT_PAUSE_MS) - now_ms;
    *listens = !elsewhere && left_ms <= 0;
    if (*listens)
        return -1;
    return left_ms > 0 ? (int)left_ms : 0;
}
