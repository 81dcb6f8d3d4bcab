/* Reading a partition that is on another node. */
#include "tests/unit/reads_fixture.h"

enum { TEXT_BYTES = 1 << 20 };

static void test_bytes_come_from_the_leader_and_far_fewer_questions_than_reads(void **state)
{
    struct wire *wire = *state;
    char *text = malloc(TEXT_BYTES), *expected = malloc(TEXT_BYTES);
    append_lines(wire->leader, 0, 5000);
    lines_text(0, 5000, expected);
    read_all(wire->here, 0, 1000, text);
    assert_string_equal(text, expected);
    assert_true(wire->asked[MESSAGE_READ] < 10);
    read_all(wire->here, 9, 7, text);
    assert_string_equal(text, expected + 9);
    free(text);
    free(expected);
}

static void test_an_end_is_asked_for_each_time(void **state)
{
    struct wire *wire = *state;
    char text[256];
    read_all(wire->here, 0, 4096, text);
    assert_string_equal(text, "");
    append(wire->leader, "orders", "one\n");
    read_all(wire->here, 0, 4096, text);
    assert_string_equal(text, "one\n");
    append(wire->leader, "orders", "two\n");
    read_all(wire->here, 4, 4096, text);
    assert_string_equal(text, "two\n");
    assert_int_equal(partition_high_watermark(wire->here).position, 8);
}

static void test_places_and_runs_are_the_leaders(void **state)
{
    struct wire *wire = *state;
    static const struct {
        enum read_kind kind;
        int64_t at, offset;
    } places[] = {{FIND_OFFSET, 0, 0}, {FIND_OFFSET, 3, 3},       {FIND_OFFSET, 99, 6},
                  {FIND_LAST, 2, 4},   {FIND_LAST, 99, 0},        {FIND_POSITION, 0, 0},
                  {FIND_TIME, 0, 0},   {FIND_TIME, INT64_MAX, 6}, {FIND_END, 0, 6}};
    append_lines(wire->leader, 0, 3);
    append(wire->leader, "orders", "record 3\nrecord 4\nrecord 5\n");
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct asked asked = ask(wire->here, places[i].kind, places[i].at);
        assert_int_equal(asked.rc, 0);
        assert_int_equal(asked.op.point.offset, places[i].offset);
        assert_int_equal(asked.op.point.position, places[i].offset * 9);
        assert_int_equal(asked.op.high_watermark.offset, 6);
    }
    struct asked run = ask(wire->here, READ_RUN, 40); /* within record 4 */
    assert_int_equal(run.rc, 0);
    assert_true(run.op.found);
    assert_int_equal(run.op.run.base.offset, 3);
    assert_int_equal(run.op.run.base.position, 27);
    assert_int_equal(run.op.run.len, 27);
    assert_int_equal(run.op.run.records, 3);
    assert_int_equal(run.op.run.timestamp_ms, hand_wall_ms(&wire->leader->clock.clock));
    run = ask(wire->here, READ_RUN, 54);
    assert_int_equal(run.rc, 0);
    assert_false(run.op.found);
}

/* Five records of the log's first epoch, and one of a later one. */
static void lead_in_two_epochs(struct wire *wire)
{
    struct partition_registration later = {.leader = 1, .leader_epoch = 7, .partition_epoch = 7};
    append_lines(wire->leader, 0, 5);
    later.replicas = later.isr = (struct replica_set){.count = 1, .ids = {1}};
    partition_set_registration(wire->there, &later);
    append_lines(wire->leader, 5, 1);
    later_is_over(wire);
}

static void test_where_an_epoch_ended_is_the_leaders_to_say(void **state)
{
    struct wire *wire = *state;
    lead_in_two_epochs(wire);
    struct partition *parts[] = {wire->there, wire->here};
    for (int i = 0; i < 2; i++) {
        struct asked asked = ask(parts[i], FIND_EPOCH_END, 0);
        assert_int_equal(asked.rc, 0);
        assert_true(asked.op.found);
        assert_int_equal(asked.op.point.offset, 5);
        assert_int_equal(asked.op.leader_epoch, 7);
        assert_int_equal(ask(parts[i], FIND_EPOCH_END, 3).op.point.offset, 5);
        assert_int_equal(ask(parts[i], FIND_EPOCH_END, 7).op.point.offset, 6);
    }
    /* Behind that nothing is there up to what was written then. */
    assert_int_equal(delete_records(wire->there, 54, NULL), 0);
    append_lines(wire->leader, 6, 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ask(parts[i], FIND_EPOCH_END, 0).op.point.offset, 6);
}

