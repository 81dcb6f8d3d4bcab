/* replication/node/controller_driver.h: the controller (metadata/controller.h) on the node that leads the quorum: it is
 * told of time, of heartbeats and of what was applied, and what it wants is proposed, one command after the other.
 *
 *     IDLE --- led(true) ---> ACTIVE --- it wants a command ---> PROPOSING --- applied, or refused ---> ACTIVE
 *       ^                       |                                    |
 *       +----- led(false) ------+------------------------------------+
 *
 * Everything happens in turns of a mailbox (urgent work) but for what the quorum tells, which a turn follows. A command
 * that fails costs nothing: the next look at the metadata finds what is missing again; on a full disk it gets what the
 * reserve has. While a round of elections by the last ISR is under way other commands are proposed as ever. */
#ifndef LOGMNT_REPLICATION_NODE_CONTROLLER_DRIVER_H
#define LOGMNT_REPLICATION_NODE_CONTROLLER_DRIVER_H

#include <pthread.h>

#include "replication/executor/mailbox.h"
#include "replication/metadata/controller.h"
#include "replication/metadata/last_isr.h"
#include "replication/metadata/quorum.h"

struct last_isr_message;
struct node;

struct controller_driver {
    struct node *node;
    struct mailbox turns;
    struct alarm alarm;
    pthread_mutex_t lock; /* of what follows; never held through I/O. Taken before the metadata's */
    struct controller controller;
    struct last_isr last_isr;
    bool look_last_isr;       /* there may be partitions to ask for */
    int64_t last_isr_sent_ms; /* the round's questions */
    bool stopped;             /* nothing is proposed any more */
    bool proposing;
    bool reserved; /* between reserve_begin() and reserve_end(); who proposes has it */
    struct quorum_op op;
};

/* Enters its room on the node's network. Nothing comes yet. */
void controller_driver_init(struct controller_driver *driver, struct node *node, int64_t session_timeout_ms);
void controller_driver_free(struct controller_driver *driver);
/* Nothing is proposed from here on; what was goes its way. */
void controller_driver_stop(struct controller_driver *driver);

/* The quorum's (quorum.h): this node leads it and has applied all that was decided before, or it does not lead it any
 * more. No lock held. */
void controller_driver_led(void *arg, bool leads);
/* Right after each command was applied, in the quorum's turn, and before this node acts upon it. */
void controller_driver_applied(struct controller_driver *driver, const struct command *cmd);

/* Any thread. false: it does not lead, and says nothing. */
bool controller_driver_beat(struct controller_driver *driver, const struct heartbeat *beat,
                            struct heartbeat_answer *answer);
/* A node's answer on its logs. */
void controller_driver_last_isr(struct controller_driver *driver, int32_t from, const struct last_isr_message *msg);
/* A voter finds that process gone. */
void controller_driver_gone(struct controller_driver *driver, int32_t voter, int32_t node, uint64_t process);

#endif
