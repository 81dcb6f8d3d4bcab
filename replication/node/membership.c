/* replication/node/membership.c: one tick for all states; network events and answers are mail. */
#include "replication/node/membership.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/bugs.h"
#include "replication/node/node_internal.h"

enum {
    REGISTER_AGAIN_MS = 500,
    RESUME_AGAIN_MS = 100,
    /* Between heartbeats while somebody waits for what follows: a stop, or the end of a process that was seen. */
    HEARTBEAT_URGENT_MS = 50,
    LEAVE_MS = 10000,
    LEAVE_LOOK_MS = 10,
};

static int64_t now_ms(const struct membership *member)
{
    return member->node->clock->mono_ms(member->node->clock);
}

/* ---- mail ---- */

enum mail_kind { MAIL_FRAME, MAIL_UP, MAIL_GONE };

struct member_mail {
    struct mail mail;
    enum mail_kind kind;
    int32_t from;
    struct frame *frame;
    uint64_t process; /* UP; GONE: 0 is the one that was up */
};

/* Without memory it is lost, as a frame may be: fencing then takes a session. */
static void post(struct membership *member, enum mail_kind kind, int32_t from, struct frame *frame, uint64_t process)
{
    struct member_mail *mail = malloc(sizeof *mail);
    if (mail == NULL) {
        frame_free(frame);
        return;
    }
    *mail = (struct member_mail){.kind = kind, .from = from, .frame = frame, .process = process};
    mailbox_post(&member->turns, &mail->mail);
}

static void on_frame(void *arg, int32_t from, enum channel channel, struct frame *frame)
{
    (void)channel;
    post(arg, MAIL_FRAME, from, frame, 0);
}

static void on_up(void *arg, int32_t node, const struct hello *hello)
{
    post(arg, MAIL_UP, node, NULL, hello->process);
}

static void on_down(void *arg, int32_t node, bool goodbye)
{
    if (goodbye)
        post(arg, MAIL_GONE, node, NULL, 0);
}

static void on_dead(void *arg, int32_t node, uint64_t process)
{
    post(arg, MAIL_GONE, node, NULL, process);
}

/* ---- who has gone ---- */

/* The place of one that the cluster knows no more. */
static struct member_peer *place_of_retired(struct membership *member)
{
    struct member_peer *retired = NULL;
    const struct metadata *meta = quorum_acquire(&member->node->quorum);
    for (int i = 0; i < LIMIT_NODES && retired == NULL; i++) {
        if (metadata_node(meta, member->peers[i].node) == NULL)
            retired = &member->peers[i];
    }
    quorum_release(&member->node->quorum);
    return retired;
}

static struct member_peer *peer_of(struct membership *member, int32_t node)
{
    struct member_peer *unused = NULL;
    for (int i = 0; i < LIMIT_NODES; i++) {
        if (member->peers[i].node == node)
            return &member->peers[i];
        if (member->peers[i].node == 0 && unused == NULL)
            unused = &member->peers[i];
    }
    if (unused == NULL)
        unused = place_of_retired(member);
    if (unused != NULL)
        *unused = (struct member_peer){.node = node};
    return unused;
}

static void note_peer(struct membership *member, const struct member_mail *mail)
{
    struct member_peer *peer = peer_of(member, mail->from);
    if (peer == NULL)
        return;
    if (mail->kind == MAIL_UP) {
        const struct node_registration *known = metadata_node(quorum_acquire(&member->node->quorum), mail->from);
        *peer = (struct member_peer){.node = mail->from, .process = mail->process};
        if (known != NULL && known->process != mail->process)
            peer->replaced = known->process;
        quorum_release(&member->node->quorum);
    } else if (mail->process == 0 || mail->process == peer->process) {
        peer->gone = peer->process != 0;
    }
    member->next_ms = now_ms(member); /* the controller hears of it at once */
}

/* The process of that node's registration in force, if it was seen to have gone: it ended, or another one came after
 * it (REPLICATION.md, rule 47). 0: it was not. */
