/* replication/executor/mailbox.c: a list under a lock, and the work that takes it. */
#include "replication/executor/mailbox.h"

#include <assert.h>

#include "engine/base/container.h"

static void run_turn(struct work *work)
{
    struct mailbox *mailbox = CONTAINER_OF(work, struct mailbox, work);
    pthread_mutex_lock(&mailbox->lock);
    struct mail *list = mailbox->first;
    mailbox->first = NULL;
    mailbox->last = &mailbox->first;
    mailbox->kicked = false;
    pthread_mutex_unlock(&mailbox->lock);

    mailbox->take(mailbox, list);

    pthread_mutex_lock(&mailbox->lock);
    mailbox->busy = mailbox->first != NULL || mailbox->kicked;
    bool again = mailbox->busy;
    /* Under the lock, so that whoever finds it not busy may free it. */
    if (again)
        mailbox->executor->submit(mailbox->executor, mailbox->kind, &mailbox->work);
    pthread_mutex_unlock(&mailbox->lock);
}

void mailbox_init(struct mailbox *mailbox, struct executor *executor, enum work_kind kind,
                  void (*take)(struct mailbox *mailbox, struct mail *list))
{
    *mailbox = (struct mailbox){.executor = executor, .kind = kind, .take = take, .work = {.run = run_turn}};
    mailbox->last = &mailbox->first;
    pthread_mutex_init(&mailbox->lock, NULL);
}

struct mail *mailbox_free(struct mailbox *mailbox)
{
    assert(!mailbox->busy);
    pthread_mutex_destroy(&mailbox->lock);
    return mailbox->first;
}

/* Under the lock. */
static void want_turn(struct mailbox *mailbox)
{
    if (mailbox->busy)
        return;
    mailbox->busy = true;
    mailbox->executor->submit(mailbox->executor, mailbox->kind, &mailbox->work);
}

void mailbox_post(struct mailbox *mailbox, struct mail *mail)
{
    mail->next = NULL;
    pthread_mutex_lock(&mailbox->lock);
    *mailbox->last = mail;
    mailbox->last = &mail->next;
    want_turn(mailbox);
    pthread_mutex_unlock(&mailbox->lock);
}

void mailbox_kick(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    mailbox->kicked = true;
    want_turn(mailbox);
    pthread_mutex_unlock(&mailbox->lock);
}
