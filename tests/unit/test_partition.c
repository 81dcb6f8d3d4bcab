/* One partition: its points, those who wait for records, and flushes. Appends that wait are in test_append.c. */
#include "engine/log/log_internal.h"
#include "replication/replica/partition_serve.h"
#include "tests/unit/node_fixture.h"

/* ---- waiting for records ---- */

struct reader {
    struct partition_waiter waiter; /* first */
    _Atomic int ready;
    char fresh[32]; /* what was at hand, as "POSITION:BYTES" */
};

static void on_ready(struct partition_waiter *waiter)
{
    struct reader *reader = (struct reader *)waiter;
    const struct partition_fresh *fresh = waiter->fresh;
    if (fresh != NULL && fresh->iovcnt == 1) {
        snprintf(reader->fresh, sizeof reader->fresh, "%d:%.*s", (int)fresh->position, (int)fresh->len,
                 (const char *)fresh->iov[0].iov_base);
    }
    atomic_fetch_add(&reader->ready, 1);
}

static struct reader reader_at(int64_t position)
{
    return (struct reader){.waiter = {.position = position, .ready = on_ready}};
}

static void test_a_reader_is_woken_by_the_append_it_waits_for(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    append(f, "orders", "one\n");
    struct partition *part = get(f, "orders");
    struct reader now = reader_at(3), end = reader_at(4), far = reader_at(9);
    assert_false(partition_wait(part, &now.waiter));
    assert_true(partition_wait(part, &end.waiter));
    assert_true(partition_wait(part, &far.waiter));
    append(f, "orders", "two\n");
    assert_int_equal(end.ready, 1);
    assert_int_equal(far.ready, 0);
    append(f, "orders", "x\n"); /* ends at 10 */
    assert_int_equal(far.ready, 1);
    assert_int_equal(end.ready, 1);
    assert_int_equal(now.ready, 0);
    assert_string_equal(end.fresh, "4:two\n");
    assert_string_equal(far.fresh, "8:x\n");
    assert_false(partition_unwait(part, &far.waiter));
    partition_unref(part);
}

static void test_a_reader_can_go(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    struct partition *part = get(f, "orders");
    struct reader readers[5];
    for (int i = 0; i < 5; i++) {
        readers[i] = reader_at(0);
        assert_true(partition_wait(part, &readers[i].waiter));
    }
    assert_true(partition_unwait(part, &readers[2].waiter));
    assert_true(partition_unwait(part, &readers[4].waiter));
    assert_true(partition_unwait(part, &readers[0].waiter));
    assert_false(partition_unwait(part, &readers[0].waiter));
    append(f, "orders", "one\n");
    for (int i = 0; i < 5; i++)
        assert_int_equal(readers[i].ready, i == 1 || i == 3);
    partition_unref(part);
}

static void test_readers_of_a_deleted_topic_are_woken(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    struct partition *part = get(f, "orders");
    struct reader reader = reader_at(0);
    assert_true(partition_wait(part, &reader.waiter));
    assert_int_equal(delete_topic(f->node, "orders", NULL), 0);
    assert_int_equal(reader.ready, 1);
    assert_false(partition_wait(part, &reader.waiter));
    partition_unref(part);
}

static void test_readers_are_woken_when_the_log_goes_offline(void **state)
{
    struct fixture *f = *state;
    struct append_op op = {0};
    struct err e = {0};
    create(f, "orders");
    append(f, "orders", "one\n");
    struct partition *part = get(f, "orders");
    struct reader reader = reader_at(4);
    assert_true(partition_wait(part, &reader.waiter));
    atomic_store(&f->disk.pwritev_rc, -EIO);
    assert_int_equal(append_to(f, part, "two\n", ACKS_ALL, &op, &e), -EIO);
    atomic_store(&f->disk.pwritev_rc, 0);
    assert_int_equal(reader.ready, 1);
    assert_int_equal(partition_state(part), -EIO);
    assert_false(partition_wait(part, &reader.waiter));
    assert_int_equal(append_to(f, part, "two\n", ACKS_ALL, &op, &e), -EIO);
    partition_unref(part);
}

