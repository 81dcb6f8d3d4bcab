/* replication/replica/forwarding.c: from a frame to its partition, and from a partition to a frame. */
#include "replication/replica/forwarding.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "replication/replica/topic_internal.h"
#include "replication/wire/forward_message.h"

/* One that was taken apart. What is kept ends behind what it is. */
struct parcel {
    struct mail mail;
    struct partition *part; /* referenced */
    int32_t from;
    struct frame *frame;
    union {
        struct append_request append;
        struct append_answer append_answer;
        struct partition_request request;
        struct partition_answer answer;
    };
};

/* ---- the turns ---- */

/* One that the link does not take, and one that is too early, is asked for again. */
static void say_shown(struct partition *part, int32_t from, const struct partition_request *request)
{
    struct partition_answer answer;
    uint8_t header[LIMIT_FORWARD_MESSAGE_BYTES];

    if (!partition_shown_asked(part, request, &answer)) {
        return;
    }
    (void)forwarding_send(part->manager, from, CHANNEL_CONTROL, MESSAGE_SHOWN_ANSWER, header,
                          partition_answer_encode(&answer, header), NULL, 0);
}

static void refuse_append(struct replica_manager *manager, int32_t from, const struct append_request *request);

static void append(const struct parcel *parcel)
{
    struct replica_manager *manager = parcel->part->manager;
    int rc = partition_forwarded(parcel->part, parcel->from, &parcel->append, parcel->frame->body);

    if (rc == -EBUSY) {
        refuse_append(manager, parcel->from, &parcel->append);
    } else if (rc < 0) {
        network_drop(manager->network, parcel->from); /* it is sent again */
    }
}

static void open_parcel(struct parcel *parcel)
{
    struct partition *part = parcel->part;
    struct network *network = part->manager->network;

    switch (parcel->frame->kind) {
    case MESSAGE_APPEND:
        append(parcel);
        break;
    case MESSAGE_APPEND_ANSWER:
        partition_forward_answer(part, &parcel->append_answer);
        break;
    case MESSAGE_FLUSH:
    case MESSAGE_FLUSH_INSYNC:
    case MESSAGE_DELETE_RECORDS:
    case MESSAGE_SEAL:
        if (partition_asked(part, parcel->from, &parcel->request, parcel->frame) < 0) {
            network_drop(network, parcel->from);
        } else {
            parcel->frame = NULL;
        }
        break;
    case MESSAGE_FLUSH_ANSWER:
    case MESSAGE_DELETE_RECORDS_ANSWER:
    case MESSAGE_SEAL_ANSWER:
        partition_ask_answer(part, &parcel->answer);
        break;
    case MESSAGE_SHOWN:
        say_shown(part, parcel->from, &parcel->request);
        break;
    case MESSAGE_SHOWN_ANSWER:
        partition_shown_answer(part, parcel->from, &parcel->answer);
        break;
    case MESSAGE_FLUSH_INSYNC_ANSWER:
        partition_insync_flushed(part, parcel->from, &parcel->answer);
        break;
    default:
        break;
    }
    frame_free(parcel->frame);
    partition_unref(part);
    free(parcel);
}

static void on_turn(struct mailbox *mailbox, struct mail *list)
{
    (void)mailbox;
    while (list != NULL) {
        struct parcel *parcel = CONTAINER_OF(list, struct parcel, mail);

        list = list->next;
        open_parcel(parcel);
    }
}

static void post(struct forwarding *forwarding, struct parcel *parcel)
{
    const struct partition *part = parcel->part;
    uint64_t hash;

    /* By what it is, not by where it lies: a run of the simulator is repeated by its seed. */
    memcpy(&hash, part->topic->id, sizeof hash);
    hash = (hash + (uint64_t)part->index) * UINT64_C(0x9e3779b97f4a7c15);
    mailbox_post(&forwarding->boxes[hash >> 60], &parcel->mail);
}

/* ---- what comes ---- */

/* The node's partition by the id of its topic, with a reference; NULL: none, or not yet. */
static struct partition *find(struct replica_manager *manager, const struct forward_head *head)
{
    const struct metadata *meta = quorum_acquire(manager->quorum);
    const struct metadata_topic *known = metadata_topic_by_id(meta, head->topic_id);
    struct partition *part = NULL;
    char name[TOPIC_NAME_BYTES];
    struct topic *topic;

