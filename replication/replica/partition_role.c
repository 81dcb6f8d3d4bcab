/* replication/replica/partition_role.c: what this node is for a partition: its leader, a follower of another node, or
 * neither.
 *
 *            +---- another leads, this is a replica ----> FOLLOWER ----+
 *            |         ^                                    |          |
 *     NONE --+         | another leads                      | elected  +--- no leader, or no replica any more ---> NONE
 *            |         |                                    v          |
 *            +---- elected -------------------------------> LEADER ----+
 *
 * And what there is of it here, to be read:
 *
 *     ELSEWHERE --- becomes a replica ---> CATCHING_UP --- comes into the ISR, or follows nobody ---> HERE
 *         ^                                   |   ^                                                   |
 *         |                                   |   +--- follows, and is not in the ISR: others know ---+
 *         +--- is a replica no more ----------+        more than its replica may for long
 *              (from HERE, too)
 *
 * The applied metadata alone decides it (REPLICATION.md, rule 31), each change of it in its order: whoever learns that
 * the leader is another one by other ways only waits for that. Under the life lock and the lock; who holds either one
 * sees the role and its epoch together.
 *
 * Of two leaderships between which it missed what came (a snapshot in the place of records) the first ends, too.
 *
 * A leader that is one no more: its log follows first, so that no append of the old epoch is under way any more; then
 * what waits at the high watermark is told, before anything of the log may be cut. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <syslog.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/replica/remote.h"

static enum partition_role role_by(const struct partition_registration *registration, int32_t self)
{
    if (registration->leader == self)
        return ROLE_LEADER;
    return registration->leader != LEADER_NONE && replica_set_has(&registration->replicas, self) ? ROLE_FOLLOWER
                                                                                                 : ROLE_NONE;
}

static enum partition_replica replica_by(const struct partition *part,
                                         const struct partition_registration *registration)
{
    int32_t self = part->manager->id;
    if (partition_is_elsewhere(part, registration))
        return REPLICA_ELSEWHERE;
    return role_by(registration, self) == ROLE_FOLLOWER && !replica_set_has(&registration->isr, self)
               ? REPLICA_CATCHING_UP
               : REPLICA_HERE;
}

/* A log that has no replica elsewhere is led in a new epoch after each unclean stop (rule 3), which the cluster need
 * not know; so its epoch may be ahead. */
int32_t partition_epoch_by(const struct partition_registration *registration, int32_t own)
{
    return registration->replicas.count == 1 && own > registration->leader_epoch ? own : registration->leader_epoch;
}

/* Nothing of an epoch before this one comes into the log from here on, of our own or copied. The life lock is held. */
static void fence_off(struct partition *part, int32_t epoch)
{
    struct err e = {0};
    if (part->log != NULL && log_follow(part->log, epoch, &e) != 0)
        log_line(LOG_ERR, "%s", e.text);
}

/* Without memory for it no follower is served, and the next registration tries again. The life lock is held. */
static void make_followers(struct partition *part)
{
    if (atomic_load(&part->followers) == NULL)
        atomic_store(&part->followers, calloc(PARTITION_FOLLOWERS, sizeof(struct follower)));
    if (atomic_load(&part->followers) == NULL)
        log_line(LOG_ERR, "%s: out of memory: it cannot serve its followers", part->name);
}

/* Its leader is asked, or those that it leads are looked at again. */
static void begin(struct partition *part)
{
    struct replica_manager *manager = part->manager;
    pthread_mutex_lock(&part->lock);
    int32_t leader = part->fetch.leader;
    pthread_mutex_unlock(&part->lock);
    struct replica_peer *peer = leader != 0 ? manager_peer(manager, leader) : NULL;
    if (peer != NULL)
        fetcher_want(&peer->fetcher, part);
    if (partition_leads(part))
        manager_look_again(manager);
}

/* Under the lock. */
static void set_min_insync(struct partition *part)
{
    const struct partition_registration *registration = &part->registration;
    int32_t min = atomic_load(&part->settings.min_insync_config);
    int32_t replicas = registration->target.count > 0 ? registration->target.count : registration->replicas.count;
    atomic_store(&part->settings.min_insync_replicas, min != 0 ? min : (replicas + 1) / 2);
}

void partition_set_min_insync(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    set_min_insync(part);
    pthread_mutex_unlock(&part->lock);
}

