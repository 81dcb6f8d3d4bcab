/* replication/node/node_commands.c: the states of a command.
 *
 *   node_… ──┬────────────────────────────────→ DECIDING ──┬── applied, or refused ──→ done
 *            │                                   ↑    ↑     ├── no room, and the reserve makes some ──→ DECIDING
 *            ├→ LOOKING ── all ──→ SEALING ── all┘    │     ├── led anew ──→ SEALING
 *            │     └── in use ────────┴──→ done       │     └── made, but not on this disk ──→ LOOKING: taken back
 *            └→ PREPARING ── made ────────────────────┘
 *                  └── not, or not on this disk ──→ done
 *
 * Preparing: the first group's mkdir makes the topic of groups' offsets first; it stays whatever becomes of the group.
 *
 * Sealing a topic: each partition's leader says that it is empty, and takes nothing in until it leads in another epoch.
 * The command carries these epochs, and is refused where one is over: then they are asked again. Of several partitions
 * all are looked at before one is sealed: nobody's append waits where it fails.
 *
 * A topic that was decided and could not be made on this disk is taken back: it goes the way of an rmdir, from LOOKING
 * on, so that it stays where somebody has written to it. What this node leads and could not make is held as it is.
 *
 * All transitions are made by tick(), one after the other: each state waits for one thing. */
#include "replication/node/node_commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "replication/base/limits.h"
#include "replication/executor/alarms.h"
#include "replication/metadata/plan.h"
#include "replication/node/node_internal.h"
#include "replication/wire/forward_message.h"
#include "replication/wire/message.h"

/* What a partition's leader is asked for, and has given. */
struct seal_wanted {
    struct ask ask;
    struct command_op *op;
    bool given;
};

/* ---- the end ---- */

/* The command was given away, and nobody knows what becomes of it. */
static bool is_doubtful(const struct command_op *op, int rc)
{
    return op->state == COMMAND_DECIDING && (rc == -ETIMEDOUT || rc == -EIO);
}

/* What was decided has ended them. rc: of the op. */
static void unseal(struct command_op *op, int rc)
{
    for (int32_t i = 0; i < op->seal_count && rc != 0; i++) {
        if (op->seals[i].given && !topic_deleted(op->topic))
            partition_seal_give_back(topic_partition(op->topic, i));
    }
    for (int32_t i = 0; op->undoes && rc != 0 && i < topic_partition_count(op->topic); i++)
        partition_release_unmade(topic_partition(op->topic, i), is_doubtful(op, rc));
    free(op->seals);
    op->seals = NULL;
    op->seal_count = 0;
}

/* Gives back what it holds. rc: of the op. */
static void give_back(struct command_op *op, int rc)
{
    unseal(op, rc);
    if (op->reserved)
        reserve_end(&op->node->reserve);
    if (op->topic != NULL)
        topic_unref(op->topic);
    op->reserved = false;
    op->topic = NULL;
    command_free(&op->cmd);
}

static int not_made(struct command_op *op, int rc)
{
    bool topic_made = op->cmd.type != COMMAND_CREATE_PARTITIONS;
    return err_sys(&op->e, rc, "make the %s of topic %s", topic_made ? "directories" : "new partitions", op->cmd.topic);
}

/* The answer after an attempt to take a topic back. One that stays is there: its partitions are made once there is room
 * (partition_reopen()). */
static int undone_rc(struct command_op *op, int rc)
{
    if (rc == 0 || rc == -ENOENT)
        return not_made(op, op->rc);
    return rc == -ETIMEDOUT && op->state == COMMAND_DECIDING ? rc : 0;
}

static void finish(struct command_op *op, int rc)
{
    int answer = op->undoes ? undone_rc(op, rc) : rc;
    give_back(op, rc);
    op->done(op, answer);
}

/* ---- the states ---- */

static void tick(struct command_op *op, int rc);

static void decided(struct command_op *op, const struct quorum_op *quorum, int rc)
{
    if (rc != 0)
        op->e = quorum->e;
    tick(op, rc);
}

static void on_decided(struct quorum_op *quorum, int rc)
{
    decided(CONTAINER_OF(quorum, struct command_op, quorum), quorum, rc);
}

