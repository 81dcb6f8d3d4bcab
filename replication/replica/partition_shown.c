/* replication/replica/partition_shown.c: what any mount was shown of a partition, asked for by a leader that may have
 * lost some of it (REPLICATION.md, rule 53).
 *
 *     KNOWN --- comes to lead, alone in sync, and was not in sync before as this process saw it ---> ASKING
 *       ^                                                                                              |
 *       +--- every node that lives has answered, or LIMIT_SHOWN_MS have passed: the log's end is ------+
 *            moved to the greatest of the points, when the epoch begins
 *
 * Who is elected from an ISR of several has all that was shown. Who is not (an unclean election, the best of a last
 * ISR, the only replica after an unclean stop) begins its epoch behind it: what is lost is a hole, and no position is
 * used again. ASKING it takes no append in and serves no fetch. An epoch that comes before the end was moved asks anew.
 *
 * A node answers once it has applied the epoch: from then on it shows nothing that an earlier leader says. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/replica/remote.h"
#include "replication/wire/forward_message.h"

enum { ASK_AGAIN_MS = 100 };

/* What has been heard, while it is asked. */
struct shown_round {
    int64_t since_ms;
    int count;
    int32_t answered[LIMIT_NODES]; /* by these */
};

static int64_t now_ms(const struct partition *part)
{
    return part->manager->clock->mono_ms(part->manager->clock);
}

/* ---- asking ---- */

/* The alarm holds a reference from when it is set until it has rung or was stopped. Under the lock. */
static void set_alarm(struct partition *part, int64_t delay_ms)
{
    if (part->shown_alarm_set)
        return;
    part->shown_alarm_set = true;
    partition_ref(part);
    alarm_set(part->manager->executor, &part->shown_alarm, delay_ms);
}

void partition_shown_begin(struct partition *part, bool was_in_sync)
{
    const struct replica_set *isr = &part->registration.isr;
    bool asks = partition_leads(part) && isr->count == 1 && (!was_in_sync || part->shown_unsure) &&
                !part->topic->internal && quorum_has_peers(part->manager->quorum);

    /* In an epoch right behind one that did not begin it is still in front of what it heard then. */
    if (!asks || !part->shown_unsure)
        part->shown_to = (struct log_point){0, 0};
    part->shown_unsure = asks;
    free(part->shown_round);
    part->shown_round = asks ? calloc(1, sizeof *part->shown_round) : NULL;
    atomic_store(&part->asks_shown, part->shown_round != NULL);
    if (part->shown_round != NULL) {
        part->shown_round->since_ms = now_ms(part);
        set_alarm(part, 0);
    } else if (asks) {
        log_line(LOG_ERR, "%s: out of memory: what others have shown of it is not asked for", part->name);
    }
}

/* Under the lock, while it is asked. */
static bool has_answered(const struct shown_round *round, int32_t id)
{
    for (int i = 0; i < round->count; i++)
        if (round->answered[i] == id)
            return true;
    return false;
}

/* Under the lock: that epoch's round is under way. */
static bool asks_in(const struct partition *part, int32_t epoch)
{
    return part->shown_round != NULL && atomic_load(&part->leader_epoch) == epoch;
}

/* Whether one that lives has yet to answer, and may in time. */
static bool waits_for(struct partition *part, int32_t id, int32_t epoch)
{
    bool waits;

    pthread_mutex_lock(&part->lock);
    waits = asks_in(part, epoch) && now_ms(part) - part->shown_round->since_ms < LIMIT_SHOWN_MS &&
            !has_answered(part->shown_round, id);
    pthread_mutex_unlock(&part->lock);
    return waits;
}

static void ask(struct partition *part, int32_t to, int32_t epoch)
{
    struct partition_request request = {.head = {.number = 1, .partition = part->index, .leader_epoch = epoch},
                                        .epoch = -1};
    uint8_t header[LIMIT_FORWARD_MESSAGE_BYTES];

    memcpy(request.head.topic_id, part->topic->id, UUID_BYTES);
    (void)network_send(part->manager->network, to, CHANNEL_CONTROL, MESSAGE_SHOWN, header,
                       partition_request_encode(&request, header), NULL, 0);
}

/* Asks those that are waited for; returns how many they are. */
static int ask_all(struct partition *part, int32_t epoch)
{
    int32_t ids[LIMIT_NODES];
    const struct metadata *meta = quorum_acquire(part->manager->quorum);
    int count = 0, left = 0;

    for (size_t i = 0; i < meta->node_count && count < LIMIT_NODES; i++)
        if (meta->nodes[i].id != part->manager->id && !meta->nodes[i].fenced)
            ids[count++] = meta->nodes[i].id;
    quorum_release(part->manager->quorum);
    for (int i = 0; i < count; i++) {
        if (!waits_for(part, ids[i], epoch))
            continue;
        ask(part, ids[i], epoch);
        left++;
    }
    return left;
}

