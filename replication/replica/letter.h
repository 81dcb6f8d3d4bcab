/* replication/replica/letter.h: what the network's thread puts into the mailboxes of sessions and fetchers. */
#ifndef LOGMNT_REPLICATION_REPLICA_LETTER_H
#define LOGMNT_REPLICATION_REPLICA_LETTER_H

#include <errno.h>
#include <stdlib.h>

#include "engine/base/container.h"
#include "replication/executor/mailbox.h"
#include "replication/wire/frame.h"

struct letter {
    struct mail mail;
    enum letter_kind { LETTER_UP, LETTER_FRAME } kind;
    struct frame *frame; /* FRAME; the letter's */
};

/* Posts one. -ENOMEM: the frame is still the caller's. */
static inline int letter_post(struct mailbox *box, enum letter_kind kind, struct frame *frame)
{
    struct letter *letter = malloc(sizeof *letter);
    if (letter == NULL)
        return -ENOMEM;
    *letter = (struct letter){.kind = kind, .frame = frame};
    mailbox_post(box, &letter->mail);
    return 0;
}

/* Takes the next one off a turn's list. NULL: that was all. */
static inline struct letter *letter_take(struct mail **list)
{
    struct mail *mail = *list;
    if (mail == NULL)
        return NULL;
    *list = mail->next;
    return CONTAINER_OF(mail, struct letter, mail);
}

static inline void letter_free(struct letter *letter)
{
    if (letter != NULL)
        frame_free(letter->frame);
    free(letter);
}

#endif
