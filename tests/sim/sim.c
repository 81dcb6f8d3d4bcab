/* tests/sim/sim.c: the simulator: whole nodes, engine and replication, in one thread from one seed.
 *
 *     build/tests/sim                        SIM_SEEDS seeds (2000), from SIM_SEED on (1)
 *     SIM_SEED=77 SIM_SEEDS=1 SIM_VERBOSE=1 build/tests/sim   one of them, told step by step
 *
 * Every 50th seed is run twice: both runs have to be the same, bit for bit. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/chance.h"
#include "tests/sim/workload.h"
#include "tests/sim/world.h"

enum { STEPS = 1200, REST_STEPS = 20000, TWICE = 50 };

struct totals {
    uint64_t lines_checked, lines_lost, batches_found, answers, crashes, power_cuts, stops, faults[4];
};

static void quiet(int level, const char *line)
{
    (void)level;
    (void)line;
}

static void add_up(struct totals *totals, const struct world *world)
{
    totals->lines_checked += world->book.lines_checked;
    totals->lines_lost += world->book.lines_lost;
    totals->batches_found += world->book.batches_found;
    totals->answers += world->answers;
    totals->crashes += world->crashes;
    totals->power_cuts += world->power_cuts;
    totals->stops += world->stops;
    for (int i = 0; i < 4; i++)
        totals->faults[i] += world->nodes[0].disk.faults[i];
}

/* One node's life. Returns its trace. */
static uint64_t run(uint64_t seed, bool verbose, struct totals *totals, char failure[WORLD_FAILURE_BYTES])
{
    static struct world world;
    struct sim_node *host = &world.nodes[0];
    world_init(&world, seed, 1);
    world.verbose = verbose;
    world_start(host);
    for (int i = 0; i < STEPS && !world_failed(&world); i++) {
        if (world_busy(&world) && !chance_in(&world.chance, 4))
            world_step(&world);
        else
            workload_act(host);
    }
    /* With nothing in the way any more everything comes to rest, and works. */
    if (!world_failed(&world))
        workload_heal(host);
    for (int i = 0; i < REST_STEPS && !world_failed(&world) && workload_waiting(host, false) > 0; i++)
        world_step(&world);
    if (!world_failed(&world) && workload_waiting(host, false) > 0)
        world_fail(&world, "%d calls are still waiting, and nothing is in their way", workload_waiting(host, false));
    if (!world_failed(&world))
        workload_prove(host);
    if (!world_failed(&world))
        world_stop(host);
    if (!world_failed(&world))
        world_start(host);
    if (!world_failed(&world))
        world_stop(host);
    snprintf(failure, WORLD_FAILURE_BYTES, "%s", world.failure);
    uint64_t trace = world.trace;
    if (totals != NULL)
        add_up(totals, &world);
    world_free(&world);
    return trace;
}

static uint64_t number(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : fallback;
}

int main(void)
{
    uint64_t first = number("SIM_SEED", 1), count = number("SIM_SEEDS", 2000);
    bool verbose = getenv("SIM_VERBOSE") != NULL;
    char failure[WORLD_FAILURE_BYTES], again[WORLD_FAILURE_BYTES];
    struct totals totals = {0};
    unsigned failed = 0;
    if (!verbose)
        log_sink_set(quiet);
    for (uint64_t seed = first; seed < first + count; seed++) {
        uint64_t trace = run(seed, verbose, &totals, failure);
        if (failure[0] == '\0' && seed % TWICE == 0 && run(seed, false, NULL, again) != trace)
            snprintf(failure, sizeof failure, "two runs of one seed differ");
        if (failure[0] == '\0')
            continue;
        printf("not ok %" PRIu64 " - seed %" PRIu64 ": %s\n# SIM_SEED=%" PRIu64
               " SIM_SEEDS=1 SIM_VERBOSE=1 build/tests/sim\n",
               seed - first + 1, seed, failure, seed);
        if (++failed == 10)
            break;
    }
    printf("# %" PRIu64 " seeds: %" PRIu64 " calls answered, %" PRIu64 " lines checked, %" PRIu64
           " lost with the power, %" PRIu64 " batches found whose caller died; %" PRIu64 " crashes, %" PRIu64
           " of them power cuts, %" PRIu64 " clean stops; writes torn %" PRIu64 ", lost %" PRIu64 ", of zeros %" PRIu64
           ", refused for room %" PRIu64 "\n",
           count, totals.answers, totals.lines_checked, totals.lines_lost, totals.batches_found, totals.crashes,
           totals.power_cuts, totals.stops, totals.faults[DISK_FAULT_TORN], totals.faults[DISK_FAULT_LOST],
           totals.faults[DISK_FAULT_ZEROS], totals.faults[DISK_FAULT_FULL]);
    if (failed == 0)
        printf("ok 1 - %" PRIu64 " seeds of one node\n", count);
    return failed > 0;
}