/* Who leads in an earlier epoch than that cannot know. */
static void test_an_earlier_leader_is_not_believed(void **state)
{
    struct wire *wire = *state;
    lead_in_two_epochs(wire);
    struct asked asked = question(wire->here, FIND_EPOCH_END, 8);
    assert_true(begin(&asked));
    wait_in_time(wire, 20, atomic_load(&asked.over));
    assert_int_equal(asked.rc, -ETIMEDOUT);
}

/* What is answered is of a log that has no later epoch in front of its high watermark. */
static void test_answers_tell_the_epoch_of_the_last_record(void **state)
{
    static const enum read_kind kinds[] = {READ_RUN, FIND_OFFSET, FIND_POSITION, FIND_END};
    struct wire *wire = *state;
    struct partition *parts[] = {wire->there, wire->here};
    append_lines(wire->leader, 0, 1);
    for (int i = 0; i < 2; i++) {
        struct asked asked = question(parts[i], READ_BYTES, 0);
        asked.op.max = 4;
        if (begin(&asked))
            wait_until(atomic_load(&asked.over));
        assert_true(asked.op.found);
        assert_int_equal(asked.op.leader_epoch, 0);
        partition_read_release(&asked.op);
    }
    lead_in_two_epochs(wire);
    for (int i = 0; i < 2; i++) {
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            assert_int_equal(ask(parts[i], kinds[k], 0).op.leader_epoch, 7);
        struct asked end = ask(parts[i], READ_BYTES, 63);
        assert_false(end.op.found);
        assert_int_equal(end.op.leader_epoch, 7);
    }
    /* Bytes that are at hand since then are of the log as it was. */
    struct asked asked = ask(wire->here, READ_BYTES, 4);
    assert_int_equal(asked.op.extent.len, 5);
    assert_int_equal(asked.op.leader_epoch, 0);
    partition_read_release(&asked.op);
    asked = ask(wire->here, READ_BYTES, 54);
    assert_int_equal(asked.op.leader_epoch, 7);
    partition_read_release(&asked.op);
}

static void test_how_it_is_is_known_once_asked_and_for_two_seconds(void **state)
{
    struct wire *wire = *state;
    struct log_size size;
    append_lines(wire->leader, 0, 4);
    assert_false(partition_is_known(wire->here));
    assert_int_equal(ask(wire->here, READ_STATUS, 0).rc, 0);
    assert_true(partition_is_known(wire->here));
    assert_int_equal(partition_high_watermark(wire->here).offset, 4);
    assert_int_equal(partition_log_end(wire->here).position, 36);
    assert_int_equal(partition_log_start(wire->here).offset, 0);
    assert_int_equal(partition_mtime_ms(wire->here), hand_wall_ms(&wire->leader->clock.clock));
    partition_size(wire->here, &size);
    assert_int_equal(size.retained_bytes, 36);
    assert_int_equal(size.segments, 1);
    assert_int_equal(partition_state(wire->here), 0);
    settle(wire); /* the question for news has its first answer, too: nothing is heard later than this */
    pass_ms(wire->reader, 2000);
    assert_false(partition_is_known(wire->here));
    assert_int_equal(ask(wire->here, READ_STATUS, 0).rc, 0);
}

static void test_an_end_before_what_was_shown_is_waited_out_and_never_told(void **state)
{
    struct wire *wire = *state;
    append_lines(wire->leader, 0, 1);
    remote_show(wire->here, (struct log_point){2, 18}, 0, 0); /* as another leader has said */
    struct asked asked = question(wire->here, READ_BYTES, 9);
    int64_t begun_ms = hand_mono_ms(&wire->reader->clock.clock);
    assert_true(begin(&asked));
    wait_in_time(wire, 10, wire->asked[MESSAGE_READ] >= 4); /* each time told: later */
    assert_true(hand_mono_ms(&wire->reader->clock.clock) - begun_ms <= 10 * LIMIT_READ_LATER_MS);
    assert_false(atomic_load(&asked.over));
    append_lines(wire->leader, 1, 1);
    wait_in_time(wire, 20, atomic_load(&asked.over));
    assert_int_equal(asked.rc, 0);
    assert_true(asked.op.found);
    assert_int_equal(asked.op.extent.len, 9);
    assert_memory_equal(asked.op.bytes, "record 1\n", 9);
    partition_read_release(&asked.op);
}

