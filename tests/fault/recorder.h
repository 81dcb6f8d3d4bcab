/* tests/fault/recorder.h: a struct io in front of the system calls, over a directory on /dev/shm. It writes down every
 * operation that changes something, with all that is needed to do it again (disk_model.h), and can make one call fail
 * or let nothing through any more, as when the process is dead.
 *
 * Operations are serialised by a lock, so their order in the recording is the order in which they happened. Files are
 * named by inode number: tmpfs never gives one out twice. */
#ifndef LOGMNT_TESTS_RECORDER_H
#define LOGMNT_TESTS_RECORDER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/io.h"

enum record_kind {
    RECORD_CREATE,   /* name in dir: the new, empty file */
    RECORD_MKDIR,    /* likewise, a directory */
    RECORD_WRITE,    /* bytes to file, at */
    RECORD_TRUNCATE, /* file, to size at */
    RECORD_SYNC,     /* file or directory */
    RECORD_RENAME,   /* file from name in dir to to_name in to_dir */
    RECORD_UNLINK,   /* name in dir, a directory's too: file */
};

struct record {
    enum record_kind kind;
    uint64_t file;
    uint64_t dir, to_dir;
    int64_t at;
    size_t len;
    char *name, *to_name;
    uint8_t *bytes;
};

/* The functions of struct io. */
enum io_call {
    CALL_OPEN,
    CALL_CLOSE,
    CALL_PREAD,
    CALL_PWRITEV,
    CALL_FTRUNCATE,
    CALL_FDATASYNC,
    CALL_FSYNC,
    CALL_FSTAT,
    CALL_RENAME,
    CALL_UNLINK,
    CALL_MKDIR,
    CALL_LIST,
    CALL_MAP,
    CALL_UNMAP,
    CALLS,
};
extern const char *const io_call_names[CALLS];

enum fault_kind {
    FAULT_NONE,
    FAULT_ERROR,      /* that call does nothing and returns the error; close and unmap are done all the same */
    FAULT_SHORT,      /* that pread or pwritev does half of its bytes */
    FAULT_SHORT_STOP, /* that pwritev does half of its bytes, and the next one returns the error */
    FAULT_FULL,       /* from that call on nothing that needs room succeeds, until recorder_clear() */
};

struct fault {
    enum fault_kind kind;
    int error;     /* negative errno */
    uint32_t call; /* the n-th call from recorder_arm() on, 0 first */
};

struct recorder {
    struct io io; /* what the code under test is given; the first member */
    pthread_mutex_t lock;
    bool recording;
    struct record *records;
    uint32_t count, max;

    /* calls since recorder_arm() */
    struct fault fault;
    bool hit; /* the fault has happened */
    bool stop_due;
    uint32_t call_count, call_max;
    uint8_t *calls; /* enum io_call of each */
    bool stopped;
    uint32_t stop_in; /* mutating operations still let through; UINT32_MAX: all */
    uint32_t refused; /* mutating operations since the fault that came too late, for what must not be retried */
};

void recorder_init(struct recorder *r, bool recording);
void recorder_free(struct recorder *r);
/* How many operations were recorded so far. */
uint32_t recorder_count(struct recorder *r);
/* One line on stderr. */
void record_print(const struct record *record);
/* From now on nothing changes anything: mutating calls return -EIO. */
void recorder_stop(struct recorder *r);
/* The same after n more operations. */
void recorder_stop_after(struct recorder *r, uint32_t n);
void recorder_resume(struct recorder *r);
/* Sets a fault (or FAULT_NONE) and begins to count calls. */
void recorder_arm(struct recorder *r, const struct fault *fault);
void recorder_clear(struct recorder *r);
bool recorder_hit(struct recorder *r);
/* How many calls there were since recorder_arm(), and in *out which: malloc-ed. */
uint32_t recorder_calls(struct recorder *r, uint8_t **out);
/* The call of that number, of those. */
enum io_call recorder_call(struct recorder *r, uint32_t number);

/* Whether a full disk can be the answer to this call. */
bool io_call_needs_room(enum io_call call);
bool io_call_mutates(enum io_call call);

#endif
