/* tests/unit/group_hands.h: hands in a node's room for consumer groups: what lies between its members and coordinators,
 * and how far they are. For tests of streams, too, which cannot know the room's structs. */
#ifndef LOGMNT_TESTS_UNIT_GROUP_HANDS_H
#define LOGMNT_TESTS_UNIT_GROUP_HANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct group_op;
struct groups;

/* From here on what members here ask is lost on its way, or what coordinators here answer. One room at a time. */
void group_hands_lose(struct groups *groups, bool requests, bool answers);
/* Of the group's coordinator here: its members, and whether its log takes nothing. */
size_t group_hands_readers(struct groups *groups, const char *group);
bool group_hands_stalled(struct groups *groups, const char *group);
/* Submits a reset of the group "kitchen" on orders/0: something that takes a record. op: until it is over. */
void group_hands_reset(struct groups *groups, struct group_op *op);
/* How long ago the last beat was sent from here that the group's coordinator has answered. */
int64_t group_hands_unheard_ms(struct groups *groups, const char *group);

#endif
