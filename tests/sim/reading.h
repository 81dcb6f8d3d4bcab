/* tests/sim/reading.h: the calls that read records, and what is held against the books when they are answered. */
#ifndef LOGMNT_TESTS_SIM_READING_H
#define LOGMNT_TESTS_SIM_READING_H

#include "tests/sim/pending.h"

/* All of this node's replica, as a reader goes through it; where it has none, its size. */
void reading_walk(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index);
/* By offset, from the end, by position, in this node's replica. */
void reading_look_up(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index);
/* Waits at the end of this node's replica, and reads it when it is woken. */
void reading_wait(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index);
/* The bytes of a batch, wherever they are: what this mount has shown is there, and is what it was. Nothing is asked of
 * one whose place is not known for certain. */
void reading_ask(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index, int64_t serial,
                 int64_t timeout_ms);

/* Likewise the last batch that is known to stay: so does who follows. */
void reading_ask_last(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index,
                      int64_t timeout_ms);

/* What a replica on this node answers at once; -ETIMEDOUT: another one would have to be asked. */
int reading_find(struct partition *part, enum read_kind kind, int64_t at, struct log_point *out);

#endif
