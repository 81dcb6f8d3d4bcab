/* Replicas that are far behind are caught up beside live traffic, and do not get into its way: replica/catch_up.h. */
#include "tests/unit/cluster_orders.h"

#include "engine/log/log_internal.h"
#include "replication/wire/replica_message.h"

enum { BIG = 24, BATCH = 64 << 10, BATCHES = 32 }; /* partitions; bytes of a batch, and how many each partition has */

static struct partition *big_at(int32_t id, int32_t index)
{
    struct topic *topic = node_topic(c->nodes[id].node, "big");
    struct partition *part = topic != NULL ? topic_partition(topic, index) : NULL;
    if (topic != NULL)
        topic_unref(topic);
    return part;
}

static int32_t leader_of_big(int32_t id, int32_t index)
{
    struct partition_info info;
    partition_info(big_at(id, index), &info);
    return info.leader;
}

static bool all_in_sync(int32_t at, int count)
{
    struct partition_info info;
    for (int32_t i = 0; i < BIG; i++) {
        if (big_at(at, i) == NULL)
            return false;
        partition_info(big_at(at, i), &info);
        if (info.isr.count != count || info.leader == LEADER_NONE)
            return false;
    }
    return isr_at(at) == count;
}

static void make_big(void)
{
    struct cluster_op op;
    make_orders();
    assert_int_equal(cluster_mkdir(c, 1, "big"), 0);
    assert_int_equal(cluster_op_end(c, &op, node_create_partitions(c->nodes[1].node, cluster_op_init(&op), "big", BIG)),
                     0);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, all_in_sync(id, 3));
}

static void on_big(struct append_op *op, int rc)
{
    (void)op;
    assert_int_equal(rc, 0);
}

/* By way of that node. led: those that it leads. */
static void fill(int32_t at, bool led)
{
    static char text[BATCH];
    struct iovec iov = {text, sizeof text};
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\n';
    for (int32_t i = 0; i < BIG; i++) {
        for (int n = 0; n < BATCHES && (!led || leader_of_big(at, i) == at); n++) {
            struct append_op op = {.part = big_at(at, i), .acks = ACKS_LEADER, .timeout_ms = 30000, .done = on_big};
            append_batch_init(&op.batch, FRAMING_LINE, &iov, 1, hand_wall_ms(&c->clock.clock));
            op.batch.records = 1;
            op.batch.crc = crc32c(0, text, sizeof text);
            assert_in_range(partition_append_submit(&op, NULL), 0, 1);
            cluster_await(c, LONG_MS, atomic_load(&op.state) == APPEND_OVER);
        }
    }
}

/* ---- what is on its way ---- */

/* Of `big`, from one node to another, sent and not delivered yet: bytes. */
static int64_t under_way(int from, int to)
{
    int64_t bytes = 0;
    for (const struct memory_event *event = c->network.first; event != NULL; event = event->next) {
        if (event->type == MEMORY_FRAME && event->from == from && event->to == to &&
            event->frame->kind == MESSAGE_RECORDS && event->frame->body_bytes >= BATCH)
            bytes += event->frame->body_bytes;
    }
    return bytes;
}

/* Until nobody has anything to do now, and nothing is delivered. */
static void work(void)
{
    bool more = true;
    while (more) {
        more = false;
        for (int id = 1; id < MEMORY_NODES; id++) {
            while (c->nodes[id].node != NULL && hand_step(&c->nodes[id].hand))
                more = true;
        }
    }
}

/* Lets time go by until node `to` is in sync everywhere; the most that was ever on its way to it from `from`, looked at
 * whenever all that could be sent was. */
static int64_t catch_up(int32_t from, int32_t to)
{
    int64_t most = 0;
    for (int64_t left_ms = LONG_MS; !all_in_sync(from, 3) && left_ms > 0; left_ms--) {
        work();
        while (c->network.first != NULL) {
            int64_t now = under_way(from, to);
            most = now > most ? now : most;
            memory_step(&c->network);
            work();
        }
        atomic_fetch_add(&c->clock.passed_ms, 1);
    }
    assert_true(all_in_sync(from, 3));
    return most;
}

