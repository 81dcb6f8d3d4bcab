/* tests/unit/peers_fixture.h: nodes that meet over loopback, each on a loop and a thread of its own. */
#ifndef LOGMNT_TESTS_UNIT_PEERS_FIXTURE_H
#define LOGMNT_TESTS_UNIT_PEERS_FIXTURE_H

#include "replication/wire/peers.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/err.h"
#include "replication/base/limits.h"
#include "tests/unit/scratch.h"

enum { WAIT_S = 60, KIND = FRAME_MESSAGES, LINES = 32 };

/* One node. What it was told is counted under the lock. */
struct host {
    int32_t id;
    uv_loop_t loop;
    uv_async_t stop;
    struct peers *peers;
    int port;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned ups, downs, goodbyes, deaths, frames[CHANNELS];
    uint64_t frame_bytes, out_of_order, damaged, process, dead_process;
    uint32_t next[CHANNELS];
    atomic_bool full[CHANNELS]; /* it has no room for more */
    unsigned asked;             /* whether it takes somebody */
    atomic_int not_taken;       /* whom it does not */
};

static inline void on_up(void *arg, int32_t node, const struct hello *hello)
{
    struct host *host = arg;
    (void)node;
    pthread_mutex_lock(&host->lock);
    host->ups++;
    host->process = hello->process;
    host->next[0] = host->next[1] = 0;
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->lock);
}

static inline void on_down(void *arg, int32_t node, bool goodbye)
{
    struct host *host = arg;
    (void)node;
    pthread_mutex_lock(&host->lock);
    host->downs++;
    host->goodbyes += goodbye;
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->lock);
}

static inline void on_dead(void *arg, int32_t node, uint64_t process)
{
    struct host *host = arg;
    (void)node;
    pthread_mutex_lock(&host->lock);
    host->deaths++;
    host->dead_process = process;
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->lock);
}

/* What a frame's body is made of: each byte by its place, and by the frame's number. */
static inline uint8_t body_byte(uint32_t number, size_t at)
{
    return (uint8_t)(number * 31 + at + (at >> 8) * 7);
}

static inline bool is_damaged(uint32_t number, const struct frame *frame)
{
    for (size_t i = 0; i < frame->body_bytes; i++) {
        if (frame->body[i] != body_byte(number, i))
            return true;
    }
    return false;
}

static inline void on_frame(void *arg, int32_t node, enum channel channel, struct frame *frame)
{
    struct host *host = arg;
    uint32_t number;
    (void)node;
    assert_int_equal(frame->header_bytes, sizeof number);
    memcpy(&number, frame->header, sizeof number);
    bool damaged = is_damaged(number, frame);
    pthread_mutex_lock(&host->lock);
    host->damaged += damaged;
    host->out_of_order += number != host->next[channel];
    host->next[channel] = number + 1;
    host->frames[channel]++;
    host->frame_bytes += frame->body_bytes;
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->lock);
    free(frame);
}

static inline bool on_full(void *arg, int32_t node, enum channel channel)
{
    (void)node;
    return atomic_load(&((struct host *)arg)->full[channel]);
}

static inline int on_takes(void *arg, int32_t node)
{
    struct host *host = arg;
    pthread_mutex_lock(&host->lock);
    host->asked++;
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->lock);
    return node == atomic_load(&host->not_taken) ? -ENOSPC : 0;
}

static inline void *host_run(void *arg)
{
    uv_run(&((struct host *)arg)->loop, UV_RUN_DEFAULT);
    return NULL;
}

static inline void on_stopped(void *arg)
{
    uv_close((uv_handle_t *)&((struct host *)arg)->stop, NULL);
}

static inline void on_stop(uv_async_t *stop)
{
    struct host *host = stop->data;
    peers_stop(host->peers, on_stopped, host);
}

static _Atomic uint64_t starts; /* of this process: each is another one to its peers */

static inline void host_start_at(struct host *host, const char *address, int32_t id, int port, struct tls_context *tls)
{
    struct err e = {""};
    struct peers_options options = {.loop = &host->loop, .host = address, .port = port, .tls = tls};
    memset(host, 0, sizeof *host);
    host->id = id;
    pthread_mutex_init(&host->lock, NULL);
    pthread_cond_init(&host->changed, NULL);
    assert_int_equal(uv_loop_init(&host->loop), 0);
    uv_async_init(&host->loop, &host->stop, on_stop);
    host->stop.data = host;
    options.seed = (uint64_t)id;
    options.hello = (struct hello){.protocol_min = 1, .protocol_max = 1, .from = id, .feature_level = 1};
    options.hello.process = ((uint64_t)getpid() << 32) + (atomic_fetch_add(&starts, 1) << 8) + (uint64_t)id;
    options.events = (struct transport_events){host, on_up, on_down, on_dead, on_frame, on_full, on_takes};
    if (peers_bind(address, port, &options.bound_fd, &e) != 0 || peers_start(&options, &host->peers, &e) != 0)
        fail_msg("%s", e.text);
    host->port = peers_port(host->peers);
    assert_int_equal(pthread_create(&host->thread, NULL, host_run, host), 0);
}

