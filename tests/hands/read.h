/* tests/hands/read.h: hands that read what is written beside them. What they got is noted as a hash, and held against
 * the whole when that stands still. */
#ifndef LOGMNT_TESTS_HANDS_READ_H
#define LOGMNT_TESTS_HANDS_READ_H

#include "tests/hands/hands.h"

enum { READ_BUFFER_BYTES = 9 << 20 };

/* By position, in every way, and in turn with others, until nothing is written any more and all has been read. */
void read_all(struct hand *hand);
/* Waits in .follow, until nothing is written any more. */
void read_follow(struct hand *hand);
/* All of what is left of an open file, in turn with others that read it. */
void read_turns(struct hand *hand, enum view view, int partition, int fd);
/* Once, at this position. */
void read_at(struct hand *hand, int partition, int fd, int64_t at);
/* Likewise through the page cache, by splice(2) or sendfile(2). false: it was refused. */
bool read_spliced_at(struct hand *hand, int partition, int fd, int64_t at);

#endif
