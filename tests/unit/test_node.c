/* A node on a directory of its own: topics, records and settings over stops, crashes and damage. */
#include "tests/unit/node_fixture.h"

#include <sys/wait.h>

/* ---- topics and records ---- */

static void test_append_read_stop_start(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    append(f, "orders", "one\ntwo\n");
    append(f, "orders", "three\n");
    assert_content(f, "orders", "one\ntwo\nthree\n");
    restart(f);
    assert_content(f, "orders", "one\ntwo\nthree\n");
    append(f, "orders", "four\n");
    crash_and_restart(f);
    assert_content(f, "orders", "one\ntwo\nthree\nfour\n");

    struct partition *part = get(f, "orders");
    struct log_point hw = partition_high_watermark(part);
    assert_int_equal(hw.offset, 4);
    assert_int_equal(hw.position, 19);
    partition_unref(part);
}

static void test_the_tree_is_kept(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    create(f, "orders");
    create(f, "a");
    assert_int_equal(create_topic(f->node, "orders", &some_attr, &e), -EEXIST);
    assert_int_equal(create_topic(f->node, "__x", &some_attr, &e), -EINVAL);
    assert_int_equal(create_partitions(f->node, "orders", 4, &e), 0);
    assert_int_equal(create_partitions(f->node, "orders", 4, &e), -EEXIST);
    assert_int_equal(create_partitions(f->node, "orders", 10001, &e), -EINVAL);
    assert_int_equal(create_partitions(f->node, "gone", 2, &e), -ENOENT);
    struct tree_attr attr = {.file_mode = 0600, .uid = 7};
    assert_int_equal(set_attr(f->node, "orders", &attr, ATTR_FILE_MODE | ATTR_UID, &e), 0);
    assert_int_equal(set_attr(f->node, NULL, &(struct tree_attr){.dir_mode = 01777}, ATTR_DIR_MODE, &e), 0);
    set(f, "orders", "retention.ms", "-1");

    struct topic *before = node_topic(f->node, "orders");
    char id[32];
    strcpy(id, topic_id(before));
    uint64_t number = topic_number(before);
    topic_unref(before);
    char cluster_id[32];
    strcpy(cluster_id, node_cluster_id(f->node));

    for (int round = 0; round < 2; round++) {
        struct topic **topics;
        size_t count;
        char value[CONFIG_VALUE_BYTES];
        if (round == 0)
            restart(f);
        else
            crash_and_restart(f);
        assert_string_equal(node_cluster_id(f->node), cluster_id);
        assert_int_equal(node_topics(f->node, &topics, &count), 0);
        assert_int_equal(count, 2);
        assert_string_equal(topic_name(topics[0]), "a");
        assert_string_equal(topic_name(topics[1]), "orders");
        assert_string_equal(topic_id(topics[1]), id);
        assert_int_equal(topic_number(topics[1]), number);
        assert_int_equal(topic_partition_count(topics[1]), 4);
        assert_int_equal(topic_replication_factor(topics[1]), 1);
        topic_attr(topics[1], &attr);
        assert_int_equal(attr.uid, 7);
        assert_int_equal(attr.gid, 100);
        assert_int_equal(attr.file_mode, 0600);
        assert_int_equal(attr.dir_mode, 0755);
        node_root_attr(f->node, &attr);
        assert_int_equal(attr.dir_mode, 01777);
        assert_int_equal(node_get_config(f->node, "orders", "retention.ms", value), 0);
        assert_string_equal(value, "-1");
        for (size_t i = 0; i < count; i++)
            topic_unref(topics[i]);
        free(topics);
    }
}

static void test_a_topic_with_records_is_not_deleted(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    create(f, "orders");
    append(f, "orders", "one\n");
    assert_int_equal(delete_topic(f->node, "orders", &e), -ENOTEMPTY);
    assert_content(f, "orders", "one\n");
    set(f, "orders", "delete.topic.enable", "true");
    assert_int_equal(delete_topic(f->node, "orders", &e), 0);
    assert_int_equal(delete_topic(f->node, "orders", &e), -ENOENT);
    assert_null(node_topic(f->node, "orders"));
    restart(f);
    assert_null(node_topic(f->node, "orders"));
    assert_false(exists(f, "topics/orders-0"));
}