/* ---- a disk without room ---- */

static void test_a_full_disk_is_survived(void **state)
{
    struct fixture *f = *state;
    struct append_op op = {0};
    struct err e = {0};
    create(f, "orders");
    append(f, "orders", "one\n");
    struct partition *part = get(f, "orders");
    atomic_store(&f->disk.pwritev_rc, -ENOSPC);
    assert_int_equal(append_to(f, part, "two\n", ACKS_ALL, &op, &e), -ENOSPC);
    atomic_store(&f->disk.pwritev_rc, 0);
    assert_int_equal(partition_state(part), 0);
    partition_unref(part);
    assert_content(f, "orders", "one\n");
    append(f, "orders", "three\n");
    assert_content(f, "orders", "one\nthree\n");
}

static void test_the_first_append_needs_its_epoch_on_the_disk(void **state)
{
    struct fixture *f = *state;
    struct append_op op = {0};
    struct err e = {0};
    create(f, "orders");
    assert_false(exists(f, "topics/orders-0/leader-epochs"));
    struct partition *part = get(f, "orders");
    atomic_store(&f->disk.pwritev_rc, -ENOSPC);
    assert_int_equal(append_to(f, part, "one\n", ACKS_ALL, &op, &e), -ENOSPC);
    atomic_store(&f->disk.pwritev_rc, 0);
    partition_unref(part);
    append(f, "orders", "one\n");
    assert_true(exists(f, "topics/orders-0/leader-epochs"));
}

/* ---- what is not committed ---- */

static void test_acks_1_does_not_wait_but_shows_nothing_uncommitted(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    set(f, "orders", "min.insync.replicas", "2");
    struct partition *part = get(f, "orders");
    struct append_op op = {0};
    assert_int_equal(append_to(f, part, "a\n", ACKS_LEADER, &op, NULL), 1);
    assert_int_equal(append_to(f, part, "b\n", ACKS_NONE, &op, NULL), 1);
    assert_int_equal(partition_log_end(part).offset, 2);
    assert_int_equal(partition_high_watermark(part).offset, 0);
    assert_content(f, "orders", "");
    struct reader reader = reader_at(0);
    assert_true(partition_wait(part, &reader.waiter));
    partition_unref(part);

    assert_true(partition_unwait(part, &reader.waiter));
    restart(f);
    assert_content(f, "orders", "");
    part = get(f, "orders");
    reader = reader_at(0);
    assert_true(partition_wait(part, &reader.waiter));
    set(f, "orders", "min.insync.replicas", "1");
    assert_int_equal(reader.ready, 1);
    assert_content(f, "orders", "a\nb\n");
    partition_unref(part);
}

static void test_the_high_watermark_is_kept_while_it_cannot_move(void **state)
{
    struct fixture *f = *state;
    struct append_op op = {0};
    create(f, "orders");
    append(f, "orders", "one\ntwo\n");
    set(f, "orders", "min.insync.replicas", "2");
    struct partition *part = get(f, "orders");
    assert_int_equal(append_to(f, part, "three\n", ACKS_LEADER, &op, NULL), 1);
    partition_unref(part);
    for (int round = 0; round < 2; round++) {
        assert_content(f, "orders", "one\ntwo\n");
        if (round == 0)
            restart(f);
        else
            crash_and_restart(f);
    }
    assert_content(f, "orders", "one\ntwo\n");
}

/* ---- flushing ---- */

struct flushed {
    struct log_flush flush; /* first */
    _Atomic int calls;
    int rc;
};

static void on_flushed(struct log_flush *flush, int rc)
{
    struct flushed *flushed = (struct flushed *)flush;
    flushed->rc = rc;
    atomic_fetch_add(&flushed->calls, 1);
}

static int no_sync(struct io *io, int fd)
{
    (void)io;
    (void)fd;
    return 0;
}

