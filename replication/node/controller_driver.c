/* replication/node/controller_driver.c: turns, proposals, and the rounds of last ISRs. */
#include "replication/node/controller_driver.h"

#include <errno.h>
#include <stdlib.h>
#include <syslog.h>

#include "replication/metadata/member_message.h"
#include "replication/node/node_internal.h"

enum {
    AGAIN_MS = 100,          /* after a proposal that failed for another reason than a race */
    LAST_ISR_AGAIN_MS = 1000 /* a round that misses an answer for so long begins anew */
};

static int64_t now_ms(const struct controller_driver *driver)
{
    return driver->node->clock->mono_ms(driver->node->clock);
}

/* ---- what it hears ---- */

struct message {
    struct mail mail;
    int32_t from;
    struct frame *frame;
};

static void on_frame(void *arg, int32_t from, enum channel channel, struct frame *frame)
{
    struct controller_driver *driver = arg;
    struct message *message = malloc(sizeof *message);
    (void)channel;
    if (message == NULL) { /* as if it had been lost: who sent it sends another */
        frame_free(frame);
        return;
    }
    *message = (struct message){.from = from, .frame = frame};
    mailbox_post(&driver->turns, &message->mail);
}

bool controller_driver_beat(struct controller_driver *driver, const struct heartbeat *beat,
                            struct heartbeat_answer *answer)
{
    pthread_mutex_lock(&driver->lock);
    bool answered = driver->controller.active;
    if (answered) {
        const struct metadata *meta = quorum_acquire(&driver->node->quorum);
        answered = controller_heartbeat(&driver->controller, meta, now_ms(driver), beat, answer);
        quorum_release(&driver->node->quorum);
    }
    pthread_mutex_unlock(&driver->lock);
    if (answered)
        mailbox_kick(&driver->turns);
    return answered;
}

void controller_driver_gone(struct controller_driver *driver, int32_t voter, int32_t node, uint64_t process)
{
    pthread_mutex_lock(&driver->lock);
    const struct metadata *meta = quorum_acquire(&driver->node->quorum);
    bool gone = controller_gone_vote(&driver->controller, meta, now_ms(driver), voter, node, process);
    quorum_release(&driver->node->quorum);
    pthread_mutex_unlock(&driver->lock);
    if (gone)
        mailbox_kick(&driver->turns);
}

static void take_beat(struct controller_driver *driver, int32_t from, const struct frame *frame)
{
    struct heartbeat_message msg;
    struct heartbeat_answer_message answer;
    uint8_t header[MEMBER_MESSAGE_BYTES];
    struct err e = {""};
    if (heartbeat_decode(frame->header, frame->header_bytes, &msg, &e) != 0) {
        log_line(LOG_WARNING, "node %d: %s", (int)from, e.text);
        return;
    }
    msg.beat.node = from;
    answer.number = msg.number;
    if (!controller_driver_beat(driver, &msg.beat, &answer.answer))
        return;
    size_t len = heartbeat_answer_encode(&answer, header);
    /* One that is lost is like a heartbeat that was: the next one comes soon. */
    (void)network_send(&driver->node->network, from, CHANNEL_CONTROL, MESSAGE_HEARTBEAT_ANSWER, header, len, NULL, 0);
}

static void take_gone(struct controller_driver *driver, int32_t from, const struct frame *frame)
{
    struct gone_message msg;
    struct err e = {""};
    if (gone_decode(frame->header, frame->header_bytes, &msg, &e) != 0)
        log_line(LOG_WARNING, "node %d: %s", (int)from, e.text);
    else
        controller_driver_gone(driver, from, msg.node, msg.process);
}

static void take_last_isr(struct controller_driver *driver, int32_t from, const struct last_isr_message *msg)
{
    pthread_mutex_lock(&driver->lock);
    last_isr_answer(&driver->last_isr, msg->round, from, msg->node_epoch, msg->found, msg->count);
    pthread_mutex_unlock(&driver->lock);
}