static void test_an_empty_topic_is_deleted(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    create(f, "orders");
    append(f, "orders", "one\n");
    struct partition *part = get(f, "orders");
    assert_int_equal(delete_records(part, 4, &e), 0);
    partition_unref(part);
    assert_int_equal(delete_topic(f->node, "orders", &e), 0);
    assert_null(node_topic(f->node, "orders"));
}

static void test_a_name_used_again_is_another_topic(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    create(f, "orders");
    append(f, "orders", "old\n");
    struct partition *old = get(f, "orders");
    set(f, "orders", "delete.topic.enable", "true");
    assert_int_equal(delete_topic(f->node, "orders", &e), 0);

    create(f, "orders");
    append(f, "orders", "new\n");
    assert_content(f, "orders", "new\n");
    struct append_op op = {0};
    struct read_op look = {.part = old, .kind = FIND_OFFSET};
    assert_int_equal(append_to(f, old, "late\n", ACKS_ALL, &op, &e), -ESTALE);
    assert_int_equal(partition_read_here(&look), -ESTALE);
    assert_int_equal(partition_state(old), -ESTALE);
    assert_true(topic_deleted(partition_topic(old)));
    partition_unref(old);
    restart(f);
    assert_content(f, "orders", "new\n");
}

/* The text of a checkpoint file. */
static void read_checkpoint(struct fixture *f, const char *file, char text[1024])
{
    char path[256];
    path_in(f, file, path);
    int fd = open(path, O_RDONLY);
    memset(text, 0, 1024);
    assert_true(read(fd, text, 1023) > 0);
    close(fd);
}

static void put_checkpoint(struct fixture *f, const char *file, const char *text)
{
    char path[256];
    path_in(f, file, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void test_a_new_topic_has_none_of_the_old_ones_checkpoints(void **state)
{
    struct fixture *f = *state;
    char text[1024], old_id[UUID_TEXT_BYTES];
    create(f, "orders");
    append(f, "orders", "1\n2\n3\n");
    set(f, "orders", "delete.topic.enable", "true");
    struct topic *topic = node_topic(f->node, "orders");
    memcpy(old_id, topic->id_text, sizeof old_id);
    topic_unref(topic);
    restart(f);
    read_checkpoint(f, "recovery-point-offset-checkpoint", text);
    assert_non_null(strstr(text, old_id));
    /* Gone before a stop, made after it: the files still say that 3 records of the old one were on the disk. */
    assert_int_equal(delete_topic(f->node, "orders", NULL), 0);
    create(f, "orders");
    append(f, "orders", "1\n");
    read_checkpoint(f, "recovery-point-offset-checkpoint", text);
    assert_non_null(strstr(text, old_id));
    assert_null(strstr(text, "orders"));
    crash_and_restart(f);
    assert_content(f, "orders", "1\n");
}

/* Files of version 1 went by name: read, and no longer there when another topic can get the name. */
static void test_checkpoints_by_name_are_carried_over(void **state)
{
    static const char *const v1 = "logmnt checkpoint 1\norders-0 3 6\ncrc32c %08x\n";
    struct fixture *f = *state;
    char text[1024], sealed[1024];
    create(f, "orders");
    append(f, "orders", "1\n2\n3\n4\n");
    set(f, "orders", "delete.topic.enable", "true");
    stop(f);
    snprintf(text, sizeof text, "logmnt checkpoint 1\norders-0 3 6\n");
    snprintf(sealed, sizeof sealed, v1, crc32c(0, text, strlen(text)));
    put_checkpoint(f, "log-start-offset-checkpoint", sealed);
    put_checkpoint(f, "recovery-point-offset-checkpoint", sealed);
    start(f);
    assert_content(f, "orders", "4\n");
    assert_int_equal(delete_topic(f->node, "orders", NULL), 0);
    create(f, "orders");
    read_checkpoint(f, "log-start-offset-checkpoint", text);
    assert_memory_equal(text, "logmnt checkpoint 2\n", 20);
    append(f, "orders", "1\n");
    crash_and_restart(f);
    assert_content(f, "orders", "1\n");
}

/* A power cut took all that no fsync had put on the disk. What is appended next must not pass for committed. */
static void test_a_high_watermark_is_brought_down_to_nothing(void **state)
{
    struct fixture *f = *state;
    char text[1024], id[UUID_TEXT_BYTES], command[256];
    create(f, "orders");
    append(f, "orders", "1\n2\n3\n");
    struct topic *topic = node_topic(f->node, "orders");
    memcpy(id, topic->id_text, sizeof id);
    topic_unref(topic);
    stop(f);
    read_checkpoint(f, "replication-offset-checkpoint", text);
    assert_non_null(strstr(text, id));
    snprintf(command, sizeof command, "cd %s && rm clean-shutdown recovery-point-offset-checkpoint topics/orders-0/0*",
             f->dir);
    assert_int_equal(system(command), 0);
    start(f);
    /* As in the middle of the start, before the node knows of all topics. */
    struct replica_manager *manager = &f->node->replicas;
    put_checkpoint(f, "replication-offset-checkpoint", text);
    pthread_mutex_lock(&manager->checkpoint_lock);
    int rc = checkpoints_read(f->node->io, f->node->data_dirfd, &manager->known, NULL);
    atomic_store(&manager->caught_up, false);
    pthread_mutex_unlock(&manager->checkpoint_lock);
    assert_int_equal(rc, 0);
    assert_int_equal(checkpoints_write(manager, CHECKPOINT_HIGH_WATERMARK, NULL), 0);
    pthread_mutex_lock(&manager->checkpoint_lock);
    atomic_store(&manager->caught_up, true);
    checkpoints_free(&manager->known);
    pthread_mutex_unlock(&manager->checkpoint_lock);
    read_checkpoint(f, "replication-offset-checkpoint", text);
    assert_null(strstr(text, id));
}

/* ---- what lies in the directory ---- */

static void overwrite(const struct fixture *f, const char *name, off_t at, const char *bytes)
{
    char path[256];
    path_in(f, name, path);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, strlen(bytes), at), strlen(bytes));
    close(fd);
}