static void test_fsync(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    append(f, "orders", "one\n");
    struct partition *part = get(f, "orders");
    struct flushed flushed = {.flush = {.upto = 1, .done = on_flushed}};
    int rc = partition_flush(part, &flushed.flush);
    wait_until(rc == 1 || flushed.calls == 1);
    assert_int_equal(flushed.rc, 0);
    assert_int_equal(partition_flush(part, &flushed.flush), 1);
    int fsyncs = f->disk.fsyncs;
    assert_int_equal(partition_flush(part, &flushed.flush), 1);
    assert_int_equal(f->disk.fsyncs, fsyncs);
    assert_int_equal(delete_topic(f->node, "orders", NULL), -ENOTEMPTY);
    set(f, "orders", "delete.topic.enable", "true");
    assert_int_equal(delete_topic(f->node, "orders", NULL), 0);
    int calls = flushed.calls;
    assert_int_equal(partition_flush(part, &flushed.flush), 0);
    assert_int_equal(flushed.calls, calls + 1);
    assert_int_equal(flushed.rc, -ESTALE);
    partition_unref(part);
}

enum { SYNCERS = 6, SYNCS = 100 };

struct syncer {
    struct fixture *f;
    struct partition *part;
};

static void *append_and_sync(void *arg)
{
    struct syncer *syncer = arg;
    for (int i = 0; i < SYNCS; i++) {
        struct append_op op = {0};
        assert_int_equal(append_to(syncer->f, syncer->part, "x\n", ACKS_ALL, &op, NULL), 1);
        struct flushed flushed = {.flush = {.upto = op.result.end.offset, .done = on_flushed}};
        if (partition_flush(syncer->part, &flushed.flush) == 0) {
            while (atomic_load(&flushed.calls) == 0)
                sched_yield();
        }
        assert_int_equal(flushed.rc, 0);
        assert_true(log_recovery_point(syncer->part->log) >= op.result.end.offset);
    }
    return NULL;
}

