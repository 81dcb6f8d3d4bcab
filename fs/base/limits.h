/* fs/base/limits.h: every bound of this folder by name, with what happens when it is reached. */
#ifndef LOGMNT_FS_BASE_LIMITS_H
#define LOGMNT_FS_BASE_LIMITS_H

enum {
    /* One FUSE WRITE or READ: 256 pages, the most that the kernel hands over at once. */
    LIMIT_REQUEST_BYTES = 1 << 20,
    /* FUSE worker threads. They do disk work and never wait for a peer, a record or an ack; more requests than this
     * wait in the kernel's queue. */
    LIMIT_WORKERS = 10,
    /* How long a look at a partition waits for a last line that a close has left on its way to the log, which takes a
     * round to the leader and its followers; then it goes on without: looks do not wait for appends that stand still.
     */
    LIMIT_FENCE_MS = 250,
    /* How long a look or a write waits for pages of the kernel's cache to be dropped, which takes a tenth of a
     * millisecond where there is a CPU, and longer where a page waits for a leader elsewhere (LIMIT_ANSWER_MS); then a
     * look is told of no more than the pages know. */
    LIMIT_DROP_MS = 1000,
    /* How long after a FLUSH its RELEASE is looked for, and a look waits at most for whoever may have that in hand. */
    LIMIT_FENCE_POST_MS = 2000,
    /* How often it looks whether somebody still has. */
    LIMIT_FENCE_LOOK_MS = 2,
    /* Threads with an open answered ESTALE whose retry has not come yet; the opens of others share a node meanwhile. */
    LIMIT_RETRIES = 256,
    /* How often an append of what a write(2) has taken is tried again, for which there was no memory or descriptor. */
    LIMIT_APPEND_AGAIN_MS = 100,
    /* Batches of lines that lingered which one work sends, one after the other; more of them wait for its next turn,
     * behind whatever else the prompt pool has to do. A thread that serves a request sends one of them at most. */
    LIMIT_SEND_BATCHES = 16,
    /* Writers that wait for room in buffer.memory which one work lets go on; likewise. */
    LIMIT_ROOM_GRANTS = 16,
    /* How long a clean stop waits for lingering records that cannot be appended; and, before that, for requests that
     * are not answered, where the kernel is being told what waits for them: then all are ended (fs/serve/notices.h). */
    LIMIT_STOP_MS = 10000,
    /* Leader epochs but the last one in which what an open file wrote was acknowledged, and which no fsync has asked
     * for yet; of more the next fsync is -EIO. */
    LIMIT_EARLIER_EPOCHS = 256,
    /* How often a wait that a signal did not end is looked at again: is there a fatal one, does it still wait? */
    LIMIT_LOOK_AGAIN_MS = 100,
    /* How far back a stream, `.follow` or `.json`, may be read again; -EINVAL before that. A power of two. */
    LIMIT_STREAM_BACK_BYTES = 1 << 20,
    /* Records of a group's stream whose ends are kept (each stretch of them counts as 16 more): of more, uncommitted
     * ones are folded, the oldest first, and can be committed together only. */
    LIMIT_STREAM_RECORDS = 1 << 21,
    /* fcntl(2) and flock(2) locks that one partition can have; -ENOLCK above. */
    LIMIT_LOCKS = 8192,
    /* Readers of one `.follow` that the appending thread answers itself; with more of them a pool thread does it. */
    LIMIT_FOLLOW_INLINE = 4,
    /* inotify watchers of a partition are woken at most this often; those of its directory alone, by what the kernel
     * does not tell them itself, at most this often. */
    LIMIT_WAKE_INTERVAL_MS = 10,
    LIMIT_WAKE_NAME_INTERVAL_MS = 100,
    /* Waking takes a tenth of the time at most, but that it pauses no longer than this. */
    LIMIT_WAKE_PAUSE_MS = 100,
    /* A change to the tree is answered after this, decided or not (ETIMEDOUT): the kernel holds a directory's lock
     * meanwhile. What a quorum of one waits for is its own disk. */
    LIMIT_DECISION_MS = 30000,
    /* How long a read or a look-up of what is on other nodes waits for one that can answer; -ETIMEDOUT after that. */
    LIMIT_ANSWER_MS = 5000,
    /* Likewise a read of a group's stream, so often that it comes to the same: meanwhile it looks at the member's other
     * partitions. */
    LIMIT_STREAM_ANSWER_MS = 500,
    /* A partition of a group's stream that did not answer is tried again aside after this, while others have records.
     */
    LIMIT_STREAM_PROBE_MS = 500,
    /* How long an attribute or a status file waits for groups' coordinators; then it shows what was known last, or is
     * -ETIMEDOUT. */
    LIMIT_GROUP_ANSWER_MS = 1000,
    /* After a look at the mount table so long none of its changes is looked at: most are others', who may mount
     * hundreds of times a second, and each look reads all of it. Our own mount is found to be gone so much later at
     * most. */
    LIMIT_MOUNT_PAUSE_MS = 100,
    /* How often a mount that is left in another mount namespace alone is looked at again. */
    LIMIT_MOUNT_LOOK_MS = 1000,
    /* Records' bytes that one read of `.json` takes from the log at a time. */
    LIMIT_JSON_CHUNK_BYTES = 256 << 10,
    /* Text of `.json` that is made at a time, give or take a record; smaller reads are given their share of it. */
    LIMIT_JSON_TEXT_BYTES = 256 << 10,
    /* Reads by io_uring of one open file that may be repeated; the oldest is forgotten. */
    LIMIT_REREADS = 4096,
    /* Addresses (0@5678) that the kernel is left to remember; another one makes it drop one of them. */
    LIMIT_ADDRESS_NAMES = 4096,
    /* Those that it is still to be made to drop, each in a tenth of a millisecond or so; beyond that they stay
     * until it runs short of memory. */
    LIMIT_EVICTIONS = 16384,
    /* Nodes of one partition (itself, its addresses) that have pages in the kernel's cache; one more makes it drop all
     * of them, and is read without the cache. */
    LIMIT_CACHED_NODES = 16,
    /* Drops of them within a second, after which the last page is not read through the cache until the second is over.
     */
    LIMIT_DROPS = 8,
};

#endif
