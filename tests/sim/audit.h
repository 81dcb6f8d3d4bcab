/* tests/sim/audit.h: does what a node shows agree with the books?
 *
 * One replica is read from its start to its high watermark, as a reader does it: each line was written once, is where
 * it always was and where no other ever was, in its writer's order; nothing that may not be lost is missing. A node
 * that lives among others may be behind them: what it lacks is held against it only in the end, when all are equal. */
#ifndef LOGMNT_TESTS_SIM_AUDIT_H
#define LOGMNT_TESTS_SIM_AUDIT_H

#include "tests/sim/book.h"

struct audit {
    struct book *book;
    struct node *node;
    int place; /* of the node */
    /* It knows all that was decided, and nothing is on its way: what is not there is not there. So after the start of
     * an only node, and in the end. */
    bool all;
};

/* All topics and replicas of the node. False with the reason. */
bool audit_node(const struct audit *audit, struct err *e);
/* One of its replicas. */
bool audit_partition(const struct audit *audit, struct book_topic *topic, int32_t index, struct partition *part,
                     struct err *e);
/* st_size of one that is elsewhere: it goes back on no mount. */
bool audit_size(const struct audit *audit, struct book_topic *topic, int32_t index, struct partition *part,
                struct err *e);
/* Whether a setting is so on that node; topic NULL: MOUNT's; value "": the default. False with the reason. */
bool audit_setting(struct node *node, const char *topic, const char *name, const char *value, struct err *e);
/* Nothing is on its way any more: all settings were always what somebody had set, and are from here on as they are by
 * that. False with the reason. */
bool audit_settle_settings(struct book *book, struct err *e);
/* How far this replica is read. What a mount was told of may be ahead of it, and is then read from the leader; where
 * all in sync have lost what was shown there is nothing to be read there. */
struct log_point audit_high_watermark(struct partition *part);
/* Has this node a replica of it, from which it reads? */
bool audit_holds(const struct audit *audit, struct partition *part);

#endif