/* Each is answered, whoever flushes: the threads that do go as soon as their own is, and works take over. */
static void test_many_flushes(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    struct syncer syncer = {f, get(f, "orders")};
    pthread_t threads[SYNCERS];
    replace_disk_call(f, fdatasync, no_sync); /* as many rounds as there can be, not as many as the disk allows */
    for (int i = 0; i < SYNCERS; i++)
        pthread_create(&threads[i], NULL, append_and_sync, &syncer);
    for (int i = 0; i < SYNCERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(partition_high_watermark(syncer.part).offset, SYNCERS * SYNCS);
    replace_disk_call(f, fdatasync, bad_fdatasync);
    partition_unref(syncer.part);
}

static void test_a_failed_flush_takes_the_partition_offline(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    append(f, "orders", "one\n");
    struct partition *part = get(f, "orders");
    struct reader reader = reader_at(4);
    assert_true(partition_wait(part, &reader.waiter));
    struct flushed flushed = {.flush = {.upto = 1, .done = on_flushed}};
    atomic_store(&f->disk.fdatasync_rc, -EIO);
    assert_int_equal(partition_flush(part, &flushed.flush), 0);
    assert_int_equal(flushed.rc, -EIO);
    assert_int_equal(reader.ready, 1);
    atomic_store(&f->disk.fdatasync_rc, 0);
    assert_int_equal(partition_flush(part, &flushed.flush), 0);
    assert_int_equal(flushed.rc, -EIO);
    partition_unref(part);
}

static void test_flush_messages(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    set(f, "orders", "flush.messages", "3");
    struct partition *part = get(f, "orders");
    append(f, "orders", "1\n2\n");
    assert_int_equal(log_recovery_point(part->log), 0);
    append(f, "orders", "3\n");
    assert_int_equal(log_recovery_point(part->log), 3);
    append(f, "orders", "4\n5\n");
    assert_int_equal(log_recovery_point(part->log), 3);
    set(f, "orders", "flush.messages", "1");
    append(f, "orders", "6\n");
    assert_int_equal(log_recovery_point(part->log), 6);
    partition_unref(part);
}

static void test_flush_ms(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    set(f, "orders", "flush.ms", "1000");
    append(f, "orders", "1\n");
    append(f, "orders", "2\n");
    struct partition *part = get(f, "orders");
    assert_int_equal(log_recovery_point(part->log), 0);
    pass_ms(f, 1000);
    wait_until(log_recovery_point(part->log) == 2);
    append(f, "orders", "3\n");
    pass_ms(f, 1000);
    wait_until(log_recovery_point(part->log) == 3);
    /* What an alarm that is still set holds when the node stops is given back. */
    append(f, "orders", "4\n");
    partition_unref(part);
}

/* Its owner has the last reference but for whoever does it. */
struct last_flush {
    struct log_flush flush;
    struct partition *part;
    uint64_t refs;
};

static void on_last_flush(struct log_flush *flush, int rc)
{
    struct last_flush *last = CONTAINER_OF(flush, struct last_flush, flush);
    assert_int_equal(rc, 0);
    last->refs = atomic_load(&last->part->topic->refs);
    partition_unref(last->part);
}

static void *flush_last(void *arg)
{
    struct last_flush *last = arg;
    assert_int_equal(partition_flush(last->part, &last->flush), 0);
    return NULL;
}

static void test_a_flush_of_a_deleted_topic_outlives_who_waited_for_it(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    create(f, "orders");
    set(f, "orders", "delete.topic.enable", "true");
    append(f, "orders", "one\n");
    struct last_flush last = {.flush = {.upto = 1, .done = on_last_flush}, .part = get(f, "orders")};
    atomic_store(&f->disk.fdatasync_gate, GATE_SHUT);
    assert_int_equal(pthread_create(&thread, NULL, flush_last, &last), 0);
    wait_until(atomic_load(&f->disk.fdatasync_gate) == GATE_WAITED_AT);
    int rc = delete_topic(f->node, "orders", NULL);
    atomic_store(&f->disk.fdatasync_gate, GATE_OPEN);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(rc, 0);
    assert_true(last.refs > 1);
}

struct told_flush {
    struct log_flush flush;
    struct partition *part;
    int calls;
    bool free; /* neither update_lock nor the life lock was held */
};

static void on_told_flush(struct log_flush *flush, int rc)
{
    struct told_flush *told = CONTAINER_OF(flush, struct told_flush, flush);
    struct partition *part = told->part;
    bool update = pthread_rwlock_trywrlock(&part->topic->update_lock) == 0;
    bool life = pthread_mutex_trylock(&part->life_lock) == 0;
    if (update)
        pthread_rwlock_unlock(&part->topic->update_lock);
    if (life)
        pthread_mutex_unlock(&part->life_lock);
    told->calls++;
    told->free = rc == 0 && update && life;
}

/* As if more had been shown here than is in the log. */
static void show(struct partition *part, struct log_point point)
{
    pthread_mutex_lock(&part->lock);
    part->shown.point = point;
    pthread_mutex_unlock(&part->lock);
}

static void set_flush_state(struct log *log, enum log_flush_state state)
{
    pthread_mutex_lock(&log->state_lock);
    log->flush_state = state;
    pthread_mutex_unlock(&log->state_lock);
}

/* More was shown here than is in the log when its epoch begins with an append: its end is moved, and flushed with what
 * others wait for, who may append when they are told. */
static void test_who_is_told_of_a_flush_when_an_epoch_begins_may_append(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    struct partition *part = get(f, "orders");
    struct told_flush told = {.flush = {.upto = 1, .done = on_told_flush}, .part = part};
    assert_int_equal(partition_begun_epoch(part), -1);
    show(part, (struct log_point){3, 9});
    set_flush_state(part->log, FLUSH_RUNNING); /* so that it waits */
    assert_int_equal(log_flush(part->log, &told.flush), 0);
    set_flush_state(part->log, FLUSH_LEFT);
    append(f, "orders", "one\n");
    assert_int_equal(told.calls, 1);
    assert_true(told.free);
    assert_true(log_recovery_point(part->log) >= 3);
    assert_int_equal(log_end(part->log).offset, 4);
    partition_unref(part);
}

struct appending_flush {
    struct log_flush flush;
    struct fixture *f;
};

static void on_appending_flush(struct log_flush *flush, int rc)
{
    struct appending_flush *told = CONTAINER_OF(flush, struct appending_flush, flush);
    assert_int_equal(rc, 0);
    append(told->f, "orders", "one\n");
}

/* The flush was under way before the epoch began; it begins with the append of who is told of it. */
static void test_who_is_told_of_a_flush_may_begin_an_epoch(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    struct partition *part = get(f, "orders");
    struct appending_flush told = {.flush = {.upto = 0, .done = on_appending_flush}, .f = f};
    assert_int_equal(partition_begun_epoch(part), -1);
    show(part, (struct log_point){3, 9});
    assert_int_equal(partition_flush(part, &told.flush), 0);
    assert_true(log_recovery_point(part->log) >= 3);
    assert_int_equal(log_end(part->log).offset, 4);
    partition_unref(part);
}

struct late_append {
    struct fixture *f;
    struct partition *part;
    struct append_op op;
    int rc;
};

static void *append_late(void *arg)
{
    struct late_append *late = arg;
    struct err e = {0};
    late->rc = append_to(late->f, late->part, "one\n", ACKS_ALL, &late->op, &e);
    return NULL;
}

/* As who follows another leader for a while cuts it. */
static void test_what_is_cut_off_before_an_epoch_has_begun_fails_nobody(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    create(f, "orders");
    struct partition *part = get(f, "orders");
    struct late_append late = {.f = f, .part = part};
    int32_t epoch = atomic_load(&part->leader_epoch);
    assert_int_equal(log_lead(part->log, epoch, NULL), 0);
    assert_int_equal(log_skip(part->log, epoch, (struct log_point){3, 9}, NULL), 0);
    pthread_mutex_lock(&part->life_lock);
    part->shown.skipped_to = 3; /* all but for the flush */
    pthread_mutex_unlock(&part->life_lock);
    atomic_store(&f->disk.fdatasync_gate, GATE_SHUT);
    assert_int_equal(pthread_create(&thread, NULL, append_late, &late), 0);
    wait_until(atomic_load(&f->disk.fdatasync_gate) == GATE_WAITED_AT);
    pthread_mutex_lock(&part->log->state_lock);
    assert_int_equal(part->log->flush_state, FLUSH_RUNNING);
    log_flush_cut(part->log, 0);
    pthread_mutex_unlock(&part->log->state_lock);
    atomic_store(&f->disk.fdatasync_gate, GATE_OPEN);
    assert_int_equal(pthread_join(thread, NULL), 0);
    partition_unref(part);
    assert_int_equal(late.rc, 1);
    assert_int_equal(late.op.result.end.offset, 4);
}

static void *renew(void *arg)
{
    partition_renew_config(arg);
    return NULL;
}

/* Somebody who has opened the log puts the settings in force and is held up half-way; they change meanwhile. */
static void test_settings_that_change_while_others_are_put_in_force_are_not_lost(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    struct partition *part = get(f, "orders");
    struct config_set none = {0};
    for (int round = 1; round <= 50; round++) {
        struct metadata_topic meta = {.replication_factor = 1};
        char value[16];
        pthread_t thread;
        snprintf(value, sizeof value, "%d", round);
        assert_int_equal(config_set_put(&meta.config, "flush.ms", value), 0);
        atomic_store(&part->settings.min_insync_config, -1);
        pthread_mutex_lock(&part->lock);
        assert_int_equal(pthread_create(&thread, NULL, renew, part), 0);
        wait_until(atomic_load(&part->settings.min_insync_config) != -1);
        pthread_mutex_unlock(&part->lock);
        topic_update(part->topic, &meta, &none);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(atomic_load(&part->settings.flush_ms), round);
        config_set_free(&meta.config);
    }
    partition_unref(part);
}

static void test_checkpoints_follow_within_a_minute(void **state)
{
    struct fixture *f = *state;
    char path[256], text[4096];
    create(f, "orders");
    append(f, "orders", "1\n");
    path_in(f, "replication-offset-checkpoint", path);
    char line[64];
    struct topic *topic = node_topic(f->node, "orders");
    snprintf(line, sizeof line, "%s-0 1 2 0\n", topic->id_text);
    topic_unref(topic);
    bool written = false;
    for (int i = 0; i < 60000 && !written; i++) {
        pass_ms(f, LIMIT_CHECKPOINT_INTERVAL_MS);
        usleep(1000);
        int fd = open(path, O_RDONLY);
        ssize_t got = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
        text[got > 0 ? got : 0] = '\0';
        written = strstr(text, line) != NULL;
        if (fd >= 0)
            close(fd);
    }
    assert_true(written);
}

/* ---- LogAppendTime ---- */

static void test_log_append_time(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    set(f, "orders", "message.timestamp.type", "LogAppendTime");
    struct partition *part = get(f, "orders");
    struct iovec iov = {.iov_base = (char *)"x\n", .iov_len = 2};
    struct append_op op = {.part = part,
                           .acks = ACKS_ALL,
                           .timeout_ms = 1000,
                           .batch = {.iov = &iov,
                                     .iovcnt = 1,
                                     .len = 2,
                                     .records = 1,
                                     .crc = crc32c(0, "x\n", 2),
                                     .first_timestamp_ms = 5,
                                     .last_timestamp_ms = 5,
                                     .producer_id = -1,
                                     .sequence = -1}};
    assert_int_equal(partition_append_submit(&op, NULL), 1);
    struct read_op look = {.part = part, .kind = READ_RUN, .limit = INT64_MAX};
    assert_int_equal(partition_read_here(&look), 1);
    assert_true(look.found && look.run.timestamp_ms == hand_wall_ms(&f->clock.clock));
    partition_unref(part);
}

/* ---- many at once ---- */

enum { WRITERS = 4, LINES = 500 };

struct writer {
    struct fixture *f;
    struct partition *part;
    int number;
};

static void *write_lines(void *arg)
{
    struct writer *writer = arg;
    char line[32];
    for (int i = 0; i < LINES; i++) {
        struct append_op op = {0};
        snprintf(line, sizeof line, "%d %d\n", writer->number, i);
        assert_int_equal(append_to(writer->f, writer->part, line, ACKS_ALL, &op, NULL), 1);
        struct log_point hw = partition_high_watermark(writer->part);
        assert_true(hw.offset >= op.result.end.offset);
        assert_true(hw.position >= op.result.end.position);
    }
    return NULL;
}

static void *follow(void *arg)
{
    struct writer *writer = arg;
    struct log_point last = {0, 0};
    while (last.offset < WRITERS * LINES) {
        struct reader reader = reader_at(last.position);
        if (partition_wait(writer->part, &reader.waiter)) {
            while (atomic_load(&reader.ready) == 0)
                sched_yield();
        }
        struct log_point hw = partition_high_watermark(writer->part);
        assert_true(hw.offset > last.offset && hw.position > last.position);
        last = hw;
    }
    return NULL;
}

static void test_many_writers_and_readers(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    struct writer writers[2 * WRITERS];
    pthread_t threads[2 * WRITERS];
    for (int i = 0; i < 2 * WRITERS; i++) {
        writers[i] = (struct writer){f, get(f, "orders"), i};
        pthread_create(&threads[i], NULL, i < WRITERS ? write_lines : follow, &writers[i]);
    }
    for (int i = 0; i < 2 * WRITERS; i++)
        pthread_join(threads[i], NULL);
    static char text[WRITERS * LINES * 16];
    assert_int_equal(content(f, "orders", text, sizeof text), 0);
    int next[WRITERS] = {0}, lines = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"), lines++) {
        int number, i;
        assert_int_equal(sscanf(line, "%d %d", &number, &i), 2);
        assert_int_equal(i, next[number]++);
    }
    assert_int_equal(lines, WRITERS * LINES);
    for (int i = 0; i < 2 * WRITERS; i++)
        partition_unref(writers[i].part);
}

