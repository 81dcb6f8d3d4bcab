/* tests/sim/seesaw.c: what leaders and their writers do while leadership goes back and forth. */
#include "tests/sim/seesaw.h"

#include <stdlib.h>
#include <string.h>

#include "replication/replica/partition_internal.h"
#include "tests/sim/chance.h"
#include "tests/sim/reading.h"
#include "tests/sim/topics.h"
#include "tests/sim/workload.h"

enum {
    CALLS_MAX = 30,     /* of a node */
    TIMEOUT_MS = 5000,  /* of a write */
    SOON_MS = 600,      /* who leads is known by then, as far as it is told */
    APART_MS = 1500,    /* the most that a frame takes on a slow link */
    PIPELINED = 8,      /* writes one behind the other, before the first one's answer */
    PIPELINE_MS = 150,  /* between two of them, at most */
    OUTVOTED_MS = 4000, /* cut off: others lead by then */
};

static const char name[] = "orders";

/* ---- who and what ---- */

/* The topic as that node has it, referenced; NULL: it does not, or cannot be asked. */
static struct topic *topic_at(struct sim_node *host, struct book_topic **known)
{
    struct topic *topic = host != NULL && world_is_up(host) ? node_topic(host->node, name) : NULL;
    *known = topic != NULL ? book_topic_by_id(&host->world->book, topic_id(topic)) : NULL;
    if (*known == NULL || topic_partition_count(topic) == 0) {
        if (topic != NULL)
            topic_unref(topic);
        return NULL;
    }
    if ((*known)->state == TOPIC_UNKNOWN)
        (*known)->state = TOPIC_THERE;
    return topic;
}

/* The epoch in which it leads, as it believes; -1: it does not. */
static int32_t leads_in(struct sim_node *host)
{
    struct book_topic *known;
    struct topic *topic = topic_at(host, &known);
    int32_t epoch = -1;
    if (topic == NULL)
        return -1;
    if (partition_leads(topic_partition(topic, 0)))
        epoch = atomic_load(&topic_partition(topic, 0)->leader_epoch);
    topic_unref(topic);
    return epoch;
}

/* Who was elected last, of those that know that they were; NULL: nobody. */
static struct sim_node *leader(struct world *world)
{
    struct sim_node *last = NULL;
    int32_t epoch = -1;
    for (int i = 0; i < world->node_count; i++) {
        int32_t own = leads_in(&world->nodes[i]);
        if (own > epoch) {
            epoch = own;
            last = &world->nodes[i];
        }
    }
    return last;
}

/* Another one that is up, by chance; NULL: none is. */
static struct sim_node *other_than(struct sim_node *a, struct sim_node *b)
{
    for (int tries = 0; tries < 20; tries++) {
        struct sim_node *host = world_pick(a->world);
        if (host != a && host != b)
            return host;
    }
    return NULL;
}

/* ---- what they do ---- */

static void write_at(struct sim_node *host, enum acks acks)
{
    struct book_topic *known;
    struct topic *topic = topic_at(host, &known);
    if (topic == NULL)
        return;
    if (host->pending_count < CALLS_MAX)
        workload_append(host, topic, known, 0, acks, TIMEOUT_MS);
    topic_unref(topic);
}

static void write_some(struct sim_node *host, enum acks acks)
{
    for (uint64_t more = 1 + chance_below(&host->world->chance, 3); more > 0; more--)
        write_at(host, acks);
}

static void have_lead(struct sim_node *by, const struct sim_node *to)
{
    struct book_topic *known;
    struct topic *topic = topic_at(by, &known);
    if (topic == NULL)
        return;
    if (by->pending_count < CALLS_MAX)
        topics_set_leader(by, topic, known, 0, to->id);
    topic_unref(topic);
}

/* Somebody waits at the end of each replica. */
static void readers_wait(struct world *world)
{
    for (int i = 0; i < world->node_count; i++) {
        struct book_topic *known;
        struct topic *topic = topic_at(&world->nodes[i], &known);
        if (topic == NULL)
            continue;
        if (world->nodes[i].pending_count < CALLS_MAX / 2)
            reading_wait(&world->nodes[i], topic, known, 0);
        topic_unref(topic);
    }
}

