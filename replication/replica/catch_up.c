/* replication/replica/catch_up.c: the states of catch_up.h. A piece is half of what may be under way, so that the next
 * one is on its way while the last one is written. */
#include "replication/replica/catch_up.h"

#include "replication/base/limits.h"

/* ---- live traffic ---- */

void live_traffic_sent(struct live_traffic *live, int64_t bytes)
{
    atomic_fetch_add_explicit(&live->bytes, bytes, memory_order_relaxed);
}

void live_traffic_beat(struct live_traffic *live)
{
    int64_t bytes = atomic_load(&live->bytes);
    int left = atomic_load(&live->beats_left);

    if (bytes > 0) /* first, so that it is busy all the while */
        atomic_store(&live->beats_left, LIMIT_BUSY_BEATS);
    else if (left > 0)
        atomic_store(&live->beats_left, left - 1);
    atomic_store(&live->beat_bytes, bytes);
    atomic_fetch_sub(&live->bytes, bytes);
}

bool live_traffic_is_busy(const struct live_traffic *live)
{
    return atomic_load_explicit(&live->bytes, memory_order_relaxed) > 0 || atomic_load(&live->beats_left) > 0;
}

/* ---- what catches up ---- */

void catch_up_count(struct catch_up *catch_up, int64_t *counted, int64_t now)
{
    atomic_fetch_add(&catch_up->under_way, now - *counted);
    *counted = now;
}

void catch_up_sent(struct catch_up *catch_up, int64_t bytes)
{
    atomic_fetch_add(&catch_up->sent, bytes);
}

void catch_up_beat(struct catch_up *catch_up, const struct live_traffic *live)
{
    int64_t sent = atomic_load(&catch_up->sent);
    int64_t bytes = sent - atomic_load(&catch_up->beat_sent);
    bool goes_on = bytes > 0 || atomic_load(&catch_up->under_way) > 0;

    atomic_store(&catch_up->slow, goes_on && bytes < LIMIT_CATCH_UP_TIMES_LEAST * atomic_load(&live->beat_bytes));
    atomic_store(&catch_up->beat_sent, sent);
}

static uint32_t piece_of(int64_t window_bytes)
{
    int64_t half = window_bytes / 2;

    return (uint32_t)(half < LIMIT_PIECE_BYTES ? half : LIMIT_PIECE_BYTES);
}

/* How long it is to rest after a burst. */
static int64_t rest_us(const struct catch_up *catch_up, const struct live_traffic *live, int64_t now_us)
{
    int64_t took_us = now_us - catch_up->burst_us;
    int64_t beat_bytes = atomic_load(&catch_up->sent) - atomic_load(&catch_up->beat_sent);

    if (beat_bytes < LIMIT_CATCH_UP_TIMES * atomic_load(&live->beat_bytes))
        return 0;
    return took_us < LIMIT_CATCH_UP_REST_MS * 1000 ? took_us : LIMIT_CATCH_UP_REST_MS * 1000;
}

static uint32_t room_busy(struct catch_up *catch_up, const struct live_traffic *live, int64_t now_us, int64_t *wait_us)
{
    bool full = catch_up->bursts && atomic_load(&catch_up->sent) - catch_up->burst_sent >= LIMIT_BURST_BYTES;

    if ((full || !catch_up->bursts) && atomic_load(&catch_up->under_way) > 0)
        return 0;
    if (full)
        catch_up->rest_until_us = now_us + rest_us(catch_up, live, now_us);
    if (full)
        catch_up->bursts = false;
    if (now_us < catch_up->rest_until_us) {
        *wait_us = catch_up->rest_until_us - now_us;
        return 0;
    }
    if (!catch_up->bursts) {
        catch_up->bursts = true;
        catch_up->burst_sent = atomic_load(&catch_up->sent);
        catch_up->burst_us = now_us;
    }
    return piece_of(LIMIT_BURST_BYTES);
}

uint32_t catch_up_room(struct catch_up *catch_up, const struct live_traffic *live, int64_t now_us, int64_t *wait_us)
{
    uint32_t piece = piece_of(LIMIT_CATCH_UP_BYTES);

    *wait_us = 0;
    if (live_traffic_is_busy(live) && !atomic_load(&catch_up->slow))
        return room_busy(catch_up, live, now_us, wait_us);
    catch_up->bursts = false;
    catch_up->rest_until_us = 0;
    return atomic_load(&catch_up->under_way) + piece <= LIMIT_CATCH_UP_BYTES ? piece : 0;
}