static inline void host_start(struct host *host, int32_t id, int port, struct tls_context *tls)
{
    host_start_at(host, "127.0.0.1", id, port, tls);
}

static inline void host_stop(struct host *host)
{
    uv_async_send(&host->stop);
    pthread_join(host->thread, NULL);
    assert_int_equal(uv_loop_close(&host->loop), 0);
}

static inline void meet_at(struct host *host, const struct host *other, const char *address)
{
    struct transport *transport = peers_transport(host->peers);
    assert_int_equal(transport->meet(transport, other->id, address, other->port), 0);
}

static inline void meet(struct host *host, const struct host *other)
{
    meet_at(host, other, "127.0.0.1");
}

/* Until *count is at least `least`. A minute in which it does not grow is a failure. */
static inline void await(struct host *host, const unsigned *count, unsigned least)
{
    struct timespec deadline = {0};
    unsigned seen = 0;
    int rc = 0;
    pthread_mutex_lock(&host->lock);
    while (*count < least && rc == 0) {
        if (deadline.tv_sec == 0 || *count != seen) {
            seen = *count;
            clock_gettime(CLOCK_REALTIME, &deadline);
            deadline.tv_sec += WAIT_S;
        }
        rc = pthread_cond_timedwait(&host->changed, &host->lock, &deadline);
    }
    seen = *count;
    pthread_mutex_unlock(&host->lock);
    if (seen < least)
        fail_msg("node %d: %u of %u, and no more in %d s", host->id, seen, least, WAIT_S);
}

/* ---- what is logged ---- */

static pthread_mutex_t lines_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t lines_changed = PTHREAD_COND_INITIALIZER;
static char lines[LINES][256];
static int line_count;

static inline void keep_line(int level, const char *line)
{
    (void)level;
    pthread_mutex_lock(&lines_lock);
    if (line_count < LINES)
        snprintf(lines[line_count], sizeof lines[0], "%s", line);
    line_count++;
    pthread_cond_broadcast(&lines_changed);
    pthread_mutex_unlock(&lines_lock);
}

static inline void keep_lines(void)
{
    line_count = 0;
    log_sink_set(keep_line);
}

static inline int find_lines(const char *words)
{
    int found = 0;
    assert_true(line_count < LINES);
    for (int i = 0; i < line_count; i++)
        found += strstr(lines[i], words) != NULL;
    return found;
}

/* The lines with these words. */
static inline int count_lines(const char *words)
{
    pthread_mutex_lock(&lines_lock);
    int found = find_lines(words);
    pthread_mutex_unlock(&lines_lock);
    return found;
}

static inline void await_line(const char *words)
{
    struct timespec deadline;
    int rc = 0;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += WAIT_S;
    pthread_mutex_lock(&lines_lock);
    while (find_lines(words) == 0 && rc == 0)
        rc = pthread_cond_timedwait(&lines_changed, &lines_lock, &deadline);
    pthread_mutex_unlock(&lines_lock);
    if (rc != 0)
        fail_msg("in %d s nobody has said: %s", WAIT_S, words);
}

/* ---- certificates ---- */

/* What a cluster of nodes 1 to count has: mount-scripts/logmnt-ca makes it. of[ID] is node ID's. */
static inline int certificates_make(struct tls_context **of, int32_t count)
{
    char dir[64], command[288], cert[128], key[128], ca[128];
    struct err e = {""};
    scratch_make(dir, sizeof dir, "peers");
    snprintf(command, sizeof command, "mount-scripts/logmnt-ca %s $(seq %d) >%s/said 2>&1 || { cat %s/said; false; }",
             dir, count, dir, dir);
    assert_int_equal(system(command), 0);
    for (int32_t id = 1; id <= count; id++) {
        snprintf(cert, sizeof cert, "%s/node-%d.crt", dir, id);
        snprintf(key, sizeof key, "%s/node-%d.key", dir, id);
        snprintf(ca, sizeof ca, "%s/ca.crt", dir);
        struct tls_files files = {cert, key, ca};
        if (tls_context_new(&files, id, &of[id], &e) != 0)
            fail_msg("%s", e.text);
    }
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

#endif
