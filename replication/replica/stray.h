/* replication/replica/stray.h: directories in DATA/topics that are no partition's.
 *
 * What a deletion left (…-delete) is removed in the background. So is what a deletion did not get to, because the
 * process ended between the decision and the renaming, or because there was no name, no descriptor, no memory for it:
 * whose topic, by its id, is in the list of those that were deleted. Any other is left alone and named in the log.
 *
 * The list is made of commands that are replayed and of deletions that did not get through. A snapshot drops such
 * commands: before it does, what is in the list then is kept in DATA/deleted-topics, from which a start takes it again.
 * It is empty once a start has looked at all that is there.
 *
 * Any thread; the lock is the list's own, and nothing is taken within it. */
#ifndef LOGMNT_REPLICATION_REPLICA_STRAY_H
#define LOGMNT_REPLICATION_REPLICA_STRAY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "replication/base/uuid.h"

struct replica_manager;
struct stray_topic;

struct stray {
    pthread_mutex_t lock;
    struct stray_topic *deleted;
    bool changed;   /* since it was kept */
    bool forgotten; /* there was no memory for one: the command that says so must stay */
};

void stray_init(struct stray *stray);
void stray_free(struct stray *stray);

/* This topic was deleted, and its directories may be there still. -ENOMEM: the list is without it, and is not kept any
 * more before the next start. */
int stray_note(struct stray *stray, const char *topic, const uint8_t id[UUID_BYTES]);
/* Was the topic with this id one of them? */
bool stray_has(struct stray *stray, const uint8_t id[UUID_BYTES]);

/* At a start: what an earlier process has kept. A damaged file is named in the log and done without. Errnos of the
 * disk, -ENOMEM. */
int stray_load(struct replica_manager *manager, struct err *e);
/* Keeps the list, durably, before commands go: one caller at a time. Errnos of the disk, -ENOMEM. */
int stray_keep(struct replica_manager *manager, struct err *e);

/* Looks once, after the topics were opened: names that deletions still hold are free when it returns, durably. errnos
 * of the disk. */
int stray_look(struct replica_manager *manager, struct err *e);

#endif
