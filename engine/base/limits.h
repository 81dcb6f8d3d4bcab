/* engine/base/limits.h: every bound of this folder by name, with what happens when it is reached. */
#ifndef LOGMNT_ENGINE_BASE_LIMITS_H
#define LOGMNT_ENGINE_BASE_LIMITS_H

#include <stdint.h>

enum {
    /* Segments whose files are open and mapped at once, over all partitions: five descriptors each with the
     * directory's, and a log at rest has none. The least recently used idle one that is on the disk is closed when
     * another must be opened; where there is none the figure is passed, until the next append to a clean one, which
     * flushes a dirty one first. Less where RLIMIT_NOFILE is low. */
    LIMIT_OPEN_SEGMENTS = 512,
    /* Bytes appended and not yet fdatasync-ed before the background flusher is asked to flush a partition: what
     * recovery must check after an unclean stop. */
    LIMIT_UNFLUSHED_BYTES = 128 << 20,
    /* `.batches` of one segment; the segment rolls when it is full (4 Mi batches). */
    LIMIT_BATCHES_FILE_BYTES = 256 << 20,
    /* `.batches` of a compacted segment, in which scattered survivors have an entry each. A segment that would pass it
     * (survivors of a few bytes each) stays as it is, and compaction of its log fails with -EFBIG. */
    LIMIT_COMPACTED_BATCHES_BYTES = INT32_MAX,
    /* The largest batch: max.message.bytes may not be set above half of it. */
    LIMIT_BATCH_BYTES = 64 << 20,
    /* Of each file of a compacted segment so many bytes are gathered before they are written. */
    LIMIT_BUILD_BUFFER_BYTES = 64 << 10,
    /* Producers that one log remembers; of more it forgets who has been silent for longest. */
    LIMIT_PRODUCERS = 64 << 10,
    /* One that has been silent for so long is forgotten (Kafka's producer.id.expiration.ms, KIP-854), and how long one
     * may be remembered for longer, so that few appends look (its producer.id.expiration.check.interval.ms). */
    LIMIT_PRODUCER_SILENT_MS = 24 * 60 * 60 * 1000,
    LIMIT_PRODUCERS_LOOK_MS = 10 * 60 * 1000,
    /* An append from so many bytes on has its blocks before it is written, and with them a quarter of what `.log` has,
     * up to so many, for those that follow: of several logs that grow at once each comes to lie in large pieces. */
    LIMIT_ALLOCATE_LEAST_BYTES = 256 << 10,
    LIMIT_ALLOCATE_AHEAD_BYTES = 8 << 20,
    /* Batches that one log_append_copy() takes at most; it says how many it took. */
    LIMIT_COPY_BATCHES = 64,
    /* Marks for the sparse index that one batch carries; denser ones are left out. */
    LIMIT_BATCH_MARKS = 1024,
    /* Small files (checkpoints, metadata snapshots) are refused above this. */
    LIMIT_SMALL_FILE_BYTES = 256 << 20,
    /* Bytes a second that the scrub of closed segments reads, over all partitions. */
    LIMIT_SCRUB_BYTES_PER_SECOND = 4 << 20,
    /* Keys that one compaction pass holds in its offset map (24 bytes each); a pass that meets more cleans up to
     * there and leaves the rest to the next, as Kafka's log cleaner does with its dedupe buffer. */
    LIMIT_COMPACT_KEYS = 4 << 20,
};

#endif
