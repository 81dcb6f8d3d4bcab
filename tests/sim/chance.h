/* tests/sim/chance.h: the simulator's random numbers: splitmix64 (Steele, Lea and Flood, 2014), one state for each
 * thing that has chances of its own, so that a change to one leaves the others as they were. */
#ifndef LOGMNT_TESTS_SIM_CHANCE_H
#define LOGMNT_TESTS_SIM_CHANCE_H

#include <stdbool.h>
#include <stdint.h>

static inline uint64_t chance_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Below n, which is above 0. */
static inline uint64_t chance_below(uint64_t *state, uint64_t n)
{
    return chance_next(state) % n;
}

/* Once in n. */
static inline bool chance_in(uint64_t *state, uint64_t n)
{
    return chance_below(state, n) == 0;
}

/* A state of its own, for something numbered. */
static inline uint64_t chance_seed(uint64_t seed, uint64_t number)
{
    uint64_t state = seed * 0x2545f4914f6cdd1du + number;
    return chance_next(&state);
}

#endif
