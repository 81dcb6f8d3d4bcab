/* How much is on its way to a peer for replicas that nobody waits for: much while nobody else is sent anything, a
 * little at a time beside live traffic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "replication/base/limits.h"
#include "replication/replica/catch_up.h"

enum { MS = 1000 };

static struct live_traffic live;
static struct catch_up peer;
static int64_t counted, now_us, wait_us;

static int setup(void **state)
{
    (void)state;
    memset(&live, 0, sizeof live);
    memset(&peer, 0, sizeof peer);
    counted = 0;
    now_us = 1000000;
    return 0;
}

static uint32_t room(void)
{
    return catch_up_room(&peer, &live, now_us, &wait_us);
}

static void send_piece(int64_t bytes)
{
    catch_up_sent(&peer, bytes);
    catch_up_count(&peer, &counted, counted + bytes);
}

static void acknowledge_all(void)
{
    catch_up_count(&peer, &counted, 0);
}

static void beat(void)
{
    live_traffic_beat(&live);
    catch_up_beat(&peer, &live);
}

/* Sends what there is room for, in pieces as large as may be. */
static int64_t send_all(void)
{
    int64_t sent = 0;
    for (uint32_t piece; (piece = room()) > 0; sent += piece)
        send_piece(piece);
    return sent;
}

static void quiet_a_window_is_under_way(void **state)
{
    (void)state;
    assert_int_equal(send_all(), LIMIT_CATCH_UP_BYTES);
    assert_int_equal(wait_us, 0); /* for an acknowledgement, and for no time */
    catch_up_count(&peer, &counted, counted - LIMIT_PIECE_BYTES);
    assert_int_equal(send_all(), LIMIT_PIECE_BYTES);
    acknowledge_all(); /* or the session is over */
    assert_int_equal(send_all(), LIMIT_CATCH_UP_BYTES);
}

static void it_is_busy_from_the_first_live_record_to_some_beats_after_the_last(void **state)
{
    (void)state;
    assert_false(live_traffic_is_busy(&live));
    live_traffic_sent(&live, 1);
    assert_true(live_traffic_is_busy(&live));
    live_traffic_beat(&live);
    for (int i = 0; i < LIMIT_BUSY_BEATS; i++) {
        assert_true(live_traffic_is_busy(&live));
        live_traffic_beat(&live);
    }
    assert_false(live_traffic_is_busy(&live));
}

static void busy_a_burst_is_under_way_and_then_it_rests_for_as_long(void **state)
{
    (void)state;
    live_traffic_sent(&live, 100);
    assert_int_equal(send_all(), LIMIT_BURST_BYTES);
    assert_int_equal(wait_us, 0);
    now_us += 3 * MS;
    assert_int_equal(room(), 0); /* not acknowledged yet */
    acknowledge_all();
    assert_int_equal(room(), 0);
    assert_int_equal(wait_us, 3 * MS);
    now_us += 2 * MS;
    assert_int_equal(room(), 0);
    assert_int_equal(wait_us, 1 * MS);
    now_us += 1 * MS;
    assert_int_equal(send_all(), LIMIT_BURST_BYTES);
}

/* A batch may be longer than a burst; and of the next one what is under way of the last counts. */
static void a_long_batch_is_a_burst(void **state)
{
    (void)state;
    live_traffic_sent(&live, 100);
    assert_true(room() > 0);
    send_piece(4 * LIMIT_BURST_BYTES);
    assert_int_equal(room(), 0);
    catch_up_count(&peer, &counted, 1);
    assert_int_equal(room(), 0);
    acknowledge_all();
    assert_int_equal(send_all(), LIMIT_BURST_BYTES); /* it took no time */
}

