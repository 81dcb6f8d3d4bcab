/* replication/node/stray.h: directories in DATA/topics that are no partition's: left over from a deletion (…-delete)
 * they are removed in the background; any other is left alone and named in the log. */
#ifndef LOGMNT_REPLICATION_NODE_STRAY_H
#define LOGMNT_REPLICATION_NODE_STRAY_H

#include "engine/base/err.h"
#include "replication/node/node.h"

/* Looks once, after the topics were opened. errnos of the disk. */
int stray_look(struct node *node, struct err *e);

#endif
