/* tests/sim/groups.c: readers, and what is known of what they were given. */
#include "tests/sim/groups.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/container.h"
#include "replication/group/member.h"
#include "replication/node/node_internal.h"
#include "tests/sim/chance.h"

/* The last one: for how long who hears nothing may go on with what others have: session.timeout.ms, by clocks that
 * differ. */
enum {
    ACTORS = 6,
    EPOCHS = 4096,
    READ_RECORDS = 5,
    COMMIT_MS = 20000,
    GOES_ON_MS = 11000,
    PEACE_MS = 30000,
    LOOK_MS = 500
};

static const char *const topic_read = "orders";

/* What a member has of a partition. */
struct holding {
    int32_t epoch; /* 0: nothing */
    int64_t next;
    int32_t leader_epoch; /* group_share's, of next */
    bool revoked;
};

struct actor {
    struct sim_node *host; /* NULL: a free place */
    struct group_member *member;
    int serial; /* another one for each member */
    struct holding parts[BOOK_PARTITIONS];
    int waiting; /* commits that are not answered */
};

/* What is known of a partition, whoever had it. */
struct truth {
    int owners[EPOCHS]; /* by epoch: the member's serial; 0: nobody's so far */
    int32_t top_epoch;  /* the latest that was given out … */
    int64_t top_ms;     /* … and when that was first heard of */
    int64_t given;      /* below it all was given to somebody */
    int64_t committed;  /* a commit up to there was answered */
    bool was_reset;     /* somebody has asked for that, so that it may go back */
    int32_t over_epoch; /* a reset was answered: who has it in this epoch, or an earlier one, commits nothing more */
};

struct sim_groups {
    struct world *world;
    struct actor actors[ACTORS];
    struct truth parts[BOOK_PARTITIONS];
    char topic_id[UUID_TEXT_BYTES]; /* of which all that is known */
    int serials;
    bool made; /* the group */
    bool makes;
    bool at_peace; /* all is at rest, and everybody reads on: whoever is asked for a partition lets go */
    struct command_op making;
};

/* A commit that waits for its answer. */
struct sim_commit {
    struct group_commit_op op;
    struct group_commit commit;
    struct sim_groups *groups;
    struct actor *actor;
    int serial;
    int32_t top_epoch, over_epoch; /* when it was asked for */
    char topic_id[UUID_TEXT_BYTES];
};

struct sim_reset {
    struct group_op op;
    struct sim_groups *groups;
    int32_t top_epoch; /* when it was asked for */
    char topic_id[UUID_TEXT_BYTES];
};

struct sim_groups *groups_play_new(struct world *world)
{
    struct sim_groups *groups = calloc(1, sizeof *groups);
    assert(groups != NULL);
    groups->world = world;
    return groups;
}

void groups_play_free(struct sim_groups *groups)
{
    free(groups);
}

/* ---- the group and its topic ---- */

static void on_made(struct command_op *op, int rc)
{
    struct sim_groups *groups = CONTAINER_OF(op, struct sim_groups, making);
    groups->makes = false;
    groups->made = groups->made || rc == 0 || rc == -EEXIST;
}

static void make(struct sim_groups *groups, struct sim_node *host)
{
    static const struct tree_attr attr = {.dir_mode = 0755, .file_mode = 0644};
    if (groups->makes)
        return;
    groups->making = (struct command_op){.timeout_ms = 5000, .done = on_made};
    groups->makes = true;
    int rc = node_create_group(host->node, &groups->making, "kitchen", &attr);
    if (rc != 0)
        on_made(&groups->making, rc);
}

/* The topic with a reference; what is known is of it. NULL: there is none here now. */
static struct topic *look_at_topic(struct sim_groups *groups, struct sim_node *host)
{
    struct topic *topic = node_topic(host->node, topic_read);
    if (topic != NULL && strcmp(topic_id(topic), groups->topic_id) != 0) {
        /* Nodes may know of a new one at different times; who is behind is told that its topic is gone. */
        struct book_topic *known = book_topic(&groups->world->book, topic_read);
        if (groups->topic_id[0] != '\0' && known != NULL && strcmp(known->id, groups->topic_id) == 0) {
            topic_unref(topic);
            return NULL;
        }
        memset(groups->parts, 0, sizeof groups->parts);
        strcpy(groups->topic_id, topic_id(topic));
    }
    return topic;
}

/* ---- its log ---- */

