/* Memory that ends while a node starts, applies what is decided, or takes part: nothing that was acknowledged is hidden
 * or forgotten, and what only had to wait goes on. */
#include "tests/unit/cluster_fixture.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include "replication/replica/topic_internal.h"

/* ---- memory that ends for something of a size ---- */

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void *__wrap_realloc(void *at, size_t size);
int __real_catalog_list(struct catalog *catalog, struct topic ***out, size_t *count);
int __wrap_catalog_list(struct catalog *catalog, struct topic ***out, size_t *count);
void __real_topic_resume(struct topic *topic);
void __wrap_topic_resume(struct topic *topic);

static _Atomic size_t refused_size;   /* 0: none is */
static _Atomic int granted, refused;  /* so many more of that size are granted; so many were not */
static _Atomic size_t refused_growth; /* a realloc to so many bytes, */
static _Atomic int growths_refused;   /* so many times */
static _Atomic int lists_refused;
static _Atomic int resumed; /* topics whose partitions were told to go on */

void *__wrap_calloc(size_t count, size_t size)
{
    size_t of = atomic_load(&refused_size);
    if (of == 0 || count * size != of || atomic_fetch_sub(&granted, 1) > 0)
        return __real_calloc(count, size);
    atomic_fetch_add(&refused, 1);
    return NULL;
}

void *__wrap_realloc(void *at, size_t size)
{
    if (size != atomic_load(&refused_growth) || atomic_fetch_sub(&growths_refused, 1) <= 0)
        return __real_realloc(at, size);
    atomic_fetch_add(&refused, 1);
    return NULL;
}

int __wrap_catalog_list(struct catalog *catalog, struct topic ***out, size_t *count)
{
    if (atomic_load(&lists_refused) == 0)
        return __real_catalog_list(catalog, out, count);
    atomic_fetch_add(&refused, 1);
    return -ENOMEM;
}

void __wrap_topic_resume(struct topic *topic)
{
    atomic_fetch_add(&resumed, 1);
    __real_topic_resume(topic);
}

static void refuse(size_t size, int after)
{
    atomic_store(&granted, after);
    atomic_store(&refused, 0);
    atomic_store(&refused_size, size);
}

static int setup_node(void **state)
{
    refuse(0, 0);
    return setup(state);
}

static int setup_three(void **state)
{
    refuse(0, 0);
    atomic_store(&refused_growth, 0);
    atomic_store(&lists_refused, 0);
    return cluster_setup_three(state);
}

/* ---- one node ---- */

static void read_file(const struct fixture *f, const char *name, char text[1024])
{
    char path[256];
    path_in(f, name, path);
    int fd = open(path, O_RDONLY);
    ssize_t len = read(fd, text, 1023);
    assert_true(len >= 0);
    text[len] = '\0';
    close(fd);
}

/* It says why, and has touched nothing: above all not the checkpoints of what it did not come to. */
static void test_a_start_without_memory_for_a_topic_fails(void **state)
{
    static const char checkpoint[] = "recovery-point-offset-checkpoint";
    struct fixture *f = *state;
    const size_t sizes[] = {sizeof(struct topic), sizeof(struct partition)};
    create(f, "orders");
    assert_int_equal(create_partitions(f->node, "orders", 3, NULL), 0);
    create(f, "tea");
    append(f, "orders", "one\n");
    append(f, "tea", "two\n");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int after = 0;; after++) {
            struct err e = {""};
            char before[1024], now[1024];
            stop(f);
            read_file(f, checkpoint, before);
            refuse(sizes[i], after);
            int rc = try_open(f, 1, &e);
            int met = atomic_load(&refused);
            refuse(0, 0);
            if (met == 0) {
                assert_int_equal(rc, 0);
                break;
            }
            assert_int_equal(rc, -ENOMEM);
            assert_non_null(strstr(e.text, "Cannot allocate memory"));
            read_file(f, checkpoint, now);
            assert_string_equal(now, before);
            start(f);
            assert_content(f, "orders", "one\n");
            assert_content(f, "tea", "two\n");
        }
    }
}

