/* fs/tree/locks.h: fcntl(2) and flock(2) locks of one partition, for all its nodes at once.
 *
 * The kernel would keep locks per inode; a partition can have several node ids, so the daemon keeps them per partition.
 * POSIX locks are byte ranges of an owner (the process), split and merged as fcntl(2) says; flock locks are whole-file
 * locks of an open file; the two kinds do not see each other. A request that must wait is queued in order and answered
 * by whoever unlocks. Any thread; one mutex a table. Waiting is deadlock-checked for POSIX locks over all tables
 * (-EDEADLK). */
#ifndef LOGMNT_FS_TREE_LOCKS_H
#define LOGMNT_FS_TREE_LOCKS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct locks;

enum locks_kind { LOCKS_POSIX, LOCKS_FLOCK };

struct locks_request {
    enum locks_kind kind;
    uint64_t owner;
    pid_t pid;
    int type;           /* F_RDLCK, F_WRLCK, F_UNLCK */
    int64_t start, end; /* POSIX: bytes, inclusive; INT64_MAX: to the end. FLOCK: 0, INT64_MAX */
    /* Called once for a request that had to wait, no lock held, perhaps before locks_set() has returned: 0, -EDEADLK,
     * -ENOMEM or -ENOLCK. The request is the caller's again. */
    void (*granted)(struct locks_request *request, int rc);
    /* private */
    struct locks *table;
    struct locks_request *prev, *next;
    struct locks_request *wait_next; /* of the waiting POSIX requests of all tables */
    uint64_t blocker;                /* owner of the lock it waits for */
    int rc;
    bool queued;
};

struct locks *locks_new(void);
void locks_free(struct locks *locks); /* nobody waits any more */

/* Returns 1: done; 0: queued (wait true), granted() will be called; -EAGAIN: it conflicts (wait false); -EDEADLK;
 * -ENOMEM; -ENOLCK. A queued request is kept by the caller until granted or cancelled; otherwise it may be on the
 * stack. */
int locks_set(struct locks *locks, struct locks_request *request, bool wait);
/* F_GETLK: turns the request into the first conflicting lock, or into type F_UNLCK. */
void locks_get(struct locks *locks, struct locks_request *request);
/* true: it was still waiting and will not be granted. */
bool locks_cancel(struct locks_request *request);
/* close(2) drops the process's POSIX locks; the last close of an open file its flock. */
void locks_release_owner(struct locks *locks, enum locks_kind kind, uint64_t owner);
/* Whether any are held, without the mutex. What is being taken just now may be so or not. */
bool locks_any(struct locks *locks);
bool locks_empty(struct locks *locks);

#endif
