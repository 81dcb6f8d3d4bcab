/* tests/sim/sim_bugs.c: the proof of the simulator itself. Errors that real systems had are put in, one at a time
 * (engine/base/bugs.h), and it must find each: sim_bugs [SEEDS [BUG]]. A build of its own has them.
 *
 * The errors of the metadata quorum are put in by tests/quorum/quorum_bugs.c. */
#include "engine/base/bugs.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "tests/sim/run.h"

struct bugs bugs;

#define BUG_ENTRY(name, nodes)                                                                                         \
    {                                                                                                                  \
#name, offsetof(struct bugs, name), nodes                                                                      \
    }

static const struct {
    const char *name;
    size_t at;
    int nodes; /* in the world that it must be found in */
} all[] = {
    BUG_ENTRY(recovery_point_ahead, 1),
    BUG_ENTRY(clean_mark_late, 1),
    BUG_ENTRY(appends_after_failure, 1),
};

enum { BUGS = sizeof all / sizeof *all, SEEDS = 2000, CONTROLS = 20 };

static void quiet(int level, const char *line)
{
    (void)level;
    (void)line;
}

/* The first seed that fails; 0: none of so many. */
static uint64_t find(int nodes, uint64_t seeds, char failure[WORLD_FAILURE_BYTES])
{
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        run_seed(seed, nodes, getenv("SIM_VERBOSE") != NULL, NULL, failure);
        if (failure[0] != '\0')
            return seed;
    }
    return 0;
}

/* Without an error nothing is found. */
static int find_nothing(int nodes)
{
    char failure[WORLD_FAILURE_BYTES];
    uint64_t seed = find(nodes, CONTROLS, failure);
    if (seed == 0)
        return 0;
    printf("# without an error in it seed %" PRIu64 " of %d nodes finds: %s\n", seed, nodes, failure);
    return 1;
}

int main(int argc, char **argv)
{
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : SEEDS;
    char failure[WORLD_FAILURE_BYTES];
    int missed = 0, number = 0;

    log_sink_set(quiet);
    missed += find_nothing(1);
    printf("1..%d\n", argc > 2 ? 1 : BUGS);
    for (size_t i = 0; i < BUGS; i++) {
        if (argc > 2 && strcmp(argv[2], all[i].name) != 0)
            continue;
        memset(&bugs, 0, sizeof bugs);
        *((bool *)&bugs + all[i].at) = true;
        uint64_t seed = find(all[i].nodes, seeds, failure);
        number++;
        missed += seed == 0;
        if (seed != 0)
            printf("ok %d - %s is found: seed %" PRIu64 ": %s\n", number, all[i].name, seed, failure);
        else
            printf("not ok %d - %s is not found in %" PRIu64 " seeds\n", number, all[i].name, seeds);
        fflush(stdout);
    }
    return missed > 0;
}