/* In a process of its own: what becomes of a topic that is decided, and for which there is no memory. */
static int make_without_memory(struct fixture *f, size_t size)
{
    pid_t pid = fork();
    int status;
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0};
        struct err e = {""};
        setrlimit(RLIMIT_CORE, &none);
        if (try_open(f, 1, &e) != 0)
            _exit(2);
        refuse(size, 0);
        int rc = create_topic(f->node, "tea", &some_attr, NULL);
        _exit(rc == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_a_decided_topic_without_memory_ends_the_process(void **state)
{
    struct fixture *f = *state;
    const size_t sizes[] = {sizeof(struct topic), sizeof(struct partition)};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        stop(f);
        int status = make_without_memory(f, sizes[i]);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        start(f);
        append(f, "tea", "of tea\n"); /* it was decided, and is there */
        assert_content(f, "tea", "of tea\n");
        set(f, "tea", "delete.topic.enable", "true");
        assert_int_equal(delete_topic(f->node, "tea", NULL), 0);
    }
}

/* ---- three nodes ---- */

/* What was held for want of a lease goes on once there is memory to look for it. */
static void test_what_was_held_for_a_lease_goes_on_later(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), away = cluster_follower(c);
    struct membership *member = &c->nodes[away].node->membership;
    for (int32_t id = 1; id <= 3; id++)
        cluster_register(c, id);
    assert_int_equal(cluster_mkdir(c, leader, "orders"), 0);
    cluster_await(c, 5000, membership_has_lease(member) && cluster_has(c, away, "orders"));
    for (int32_t id = 1; id <= 3; id++)
        memory_cut(&c->network, away, id, id != away);
    cluster_await(c, 5000, !membership_has_lease(member));
    atomic_store(&lists_refused, 1);
    for (int32_t id = 1; id <= 3; id++)
        memory_cut(&c->network, away, id, false);
    cluster_await(c, 10000, membership_has_lease(member) && atomic_load(&refused) > 0);
    int before = atomic_load(&resumed);
    atomic_store(&lists_refused, 0);
    cluster_await(c, 1000, atomic_load(&resumed) > before);
}

struct change {
    struct quorum_change change;
    bool over;
};

static void on_change(struct quorum_change *change, int rc)
{
    (void)rc;
    CONTAINER_OF(change, struct change, change)->over = true;
}

static void change_voters(struct cluster *c, int32_t first, int32_t count)
{
    struct raft_peers nodes = {.count = count};
    struct change change = {.change = {.timeout_ms = 1000, .done = on_change}};
    for (int32_t i = 0; i < count; i++)
        nodes.nodes[i] = first + i;
    if (quorum_change_voters(&c->nodes[cluster_await_leader(c)].node->quorum, &change.change, &nodes) == 0)
        cluster_await(c, 5000, change.over);
}

static bool all_are_well(struct cluster *c)
{
    for (int32_t id = 1; id <= 3; id++) {
        if (c->nodes[id].node->quorum.state != QUORUM_WELL)
            return false;
    }
    return true;
}

/* More records of voters than there was room for: nobody falls out of the quorum for that. */
static void test_voters_for_which_there_is_no_memory_are_taken_later(void **state)
{
    struct cluster *c = *state;
    cluster_await_leader(c);
    for (int32_t id = 1; id <= 3; id++)
        cluster_register(c, id);
    atomic_store(&refused, 0);
    atomic_store(&growths_refused, 20);
    atomic_store(&refused_growth, 16 * sizeof(struct raft_change));
    for (int i = 0; i < 12 && atomic_load(&refused) < 20; i++)
        change_voters(c, 1, i % 2 == 0 ? 1 : 3);
    assert_true(atomic_load(&refused) > 3);
    cluster_pass(c, 10000);
    assert_true(all_are_well(c));
    assert_int_equal(cluster_chmod(c, cluster_await_leader(c), 0711), 0);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, 5000, cluster_mode(c, id) == 0711);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_node, teardown)
#define MEMBERS(name) cmocka_unit_test_setup_teardown(name, setup_three, cluster_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(test_a_start_without_memory_for_a_topic_fails),
        STORY(test_a_decided_topic_without_memory_ends_the_process),
        MEMBERS(test_what_was_held_for_a_lease_goes_on_later),
        MEMBERS(test_voters_for_which_there_is_no_memory_are_taken_later),
    };
    return cmocka_run_group_tests_name("no_memory", tests, NULL, NULL);
}