/* The registration is not the one that is in force. The life lock is held. Returns whether a leadership has ended. */
static bool become(struct partition *part, const struct partition_registration *registration)
{
    struct replica_manager *manager = part->manager;
    enum partition_role before = partition_role(part), after = role_by(registration, manager->id);
    int32_t epoch = partition_epoch_by(registration, atomic_load(&part->leader_epoch));
    bool again = part->registered && after == before && epoch == atomic_load(&part->leader_epoch);
    /* Of what came in between (a snapshot in the place of records) nothing is known. */
    bool was_in_sync = part->registered && replica_set_has(&part->registration.isr, manager->id) &&
                       registration->partition_epoch == part->registration.partition_epoch + 1;
    int64_t now_ms = manager->clock->mono_ms(manager->clock), flushed;

    if (before != ROLE_NONE && after != ROLE_LEADER && !again)
        fence_off(part, epoch);
    if (after == ROLE_LEADER && registration->replicas.count > 1)
        make_followers(part);
    if (atomic_load(&part->replica) != REPLICA_ELSEWHERE && partition_is_elsewhere(part, registration))
        partition_shown_keep(part);
    /* First: who flushes alone looks at it behind that (partition_flush.c). */
    if (registration->replicas.count > 1)
        atomic_store(&part->replicated, true);
    flushed = part->log != NULL ? log_recovery_point(part->log) : INT64_MAX;
    pthread_mutex_lock(&part->lock);
    if (part->registration.replicas.count == 1)
        isr_promise(&part->isr, flushed);
    bool epoch_moved = part->registration.leader_epoch != registration->leader_epoch;
    part->registration = *registration;
    part->registered = true;
    if (epoch_moved)
        partition_seal_broken(part);
    set_min_insync(part);
    atomic_store(&part->replica, replica_by(part, registration));
    isr_decide(&part->isr, &registration->replicas, &registration->isr);
    atomic_store(&part->replicated, registration->replicas.count > 1);
    if (!again) {
        if (before == ROLE_LEADER && after != ROLE_LEADER)
            atomic_store(&part->forward.handing_over, true);
        atomic_store(&part->leader_epoch, epoch);
        atomic_store(&part->epoch.assigned, false);
        if (after == ROLE_LEADER && before != ROLE_LEADER)
            part->epoch.led_since = epoch;
        struct log_point end = part->isr.replicas[0].end;
        if (after == ROLE_LEADER)
            isr_begin(&part->isr, was_in_sync ? flushed : INT64_MAX, now_ms);
        partition_followers_reset(part);
        atomic_store(&part->epoch.wanted, 0);
        fetch_follow(&part->fetch, after == ROLE_FOLLOWER ? registration->leader : 0, epoch, 0);
        atomic_store(&part->role, after);
        partition_shown_begin(part, was_in_sync);
        /* Its only replica has been so since it was opened: where it ends is known, unless it may be cut. */
        if (after == ROLE_LEADER && before == ROLE_NONE && part->isr.count == 1 && !partition_asks_shown(part))
            isr_advance(&part->isr, manager->id, end);
    }
    part->proposal.pending = false;
    partition_followers_look(part);
    partition_damage_decided(part, !again);
    partition_hold_look(part);
    pthread_mutex_unlock(&part->lock);
    return before == ROLE_LEADER && after != ROLE_LEADER;
}

/* Acts on it, which is not the one in force. */
static void act(struct partition *part, const struct partition_registration *registration)
{
    bool ended;
    pthread_mutex_lock(&part->life_lock);
    ended = become(part, registration);
    pthread_mutex_unlock(&part->life_lock);
    if (ended)
        partition_depose(part);
    else
        partition_forward_look(part);
    partition_fail_if_offline(part); /* with nobody else in sync by now nobody else answers what waits */
    partition_ask_look(part, true);
    partition_insync_look(part, false);
}

/* It leads, and is to lead on, but another one may have in between: it did not see each change (a snapshot in the place
 * of records). Each end of a leadership raises the epoch, and so does the next one's begin. */
static bool has_missed_its_end(const struct partition *part, const struct partition_registration *registration)
{
    return part->registered && partition_leads(part) && registration->leader == part->manager->id &&
           registration->partition_epoch != part->registration.partition_epoch + 1 &&
           registration->leader_epoch > atomic_load(&part->leader_epoch) + 1;
}

