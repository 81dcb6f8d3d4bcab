/* replication/executor/mailbox.h: what any thread brings is worked on in order, by one thread at a time.
 *
 *     IDLE --- post ---> QUEUED --- a thread of the pool takes all ---> TURN ---+--- nothing came ---> IDLE
 *                          ^                                                  |
 *                          +---------------------- more came -----------------+
 *
 * A turn is a work of the pool; it may wait for the disk. What comes during one has the next. So whoever lives in turns
 * needs no lock for what only turns touch. */
#ifndef LOGMNT_REPLICATION_EXECUTOR_MAILBOX_H
#define LOGMNT_REPLICATION_EXECUTOR_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>

#include "replication/executor/executor.h"

/* Embed it in what is posted. */
struct mail {
    struct mail *next;
};

struct mailbox {
    struct executor *executor;
    enum work_kind kind;
    void (*take)(struct mailbox *mailbox, struct mail *list);
    pthread_mutex_t lock; /* of what follows; for a few loads and stores */
    struct mail *first, **last;
    bool busy;   /* a turn is queued or under way */
    bool kicked; /* another turn is due, whatever came */
    struct work work;
};

/* take: gets all that has come, linked in order, and owns it; NULL: it was kicked and nothing had come. No lock held.
 */
void mailbox_init(struct mailbox *mailbox, struct executor *executor, enum work_kind kind,
                  void (*take)(struct mailbox *mailbox, struct mail *list));
/* No turn is queued or under way, nothing is posted any more. What lies there still is returned, for its owner to free;
 * there is none once the executor was settled after the last post. */
struct mail *mailbox_free(struct mailbox *mailbox);

/* Any thread, a turn too; not once mailbox_free() may be under way. */
void mailbox_post(struct mailbox *mailbox, struct mail *mail);
/* A turn comes that begins after this, though nothing may have been posted. */
void mailbox_kick(struct mailbox *mailbox);

#endif
