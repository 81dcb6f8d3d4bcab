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

/* Under the lock. */
static void lane_add(struct lane *lane, struct follower *follower)
{
    follower->next = NULL;
    follower->link = lane->last;
    *lane->last = follower;
    lane->last = &follower->next;
}

/* Under the lock. */
static void lane_remove(struct lane *lane, struct follower *follower)
{
    *follower->link = follower->next;
    if (follower->next != NULL)
        follower->next->link = follower->link;
    else
        lane->last = follower->link;
}

void serving_want(struct serving *serving, struct follower *follower, enum serving_lane lane)
{
    pthread_mutex_lock(&serving->lock);
    bool queued = atomic_exchange(&follower->queued, true);
    bool adds = !queued || (int)lane < follower->lane;
    if (!queued)
        partition_ref(follower->part);
    else if (adds)
        lane_remove(&serving->lanes[follower->lane], follower);
    if (adds) {
        follower->lane = (int)lane;
        lane_add(&serving->lanes[lane], follower);
    }
    bool kicks = adds && !(lane == LANE_NEAR && serving->taking);
    pthread_mutex_unlock(&serving->lock);
    if (kicks)
        mailbox_kick(lane == LANE_NEAR ? &serving->box : &serving->bulk);
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

/* The next one of a lane, with its reference; NULL: none. */
static struct follower *take_follower(struct serving *serving, enum serving_lane from)
{
    struct lane *lane = &serving->lanes[from];
    pthread_mutex_lock(&serving->lock);
    struct follower *follower = lane->first;
    if (follower != NULL) {
        lane_remove(lane, follower);
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

/* Sends to one that was taken out of a lane; it queues up again if there is more. */
static void send_to(struct follower *follower, enum serving_lane lane, uint32_t most)
{
    struct partition *part = follower->part;
    partition_follower_next(part, follower, lane, most);
    partition_unref(part);
}

static void set_taking(struct serving *serving, bool taking)
{
    pthread_mutex_lock(&serving->lock);
    serving->taking = taking;
    pthread_mutex_unlock(&serving->lock);
}

static void send_records(struct serving *serving)
{
    struct follower *follower;
    set_taking(serving, false);
    while ((follower = take_follower(serving, LANE_NEAR)) != NULL)
        send_to(follower, LANE_NEAR, UINT32_MAX);
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

static void on_rested(struct alarm *alarm)
{
    mailbox_kick(&CONTAINER_OF(alarm, struct serving, rest)->bulk);
}

/* One piece for one of those that nobody waits for. false: there is none, or no room: tend_behind() or the alarm sees
 * to it again. */
static bool send_behind(struct serving *serving)
{
    struct replica_manager *manager = manager_of(serving);
    struct follower *follower;
    int64_t wait_us;
    uint32_t room = catch_up_room(&serving->catch_up, &manager->live, clock_mono_us(manager->clock), &wait_us);
    if (wait_us > 0)
        alarm_set(manager->executor, &serving->rest, (wait_us + 999) / 1000);
    follower = room > 0 ? take_follower(serving, LANE_BEHIND) : NULL;
    if (follower == NULL)
        return false;
    send_to(follower, LANE_BEHIND, room);
    return true;
}

static bool send_far(struct serving *serving)
{
    struct follower *follower = take_follower(serving, LANE_FAR);
    if (follower != NULL)
        send_to(follower, LANE_FAR, UINT32_MAX);
    return follower != NULL;
}

/* One piece for one of those that are far behind; and one for those that nobody waits for, however many there are of
 * the others. */
static void bulk_turn(struct mailbox *box, struct mail *list)
{
    struct serving *serving = CONTAINER_OF(box, struct serving, bulk);
    (void)list;
    bool far = send_far(serving);
    bool behind = send_behind(serving);
    if (far || behind)
        mailbox_kick(box);
}

/* Something was acknowledged, or will not be any more. */
static void tend_behind(struct serving *serving)
{
    pthread_mutex_lock(&serving->lock);
    bool waits = serving->lanes[LANE_BEHIND].first != NULL;
    pthread_mutex_unlock(&serving->lock);
    if (waits)
        mailbox_kick(&serving->bulk);
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
    set_taking(serving, true);
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
    tend_behind(serving);
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
    catch_up_beat(&serving->catch_up, &manager_of(serving)->live);
    tend_behind(serving);
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
    for (int lane = 0; lane < SERVING_LANES; lane++)
        serving->lanes[lane].last = &serving->lanes[lane].first;
    serving->marked_last = &serving->marked;
    serving->parked_last = &serving->parked;
    pthread_mutex_init(&serving->lock, NULL);
    alarm_init(&serving->gather, WORK_PROMPT, on_gather);
    alarm_init(&serving->rest, WORK_BULK, on_rested);
    mailbox_init(&serving->box, executor, WORK_PROMPT, turn);
    mailbox_init(&serving->bulk, executor, WORK_BULK, bulk_turn);
    return 0;
}

void serving_stop(struct serving *serving)
{
    struct follower *follower;
    for (int lane = 0; lane < SERVING_LANES; lane++) {
        while ((follower = take_follower(serving, (enum serving_lane)lane)) != NULL)
            partition_unref(follower->part);
    }
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
