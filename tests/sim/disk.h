/* tests/sim/disk.h: one node's disk in memory: a struct io that forgets at a crash what was not synced.
 *
 * What a crash may leave is as on a real disk whose power goes:
 *   of a file     the bytes and the size as of its last fsync, and of what was written since then each write kept,
 * lost, torn at a sector's boundary, or only its size kept, with zeros; a truncation is kept or lost, and what follows
 * a lost one is lost of a name     as of its directory's last fsync; what was done since then kept or lost, never a
 * later change of one name or one file without the earlier ones A process that is killed loses nothing. Which it is,
 * and how each pending change ends, comes from the disk's own random numbers: the same calls and the same seed give the
 * same disk.
 *
 * One thread. Descriptors are the disk's own (from DISK_FIRST_FD on): a system call that is given one fails. */
#ifndef LOGMNT_TESTS_SIM_DISK_H
#define LOGMNT_TESTS_SIM_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/io.h"

enum { DISK_FIRST_FD = 1 << 20 };

struct inode;
struct name_change;
struct open_file;

struct disk {
    struct io io; /* the first member: what the node is given */
    uint64_t random;
    struct inode *root;
    struct inode **inodes; /* all that are there, in the order of their making */
    uint32_t inode_count, inode_room;
    struct open_file *files; /* by descriptor */
    uint32_t file_room;
    struct name_change *changes; /* of directories, since their last fsync, in order */
    uint32_t change_count, change_room;

    int64_t capacity_bytes; /* of all files together; INT64_MAX: never full */
    int64_t used_bytes;
    uint64_t calls;    /* that change something or sync, since the beginning */
    uint64_t crash_at; /* the call from which on all fail; UINT64_MAX: none */
    bool crashed;
    uint64_t fail_at; /* the first write to a file or sync of one from this call on fails; UINT64_MAX: none */
    bool failed;      /* and it has: what was not on the disk then never will be, whatever later syncs say */
    uint64_t
        faults[5]; /* how often each happened: full, torn, lost, zeros, failed: a run that met none proves little */
};

enum { DISK_FAULT_FULL, DISK_FAULT_TORN, DISK_FAULT_LOST, DISK_FAULT_ZEROS, DISK_FAULT_FAILED };

void disk_init(struct disk *disk, uint64_t seed);
void disk_free(struct disk *disk);
/* Another disk, with nothing on it, is in its place. The node is gone, and the disk was restarted. */
void disk_wipe(struct disk *disk);

/* From the n-th changing call from now on (0: the next) nothing changes any more, and every call fails with -EIO. */
void disk_crash_after(struct disk *disk, uint64_t n);
/* One write or sync from the n-th changing call on fails with -EIO: of a write half is done, and what was to be synced
 * is marked as clean, as by Linux, and lost with the power. The disk works on. */
void disk_fail_after(struct disk *disk, uint64_t n);
/* The node is gone: its descriptors and mappings too. power: and what was not synced may be. The disk works again. */
void disk_restart(struct disk *disk, bool power);

#endif
