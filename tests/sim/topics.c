/* tests/sim/topics.c: commands of any node, and how each may end. */
#include "tests/sim/topics.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc32c.h"
#include "engine/base/container.h"
#include "replication/node/node_internal.h"
#include "replication/replica/partition_read.h"
#include "tests/sim/audit.h"
#include "tests/sim/chance.h"
#include "tests/sim/faults.h"
#include "tests/sim/invariants.h"

enum { COMMAND_TIMEOUT_MS = 1000, COMPACTED = 5 /* one topic in so many */ };

static void topic_made(struct pending *p, int rc)
{
    struct world *world = p->host->world;
    struct book *book = &world->book;
    struct topic *topic = node_topic(p->host->node, p->known->name);
    bool there = topic != NULL && strcmp(topic_id(topic), p->known->id) == 0;
    if (p->known->state == TOPIC_GONE)
        rc = -ESTALE; /* another node has seen it, and deleted it, before this one answered */
    else if (rc == 0)
        /* Another node may have seen it by then, and had it deleted, and nobody knows what came of that. */
        p->known->state = p->known->delete_asked ? TOPIC_UNKNOWN : TOPIC_THERE;
    else if (rc == -ETIMEDOUT || rc == -EIO)
        p->known->state = TOPIC_UNKNOWN;
    else
        book_topic_gone(book, p->known);
    /* One that its own node had no room for is taken back. */
    p->known->delete_asked |= p->known->state == TOPIC_UNKNOWN && book->full;
    if (rc == 0 && !there && !p->known->deleting && !p->known->delete_asked &&
        !book_name_was_taken(book, p->known, p->known->name, p->asked))
        world_fail(world, "node %d: topic %s was made, and is not there (rule 9)", p->host->id, p->known->name);
    if (rc == -EEXIST && !book_name_was_taken(book, p->known, p->known->name, p->asked))
        world_fail(world, "node %d: topic %s is refused, and no other has its name", p->host->id, p->known->name);
    if (topic != NULL)
        topic_unref(topic);
}

static void topic_gone(struct pending *p, int rc)
{
    struct world *world = p->host->world;
    struct err e = {""};
    p->known->deleting = false;
    if (rc == -ETIMEDOUT || rc == -EIO || (rc == -ENOENT && p->known->state == TOPIC_UNKNOWN)) {
        p->known->state = TOPIC_UNKNOWN;
        p->known->delete_asked = true;
    } else if (rc == 0) {
        book_topic_gone(&world->book, p->known);
        if (!book_may_be_gone(p->known, &e))
            world_fail(world, "node %d: %s", p->host->id, e.text);
    } else if (rc == -ENOENT && !p->known->delete_asked && p->known->state == TOPIC_THERE) {
        world_fail(world, "node %d: topic %s is there, and was not found to be deleted (rule 12)", p->host->id,
                   p->known->name);
    }
}

/* ---- settings, and MOUNT's mode ---- */

static void ask_setting(struct pending *p, struct setting *setting, const char *value)
{
    snprintf(p->value, sizeof p->value, "%s", value);
    p->setting = setting;
    p->change = setting_asked(setting, value, invariants_newest(p->host->world));
}

/* Its node answers when it has applied it, and nothing behind it: whatever else is on its way, it is so there now. */
static void check_in_force(struct pending *p)
{
    struct err e = {""};
    struct tree_attr root;
    node_root_attr(p->host->node, &root);
    if (p->changes == SETS_MODE && root.dir_mode != (mode_t)p->index)
        err_set(&e, 0, "MOUNT has mode %o, was set to %s", (unsigned)root.dir_mode, p->value);
    else if (p->changes != SETS_MODE)
        audit_setting(p->host->node, p->known != NULL ? p->known->name : NULL, p->setting->name, p->value, &e);
    if (e.text[0] != '\0')
        world_fail(p->host->world, "node %d, at once: %s", p->host->id, e.text);
}

