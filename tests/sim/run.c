/* tests/sim/run.c: calls and faults by chance; then nothing is in anybody's way any more, and everything has to come to
 * rest, to be equal, and to work. */
#include "tests/sim/run.h"

#include <stdio.h>
#include <string.h>

#include "tests/sim/audit.h"
#include "tests/sim/chance.h"
#include "tests/sim/faults.h"
#include "tests/sim/groups.h"
#include "tests/sim/invariants.h"
#include "tests/sim/seesaw.h"
#include "tests/sim/workload.h"

enum {
    STEPS_ALONE = 1200,
    REST_STEPS = 20000,
    ACTS = 250,      /* of a cluster */
    SWINGS = 120,    /* of one whose replicas lead in turn */
    REST_MS = 90000, /* for a cluster to come to rest */
    LOOK_MS = 500,
};

/* ---- one node ---- */

static void live_alone(struct world *world)
{
    struct sim_node *host = &world->nodes[0];
    world_start(host);
    for (int i = 0; i < STEPS_ALONE && !world_failed(world); i++) {
        if (world_busy(world) && !chance_in(&world->chance, 4))
            world_step(world);
        else
            workload_act(host);
    }
}

static void rest_alone(struct world *world)
{
    struct sim_node *host = &world->nodes[0];
    if (host->disk.failed) {
        world_kill(host, true);
        world_recover(host);
    }
    faults_heal(world);
    workload_heal(host);
    for (int i = 0; i < REST_STEPS && !world_failed(world) && workload_waiting(host) > 0; i++)
        world_step(world);
    if (!world_failed(world) && workload_waiting(host) > 0)
        world_fail(world, "%d calls are still waiting, and nothing is in their way", workload_waiting(host));
}

/* ---- several ---- */

static void live_on_seesaw(struct world *world)
{
    for (int i = 0; i < SWINGS && !world_failed(world); i++)
        seesaw_act(world);
}

static void live_together(struct world *world)
{
    for (int i = 0; i < ACTS && !world_failed(world); i++) {
        struct sim_node *host = world_pick(world);
        if (host != NULL && world->groups != NULL && chance_in(&world->chance, 2))
            groups_play_act(host);
        else if (host != NULL)
            workload_act(host);
        world_run(world, (int64_t)chance_below(&world->chance, chance_in(&world->chance, 8) ? 3000 : 60));
    }
}

/* What is missing for rest; "": nothing. */
static void find_unrest(struct world *world, char out[WORLD_FAILURE_BYTES])
{
    out[0] = '\0';
    for (int i = 0; i < world->node_count && out[0] == '\0'; i++) {
        struct sim_node *host = &world->nodes[i];
        if (!world_is_up(host))
            snprintf(out, WORLD_FAILURE_BYTES, "node %d is not up", host->id);
        else if (workload_waiting(host) > 0)
            snprintf(out, WORLD_FAILURE_BYTES, "node %d: %d calls are still waiting", host->id, workload_waiting(host));
    }
    if (out[0] == '\0')
        invariants_find_unrest(world, out);
    if (out[0] == '\0' && world->groups != NULL)
        groups_play_find_unrest(world, out);
}

static void rest_together(struct world *world)
{
    char unrest[WORLD_FAILURE_BYTES];
    int64_t until_ms = world->now_ms + REST_MS;
    faults_heal(world);
    do {
        world_run(world, LOOK_MS);
        workload_calm(world);
        if (world->groups != NULL)
            groups_play_calm(world);
        find_unrest(world, unrest);
    } while (unrest[0] != '\0' && world->now_ms < until_ms && !world_failed(world));
    if (unrest[0] != '\0')
        world_fail(world, "no rest: %s, and nothing is in their way", unrest);
    world->book.full = false;
    for (int i = 0; i < world->node_count && !world_failed(world); i++) {
        struct sim_node *host = &world->nodes[i];
        struct err e = {""};
        struct audit audit = {.book = &world->book, .node = host->node, .place = i, .all = true};
        bool good = i > 0 || audit_settle_settings(&world->book, &e);
        if (!good || !audit_node(&audit, &e))
            world_fail(world, "node %d, in the end: %s", host->id, e.text);
    }
}

/* ---- the whole ---- */

static void end(struct world *world)
{
    for (int i = 0; i < world->node_count && !world_failed(world); i++)
        world_stop(&world->nodes[i]);
    if (world->node_count > 1 || world_failed(world))
        return;
    world_start(&world->nodes[0]);
    if (!world_failed(world))
        world_stop(&world->nodes[0]);
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
    totals->unclean += world->unclean;
    totals->wipes += world->wipes;
    totals->retired += world->retired;
    totals->sessions += world->net.sessions;
    totals->crossed += world->net.crossed;
    totals->frames += world->net.frames;
    totals->deaths += world->net.deaths;
    totals->lived_ms += (uint64_t)world->now_ms;
    for (int n = 0; n < world->node_count; n++) {
        for (int i = 0; i < 5; i++)
            totals->faults[i] += world->nodes[n].disk.faults[i];
    }
}

/* A quarter of all clusters each, but for a sixteenth with leaders in turn; what is moved, and what is not, are the
 * other two quarters. */
bool run_is_of_metadata(uint64_t seed)
{
    return seed % 4 == 3 && !run_is_seesaw(seed);
}

bool run_is_seesaw(uint64_t seed)
{
    return seed % 16 == 15;
}

bool run_has_members(uint64_t seed)
{
    return seed % 4 == 1;
}

static void live(struct world *world)
{
    if (world->node_count == 1) {
        live_alone(world);
        return;
    }
    for (int i = 0; i < world->node_count; i++)
        world->nodes[i].restart_ms = (int64_t)chance_below(&world->chance, 1000);
    if (run_is_seesaw(world->seed))
        live_on_seesaw(world);
    else
        live_together(world);
}

uint64_t run_seed(uint64_t seed, int nodes, bool verbose, struct totals *totals, char failure[WORLD_FAILURE_BYTES])
{
    static struct world world;
    world_init(&world, seed, nodes != 0 ? nodes : run_is_seesaw(seed) ? 3 : 3 + (int)(seed % 3));
    world.verbose = verbose;
    world.only_metadata = world.node_count > 1 && run_is_of_metadata(seed);
    world.moves = world.node_count > 1 && (seed % 4 == 2 || run_is_seesaw(seed));
    /* One of four is no voter, and may have no replica either. */
    world.retires = world.node_count == 4 && (world.only_metadata || world.moves);
    world.races = seed % RUN_RACES == 4;
    world.tight = seed % RUN_TIGHT == 3;
    if (world.node_count > 1 && run_has_members(seed))
        world.groups = groups_play_new(&world);
    live(&world);
    /* With nothing in the way any more everything comes to rest, and works. */
    if (!world_failed(&world) && world.node_count == 1)
        rest_alone(&world);
    else if (!world_failed(&world))
        rest_together(&world);
    if (!world_failed(&world) && world.groups != NULL)
        groups_play_prove(&world);
    if (!world_failed(&world) && !world.only_metadata)
        workload_prove(&world);
    end(&world);
    snprintf(failure, WORLD_FAILURE_BYTES, "%s", world.failure);
    uint64_t trace = world.trace;
    if (totals != NULL)
        add_up(totals, &world);
    groups_play_free(world.groups);
    world_free(&world);
    return trace;
}
