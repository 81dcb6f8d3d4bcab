#include "replication/replica/reads.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_serve.h"
#include "replication/replica/remote.h"

/* How long an answer may be late before somebody looks: leaders and links that change are told. */
enum { LOOK_SOON_MS = 20 };

/* ---- from a frame to its partition ---- */

static struct partition *find(struct replica_manager *manager, const struct read_head *head)
{
    const struct metadata *meta = quorum_acquire(manager->quorum);
    const struct metadata_topic *known = metadata_topic_by_id(meta, head->topic_id);
    struct partition *part = NULL;
    char name[TOPIC_NAME_BYTES];
    if (known != NULL)
        memcpy(name, known->name, sizeof name);
    quorum_release(manager->quorum);
    struct topic *topic = known != NULL ? catalog_find(&manager->catalog, name) : NULL;
    if (topic == NULL)
        return NULL;
    if (memcmp(topic->id, head->topic_id, UUID_BYTES) == 0)
        part = topic_partition(topic, head->partition);
    if (part == NULL)
        topic_unref(topic);
    return part; /* the topic's reference is the partition's */
}

/* ---- what peers ask ---- */

struct request {
    struct work work;
    struct reads *reads;
    int32_t from;
    struct frame *frame;
};

/* A question that waits for news: the waiter's reference and the alarm's. */
struct held_stat {
    struct reads *reads;
    struct partition *part; /* referenced */
    int32_t from;
    struct read_head head;
    struct partition_waiter waiter;
    struct alarm alarm;
    _Atomic int refs;
    _Atomic bool answered;
    struct held_stat *prev, *next; /* reads->held */
};

static void send(struct replica_manager *manager, int32_t to, enum channel channel, enum message_kind kind,
                 const uint8_t *header, size_t len, const struct iovec *body)
{
    /* One that is lost is asked again. */
    (void)network_send(manager->network, to, channel, kind, header, len, body, body != NULL ? 1 : 0);
}

static void serve_read(struct replica_manager *manager, int32_t from, const struct frame *frame, struct err *e, int *rc)
{
    uint8_t header[LIMIT_READ_MESSAGE_BYTES];
    struct read_request request;
    struct read_answer answer;
    *rc = read_request_decode(frame->header, frame->header_bytes, &request, e);
    if (*rc != 0)
        return;
    struct partition *part = find(manager, &request.head);
    uint8_t *bytes = malloc(request.max);
    answer = (struct read_answer){.outcome = READ_OUTCOME_LATER};
    struct iovec body = {.iov_base = bytes};
    if (part != NULL && bytes != NULL)
        body.iov_len = partition_serve_read(part, &request, &answer, bytes);
    answer.head = request.head;
    send(manager, from, CHANNEL_RECORDS, MESSAGE_READ_ANSWER, header, read_answer_encode(&answer, header), &body);
    free(bytes);
    if (part != NULL)
        partition_unref(part);
}

static void serve_lookup(struct replica_manager *manager, int32_t from, const struct frame *frame, struct err *e,
                         int *rc)
{
    uint8_t header[LIMIT_READ_MESSAGE_BYTES];
    struct lookup_request request;
    struct lookup_answer answer = {.outcome = READ_OUTCOME_LATER};
    *rc = lookup_request_decode(frame->header, frame->header_bytes, &request, e);
    if (*rc != 0)
        return;
    struct partition *part = find(manager, &request.head);
    if (part != NULL)
        partition_serve_lookup(part, &request, &answer);
    answer.head = request.head;
    send(manager, from, CHANNEL_CONTROL, MESSAGE_LOOKUP_ANSWER, header, lookup_answer_encode(&answer, header), NULL);
    if (part != NULL)
        partition_unref(part);
}

static void answer_stat(struct replica_manager *manager, int32_t to, const struct read_head *head,
                        struct partition *part)
{
    uint8_t header[LIMIT_READ_MESSAGE_BYTES];
    struct stat_answer answer = {.outcome = READ_OUTCOME_LATER};
    if (part != NULL)
        partition_serve_stat(part, &answer);
    answer.head = *head;
    send(manager, to, CHANNEL_CONTROL, MESSAGE_STAT_ANSWER, header, stat_answer_encode(&answer, header), NULL);
}

static void held_unref(struct held_stat *held, int refs)
{
    struct reads *reads = held->reads;
    if (atomic_fetch_sub(&held->refs, refs) != refs)
        return;
    pthread_mutex_lock(&reads->lock);
    if (held->prev != NULL)
        held->prev->next = held->next;
    else
        reads->held = held->next;
    if (held->next != NULL)
        held->next->prev = held->prev;
    pthread_mutex_unlock(&reads->lock);
    partition_unref(held->part);
    free(held);
    atomic_fetch_sub(&reads->held_count, 1);
}