/* An append of this host's own is acknowledged meanwhile. */
static void test_that_there_is_nothing_is_said_of_no_more_than_the_answer_knew(void **state)
{
    struct wire *wire = *state;
    append_lines(wire->leader, 0, 1);
    assert_int_equal(delete_records(wire->there, 9, NULL), 0);
    atomic_store(&wire->appends, 2);
    struct asked asked = ask(wire->here, READ_BYTES, 0);
    assert_int_equal(partition_high_watermark(wire->here).position, 18);
    assert_int_equal(asked.rc, 0);
    assert_false(asked.op.found);
    assert_int_equal(asked.op.high_watermark.position, 9);
    append_lines(wire->leader, 1, 1);
    assert_int_equal(delete_records(wire->there, 18, NULL), 0);
    atomic_store(&wire->appends, 3);
    asked = ask(wire->here, FIND_OFFSET, 0);
    assert_int_equal(partition_high_watermark(wire->here).position, 27);
    assert_int_equal(asked.rc, 0);
    assert_int_equal(asked.op.point.position, 18);
    assert_int_equal(asked.op.high_watermark.position, 18);
}

static void test_nobody_to_ask_is_a_timeout_after_five_seconds(void **state)
{
    struct wire *wire = *state;
    link_down(wire);
    struct asked read = question(wire->here, READ_BYTES, 0), find = question(wire->here, FIND_END, 0);
    assert_true(begin(&read));
    assert_true(begin(&find));
    pass_ms(wire->reader, 4900);
    executor_settle(wire->reader->node->executor);
    assert_false(atomic_load(&read.over) || atomic_load(&find.over));
    pass_ms(wire->reader, 100);
    wait_in_time(wire, 20, (atomic_load(&read.over) && atomic_load(&find.over)));
    assert_int_equal(read.rc, -ETIMEDOUT);
    assert_int_equal(find.rc, -ETIMEDOUT);
}

static void test_a_stat_waits_a_second_and_then_tells_what_was_heard_last(void **state)
{
    struct wire *wire = *state;
    append_lines(wire->leader, 0, 4);
    link_down(wire);
    struct asked stat = question(wire->here, READ_STATUS, 0);
    assert_true(begin(&stat));
    wait_in_time(wire, 100, atomic_load(&stat.over));
    assert_int_equal(stat.rc, -ETIMEDOUT);                            /* nothing was ever heard */
    assert_int_equal(ask(wire->here, READ_STATUS, 0).rc, -ETIMEDOUT); /* the next one at once */
    link_up(wire);
    wait_until(partition_is_known(wire->here)); /* by the standing question */
    link_down(wire);
    pass_ms(wire->reader, 60000);
    stat = question(wire->here, READ_STATUS, 0);
    assert_true(begin(&stat));
    wait_in_time(wire, 100, atomic_load(&stat.over));
    assert_int_equal(stat.rc, 0);
    assert_int_equal(partition_log_end(wire->here).offset, 4);
    assert_true(partition_is_known(wire->here));
}

/* What was asked before it stood still has been answered meanwhile. */
static void test_time_in_which_this_node_stood_still_is_nobodys_silence(void **state)
{
    struct wire *wire = *state;
    append_lines(wire->leader, 0, 4);
    assert_int_equal(ask(wire->here, READ_STATUS, 0).rc, 0);
    append_lines(wire->leader, 4, 1);
    settle(wire); /* the question for news has been answered, too */
    pass_ms(wire->reader, 3000);
    answers_are_late(wire);
    struct asked stat = question(wire->here, READ_STATUS, 0), find = question(wire->here, FIND_END, 0);
    find.op.timeout_ms = 1000;
    assert_true(begin(&stat));
    assert_true(begin(&find));
    wait_until(answers_kept(wire) >= 2);
    pass_ms(wire->reader, 30000); /* in one step */
    settle(wire);
    await_alarms(wire->reader);
    assert_false(atomic_load(&stat.over) || atomic_load(&find.over));
    answers_come(wire);
    wait_in_time(wire, 20, (atomic_load(&stat.over) && atomic_load(&find.over)));
    assert_int_equal(stat.rc, 0);
    assert_int_equal(find.rc, 0);
    assert_int_equal(find.op.point.offset, 5);
    assert_int_equal(partition_log_end(wire->here).offset, 5);
}

