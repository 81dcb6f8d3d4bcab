/* replication/replica/serving.c: a turn takes what has come, then sends what there is to send.
 *
 * Failure: what the network does not take is tried again with the next fetch or beat; a message that is none ends the
 * connections. */
#include "replication/replica/serving.h"

#include <errno.h>
#include <stdlib.h>
#include <syslog.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/letter.h"
#include "replication/replica/partition_internal.h"
#include "replication/wire/replica_message.h"

/* A fetch that has to wait until this node has applied what its sender has. */
struct parked_fetch {
    struct replica_fetch fetch;
    struct parked_fetch *next;
};

static struct replica_manager *manager_of(const struct serving *serving)
{
    return serving->peer->manager;
}

/* ---- what is to be sent ---- */

void serving_want(struct serving *serving, struct follower *follower, bool far)
{
    pthread_mutex_lock(&serving->lock);
    bool queues = !atomic_exchange(&follower->queued, true);
    if (queues) {
        struct follower ***last = far ? &serving->far_last : &serving->near_last;
        partition_ref(follower->part);
        follower->next = NULL;
        **last = follower;
        *last = &follower->next;
    }
    pthread_mutex_unlock(&serving->lock);
    if (queues)
        mailbox_kick(far ? &serving->bulk : &serving->box);
}

void serving_mark(struct serving *serving, struct follower *follower)
{
    pthread_mutex_lock(&serving->lock);
    if (!atomic_exchange(&follower->marked, true)) {
        partition_ref(follower->part);
        follower->mark_next = NULL;
        *serving->marked_last = follower;
        serving->marked_last = &follower->mark_next;
    }
    pthread_mutex_unlock(&serving->lock);
    if (!atomic_exchange(&serving->gathering, true))
        alarm_set(manager_of(serving)->executor, &serving->gather, LIMIT_GATHER_MARKS_MS);
}

void serving_tell_now(struct serving *serving)
{
    atomic_store(&serving->gathered, true);
    mailbox_kick(&serving->box);
}

static void on_gather(struct alarm *alarm)
{
    struct serving *serving = CONTAINER_OF(alarm, struct serving, gather);
    atomic_store(&serving->gathering, false);
    serving_tell_now(serving);
}

/* The next one of a list, with its reference; NULL: none. */
static struct follower *take_follower(struct serving *serving, struct follower **first, struct follower ***last)
{
    pthread_mutex_lock(&serving->lock);
    struct follower *follower = *first;
    if (follower != NULL) {
        *first = follower->next;
        if (*first == NULL)
            *last = first;
        atomic_store(&follower->queued, false);
    }
    pthread_mutex_unlock(&serving->lock);
    return follower;
}

static struct follower *take_marked(struct serving *serving)
{
    pthread_mutex_lock(&serving->lock);
    struct follower *follower = serving->marked;
    if (follower != NULL) {
        serving->marked = follower->mark_next;
        if (serving->marked == NULL)
            serving->marked_last = &serving->marked;
        atomic_store(&follower->marked, false);
    }
    pthread_mutex_unlock(&serving->lock);
    return follower;
}

/* Told again with the next records, or the next beat. */
static void take_back_marks(struct serving *serving, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct partition *part = manager_find(manager_of(serving), &serving->marks[i].key);
        if (part == NULL)
            continue;
        partition_follower_unmark(part, serving->peer->id, serving->marks[i].key.round);
        partition_unref(part);
    }
}

static void send_marks(struct serving *serving)
{
    uint64_t id = atomic_load(&serving->id);
    uint32_t count = serving->mark_count;
    if (count == 0)
        return;
    size_t len = replica_beat_encode(id, true, serving->marks, count, serving->out);
    serving->mark_count = 0;
    if (network_send(manager_of(serving)->network, serving->peer->id, CHANNEL_RECORDS, MESSAGE_BEAT, serving->out, len,
                     NULL, 0) != 0)
        take_back_marks(serving, count);
}

static void send_records(struct serving *serving)
{
    struct follower *follower;
    while ((follower = take_follower(serving, &serving->near, &serving->near_last)) != NULL) {
        struct partition *part = follower->part;
        if (partition_follower_next(part, follower, false))
            serving_want(serving, follower, true);
        partition_unref(part);
    }
}