static void on_undone(struct quorum_op *undo, int rc)
{
    decided(CONTAINER_OF(undo, struct command_op, undo), undo, rc);
}

/* The kernel holds a directory's lock meanwhile; with peers it is not this node's disk that is waited for. */
static int64_t left_ms(const struct command_op *op)
{
    int64_t left = op->begun_ms + LIMIT_METADATA_MS - op->node->clock->mono_ms(op->node->clock);
    if (!quorum_has_peers(&op->node->quorum) || op->timeout_ms <= left)
        return op->timeout_ms;
    return left > 0 ? left : 0;
}

/* 0: on_decided() follows, or on_undone(). */
static int submit(struct command_op *op, enum command_state state)
{
    struct quorum_op *quorum = op->undoes ? &op->undo : &op->quorum;
    bool is_asked_for = state == COMMAND_DECIDING && !op->undoes;
    op->state = state;
    op->cmd.origin.caller = is_asked_for ? op->caller : (struct command_caller){.is_user = false};
    quorum->timeout_ms = left_ms(op);
    quorum->done = op->undoes ? on_undone : on_decided;
    int rc = quorum_submit(&op->node->quorum, quorum, &op->cmd);
    if (rc != 0)
        op->e = quorum->e;
    return rc;
}

static int decide(struct command_op *op)
{
    return submit(op, COMMAND_DECIDING);
}

/* Why a topic that was made, or its new partitions, are not all on this disk; 0: they are. */
static int made_rc(struct command_op *op)
{
    if (op->cmd.type != COMMAND_CREATE_TOPIC && op->cmd.type != COMMAND_CREATE_PARTITIONS)
        return 0;
    struct topic *topic = catalog_find(&op->node->replicas.catalog, op->cmd.topic);
    if (topic == NULL)
        return 0; /* made, and deleted by somebody else since */
    int rc = topic->open_rc;
    topic_unref(topic);
    return rc == 0 ? 0 : not_made(op, rc);
}

/* What a group's mkdir goes on with once there is a topic for offsets. As decide(). */
static int decide_group(struct command_op *op)
{
    struct command made = op->cmd;
    int rc = executor_uuid(op->node->executor, op->cmd.id);
    op->cmd.type = COMMAND_CREATE_GROUP;
    op->cmd.attr = op->attr;
    op->cmd.replicas = NULL;
    command_free(&made);
    return rc == 0 ? decide(op) : err_sys(&op->e, rc, "choose a group's id");
}

static int check_held(struct command_op *op);
static int ask_leaders(struct command_op *op, enum command_state state, bool again);
static int look(struct command_op *op);

/* Every partition was empty, as its leader says. */
static int decide_sealed(struct command_op *op)
{
    int rc = check_held(op);
    return rc == 0 ? decide(op) : rc;
}

static bool makes_room(const struct command_op *op)
{
    return op->cmd.type == COMMAND_DELETE_TOPIC || op->cmd.type == COMMAND_SET_CONFIG ||
           op->cmd.type == COMMAND_REMOVE_CONFIG;
}

/* What was decided could not be made on this disk: no room, most likely. The topic goes again. false: it stays. */
static bool undo(struct command_op *op)
{
    struct command made = op->cmd;
    if (made.type != COMMAND_CREATE_TOPIC)
        return false;
    op->topic = catalog_find(&op->node->replicas.catalog, made.topic);
    if (op->topic == NULL || memcmp(op->topic->id, made.id, UUID_BYTES) != 0)
        return false;
    op->undoes = true;
    op->begun_ms = op->node->clock->mono_ms(op->node->clock);
    op->cmd = (struct command){.type = COMMAND_DELETE_TOPIC, .time_ms = made.time_ms};
    memcpy(op->cmd.topic, made.topic, sizeof made.topic);
    memcpy(op->cmd.id, made.id, UUID_BYTES);
    command_free(&made);
    int rc = look(op);
    if (rc != 0)
        finish(op, rc);
    return true;
}

