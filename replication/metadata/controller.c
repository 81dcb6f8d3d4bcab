/* replication/metadata/controller.c: sessions of nodes, and the looks through the partitions.
 *
 * A look goes from the first partition to the last, a command's worth at a time. Whatever may concern partitions in
 * general (a node fenced, back, or stopping; replicas, settings) makes it begin again; it ends when one whole pass has
 * found nothing to change. So it needs no list of what each node leads, and can lose none. */
#include "replication/metadata/controller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bugs.h"
#include "replication/metadata/plan.h"

enum { LOOK_CHANGES = 1000 /* in one command */ };

/* ---- nodes ---- */

static struct controller_node *find(struct controller *controller, int32_t id)
{
    for (int32_t i = 0; i < controller->count; i++) {
        if (controller->nodes[i].id == id)
            return &controller->nodes[i];
    }
    return NULL;
}

/* A session that begins now. */
static void begin_session(struct controller *controller, int32_t id, int64_t now_ms)
{
    struct controller_node *node = find(controller, id);
    if (node == NULL && controller->count == LIMIT_NODES)
        return; /* the metadata has no more than that */
    if (node == NULL)
        node = &controller->nodes[controller->count++];
    *node = (struct controller_node){.id = id, .heard_ms = now_ms, .applied_offset = -1, .owed_ms = INT64_MAX};
}

static void look_anew(struct controller *controller)
{
    controller->look = true;
    controller->look_topic = 0;
    controller->look_part = 0;
}

static void end_session(struct controller *controller, int32_t id)
{
    struct controller_node *node = find(controller, id);
    if (node != NULL)
        *node = controller->nodes[--controller->count];
}

void controller_init(struct controller *controller, int32_t self, int64_t session_timeout_ms)
{
    *controller =
        (struct controller){.self = self, .session_timeout_ms = session_timeout_ms, .prefer_at_ms = INT64_MAX};
}

void controller_begin(struct controller *controller, const struct metadata *meta, int64_t now_ms)
{
    controller_init(controller, controller->self, controller->session_timeout_ms);
    controller->active = true;
    controller->tick_ms = now_ms + CONTROLLER_TICK_MS;
    controller->elected_offset = meta->next_offset;
    for (size_t i = 0; i < meta->node_count; i++)
        begin_session(controller, meta->nodes[i].id,
                      BUG(session_not_granted) ? now_ms - controller->session_timeout_ms : now_ms);
    look_anew(controller);
    controller->prefer_at_ms = now_ms + CONTROLLER_PREFER_DELAY_MS;
}

void controller_end(struct controller *controller)
{
    controller->active = false;
}

/* What it owes at its heartbeat: what was decided by now, once it has acted upon what was before. While it gets on with
 * that, however slowly, it is not stuck. */
static void note_owed(struct controller_node *node, const struct heartbeat *beat, int64_t decided_offset,
                      int64_t now_ms)
{
    bool gets_on = beat->applied_offset > node->applied_offset || beat->acted_count != node->acted_count;
    node->applied_offset = beat->applied_offset;
    node->acted_count = beat->acted_count;
    if (node->applied_offset < node->owed_offset) {
        if (gets_on)
            node->owed_ms = now_ms;
        return;
    }
    node->owed_offset = decided_offset;
    node->owed_ms = node->applied_offset < decided_offset ? now_ms : INT64_MAX;
}

/* As much later, but not to come. */
static int64_t put_off(int64_t at_ms, int64_t by_ms, int64_t now_ms)
{
    return now_ms - at_ms > by_ms ? at_ms + by_ms : now_ms;
}

/* REPLICATION.md, rule 47. Whose session is over stays so: all of it has passed while this node looked. */
void controller_tick(struct controller *controller, int64_t now_ms)
{
    int64_t missed_ms = now_ms - controller->tick_ms;
    controller->tick_ms = now_ms + CONTROLLER_TICK_MS;
    for (int32_t i = 0; i < controller->count && missed_ms >= LIMIT_STOOD_STILL_MS; i++) {
        struct controller_node *node = &controller->nodes[i];
        node->heard_ms = put_off(node->heard_ms, missed_ms, now_ms);
        if (node->owed_ms != INT64_MAX)
            node->owed_ms = put_off(node->owed_ms, missed_ms, now_ms);
    }
}

