/* tests/sim/disk.c: inodes, names, descriptors.
 *
 * A file has its bytes as the node sees them, in a piece of address space that never moves (disk_space.c), so that
 * mappings stay right while it grows, and beside them what is durable: a copy as of the last fsync and the list of
 * changes since then. A directory likewise has its names now and its durable ones; the changes of names are one list
 * for the whole disk, since a rename touches two directories and the order of changes of one file counts across them.
 */
#include "tests/sim/disk_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/container.h"
#include "tests/sim/chance.h"

static struct disk *of(struct io *io)
{
    return CONTAINER_OF(io, struct disk, io);
}

static void *grown(void *array, uint32_t *room, uint32_t count, size_t size)
{
    if (count < *room)
        return array;
    *room = *room == 0 ? 16 : 2 * *room;
    array = realloc(array, *room * size);
    assert(array != NULL);
    return array;
}

/* ---- names ---- */

static struct entry *name_find(const struct names *names, const char *name)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (strcmp(names->entries[i].name, name) == 0)
            return &names->entries[i];
    }
    return NULL;
}

static void name_put(struct names *names, const char *name, struct inode *inode)
{
    struct entry *entry = name_find(names, name);
    if (entry == NULL) {
        names->entries = grown(names->entries, &names->room, names->count, sizeof *names->entries);
        entry = &names->entries[names->count++];
        assert(strlen(name) < NAME_BYTES);
        strcpy(entry->name, name);
    }
    entry->inode = inode;
}

static void name_drop(struct names *names, const char *name)
{
    struct entry *entry = name_find(names, name);
    if (entry == NULL)
        return;
    memmove(entry, entry + 1, (size_t)(&names->entries[names->count] - (entry + 1)) * sizeof *entry);
    names->count--;
}

void disk_names_copy(struct names *to, const struct names *from)
{
    to->count = 0;
    for (uint32_t i = 0; i < from->count; i++)
        name_put(to, from->entries[i].name, from->entries[i].inode);
}

/* ---- inodes ---- */

static struct inode *inode_new(struct disk *disk, bool directory)
{
    struct inode *inode = calloc(1, sizeof *inode);
    assert(inode != NULL);
    inode->number = disk->inode_count > 0 ? disk->inodes[disk->inode_count - 1]->number + 1 : 1;
    inode->directory = directory;
    if (!directory)
        inode->bytes = disk_space_take();
    disk->inodes = grown(disk->inodes, &disk->inode_room, disk->inode_count, sizeof *disk->inodes);
    disk->inodes[disk->inode_count++] = inode;
    return inode;
}

static void changes_drop(struct inode *inode)
{
    for (uint32_t i = 0; i < inode->change_count; i++)
        free(inode->changes[i].bytes);
    inode->change_count = 0;
}

static void inode_free(struct inode *inode)
{
    changes_drop(inode);
    free(inode->changes);
    free(inode->durable);
    free(inode->now.entries);
    free(inode->safe.entries);
    if (inode->bytes != NULL)
        disk_space_give(inode->bytes, inode->size);
    free(inode);
}

static void keep(struct inode *inode)
{
    if (inode->kept)
        return;
    inode->kept = true;
    for (uint32_t i = 0; i < inode->now.count; i++)
        keep(inode->now.entries[i].inode);
    for (uint32_t i = 0; i < inode->safe.count; i++)
        keep(inode->safe.entries[i].inode);
}

/* Frees what has no name, now or durably, and no open file. */
void disk_collect(struct disk *disk)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < disk->inode_count; i++)
        disk->inodes[i]->kept = false;
    keep(disk->root);
    for (uint32_t i = 0; i < disk->change_count; i++) {
        keep(disk->changes[i].inode);
        keep(disk->changes[i].dir);
        if (disk->changes[i].to_dir != NULL)
            keep(disk->changes[i].to_dir);
    }
    disk->used_bytes = 0;
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        struct inode *inode = disk->inodes[i];
        if (inode->kept || inode->opens > 0) {
            disk->used_bytes += inode->size;
            disk->inodes[left++] = inode;
        } else {
            inode_free(inode);
        }
    }
    disk->inode_count = left;
}

