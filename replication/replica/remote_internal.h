/* replication/replica/remote_internal.h: what the files of a remote share: remote.c has ops and what is asked,
 * remote_answer.c what is answered. */
#ifndef LOGMNT_REPLICATION_REPLICA_REMOTE_INTERNAL_H
#define LOGMNT_REPLICATION_REPLICA_REMOTE_INTERNAL_H

#include <pthread.h>

#include "replication/base/limits.h"
#include "replication/replica/remote_cache.h"
#include "replication/wire/message.h"

/* A question under way. */
struct question {
    uint64_t number; /* 0: a free place */
    enum message_kind kind;
    uint64_t op;      /* LOOKUP, STAT: the op's number; 0: the standing question for news */
    int64_t position; /* READ */
    uint32_t max;
    int32_t to;
    int32_t epoch;     /* the leader's when it was asked, as far as it was known here */
    int64_t due_ms;    /* no answer until then: asked again */
    uint64_t removals; /* remote's, when it was asked */
};

struct remote {
    pthread_mutex_t lock;
    struct question questions[LIMIT_READS_ASKED];
    struct remote_cache cache;
    int64_t later_ms; /* nothing is sent before */
    struct stat_answer heard;
    int64_t heard_ms;  /* -1: never */
    int64_t used_ms;   /* when an op came last */
    int64_t look_ms;   /* when it is to be looked at; INT64_MAX: when something happens */
    uint64_t removals; /* so often were records removed from here; an answer may be from before the last of them */
    bool outdated;     /* records were removed since it was heard */
    bool silent;       /* a stat has waited in vain, and nothing was heard since */
};

/* Ops that are over, in a list by next; each with its rc. */
struct over {
    struct read_op *first, **last;
};

int64_t remote_now_ms(const struct partition *part);
/* How far the high watermark is known to be. */
struct log_point remote_shown(struct partition *part);
/* The op goes out of the partition's list, under its lock. */
void remote_end_op(struct over *over, struct read_op *op, int rc);
/* Calls back: no lock held. */
void remote_finish(struct over *over);

/* Those that follow are under the remote's lock. The op's answer, if the bytes are at hand. */
bool remote_serve(struct remote *remote, struct read_op *op, int64_t now);
/* NULL: there is none. 0: a free place. */
struct question *remote_find_question(struct remote *remote, uint64_t number);
/* Sends what may go. Returns whether news are wanted, and could not be asked for. */
bool remote_pump(struct partition *part, struct remote *remote, int64_t now);

#endif