bool controller_heartbeat(struct controller *controller, const struct metadata *meta, int64_t now_ms,
                          const struct heartbeat *beat, struct heartbeat_answer *answer)
{
    const struct node_registration *known = metadata_node(meta, beat->node);
    struct controller_node *node = find(controller, beat->node);
    *answer = (struct heartbeat_answer){0};
    /* A node epoch is the offset of the registration's record. */
    if (beat->node_epoch >= meta->next_offset)
        return false;
    if (known == NULL || node == NULL || known->epoch != beat->node_epoch || node->dead)
        return true;
    node->heard_ms = now_ms;
    node->wants_stop = beat->wants_stop;
    note_owed(node, beat, meta->next_offset, now_ms);
    answer->known = true;
    answer->fenced = known->fenced || node->fencing || beat->applied_offset < controller->elected_offset;
    answer->may_stop = known->shutting_down && !controller->look;
    return true;
}

/* The place of a voter's vote about the process; those about another one do not count any more. */
static struct gone_vote *vote_of(struct controller_node *node, uint64_t process, int32_t voter)
{
    struct gone_vote *unused = NULL;
    if (node->gone_process != process)
        memset(node->gone, 0, sizeof node->gone);
    node->gone_process = process;
    for (int32_t i = 0; i < LIMIT_VOTERS; i++) {
        if (node->gone[i].voter == voter)
            return &node->gone[i];
        if (unused == NULL || node->gone[i].at_ms < unused->at_ms)
            unused = &node->gone[i];
    }
    return unused;
}

bool controller_gone_vote(struct controller *controller, const struct metadata *meta, int64_t now_ms, int32_t voter,
                          int32_t node, uint64_t process)
{
    const struct raft_voters *voters = &meta->voters.voters;
    const struct node_registration *known = metadata_node(meta, node);
    struct controller_node *gone = find(controller, node);
    int found = 0;
    if (!controller->active || node == controller->self || known == NULL || gone == NULL || known->process != process ||
        raft_voters_node(voters, voter) == NULL)
        return false;
    *vote_of(gone, process, voter) = (struct gone_vote){.voter = voter, .at_ms = now_ms};
    for (int32_t i = 0; i < LIMIT_VOTERS; i++) {
        found += gone->gone[i].voter != 0 && raft_voters_node(voters, gone->gone[i].voter) != NULL &&
                 now_ms - gone->gone[i].at_ms < CONTROLLER_GONE_MS;
    }
    if (found < raft_voters_majority(voters))
        return false;
    controller_gone(controller, meta, node, process);
    return true;
}

void controller_gone(struct controller *controller, const struct metadata *meta, int32_t node, uint64_t process)
{
    const struct node_registration *known = metadata_node(meta, node);
    struct controller_node *gone = find(controller, node);
    if (known != NULL && gone != NULL && known->process == process)
        gone->dead = true;
}

void controller_applied(struct controller *controller, const struct metadata *meta, const struct command *cmd,
                        int64_t now_ms)
{
    if (!controller->active)
        return;
    switch (cmd->type) {
    case COMMAND_REGISTER_NODE:
        begin_session(controller, cmd->registration.id, now_ms);
        look_anew(controller);
        break;
    case COMMAND_UNREGISTER_NODE:
        end_session(controller, cmd->registration.id);
        break;
    case COMMAND_CHANGE_NODE:
        look_anew(controller);
        if (!cmd->registration.fenced)
            controller->prefer_at_ms = now_ms + CONTROLLER_PREFER_DELAY_MS;
        break;
    case COMMAND_CREATE_TOPIC:
    case COMMAND_DELETE_TOPIC:
    case COMMAND_CREATE_PARTITIONS:
    case COMMAND_ASSIGN_REPLICAS:
        /* Places of topics have moved, and a partition may have been made for nodes that are gone by now. */
        look_anew(controller);
        break;
    case COMMAND_SET_CONFIG:
    case COMMAND_REMOVE_CONFIG:
        if (strcmp(cmd->name, "unclean.leader.election.enable") == 0)
            look_anew(controller);
        break;
    case COMMAND_CHANGE_PARTITIONS:
        /* What a leader has changed may be the end of a move. */
        if (cmd->node != 0)
            look_anew(controller);
        else
            controller->elected_offset = meta->next_offset;
        break;
    case COMMAND_SET_PARTITIONS:
    case COMMAND_SET_ATTR:
    case COMMAND_PRODUCER_IDS:
    case COMMAND_BEGIN_EPOCH:
    case COMMAND_SET_VOTERS:
    case COMMAND_CREATE_GROUP:
    case COMMAND_DELETE_GROUP:
    case COMMAND_SET_GROUP_ATTR:
    case COMMAND_SET_GROUP_CONFIG:
    case COMMAND_REMOVE_GROUP_CONFIG:
    case COMMAND_TYPES:
        break;
    }
}

