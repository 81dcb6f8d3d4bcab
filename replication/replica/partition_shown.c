/* replication/replica/partition_shown.c: what any mount was shown of a partition, asked for by a leader that may have
 * lost some of it (REPLICATION.md, rule 53).
 *
 *     KNOWN --- comes to lead, alone in sync, and was not in sync before as this process saw it ---> ASKING
 *       ^                                                                                            |  ^
 *       |            every node that lives has answered, or LIMIT_SHOWN_MS have passed               |  | it leads
 *       |                                                                                            v  | in another
 *       +--- the epoch begins: the log's end is moved to the greatest of the points --------------- HEARD  epoch
 *       +--- another epoch, in which it does not ask (from anywhere)
 *
 * Who is elected from an ISR of several has all that was shown. Who is not (an unclean election, the best of a last
 * ISR, the only replica after an unclean stop) begins its epoch behind it: what is lost is a hole, and no position is
 * used again. ASKING it takes no append in and serves no fetch. An epoch that comes before the end was moved asks anew.
 * Without memory for that it is HEARD at once.
 *
 * Nor has a position two contents: what its log may hold otherwise than it was shown is cut off first. Who answers says
 * how far its own log, below its own high watermark, agrees with the asker's; as with a fetch, that may take another
 * question, of an earlier epoch of the asker's log. Of two histories the one of the later epochs stays. What was shown
 * beyond that, by another node's word, agrees where it was said in no later epoch than the log's last one, or where the
 * asker has records of the same leader; else, where elections may be unclean, nothing is known to agree but what the
 * asker, or another that answers, knows to be committed.
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

static const struct log_point NOWHERE = {INT64_MAX, INT64_MAX};

/* What one has said. */
struct shown_said {
    int32_t node;
    struct log_point shown;
    struct shown_from from;
    bool compared;           /* where this log and its log part is known: it is not asked again */
    struct log_point agreed; /* and up to where they do not */
};

/* What has been heard, while it is asked. */
struct shown_round {
    int64_t since_ms;
    uint64_t number;   /* of the question, and its answers; 0: none was asked yet */
    int32_t log_epoch; /* of this node's log, that it is about; -1: it has none */
    int count;
    struct shown_said said[LIMIT_NODES];
};

static int64_t now_ms(const struct partition *part)
{
    return part->manager->clock->mono_ms(part->manager->clock);
}

/* ---- asking ---- */

/* Under the lock. */
static void set_alarm(struct partition *part, int64_t delay_ms)
{
    if (!part->shown.alarm.set)
        partition_alarm_set(&part->shown.alarm, now_ms(part) + delay_ms);
}

void partition_shown_begin(struct partition *part, bool was_in_sync)
{
    const struct replica_set *isr = &part->registration.isr;
    bool unsure = atomic_load(&part->shown.state) != SHOWN_KNOWN;
    bool asks = partition_leads(part) && isr->count == 1 && (!was_in_sync || unsure) && !part->topic->internal &&
                quorum_has_peers(part->manager->quorum);

    /* In an epoch right behind one that did not begin it is still in front of what it heard then. */
    if (!asks || !unsure)
        part->shown.heard = (struct log_point){0, 0};
    part->shown.cut = NOWHERE;
    free(part->shown.round);
    part->shown.round = asks ? calloc(1, sizeof *part->shown.round) : NULL;
    atomic_store(&part->shown.state, part->shown.round != NULL ? SHOWN_ASKING : asks ? SHOWN_HEARD : SHOWN_KNOWN);
    if (part->shown.round != NULL) {
        part->shown.round->since_ms = now_ms(part);
        set_alarm(part, 0);
    } else if (asks) {
        log_line(LOG_ERR, "%s: out of memory: what others have shown of it is not asked for", part->name);
    }
}

bool partition_shown_unsure(struct partition *part)
{
    bool unsure;

    pthread_mutex_lock(&part->lock);
    unsure = atomic_load(&part->shown.state) != SHOWN_KNOWN;
    pthread_mutex_unlock(&part->lock);
    return unsure;
}

/* Under the lock: that epoch's round is under way. */
static bool asks_in(const struct partition *part, int32_t epoch)
{
    return part->shown.round != NULL && atomic_load(&part->leader_epoch) == epoch;
}

static bool has_answered(const struct shown_round *round, int32_t id)
{
    for (int i = 0; i < round->count; i++) {
        if (round->said[i].node == id)
            return true;
    }
    return false;
}

static bool is_over(struct partition *part, const struct shown_round *round)
{
    return now_ms(part) - round->since_ms >= LIMIT_SHOWN_MS;
}