static void test_a_link_that_comes_back_and_a_new_leader_are_asked_again(void **state)
{
    struct wire *wire = *state;
    append_lines(wire->leader, 0, 1);
    atomic_store(&wire->deaf, true);
    struct asked asked = question(wire->here, READ_BYTES, 0);
    assert_true(begin(&asked));
    link_down(wire);
    atomic_store(&wire->deaf, false);
    link_up(wire);
    wait_until(atomic_load(&asked.over));
    assert_int_equal(asked.rc, 0);
    assert_true(asked.op.found);
    partition_read_release(&asked.op);

    led_by(wire->here, LEADER_NONE, 6);
    struct asked find = question(wire->here, FIND_END, 0);
    assert_true(begin(&find));
    led_by(wire->here, 2, 7);
    wait_until(atomic_load(&find.over));
    assert_int_equal(find.rc, 0);
    assert_int_equal(find.op.point.offset, 1);
}

static void test_another_one_in_sync_answers_while_the_leader_cannot(void **state)
{
    struct wire *wire = *state;
    struct partition_registration registration = {.leader = 3, .leader_epoch = 8, .partition_epoch = 8};
    registration.replicas = registration.isr = (struct replica_set){.count = 2, .ids = {3, 2}};
    append_lines(wire->leader, 0, 2);
    partition_set_registration(wire->here, &registration); /* node 3 is not up */
    assert_int_equal(ask(wire->here, FIND_END, 0).op.point.offset, 2);
}

static void test_bytes_that_were_damaged_on_their_way_are_never_shown(void **state)
{
    struct wire *wire = *state;
    append_lines(wire->leader, 0, 1);
    atomic_store(&wire->damage, 1);
    struct asked asked = question(wire->here, READ_BYTES, 0);
    assert_true(begin(&asked));
    wait_until(wire->drops == 1); /* the link is not to be trusted */
    assert_false(atomic_load(&asked.over));
    link_down(wire);
    link_up(wire);
    wait_until(atomic_load(&asked.over));
    assert_int_equal(asked.rc, 0);
    assert_memory_equal(asked.op.bytes, "record 0\n", 9);
    partition_read_release(&asked.op);
}

static void test_one_that_was_taken_back_is_not_answered(void **state)
{
    struct wire *wire = *state;
    append_lines(wire->leader, 0, 1);
    atomic_store(&wire->deaf, true);
    struct asked asked = question(wire->here, READ_BYTES, 0), find = question(wire->here, FIND_END, 0);
    assert_true(begin(&asked));
    assert_true(begin(&find));
    assert_true(partition_read_cancel(&asked.op));
    assert_true(partition_read_cancel(&find.op));
    assert_false(partition_read_cancel(&find.op));
    atomic_store(&wire->deaf, false);
    link_down(wire);
    link_up(wire);
    assert_int_equal(ask(wire->here, FIND_END, 0).op.point.offset, 1);
    assert_false(atomic_load(&asked.over) || atomic_load(&find.over));
}

struct reader {
    struct partition_waiter waiter; /* first */
    _Atomic bool ready;
};

static void on_ready(struct partition_waiter *waiter)
{
    atomic_store(&((struct reader *)waiter)->ready, true);
}

static void test_growth_elsewhere_wakes_who_waits_here(void **state)
{
    struct wire *wire = *state;
    struct reader reader = {.waiter = {.position = 9, .ready = on_ready}};
    append_lines(wire->leader, 0, 1);
    assert_int_equal(ask(wire->here, FIND_END, 0).op.point.offset, 1);
    assert_true(partition_wait(wire->here, &reader.waiter));
    pass_ms(wire->reader, 100);
    executor_settle(wire->reader->node->executor);
    assert_false(atomic_load(&reader.ready));
    append_lines(wire->leader, 1, 1);
    wait_in_time(wire, 20, atomic_load(&reader.ready));
    assert_int_equal(partition_high_watermark(wire->here).position, 18);
    /* One that goes in time is not woken. */
    reader = (struct reader){.waiter = {.position = 18, .ready = on_ready}};
    assert_true(partition_wait(wire->here, &reader.waiter));
    assert_true(partition_unwait(wire->here, &reader.waiter));
}

