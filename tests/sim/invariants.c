/* tests/sim/invariants.c: what all nodes know, put side by side. */
#include "tests/sim/invariants.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replication/metadata/snapshot.h"
#include "replication/node/node_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/wire/replica_message.h"
#include "tests/sim/audit.h"

enum { TOLD_BYTES = 160 };

/* Who led in an epoch. */
struct reign {
    char what[48]; /* "quorum", or a partition's topic id and number */
    int32_t epoch, leader;
};

/* What a node's replica is for the others. */
struct state {
    int64_t mounts, resume_ms; /* in which life of the node, without a break */
    int64_t end, shown;        /* -1: it cannot be asked */
    int32_t leads_in;          /* an epoch; -1: it does not lead */
};

/* A node's replica: found again only when the node has applied something since, and held against the others' only when
 * it is not as it was. */
struct sight {
    struct partition *part;  /* NULL: there was none */
    int64_t mounts, applied; /* in which life of the node that was, and as of which next_offset */
    struct state held;       /* against the others' */
};

/* A partition, as the newest metadata has it. */
struct known_partition {
    uint8_t topic_id[UUID_BYTES];
    int32_t index;
    struct partition_registration registration;
    struct book_topic *topic; /* NULL: none of the users' */
    unsigned lost;            /* bits by place: its power went since it was last in sync, or eligible */
    struct sight sights[WORLD_NODES];
};

/* A registration that is fenced, as the newest metadata has it. */
struct fence {
    int64_t epoch;   /* of the node; -1: it is not fenced */
    int64_t ends_ms; /* on the clock of its node: from then on that has no lease; INT64_MIN: from the first */
};

struct invariants {
    struct reign *reigns;
    int reign_count, reign_room;
    uint64_t *prints; /* of the metadata, by next_offset; 0: not seen */
    int64_t print_room;
    int64_t applied[WORLD_NODES]; /* next_offset, as of the last look */
    int64_t mounts[WORLD_NODES];  /* and of which start that was */
    /* The newest metadata that any node had. */
    int64_t newest;
    struct known_partition *partitions;
    int partition_count, partition_room;
    int64_t epochs[WORLD_NODES]; /* of the nodes, by place */
    int64_t lost_epochs[WORLD_NODES];
    struct fence fences[WORLD_NODES]; /* likewise */
    bool fenced_anew;                 /* and one of them is not looked at yet */
};

struct invariants *invariants_new(void)
{
    struct invariants *inv = calloc(1, sizeof *inv);
    assert(inv != NULL);
    for (int i = 0; i < WORLD_NODES; i++)
        inv->fences[i].epoch = -1;
    return inv;
}

void invariants_free(struct invariants *inv)
{
    free(inv->reigns);
    free(inv->prints);
    free(inv->partitions);
    free(inv);
}

static int place(const struct sim_node *host)
{
    return host->id - 1;
}

/* ---- one leader an epoch ---- */

static void check_reign(struct sim_node *host, const char *what, int32_t epoch, int32_t leader)
{
    struct invariants *inv = host->world->invariants;
    for (int i = inv->reign_count; i-- > 0;) {
        if (inv->reigns[i].epoch != epoch || strcmp(inv->reigns[i].what, what) != 0)
            continue;
        if (inv->reigns[i].leader != leader)
            world_fail(host->world, "%s: nodes %d and %d lead in epoch %d (rules 16, 44)", what, inv->reigns[i].leader,
                       leader, epoch);
        return;
    }
    if (inv->reign_count == inv->reign_room) {
        inv->reign_room = inv->reign_room == 0 ? 64 : 2 * inv->reign_room;
        inv->reigns = realloc(inv->reigns, (size_t)inv->reign_room * sizeof *inv->reigns);
        assert(inv->reigns != NULL);
    }
    struct reign *reign = &inv->reigns[inv->reign_count++];
    *reign = (struct reign){.epoch = epoch, .leader = leader};
    snprintf(reign->what, sizeof reign->what, "%s", what);
    world_note(host->world, "%s: node %d leads in epoch %d", what, leader, epoch);
}

/* ---- the metadata ---- */

static struct known_partition *find_known(struct known_partition *all, int count, const uint8_t id[UUID_BYTES],
                                          int32_t index)
{
    for (int i = 0; i < count; i++)
        if (all[i].index == index && memcmp(all[i].topic_id, id, UUID_BYTES) == 0)
            return &all[i];
    return NULL;
}

