/* What was shown stays in view, also where it is lost. */
#include "engine/log/log_internal.h"
#include "replication/replica/remote.h"
#include "replication/wire/forward_message.h"
#include "tests/unit/cluster_orders.h"

static void append_one(int32_t id, int number)
{
    struct appended appended;
    append_at(id, &appended, number);
    cluster_await(c, LONG_MS, appended.calls == 1);
    assert_int_equal(appended.rc, 0);
}

static void a_hole_at_the_end_comes_to_the_followers(void **state)
{
    (void)state;
    make_orders();
    append_one(1, 10);
    int32_t leader = leader_at(1);
    struct partition *part = partition_at(leader);
    struct log_point to = log_end(part->log);
    to.offset += 5;
    to.position += 50;
    assert_int_equal(log_skip(part->log, part->leader_epoch, to, NULL), 0);
    partition_commit(part, to);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(id)).offset == to.offset);
    append_one(1, 11);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(id)).offset == to.offset + 1);
}

static void led_at(int32_t leader)
{
    struct cluster_op op;
    assert_int_equal(
        cluster_op_end(c, &op, node_set_leader(c->nodes[leader].node, cluster_op_init(&op), "orders", 0, leader)), 0);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, leader_at(id) == leader);
}

/* It has an epoch as records have: the next leader knows it, and has nobody cut it off. */
static void a_hole_at_the_end_is_of_its_leaders_epoch(void **state)
{
    (void)state;
    make_orders();
    append_one(1, 10);
    int32_t first = leader_at(1), second = first % 3 + 1, third = second % 3 + 1;
    led_at(second);
    struct partition *part = partition_at(second);
    cluster_await(c, LONG_MS, atomic_load(&part->epoch.assigned));
    struct log_point to = {6, log_end(part->log).position + 50};
    assert_int_equal(log_skip(part->log, part->leader_epoch, to, NULL), 0);
    partition_commit(part, to);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(id)).offset == 6);
    uint32_t cuts = log_cuts(part->log);
    led_at(third);
    append_one(1, 11);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(id)).offset == 7);
    assert_int_equal(log_cuts(part->log), cuts);
}

/* Of all of which there is something. */
static void assert_same_epochs(int32_t a, int32_t b)
{
    int32_t last = log_epoch_before(partition_at(a)->log, log_end(partition_at(a)->log).offset);
    for (int32_t epoch = 0; epoch <= last; epoch++) {
        int32_t found[2];
        struct log_point end[2];
        log_epoch_end(partition_at(a)->log, epoch, &found[0], &end[0]);
        log_epoch_end(partition_at(b)->log, epoch, &found[1], &end[1]);
        assert_int_equal(found[0], found[1]);
        assert_int_equal(end[0].offset, end[1].offset);
    }
}

/* Nor does who copies what is behind it take the epoch in front of it for longer than it was: by that an fsync knows
 * what is lost. */
static void a_hole_in_front_of_a_record_is_of_that_ones_epoch(void **state)
{
    (void)state;
    make_orders();
    append_one(1, 10);
    int32_t first = leader_at(1), second = first % 3 + 1, third = second % 3 + 1;
    led_at(second);
    struct partition *part = partition_at(second);
    cluster_await(c, LONG_MS, atomic_load(&part->epoch.assigned));
    cluster_stop(c, third);
    cluster_await(c, LONG_MS, isr_at(second) == 2);
    struct log_point to = {6, log_end(part->log).position + 50};
    assert_int_equal(log_skip(part->log, part->leader_epoch, to, NULL), 0);
    partition_commit(part, to);
    append_one(second, 11);
    append_one(second, 12);
    cluster_start(c, third);
    cluster_await(c, LONG_MS, isr_at(second) == 3);
    assert_int_equal(log_end(partition_at(third)->log).offset, 8);
    assert_same_epochs(second, first);
    assert_same_epochs(second, third);
    /* One that has nothing gets the records in front of the hole and behind it, and one at a log's end. */
    led_at(third);
    part = partition_at(third);
    cluster_await(c, LONG_MS, atomic_load(&part->epoch.assigned));
    to = (struct log_point){20, log_end(part->log).position + 50};
    assert_int_equal(log_skip(part->log, part->leader_epoch, to, NULL), 0);
    partition_commit(part, to);
    atomic_store(&partition_at(first)->log->bad_reported, true); /* it fetches all of it again */
    cluster_await(c, LONG_MS, !atomic_load(&partition_at(first)->log->bad_reported) && isr_at(third) == 3);
    assert_int_equal(log_end(partition_at(first)->log).offset, 20);
    assert_same_epochs(third, first);
}

