/* replication/node/handover.c: one command a partition at a time: who of those in sync is to lead it, and that this
 * node, where it cannot write at all, is in sync no more: nobody waits for it then. */
#include "replication/node/handover.h"

#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "replication/node/node_commands.h"
#include "replication/node/node_internal.h"

struct handover {
    struct quorum_op withdrawal;
    struct command_op op;
    struct node *node;
    struct partition *part; /* referenced */
};

/* Of the others in sync with room on their disks the one that has most; 0: none. Each has all that is committed, also
 * one of which this node has heard nothing yet since it leads. */
static int32_t choose(struct partition *part)
{
    const struct isr_replica *best = NULL;
    int32_t node;

    pthread_mutex_lock(&part->lock);
    for (int i = 0; i < part->isr.count && partition_leads(part); i++) {
        const struct isr_replica *replica = &part->isr.replicas[i];

        if (replica->id != part->manager->id && replica->in_sync && !replica->full &&
            (best == NULL || replica->end.offset > best->end.offset)) {
            best = replica;
        }
    }
    node = best != NULL ? best->id : 0;
    pthread_mutex_unlock(&part->lock);
    return node;
}

static void end(struct handover *handover, int rc, const struct err *e)
{
    struct partition *part = handover->part;

    if (rc < 0) {
        atomic_store(&part->handover.next_ms,
                     handover->node->clock->mono_ms(handover->node->clock) + LIMIT_HANDOVER_PAUSE_MS);
        if (!atomic_exchange(&part->handover.failure_told, true)) {
            log_line(LOG_WARNING, "%s: hand it over: %s", part->name, e->text);
        }
    }
    atomic_store(&part->handover.under_way, false);
    free(handover);
    partition_unref(part);
}

static void on_done(struct command_op *op, int rc)
{
    end(CONTAINER_OF(op, struct handover, op), rc, &op->e);
}

static void on_withdrawn(struct quorum_op *op, int rc)
{
    end(CONTAINER_OF(op, struct handover, withdrawal), rc, &op->e);
}

static struct handover *begin(struct node *node, struct partition *part)
{
    struct handover *handover = calloc(1, sizeof *handover);

    if (handover == NULL) {
        atomic_store(&part->handover.under_way, false);
        return NULL;
    }
    handover->node = node;
    handover->part = partition_ref(part);
    return handover;
}

/* That node has room: it is to lead, and this one follows it. */
static void ask(struct node *node, struct partition *part, int32_t to)
{
    struct handover *handover = begin(node, part);

    if (handover == NULL) {
        return;
    }
    handover->op = (struct command_op){.timeout_ms = LIMIT_HANDOVER_MS, .done = on_done};
    if (!atomic_exchange(&part->handover.told, true)) {
        log_line(LOG_WARNING, "%s: this node cannot append, node %d is to lead it", part->name, (int)to);
    }
    int rc = node_set_leader(node, &handover->op, topic_name(part->topic), part->index, to);
    if (rc < 0) {
        on_done(&handover->op, rc);
    }
}

/* false: nobody else could lead. */
static bool plan_withdrawal(struct node *node, struct partition *part, struct partition_change *change)
{
    const struct metadata *meta = quorum_acquire(&node->quorum);
    const struct metadata_topic *topic = metadata_topic_by_id(meta, part->topic->id);
    struct election_rules rules;
    bool leads = false;

    if (topic != NULL && part->index < topic->partitions) {
        metadata_election_rules(meta, topic, part->index, &rules);
        pthread_mutex_lock(&part->lock);
        leads = partition_leads(part) && partition_resign(part, meta, &rules, change);
        pthread_mutex_unlock(&part->lock);
    }
    quorum_release(&node->quorum);
    if (!leads) {
        return false;
    }
    memcpy(change->topic_id, part->topic->id, UUID_BYTES);
    change->index = part->index;
    change->to.partition_epoch++;
    return true;
}

static void withdraw(struct node *node, struct partition *part, struct partition_change *change)
{
    struct handover *handover = begin(node, part);
    struct command cmd = {.type = COMMAND_CHANGE_PARTITIONS,
                          .changes = change,
                          .change_count = 1,
                          .time_ms = node->clock->wall_ms(node->clock)};

    if (handover == NULL) {
        return;
    }
    handover->withdrawal = (struct quorum_op){.timeout_ms = LIMIT_HANDOVER_MS, .done = on_withdrawn};
    if (!atomic_exchange(&part->handover.told, true)) {
        log_line(LOG_WARNING, "%s: this node cannot write, node %d is to lead it", part->name, (int)change->to.leader);
    }
    int rc = quorum_submit(&node->quorum, &handover->withdrawal, &cmd);
    if (rc < 0) {
        on_withdrawn(&handover->withdrawal, rc);
    }
}

bool node_hand_over(struct node *node, struct partition *part)
{
    int64_t now_ms = node->clock->mono_ms(node->clock), since_ms = atomic_load(&part->handover.since_ms);
    struct partition_change change;
    bool withdraws = partition_cannot_write(part);
    int32_t to = 0;

    if (withdraws ? !plan_withdrawal(node, part, &change) : (to = choose(part)) == 0) {
        return false;
    }
    if (since_ms == 0 || now_ms - since_ms > LIMIT_HANDOVER_AGAIN_MS) {
        since_ms = now_ms;
        atomic_store(&part->handover.since_ms, now_ms);
        atomic_store(&part->handover.next_ms, now_ms);
        atomic_store(&part->handover.told, false);
        atomic_store(&part->handover.failure_told, false);
    }
    if (now_ms - since_ms > LIMIT_HANDOVER_MS) {
        return false;
    }
    /* Each append that meets it comes here, and again and again. */
    if (now_ms < atomic_load(&part->handover.next_ms) || atomic_exchange(&part->handover.under_way, true)) {
        return true;
    }
    if (withdraws) {
        withdraw(node, part, &change);
    } else {
        ask(node, part, to);
    }
    return true;
}
