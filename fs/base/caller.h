/* fs/base/caller.h: who made a request, as a command of the metadata names him. */
#ifndef LOGMNT_FS_BASE_CALLER_H
#define LOGMNT_FS_BASE_CALLER_H

#include "fs/base/fuse.h"
#include "replication/metadata/command.h"

/* While the request is not answered, so that its process is there. More groups than LIMIT_CALLER_GROUPS, or none to be
 * read in /proc (a process of another PID namespace): they are not known. Any thread. */
void caller_of(fuse_req_t req, struct command_caller *out);

#endif