/* Scripts compare it: it has one order, whoever leads. */
static void the_isr_is_in_the_order_of_the_ids(void **state)
{
    struct partition_info info;
    (void)state;
    assert_int_equal(cluster_mkdir(c, 1, "first"), 0);
    make_orders(); /* so that another node leads it than the first */
    for (int32_t id = 1; id <= 3; id++) {
        partition_info(partition_at(id), &info);
        assert_int_equal(info.replicas.ids[0], 2);
        assert_true(replica_set_equal(&info.isr, &(struct replica_set){3, {1, 2, 3}}));
    }
}

/* Three nodes, two of which have a replica: *elsewhere has none. */
static void make_orders_of_two(int32_t *leader, int32_t *follower, int32_t *elsewhere)
{
    struct cluster_op op;
    assert_int_equal(
        cluster_op_end(
            c, &op, node_set_config(c->nodes[1].node, cluster_op_init(&op), NULL, "default.replication.factor", "2")),
        0);
    assert_int_equal(cluster_op_end(c, &op,
                                    node_set_config(c->nodes[1].node, cluster_op_init(&op), NULL,
                                                    "unclean.leader.election.enable", "true")),
                     0);
    assert_int_equal(cluster_mkdir(c, 1, "orders"), 0);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, leader_at(id) != LEADER_NONE && isr_at(id) == 2);
    *leader = leader_at(1);
    *follower = partition_at(1)->registration.replicas.ids[1];
    *elsewhere = 6 - *leader - *follower;
}

static void what_an_unclean_election_loses_is_a_hole(void **state)
{
    char text[64];
    int32_t leader, follower, elsewhere;
    (void)state;
    make_orders_of_two(&leader, &follower, &elsewhere);
    append_one(leader, 10);
    cluster_await(c, LONG_MS, log_end(partition_at(follower)->log).offset == 1);
    cluster_kill(c, follower);
    cluster_await(c, LONG_MS, isr_at(leader) == 1);
    append_one(elsewhere, 11);
    append_one(elsewhere, 12);
    assert_int_equal(partition_high_watermark(partition_at(elsewhere)).position, 9);
    cluster_kill(c, leader);
    cluster_start(c, follower);
    cluster_await(c, LONG_MS, leader_at(elsewhere) == follower);
    cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(follower)).offset == 3);
    assert_int_equal(partition_own_high_watermark(partition_at(follower)).position, 9);
    assert_int_equal(partition_high_watermark(partition_at(elsewhere)).position, 9);
    append_one(elsewhere, 13);
    assert_int_equal(partition_own_high_watermark(partition_at(follower)).position, 12);
    text_of(partition_at(follower), text, sizeof text);
    assert_string_equal(text, "10\n13\n");
    /* Who had it has it no more: no position has two contents. */
    cluster_start(c, leader);
    cluster_await(c, LONG_MS, isr_at(follower) == 2);
    cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(leader)).position == 12);
    text_of(partition_at(leader), text, sizeof text);
    assert_string_equal(text, "10\n13\n");
}

/* Who is elected from the ISR has all of it, and asks nobody. */
static void who_was_in_sync_asks_nobody(void **state)
{
    int32_t leader, follower, elsewhere;
    (void)state;
    make_orders_of_two(&leader, &follower, &elsewhere);
    append_one(elsewhere, 10);
    cluster_kill(c, leader);
    cluster_await(c, LONG_MS, leader_at(follower) == follower);
    assert_false(partition_asks_shown(partition_at(follower)));
    append_one(elsewhere, 11);
    assert_int_equal(partition_own_high_watermark(partition_at(follower)).position, 6);
}

/* As the cluster decided it, so many changes later: at this node alone. */
static void decide_at(int32_t id, int changes, int32_t leader)
{
    struct partition *part = partition_at(id);
    struct partition_registration next = part->registration;
    next.leader = leader;
    next.isr = (struct replica_set){.count = 1, .ids = {leader}};
    next.leader_epoch++;
    next.partition_epoch += changes;
    partition_set_registration(part, &next);
}

