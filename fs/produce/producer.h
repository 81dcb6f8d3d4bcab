/* fs/produce/producer.h: what producing keeps of an open file (handle.h) of a partition or of `.any`. */
#ifndef LOGMNT_FS_PRODUCE_PRODUCER_H
#define LOGMNT_FS_PRODUCE_PRODUCER_H

#include "fs/produce/turn.h"
#include "fs/tree/handle.h"

struct last_line;
struct sync_drain;
struct write_op;

/* Where what was acknowledged in a leader epoch ends. */
struct produced_end {
    int32_t partition;
    int32_t leader_epoch;
    int64_t upto; /* behind the last record; 0: nothing yet, or with acks=0 the partition knows */
    bool any;     /* something was appended */
};

/* What was appended through an open file, and with linger.ms what is still on its way. handle's lock. */
struct produced {
    struct produced_end own;       /* a partition's own file: in the last epoch that acknowledged anything */
    struct produced_end *any_ends; /* `.any`: likewise, by partition */
    int32_t any_count;
    struct produced_end *earlier; /* in earlier epochs, which no fsync has asked for yet */
    int32_t earlier_count;
    bool forgot;      /* there were more of them than are kept */
    uint64_t batches; /* lingering batches that ever got records of this open file: the number of the last one */
    int outstanding;  /* those of them that are not over */
    bool last_line;   /* that is on its way */
    int error;        /* the failure that nobody waited for and nobody was told of; 0 or a negative errno */
    bool released;    /* closed for good with something on its way: the fence (producer.post) goes down behind it */
    struct sync_drain *waiters;
};

/* What an open file that appends keeps between writes. Who has the turn may do what he likes with it: a WRITE from its
 * start until it is settled, RELEASE, which comes behind the last of them. */
struct producer {
    struct turn turn;
    struct topic_config config; /* a copy, as of generation */
    uint64_t generation;
    struct framing_state scan; /* of the unfinished record */
    bool refusing;             /* a line was too long and came in pieces: refuse up to the next newline */
    struct write_op *spare;    /* one that is not in use */
    /* These change under the lock, too: FLUSH and fsync look at them beside a WRITE. */
    pthread_mutex_t lock;
    uint8_t *rest; /* the unfinished record's bytes, and room for what a write may leave of its own */
    size_t rest_len, rest_capacity;
    struct last_line *last_line; /* made before there is a rest, so that it can always be appended at the last close */
    struct pfile **targets;      /* `.any`: by partition, referenced; NULL entries: not yet written to */
    int32_t target_count;
    /* The fence's lock. */
    struct fence_post post; /* up between a FLUSH that left a rest and the RELEASE or WRITE that follows */
    struct produced produced;
};

/* For a new open file. -ENOMEM. */
int producer_open(struct handle *handle);
/* The turn is over, and the WRITE that had it. Before the answer: the next write may follow on that. */
void producer_give_turn(struct handle *handle);
/* The open file's last reference goes. */
void producer_free(struct handle *handle);

#endif