static uint64_t gone_process(const struct member_peer *peer, const struct node_registration *known)
{
    if (known == NULL || known->process == 0 || known->fenced)
        return 0;
    bool gone = known->process == peer->replaced || (known->process == peer->process && peer->gone);
    return gone ? known->process : 0;
}

/* Says whom this node found gone; returns whether there is anybody. */
static bool tell_gone(struct membership *member, int32_t controller)
{
    struct node *node = member->node;
    struct gone_message found[LIMIT_NODES];
    int count = 0;
    const struct metadata *meta = quorum_acquire(&node->quorum);
    for (int i = 0; i < LIMIT_NODES; i++) {
        const struct member_peer *peer = &member->peers[i];
        uint64_t process = peer->node != 0 ? gone_process(peer, metadata_node(meta, peer->node)) : 0;
        if (process != 0)
            found[count++] = (struct gone_message){.node = peer->node, .process = process};
    }
    quorum_release(&node->quorum);
    for (int i = 0; i < count; i++) {
        uint8_t header[MEMBER_MESSAGE_BYTES];
        size_t len = gone_encode(&found[i], header);
        if (controller == node->options.id)
            controller_driver_gone(&node->controller, node->options.id, found[i].node, found[i].process);
        else if (controller > 0)
            (void)network_send(&node->network, controller, CHANNEL_CONTROL, MESSAGE_GONE, header, len, NULL, 0);
    }
    return count > 0;
}

/* ---- heartbeats ---- */

/* Alone it decides whatever there is to decide, and nobody else can be elected. */
static bool is_alone(struct membership *member)
{
    return !quorum_has_peers(&member->node->quorum);
}

bool membership_has_lease(const struct membership *member)
{
    int64_t until_ms = atomic_load_explicit(&member->lease_until_ms, memory_order_acquire);
    return until_ms == INT64_MAX || now_ms(member) < until_ms;
}

/* What was held for want of a lease goes on; without memory, with a later tick. */
static void resume_all(struct membership *member)
{
    struct topic **topics;
    size_t count;
    int rc = catalog_list(&member->node->replicas.catalog, &topics, &count);
    atomic_store(&member->resume_due, rc != 0);
    if (rc != 0)
        return;
    for (size_t i = 0; i < count; i++) {
        topic_resume(topics[i]);
        topic_unref(topics[i]);
    }
    free(topics);
}

/* The one before it may run out meanwhile, for whoever looks: the clock is looked at behind that. */
static void set_lease(struct membership *member, int64_t until_ms)
{
    int64_t before_ms = atomic_exchange(&member->lease_until_ms, until_ms);
    if (now_ms(member) >= before_ms)
        resume_all(member);
}

static void take_answer(struct membership *member, int64_t sent_ms, const struct heartbeat_answer *answer)
{
    int64_t lease_ms = member->session_timeout_ms / 4 * 3;
    int state = atomic_load(&member->state);
    member->answered_ms = now_ms(member);
    if (!answer->known && state == MEMBER_IN) { /* it was taken for dead */
        atomic_store(&member->lease_until_ms, INT64_MIN);
        atomic_store(&member->node_epoch, -1);
        atomic_store(&member->state, MEMBER_NEW);
        member->next_ms = now_ms(member);
    }
    if (!answer->known)
        return;
    if (!answer->fenced && sent_ms + lease_ms > atomic_load(&member->lease_until_ms))
        set_lease(member, sent_ms + lease_ms);
    if (state == MEMBER_LEAVING && answer->may_stop)
        atomic_store(&member->state, MEMBER_LEFT);
}

static void take_answer_frame(struct membership *member, int32_t from, const struct frame *frame)
{
    struct heartbeat_answer_message msg;
    struct err e = {""};
    if (heartbeat_answer_decode(frame->header, frame->header_bytes, &msg, &e) != 0)
        log_line(LOG_WARNING, "node %d: %s", (int)from, e.text);
    else if (msg.number >= member->first_number && msg.number <= member->number &&
             member->number - msg.number < HEARTBEAT_NUMBERS)
        take_answer(member, BUG(lease_from_answer) ? now_ms(member) : member->sent_ms[msg.number % HEARTBEAT_NUMBERS],
                    &msg.answer);
}