void controller_driver_last_isr(struct controller_driver *driver, int32_t from, const struct last_isr_message *msg)
{
    take_last_isr(driver, from, msg);
    mailbox_kick(&driver->turns);
}

static void take_last_isr_frame(struct controller_driver *driver, int32_t from, const struct frame *frame)
{
    struct err e = {""};
    struct last_isr_message *msg = malloc(sizeof *msg);
    if (msg == NULL)
        return; /* the round begins anew */
    if (last_isr_decode(frame->header, frame->header_bytes, msg, &e) != 0)
        log_line(LOG_WARNING, "node %d: %s", (int)from, e.text);
    else
        take_last_isr(driver, from, msg);
    free(msg);
}

static void take_message(struct controller_driver *driver, const struct message *message)
{
    switch (message->frame->kind) {
    case MESSAGE_HEARTBEAT:
        take_beat(driver, message->from, message->frame);
        break;
    case MESSAGE_GONE:
        take_gone(driver, message->from, message->frame);
        break;
    case MESSAGE_LAST_ISR_ANSWER:
        take_last_isr_frame(driver, message->from, message->frame);
        break;
    default:
        break;
    }
}

/* ---- the last ISRs ---- */

/* Asks one node, which may be this one. */
static void ask_node(struct controller_driver *driver, int32_t id, struct last_isr_message *msg)
{
    struct node *node = driver->node;
    uint8_t header[LAST_ISR_MESSAGE_BYTES];
    msg->node_epoch = -1;
    if (id != node->options.id) {
        size_t len = last_isr_encode(msg, header);
        (void)network_send(&node->network, id, CHANNEL_CONTROL, MESSAGE_LAST_ISR, header, len, NULL, 0);
        return;
    }
    own_logs_ask(&node->own_logs, id, msg);
}

/* Every member of the round that has not answered. */
static void ask(struct controller_driver *driver, struct last_isr_message *msg)
{
    int32_t ids[LIMIT_NODES];
    size_t count;
    const struct metadata *meta = quorum_acquire(&driver->node->quorum);
    for (count = 0; count < meta->node_count; count++)
        ids[count] = meta->nodes[count].id;
    quorum_release(&driver->node->quorum);
    for (size_t i = 0; i < count; i++) {
        pthread_mutex_lock(&driver->lock);
        msg->round = driver->last_isr.round;
        msg->count = last_isr_asks(&driver->last_isr, ids[i], msg->found);
        pthread_mutex_unlock(&driver->lock);
        if (msg->count > 0)
            ask_node(driver, ids[i], msg);
    }
}

/* Begins a round where one is due. Under the lock. */
static bool begin_round(struct controller_driver *driver, const struct metadata *meta)
{
    struct last_isr *asked = &driver->last_isr;
    bool due = now_ms(driver) - driver->last_isr_sent_ms >= LAST_ISR_AGAIN_MS;
    /* A member has not answered, or could not tell for want of room, which may be over. */
    if (due && (asked->count > 0 || asked->lost)) {
        driver->look_last_isr = true;
        if (last_isr_late(asked))
            return false;
        last_isr_restart(asked);
    }
    if (asked->count > 0 || !driver->look_last_isr)
        return false;
    driver->look_last_isr = last_isr_begin(asked, meta);
    driver->last_isr_sent_ms = now_ms(driver);
    return asked->count > 0;
}

static void ask_last_isrs(struct controller_driver *driver)
{
    bool begun = false;
    pthread_mutex_lock(&driver->lock);
    if (driver->controller.active && !driver->stopped && !driver->proposing) {
        begun = begin_round(driver, quorum_acquire(&driver->node->quorum));
        quorum_release(&driver->node->quorum);
    }
    pthread_mutex_unlock(&driver->lock);
    struct last_isr_message *msg = begun ? malloc(sizeof *msg) : NULL;
    if (msg != NULL)
        ask(driver, msg);
    free(msg);
}

/* ---- proposals ---- */

