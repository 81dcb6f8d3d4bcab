/* replication/replica/deleter.c: a round: every partition that asked promises its new log start, one checkpoint says
 * all of them, and once that is on the disk each log hides and deletes. What fails at the checkpoint has changed
 * nothing, for anybody. On a full disk the round falls back on the reserve. */
#include "replication/replica/deleter.h"

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"

static struct partition *take_all(struct deleter *deleter)
{
    pthread_mutex_lock(&deleter->lock);
    struct partition *first = deleter->first;
    deleter->first = NULL;
    deleter->last = &deleter->first;
    pthread_mutex_unlock(&deleter->lock);
    return first;
}

/* Deletes what is promised. Returns 0 or a failure, that of a full disk if there is one. */
static int delete_all(struct replica_manager *manager, struct partition *first)
{
    struct err e = {0};
    int rc = checkpoints_write(manager, CHECKPOINT_LOG_START, &e), worst_rc = rc;
    for (struct partition *part = first; part != NULL; part = part->deletes.next) {
        int part_rc = partition_delete_checkpointed(part, rc, &e);
        if (worst_rc == 0 || err_is_full_disk(part_rc))
            worst_rc = part_rc;
    }
    return worst_rc;
}

static void run_round(struct replica_manager *manager, struct partition *first)
{
    for (struct partition *part = first; part != NULL; part = part->deletes.next)
        partition_delete_begin(part);
    int rc = delete_all(manager, first);
    bool full = reserve_begin(manager->reserve, rc);
    if (full)
        rc = delete_all(manager, first);
    for (struct partition *part = first; part != NULL; part = part->deletes.next)
        partition_delete_settle(part);
    if (rc != 0) /* it may say what was promised and not done */
        (void)checkpoints_write(manager, CHECKPOINT_LOG_START, NULL);
    if (full)
        reserve_end(manager->reserve);
}

static void on_work(struct work *work)
{
    struct deleter *deleter = CONTAINER_OF(work, struct deleter, work);
    struct partition *part = take_all(deleter);
    run_round(deleter->manager, part);
    while (part != NULL) {
        struct partition *next = part->deletes.next;
        partition_delete_end(part);
        part = next;
    }
    pthread_mutex_lock(&deleter->lock);
    deleter->busy = deleter->first != NULL;
    bool again = deleter->busy;
    pthread_mutex_unlock(&deleter->lock);
    if (again)
        executor_prompt(deleter->manager->executor, work);
}

void deleter_init(struct deleter *deleter, struct replica_manager *manager)
{
    *deleter = (struct deleter){.manager = manager, .work = {.run = on_work}};
    deleter->last = &deleter->first;
    pthread_mutex_init(&deleter->lock, NULL);
}

void deleter_free(struct deleter *deleter)
{
    pthread_mutex_destroy(&deleter->lock);
}

void deleter_request(struct deleter *deleter, struct partition *part)
{
    part->deletes.next = NULL;
    partition_ref(part);
    pthread_mutex_lock(&deleter->lock);
    *deleter->last = part;
    deleter->last = &part->deletes.next;
    bool first = !deleter->busy;
    deleter->busy = true;
    pthread_mutex_unlock(&deleter->lock);
    if (first)
        executor_prompt(deleter->manager->executor, &deleter->work);
}
