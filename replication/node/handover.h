/* replication/node/handover.h: a leader that cannot append, because its disk is full or its log has failed, has another
 * one of those in sync take the partition.
 *
 * Appends that meet it wait meanwhile: they go where the leader is (replica/partition_forward.c), and to the next one
 * once that is decided. Where nobody is in sync who has room, or nothing has come of it within LIMIT_HANDOVER_MS, they
 * fail with what they met. */
#ifndef LOGMNT_REPLICATION_NODE_HANDOVER_H
#define LOGMNT_REPLICATION_NODE_HANDOVER_H

#include <stdbool.h>

struct node;
struct partition;

/* This node leads the partition, and an append has just failed. true: another one is being asked for, and the append is
 * to be tried again. Any thread, no lock held. */
bool node_hand_over(struct node *node, struct partition *part);

#endif