/* A node that leads nothing is down while `big` gets its records. Returns it; *leader: one that leads `orders`. */
static int32_t one_is_away(int32_t *leader)
{
    make_big();
    int32_t away = leader_at(1) % 3 + 1;
    cluster_kill(c, away);
    *leader = away % 3 + 1;
    cluster_await(c, LONG_MS, all_in_sync(*leader, 2) && leader_at(*leader) != away);
    *leader = leader_at(*leader);
    fill(*leader, false);
    return away;
}

static int32_t led_of_big(int32_t id)
{
    int32_t count = 0;
    for (int32_t i = 0; i < BIG; i++)
        count += leader_of_big(id, i) == id;
    return count;
}

/* All of them together have more than may be under way. */
static void who_comes_back_is_sent_no_more_at_once_than_a_window(void **state)
{
    int32_t leader, away;
    (void)state;
    away = one_is_away(&leader);
    assert_true((int64_t)led_of_big(leader) * BATCHES * BATCH > LIMIT_CATCH_UP_BYTES);
    cluster_pass(c, (LIMIT_BUSY_BEATS + 2) * LIMIT_BEAT_MS);
    cluster_start(c, away);
    int64_t most = catch_up(leader, away);
    assert_in_range(most, LIMIT_PIECE_BYTES, LIMIT_CATCH_UP_BYTES);
    for (int32_t i = 0; i < BIG; i++)
        assert_int_equal(partition_log_end(big_at(away, i)).position, (int64_t)BATCHES * BATCH);
}

/* A writer of `orders` writes on. */
static void beside_live_traffic_it_is_sent_a_little_at_a_time(void **state)
{
    struct appended appended;
    int32_t leader, away;
    (void)state;
    away = one_is_away(&leader);
    append_at(leader, &appended, 10);
    cluster_await(c, LONG_MS, appended.calls == 1);
    cluster_start(c, away);
    int64_t most = catch_up(leader, away);
    assert_in_range(most, BATCH, LIMIT_BURST_BYTES);
    for (int32_t i = 0; i < BIG; i++)
        assert_int_equal(partition_log_end(big_at(away, i)).position, (int64_t)BATCHES * BATCH);
}

/* ---- who is waited for ---- */

static struct replica_peer *peer_at(int32_t id, int32_t other)
{
    return manager_peer(&c->nodes[id].node->replicas, other);
}

static bool is_in_sync_at(int32_t from, int32_t to)
{
    struct partition_info info;
    bool all = true;
    for (int32_t i = 0; i < BIG; i++) {
        partition_info(big_at(from, i), &info);
        all = all && (info.leader != from || replica_set_has(&info.isr, to));
    }
    return all;
}

/* Replicas that node `from` has in the lane for what nobody waits for, and that somebody waits for. */
static int waited_for_behind(int32_t from, int32_t to)
{
    int count = 0;
    for (struct follower *follower = peer_at(from, to)->serving.lanes[LANE_BEHIND].first; follower != NULL;
         follower = follower->next) {
        struct partition *part = follower->part;
        const struct isr_replica *replica = isr_find(&part->isr, to);
        bool waited_for =
            replica->in_sync || replica->joins || isr_size(&part->isr) < part->settings.min_insync_replicas;
        count += follower->state == FOLLOWER_SERVED && waited_for;
    }
    return count;
}

/* Lets time go by until node `to` is in sync in all that node `from` leads. At no time does anybody that somebody waits
 * for wait there for the others. Returns how often others did. */
static int catch_up_in_front(int32_t from, int32_t to)
{
    int steps = 0;
    for (int64_t left_ms = LONG_MS; !is_in_sync_at(from, to) && left_ms > 0; left_ms--) {
        do {
            work();
            assert_int_equal(waited_for_behind(from, to), 0);
            steps += peer_at(from, to)->serving.lanes[LANE_BEHIND].first != NULL;
        } while (memory_step(&c->network));
        atomic_fetch_add(&c->clock.passed_ms, 1);
    }
    assert_true(is_in_sync_at(from, to));
    return steps;
}

/* What is committed waits for it as soon as it is to be in the ISR, which is as soon as it has what was committed: here
 * at once, as nothing has been since another one in sync was cut off. */
