/* replication/replica/partition_ask.c: what this node asks a partition's leader elsewhere to do, other than appending:
 * to flush, to delete records, to seal. Each may be done twice, so it is simply asked again whenever an answer may have
 * been lost.
 *
 *     WAITING --- the leader can be sent to ---> SENT --- answered ---> OVER
 *        ^                                        |
 *        +--- the leader or a link is another, or it refused for now (again after LIMIT_FORWARD_PAUSE_MS)
 *
 * OVER also: its deadline (-ETIMEDOUT); the topic is deleted (-ESTALE); nobody wants it any more (-EINTR); this node
 * has come to lead (-EREMOTE): whoever asked does it here, unless it is asked like another one (to_self).
 *
 * Under the forward lock, which is held through a send. */
#include <errno.h>
#include <string.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/wire/forward_message.h"

/* ---- the list; under the lock ---- */

static void take(struct partition *part, struct ask *ask)
{
    *(ask->prev != NULL ? &ask->prev->next : &part->asks.first) = ask->next;
    if (ask->next != NULL) {
        ask->next->prev = ask->prev;
    }
    ask->prev = NULL;
    ask->next = NULL;
    ask->state = ASK_OVER;
}

/* Puts it behind *last, a list of those to be ended with its rc. */
static void end(struct partition *part, struct ask *ask, int rc, struct ask ***last)
{
    take(part, ask);
    ask->rc = rc;
    **last = ask;
    *last = &ask->next;
}

/* Calls back: no lock held. */
static void finish(struct ask *over)
{
    while (over != NULL) {
        struct ask *ask = over;

        over = ask->next;
        ask->next = NULL;
        ask->done(ask, ask->rc);
    }
}

static void set_alarm(struct partition *part, bool again)
{
    int64_t now_ms = part->manager->clock->mono_ms(part->manager->clock), due_ms = INT64_MAX;

    for (const struct ask *ask = part->asks.first; ask != NULL; ask = ask->next) {
        due_ms = ask->deadline_ms < due_ms ? ask->deadline_ms : due_ms;
    }
    if (again && now_ms + LIMIT_FORWARD_PAUSE_MS < due_ms) {
        due_ms = now_ms + LIMIT_FORWARD_PAUSE_MS;
    }
    if (part->asks.first != NULL) {
        partition_alarm_set(&part->asks.alarm, due_ms);
    }
}

/* ---- sending; under the lock ---- */

static int send_one(struct partition *part, const struct ask *ask, int32_t leader, int32_t leader_epoch)
{
    struct partition_request request = {
        .head = {.number = ask->number, .partition = part->index, .leader_epoch = leader_epoch},
        .epoch = ask->epoch,
        .upto = ask->upto};
    uint8_t header[LIMIT_FORWARD_MESSAGE_BYTES];

    memcpy(request.head.topic_id, part->topic->id, UUID_BYTES);
    return forwarding_send(part->manager, leader, CHANNEL_CONTROL, (enum message_kind)ask->kind, header,
                           partition_request_encode(&request, header), NULL, 0);
}

/* Sends what waits, if there is anybody; what is over goes behind *last. again: what was sent as well. */
static void look(struct partition *part, bool again, struct ask ***last)
{
    int32_t leader, leader_epoch;
    bool leads, failed = false;
    struct ask *next;

    pthread_mutex_lock(&part->lock);
    leads = partition_leads(part);
    leader = part->registration.leader;
    leader_epoch = part->registration.leader_epoch;
    pthread_mutex_unlock(&part->lock);
    for (struct ask *ask = part->asks.first; ask != NULL; ask = next) {
        next = ask->next;
        if (atomic_load(&part->topic->deleted)) {
            end(part, ask, -ESTALE, last);
        } else if (ask->given_up != NULL && atomic_load(ask->given_up)) {
            end(part, ask, -EINTR, last);
        } else if (leads && !ask->to_self) {
            end(part, ask, -EREMOTE, last);
        } else if ((ask->state == ASK_WAITING || again) && leader != LEADER_NONE) {
            ask->number = ++part->asks.number;
            ask->state = send_one(part, ask, leader, leader_epoch) == 0 ? ASK_SENT : ASK_WAITING;
            failed = failed || ask->state == ASK_WAITING;
        }
    }
    set_alarm(part, failed);
}

