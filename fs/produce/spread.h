/* fs/produce/spread.h: one write(2) that lingers for several partitions of `.any`: is it in the log whole, or not at
 * all?
 *
 * Its parts leave in batches of their own, which also have other writes' records. A failure after which a program may
 * write it again must not be told of one that is there in part: that is ETIMEDOUT. fsync and close wait for all of its
 * parts, so whichever of them is settled as the second one of two that differ can still tell them. Any thread. */
#ifndef LOGMNT_FS_PRODUCE_SPREAD_H
#define LOGMNT_FS_PRODUCE_SPREAD_H

#include <stdbool.h>

struct spread;

/* NULL: no memory. Each of its parts is settled or dropped, once; with the last of them it is freed. */
struct spread *spread_new(int parts);
/* A part is in the log (0), may be there (-ETIMEDOUT), or is not. true: the write is torn, as far as is known by now.
 */
bool spread_settle(struct spread *spread, int rc);
/* A part that never was on its way, as the write(2) itself was told. */
void spread_drop(struct spread *spread);

#endif
