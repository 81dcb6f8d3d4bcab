/* fs/serve/mountpoint.h: the place to mount on: found, checked, and cleared of a mount whose daemon is gone. */
#ifndef LOGMNT_FS_SERVE_MOUNTPOINT_H
#define LOGMNT_FS_SERVE_MOUNTPOINT_H

#include "engine/base/err.h"

/* The absolute path without symbolic links, without touching what is mounted there. malloc-ed; NULL: e says why. */
char *mountpoint_path(const char *given, struct err *e);
/* There is a directory there, or a dead mount, neither inside the data directory nor around it: to be asked before
 * anything is made. 0 or a negative errno. */
int mountpoint_check(const char *path, const char *data_dir, struct err *e);
/* Ready to be mounted on: a directory, no live logmnt on it; a dead mount ("Transport endpoint is not connected") is
 * taken away. And what is checked above. 0 or a negative errno. */
int mountpoint_prepare(const char *path, const char *data_dir, struct err *e);

#endif