static void beat(struct membership *member, int32_t controller)
{
    struct node *node = member->node;
    struct heartbeat_message msg = {.beat = {.node = node->options.id,
                                             .node_epoch = atomic_load(&member->node_epoch),
                                             .wants_stop = atomic_load(&member->state) == MEMBER_LEAVING}};
    struct heartbeat_answer answer;
    uint8_t header[MEMBER_MESSAGE_BYTES];
    msg.beat.applied_offset = atomic_load(&node->quorum.acted_offset);
    msg.beat.acted_count = atomic_load(&node->replicas.acted_count);
    msg.number = ++member->number;
    int64_t sent_ms = member->sent_ms[msg.number % HEARTBEAT_NUMBERS] = now_ms(member);
    if (controller == node->options.id) {
        /* What it tells itself is good for as long as a majority of the voters agrees that it leads. */
        int64_t majority_ms;
        bool leads = quorum_leads(&node->quorum, &majority_ms);
        if (leads && controller_driver_beat(&node->controller, &msg.beat, &answer))
            take_answer(member, majority_ms < sent_ms ? majority_ms : sent_ms, &answer);
        return;
    }
    size_t len = heartbeat_encode(&msg, header);
    if (controller > 0)
        (void)network_send(&node->network, controller, CHANNEL_CONTROL, MESSAGE_HEARTBEAT, header, len, NULL, 0);
}

/* ---- last ISRs ---- */

static void take_last_isr(struct membership *member, int32_t from, const struct frame *frame)
{
    struct err e = {""};
    struct last_isr_message *msg = malloc(sizeof *msg);
    if (msg == NULL)
        return; /* the controller asks again */
    if (last_isr_decode(frame->header, frame->header_bytes, msg, &e) != 0)
        log_line(LOG_WARNING, "node %d: %s", (int)from, e.text);
    else
        own_logs_ask(&member->node->own_logs, from, msg);
    free(msg);
}

/* ---- the registration ---- */

static void on_registered(struct quorum_op *op, int rc)
{
    struct membership *member = CONTAINER_OF(op, struct membership, op);
    member->rc = rc;
    atomic_store(&member->over, true);
    mailbox_kick(&member->turns);
}

/* Is this log, whose only replica is here, ahead of what the metadata says of its leader epochs? */
static bool is_ahead(struct node *node, const struct topic *topic, int32_t index,
                     const struct partition_registration *now, int32_t *epoch)
{
    struct partition *part = topic_partition((struct topic *)(uintptr_t)topic, index);
    if (part == NULL || !partition_is_open(part) || now->replicas.count != 1 ||
        now->replicas.ids[0] != node->options.id)
        return false;
    *epoch = log_latest_epoch(part->log);
    return *epoch > now->leader_epoch;
}

static void add_epoch(struct command *cmd, const struct metadata_topic *topic, int32_t index, int32_t epoch)
{
    struct partition_change *change = &cmd->changes[cmd->change_count++];
    *change = (struct partition_change){.index = index, .to = topic->parts[index]};
    memcpy(change->topic_id, topic->id, UUID_BYTES);
    change->to.leader_epoch = epoch + 1;
    change->to.partition_epoch++;
    for (int32_t i = 0; i < LIMIT_REPLICA_SET; i++)
        change->isr_epochs[i] = -1;
}

/* Versions that had no registrations of partitions let each log count its epochs by itself. Where one is ahead, the
 * next epoch is registered before anything is led. 1: *cmd is a command for some of them; 0: there are none; -ENOMEM.
 */