static void setting_answered(struct pending *p, int rc)
{
    bool alone = world_alone(p->host);
    if (rc == -ETIMEDOUT || rc == -ESTALE || rc == -EIO)
        return; /* it may yet come */
    if (rc != 0 && (rc != -ENODATA || !alone)) {
        setting_refused(p->setting, p->change);
        return;
    }
    if (alone)
        setting_over(p->setting); /* what its earlier processes had on their way came before */
    setting_set(p->setting, p->change, p->host->node->quorum.meta.next_offset);
    check_in_force(p);
}

/* ---- who may make topics ---- */

enum { USER = 7, CLOSED_MODE = 0755, OPEN_MODE = 0777 };

static void mode_set(struct pending *p, int rc)
{
    struct book *book = &p->host->world->book;
    bool open = p->index == OPEN_MODE;
    /* Of two at the same time nobody knows which was last. */
    if (rc == 0 && !p->was_unknown && book->modes[!open].asked < p->asked)
        book->modes[open].since = ++book->asked;
    if (rc == 0 || rc == -EROFS)
        book->modes[open].open--; /* others may yet come */
}

/* MOUNT was so from before this was asked for until now, for sure. */
static bool mode_was(const struct pending *p, bool open)
{
    const struct book *book = &p->host->world->book;
    return book->modes[open].since > book->modes[!open].asked && book->modes[open].since < p->asked &&
           book->modes[!open].open == 0;
}

/* Whatever its host knew of MOUNT (rule 61); who is refused may be by a host that has not heard of it yet. */
static void made_by_user(struct pending *p, int rc)
{
    if (rc == 0 && mode_was(p, false))
        world_fail(p->host->world, "node %d: a user has made topic %s, and may not (rule 61)", p->host->id,
                   p->known->name);
    if (rc == -EACCES && mode_was(p, true) && !p->was_unknown)
        world_fail(p->host->world, "node %d: a user is refused topic %s, and may make it (rule 61)", p->host->id,
                   p->known->name);
}

/* The same voters again name the disks that they have now. */
static void voters_set(struct pending *p, int rc)
{
    struct world *world = p->host->world;
    if (rc == 0 && p->index == world->wiped)
        world->wiped = 0;
    if (rc == 0)
        world->voters_open = false;
    else if (rc == -EINVAL || rc == -EAGAIN)
        world->voters_open = p->was_unknown;
}

/* Nobody heard how it ended. */
void topics_unheard(struct pending *p)
{
    if (p->changes == MAKES_TOPIC) {
        p->known->state = TOPIC_UNKNOWN;
        p->known->delete_asked |= p->host->world->book.full; /* its node may have taken it back */
    }
    if (p->changes == DELETES_TOPIC)
        topic_gone(p, -ETIMEDOUT);
}

/* What it knew is not so any more, whoever else was first. */
static bool may_be_raced(const struct pending *p)
{
    const struct world *world = p->host->world;
    switch (p->changes) {
    case VOTES:
        return world->moves;
    case MOVES: /* another move is under way, or who shall lead is not in sync */
    case ADDS_PARTITION:
        return world->moves || world->retires;
    case MAKES_TOPIC: /* one of its nodes was unregistered */
    case UNREGISTERS: /* the node has come back */
        return world->retires;
    default:
        return false;
    }
}

/* Where it is in force the node is not as it was: it is not there, or has come back. */
static void unregistered(struct pending *p, int rc)
{
    const struct metadata *meta = &p->host->node->quorum.meta;
    const struct node_registration *node = metadata_node(meta, p->index);
    if (rc == 0 && node != NULL && node->epoch <= p->command.cmd.registration.epoch)
        world_fail(p->host->world, "node %d: node %d was unregistered, and is there as before (rule 62)", p->host->id,
                   p->index);
    p->host->world->retired += rc == 0;
}

