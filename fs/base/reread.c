#include "fs/base/reread.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "fs/base/limits.h"

enum reread_state { REREAD_PROBED, REREAD_READING, REREAD_ARMED };

/* One read of a thread's: at most one that is not armed. */
struct reread {
    pid_t tid;
    enum reread_state state;
    int64_t first, last; /* positions of its first READ and of its latest */
    int64_t next;        /* behind what that was given */
    bool given;          /* anything */
};

enum { REREADS_FIRST = 4 };

void rereads_init(struct rereads *rereads)
{
    *rereads = (struct rereads){0};
    pthread_mutex_init(&rereads->lock, NULL);
}

void rereads_free(struct rereads *rereads)
{
    free(rereads->all);
    pthread_mutex_destroy(&rereads->lock);
}

static uint32_t count_of(const struct rereads *rereads)
{
    return atomic_load_explicit(&rereads->count, memory_order_relaxed);
}

/* Not looked at by ThreadSanitizer: that the open file is still there is the kernel's doing, whose RELEASE comes after
 * the answer of the READ that looks here. */
__attribute__((no_sanitize("thread"))) static bool is_empty(const struct rereads *rereads)
{
    return atomic_load_explicit(&rereads->count, memory_order_acquire) == 0;
}

/* The order stays: the oldest is the first. */
static void remove_at(struct rereads *rereads, uint32_t i)
{
    uint32_t count = count_of(rereads) - 1;

    memmove(&rereads->all[i], &rereads->all[i + 1], (count - i) * sizeof *rereads->all);
    atomic_store_explicit(&rereads->count, count, memory_order_relaxed);
}

/* The thread's read that is not armed; NULL: there is none. Under the lock, as all that follow. */
static struct reread *find(struct rereads *rereads, pid_t tid)
{
    for (uint32_t i = 0; i < count_of(rereads); i++) {
        if (rereads->all[i].tid == tid && rereads->all[i].state != REREAD_ARMED) {
            return &rereads->all[i];
        }
    }
    return NULL;
}

static int make_room(struct rereads *rereads)
{
    uint32_t capacity = rereads->capacity > 0 ? rereads->capacity * 2 : REREADS_FIRST;
    struct reread *all;

    if (count_of(rereads) == LIMIT_REREADS) {
        remove_at(rereads, 0);
    }
    if (count_of(rereads) < rereads->capacity) {
        return 0;
    }
    all = reallocarray(rereads->all, capacity, sizeof *all);
    if (all == NULL) {
        return -ENOMEM;
    }
    rereads->all = all;
    rereads->capacity = capacity;
    return 0;
}

/* A new read of the thread's begins. */
static int probe(struct rereads *rereads, pid_t tid)
{
    struct reread *reread = find(rereads, tid);
    uint32_t count;

    if (reread != NULL) {
        reread->state = REREAD_PROBED;
        return 0;
    }
    if (make_room(rereads) != 0) {
        return -ENOMEM;
    }
    count = count_of(rereads);
    rereads->all[count] = (struct reread){.tid = tid, .state = REREAD_PROBED};
    atomic_store_explicit(&rereads->count, count + 1, memory_order_release);
    return 0;
}

static int arm(struct rereads *rereads, pid_t tid)
{
    struct reread *reread = find(rereads, tid);

    if (reread == NULL || reread->state != REREAD_READING || !reread->given) {
        return 0;
    }
    reread->state = REREAD_ARMED;
    return 1;
}

/* Whether these are what io_uring asks for before it repeats a read. */
static bool is_arming(uint32_t events)
{
    return (events & (POLLIN | POLLERR | POLLHUP | POLLOUT)) == (POLLIN | POLLERR);
}

int rereads_poll(struct rereads *rereads, pid_t tid, uint32_t events)
{
    bool probes = events == POLLIN;
    int rc;

    if (!probes && (!is_arming(events) || is_empty(rereads))) {
        return 0;
    }
    pthread_mutex_lock(&rereads->lock);
    rc = probes ? probe(rereads, tid) : arm(rereads, tid);
    pthread_mutex_unlock(&rereads->lock);
    return rc;
}

/* Forgets the read that this one repeats. false: there is none. */
static bool take_armed(struct rereads *rereads, pid_t tid, int64_t pos)
{
    for (uint32_t i = 0; i < count_of(rereads); i++) {
        const struct reread *reread = &rereads->all[i];

        if (reread->tid == tid && reread->state == REREAD_ARMED && reread->first <= pos && pos <= reread->last) {
            remove_at(rereads, i);
            return true;
        }
    }
    return false;
}

static void begin(struct reread *reread, int64_t pos)
{
    if (reread->state == REREAD_PROBED || pos != reread->next) {
        reread->first = pos;
        reread->given = false;
    }
    reread->state = REREAD_READING;
    reread->last = reread->next = pos;
}

int rereads_read(struct rereads *rereads, pid_t tid, int64_t pos, bool nonblock)
{
    struct reread *reread;
    int rc = 0;

    if (!nonblock && is_empty(rereads)) {
        return 0;
    }
    pthread_mutex_lock(&rereads->lock);
    if (take_armed(rereads, tid, pos)) {
        rc = 1;
    } else if (nonblock && find(rereads, tid) == NULL) {
        rc = probe(rereads, tid);
    }
    reread = rc == 0 ? find(rereads, tid) : NULL;
    if (reread != NULL) {
        begin(reread, pos);
    }
    pthread_mutex_unlock(&rereads->lock);
    return rc;
}

void rereads_given(struct rereads *rereads, pid_t tid, int64_t pos, size_t given)
{
    struct reread *reread;

    if (is_empty(rereads)) {
        return;
    }
    pthread_mutex_lock(&rereads->lock);
    reread = find(rereads, tid);
    if (reread != NULL && reread->state == REREAD_READING && given > 0) {
        reread->given = true;
        reread->next = pos + (int64_t)given;
    }
    pthread_mutex_unlock(&rereads->lock);
}