/* before: as it was known; NULL: it was not. */
static void learn_partition(struct world *world, const uint8_t id[UUID_BYTES], int32_t index,
                            const struct partition_registration *registration, const struct known_partition *before)
{
    struct invariants *inv = world->invariants;
    char text[UUID_TEXT_BYTES];
    if (inv->partition_count == inv->partition_room) {
        inv->partition_room = inv->partition_room == 0 ? 16 : 2 * inv->partition_room;
        inv->partitions = realloc(inv->partitions, (size_t)inv->partition_room * sizeof *inv->partitions);
        assert(inv->partitions != NULL);
    }
    struct known_partition *known = &inv->partitions[inv->partition_count++];
    uuid_text(id, text);
    *known = (struct known_partition){.index = index,
                                      .registration = *registration,
                                      .topic = book_topic_by_id(&world->book, text),
                                      .lost = before != NULL ? before->lost : 0};
    memcpy(known->topic_id, id, UUID_BYTES);
}

static void print_set(char out[TOLD_BYTES], const char *name, const struct replica_set *set)
{
    size_t len = strlen(out);
    for (int32_t i = 0; i < set->count && len < TOLD_BYTES; i++)
        len += (size_t)snprintf(out + len, TOLD_BYTES - len, "%s%d", i == 0 ? name : ",", set->ids[i]);
}

/* What was decided of partitions, for who looks on. */
static void tell_partitions(const struct world *world, const struct metadata *meta)
{
    const struct invariants *inv = world->invariants;
    for (size_t t = 0; t < meta->topic_count; t++) {
        for (int32_t p = 0; p < meta->topics[t]->partitions; p++) {
            const struct partition_registration *now = &meta->topics[t]->parts[p];
            char sets[TOLD_BYTES] = "";
            const struct known_partition *told =
                find_known(inv->partitions, inv->partition_count, meta->topics[t]->id, p);
            if (told != NULL && told->registration.partition_epoch == now->partition_epoch)
                continue;
            print_set(sets, " replicas ", &now->replicas);
            print_set(sets, ", in sync ", &now->isr);
            print_set(sets, ", eligible ", &now->elr);
            print_set(sets, ", last ", &now->last_isr);
            fprintf(stderr, "%8lld   decided: %s-%d, epoch %d, led by %d;%s\n", (long long)world->now_ms,
                    meta->topics[t]->name, p, now->leader_epoch, now->leader, sets);
        }
    }
}

/* One of them has not lost its power since it registered, nor since it had all (lost). but: nor loses it now. */
static bool survives(const struct world *world, const struct replica_set *set, unsigned lost, int32_t but)
{
    for (int32_t i = 0; i < set->count; i++) {
        if (set->ids[i] != but && !world->nodes[set->ids[i] - 1].lost_power && (lost >> (set->ids[i] - 1) & 1) == 0)
            return true;
    }
    return false;
}

/* Somebody has all that was committed: who may be elected. Those of the last ISR are asked only when nobody else is
 * left; until then the others may go on without them. */
static bool all_survives(const struct world *world, const struct partition_registration *now, unsigned lost,
                         int32_t but)
{
    return survives(world, &now->isr, lost, but) || survives(world, &now->elr, lost, but) ||
           (now->isr.count + now->elr.count == 0 && survives(world, &now->last_isr, lost, but));
}

/* Somebody leads who had not all that was committed; or who had it and has lost its power is all that is left of those
 * who had it. */
static void look_at_election(struct world *world, const struct metadata_topic *meta, int32_t index)
{
    char id[UUID_TEXT_BYTES];
    struct invariants *inv = world->invariants;
    const struct known_partition *known = find_known(inv->partitions, inv->partition_count, meta->id, index);
    uuid_text(meta->id, id);
    struct book_topic *topic = book_topic_by_id(&world->book, id);
    if (topic == NULL || known == NULL)
        return;
    const struct partition_registration *now = &meta->parts[index], *before = &known->registration;
    if (all_survives(world, before, known->lost, 0) && !all_survives(world, now, known->lost, 0))
        book_may_lose(&topic->parts[index]);
    if (now->leader == LEADER_NONE || now->leader_epoch == before->leader_epoch)
        return;
    bool had_all = replica_set_has(&before->isr, now->leader) || replica_set_has(&before->elr, now->leader);
    if (!had_all || now->leader == before->leader)
        topic->parts[index].asks_epoch = now->leader_epoch;
    if (had_all || !topic->unclean)
        return;
    world_note(world, "%s-%d: node %d leads, and was not in sync", meta->name, index, now->leader);
    world->unclean++;
    book_elected_unclean(&topic->parts[index], now->leader_epoch);
}

