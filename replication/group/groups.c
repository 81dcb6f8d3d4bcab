/* replication/group/groups.c: the room's mailbox, its turns, and its alarm. */
#include "replication/group/groups.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "engine/base/container.h"
#include "replication/group/groups_internal.h"

int32_t group_index(const char *name)
{
    uint32_t hash = 0;

    for (; *name != '\0'; name++)
        hash = hash * 31 + (unsigned char)*name;
    return (int32_t)((hash & 0x7fffffff) % LIMIT_OFFSETS_PARTITIONS);
}

/* ---- mail ---- */

enum group_event { EVENT_FRAME, EVENT_DOWN };

struct group_mail {
    struct mail mail;
    enum group_event event;
    int32_t from;
    struct frame *frame;
};

/* Without memory it is lost, as a frame may be: the alarm looks again. */
static void post(struct groups *groups, enum group_event event, int32_t from, struct frame *frame)
{
    struct group_mail *mail = malloc(sizeof *mail);

    if (mail == NULL) {
        frame_free(frame);
        return;
    }
    *mail = (struct group_mail){.event = event, .from = from, .frame = frame};
    mailbox_post(&groups->mailbox, &mail->mail);
}

static void on_frame(void *arg, int32_t from, enum channel channel, struct frame *frame)
{
    (void)channel;
    post(arg, EVENT_FRAME, from, frame);
}

static void on_up(void *arg, int32_t node, const struct hello *hello)
{
    (void)hello;
    post(arg, EVENT_DOWN, node, NULL); /* what was sent before this may be lost */
}

static void on_down(void *arg, int32_t node, bool goodbye)
{
    (void)goodbye;
    post(arg, EVENT_DOWN, node, NULL);
}

static void on_alarm(struct alarm *alarm)
{
    struct groups *groups = CONTAINER_OF(alarm, struct groups, alarm);

    pthread_mutex_lock(&groups->lock);
    groups->alarm_ms = INT64_MAX;
    pthread_mutex_unlock(&groups->lock);
    mailbox_kick(&groups->mailbox);
}

void groups_wake_at(struct groups *groups, int64_t at_ms)
{
    int64_t now_ms = groups_now_ms(groups);

    if (at_ms == INT64_MAX)
        return;
    pthread_mutex_lock(&groups->lock);
    if (at_ms < groups->alarm_ms) {
        groups->alarm_ms = at_ms;
        alarm_set(groups->env.executor, &groups->alarm, at_ms > now_ms ? at_ms - now_ms : 0);
    }
    pthread_mutex_unlock(&groups->lock);
}

void groups_changed(struct groups *groups)
{
    atomic_store(&groups->look, true);
    mailbox_kick(&groups->mailbox);
}

/* ---- frames ---- */

static int take_requests(struct groups *groups, int32_t from, uint64_t process, const struct frame *frame,
                         struct err *e)
{
    size_t at = 0, used;
    struct group_item item;

    while (at < frame->body_bytes) {
        int rc = group_item_decode(frame->body + at, frame->body_bytes - at, &used, &item, e);
        if (rc != 0)
            return rc;
        at += used;
        seat_take(&groups->seats[item.index], from, process, &item);
    }
    return 0;
}

static int take_answers(struct groups *groups, int32_t from, const struct frame *frame, struct err *e)
{
    size_t at = 0, used;
    struct group_told told;

    while (at < frame->body_bytes) {
        int rc = group_told_decode(frame->body + at, frame->body_bytes - at, &used, &told, e);
        if (rc != 0)
            return rc;
        at += used;
        groups->unanswered &= ~(UINT64_C(1) << told.index);
        if (told.kind == GROUP_TOLD_HEARD && from == groups->leaders[told.index])
            members_heard(groups, told.index, told.version, told.outcome == GROUP_OUTCOME_OK);
        else if (told.kind == GROUP_TOLD_SHARES || (told.kind == GROUP_TOLD_RESULT && !ops_told(groups, &told)))
            members_told(groups, from, &told);
        group_told_free(&told);
    }
    return 0;
}

static void take_frame(struct groups *groups, int32_t from, const struct frame *frame)
{
    struct err e = {""};
    uint64_t process;
    int rc = group_head_decode(frame->header, frame->header_bytes, &process, &e);

    if (rc == 0 && frame->kind == MESSAGE_GROUP_REQUEST)
        rc = take_requests(groups, from, process, frame, &e);
    else if (rc == 0 && process == groups->env.process) /* else of an earlier process of this node */
        rc = take_answers(groups, from, frame, &e);
    if (rc != -EBADMSG)
        return;
    log_line(LOG_WARNING, "node %d: %s", (int)from, e.text);
    network_drop(groups->env.network, from);
}

/* ---- turns ---- */

static void look_at_leaders(struct groups *groups)
{
    struct group_env *env = &groups->env;

    for (int32_t i = 0; i < LIMIT_OFFSETS_PARTITIONS; i++) {
        struct partition_info info = {0};
        struct partition *part = env->offsets(env->facts.arg, i);
        if (part != NULL) {
            partition_info(part, &info);
            partition_unref(part);
        }
        if (info.leader > 0 && info.leader != groups->leaders[i])
            groups->unanswered &= ~(UINT64_C(1) << i);
        groups->leaders[i] = info.leader > 0 ? info.leader : 0;
        groups->answers_beats[i] = info.leader > 0 && env->answers_beats(env->facts.arg, info.leader);
        seat_look(&groups->seats[i]);
    }
}

