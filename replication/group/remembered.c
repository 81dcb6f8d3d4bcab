/* replication/group/remembered.c: a list of copies. */
#include "replication/group/remembered.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct remembered_answer {
    struct remembered_answer *next;
    enum group_ask ask;
    char group[GROUP_NAME_BYTES], topic[GROUP_NAME_BYTES]; /* "": not of one */
    int32_t partition;
    struct group_row *rows;
    size_t row_count;
    struct group_described *described;
    size_t described_count;
};

static void free_answer(struct remembered_answer *answer)
{
    free(answer->rows);
    free(answer->described);
    free(answer);
}

static const char *group_of(const struct group_op *op)
{
    return op->ask == GROUP_ASK_GROUP ? op->group : "";
}

static const char *topic_of(const struct group_op *op)
{
    return op->ask == GROUP_ASK_PARTITION ? op->topic : "";
}

static bool is_of(const struct remembered_answer *answer, const struct group_op *op)
{
    return answer->ask == op->ask && strcmp(answer->group, group_of(op)) == 0 &&
           strcmp(answer->topic, topic_of(op)) == 0 &&
           (op->ask != GROUP_ASK_PARTITION || answer->partition == op->partition);
}

/* NULL: no memory. */
static void *copy(const void *from, size_t count, size_t each)
{
    void *to = malloc((count + 1) * each);

    if (to != NULL && count > 0)
        memcpy(to, from, count * each);
    return to;
}

/* Each counts for one row more than it has, so that there is no end of them without rows either. */
static size_t weight(const struct remembered_answer *answer)
{
    return answer->row_count + answer->described_count + 1;
}

static void drop(struct remembered *all, struct remembered_answer **at, struct remembered_answer *before)
{
    struct remembered_answer *answer = *at;

    *at = answer->next;
    if (all->last == answer)
        all->last = before;
    all->rows -= weight(answer);
    free_answer(answer);
}

static void drop_same(struct remembered *all, const struct group_op *op)
{
    struct remembered_answer **at = &all->first, *before = NULL;

    while (*at != NULL) {
        if (is_of(*at, op)) {
            drop(all, at, before);
            return;
        }
        before = *at;
        at = &(*at)->next;
    }
}

void remembered_keep(struct remembered *all, const struct group_op *op)
{
    struct remembered_answer *answer;

    drop_same(all, op);
    if (op->row_count + op->described_count >= REMEMBERED_ROWS)
        return;
    answer = calloc(1, sizeof *answer);
    if (answer == NULL)
        return;
    answer->ask = op->ask;
    answer->partition = op->partition;
    strncpy(answer->group, group_of(op), sizeof answer->group - 1);
    strncpy(answer->topic, topic_of(op), sizeof answer->topic - 1);
    answer->rows = copy(op->rows, op->row_count, sizeof *op->rows);
    answer->row_count = op->row_count;
    answer->described = copy(op->described, op->described_count, sizeof *op->described);
    answer->described_count = op->described_count;
    if (answer->rows == NULL || answer->described == NULL) {
        free_answer(answer);
        return;
    }
    while (all->first != NULL && all->rows + weight(answer) > REMEMBERED_ROWS)
        drop(all, &all->first, NULL);
    if (all->last != NULL)
        all->last->next = answer;
    else
        all->first = answer;
    all->last = answer;
    all->rows += weight(answer);
}

int remembered_find(const struct remembered *all, struct group_op *op)
{
    const struct remembered_answer *answer = all->first;

    while (answer != NULL && !is_of(answer, op))
        answer = answer->next;
    if (answer == NULL)
        return -ENOENT;
    group_op_free(op);
    op->rows = copy(answer->rows, answer->row_count, sizeof *op->rows);
    op->described = copy(answer->described, answer->described_count, sizeof *op->described);
    if (op->rows == NULL || op->described == NULL) {
        group_op_free(op);
        return -ENOMEM;
    }
    op->row_count = answer->row_count;
    op->described_count = answer->described_count;
    op->stale = true;
    return 0;
}

void remembered_free(struct remembered *all)
{
    while (all->first != NULL)
        drop(all, &all->first, NULL);
}
