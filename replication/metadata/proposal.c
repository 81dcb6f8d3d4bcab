#include "replication/metadata/proposal.h"

#include <stdlib.h>

struct proposal *proposal_new(const struct command *cmd)
{
    struct proposal *proposal = calloc(1, sizeof *proposal);

    if (proposal == NULL)
        return NULL;
    if (command_encode(cmd, &proposal->data, &proposal->len) != 0)
        goto err_after_proposal;
    if (command_decode(proposal->data, proposal->len, &proposal->cmd, NULL) != 0)
        goto err_after_data;
    return proposal;

err_after_data:
    free(proposal->data);
err_after_proposal:
    free(proposal);
    return NULL;
}

void proposal_free(struct proposal *proposal)
{
    command_free(&proposal->cmd);
    free(proposal->data);
    free(proposal);
}

struct quorum_op *proposal_detach(struct proposal *proposal)
{
    struct quorum_op *op = proposal->op;

    proposal->op = NULL;
    if (op != NULL)
        op->proposal = NULL;
    return op;
}

void proposal_put_last(struct proposal *proposal, struct proposal ***last)
{
    proposal->next = NULL;
    **last = proposal;
    *last = &proposal->next;
}

void proposal_take_out(struct proposal *proposal, struct proposal **list, struct proposal ***last)
{
    struct proposal **link = list;

    while (*link != proposal)
        link = &(*link)->next;
    *link = proposal->next;
    if (*last == &proposal->next)
        *last = link;
    proposal->next = NULL;
}

struct proposal *proposal_find(struct proposal *list, int32_t node, uint64_t number)
{
    struct proposal *proposal = list;

    while (proposal != NULL && (proposal->cmd.origin.node != node || proposal->cmd.origin.number != number))
        proposal = proposal->next;
    return proposal;
}