/* The round as it stands, with its first question. false: it is over. */
static bool look_at_round(struct partition *part, int32_t epoch, struct shown_round *out)
{
    int32_t log_epoch = part->log != NULL ? log_latest_epoch(part->log) : -1;
    bool asks;

    pthread_mutex_lock(&part->lock);
    asks = asks_in(part, epoch);
    if (asks && part->shown.round->number == 0) {
        part->shown.round->number = 1;
        part->shown.round->log_epoch = log_epoch;
    }
    if (asks)
        *out = *part->shown.round;
    pthread_mutex_unlock(&part->lock);
    return asks;
}

static void ask(struct partition *part, int32_t to, int32_t epoch, const struct shown_round *round)
{
    struct partition_request request = {
        .head = {.number = round->number, .partition = part->index, .leader_epoch = epoch}, .epoch = round->log_epoch};
    uint8_t header[LIMIT_FORWARD_MESSAGE_BYTES];

    memcpy(request.head.topic_id, part->topic->id, UUID_BYTES);
    (void)network_send(part->manager->network, to, CHANNEL_CONTROL, MESSAGE_SHOWN, header,
                       partition_request_encode(&request, header), NULL, 0);
}

/* Asks those that live, have yet to answer, and may in time; returns how many they are. */
static int ask_all(struct partition *part, int32_t epoch, const struct shown_round *round)
{
    int32_t ids[LIMIT_NODES];
    const struct metadata *meta = quorum_acquire(part->manager->quorum);
    int count = 0;

    for (size_t i = 0; i < meta->node_count && count < LIMIT_NODES && !is_over(part, round); i++) {
        if (meta->nodes[i].id != part->manager->id && !meta->nodes[i].fenced && !has_answered(round, meta->nodes[i].id))
            ids[count++] = meta->nodes[i].id;
    }
    quorum_release(part->manager->quorum);
    for (int i = 0; i < count; i++)
        ask(part, ids[i], epoch, round);
    return count;
}

/* ---- what of the log may differ from what was shown ---- */

static void lower(struct log_point *cut, struct log_point to)
{
    if (to.offset < cut->offset)
        *cut = to;
}

/* Where this log and one that has answered part ways below that one's high watermark goes into *cut; how far they agree
 * below it, as far as is known, into *agreed. Returns the epoch of this log to ask about, as they may do so earlier;
 * -1: they do not. */
static int32_t compare(struct partition *part, const struct shown_from *from, struct log_point *cut,
                       struct log_point *agreed)
{
    int32_t found;
    struct log_point to;

    *agreed = from->own;
    if (from->own.offset < 0 || from->found_epoch < 0) /* no replica, or no record in it: nothing there differs */
        return -1;
    log_epoch_end(part->log, from->found_epoch, &found, &to);
    if (to.offset < 0)
        to = log_end(part->log);
    if (found == from->found_epoch && from->end.offset < to.offset)
        to = from->end;
    if (to.offset >= from->own.offset || to.offset >= log_end(part->log).offset)
        return -1;
    *agreed = found < from->found_epoch ? (struct log_point){0, 0} : to;
    /* What is committed there is of no later epoch than this log, so what lies here instead was begun without it, by a
     * leader that could not ask, and has been acknowledged since. */
    if (from->end.offset >= from->own.offset)
        return -1;
    lower(cut, to);
    return found < from->found_epoch ? found : -1;
}

/* What was shown by another's word is what is here, as far as here is anything: it was said in no later epoch than this
 * log's last one, whose leader had it, or this log has records of the same leader there. */
static bool agrees(struct partition *part, struct log_point shown, int32_t epoch, int32_t record_epoch)
{
    int32_t log_epoch = log_latest_epoch(part->log);

    return epoch <= log_epoch || record_epoch == log_epoch ||
           (record_epoch >= 0 && shown.offset <= log_end(part->log).offset &&
            log_epoch_before(part->log, shown.offset) == record_epoch);
}

/* Only an unclean election makes a leader of a log that is no prefix of what was shown. Who lost its power may have
 * lost the end of it, and with that the epoch in which that was shown, but has nothing else there. */
static bool may_be_unclean(struct partition *part)
{
    const struct metadata *meta = quorum_acquire(part->manager->quorum);
    const struct metadata_topic *topic = metadata_topic_by_id(meta, part->topic->id);
    struct election_rules rules = {0};

    if (topic != NULL && part->index < topic->partitions)
        metadata_election_rules(meta, topic, part->index, &rules);
    quorum_release(part->manager->quorum);
    return rules.unclean;
}

