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
 * A seal is not on the disk: a process that starts has another node epoch. */
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

bool partition_is_empty(struct partition *part)
{
    return partition_is_open(part) && log_start(part->log).offset >= log_end(part->log).offset;
}

/* ---- its end ---- */

int32_t partition_seal_wants(const struct partition *part)
{
    return partition_is_sealed(part) && part->seal_ms <= now_ms(part) ? part->registration.leader_epoch + 1 : 0;
}

void partition_seal_broken(struct partition *part)
{
    atomic_store(&part->sealed, false);
}

/* The alarm holds a reference from when it is set until it has rung or was stopped, which a deletion does once. Under
 * the lock. */
static void set_alarm(struct partition *part, int64_t delay_ms)
{
    if (atomic_load(&part->topic->deleted))
        return;
    if (part->seal_alarm_set && part->seal_alarm.deadline_ms <= now_ms(part) + delay_ms)
        return;
    if (!part->seal_alarm_set)
        partition_ref(part);
    part->seal_alarm_set = true;
    alarm_set(part->manager->executor, &part->seal_alarm, delay_ms);
}

static void on_alarm(struct alarm *alarm)
{
    struct partition *part = CONTAINER_OF(alarm, struct partition, seal_alarm);
    bool breaks;

    pthread_mutex_lock(&part->lock);
    part->seal_alarm_set = false;
    breaks = partition_seal_wants(part) != 0;
    if (breaks && BUG(seal_ends_by_time)) {
        partition_seal_broken(part);
        partition_hold_look(part);
        topic_resume(part->topic);
    }
    if (breaks)
        set_alarm(part, LIMIT_SEAL_AGAIN_MS); /* until it is decided */
    else if (partition_is_sealed(part))
        set_alarm(part, part->seal_ms - now_ms(part));
    pthread_mutex_unlock(&part->lock);
    if (breaks && !atomic_load(&part->topic->deleted))
        isr_changes_want(&part->manager->changes, part);
    partition_unref(part);
}

static void end_seal(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    if (partition_is_sealed(part)) {
        part->seal_ms = now_ms(part);
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
        atomic_store(&part->sealed, true);
        part->seal_ms = now_ms(part) + ms;
        partition_hold_look(part);
        set_alarm(part, ms);
    }
    pthread_mutex_unlock(&part->lock);
    return leads;
}

/* With the gate shut no append is between its look at the seal and the log; and who leads in an epoch before and after
 * the look has led all the while. */
static int seal_at_gate(struct partition *part, const struct partition_request *request,
                        struct partition_answer *answer)
{
    bool leads;

    pthread_rwlock_wrlock(&part->topic->gate);
    answer->upto = is_in_use(part, request);
    leads = answer->upto != 0 || shut(part, request);
    pthread_rwlock_unlock(&part->topic->gate);
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
    return answer->upto == 0 && request->epoch != SEAL_LOOK ? seal_at_gate(part, request, answer) : 0;
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

/* ---- start and stop ---- */

void partition_seal_init(struct partition *part)
{
    alarm_init(&part->seal_alarm, WORK_PROMPT, on_alarm);
}

void partition_seal_stop(struct partition *part, bool cancel)
{
    bool set;

    pthread_mutex_lock(&part->lock);
    set = part->seal_alarm_set && (!cancel || alarm_cancel(part->manager->executor, &part->seal_alarm));
    if (set)
        part->seal_alarm_set = false;
    pthread_mutex_unlock(&part->lock);
    if (set)
        partition_unref(part);
}
