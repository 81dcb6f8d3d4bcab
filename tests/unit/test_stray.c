/* Directories in DATA/topics that are not, or not any more, a partition's. */
#include "tests/unit/node_fixture.h"

#include <dirent.h>
#include <sys/stat.h>
#include <syslog.h>

#include "replication/metadata/metadata_internal.h"
#include "replication/metadata/snapshot.h"

/* ---- deletions that did not get through ---- */

static int refuse_deletion(struct io *io, int from_dirfd, const char *from, int to_dirfd, const char *to)
{
    (void)io;
    return strstr(to, "-delete") != NULL ? -EACCES : io_posix()->rename(io_posix(), from_dirfd, from, to_dirfd, to);
}

static void test_a_topic_that_kept_its_directorys_name_takes_no_other_along(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    append(f, "orders", "old\n");
    set(f, "orders", "delete.topic.enable", "true");
    struct partition *old = get(f, "orders");
    replace_disk_call(f, rename, refuse_deletion);
    assert_int_equal(delete_topic(f->node, "orders", NULL), 0);
    replace_disk_call(f, rename, io_posix()->rename);
    create(f, "orders");
    append(f, "orders", "new\n");
    partition_unref(old); /* taken apart now */
    restart(f);
    assert_content(f, "orders", "new\n");
    append(f, "orders", "more\n");
    crash_and_restart(f);
    assert_content(f, "orders", "new\nmore\n");
}

static int count_names(const struct fixture *f, const char *end)
{
    char path[256];
    int count = 0;
    path_in(f, "topics", path);
    DIR *dir = opendir(path);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        size_t len = strlen(entry->d_name), end_len = strlen(end);
        count += len > end_len && strcmp(entry->d_name + len - end_len, end) == 0;
    }
    closedir(dir);
    return count;
}

/* Killed between the decision and the renaming of the directories, as far as the disk knows. */
static void delete_and_die(struct fixture *f, const char *name)
{
    replace_disk_call(f, rename, refuse_deletion);
    assert_int_equal(delete_topic(f->node, name, NULL), 0);
    replace_disk_call(f, rename, io_posix()->rename);
    crash_and_restart(f);
}

static void test_a_topic_whose_deletion_was_cut_short_is_deleted_by_the_start(void **state)
{
    struct fixture *f = *state;
    char path[256];
    create(f, "orders");
    assert_int_equal(create_partitions(f->node, "orders", 3, NULL), 0);
    append(f, "orders", "one\n");
    set(f, "orders", "delete.topic.enable", "true");
    /* A power cut has taken what one of them says of itself. */
    path_in(f, "topics/orders-2/partition.metadata", path);
    assert_int_equal(truncate(path, 0), 0);
    delete_and_die(f, "orders");
    assert_false(exists(f, "topics/orders-0")); /* the name is free at once, */
    assert_false(exists(f, "topics/orders-1"));
    assert_false(exists(f, "topics/orders-2"));
    create(f, "orders");
    append(f, "orders", "new\n");
    wait_until(count_names(f, "-delete") == 0); /* and the bytes are soon */
    assert_int_equal(count_names(f, "-stray"), 0);
    restart(f);
    assert_content(f, "orders", "new\n");
}

/* ---- a name that is used again ---- */

static _Atomic int at_removal; /* 1: a removal waits in front of the directory, which is empty; 2: it goes on */
static _Atomic int complaints;

static int wait_with_removal(struct io *io, int dirfd, const char *name, int flags)
{
    int none = 0;
    (void)io;
    if (flags == AT_REMOVEDIR && atomic_compare_exchange_strong(&at_removal, &none, 1)) {
        while (atomic_load(&at_removal) == 1)
            sched_yield();
    }
    return io_posix()->unlink(io_posix(), dirfd, name, flags);
}

static void count_complaint(int level, const char *line)
{
    if (level <= LOG_WARNING) {
        atomic_fetch_add(&complaints, 1);
        log_to_stderr(level, line);
    }
}

/* While the first one's directory is being removed the second comes and goes, and a third has the name: each removal
 * finds what is its own, and nothing failed. */