void partition_ask_look(struct partition *part, bool again)
{
    struct ask *over = NULL, **last = &over;

    pthread_mutex_lock(&part->forward.lock);
    look(part, again, &last);
    pthread_mutex_unlock(&part->forward.lock);
    finish(over);
}

/* ---- what happens ---- */

void partition_ask(struct partition *part, struct ask *ask)
{
    struct ask *over = NULL, **last = &over;

    partition_ref(part); /* with the lock goes the op, and perhaps the last reference */
    pthread_mutex_lock(&part->forward.lock);
    ask->state = ASK_WAITING;
    ask->prev = NULL;
    ask->next = part->asks.first;
    if (part->asks.first != NULL) {
        part->asks.first->prev = ask;
    }
    part->asks.first = ask;
    if (ask->later && !atomic_load(&part->topic->deleted)) {
        set_alarm(part, true);
    } else {
        look(part, false, &last);
    }
    pthread_mutex_unlock(&part->forward.lock);
    finish(over);
    partition_unref(part);
}

bool partition_ask_cancel(struct partition *part, struct ask *ask)
{
    const struct ask *found;

    pthread_mutex_lock(&part->forward.lock);
    found = part->asks.first;
    while (found != NULL && found != ask) {
        found = found->next;
    }
    if (found != NULL) {
        take(part, ask);
    }
    pthread_mutex_unlock(&part->forward.lock);
    return found != NULL;
}

void partition_ask_answer(struct partition *part, const struct partition_answer *answer)
{
    struct ask *over = NULL, **last = &over, *ask;

    pthread_mutex_lock(&part->forward.lock);
    ask = part->asks.first;
    while (ask != NULL && (ask->state != ASK_SENT || ask->number != answer->head.number)) {
        ask = ask->next;
    }
    if (ask != NULL && (answer->rc == -EREMOTE || answer->rc == -ESTALE || answer->rc == -ENOMEM)) {
        ask->state = ASK_WAITING;
        if (atomic_load(&part->topic->deleted)) {
            end(part, ask, -ESTALE, &last);
        }
        set_alarm(part, true);
    } else if (ask != NULL) {
        ask->leader_epoch = answer->head.leader_epoch;
        ask->answer_upto = answer->upto;
        ask->answer_position = answer->position;
        end(part, ask, answer->rc, &last);
    }
    pthread_mutex_unlock(&part->forward.lock);
    finish(over);
}

void partition_ask_fail(struct partition *part, int rc)
{
    struct ask *over = NULL, **last = &over;

    pthread_mutex_lock(&part->forward.lock);
    while (part->asks.first != NULL) {
        end(part, part->asks.first, rc, &last);
    }
    pthread_mutex_unlock(&part->forward.lock);
    finish(over);
}

static void on_alarm(struct partition *part)
{
    int64_t now_ms = part->manager->clock->mono_ms(part->manager->clock);
    struct ask *over = NULL, **last = &over, *next;

    pthread_mutex_lock(&part->forward.lock);
    partition_alarm_rang(&part->asks.alarm);
    for (struct ask *ask = part->asks.first; ask != NULL; ask = next) {
        next = ask->next;
        if (ask->deadline_ms <= now_ms) {
            end(part, ask, -ETIMEDOUT, &last);
        }
    }
    look(part, false, &last);
    pthread_mutex_unlock(&part->forward.lock);
    finish(over);
}

void partition_ask_init(struct partition *part)
{
    partition_alarm_init(&part->asks.alarm, part, &part->forward.lock, on_alarm);
    part->asks.number = manager_number(part->manager); /* as the forwarder's */
}
