/* tests/sim/disk_internal.h: what the disk is made of, for disk.c and disk_crash.c. */
#ifndef LOGMNT_TESTS_SIM_DISK_INTERNAL_H
#define LOGMNT_TESTS_SIM_DISK_INTERNAL_H

#include "tests/sim/disk.h"

enum { FILE_BYTES_MAX = 4 << 20, SECTOR_BYTES = 512, NAME_BYTES = 256 };

/* A change of a file since its last fsync. */
struct change {
    bool truncation; /* to size `at` */
    bool doomed;     /* its sync has failed */
    int64_t at;
    size_t len;
    uint8_t *bytes;
};

struct entry {
    char name[NAME_BYTES];
    struct inode *inode;
};

struct names {
    struct entry *entries;
    uint32_t count, room;
};

struct inode {
    uint64_t number;
    bool directory;
    bool locked; /* flock(2) */
    uint32_t opens;
    bool kept; /* found by a walk */
    /* a file */
    uint8_t *bytes; /* FILE_BYTES_MAX of address space, zeros behind its size */
    int64_t size;
    uint8_t *durable;
    int64_t durable_size, durable_room;
    struct change *changes;
    uint32_t change_count, change_room;
    /* a directory */
    struct names now, safe;
};

enum name_kind { NAME_MADE, NAME_MOVED, NAME_GONE };

struct name_change {
    enum name_kind kind;
    struct inode *inode;
    struct inode *dir, *to_dir;
    char name[NAME_BYTES], to_name[NAME_BYTES];
};

struct open_file {
    struct inode *inode; /* NULL: not open */
    bool holds_lock;
};

void disk_names_copy(struct names *to, const struct names *from);
/* Frees what has no name, now or durably, and no open file. */
void disk_collect(struct disk *disk);
/* The change is on the disk. */
void disk_name_safe(const struct name_change *change);
/* Whether the two changes are of one name or one file, so that neither is durable without the earlier one. */
bool disk_same_name(const struct name_change *a, const struct name_change *b);
/* As the file is, it is on the disk. */
void disk_file_safe(struct inode *inode);
void disk_set_size(struct inode *inode, int64_t size);

/* FILE_BYTES_MAX of zeros; given back with as many bytes at its beginning that may be others. */
uint8_t *disk_space_take(void);
void disk_space_give(uint8_t *bytes, int64_t used);

#endif