static void held_answer(struct held_stat *held)
{
    if (!atomic_exchange(&held->answered, true))
        answer_stat(held->reads->manager, held->from, &held->head, held->part);
}

static void held_ready(struct partition_waiter *waiter)
{
    struct held_stat *held = CONTAINER_OF(waiter, struct held_stat, waiter);
    held_answer(held);
    held_unref(held, alarm_cancel(held->reads->manager->executor, &held->alarm) ? 2 : 1);
}

static void held_over(struct alarm *alarm)
{
    struct held_stat *held = CONTAINER_OF(alarm, struct held_stat, alarm);
    held_answer(held);
    held_unref(held, partition_unwait(held->part, &held->waiter) ? 2 : 1);
}

/* Until the high watermark is above what is known, or the time is over. The partition's reference goes along. false:
 * there are as many as there may be, or no memory. */
static bool hold(struct reads *reads, int32_t from, const struct stat_request *request, struct partition *part)
{
    struct held_stat *held = NULL;
    if (atomic_fetch_add(&reads->held_count, 1) < LIMIT_STATS_HELD)
        held = calloc(1, sizeof *held);
    if (held == NULL) {
        atomic_fetch_sub(&reads->held_count, 1);
        return false;
    }
    held->reads = reads;
    held->part = part;
    held->from = from;
    held->head = request->head;
    held->waiter.position = request->known;
    held->waiter.ready = held_ready;
    atomic_init(&held->refs, 2);
    alarm_init(&held->alarm, WORK_PROMPT, held_over);
    pthread_mutex_lock(&reads->lock);
    held->next = reads->held;
    if (held->next != NULL)
        held->next->prev = held;
    reads->held = held;
    pthread_mutex_unlock(&reads->lock);
    /* The alarm last: one that rang before there is a waiter would leave that to the next record. */
    if (partition_wait(part, &held->waiter)) {
        alarm_set(reads->manager->executor, &held->alarm, request->wait_ms);
    } else {
        held_answer(held);
        held_unref(held, 2);
    }
    return true;
}

static void serve_stat(struct reads *reads, int32_t from, const struct frame *frame, struct err *e, int *rc)
{
    struct stat_request request;
    *rc = stat_request_decode(frame->header, frame->header_bytes, &request, e);
    if (*rc != 0)
        return;
    struct partition *part = find(reads->manager, &request.head);
    bool waits = part != NULL && request.known >= 0 && request.wait_ms > 0 && partition_serves(part);
    if (waits && hold(reads, from, &request, part))
        return;
    if (!waits) /* who waits asks again later */
        answer_stat(reads->manager, from, &request.head, part);
    if (part != NULL)
        partition_unref(part);
}

/* What a peer sends that is no message of ours. */
static void distrust(struct replica_manager *manager, int32_t from, const struct err *e)
{
    log_line(LOG_WARNING, "node %d: %s", (int)from, e->text);
    network_drop(manager->network, from);
}

static void serve(struct work *work)
{
    struct request *request = CONTAINER_OF(work, struct request, work);
    struct reads *reads = request->reads;
    struct err e = {0};
    int rc = 0;
    if (request->frame->kind == MESSAGE_READ)
        serve_read(reads->manager, request->from, request->frame, &e, &rc);
    else if (request->frame->kind == MESSAGE_LOOKUP)
        serve_lookup(reads->manager, request->from, request->frame, &e, &rc);
    else
        serve_stat(reads, request->from, request->frame, &e, &rc);
    if (rc != 0)
        distrust(reads->manager, request->from, &e);
    frame_free(request->frame);
    free(request);
}

static void receive_request(void *arg, int32_t from, enum channel channel, struct frame *frame)
{
    struct reads *reads = arg;
    struct request *request = calloc(1, sizeof *request);
    (void)channel;
    if (request == NULL) { /* asked again later */
        frame_free(frame);
        return;
    }
    request->work.run = serve;
    request->reads = reads;
    request->from = from;
    request->frame = frame;
    executor_prompt(reads->manager->executor, &request->work);
}

/* ---- what they answer, and what happens ---- */

enum event { EVENT_ANSWER, EVENT_UP, EVENT_DOWN };

struct letter {
    struct mail mail;
    enum event event;
    int32_t node;
    struct frame *frame;
};

static void post(struct reads *reads, enum event event, int32_t node, struct frame *frame)
{
    struct letter *letter = calloc(1, sizeof *letter);
    if (letter == NULL) { /* the alarm looks again */
        frame_free(frame);
        return;
    }
    letter->event = event;
    letter->node = node;
    letter->frame = frame;
    mailbox_post(&reads->mailbox, &letter->mail);
}