static void learn_partitions(struct world *world, const struct metadata *meta)
{
    struct invariants *inv = world->invariants;
    struct known_partition *before = inv->partitions;
    int count = inv->partition_count;
    inv->partitions = NULL;
    inv->partition_count = inv->partition_room = 0;
    for (size_t t = 0; t < meta->topic_count; t++)
        for (int32_t p = 0; p < meta->topics[t]->partitions; p++)
            learn_partition(world, meta->topics[t]->id, p, &meta->topics[t]->parts[p],
                            find_known(before, count, meta->topics[t]->id, p));
    free(before);
}

/* Who is in sync, or eligible, by a registration after the power cut has all again. One of the last ISR has not. */
static void note_who_has_all(const struct world *world, struct known_partition *known)
{
    for (int i = 0; i < world->node_count; i++)
        if (!world->nodes[i].lost_power &&
            (replica_set_has(&known->registration.isr, i + 1) || replica_set_has(&known->registration.elr, i + 1)))
            known->lost &= ~(1u << i);
}

int64_t invariants_newest(const struct world *world)
{
    return world->invariants->newest;
}

/* What is in force, as of the newest metadata. */
static void see_setting(const struct world *world, struct setting *setting, const char *topic, const char *value,
                        int64_t offset)
{
    const char *shown = value != NULL ? value : "";
    const char *before = setting->span_count > 0 ? setting->spans[setting->span_count - 1].value : "";
    if (world->verbose && strcmp(before, shown) != 0) {
        fprintf(stderr, "%8lld   decided by %" PRId64 ": %s: %s \"%s\"\n", (long long)world->now_ms, offset, topic,
                setting->name, shown);
    }
    setting_seen(setting, offset, shown);
}

static void see_settings(struct world *world, const struct metadata *meta)
{
    struct book *book = &world->book;
    char id[UUID_TEXT_BYTES], mode[SETTING_VALUE_BYTES];
    for (size_t t = 0; t < meta->topic_count; t++) {
        uuid_text(meta->topics[t]->id, id);
        struct book_topic *topic = book_topic_by_id(book, id);
        for (int i = 0; topic != NULL && i < topic->setting_count; i++) {
            struct setting *setting = &topic->settings[i];
            see_setting(world, setting, topic->name, config_set_get(&meta->topics[t]->config, setting->name),
                        meta->next_offset);
        }
    }
    see_setting(world, &book->fallback, "MOUNT", config_set_get(&meta->config, book->fallback.name), meta->next_offset);
    if (!meta->root_said)
        return;
    snprintf(mode, sizeof mode, "%o", (unsigned)meta->root.dir_mode);
    if (book->mode.span_count == 0)
        (void)setting_asked(&book->mode, mode, 0); /* by the first controller */
    see_setting(world, &book->mode, "MOUNT", mode, meta->next_offset);
}

/* ---- who is fenced ---- */

static int64_t clock_ms(struct sim_node *host)
{
    return host->clock.clock.mono_ms(&host->clock.clock);
}

/* Not for its silence: who decides that had heard of it within a session. It has not acted upon what was decided, or is
 * said to have gone (rule 47). */
static bool was_heard(struct world *world, int32_t id)
{
    const struct sim_node *by = NULL;
    for (int i = 0; i < world->node_count; i++) {
        const struct sim_node *host = &world->nodes[i];
        if (host->node != NULL && host->node->controller.controller.active &&
            (by == NULL || host->node->quorum.raft.state.epoch > by->node->quorum.raft.state.epoch))
            by = host;
    }
    if (by == NULL)
        return false;
    const struct controller *controller = &by->node->controller.controller;
    for (int32_t i = 0; i < controller->count; i++) {
        if (controller->nodes[i].id == id)
            return clock_ms(&world->nodes[by->id - 1]) - controller->nodes[i].heard_ms < controller->session_timeout_ms;
    }
    return false;
}

