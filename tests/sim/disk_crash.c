/* tests/sim/disk_crash.c: what a crash makes of a disk. */
#include <stdlib.h>
#include <string.h>

#include <assert.h>

#include "tests/sim/chance.h"
#include "tests/sim/disk_internal.h"

/* Which changes of names a power cut leaves. */
static void lose_names(struct disk *disk)
{
    bool *lost = calloc(disk->change_count + 1, sizeof *lost);
    assert(lost != NULL);
    for (uint32_t i = 0; i < disk->change_count; i++) {
        lost[i] = chance_below(&disk->random, 2) == 0;
        for (uint32_t j = 0; j < i && !lost[i]; j++)
            lost[i] = lost[j] && disk_same_name(&disk->changes[j], &disk->changes[i]);
        if (!lost[i])
            disk_name_safe(&disk->changes[i]);
    }
    free(lost);
}

static void apply_bytes(struct inode *inode, int64_t at, const uint8_t *bytes, size_t len)
{
    if (len == 0)
        return;
    memcpy(inode->bytes + at, bytes, len);
    if (at + (int64_t)len > inode->size)
        inode->size = at + (int64_t)len;
}

/* A write that a power cut met. */
static void lose_write(struct disk *disk, struct inode *inode, const struct change *change)
{
    int64_t boundary = (change->at / SECTOR_BYTES + 1) * SECTOR_BYTES, end = change->at + (int64_t)change->len;
    switch (chance_below(&disk->random, 4)) {
    case 0:
        apply_bytes(inode, change->at, change->bytes, change->len);
        break;
    case 1:
        disk->faults[DISK_FAULT_LOST]++;
        break;
    case 2:
        if (end > inode->size)
            inode->size = end; /* zeros behind what was there; in the middle the old bytes */
        disk->faults[DISK_FAULT_ZEROS]++;
        break;
    default:
        if (boundary >= end) {
            apply_bytes(inode, change->at, change->bytes, change->len);
            break;
        }
        boundary +=
            SECTOR_BYTES * (int64_t)chance_below(&disk->random, (uint64_t)((end - boundary - 1) / SECTOR_BYTES + 1));
        disk->faults[DISK_FAULT_TORN]++;
        if (chance_below(&disk->random, 2) == 0)
            apply_bytes(inode, change->at, change->bytes, (size_t)(boundary - change->at));
        else
            apply_bytes(inode, boundary, change->bytes + (boundary - change->at), (size_t)(end - boundary));
    }
}

static void lose_bytes(struct disk *disk, struct inode *inode)
{
    disk_set_size(inode, 0);
    apply_bytes(inode, 0, inode->durable, (size_t)inode->durable_size);
    for (uint32_t i = 0; i < inode->change_count; i++) {
        const struct change *change = &inode->changes[i];
        if (!change->truncation && change->doomed) {
            inode->size =
                change->at + (int64_t)change->len > inode->size ? change->at + (int64_t)change->len : inode->size;
        } else if (!change->truncation) {
            lose_write(disk, inode, change);
        } else if (chance_below(&disk->random, 2) == 0) {
            disk_set_size(inode, change->at);
        } else {
            break;
        }
    }
}

void disk_restart(struct disk *disk, bool power)
{
    for (uint32_t i = 0; i < disk->file_room; i++)
        disk->files[i] = (struct open_file){0};
    if (power)
        lose_names(disk);
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        struct inode *inode = disk->inodes[i];
        inode->opens = 0;
        inode->locked = false;
        if (power && inode->directory)
            disk_names_copy(&inode->now, &inode->safe);
        else if (power)
            lose_bytes(disk, inode);
        /* What the power cut left is on the disk; what a killed process left is still only in memory. */
        if (power && !inode->directory)
            disk_file_safe(inode);
    }
    if (power)
        disk->change_count = 0;
    disk->crashed = disk->failed = false;
    disk->crash_at = disk->fail_at = UINT64_MAX;
    disk_collect(disk);
}