static void receive_answer(void *arg, int32_t from, enum channel channel, struct frame *frame)
{
    (void)channel;
    post(arg, EVENT_ANSWER, from, frame);
}

static void on_up(void *arg, int32_t node, const struct hello *hello)
{
    (void)hello;
    post(arg, EVENT_UP, node, NULL);
}

static void on_down(void *arg, int32_t node, bool goodbye)
{
    (void)goodbye;
    post(arg, EVENT_DOWN, node, NULL);
}

/* The three answers have the same head, and begin with it. */
static int take_answer(struct reads *reads, struct letter *letter, struct err *e)
{
    struct read_head head;
    frame_settle(letter->frame); /* what is kept of it has its bounds */
    int rc = read_head_decode(letter->frame->header, letter->frame->header_bytes, &head, e);
    struct partition *part = rc == 0 ? find(reads->manager, &head) : NULL;
    if (part == NULL) {
        frame_free(letter->frame);
        return rc;
    }
    rc = remote_answer(part, letter->node, letter->frame, e);
    reads_activate(reads, part, false); /* what is due for it may be another thing now */
    partition_unref(part);
    return rc;
}

static void set_alarm(struct reads *reads, int64_t due_ms)
{
    struct clock *clock = reads->manager->clock;
    pthread_mutex_lock(&reads->lock);
    if (due_ms != INT64_MAX && (!reads->alarm_set || due_ms < reads->alarm_ms)) {
        int64_t now_ms = clock->mono_ms(clock);
        reads->alarm_set = true;
        reads->alarm_ms = due_ms;
        alarm_set(reads->manager->executor, &reads->alarm, due_ms > now_ms ? due_ms - now_ms : 0);
    }
    pthread_mutex_unlock(&reads->lock);
}

static void ring(struct alarm *alarm)
{
    struct reads *reads = CONTAINER_OF(alarm, struct reads, alarm);
    pthread_mutex_lock(&reads->lock);
    reads->alarm_set = false;
    pthread_mutex_unlock(&reads->lock);
    mailbox_kick(&reads->mailbox);
}

/* ---- whose turn it is: all under the lock ---- */

static void take_out_resting(struct reads *reads, struct partition *part)
{
    struct partition_remote *remote = &part->remote;
    if (remote->prev != NULL)
        remote->prev->remote.next = remote->next;
    else
        reads->resting = remote->next;
    if (remote->next != NULL)
        remote->next->remote.prev = remote->prev;
}

static void put_in(struct reads *reads, struct partition *part, enum remote_turn turn)
{
    struct partition **list = turn == REMOTE_ACTIVE ? &reads->active : &reads->resting;
    part->remote.prev = NULL;
    part->remote.next = *list;
    if (*list != NULL)
        (*list)->remote.prev = part;
    *list = part;
    atomic_store(&part->remote.turn, turn);
}

/* Those of the resting ones that are due are active from here on; all: whether due or not. */
static void end_rests(struct reads *reads, bool all)
{
    int64_t now_ms = reads->manager->clock->mono_ms(reads->manager->clock), rest_ms = INT64_MAX;
    if (!all && now_ms < reads->rest_ms)
        return;
    for (struct partition *part = reads->resting, *next; part != NULL; part = next) {
        next = part->remote.next;
        if (all || part->remote.due_ms <= now_ms) {
            take_out_resting(reads, part);
            put_in(reads, part, REMOTE_ACTIVE);
        } else if (part->remote.due_ms < rest_ms) {
            rest_ms = part->remote.due_ms;
        }
    }
    reads->rest_ms = rest_ms;
}

/* ---- a turn ---- */

/* The list's reference goes along. */
static void look_at(struct reads *reads, struct partition *part, int32_t lost)
{
    int64_t due_ms = remote_look(part, lost);
    pthread_mutex_lock(&reads->lock);
    /* Else it was made active meanwhile, with a reference of its own. */
    bool rests = due_ms != INT64_MAX && atomic_load(&part->remote.turn) == REMOTE_IDLE;
    if (rests) {
        part->remote.due_ms = due_ms;
        put_in(reads, part, REMOTE_RESTING);
        reads->rest_ms = due_ms < reads->rest_ms ? due_ms : reads->rest_ms;
    }
    pthread_mutex_unlock(&reads->lock);
    if (!rests)
        partition_unref(part);
}

/* Takes all that are active, each with its reference; all: and those that rest. They stay active, and in this list
 * alone, each until its turn. */
static struct partition *take_active(struct reads *reads, bool all)
{
    pthread_mutex_lock(&reads->lock);
    end_rests(reads, all);
    struct partition *first = reads->active;
    reads->active = NULL;
    pthread_mutex_unlock(&reads->lock);
    return first;
}

