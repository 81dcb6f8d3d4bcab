/* replication/replica/fetcher.c: a turn takes what has come, then says what is to be said.
 *
 * Failure: what cannot be sent is lost with the session, and the next one begins with everything; where the session
 * goes on, since it was only too much for now, the next beat says it again. */
#include "replication/replica/fetcher.h"

#include <errno.h>
#include <stdlib.h>
#include <syslog.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/letter.h"
#include "replication/replica/partition_internal.h"
#include "replication/wire/replica_message.h"

static struct replica_manager *manager_of(const struct fetcher *fetcher)
{
    return fetcher->peer->manager;
}

/* ---- those that have something to say ---- */

/* A partition is in one fetcher's list at a time: one that is to be in another's, since its leader has changed, comes
 * there when it is taken out of the first. All lists are under one lock. */

static void append_due(struct fetcher *fetcher, struct partition *part)
{
    part->fetching.in = fetcher;
    part->fetching.next = NULL;
    *fetcher->due_last = partition_ref(part);
    fetcher->due_last = &part->fetching.next;
}

/* For the end of the turn that is under way, or (true) one that has to come. */
static bool want(struct fetcher *fetcher, struct partition *part)
{
    struct replica_manager *manager = manager_of(fetcher);
    pthread_mutex_lock(&manager->due_lock);
    bool queues = part->fetching.in == NULL;
    if (queues)
        append_due(fetcher, part);
    else if (part->fetching.in != fetcher)
        part->fetching.then = fetcher;
    pthread_mutex_unlock(&manager->due_lock);
    return queues;
}

void fetcher_want(struct fetcher *fetcher, struct partition *part)
{
    if (want(fetcher, part))
        mailbox_kick(&fetcher->box);
}

/* The next of them, with its reference; NULL: none. *then: who was to have it next; NULL: nobody. Under the lock. */
static struct partition *take_due(struct fetcher *fetcher, struct fetcher **then)
{
    struct partition *part = fetcher->due;
    if (part == NULL)
        return NULL;
    fetcher->due = part->fetching.next;
    if (fetcher->due == NULL)
        fetcher->due_last = &fetcher->due;
    *then = part->fetching.then;
    part->fetching.in = NULL;
    part->fetching.then = NULL;
    return part;
}

static struct partition *next_due(struct fetcher *fetcher)
{
    struct replica_manager *manager = manager_of(fetcher);
    struct fetcher *then = NULL;
    pthread_mutex_lock(&manager->due_lock);
    struct partition *part = take_due(fetcher, &then);
    if (then != NULL)
        append_due(then, part);
    pthread_mutex_unlock(&manager->due_lock);
    if (then != NULL)
        mailbox_kick(&then->box);
    return part;
}

/* An ack that is lost while the session goes on would be missed for as long as no more records come. */
static void take_back_said(struct fetcher *fetcher, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct partition *part = manager_find(manager_of(fetcher), &fetcher->said[i].key);
        if (part == NULL)
            continue;
        partition_fetch_unsaid(part, fetcher->said[i].key.round);
        partition_unref(part);
    }
}

static void send_said(struct fetcher *fetcher)
{
    struct replica_manager *manager = manager_of(fetcher);
    int rc = -ENOTCONN;
    struct replica_fetch_out fetch = {.session = atomic_load(&fetcher->session),
                                      .node_epoch = manager_node_epoch(manager),
                                      .partitions = fetcher->said,
                                      .count = fetcher->said_count};
    if (fetch.count == 0)
        return;
    fetcher->said_count = 0;
    size_t len = fetch.node_epoch < 0 ? 0 : replica_fetch_encode(&fetch, fetcher->out);
    if (len > 0) {
        rc = network_send(manager->network, fetcher->peer->id, CHANNEL_RECORDS, MESSAGE_FETCH, fetcher->out, len, NULL,
                          0);
    }
    if (rc != 0)
        take_back_said(fetcher, fetch.count);
}

static void say_all(struct fetcher *fetcher)
{
    struct partition *part;
    while ((part = next_due(fetcher)) != NULL) {
        if (partition_fetch(part, fetcher->peer->id, atomic_load(&fetcher->session),
                            &fetcher->said[fetcher->said_count]))
            fetcher->said_count++;
        partition_unref(part);
        if (fetcher->said_count == REPLICA_MESSAGE_PARTITIONS)
            send_said(fetcher);
    }
    send_said(fetcher);
}

/* ---- what has come, in a turn: what is to be said to it is at its end ---- */

static void set_session(struct partition *part, void *arg)
{
    struct fetcher *fetcher = arg;
    if (partition_fetch_session(part, fetcher->peer->id, atomic_load(&fetcher->session)))
        (void)want(fetcher, part);
}

static void begin_session(struct fetcher *fetcher, uint64_t session)
{
    atomic_store(&fetcher->silent_beats, -1);
    atomic_store(&fetcher->session, session);
    (void)manager_each_replicated(manager_of(fetcher), set_session, fetcher);
}

static void on_answer(struct fetcher *fetcher, const struct frame *frame)
{
    struct replica_answer answer;
    struct err e = {0};
    int rc = replica_answer_decode(frame->header, frame->header_bytes, &answer, &e);
    if (rc != 0) {
        log_line(LOG_ERR, "node %d sends %s", (int)fetcher->peer->id, e.text);
        network_drop(manager_of(fetcher)->network, fetcher->peer->id);
        return;
    }
    struct partition *part = manager_find(manager_of(fetcher), &answer.key);
    if (part == NULL)
        return;
    if (partition_take_answer(part, frame->kind, &answer, frame->body, frame->body_bytes))
        (void)want(fetcher, part);
    partition_unref(part);
}

