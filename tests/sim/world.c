/* tests/sim/world.c: life and death of nodes, and whose turn it is. */
#include "tests/sim/world.h"

#include <assert.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replication/base/limits.h"
#include "replication/wire/account.h"
#include "tests/sim/audit.h"
#include "tests/sim/chance.h"
#include "tests/sim/faults.h"
#include "tests/sim/invariants.h"
#include "tests/sim/groups.h"
#include "tests/sim/workload.h"

enum {
    OPENS_MAX = 50,      /* of a node that crashes while it opens */
    DRIFT_MAX_PPM = 500, /* of a clock */
    DOWN_MS = 4000,      /* mostly */
    DOWN_LONG_MS = 30000,
    STOP_MS = 10000,        /* for calls to be answered before a stop */
    SNAPSHOT_COMMANDS = 32, /* so that some nodes of a story get snapshots */
};

static const int64_t epoch_ms = 1764000000000; /* the simulation begins in November 2025 */

void world_init(struct world *world, uint64_t seed, int node_count)
{
    *world = (struct world){.seed = seed, .chance = chance_seed(seed, 0), .node_count = node_count};
    world->voter_count = node_count == 4 ? 3 : node_count;
    world->book.node_count = node_count;
    /* One that does little. */
    world->book.fallback.name = "min.compaction.lag.ms";
    world->book.mode.name = "mode";
    world->invariants = invariants_new();
    for (int i = 0; i < node_count; i++) {
        struct sim_node *host = &world->nodes[i];
        uint64_t own = chance_seed(seed, 100 + (uint64_t)i);
        host->world = world;
        host->id = i + 1;
        disk_init(&host->disk, chance_next(&own));
        sim_clock_init(&host->clock, &world->now_ms, epoch_ms + (int64_t)chance_below(&own, 2000),
                       (int32_t)chance_below(&own, 2 * DRIFT_MAX_PPM) - DRIFT_MAX_PPM);
    }
    net_init(&world->net, chance_seed(seed, 200), &world->now_ms, node_count);
    world->net.sent = raft_watch_sent;
    world->net.sent_arg = world;
    for (int i = 0; i < node_count; i++)
        world->net.nodes[i].mute = &world->nodes[i].disk.crashed;
}

