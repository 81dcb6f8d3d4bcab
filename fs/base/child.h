/* fs/base/child.h: a process that is forked off the daemon, to do something for it. */
#ifndef LOGMNT_FS_BASE_CHILD_H
#define LOGMNT_FS_BASE_CHILD_H

/* In the child: ps(1) shows it as `logmnt: NAME`, pgrep(1) as logmnt-NAME, and it has no descriptor but fd. */
void child_become(const char *name, int fd);

#endif