/* ---- paths ---- */

static struct open_file *file_of(struct disk *disk, int fd)
{
    uint32_t index = (uint32_t)(fd - DISK_FIRST_FD);
    return fd >= DISK_FIRST_FD && index < disk->file_room && disk->files[index].inode != NULL ? &disk->files[index]
                                                                                              : NULL;
}

/* Walks to the directory of the path's last name. NULL: there is none such. */
static struct inode *walk(struct disk *disk, int dirfd, const char *path, char name[NAME_BYTES])
{
    struct open_file *file = file_of(disk, dirfd);
    struct inode *dir = path[0] == '/' || dirfd == AT_FDCWD ? disk->root : file != NULL ? file->inode : NULL;
    const char *at = path;
    while (dir != NULL) {
        size_t len;
        at += strspn(at, "/");
        len = strcspn(at, "/");
        assert(len < NAME_BYTES);
        memcpy(name, at, len);
        name[len] = '\0';
        at += len;
        if (at[strspn(at, "/")] == '\0')
            return dir->directory ? dir : NULL;
        struct entry *entry = name_find(&dir->now, name);
        dir = entry != NULL && entry->inode->directory ? entry->inode : NULL;
    }
    return NULL;
}

static struct inode *look_up(struct inode *dir, const char *name)
{
    if (name[0] == '\0' || strcmp(name, ".") == 0)
        return dir;
    struct entry *entry = name_find(&dir->now, name);
    return entry != NULL ? entry->inode : NULL;
}

/* ---- faults ---- */

/* Before each call that changes something or syncs. 0, or -EIO from the crash on. */
static int change_begins(struct disk *disk)
{
    if (disk->calls++ >= disk->crash_at)
        disk->crashed = true;
    return disk->crashed ? -EIO : 0;
}

/* Is it this call, which change_begins() has counted, that fails? */
static bool fails_now(struct disk *disk)
{
    if (disk->failed || disk->calls <= disk->fail_at)
        return false;
    disk->faults[DISK_FAULT_FAILED]++;
    return disk->failed = true;
}

static int room_for(struct disk *disk, int64_t bytes)
{
    if (bytes <= 0 || disk->used_bytes + bytes <= disk->capacity_bytes)
        return 0;
    disk->faults[DISK_FAULT_FULL]++;
    return -ENOSPC;
}

/* ---- changes of names ---- */

static void note_name(struct disk *disk, enum name_kind kind, struct inode *inode, struct inode *dir, const char *name,
                      struct inode *to_dir, const char *to_name)
{
    disk->changes = grown(disk->changes, &disk->change_room, disk->change_count, sizeof *disk->changes);
    struct name_change *change = &disk->changes[disk->change_count++];
    *change = (struct name_change){.kind = kind, .inode = inode, .dir = dir, .to_dir = to_dir};
    strcpy(change->name, name);
    strcpy(change->to_name, to_name);
}

void disk_name_safe(const struct name_change *change)
{
    switch (change->kind) {
    case NAME_MADE:
        name_put(&change->dir->safe, change->name, change->inode);
        break;
    case NAME_MOVED:
        name_drop(&change->dir->safe, change->name);
        name_put(&change->to_dir->safe, change->to_name, change->inode);
        break;
    case NAME_GONE:
        name_drop(&change->dir->safe, change->name);
        break;
    }
}

static bool concerns(const struct name_change *change, const struct inode *dir)
{
    return change->dir == dir || change->to_dir == dir;
}