static void who_joins_waits_for_nobody_else_that_catches_up(void **state)
{
    (void)state;
    make_big();
    int32_t leader = cluster_leader(c), away = leader % 3 + 1, other = away % 3 + 1;
    cluster_kill(c, away);
    cluster_await(c, LONG_MS, all_in_sync(leader, 2));
    memory_cut(&c->network, leader, other, true);
    fill(leader, true);
    cluster_start(c, away);
    assert_true(catch_up_in_front(leader, away) > 0);
    memory_cut(&c->network, leader, other, false);
    cluster_await(c, LONG_MS, all_in_sync(leader, 3));
}

/* Whoever appends there waits for it to be in sync. */
static void where_too_few_are_in_sync_who_catches_up_is_waited_for(void **state)
{
    struct cluster_op op;
    int32_t leader, away;
    (void)state;
    away = one_is_away(&leader);
    assert_int_equal(
        cluster_op_end(c, &op,
                       node_set_config(c->nodes[leader].node, cluster_op_init(&op), "big", "min.insync.replicas", "3")),
        0);
    cluster_start(c, away);
    assert_int_equal(catch_up_in_front(leader, away), 0);
}

/* ---- who can acknowledge nothing ---- */

/* The logs of node `to` fail that node `from` has sent something to, which is not acknowledged. Returns how many. */
static int fail_what_is_under_way(int32_t from, int32_t to, bool failed[BIG])
{
    int count = 0;
    atomic_store(&c->nodes[to].disk.fdatasync_rc, -EIO);
    for (int32_t i = 0; i < BIG; i++) {
        const struct follower *followers = big_at(from, i)->followers;
        for (int k = 0; k < PARTITION_FOLLOWERS && followers != NULL; k++)
            failed[i] = failed[i] || (followers[k].id == to && followers[k].counted > 0);
        count += failed[i];
        if (failed[i])
            assert_int_equal(log_flush_files(big_at(to, i)->log), -EIO);
    }
    atomic_store(&c->nodes[to].disk.fdatasync_rc, 0);
    return count;
}

static bool others_in_sync(int32_t at, const bool failed[BIG])
{
    struct partition_info info;
    bool all = true;
    for (int32_t i = 0; i < BIG; i++) {
        partition_info(big_at(at, i), &info);
        all = all && (failed[i] || info.isr.count == 3);
    }
    return all;
}

/* As much as may be under way is, and all of it comes to nothing. Returns who is sent it. */
static int32_t nothing_is_acknowledged(int32_t *leader, bool failed[BIG])
{
    int32_t away = one_is_away(leader);
    cluster_pass(c, (LIMIT_BUSY_BEATS + 2) * LIMIT_BEAT_MS);
    cluster_start(c, away);
    for (int64_t left_ms = LONG_MS; under_way(*leader, away) == 0 && left_ms > 0; left_ms--) {
        work();
        while (under_way(*leader, away) == 0 && memory_step(&c->network))
            work();
        atomic_fetch_add(&c->clock.passed_ms, 1);
    }
    assert_int_equal(under_way(*leader, away), LIMIT_CATCH_UP_BYTES);
    assert_in_range(fail_what_is_under_way(*leader, away, failed), 1, led_of_big(*leader) - 1);
    return away;
}

static void what_can_not_be_acknowledged_holds_nobody_else_up(void **state)
{
    int32_t leader;
    bool failed[BIG] = {false};
    (void)state;
    (void)nothing_is_acknowledged(&leader, failed);
    cluster_await(c, (LIMIT_STUCK_BEATS + 10) * LIMIT_BEAT_MS, others_in_sync(leader, failed));
}

/* It is no replica of those any more before that is found to take too long. */
static void what_is_under_way_to_who_is_no_replica_any_more_holds_nobody_up(void **state)
{
    struct cluster_op op;
    int32_t leader;
    bool failed[BIG] = {false};
    (void)state;
    int32_t away = nothing_is_acknowledged(&leader, failed), other = 6 - leader - away;
    struct replica_set left = {.count = 2, .ids = {leader, other}};
    for (int32_t i = 0; i < BIG; i++) {
        if (failed[i]) {
            assert_int_equal(
                cluster_op_end(c, &op,
                               node_assign_replicas(c->nodes[leader].node, cluster_op_init(&op), "big", i, &left)),
                0);
        }
    }
    cluster_await(c, LONG_MS, others_in_sync(leader, failed));
}