    if (known != NULL) {
        memcpy(name, known->name, sizeof name);
    }
    quorum_release(manager->quorum);
    topic = known != NULL ? catalog_find(&manager->catalog, name) : NULL;
    if (topic == NULL) {
        return NULL;
    }
    if (memcmp(topic->id, head->topic_id, UUID_BYTES) == 0) {
        part = topic_partition(topic, head->partition);
    }
    if (part == NULL) {
        topic_unref(topic);
    }
    return part; /* the topic's reference is the partition's */
}

/* An answer that the link cannot take ends the link, so that the other side asks again. */
static void send_answer(struct replica_manager *manager, int32_t to, enum message_kind kind, const uint8_t *header,
                        size_t len)
{
    int rc = forwarding_send(manager, to, CHANNEL_CONTROL, kind, header, len, NULL, 0);

    if (rc < 0 && rc != -ENOTCONN) {
        network_drop(manager->network, to);
    }
}

/* Of a partition that this node does not know yet, or no more, or too many: later. */
static void refuse_append(struct replica_manager *manager, int32_t from, const struct append_request *request)
{
    struct append_answer answer = {.head = request->head, .count = request->count};
    uint8_t header[LIMIT_FORWARD_MESSAGE_BYTES];

    for (int32_t i = 0; i < request->count; i++) {
        answer.batches[i] = (struct append_answer_batch){.sequence = request->batches[i].sequence, .rc = -EREMOTE};
    }
    send_answer(manager, from, MESSAGE_APPEND_ANSWER, header, append_answer_encode(&answer, header));
}

static void refuse(struct replica_manager *manager, const struct parcel *parcel)
{
    struct partition_answer answer = {.rc = -EREMOTE};
    uint8_t header[LIMIT_FORWARD_MESSAGE_BYTES];
    int kind = parcel->frame->kind;

    if (kind == MESSAGE_APPEND) {
        refuse_append(manager, parcel->from, &parcel->append);
        return;
    }
    if (kind != MESSAGE_FLUSH && kind != MESSAGE_DELETE_RECORDS && kind != MESSAGE_SEAL &&
        !(kind == MESSAGE_FLUSH_INSYNC && parcel->frame->refused)) {
        return; /* an answer that nobody waits for, or a leader that asks again */
    }
    answer.head = parcel->request.head;
    kind = kind == MESSAGE_FLUSH            ? MESSAGE_FLUSH_ANSWER
           : kind == MESSAGE_DELETE_RECORDS ? MESSAGE_DELETE_RECORDS_ANSWER
           : kind == MESSAGE_FLUSH_INSYNC   ? MESSAGE_FLUSH_INSYNC_ANSWER
                                            : MESSAGE_SEAL_ANSWER;
    send_answer(manager, parcel->from, (enum message_kind)kind, header, partition_answer_encode(&answer, header));
}

/* A process that the cluster knows to be replaced by a later one. */
static bool is_fenced(struct replica_manager *manager, int32_t from, int64_t node_epoch)
{
    const struct node_registration *known = metadata_node(quorum_acquire(manager->quorum), from);
    bool fenced = known != NULL && node_epoch >= 0 && known->epoch > node_epoch;

    quorum_release(manager->quorum);
    return fenced;
}

/* *len: how much of the parcel it is. */
static int take_apart(struct parcel *parcel, const struct forward_head **head, size_t *len, struct err *e)
{
    const struct frame *frame = parcel->frame;
    int rc;

    switch (frame->kind) {
    case MESSAGE_APPEND:
        *head = &parcel->append.head;
        rc = append_request_decode(frame->header, frame->header_bytes, frame->body_bytes, &parcel->append, e);
        *len =
            offsetof(struct parcel, append.batches) + (size_t)parcel->append.count * sizeof parcel->append.batches[0];
        return rc;
    case MESSAGE_APPEND_ANSWER:
        *head = &parcel->append_answer.head;
        rc = append_answer_decode(frame->header, frame->header_bytes, &parcel->append_answer, e);
        *len = offsetof(struct parcel, append_answer.batches) +
               (size_t)parcel->append_answer.count * sizeof parcel->append_answer.batches[0];
        return rc;
    case MESSAGE_FLUSH:
    case MESSAGE_FLUSH_INSYNC:
    case MESSAGE_DELETE_RECORDS:
    case MESSAGE_SHOWN:
    case MESSAGE_SEAL:
        *head = &parcel->request.head;
        *len = offsetof(struct parcel, request) + sizeof parcel->request;
        return partition_request_decode(frame->header, frame->header_bytes, &parcel->request, e);
    default:
        *head = &parcel->answer.head;
        *len = offsetof(struct parcel, answer) + sizeof parcel->answer;
        return partition_answer_decode(frame->header, frame->header_bytes, &parcel->answer, e);
    }
}

