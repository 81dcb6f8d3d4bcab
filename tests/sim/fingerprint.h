/* tests/sim/fingerprint.h: the state of the metadata as one number: equal states have equal ones. */
#ifndef LOGMNT_TESTS_SIM_FINGERPRINT_H
#define LOGMNT_TESTS_SIM_FINGERPRINT_H

#include "replication/metadata/metadata.h"

/* Never 0. */
uint64_t fingerprint(const struct metadata *meta);

#endif