static void on_turn(struct mailbox *mailbox, struct mail *list)
{
    struct groups *groups = CONTAINER_OF(mailbox, struct groups, mailbox);
    bool stopping = atomic_load(&groups->stopping);

    groups->now_ms = groups_now_ms(groups);
    groups->next_ms = INT64_MAX;
    if (!stopping && atomic_exchange(&groups->look, false)) {
        look_at_leaders(groups);
        members_look(groups, 0);
    }
    while (list != NULL) {
        struct group_mail *mail = CONTAINER_OF(list, struct group_mail, mail);
        list = list->next;
        if (!stopping && mail->event == EVENT_FRAME)
            take_frame(groups, mail->from, mail->frame);
        else if (!stopping)
            members_look(groups, mail->from);
        frame_free(mail->frame);
        free(mail);
    }
    if (stopping) {
        ops_end_all(groups, -EROFS);
        members_end_ops(groups, -EROFS);
        members_call(groups);
        return;
    }
    for (int32_t i = 0; i < LIMIT_OFFSETS_PARTITIONS; i++)
        seat_run(&groups->seats[i]);
    members_tick(groups);
    members_send(groups);
    ops_send(groups);
    outbox_send(&groups->answers, &groups->env, MESSAGE_GROUP_ANSWER);
    outbox_send(&groups->requests, &groups->env, MESSAGE_GROUP_REQUEST);
    members_call(groups);
    groups_wake_at(groups, groups->next_ms);
}

/* ---- life ---- */

enum { VERSION_BITS = 16 }; /* so many versions a millisecond */

/* The kernel takes any bytes for a host's name; messages and records take printable ones. */
static void name_host(char host[GROUP_HOST_BYTES])
{
    if (gethostname(host, GROUP_HOST_BYTES) != 0)
        host[0] = '\0';
    host[GROUP_HOST_BYTES - 1] = '\0';
    for (char *at = host; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~')
            *at = '?';
    }
}

struct groups *groups_new(const struct group_env *env)
{
    struct groups *groups = calloc(1, sizeof *groups);

    if (groups == NULL)
        return NULL;
    groups->env = *env;
    name_host(groups->host);
    groups->alarm_ms = INT64_MAX;
    /* Above those of an earlier process, should this one lead in the same epoch. */
    groups->versions = env->clock->wall_ms(env->clock) << VERSION_BITS;
    pthread_mutex_init(&groups->lock, NULL);
    alarm_init(&groups->alarm, WORK_PROMPT, on_alarm);
    mailbox_init(&groups->mailbox, env->executor, WORK_PROMPT, on_turn);
    for (int32_t i = 0; i < LIMIT_OFFSETS_PARTITIONS; i++)
        seat_init(&groups->seats[i], groups, i);
    groups->listener = (struct network_listener){.up = on_up, .down = on_down, .arg = groups};
    network_listen(env->network, &groups->listener);
    network_handle(env->network, MESSAGE_GROUP_REQUEST, on_frame, groups);
    network_handle(env->network, MESSAGE_GROUP_ANSWER, on_frame, groups);
    return groups;
}

void groups_stop(struct groups *groups)
{
    enum { LOOK_MS = 2 };

    if (groups == NULL)
        return;
    for (int64_t left_ms = LIMIT_GROUP_LEAVE_MS; left_ms > 0 && atomic_load(&groups->member_count) > 0;
         left_ms -= LOOK_MS)
        executor_pause(groups->env.executor, LOOK_MS);
    atomic_store(&groups->stopping, true);
    mailbox_kick(&groups->mailbox);
}

void groups_free(struct groups *groups)
{
    if (groups == NULL)
        return;
    for (int32_t i = 0; i < LIMIT_OFFSETS_PARTITIONS; i++)
        seat_free(&groups->seats[i]);
    members_free(groups);
    remembered_free(&groups->remembered);
    outbox_drop(&groups->requests);
    outbox_drop(&groups->answers);
    struct mail *list = mailbox_free(&groups->mailbox);
    assert(list == NULL);
    pthread_mutex_destroy(&groups->lock);
    free(groups);
}

void group_metrics(struct groups *groups, struct group_metrics *out)
{
    *out = (struct group_metrics){.members = atomic_load(&groups->member_count),
                                  .coordinated = atomic_load(&groups->coordinated),
                                  .commits = atomic_load(&groups->commits),
                                  .fenced = atomic_load(&groups->fenced),
                                  .handovers = atomic_load(&groups->handovers),
                                  .loads = atomic_load(&groups->loads)};
}

int32_t group_coordinator(struct groups *groups, const char *group)
{
    struct group_env *env = &groups->env;
    struct partition_info info = {0};
    struct partition *part = env->offsets(env->facts.arg, group_index(group));

    if (part != NULL) {
        partition_info(part, &info);
        partition_unref(part);
    }
    return info.leader > 0 ? info.leader : 0;
}