void topics_over(struct pending *p, int rc)
{
    /* -EROFS: the node stops, or it was taken back. */
    static const int allowed[] = {-ENOTEMPTY, -ENOENT, -EEXIST, -ETIMEDOUT, -ENODATA, -EINVAL, -EBUSY, -EROFS, 0};
    if (!pending_over(p, "a command", rc)) {
        topics_unheard(p);
        return;
    }
    world_note(p->host->world, "  node %d, %s %s: %s %d %s", p->host->id, p->known != NULL ? p->known->name : "MOUNT",
               p->known != NULL ? p->known->id : "",
               p->changes == SETS             ? p->setting->name
               : p->changes == SETS_DEFAULT   ? p->setting->name
               : p->changes == SETS_MODE      ? "mode"
               : p->changes == ADDS_PARTITION ? "partitions"
               : p->changes == MAKES_TOPIC    ? "made"
               : p->changes == MOVES          ? "moved"
               : p->changes == VOTES          ? "voters"
               : p->changes == UNREGISTERS    ? "unregistered"
                                              : "deleted",
               p->index, p->value);
    bool is_race = rc == -EAGAIN && may_be_raced(p);
    if (!is_race && (rc != -EACCES || !p->by_user))
        pending_check_errno(p, "a command", rc, allowed);
    switch (p->changes) {
    case MAKES_TOPIC:
        if (p->by_user)
            made_by_user(p, rc);
        topic_made(p, rc);
        break;
    case DELETES_TOPIC:
        topic_gone(p, rc);
        break;
    case ADDS_PARTITION:
        if (rc == 0 && p->known->partitions < p->index)
            p->known->partitions = p->index;
        else if (rc != 0 && rc != -ETIMEDOUT && rc != -EIO && rc != -ENOSPC && p->known->partitions_max == p->index)
            p->known->partitions_max = p->index - 1;
        break;
    case SETS:
    case SETS_DEFAULT:
        setting_answered(p, rc);
        break;
    case SETS_MODE:
        mode_set(p, rc);
        setting_answered(p, rc);
        break;
    case VOTES:
        voters_set(p, rc);
        break;
    case UNREGISTERS:
        unregistered(p, rc);
        break;
    case MOVES:
        break;
    }
}

static void on_command(struct command_op *op, int rc)
{
    topics_over(CONTAINER_OF(op, struct pending, command), rc);
}

static struct pending *command_new(struct sim_node *host, struct topic *topic, struct book_topic *known, int changes)
{
    struct pending *p = pending_new(host, PENDING_COMMAND, topic, known, -1);
    p->changes = changes;
    p->command.timeout_ms = COMMAND_TIMEOUT_MS;
    p->command.done = on_command;
    return p;
}

/* Whether replicas may be placed now: nobody may know yet that a disk is gone, on which they would be. */
static bool may_place(struct world *world)
{
    if (world->wiped != 0)
        return false;
    world->moved_ms = world->now_ms;
    return true;
}

static void make(struct sim_node *host, const char *name, bool by_user)
{
    static const struct tree_attr attr = {.dir_mode = 0755, .file_mode = 0644};
    if (!may_place(host->world))
        return;
    struct book_topic *known = book_add_topic(&host->world->book, name);
    struct pending *p = command_new(host, NULL, known, MAKES_TOPIC);
    known->to_compact = chance_in(&host->world->chance, COMPACTED);
    struct tree_attr root;
    node_root_attr(host->node, &root);
    p->by_user = by_user;
    p->was_unknown = root.dir_mode != OPEN_MODE;
    p->command.caller = (struct command_caller){.is_user = by_user, .uid = USER, .gid = USER};
    int rc = node_create_topic(host->node, &p->command, name, &attr);
    if (rc == 0 && !p->over)
        uuid_text(p->command.cmd.id, p->known->id);
    if (rc != 0)
        topics_over(p, rc);
}

void topics_make(struct sim_node *host, const char *name)
{
    make(host, name, false);
}

