/* fs/tree/metrics.h: `.cluster/metrics`: Prometheus's text format 0.0.4. Times are in seconds, as is its custom. */
#ifndef LOGMNT_FS_TREE_METRICS_H
#define LOGMNT_FS_TREE_METRICS_H

#include <stdio.h>

#include "fs/base/session.h"
#include "fs/tree/group_lines.h"

void metrics_write(struct session *session, const struct group_lines *lines, FILE *out);

#endif