static int carry_epochs_over(struct membership *member, struct command *cmd)
{
    struct node *node = member->node;
    *cmd = (struct command){.type = COMMAND_CHANGE_PARTITIONS, .time_ms = node->clock->wall_ms(node->clock)};
    cmd->changes = calloc(LIMIT_COMMAND_CHANGES, sizeof *cmd->changes);
    if (cmd->changes == NULL)
        return -ENOMEM;
    const struct metadata *meta = quorum_acquire(&node->quorum);
    for (size_t i = 0; i < meta->topic_count; i++) {
        const struct metadata_topic *known = meta->topics[i];
        struct topic *topic = catalog_find(&node->replicas.catalog, known->name);
        int32_t epoch;
        for (int32_t p = 0; topic != NULL && p < known->partitions && cmd->change_count < LIMIT_COMMAND_CHANGES; p++) {
            if (is_ahead(node, topic, p, &known->parts[p], &epoch))
                add_epoch(cmd, known, p, epoch);
        }
        if (topic != NULL)
            topic_unref(topic);
    }
    quorum_release(&node->quorum);
    if (cmd->change_count > 0)
        return 1;
    command_free(cmd);
    return 0;
}

/* This node decides whatever there is to decide, though others may be there, or have been. */
static bool decides_alone(struct membership *member)
{
    struct raft_voters voters;
    quorum_voters(&member->node->quorum, &voters);
    return voters.count == 1 && quorum_leads(&member->node->quorum, NULL);
}

/* Who decides alone knows all that its registration needs it to know, and need not be fenced for a moment. After
 * `quorum.recover` it must not be: it would be put out of the ISRs for the sake of those that are lost for good. */
static void submit_registration(struct membership *member)
{
    struct node *node = member->node;
    bool alone = is_alone(member);
    struct command cmd = {.type = COMMAND_REGISTER_NODE,
                          .registration = {.id = node->options.id,
                                           .epoch = -1,
                                           .incarnation = node->identity.incarnation,
                                           .renewed = node->identity.renewed,
                                           .process = node->process,
                                           .feature_level = FEATURE_LEVEL,
                                           .fenced = !alone && !decides_alone(member),
                                           .unclean = member->unclean},
                          .time_ms = node->clock->wall_ms(node->clock)};
    struct command epochs;
    int rc = alone && atomic_load(&member->node_epoch) < 0 ? carry_epochs_over(member, &epochs) : 0;
    member->carrying = rc == 1;
    cmd.registration.port = node->port;
    strncpy(cmd.registration.host, node->host, sizeof cmd.registration.host - 1);
    member->op = (struct quorum_op){.timeout_ms = LIMIT_REGISTER_MS, .done = on_registered};
    atomic_store(&member->over, false);
    atomic_store(&member->state, MEMBER_REGISTERING);
    if (rc >= 0)
        rc = quorum_submit(&node->quorum, &member->op, member->carrying ? &epochs : &cmd);
    if (member->carrying)
        command_free(&epochs);
    if (rc != 0)
        on_registered(&member->op, rc);
}

/* Its op is over. */
static void registered(struct membership *member)
{
    struct reserve *reserve = &member->node->reserve;
    bool again = false;
    if (member->reserved)
        reserve_end(reserve);
    else
        again = reserve_begin(reserve, member->rc);
    member->reserved = again;
    if (again) {
        submit_registration(member);
        return;
    }
    if (member->carrying && member->rc == 0) {
        submit_registration(member); /* of what is left, or at last of this node */
        return;
    }
    atomic_store(&member->state, MEMBER_NEW);
    member->next_ms = now_ms(member) + REGISTER_AGAIN_MS;
}

/* Its registration was applied: by its op, or after that had given up. */
static void enter(struct membership *member)
{
    atomic_store(&member->state, MEMBER_IN);
    member->unclean = false; /* what this process has it does not lose by registering again */
    member->next_ms = now_ms(member);
    member->first_number = member->number + 1;
}