/* Its turn has come: from here on it may be active again, in another list. Returns the one behind it. */
static struct partition *begin_look(struct reads *reads, struct partition *part)
{
    pthread_mutex_lock(&reads->lock);
    struct partition *next = part->remote.next;
    atomic_store(&part->remote.turn, REMOTE_IDLE);
    pthread_mutex_unlock(&reads->lock);
    return next;
}

static void look_at_active(struct reads *reads, bool all, int32_t lost)
{
    for (struct partition *part = take_active(reads, all), *next; part != NULL; part = next) {
        next = begin_look(reads, part);
        look_at(reads, part, lost);
    }
    pthread_mutex_lock(&reads->lock);
    int64_t due_ms = reads->rest_ms;
    pthread_mutex_unlock(&reads->lock);
    set_alarm(reads, due_ms);
}

static void on_turn(struct mailbox *mailbox, struct mail *list)
{
    struct reads *reads = CONTAINER_OF(mailbox, struct reads, mailbox);
    bool up = false;
    while (list != NULL) {
        struct letter *letter = CONTAINER_OF(list, struct letter, mail);
        struct err e = {0};
        list = list->next;
        if (letter->event == EVENT_ANSWER && take_answer(reads, letter, &e) != 0)
            distrust(reads->manager, letter->node, &e);
        if (letter->event == EVENT_DOWN)
            look_at_active(reads, true, letter->node);
        up = up || letter->event == EVENT_UP;
        free(letter);
    }
    look_at_active(reads, up, 0);
}

/* ---- any thread ---- */

/* Some more where several threads come into a second at once. */
bool reads_may_ask_for_news(struct reads *reads, int64_t now_ms)
{
    if (atomic_exchange(&reads->news_second, now_ms / 1000) != now_ms / 1000)
        atomic_store(&reads->news_asked, 0);
    return atomic_fetch_add(&reads->news_asked, 1) < LIMIT_NEWS_ASKED;
}

uint64_t reads_number(struct reads *reads)
{
    return atomic_fetch_add(&reads->numbers, 1) + 1;
}

void reads_activate(struct reads *reads, struct partition *part, bool soon)
{
    struct clock *clock = reads->manager->clock;
    if (atomic_load(&part->remote.turn) != REMOTE_ACTIVE) {
        pthread_mutex_lock(&reads->lock);
        int turn = atomic_load(&part->remote.turn);
        if (turn == REMOTE_RESTING)
            take_out_resting(reads, part); /* its reference is the other list's */
        else if (turn == REMOTE_IDLE)
            partition_ref(part);
        if (turn != REMOTE_ACTIVE)
            put_in(reads, part, REMOTE_ACTIVE);
        pthread_mutex_unlock(&reads->lock);
    }
    if (soon)
        set_alarm(reads, clock->mono_ms(clock) + LOOK_SOON_MS);
}

void reads_moved(struct reads *reads, struct partition *part)
{
    if (atomic_load(&part->remote.replica) == NULL)
        return;
    reads_activate(reads, part, false);
    mailbox_kick(&reads->mailbox);
}

/* ---- life ---- */

void reads_init(struct reads *reads, struct replica_manager *manager)
{
    struct network *network = manager->network;
    reads->manager = manager;
    reads->rest_ms = INT64_MAX;
    /* Answers to an earlier process of this node may come yet: none has a number of this one's. */
    atomic_store(&reads->numbers, manager_number(manager));
    pthread_mutex_init(&reads->lock, NULL);
    alarm_init(&reads->alarm, WORK_PROMPT, ring);
    mailbox_init(&reads->mailbox, manager->executor, WORK_PROMPT, on_turn);
    reads->listener = (struct network_listener){.up = on_up, .down = on_down, .arg = reads};
    network_listen(network, &reads->listener);
    network_handle(network, MESSAGE_READ, receive_request, reads);
    network_handle(network, MESSAGE_LOOKUP, receive_request, reads);
    network_handle(network, MESSAGE_STAT, receive_request, reads);
    network_handle(network, MESSAGE_READ_ANSWER, receive_answer, reads);
    network_handle(network, MESSAGE_LOOKUP_ANSWER, receive_answer, reads);
    network_handle(network, MESSAGE_STAT_ANSWER, receive_answer, reads);
}

void reads_stop(struct reads *reads)
{
    for (struct partition *part = take_active(reads, true), *next; part != NULL; part = next) {
        next = part->remote.next;
        partition_unref(part);
    }
    while (reads->held != NULL) { /* the alarms were dropped */
        struct held_stat *held = reads->held;
        (void)partition_unwait(held->part, &held->waiter);
        held_unref(held, atomic_load(&held->refs));
    }
}

void reads_free(struct reads *reads)
{
    (void)mailbox_free(&reads->mailbox);
    pthread_mutex_destroy(&reads->lock);
}
