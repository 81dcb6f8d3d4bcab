/* replication/replica/isr_changes.c: one command at a time; what comes meanwhile shares the next one. */
#include "replication/replica/isr_changes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"

enum { TIMEOUT_MS = 10000, AGAIN_MS = 1000 };

/* ---- those that may have a change ---- */

void isr_changes_want(struct isr_changes *changes, struct partition *part)
{
    pthread_mutex_lock(&changes->lock);
    bool queued = part->proposal.queued;
    if (!queued) {
        part->proposal.queued = true;
        part->proposal.next = NULL;
        *changes->last = partition_ref(part);
        changes->last = &part->proposal.next;
    }
    pthread_mutex_unlock(&changes->lock);
    mailbox_kick(&changes->box); /* also if it was: there may have been no memory for the command */
}

static struct partition *take(struct isr_changes *changes)
{
    pthread_mutex_lock(&changes->lock);
    struct partition *part = changes->first;
    if (part != NULL) {
        part->proposal.queued = false;
        changes->first = part->proposal.next;
        if (changes->first == NULL)
            changes->last = &changes->first;
    }
    pthread_mutex_unlock(&changes->lock);
    return part;
}

/* ---- proposing ---- */

static int64_t node_epoch(const void *arg, int32_t id)
{
    const struct node_registration *node = metadata_node(arg, id);
    return node == NULL || node->fenced || node->shutting_down ? -1 : node->epoch;
}

/* That the leader waits for, before it takes appends in; 0: none. Under the lock. */
static int32_t wanted_epoch(const struct partition *part)
{
    int32_t seal = partition_seal_wants(part);
    return seal > part->epoch.wanted ? seal : part->epoch.wanted;
}

/* The leader proposes the controller's part: a later epoch, with everything else as it is. Under the lock. */
static bool raise_epoch(struct partition *part, struct partition_change *change)
{
    change->to = part->registration;
    change->to.leader_epoch = wanted_epoch(part);
    for (int i = 0; i < LIMIT_REPLICA_SET; i++)
        change->isr_epochs[i] = -1;
    return true;
}

/* The eligible replicas are so no more: the ISR is large enough to commit something without them. Under the lock. */
static bool clears_eligible(const struct partition *part, const struct election_rules *election)
{
    return part->registration.elr.count > 0 && part->registration.isr.count >= election->min_insync_replicas;
}

/* Who is to be in the ISR, or eligible. Under the lock. */
static bool change_isr(struct partition *part, const struct isr_rules *rules, const struct election_rules *election,
                       struct partition_change *change)
{
    struct replica_set isr;
    bool differs = isr_propose(&part->isr, rules, &isr, change->isr_epochs);

    if (differs || clears_eligible(part, election))
        election_set_isr(&part->registration, &isr, election, &change->to);
    if (differs)
        partition_followers_look(part);
    return differs || clears_eligible(part, election);
}

/* What the partition proposes, by the metadata as it is. raises: another leader epoch, which is the controller's part.
 */
static bool propose(struct partition *part, const struct metadata *meta, struct partition_change *change, bool *raises)
{
    const struct metadata_topic *topic = metadata_topic_by_id(meta, part->topic->id);
    struct election_rules election;
    struct isr_rules rules;
    if (topic == NULL || part->index >= topic->partitions)
        return false;
    metadata_election_rules(meta, topic, part->index, &election);
    partition_note_own(part);
    pthread_mutex_lock(&part->lock);
    partition_isr_rules(part, &rules);
    rules.node_epoch = node_epoch;
    rules.arg = meta;
    bool resigns = !part->proposal.pending && partition_resign(part, meta, &election, change);
    bool proposes = resigns || (partition_leads(part) && !part->proposal.pending);
    *raises = resigns || (proposes && wanted_epoch(part) > part->registration.leader_epoch);
    if (*raises && !resigns)
        proposes = raise_epoch(part, change);
    else if (resigns)
        proposes = true;
    else
        proposes = proposes && atomic_load(&part->epoch.assigned) && change_isr(part, &rules, &election, change);
    if (proposes) {
        part->proposal.pending = true;
        memcpy(change->topic_id, part->topic->id, UUID_BYTES);
        change->index = part->index;
        change->to.partition_epoch++;
    }
    pthread_mutex_unlock(&part->lock);
    return proposes;
}

static void on_done(struct quorum_op *op, int rc)
{
    struct isr_changes *changes = CONTAINER_OF(op, struct isr_changes, op);
    changes->rc = rc;
    atomic_store(&changes->over, true);
    mailbox_kick(&changes->box);
}

static void submit(struct isr_changes *changes)
{
    struct replica_manager *manager = changes->manager;
    changes->state = ISR_CHANGES_PROPOSED;
    changes->op = (struct quorum_op){.timeout_ms = TIMEOUT_MS, .done = on_done};
    changes->command.time_ms = manager->clock->wall_ms(manager->clock);
    int rc = quorum_submit(manager->quorum, &changes->op, &changes->command);
    if (rc != 0)
        on_done(&changes->op, rc);
}

static void take_back(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    isr_take_back(&part->isr);
    part->proposal.pending = false;
    pthread_mutex_unlock(&part->lock);
    partition_recommit(part);
}

