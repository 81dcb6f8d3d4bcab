/* fs/tree/group_lines.h: `.cluster/groups`: how far each group has come in each partition, and who is at it: asked of
 * the coordinators and the partitions (group/listing.h) by a request that waits for it parked. */
#ifndef LOGMNT_FS_TREE_GROUP_LINES_H
#define LOGMNT_FS_TREE_GROUP_LINES_H

#include <stdio.h>

#include "fs/base/session.h"
#include "fs/tree/tree.h"
#include "replication/group/listing.h"

/* What they are for: the caller's, handed through. */
struct group_lines_use {
    int64_t which; /* status file */
    void (*reply)(fuse_req_t req, struct vnode *vnode, int rc);
};

/* By group, topic and partition. */
struct group_lines {
    const struct group_line *all;
    size_t count;
};

/* Asks for them and then goes on, on any thread; *lines is good until `then` returns. rc: 0; otherwise there are none:
 * -ETIMEDOUT: a coordinator did not answer, and of what it keeps nothing is known; other errors of group_op. */
void group_lines_ask(fuse_req_t req, const struct group_lines_use *use,
                     void (*then)(fuse_req_t req, const struct group_lines_use *use, const struct group_lines *lines,
                                  int rc));

/* The file's text, and the metrics of groups. */
void group_lines_write(const struct group_lines *lines, FILE *out);
void group_lines_metrics(const struct group_lines *lines, FILE *out);

#endif
