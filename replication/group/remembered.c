/* replication/group/remembered.c: a list of copies. An answer about all groups is the first one. */
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

/* Whether a row is of what a question is about. */
static bool is_about(enum group_ask ask, const char *group, const char *topic, int32_t partition,
                     const struct group_row *row)
{
    if (ask == GROUP_ASK_GROUP)
        return strcmp(row->group, group) == 0;
    return ask == GROUP_ASK_ALL || (row->partition == partition && strcmp(row->topic, topic) == 0);
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

/* What the answer to op tells anew; everything: one about all groups that is kept does. */
static void drop_told(struct remembered *all, const struct group_op *op, bool everything)
{
    struct remembered_answer **at = &all->first, *before = NULL;

    while (*at != NULL) {
        if (everything || is_of(*at, op)) {
            drop(all, at, before);
            continue;
        }
        before = *at;
        at = &(*at)->next;
    }
}

void remembered_keep(struct remembered *all, const struct group_op *op)
{
    struct remembered_answer *answer;
    bool fits = op->row_count + op->described_count < REMEMBERED_ROWS;

    drop_told(all, op, fits && op->ask == GROUP_ASK_ALL);
    if (!fits)
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

/* ---- put together ---- */

/* The answer's rows that op asks for, instead of those that it tells anew. 0 or -ENOMEM. */
static int merge_rows(struct group_op *op, const struct remembered_answer *answer)
{
    struct group_row *rows = realloc(op->rows, (op->row_count + answer->row_count + 1) * sizeof *rows);
    size_t kept = 0;

    if (rows == NULL)
        return -ENOMEM;
    op->rows = rows;
    for (size_t i = 0; i < op->row_count; i++) {
        if (!is_about(answer->ask, answer->group, answer->topic, answer->partition, &rows[i]))
            rows[kept++] = rows[i];
    }
    for (size_t i = 0; i < answer->row_count; i++) {
        if (is_about(op->ask, op->group, op->topic, op->partition, &answer->rows[i]))
            rows[kept++] = answer->rows[i];
    }
    op->row_count = kept;
    return 0;
}

/* Likewise what its groups are. */
static int merge_described(struct group_op *op, const struct remembered_answer *answer)
{
    struct group_described *all =
        realloc(op->described, (op->described_count + answer->described_count + 1) * sizeof *all);
    size_t kept = 0;

    if (all == NULL)
        return -ENOMEM;
    op->described = all;
    for (size_t i = 0; i < op->described_count; i++) {
        if (answer->ask == GROUP_ASK_PARTITION || strcmp(all[i].group, answer->group) != 0)
            all[kept++] = all[i];
    }
    for (size_t i = 0; i < answer->described_count; i++) {
        if (op->ask == GROUP_ASK_ALL ||
            (op->ask == GROUP_ASK_GROUP && strcmp(answer->described[i].group, op->group) == 0))
            all[kept++] = answer->described[i];
    }
    op->described_count = kept;
    return 0;
}

/* Whether the answer tells all that op asks for. */
static bool is_whole(const struct remembered_answer *answer, const struct group_op *op)
{
    return is_of(answer, op) || (answer->ask == GROUP_ASK_ALL && op->ask == GROUP_ASK_PARTITION);
}

int remembered_find(const struct remembered *all, struct group_op *op)
{
    bool whole = false;
    int rc = 0;

    group_op_free(op);
    for (const struct remembered_answer *answer = all->first; answer != NULL && rc == 0; answer = answer->next) {
        whole = whole || is_whole(answer, op);
        rc = merge_rows(op, answer);
        if (rc == 0)
            rc = merge_described(op, answer);
    }
    if (rc == 0 && !whole && (op->ask == GROUP_ASK_ALL || op->row_count + op->described_count == 0))
        rc = -ENOENT;
    if (rc != 0)
        group_op_free(op);
    op->stale = rc == 0;
    return rc;
}

void remembered_free(struct remembered *all)
{
    while (all->first != NULL)
        drop(all, &all->first, NULL);
}
