/* fs/tree/group_attr.h: what stat(2) says of `.groups` and what is in it, and who may do what there.
 *
 * A group's entry has a mode as a topic has; its streams have none of their own: whoever may read both the entry and
 * the topic's partitions, for which it takes x on the topic, may read, and set attributes of what he reads (for which
 * the kernel asks for w). A caller may have the one right as an owner and the other as a member of a group, which no
 * mode with one owner can say of everybody: so a stream's mode is right for who asks, and for all others what the modes
 * say of their class. */
#ifndef LOGMNT_FS_TREE_GROUP_ATTR_H
#define LOGMNT_FS_TREE_GROUP_ATTR_H

#include <sys/stat.h>

#include "fs/base/session.h"
#include "fs/tree/tree.h"

/* `.groups` or anything below. */
bool group_kind(const struct vnode *vnode);
/* As attr_stat(), for those; st is what every file has. */
int group_stat(fuse_req_t req, struct vnode *vnode, struct stat *st);
/* The mode of a group's entry: who may read it may look names up in it. */
mode_t group_mode(mode_t mode);
/* How many records the partition holds that a group with this offset (GROUP_OFFSET_NONE: none) has not committed. */
int64_t group_lag(struct partition *part, int64_t committed);
/* Whether the caller has all of these rights (R_OK, W_OK) on the entry. */
bool group_may(fuse_req_t req, struct node_group *group, int rights);

#endif