static void test_a_name_that_is_used_again_meanwhile_is_no_failure(void **state)
{
    struct fixture *f = *state;
    atomic_store(&at_removal, 0);
    atomic_store(&complaints, 0);
    replace_disk_call(f, unlink, wait_with_removal);
    log_sink_set(count_complaint);
    for (int i = 0; i < 3; i++) {
        create(f, "orders");
        append(f, "orders", i == 2 ? "third\n" : "gone\n");
        if (i == 2)
            break;
        assert_int_equal(set_config(f->node, "orders", "delete.topic.enable", "true", NULL), 0);
        assert_int_equal(delete_topic(f->node, "orders", NULL), 0);
        wait_until(atomic_load(&at_removal) == 1);
    }
    atomic_store(&at_removal, 2);
    wait_until(count_names(f, "-delete") == 0);
    executor_settle(f->node->executor);
    log_sink_set(NULL);
    assert_int_equal(atomic_load(&complaints), 0);
    assert_content(f, "orders", "third\n");
}

/* ---- a snapshot has taken the place of the command ---- */

static bool has_snapshot(struct node *node)
{
    struct quorum *quorum = &node->quorum;
    pthread_mutex_lock(&quorum->lock);
    bool has = quorum->snapshot_id.end.offset > 0 && !atomic_load(&quorum->snapshotting);
    pthread_mutex_unlock(&quorum->lock);
    return has;
}

/* With a command of its own. */
static void take_snapshot(struct fixture *f)
{
    executor_settle(f->node->executor); /* what applies looks at it */
    f->node->quorum.snapshot_at = log_end(f->node->quorum.log).offset + 1;
    create(f, "other");
    wait_until(has_snapshot(f->node));
}

static void create_to_delete(struct fixture *f, const char *name)
{
    create(f, name);
    append(f, name, "one\n");
    set(f, name, "delete.topic.enable", "true");
}

/* The directory could not give up its name, and by the next start nobody says any more that it is to go. */
static void test_what_a_deletion_left_goes_when_a_snapshot_has_taken_its_place(void **state)
{
    struct fixture *f = *state;
    create_to_delete(f, "orders");
    replace_disk_call(f, rename, refuse_deletion);
    assert_int_equal(delete_topic(f->node, "orders", NULL), 0);
    take_snapshot(f);
    crash_and_restart(f); /* still it cannot, nor can the next one be told by a record */
    assert_true(exists(f, "topics/orders-0"));
    replace_disk_call(f, rename, io_posix()->rename);
    restart(f);
    wait_until(!exists(f, "topics/orders-0") && count_names(f, "-delete") == 0);
    assert_int_equal(count_names(f, "-stray"), 0);
}

/* A start replays the command and cannot look at the directory; then a snapshot takes its place. */
static int no_descriptor_for_orders(struct io *io, int dirfd, const char *name, int flags, mode_t mode)
{
    (void)io;
    return strcmp(name, "orders-0") == 0 ? -EMFILE : io_posix()->open(io_posix(), dirfd, name, flags, mode);
}

static void test_what_a_start_could_not_look_at_is_looked_at_by_the_next(void **state)
{
    struct fixture *f = *state;
    create_to_delete(f, "orders");
    replace_disk_call(f, rename, refuse_deletion);
    assert_int_equal(delete_topic(f->node, "orders", NULL), 0);
    stop(f);
    f->disk.io.rename = io_posix()->rename;
    f->disk.io.open = no_descriptor_for_orders;
    start(f);
    assert_true(exists(f, "topics/orders-0"));
    take_snapshot(f);
    stop(f);
    f->disk.io.open = io_posix()->open;
    start(f);
    wait_until(!exists(f, "topics/orders-0") && count_names(f, "-delete") == 0);
}

static _Atomic int at_the_name; /* 1: a deletion waits in front of its rename; 2: it goes on */

static int wait_with_deletion(struct io *io, int from_dirfd, const char *from, int to_dirfd, const char *to)
{
    (void)io;
    if (strstr(to, "-delete") != NULL) {
        atomic_store(&at_the_name, 1);
        while (atomic_load(&at_the_name) == 1)
            sched_yield();
    }
    return io_posix()->rename(io_posix(), from_dirfd, from, to_dirfd, to);
}

static void *delete_orders(void *arg)
{
    struct fixture *f = arg;
    return (void *)(intptr_t)delete_topic(f->node, "orders", NULL);
}