bool disk_same_name(const struct name_change *a, const struct name_change *b)
{
    return a->inode == b->inode || (a->dir == b->dir && strcmp(a->name, b->name) == 0) ||
           (a->to_dir != NULL && a->to_dir == b->dir && strcmp(a->to_name, b->name) == 0) ||
           (b->to_dir != NULL && b->to_dir == a->dir && strcmp(b->to_name, a->name) == 0) ||
           (a->to_dir != NULL && a->to_dir == b->to_dir && strcmp(a->to_name, b->to_name) == 0);
}

/* ---- struct io ---- */

static int disk_open(struct io *io, int dirfd, const char *path, int flags, mode_t mode)
{
    struct disk *disk = of(io);
    char name[NAME_BYTES];
    (void)mode;
    if (disk->crashed)
        return -EIO;
    struct inode *dir = walk(disk, dirfd, path, name);
    struct inode *inode = dir != NULL ? look_up(dir, name) : NULL;
    if (inode == NULL && (dir == NULL || (flags & O_CREAT) == 0))
        return -ENOENT;
    if (inode != NULL && (flags & O_CREAT) != 0 && (flags & O_EXCL) != 0)
        return -EEXIST;
    if (inode != NULL && (flags & O_DIRECTORY) != 0 && !inode->directory)
        return -ENOTDIR;
    if (inode == NULL || (flags & O_TRUNC) != 0) {
        int rc = change_begins(disk);
        if (rc != 0)
            return rc;
    }
    if (inode == NULL) {
        inode = inode_new(disk, false);
        name_put(&dir->now, name, inode);
        note_name(disk, NAME_MADE, inode, dir, name, NULL, "");
    }
    uint32_t index = 0;
    while (index < disk->file_room && disk->files[index].inode != NULL)
        index++;
    if (index == disk->file_room) {
        disk->files = grown(disk->files, &disk->file_room, index, sizeof *disk->files);
        memset(&disk->files[index], 0, (disk->file_room - index) * sizeof *disk->files);
    }
    disk->files[index] = (struct open_file){.inode = inode};
    inode->opens++;
    int fd = DISK_FIRST_FD + (int)index;
    if ((flags & O_TRUNC) != 0 && inode->size > 0)
        io->ftruncate(io, fd, 0);
    return fd;
}

static int disk_close(struct io *io, int fd)
{
    struct disk *disk = of(io);
    struct open_file *file = file_of(disk, fd);
    if (file == NULL)
        return -EBADF;
    if (file->holds_lock)
        file->inode->locked = false;
    file->inode->opens--;
    *file = (struct open_file){0};
    return 0;
}

static ssize_t disk_pread(struct io *io, int fd, void *buf, size_t len, int64_t at)
{
    struct open_file *file = file_of(of(io), fd);
    if (of(io)->crashed)
        return -EIO;
    if (file == NULL || file->inode->directory)
        return -EBADF;
    if (at >= file->inode->size)
        return 0;
    if ((int64_t)len > file->inode->size - at)
        len = (size_t)(file->inode->size - at);
    memcpy(buf, file->inode->bytes + at, len);
    return (ssize_t)len;
}

static void note_write(struct inode *inode, int64_t at, const struct iovec *iov, int iovcnt, size_t len)
{
    inode->changes = grown(inode->changes, &inode->change_room, inode->change_count, sizeof *inode->changes);
    struct change *change = &inode->changes[inode->change_count++];
    *change = (struct change){.at = at, .len = len, .bytes = malloc(len + 1)};
    assert(change->bytes != NULL);
    size_t done = 0;
    for (int i = 0; i < iovcnt && done < len; i++) {
        size_t some = iov[i].iov_len < len - done ? iov[i].iov_len : len - done;
        memcpy(change->bytes + done, iov[i].iov_base, some);
        done += some;
    }
    memcpy(inode->bytes + at, change->bytes, len);
    if (at + (int64_t)len > inode->size)
        inode->size = at + (int64_t)len;
}

