/* replication/group/sticky.h: the assignor `sticky`: as equal as can be, moving as few partitions as can be.
 *
 * With n members, each of one topic, and p partitions: O((n + p) log n). Pure; no locks. */
#ifndef LOGMNT_REPLICATION_GROUP_STICKY_H
#define LOGMNT_REPLICATION_GROUP_STICKY_H

#include "replication/group/assignor.h"

/* assignor_assign() of it, for one member at least. */
int sticky_assign(struct assign_topic *topics, size_t topic_count, const struct assign_member *members,
                  size_t member_count);

#endif