/* The topic's partition on the node that leads it, with a reference to the topic; NULL: none that is up does. */
static struct partition *led_at(struct world *world, int32_t partition)
{
    for (int i = 0; i < world->node_count; i++) {
        struct sim_node *host = &world->nodes[i];
        struct topic *topic = world_is_up(host) ? node_topic(host->node, topic_read) : NULL;
        struct partition *part = topic != NULL ? topic_partition(topic, partition) : NULL;
        if (part != NULL && strcmp(topic_id(topic), world->groups->topic_id) == 0 && partition_leads(part))
            return part;
        if (topic != NULL)
            topic_unref(topic);
    }
    return NULL;
}

/* No power is cut here: nothing that was committed is ever lost, whoever leads. */
static void check_kept(struct world *world, int32_t partition, int64_t offset, int32_t leader_epoch)
{
    struct partition *part = leader_epoch >= 0 ? led_at(world, partition) : NULL;
    int32_t now;
    int64_t end;
    if (part == NULL)
        return;
    if (partition_epoch_end(part, leader_epoch, &now, &end) > 0 && end < offset) {
        world_fail(world, "partition %d: epoch %d is said to end at %lld, and %lld was committed", (int)partition,
                   (int)leader_epoch, (long long)end, (long long)offset);
    }
    partition_unref(part);
}

/* ---- what a member is given ---- */

static void given(struct actor *actor, const struct group_share *share)
{
    struct sim_groups *groups = actor->host->world->groups;
    struct world *world = groups->world;
    struct truth *truth = &groups->parts[share->partition];
    if (share->epoch <= 0 || share->epoch >= EPOCHS) {
        world_fail(world, "partition %d is given out in epoch %d", (int)share->partition, (int)share->epoch);
        return;
    }
    int *owner = &truth->owners[share->epoch];
    if (*owner != 0 && *owner != actor->serial) {
        world_fail(world, "partition %d is given to two members in assignment epoch %d", (int)share->partition,
                   (int)share->epoch);
    }
    if (*owner == 0 && truth->given > 0 && share->start > truth->given) {
        world_fail(world, "partition %d: a member begins at %lld, and nobody was given %lld", (int)share->partition,
                   (long long)share->start, (long long)truth->given);
    }
    if (*owner == 0 && share->epoch > truth->top_epoch && !truth->was_reset && share->start < truth->committed) {
        world_fail(world, "partition %d: a member begins at %lld, and a commit of %lld was answered",
                   (int)share->partition, (long long)share->start, (long long)truth->committed);
    }
    *owner = actor->serial;
    if (share->epoch > truth->top_epoch) {
        truth->top_epoch = share->epoch;
        truth->top_ms = world->now_ms;
    }
    if (truth->given == 0)
        truth->given = share->start;
    world_note(world, "member %d: partition %d, epoch %d, from %lld", actor->serial, (int)share->partition,
               (int)share->epoch, (long long)share->start);
}

static void drop(struct actor *actor)
{
    group_member_leave(actor->member);
    memset(actor, 0, sizeof *actor);
}

/* What it had a moment ago is taken away in time of peace: it was asked for it then. */
static void check_asked(const struct actor *actor, const struct holding now[BOOK_PARTITIONS])
{
    struct world *world = actor->host->world;
    for (int p = 0; p < BOOK_PARTITIONS && world->groups->at_peace; p++) {
        const struct holding *had = &actor->parts[p];
        if (had->epoch > 0 && !had->revoked && now[p].epoch != had->epoch)
            world_fail(world, "partition %d is taken from member %d, which has not let go of it", p, actor->serial);
    }
}

/* Looks what it has by now. false: it is a member no more. */
static bool look(struct actor *actor)
{
    struct group_shares shares;
    struct holding now[BOOK_PARTITIONS] = {{0}};
    if (group_member_shares(actor->member, &shares) != 0)
        return true;
    for (size_t i = 0; i < shares.count; i++) {
        const struct group_share *share = &shares.shares[i];
        assert(share->partition < BOOK_PARTITIONS);
        struct holding *held = &now[share->partition];
        *held = (struct holding){share->epoch, share->start, share->leader_epoch, share->revoked};
        if (actor->parts[share->partition].epoch == share->epoch) {
            held->next = actor->parts[share->partition].next;
            held->leader_epoch = actor->parts[share->partition].leader_epoch;
        } else {
            given(actor, share);
            check_kept(actor->host->world, share->partition, share->start, share->leader_epoch);
        }
    }
    check_asked(actor, now);
    memcpy(actor->parts, now, sizeof now);
    free(shares.shares);
    return shares.state != GROUP_MEMBER_PUT_OUT && shares.state != GROUP_MEMBER_GONE;
}

/* ---- what it does ---- */

static void join(struct sim_groups *groups, struct sim_node *host);