/* A snapshot in the place of records: who was in sync when the last one was applied need not have been since. */
static void who_missed_a_change_asks(void **state)
{
    (void)state;
    make_orders();
    int32_t leader = leader_at(1), first = leader % 3 + 1, second = first % 3 + 1;
    decide_at(first, 1, first);
    assert_false(partition_asks_shown(partition_at(first)));
    decide_at(second, 2, second);
    assert_true(partition_asks_shown(partition_at(second)));
}

/* Another epoch with the same leader: it has moved nothing yet, and is alone in sync in what it applied last. */
static void an_epoch_that_comes_while_it_asks_asks_anew(void **state)
{
    int32_t leader, follower, elsewhere;
    (void)state;
    make_orders_of_two(&leader, &follower, &elsewhere);
    append_one(leader, 10);
    cluster_await(c, LONG_MS, log_end(partition_at(follower)->log).offset == 1);
    cluster_kill(c, follower);
    cluster_await(c, LONG_MS, isr_at(leader) == 1);
    append_one(elsewhere, 11);
    append_one(elsewhere, 12);
    cluster_kill(c, leader);
    cluster_start(c, follower);
    /* It asks, and is not answered. */
    while (leader_at(follower) != follower || leader_at(elsewhere) != follower) {
        if (!hand_step(&c->nodes[follower].hand) && !memory_step(&c->network) && !hand_step(&c->nodes[elsewhere].hand))
            atomic_fetch_add(&c->clock.passed_ms, 5);
    }
    assert_true(partition_asks_shown(partition_at(follower)));
    decide_at(follower, 1, follower);
    assert_true(partition_asks_shown(partition_at(follower)));
    decide_at(elsewhere, 1, follower);
    cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(follower)).position == 9);
    assert_int_equal(partition_own_high_watermark(partition_at(follower)).offset, 3);
}

/* An answer, or an acknowledgement, that a leader gave before: who leads now was told less. */
static void what_earlier_leaders_said_shows_nothing_more(void **state)
{
    struct partition_request request = {.epoch = -1};
    struct partition_answer out;
    struct log_point more = {5, 50};
    int32_t leader, follower, elsewhere;
    (void)state;
    make_orders_of_two(&leader, &follower, &elsewhere);
    append_one(elsewhere, 10);
    struct partition *part = partition_at(elsewhere);
    int32_t epoch = part->registration.leader_epoch;
    request.head.leader_epoch = epoch + 1;
    assert_false(partition_shown_asked(part, &request, &out));
    assert_true(remote_show(part, (struct log_point){2, 6}, epoch, epoch));
    request.head.leader_epoch = epoch;
    assert_true(partition_shown_asked(part, &request, &out));
    assert_int_equal(out.position, 6);
    assert_false(remote_show(part, more, epoch - 1, epoch - 1));
    assert_int_equal(partition_high_watermark(part).position, 6);
    assert_true(remote_show(part, more, epoch, epoch));
    assert_int_equal(partition_high_watermark(part).position, 50);
}

/* The leader, cut off, has two lines more that only it has: of others the next one makes what is shown, and is lost. */
static void lose_what_followed_a_tail(int32_t *first, int32_t *second, int32_t *third, struct appended tail[2],
                                      enum acks acks)
{
    make_orders_of_two(first, second, third);
    append_one(*first, 10);
    cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(*second)).offset == 1);
    memory_cut(&c->network, *first, *second, true);
    memory_cut(&c->network, *first, *third, true);
    for (int i = 0; i < 2; i++)
        append_acks_at(*first, &tail[i], 77 + i, acks);
    cluster_settle(c);
    assert_int_equal(log_end(partition_at(*first)->log).offset, 3);
    cluster_await(c, LONG_MS, leader_at(*third) == *second);
}

static void two_more_are_shown(int32_t at)
{
    append_one(at, 11);
    append_one(at, 12);
    assert_int_equal(partition_high_watermark(partition_at(at)).position, 9);
}