/* rc: of what DECIDING waited for. */
static void settle(struct command_op *op, int rc)
{
    if (rc == -EAGAIN && op->seals != NULL && (rc = ask_leaders(op, COMMAND_SEALING, true)) == 0)
        return;
    if (makes_room(op) && !op->reserved && reserve_begin(&op->node->reserve, rc)) {
        op->reserved = true;
        rc = decide(op);
        if (rc == 0)
            return;
    }
    if (rc == 0 && !op->undoes && (rc = op->rc = made_rc(op)) != 0 && undo(op))
        return;
    finish(op, rc);
}

/* rc: of what the state waited for. */
static void tick(struct command_op *op, int rc)
{
    switch (op->state) {
    case COMMAND_PREPARING:
        if (rc == 0)
            rc = made_rc(op);
        if (rc == 0 || rc == -EEXIST) /* made by whoever was first */
            rc = decide_group(op);
        if (rc != 0)
            finish(op, rc);
        return;
    case COMMAND_LOOKING:
        if (rc == 0)
            rc = ask_leaders(op, COMMAND_SEALING, false);
        if (rc != 0)
            finish(op, rc);
        return;
    case COMMAND_SEALING:
        if (rc == 0)
            rc = decide_sealed(op);
        if (rc == -EAGAIN)
            rc = ask_leaders(op, COMMAND_SEALING, true);
        if (rc != 0)
            finish(op, rc);
        return;
    case COMMAND_DECIDING:
        settle(op, rc);
        return;
    }
}

/* ---- a topic that has to be empty ---- */

static int refuse(struct command_op *op)
{
    const char *name = op->topic->name;
    if (op->cmd.type == COMMAND_DELETE_TOPIC)
        return err_set(&op->e, -ENOTEMPTY, "topic %s holds records and its delete.topic.enable is false", name);
    return err_set(&op->e, -EBUSY, "framing: topic %s is not empty, or records are on their way to it", name);
}

/* What this node knows by itself. */
static int check_held(struct command_op *op)
{
    bool deletes = op->cmd.type == COMMAND_DELETE_TOPIC;
    return (deletes ? topic_empty : topic_awaits_none)(op->topic) ? 0 : refuse(op);
}

/* The last one goes on. That one is not empty says more than that another was not heard of. */
static void one_answered(struct command_op *op, int rc)
{
    int before = 0;
    if (rc != 0 && !atomic_compare_exchange_strong(&op->seals_rc, &before, rc) && rc != -ETIMEDOUT)
        atomic_store(&op->seals_rc, rc);
    if (atomic_fetch_sub(&op->seals_left, 1) != 1)
        return;
    rc = atomic_load(&op->seals_rc);
    if (rc == -ENOTEMPTY)
        rc = refuse(op);
    else if (rc == -ESTALE)
        rc = err_set(&op->e, -ENOENT, "no topic %s", op->topic->name);
    else if (rc != 0)
        err_sys(&op->e, rc, "topic %s: ask its leaders whether it is empty", op->topic->name);
    tick(op, rc);
}

static void on_asked(struct ask *ask, int rc)
{
    struct seal_wanted *seal = CONTAINER_OF(ask, struct seal_wanted, ask);
    struct command_op *op = seal->op;
    bool empty = rc == 0 && ask->answer_upto == 0;
    seal->given = empty && op->state == COMMAND_SEALING;
    op->cmd.seals[seal - op->seals] = (struct command_seal){ask->leader_epoch, ask->answer_position};
    one_answered(op, rc == 0 && !empty ? -ENOTEMPTY : rc);
}

/* One of each partition that there is now. */
static int make_seals(struct command_op *op)
{
    int32_t count = topic_partition_count(op->topic);
    free(op->seals);
    free(op->cmd.seals);
    op->seals = calloc((size_t)count, sizeof *op->seals);
    op->cmd.seals = calloc((size_t)count, sizeof *op->cmd.seals);
    op->seal_count = op->seals != NULL ? count : 0;
    op->cmd.seal_count = count;
    if (op->seals == NULL || op->cmd.seals == NULL)
        return err_sys(&op->e, -ENOMEM, "topic %s: ask its leaders whether it is empty", op->topic->name);
    return 0;
}

/* LOOKING or SEALING. 0: a tick() follows, perhaps before this returns. again: some are led anew, and as likely not
 * known everywhere yet. */
