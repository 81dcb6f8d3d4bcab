/* tests/sim/world.h: a simulated cluster: its nodes with their disks, clocks and executors, one time for all, and the
 * books. All chance comes from the seed, so a run repeats itself bit for bit.
 *
 * A node is up, or down; a crash is armed at some later call on its disk (disk_crash_after()), and noticed after the
 * step in which it happened: nothing that the node said from then on is heard by anybody, it is taken down, its disk
 * becomes one of the states that are possible then, and it is opened anew on that. */
#ifndef LOGMNT_TESTS_SIM_WORLD_H
#define LOGMNT_TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "replication/node/node_commands.h"
#include "tests/sim/book.h"
#include "tests/sim/disk.h"
#include "tests/sim/sim_executor.h"

enum { WORLD_NODES = 5, WORLD_FAILURE_BYTES = 1024 };

struct world;

struct sim_node {
    struct world *world;
    int32_t id;
    struct disk disk;
    struct sim_clock clock;
    struct sim_executor executor;
    struct node *node;       /* NULL: down */
    bool power;              /* the armed crash is a power cut, not a kill */
    struct pending *pending; /* calls that wait for an answer */
    int pending_count;
};

struct world {
    uint64_t seed;
    uint64_t chance; /* of the workload and the scheduler */
    int64_t now_ms;
    struct sim_node nodes[WORLD_NODES];
    int node_count;
    struct book book;
    uint64_t trace; /* a hash of all that happened */
    uint64_t steps, answers, crashes, power_cuts, stops, starts;
    char failure[WORLD_FAILURE_BYTES]; /* "": none */
    bool verbose;
};

void world_init(struct world *world, uint64_t seed, int node_count);
void world_free(struct world *world);

/* The run has failed; the first reason counts. */
void world_fail(struct world *world, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline bool world_failed(const struct world *world)
{
    return world->failure[0] != '\0';
}
/* Something has happened: it goes into the trace, and onto stderr when verbose. */
void world_note(struct world *world, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Opens the node, as often as it takes while crashes are armed, and audits it. */
void world_start(struct sim_node *host);
/* Takes the node down after its disk has crashed, and brings it up again. */
void world_recover(struct sim_node *host);
/* A clean stop. */
void world_stop(struct sim_node *host);

/* Runs one work of a node that has one, or lets time pass to the next alarm. false: there is nothing to run, ever. */
bool world_step(struct world *world);
/* Does a node have a work to run now? */
bool world_busy(struct world *world);
void world_pass(struct world *world, int64_t ms);

#endif