/* Nobody lives who has a replica of what was shown: the tail would stand where other bytes were. */
static void a_tail_of_its_own_is_cut_by_whom_shows_another(void **state)
{
    char text[64];
    struct appended tail[2];
    int32_t first, second, third;
    (void)state;
    lose_what_followed_a_tail(&first, &second, &third, tail, ACKS_LEADER);
    assert_int_equal(tail[1].calls, 1);
    assert_int_equal(tail[1].rc, 0);
    two_more_are_shown(third);
    cluster_kill(c, first);
    memory_cut(&c->network, first, second, false);
    memory_cut(&c->network, first, third, false);
    cluster_kill(c, second);
    cluster_start(c, first);
    cluster_await(c, LONG_MS, leader_at(third) == first);
    cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(first)).offset == 3);
    assert_int_equal(partition_own_high_watermark(partition_at(first)).position, 9);
    text_of(partition_at(first), text, sizeof text);
    assert_string_equal(text, "10\n");
    append_one(third, 13);
    text_of(partition_at(first), text, sizeof text);
    assert_string_equal(text, "10\n13\n");
}

/* What the asker's log has in front of the skip: what one that answers has there, below its own high watermark. */
static void a_tail_is_compared_with_the_logs_of_others(void **state)
{
    struct partition_request request = {.head = {.number = 1}};
    struct partition_answer answer;
    struct appended tail[2];
    int32_t first, second, third;
    (void)state;
    lose_what_followed_a_tail(&first, &second, &third, tail, ACKS_LEADER);
    two_more_are_shown(third);
    struct partition *part = partition_at(second);
    request.head.leader_epoch = part->registration.leader_epoch;
    request.epoch = log_latest_epoch(partition_at(first)->log);
    assert_true(partition_shown_asked(part, &request, &answer));
    assert_int_equal(answer.upto, 3);
    assert_int_equal(answer.from.epoch, -1);
    assert_int_equal(answer.from.found_epoch, request.epoch);
    assert_int_equal(answer.from.end.offset, 1);
    assert_int_equal(answer.from.own.offset, 3);
    request.head.leader_epoch = partition_at(third)->registration.leader_epoch;
    assert_true(partition_shown_asked(partition_at(third), &request, &answer));
    assert_int_equal(answer.from.epoch, part->registration.leader_epoch);
    assert_int_equal(answer.from.own.offset, -1);
    /* The first one is told so, as if it had come to lead. */
    decide_at(first, 2, second);
    decide_at(first, 1, first);
    struct partition *asker = partition_at(first);
    assert_true(partition_asks_shown(asker));
    while (hand_step(&c->nodes[first].hand))
        ;
    answer = (struct partition_answer){.head = {.number = 1, .leader_epoch = asker->registration.leader_epoch},
                                       .upto = 3,
                                       .position = 9,
                                       .from = {-1, -1, request.epoch, {1, 3}, {3, 9}}};
    partition_shown_answer(asker, second, &answer);
    cluster_await(c, LONG_MS, !partition_asks_shown(asker));
    assert_int_equal(log_end(asker->log).offset, 3);
    assert_int_equal(log_end(asker->log).position, 9);
    char text[64];
    text_of(asker, text, sizeof text);
    assert_string_equal(text, "10\n");
}

/* That another one led, and is lost, it never hears: what it applies next is that it leads once more. What waited in
 * its log is not there any more when that ends where it did, and is appended anew. */
static void who_missed_that_another_one_led_begins_as_any_leader(void **state)
{
    char text[64];
    struct appended tail[2];
    int32_t first, second, third;
    (void)state;
    lose_what_followed_a_tail(&first, &second, &third, tail, ACKS_ALL);
    two_more_are_shown(third);
    struct partition *part = partition_at(first);
    struct partition_registration again = partition_at(third)->registration;
    int32_t epoch = log_latest_epoch(part->log), between = again.leader_epoch;
    again.leader = first;
    again.isr = (struct replica_set){.count = 1, .ids = {first}};
    again.leader_epoch++;
    again.partition_epoch++;
    assert_true(again.partition_epoch > part->registration.partition_epoch + 1);
    partition_set_registration(part, &again);
    assert_true(partition_asks_shown(part));
    while (hand_step(&c->nodes[first].hand))
        ;
    assert_int_equal(tail[0].calls + tail[1].calls, 0);
    struct partition_answer answer = {.head = {.number = 1, .leader_epoch = again.leader_epoch},
                                      .upto = 3,
                                      .position = 9,
                                      .from = {between, between, -1, {-1, -1}, {-1, -1}}};
    assert_true(epoch < between);
    /* By who has elected it. */
    atomic_store(&c->nodes[first].node->membership.lease_until_ms, INT64_MAX);
    partition_shown_answer(part, third, &answer);
    cluster_await(c, LONG_MS, tail[0].calls == 1 && tail[1].calls == 1);
    text_of(part, text, sizeof text);
    assert_string_equal(text, "10\n77\n78\n");
    assert_int_equal(tail[0].rc, 0);
    assert_int_equal(tail[1].rc, 0);
    assert_int_equal(tail[0].op.result.base.offset, 3);
    assert_int_equal(log_end(part->log).offset, 5);
}

