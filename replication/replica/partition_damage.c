/* replication/replica/partition_damage.c: a replica that is of no use to the others says so itself. One whose log is
 * damaged gives itself up and fetches all of it again (REPLICATION.md, rule 54); one that cannot write, its log being
 * offline or its disk hanging, withdraws until it can (rule 56).
 *
 *     WHOLE --- wrong bytes are met below its end, or it could not be opened for them ---> DAMAGED
 *       ^                                                                                    |
 *       |         decided: it is in no set, in a leader epoch in which it has said nothing   |
 *       +--- the log is dropped, durably --- RESIGNED <--------------------------------------+
 *
 * That it is damaged is the log's to say (log_is_damaged()); the beat looks. What is proposed is compare-and-set, as a
 * change of the ISR is, and takes a new leader epoch with it: what the leader knows of this replica is forgotten with
 * the old one, so that it cannot come back into the ISR by what its log was before. RESIGNED it follows, and the first
 * fetch of that epoch is said by a log that is empty.
 *
 * Who cannot write withdraws in the same way: out of ISR and eligible replicas, in a new leader epoch in which it says
 * nothing before it can write again. It asks for that with each beat until it is so, whether anything is appended or
 * not; who leads and is asked to append does not wait for the beat (node/handover.c).
 *
 * Failure: a sole member of an ISR stays as it is, and says so once if it is damaged. A drop that the disk fails at is
 * the last one until the next start; one that fails otherwise, on a full disk the reserve being used up, is tried again
 * with the next fetch. */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "engine/recover/log_open.h"
#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"

static bool is_damaged(const struct partition *part)
{
    return part->log != NULL && atomic_load(&part->replica) != REPLICA_ELSEWHERE && log_is_damaged(part->log);
}

static bool is_in_a_set(const struct partition_registration *registration, int32_t id)
{
    return registration->leader == id || replica_set_has(&registration->isr, id) ||
           replica_set_has(&registration->elr, id) || replica_set_has(&registration->last_isr, id);
}

bool partition_hangs(const struct partition *part)
{
    return atomic_load(&part->busy.beats) >= LIMIT_STUCK_MS / LIMIT_BEAT_MS;
}

bool partition_cannot_write(const struct partition *part)
{
    return atomic_load(&part->replica) != REPLICA_ELSEWHERE &&
           (part->log == NULL || log_offline(part->log) != 0 || partition_hangs(part));
}

/* Under the lock. */
static bool is_to_withdraw(const struct partition *part)
{
    int32_t self = part->manager->id;

    return partition_cannot_write(part) &&
           (replica_set_has(&part->registration.isr, self) || replica_set_has(&part->registration.elr, self));
}

void partition_damage_tick(struct partition *part)
{
    bool wants;

    pthread_mutex_lock(&part->lock);
    wants = is_damaged(part) ? !atomic_load(&part->damage.resigned) : is_to_withdraw(part);
    pthread_mutex_unlock(&part->lock);
    if (wants)
        isr_changes_want(&part->manager->changes, part);
}

static bool resign(struct partition *part, const struct election_nodes *nodes, const struct election_rules *rules,
                   struct partition_change *change)
{
    int32_t self = part->manager->id;
    bool proposes;

    if (atomic_load(&part->damage.resigned) || !replica_set_has(&part->registration.replicas, self))
        return false;
    proposes = election_resign(&part->registration, self, nodes, rules, &change->to);
    if (!proposes && !part->damage.told) {
        log_line(LOG_CRIT, "%s: its log is damaged, and no other replica is known to have all of it: it stays as it is",
                 part->name);
    }
    part->damage.told = true;
    return proposes;
}

bool partition_resign(struct partition *part, const struct metadata *meta, const struct election_rules *rules,
                      struct partition_change *change)
{
    struct election_nodes nodes = metadata_election_nodes(meta);
    bool proposes = false;

    if (is_damaged(part))
        proposes = resign(part, &nodes, rules, change);
    else if (is_to_withdraw(part))
        proposes = election_withdraw(&part->registration, part->manager->id, &nodes, rules, &change->to);
    for (int i = 0; i < LIMIT_REPLICA_SET; i++)
        change->isr_epochs[i] = -1;
    return proposes;
}

void partition_damage_decided(struct partition *part, bool new_epoch)
{
    bool out = !is_in_a_set(&part->registration, part->manager->id);

    if (out && new_epoch && is_damaged(part))
        atomic_store(&part->damage.resigned, true);
    else if (!out)
        atomic_store(&part->damage.resigned, false);
}

static int drop(struct partition *part, int32_t epoch, struct err *e)
{
    int rc;

    if (log_offline(part->log) != -EBADMSG)
        return log_reset(part->log, epoch, (struct log_point){0, 0}, -1, e);
    rc = partition_make_anew(part, e);
    return rc == 0 ? log_follow(part->log, epoch, e) : rc;
}

int partition_drop(struct partition *part, int32_t epoch, struct err *e)
{
    struct reserve *reserve = part->manager->reserve;
    int rc;

    if (atomic_load(&part->refused.drop_rc) == 0) {
        log_line(LOG_WARNING, "%s: its log is damaged: it is dropped and fetched again from node %d", part->name,
                 (int)part->registration.leader);
    }
    partition_shown_keep(part);
    rc = drop(part, epoch, e);
    if (reserve_begin(reserve, rc)) {
        rc = drop(part, epoch, e);
        reserve_end(reserve);
    }
    if (rc == -EIO)
        atomic_store(&part->damage.failed, true);
    if (rc != 0)
        return rc;
    partition_lower_mark(part, log_end(part->log), log_start(part->log));
    pthread_mutex_lock(&part->lock);
    part->damage.told = false;
    pthread_mutex_unlock(&part->lock);
    atomic_store(&part->damage.resigned, false);
    return 0;
}