/* Nor of a topic that is deleted, however long anybody looks at it still. */
static void what_is_under_way_of_a_deleted_topic_holds_nobody_up(void **state)
{
    struct cluster_op op;
    int32_t leader;
    bool failed[BIG] = {false};
    (void)state;
    int32_t away = nothing_is_acknowledged(&leader, failed);
    struct partition *looked_at = partition_ref(big_at(leader, 0));
    assert_int_equal(
        cluster_op_end(
            c, &op, node_set_config(c->nodes[leader].node, cluster_op_init(&op), "big", "delete.topic.enable", "true")),
        0);
    assert_int_equal(cluster_rmdir(c, leader, "big"), 0);
    cluster_pass(c, LIMIT_BEAT_MS);
    int64_t left = atomic_load(&peer_at(leader, away)->serving.catch_up.under_way);
    partition_unref(looked_at);
    assert_int_equal(left, 0);
}

/* The topic of this partition goes at the next look into a log, as another thread's doing. */
static struct partition *going;

static ssize_t pread_as_it_goes(struct io *io, int fd, void *buf, size_t len, int64_t at)
{
    struct partition *part = going;
    (void)io;
    going = NULL;
    if (part != NULL) {
        atomic_store(&part->topic->deleted, true);
        partition_followers_stop(part);
    }
    return io_posix()->pread(io_posix(), fd, buf, len, at);
}

/* Nobody would take back what it is sent. It has half of a batch, for which the log is looked into. */
static void a_fetch_that_a_deletion_overtakes_is_not_served(void **state)
{
    static char lines[] = "one\ntwo\n";
    struct iovec iov = {lines, sizeof lines - 1};
    struct append_op op = {.acks = ACKS_ALL, .timeout_ms = 30000, .done = on_big};
    (void)state;
    make_orders();
    int32_t leader = leader_at(1), other = leader % 3 + 1;
    struct partition *part = op.part = partition_at(leader);
    append_batch_init(&op.batch, FRAMING_LINE, &iov, 1, hand_wall_ms(&c->clock.clock));
    op.batch.records = 2;
    op.batch.crc = crc32c(0, lines, iov.iov_len);
    assert_int_equal(partition_append_submit(&op, NULL), 0);
    cluster_await(c, LONG_MS, atomic_load(&op.state) == APPEND_OVER);
    int32_t epoch = partition_begun_epoch(part);
    struct replica_fetch fetch = {.key = {.round = 77, .leader_epoch = epoch}, .end = {1, 4}, .last_epoch = epoch};
    going = part;
    c->nodes[leader].disk.io.pread = pread_as_it_goes;
    (void)partition_serve(part, &peer_at(leader, other)->serving, other, 1, &fetch);
    c->nodes[leader].disk.io.pread = io_posix()->pread;
    atomic_store(&part->topic->deleted, false);
    assert_null(going);
    for (int i = 0; i < PARTITION_FOLLOWERS; i++)
        assert_int_equal(part->followers[i].state, FOLLOWER_SILENT);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_three, cluster_teardown)
    const struct CMUnitTest tests[] = {
        STORY(who_comes_back_is_sent_no_more_at_once_than_a_window),
        STORY(beside_live_traffic_it_is_sent_a_little_at_a_time),
        STORY(who_joins_waits_for_nobody_else_that_catches_up),
        STORY(where_too_few_are_in_sync_who_catches_up_is_waited_for),
        STORY(what_can_not_be_acknowledged_holds_nobody_else_up),
        STORY(what_is_under_way_to_who_is_no_replica_any_more_holds_nobody_up),
        STORY(what_is_under_way_of_a_deleted_topic_holds_nobody_up),
        STORY(a_fetch_that_a_deletion_overtakes_is_not_served),
    };
    return cmocka_run_group_tests_name("catching up", tests, NULL, NULL);
}
