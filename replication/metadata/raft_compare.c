/* replication/metadata/raft_compare.c: where two logs part, by what the leader's still knows (KIP-101, KIP-279,
 * KIP-630).
 *
 * Offset and epoch name one record of all logs, and all that lies before it. So a follower's last record is one of the
 * leader's, too, where the leader's log holds its epoch, and holds it as far as that. Of what lay before its start the
 * log knows no epochs any more; the snapshot says of one record which epoch it had. */
#include "replication/metadata/raft_compare.h"

#include "replication/metadata/raft_bugs.h"

/* It ends before this log begins, or parts from it there: not to be told from where the epochs of this log begin. */
static bool parts_before(const struct raft_compared *leader, int64_t offset, int32_t last_epoch)
{
    if (leader->start == 0)
        return false;
    if (offset < leader->start)
        return true;
    return !RAFT_BUG(snapshot_epoch_unread) &&
           (last_epoch < leader->snapshot_epoch || (offset == leader->start && last_epoch != leader->snapshot_epoch));
}

enum raft_fetch_outcome raft_compare(const struct raft_compared *leader, int64_t offset, int32_t last_epoch)
{
    if (parts_before(leader, offset, last_epoch))
        return RAFT_FETCH_SNAPSHOT;
    if (last_epoch < 0 && offset == 0)
        return RAFT_FETCH_OK;
    return leader->epoch == last_epoch && leader->end >= offset ? RAFT_FETCH_OK : RAFT_FETCH_DIVERGING;
}
