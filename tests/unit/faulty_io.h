/* tests/unit/faulty_io.h: the system's struct io with one fault to be sprung, and with counters. */
#ifndef LOGMNT_TESTS_FAULTY_IO_H
#define LOGMNT_TESTS_FAULTY_IO_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "engine/base/io.h"

enum faulty_call {
    FAULTY_OPEN,   /* that create something */
    FAULTY_REOPEN, /* that do not */
    FAULTY_PREAD,
    FAULTY_PWRITEV,
    FAULTY_FTRUNCATE,
    FAULTY_FDATASYNC,
    FAULTY_FSYNC,
    FAULTY_RENAME,
    FAULTY_UNLINK,
    FAULTY_LIST,
    FAULTY_MAP,
    FAULTY_CALLS
};

struct faulty_io {
    struct io io; /* what the code under test is given */
    _Atomic int calls[FAULTY_CALLS];
    /* The call of this kind that fails, counted from now on: 0: none, 1: the next one. After it all go well again,
     * unless sticky. */
    enum faulty_call fail;
    _Atomic int countdown;
    int rc;
    bool sticky;
    size_t short_bytes; /* a write that is to fail writes so much first */
    /* A gate: while it is shut, calls of this kind wait in front of it. */
    pthread_mutex_t gate_lock;
    pthread_cond_t gate_changed;
    enum faulty_call gate;
    bool gate_shut;
    int gate_waiting;
};

void faulty_io_init(struct faulty_io *faulty);
/* Springs a fault: the nth call of this kind from now on returns rc. */
void faulty_io_arm(struct faulty_io *faulty, enum faulty_call fail, int nth, int rc);
void faulty_io_disarm(struct faulty_io *faulty);
/* Shuts the gate for calls of a kind; waits until n of them stand before it; lets them and all others through. */
void faulty_io_shut(struct faulty_io *faulty, enum faulty_call gate);
void faulty_io_await(struct faulty_io *faulty, int n);
void faulty_io_unshut(struct faulty_io *faulty);

#endif