static void followed_by_us(struct partition *part, int32_t epoch, bool in_sync)
{
    struct partition_registration registration = {.leader = 2, .leader_epoch = epoch, .partition_epoch = epoch};
    registration.replicas = (struct replica_set){.count = 2, .ids = {2, 1}};
    registration.isr = (struct replica_set){.count = in_sync ? 2 : 1, .ids = {2, 1}};
    partition_set_registration(part, &registration);
}

/* Nothing is copied in these stories, as while the replica is made of very much, or has been down for long. */
static void test_who_waits_at_a_replica_that_is_not_in_sync_hears_of_growth(void **state)
{
    struct wire *wire = *state;
    struct reader reader = {.waiter = {.position = 0, .ready = on_ready}};
    char text[256];
    followed_by_us(wire->here, 6, false);
    assert_true(partition_wait(wire->here, &reader.waiter));
    append_lines(wire->leader, 0, 1);
    wait_in_time(wire, 20, atomic_load(&reader.ready));
    read_all(wire->here, 0, 4096, text);
    assert_string_equal(text, "record 0\n");
    assert_int_equal(ask(wire->here, FIND_OFFSET, 1).op.point.offset, 1);
}

static void test_who_waits_at_a_replica_that_falls_behind_hears_of_growth(void **state)
{
    struct wire *wire = *state;
    struct reader reader = {.waiter = {.position = 0, .ready = on_ready}};
    followed_by_us(wire->here, 6, true);
    assert_true(partition_wait(wire->here, &reader.waiter));
    append_lines(wire->leader, 0, 1);
    followed_by_us(wire->here, 7, false);
    wait_in_time(wire, 20, atomic_load(&reader.ready));
}

/* A host without a replica gets one. */
static void test_who_waits_elsewhere_hears_of_growth_while_a_replica_is_made(void **state)
{
    struct wire *wire = *state;
    struct reader reader = {.waiter = {.position = 9, .ready = on_ready}};
    append_lines(wire->leader, 0, 1);
    assert_int_equal(ask(wire->here, FIND_END, 0).op.point.offset, 1);
    assert_true(partition_wait(wire->here, &reader.waiter));
    followed_by_us(wire->here, 6, false);
    for (int i = 1; i <= 2; i++) { /* what was asked elsewhere before may be answered still */
        append_lines(wire->leader, i, 1);
        wait_in_time(wire, 20, atomic_load(&reader.ready));
        assert_int_equal(partition_high_watermark(wire->here).position, 9 * i + 9);
        reader = (struct reader){.waiter = {.position = 9 * i + 9, .ready = on_ready}};
        assert_true(partition_wait(wire->here, &reader.waiter));
    }
    assert_true(partition_unwait(wire->here, &reader.waiter));
}

struct listener {
    struct node_feed feed;
    _Atomic int calls;
    struct partition_news *news; /* of the last call */
};

static void on_news(struct node_feed *feed, struct partition_news *news)
{
    struct listener *listener = CONTAINER_OF(feed, struct listener, feed);
    if (topic_internal(partition_topic(news->part))) { /* the node's own commands */
        partition_news_drop(news);
        return;
    }
    listener->news = news;
    atomic_fetch_add(&listener->calls, 1);
}

static void pass_on_both(struct wire *wire, int64_t ms)
{
    for (; ms > 0; ms -= 500) {
        pass_ms(wire->reader, 500);
        pass_ms(wire->leader, 500);
        await_alarms(wire->reader);
        await_alarms(wire->leader);
        settle(wire);
    }
}

/* A directory is watched, and nobody has looked at the partition: it is asked for growth, and again when what was heard
 * has been told, and not before. */