/* Who hears of it elsewhere takes a difference for a hole. */
static void test_what_is_told_of_a_partition_is_of_one_moment(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    struct writer writers[WRITERS];
    pthread_t threads[WRITERS];
    struct stat_answer answer = {0};
    int64_t differs = 0;
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){f, get(f, "orders"), i};
        pthread_create(&threads[i], NULL, write_lines, &writers[i]);
    }
    while (answer.log_end.offset < WRITERS * LINES) {
        partition_serve_stat(writers[0].part, &answer);
        differs += answer.log_end.position - answer.log_start.position != answer.retained_bytes;
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        partition_unref(writers[i].part);
    }
    assert_int_equal(differs, 0);
}

/* ---- .internal ---- */

static void test_the_metadata_is_readable_and_not_writable(void **state)
{
    struct fixture *f = *state;
    struct append_op op = {0};
    struct err e = {0};
    create(f, "orders");
    struct topic *topic = node_internal_topic(f->node, "__cluster_metadata");
    assert_non_null(topic);
    assert_null(node_internal_topic(f->node, "orders"));
    struct partition *part = topic_partition(topic, 0);
    /* The quorum's voters, its first epoch, the node's registration and the topic. */
    assert_int_equal(partition_high_watermark(part).offset, 4);
    assert_int_equal(append_to(f, part, "x\n", ACKS_ALL, &op, &e), -EPERM);
    assert_int_equal(delete_records(part, 1, &e), -EPERM);
    struct reader reader = reader_at(partition_high_watermark(part).position);
    assert_true(partition_wait(part, &reader.waiter));
    create(f, "more");
    assert_int_equal(reader.ready, 1);
    char value[CONFIG_VALUE_BYTES];
    assert_int_equal(node_get_config(f->node, "__cluster_metadata", "framing", value), 0);
    assert_string_equal(value, "msgpack");
    topic_unref(topic);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(test_a_reader_is_woken_by_the_append_it_waits_for),
        STORY(test_a_reader_can_go),
        STORY(test_readers_of_a_deleted_topic_are_woken),
        STORY(test_readers_are_woken_when_the_log_goes_offline),
        STORY(test_a_full_disk_is_survived),
        STORY(test_the_first_append_needs_its_epoch_on_the_disk),
        STORY(test_acks_1_does_not_wait_but_shows_nothing_uncommitted),
        STORY(test_the_high_watermark_is_kept_while_it_cannot_move),
        STORY(test_fsync),
        STORY(test_many_flushes),
        STORY(test_a_failed_flush_takes_the_partition_offline),
        STORY(test_flush_messages),
        STORY(test_flush_ms),
        STORY(test_a_flush_of_a_deleted_topic_outlives_who_waited_for_it),
        STORY(test_who_is_told_of_a_flush_when_an_epoch_begins_may_append),
        STORY(test_who_is_told_of_a_flush_may_begin_an_epoch),
        STORY(test_what_is_cut_off_before_an_epoch_has_begun_fails_nobody),
        STORY(test_settings_that_change_while_others_are_put_in_force_are_not_lost),
        STORY(test_checkpoints_follow_within_a_minute),
        STORY(test_log_append_time),
        STORY(test_many_writers_and_readers),
        STORY(test_what_is_told_of_a_partition_is_of_one_moment),
        STORY(test_the_metadata_is_readable_and_not_writable),
    };
    return cmocka_run_group_tests_name("partition", tests, NULL, NULL);
}