static void on_changed(void *arg)
{
    (void)arg; /* it looks by chance */
}

static void join(struct sim_groups *groups, struct sim_node *host)
{
    struct group_join join = {.group = "kitchen", .topic = topic_read, .pid = 1, .changed = on_changed};
    struct actor *actor = groups->actors;
    while (actor < &groups->actors[ACTORS] && actor->host != NULL)
        actor++;
    if (actor == &groups->actors[ACTORS])
        return;
    if (group_member_join(node_group_room(host->node), &join, &actor->member) != 0)
        return;
    actor->host = host;
    actor->serial = ++groups->serials;
    world_note(groups->world, "member %d joins at node %d", actor->serial, host->id);
}

/* How far the partition reaches, as the furthest replica that is up shows it: a node without one would ask. And the
 * epoch of what is in front of that. */
static int64_t end_of(struct world *world, int32_t partition, int32_t *leader_epoch)
{
    int64_t end = 0;
    *leader_epoch = -1;
    for (int i = 0; i < world->node_count; i++) {
        struct sim_node *host = &world->nodes[i];
        struct topic *topic = world_is_up(host) ? node_topic(host->node, topic_read) : NULL;
        struct partition *part = topic != NULL ? topic_partition(topic, partition) : NULL;
        bool same = part != NULL && part->log != NULL && strcmp(topic_id(topic), world->groups->topic_id) == 0;
        if (same && partition_own_high_watermark(part).offset > end) {
            end = partition_own_high_watermark(part).offset;
            *leader_epoch = log_epoch_before(part->log, end);
        }
        if (topic != NULL)
            topic_unref(topic);
    }
    return end;
}

/* Who has had it before is told, or stops. */
static void check_late(struct sim_groups *groups, const struct actor *actor, int32_t partition, int32_t epoch)
{
    const struct truth *truth = &groups->parts[partition];
    int64_t since_ms = groups->world->now_ms - truth->top_ms;
    if (epoch < truth->top_epoch && since_ms > GOES_ON_MS) {
        world_fail(groups->world, "member %d reads partition %d in epoch %d, %lld ms after it was given out in %d",
                   actor->serial, (int)partition, (int)epoch, (long long)since_ms, (int)truth->top_epoch);
    }
}

/* Reads on: what it was given before is processed. */
static void read_on(struct actor *actor, int64_t records)
{
    struct sim_groups *groups = actor->host->world->groups;
    struct topic *topic = look_at_topic(groups, actor->host);
    for (int32_t p = 0; p < BOOK_PARTITIONS && topic != NULL; p++) {
        struct holding *held = &actor->parts[p];
        struct partition *part = held->epoch > 0 ? topic_partition(topic, p) : NULL;
        if (part == NULL)
            continue;
        group_member_commit(actor->member, p, held->epoch, held->next, held->leader_epoch);
        if (held->revoked) {
            group_member_release(actor->member, p, held->epoch);
            *held = (struct holding){0};
            continue;
        }
        int32_t leader_epoch;
        int64_t start = partition_log_start(part).offset, end = end_of(groups->world, p, &leader_epoch);
        if (held->next < start) { /* retention, or DeleteRecords: which epoch that is of is not known */
            held->next = start;
            held->leader_epoch = -1;
        }
        if (end > held->next && !group_member_is_silent(actor->member)) {
            check_late(groups, actor, p, held->epoch);
            check_kept(groups->world, p, held->next, held->leader_epoch);
            held->next = end - held->next > records ? held->next + records : end;
            held->leader_epoch = leader_epoch;
        }
        if (held->next > groups->parts[p].given)
            groups->parts[p].given = held->next;
    }
    if (topic != NULL)
        topic_unref(topic);
}

static void on_committed(struct group_commit_op *op, int rc)
{
    struct sim_commit *commit = CONTAINER_OF(op, struct sim_commit, op);
    struct sim_groups *groups = commit->groups;
    struct truth *truth = &groups->parts[commit->commit.partition];
    bool known = strcmp(commit->topic_id, groups->topic_id) == 0;
    if (commit->actor->serial == commit->serial)
        commit->actor->waiting--;
    if (rc == 0 && known) {
        if (commit->top_epoch > commit->commit.epoch) {
            world_fail(groups->world, "partition %d: a commit of epoch %d is accepted, and %d had been given out",
                       (int)commit->commit.partition, (int)commit->commit.epoch, (int)commit->top_epoch);
        }
        if (commit->over_epoch >= commit->commit.epoch) {
            world_fail(groups->world, "partition %d: a commit of epoch %d is accepted, and was reset in %d",
                       (int)commit->commit.partition, (int)commit->commit.epoch, (int)commit->over_epoch);
        }
        if (commit->commit.offset > truth->committed)
            truth->committed = commit->commit.offset;
    }
    free(commit);
}