static void set_mode(struct sim_node *host, mode_t mode)
{
    struct book *book = &host->world->book;
    struct pending *p = command_new(host, NULL, NULL, SETS_MODE);
    struct tree_attr attr = {.dir_mode = mode};
    char value[SETTING_VALUE_BYTES];
    snprintf(value, sizeof value, "%o", (unsigned)mode);
    ask_setting(p, &book->mode, value);
    p->index = (int32_t)mode;
    p->was_unknown = book->modes[mode != OPEN_MODE].open > 0;
    book->modes[mode == OPEN_MODE].asked = p->asked;
    book->modes[mode == OPEN_MODE].open++;
    int rc = node_set_attr(host->node, &p->command, NULL, &attr, ATTR_DIR_MODE);
    if (rc != 0)
        topics_over(p, rc);
}

/* Before all nodes judge alike, each judges by what it knows. */
static bool all_judge(struct sim_node *host)
{
    bool judge = metadata_judges(quorum_acquire(&host->node->quorum));
    quorum_release(&host->node->quorum);
    return judge;
}

void topics_use_rights(struct sim_node *host, const char *name)
{
    if (!all_judge(host))
        return;
    if (chance_in(&host->world->chance, 3))
        set_mode(host, chance_in(&host->world->chance, 2) ? OPEN_MODE : CLOSED_MODE);
    else
        make(host, name, true);
}

void topics_delete(struct sim_node *host, struct topic *topic, struct book_topic *known)
{
    if (known->deleting)
        return;
    known->deleting = true;
    struct pending *p = command_new(host, topic, known, DELETES_TOPIC);
    int rc = node_delete_topic(host->node, &p->command, known->name);
    known->delete_any |= rc == 0 && p->command.state != COMMAND_LOOKING;
    if (rc != 0)
        topics_over(p, rc);
}

void topics_add_partition(struct sim_node *host, struct topic *topic, struct book_topic *known)
{
    if (known->partitions_max != known->partitions || known->partitions == BOOK_PARTITIONS || !may_place(host->world))
        return;
    struct pending *p = command_new(host, topic, known, ADDS_PARTITION);
    p->index = ++known->partitions_max;
    int rc = node_create_partitions(host->node, &p->command, known->name, p->index);
    if (rc != 0)
        topics_over(p, rc);
}

void topics_force(struct sim_node *host, struct topic *topic, struct book_topic *known, const char *name,
                  const char *value)
{
    struct pending *p = command_new(host, topic, known, SETS);
    ask_setting(p, book_setting(known, name), value);
    int rc = node_set_config(host->node, &p->command, known->name, name, value[0] != '\0' ? value : NULL);
    if (rc != 0)
        topics_over(p, rc);
}

void topics_set(struct sim_node *host, struct topic *topic, struct book_topic *known, const char *name,
                const char *value)
{
    struct setting *setting = book_setting(known, name);
    if (setting_is_open(setting) && !world_alone(host))
        return; /* whoever goes by it has to know what it is, and one that timed out may come at any time */
    for (const struct pending *other = host->pending; other != NULL && !known->deleting; other = other->next) {
        if (!other->over && other->kind == PENDING_COMMAND && other->setting == setting)
            return;
    }
    topics_force(host, topic, known, name, value);
}

/* One setting after the other; where it is not known what became of one they do without. */
bool topics_prepare(struct sim_node *host, struct topic *topic, struct book_topic *known)
{
    static const char *const wanted[][2] = {
        {"key.separator", "="}, {"segment.bytes", "600"}, {"cleanup.policy", "compact"}};
    for (int i = 0; i < 3 && known->to_compact; i++) {
        struct setting *setting = book_setting(known, wanted[i][0]);
        bool open = setting_is_open(setting);
        if (strcmp(setting->value, wanted[i][1]) == 0 && !open)
            continue;
        known->to_compact = !open || !chance_in(&host->world->chance, 8);
        known->compacts |= i == 2 && !open;
        if (!open)
            topics_set(host, topic, known, wanted[i][0], wanted[i][1]);
        return known->to_compact;
    }
    known->to_compact = false;
    return false;
}

