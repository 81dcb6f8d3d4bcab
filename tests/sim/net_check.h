/* tests/sim/net_check.h: the simulated network by itself, between toys that only count: does it keep the promises of
 * replication/wire/transport.h, and no other? */
#ifndef LOGMNT_TESTS_SIM_NET_CHECK_H
#define LOGMNT_TESTS_SIM_NET_CHECK_H

#include <stddef.h>
#include <stdint.h>

/* One run from a seed. failure: "": none. */
void net_check(uint64_t seed, char *failure, size_t size);

#endif
