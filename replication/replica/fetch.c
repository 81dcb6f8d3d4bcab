/* replication/replica/fetch.c: each function is one kind of event of the drawing in fetch.h. */
#include "replication/replica/fetch.h"

#include "engine/base/bugs.h"

static void restart(struct fetch *fetch)
{
    fetch->state = fetch->leader != 0 && fetch->session != 0 ? FETCH_DUE : FETCH_IDLE;
    fetch->ack = false;
}

void fetch_follow(struct fetch *fetch, int32_t leader, int32_t leader_epoch, uint64_t session)
{
    fetch->leader = leader;
    fetch->leader_epoch = leader_epoch;
    fetch->session = session;
    fetch->full = false;
    restart(fetch);
}

void fetch_session(struct fetch *fetch, uint64_t session)
{
    fetch->session = session;
    restart(fetch);
}

enum fetch_verdict fetch_judge(const struct fetch *fetch, uint64_t session, int32_t leader_epoch, uint64_t round,
                               int64_t from)
{
    if ((fetch->state != FETCH_ASKED && fetch->state != FETCH_FED) || session != fetch->session ||
        (leader_epoch != fetch->leader_epoch && !BUG(fetches_not_fenced)) || round != fetch->round)
        return FETCH_DROP;
    return from >= 0 && from != fetch->next ? FETCH_ANEW : FETCH_TAKE;
}

void fetch_took(struct fetch *fetch, int64_t next, bool acks)
{
    fetch->state = FETCH_FED;
    fetch->next = next;
    fetch->full = false;
    fetch->ack = fetch->ack || acks;
}

void fetch_anew(struct fetch *fetch)
{
    restart(fetch);
}

void fetch_failed(struct fetch *fetch, bool full, int64_t now_ms)
{
    if (fetch->state == FETCH_IDLE)
        return;
    /* Said once, within the round that it belongs to; the round goes on with what the leader sends meanwhile, which is
     * dropped. */
    fetch->ack = full && !fetch->full;
    fetch->full = full;
    fetch->state = FETCH_PAUSED;
    fetch->since_ms = now_ms;
}

void fetch_repeat(struct fetch *fetch)
{
    fetch->ack = fetch->ack || fetch->state == FETCH_FED;
}

bool fetch_tick(struct fetch *fetch, int64_t now_ms)
{
    if ((fetch->state == FETCH_PAUSED && now_ms - fetch->since_ms >= FETCH_PAUSE_MS) ||
        (fetch->state == FETCH_ASKED && now_ms - fetch->since_ms >= FETCH_ANSWER_MS))
        restart(fetch);
    return fetch->state == FETCH_DUE || fetch->ack;
}

bool fetch_say(struct fetch *fetch, uint64_t round, int64_t end, int64_t now_ms)
{
    bool says = fetch->state == FETCH_DUE || fetch->ack;
    if (fetch->state == FETCH_DUE) {
        fetch->state = FETCH_ASKED;
        fetch->round = round;
        fetch->next = end;
        fetch->since_ms = now_ms;
    }
    fetch->ack = false;
    return says;
}

void fetch_unsaid(struct fetch *fetch, uint64_t round)
{
    if (fetch->round != round)
        return;
    if (fetch->state == FETCH_ASKED)
        fetch->state = FETCH_DUE;
    else
        fetch->ack = fetch->ack || fetch->state == FETCH_FED || fetch->state == FETCH_PAUSED;
}
