/* replication/replica/stray.h: directories in DATA/topics that are no partition's.
 *
 * What a deletion left (…-delete) is removed in the background. So is what a deletion did not get to, because the
 * process ended between the decision and the renaming: whose topic, by its id, was deleted by a command that was
 * replayed. (A snapshot drops such commands only after they were carried out.) Any other is left alone and named in the
 * log. */
#ifndef LOGMNT_REPLICATION_REPLICA_STRAY_H
#define LOGMNT_REPLICATION_REPLICA_STRAY_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "replication/base/uuid.h"

struct replica_manager;
struct stray_topic;

/* Zero-initialise. */
struct stray {
    struct stray_topic *deleted; /* by commands that were replayed */
};

/* A replayed command deleted this topic. Out of memory it is forgotten, and what it left is named in the log. */
void stray_note(struct stray *stray, const char *topic, const uint8_t id[UUID_BYTES]);
/* Was the topic with this id one of them? */
bool stray_has(const struct stray *stray, const uint8_t id[UUID_BYTES]);
void stray_free(struct stray *stray);

/* Looks once, after the topics were opened: names that deletions still hold are free when it returns, durably. errnos
 * of the disk. */
int stray_look(struct replica_manager *manager, struct err *e);

#endif