/* An fsync of what was acknowledged in that epoch, of this node's own or of another one's. */
static void flush_at(int32_t id, struct flushed *flushed, int64_t upto, int32_t epoch, bool from_peer)
{
    *flushed = (struct flushed){.op = {.part = partition_at(id),
                                       .upto = upto,
                                       .leader_epoch = epoch,
                                       .from_peer = from_peer,
                                       .timeout_ms = LONG_MS,
                                       .done = on_flushed}};
    assert_int_equal(partition_flush_submit(&flushed->op), 0);
}

/* What it had acknowledged alone is cut off when its epoch begins, and none of it was when it was asked for. */
static void what_is_cut_off_is_on_no_disk(void **state)
{
    struct appended tail[2];
    struct flushed before, after, peer;
    int32_t first, second, third;
    (void)state;
    lose_what_followed_a_tail(&first, &second, &third, tail, ACKS_LEADER);
    two_more_are_shown(third);
    struct partition *part = partition_at(first);
    struct partition_registration again = partition_at(third)->registration;
    int32_t epoch = log_latest_epoch(part->log), between = again.leader_epoch;
    flush_at(first, &before, 3, epoch, false);
    again.leader = first;
    again.isr = (struct replica_set){.count = 1, .ids = {first}};
    again.leader_epoch++;
    again.partition_epoch++;
    partition_set_registration(part, &again);
    assert_true(partition_asks_shown(part));
    flush_at(first, &after, 3, epoch, false);
    flush_at(first, &peer, 3, epoch, true);
    while (hand_step(&c->nodes[first].hand))
        ;
    assert_true(before.calls + after.calls + peer.calls == 0);
    struct partition_answer answer = {.head = {.number = 1, .leader_epoch = again.leader_epoch},
                                      .upto = 3,
                                      .position = 9,
                                      .from = {between, between, -1, {-1, -1}, {-1, -1}}};
    atomic_store(&c->nodes[first].node->membership.lease_until_ms, INT64_MAX);
    partition_shown_answer(part, third, &answer);
    cluster_await(c, LONG_MS, before.calls + after.calls + peer.calls == 3);
    assert_int_equal(log_end(part->log).offset, 3);
    assert_int_equal(before.rc, -EIO);
    assert_int_equal(after.rc, -EIO);
    assert_int_equal(peer.rc, -EIO);
}

/* It has heard what was shown, and its epoch has not begun: what that cuts is no end of an earlier one. */
static void an_epoch_ends_where_it_does_once_the_next_has_begun(void **state)
{
    struct appended tail[2];
    int32_t first, second, third, now;
    int64_t end = -1;
    (void)state;
    lose_what_followed_a_tail(&first, &second, &third, tail, ACKS_LEADER);
    struct partition *part = partition_at(first);
    int32_t epoch = part->registration.leader_epoch;
    decide_at(first, 2, LEADER_NONE);
    decide_at(first, 1, first);
    assert_true(partition_asks_shown(part));
    assert_int_equal(partition_epoch_end(part, epoch, &now, &end), 0);
    pthread_mutex_lock(&part->lock);
    part->shown.cut = part->isr.high_watermark;
    free(part->shown.round); /* as where there is no memory for it */
    part->shown.round = NULL;
    atomic_store(&part->shown.state, SHOWN_HEARD);
    pthread_mutex_unlock(&part->lock);
    assert_int_equal(partition_epoch_end(part, epoch, &now, &end), 1);
    assert_int_equal(end, 1);
    assert_int_equal(log_end(part->log).offset, 1);
}

struct begun {
    struct log_flush flush;
    struct partition *part;
    int calls;
    bool free;
};