static void see_fences(struct world *world, const struct metadata *meta)
{
    for (size_t n = 0; n < meta->node_count; n++) {
        const struct node_registration *now = &meta->nodes[n];
        struct sim_node *host = &world->nodes[now->id - 1];
        struct fence *fence = &world->invariants->fences[place(host)];
        if (!now->fenced) {
            fence->epoch = -1;
        } else if (fence->epoch != now->epoch) {
            int64_t lease_ms = host->node != NULL ? host->node->membership.session_timeout_ms / 4 * 3 : 0;
            *fence = (struct fence){now->epoch, was_heard(world, now->id) ? clock_ms(host) + lease_ms : INT64_MIN};
            world->invariants->fenced_anew = true;
        }
    }
}

/* ---- the newest metadata ---- */

/* The newest metadata is what this node has. */
static void learn(struct sim_node *host, const struct metadata *meta)
{
    struct invariants *inv = host->world->invariants;
    if (host->world->verbose)
        tell_partitions(host->world, meta);
    for (size_t t = 0; t < meta->topic_count; t++) {
        for (int32_t p = 0; p < meta->topics[t]->partitions; p++)
            look_at_election(host->world, meta->topics[t], p);
    }
    inv->newest = meta->next_offset;
    see_settings(host->world, meta);
    learn_partitions(host->world, meta);
    for (size_t n = 0; n < meta->node_count; n++) {
        int at = meta->nodes[n].id - 1;
        inv->epochs[at] = meta->nodes[n].epoch;
        if (inv->epochs[at] > inv->lost_epochs[at])
            host->world->nodes[at].lost_power = false;
    }
    for (int i = 0; i < inv->partition_count; i++)
        note_who_has_all(host->world, &inv->partitions[i]);
    see_fences(host->world, meta);
}

static void check_partitions(struct sim_node *host, const struct metadata *meta)
{
    char id[UUID_TEXT_BYTES], what[48];
    for (size_t t = 0; t < meta->topic_count; t++) {
        uuid_text(meta->topics[t]->id, id);
        for (int32_t p = 0; p < meta->topics[t]->partitions; p++) {
            const struct partition_registration *part = &meta->topics[t]->parts[p];
            snprintf(what, sizeof what, "%s-%d", id, p);
            for (int32_t i = 0; i < part->replicas.count; i++) {
                if (metadata_node(meta, part->replicas.ids[i]) == NULL)
                    world_fail(host->world, "%s: node %d has a replica, and is not registered (rule 62)", what,
                               part->replicas.ids[i]);
            }
            if (part->leader != LEADER_NONE)
                check_reign(host, what, part->leader_epoch, part->leader);
        }
    }
}

/* The state as one number, never 0: equal states have equal ones. */
static uint64_t fingerprint(const struct metadata *meta)
{
    struct snapshot snapshot = {0};
    struct err e;
    uint64_t sum = 0xcbf29ce484222325u;
    struct metadata shown = *meta;
    if (!meta->root_said) /* each node's own, until the first controller has said it; likewise of .groups */
        shown.root = shown.groups_attr = (struct tree_attr){0};
    int rc = snapshot_encode(&shown, (struct log_point){meta->next_offset, 0}, &snapshot, &e);
    assert(rc == 0);
    for (size_t i = 0; i < snapshot.len; i++)
        sum = (sum ^ ((const uint8_t *)snapshot.data)[i]) * 0x100000001b3u;
    snapshot_free(&snapshot);
    return sum | 1;
}

static void check_print(struct sim_node *host, const struct metadata *meta)
{
    struct invariants *inv = host->world->invariants;
    int64_t at = meta->next_offset;
    while (at >= inv->print_room) {
        int64_t room = inv->print_room == 0 ? 1024 : 2 * inv->print_room;
        inv->prints = realloc(inv->prints, (size_t)room * sizeof *inv->prints);
        assert(inv->prints != NULL);
        memset(inv->prints + inv->print_room, 0, (size_t)(room - inv->print_room) * sizeof *inv->prints);
        inv->print_room = room;
    }
    uint64_t print = fingerprint(meta);
    if (inv->prints[at] == 0) {
        inv->prints[at] = print;
    } else if (inv->prints[at] != print) {
        world_fail(host->world, "node %d: its metadata as of %" PRId64 " is not what others have (rule 10)", host->id,
                   at);
    }
}

