/* replication/metadata/quorum_state.c: four lines, each a key and its values. */
#include "replication/metadata/quorum_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/seal.h"

static const char magic[] = "logmnt quorum-state 1";

static const char format[] = "server %" PRId32 " %016" PRIx64 "\n"
                             "epoch %" PRId32 "\n"
                             "vote %" PRId32 " %016" PRIx64 "\n"
                             "leader %" PRId32 " %016" PRIx64 "\n";

static int print(struct seal_text *text, struct raft_id self, const struct raft_state *state)
{
    return seal_printf(text, format, self.node, self.incarnation, state->epoch, state->vote.node,
                       state->vote.incarnation, state->leader.node, state->leader.incarnation);
}

/* What would have been written for what is found in it, and nothing else. */
static int parse(const char *body, struct raft_id *self, struct raft_state *out)
{
    struct seal_text again = {0};
    int rc;

    if (sscanf(body,
               "server %" SCNd32 " %" SCNx64 " epoch %" SCNd32 " vote %" SCNd32 " %" SCNx64 " leader %" SCNd32
               " %" SCNx64,
               &self->node, &self->incarnation, &out->epoch, &out->vote.node, &out->vote.incarnation, &out->leader.node,
               &out->leader.incarnation) != 7)
        return -EBADMSG;
    rc = print(&again, *self, out);
    if (rc == 0 && strcmp(again.text, body) != 0)
        rc = -EBADMSG;
    free(again.text);
    if (rc == 0 && (out->epoch < 0 || out->epoch > RAFT_EPOCH_MAX || out->vote.node < 0 || out->leader.node < 0))
        rc = -EBADMSG;
    return rc;
}

int quorum_state_read(struct io *io, int dirfd, struct raft_id self, struct raft_state *out, struct err *e)
{
    struct raft_id owner = {0};
    char *body;
    int rc = seal_read(io, dirfd, QUORUM_STATE_FILE, magic, &body, e);

    *out = (struct raft_state){0};
    if (rc != 0)
        return rc;
    rc = parse(body, &owner, out);
    free(body);
    if (rc == -ENOMEM) {
        err_sys(e, rc, "read " QUORUM_STATE_FILE);
    } else if (rc != 0) {
        err_set(e, rc, QUORUM_STATE_FILE " is damaged: it is not what would have been written");
    } else if (!raft_id_equal(owner, self)) {
        rc = err_set(e, -EBADMSG,
                     QUORUM_STATE_FILE " is of node %" PRId32 ", incarnation %016" PRIx64
                                       ", and not of this directory, which is of node %" PRId32
                                       ", incarnation %016" PRIx64,
                     owner.node, owner.incarnation, self.node, self.incarnation);
    }
    if (rc != 0)
        *out = (struct raft_state){0};
    return rc;
}

int quorum_state_write(struct io *io, int dirfd, struct raft_id self, const struct raft_state *state, struct err *e)
{
    struct seal_text text = {0};
    int rc = print(&text, self, state);

    if (rc != 0)
        err_sys(e, rc, "write " QUORUM_STATE_FILE);
    else
        rc = seal_write(io, dirfd, QUORUM_STATE_FILE, magic, &text, e);
    free(text.text);
    return rc;
}
