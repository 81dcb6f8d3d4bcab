/* tests/sim/pending.h: a call that waits for its answer, and what the books are to be told when it comes.
 *
 * A call that waits is on its node's list; its done function notes the outcome and marks it over, and the list is swept
 * between the steps. What is answered after the crash of its node is heard by nobody. */
#ifndef LOGMNT_TESTS_SIM_PENDING_H
#define LOGMNT_TESTS_SIM_PENDING_H

#include "replication/replica/partition_read.h"
#include "tests/sim/world.h"

enum pending_kind { PENDING_APPEND, PENDING_FLUSH, PENDING_COMMAND, PENDING_DELETE, PENDING_WAIT, PENDING_READ };

struct pending {
    enum pending_kind kind;
    struct sim_node *host;
    struct topic *topic; /* referenced; NULL: none */
    struct partition *part;
    struct book_topic *known;
    int32_t index;
    bool over;
    bool full;     /* a disk was, when it was asked */
    int64_t asked; /* when (book.asked) */
    struct pending *next;
    /* an append */
    int64_t serial;
    struct append_op append;
    struct iovec iov;
    /* a flush: what is to be durable when it is answered */
    struct flush_op flush;
    int32_t flush_epoch; /* that it was asked for with: the op goes on with those of its late appends */
    /* a command */
    struct command_op command;
    enum {
        MAKES_TOPIC,
        DELETES_TOPIC,
        ADDS_PARTITION,
        SETS,
        SETS_DEFAULT,
        SETS_MODE,
        MOVES,
        VOTES,
        UNREGISTERS
    } changes;
    bool by_user;            /* MAKES_TOPIC: not by root */
    struct setting *setting; /* SETS, SETS_DEFAULT, SETS_MODE: it, and which of its changes this is */
    int change;
    bool was_unknown;
    char value[SETTING_VALUE_BYTES];
    /* DeleteRecords */
    struct delete_records_op deletion;
    struct log_point point;
    /* a reader at the end */
    struct partition_waiter waiter;
    /* a read of the batch `serial`; point: how far this mount had shown the partition then */
    struct read_op read;
};

/* On its node's list. index -1: of no partition. topic may be NULL; it is referenced until the call is over. */
struct pending *pending_new(struct sim_node *host, enum pending_kind kind, struct topic *topic,
                            struct book_topic *known, int32_t index);
/* It is over; true: somebody hears how it ended. topic and part are NULL from here on. */
bool pending_over(struct pending *p, const char *what, int rc);
/* The run has failed if no sound node answers that: allowed ends with 0. What other nodes do, or fail to do, is behind
 * -EROFS (certainly nothing happened), -ETIMEDOUT (it may have, or may yet) and -ESTALE. */
void pending_check_errno(struct pending *p, const char *what, int rc, const int *allowed);

#endif