void invariants_look(struct sim_node *host)
{
    struct invariants *inv = host->world->invariants;
    int at = place(host);
    if (host->node == NULL || host->world->node_count == 1)
        return;
    const struct metadata *meta = &host->node->quorum.meta;
    if (inv->mounts[at] == host->mounts && inv->applied[at] == meta->next_offset)
        return;
    if (inv->mounts[at] == host->mounts && meta->next_offset < inv->applied[at]) {
        world_fail(host->world, "node %d: its metadata went back from %" PRId64 " to %" PRId64 " (rule 33)", host->id,
                   inv->applied[at], meta->next_offset);
    }
    inv->mounts[at] = host->mounts;
    inv->applied[at] = meta->next_offset;
    check_print(host, meta);
    check_partitions(host, meta);
    if (meta->next_offset > inv->newest)
        learn(host, meta);
}

/* ---- what is in sync ---- */

/* It lives, and what was decided of it is about this process: it has registered, and nobody has heard of a later one.
 */
static bool is_there(struct sim_node *host)
{
    return world_is_up(host) && atomic_load(&host->node->membership.registered) &&
           manager_node_epoch(&host->node->replicas) == host->world->invariants->epochs[place(host)];
}

/* The replica of a node that is there, as it is until its next step, usable or not; NULL: there is none. */
static struct partition *replica_in(struct sim_node *host, struct known_partition *known)
{
    struct replica_key key = {.index = known->index};
    struct sight *sight = &known->sights[place(host)];
    int64_t applied = host->node->quorum.meta.next_offset;
    if (sight->part != NULL && sight->mounts == host->mounts && sight->applied == applied)
        return sight->part;
    memcpy(key.topic_id, known->topic_id, UUID_BYTES);
    *sight = (struct sight){.part = manager_find(&host->node->replicas, &key),
                            .mounts = host->mounts,
                            .applied = applied,
                            .held = sight->held};
    if (sight->part != NULL)
        partition_unref(sight->part); /* its topic has a reference as long as the metadata are these */
    return sight->part;
}

/* Likewise; NULL: it cannot be asked. */
static struct partition *replica_of(struct sim_node *host, struct known_partition *known)
{
    struct partition *part = is_there(host) ? replica_in(host, known) : NULL;
    return part != NULL && partition_state(part) == 0 ? part : NULL;
}

/* Whether the replica of a node that is there is not what it was when it was held against the others' last. */
static bool has_moved(struct sim_node *host, struct known_partition *known)
{
    struct partition *part = replica_in(host, known);
    struct state *held = &known->sights[place(host)].held, before = *held;
    *held =
        (struct state){.mounts = host->mounts, .resume_ms = host->resume_ms, .end = -1, .shown = -1, .leads_in = -1};
    if (part != NULL && part->log != NULL) {
        held->end = partition_log_end(part).offset;
        held->shown = audit_high_watermark(part).offset;
        held->leads_in = partition_leads(part) ? atomic_load(&part->leader_epoch) : -1;
    }
    return before.mounts != held->mounts || before.resume_ms != held->resume_ms || before.end != held->end ||
           before.shown != held->shown || before.leads_in != held->leads_in;
}

/* Of what the node itself has: what it has applied may say by then that it was no replica for a while, and what a mount
 * there is told is its leader's. */
static int64_t own_end(const struct partition *part)
{
    struct log *log = atomic_load(&part->log);
    return log != NULL ? log_end(log).offset : 0;
}

/* The epoch of what is in front of the offset, and the offset where that begins. */
static int32_t epoch_in_front(struct partition *part, int64_t offset, int64_t *begin)
{
    int32_t epoch = log_epoch_before(part->log, offset), before;
    struct log_point end = {0, 0};
    if (epoch >= 0)
        log_epoch_end(part->log, epoch - 1, &before, &end);
    *begin = end.offset;
    return epoch;
}

/* What the leader shows is the same in both logs: each epoch is where it is in the other one (Raft's log matching). */
static void check_same(struct world *world, struct partition *led, struct partition *part, int32_t id, int64_t shown)
{
    int64_t start = partition_log_start(led).offset, begin, led_begin;
    if (partition_log_start(part).offset > start)
        start = partition_log_start(part).offset;
    for (int64_t at = shown; at > start; at = begin < at ? begin : start) {
        int32_t led_epoch = epoch_in_front(led, at, &led_begin), epoch = epoch_in_front(part, at, &begin);
        if (epoch == led_epoch && (begin == led_begin || (begin <= start && led_begin <= start)))
            continue;
        world_fail(world,
                   "%s: node %d is in sync, and has epoch %d from %" PRId64 " in front of %" PRId64
                   "; its leader has %d from %" PRId64 " (rule 42)",
                   part->name, id, epoch, begin, at, led_epoch, led_begin);
    }
}