void topics_set_default(struct sim_node *host)
{
    struct book *book = &host->world->book;
    struct pending *p = command_new(host, NULL, NULL, SETS_DEFAULT);
    char value[SETTING_VALUE_BYTES];
    snprintf(value, sizeof value, "%d", (int)chance_below(&host->world->chance, 10));
    ask_setting(p, &book->fallback, value);
    int rc = node_set_config(host->node, &p->command, NULL, book->fallback.name, value);
    if (rc != 0)
        topics_over(p, rc);
}

void topics_set_something(struct sim_node *host, struct topic *topic, struct book_topic *known)
{
    static const struct {
        const char *name, *value;
    } settings[] = {
        {"segment.bytes", "600"},        {"segment.bytes", ""},       {"min.insync.replicas", "2"},
        {"min.insync.replicas", ""},     {"min.insync.replicas", ""}, {"flush.messages", "1"},
        {"flush.messages", ""},          {"retention.bytes", "2000"}, {"retention.ms", "60000"},
        {"delete.topic.enable", "true"}, {"delete.topic.enable", ""}, {"key.separator", "="},
        {"cleanup.policy", "compact"},
    };
    unsigned which = (unsigned)chance_below(&host->world->chance, sizeof settings / sizeof settings[0]);
    const char *name = settings[which].name;
    known->retains |= strncmp(name, "retention.", 10) == 0;
    if (strcmp(name, "cleanup.policy") == 0) {
        /* Every line has to have a key from the first one on. */
        if (strcmp(book_setting(known, "key.separator")->value, "=") != 0 || known->parts[0].count > 0)
            return;
        known->compacts = true;
    }
    if (strcmp(name, "key.separator") == 0 && known->parts[0].count > 0)
        return;
    topics_set(host, topic, known, name, settings[which].value);
}

/* Some by chance; or where a disk was replaced, those that there are. */
static int32_t choose_voters(struct sim_node *host, int32_t ids[WORLD_NODES])
{
    static const int32_t counts[] = {1, 3, 3, 5};
    struct world *world = host->world;
    int32_t count = 0, left = counts[chance_below(&world->chance, 4)];
    if (world->wiped != 0)
        return node_voters(host->node, ids);
    for (int32_t id = 1; id <= world->node_count && left > 0; id++) {
        if (left > world->node_count - id || chance_in(&world->chance, 2)) {
            ids[count++] = id;
            left--;
        }
    }
    return count;
}

void topics_change_voters(struct sim_node *host)
{
    struct world *world = host->world;
    int32_t ids[WORLD_NODES], count = choose_voters(host, ids);
    struct pending *p = command_new(host, NULL, NULL, VOTES);
    /* One that is not back yet is still meant as who it was. */
    p->index = world->wiped != 0 && !world->nodes[world->wiped - 1].lost_power ? world->wiped : -1;
    p->was_unknown = world->voters_open;
    world->voters_open = true;
    int rc = node_change_voters(host->node, &p->command, ids, count);
    if (rc != 0) {
        topics_over(p, rc);
    } else if (chance_in(&world->chance, 4)) {
        world_run(world, (int64_t)chance_below(&world->chance, 40));
        faults_cut_off_leader(world);
    }
}

static void unregister(struct sim_node *host, int32_t id)
{
    struct pending *p = command_new(host, NULL, NULL, UNREGISTERS);
    p->index = id;
    int rc = node_unregister(host->node, &p->command, id);
    if (rc != 0)
        topics_over(p, rc);
}

/* Others hold the partition in its place. */
static void move_away(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index,
                      const struct replica_set *from, int32_t id)
{
    struct replica_set replicas = *from;
    if (!may_place(host->world))
        return;
    struct pending *p = command_new(host, topic, known, MOVES);
    p->index = index;
    replica_set_remove(&replicas, id);
    if (replicas.count == 0)
        replica_set_add(&replicas, host->id);
    int rc = node_assign_replicas(host->node, &p->command, known->name, index, &replicas);
    if (rc != 0)
        topics_over(p, rc);
}