/* Posts what it is of it. -ENOMEM: the frame and the partition are still the caller's. */
static int keep(struct forwarding *forwarding, const struct parcel *parcel, size_t len)
{
    struct parcel *kept = malloc(len);

    if (kept == NULL) {
        return -ENOMEM;
    }
    memcpy(kept, parcel, len);
    post(forwarding, kept);
    return 0;
}

/* What cannot be taken ends the link: what was on its way is sent again. */
static void give_up(struct replica_manager *manager, int32_t from, const struct err *e)
{
    log_line(LOG_WARNING, "node %d: %s", (int)from, e->text);
    network_drop(manager->network, from);
}

static void receive(void *arg, int32_t from, enum channel channel, struct frame *frame)
{
    struct forwarding *forwarding = arg;
    struct replica_manager *manager = forwarding->manager;
    struct parcel parcel = {.from = from, .frame = frame};
    const struct forward_head *head = NULL;
    struct err e = {0};
    size_t len;

    (void)channel;
    if (take_apart(&parcel, &head, &len, &e) < 0) {
        give_up(manager, from, &e);
        frame_free(frame);
        return;
    }
    parcel.part = find(manager, head);
    if (parcel.part != NULL && !frame->refused &&
        !(frame->kind == MESSAGE_APPEND && is_fenced(manager, from, parcel.append.node_epoch))) {
        if (keep(forwarding, &parcel, len) == 0) {
            return;
        }
        err_sys(&e, -ENOMEM, "a message");
        give_up(manager, from, &e);
    } else {
        refuse(manager, &parcel);
    }
    if (parcel.part != NULL) {
        partition_unref(parcel.part);
    }
    frame_free(frame);
}

/* ---- what goes ---- */

/* To this node itself: as if it had come. */
static int send_to_self(struct replica_manager *manager, enum channel channel, enum message_kind kind,
                        const void *header, size_t header_bytes, const struct iovec *body, int body_count)
{
    size_t body_bytes = 0, at = header_bytes;
    struct frame *frame;

    for (int i = 0; i < body_count; i++) {
        body_bytes += body[i].iov_len;
    }
    frame = malloc(sizeof *frame + header_bytes + body_bytes);
    if (frame == NULL) {
        return -ENOMEM;
    }
    *frame = (struct frame){.kind = (uint8_t)kind,
                            .header_bytes = (uint32_t)header_bytes,
                            .body_bytes = (uint32_t)body_bytes,
                            .header = (uint8_t *)(frame + 1)};
    frame->body = frame->header + header_bytes;
    memcpy(frame->header, header, header_bytes);
    for (int i = 0; i < body_count; i++) {
        memcpy(frame->header + at, body[i].iov_base, body[i].iov_len);
        at += body[i].iov_len;
    }
    network_deliver(manager->network, manager->id, channel, frame);
    return 0;
}

int forwarding_send(struct replica_manager *manager, int32_t to, enum channel channel, enum message_kind kind,
                    const void *header, size_t header_bytes, const struct iovec *body, int body_count)
{
    if (to == manager->id) {
        return send_to_self(manager, channel, kind, header, header_bytes, body, body_count);
    }
    return network_send(manager->network, to, channel, kind, header, header_bytes, body, body_count);
}

/* ---- links ---- */

static void look_at(struct partition *part, void *arg)
{
    (void)arg;
    partition_forward_look(part);
    partition_ask_look(part, true);
    partition_insync_look(part, true);
}

static void on_links(struct mailbox *mailbox, struct mail *list)
{
    struct forwarding *forwarding = CONTAINER_OF(mailbox, struct forwarding, links);

    (void)list;
    if (manager_each_partition(forwarding->manager, look_at, NULL) < 0) {
        alarm_set(forwarding->manager->executor, &forwarding->links_again, LIMIT_DECIDE_AGAIN_MS);
    }
}

static void on_links_again(struct alarm *alarm)
{
    mailbox_kick(&CONTAINER_OF(alarm, struct forwarding, links_again)->links);
}