static void tell_marks(struct serving *serving)
{
    struct follower *follower;
    while ((follower = take_marked(serving)) != NULL) {
        struct partition *part = follower->part;
        if (partition_follower_mark(part, follower, &serving->marks[serving->mark_count]))
            serving->mark_count++;
        partition_unref(part);
        if (serving->mark_count == REPLICA_MESSAGE_PARTITIONS)
            send_marks(serving);
    }
    send_marks(serving);
}

/* One piece for one of those that are far behind. */
static void bulk_turn(struct mailbox *box, struct mail *list)
{
    struct serving *serving = CONTAINER_OF(box, struct serving, bulk);
    (void)list;
    struct follower *follower = take_follower(serving, &serving->far, &serving->far_last);
    if (follower == NULL)
        return;
    struct partition *part = follower->part;
    if (partition_follower_next(part, follower, true))
        serving_want(serving, follower, true);
    partition_unref(part);
    mailbox_kick(box);
}

/* ---- what has come ---- */

static void silence(struct partition *part, void *arg)
{
    partition_follower_silence(part, ((struct serving *)arg)->peer->id);
}

static void set_id(struct serving *serving, uint64_t id)
{
    if (atomic_load(&serving->id) == id)
        return;
    atomic_store(&serving->id, id);
    while (serving->parked != NULL) {
        struct parked_fetch *parked = serving->parked;
        serving->parked = parked->next;
        free(parked);
    }
    serving->parked_last = &serving->parked;
    serving->parked_count = 0;
    (void)manager_each_replicated(manager_of(serving), silence, serving);
}

static void keep(struct serving *serving, const struct replica_fetch *fetch)
{
    struct parked_fetch *parked = serving->parked_count < LIMIT_PARKED_FETCHES ? malloc(sizeof *parked) : NULL;
    if (parked == NULL)
        return; /* the follower asks again by itself */
    *parked = (struct parked_fetch){.fetch = *fetch};
    *serving->parked_last = parked; /* in order: of two rounds of a partition the later one counts */
    serving->parked_last = &parked->next;
    serving->parked_count++;
}

static void refuse(struct serving *serving, const struct replica_fetch *fetch)
{
    uint8_t out[REPLICA_ANSWER_BYTES];
    struct replica_answer answer = {.session = atomic_load(&serving->id), .key = fetch->key};
    size_t len = replica_answer_encode(&answer, out);
    (void)network_send(manager_of(serving)->network, serving->peer->id, CHANNEL_RECORDS, MESSAGE_FENCED, out, len, NULL,
                       0);
}

static void serve(struct serving *serving, const struct replica_fetch *fetch)
{
    struct partition *part = manager_find(manager_of(serving), &fetch->key);
    enum serve_verdict verdict = SERVE_LATER;
    if (part != NULL)
        verdict = partition_serve(part, serving, serving->peer->id, serving->node_epoch, fetch);
    if (verdict == SERVE_LATER)
        keep(serving, fetch);
    else if (verdict == SERVE_FENCED)
        refuse(serving, fetch);
    if (part != NULL)
        partition_unref(part);
}

static void serve_parked(struct serving *serving)
{
    struct parked_fetch *parked = serving->parked, *next;
    serving->parked = NULL;
    serving->parked_last = &serving->parked;
    serving->parked_count = 0;
    for (; parked != NULL; parked = next) {
        next = parked->next;
        serve(serving, &parked->fetch);
        free(parked);
    }
}

static int on_fetch(struct serving *serving, const struct frame *frame, struct err *e)
{
    struct replica_message msg;
    struct replica_fetch fetch;
    int rc = replica_fetch_decode(frame->header, frame->header_bytes, &msg, e);
    if (rc != 0)
        return rc;
    set_id(serving, msg.session);
    serving->node_epoch = msg.node_epoch;
    for (uint32_t i = 0; i < msg.count && rc == 0; i++) {
        rc = replica_fetch_partition(&msg, i, &fetch, e);
        if (rc == 0)
            serve(serving, &fetch);
    }
    replica_message_free(&msg);
    return rc;
}

