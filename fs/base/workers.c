#include "fs/base/workers.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum state { READING, BUSY, RELEASING };
enum { STATE_BITS = 2 };

struct worker {
    _Atomic pid_t tid;
    _Atomic uint64_t word; /* turn << STATE_BITS | state; turns begin with 1 */
};

static struct worker workers[WORKERS_MAX];
static _Atomic int worker_count;

static _Thread_local struct worker *self;
static _Thread_local bool left_out; /* more workers than there can be */

static void enlist(void)
{
    int i = atomic_fetch_add(&worker_count, 1);
    left_out = i >= WORKERS_MAX;
    if (left_out)
        return;
    self = &workers[i];
    atomic_store(&self->tid, gettid());
}

/* A release is enough: the kernel's lock on the queue, which the worker takes next and who looks took before, orders
 * the rest. */
static void set_word(uint64_t turn, enum state state)
{
    atomic_store_explicit(&self->word, turn << STATE_BITS | (uint64_t)state, memory_order_release);
}

static uint64_t own_turn(void)
{
    return atomic_load_explicit(&self->word, memory_order_relaxed) >> STATE_BITS;
}

void workers_read_begin(void)
{
    if (self == NULL && !left_out)
        enlist();
    if (self != NULL)
        set_word(own_turn() + 1, READING);
}

void workers_read_end(bool release)
{
    if (self != NULL)
        set_word(own_turn(), release ? RELEASING : BUSY);
}

/* proc_pid_stat(5): the state comes behind the name, which ends with the last ')'. */
static bool sleeps(pid_t tid)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        close(fd);
    if (len <= 0)
        return true; /* it has ended, or there is no /proc */
    line[len] = '\0';
    const char *behind = strrchr(line, ')');
    return behind == NULL || behind[1] != ' ' || behind[2] == 'S';
}

/* The turn in which the worker may have a RELEASE now; 0: it has none. */
static uint64_t turn_of(struct worker *worker)
{
    uint64_t word = atomic_load(&worker->word);
    unsigned state = (unsigned)(word & ((1U << STATE_BITS) - 1));
    bool may = state == RELEASING || (state == READING && !sleeps(atomic_load(&worker->tid)));
    return may ? word >> STATE_BITS : 0;
}

bool workers_look(struct workers_look *look)
{
    bool any = false;
    int count = atomic_load(&worker_count);
    memset(look, 0, sizeof *look);
    for (int i = 0; i < count && i < WORKERS_MAX; i++) {
        look->turns[i] = turn_of(&workers[i]);
        any |= look->turns[i] != 0;
    }
    return any;
}

bool workers_done(struct workers_look *look)
{
    bool done = true;
    for (int i = 0; i < WORKERS_MAX; i++) {
        if (look->turns[i] != 0 && turn_of(&workers[i]) != look->turns[i])
            look->turns[i] = 0;
        done &= look->turns[i] == 0;
    }
    return done;
}
