/* replication/base/limits.h: every bound of this folder by name, with what happens when it is reached. */
#ifndef LOGMNT_REPLICATION_BASE_LIMITS_H
#define LOGMNT_REPLICATION_BASE_LIMITS_H

enum {
    /* Partitions of one topic; more are refused with -EINVAL. */
    LIMIT_TOPIC_PARTITIONS = 10000,
    /* Topics of a cluster; one more is refused with -ENOSPC. */
    LIMIT_TOPICS = 100000,
    /* Consumer groups of a cluster; one more is refused with -ENOSPC. */
    LIMIT_GROUPS = 100000,
    /* Replicas of one partition; a larger replication factor is -EINVAL. */
    LIMIT_REPLICAS = 8,
    /* Ids in one set of replicas: those of a partition that moves from some nodes to others. */
    LIMIT_REPLICA_SET = 2 * LIMIT_REPLICAS,
    /* Nodes of a cluster; one more is refused with -ENOSPC. */
    LIMIT_NODES = 64,
    /* Ids of nodes that one process has ever met, those that were unregistered since among them; one more is refused,
     * with a line on both sides, until the next start. */
    LIMIT_NODES_MET = 4 * LIMIT_NODES,
    /* Partitions that one metadata command changes; whoever has more to change proposes several. */
    LIMIT_COMMAND_CHANGES = 4096,
    /* Voters of the metadata quorum; a larger set is refused with -EINVAL. */
    LIMIT_VOTERS = 5,
    /* One message of the metadata quorum, without records; a longer one is refused before it is looked at. */
    LIMIT_RAFT_MESSAGE_BYTES = 1024,
    /* Supplementary groups of who asks for a metadata command, which go with it. NFS's AUTH_SYS has 16 (RFC 5531),
     * which users of directories exceed, and Linux 65,536 (NGROUPS_MAX), which no record is to hold: of who has more
     * they count as not known (metadata_permit.c). */
    LIMIT_CALLER_GROUPS = 256,
    /* One metadata command, encoded; a larger one in the log is damage (-EBADMSG). */
    LIMIT_COMMAND_BYTES = 1 << 20,
    /* A metadata flush that failed for want of descriptors or memory is tried again after this. */
    LIMIT_DECIDE_AGAIN_MS = 100,
    /* A full disk that holds up the quorum's server is tried again after this. */
    LIMIT_STALL_MS = 1000,
    /* A change of the tree in a cluster: who asks for it waits no longer (-ETIMEDOUT). */
    LIMIT_METADATA_MS = 1000,
    /* Frames for the quorum that wait for its turn, and their bytes, of one peer; one more is dropped, as if it had
     * been lost on the way. */
    LIMIT_QUORUM_FRAMES = 4096,
    LIMIT_QUORUM_BYTES = 32 << 20,
    /* Likewise heartbeats and what else members and their controller say to each other. */
    LIMIT_MEMBER_FRAMES = 4096,
    LIMIT_MEMBER_BYTES = 16 << 20,
    /* Bytes of records with which a fetch of the metadata log is answered, unless its first record alone is longer:
     * heartbeats wait behind them. */
    LIMIT_QUORUM_FETCH_BYTES = 64 << 10,
    /* A fetch of the metadata log that was not answered is sent again after this: so leader and follower hear of each
     * other. */
    LIMIT_QUORUM_BEAT_MS = 500,
    /* A turn that has not ended for so long waits for the disk: commands for another node go out without it. */
    LIMIT_QUORUM_TURN_MS = 1000,
    /* A piece of a snapshot of the metadata, and how long one is waited for before it is asked for again. */
    LIMIT_SNAPSHOT_PIECE_BYTES = 1 << 20,
    LIMIT_SNAPSHOT_AGAIN_MS = 1000,
    /* A leader of the quorum that cannot read what is asked for says so, and lets another one lead, this often. */
    LIMIT_UNREADABLE_MS = 60000,
    /* A change of the quorum's voters that was not answered is asked for again after this. */
    LIMIT_CHANGE_AGAIN_MS = 200,
    /* How often a start looks whether the quorum was made anew. */
    LIMIT_RECOVER_LOOK_MS = 20,
    /* Commands of other nodes that wait at the controller; it does not take one more, and it is sent again later. */
    LIMIT_QUORUM_COMMANDS = 4096,
    /* How long a start waits for its registration; -ETIMEDOUT after that. */
    LIMIT_REGISTER_MS = 10000,
    /* Commands applied since the last snapshot of the metadata before the next one is written and the log before it
     * dropped. */
    LIMIT_SNAPSHOT_COMMANDS = 4096,
    /* Bytes of parked appends, over all partitions: what Kafka's producer keeps in its buffer.memory until a leader has
     * it (the option of that name bounds only what lingers). When they are used up the next append that would have to
     * wait fails at once with -EROFS. Those that come to two partitions at the same time may both get the last of them:
     * it is exceeded by one append of each thread at most. */
    LIMIT_PARKED_BYTES = 256 << 20,
    /* Appends that were held, and that a turn of a topic lets into the log; more of them wait for its next turn, behind
     * whatever else the prompt pool has to do. */
    LIMIT_RESUME_APPENDS = 64,
    /* Likewise where flush.messages is set, and each may take a flush of its own. */
    LIMIT_RESUME_FLUSHES = 4,
    /* Of those that are in the log so many are answered only when none is held any more in their partition, so that who
     * comes again with the next one finds it open; of more those are answered at once. */
    LIMIT_RESUMED_ANSWERS = 4096,
    /* Requests of appends under way to one partition's leader, without an answer; what comes meanwhile waits, and goes
     * together. */
    LIMIT_FORWARD_REQUESTS = 5,
    /* Batches in one of them, and bytes, unless one batch alone has more. */
    LIMIT_FORWARD_BATCHES = 64,
    LIMIT_FORWARD_BYTES = 1 << 20,
    /* Leader epochs in which appends with acks=0 ended that no fsync has asked for yet; of more the next one is -EIO.
     */
    LIMIT_LATE_EPOCHS = 8,
    /* A leader that refused for now is asked again after this, if nothing has changed before. */
    LIMIT_FORWARD_PAUSE_MS = 20,
    /* An eighth of an append's time, and at most this, is left for the answer: the leader ends what is not in its log
     * by then. */
    LIMIT_FORWARD_MARGIN_MS = 500,
    /* Bytes of a forwarded batch from one mark for the sparse index to the next. */
    LIMIT_FORWARD_MARK_BYTES = 4096,
    /* An append that its leader has acknowledged waits for this replica's high watermark no longer than this. */
    LIMIT_SHOW_MS = 1000,
    /* A leader that may have lost some of what was shown asks how far that was for so long at most. */
    LIMIT_SHOWN_MS = 2000,
    /* A leader that cannot append asks for another one for so long; then its appends fail, and from so much later on it
     * asks again. */
    LIMIT_HANDOVER_MS = 2000,
    LIMIT_HANDOVER_AGAIN_MS = 10000,
    /* A partition that was found empty takes no append in for so long at most, unless its leader is asked again; then,
     * and from so much later on again, it asks for another leader epoch to go on in. */
    LIMIT_SEAL_MS = 3000,
    LIMIT_SEAL_AGAIN_MS = 100,
    /* From an attempt that failed to the next. */
    LIMIT_HANDOVER_PAUSE_MS = 100,
    /* DeleteRecords of another node's, and what a leader does for another node: given up after this. */
    LIMIT_ASK_MS = 30000,
    /* A look at what waits for other nodes that is later than this: the node stood still, and what has waited waits as
     * long again, so long at most, for what has come meanwhile. */
    LIMIT_STOOD_STILL_MS = 100,
    LIMIT_FORGIVEN_MS = 1000,
    /* The command that asks for a producer id, and from one that failed to the next. */
    LIMIT_PRODUCER_ID_MS = 1000,
    LIMIT_PRODUCER_ID_PAUSE_MS = 100,
    /* Flushes, DeleteRecords, seals and the like that one other node has asked for and that are not over; one more is
     * answered at once: later. */
    LIMIT_ASKED_FRAMES = 4096,
    LIMIT_ASKED_BYTES = 8 << 20,
    /* Requests of appends of one other node that have batches which wait, and the memory that they take, without the
     * records (LIMIT_PARKED_BYTES); one more is not appended, and answered at once: later. */
    LIMIT_APPENDS_SERVED = 65536,
    LIMIT_APPENDS_SERVED_BYTES = 32 << 20,
    /* The header of a message about a partition to its leader or back; a longer one is refused before it is looked at.
     */
    LIMIT_FORWARD_MESSAGE_BYTES = 8192,
    /* From the moment that a log asks for a flush until the background flush begins. */
    LIMIT_FLUSH_DELAY_MS = 1000,
    /* The longest that the checkpoints lag behind while something is appended. */
    LIMIT_CHECKPOINT_INTERVAL_MS = 60000,
    /* That of the high watermarks, after a command was decided in a cluster. */
    LIMIT_DECIDED_CHECKPOINT_MS = 200,
    /* DATA/reserve: what a deletion on a full disk can fall back on. */
    LIMIT_RESERVE_BYTES = 1 << 20,
    /* The least pause between two looks for something to compact, whatever log.cleaner.backoff.ms says. */
    LIMIT_CLEANER_PAUSE_MS = 100,
    /* Works of a kind that are done at once (executor.h); others wait in the queue. Prompt ones are many, so that those
     * that wait for a disk hold up no other, and so that at a stop the flushes of many small logs share the journal's
     * commits. */
    LIMIT_PROMPT_THREADS = 16,
    LIMIT_BULK_THREADS = 4,
    LIMIT_URGENT_THREADS = 4,
    LIMIT_POOL_THREADS = 16, /* the largest one */
    /* How long a start waits for a daemon that is stopping or dying; -EBUSY after that. */
    LIMIT_LOCK_WAIT_MS = 10000,
    /* The least time between two rounds of the scrub over all closed segments. */
    LIMIT_SCRUB_ROUND_MS = 24 * 60 * 60 * 1000,
    /* The header of a frame between nodes; a longer one is -EBADMSG and ends the connection. */
    LIMIT_FRAME_HEADER_BYTES = 1 << 20,
    /* Its raw bytes: a batch of the largest record and what else came with it; likewise. */
    LIMIT_FRAME_BODY_BYTES = 64 << 20,
    /* Bytes that wait for a connection's socket to take them; a frame more is -ENOBUFS, and the sender says what
     * becomes of it. */
    LIMIT_CONN_QUEUE_BYTES = 128 << 20,
    /* Frames of one peer, and their bytes, that came on its records connection and that this node has not worked on;
     * more are not read before an eighth of them is done. */
    LIMIT_RECORDS_FRAMES = 16384,
    LIMIT_RECORDS_BYTES = 32 << 20,
    /* Likewise answers on its control connection: what they answer was asked, and has its own bounds. */
    LIMIT_CONTROL_FRAMES = 16384,
    LIMIT_CONTROL_BYTES = 16 << 20,
    /* Frames that came on one connection of a peer, and their bytes, before the other one stands; more are not read
     * before it does. */
    LIMIT_EARLY_FRAMES = 1024,
    LIMIT_EARLY_BYTES = 32 << 20,
    /* What a connection reads in one turn of the loop before others get theirs. */
    LIMIT_CONN_TURN_BYTES = 4 << 20,
    /* Connecting, TLS and the hello, together; the connection is given up after that. */
    LIMIT_HELLO_MS = 5000,
    /* Connections whose hello has not come; one more is closed at once. */
    LIMIT_STRANGERS = 128,
    /* Between two attempts to connect: doubled from the first to the last, each with chance in it. */
    LIMIT_BACKOFF_FIRST_MS = 50,
    LIMIT_BACKOFF_LAST_MS = 1000,
    /* One cause of a refusal is logged once in this time for one peer, or one partition of groups' offsets. */
    LIMIT_REFUSAL_LOG_MS = 60000,
    /* Lines in that time that a peer is connected, or lost; of more their number is said when it is over. */
    LIMIT_FLAP_LINES = 10,
    /* A peer that was lost within so long of being connected, more than so many times in a row, is connected to again
     * after a pause. */
    LIMIT_BRIEF_MS = 1000,
    LIMIT_BRIEF_TIMES = 3,
    /* A process that takes the place of another one of its id keeps it after so long, though that comes back. */
    LIMIT_SETTLED_MS = 10000,
    /* Bytes of one read from another node, and the pieces that they may lie in; more take another read. */
    LIMIT_READ_BYTES = 1 << 20,
    LIMIT_READ_PIECES = 2048,
    /* A message about reading, without the bytes; a longer one is refused before it is looked at. */
    LIMIT_READ_MESSAGE_BYTES = 32 << 10,
    /* Reads of one other node that are being answered; one more is dropped, and asked again. */
    LIMIT_READS_SERVED = 1024,
    LIMIT_READS_SERVED_BYTES = 8 << 20,
    /* Answers of one other node to look-ups and the like that wait for a turn; likewise. */
    LIMIT_READ_ANSWERS = 16384,
    LIMIT_READ_ANSWERS_BYTES = 16 << 20,
    /* Questions of other nodes that are held until there are news: of each node one a partition. One more is dropped,
     * and asked again. */
    LIMIT_STATS_HELD = 65536,
    /* Questions about one partition that are on their way to its leader; one more waits for an answer. */
    LIMIT_READS_ASKED = 16,
    /* What has had no answer for so long is asked again; a leader that was not ready is, after a shorter while. */
    LIMIT_READ_AGAIN_MS = 1000,
    LIMIT_READ_LATER_MS = 20,
    /* One read from another node, when more follow it; and how far ahead of a reader that goes on they are sent. */
    LIMIT_READ_CHUNK_BYTES = 512 << 10,
    LIMIT_READ_AHEAD_BYTES = 4 << 20,
    /* Bytes that were read ahead, of all partitions; with more of them nothing is, for a while. */
    LIMIT_READ_AHEAD_ALL_BYTES = 128 << 20,
    /* How long bytes from another node may be given out, and how many chunks of them a partition keeps. */
    LIMIT_CHUNK_MS = 1000,
    LIMIT_CHUNKS = 16,
    /* How old what another node said of a partition may be to be told again. */
    LIMIT_STAT_AGE_MS = 2000,
    /* How long a stat waits for that node; then what it said last is told. */
    LIMIT_STAT_PATIENCE_MS = 1000,
    /* For how long a question that waits for news is to be held back; the longer time where nobody is known to wait,
     * but somebody may watch, and by who knows FEATURE_LEVEL_LONG_STATS. Still longer ones are refused. */
    LIMIT_STAT_WAIT_MS = 10000,
    LIMIT_STAT_LONG_WAIT_MS = 60000,
    /* Partitions that are asked for news within a second because somebody may watch them; one more is within the
     * next. So a directory of very many fills no leader's LIMIT_READS_SERVED. */
    LIMIT_NEWS_ASKED = 500,
    /* A partition that nobody has asked for, for so long, and nobody may watch, is not asked for news of. */
    LIMIT_STAT_IDLE_MS = 60000,
    /* Both sides of a session between replicas beat so often; a follower's lag is looked at as often. */
    LIMIT_BEAT_MS = 500,
    /* A leader that has beaten in a session and was then silent for so many beats has its connections ended. */
    LIMIT_SILENT_BEATS = 6,
    /* A leader whose disk has not finished an append or a flush for so long hands over. */
    LIMIT_STUCK_MS = 10000,
    /* replica.lag.time.max.ms, unless set. */
    LIMIT_REPLICA_LAG_MS = 10000,
    /* Bytes of one partition that a follower has room for beyond its end; a leader sends no more before it has acked.
     */
    LIMIT_FETCH_CREDIT_BYTES = 4 << 20,
    /* A follower that is further behind than this is served by the bulk pool, a piece at a time, as is each that nobody
     * waits for (catch_up.h). */
    LIMIT_NEAR_BYTES = 1 << 20,
    /* Bytes under way to one peer for replicas that catch up, over all partitions; more wait for an acknowledgement. */
    LIMIT_CATCH_UP_BYTES = 8 << 20,
    /* While this node sends live records, and for so many beats after, they come in bursts of so many bytes (a batch
     * may be longer), with rests of so long at most in between; but with no rest while that were less than so many
     * times the live ones, and as if there were none after a beat in which it was less than so few times. */
    LIMIT_BUSY_BEATS = 10,
    LIMIT_BURST_BYTES = 512 << 10,
    LIMIT_CATCH_UP_REST_MS = 20,
    LIMIT_CATCH_UP_TIMES = 10,
    LIMIT_CATCH_UP_TIMES_LEAST = 2,
    /* A replica that has acknowledged nothing of what it is to catch up on for so many beats is no more waited for. */
    LIMIT_STUCK_BEATS = 20,
    /* What is read from a log for a follower at once: bytes (one batch at least), and batches. */
    LIMIT_PIECE_BYTES = 1 << 20,
    LIMIT_PIECE_BATCHES = 1024,
    /* A high watermark that moved waits so long for records to go with, and for others of its kind. */
    LIMIT_GATHER_MARKS_MS = 2,
    /* Fetches of one follower in an epoch that this node has not heard of; one more is dropped, and asked again. */
    LIMIT_PARKED_FETCHES = 16384,
    /* The name of a consumer group with its NUL: as a topic's. */
    GROUP_NAME_BYTES = 250,
    /* Partitions of __consumer_offsets, as Kafka's offsets.topic.num.partitions: a group's is found by them. */
    LIMIT_OFFSETS_PARTITIONS = 50,
    /* Members of groups on one node; one more is -ENOSPC. */
    LIMIT_GROUP_MEMBERS = 16384,
    /* What is committed by reading on waits so long for more. */
    LIMIT_GROUP_GATHER_MS = 100,
    /* A node with members tells their coordinators so often that it is there. */
    LIMIT_GROUP_BEAT_MS = 500,
    /* A coordinator is not taken for silent in less, whatever session.timeout.ms says. */
    LIMIT_GROUP_SILENT_LEAST_MS = 2 * LIMIT_GROUP_BEAT_MS,
    /* What a coordinator has not answered is asked again after this; what it was not ready for, or is led by nobody,
     * after a shorter while, which doubles each time up to this; where there was no room, after this. */
    LIMIT_GROUP_AGAIN_MS = 1000,
    LIMIT_GROUP_LATER_MS = 20,
    LIMIT_GROUP_LATEST_MS = 500,
    /* Where a coordinator has left a question unanswered and was not heard of since, the next ones wait so long for it.
     */
    LIMIT_GROUP_GRACE_MS = 100,
    /* Messages about groups of one other node that wait for a turn, and their bytes; one more is dropped, and said
     * again. */
    LIMIT_GROUP_FRAMES = 16384,
    LIMIT_GROUP_BYTES = 32 << 20,
    /* Memory of requests that wait at one coordinator; what comes then is dropped, and asked again. */
    LIMIT_GROUP_INBOX_BYTES = 32 << 20,
    /* A coordinator's records are committed within this time, or it is read anew. */
    LIMIT_GROUP_APPEND_MS = 30000,
    /* They are appended in pieces of so many bytes: a batch has a limit (LIMIT_BATCH_BYTES), what a turn brings has
     * none. */
    LIMIT_GROUP_APPEND_BYTES = 128 << 10,
    /* Who is about to remove a group that nobody is in has so long until somebody may join it. */
    LIMIT_GROUP_SEAL_MS = 10000,
    /* Rows of one piece of an answer; more make several pieces. */
    LIMIT_GROUP_ROWS = 4096,
    /* A node that stops waits so long for its members to have left. */
    LIMIT_GROUP_LEAVE_MS = 2000,
    /* The small text files: meta.properties, partition.metadata, lock, clean-shutdown. A larger one is damaged. */
    LIMIT_TEXT_FILE_BYTES = 4096,
};

#endif