static void on_flushed_by_begin(struct log_flush *flush, int rc)
{
    struct begun *begun = CONTAINER_OF(flush, struct begun, flush);
    begun->calls++;
    begun->free = rc == 0 && pthread_mutex_trylock(&begun->part->life_lock) == 0;
    if (begun->free)
        pthread_mutex_unlock(&begun->part->life_lock);
}

/* The log's end is moved, and flushed with what others wait for: who is told may come back to it at once. */
static void who_waits_for_a_flush_is_told_with_no_lock_held(void **state)
{
    struct partition_answer answer;
    (void)state;
    make_orders();
    append_one(1, 10);
    int32_t id = leader_at(1) % 3 + 1;
    struct partition *part = partition_at(id);
    decide_at(id, 2, id);
    while (hand_step(&c->nodes[id].hand))
        ;
    answer = (struct partition_answer){.head = {.number = 1, .leader_epoch = part->registration.leader_epoch},
                                       .upto = 3,
                                       .position = 9,
                                       .from = {-1, -1, -1, {-1, -1}, {-1, -1}}};
    struct begun begun = {.flush = {.upto = 1, .done = on_flushed_by_begin}, .part = part};
    part->log->flush_state = FLUSH_RUNNING; /* so that it waits */
    assert_int_equal(log_flush(part->log, &begun.flush), 0);
    part->log->flush_state = FLUSH_LEFT;
    partition_shown_answer(part, id % 3 + 1, &answer);
    cluster_await(c, LONG_MS, !partition_asks_shown(part));
    assert_int_equal(log_end(part->log).offset, 3);
    assert_int_equal(log_recovery_point(part->log), 3);
    assert_int_equal(begun.calls, 1);
    assert_true(begun.free);
}

/* Of the only replica, too: what was cut off is not held by it. */
static void the_only_one_that_missed_it_knows_where_its_log_ends(void **state)
{
    struct appended tail[3];
    struct cluster_op op;
    (void)state;
    assert_int_equal(
        cluster_op_end(
            c, &op, node_set_config(c->nodes[1].node, cluster_op_init(&op), NULL, "default.replication.factor", "1")),
        0);
    assert_int_equal(cluster_op_end(c, &op,
                                    node_set_config(c->nodes[1].node, cluster_op_init(&op), NULL,
                                                    "unclean.leader.election.enable", "true")),
                     0);
    assert_int_equal(cluster_mkdir(c, 1, "orders"), 0);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, leader_at(id) != LEADER_NONE);
    int32_t leader = leader_at(1);
    struct partition *part = partition_at(leader);
    cluster_await(c, LONG_MS, !partition_asks_shown(part));
    atomic_store(&part->settings.min_insync_config, 2); /* as a setting */
    partition_set_min_insync(part);
    for (int i = 0; i < 3; i++)
        append_acks_at(leader, &tail[i], 77 + i, ACKS_LEADER);
    cluster_settle(c);
    assert_int_equal(log_end(part->log).offset, 3);
    assert_int_equal(partition_own_high_watermark(part).offset, 0);
    struct partition_registration again = part->registration;
    again.leader_epoch += 2;
    again.partition_epoch += 2;
    partition_set_registration(part, &again);
    assert_true(partition_asks_shown(part));
    cluster_pass(c, 200); /* they are asked, and do not know of it yet */
    struct partition_answer answer = {.head = {.number = 1, .leader_epoch = again.leader_epoch},
                                      .upto = 1,
                                      .position = 3,
                                      .from = {9, 9, -1, {-1, -1}, {-1, -1}}};
    partition_shown_answer(part, leader % 3 + 1, &answer);
    cluster_await(c, LONG_MS, !partition_asks_shown(part));
    assert_int_equal(log_end(part->log).offset, 1);
    atomic_store(&part->settings.min_insync_config, 1);
    partition_set_min_insync(part);
    partition_resume(part);
    assert_int_equal(partition_own_high_watermark(part).offset, 1);
}

