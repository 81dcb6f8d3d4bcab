/* engine/recover/log_open.h: how a log comes to be there, after a stop of any kind. */
#ifndef LOGMNT_ENGINE_RECOVER_LOG_OPEN_H
#define LOGMNT_ENGINE_RECOVER_LOG_OPEN_H

#include "engine/log/log.h"

/* Opens or creates DATA/topics/NAME. With clean_shutdown only sizes and the last entry are looked at; otherwise all
 * above the recovery point is checked and cut at the first entry that does not hold, and indexes that are missing or
 * bad are rebuilt. Corruption below the recovery point: -EBADMSG with the reason in e and the files untouched; the
 * caller gets *out nevertheless, an offline log that knows its name, so that the rest of the node can go on.
 * Other errors: *out is NULL. *recovered (may be NULL): true if anything had to be checked or cut. */
int log_open(struct log_env *env, const char *name, const struct log_config *config, const struct log_known *known,
             struct log **out, bool *recovered, struct err *e);

/* Removes what is left of a damaged log: its segments and what was kept beside them; other files of its directory stay.
 * The next log_open() finds an empty log that begins at 0, of which figures that were noted up to `cuts` (log_cuts())
 * say nothing any more. Nobody uses the log; one that is offline may still be there. Durable; a crash on the way leaves
 * some of the log, and that none of it was ever flushed. Errors: those of the disk; to be called again. */
int log_clear(struct log_env *env, const char *name, uint32_t cuts, struct err *e);

#endif