/* All have answered that will: *cut is from where on the log may differ from what they have shown, and who has been
 * compared is marked. over: nobody is asked again. Returns as compare() does. */
static int32_t judge(struct partition *part, struct shown_round *round, bool over, struct log_point *cut)
{
    int32_t again = -1;
    struct log_point known;
    struct shown_said own = {.from = SHOWN_FROM_NOTHING};

    *cut = NOWHERE;
    if (round->log_epoch < 0)
        return -1;
    pthread_mutex_lock(&part->lock);
    known = part->isr.high_watermark;
    own.shown = part->shown.point;
    own.from.epoch = part->shown.epoch;
    own.from.record_epoch = part->shown.record_epoch;
    pthread_mutex_unlock(&part->lock);
    for (int i = 0; i < round->count; i++) {
        struct shown_said *said = &round->said[i];
        int32_t ask = said->compared ? -1 : compare(part, &said->from, cut, &said->agreed);

        said->compared = ask < 0;
        if (ask >= 0 && (again < 0 || ask < again))
            again = ask;
        if (said->agreed.offset > known.offset)
            known = said->agreed;
    }
    if ((again >= 0 && !over) || !may_be_unclean(part)) /* not known yet, or not asked */
        return again;
    for (int i = -1; i < round->count; i++) {
        const struct shown_said *said = i < 0 ? &own : &round->said[i];

        if (said->shown.offset > known.offset && known.offset < log_end(part->log).offset &&
            !agrees(part, said->shown, said->from.epoch, said->from.record_epoch))
            lower(cut, known);
    }
    return again;
}

/* The round is answered, or its time is over: what is to be cut is known, or they are asked once more. */
static bool asks_once_more(struct partition *part, int32_t epoch, struct shown_round *seen)
{
    struct log_point cut;
    bool over = is_over(part, seen);
    int32_t again = judge(part, seen, over, &cut);
    struct shown_round *round;
    bool more;

    pthread_mutex_lock(&part->lock);
    round = part->shown.round;
    more = asks_in(part, epoch) && round->number == seen->number;
    if (more)
        lower(&part->shown.cut, cut);
    more = more && again >= 0 && !over;
    if (more) {
        round->number++;
        round->log_epoch = again;
        round->count = 0;
        for (int i = 0; i < seen->count; i++) {
            if (seen->said[i].compared)
                round->said[round->count++] = seen->said[i];
        }
        set_alarm(part, 0);
    }
    pthread_mutex_unlock(&part->lock);
    return more;
}

/* What waited for that epoch's round goes on. Calls back. */
static void end_asking(struct partition *part, int32_t epoch, uint64_t number)
{
    struct err e = {""};
    bool ends;

    pthread_mutex_lock(&part->lock);
    ends = asks_in(part, epoch) && part->shown.round->number == number;
    if (ends) {
        atomic_store(&part->shown.state, SHOWN_HEARD);
        free(part->shown.round);
        part->shown.round = NULL;
        partition_hold_look(part);
    }
    pthread_mutex_unlock(&part->lock);
    if (!ends)
        return;
    if (partition_begin_leading(part, &e) != 0)
        log_line(LOG_WARNING, "%s: %s", part->name, e.text); /* the first append tries again */
    topic_resume(part->topic);
    manager_look_again(part->manager);
    partition_insync_look(part, false);
    reads_moved(&part->manager->reads, part);
}

static void look(struct partition *part)
{
    int32_t epoch = atomic_load(&part->leader_epoch);
    bool deleted = atomic_load(&part->topic->deleted);
    struct shown_round round;

    if (atomic_load(&part->shown.state) != SHOWN_ASKING || !look_at_round(part, epoch, &round))
        return;
    if (!deleted && ask_all(part, epoch, &round) > 0) {
        pthread_mutex_lock(&part->lock);
        set_alarm(part, ASK_AGAIN_MS);
        pthread_mutex_unlock(&part->lock);
    } else if (deleted || !asks_once_more(part, epoch, &round)) {
        end_asking(part, epoch, round.number);
    }
}

static void on_alarm(struct partition *part)
{

    pthread_mutex_lock(&part->lock);
    partition_alarm_rang(&part->shown.alarm);
    pthread_mutex_unlock(&part->lock);
    look(part);
}