/* Everybody who is in sync, as was decided last, has all that its leader shows (rule 4). */
static void check_in_sync(struct world *world, struct known_partition *known)
{
    const struct partition_registration *now = &known->registration;
    struct partition *led = replica_of(&world->nodes[now->leader - 1], known);
    if (led == NULL || !partition_leads(led) || atomic_load(&led->leader_epoch) != now->leader_epoch)
        return;
    int64_t shown = audit_high_watermark(led).offset;
    for (int32_t i = 0; i < now->isr.count; i++) {
        struct partition *part = replica_of(&world->nodes[now->isr.ids[i] - 1], known);
        int64_t end = part != NULL ? own_end(part) : shown;
        if (end < shown) {
            world_fail(world, "%s: node %d is in sync and ends at %" PRId64 ", and node %d shows %" PRId64 " (rule 4)",
                       part->name, now->isr.ids[i], end, now->leader, shown);
        } else if (part != NULL && part != led) {
            check_same(world, led, part, now->isr.ids[i], shown);
        }
    }
}

static bool was_told(struct sim_node *host, const struct book_topic *known, const struct known_partition *part,
                     int32_t epoch)
{
    struct topic *topic =
        host->node != NULL && !host->in_call && !host->ended ? node_topic(host->node, known->name) : NULL;
    bool told = topic != NULL && strcmp(topic_id(topic), known->id) == 0 &&
                part->index < topic_partition_count(topic) && topic_partition(topic, part->index)->shown.told >= epoch;
    if (topic != NULL)
        topic_unref(topic);
    return told;
}

/* It has begun to lead, and asked those that live what they have shown: what the others have binds it not. */
static void look_at_asked(struct sim_node *host, struct known_partition *known)
{
    struct world *world = host->world;
    struct book_topic *topic = known->topic;
    if (topic == NULL || topic->parts[known->index].asks_epoch == 0)
        return;
    struct partition *led = replica_of(host, known);
    int32_t epoch = led != NULL && partition_leads(led) && atomic_load(&led->epoch.assigned) ? led->leader_epoch : -1;
    if (topic->parts[known->index].asks_epoch > epoch)
        return;
    topic->parts[known->index].asks_epoch = 0;
    for (int i = 0; i < world->node_count; i++) {
        if (&world->nodes[i] != host && !was_told(&world->nodes[i], topic, known, epoch))
            book_unbind(&topic->parts[known->index], i, epoch);
    }
}

static void check_all_in_sync(struct sim_node *host)
{
    const struct invariants *inv = host->world->invariants;
    bool there = is_there(host);
    for (int i = 0; i < inv->partition_count && there; i++) {
        const struct partition_registration *now = &inv->partitions[i].registration;
        if (now->leader == host->id)
            look_at_asked(host, &inv->partitions[i]);
        if (now->leader != LEADER_NONE && replica_set_has(&now->isr, host->id) && has_moved(host, &inv->partitions[i]))
            check_in_sync(host->world, &inv->partitions[i]);
    }
}

/* ---- the lease ---- */

/* Appends to a partition that it leads, and that others have, too. */
static bool takes_appends(struct sim_node *host)
{
    const struct invariants *inv = host->world->invariants;
    for (int i = 0; i < inv->partition_count; i++) {
        const struct partition *part = replica_in(host, &inv->partitions[i]);
        if (part != NULL && atomic_load(&part->replicated) && !partition_is_held(part))
            return true;
    }
    return false;
}

/* Who has been fenced takes no append in by itself, though it has not heard of that: its lease ends before the session
 * does in which it was carried on, and no other one leads before. Also one that stands still, and goes on. */