static ssize_t disk_pwritev(struct io *io, int fd, const struct iovec *iov, int iovcnt, int64_t at)
{
    struct disk *disk = of(io);
    struct open_file *file = file_of(disk, fd);
    size_t len = 0;
    int rc = change_begins(disk);
    if (rc != 0)
        return rc;
    if (file == NULL || file->inode->directory)
        return -EBADF;
    for (int i = 0; i < iovcnt; i++)
        len += iov[i].iov_len;
    assert(at >= 0 && at + (int64_t)len <= FILE_BYTES_MAX);
    int64_t more = at + (int64_t)len - file->inode->size;
    if (room_for(disk, more) != 0) {
        /* As file systems do: what still fits is written, and nothing is -ENOSPC. */
        int64_t fits = disk->capacity_bytes - disk->used_bytes + ((int64_t)len - more);
        if (fits <= 0 || fits >= (int64_t)len)
            return -ENOSPC;
        len = (size_t)fits;
        more = at + fits - file->inode->size;
    }
    bool fails = fails_now(disk);
    if (fails) {
        len /= 2;
        more = at + (int64_t)len - file->inode->size;
    }
    note_write(file->inode, at, iov, iovcnt, len);
    disk->used_bytes += more > 0 ? more : 0;
    return fails ? -EIO : (ssize_t)len;
}

void disk_set_size(struct inode *inode, int64_t size)
{
    if (size < inode->size)
        memset(inode->bytes + size, 0, (size_t)(inode->size - size));
    inode->size = size;
}

static int disk_ftruncate(struct io *io, int fd, int64_t size)
{
    struct disk *disk = of(io);
    struct open_file *file = file_of(disk, fd);
    int rc = change_begins(disk);
    if (rc == 0 && file == NULL)
        rc = -EBADF;
    if (rc == 0)
        rc = room_for(disk, size - file->inode->size);
    if (rc != 0)
        return rc;
    struct inode *inode = file->inode;
    assert(size <= FILE_BYTES_MAX);
    disk->used_bytes += size - inode->size;
    disk_set_size(inode, size);
    inode->changes = grown(inode->changes, &inode->change_room, inode->change_count, sizeof *inode->changes);
    inode->changes[inode->change_count++] = (struct change){.truncation = true, .at = size};
    return 0;
}

static void put_durable(struct inode *inode, int64_t size)
{
    if (size >= inode->durable_room) {
        inode->durable_room = 2 * size + 64;
        inode->durable = realloc(inode->durable, (size_t)inode->durable_room);
        assert(inode->durable != NULL);
    }
    if (size > inode->durable_size)
        memset(inode->durable + inode->durable_size, 0, (size_t)(size - inode->durable_size));
    inode->durable_size = size;
}

/* What has changed is on the disk; of what is doomed no more than its size. */
static void changes_safe(struct inode *inode)
{
    for (uint32_t i = 0; i < inode->change_count; i++) {
        const struct change *change = &inode->changes[i];
        int64_t end = change->at + (int64_t)change->len;
        if (change->truncation || end > inode->durable_size)
            put_durable(inode, change->truncation ? change->at : end);
        if (!change->truncation && !change->doomed && change->len > 0)
            memcpy(inode->durable + change->at, change->bytes, change->len);
    }
    changes_drop(inode);
}

void disk_file_safe(struct inode *inode)
{
    put_durable(inode, inode->size);
    if (inode->size > 0)
        memcpy(inode->durable, inode->bytes, (size_t)inode->size);
    changes_drop(inode);
}

/* The changes of names that concern a directory are durable, and those before them that they build on. */
static void directory_safe(struct disk *disk, const struct inode *dir)
{
    uint32_t left = 0, count = 0, *chosen = calloc(disk->change_count + 1, sizeof *chosen); /* descending */
    assert(chosen != NULL);
    for (uint32_t i = disk->change_count; i-- > 0;) {
        bool goes = concerns(&disk->changes[i], dir);
        for (uint32_t j = 0; j < count && !goes; j++)
            goes = disk_same_name(&disk->changes[i], &disk->changes[chosen[j]]);
        if (goes)
            chosen[count++] = i;
    }
    for (uint32_t i = 0; i < disk->change_count; i++) {
        if (count > 0 && chosen[count - 1] == i) {
            count--;
            disk_name_safe(&disk->changes[i]);
        } else {
            if (left != i)
                disk->changes[left] = disk->changes[i];
            left++;
        }
    }
    disk->change_count = left;
    free(chosen);
}

