/* tests/sim/sim.c: the simulator: whole nodes, engine and replication, alone or in clusters, in one thread from one
 * seed.
 *
 *     build/tests/sim                        SIM_SEEDS seeds (2000), from SIM_SEED on (1)
 *     SIM_NODES=3                            of so many nodes; 0: 3 to 5, by the seed; without it 1
 *     SIM_SEED=77 SIM_SEEDS=1 SIM_VERBOSE=1 build/tests/sim   one of them, told step by step
 *
 * Every 50th seed is run twice: both runs have to be the same, bit for bit. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/net_check.h"
#include "tests/sim/run.h"

enum { TWICE = 50, FAILURES_SHOWN = 10 };

static void quiet(int level, const char *line)
{
    (void)level;
    (void)line;
}

static uint64_t number(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? strtoull(text, NULL, 10) : fallback;
}

static void print_totals(uint64_t count, const struct totals *totals)
{
    printf("# %" PRIu64 " seeds: %" PRIu64 " calls answered, %" PRIu64 " lines checked, %" PRIu64
           " lost with the power, %" PRIu64 " batches found whose caller died; %" PRIu64 " crashes, %" PRIu64
           " of them power cuts, %" PRIu64 " clean stops; writes torn %" PRIu64 ", lost %" PRIu64 ", of zeros %" PRIu64
           ", refused for room %" PRIu64 ", failed %" PRIu64 "\n",
           count, totals->answers, totals->lines_checked, totals->lines_lost, totals->batches_found, totals->crashes,
           totals->power_cuts, totals->stops, totals->faults[DISK_FAULT_TORN], totals->faults[DISK_FAULT_LOST],
           totals->faults[DISK_FAULT_ZEROS], totals->faults[DISK_FAULT_FULL], totals->faults[DISK_FAULT_FAILED]);
    if (totals->sessions > 0)
        printf("# %" PRIu64 " sessions between nodes, %" PRIu64 " frames; %" PRIu64 " known deaths; %" PRIu64
               " seconds lived; %" PRIu64 " unclean elections, %" PRIu64 " disks replaced\n",
               totals->sessions, totals->frames, totals->deaths, totals->lived_ms / 1000, totals->unclean,
               totals->wipes);
}

int main(void)
{
    uint64_t first = number("SIM_SEED", 1), count = number("SIM_SEEDS", 2000);
    int nodes = (int)number("SIM_NODES", 1);
    bool verbose = getenv("SIM_VERBOSE") != NULL;
    char failure[WORLD_FAILURE_BYTES], again[WORLD_FAILURE_BYTES];
    struct totals totals = {0};
    unsigned failed = 0;
    if (!verbose)
        log_sink_set(quiet);
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (nodes != 1)
            net_check(seed, failure, sizeof failure);
        uint64_t trace = nodes != 1 && failure[0] != '\0' ? 0 : run_seed(seed, nodes, verbose, &totals, failure);
        if (failure[0] == '\0' && seed % TWICE == 0 && run_seed(seed, nodes, false, NULL, again) != trace)
            snprintf(failure, sizeof failure, "two runs of one seed differ");
        if (failure[0] == '\0')
            continue;
        printf("not ok %" PRIu64 " - seed %" PRIu64 ": %s\n# SIM_NODES=%d SIM_SEED=%" PRIu64
               " SIM_SEEDS=1 SIM_VERBOSE=1 build/tests/sim\n",
               seed - first + 1, seed, failure, nodes, seed);
        fflush(stdout);
        if (++failed == FAILURES_SHOWN)
            break;
    }
    print_totals(count, &totals);
    if (failed == 0)
        printf("ok 1 - %" PRIu64 " seeds of %s\n", count, nodes == 1 ? "one node" : "clusters");
    return failed > 0;
}