static void refuses_to_start(struct fixture *f, int expected, const char *says)
{
    struct err e = {0};
    int rc = try_open(f, 1, &e);
    f->node = rc == 0 ? f->node : NULL;
    assert_int_equal(rc, expected);
    if (strstr(e.text, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", e.text, says);
    assert_non_null(strstr(e.text, f->dir));
}

static void test_damaged_files_are_named(void **state)
{
    struct fixture *f = *state;
    create(f, "a");
    append(f, "a", "x\n");
    stop(f);
    static const struct {
        const char *file;
        off_t at;
        const char *right, *wrong;
    } damage[] = {
        {"meta.properties", 0, "#", "!"},
        {"recovery-point-offset-checkpoint", 0, "", "!"},
        {"topics/__cluster_metadata-0/00000000000000000000.log", 3, "", "!"},
    };
    for (size_t i = 0; i < sizeof damage / sizeof damage[0]; i++) {
        char path[256], saved[2] = {0};
        path_in(f, damage[i].file, path);
        int fd = open(path, O_RDONLY);
        assert_int_equal(pread(fd, saved, 1, damage[i].at), 1);
        close(fd);
        overwrite(f, damage[i].file, damage[i].at, damage[i].wrong);
        refuses_to_start(f, -EBADMSG, i == 2 ? "__cluster_metadata-0" : damage[i].file);
        /* Nothing was touched, the clean stop is still known. */
        assert_true(exists(f, "clean-shutdown"));
        overwrite(f, damage[i].file, damage[i].at, saved);
    }
    start(f);
    assert_content(f, "a", "x\n");
}

static pthread_mutex_t synced_lock = PTHREAD_MUTEX_INITIALIZER;
static char synced[4096]; /* ":"-separated paths; the lock */
static int sync_rc;       /* set while no node runs */

static int note_fsync(struct io *io, int fd)
{
    char link[32], path[256];
    (void)io;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    path[len > 0 ? len : 0] = '\0';
    pthread_mutex_lock(&synced_lock);
    if (strlen(synced) + strlen(path) + 2 < sizeof synced)
        strcat(strcat(synced, path), ":");
    pthread_mutex_unlock(&synced_lock);
    return sync_rc != 0 ? sync_rc : io_posix()->fsync(io_posix(), fd);
}

static bool was_synced(const char *path)
{
    pthread_mutex_lock(&synced_lock);
    bool found = strstr(synced, path) != NULL;
    pthread_mutex_unlock(&synced_lock);
    return found;
}

/* An earlier start has made it, and got no further. Else all that this one is told to keep goes with the power. Found
 * by the simulator, seed 17204. */
static void test_the_name_of_a_new_directory_is_on_the_disk_before_anything_is_in_it(void **state)
{
    struct fixture *f = *state;
    char home[64], parent[80], grandparent[80];
    struct err e = {0};
    stop(f);
    memcpy(home, f->dir, sizeof home);
    snprintf(grandparent, sizeof grandparent, "%s:", home);
    snprintf(parent, sizeof parent, "%s/new:", home);
    snprintf(f->dir, sizeof f->dir, "%.40s/new/data", home);
    f->disk.io.fsync = note_fsync;
    sync_rc = -EIO;
    assert_int_equal(try_open(f, 1, &e), -EIO);
    sync_rc = 0;
    synced[0] = '\0';
    start(f);
    assert_true(was_synced(grandparent));
    assert_true(was_synced(parent));
    /* Once is enough. */
    stop(f);
    synced[0] = '\0';
    start(f);
    assert_false(was_synced(parent));
    stop(f);
    memcpy(f->dir, home, sizeof home);
}

static void test_another_nodes_directory_is_refused(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct node *node = f->node;
    stop(f);
    assert_int_equal(try_open(f, 2, &e), -EINVAL);
    assert_non_null(strstr(e.text, "node 1"));
    (void)node;
    start(f);
}

static void test_one_damaged_partition_does_not_stop_the_node(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    create(f, "bad");
    create(f, "good");
    append(f, "bad", "one\ntwo\n");
    append(f, "good", "x\n");
    stop(f);
    /* Entry 0 of `.batches`, behind the header, is below the recovery point: corruption, not a torn tail. */
    overwrite(f, "topics/bad-0/00000000000000000000.batches", 64 + 20, "!!");
    char path[256];
    path_in(f, "clean-shutdown", path);
    assert_int_equal(unlink(path), 0);
    for (int round = 0; round < 2; round++) {
        start(f);
        assert_content(f, "good", "x\n");
        struct partition *part = get(f, "bad");
        struct append_op op = {0};
        struct partition_info info;
        assert_int_equal(partition_state(part), -EIO);
        assert_int_equal(append_to(f, part, "y\n", ACKS_ALL, &op, &e), -EIO);
        partition_info(part, &info);
        assert_int_equal(info.leader, -1);
        partition_unref(part);
        struct node_metrics metrics;
        node_metrics(f->node, &metrics);
        assert_int_equal(metrics.partitions, 2);
        assert_int_equal(metrics.partitions_offline, 1);
        /* Nor is it forgotten, or taken for a torn tail, the next time. */
        stop(f);
        assert_false(exists(f, "clean-shutdown"));
    }
    start(f);
}

/* ---- the lock ---- */

static void test_a_second_node_is_refused(void **state)
{
    struct fixture *f = *state;
    struct node *node = f->node;
    char text[64] = {0}, path[256];
    refuses_to_start(f, -EBUSY, "in use by process");
    f->node = node;
    path_in(f, "lock", path);
    int fd = open(path, O_RDONLY);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    char expected[64];
    snprintf(expected, sizeof expected, "%d\nrunning\n", (int)getpid());
    assert_string_equal(text, expected);
    node_stopping(node);
    assert_true(pread(fd, text, sizeof text - 1, 0) > 0);
    snprintf(expected, sizeof expected, "%d\nstopping\n", (int)getpid());
    assert_string_equal(text, expected);
    close(fd);
}

/* Another process that runs the node, and has said that it is stopping. */
static pid_t stop_elsewhere(struct fixture *f)
{
    int ready[2];
    char byte = 'x';
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        start(f);
        node_stopping(f->node);
        if (write(ready[1], &byte, 1) != 1)
            _exit(1);
        usleep(50000);
        stop(f);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void test_a_stopping_node_is_waited_for(void **state)
{
    struct fixture *f = *state;
    int status;
    create(f, "orders");
    stop(f);
    pid_t pid = stop_elsewhere(f);
    start(f);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    append(f, "orders", "one\n");
}

/* ---- settings ---- */

static void test_settings_work_at_once(void **state)
{
    struct fixture *f = *state;
    char value[CONFIG_VALUE_BYTES];
    create(f, "orders");
    struct topic *topic = node_topic(f->node, "orders");
    struct topic_config config;
    uint64_t before = topic_config_generation(topic);
    set(f, "orders", "max.message.bytes", "100");
    assert_true(topic_config_generation(topic) > before);
    topic_config(topic, &config);
    assert_int_equal(config.max_message_bytes, 100);
    before = topic_config_generation(topic);
    set(f, NULL, "segment.bytes", "1000");
    assert_true(topic_config_generation(topic) > before);
    topic_config(topic, &config);
    assert_int_equal(config.log.segment_bytes, 1000);
    topic_unref(topic);

    assert_int_equal(node_get_config(f->node, "orders", "segment.bytes", value), 0);
    assert_string_equal(value, "1000");
    assert_int_equal(node_get_config(f->node, NULL, "segment.bytes", value), 0);
    assert_int_equal(node_get_config(f->node, "orders", "num.partitions", value), -ENODATA);
    assert_int_equal(node_get_config(f->node, "orders", "nothing", value), -ENODATA);
    assert_int_equal(node_get_config(f->node, "gone", "segment.bytes", value), -ENOENT);
    assert_int_equal(set_config(f->node, "orders", "segment.bytes", "1 GiB", NULL), -EINVAL);
    assert_int_equal(set_config(f->node, "orders", "segment.bytes", NULL, NULL), -ENODATA);
    assert_int_equal(set_config(f->node, NULL, "default.replication.factor", "2", NULL), -EINVAL);

    set(f, NULL, "num.partitions", "3");
    create(f, "three");
    topic = node_topic(f->node, "three");
    assert_int_equal(topic_partition_count(topic), 3);
    topic_unref(topic);
}

static void test_framing_of_a_topic_with_records_stays(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    set(f, "orders", "framing", "msgpack");
    set(f, "orders", "framing", "line");
    append(f, "orders", "one\n");
    assert_int_equal(set_config(f->node, "orders", "framing", "msgpack", NULL), -EBUSY);
    assert_int_equal(set_config(f->node, "orders", "framing", NULL, NULL), -EBUSY);
    char value[CONFIG_VALUE_BYTES];
    set(f, NULL, "framing", "msgpack");
    assert_int_equal(node_get_config(f->node, "orders", "framing", value), 0);
    assert_string_equal(value, "line");
}

static void test_framing_waits_for_records_on_their_way(void **state)
{
    struct fixture *f = *state;
    struct append_op op = {0};
    struct err e = {0};
    create(f, "orders");
    struct topic *topic = node_topic(f->node, "orders");
    assert_true(topic_begin_flight(topic, FRAMING_LINE));
    assert_int_equal(set_config(f->node, "orders", "framing", "msgpack", NULL), -EBUSY);
    topic_end_flight(topic);
    set(f, "orders", "min.insync.replicas", "2");
    struct partition *part = topic_partition(topic, 0);
    assert_int_equal(append_to(f, part, "one\n", ACKS_ALL, &op, &e), 0);
    assert_int_equal(set_config(f->node, "orders", "framing", "msgpack", NULL), -EBUSY);
    assert_true(partition_append_cancel(&op));
    set(f, "orders", "framing", "msgpack");
    /* Lines that were cut before are not taken any more: neither now nor to wait. */
    assert_false(topic_begin_flight(topic, FRAMING_LINE));
    assert_int_equal(append_to(f, part, "one\n", ACKS_ALL, &op, &e), -EAGAIN);
    set(f, "orders", "min.insync.replicas", "1");
    assert_int_equal(append_to(f, part, "one\n", ACKS_ALL, &op, &e), -EAGAIN);
    assert_content(f, "orders", "");
    topic_unref(topic);
}

static int64_t retained_bytes(struct fixture *f, const char *name)
{
    struct partition *part = get(f, name);
    struct log_size size;
    partition_size(part, &size);
    partition_unref(part);
    return size.retained_bytes;
}

static void test_a_shorter_retention_deletes_without_an_alarm(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    append(f, "orders", "one\ntwo\n");
    pass_ms(f, 60000);
    assert_int_equal(retained_bytes(f, "orders"), 8);
    set(f, "orders", "retention.ms", "1000");
    wait_until(retained_bytes(f, "orders") == 0);
    struct partition *part = get(f, "orders");
    assert_int_equal(partition_log_start(part).offset, 2);
    assert_int_equal(partition_high_watermark(part).position, 8);
    partition_unref(part);
}

static bool is_set(struct fixture *f, struct alarm *alarm)
{
    return executor_uv_is_set(f->node->executor, alarm);
}

static void test_retention_comes_with_its_alarm(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    set(f, "orders", "retention.ms", "600000");
    append(f, "orders", "one\n");
    /* Second by second: a round that is under way sets the next alarm by the time at its end. */
    wait_until((pass_ms(f, 1000), retained_bytes(f, "orders") == 0));
}

/* ---- log start, epochs, metrics ---- */

static void test_deleted_records_stay_deleted(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    create(f, "orders");
    append(f, "orders", "one\ntwo\nthree\n");
    struct partition *part = get(f, "orders");
    assert_int_equal(delete_records(part, 9, &e), 0); /* within "three" */
    assert_int_equal(partition_log_start(part).offset, 2);
    assert_int_equal(partition_log_start(part).position, 8);
    partition_unref(part);
    assert_content(f, "orders", "three\n");
    crash_and_restart(f);
    assert_content(f, "orders", "three\n");
    part = get(f, "orders");
    assert_int_equal(delete_records(part, 1000, &e), 0);
    assert_int_equal(partition_log_start(part).offset, 3);
    partition_unref(part);
}

static int32_t leader_epoch(struct fixture *f, const char *name)
{
    struct partition_info info;
    struct partition *part = get(f, name);
    partition_info(part, &info);
    partition_unref(part);
    assert_int_equal(info.leader, 1);
    assert_int_equal(info.replicas.count, 1);
    assert_int_equal(info.isr.count, 1);
    assert_int_equal(info.isr.ids[0], 1);
    return info.leader_epoch;
}

static void test_the_leader_epoch_rises_after_an_unclean_stop_with_a_tail(void **state)
{
    struct fixture *f = *state;
    char path[256];
    create(f, "orders");
    assert_int_equal(leader_epoch(f, "orders"), 0);
    append(f, "orders", "one\n");
    restart(f);
    assert_int_equal(leader_epoch(f, "orders"), 0);
    append(f, "orders", "two\n");
    stop(f);
    path_in(f, "clean-shutdown", path);
    unlink(path);
    path_in(f, "recovery-point-offset-checkpoint", path);
    unlink(path);
    start(f);
    assert_int_equal(leader_epoch(f, "orders"), 1);
    append(f, "orders", "three\n");
    restart(f);
    assert_int_equal(leader_epoch(f, "orders"), 1);
    struct partition *part = get(f, "orders");
    int32_t found;
    struct log_point end;
    assert_int_equal(log_latest_epoch(part->log), 1);
    log_epoch_end(part->log, 0, &found, &end);
    assert_int_equal(found, 0);
    assert_int_equal(end.offset, 2);
    partition_unref(part);
}

static void test_metrics_count(void **state)
{
    struct fixture *f = *state;
    struct node_metrics metrics;
    node_metrics(f->node, &metrics);
    uint64_t commands = metrics.commands.times.count; /* of the start */
    create(f, "orders");
    append(f, "orders", "one\ntwo\n");
    append(f, "orders", "three\n");
    node_metrics(f->node, &metrics);
    assert_int_equal(metrics.batches_appended, 2);
    assert_int_equal(metrics.records_appended, 3);
    assert_int_equal(metrics.bytes_appended, 14);
    assert_int_equal(metrics.appends[ACKS_ALL - ACKS_ALL].times.count, 2);
    assert_int_equal(metrics.commands.times.count, commands + 1);
    assert_int_equal(metrics.topics, 1);
    assert_int_equal(metrics.partitions, 1);
    assert_int_equal(metrics.partitions_offline, 0);
    set(f, "orders", "delete.topic.enable", "true");
    assert_int_equal(delete_topic(f->node, "orders", NULL), 0);
    /* What was appended was appended, also when the topic is gone. */
    wait_until((node_metrics(f->node, &metrics), metrics.records_appended == 3));
    assert_int_equal(metrics.topics, 0);
}

static void test_an_idle_node_has_one_alarm(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    /* After the first round of retention: its own alarm. (The checkpoints' was set by the commands so far.) */
    wait_until(is_set(f, &f->node->cleaner.retention));
    assert_false(is_set(f, &f->node->cleaner.compaction));
    assert_false(is_set(f, &f->node->scrubber.alarm));
    set(f, "orders", "key.separator", ":");
    set(f, "orders", "cleanup.policy", "compact");
    wait_until(is_set(f, &f->node->cleaner.compaction));
}

/* ---- many ---- */

static void *create_many(void *arg)
{
    struct fixture *f = arg;
    char name[32];
    static _Atomic int next;
    for (int i; (i = atomic_fetch_add(&next, 1)) < 200;) {
        snprintf(name, sizeof name, "topic-%d", i);
        assert_int_equal(create_topic(f->node, name, &some_attr, NULL), 0);
        struct topic *topic = node_topic(f->node, name);
        assert_non_null(topic);
        topic_unref(topic);
        if (i % 2 == 0)
            assert_int_equal(delete_topic(f->node, name, NULL), 0);
    }
    return NULL;
}

static void test_commands_from_many_threads(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, create_many, f), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int round = 0; round < 2; round++) {
        struct topic **topics;
        size_t count;
        assert_int_equal(node_topics(f->node, &topics, &count), 0);
        assert_int_equal(count, 100);
        for (size_t i = 0; i < count; i++)
            topic_unref(topics[i]);
        free(topics);
        restart(f);
    }
}

struct append_once {
    struct append_op op;
    struct fixture *f;
    struct partition *part;
    sem_t over;
    int rc;
};

/* It came while the deletion was being decided, and was parked. */
static void on_appended(struct append_op *op, int rc)
{
    struct append_once *once = CONTAINER_OF(op, struct append_once, op);
    once->rc = rc == 0 ? 1 : rc;
    sem_post(&once->over);
}

static void *append_once(void *arg)
{
    struct append_once *once = arg;
    once->op.done = on_appended;
    sem_init(&once->over, 0, 0);
    int rc = append_to(once->f, once->part, "x\n", ACKS_ALL, &once->op, NULL);
    if (rc == 0)
        sem_wait(&once->over);
    else
        once->rc = rc;
    sem_destroy(&once->over);
    return NULL;
}

static void test_rmdir_and_an_append_at_once_lose_nothing(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        create(f, "orders");
        struct append_once once = {.f = f, .part = get(f, "orders")};
        assert_int_equal(pthread_create(&thread, NULL, append_once, &once), 0);
        int rc = delete_topic(f->node, "orders", NULL);
        pthread_join(thread, NULL);
        if (rc == 0) {
            assert_int_equal(once.rc, -ESTALE);
        } else {
            assert_int_equal(rc, -ENOTEMPTY);
            assert_int_equal(once.rc, 1);
            assert_content(f, "orders", "x\n");
            set(f, "orders", "delete.topic.enable", "true");
            assert_int_equal(delete_topic(f->node, "orders", NULL), 0);
        }
        partition_unref(once.part);
    }
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(test_append_read_stop_start),
        STORY(test_the_tree_is_kept),
        STORY(test_a_topic_with_records_is_not_deleted),
        STORY(test_an_empty_topic_is_deleted),
        STORY(test_a_name_used_again_is_another_topic),
        STORY(test_a_new_topic_has_none_of_the_old_ones_checkpoints),
        STORY(test_checkpoints_by_name_are_carried_over),
        STORY(test_a_high_watermark_is_brought_down_to_nothing),
        STORY(test_damaged_files_are_named),
        STORY(test_the_name_of_a_new_directory_is_on_the_disk_before_anything_is_in_it),
        STORY(test_another_nodes_directory_is_refused),
        STORY(test_one_damaged_partition_does_not_stop_the_node),
        STORY(test_a_second_node_is_refused),
        STORY(test_a_stopping_node_is_waited_for),
        STORY(test_settings_work_at_once),
        STORY(test_framing_of_a_topic_with_records_stays),
        STORY(test_framing_waits_for_records_on_their_way),
        STORY(test_a_shorter_retention_deletes_without_an_alarm),
        STORY(test_retention_comes_with_its_alarm),
        STORY(test_deleted_records_stay_deleted),
        STORY(test_the_leader_epoch_rises_after_an_unclean_stop_with_a_tail),
        STORY(test_metrics_count),
        STORY(test_an_idle_node_has_one_alarm),
        STORY(test_commands_from_many_threads),
        STORY(test_rmdir_and_an_append_at_once_lose_nothing),
    };
    return cmocka_run_group_tests_name("node", tests, NULL, NULL);
}