void membership_applied(struct membership *member, const struct command *cmd)
{
    const struct node_registration *registration = &cmd->registration;
    struct node *node = member->node;
    bool own = registration->id == node->options.id;
    if (cmd->type != COMMAND_REGISTER_NODE && cmd->type != COMMAND_SET_VOTERS &&
        (cmd->type != COMMAND_CHANGE_NODE || !own))
        return;
    /* Not fenced any more, it may lead, and needs a lease. */
    if (cmd->type == COMMAND_CHANGE_NODE)
        atomic_store(&member->beat_now, true);
    if (cmd->type == COMMAND_REGISTER_NODE && own && registration->process == node->process) {
        atomic_store(&member->node_epoch, metadata_node(quorum_acquire(&node->quorum), node->options.id)->epoch);
        quorum_release(&node->quorum);
        atomic_store(&member->registered, true);
    }
    mailbox_kick(&member->turns);
}

/* ---- the tick ---- */

/* Heartbeats, and when the next is due. */
static void tick_member(struct membership *member)
{
    struct node *node = member->node;
    int32_t controller = quorum_leader(&node->quorum);
    bool alone = is_alone(member), leaving = atomic_load(&member->state) == MEMBER_LEAVING;
    int64_t lease_ms = atomic_load(&member->lease_until_ms);
    if (alone && lease_ms != INT64_MAX)
        set_lease(member, INT64_MAX);
    else if (!alone && lease_ms == INT64_MAX) /* it has company from now on */
        atomic_store(&member->lease_until_ms, now_ms(member) + member->session_timeout_ms / 4 * 3);
    if (!atomic_exchange(&member->beat_now, false) && now_ms(member) < member->next_ms)
        return;
    beat(member, controller);
    /* Without a lease since it registered: the controller is behind this node, or has not let it in yet. */
    bool urgent = tell_gone(member, controller) || leaving || atomic_load(&member->lease_until_ms) == INT64_MIN;
    member->next_ms = alone && !urgent ? INT64_MAX : now_ms(member) + (urgent ? HEARTBEAT_URGENT_MS : HEARTBEAT_MS);
}

static void tick(struct membership *member)
{
    switch (atomic_load(&member->state)) {
    case MEMBER_NEW:
        if (atomic_load(&member->node_epoch) >= 0)
            enter(member);
        else if (now_ms(member) >= member->next_ms && !atomic_load(&member->leaving))
            submit_registration(member);
        break;
    case MEMBER_REGISTERING:
        if (atomic_load(&member->over))
            registered(member);
        if (atomic_load(&member->state) == MEMBER_NEW && atomic_load(&member->node_epoch) >= 0)
            enter(member);
        break;
    case MEMBER_IN:
        if (atomic_load(&member->leaving)) {
            atomic_store(&member->state, MEMBER_LEAVING);
            member->next_ms = member->answered_ms = now_ms(member);
        }
        break;
    case MEMBER_LEAVING:
    case MEMBER_LEFT:
        break;
    }
    int state = atomic_load(&member->state);
    if (state == MEMBER_IN || state == MEMBER_LEAVING)
        tick_member(member);
    if (state == MEMBER_LEAVING && now_ms(member) - member->answered_ms >= member->session_timeout_ms)
        atomic_store(&member->state, MEMBER_LEFT);
    if (atomic_load(&member->resume_due))
        resume_all(member);
    if (atomic_load(&member->resume_due))
        alarm_set(member->node->executor, &member->alarm, RESUME_AGAIN_MS);
    else if (state != MEMBER_REGISTERING && state != MEMBER_LEFT && member->next_ms != INT64_MAX)
        alarm_set(member->node->executor, &member->alarm, member->next_ms - now_ms(member));
}

static void free_mail(struct member_mail *mail)
{
    frame_free(mail->frame);
    free(mail);
}

static void take_mail(struct membership *member, const struct member_mail *mail)
{
    if (mail->kind != MAIL_FRAME)
        note_peer(member, mail);
    else if (mail->frame->kind == MESSAGE_HEARTBEAT_ANSWER)
        take_answer_frame(member, mail->from, mail->frame);
    else if (mail->frame->kind == MESSAGE_LAST_ISR)
        take_last_isr(member, mail->from, mail->frame);
}

