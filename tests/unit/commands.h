/* tests/unit/commands.h: the calls of node_commands.h, and DeleteRecords, as a test tells them: each returns when it is
 * over, with what its op ended with. Not from a work of the executor. */
#ifndef LOGMNT_TESTS_UNIT_COMMANDS_H
#define LOGMNT_TESTS_UNIT_COMMANDS_H

#include <semaphore.h>
#include <stddef.h>

#include "engine/base/container.h"
#include "replication/node/node_commands.h"
#include "replication/replica/partition.h"

struct awaited {
    struct command_op op;
    sem_t over;
    int rc;
};

static inline void awaited_over(struct command_op *op, int rc)
{
    struct awaited *awaited = CONTAINER_OF(op, struct awaited, op);
    awaited->rc = rc;
    sem_post(&awaited->over);
}

static inline void await_begin(struct awaited *awaited)
{
    *awaited = (struct awaited){.op = {.timeout_ms = INT64_MAX, .done = awaited_over}};
    sem_init(&awaited->over, 0, 0);
}

/* rc: what the call returned. */
static inline int await_end(struct awaited *awaited, int rc, struct err *e)
{
    if (rc == 0) {
        while (sem_wait(&awaited->over) != 0)
            ;
        rc = awaited->rc;
    }
    sem_destroy(&awaited->over);
    return rc == 0 ? 0 : err_set(e, rc, "%s", awaited->op.e.text);
}

static inline int create_topic(struct node *node, const char *name, const struct tree_attr *attr, struct err *e)
{
    struct awaited awaited;
    await_begin(&awaited);
    return await_end(&awaited, node_create_topic(node, &awaited.op, name, attr), e);
}

static inline int delete_topic(struct node *node, const char *name, struct err *e)
{
    struct awaited awaited;
    await_begin(&awaited);
    return await_end(&awaited, node_delete_topic(node, &awaited.op, name), e);
}

static inline int create_partitions(struct node *node, const char *name, int32_t count, struct err *e)
{
    struct awaited awaited;
    await_begin(&awaited);
    return await_end(&awaited, node_create_partitions(node, &awaited.op, name, count), e);
}

static inline int set_attr(struct node *node, const char *name, const struct tree_attr *attr, unsigned set,
                           struct err *e)
{
    struct awaited awaited;
    await_begin(&awaited);
    return await_end(&awaited, node_set_attr(node, &awaited.op, name, attr, set), e);
}

static inline int set_config(struct node *node, const char *topic, const char *name, const char *value, struct err *e)
{
    struct awaited awaited;
    await_begin(&awaited);
    return await_end(&awaited, node_set_config(node, &awaited.op, topic, name, value), e);
}

static inline int create_group(struct node *node, const char *name, const struct tree_attr *attr, struct err *e)
{
    struct awaited awaited;
    await_begin(&awaited);
    return await_end(&awaited, node_create_group(node, &awaited.op, name, attr), e);
}

static inline int delete_group(struct node *node, const char *name, struct err *e)
{
    struct awaited awaited;
    await_begin(&awaited);
    return await_end(&awaited, node_delete_group(node, &awaited.op, name, NULL), e);
}

static inline int set_group_attr(struct node *node, const char *name, const struct tree_attr *attr, unsigned set,
                                 struct err *e)
{
    struct awaited awaited;
    await_begin(&awaited);
    return await_end(&awaited, node_set_group_attr(node, &awaited.op, name, attr, set), e);
}

static inline int set_group_config(struct node *node, const char *group, const char *name, const char *value,
                                   struct err *e)
{
    struct awaited awaited;
    await_begin(&awaited);
    return await_end(&awaited, node_set_group_config(node, &awaited.op, group, name, value), e);
}

/* ---- DeleteRecords ---- */

struct awaited_delete {
    struct delete_records_op op;
    sem_t over;
    int rc;
};

static inline void awaited_delete_over(struct delete_records_op *op, int rc)
{
    struct awaited_delete *awaited = CONTAINER_OF(op, struct awaited_delete, op);
    awaited->rc = rc;
    sem_post(&awaited->over);
}

static inline int delete_records(struct partition *part, int64_t position, struct err *e)
{
    struct awaited_delete awaited = {.op = {.position = position, .done = awaited_delete_over}};
    sem_init(&awaited.over, 0, 0);
    int rc = partition_delete_records(part, &awaited.op);
    if (rc == 0) {
        while (sem_wait(&awaited.over) != 0)
            ;
        rc = awaited.rc;
    }
    sem_destroy(&awaited.over);
    return rc == 0 ? 0 : err_set(e, rc, "%s", awaited.op.e.text);
}

#endif