/* What waited for that epoch's round goes on. Calls back. */
static void end_asking(struct partition *part, int32_t epoch)
{
    struct err e = {""};
    bool ends;

    pthread_mutex_lock(&part->lock);
    ends = asks_in(part, epoch);
    if (ends) {
        atomic_store(&part->asks_shown, false);
        free(part->shown_round);
        part->shown_round = NULL;
        partition_hold_look(part);
    }
    pthread_mutex_unlock(&part->lock);
    if (!ends)
        return;
    if (partition_begin_leading(part, &e) != 0)
        log_line(LOG_WARNING, "%s: %s", part->name, e.text); /* the first append tries again */
    topic_resume(part->topic);
    manager_look_again(part->manager);
    reads_moved(&part->manager->reads, part);
}

static void look(struct partition *part)
{
    int32_t epoch = atomic_load(&part->leader_epoch);

    if (!atomic_load(&part->asks_shown))
        return;
    if (ask_all(part, epoch) == 0 || atomic_load(&part->topic->deleted)) {
        end_asking(part, epoch);
        return;
    }
    pthread_mutex_lock(&part->lock);
    set_alarm(part, ASK_AGAIN_MS);
    pthread_mutex_unlock(&part->lock);
}

static void on_alarm(struct alarm *alarm)
{
    struct partition *part = CONTAINER_OF(alarm, struct partition, shown_alarm);

    pthread_mutex_lock(&part->lock);
    part->shown_alarm_set = false;
    pthread_mutex_unlock(&part->lock);
    look(part);
    partition_unref(part);
}

void partition_shown_answer(struct partition *part, int32_t from, const struct partition_answer *answer)
{
    struct shown_round *round;
    bool counts;

    pthread_mutex_lock(&part->lock);
    round = part->shown_round;
    counts = round != NULL && answer->head.leader_epoch == atomic_load(&part->leader_epoch) && answer->rc == 0 &&
             round->count < LIMIT_NODES && !has_answered(round, from);
    if (counts)
        round->answered[round->count++] = from;
    /* Of two histories each may be further by one of the two. */
    if (counts && answer->upto > part->shown_to.offset)
        part->shown_to.offset = answer->upto;
    if (counts && answer->position > part->shown_to.position)
        part->shown_to.position = answer->position;
    pthread_mutex_unlock(&part->lock);
    if (counts)
        look(part);
}

/* ---- the log's end ---- */

int partition_shown_skip(struct partition *part, int32_t epoch, struct err *e)
{
    struct log_point end = log_end(part->log), to;

    pthread_mutex_lock(&part->lock);
    to = part->shown_to;
    /* This mount's own. */
    if (part->shown.offset > to.offset)
        to.offset = part->shown.offset;
    if (part->shown.position > to.position)
        to.position = part->shown.position;
    pthread_mutex_unlock(&part->lock);
    if (to.offset <= end.offset && to.position <= end.position)
        return 0;
    /* A record has a byte at least, and a place behind the end has both. */
    if (to.offset <= end.offset)
        to.offset = end.offset + 1;
    if (to.position - end.position < to.offset - end.offset)
        to.position = end.position + (to.offset - end.offset);
    log_line(LOG_WARNING,
             "%s: more was shown than is here: offsets %" PRId64 " to %" PRId64 " are lost, and not used again",
             part->name, end.offset, to.offset - 1);
    return log_skip(part->log, epoch, to, e);
}

/* ---- answering ---- */

bool partition_shown_asked(struct partition *part, const struct partition_request *request, struct log_point *out)
{
    int32_t epoch = request->head.leader_epoch;
    bool applied;

    pthread_mutex_lock(&part->lock);
    applied = part->registration.leader_epoch >= epoch;
    if (applied && epoch > part->shown_told)
        part->shown_told = epoch; /* what was said in earlier ones is not shown any more */
    *out = part->shown.position > part->isr.high_watermark.position ? part->shown : part->isr.high_watermark;
    pthread_mutex_unlock(&part->lock);
    return applied;
}

/* ---- start and stop ---- */

void partition_shown_init(struct partition *part)
{
    part->shown_told = -1;
    alarm_init(&part->shown_alarm, WORK_PROMPT, on_alarm);
}

void partition_shown_stop(struct partition *part, bool cancel)
{
    bool set;

    pthread_mutex_lock(&part->lock);
    set = part->shown_alarm_set && (!cancel || alarm_cancel(part->manager->executor, &part->shown_alarm));
    if (set)
        part->shown_alarm_set = false;
    pthread_mutex_unlock(&part->lock);
    if (set)
        partition_unref(part);
}