/* A leader alone with a record of its own behind one that all have, which asks what was shown, and is answered so. */
static struct partition *asks_and_hears(int64_t upto, struct shown_from from)
{
    static struct appended tail; /* answered after this */
    make_orders();
    int32_t leader = leader_at(1), second = leader % 3 + 1, third = second % 3 + 1;
    append_one(leader, 10);
    memory_cut(&c->network, leader, second, true);
    memory_cut(&c->network, leader, third, true);
    append_acks_at(leader, &tail, 77, ACKS_LEADER);
    cluster_settle(c);
    struct partition *asker = partition_at(leader);
    assert_int_equal(log_end(asker->log).offset, 2);
    decide_at(leader, 2, leader); /* which does not come to lead in it */
    decide_at(leader, 2, leader);
    assert_true(partition_asks_shown(asker));
    while (hand_step(&c->nodes[leader].hand))
        ;
    struct partition_answer answer = {.head = {.number = 1, .leader_epoch = asker->registration.leader_epoch},
                                      .upto = upto,
                                      .position = 3 * upto,
                                      .from = from};
    partition_shown_answer(asker, second, &answer);
    cluster_await(c, LONG_MS, !partition_asks_shown(asker));
    return asker;
}

/* The leader of a later epoch has lost its power, and with the end of its log that epoch: what is left was shown. */
static void what_is_left_where_elections_are_clean_is_kept(void **state)
{
    struct log_point found;
    (void)state;
    struct partition *asker = asks_and_hears(5, (struct shown_from){9, 9, -1, {-1, -1}, {-1, -1}});
    assert_int_equal(log_end(asker->log).offset, 5);
    assert_int_equal(log_end(asker->log).position, 15);
    assert_int_equal(log_lookup_offset(asker->log, 1, log_end(asker->log), &found, NULL), 0);
    assert_int_equal(found.offset, 1);
}

/* The second one leads what the first one had lost its lead of in the first epoch, and asks once more. */
static struct partition *ask_after_unclean(int32_t *first, int32_t *second, int32_t *third, int32_t *lost_epoch)
{
    make_orders_of_two(first, second, third);
    append_one(*first, 10);
    cluster_await(c, LONG_MS, log_end(partition_at(*second)->log).offset == 1);
    *lost_epoch = partition_at(*first)->registration.leader_epoch;
    cluster_kill(c, *second);
    cluster_await(c, LONG_MS, isr_at(*first) == 1);
    append_one(*first, 11);
    append_one(*first, 12);
    cluster_kill(c, *first);
    cluster_start(c, *second);
    cluster_await(c, LONG_MS, leader_at(*third) == *second);
    append_one(*second, 21);
    append_one(*second, 22);
    assert_int_equal(partition_own_high_watermark(partition_at(*second)).offset, 3);
    decide_at(*second, 2, *first);
    decide_at(*second, 1, *second);
    struct partition *asker = partition_at(*second);
    int asks = asker != NULL ? atomic_load(&asker->shown.state) : SHOWN_KNOWN;
    assert_int_equal(asks, SHOWN_ASKING);
    cluster_pass(c, 200); /* they are asked, and do not know of it */
    return asker;
}

static void hear(struct partition *asker, int32_t from, int64_t upto, struct shown_from said)
{
    struct partition_answer answer = {.head = {.number = 1, .leader_epoch = asker->registration.leader_epoch},
                                      .upto = upto,
                                      .position = 3 * upto,
                                      .from = said};
    partition_shown_answer(asker, from, &answer);
}

/* Who led before an unclean election, and could not be asked then, has shown what was lost. What was acknowledged since
 * is not lost to that. Found by the simulator, seed 307554 of clusters. */
static void what_was_acknowledged_since_stays(void **state)
{
    int32_t first, second, third, lost_epoch;
    char text[64];
    (void)state;
    struct partition *asker = ask_after_unclean(&first, &second, &third, &lost_epoch);
    hear(asker, first, 3, (struct shown_from){-1, -1, lost_epoch, {3, 9}, {3, 9}});
    cluster_await(c, LONG_MS, !partition_asks_shown(asker));
    text_of(asker, text, sizeof text);
    assert_string_equal(text, "10\n21\n22\n");
}

/* What is not known to be committed goes where others were shown something else; that the other history went on for a
 * while makes none of it known. */
static void what_another_history_has_is_not_known_of_this_one(void **state)
{
    int32_t first, second, third, lost_epoch;
    char text[64];
    (void)state;
    struct partition *asker = ask_after_unclean(&first, &second, &third, &lost_epoch);
    pthread_mutex_lock(&asker->lock);
    asker->isr.high_watermark = (struct log_point){1, 3};
    pthread_mutex_unlock(&asker->lock);
    hear(asker, first, 2, (struct shown_from){-1, -1, lost_epoch, {2, 6}, {2, 6}});
    hear(asker, third, 5, (struct shown_from){9, 9, -1, {-1, -1}, {-1, -1}});
    cluster_await(c, LONG_MS, !partition_asks_shown(asker));
    text_of(asker, text, sizeof text);
    assert_string_equal(text, "10\n");
}