/* ---- what nodes need ---- */

static void change_node(struct command *out, const struct node_registration *node, bool fenced, bool shutting_down)
{
    *out = (struct command){.type = COMMAND_CHANGE_NODE};
    out->registration.id = node->id;
    out->registration.epoch = node->epoch;
    out->registration.fenced = fenced;
    out->registration.shutting_down = shutting_down;
}

/* When its session ends, as of what was heard of it; INT64_MAX: not by time. */
static int64_t session_end_ms(const struct controller *controller, const struct controller_node *node)
{
    int64_t silent_ms = node->heard_ms + controller->session_timeout_ms;
    int64_t late_ms = node->owed_ms != INT64_MAX ? node->owed_ms + CONTROLLER_LATE_MS : INT64_MAX;
    if (node->id == controller->self)
        return INT64_MAX;
    return late_ms < silent_ms ? late_ms : silent_ms;
}

/* The change that this node's session asks for, if there is one (REPLICATION.md, rule 47). */
static bool next_of_node(const struct controller *controller, struct controller_node *node,
                         const struct node_registration *known, int64_t now_ms, struct command *out)
{
    bool over = node->dead || now_ms >= session_end_ms(controller, node);
    node->fencing = !known->fenced && (over || node->fencing);
    if (node->fencing) {
        change_node(out, known, true, known->shutting_down);
        return true;
    }
    if (over)
        return false;
    if (!known->fenced && node->wants_stop && !known->shutting_down) {
        change_node(out, known, false, true);
        return true;
    }
    /* It has applied its own registration: what it is to lead and to follow it knows. */
    if (known->fenced && !node->wants_stop && node->applied_offset > known->epoch) {
        change_node(out, known, false, false);
        return true;
    }
    return false;
}

static bool next_node(struct controller *controller, const struct metadata *meta, int64_t now_ms, struct command *out)
{
    for (size_t i = 0; i < meta->node_count; i++) {
        struct controller_node *node = find(controller, meta->nodes[i].id);
        if (node != NULL && next_of_node(controller, node, &meta->nodes[i], now_ms, out))
            return true;
    }
    return false;
}

/* ---- what partitions need ---- */

typedef bool (*settle_fn)(const struct partition_registration *part, const struct election_nodes *nodes,
                          const struct election_rules *rules, struct partition_registration *out);

/* A partition's next state as a change, with the epochs that it gets. */
static void add_change(struct command *out, const struct metadata_topic *topic, int32_t index,
                       const struct partition_registration *to)
{
    const struct partition_registration *from = &topic->parts[index];
    struct partition_change *change = &out->changes[out->change_count++];
    memcpy(change->topic_id, topic->id, UUID_BYTES);
    change->index = index;
    change->to = *to;
    change->to.partition_epoch = from->partition_epoch + 1;
    change->to.leader_epoch = from->leader_epoch + (to->leader != from->leader);
    for (int32_t i = 0; i < LIMIT_REPLICA_SET; i++)
        change->isr_epochs[i] = -1;
}