static void test_of_a_topic_that_is_heard_growth_elsewhere_is_news(void **state)
{
    struct wire *wire = *state;
    struct listener listener = {.feed = {.partition_changed = on_news}};
    node_set_feed(wire->reader->node, &listener.feed);
    append_lines(wire->leader, 0, 1);
    settle(wire);
    assert_int_equal(wire->asked[MESSAGE_STAT], 0);
    topic_hear(wire->here->topic);
    wait_in_time(wire, 20, atomic_load(&listener.calls) == 1);
    for (int i = 1; i <= 3; i++) {
        assert_ptr_equal(listener.news->part, wire->here);
        assert_int_equal(partition_high_watermark(wire->here).offset, i);
        assert_true(partition_news_seen(listener.news));
        int asked = wire->asked[MESSAGE_STAT];
        pass_on_both(wire, 15000);
        assert_int_equal(wire->asked[MESSAGE_STAT], asked);
        append_lines(wire->leader, i, 1);
        assert_true(partition_news_return(listener.news, HEAR_UNTOLD));
        wait_in_time(wire, 20, atomic_load(&listener.calls) == i + 1);
    }
    /* Where nothing grows it is one question in a minute, or of an older build one in ten seconds. */
    assert_true(partition_news_seen(listener.news));
    assert_true(partition_news_return(listener.news, HEAR_UNTOLD));
    wait_in_time(wire, 20, wire->asked[MESSAGE_STAT] >= 5);
    int asked = wire->asked[MESSAGE_STAT];
    pass_on_both(wire, 60000);
    assert_in_range(wire->asked[MESSAGE_STAT] - asked, 5, 7);
    link_down(wire);
    link_up_at(wire, FEATURE_LEVEL_LONG_STATS);
    settle(wire);
    asked = wire->asked[MESSAGE_STAT];
    pass_on_both(wire, 300000);
    assert_in_range(wire->asked[MESSAGE_STAT] - asked, 4, 6);
    topic_hear_no_more(wire->here->topic);
    append_lines(wire->leader, 4, 1);
    wait_in_time(wire, 20, atomic_load(&listener.calls) == 5); /* it had been asked for */
    assert_true(partition_news_seen(listener.news));
    asked = wire->asked[MESSAGE_STAT];
    assert_true(partition_news_return(listener.news, HEAR_UNTOLD));
    append_lines(wire->leader, 5, 1);
    pass_on_both(wire, 15000);
    assert_int_equal(wire->asked[MESSAGE_STAT], asked);
    node_set_feed(wire->reader->node, NULL);
}

/* Else they came to a leader all at once, and it dropped what readers ask. */
static void test_the_partitions_of_a_wide_topic_are_asked_for_one_after_the_other(void **state)
{
    enum { PARTITIONS = LIMIT_NEWS_ASKED + 100 };
    struct wire *wire = *state;
    char count[16];
    atomic_store(&wire->deaf, true);
    snprintf(count, sizeof count, "%d", (int)PARTITIONS);
    set(wire->reader, NULL, "num.partitions", count);
    create(wire->reader, "wide");
    struct topic *topic = node_topic(wire->reader->node, "wide");
    for (int32_t i = 0; i < PARTITIONS; i++)
        led_by(topic_partition(topic, i), 2, 5);
    settle(wire);
    topic_hear(topic);
    wait_in_time(wire, 20, wire->asked[MESSAGE_STAT] >= LIMIT_NEWS_ASKED);
    settle(wire);
    assert_int_equal(wire->asked[MESSAGE_STAT], LIMIT_NEWS_ASKED);
    wait_in_time(wire, 20, wire->asked[MESSAGE_STAT] == PARTITIONS);
    topic_unref(topic);
}

/* As many as of a node that has all of a large topic's partitions in view. */
static void test_who_waits_for_news_holds_up_no_read(void **state)
{
    struct wire *wire = *state;
    struct transport_events events = network_events(&wire->leader->node->network);
    append_lines(wire->leader, 0, 1);
    struct stat_request request = {.known = partition_high_watermark(wire->there).position,
                                   .wait_ms = LIMIT_STAT_WAIT_MS};
    memcpy(request.head.topic_id, wire->there->topic->id, UUID_BYTES);
    for (int i = 0; i < LIMIT_READS_SERVED; i++) {
        request.head.number = (uint64_t)i + 1;
        struct frame *frame = malloc(sizeof *frame + LIMIT_READ_MESSAGE_BYTES);
        assert_non_null(frame);
        *frame = (struct frame){.kind = MESSAGE_STAT, .header = (uint8_t *)(frame + 1)};
        frame->header_bytes = (uint32_t)stat_request_encode(&request, frame->header);
        events.frame(events.arg, ASKER, CHANNEL_CONTROL, frame);
        executor_settle(wire->leader->node->executor);
    }
    assert_int_equal(atomic_load(&wire->drops), 0);
    assert_int_equal(ask(wire->here, FIND_END, 0).op.point.offset, 1);
}

