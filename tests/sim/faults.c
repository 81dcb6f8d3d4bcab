/* tests/sim/faults.c: turns of fate, of a node that is alone and of one among others.
 *
 * Each seed has its own kinds of faults, so that some runs know only a bad network, and others only bad disks. */
#include "tests/sim/faults.h"

#include "replication/node/node_internal.h"
#include "tests/sim/chance.h"
#include "tests/sim/invariants.h"
#include "tests/sim/workload.h"

enum { KINDS_ALONE = 7, KINDS = 13, MOVED_MS = 5000 };

enum fault {
    FAULT_DISK_FULL,
    FAULT_CRASH_AT_IO,
    FAULT_KILL,
    FAULT_POWER,
    FAULT_STOP,
    FAULT_PAUSE,
    FAULT_CUT,
    FAULT_CUT_OFF,
    FAULT_SLOW,
    FAULT_LOSE,
    FAULT_QUEUES,
    FAULT_CLOCK,
    FAULT_DISK_FAILS,
};

/* ---- alone ---- */

static void fill_disk(struct sim_node *host)
{
    struct world *world = host->world;
    host->disk.capacity_bytes = host->disk.used_bytes + (int64_t)chance_below(&world->chance, 6000);
    world->book.full = true;
    world_note(world, "node %d: the disk is full", host->id);
}

static void crash_at_io(struct sim_node *host)
{
    if (host->disk.crash_at != UINT64_MAX)
        return;
    disk_crash_after(&host->disk, chance_below(&host->world->chance, 60));
    host->power = chance_in(&host->world->chance, 2);
}

/* One call fails; the log that it was about is offline until the next start, which is not far. */
static void fail_disk(struct sim_node *host)
{
    struct world *world = host->world;
    if (host->disk.crash_at != UINT64_MAX || world->groups != NULL)
        return;
    disk_fail_after(&host->disk, chance_below(&world->chance, 30));
    disk_crash_after(&host->disk, 30 + chance_below(&world->chance, 200));
    world->book.full = true;
    world_note(world, "node %d: its disk fails", host->id);
}

static void happens_alone(struct sim_node *host)
{
    struct world *world = host->world;
    switch (chance_below(&world->chance, KINDS_ALONE)) {
    case 0:
        fill_disk(host);
        break;
    case 1:
    case 2:
        host->disk.capacity_bytes = INT64_MAX;
        break;
    case 3:
        crash_at_io(host);
        break;
    case 4:
        world_pass(world, (int64_t)chance_below(&world->chance, 400000));
        break;
    case 5:
        if (chance_in(&world->chance, 3))
            fail_disk(host);
        break;
    default:
        if (chance_in(&world->chance, 3)) {
            world_stop(host);
            if (host->node == NULL)
                world_start(host);
        }
    }
    if (host->disk.crashed && host->node != NULL)
        world_recover(host);
}

/* ---- among others ---- */

static int32_t other_than(struct sim_node *host)
{
    int32_t id = 1 + (int32_t)chance_below(&host->world->chance, (uint64_t)host->world->node_count - 1);
    return id < host->id ? id : id + 1;
}

static void cut(struct sim_node *host, int32_t other)
{
    struct world *world = host->world;
    uint64_t ways = chance_below(&world->chance, 3);
    if (ways != 1)
        net_cut(&world->net, host->id, other, true);
    if (ways != 2)
        net_cut(&world->net, other, host->id, true);
    world_note(world, "nodes %d and %d are cut (%d)", host->id, other, (int)ways);
}

static void slow_down(struct sim_node *host, int32_t other)
{
    struct world *world = host->world;
    int32_t ms = 1 + (int32_t)chance_below(&world->chance, chance_in(&world->chance, 3) ? 1500 : 100);
    world->net.delay_ms[host->id - 1][other - 1] = ms;
    if (chance_in(&world->chance, 2))
        world->net.delay_ms[other - 1][host->id - 1] = ms;
    world_note(world, "nodes %d and %d are %d ms apart", host->id, other, (int)ms);
}

/* Connections between the two do not last, as one of them has it, or both. */
static void wear_out(struct sim_node *host, int32_t other)
{
    struct world *world = host->world;
    int32_t ms = 1 + (int32_t)chance_below(&world->chance, chance_in(&world->chance, 2) ? 5000 : 400);
    world->net.frail_ms[host->id - 1][other - 1] = ms;
    if (chance_in(&world->chance, 2))
        world->net.frail_ms[other - 1][host->id - 1] = ms;
    net_lose(&world->net, host->id, other);
    world_note(world, "what stands between nodes %d and %d lasts %d ms", host->id, other, (int)ms);
}