/* MOUNT's owner, modes and times are each node's own until they are decided: the first controller says those that it
 * has. */
static bool say_root(const struct controller_driver *driver, const struct metadata *meta, struct command *cmd)
{
    if (meta->root_said || !quorum_has_peers(&driver->node->quorum))
        return false;
    *cmd = (struct command){.type = COMMAND_SET_ATTR,
                            .attr = meta->root,
                            .set = ATTR_UID | ATTR_GID | ATTR_DIR_MODE | ATTR_FILE_MODE | COMMAND_ATTR_MTIME};
    return true;
}

/* The command that is due; as controller_next(). Under the lock. */
static int next(struct controller_driver *driver, const struct metadata *meta, struct command *cmd)
{
    int rc = 0;
    if (driver->last_isr.count > 0 && last_isr_complete(&driver->last_isr)) {
        rc = last_isr_end(&driver->last_isr, meta, cmd);
        if (driver->look_last_isr)
            mailbox_kick(&driver->turns);
    }
    if (rc == 0 && say_root(driver, meta, cmd))
        return 1;
    return rc != 0 ? rc : controller_next(&driver->controller, meta, now_ms(driver), cmd);
}

static void on_done(struct quorum_op *op, int rc);

/* Under the lock: when to look again, if nothing happens before. What is due while a command is under way waits for its
 * end; the time is looked at as long as there is anybody else. */
static void set_alarm(struct controller_driver *driver, const struct metadata *meta)
{
    int64_t deadline_ms = controller_deadline_ms(&driver->controller, meta);
    int64_t round_ms = driver->last_isr_sent_ms + LAST_ISR_AGAIN_MS;
    if ((driver->last_isr.count > 0 || driver->last_isr.lost) && round_ms < deadline_ms)
        deadline_ms = round_ms;
    if (driver->proposing)
        deadline_ms = INT64_MAX;
    if (driver->controller.count > 1 && driver->controller.tick_ms < deadline_ms)
        deadline_ms = driver->controller.tick_ms;
    if (deadline_ms != INT64_MAX)
        alarm_set(driver->node->executor, &driver->alarm, deadline_ms - now_ms(driver));
}

/* Nothing is under way that needs it. A command's end calls it, or a turn while none is under way. */
static void end_reserved(struct controller_driver *driver)
{
    if (driver->reserved)
        reserve_end(&driver->node->reserve);
    driver->reserved = false;
}

static void propose(struct controller_driver *driver)
{
    struct command cmd;
    int rc = 0;
    bool idle;
    pthread_mutex_lock(&driver->lock);
    if (driver->controller.active && !driver->stopped) {
        const struct metadata *meta = quorum_acquire(&driver->node->quorum);
        controller_tick(&driver->controller, now_ms(driver));
        if (!driver->proposing)
            rc = next(driver, meta, &cmd);
        driver->proposing |= rc == 1;
        if (rc != -ENOMEM)
            set_alarm(driver, meta);
        quorum_release(&driver->node->quorum);
    }
    idle = !driver->proposing;
    pthread_mutex_unlock(&driver->lock);
    if (idle)
        end_reserved(driver);
    if (rc == -ENOMEM)
        alarm_set(driver->node->executor, &driver->alarm, AGAIN_MS);
    if (rc != 1)
        return;
    cmd.time_ms = driver->node->clock->wall_ms(driver->node->clock);
    driver->op = (struct quorum_op){.timeout_ms = LIMIT_REGISTER_MS, .done = on_done};
    rc = quorum_submit(&driver->node->quorum, &driver->op, &cmd);
    command_free(&cmd);
    if (rc != 0)
        on_done(&driver->op, rc);
}

static bool lost_race(int rc)
{
    return rc == -EAGAIN || rc == -ESTALE || rc == -ENOENT;
}

