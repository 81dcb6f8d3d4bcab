/* fs/base/absolute.c: the working directory in front of what is relative. */
#include "fs/base/absolute.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int absolute_set(char **path, const char *option, const char *what, const char *value, struct err *e)
{
    char *absolute, *cwd = NULL;

    if (*value == '\0') {
        return err_set(e, -EINVAL, "%s=: names no %s", option, what);
    }
    if (*value != '/') {
        cwd = getcwd(NULL, 0);
        if (cwd == NULL) {
            return err_sys(e, -EINVAL, "%s=%s: where we are cannot be told", option, value);
        }
    }
    if (asprintf(&absolute, "%s%s%s", cwd != NULL ? cwd : "", cwd != NULL ? "/" : "", value) < 0) {
        absolute = NULL;
    }
    free(cwd);
    if (absolute == NULL) {
        return err_sys(e, -ENOMEM, "%s=%s", option, value);
    }
    free(*path);
    *path = absolute;
    return 0;
}