static int ask_leaders(struct command_op *op, enum command_state state, bool again)
{
    enum seal_request seal = op->cmd.type == COMMAND_DELETE_TOPIC ? SEAL_EMPTY : SEAL_AWAITS_NONE;
    struct clock *clock = op->node->clock;
    int rc = make_seals(op);
    if (rc != 0)
        return rc;
    op->state = state;
    atomic_store(&op->seals_rc, 0);
    atomic_store(&op->seals_left, op->seal_count + 1);
    for (int32_t i = 0; i < op->seal_count; i++) {
        if (op->undoes && partition_hold_unmade(topic_partition(op->topic, i), &op->cmd.seals[i])) {
            one_answered(op, 0);
            continue;
        }
        op->seals[i].op = op;
        op->seals[i].ask = (struct ask){.kind = MESSAGE_SEAL,
                                        .epoch = state == COMMAND_LOOKING ? SEAL_LOOK : seal,
                                        .upto = LIMIT_SEAL_MS,
                                        .deadline_ms = alarms_deadline_ms(clock->mono_ms(clock), left_ms(op)),
                                        .to_self = true,
                                        .later = again,
                                        .done = on_asked};
        partition_ask(topic_partition(op->topic, i), &op->seals[i].ask);
    }
    one_answered(op, 0);
    return 0;
}

/* Before anything is sealed for it. */
static int check_level(struct command_op *op)
{
    int rc = metadata_check_level(quorum_acquire(&op->node->quorum), FEATURE_LEVEL_SEALS, &op->e);
    quorum_release(&op->node->quorum);
    if (rc != 0) {
        log_line(LOG_WARNING, "topic %s cannot be %s: %s", op->topic->name,
                 op->cmd.type == COMMAND_DELETE_TOPIC ? "deleted as an empty one" : "given another framing",
                 op->e.text);
    }
    return rc;
}

/* What is in use here is not disturbed elsewhere. As ask_leaders(). */
static int look(struct command_op *op)
{
    op->state = COMMAND_LOOKING;
    int rc = check_held(op);
    if (rc == 0)
        rc = check_level(op);
    if (rc == 0)
        rc = ask_leaders(op, topic_partition_count(op->topic) > 1 ? COMMAND_LOOKING : COMMAND_SEALING, false);
    return rc;
}

/* Prompt work: the answers may come at once. */
static void on_seal(struct work *work)
{
    struct command_op *op = CONTAINER_OF(work, struct command_op, work);
    int rc = look(op);
    if (rc != 0)
        finish(op, rc);
}

static int begin_sealing(struct command_op *op)
{
    op->state = COMMAND_LOOKING;
    op->work.run = on_seal;
    executor_prompt(op->node->executor, &op->work);
    return 0;
}

/* ---- what they have in common ---- */

/* name NULL: MOUNT, "". */
static int begin(struct node *node, struct command_op *op, enum command_type type, const char *name)
{
    op->node = node;
    op->topic = NULL;
    op->seals = NULL;
    op->seal_count = 0;
    op->reserved = false;
    op->undoes = op->votes = false;
    op->e = op->quorum.e = (struct err){0};
    op->begun_ms = node->clock->mono_ms(node->clock);
    op->quorum.proposal = NULL;
    op->cmd = (struct command){.type = type, .time_ms = node->clock->wall_ms(node->clock)};
    if (name == NULL)
        return 0;
    if (strlen(name) >= sizeof op->cmd.topic)
        return err_set(&op->e, -EINVAL, "%s: not a topic's name", name);
    memcpy(op->cmd.topic, name, strlen(name) + 1);
    return 0;
}

/* Of a topic that is there, with a reference to it. */
static int begin_on(struct node *node, struct command_op *op, enum command_type type, const char *name)
{
    int rc = begin(node, op, type, name);
    if (rc != 0)
        return rc;
    op->topic = catalog_find(&node->replicas.catalog, name);
    if (op->topic == NULL)
        return err_set(&op->e, -ENOENT, "no topic %s", name);
    memcpy(op->cmd.id, op->topic->id, UUID_BYTES);
    return 0;
}

