#include "fs/produce/producer.h"

#include <errno.h>
#include <stdlib.h>

int producer_open(struct handle *handle)
{
    struct producer *producer = malloc(sizeof *producer); /* as handle_new() */
    if (producer == NULL)
        return -ENOMEM;
    *producer = (struct producer){.generation = UINT64_MAX};
    turn_init(&producer->turn);
    pthread_mutex_init(&producer->lock, NULL);
    handle->producer = producer;
    return 0;
}

void producer_give_turn(struct handle *handle)
{
    handle_write_over(handle);
    turn_give(&handle->producer->turn, node_executor(handle->session->node));
}

void producer_free(struct handle *handle)
{
    struct producer *producer = handle->producer;
    if (producer == NULL)
        return;
    free(producer->rest);
    free(producer->last_line);
    free(producer->spare);
    for (int32_t i = 0; i < producer->target_count; i++) {
        if (producer->targets[i] != NULL)
            tree_pfile_put(handle->session->tree, producer->targets[i]);
    }
    free(producer->targets);
    free(producer->produced.any_ends);
    free(producer->produced.earlier);
    pthread_mutex_destroy(&producer->lock);
    turn_destroy(&producer->turn);
    free(producer);
}
