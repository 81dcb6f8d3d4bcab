/* replication/replica/catch_up.h: how much is sent to one peer for replicas that nobody waits for, so that what
 * somebody waits for does not stand behind it: in the socket, and in the peer's mailbox, all partitions' records are in
 * one row; and disks and processors are the same. Nobody waits for a replica that is not in sync, where enough others
 * are; what all others are sent is live traffic (REPLICATION.md, rule 59).
 *
 *     QUIET: so many bytes under way (sent, and not acknowledged) as keep a fast link full
 *       ^ |
 *       | | this node sends live records
 *       | v
 *     BUSY:  BURST --- all of it is sent and acknowledged ---> REST, for as long as that took ---> BURST
 *
 * A burst is small, so that what comes in between waits for little; and who rests as long as he works leaves half of
 * whatever is short. But who catches up has to be faster than those who write. So the rest is left out while the peer
 * has been sent less since the last beat than so many times what live traffic had in the one before; and a beat behind
 * one in which it was less than so few times is as if it was QUIET: over a link on which a burst takes long. */
#ifndef LOGMNT_REPLICATION_REPLICA_CATCH_UP_H
#define LOGMNT_REPLICATION_REPLICA_CATCH_UP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* One a node: live records, in bytes. Any thread. */
struct live_traffic {
    _Atomic int64_t bytes;      /* since the last beat */
    _Atomic int64_t beat_bytes; /* in the beat before */
    _Atomic int beats_left;     /* until it is QUIET; each beat looks */
};

void live_traffic_sent(struct live_traffic *live, int64_t bytes);
void live_traffic_beat(struct live_traffic *live);
bool live_traffic_is_busy(const struct live_traffic *live);

/* One a peer. */
struct catch_up {
    _Atomic int64_t under_way; /* bytes */
    _Atomic int64_t sent;      /* all bytes that ever were */
    _Atomic int64_t beat_sent; /* as of the last beat */
    _Atomic bool slow;         /* in the beat before that it was too little */
    /* By who asks for room, one thread at a time. */
    bool bursts;
    int64_t burst_sent;    /* what was sent when the burst began */
    int64_t burst_us;      /* and when that was */
    int64_t rest_until_us; /* when the next one may begin */
};

/* What was sent and not acknowledged of one partition was *counted, and is `now`. Any thread. */
void catch_up_count(struct catch_up *catch_up, int64_t *counted, int64_t now);
void catch_up_sent(struct catch_up *catch_up, int64_t bytes); /* any thread */
/* Behind live_traffic_beat(). Any thread. */
void catch_up_beat(struct catch_up *catch_up, const struct live_traffic *live);
/* Bytes that one piece more may have now. 0: none, before something is acknowledged (*wait_us 0), or *wait_us have
 * passed. */
uint32_t catch_up_room(struct catch_up *catch_up, const struct live_traffic *live, int64_t now_us, int64_t *wait_us);

#endif