static void on_up(void *arg, int32_t node, const struct hello *hello)
{
    struct forwarding *forwarding = arg;

    (void)node;
    (void)hello;
    (void)manager_producer_id(forwarding->manager);
    mailbox_kick(&forwarding->links);
}

static void on_down(void *arg, int32_t node, bool goodbye)
{
    struct forwarding *forwarding = arg;

    (void)node;
    (void)goodbye;
    mailbox_kick(&forwarding->links);
}

/* ---- the producer id ---- */

static void on_ask(struct work *work);

static void on_granted(struct quorum_op *op, int rc)
{
    struct forwarding *forwarding = CONTAINER_OF(op, struct forwarding, op);

    /* Those of this process's last command: of an earlier one nobody is waiting for. */
    if (rc == 0) {
        atomic_store(&forwarding->producer_id, atomic_load(&forwarding->granted));
    } else {
        alarm_set(forwarding->manager->executor, &forwarding->again, LIMIT_PRODUCER_ID_PAUSE_MS);
    }
}

static void on_again(struct alarm *alarm)
{
    struct forwarding *forwarding = CONTAINER_OF(alarm, struct forwarding, again);

    on_ask(&forwarding->ask);
}

static void on_ask(struct work *work)
{
    struct forwarding *forwarding = CONTAINER_OF(work, struct forwarding, ask);
    struct replica_manager *manager = forwarding->manager;
    struct command cmd = {.type = COMMAND_PRODUCER_IDS,
                          .node = manager->id,
                          .count = 1,
                          .time_ms = manager->clock->wall_ms(manager->clock)};

    forwarding->op = (struct quorum_op){.timeout_ms = LIMIT_PRODUCER_ID_MS, .done = on_granted};
    if (quorum_submit(manager->quorum, &forwarding->op, &cmd) < 0) {
        on_granted(&forwarding->op, -EROFS);
    }
}

int64_t manager_producer_id(struct replica_manager *manager)
{
    struct forwarding *forwarding = &manager->forwarding;
    int64_t id = atomic_load_explicit(&forwarding->producer_id, memory_order_relaxed);

    if (id < 0 && !atomic_exchange(&forwarding->asking, true)) {
        executor_prompt(manager->executor, &forwarding->ask);
    }
    return id;
}

int64_t manager_own_epoch(struct replica_manager *manager)
{
    return atomic_load(&manager->forwarding.node_epoch);
}

void forwarding_granted(struct forwarding *forwarding, int64_t first)
{
    atomic_store(&forwarding->granted, first);
}

void forwarding_registered(struct forwarding *forwarding, int64_t node_epoch)
{
    atomic_store(&forwarding->node_epoch, node_epoch);
}

/* ---- start and stop ---- */

void forwarding_init(struct forwarding *forwarding, struct replica_manager *manager)
{
    static const enum message_kind kinds[] = {
        MESSAGE_APPEND,         MESSAGE_APPEND_ANSWER,         MESSAGE_FLUSH,        MESSAGE_FLUSH_ANSWER,
        MESSAGE_DELETE_RECORDS, MESSAGE_DELETE_RECORDS_ANSWER, MESSAGE_FLUSH_INSYNC, MESSAGE_FLUSH_INSYNC_ANSWER,
        MESSAGE_SHOWN,          MESSAGE_SHOWN_ANSWER,          MESSAGE_SEAL,         MESSAGE_SEAL_ANSWER};

    *forwarding = (struct forwarding){.manager = manager,
                                      .listener = {.up = on_up, .down = on_down, .arg = forwarding},
                                      .producer_id = -1,
                                      .granted = -1,
                                      .node_epoch = -1,
                                      .ask = {.run = on_ask}};
    alarm_init(&forwarding->again, WORK_PROMPT, on_again);
    alarm_init(&forwarding->links_again, WORK_PROMPT, on_links_again);
    for (int i = 0; i < FORWARDING_BOXES; i++) {
        mailbox_init(&forwarding->boxes[i], manager->executor, WORK_PROMPT, on_turn);
    }
    mailbox_init(&forwarding->links, manager->executor, WORK_PROMPT, on_links);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        network_handle(manager->network, kinds[i], receive, forwarding);
    }
    network_listen(manager->network, &forwarding->listener);
}

void forwarding_free(struct forwarding *forwarding)
{
    for (int i = 0; i < FORWARDING_BOXES; i++) {
        (void)mailbox_free(&forwarding->boxes[i]);
    }
    (void)mailbox_free(&forwarding->links);
}
