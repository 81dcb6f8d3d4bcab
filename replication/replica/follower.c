/* replication/replica/follower.c: the transitions of follower.h. */
#include "replication/replica/follower.h"

#include <assert.h>
#include <stddef.h>

#include "replication/base/limits.h"

/* ---- how long it takes ---- */

static void stop_timing(struct follower *follower)
{
    follower->timed_us = 0;
}

bool follower_times(const struct follower *follower)
{
    return follower->timed_us == 0;
}

void follower_time(struct follower *follower, int64_t now_us)
{
    assert(follower->sending && follower->timed_us == 0);
    follower->timed_us = now_us;
    follower->timed_offset = -1;
}

int64_t follower_timed(struct follower *follower)
{
    int64_t since_us = follower->timed_us;
    /* What is being sent can be acknowledged before its sender says that it was sent, but nothing further can. */
    int64_t all = follower->timed_offset < 0 ? follower->sent.offset + 1 : follower->timed_offset;

    if (since_us == 0 || follower->acked.offset < all)
        return 0;
    stop_timing(follower);
    return since_us;
}

/* ---- its states ---- */

void follower_silence(struct follower *follower)
{
    stop_timing(follower);
    follower->state = FOLLOWER_SILENT;
    follower->round = 0;
    follower->session = 0;
}

void follower_cut(struct follower *follower, uint64_t session, uint64_t round)
{
    stop_timing(follower);
    follower->state = FOLLOWER_CUTTING;
    follower->session = session;
    follower->round = round;
}

void follower_begin(struct follower *follower, uint64_t session, uint64_t round, struct log_point end, uint32_t credit)
{
    stop_timing(follower);
    follower->state = FOLLOWER_SERVED;
    follower->session = session;
    follower->round = round;
    follower->sent = follower->acked = follower->caught_to = end;
    follower->credit = credit;
    follower->caught_bytes = 0;
    follower->stuck = false;
    follower->answered = false;
    follower->told_mark = follower->told_start = -1;
}

bool follower_ack(struct follower *follower, uint64_t session, uint64_t round, struct log_point end, uint32_t credit)
{
    bool beyond = end.offset > follower->sent.offset || end.position > follower->sent.position;
    /* What is being sent counts as sent when the send has returned, and can be acknowledged before that. */
    if (follower->state != FOLLOWER_SERVED || session != follower->session || round != follower->round ||
        (beyond && !follower->sending))
        return false;
    if (end.offset > follower->acked.offset) {
        follower->acked = end;
        follower->still_beats = 0;
        follower->stuck = false;
    }
    follower->credit = credit;
    return true;
}

int64_t follower_catching_up(const struct follower *follower)
{
    int64_t left = follower->caught_to.position - follower->acked.position;

    if (follower->state != FOLLOWER_SERVED || follower->stuck || left <= 0)
        return 0;
    return left < follower->caught_bytes ? left : follower->caught_bytes;
}

void follower_beat(struct follower *follower)
{
    if (follower_catching_up(follower) > 0 && follower->still_beats++ >= LIMIT_STUCK_BEATS)
        follower->stuck = true;
}

void follower_catches_up(struct follower *follower, uint64_t round, const struct log_point *end, int64_t bytes)
{
    if (follower->state != FOLLOWER_SERVED || follower->round != round)
        return;
    if (follower_catching_up(follower) == 0) {
        follower->caught_bytes = 0;
        follower->still_beats = 0;
    }
    follower->caught_to = *end;
    follower->caught_bytes += bytes;
}

bool follower_take(struct follower *follower, int64_t base, uint32_t bytes)
{
    int64_t under_way = follower->sent.position - follower->acked.position;
    if (follower->state != FOLLOWER_SERVED || follower->sending || follower->stuck ||
        (base >= 0 && base != follower->sent.offset) || (under_way > 0 && under_way + bytes > follower->credit))
        return false;
    follower->sending = true;
    return true;
}

uint32_t follower_room(const struct follower *follower)
{
    int64_t under_way = follower->sent.position - follower->acked.position;
    return under_way < follower->credit ? follower->credit - (uint32_t)under_way : 1;
}

void follower_sent(struct follower *follower, uint64_t round, const struct log_point *end, int64_t mark, int64_t start)
{
    assert(follower->sending);
    follower->sending = false;
    if (follower->timed_us != 0 && follower->timed_offset < 0) {
        if (end != NULL && end->offset > follower->sent.offset)
            follower->timed_offset = end->offset;
        else
            stop_timing(follower); /* nothing was sent that would be acknowledged */
    }
    if (end == NULL || follower->state != FOLLOWER_SERVED || follower->round != round)
        return;
    follower->sent = *end;
    follower->answered = true;
    follower->told_mark = mark;
    follower->told_start = start;
}
