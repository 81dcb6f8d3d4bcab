/* replication/executor/mailbox.c: a list under a lock, and the work that takes it. */
#include "replication/executor/mailbox.h"

#include <assert.h>

#include "engine/base/container.h"

/* Who has made it busy, which it is until that turn is over: nobody frees it before, and nothing of it is touched
 * behind this. Not under the lock, which the turn begins with. */
static void submit(struct mailbox *mailbox)
{
    mailbox->executor->submit(mailbox->executor, mailbox->kind, &mailbox->work);
}

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
    pthread_mutex_unlock(&mailbox->lock);
    if (again)
        submit(mailbox);
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

/* Gives the lock back. */
static void want_turn(struct mailbox *mailbox)
{
    bool begins = !mailbox->busy;
    mailbox->busy = true;
    pthread_mutex_unlock(&mailbox->lock);
    if (begins)
        submit(mailbox);
}

void mailbox_post(struct mailbox *mailbox, struct mail *mail)
{
    mail->next = NULL;
    pthread_mutex_lock(&mailbox->lock);
    *mailbox->last = mail;
    mailbox->last = &mail->next;
    want_turn(mailbox);
}

void mailbox_kick(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    mailbox->kicked = true;
    want_turn(mailbox);
}
