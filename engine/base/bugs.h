/* engine/base/bugs.h: errors that others made, to be put in by the test that must find them (tests/sim/sim_bugs.c).
 * Only a build with -DLOGMNT_BUGS has them; those of the metadata quorum are raft_bugs.h. */
#ifndef LOGMNT_ENGINE_BASE_BUGS_H
#define LOGMNT_ENGINE_BASE_BUGS_H

#include <stdbool.h>

#ifdef LOGMNT_BUGS
struct bugs {
    bool recovery_point_ahead;  /* KAFKA-10101: it moves over a tail that nobody has flushed */
    bool clean_mark_late;       /* KAFKA-10471: the mark of a clean stop goes when the start is through */
    bool appends_after_failure; /* KAFKA-10778: a failed write or flush does not end the log */
};
extern struct bugs bugs;
#define BUG(name) (bugs.name)
#else
#define BUG(name) false
#endif

#endif