/* What a call returns: refused, it is over. */
static int begun(struct command_op *op, int rc)
{
    if (rc != 0)
        give_back(op, rc);
    return rc;
}

/* ---- topics ---- */

int node_create_topic(struct node *node, struct command_op *op, const char *name, const struct tree_attr *attr)
{
    int rc = begin(node, op, COMMAND_CREATE_TOPIC, name);
    op->cmd.attr = *attr;
    op->cmd.attr.mtime_ms = op->cmd.attr.ctime_ms = op->cmd.time_ms;
    if (rc == 0 && (rc = executor_uuid(node->executor, op->cmd.id)) != 0)
        err_sys(&op->e, rc, "choose a topic id");
    if (rc == 0 && topic_name_check(name) != 0)
        rc = err_set(&op->e, -EINVAL, "%s: not a topic's name", name);
    if (rc == 0) {
        const struct metadata *meta = quorum_acquire(&node->quorum);
        int64_t partitions = config_number(config_in_force(&meta->config, NULL, "num.partitions"));
        rc = plan_topic(&op->cmd, meta, (int32_t)partitions, &op->e);
        quorum_release(&node->quorum);
    }
    if (rc == 0)
        rc = decide(op);
    return begun(op, rc);
}

int node_delete_topic(struct node *node, struct command_op *op, const char *name)
{
    struct topic_config config;
    int rc = begin_on(node, op, COMMAND_DELETE_TOPIC, name);
    if (rc == 0) {
        topic_config(op->topic, &config);
        if (config.delete_topic_enable)
            rc = decide(op);
        else
            rc = begin_sealing(op);
    }
    return begun(op, rc);
}

int node_create_partitions(struct node *node, struct command_op *op, const char *name, int32_t count)
{
    int rc = begin_on(node, op, COMMAND_CREATE_PARTITIONS, name);
    if (rc == 0) {
        int32_t have = topic_partition_count(op->topic);
        op->cmd.partitions = count;
        op->cmd.replication_factor = op->topic->replication_factor;
        if (count > 0 && count <= have) {
            rc = err_set(&op->e, -EEXIST, "topic %s has %d partitions already", name, have);
        } else if (count <= 0 || count > LIMIT_TOPIC_PARTITIONS) {
            rc = err_set(&op->e, -EINVAL, "topic %s: %d partitions, it has %d and can have %d", name, count, have,
                         LIMIT_TOPIC_PARTITIONS);
        } else {
            rc = plan_partitions(&op->cmd, quorum_acquire(&node->quorum), count - have, &op->e);
            quorum_release(&node->quorum);
        }
    }
    if (rc == 0)
        rc = decide(op);
    return begun(op, rc);
}

/* ---- where they are, and who leads ---- */

int node_assign_replicas(struct node *node, struct command_op *op, const char *name, int32_t index,
                         const struct replica_set *replicas)
{
    int rc = begin_on(node, op, COMMAND_ASSIGN_REPLICAS, name);
    op->cmd.partition = index;
    op->cmd.replication_factor = op->cmd.replica_count = replicas->count;
    op->cmd.replicas = rc == 0 ? calloc((size_t)replicas->count, sizeof *op->cmd.replicas) : NULL;
    if (rc == 0 && op->cmd.replicas == NULL)
        rc = err_sys(&op->e, -ENOMEM, "replicas of %s-%" PRId32, name, index);
    if (rc == 0) {
        memcpy(op->cmd.replicas, replicas->ids, (size_t)replicas->count * sizeof replicas->ids[0]);
        rc = decide(op);
    }
    return begun(op, rc);
}

int node_set_replication_factor(struct node *node, struct command_op *op, const char *name, int32_t factor)
{
    int rc = begin_on(node, op, COMMAND_ASSIGN_REPLICAS, name);
    if (rc == 0) {
        rc = plan_factor(&op->cmd, quorum_acquire(&node->quorum), factor, &op->e);
        quorum_release(&node->quorum);
    }
    if (rc == 0)
        rc = decide(op);
    return begun(op, rc);
}