void world_free(struct world *world)
{
    for (int i = 0; i < world->node_count; i++)
        disk_free(&world->nodes[i].disk);
    net_free(&world->net);
    invariants_free(world->invariants);
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

static int place(const struct sim_node *host)
{
    return host->id - 1;
}

/* ---- a process that ends itself ---- */

/* A node of which a disk has failed may end its process (REPLICATION.md, rule 10). All of it stays as it is then, locks
 * that it held included: nothing of it is ever run again. */

static jmp_buf *way_out;
static struct sim_node *running;

_Noreturn void __real_abort(void);
_Noreturn void __wrap_abort(void);

_Noreturn void __wrap_abort(void)
{
    if (way_out == NULL || (!running->disk.crashed && !running->disk.failed))
        __real_abort();
    longjmp(*way_out, 1);
}

void world_in_process(struct sim_node *host, void (*call)(struct sim_node *host))
{
    jmp_buf here, *outer = way_out;
    struct sim_node *outer_running = running;
    way_out = &here;
    running = host;
    if (setjmp(here) == 0) {
        call(host);
    } else {
        world_note(host->world, "node %d ends its process", host->id);
        host->ended = true;
        host->power |= !host->disk.crashed;
        host->disk.crashed = true;
    }
    way_out = outer;
    running = outer_running;
}

/* ---- one node ---- */

/* The others live on while this one waits in the middle of a start or a stop. */
static void meanwhile(void *arg, int64_t ms)
{
    struct sim_node *host = arg;
    struct world *world = host->world;
    if (host->disk.crashed || world->nested) {
        host->clock.mono_offset_ms += ms;
        return;
    }
    world->nested = true;
    world_run(world, ms);
    world->nested = false;
}

/* Of a node that meets its bounds all the time. What is lost is to come through by and by. */
static const struct account_bound tight_bounds[ACCOUNTS] = {
    [ACCOUNT_QUORUM] = {8, LIMIT_QUORUM_BYTES},
    [ACCOUNT_MEMBERS] = {4, LIMIT_MEMBER_BYTES},
    [ACCOUNT_ASKED] = {2, LIMIT_ASKED_BYTES},
    [ACCOUNT_READS] = {2, LIMIT_READS_SERVED_BYTES},
    [ACCOUNT_READ_ANSWERS] = {2, 2000},
    [ACCOUNT_GROUPS] = {2, LIMIT_GROUP_BYTES},
    [ACCOUNT_CONTROL] = {2, 2000},
    [ACCOUNT_RECORDS] = {2, 4000},
    [ACCOUNT_APPENDS] = {2, LIMIT_APPENDS_SERVED_BYTES},
};

/* Where the others are, and the way to them. */
static void set_peers(struct sim_node *host, struct node_options *options, struct addresses *to)
{
    struct world *world = host->world;
    for (int i = 0; i < world->node_count; i++) {
        snprintf(to->names[i], sizeof to->names[i], "node-%d", i + 1);
        to->peers[i] = (struct node_peer){.id = i + 1, .host = to->names[i], .port = NET_PORT};
    }
    options->listen_host = to->names[place(host)];
    options->listen_port = NET_PORT;
    options->peers = to->peers;
    options->peer_count = (size_t)world->voter_count;
    options->transport = net_source(&world->net, host->id);
    options->snapshot_commands = SNAPSHOT_COMMANDS;
    options->bounds = world->tight ? tight_bounds : NULL;
}

static void call_open(struct sim_node *host)
{
    host->rc = node_open(&host->options, &host->node, &host->e);
}

static void call_close(struct sim_node *host)
{
    host->rc = node_close(host->node, &host->e);
}

static int open_once(struct sim_node *host, struct err *e)
{
    struct world *world = host->world;
    struct node_options options = {.data_dir = "/data",
                                   .id = host->id,
                                   .check_crcs = true,
                                   .log_retention_check_interval_ms = 300000,
                                   .log_cleaner_backoff_ms = 15000,
                                   .reserve_bytes = 16384,
                                   .io = &host->disk.io,
                                   .clock = &host->clock.clock,
                                   .executor = &host->executor.executor};
    sim_executor_init(&host->executor, &host->clock, chance_next(&world->chance));
    if (!world_alone(host)) {
        set_peers(host, &options, &host->addresses);
        host->executor.meanwhile = meanwhile;
        host->executor.arg = host;
    }
    net_host_up(&world->net, host->id);
    host->mounts++;
    host->options = options;
    host->in_call = true;
    world_in_process(host, call_open);
    host->in_call = false;
    if (host->rc != 0 || host->ended)
        host->node = NULL;
    if (host->rc != 0)
        *e = host->e;
    return host->ended ? -EIO : host->rc;
}

static void call_step(struct sim_node *host)
{
    sim_executor_step(&host->executor);
}

/* Runs the node's works until none is left, so that all that is on its way ends. */
static void run_dry(struct sim_node *host)
{
    while (!host->ended && sim_executor_ready(&host->executor))
        world_in_process(host, call_step);
}

static void call_cancel(struct sim_node *host)
{
    groups_play_close(host);
    workload_cancel(host, !host->disk.crashed);
}

/* What is left of a process that has ended. */
static void forget(struct sim_node *host)
{
    if (host->ended) {
        workload_abandon(host);
        groups_play_abandon(host);
        sim_executor_abandon(&host->executor);
    } else if (!world_failed(host->world)) {
        sim_executor_free(&host->executor);
    }
    host->node = NULL;
    host->ended = false;
}

/* A process that is gone has no works: those of a node whose disk has crashed come to nothing. */
static void take_down(struct sim_node *host)
{
    net_end(&host->world->net, host->id, host->power && !world_alone(host));
    if (!host->ended)
        world_in_process(host, call_cancel);
    run_dry(host);
    host->in_call = true;
    if (host->node != NULL && !host->ended && !world_failed(host->world))
        world_in_process(host, call_close);
    host->in_call = false;
    if (!host->ended && host->pending_count != 0)
        world_fail(host->world, "node %d: %d calls were never answered", host->id, host->pending_count);
    forget(host);
    workload_sweep(host);
}

/* Its disk becomes one of the states that the crash may leave. */
static void settle_disk(struct sim_node *host)
{
    host->power = (host->power && host->world->groups == NULL) || host->disk.failed; /* what it did not take goes now */
    if (host->power) {
        invariants_power_cut(host);
        host->lost_power = true;
    }
    disk_restart(&host->disk, host->power);
    if (host->wipe) {
        invariants_power_cut(host);
        host->lost_power = true;
        disk_wipe(&host->disk);
        host->world->wiped = host->id;
        host->world->wipes++;
        world_note(host->world, "node %d comes back with another disk", host->id);
    }
    host->wipe = false;
    book_ended(&host->world->book, place(host));
    host->power = false;
    host->resume_ms = 0;
}

static void audit(struct sim_node *host)
{
    struct err e = {""};
    struct audit audit = {
        .book = &host->world->book, .node = host->node, .place = place(host), .all = world_alone(host)};
    if (!audit_node(&audit, &e) && !host->disk.crashed) /* it may crash meanwhile */
        world_fail(host->world, "node %d, opened anew: %s", host->id, e.text);
}

/* true: it is up, or was opened and has crashed since. */
static bool open_and_audit(struct sim_node *host)
{
    struct world *world = host->world;
    struct err e = {""};
    if (!world->healed && chance_in(&world->chance, 5)) {
        disk_crash_after(&host->disk, chance_below(&world->chance, 100));
        host->power = chance_in(&world->chance, 2);
    }
    int rc = open_once(host, &e);
    world->starts++;
    world_note(world, "node %d opens: %d", host->id, rc);
    if (rc != 0) {
        net_end(&world->net, host->id, false);
        run_dry(host);
        forget(host);
        if (!host->disk.crashed)
            world_fail(world, "node %d does not open: %s", host->id, e.text);
        return false;
    }
    if (!host->disk.crashed)
        audit(host);
    return true;
}

void world_start(struct sim_node *host)
{
    struct world *world = host->world;
    for (int i = 0; i < OPENS_MAX && !world_failed(world); i++) {
        bool opened = open_and_audit(host);
        if (!host->disk.crashed)
            return;
        if (opened)
            take_down(host);
        host->power |= chance_in(&world->chance, 2);
        settle_disk(host);
    }
}

void world_kill(struct sim_node *host, bool power)
{
    host->power = power;
    disk_crash_after(&host->disk, 0);
    host->disk.crashed = true;
}

void world_recover(struct sim_node *host)
{
    struct world *world = host->world;
    bool power = host->power;
    world->crashes++;
    world->power_cuts += power;
    invariants_look(host);
    take_down(host);
    settle_disk(host);
    world_note(world, "node %d %s", host->id, power ? "lost its power" : "was killed");
    if (power)
        faults_come_back(host);
    workload_go_on(world);
    if (world_alone(host)) {
        world_start(host);
    } else {
        host->restart_ms = world->now_ms +
                           (int64_t)chance_below(&world->chance, chance_in(&world->chance, 5) ? DOWN_LONG_MS : DOWN_MS);
    }
}

void world_stop(struct sim_node *host)
{
    struct world *world = host->world;
    int64_t until_ms = world->now_ms + STOP_MS;
    world_in_process(host, call_cancel);
    while (host->pending_count != 0 && !world_alone(host) && !host->disk.crashed && world->now_ms < until_ms)
        world_run(world, 100);
    run_dry(host);
    if (host->disk.crashed || host->node == NULL)
        return;
    world_in_process(host, call_cancel); /* another node may have died meanwhile, and this one have been read from */
    host->in_call = host->stops = true;
    if (!world_failed(world))
        world_in_process(host, call_close);
    host->in_call = host->stops = false;
    if (!host->ended && host->pending_count != 0) {
        world_fail(world, "node %d: %d calls were not answered by a stop: %s", host->id, host->pending_count,
                   workload_first_waiting(host));
    }
    int rc = host->rc;
    if (!host->disk.crashed && rc != 0 && host->disk.capacity_bytes == INT64_MAX && !host->disk.failed)
        world_fail(world, "node %d does not stop cleanly: %s", host->id, host->e.text);
    net_end(&world->net, host->id, false); /* where it had no time for a goodbye */
    forget(host);
    world->stops++;
    world_note(world, "node %d stopped: %d", host->id, rc);
    if (!host->disk.crashed && !host->disk.failed && rc == 0 && world_alone(host))
        book_stopped_cleanly(&world->book);
    host->power = host->disk.crashed && (host->power || chance_in(&world->chance, 2));
    settle_disk(host);
    host->restart_ms = world->now_ms + (int64_t)chance_below(&world->chance, DOWN_MS);
}

/* ---- whose turn it is ---- */

static bool runs(const struct sim_node *host)
{
    return (host->node != NULL || host->in_call) && !host->disk.crashed && host->resume_ms <= host->world->now_ms;
}

struct sim_node *world_pick(struct world *world)
{
    struct sim_node *up[WORLD_NODES];
    unsigned count = 0;
    for (int i = 0; i < world->node_count; i++) {
        if (world_is_up(&world->nodes[i]))
            up[count++] = &world->nodes[i];
    }
    return count > 0 ? up[chance_below(&world->chance, count)] : NULL;
}

static int64_t due_ms(const struct sim_node *host)
{
    return host->away_ms > host->restart_ms ? host->away_ms : host->restart_ms;
}

static bool is_due(const struct sim_node *host)
{
    return host->node == NULL && !host->in_call && due_ms(host) <= host->world->now_ms;
}

/* Those to whom nothing of the network comes. */
static unsigned skipped(const struct world *world)
{
    unsigned bits = 0;
    for (int i = 0; i < world->node_count; i++) {
        if (!runs(&world->nodes[i]))
            bits |= 1u << i;
    }
    return bits;
}

/* Who has a work to run; 0 to node_count are the nodes, node_count is the network. */
static unsigned ready(struct world *world, int out[WORLD_NODES + 1])
{
    unsigned count = 0;
    for (int i = 0; i < world->node_count; i++) {
        if (runs(&world->nodes[i]) && sim_executor_ready(&world->nodes[i].executor))
            out[count++] = i;
    }
    if (world->node_count > 1 && net_ready(&world->net, skipped(world)))
        out[count++] = world->node_count;
    return count;
}

bool world_busy(struct world *world)
{
    int all[WORLD_NODES + 1];
    return ready(world, all) > 0;
}

void world_pass(struct world *world, int64_t ms)
{
    world->now_ms += ms;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When there will be something to be done, with nothing to be done now. */
static int64_t next_ms(struct world *world)
{
    int64_t at_ms = world->node_count > 1 ? net_next_ms(&world->net) : INT64_MAX;
    for (int i = 0; i < world->node_count; i++) {
        struct sim_node *host = &world->nodes[i];
        if (host->resume_ms > world->now_ms)
            at_ms = earlier(at_ms, host->resume_ms);
        else if (runs(host))
            at_ms = earlier(at_ms, sim_executor_next_ms(&host->executor));
        else if (host->node == NULL && !host->in_call && !world->nested)
            at_ms = earlier(at_ms, due_ms(host));
    }
    return at_ms == INT64_MAX || at_ms > world->now_ms ? at_ms : world->now_ms + 1;
}

/* Starts and recoveries, which are done on no other node's stack. true: there was one. */
static bool births_and_deaths(struct world *world)
{
    for (int i = 0; i < world->node_count && !world->nested; i++) {
        struct sim_node *host = &world->nodes[i];
        if (host->node != NULL && host->disk.crashed) {
            world_recover(host);
            return true;
        }
        if (is_due(host)) {
            world_start(host);
            return true;
        }
    }
    return false;
}

static void crashed(struct sim_node *host)
{
    world_note(host->world, "node %d crashes", host->id);
    net_end(&host->world->net, host->id, host->power);
}

/* One thing that is to be done now. false: there is none. */
static bool do_one(struct world *world)
{
    int all[WORLD_NODES + 1];
    if (births_and_deaths(world))
        return true;
    unsigned count = ready(world, all);
    if (count == 0)
        return false;
    int which = all[chance_below(&world->chance, count)];
    struct sim_node *host =
        &world->nodes[which == world->node_count ? net_step(&world->net, skipped(world)) - 1 : which];
    if (which != world->node_count)
        world_in_process(host, call_step);
    if (host->disk.crashed && world_alone(host))
        world_recover(host);
    else if (host->disk.crashed)
        crashed(host);
    else if (!host->in_call && host->node != NULL)
        invariants_check(host);
    return true;
}

bool world_step(struct world *world)
{
    world->steps++;
    if (do_one(world))
        return true;
    int64_t at_ms = next_ms(world);
    if (at_ms == INT64_MAX)
        return false;
    world->now_ms = at_ms;
    return true;
}

void world_run(struct world *world, int64_t ms)
{
    int64_t until_ms = world->now_ms + ms;
    while (!world_failed(world)) {
        world->steps++;
        if (do_one(world))
            continue;
        int64_t at_ms = next_ms(world);
        if (at_ms > until_ms)
            break;
        world->now_ms = at_ms;
    }
    if (world->now_ms < until_ms)
        world->now_ms = until_ms;
}