static void test_a_replica_that_is_behind_reads_on_at_its_leader(void **state)
{
    struct wire *wire = *state;
    char text[256];
    struct partition_registration registration = {.leader = 2, .leader_epoch = 6, .partition_epoch = 6};
    registration.replicas = registration.isr = (struct replica_set){.count = 2, .ids = {2, 1}};
    partition_set_registration(wire->here, &registration);
    append_lines(wire->leader, 0, 2);
    read_all(wire->here, 0, 4096, text);
    assert_string_equal(text, ""); /* as far as this replica knows */
    assert_int_equal(wire->asked[MESSAGE_READ], 0);
    remote_show(wire->here, (struct log_point){2, 18}, 0, 0);
    assert_int_equal(partition_high_watermark(wire->here).position, 18);
    read_all(wire->here, 0, 4096, text);
    assert_string_equal(text, "record 0\nrecord 1\n");
    assert_int_equal(ask(wire->here, FIND_END, 0).op.point.offset, 2);
}

/* What has been removed there is heard of here later; who has to know asks for the leader's answer. */
static void test_where_the_log_begins_is_the_leaders_to_say(void **state)
{
    struct wire *wire = *state;
    followed_by_us(wire->here, 6, true);
    append_lines(wire->leader, 0, 6);
    struct partition_registration own = {.leader = 1, .leader_epoch = 7, .partition_epoch = 7};
    own.replicas = own.isr = (struct replica_set){.count = 1, .ids = {1}};
    partition_set_registration(wire->here, &own);
    append_lines(wire->reader, 0, 6);
    followed_by_us(wire->here, 8, true);
    assert_int_equal(delete_records(wire->there, 27, NULL), 0);
    struct asked run = ask(wire->here, READ_RUN, 40);
    assert_int_equal(run.rc, 0);
    assert_int_equal(run.op.log_start.offset, 0);
    run = question(wire->here, READ_RUN, 40);
    run.op.of_leader = true;
    assert_true(begin(&run));
    wait_in_time(wire, 20, atomic_load(&run.over));
    assert_int_equal(run.rc, 0);
    assert_true(run.op.found);
    assert_int_equal(run.op.log_start.offset, 3);
}

static void test_there_are_no_segments_of_a_replica_elsewhere(void **state)
{
    struct wire *wire = *state;
    struct log_file *files = NULL, file;
    size_t count = 1;
    assert_int_equal(partition_files(wire->here, &files, &count, NULL), 0);
    assert_int_equal(count, 0);
    free(files);
    assert_int_equal(partition_file_find(wire->here, 0, SEGMENT_LOG, &file, NULL), -ENOENT);
}

static void test_messages_that_are_none_are_refused(void **state)
{
    static const uint8_t body[] = "0123456789";
    uint8_t out[LIMIT_READ_MESSAGE_BYTES];
    struct read_answer answer = {.head = {.number = 7}, .end = 30, .count = 2, .crc = crc32c(0, body, 10)};
    struct read_answer again;
    struct read_request request = {.head = {.number = 7}, .position = 5, .max = LIMIT_READ_BYTES};
    struct err e = {0};
    (void)state;
    answer.pieces[0] = (struct read_piece){5, 4};
    answer.pieces[1] = (struct read_piece){20, 6};
    size_t len = read_answer_encode(&answer, out);
    assert_int_equal(read_answer_decode(out, len, body, 10, &again, &e), 0);
    assert_int_equal(again.pieces[1].position, 20);
    assert_int_equal(read_answer_decode(out, len, body, 9, &again, &e), -EBADMSG);
    assert_int_equal(read_answer_decode(out, len - 1, body, 10, &again, &e), -EBADMSG);
    answer.crc++;
    assert_int_equal(read_answer_decode(out, read_answer_encode(&answer, out), body, 10, &again, &e), -EBADMSG);
    answer.crc--;
    answer.pieces[1].position = 8; /* within the first one */
    assert_int_equal(read_answer_decode(out, read_answer_encode(&answer, out), body, 10, &again, &e), -EBADMSG);
    answer.pieces[1].position = 25; /* over the end */
    assert_int_equal(read_answer_decode(out, read_answer_encode(&answer, out), body, 10, &again, &e), -EBADMSG);
    request.max++;
    struct read_request decoded;
    assert_int_equal(read_request_decode(out, read_request_encode(&request, out), &decoded, &e), -EBADMSG);
    request.max = 0;
    assert_int_equal(read_request_decode(out, read_request_encode(&request, out), &decoded, &e), -EBADMSG);
}

