/* replication/replica/partition_seal.c: a partition that was found empty, and stays so until that was decided upon
 * (REPLICATION.md, rule 58).
 *
 *     OPEN --- its leader is asked, and it is empty ---> SEALED --- given back, or its time is over ---> BREAKING
 *      ^                                                    |                                               |
 *      +------------- another leader epoch is decided ------+-----------------------------------------------+
 *
 * SEALED it takes no append in. Who asked has the leader epoch, and the leader's node epoch, put into the command that
 * needs it to be empty, and the metadata holds them against its own when the command is applied. One that changes a
 * setting begins the next leader epoch itself. BREAKING it asks for another one, and appends go on in that: by then the
 * command was applied, or never will be. So it needs no clock; the seal's time only says from when on the leader asks.
 * A node without peers does the same: who has asked may have given up on a command that its disk decides later still,
 * and what one does not want another may.
 *
 * A seal is not on the disk: a process that starts has another node epoch.
 *
 * What its leader never had room to make needs no seal for a mkdir to take it back: its log is not made meanwhile, and
 * it goes on at once where the command was certainly not appended.
 *
 *     OVER <--- its log is made --- DUE --- a mkdir is being taken back ---> HELD: no log is made
 *                                    ^                                        |
 *                                    +--- that was decided, or is given up ---+
 *
 * DUE it is new, and there was no room for its log: nothing was ever in it here. */
#include <errno.h>
#include <string.h>

#include "engine/base/bugs.h"
#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/wire/forward_message.h"

static int64_t now_ms(const struct partition *part)
{
    return part->manager->clock->mono_ms(part->manager->clock);
}

/* Its log could not be made, and it was led by no other node. Under the lock. */
static bool was_never_made(const struct partition *part)
{
    return atomic_load(&part->disk.making) != MAKING_OVER && partition_leads(part) && part->epoch.led_since == 0;
}

bool partition_is_empty(struct partition *part)
{
    if (part->log == NULL) {
        pthread_mutex_lock(&part->lock);
        bool never = was_never_made(part);
        pthread_mutex_unlock(&part->lock);
        return never;
    }
    return partition_is_open(part) && log_start(part->log).offset >= log_end(part->log).offset;
}

/* ---- its end ---- */

int32_t partition_seal_wants(const struct partition *part)
{
    return partition_is_sealed(part) && part->seal.until_ms <= now_ms(part) ? part->registration.leader_epoch + 1 : 0;
}

void partition_seal_broken(struct partition *part)
{
    atomic_store(&part->seal.sealed, false);
}

/* Under the lock. */
static void set_alarm(struct partition *part, int64_t delay_ms)
{
    partition_alarm_set(&part->seal.alarm, now_ms(part) + delay_ms);
}

static void on_alarm(struct partition *part)
{
    bool breaks;

    pthread_mutex_lock(&part->lock);
    partition_alarm_rang(&part->seal.alarm);
    breaks = partition_seal_wants(part) != 0;
    if (breaks && BUG(seal_ends_by_time)) {
        partition_seal_broken(part);
        partition_hold_look(part);
        topic_resume(part->topic);
    }
    if (breaks)
        set_alarm(part, LIMIT_SEAL_AGAIN_MS); /* until it is decided */
    else if (partition_is_sealed(part))
        set_alarm(part, part->seal.until_ms - now_ms(part));
    pthread_mutex_unlock(&part->lock);
    if (breaks && !atomic_load(&part->topic->deleted))
        isr_changes_want(&part->manager->changes, part);
}

static void end_seal(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    if (partition_is_sealed(part)) {
        part->seal.until_ms = now_ms(part);
        set_alarm(part, 0);
    }
    pthread_mutex_unlock(&part->lock);
}

/* ---- the leader is asked ---- */

/* It leads in the epoch in which it is asked, and knows what there is. Under the lock. */
static bool may_tell(const struct partition *part, const struct partition_request *request)
{
    return partition_leads(part) && part->registered && !partition_asks_shown(part) &&
           part->registration.leader_epoch == request->head.leader_epoch;
}

static bool is_in_use(struct partition *part, const struct partition_request *request)
{
    return !partition_is_empty(part) || (request->epoch == SEAL_AWAITS_NONE && partition_has_held(part));
}

