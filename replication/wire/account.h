/* replication/wire/account.h: what has come from one peer and is not done with: how much that may be, and what becomes
 * of more.
 *
 * Each frame that the network hands to a room is counted (its bytes, and one) from then on until it is freed
 * (frame_free()), whoever has it by then, in the account of its kind at the peer that has sent it. So a room that
 * stands still, since a disk does, is full by a bound that has a name, whatever it keeps its frames in; and no peer
 * takes the place of another one.
 *
 *   loses    one more is dropped, as if it had been lost on the way: its sender does not rely on it, and says it again
 *   refuses  one more is answered at once: later. Nothing of it is kept
 *   stops    one more is taken, but its connection is not read any further until an eighth of it is free again: TCP has
 * the sender wait, and nothing is lost. Where the sender could not wait, nor say it again
 *
 * The control connection carries heartbeats and the quorum, which nothing may hold up that waits for a disk: so there
 * nothing stops that waits for one of this node's. What stops it is answers alone, of which an honest peer has no more
 * than it was asked for. Behind what is under way on the records connection nothing is in a hurry.
 *
 * Any thread. The lock is held for a few loads and stores. */
#ifndef LOGMNT_REPLICATION_WIRE_ACCOUNT_H
#define LOGMNT_REPLICATION_WIRE_ACCOUNT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replication/wire/hello.h"

enum account_name {
    ACCOUNT_QUORUM,       /* loses: the metadata quorum, snapshots, commands on their way to it */
    ACCOUNT_MEMBERS,      /* loses: heartbeats and their like */
    ACCOUNT_ASKED,        /* refuses: what may wait for a disk here, until it is answered */
    ACCOUNT_READS,        /* loses: likewise, reads */
    ACCOUNT_READ_ANSWERS, /* loses: but for those with bytes */
    ACCOUNT_GROUPS,       /* loses */
    ACCOUNT_CONTROL,      /* stops the control connection: all other answers */
    ACCOUNT_RECORDS,      /* stops the records connection: replicas, appends, bytes that were asked for */
    ACCOUNT_APPENDS,      /* refuses: what is left of appends that wait for replicas when their frames are freed */
    ACCOUNTS,
    ACCOUNT_NONE = ACCOUNTS, /* of a kind that nobody knows */
};

enum account_verdict { ACCOUNT_TAKES, ACCOUNT_LOSES, ACCOUNT_REFUSES, ACCOUNT_STOPS };

struct account_bound {
    uint32_t count;
    uint64_t bytes;
};

/* By name, from limits.h. */
extern const struct account_bound account_bounds[ACCOUNTS];

struct account {
    pthread_mutex_t lock;
    enum account_name name;
    const struct account_bound *bound;
    uint32_t count; /* lock */
    uint64_t bytes; /* lock */
    atomic_bool stopped;
    /* Called without the lock, by whoever has freed enough, when it is no longer stopped. */
    void (*go_on)(struct account *account);
};

/* The account that frames of a kind belong to. */
enum account_name account_of(int kind, enum channel channel);

/* bound has to stay. */
void account_init(struct account *account, enum account_name name, const struct account_bound *bound,
                  void (*go_on)(struct account *account));
void account_free(struct account *account);

/* One more, of so many bytes. TAKES, STOPS: it counts, until account_give(). An empty account takes whatever comes. */
enum account_verdict account_take(struct account *account, size_t bytes);
void account_give(struct account *account, size_t bytes);

#endif
