/* tests/hands/write.h: a hand that writes. */
#ifndef LOGMNT_TESTS_HANDS_WRITE_H
#define LOGMNT_TESTS_HANDS_WRITE_H

#include "tests/hands/hands.h"

enum { WRITE_TEXT_BYTES = 16 << 20 };

/* All its writes, and what else may be done to an open file that is written. */
void write_all(struct hand *hand);

#endif