/* The least that came in between: nobody leads, and who is in sync is not known. */
static void end_leadership(struct partition *part, const struct partition_registration *registration)
{
    struct partition_registration between = *registration;
    between.leader = LEADER_NONE;
    between.isr.count = 0;
    between.leader_epoch--;
    between.partition_epoch--;
    act(part, &between);
}

void partition_set_registration(struct partition *part, const struct partition_registration *registration)
{
    bool first = !part->registered;
    if (part->registered && partition_registration_equal(&part->registration, registration))
        return;
    if (has_missed_its_end(part, registration))
        end_leadership(part, registration);
    act(part, registration);
    remote_moved(part);
    if (registration->replicas.count > 1 && !part->topic->own) {
        manager_add(part->manager, part);
        begin(part);
    }
    /* With one replica and a registration that is the first, nobody has waited for it. */
    if (!first || registration->replicas.count > 1)
        topic_resume(part->topic);
}

void partition_come_back(struct partition *part)
{
    pthread_mutex_lock(&part->life_lock);
    pthread_mutex_lock(&part->lock);
    atomic_store(&part->replica, REPLICA_HERE);
    pthread_mutex_unlock(&part->lock);
    pthread_mutex_unlock(&part->life_lock);
}

enum partition_role partition_role(const struct partition *part)
{
    return (enum partition_role)atomic_load_explicit(&part->role, memory_order_acquire);
}

bool partition_has_others(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    const struct replica_set *replicas = &part->registration.replicas;
    bool others = replicas->count > 1 || !replica_set_has(replicas, part->manager->id);
    pthread_mutex_unlock(&part->lock);
    return others;
}

int partition_lags(struct partition *part, struct partition_lag out[LIMIT_REPLICA_SET])
{
    struct log_point start = partition_log_start(part), end = partition_log_end(part);
    int64_t now_ms = manager_now_ms(part->manager);
    int count = 0;
    pthread_mutex_lock(&part->lock);
    for (int i = 0; partition_leads(part) && i < part->isr.count; i++) {
        const struct isr_replica *replica = &part->isr.replicas[i];
        if (replica->id == part->manager->id)
            continue;
        int64_t at = replica->fetched && replica->end.offset > start.offset ? replica->end.offset : start.offset;
        out[count++] = (struct partition_lag){.replica = replica->id,
                                              .records = at < end.offset ? end.offset - at : 0,
                                              .heard_ms = replica->fetched ? now_ms - replica->heard_ms : -1};
    }
    pthread_mutex_unlock(&part->lock);
    return count;
}

int partition_epoch_end(struct partition *part, int32_t epoch, int32_t *now, int64_t *end)
{
    struct log_point log_ends, ended;
    int32_t found;

    *now = atomic_load(&part->leader_epoch);
    if (!partition_leads(part) || *now < epoch)
        return 0;
    int rc = partition_reach(part, NULL);
    if (rc != 0)
        return rc;
    rc = partition_settle(part);
    if (rc <= 0)
        return rc;
    log_epoch_end(part->log, epoch, &found, &ended);
    log_ends = log_end(part->log);
    if (ended.offset < 0)
        ended = log_ends; /* it is later than all that have begun */
    /* Behind what was shown and lost, and what was removed since, there may be nothing for a while. */
    rc = ended.offset < log_ends.offset ? log_lookup_offset(part->log, ended.offset, log_ends, &ended, NULL) : 0;
    if (rc < 0)
        return rc;
    *end = ended.offset;
    return partition_leads(part) && atomic_load(&part->leader_epoch) == *now;
}

int32_t partition_leader_epoch(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    bool leads = part->registration.leader == part->manager->id;
    int32_t epoch = leads ? atomic_load(&part->leader_epoch) : part->registration.leader_epoch;
    pthread_mutex_unlock(&part->lock);
    return epoch;
}

void partition_info(struct partition *part, struct partition_info *out)
{
    bool usable = partition_state(part) == 0;
    pthread_mutex_lock(&part->lock);
    *out = (struct partition_info){.leader = part->registration.leader,
                                   .leader_epoch = part->registration.leader_epoch,
                                   .replicas = part->registration.replicas,
                                   .isr = part->registration.isr};
    pthread_mutex_unlock(&part->lock);
    replica_set_sort(&out->isr);
    if (out->leader != part->manager->id)
        return;
    out->leader_epoch = atomic_load(&part->leader_epoch);
    if (!usable)
        out->leader = LEADER_NONE;
}
