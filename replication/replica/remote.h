/* replication/replica/remote.h: a partition as the replica on another node has it: what has been asked of its leader,
 * what it has said, and bytes that were read ahead.
 *
 * For a node that holds no replica, and for one whose replica is behind what its mount has shown; of one that is not in
 * sync, as while it is made, growth is heard of here, so that its mount stands still for nobody. Each op that waits is
 * in the partition's list (partition_read_queue()); remote_look() is the one tick: it sees who is answered, whose time
 * is over and what is to be sent.
 *
 *   op --bytes at hand--> over
 *    \--queued--> a question under way --answer--> over, or asked again behind it
 *                   |  ^
 *                   |  +-- later; the link ended; no answer for LIMIT_READ_AGAIN_MS; the leader is another one
 *                   +----- its time is over --> -ETIMEDOUT
 *
 * When it is looked at is for the room for reads to say, which keeps two lists (reads.h), so that what many partitions
 * wait for costs nothing until it comes:
 *
 *   idle --remote_submit(), an answer, ...--> active --the next turn: remote_look()--> resting --it is due--> active
 *                                                                              \--nothing is due--> idle
 *
 * A link that comes or goes ends all rests.
 *
 * Growth is asked for by a standing question, put again every LIMIT_STAT_WAIT_MS or more while there is none: for
 * whoever waits at the end, for LIMIT_STAT_IDLE_MS behind every other op, and for the layer above, while it wants to
 * hear of all that happens to the partition or has called topic_hear(), but not while it still has the last news.
 *
 * An end is believed only of a question that was sent after the op came, to a leader whose high watermark is not below
 * what this node has shown: so a write that returned is seen by the next read, and no end is a false one.
 *
 * Locks: `lock`, held through a send, which waits for nothing; the partition's lock may be taken under it. */
#ifndef LOGMNT_REPLICATION_REPLICA_REMOTE_H
#define LOGMNT_REPLICATION_REPLICA_REMOTE_H

#include "replication/replica/partition_read.h"
#include "replication/wire/frame.h"
#include "replication/wire/read_message.h"

struct remote;

/* ---- an op: partition_read.c ---- */

/* As partition_read_submit(), of the leader. Its node's alarm is set for what comes later. */
int remote_submit(struct read_op *op);
void remote_free(struct remote *remote); /* NULL: nothing */

/* What the leader said last is not old, or he is silent. */
bool remote_is_known(struct partition *part);
/* What the leader said last; false: nothing yet. */
bool remote_heard(struct partition *part, struct stat_answer *out);
/* The partition's high watermark is known to be that far, as said in a leader epoch, and behind a record
 * of that one (-1: not known): whoever waits for less is woken,
 * and the layer above told. false: a leader of a later one was told how far it was shown here, and what earlier ones
 * say does not count any more (REPLICATION.md, rule 53). Calls back: no lock held. */
bool remote_show(struct partition *part, struct log_point high_watermark, int32_t epoch, int32_t record_epoch);

/* ---- what happens: reads.c ---- */

/* A frame of MESSAGE_READ_ANSWER, _LOOKUP_ANSWER or _STAT_ANSWER came from a node; taken over. 0 or -EBADMSG with the
 * reason: the link is not to be trusted. Calls back: no lock held. */
int remote_answer(struct partition *part, int32_t from, struct frame *frame, struct err *e);
/* Time has passed, a node has come up or gone down (`lost`; 0: none), or the leader is another one. Returns when to
 * look again, on the monotonic clock; INT64_MAX: when something happens. Calls back: no lock held. */
int64_t remote_look(struct partition *part, int32_t lost);
/* Somebody waits for growth that the leader knows of first: it is asked for it. */
void remote_listen(struct partition *part);
/* The leader has removed records that this node wanted to be gone, those in front of `start` (0: it has not said up to
 * where): what it said before, and what is on its way, counts no more. Whoever waits is answered anew, and the layer
 * above told. Calls back: no lock held. */
void remote_removed(struct partition *part, struct log_point start);
/* Another leader is to be asked, or other replicas: what is under way is looked at soon. */
void remote_moved(struct partition *part);

#endif
