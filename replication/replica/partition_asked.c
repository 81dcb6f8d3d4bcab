/* replication/replica/partition_asked.c: what other nodes ask this one to do with a partition, other than appending: to
 * flush, to delete records and to seal, as its leader; to flush its replica, as a follower. Each is a work of its own,
 * since it may wait for the disk, and its end goes back.
 *
 * Where this node is not what it is taken for the answer is -EREMOTE, and who asked looks again. An answer that the
 * link cannot take ends the link, so that the other side asks again. */
#include <errno.h>
#include <stdlib.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/wire/forward_message.h"

struct asked {
    struct partition *part; /* referenced */
    int32_t from;
    struct frame *frame; /* kept until it is over, so that it counts as long (account.h) */
    struct partition_request request;
    struct work work;
    union {
        struct flush_op flush;
        struct log_flush own;
        struct delete_records_op delete;
    };
};

static enum message_kind answer_kind(const struct asked *asked)
{
    switch (asked->frame->kind) {
    case MESSAGE_FLUSH:
        return MESSAGE_FLUSH_ANSWER;
    case MESSAGE_FLUSH_INSYNC:
        return MESSAGE_FLUSH_INSYNC_ANSWER;
    case MESSAGE_SEAL:
        return MESSAGE_SEAL_ANSWER;
    default:
        return MESSAGE_DELETE_RECORDS_ANSWER;
    }
}

static void send_answer(struct asked *asked, const struct partition_answer *message)
{
    struct partition *part = asked->part;
    uint8_t header[LIMIT_FORWARD_MESSAGE_BYTES];
    int rc = forwarding_send(part->manager, asked->from, CHANNEL_CONTROL, answer_kind(asked), header,
                             partition_answer_encode(message, header), NULL, 0);

    if (rc < 0 && rc != -ENOTCONN) {
        network_drop(part->manager->network, asked->from);
    }
    frame_free(asked->frame);
    free(asked);
    partition_unref(part);
}

static void answer(struct asked *asked, int rc)
{
    struct partition_answer message = {.head = asked->request.head, .rc = forward_errno_travels(rc)};

    if (asked->frame->kind == MESSAGE_FLUSH_INSYNC && rc == 0) {
        message.upto = log_recovery_point(asked->part->log);
    }
    if (asked->frame->kind == MESSAGE_DELETE_RECORDS && rc == 0) {
        struct log_point start = partition_log_start(asked->part);

        message.upto = start.offset;
        message.position = start.position;
    }
    send_answer(asked, &message);
}

/* ---- as the leader ---- */

static void on_flushed(struct flush_op *op, int rc)
{
    answer(CONTAINER_OF(op, struct asked, flush), rc);
}

static void on_deleted(struct delete_records_op *op, int rc)
{
    answer(CONTAINER_OF(op, struct asked, delete), rc);
}

static bool is_leader(const struct asked *asked)
{
    return partition_leads(asked->part) && atomic_load(&asked->part->leader_epoch) == asked->request.head.leader_epoch;
}

static void flush(struct asked *asked)
{
    int rc = -EREMOTE;

    if (is_leader(asked)) {
        asked->flush = (struct flush_op){.part = asked->part,
                                         .from_peer = true,
                                         .upto = asked->request.upto,
                                         .leader_epoch = asked->request.epoch,
                                         .timeout_ms = LIMIT_ASK_MS,
                                         .done = on_flushed};
        rc = partition_flush_submit(&asked->flush);
    }
    if (rc != 0) {
        answer(asked, rc < 0 ? rc : 0);
    }
}

static void delete_records(struct asked *asked)
{
    int rc = -EREMOTE;

    if (is_leader(asked)) {
        asked->delete = (struct delete_records_op){.position = asked->request.upto, .done = on_deleted};
        rc = partition_delete_records(asked->part, &asked->delete);
    }
    if (rc != 0) {
        answer(asked, rc);
    }
}

static void seal(struct asked *asked)
{
    struct partition_answer message = {.head = asked->request.head};

    message.rc = partition_seal(asked->part, &asked->request, &message);
    send_answer(asked, &message);
}

/* ---- as a follower ---- */

static void on_own_flushed(struct log_flush *own, int rc)
{
    answer(CONTAINER_OF(own, struct asked, own), rc);
}

static void flush_own(struct asked *asked)
{
    struct partition *part = asked->part;
    int64_t end = log_end(part->log).offset;
    bool follows;

    pthread_mutex_lock(&part->lock);
    follows = partition_role(part) == ROLE_FOLLOWER && part->registration.leader == asked->from &&
              atomic_load(&part->leader_epoch) == asked->request.head.leader_epoch;
    pthread_mutex_unlock(&part->lock);
    if (!follows) {
        answer(asked, -EREMOTE);
        return;
    }
    asked->own =
        (struct log_flush){.upto = asked->request.upto < end ? asked->request.upto : end, .done = on_own_flushed};
    if (partition_flush(part, &asked->own) == 1) {
        answer(asked, 0);
    }
}

static void on_work(struct work *work)
{
    struct asked *asked = CONTAINER_OF(work, struct asked, work);

    switch (asked->frame->kind) {
    case MESSAGE_FLUSH:
        flush(asked);
        break;
    case MESSAGE_FLUSH_INSYNC:
        if (asked->part->log == NULL) {
            answer(asked, -EREMOTE);
        } else {
            flush_own(asked);
        }
        break;
    case MESSAGE_SEAL:
        seal(asked);
        break;
    default:
        delete_records(asked);
    }
}

int partition_asked(struct partition *part, int32_t from, const struct partition_request *request, struct frame *frame)
{
    struct asked *asked = calloc(1, sizeof *asked);

    if (asked == NULL) {
        return -ENOMEM;
    }
    asked->part = partition_ref(part);
    asked->from = from;
    asked->frame = frame;
    asked->request = *request;
    asked->work.run = on_work;
    executor_prompt(part->manager->executor, &asked->work);
    return 0;
}
