/* fs/consume/group_stream.h: `.groups/G/T` and `.groups/G/.json/T`: a member of a consumer group as an open file.
 *
 * It joins at its first read or poll and leaves at its last close. A read says that everything before its position is
 * done, which commits that; is given whole records of one of the member's partitions, one partition after the other;
 * and waits where there are none, without a thread, as `.follow`. What is whose and what is done: group_map.h. */
#ifndef LOGMNT_FS_CONSUME_GROUP_STREAM_H
#define LOGMNT_FS_CONSUME_GROUP_STREAM_H

#include "fs/tree/handle.h"

struct group_stream;

/* For a new open file that reader_open() has made a reader for; pid: the process that opens it. -ENOMEM. */
int group_stream_open(struct handle *handle, pid_t pid);
/* RELEASE: leaves the group. No request of the open file is under way. */
void group_stream_release(struct handle *handle);
/* The open file's last reference goes. */
void group_stream_free(struct group_stream *stream);

/* Answers. ESTALE: the member was put out, or its group or topic deleted. */
void group_stream_read(fuse_req_t req, struct handle *handle, size_t size, int64_t pos, uint64_t owner, bool nonblock);
/* ph is taken over (NULL: nobody waits). */
void group_stream_poll(fuse_req_t req, struct handle *handle, struct fuse_pollhandle *ph);
/* fsync(2): commits all that has been delivered, and answers when that is decided. */
void group_stream_fsync(fuse_req_t req, struct handle *handle);
/* user.group.commit: likewise what is delivered before pos. EINVAL: more than has been. */
void group_stream_commit(fuse_req_t req, struct handle *handle, int64_t pos);

/* The extended attributes of a stream's node, answered: those of its open file. Without one there are none, and nothing
 * can be set (EINVAL); with several they are EBUSY. */
void group_stream_getxattr(fuse_req_t req, struct vnode *vnode, const char *name, size_t size);
void group_stream_listxattr(fuse_req_t req, struct vnode *vnode, size_t size);
void group_stream_setxattr(fuse_req_t req, struct vnode *vnode, const char *name, const char *value, size_t size);
void group_stream_removexattr(fuse_req_t req, struct vnode *vnode, const char *name);

#endif