/* What the burst had left when there was nothing more to send comes much later. */
static void it_does_not_rest_for_long(void **state)
{
    (void)state;
    live_traffic_sent(&live, 100);
    assert_true(room() > 0);
    send_piece(LIMIT_BURST_BYTES / 4);
    acknowledge_all();
    now_us += 60000 * MS;
    assert_int_equal(send_all(), LIMIT_BURST_BYTES);
    acknowledge_all();
    assert_int_equal(room(), 0);
    assert_int_equal(wait_us, LIMIT_CATCH_UP_REST_MS * MS);
}

/* Sends a burst that takes a ms. Returns for how long it rests then. */
static int64_t burst_then_rest_us(void)
{
    assert_int_equal(send_all(), LIMIT_BURST_BYTES);
    now_us += MS;
    acknowledge_all();
    return room() > 0 ? 0 : wait_us;
}

/* The goal: who catches up is ten times as fast as those who write (here 200 KiB a beat). */
static void it_does_not_rest_while_it_is_slower_than_the_writers_times_ten(void **state)
{
    int bursts = 0;

    (void)state;
    live_traffic_sent(&live, 200 << 10);
    beat();
    while (burst_then_rest_us() == 0)
        bursts++;
    assert_int_equal(bursts, 3); /* the fourth burst makes it 2,048 KiB */
    now_us += wait_us;
    assert_int_equal(burst_then_rest_us(), MS);
    now_us += wait_us;
    beat();
    live_traffic_sent(&live, 200 << 10);
    beat();
    assert_int_equal(burst_then_rest_us(), 0);
}

/* Over a link on which a burst takes long, or beside writers that are fast, it would never get to the end. */
static void a_beat_in_which_it_was_hardly_faster_than_the_writers_is_as_quiet(void **state)
{
    (void)state;
    live_traffic_sent(&live, LIMIT_BURST_BYTES);
    assert_int_equal(send_all(), LIMIT_BURST_BYTES);
    beat();
    assert_int_equal(send_all(), LIMIT_CATCH_UP_BYTES - LIMIT_PIECE_BYTES); /* whole pieces */
    live_traffic_sent(&live, LIMIT_BURST_BYTES);
    beat();
    assert_int_equal(room(), 0); /* that was enough */
    acknowledge_all();
    live_traffic_sent(&live, LIMIT_BURST_BYTES);
    beat(); /* and now there was nothing to be sent */
    assert_int_equal(send_all(), LIMIT_BURST_BYTES);
}

/* What is under way from before stands in the way as long as it is. */
static void a_burst_begins_when_nothing_is_under_way(void **state)
{
    (void)state;
    assert_int_equal(send_all(), LIMIT_CATCH_UP_BYTES);
    live_traffic_sent(&live, 100);
    catch_up_count(&peer, &counted, 1);
    assert_int_equal(room(), 0);
    assert_int_equal(wait_us, 0);
    acknowledge_all();
    assert_int_equal(send_all(), LIMIT_BURST_BYTES);
}

static void quiet_again_it_does_not_rest(void **state)
{
    (void)state;
    live_traffic_sent(&live, 100);
    assert_int_equal(burst_then_rest_us(), MS);
    for (int i = 0; i <= LIMIT_BUSY_BEATS; i++)
        live_traffic_beat(&live);
    assert_int_equal(send_all(), LIMIT_CATCH_UP_BYTES);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        STORY(quiet_a_window_is_under_way),
        STORY(it_is_busy_from_the_first_live_record_to_some_beats_after_the_last),
        STORY(busy_a_burst_is_under_way_and_then_it_rests_for_as_long),
        STORY(a_long_batch_is_a_burst),
        STORY(it_does_not_rest_for_long),
        STORY(it_does_not_rest_while_it_is_slower_than_the_writers_times_ten),
        STORY(a_beat_in_which_it_was_hardly_faster_than_the_writers_is_as_quiet),
        STORY(a_burst_begins_when_nothing_is_under_way),
        STORY(quiet_again_it_does_not_rest),
    };

    return cmocka_run_group_tests_name("catch_up", tests, NULL, NULL);
}