/* Looks from (*at_topic, *at_part) on until it has `most` changes. 1: there are some; 0: there were none to the end. */
static int look_through(const struct metadata *meta, settle_fn settle, int32_t most, size_t *at_topic, int32_t *at_part,
                        struct command *out)
{
    struct election_nodes nodes = metadata_election_nodes(meta);
    struct partition_registration to;
    *out = (struct command){.type = COMMAND_CHANGE_PARTITIONS};
    out->changes = calloc((size_t)most, sizeof *out->changes);
    if (out->changes == NULL)
        return -ENOMEM;
    for (; *at_topic < meta->topic_count; ++*at_topic, *at_part = 0) {
        const struct metadata_topic *topic = meta->topics[*at_topic];
        for (; *at_part < topic->partitions; ++*at_part) {
            struct election_rules rules;
            if (out->change_count == most)
                return 1;
            metadata_election_rules(meta, topic, *at_part, &rules);
            if (settle(&topic->parts[*at_part], &nodes, &rules, &to))
                add_change(out, topic, *at_part, &to);
        }
    }
    if (out->change_count > 0)
        return 1;
    command_free(out);
    return 0;
}

/* A pass that has changed something is followed by another: what it proposed may have been refused. */
static int next_look(struct controller *controller, const struct metadata *meta, struct command *out)
{
    bool whole = controller->look_topic == 0 && controller->look_part == 0;
    int rc = look_through(meta, election_settle, LOOK_CHANGES, &controller->look_topic, &controller->look_part, out);
    if (rc == 0 && whole)
        controller->look = false;
    if (controller->look_topic >= meta->topic_count)
        controller->look_topic = 0;
    if (rc != 0 || whole)
        return rc;
    return next_look(controller, meta, out);
}

static int next_preferred(struct controller *controller, const struct metadata *meta, int64_t now_ms,
                          struct command *out)
{
    int rc = look_through(meta, election_prefer, CONTROLLER_PREFER_COUNT, &controller->prefer_topic,
                          &controller->prefer_part, out);
    bool over = controller->prefer_topic >= meta->topic_count;
    if (over)
        controller->prefer_topic = 0;
    controller->prefer_at_ms = over ? INT64_MAX : now_ms + CONTROLLER_PREFER_PAUSE_MS;
    return rc;
}

/* The cluster's own topic has as many replicas as topics get by default, once there are so many nodes: it was made when
 * the first group was, maybe by a node that was alone. */
static int next_internal(const struct metadata *meta, struct command *out)
{
    const struct metadata_topic *topic = metadata_topic(meta, METADATA_OFFSETS_TOPIC);
    int32_t factor = metadata_default_factor(meta);
    if (topic == NULL || topic->replication_factor >= factor || (size_t)factor > meta->node_count)
        return 0;
    *out = (struct command){.type = COMMAND_ASSIGN_REPLICAS};
    memcpy(out->topic, topic->name, sizeof out->topic);
    memcpy(out->id, topic->id, UUID_BYTES);
    int rc = plan_factor(out, meta, factor, NULL);
    if (rc == 0 && metadata_check(meta, out, NULL) == 0)
        return 1;
    command_free(out);
    return rc == -ENOMEM ? rc : 0; /* it moves; with its next change it is looked at again */
}

int controller_next(struct controller *controller, const struct metadata *meta, int64_t now_ms, struct command *out)
{
    int rc = 0;
    if (!controller->active)
        return 0;
    if (next_node(controller, meta, now_ms, out))
        return 1;
    if (controller->look)
        rc = next_look(controller, meta, out);
    if (rc == 0)
        rc = next_internal(meta, out);
    if (rc == 0 && now_ms >= controller->prefer_at_ms)
        rc = next_preferred(controller, meta, now_ms, out);
    return rc;
}

int64_t controller_deadline_ms(const struct controller *controller, const struct metadata *meta)
{
    int64_t deadline_ms = controller->prefer_at_ms;
    if (!controller->active)
        return INT64_MAX;
    for (int32_t i = 0; i < controller->count; i++) {
        const struct controller_node *node = &controller->nodes[i];
        const struct node_registration *known = metadata_node(meta, node->id);
        int64_t end_ms = session_end_ms(controller, node);
        if (known != NULL && !known->fenced && end_ms < deadline_ms)
            deadline_ms = end_ms;
    }
    return deadline_ms;
}