/* Applied, or not: the next turn finds out what is to be done now. */
static void on_done(struct quorum_op *op, int rc)
{
    struct controller_driver *driver = CONTAINER_OF(op, struct controller_driver, op);
    struct reserve *reserve = &driver->node->reserve;
    bool again = rc == 0 || lost_race(rc);
    if (driver->reserved)
        end_reserved(driver);
    else if (reserve_begin(reserve, rc))
        driver->reserved = again = true;
    pthread_mutex_lock(&driver->lock);
    if (!again && !driver->stopped)
        log_line(LOG_WARNING, "controller: %s", op->e.text);
    driver->proposing = false;
    if (!again)
        driver->look_last_isr = true;
    pthread_mutex_unlock(&driver->lock);
    if (again)
        mailbox_kick(&driver->turns);
    else
        alarm_set(driver->node->executor, &driver->alarm, AGAIN_MS);
}

static void on_turn(struct mailbox *mailbox, struct mail *list)
{
    struct controller_driver *driver = CONTAINER_OF(mailbox, struct controller_driver, turns);
    while (list != NULL) {
        struct message *message = CONTAINER_OF(list, struct message, mail);
        list = list->next;
        take_message(driver, message);
        frame_free(message->frame);
        free(message);
    }
    ask_last_isrs(driver);
    propose(driver);
}

static void on_alarm(struct alarm *alarm)
{
    mailbox_kick(&CONTAINER_OF(alarm, struct controller_driver, alarm)->turns);
}

/* ---- what the quorum tells ---- */

void controller_driver_led(void *arg, bool leads)
{
    struct controller_driver *driver = arg;
    pthread_mutex_lock(&driver->lock);
    if (leads) {
        controller_begin(&driver->controller, quorum_acquire(&driver->node->quorum), now_ms(driver));
        quorum_release(&driver->node->quorum);
        driver->look_last_isr = true;
    } else {
        controller_end(&driver->controller);
    }
    last_isr_restart(&driver->last_isr);
    pthread_mutex_unlock(&driver->lock);
    mailbox_kick(&driver->turns);
}

void controller_driver_applied(struct controller_driver *driver, const struct command *cmd)
{
    bool nodes = cmd->type == COMMAND_REGISTER_NODE || cmd->type == COMMAND_CHANGE_NODE;
    pthread_mutex_lock(&driver->lock);
    bool active = driver->controller.active;
    if (active) {
        controller_applied(&driver->controller, quorum_acquire(&driver->node->quorum), cmd, now_ms(driver));
        quorum_release(&driver->node->quorum);
    }
    /* Whose disk has lost something may have answered before it did. */
    if (nodes)
        last_isr_restart(&driver->last_isr);
    driver->look_last_isr |= nodes || cmd->type == COMMAND_CHANGE_PARTITIONS || driver->controller.look;
    pthread_mutex_unlock(&driver->lock);
    if (active)
        mailbox_kick(&driver->turns);
}

/* ---- life ---- */

void controller_driver_init(struct controller_driver *driver, struct node *node, int64_t session_timeout_ms)
{
    driver->node = node;
    pthread_mutex_init(&driver->lock, NULL);
    mailbox_init(&driver->turns, node->executor, WORK_URGENT, on_turn);
    alarm_init(&driver->alarm, WORK_URGENT, on_alarm);
    controller_init(&driver->controller, node->options.id, session_timeout_ms);
    network_handle(&node->network, MESSAGE_HEARTBEAT, on_frame, driver);
    network_handle(&node->network, MESSAGE_GONE, on_frame, driver);
    network_handle(&node->network, MESSAGE_LAST_ISR_ANSWER, on_frame, driver);
}

void controller_driver_stop(struct controller_driver *driver)
{
    pthread_mutex_lock(&driver->lock);
    driver->stopped = true;
    pthread_mutex_unlock(&driver->lock);
}

void controller_driver_free(struct controller_driver *driver)
{
    struct mail *list = mailbox_free(&driver->turns);
    while (list != NULL) {
        struct message *message = CONTAINER_OF(list, struct message, mail);
        list = list->next;
        frame_free(message->frame);
        free(message);
    }
    pthread_mutex_destroy(&driver->lock);
}