/* Killed when the metadata knows of it already, and the directory has its name still. */
static void test_a_snapshot_waits_for_what_it_drops(void **state)
{
    struct fixture *f = *state;
    struct work *snapshot = &f->node->quorum.snapshot_work;
    char command[300];
    pthread_t thread;
    void *rc;
    create_to_delete(f, "orders");
    atomic_store(&at_the_name, 0);
    replace_disk_call(f, rename, wait_with_deletion);
    assert_int_equal(pthread_create(&thread, NULL, delete_orders, f), 0);
    wait_until(atomic_load(&at_the_name) == 1);
    atomic_store(&f->node->quorum.snapshotting, true);
    snapshot->run(snapshot);
    snprintf(command, sizeof command, "cp -r %s %s.killed", f->dir, f->dir);
    assert_int_equal(system(command), 0);
    atomic_store(&at_the_name, 2);
    assert_int_equal(pthread_join(thread, &rc), 0);
    assert_int_equal((intptr_t)rc, 0);
    stop(f);
    snprintf(command, sizeof command, "rm -r %s && mv %s.killed %s", f->dir, f->dir, f->dir);
    assert_int_equal(system(command), 0);
    f->disk.io.rename = io_posix()->rename;
    start(f);
    wait_until(!exists(f, "topics/orders-0") && count_names(f, "-delete") == 0);
}

/* As another node would have sent it: without the topic, and further than this one's log. */
static void leave_snapshot_of_another(const struct fixture *f, const char *file, const char *without)
{
    struct command cmd = {.type = COMMAND_DELETE_TOPIC};
    struct tree_attr none = {0};
    struct snapshot snapshot;
    struct metadata meta;
    struct snapshot_id id;
    int dirfd = open(f->dir, O_RDONLY | O_DIRECTORY);
    metadata_init(&meta, &none);
    assert_int_equal(snapshot_read(io_posix(), dirfd, file, &meta, &id, NULL), 0);
    if (metadata_topic(&meta, without) != NULL) {
        snprintf(cmd.topic, sizeof cmd.topic, "%s", without);
        memcpy(cmd.id, metadata_topic(&meta, without)->id, UUID_BYTES);
        assert_int_equal(metadata_apply(&meta, &cmd, meta.next_offset, NULL), 0);
    }
    id.end.offset += 1000;
    id.end.position += 1000000;
    meta.next_offset = id.end.offset;
    assert_int_equal(snapshot_encode(&meta, id.end, &snapshot, NULL), 0);
    assert_int_equal(snapshot_write(io_posix(), dirfd, SNAPSHOT_NEW_FILE, &snapshot, NULL), 0);
    snapshot_free(&snapshot);
    metadata_free(&meta);
    close(dirfd);
}

/* Killed when another node's snapshot was here, and the log had not begun behind it: what this one's snapshot or its
 * records have made, and that one does not know any more, goes. */
static void test_what_another_nodes_snapshot_does_not_know_goes(void **state)
{
    struct fixture *f = *state;
    create_to_delete(f, "orders");
    take_snapshot(f);
    create(f, "later");
    append(f, "other", "stays\n");
    stop(f);
    leave_snapshot_of_another(f, SNAPSHOT_FILE, "orders");
    start(f);
    assert_content(f, "other", "stays\n");
    wait_until(!exists(f, "topics/orders-0") && !exists(f, "topics/later-0") && count_names(f, "-delete") == 0);
    assert_int_equal(count_names(f, "-stray"), 0);
}

/* ---- directories that lie about ---- */

static void move(const struct fixture *f, const char *from, const char *to)
{
    char from_path[256], to_path[256];
    path_in(f, from, from_path);
    path_in(f, to, to_path);
    assert_int_equal(rename(from_path, to_path), 0);
}

static void test_a_directory_of_another_topic_is_set_aside(void **state)
{
    struct fixture *f = *state;
    create(f, "a");
    create(f, "b");
    append(f, "a", "of a\n");
    append(f, "b", "of b\n");
    stop(f);
    move(f, "topics/a-0", "topics/x");
    move(f, "topics/b-0", "topics/a-0");
    move(f, "topics/x", "topics/b-0");
    start(f);
    /* Their own records are gone, and they were on the disk: that is not passed over. */
    char text[16];
    assert_int_equal(content(f, "a", text, sizeof text), -EIO);
    assert_int_equal(content(f, "b", text, sizeof text), -EIO);
    assert_string_equal(text, "");
    assert_int_equal(count_names(f, "-stray"), 2);
}

/* A start that knows no better than an older topic of that name sets this one's directory aside, under its id: found by
 * the simulator, seeds 61, 70 and 73 of clusters. */
static void test_a_directory_that_was_set_aside_comes_back_to_its_topic(void **state)
{
    struct fixture *f = *state;
    char aside[128];
    create(f, "a");
    append(f, "a", "of a\n");
    struct topic *topic = node_topic(f->node, "a");
    snprintf(aside, sizeof aside, "topics/a-0.%s.1-stray", topic_id(topic));
    topic_unref(topic);
    stop(f);
    move(f, "topics/a-0", aside);
    start(f);
    assert_content(f, "a", "of a\n");
    assert_int_equal(count_names(f, "-stray"), 0);
}