int node_set_leader(struct node *node, struct command_op *op, const char *name, int32_t index, int32_t leader)
{
    int rc = begin_on(node, op, COMMAND_CHANGE_PARTITIONS, name);
    if (rc == 0) {
        rc = plan_leader(&op->cmd, quorum_acquire(&node->quorum), index, leader, &op->e);
        quorum_release(&node->quorum);
    }
    if (rc == 0)
        rc = decide(op);
    return begun(op, rc);
}

/* ---- attributes and settings ---- */

int node_set_attr(struct node *node, struct command_op *op, const char *name, const struct tree_attr *attr,
                  unsigned set)
{
    int rc = name != NULL ? begin_on(node, op, COMMAND_SET_ATTR, name) : begin(node, op, COMMAND_SET_ATTR, NULL);
    op->cmd.attr = *attr;
    op->cmd.set = set;
    if (rc == 0)
        rc = decide(op);
    return begun(op, rc);
}

int node_set_config(struct node *node, struct command_op *op, const char *topic, const char *name, const char *value)
{
    enum command_type type = value != NULL ? COMMAND_SET_CONFIG : COMMAND_REMOVE_CONFIG;
    int rc = topic != NULL ? begin_on(node, op, type, topic) : begin(node, op, type, NULL);
    if (rc == 0 && config_find(name) == NULL)
        rc = err_set(&op->e, -EINVAL, "%s: no such setting", name);
    if (rc == 0)
        memcpy(op->cmd.name, name, strlen(name) + 1);
    if (rc == 0 && value != NULL && (rc = config_check(name, value, &op->e)) == 0)
        memcpy(op->cmd.value, value, strlen(value) + 1);
    /* Framing says how to read what is there, so it changes only while nothing is. */
    if (rc == 0)
        rc = topic != NULL && strcmp(name, "framing") == 0 ? begin_sealing(op) : decide(op);
    return begun(op, rc);
}

/* ---- groups ---- */

/* name NULL: `.groups`, "". */
static int begin_group(struct node *node, struct command_op *op, enum command_type type, const char *name)
{
    int rc = begin(node, op, type, NULL);
    if (name != NULL && group_name_check(name) != 0)
        rc = err_set(&op->e, -EINVAL, "%s: not a group's name", name);
    else if (name != NULL)
        memcpy(op->cmd.group, name, strlen(name) + 1);
    return rc;
}

/* The topic of offsets: 1: it is there; 0: op->cmd makes it. */
static int plan_offsets(struct command_op *op)
{
    struct command *cmd = &op->cmd;
    const struct metadata *meta = quorum_acquire(&op->node->quorum);
    int rc = metadata_topic(meta, METADATA_OFFSETS_TOPIC) != NULL;
    if (rc == 0) {
        cmd->type = COMMAND_CREATE_TOPIC;
        memcpy(cmd->topic, METADATA_OFFSETS_TOPIC, sizeof METADATA_OFFSETS_TOPIC);
        cmd->attr = op->node->root_before;
        cmd->attr.file_mode = 0444;
        cmd->attr.mtime_ms = cmd->attr.ctime_ms = cmd->time_ms;
        rc = plan_topic(cmd, meta, METADATA_OFFSETS_PARTITIONS, &op->e);
    }
    quorum_release(&op->node->quorum);
    if (rc == 0 && (rc = executor_uuid(op->node->executor, cmd->id)) != 0)
        err_sys(&op->e, rc, "choose a topic id");
    return rc;
}

int node_create_group(struct node *node, struct command_op *op, const char *name, const struct tree_attr *attr)
{
    int rc = begin_group(node, op, COMMAND_CREATE_GROUP, name);
    op->attr = *attr;
    op->attr.mtime_ms = op->attr.ctime_ms = op->cmd.time_ms;
    if (rc == 0)
        rc = plan_offsets(op);
    if (rc == 0)
        rc = submit(op, COMMAND_PREPARING);
    else if (rc == 1)
        rc = decide_group(op);
    return begun(op, rc);
}

/* Of a group that is there. */
static int begin_on_group(struct node *node, struct command_op *op, enum command_type type, const char *name)
{
    int rc = begin_group(node, op, type, name);
    struct node_group *group = rc == 0 ? node_group(node, name) : NULL;
    if (rc == 0 && group == NULL)
        rc = err_set(&op->e, -ENOENT, "no group %s", name);
    if (rc == 0)
        memcpy(op->cmd.id, group->id, UUID_BYTES);
    if (group != NULL)
        node_group_unref(group);
    return rc;
}