/* Commits what it was given of a partition, and wants to know. */
static void commit(struct actor *actor, int32_t p)
{
    struct sim_groups *groups = actor->host->world->groups;
    if (actor->parts[p].epoch == 0)
        return;
    struct sim_commit *made = calloc(1, sizeof *made);
    made->commit = (struct group_commit){.partition = p,
                                         .epoch = actor->parts[p].epoch,
                                         .offset = actor->parts[p].next,
                                         .leader_epoch = actor->parts[p].leader_epoch};
    made->op = (struct group_commit_op){
        .member = actor->member, .commits = &made->commit, .count = 1, .timeout_ms = COMMIT_MS, .done = on_committed};
    made->groups = groups;
    made->actor = actor;
    made->serial = actor->serial;
    made->top_epoch = groups->parts[p].top_epoch;
    made->over_epoch = groups->parts[p].over_epoch;
    strcpy(made->topic_id, groups->topic_id);
    actor->waiting++;
    int rc = group_commit_submit(&made->op);
    if (rc != 0)
        on_committed(&made->op, rc);
}

/* Whoever has had it may not have heard, and commits. */
static void on_reset(struct group_op *op, int rc)
{
    struct sim_reset *made = CONTAINER_OF(op, struct sim_reset, op);
    struct sim_groups *groups = made->groups;
    struct truth *truth = &groups->parts[op->partition];
    bool known = rc == 0 && strcmp(made->topic_id, groups->topic_id) == 0;
    if (known && made->top_epoch > truth->over_epoch)
        truth->over_epoch = made->top_epoch;
    for (int i = 0; i < ACTORS && known; i++) {
        if (groups->actors[i].host != NULL && world_is_up(groups->actors[i].host))
            commit(&groups->actors[i], op->partition);
    }
    group_op_free(op);
    free(made);
}

static int32_t any_partition(struct world *world)
{
    return (int32_t)chance_below(&world->chance, BOOK_PARTITIONS);
}

static void reset(struct sim_groups *groups, struct sim_node *host)
{
    int32_t p = any_partition(groups->world);
    struct truth *truth = &groups->parts[p];
    if (truth->given == 0)
        return;
    struct sim_reset *made = calloc(1, sizeof *made);
    made->op = (struct group_op){.groups = node_group_room(host->node),
                                 .ask = GROUP_RESET,
                                 .group = "kitchen",
                                 .topic = topic_read,
                                 .partition = p,
                                 .offset = (int64_t)chance_below(&groups->world->chance, (uint64_t)truth->given),
                                 .timeout_ms = COMMIT_MS,
                                 .done = on_reset};
    made->groups = groups;
    made->top_epoch = truth->top_epoch;
    strcpy(made->topic_id, groups->topic_id);
    truth->was_reset = true;
    int rc = group_op_submit(&made->op);
    if (rc != 0)
        on_reset(&made->op, rc);
}

/* One of the node's; NULL: it has none. */
static struct actor *pick(struct sim_groups *groups, struct sim_node *host)
{
    struct actor *here[ACTORS];
    unsigned count = 0;
    for (int i = 0; i < ACTORS; i++) {
        if (groups->actors[i].host == host)
            here[count++] = &groups->actors[i];
    }
    return count > 0 ? here[chance_below(&groups->world->chance, count)] : NULL;
}

void groups_play_act(struct sim_node *host)
{
    struct world *world = host->world;
    struct sim_groups *groups = world->groups;
    struct topic *topic = look_at_topic(groups, host);
    bool resets = world->seed / 4 % 4 == 0;
    if (topic == NULL)
        return;
    topic_unref(topic);
    if (!groups->made) {
        make(groups, host);
        return;
    }
    struct actor *actor = pick(groups, host);
    uint64_t what = chance_below(&world->chance, 100);
    if (actor == NULL || what < 8) {
        join(groups, host);
        return;
    }
    if (what >= 95) { /* it has stalled, and commits what it knew */
        commit(actor, any_partition(world));
        return;
    }
    if (!look(actor)) {
        if (actor->waiting == 0)
            drop(actor);
        return;
    }
    if (what < 70)
        read_on(actor, 1 + (int64_t)chance_below(&world->chance, READ_RECORDS));
    else if (what < 90)
        commit(actor, any_partition(world));
    else if (what < 93 && actor->waiting == 0)
        drop(actor);
    else if (resets)
        reset(groups, host);
}