/* A replica that has begun anew behind what was deleted has no record yet, and so none that differs. Found by the
 * simulator, seed 1908 of clusters. */
static void who_has_no_records_has_none_that_differ(void **state)
{
    struct log_point found;
    (void)state;
    struct partition *asker = asks_and_hears(1, (struct shown_from){-1, -1, -1, {1, 3}, {1, 3}});
    assert_int_equal(log_end(asker->log).offset, 2);
    for (int64_t offset = 0; offset < 2; offset++) {
        assert_int_equal(log_lookup_offset(asker->log, offset, log_end(asker->log), &found, NULL), 0);
        assert_int_equal(found.offset, offset);
    }
}

static _Atomic bool no_room;

static int mkdir_without_room(struct io *io, int dirfd, const char *name, mode_t mode)
{
    (void)io;
    return atomic_load(&no_room) && strcmp(name, "orders-0") == 0 ? -ENOSPC
                                                                  : io_posix()->mkdir(io_posix(), dirfd, name, mode);
}

/* A power cut took its log, and the start has no room for another: what the checkpoint says is shown. When there is
 * room the log has nothing of it. Found by the simulator, seed 439106 of clusters. */
static void what_was_shown_while_there_was_no_room_for_the_log_stays(void **state)
{
    char command[160];
    struct err e;
    (void)state;
    make_orders();
    int32_t leader = leader_at(1), other = leader % 3 + 1, third = other % 3 + 1;
    append_one(leader, 10);
    cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(other)).offset == 1);
    cluster_kill(c, other);
    snprintf(command, sizeof command, "cd %s && rm -r topics/orders-0 recovery-point-offset-checkpoint",
             c->nodes[other].dir);
    assert_int_equal(system(command), 0);
    memory_cut(&c->network, other, leader, true);
    memory_cut(&c->network, other, third, true);
    c->nodes[other].disk.io.mkdir = mkdir_without_room;
    atomic_store(&no_room, true);
    cluster_start(c, other);
    cluster_await(c, LONG_MS, partition_at(other) != NULL);
    struct partition *part = partition_at(other);
    assert_null(part->log);
    assert_int_equal(partition_high_watermark(part).position, 3);
    atomic_store(&no_room, false);
    assert_int_equal(partition_reopen(part, &e), 0);
    assert_int_equal(partition_own_high_watermark(part).position, 0);
    assert_int_equal(partition_high_watermark(part).position, 3);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_three, cluster_teardown)
    const struct CMUnitTest tests[] = {
        STORY(a_hole_at_the_end_comes_to_the_followers),
        STORY(a_hole_at_the_end_is_of_its_leaders_epoch),
        STORY(a_hole_in_front_of_a_record_is_of_that_ones_epoch),
        STORY(the_isr_is_in_the_order_of_the_ids),
        STORY(what_an_unclean_election_loses_is_a_hole),
        STORY(who_was_in_sync_asks_nobody),
        STORY(who_missed_a_change_asks),
        STORY(an_epoch_that_comes_while_it_asks_asks_anew),
        STORY(what_earlier_leaders_said_shows_nothing_more),
        STORY(a_tail_of_its_own_is_cut_by_whom_shows_another),
        STORY(a_tail_is_compared_with_the_logs_of_others),
        STORY(who_missed_that_another_one_led_begins_as_any_leader),
        STORY(what_is_cut_off_is_on_no_disk),
        STORY(an_epoch_ends_where_it_does_once_the_next_has_begun),
        STORY(who_waits_for_a_flush_is_told_with_no_lock_held),
        STORY(the_only_one_that_missed_it_knows_where_its_log_ends),
        STORY(what_is_left_where_elections_are_clean_is_kept),
        STORY(what_was_acknowledged_since_stays),
        STORY(what_another_history_has_is_not_known_of_this_one),
        STORY(who_has_no_records_has_none_that_differ),
        STORY(what_was_shown_while_there_was_no_room_for_the_log_stays),
    };
    return cmocka_run_group_tests_name("what was shown", tests, NULL, NULL);
}
