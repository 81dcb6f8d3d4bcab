/* tests/sim/world.h: a simulated cluster: its nodes with their disks, clocks and executors, the network between them,
 * one time for all, and the books. All chance comes from the seed, so a run repeats itself bit for bit.
 *
 *            ┌────────── crashed ◄── any call on its disk, or fate
 *  world_recover()          ▲
 *            ▼              │
 *      ┌─► DOWN ──world_start()──► UP ◄──► paused
 *      │                           │
 *      └────── world_stop() ───────┘
 *
 * A crash is armed at some later call on the disk (disk_crash_after()), and noticed after the step in which it
 * happened: nothing that the node said from then on is heard by anybody, it is taken down, its disk becomes one of the
 * states that are possible then, and it is opened anew on that: at once where it is alone, after a while among others.
 */
#ifndef LOGMNT_TESTS_SIM_WORLD_H
#define LOGMNT_TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "replication/node/node_commands.h"
#include "tests/sim/book.h"
#include "tests/sim/disk.h"
#include "tests/sim/net.h"
#include "tests/sim/raft_watch.h"
#include "tests/sim/sim_executor.h"

enum { WORLD_NODES = BOOK_NODES, WORLD_FAILURE_BYTES = 1024 };

struct world;
struct invariants;
struct sim_groups;

/* Where the nodes are, as node_options has it. */
struct addresses {
    char names[WORLD_NODES][24];
    struct node_peer peers[WORLD_NODES];
};

struct sim_node {
    struct world *world;
    int32_t id;
    struct disk disk;
    struct sim_clock clock;
    struct sim_executor executor;
    struct addresses addresses;
    struct node_options options;
    struct err e;
    struct node *node;       /* NULL: down */
    bool in_call;            /* node_open() or node_close() is under way */
    bool stops;              /* node_close() is: what still waits is told -EIO */
    bool ended;              /* its process has ended itself */
    int rc;                  /* of the last open or close */
    bool power;              /* the armed crash is a power cut, not a kill */
    bool wipe;               /* the disk goes with it when it is next taken down */
    bool lost_power;         /* since it registered last: what it had in sync may be gone */
    int64_t restart_ms;      /* DOWN: when it is started again */
    int64_t away_ms;         /* nor before this, whatever it went down for */
    int64_t resume_ms;       /* UP: paused until then */
    int64_t mounts;          /* counts its starts */
    struct pending *pending; /* calls that wait for an answer */
    int pending_count;
};

struct world {
    uint64_t seed;
    uint64_t chance; /* of the workload and the scheduler */
    int64_t now_ms;
    struct sim_node nodes[WORLD_NODES];
    int node_count;
    int voter_count;    /* nodes 1 to that many are the first members; the others join */
    bool moves;         /* leaders and replicas change at users' will, and elections may be unclean */
    bool only_metadata; /* topics come and go, and nobody writes to them */
    bool races;         /* rmdirs of new topics, and appends to those, at the same time */
    bool retires;       /* nodes are unregistered that nothing stands on, and come back */
    bool tight;         /* nodes have room for next to nothing of what others send */
    struct net net;
    struct book book;
    struct invariants *invariants;
    struct raft_watch watches[WORLD_NODES]; /* by place */
    int64_t moved_ms; /* when replicas were placed last, or a leader: for a while that may yet come into force */
    int32_t wiped;    /* whose disk was replaced, and the voters have not been set again since; 0: none */
    bool voters_open; /* a change of the voters may be under way */
    struct sim_groups *groups; /* NULL: nobody reads in a group. Else no power is cut (groups.h) */
    bool nested;    /* others live on while a node opens or closes: nobody is started or taken down meanwhile */
    bool healed;    /* no crash any more */
    uint64_t trace; /* a hash of all that happened */
    uint64_t steps, answers, crashes, power_cuts, stops, starts, unclean, wipes, retired;
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

/* Calls the node's code: it may end its process in there. */
void world_in_process(struct sim_node *host, void (*call)(struct sim_node *host));
/* Opens the node and audits it. A crash on the way up is as any other. */
void world_start(struct sim_node *host);
/* The process ends here and now, whatever it was about: as if its disk had crashed. */
void world_kill(struct sim_node *host, bool power);
/* Takes a node down whose disk has crashed, and brings it up again, or plans that. */
void world_recover(struct sim_node *host);
/* A clean stop. It is down then. */
void world_stop(struct sim_node *host);
static inline bool world_alone(const struct sim_node *host)
{
    return host->world->node_count == 1;
}
/* It answers, as far as its callers can tell. */
static inline bool world_is_up(const struct sim_node *host)
{
    return host->node != NULL && !host->disk.crashed && !host->in_call && host->resume_ms <= host->world->now_ms;
}
/* One that is up, by chance; NULL: none is. */
struct sim_node *world_pick(struct world *world);

/* Does one thing that is to be done now, or lets time pass to the next one. false: there is nothing to be done, ever.
 */
bool world_step(struct world *world);
/* Is there something to be done now? */
bool world_busy(struct world *world);
void world_pass(struct world *world, int64_t ms);
/* Does what there is to be done within so long. */
void world_run(struct world *world, int64_t ms);

#endif
