/* fs/base/absolute.h: paths of options, made absolute before the daemon leaves the caller's directory. */
#ifndef LOGMNT_FS_BASE_ABSOLUTE_H
#define LOGMNT_FS_BASE_ABSOLUTE_H

#include "engine/base/err.h"

/* Replaces *path, which is malloc-ed or NULL, by value as an absolute path. -EINVAL: value is empty ("data=: names no
 * directory"), or where we are cannot be told; -ENOMEM. *path is then as it was. */
int absolute_set(char **path, const char *option, const char *what, const char *value, struct err *e);

#endif