static int on_beat(struct serving *serving, const struct frame *frame, struct err *e)
{
    struct replica_message msg;
    int rc = replica_beat_decode(frame->header, frame->header_bytes, &msg, e);
    if (rc != 0)
        return rc;
    set_id(serving, msg.session);
    replica_message_free(&msg);
    return 0;
}

static void turn(struct mailbox *box, struct mail *list)
{
    struct serving *serving = CONTAINER_OF(box, struct serving, box);
    struct letter *letter;
    if (atomic_exchange(&serving->down, false))
        set_id(serving, 0);
    serve_parked(serving);
    while ((letter = letter_take(&list)) != NULL) {
        struct err e = {0};
        int rc = letter->frame->kind == MESSAGE_FETCH ? on_fetch(serving, letter->frame, &e)
                                                      : on_beat(serving, letter->frame, &e);
        if (rc != 0) {
            log_line(LOG_ERR, "node %d sends %s", (int)serving->peer->id, e.text);
            network_drop(manager_of(serving)->network, serving->peer->id);
        }
        atomic_store(&serving->heard_ms, manager_now_ms(manager_of(serving)));
        letter_free(letter);
    }
    send_records(serving);
    if (atomic_exchange(&serving->gathered, false))
        tell_marks(serving);
}

/* ---- from elsewhere ---- */

int serving_receive(struct serving *serving, struct frame *frame)
{
    return letter_post(&serving->box, LETTER_FRAME, frame);
}

void serving_down(struct serving *serving)
{
    atomic_store(&serving->down, true);
    mailbox_kick(&serving->box);
}

void serving_look_again(struct serving *serving)
{
    mailbox_kick(&serving->box);
}

void serving_beat(struct serving *serving)
{
    uint8_t out[64];
    uint64_t id = atomic_load(&serving->id);
    if (id == 0)
        return;
    size_t len = replica_beat_encode(id, true, NULL, 0, out);
    (void)network_send(manager_of(serving)->network, serving->peer->id, CHANNEL_RECORDS, MESSAGE_BEAT, out, len, NULL,
                       0);
}

/* ---- life ---- */

int serving_init(struct serving *serving, struct replica_peer *peer)
{
    struct executor *executor = peer->manager->executor;
    *serving = (struct serving){.peer = peer, .node_epoch = -1};
    serving->marks = malloc(REPLICA_MESSAGE_PARTITIONS * sizeof *serving->marks);
    serving->out = malloc(REPLICA_MESSAGE_BYTES);
    if (serving->marks == NULL || serving->out == NULL) {
        free(serving->marks);
        free(serving->out);
        return -ENOMEM;
    }
    serving->near_last = &serving->near;
    serving->far_last = &serving->far;
    serving->marked_last = &serving->marked;
    serving->parked_last = &serving->parked;
    pthread_mutex_init(&serving->lock, NULL);
    alarm_init(&serving->gather, WORK_PROMPT, on_gather);
    mailbox_init(&serving->box, executor, WORK_PROMPT, turn);
    mailbox_init(&serving->bulk, executor, WORK_BULK, bulk_turn);
    return 0;
}

void serving_stop(struct serving *serving)
{
    struct follower *follower;
    while ((follower = take_follower(serving, &serving->near, &serving->near_last)) != NULL)
        partition_unref(follower->part);
    while ((follower = take_follower(serving, &serving->far, &serving->far_last)) != NULL)
        partition_unref(follower->part);
    while ((follower = take_marked(serving)) != NULL)
        partition_unref(follower->part);
}

void serving_free(struct serving *serving)
{
    struct mail *left = mailbox_free(&serving->box);
    struct letter *letter;
    while ((letter = letter_take(&left)) != NULL)
        letter_free(letter);
    (void)mailbox_free(&serving->bulk);
    while (serving->parked != NULL) {
        struct parked_fetch *parked = serving->parked;
        serving->parked = parked->next;
        free(parked);
    }
    pthread_mutex_destroy(&serving->lock);
    free(serving->marks);
    free(serving->out);
}