/* From here on it takes nothing in. false: it may not tell any more. */
static bool shut(struct partition *part, const struct partition_request *request)
{
    int64_t ms = request->upto < LIMIT_SEAL_MS ? request->upto : LIMIT_SEAL_MS;
    bool leads;

    pthread_mutex_lock(&part->lock);
    leads = may_tell(part, request);
    if (leads) {
        atomic_store(&part->seal.sealed, true);
        part->seal.until_ms = now_ms(part) + ms;
        partition_hold_look(part);
        set_alarm(part, ms);
    }
    pthread_mutex_unlock(&part->lock);
    return leads;
}

/* With update_lock held for writing no append is between its look at the seal and the log; and who leads in an epoch
 * before and after the look has led all the while. */
static int seal_locked(struct partition *part, const struct partition_request *request, struct partition_answer *answer)
{
    bool leads;

    pthread_rwlock_wrlock(&part->topic->update_lock);
    answer->upto = is_in_use(part, request);
    leads = answer->upto != 0 || shut(part, request);
    pthread_rwlock_unlock(&part->topic->update_lock);
    return leads ? 0 : -EREMOTE;
}

int partition_seal(struct partition *part, const struct partition_request *request, struct partition_answer *answer)
{
    int64_t node_epoch = manager_own_epoch(part->manager);
    bool leads;

    if (request->upto == 0) {
        end_seal(part);
        return 0;
    }
    pthread_mutex_lock(&part->lock);
    leads = may_tell(part, request);
    pthread_mutex_unlock(&part->lock);
    if (!leads || node_epoch < 0)
        return -EREMOTE;
    answer->position = node_epoch;
    answer->upto = is_in_use(part, request);
    return answer->upto == 0 && request->epoch != SEAL_LOOK ? seal_locked(part, request, answer) : 0;
}

void partition_seal_give_back(struct partition *part)
{
    struct partition_request request = {.head = {.number = 1, .partition = part->index}, .epoch = SEAL_EMPTY};
    uint8_t header[LIMIT_FORWARD_MESSAGE_BYTES];
    int32_t leader;

    pthread_mutex_lock(&part->lock);
    leader = part->registration.leader;
    request.head.leader_epoch = part->registration.leader_epoch;
    pthread_mutex_unlock(&part->lock);
    if (leader == LEADER_NONE)
        return;
    memcpy(request.head.topic_id, part->topic->id, UUID_BYTES);
    (void)forwarding_send(part->manager, leader, CHANNEL_CONTROL, MESSAGE_SEAL, header,
                          partition_request_encode(&request, header), NULL, 0);
}

/* ---- what was never made ---- */

bool partition_hold_unmade(struct partition *part, struct command_seal *seal)
{
    int64_t node_epoch = manager_own_epoch(part->manager);
    bool held;

    pthread_mutex_lock(&part->life_lock);
    pthread_mutex_lock(&part->lock);
    held = was_never_made(part) && part->registered && !partition_asks_shown(part) && node_epoch >= 0;
    if (held)
        *seal = (struct command_seal){part->registration.leader_epoch, node_epoch};
    pthread_mutex_unlock(&part->lock);
    if (held)
        atomic_store(&part->disk.making, MAKING_HELD);
    pthread_mutex_unlock(&part->life_lock);
    return held;
}

void partition_release_unmade(struct partition *part, bool doubtful)
{
    bool held;

    pthread_mutex_lock(&part->life_lock);
    held = atomic_load(&part->disk.making) == MAKING_HELD;
    if (held && doubtful) {
        pthread_mutex_lock(&part->lock);
        atomic_store(&part->seal.sealed, true);
        part->seal.until_ms = now_ms(part);
        partition_hold_look(part);
        set_alarm(part, 0);
        pthread_mutex_unlock(&part->lock);
    }
    if (held)
        atomic_store(&part->disk.making, MAKING_DUE);
    pthread_mutex_unlock(&part->life_lock);
}

/* ---- start ---- */

void partition_seal_init(struct partition *part)
{
    partition_alarm_init(&part->seal.alarm, part, &part->lock, on_alarm);
}