static void on_turn(struct mailbox *mailbox, struct mail *list)
{
    struct membership *member = CONTAINER_OF(mailbox, struct membership, turns);
    while (list != NULL) {
        struct member_mail *mail = CONTAINER_OF(list, struct member_mail, mail);
        list = list->next;
        take_mail(member, mail);
        free_mail(mail);
    }
    tick(member);
}

static void on_alarm(struct alarm *alarm)
{
    mailbox_kick(&CONTAINER_OF(alarm, struct membership, alarm)->turns);
}

/* ---- life ---- */

void membership_init(struct membership *member, struct node *node, int64_t session_timeout_ms)
{
    member->node = node;
    member->session_timeout_ms = session_timeout_ms;
    atomic_store(&member->node_epoch, -1);
    atomic_store(&member->lease_until_ms, INT64_MIN);
    atomic_store(&member->state, MEMBER_LEFT); /* until it is started */
    mailbox_init(&member->turns, node->executor, WORK_URGENT, on_turn);
    alarm_init(&member->alarm, WORK_URGENT, on_alarm);
    member->listener = (struct network_listener){.up = on_up, .down = on_down, .dead = on_dead, .arg = member};
    network_listen(&node->network, &member->listener);
    network_handle(&node->network, MESSAGE_HEARTBEAT_ANSWER, on_frame, member);
    network_handle(&node->network, MESSAGE_LAST_ISR, on_frame, member);
}

void membership_free(struct membership *member)
{
    struct mail *list = mailbox_free(&member->turns);
    while (list != NULL) {
        struct member_mail *mail = CONTAINER_OF(list, struct member_mail, mail);
        list = list->next;
        free_mail(mail);
    }
}

int membership_start(struct membership *member, bool unclean, struct err *e)
{
    struct node *node = member->node;
    bool known = metadata_node(quorum_acquire(&node->quorum), node->options.id) != NULL;
    quorum_release(&node->quorum);
    member->unclean = unclean;
    member->next_ms = now_ms(member);
    atomic_store(&member->state, MEMBER_NEW);
    mailbox_kick(&member->turns);
    if (!is_alone(member))
        return 0;
    set_lease(member, INT64_MAX);
    executor_settle(node->executor); /* nothing else is under way yet */
    while (atomic_load(&member->state) == MEMBER_REGISTERING)
        executor_pause(node->executor, LIMIT_DECIDE_AGAIN_MS);
    executor_settle(node->executor);
    if (atomic_load(&member->state) == MEMBER_IN)
        return 0;
    if (known && err_is_full_disk(member->rc)) {
        node_apply_registrations(node, 0); /* what is only here it leads all the same */
        return 0;
    }
    return err_set(e, member->rc, "register node %d: %s", (int)node->options.id, member->op.e.text);
}

/* Nobody could take over what this node leads, or be told to. */
static bool is_last(struct membership *member)
{
    struct node *node = member->node;
    const struct metadata *meta = quorum_acquire(&node->quorum);
    bool last = true;
    for (size_t i = 0; i < meta->node_count; i++) {
        last &= meta->nodes[i].id == node->options.id || meta->nodes[i].fenced ||
                !network_up(&node->network, meta->nodes[i].id);
    }
    quorum_release(&node->quorum);
    return last;
}

void membership_stop(struct membership *member)
{
    if (atomic_load(&member->state) == MEMBER_REGISTERING && !atomic_load(&member->over))
        (void)quorum_cancel(&member->node->quorum, &member->op);
    if (member->reserved)
        reserve_end(&member->node->reserve);
}

void membership_leave(struct membership *member)
{
    struct executor *executor = member->node->executor;
    if (atomic_load(&member->state) != MEMBER_IN || is_last(member))
        return;
    atomic_store(&member->leaving, true);
    mailbox_kick(&member->turns);
    for (int waited_ms = 0; waited_ms < LEAVE_MS && atomic_load(&member->state) != MEMBER_LEFT;
         waited_ms += LEAVE_LOOK_MS) {
        if (is_last(member))
            return;
        executor_pause(executor, LEAVE_LOOK_MS);
    }
}
