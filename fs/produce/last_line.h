/* fs/produce/last_line.h: a line that waits for its newline at the last close of its open file gets it, and is
 * appended.
 *
 * Nobody waits for that any more, and a failure can only be logged. So what it needs itself is there before the line's
 * first bytes are accepted: last_line_reserve(), and room for the newline behind the rest (rest.h). For what the append
 * needs besides, it is kept (kept.h). It does not linger, but it comes behind what does. What is still under way at the
 * end of the session is given up then, and logged. */
#ifndef LOGMNT_FS_PRODUCE_LAST_LINE_H
#define LOGMNT_FS_PRODUCE_LAST_LINE_H

#include "fs/tree/handle.h"

/* With the turn, before a rest is kept. 0 or -ENOMEM. */
int last_line_reserve(struct handle *handle);
/* RELEASE: appends the rest, which is the open file's no longer. */
void last_line_append(struct handle *handle);
/* Gives up what is under way. After every open file was closed. */
void last_lines_end(struct session *session);

#endif