static void collect(struct isr_changes *changes)
{
    struct quorum *quorum = changes->manager->quorum;
    struct command *command = &changes->command;
    int32_t most = changes->single ? 1 : ISR_CHANGES_MAX;
    struct partition *part;
    bool raises, raise = false;
    *command = (struct command){.type = COMMAND_CHANGE_PARTITIONS,
                                .node = changes->manager->id,
                                .changes = calloc((size_t)most, sizeof *command->changes)};
    while (command->changes != NULL && command->change_count < most && (part = take(changes)) != NULL) {
        bool proposes = propose(part, quorum_acquire(quorum), &command->changes[command->change_count], &raises);
        bool other = proposes && command->change_count > 0 && raises != raise;
        quorum_release(quorum);
        if (other) { /* with the next command */
            take_back(part);
            isr_changes_want(changes, part);
        }
        if (proposes && !other) {
            raise = raises;
            changes->parts[command->change_count++] = part;
        } else {
            partition_unref(part);
        }
        if (other)
            break;
    }
    if (raise)
        command->node = 0; /* as the controller's: a leader by itself changes no epoch */
    if (command->change_count > 0)
        submit(changes);
    else
        command_free(command);
}

/* ---- its end ---- */

/* Somebody has held the command against the metadata. */
static bool is_judged(int rc)
{
    return rc == 0 || rc == -EAGAIN || rc == -ESTALE || rc == -ENOENT || rc == -EINVAL;
}

/* true: the same has to be proposed again. One that was repeated and not even looked at (-EROFS, while no controller
 * answers) is as unknown as it was; so is one that was under way when this node's quorum failed. */
static bool is_unknown(const struct isr_changes *changes)
{
    return changes->rc == -ETIMEDOUT || changes->rc == -EIO || (changes->repeated && !is_judged(changes->rc));
}

static bool is_pending(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    bool pending = part->proposal.pending;
    pthread_mutex_unlock(&part->lock);
    return pending;
}

/* The next of those in doubt, but for one of which its registration has told meanwhile. false: none is left. */
static bool repeat_next(struct isr_changes *changes)
{
    struct command *command = &changes->command;
    while (changes->doubted > 0) {
        int32_t last = changes->doubted--;
        changes->parts[0] = changes->parts[last];
        command->changes[0] = command->changes[last];
        if (is_pending(changes->parts[0])) {
            submit(changes);
            return true;
        }
        partition_unref(changes->parts[0]);
    }
    return false;
}

/* true: something of it is proposed again. */
static bool settle(struct isr_changes *changes)
{
    struct command *command = &changes->command;
    bool refused = changes->rc != 0, several = command->change_count > 1;
    if (refused && changes->repeated && several) {
        changes->doubted = command->change_count - 1;
        command->change_count = 1;
        submit(changes);
        return true;
    }
    for (int32_t i = 0; i < command->change_count; i++) {
        struct partition *part = changes->parts[i];
        /* Another registration tells of it, or will. */
        bool tells = changes->repeated && changes->rc == -ESTALE;
        if (refused && !tells)
            take_back(part);
        if (refused && several)
            isr_changes_want(changes, part);
        partition_unref(part);
    }
    if (repeat_next(changes))
        return true;
    changes->single = refused;
    changes->repeated = false;
    changes->state = ISR_CHANGES_IDLE;
    command_free(command);
    return false;
}

static void turn(struct mailbox *box, struct mail *list)
{
    struct isr_changes *changes = CONTAINER_OF(box, struct isr_changes, box);
    (void)list;
    switch (changes->state) {
    case ISR_CHANGES_PROPOSED:
        if (!atomic_exchange(&changes->over, false))
            return;
        if (is_unknown(changes)) {
            changes->repeated = true;
            changes->state = ISR_CHANGES_WAITING;
            alarm_set(changes->manager->executor, &changes->again, AGAIN_MS);
        } else if (!settle(changes)) {
            collect(changes);
        }
        return;
    case ISR_CHANGES_WAITING:
        if (atomic_exchange(&changes->over, false))
            submit(changes);
        return;
    case ISR_CHANGES_IDLE:
        collect(changes);
        return;
    }
}

static void on_again(struct alarm *alarm)
{
    struct isr_changes *changes = CONTAINER_OF(alarm, struct isr_changes, again);
    atomic_store(&changes->over, true);
    mailbox_kick(&changes->box);
}

/* ---- life ---- */

void isr_changes_init(struct isr_changes *changes, struct replica_manager *manager)
{
    *changes = (struct isr_changes){.manager = manager};
    changes->last = &changes->first;
    pthread_mutex_init(&changes->lock, NULL);
    alarm_init(&changes->again, WORK_PROMPT, on_again);
    mailbox_init(&changes->box, manager->executor, WORK_PROMPT, turn);
}

void isr_changes_stop(struct isr_changes *changes)
{
    int32_t count = changes->state != ISR_CHANGES_IDLE ? changes->command.change_count + changes->doubted : 0;
    for (int32_t i = 0; i < count; i++)
        partition_unref(changes->parts[i]);
    if (changes->state != ISR_CHANGES_IDLE)
        command_free(&changes->command);
    changes->state = ISR_CHANGES_IDLE;
    for (struct partition *part = take(changes); part != NULL; part = take(changes))
        partition_unref(part);
}

void isr_changes_free(struct isr_changes *changes)
{
    (void)mailbox_free(&changes->box);
    pthread_mutex_destroy(&changes->lock);
}
