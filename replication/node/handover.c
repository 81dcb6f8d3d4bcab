/* replication/node/handover.c: one command a partition at a time: who of those in sync is to lead it. */
#include "replication/node/handover.h"

#include <stdlib.h>
#include <syslog.h>

#include "replication/node/node_commands.h"
#include "replication/node/node_internal.h"

struct handover {
    struct command_op op;
    struct partition *part; /* referenced */
};

/* Of the others in sync with room on their disks the one that has most; 0: none. */
static int32_t choose(struct partition *part)
{
    const struct isr_replica *best = NULL;
    int32_t node;

    pthread_mutex_lock(&part->lock);
    for (int i = 0; i < part->isr.count && partition_leads(part); i++) {
        const struct isr_replica *replica = &part->isr.replicas[i];

        if (replica->id != part->manager->id && replica->in_sync && replica->fetched && !replica->full &&
            (best == NULL || replica->end.offset > best->end.offset)) {
            best = replica;
        }
    }
    node = best != NULL ? best->id : 0;
    pthread_mutex_unlock(&part->lock);
    return node;
}

static void on_done(struct command_op *op, int rc)
{
    struct handover *handover = CONTAINER_OF(op, struct handover, op);
    struct partition *part = handover->part;

    if (rc < 0) {
        log_line(LOG_WARNING, "%s: hand it over: %s", part->name, op->e.text);
    }
    atomic_store(&part->handover_under_way, false);
    free(handover);
    partition_unref(part);
}

static void ask(struct node *node, struct partition *part, int32_t to)
{
    struct handover *handover = calloc(1, sizeof *handover);

    if (handover == NULL) {
        atomic_store(&part->handover_under_way, false);
        return;
    }
    handover->part = partition_ref(part);
    handover->op = (struct command_op){.timeout_ms = LIMIT_HANDOVER_MS, .done = on_done};
    log_line(LOG_WARNING, "%s: this node cannot append, node %d is to lead it", part->name, (int)to);
    int rc = node_set_leader(node, &handover->op, topic_name(part->topic), part->index, to);
    if (rc < 0) {
        on_done(&handover->op, rc);
    }
}

bool node_hand_over(struct node *node, struct partition *part)
{
    int64_t now_ms = node->clock->mono_ms(node->clock), since_ms = atomic_load(&part->handover_since_ms);
    int32_t to = choose(part);

    if (to == 0) {
        return false;
    }
    if (since_ms == 0 || now_ms - since_ms > LIMIT_HANDOVER_AGAIN_MS) {
        since_ms = now_ms;
        atomic_store(&part->handover_since_ms, now_ms);
    }
    if (now_ms - since_ms > LIMIT_HANDOVER_MS) {
        return false;
    }
    if (!atomic_exchange(&part->handover_under_way, true)) {
        ask(node, part, to);
    }
    return true;
}
