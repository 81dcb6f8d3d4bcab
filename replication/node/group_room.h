/* replication/node/group_room.h: how the room for consumer groups (group/groups.h) sits in the node: what it is told of
 * the metadata, topics by name and id, frames. */
#ifndef LOGMNT_REPLICATION_NODE_GROUP_ROOM_H
#define LOGMNT_REPLICATION_NODE_GROUP_ROOM_H

#include "engine/base/err.h"

struct node;

/* Before the network is started. -ENOMEM. */
int group_room_open(struct node *node, struct err *e);

#endif