static int disk_fsync(struct io *io, int fd)
{
    struct disk *disk = of(io);
    struct open_file *file = file_of(disk, fd);
    int rc = change_begins(disk);
    if (rc != 0)
        return rc;
    if (file == NULL)
        return -EBADF;
    struct inode *inode = file->inode;
    if (inode->directory) {
        directory_safe(disk, inode);
        return 0;
    }
    if (!fails_now(disk)) {
        changes_safe(inode);
        return 0;
    }
    for (uint32_t i = 0; i < inode->change_count; i++)
        inode->changes[i].doomed = true;
    return -EIO;
}

static int disk_fstat(struct io *io, int fd, struct stat *st)
{
    struct open_file *file = file_of(of(io), fd);
    if (of(io)->crashed)
        return -EIO;
    if (file == NULL)
        return -EBADF;
    *st = (struct stat){.st_ino = file->inode->number,
                        .st_size = file->inode->size,
                        .st_blocks = (file->inode->size + 511) / 512,
                        .st_blksize = 4096,
                        .st_nlink = 1,
                        .st_mode = file->inode->directory ? S_IFDIR | 0700 : S_IFREG | 0600};
    return 0;
}

/* Files have no times here. */
static int disk_set_mtime(struct io *io, int fd, int64_t mtime_ms)
{
    (void)mtime_ms;
    if (of(io)->crashed)
        return -EIO;
    return file_of(of(io), fd) == NULL ? -EBADF : 0;
}

static int disk_rename(struct io *io, int from_dirfd, const char *from, int to_dirfd, const char *to)
{
    struct disk *disk = of(io);
    char name[NAME_BYTES], to_name[NAME_BYTES];
    int rc = change_begins(disk);
    if (rc != 0)
        return rc;
    struct inode *dir = walk(disk, from_dirfd, from, name), *to_dir = walk(disk, to_dirfd, to, to_name);
    struct inode *inode = dir != NULL ? look_up(dir, name) : NULL, *there;
    if (inode == NULL || to_dir == NULL)
        return -ENOENT;
    there = look_up(to_dir, to_name);
    if (there != NULL && there->directory && (!inode->directory || there->now.count > 0))
        return inode->directory ? -ENOTEMPTY : -EISDIR;
    name_drop(&dir->now, name);
    name_put(&to_dir->now, to_name, inode);
    note_name(disk, NAME_MOVED, inode, dir, name, to_dir, to_name);
    disk_collect(disk);
    return 0;
}

static int disk_unlink(struct io *io, int dirfd, const char *path, int flags)
{
    struct disk *disk = of(io);
    char name[NAME_BYTES];
    int rc = change_begins(disk);
    if (rc != 0)
        return rc;
    struct inode *dir = walk(disk, dirfd, path, name);
    struct inode *inode = dir != NULL ? look_up(dir, name) : NULL;
    if (inode == NULL)
        return -ENOENT;
    if (inode->directory != ((flags & AT_REMOVEDIR) != 0))
        return inode->directory ? -EISDIR : -ENOTDIR;
    if (inode->directory && inode->now.count > 0)
        return -ENOTEMPTY;
    name_drop(&dir->now, name);
    note_name(disk, NAME_GONE, inode, dir, name, NULL, "");
    disk_collect(disk);
    return 0;
}

static int disk_mkdir(struct io *io, int dirfd, const char *path, mode_t mode)
{
    struct disk *disk = of(io);
    char name[NAME_BYTES];
    (void)mode;
    int rc = change_begins(disk);
    if (rc != 0)
        return rc;
    struct inode *dir = walk(disk, dirfd, path, name);
    if (dir == NULL)
        return -ENOENT;
    if (look_up(dir, name) != NULL)
        return -EEXIST;
    struct inode *inode = inode_new(disk, true);
    name_put(&dir->now, name, inode);
    note_name(disk, NAME_MADE, inode, dir, name, NULL, "");
    return 0;
}

