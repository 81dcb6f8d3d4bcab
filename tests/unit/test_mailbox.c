/* A mailbox over the threads of a daemon: all mail, once, in order, one turn at a time. */
#include "replication/executor/mailbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "engine/base/container.h"
#include "replication/executor/executor_uv.h"

enum { SENDERS = 4, LETTERS = 20000 };

struct letter {
    struct mail mail;
    int sender, number;
};

static struct letter letters[SENDERS][LETTERS];
static struct mailbox mailbox;
static _Atomic int turns_at_once;
static int next_number[SENDERS], empty_turns;
static bool in_order = true;

static void on_turn(struct mailbox *box, struct mail *list)
{
    (void)box;
    if (atomic_fetch_add(&turns_at_once, 1) != 0)
        in_order = false;
    empty_turns += list == NULL;
    while (list != NULL) {
        struct letter *letter = CONTAINER_OF(list, struct letter, mail);
        list = list->next;
        if (next_number[letter->sender]++ != letter->number)
            in_order = false;
    }
    atomic_fetch_sub(&turns_at_once, 1);
}

static void *send_all(void *arg)
{
    int sender = (int)(intptr_t)arg;
    for (int i = 0; i < LETTERS; i++) {
        letters[sender][i] = (struct letter){.sender = sender, .number = i};
        mailbox_post(&mailbox, &letters[sender][i].mail);
        if (i % 100 == 0)
            mailbox_kick(&mailbox);
    }
    return NULL;
}

static void test_all_mail_once_and_in_its_senders_order(void **state)
{
    struct executor *executor;
    pthread_t threads[SENDERS];
    (void)state;
    assert_int_equal(executor_uv_start(clock_system(), &executor, NULL), 0);
    mailbox_init(&mailbox, executor, WORK_PROMPT, on_turn);
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, (void *)(intptr_t)i), 0);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    executor_settle(executor);
    assert_true(in_order);
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(next_number[i], LETTERS);

    empty_turns = 0;
    mailbox_kick(&mailbox);
    executor_settle(executor);
    assert_int_equal(empty_turns, 1);
    assert_null(mailbox_free(&mailbox));
    executor_uv_stop(executor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_mail_once_and_in_its_senders_order)};
    return cmocka_run_group_tests_name("mailbox", tests, NULL, NULL);
}