static void check_lease(struct sim_node *host)
{
    const struct fence *fence = &host->world->invariants->fences[place(host)];
    if (host->node == NULL || host->in_call || host->disk.crashed || host->ended || fence->epoch < 0 ||
        atomic_load(&host->node->membership.node_epoch) != fence->epoch || clock_ms(host) < fence->ends_ms)
        return;
    const struct membership *member = &host->node->membership;
    if (membership_has_lease(member)) {
        world_fail(host->world, "node %d is fenced, and has a lease for another %" PRId64 " ms (rule 46)", host->id,
                   atomic_load(&member->lease_until_ms) - clock_ms(host));
    } else if (takes_appends(host)) {
        world_fail(host->world, "node %d is fenced, and takes appends in (rule 46)", host->id);
    }
}

/* Of all nodes when one was fenced, which need not have taken a step; else of the one that has. */
static void check_leases(struct sim_node *host)
{
    struct world *world = host->world;
    for (int i = 0; i < world->node_count; i++) {
        if (world->invariants->fenced_anew || &world->nodes[i] == host)
            check_lease(&world->nodes[i]);
    }
    world->invariants->fenced_anew = false;
}

void invariants_check(struct sim_node *host)
{
    invariants_look(host);
    if (host->world->node_count == 1)
        return;
    raft_watch_look(host);
    check_leases(host);
    const struct raft *raft = &host->node->quorum.raft;
    if (raft->role == RAFT_LEADER)
        check_reign(host, "quorum", raft->state.epoch, host->id);
    check_all_in_sync(host);
}

/* ---- who had what ---- */

/* All of its replicas are in sync, as was decided, and nobody is about to change that. */
static bool is_settled(struct sim_node *host, struct known_partition *known)
{
    const struct partition_registration *now = &known->registration;
    if (!replica_set_has(&now->replicas, host->id))
        return true;
    if (now->leader == LEADER_NONE || now->target.count > 0 || now->replicas.count < 2 ||
        now->isr.count != now->replicas.count)
        return false;
    struct partition *led = replica_of(&host->world->nodes[now->leader - 1], known);
    return led != NULL && partition_leads(led) && !led->proposal.pending;
}

bool invariants_can_be_spared(struct sim_node *host)
{
    struct world *world = host->world;
    const struct invariants *inv = world->invariants;
    int32_t ids[LIMIT_VOTERS];
    int32_t voters = node_voters(host->node, ids);
    bool votes = false;
    for (int32_t i = 0; i < voters; i++)
        votes = votes || ids[i] == host->id;
    if (voters == 0 || (votes && voters < 3))
        return false;
    for (int i = 0; i < world->node_count; i++) {
        if (world->nodes[i].node->quorum.meta.next_offset != inv->newest)
            return false;
    }
    for (int i = 0; i < inv->partition_count; i++) {
        if (!is_settled(host, &inv->partitions[i]))
            return false;
    }
    return true;
}

bool invariants_count_on(struct world *world, int32_t id)
{
    const struct invariants *inv = world->invariants;
    for (int i = 0; i < inv->partition_count; i++) {
        if (replica_set_has(&inv->partitions[i].registration.isr, id) ||
            replica_set_has(&inv->partitions[i].registration.elr, id))
            return true;
    }
    return false;
}

void invariants_power_cut(struct sim_node *host)
{
    struct world *world = host->world;
    struct invariants *inv = world->invariants;
    char id[UUID_TEXT_BYTES];
    inv->lost_epochs[place(host)] = inv->epochs[place(host)];
    for (int t = 0; t < world->book.count && world->node_count == 1; t++) {
        for (int p = 0; p < BOOK_PARTITIONS; p++)
            book_may_lose(&world->book.topics[t]->parts[p]);
    }
    for (int i = 0; i < inv->partition_count; i++) {
        struct known_partition *known = &inv->partitions[i];
        uuid_text(known->topic_id, id);
        struct book_topic *topic = book_topic_by_id(&world->book, id);
        const struct partition_registration *now = &known->registration;
        bool concerned = replica_set_has(&now->isr, host->id) || replica_set_has(&now->elr, host->id) ||
                         replica_set_has(&now->last_isr, host->id);
        if (topic != NULL && concerned && !all_survives(world, now, known->lost, host->id))
            book_may_lose(&topic->parts[known->index]);
        known->lost |= 1u << place(host);
    }
}

/* ---- rest ---- */