static int disk_list(struct io *io, int dirfd, int (*each)(void *arg, const char *name), void *arg)
{
    struct disk *disk = of(io);
    struct open_file *file = file_of(disk, dirfd);
    struct names names = {0};
    int rc = 0;
    if (disk->crashed)
        return -EIO;
    if (file == NULL || !file->inode->directory)
        return -EBADF;
    disk_names_copy(&names, &file->inode->now); /* each() may change what is there */
    for (uint32_t i = 0; i < names.count && rc == 0; i++)
        rc = each(arg, names.entries[i].name);
    free(names.entries);
    return rc;
}

static int disk_map(struct io *io, int fd, size_t len, const void **out)
{
    struct open_file *file = file_of(of(io), fd);
    if (of(io)->crashed)
        return -EIO;
    if (file == NULL || file->inode->directory)
        return -EBADF;
    (void)len;            /* of which there is no more than a file can be */
    file->inode->opens++; /* for ever: what is mapped stays, until disk_restart() */
    *out = file->inode->bytes;
    return 0;
}

static int disk_unmap(struct io *io, const void *addr, size_t len)
{
    struct disk *disk = of(io);
    (void)len;
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        if (disk->inodes[i]->bytes == addr && addr != NULL) {
            disk->inodes[i]->opens--;
            return 0;
        }
    }
    return -EINVAL;
}

/* A write of this disk takes what it needs. */
static int disk_allocate(struct io *io, int fd, int64_t at, int64_t len)
{
    (void)io, (void)fd, (void)at, (void)len;
    return -EOPNOTSUPP;
}

static int disk_lock(struct io *io, int fd)
{
    struct open_file *file = file_of(of(io), fd);
    if (of(io)->crashed)
        return -EIO;
    if (file == NULL)
        return -EBADF;
    if (file->inode->locked && !file->holds_lock)
        return -EWOULDBLOCK;
    file->inode->locked = file->holds_lock = true;
    return 0;
}

static const struct io disk_io = {
    .open = disk_open,
    .close = disk_close,
    .pread = disk_pread,
    .pwritev = disk_pwritev,
    .ftruncate = disk_ftruncate,
    .allocate = disk_allocate,
    .fdatasync = disk_fsync,
    .fsync = disk_fsync,
    .fstat = disk_fstat,
    .set_mtime = disk_set_mtime,
    .rename = disk_rename,
    .unlink = disk_unlink,
    .mkdir = disk_mkdir,
    .list = disk_list,
    .map = disk_map,
    .unmap = disk_unmap,
    .lock = disk_lock,
};

/* ---- life and death ---- */

void disk_init(struct disk *disk, uint64_t seed)
{
    *disk = (struct disk){
        .io = disk_io, .random = seed, .capacity_bytes = INT64_MAX, .crash_at = UINT64_MAX, .fail_at = UINT64_MAX};
    disk->root = inode_new(disk, true);
}

void disk_free(struct disk *disk)
{
    for (uint32_t i = 0; i < disk->inode_count; i++)
        inode_free(disk->inodes[i]);
    free(disk->inodes);
    free(disk->files);
    free(disk->changes);
}

void disk_wipe(struct disk *disk)
{
    struct disk old = *disk;
    disk_free(disk);
    disk_init(disk, old.random);
    disk->capacity_bytes = old.capacity_bytes;
    memcpy(disk->faults, old.faults, sizeof old.faults);
}

void disk_crash_after(struct disk *disk, uint64_t n)
{
    disk->crash_at = disk->calls + n;
}

void disk_fail_after(struct disk *disk, uint64_t n)
{
    disk->fail_at = disk->calls + n;
}