/* Its answers end where they did. */
static void test_an_earlier_version_knows_nothing_of_epochs(void **state)
{
    struct lookup_answer answer = {.head = {.number = 1}, .epochs = {3, 2}, .epoch_end = 1}, again;
    struct lookup_request request = {.head = {.number = 1}, .kind = LOOKUP_END, .epoch = 5}, asked;
    uint8_t out[LIMIT_READ_MESSAGE_BYTES];
    struct err e = {0};
    (void)state;
    size_t len = lookup_answer_encode(&answer, out);
    assert_int_equal(lookup_answer_decode(out, len, &again, &e), 0);
    assert_int_equal(again.epoch_end, 1);
    assert_true(out[0] == 0xdc && out[2] == 17); /* an array of 17 elements */
    out[2] = 16;
    assert_int_equal(lookup_answer_decode(out, len - 1, &again, &e), 0);
    assert_int_equal(again.epoch_end, -1);
    assert_int_equal(again.epochs.leader, 3);
    out[2] = 14;
    assert_int_equal(lookup_answer_decode(out, len - 3, &again, &e), 0);
    assert_int_equal(again.epochs.record, -1);
    assert_int_equal(again.epoch_end, -1);
    len = lookup_request_encode(&request, out);
    assert_int_equal(lookup_request_decode(out, len, &asked, &e), 0);
    assert_int_equal(asked.epoch, 5);
    assert_int_equal(out[0], 0x97);
    out[0] = 0x96;
    assert_int_equal(lookup_request_decode(out, len - 1, &asked, &e), 0);
    assert_int_equal(asked.epoch, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bytes_come_from_the_leader_and_far_fewer_questions_than_reads),
        TEST(test_an_end_is_asked_for_each_time),
        TEST(test_places_and_runs_are_the_leaders),
        TEST(test_where_an_epoch_ended_is_the_leaders_to_say),
        TEST(test_an_earlier_leader_is_not_believed),
        TEST(test_answers_tell_the_epoch_of_the_last_record),
        TEST(test_an_earlier_version_knows_nothing_of_epochs),
        TEST(test_how_it_is_is_known_once_asked_and_for_two_seconds),
        TEST(test_an_end_before_what_was_shown_is_waited_out_and_never_told),
        TEST(test_that_there_is_nothing_is_said_of_no_more_than_the_answer_knew),
        TEST(test_nobody_to_ask_is_a_timeout_after_five_seconds),
        TEST(test_a_stat_waits_a_second_and_then_tells_what_was_heard_last),
        TEST(test_time_in_which_this_node_stood_still_is_nobodys_silence),
        TEST(test_a_link_that_comes_back_and_a_new_leader_are_asked_again),
        TEST(test_another_one_in_sync_answers_while_the_leader_cannot),
        TEST(test_bytes_that_were_damaged_on_their_way_are_never_shown),
        TEST(test_one_that_was_taken_back_is_not_answered),
        TEST(test_growth_elsewhere_wakes_who_waits_here),
        TEST(test_who_waits_at_a_replica_that_is_not_in_sync_hears_of_growth),
        TEST(test_who_waits_at_a_replica_that_falls_behind_hears_of_growth),
        TEST(test_who_waits_elsewhere_hears_of_growth_while_a_replica_is_made),
        TEST(test_of_a_topic_that_is_heard_growth_elsewhere_is_news),
        TEST(test_the_partitions_of_a_wide_topic_are_asked_for_one_after_the_other),
        TEST(test_who_waits_for_news_holds_up_no_read),
        TEST(test_a_replica_that_is_behind_reads_on_at_its_leader),
        TEST(test_where_the_log_begins_is_the_leaders_to_say),
        TEST(test_there_are_no_segments_of_a_replica_elsewhere),
        cmocka_unit_test(test_messages_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