static void find_unrest_of_metadata(struct world *world, char out[WORLD_FAILURE_BYTES])
{
    int leaders = 0;
    const struct metadata *first = &world->nodes[0].node->quorum.meta;
    for (int i = 0; i < world->node_count; i++) {
        const struct quorum *quorum = &world->nodes[i].node->quorum;
        leaders += quorum->raft.role == RAFT_LEADER;
        if (quorum->meta.next_offset != first->next_offset) {
            snprintf(out, WORLD_FAILURE_BYTES, "node %d has applied %" PRId64 " commands, node 1 %" PRId64, i + 1,
                     quorum->meta.next_offset, first->next_offset);
        } else if (!atomic_load(&world->nodes[i].node->membership.registered)) {
            snprintf(out, WORLD_FAILURE_BYTES, "node %d is not registered", i + 1);
        }
    }
    if (leaders != 1)
        snprintf(out, WORLD_FAILURE_BYTES, "%d nodes lead the quorum", leaders);
    if (first->node_count != 0 && first->node_count != (size_t)world->node_count)
        snprintf(out, WORLD_FAILURE_BYTES, "%zu nodes are registered", first->node_count);
}

/* All replicas of one partition, in sync and equal, and who leads takes appends in: it has heard the controller. */
static void find_unrest_of_partition(struct world *world, const struct metadata_topic *meta, int32_t index,
                                     char out[WORLD_FAILURE_BYTES])
{
    const struct partition_registration *part = &meta->parts[index];
    char ends[200] = "";
    int64_t end = -1, start = -1, lowest = INT64_MAX;
    bool equal = true, takes = true;
    for (int32_t i = 0; i < part->replicas.count; i++) {
        int32_t id = part->replicas.ids[i];
        struct node *node = world->nodes[id - 1].node;
        struct topic *topic =
            topic_name_internal(meta->name) ? node_internal_topic(node, meta->name) : node_topic(node, meta->name);
        struct partition *replica = topic != NULL ? topic_partition(topic, index) : NULL;
        struct log_point hw = {-1, -1}, own_end = {-1, -1}, own_start = {-1, -1};
        if (replica != NULL && partition_state(replica) == 0) {
            hw = audit_high_watermark(replica);
            own_end = partition_log_end(replica);
            own_start = partition_log_start(replica);
            takes = takes && (id != part->leader || !partition_is_held(replica));
        }
        /* One may be ahead: it led, and its deletion came to nothing. */
        lowest = own_start.offset < lowest ? own_start.offset : lowest;
        start = id == part->leader ? own_start.offset : start;
        equal = equal && hw.offset != -1 && hw.offset == own_end.offset && (end == -1 || end == own_end.offset);
        end = own_end.offset;
        size_t len = strlen(ends);
        snprintf(ends + len, sizeof ends - len, " %d%s: %" PRId64 " … %" PRId64 "/%" PRId64, id,
                 replica_set_has(&part->isr, id) ? "" : " (not in sync)", own_start.offset, hw.offset, own_end.offset);
        if (topic != NULL)
            topic_unref(topic);
    }
    if (part->leader == LEADER_NONE || part->isr.count != part->replicas.count || !equal || !takes || lowest < start) {
        snprintf(out, WORLD_FAILURE_BYTES, "%s-%d, led by %d in epoch %d%s:%s", meta->name, index, part->leader,
                 part->leader_epoch, takes ? "" : " (which takes no append)", ends);
    }
}

/* After a cut it is tried again for a while: what goes to a leader there fails until then. */
static void find_unrest_of_links(struct world *world, char out[WORLD_FAILURE_BYTES])
{
    for (int i = 0; i < world->node_count; i++) {
        for (int j = 0; j < world->node_count && out[0] == '\0'; j++) {
            struct sim_node *host = &world->nodes[i];
            int32_t to = world->nodes[j].id;
            if (i != j && !network_up(&host->node->network, to))
                snprintf(out, WORLD_FAILURE_BYTES, "node %d is not connected to node %d", host->id, to);
        }
    }
}

void invariants_find_unrest(struct world *world, char out[WORLD_FAILURE_BYTES])
{
    find_unrest_of_links(world, out);
    find_unrest_of_metadata(world, out);
    const struct metadata *meta = &world->nodes[0].node->quorum.meta;
    for (size_t t = 0; t < meta->topic_count; t++) {
        for (int32_t p = 0; p < meta->topics[t]->partitions && out[0] == '\0' && !world->only_metadata; p++)
            find_unrest_of_partition(world, meta->topics[t], p, out);
    }
}
