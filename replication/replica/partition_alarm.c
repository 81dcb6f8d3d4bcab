/* replication/replica/partition_alarm.c: the alarms of a partition, each under its owner's lock.
 *
 *     UNSET --- set: it takes a reference ------------------------------------------> SET
 *       ^                                                                            |
 *       +--- rings: its owner says so under the lock, does what is due, and then ----+
 *       |    the reference is given back                                             |
 *       +--- dropped before it rings, with the reference ----------------------------+
 *
 * SET it can be moved to an earlier time, not to a later one: whom it then rings for too early sets it again. A
 * deletion drops all of them, once: of a topic that was deleted none is set, and what waits ends otherwise. */
#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"

static void on_alarm(struct alarm *alarm)
{
    struct partition_alarm *rings = CONTAINER_OF(alarm, struct partition_alarm, alarm);
    struct partition *part = rings->part;

    rings->ring(part);
    partition_unref(part);
}

void partition_alarm_init(struct partition_alarm *alarm, struct partition *part, pthread_mutex_t *lock,
                          void (*ring)(struct partition *part))
{
    alarm->part = part;
    alarm->lock = lock;
    alarm->ring = ring;
    alarm_init(&alarm->alarm, WORK_PROMPT, on_alarm);
}

void partition_alarm_set(struct partition_alarm *alarm, int64_t due_ms)
{
    struct replica_manager *manager = alarm->part->manager;

    if (atomic_load(&alarm->part->topic->deleted) || (alarm->set && alarm->alarm.deadline_ms <= due_ms))
        return;
    if (!alarm->set)
        partition_ref(alarm->part);
    alarm->set = true;
    alarm_set(manager->executor, &alarm->alarm, due_ms - manager->clock->mono_ms(manager->clock));
}

void partition_alarm_rang(struct partition_alarm *alarm)
{
    alarm->set = false;
}

/* cancel: as partition_stop_alarms(). Takes the alarm's lock. */
static void drop(struct partition_alarm *alarm, bool cancel)
{
    struct partition *part = alarm->part;
    bool dropped;

    pthread_mutex_lock(alarm->lock);
    dropped = alarm->set && (!cancel || alarm_cancel(part->manager->executor, &alarm->alarm));
    if (dropped)
        alarm->set = false;
    pthread_mutex_unlock(alarm->lock);
    if (dropped)
        partition_unref(part);
}

void partition_stop_alarms(struct partition *part, bool cancel)
{
    drop(&part->hold.deadline, cancel);
    drop(&part->forward.alarm, cancel);
    drop(&part->asks.alarm, cancel);
    drop(&part->insync.alarm, cancel);
    drop(&part->shown.alarm, cancel);
    drop(&part->seal.alarm, cancel);
    partition_flush_stop(part, cancel);
}
