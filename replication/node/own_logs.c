/* replication/node/own_logs.c: each question is a work with a copy of it. */
#include "replication/node/own_logs.h"

#include <stdlib.h>
#include <string.h>

#include "replication/node/node_internal.h"

struct question {
    struct work work;
    struct own_logs *logs;
    int32_t from;
    struct last_isr_message msg; /* and the answer */
};

static void look_into_log(struct node *node, const char *topic_name, struct last_isr_found *found)
{
    struct topic *topic = catalog_find(&node->replicas.catalog, topic_name);
    struct partition *part = topic != NULL ? topic_partition(topic, found->index) : NULL;
    if (part != NULL && partition_reach(part, NULL) == 0 && partition_is_open(part) && log_offline(part->log) == 0) {
        int32_t epoch = log_latest_epoch(part->log);
        found->epoch = epoch > 0 ? epoch : 0;
        found->end_offset = log_end(part->log).offset;
    }
    if (topic != NULL)
        topic_unref(topic);
}

/* false: it cannot say yet. */
static bool look(struct node *node, struct last_isr_message *msg)
{
    msg->node_epoch = atomic_load(&node->membership.node_epoch);
    if (msg->node_epoch < 0)
        return false;
    for (int32_t i = 0; i < msg->count; i++) {
        char name[TOPIC_NAME_BYTES] = "";
        const struct metadata_topic *topic =
            metadata_topic_by_id(quorum_acquire(&node->quorum), msg->found[i].topic_id);
        if (topic != NULL)
            memcpy(name, topic->name, sizeof name);
        quorum_release(&node->quorum);
        msg->found[i].epoch = -1;
        msg->found[i].end_offset = -1;
        if (name[0] != '\0')
            look_into_log(node, name, &msg->found[i]);
    }
    return true;
}

static void answer(struct node *node, int32_t to, const struct last_isr_message *msg)
{
    uint8_t header[LAST_ISR_MESSAGE_BYTES];
    if (to == node->options.id) {
        controller_driver_last_isr(&node->controller, to, msg);
        return;
    }
    size_t len = last_isr_encode(msg, header);
    (void)network_send(&node->network, to, CHANNEL_CONTROL, MESSAGE_LAST_ISR_ANSWER, header, len, NULL, 0);
}

static void on_work(struct work *work)
{
    struct question *question = CONTAINER_OF(work, struct question, work);
    struct own_logs *logs = question->logs;
    if (look(logs->node, &question->msg))
        answer(logs->node, question->from, &question->msg);
    free(question);
    atomic_store(&logs->busy, false);
}

void own_logs_init(struct own_logs *logs, struct node *node)
{
    logs->node = node;
}

void own_logs_ask(struct own_logs *logs, int32_t from, const struct last_isr_message *msg)
{
    struct question *question;
    if (atomic_exchange(&logs->busy, true))
        return;
    question = malloc(sizeof *question);
    if (question == NULL) {
        atomic_store(&logs->busy, false);
        return;
    }
    question->work = (struct work){.run = on_work};
    question->logs = logs;
    question->from = from;
    question->msg = *msg;
    executor_prompt(logs->node->executor, &question->work);
}
