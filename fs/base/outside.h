/* fs/base/outside.h: a thread of the daemon that uses its own mount, as anybody outside would.
 *
 * It must not share the daemon's descriptors: killed with its request on the way it would wait, unkillable, for an
 * answer that only the closing of /dev/fuse brings, and hold that open itself. And it must not hold the caller's
 * terminal or pipe, which the daemon lets go of only once the mount answers. So its table is its own, and empty: such a
 * thread works by paths. It does not log (syslog(3) would open its socket in the wrong table) and calls nothing of the
 * node, not even to drop a reference: whoever drops a deleted topic's last one wakes the loop through a descriptor.
 *
 * Nor may it be a FUSE worker: that would wait for itself. */
#ifndef LOGMNT_FS_BASE_OUTSIDE_H
#define LOGMNT_FS_BASE_OUTSIDE_H

/* Of the calling thread, first thing. 0 or a negative errno: then it must leave the mount alone. */
int outside_enter(void);

#endif
