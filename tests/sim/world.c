/* tests/sim/world.c: life and death of nodes, and whose turn it is. */
#include "tests/sim/world.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/chance.h"
#include "tests/sim/workload.h"

enum {
    OPENS_MAX = 50,      /* of a node that crashes while it opens */
    DRIFT_MAX_PPM = 500, /* of a clock */
};

static const int64_t epoch_ms = 1764000000000; /* the simulation begins in November 2025 */

void world_init(struct world *world, uint64_t seed, int node_count)
{
    *world = (struct world){.seed = seed, .chance = chance_seed(seed, 0), .node_count = node_count};
    for (int i = 0; i < node_count; i++) {
        struct sim_node *host = &world->nodes[i];
        uint64_t own = chance_seed(seed, 100 + (uint64_t)i);
        host->world = world;
        host->id = i + 1;
        disk_init(&host->disk, chance_next(&own));
        sim_clock_init(&host->clock, &world->now_ms, epoch_ms + (int64_t)chance_below(&own, 2000),
                       (int32_t)chance_below(&own, 2 * DRIFT_MAX_PPM) - DRIFT_MAX_PPM);
    }
}

void world_free(struct world *world)
{
    for (int i = 0; i < world->node_count; i++)
        disk_free(&world->nodes[i].disk);
    book_free(&world->book);
}

void world_fail(struct world *world, const char *fmt, ...)
{
    va_list args;
    if (world_failed(world))
        return;
    va_start(args, fmt);
    vsnprintf(world->failure, sizeof world->failure, fmt, args);
    va_end(args);
}

/* FNV-1a, over the words of what happened. */
void world_note(struct world *world, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (const char *at = text; *at != '\0'; at++)
        world->trace = (world->trace ^ (uint8_t)*at) * 0x100000001b3u;
    world->trace = (world->trace ^ (uint64_t)world->now_ms) * 0x100000001b3u;
    if (world->verbose)
        fprintf(stderr, "%8lld %s\n", (long long)world->now_ms, text);
}

/* ---- one node ---- */

static int open_once(struct sim_node *host, struct err *e)
{
    struct node_options options = {.data_dir = "/data",
                                   .id = host->id,
                                   .check_crcs = true,
                                   .log_retention_check_interval_ms = 300000,
                                   .log_cleaner_backoff_ms = 15000,
                                   .reserve_bytes = 16384,
                                   .io = &host->disk.io,
                                   .clock = &host->clock.clock,
                                   .executor = &host->executor.executor};
    sim_executor_init(&host->executor, &host->clock, chance_next(&host->world->chance));
    return node_open(&options, &host->node, e);
}

/* Runs the node's works until none is left, so that all that is on its way ends. */
static void run_dry(struct sim_node *host)
{
    while (sim_executor_ready(&host->executor))
        sim_executor_step(&host->executor);
}

/* A process that is gone has no works: those of a node whose disk has crashed come to nothing. */
static void take_down(struct sim_node *host)
{
    struct err e = {""};
    workload_cancel(host, false);
    run_dry(host);
    if (host->pending_count != 0)
        world_fail(host->world, "node %d: %d calls were never answered", host->id, host->pending_count);
    if (host->node != NULL && !world_failed(host->world))
        (void)node_close(host->node, &e);
    host->node = NULL;
    if (!world_failed(host->world))
        sim_executor_free(&host->executor);
}

void world_start(struct sim_node *host)
{
    struct world *world = host->world;
    bool power = false;
    for (int i = 0; i < OPENS_MAX && !world_failed(world); i++) {
        struct err e = {""};
        int rc = open_once(host, &e);
        world->starts++;
        world_note(world, "node %d opens: %d", host->id, rc);
        if (rc != 0) {
            run_dry(host);
            sim_executor_free(&host->executor);
            host->node = NULL;
        }
        if (!host->disk.crashed) {
            if (rc != 0)
                world_fail(world, "node %d does not open: %s", host->id, e.text);
            else if (!book_audit(&world->book, host->node, &host->disk.io, true, host->power || power, &e))
                world_fail(world, "node %d, opened anew: %s", host->id, e.text);
            if (!host->disk.crashed) {
                host->power = false;
                return;
            }
        }
        /* It crashed on its way up. */
        if (rc == 0)
            take_down(host);
        power |= host->power;
        host->power = chance_in(&world->chance, 2);
        power |= host->power;
        disk_restart(&host->disk, host->power);
    }
}

void world_recover(struct sim_node *host)
{
    struct world *world = host->world;
    world->crashes++;
    world->power_cuts += host->power;
    take_down(host);
    book_crashed(&world->book);
    world_note(world, "node %d %s", host->id, host->power ? "lost its power" : "was killed");
    disk_restart(&host->disk, host->power);
    world_start(host);
}

void world_stop(struct sim_node *host)
{
    struct world *world = host->world;
    struct err e = {""};
    workload_cancel(host, true);
    run_dry(host);
    if (host->disk.crashed)
        return;
    if (host->pending_count != 0)
        world_fail(world, "node %d: %d calls were not answered before a stop", host->id, host->pending_count);
    int rc = world_failed(world) ? 0 : node_close(host->node, &e);
    if (!host->disk.crashed && rc != 0 && host->disk.capacity_bytes == INT64_MAX)
        world_fail(world, "node %d does not stop cleanly: %s", host->id, e.text);
    host->node = NULL;
    if (!world_failed(world))
        sim_executor_free(&host->executor);
    world->stops++;
    world_note(world, "node %d stopped: %d", host->id, rc);
    if (!host->disk.crashed && rc == 0)
        book_stopped_cleanly(&world->book);
    book_crashed(&world->book);
    host->power |= host->disk.crashed && chance_in(&world->chance, 2);
    disk_restart(&host->disk, host->disk.crashed && host->power);
}

/* ---- whose turn it is ---- */

bool world_busy(struct world *world)
{
    for (int i = 0; i < world->node_count; i++)
        if (world->nodes[i].node != NULL && sim_executor_ready(&world->nodes[i].executor))
            return true;
    return false;
}

void world_pass(struct world *world, int64_t ms)
{
    world->now_ms += ms;
}

static bool pass_to_next_alarm(struct world *world)
{
    int64_t next_ms = INT64_MAX;
    for (int i = 0; i < world->node_count; i++) {
        if (world->nodes[i].node == NULL)
            continue;
        int64_t own_ms = sim_executor_next_ms(&world->nodes[i].executor);
        next_ms = own_ms < next_ms ? own_ms : next_ms;
    }
    if (next_ms == INT64_MAX)
        return false;
    world->now_ms = next_ms > world->now_ms ? next_ms : world->now_ms + 1;
    return true;
}

bool world_step(struct world *world)
{
    struct sim_node *ready[WORLD_NODES];
    unsigned count = 0;
    for (int i = 0; i < world->node_count; i++)
        if (world->nodes[i].node != NULL && sim_executor_ready(&world->nodes[i].executor))
            ready[count++] = &world->nodes[i];
    world->steps++;
    if (count == 0)
        return pass_to_next_alarm(world);
    struct sim_node *host = ready[chance_below(&world->chance, count)];
    sim_executor_step(&host->executor);
    if (host->disk.crashed)
        world_recover(host);
    return true;
}