int node_delete_group(struct node *node, struct command_op *op, const char *name, const uint8_t *id)
{
    int rc = begin_on_group(node, op, COMMAND_DELETE_GROUP, name);
    if (rc == 0 && id != NULL && memcmp(id, op->cmd.id, UUID_BYTES) != 0)
        rc = err_set(&op->e, -ENOENT, "group %s is another one by now", name);
    if (rc == 0)
        rc = decide(op);
    return begun(op, rc);
}

int node_set_group_attr(struct node *node, struct command_op *op, const char *name, const struct tree_attr *attr,
                        unsigned set)
{
    int rc = name != NULL ? begin_on_group(node, op, COMMAND_SET_GROUP_ATTR, name)
                          : begin_group(node, op, COMMAND_SET_GROUP_ATTR, NULL);
    op->cmd.attr = *attr;
    op->cmd.set = set;
    if (rc == 0)
        rc = decide(op);
    return begun(op, rc);
}

int node_set_group_config(struct node *node, struct command_op *op, const char *group, const char *name,
                          const char *value)
{
    enum command_type type = value != NULL ? COMMAND_SET_GROUP_CONFIG : COMMAND_REMOVE_GROUP_CONFIG;
    int rc = begin_on_group(node, op, type, group);
    if (rc == 0 && (strlen(name) >= sizeof op->cmd.name || (value != NULL && strlen(value) >= sizeof op->cmd.value)))
        rc = err_set(&op->e, -EINVAL, "%s: no such setting, or its value is too long", name);
    if (rc == 0)
        memcpy(op->cmd.name, name, strlen(name) + 1);
    if (rc == 0 && value != NULL && (rc = group_config_check(name, value, &op->e)) == 0)
        memcpy(op->cmd.value, value, strlen(value) + 1);
    if (rc == 0)
        rc = decide(op);
    return begun(op, rc);
}

/* ---- nodes ---- */

int node_unregister(struct node *node, struct command_op *op, int32_t id)
{
    int rc = begin(node, op, COMMAND_UNREGISTER_NODE, NULL);
    const struct node_registration *known = metadata_node(quorum_acquire(&node->quorum), id);
    op->cmd.registration.id = id;
    op->cmd.registration.epoch = known != NULL ? known->epoch : -1;
    quorum_release(&node->quorum);
    if (rc == 0)
        rc = decide(op); /* where there is no such node, it is refused */
    return begun(op, rc);
}

/* ---- the quorum ---- */

static void on_changed(struct quorum_change *change, int rc)
{
    struct command_op *op = CONTAINER_OF(change, struct command_op, change);
    if (rc != 0)
        op->e = change->e;
    finish(op, rc);
}

int node_change_voters(struct node *node, struct command_op *op, const int32_t *ids, int32_t count)
{
    struct raft_peers nodes = {.count = count};
    int rc = begin(node, op, COMMAND_SET_VOTERS, NULL);
    op->votes = true;
    if (rc == 0 && (count < 1 || count > LIMIT_VOTERS))
        rc = err_set(&op->e, -EINVAL, "the voters are 1, 3 or 5 nodes");
    if (rc != 0)
        return begun(op, rc);
    memcpy(nodes.nodes, ids, (size_t)count * sizeof *ids);
    op->change = (struct quorum_change){.timeout_ms = LIMIT_METADATA_MS, .caller = op->caller, .done = on_changed};
    rc = quorum_change_voters(&node->quorum, &op->change, &nodes);
    if (rc != 0)
        op->e = op->change.e;
    return begun(op, rc);
}

bool node_command_cancel(struct command_op *op)
{
    /* What it takes back was in the log: `undo` is never cancelled. */
    if (op->votes ? !quorum_change_cancel(&op->node->quorum, &op->change)
                  : !quorum_cancel(&op->node->quorum, &op->quorum))
        return false;
    give_back(op, -ECANCELED);
    return true;
}
