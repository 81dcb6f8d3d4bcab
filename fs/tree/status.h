/* fs/tree/status.h: the files of `.cluster/`: plain columns that sort, awk and column -t like, and Prometheus text.
 * Their text is made when they are opened. */
#ifndef LOGMNT_FS_TREE_STATUS_H
#define LOGMNT_FS_TREE_STATUS_H

#include <stddef.h>
#include <stdint.h>

#include "fs/base/session.h"

const char *status_name(int64_t which); /* NULL: there are no more */
int64_t status_find(const char *name);  /* -1: none */
/* *text is malloc-ed. 0 or -ENOMEM. */
int status_text(struct session *session, int64_t which, char **text, size_t *len);

#endif