static void cut(struct sim_node *a, struct sim_node *b)
{
    net_cut(&a->world->net, a->id, b->id, true);
    net_cut(&a->world->net, b->id, a->id, true);
    world_note(a->world, "nodes %d and %d are cut", a->id, b->id);
}

static void heal(struct world *world)
{
    net_heal(&world->net);
    world_note(world, "the network is whole");
}

static void wait_a_little(struct world *world, uint64_t ms)
{
    world_run(world, (int64_t)chance_below(&world->chance, ms));
}

/* ---- what comes of it ---- */

/* Leader and next one do not hear each other, and each has records that the other lacks. With the third one they are
 * still in sync, so that the next swing may bring back the first, which has cut nothing meanwhile (KIP-279). */
static void swing(struct sim_node *led)
{
    struct world *world = led->world;
    struct sim_node *next = other_than(led, NULL), *third = other_than(led, next);
    if (next == NULL)
        return;
    if (!chance_in(&world->chance, 4))
        cut(led, next);
    write_some(led, ACKS_LEADER);
    have_lead(third != NULL ? third : next, next);
    wait_a_little(world, SOON_MS);
    if (leads_in(next) >= 0)
        write_some(next, ACKS_LEADER);
}

/* The leader is cut off, with records of its own and with readers; the others commit theirs at the same offsets. When
 * it is back it is told of both: where its log is to be cut, and how far all is committed (KAFKA-14704). */
static void leave_behind(struct sim_node *led)
{
    struct world *world = led->world;
    for (int i = 0; i < world->node_count; i++)
        if (&world->nodes[i] != led)
            cut(led, &world->nodes[i]);
    write_some(led, ACKS_LEADER);
    world_run(world, OUTVOTED_MS);
    struct sim_node *next = other_than(led, NULL);
    for (int i = 0; i < 3 && next != NULL; i++)
        write_some(next, ACKS_ALL);
    world_run(world, SOON_MS);
    heal(world);
}

/* It dies with what it alone has. */
static void die(struct sim_node *led)
{
    write_some(led, ACKS_LEADER);
    if (world_is_up(led))
        world_kill(led, false);
}

/* The next leader is far from everybody, also from a writer, which has asked for it: of the requests that are on their
 * way there the first ones come before the news, and are refused, and the others behind it. */
static void write_ahead(struct sim_node *led)
{
    struct world *world = led->world;
    struct sim_node *next = other_than(led, NULL), *writer = next != NULL ? other_than(next, NULL) : NULL;
    if (writer == NULL)
        return;
    for (int i = 0; i < world->node_count; i++)
        world->net.delay_ms[i][next->id - 1] = 1 + (int32_t)chance_below(&world->chance, APART_MS);
    world_note(world, "node %d is far away", next->id);
    have_lead(writer, next);
    for (int i = 0; i < PIPELINED && !world_failed(world); i++) {
        write_at(writer, ACKS_ALL);
        wait_a_little(world, PIPELINE_MS);
    }
    if (chance_in(&world->chance, 2))
        heal(world);
}

static void prepare(struct world *world)
{
    struct sim_node *host = world_pick(world);
    struct book_topic *known;
    struct topic *topic = topic_at(host, &known);
    if (topic != NULL)
        topic_unref(topic);
    else if (host != NULL && host->pending_count < CALLS_MAX)
        topics_make(host, name);
    readers_wait(world);
}

void seesaw_act(struct world *world)
{
    for (int i = 0; i < world->node_count; i++)
        workload_sweep(&world->nodes[i]);
    prepare(world);
    struct sim_node *led = leader(world);
    uint64_t what = chance_below(&world->chance, 12);
    if (what < 2 || led == NULL)
        heal(world);
    else if (what < 7)
        swing(led);
    else if (what < 8)
        leave_behind(led);
    else if (what < 9)
        die(led);
    else
        write_ahead(led);
    wait_a_little(world, SOON_MS);
}