/* A process that has as many descriptors open as it may: so many openings of `tea-0` go well; -1: all. */
static _Atomic int openings = -1;

static int open_without_descriptors(struct io *io, int dirfd, const char *name, int flags, mode_t mode)
{
    bool counts = atomic_load(&openings) >= 0 && strcmp(name, "tea-0") == 0;
    (void)io;
    if (counts && atomic_load(&openings) == 0)
        return -EMFILE;
    if (counts)
        atomic_fetch_sub(&openings, 1);
    return io_posix()->open(io_posix(), dirfd, name, flags, mode);
}

static void start_with_openings(struct fixture *f, int count)
{
    stop(f);
    f->disk.io.open = open_without_descriptors;
    atomic_store(&openings, count);
    start(f);
}

static void test_a_directory_that_could_not_be_looked_at_is_its_topics_later(void **state)
{
    struct fixture *f = *state;
    create(f, "tea");
    append(f, "tea", "of tea\n");
    start_with_openings(f, 0);
    atomic_store(&openings, -1);
    assert_content(f, "tea", "of tea\n");
    assert_int_equal(count_names(f, "-stray"), 0);
}

/* Not looked at, or not opened behind that. */
static void test_what_could_not_be_opened_goes_with_its_topic(void **state)
{
    struct fixture *f = *state;
    for (int count = 0; count < 2; count++) {
        create(f, "tea");
        append(f, "tea", "of tea\n");
        set(f, "tea", "delete.topic.enable", "true");
        start_with_openings(f, count);
        atomic_store(&openings, 1);
        assert_int_equal(delete_topic(f->node, "tea", NULL), 0);
        assert_false(exists(f, "topics/tea-0")); /* the name is free at once, */
        atomic_store(&openings, -1);
        restart(f);
        wait_until(count_names(f, "-delete") == 0); /* and the bytes are with the next start */
    }
}

static void test_leftovers_of_deletions_go_and_strangers_stay(void **state)
{
    struct fixture *f = *state;
    char path[256];
    create(f, "a");
    stop(f);
    path_in(f, "topics/old-0.0-delete", path);
    assert_int_equal(mkdir(path, 0700), 0);
    path_in(f, "topics/old-0.0-delete/00000000000000000000.log", path);
    close(open(path, O_WRONLY | O_CREAT, 0600));
    path_in(f, "topics/who-0", path);
    assert_int_equal(mkdir(path, 0700), 0);
    path_in(f, "topics/a-1", path);
    assert_int_equal(mkdir(path, 0700), 0);
    start(f);
    wait_until(count_names(f, "-delete") == 0);
    assert_true(exists(f, "topics/who-0"));
    assert_true(exists(f, "topics/a-1"));

    /* And when a topic takes the name, it is not its directory. */
    create(f, "who");
    assert_int_equal(count_names(f, "-stray"), 1);
    assert_content(f, "who", "");
}

static void test_a_lost_directory_is_an_empty_log(void **state)
{
    struct fixture *f = *state;
    char command[300];
    create(f, "a");
    stop(f);
    snprintf(command, sizeof command, "rm -r %s/topics/a-0", f->dir);
    assert_int_equal(system(command), 0);
    start(f);
    assert_content(f, "a", "");
    append(f, "a", "x\n");
    restart(f);
    assert_content(f, "a", "x\n");
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(test_a_topic_that_kept_its_directorys_name_takes_no_other_along),
        STORY(test_a_topic_whose_deletion_was_cut_short_is_deleted_by_the_start),
        STORY(test_a_name_that_is_used_again_meanwhile_is_no_failure),
        STORY(test_what_a_deletion_left_goes_when_a_snapshot_has_taken_its_place),
        STORY(test_what_a_start_could_not_look_at_is_looked_at_by_the_next),
        STORY(test_a_snapshot_waits_for_what_it_drops),
        STORY(test_what_another_nodes_snapshot_does_not_know_goes),
        STORY(test_a_directory_of_another_topic_is_set_aside),
        STORY(test_a_directory_that_was_set_aside_comes_back_to_its_topic),
        STORY(test_a_directory_that_could_not_be_looked_at_is_its_topics_later),
        STORY(test_what_could_not_be_opened_goes_with_its_topic),
        STORY(test_leftovers_of_deletions_go_and_strangers_stay),
        STORY(test_a_lost_directory_is_an_empty_log),
    };
    return cmocka_run_group_tests_name("stray", tests, NULL, NULL);
}