/* false: there is nothing to move away from it, as this node knows it. */
static bool empty(struct sim_node *host, const struct metadata *meta, int32_t id)
{
    for (size_t t = 0; t < meta->topic_count; t++) {
        for (int32_t i = 0; i < meta->topics[t]->partitions; i++) {
            const struct partition_registration *part = &meta->topics[t]->parts[i];
            if (!replica_set_has(&part->replicas, id) || part->target.count > 0)
                continue;
            struct topic *topic = node_topic(host->node, meta->topics[t]->name);
            struct book_topic *known = topic != NULL ? book_topic_by_id(&host->world->book, topic_id(topic)) : NULL;
            if (known != NULL && known->state == TOPIC_THERE && !known->deleting)
                move_away(host, topic, known, i, &part->replicas, id);
            if (topic != NULL)
                topic_unref(topic);
            return true;
        }
    }
    return false;
}

/* It is off for some time: long enough for all that it holds to be moved away. */
static void switch_off(struct world *world, int32_t id)
{
    struct sim_node *host = &world->nodes[id - 1];
    if (!world_is_up(host) || world->wiped != 0 || world->healed)
        return;
    host->away_ms = world->now_ms + 10000 + (int64_t)chance_below(&world->chance, 30000);
    world_note(world, "node %d is switched off until %lld", id, (long long)host->away_ms);
    world_kill(host, false);
}

void topics_retire(struct sim_node *host)
{
    const struct metadata *meta = &host->node->quorum.meta;
    struct world *world = host->world;
    int32_t lives = 0;
    for (size_t i = 0; i < meta->node_count; i++) {
        int32_t id = meta->nodes[i].id;
        if (raft_voters_node(&meta->voters.voters, id) != NULL)
            continue;
        if (!meta->nodes[i].fenced) {
            lives = id;
            continue;
        }
        if (!empty(host, meta, id))
            unregister(host, id);
        return;
    }
    if (chance_in(&world->chance, 4))
        unregister(host, 1 + (int32_t)chance_below(&world->chance, (uint64_t)world->node_count));
    else if (lives != 0 && lives != host->id && chance_in(&world->chance, 4))
        switch_off(world, lives);
}

void topics_set_leader(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index,
                       int32_t leader)
{
    struct pending *p = command_new(host, topic, known, MOVES);
    host->world->moved_ms = host->world->now_ms;
    p->index = index;
    int rc = node_set_leader(host->node, &p->command, known->name, index, leader);
    if (rc != 0)
        topics_over(p, rc);
}

void topics_move(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index)
{
    struct world *world = host->world;
    uint64_t nodes = (uint64_t)world->node_count, what = chance_below(&world->chance, 8);
    if (what < 2) {
        known->unclean = true;
        topics_set(host, topic, known, "unclean.leader.election.enable", what == 0 ? "true" : "");
        return;
    }
    if (what < 5) {
        topics_set_leader(host, topic, known, index, 1 + (int32_t)chance_below(&world->chance, nodes));
        return;
    }
    if (!may_place(world))
        return;
    struct replica_set replicas = {0};
    struct pending *p = command_new(host, topic, known, MOVES);
    int rc;
    p->index = index;
    if (what == 5) {
        rc = node_set_replication_factor(host->node, &p->command, known->name,
                                         1 + (int32_t)chance_below(&world->chance, 3));
    } else {
        for (uint64_t more = 1 + chance_below(&world->chance, 3); more > 0; more--)
            replica_set_add(&replicas, 1 + (int32_t)chance_below(&world->chance, nodes));
        rc = node_assign_replicas(host->node, &p->command, known->name, index, &replicas);
    }
    if (rc != 0)
        topics_over(p, rc);
}