static void on_beat(struct fetcher *fetcher, const struct frame *frame)
{
    struct replica_message msg;
    struct replica_mark mark;
    if (replica_beat_decode(frame->header, frame->header_bytes, &msg, NULL) != 0)
        return;
    for (uint32_t i = 0; i < msg.count && replica_beat_mark(&msg, i, &mark, NULL) == 0; i++) {
        struct partition *part = manager_find(manager_of(fetcher), &mark.key);
        if (part == NULL)
            continue;
        if (partition_take_mark(part, msg.session, &mark))
            (void)want(fetcher, part);
        partition_unref(part);
    }
    replica_message_free(&msg);
}

static void turn(struct mailbox *box, struct mail *list)
{
    struct fetcher *fetcher = CONTAINER_OF(box, struct fetcher, box);
    struct letter *letter;
    if (atomic_exchange(&fetcher->down, false))
        begin_session(fetcher, 0);
    while ((letter = letter_take(&list)) != NULL) {
        if (letter->kind == LETTER_UP)
            begin_session(fetcher, manager_number(manager_of(fetcher)));
        else if (letter->frame->kind == MESSAGE_BEAT)
            on_beat(fetcher, letter->frame);
        else
            on_answer(fetcher, letter->frame);
        letter_free(letter);
    }
    if (atomic_exchange(&fetcher->anew, false) && atomic_load(&fetcher->session) != 0)
        begin_session(fetcher, manager_number(manager_of(fetcher)));
    say_all(fetcher);
}

/* ---- from elsewhere ---- */

int fetcher_up(struct fetcher *fetcher)
{
    return letter_post(&fetcher->box, LETTER_UP, NULL);
}

void fetcher_anew(struct fetcher *fetcher)
{
    atomic_store(&fetcher->anew, true);
    mailbox_kick(&fetcher->box);
}

void fetcher_down(struct fetcher *fetcher)
{
    atomic_store(&fetcher->down, true);
    mailbox_kick(&fetcher->box);
}

int fetcher_receive(struct fetcher *fetcher, struct frame *frame)
{
    atomic_store(&fetcher->silent_beats, 0); /* also while this node's own disk holds its turns up */
    return letter_post(&fetcher->box, LETTER_FRAME, frame);
}

/* A leader that beats no more, though its link is up (its process is stopped, or stuck): what it was asked is not
 * answered any more, and a link made anew tells who is there. */
static void drop_silent(struct fetcher *fetcher)
{
    log_line(LOG_WARNING, "node %d: silent for %d ms: its connections begin anew", (int)fetcher->peer->id,
             LIMIT_SILENT_BEATS * LIMIT_BEAT_MS);
    atomic_store(&fetcher->silent_beats, -1);
    network_drop(manager_of(fetcher)->network, fetcher->peer->id);
}

/* Another beat of this node's has come round. A leader that is not read, since there is too much here of what it has
 * sent, is not silent. */
static bool is_silent(struct fetcher *fetcher)
{
    if (atomic_load(&fetcher->silent_beats) < 0)
        return false;
    if (!network_stops(manager_of(fetcher)->network, fetcher->peer->id, CHANNEL_RECORDS))
        return atomic_fetch_add(&fetcher->silent_beats, 1) >= LIMIT_SILENT_BEATS;
    atomic_store(&fetcher->silent_beats, 0);
    return false;
}

void fetcher_beat(struct fetcher *fetcher)
{
    uint8_t out[64];
    uint64_t session = atomic_load(&fetcher->session);
    if (session == 0)
        return;
    if (is_silent(fetcher)) {
        drop_silent(fetcher);
        return;
    }
    size_t len = replica_beat_encode(session, false, NULL, 0, out);
    (void)network_send(manager_of(fetcher)->network, fetcher->peer->id, CHANNEL_RECORDS, MESSAGE_BEAT, out, len, NULL,
                       0);
}

/* ---- life ---- */

int fetcher_init(struct fetcher *fetcher, struct replica_peer *peer)
{
    *fetcher = (struct fetcher){.peer = peer};
    fetcher->said = malloc(REPLICA_MESSAGE_PARTITIONS * sizeof *fetcher->said);
    fetcher->out = malloc(REPLICA_MESSAGE_BYTES);
    if (fetcher->said == NULL || fetcher->out == NULL) {
        free(fetcher->said);
        free(fetcher->out);
        return -ENOMEM;
    }
    fetcher->due_last = &fetcher->due;
    mailbox_init(&fetcher->box, peer->manager->executor, WORK_PROMPT, turn);
    return 0;
}

void fetcher_stop(struct fetcher *fetcher)
{
    struct replica_manager *manager = manager_of(fetcher);
    struct fetcher *then;
    struct partition *part;
    do {
        pthread_mutex_lock(&manager->due_lock);
        part = take_due(fetcher, &then);
        pthread_mutex_unlock(&manager->due_lock);
        if (part != NULL)
            partition_unref(part);
    } while (part != NULL);
}

void fetcher_free(struct fetcher *fetcher)
{
    struct mail *left = mailbox_free(&fetcher->box);
    struct letter *letter;
    while ((letter = letter_take(&left)) != NULL)
        letter_free(letter);
    free(fetcher->said);
    free(fetcher->out);
}