static void go_wrong(struct sim_node *host, enum fault fault)
{
    struct world *world = host->world;
    switch (fault) {
    case FAULT_DISK_FULL:
        fill_disk(host);
        break;
    case FAULT_CRASH_AT_IO:
        crash_at_io(host);
        break;
    case FAULT_KILL:
    case FAULT_POWER:
        world_note(world, "node %d is killed%s", host->id, fault == FAULT_POWER ? " by a power cut" : "");
        world_kill(host, fault == FAULT_POWER);
        break;
    case FAULT_STOP:
        world_stop(host);
        break;
    case FAULT_PAUSE:
        host->resume_ms = world->now_ms + 1 + (int64_t)chance_below(&world->chance, 8000);
        world_note(world, "node %d pauses until %lld", host->id, (long long)host->resume_ms);
        break;
    case FAULT_CUT:
        cut(host, other_than(host));
        break;
    case FAULT_CUT_OFF:
        for (int32_t id = 1; id <= world->node_count; id++) {
            if (id != host->id)
                cut(host, id);
        }
        break;
    case FAULT_SLOW:
        slow_down(host, other_than(host));
        break;
    case FAULT_LOSE:
        if (chance_in(&world->chance, 2))
            net_lose(&world->net, host->id, other_than(host));
        else
            wear_out(host, other_than(host));
        break;
    case FAULT_QUEUES:
        world->net.queue_bytes = 500 + chance_below(&world->chance, 5000);
        break;
    case FAULT_CLOCK:
        host->clock.wall_offset_ms += (int64_t)chance_below(&world->chance, 20000) - 10000;
        break;
    case FAULT_DISK_FAILS:
        fail_disk(host);
        break;
    }
}

/* As often as things go wrong. */
static void mend(struct world *world)
{
    for (int i = 0; i < world->node_count; i++) {
        if (chance_in(&world->chance, 2))
            world->nodes[i].disk.capacity_bytes = INT64_MAX;
    }
    if (chance_in(&world->chance, 2)) {
        net_heal(&world->net);
        world_note(world, "the network is whole");
    }
}

/* Everything is well, as far as the node itself goes. */
static bool is_sound(const struct sim_node *host)
{
    const struct disk *disk = &host->disk;
    return world_is_up(host) && !disk->failed && disk->capacity_bytes == INT64_MAX && disk->crash_at == UINT64_MAX &&
           disk->fail_at == UINT64_MAX && !host->lost_power;
}

void faults_wipe(struct sim_node *host)
{
    struct world *world = host->world;
    bool may = world->wiped == 0 && !world->healed && !world->voters_open && !world->nested &&
               world->now_ms - world->moved_ms > MOVED_MS;
    for (int i = 0; i < world->node_count && may; i++)
        may = is_sound(&world->nodes[i]);
    if (!may || !invariants_can_be_spared(host))
        return;
    net_heal(&world->net);
    world_note(world, "node %d loses its disk", host->id);
    host->wipe = true;
    world_kill(host, true);
}

/* A disk has been replaced, and by what is decided it has all still: who goes now may be the only one who has. */
static bool is_missed(struct world *world)
{
    return world->wiped != 0 && world->nodes[world->wiped - 1].lost_power && invariants_count_on(world, world->wiped);
}

/* Each seed has its own. */
static bool knows(const struct world *world, enum fault fault)
{
    uint64_t own = chance_seed(world->seed, 300), kinds = chance_next(&own) | chance_next(&own);
    return (kinds >> fault & 1) != 0 && !world->healed;
}

void faults_come_back(struct sim_node *host)
{
    struct world *world = host->world;
    for (int32_t id = 1; id <= world->node_count && !is_missed(world); id++) {
        if (id == host->id || !chance_in(&world->chance, 3))
            continue;
        if (chance_in(&world->chance, 2) && knows(world, FAULT_CUT))
            cut(host, id);
        else if (knows(world, FAULT_SLOW))
            slow_down(host, id);
    }
}

void faults_cut_off_leader(struct world *world)
{
    for (int i = 0; i < world->node_count && world->wiped == 0 && knows(world, FAULT_CUT_OFF); i++) {
        struct sim_node *host = &world->nodes[i];
        if (!world_is_up(host) || host->node->quorum.raft.role != RAFT_LEADER)
            continue;
        for (int32_t id = 1; id <= world->node_count; id++) {
            net_cut(&world->net, host->id, id, id != host->id);
            net_cut(&world->net, id, host->id, id != host->id);
        }
        world_note(world, "node %d leads, and is cut off", host->id);
    }
}

void faults_happen(struct sim_node *host)
{
    struct world *world = host->world;
    if (world->node_count == 1) {
        happens_alone(host);
        return;
    }
    enum fault fault = (enum fault)chance_below(&world->chance, KINDS);
    if (chance_in(&world->chance, 3))
        mend(world);
    else if (knows(world, fault) && !is_missed(world))
        go_wrong(host, fault);
    else
        world_run(world, (int64_t)chance_below(&world->chance, chance_in(&world->chance, 3) ? 20000 : 2000));
}

void faults_heal(struct world *world)
{
    net_heal(&world->net);
    for (int i = 0; i < world->node_count; i++) {
        struct sim_node *host = &world->nodes[i];
        if (host->node != NULL && host->disk.failed)
            world_kill(host, true);
        host->disk.capacity_bytes = INT64_MAX;
        host->disk.crash_at = host->disk.fail_at = UINT64_MAX;
        host->resume_ms = host->away_ms = 0;
        if (host->restart_ms > world->now_ms)
            host->restart_ms = world->now_ms;
    }
    world->healed = true;
    world_note(world, "everything is mended");
}