void partition_shown_answer(struct partition *part, int32_t from, const struct partition_answer *answer)
{
    struct shown_round *round;
    bool counts;

    pthread_mutex_lock(&part->lock);
    round = part->shown.round;
    counts = asks_in(part, answer->head.leader_epoch) && answer->head.number == round->number && answer->rc == 0 &&
             round->count < LIMIT_NODES && !has_answered(round, from);
    if (counts) {
        round->said[round->count++] =
            (struct shown_said){.node = from, .shown = {answer->upto, answer->position}, .from = answer->from};
    }
    /* Of two histories each may be further by one of the two. */
    if (counts && answer->upto > part->shown.heard.offset)
        part->shown.heard.offset = answer->upto;
    if (counts && answer->position > part->shown.heard.position)
        part->shown.heard.position = answer->position;
    pthread_mutex_unlock(&part->lock);
    if (counts)
        look(part);
}

/* ---- the log's end ---- */

int partition_shown_cut(struct partition *part, int32_t epoch, struct err *e)
{
    struct log_point end = log_end(part->log), to;
    int rc;

    pthread_mutex_lock(&part->lock);
    to = part->shown.cut;
    pthread_mutex_unlock(&part->lock);
    /* A log that follows in an epoch never leads in it. One that led in the epoch before, without a break, was cut for
     * that one. */
    if (to.offset >= end.offset || log_follow(part->log, epoch - 1, NULL) != 0)
        return 0;
    log_line(LOG_WARNING, "%s: what is here at offsets %" PRId64 " to %" PRId64 " may not be what was shown there: cut",
             part->name, to.offset, end.offset - 1);
    rc = partition_cut(part, epoch - 1, to, e);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&part->lock);
    part->shown.cut = NOWHERE; /* and what is skipped behind it is not cut */
    pthread_mutex_unlock(&part->lock);
    return 0;
}

int partition_shown_skip(struct partition *part, int32_t epoch, struct err *e)
{
    struct log_point end = log_end(part->log), to;

    pthread_mutex_lock(&part->lock);
    to = part->shown.heard;
    /* This mount's own. */
    if (part->shown.point.offset > to.offset)
        to.offset = part->shown.point.offset;
    if (part->shown.point.position > to.position)
        to.position = part->shown.point.position;
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
    part->shown.skipped_to = to.offset;
    return log_skip(part->log, epoch, to, e);
}

void partition_shown_begun(struct partition *part)
{
    atomic_store(&part->shown.state, SHOWN_KNOWN);
}

/* ---- answering ---- */

void partition_shown_keep(struct partition *part)
{
    int32_t record_epoch, epoch = atomic_load(&part->leader_epoch);
    struct log_point own = partition_own_high_watermark(part);

    record_epoch = part->log != NULL ? log_epoch_before(part->log, own.offset) : -1;
    pthread_mutex_lock(&part->lock);
    if (own.position > part->shown.point.position) {
        part->shown.point = own;
        part->shown.epoch = epoch;
        part->shown.record_epoch = record_epoch;
        atomic_store(&part->shown.position, own.position);
    }
    pthread_mutex_unlock(&part->lock);
}

/* What of its log is comparable with the asker's. */
static void say_log(struct partition *part, int32_t asked_epoch, struct log_point own, struct shown_from *out)
{
    if (atomic_load(&part->replica) == REPLICA_ELSEWHERE || !partition_is_open(part))
        return;
    out->own = own;
    log_epoch_end(part->log, asked_epoch, &out->found_epoch, &out->end);
    if (out->end.offset < 0) { /* as in a comparison of a fetch */
        out->found_epoch = log_latest_epoch(part->log);
        out->end = log_end(part->log);
    }
}

bool partition_shown_asked(struct partition *part, const struct partition_request *request,
                           struct partition_answer *out)
{
    int32_t epoch = request->head.leader_epoch;
    struct log_point own, shown;
    bool applied;

    *out = (struct partition_answer){.head = request->head, .from = SHOWN_FROM_NOTHING};
    pthread_mutex_lock(&part->lock);
    applied = part->registration.leader_epoch >= epoch;
    if (applied && epoch > part->shown.told)
        part->shown.told = epoch; /* what was said in earlier ones is not shown any more */
    shown = own = part->isr.high_watermark;
    if (part->shown.point.position > own.position) {
        shown = part->shown.point;
        out->from.epoch = part->shown.epoch;
        out->from.record_epoch = part->shown.record_epoch;
    }
    pthread_mutex_unlock(&part->lock);
    out->upto = shown.offset;
    out->position = shown.position;
    say_log(part, request->epoch, own, &out->from);
    return applied;
}

/* ---- start ---- */

void partition_shown_init(struct partition *part)
{
    part->shown.told = -1;
    partition_alarm_init(&part->shown.alarm, part, &part->lock, on_alarm);
}