/* ---- ends ---- */

void groups_play_close(struct sim_node *host)
{
    struct sim_groups *groups = host->world->groups;
    for (int i = 0; groups != NULL && i < ACTORS; i++) {
        struct actor *actor = &groups->actors[i];
        if (actor->host != host)
            continue;
        group_member_polled(actor->member, false);
        if (actor->waiting == 0)
            drop(actor);
        else
            memset(actor, 0, sizeof *actor); /* its node ends it */
    }
}

void groups_play_abandon(struct sim_node *host)
{
    struct sim_groups *groups = host->world->groups;
    for (int i = 0; groups != NULL && i < ACTORS; i++) {
        if (groups->actors[i].host == host)
            memset(&groups->actors[i], 0, sizeof groups->actors[i]);
    }
    if (groups != NULL)
        groups->makes = false;
}

void groups_play_calm(struct world *world)
{
    struct sim_groups *groups = world->groups;
    bool any = false;
    for (int i = 0; i < ACTORS; i++) {
        struct actor *actor = &groups->actors[i];
        if (actor->host == NULL || !world_is_up(actor->host))
            continue;
        if (!look(actor)) {
            if (actor->waiting == 0)
                drop(actor);
            continue;
        }
        any = true;
        read_on(actor, INT64_MAX);
    }
    struct topic *topic = world_is_up(&world->nodes[0]) ? look_at_topic(groups, &world->nodes[0]) : NULL;
    if (topic == NULL)
        return;
    topic_unref(topic);
    if (!groups->made)
        make(groups, &world->nodes[0]);
    else if (!any)
        join(groups, &world->nodes[0]);
}

void groups_play_find_unrest(struct world *world, char out[WORLD_FAILURE_BYTES])
{
    struct sim_groups *groups = world->groups;
    struct topic *topic = look_at_topic(groups, &world->nodes[0]);
    int owners[BOOK_PARTITIONS] = {0}, most = 0, least = BOOK_PARTITIONS, members = 0;
    if (topic == NULL)
        return; /* nothing to read */
    int32_t count = topic_partition_count(topic);
    for (int i = 0; i < ACTORS; i++) {
        const struct actor *actor = &groups->actors[i];
        int has = 0;
        if (actor->host == NULL)
            continue;
        members++;
        for (int32_t p = 0; p < count; p++) {
            if (actor->parts[p].epoch > 0) {
                has++;
                owners[p]++;
            }
        }
        most = has > most ? has : most;
        least = has < least ? has : least;
        if (actor->waiting > 0)
            snprintf(out, WORLD_FAILURE_BYTES, "member %d: %d commits are not answered", actor->serial, actor->waiting);
    }
    for (int32_t p = 0; p < count && out[0] == '\0'; p++) {
        int32_t leader_epoch;
        int64_t end = end_of(world, p, &leader_epoch);
        if (owners[p] != 1) {
            snprintf(out, WORLD_FAILURE_BYTES, "partition %d has %d owners of %d members", (int)p, owners[p], members);
        } else if (groups->parts[p].given < end) {
            snprintf(out, WORLD_FAILURE_BYTES, "partition %d was given out up to %lld of %lld", (int)p,
                     (long long)groups->parts[p].given, (long long)end);
        }
    }
    if (out[0] == '\0' && most - least > 1)
        snprintf(out, WORLD_FAILURE_BYTES, "one member has %d partitions, another one %d", most, least);
    topic_unref(topic);
}

static void find_rest(struct world *world)
{
    char unrest[WORLD_FAILURE_BYTES];
    int64_t until_ms = world->now_ms + PEACE_MS;
    do {
        world_run(world, LOOK_MS);
        groups_play_calm(world);
        unrest[0] = '\0';
        groups_play_find_unrest(world, unrest);
    } while (unrest[0] != '\0' && world->now_ms < until_ms && !world_failed(world));
    if (unrest[0] != '\0')
        world_fail(world, "members come and go, and no rest: %s", unrest);
}

void groups_play_prove(struct world *world)
{
    struct sim_groups *groups = world->groups;
    struct sim_node *host = world_pick(world);
    struct topic *topic = host != NULL ? look_at_topic(groups, host) : NULL;
    bool stays = false;
    if (topic == NULL)
        return;
    topic_unref(topic);
    groups->at_peace = true;
    for (int i = 0; i < ACTORS; i++) {
        struct actor *actor = &groups->actors[i];
        if (actor->host != NULL && stays)
            drop(actor);
        stays = stays || actor->host != NULL;
    }
    find_rest(world);
    join(groups, host);
    find_rest(world);
}
