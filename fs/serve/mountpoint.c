#include "fs/serve/mountpoint.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINKS_FOLLOWED = 40 /* as Linux does (path_resolution(7)) */ };

char *mountpoint_path(const char *given, struct err *e)
{
    char *copy = strdup(given);
    char *out = NULL;
    if (copy == NULL) {
        err_set(e, -ENOMEM, "no memory");
        return NULL;
    }
    for (size_t len = strlen(copy); len > 1 && copy[len - 1] == '/'; len--)
        copy[len - 1] = '\0';
    char *slash = strrchr(copy, '/');
    const char *name = slash != NULL ? slash + 1 : copy;
    bool whole = *name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
    char *parent = whole ? realpath(copy, NULL) : NULL;
    if (!whole) {
        char target;
        if (readlink(copy, &target, 1) >= 0) { /* of what is mounted there lstat(2) would ask the attributes */
            whole = true;
            parent = realpath(copy, NULL);
        } else if (slash == NULL) {
            parent = realpath(".", NULL);
        } else {
            *slash = '\0';
            parent = realpath(slash == copy ? "/" : copy, NULL);
        }
    }
    if (parent == NULL)
        err_sys(e, -errno, "mount point %s", given);
    else if (whole)
        out = strdup(parent);
    else if (asprintf(&out, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, name) < 0)
        out = NULL;
    if (parent != NULL && out == NULL)
        err_set(e, -ENOMEM, "no memory");
    free(parent);
    free(copy);
    return out;
}

/* What asks a mount without a daemon is told; ECONNABORTED: its daemon ended while the question was on its way. */
static bool is_dead(int rc)
{
    return rc == -ENOTCONN || rc == -ECONNABORTED;
}

static int take_away_dead(const char *path, struct err *e)
{
    if (umount2(path, MNT_DETACH) == 0)
        return 0;
    pid_t pid = fork();
    if (pid == 0) {
        execlp("fusermount3", "fusermount3", "-u", "-z", "-q", path, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return err_set(e, -ENOTCONN, "mount point %s holds a dead mount that cannot be taken away", path);
}

/* Whether a field of the mount table, which ends with a space, is that path: it has some bytes as \ooo. */
static bool is_field(const char *field, const char *path)
{
    for (; *path != '\0'; path++) {
        unsigned byte = (unsigned char)*field;
        field += *field == '\\' && sscanf(field, "\\%3o", &byte) == 1 ? 4 : 1;
        if (byte != (unsigned char)*path)
            return false;
    }
    return *field == ' ';
}

/* Whether a live logmnt is mounted exactly there. */
static bool has_logmnt(const char *path)
{
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t size = 0;
    bool found = false;
    while (mounts != NULL && !found && getline(&line, &size, mounts) > 0) {
        int at = 0;
        sscanf(line, "%*s %*s %*s %*s %n", &at);
        found = strstr(line, " - fuse.logmnt ") != NULL && is_field(line + at, path);
    }
    free(line);
    if (mounts != NULL)
        fclose(mounts);
    return found;
}

/* a is b or lies in it. */
static bool within(const char *a, const char *b)
{
    size_t len = strlen(b);
    return strncmp(a, b, len) == 0 && (a[len] == '\0' || a[len] == '/' || strcmp(b, "/") == 0);
}

/* What a symbolic link holds, malloc-ed; NULL: it is none, or is not there yet. */
static char *link_target(const char *path)
{
    char target[PATH_MAX];
    ssize_t len = readlink(path, target, sizeof target);
    return len > 0 && (size_t)len < sizeof target ? strndup(target, (size_t)len) : NULL;
}

static int walk(char **real, const char *path, int *links);

/* One name further. */
static int walk_name(char **real, const char *name, size_t len, int *links)
{
    char *at, *target;
    if (len == 1 && name[0] == '.')
        return 0;
    if (len == 2 && name[0] == '.' && name[1] == '.') {
        char *slash = strrchr(*real, '/');
        if (slash != NULL)
            *slash = '\0';
        return 0;
    }
    if (asprintf(&at, "%s/%.*s", *real, (int)len, name) < 0)
        return -ENOMEM;
    target = *links > 0 ? link_target(at) : NULL;
    if (target != NULL) {
        (*links)--;
        free(at);
        int rc = walk(real, target, links);
        free(target);
        return rc;
    }
    free(*real);
    *real = at;
    return 0;
}

/* Where path leads to from *real, a malloc-ed path without symbolic links or a slash at its end, which it replaces: as
 * path_resolution(7), and as if what is not there yet were directories. -ENOMEM. */
static int walk(char **real, const char *path, int *links)
{
    int rc = 0;
    if (*path == '/')
        (*real)[0] = '\0';
    for (size_t len; rc == 0 && *(path += strspn(path, "/")) != '\0'; path += len) {
        len = strcspn(path, "/");
        rc = walk_name(real, path, len, links);
    }
    return rc;
}

/* An absolute path as it is once all of it has been made, without symbolic links. malloc-ed; NULL: no memory. */
static char *real_path_to_be(const char *path)
{
    int links = LINKS_FOLLOWED;
    char *real = strdup("");
    int rc = real != NULL ? walk(&real, path, &links) : -ENOMEM;
    char *out = rc == 0 ? strdup(*real != '\0' ? real : "/") : NULL;
    free(real);
    return out;
}

int mountpoint_check(const char *path, const char *data_dir, struct err *e)
{
    struct stat st;
    int rc = stat(path, &st) != 0 ? -errno : 0;
    if (rc != 0 && !is_dead(rc))
        return err_sys(e, rc, "mount point %s", path);
    if (rc == 0 && !S_ISDIR(st.st_mode))
        return err_set(e, -ENOTDIR, "mount point %s is not a directory", path);
    char *data = real_path_to_be(data_dir);
    if (data == NULL)
        return err_set(e, -ENOMEM, "no memory");
    bool nested = within(data, path) || within(path, data);
    free(data);
    if (nested)
        return err_set(e, -EINVAL, "mount point %s and data directory %s must not lie in each other", path, data_dir);
    return 0;
}

int mountpoint_prepare(const char *path, const char *data_dir, struct err *e)
{
    struct stat st;
    struct statvfs fs;
    /* statfs always asks the file system; stat may be answered from the attributes that a dead one left behind. */
    int rc = statvfs(path, &fs) != 0 || stat(path, &st) != 0 ? -errno : 0;
    if (is_dead(rc)) {
        rc = take_away_dead(path, e);
        if (rc != 0)
            return rc;
        rc = stat(path, &st) != 0 ? -errno : 0;
    }
    if (rc != 0)
        return err_sys(e, rc, "mount point %s", path);
    rc = mountpoint_check(path, data_dir, e);
    if (rc == 0 && has_logmnt(path))
        rc = err_set(e, -EBUSY, "mount point %s: a logmnt is mounted there already", path);
    return rc;
}
