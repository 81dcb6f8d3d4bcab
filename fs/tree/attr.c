#include "fs/tree/attr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/tree/group_attr.h"
#include "fs/tree/pagecache.h"

enum { DIR_TIMEOUT_S = 1, CLOSED_SEGMENT_TIMEOUT_S = 86400 };

/* A record's JSON: names, numbers and quotes come to 151 bytes; a byte of a line to 6 (\u0000) and a third more for the
 * base64 of a line that is not UTF-8; one of MessagePack to 12.7 (an ext of three bytes as a key) and likewise. */
enum { JSON_RECORD_BYTES = 192, JSON_LINE_FACTOR = 8, JSON_MSGPACK_FACTOR = 16, JSON_SIZE_UNIT = 4096 };

static struct timespec from_ms(int64_t ms)
{
    return (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
}

void attr_set_times(struct stat *st, int64_t mtime_ms, int64_t ctime_ms)
{
    if (mtime_ms < 0)
        mtime_ms = ctime_ms;
    st->st_mtim = st->st_atim = from_ms(mtime_ms);
    st->st_ctim = from_ms(ctime_ms > mtime_ms ? ctime_ms : mtime_ms);
}

int64_t attr_json_size(enum framing framing, int64_t records, int64_t bytes)
{
    int64_t factor = framing == FRAMING_LINE ? JSON_LINE_FACTOR : JSON_MSGPACK_FACTOR;
    int64_t size, heads;

    if (records <= 0)
        return 0;
    if (__builtin_mul_overflow(bytes, factor, &size) || __builtin_mul_overflow(records, JSON_RECORD_BYTES, &heads) ||
        __builtin_add_overflow(size, heads, &size) || __builtin_add_overflow(size, JSON_SIZE_UNIT - 1, &size))
        size = INT64_MAX;
    return size - size % JSON_SIZE_UNIT;
}

static void json_stat(const struct vnode *vnode, struct log_point high_watermark, struct stat *st)
{
    struct log_point start = vnode_addressed(vnode) ? vnode->start : partition_log_start(vnode->pfile->part);
    struct topic_config config;

    topic_config(vnode->topic, &config);
    st->st_size = attr_json_size(config.log.framing, high_watermark.offset - start.offset,
                                 high_watermark.position - start.position);
    st->st_blocks = st->st_size / 512; /* fewer would say that there are holes in it */
}

/* Of a file of size 0 the kernel answers sendfile(2) and splice(2) itself: that is the end. So an endless one has a
 * byte at least, which it will have, and they come to us, and are refused. */
static void partition_stat(const struct vnode *vnode, const struct tree_attr *attr, struct stat *st)
{
    struct partition *part = vnode->pfile->part;
    struct log_point high_watermark = partition_high_watermark(part);
    int64_t end = pagecache_shown(vnode->pfile, high_watermark.position);
    int64_t mtime_ms = partition_mtime_ms(part);
    struct log_size size;
    partition_size(part, &size);
    /* One that was never appended to is as old as the newest name in its directory: on every host. */
    attr_set_times(st, mtime_ms >= 0 ? mtime_ms : attr->mtime_ms, attr->ctime_ms);
    st->st_mode = S_IFREG | attr->file_mode;
    st->st_size = end;
    st->st_blocks = (size.retained_bytes + 511) / 512;
    if (vnode_addressed(vnode)) {
        st->st_size = end > vnode->start.position ? end - vnode->start.position : 0;
        if (st->st_blocks > (st->st_size + 511) / 512)
            st->st_blocks = (st->st_size + 511) / 512;
    }
    if (vnode->key.kind != VNODE_PARTITION || vnode_addressed(vnode))
        st->st_mode &= S_IFREG | 0444;
    if (atomic_load(&vnode->writers) > 0 && partition_has_others(part))
        st->st_blksize = ATTR_REMOTE_BLKSIZE;
    if (vnode->key.kind == VNODE_FOLLOW && st->st_size == 0)
        st->st_size = 1;
    if (vnode->key.kind == VNODE_JSON)
        json_stat(vnode, high_watermark, st);
}

static int segment_stat(struct vnode *vnode, const struct tree_attr *attr, struct stat *st, bool *closed)
{
    struct log_file file;
    struct err e = {0};
    int rc = partition_file_find(vnode->pfile->part, vnode->key.start, (enum segment_file)vnode->key.extra, &file, &e);
    if (rc == 0 && file.generation != vnode->key.generation)
        rc = -ENOENT;
    *closed = rc == 0 && !file.active;
    struct stat open_file;
    if ((rc == -ENOENT || rc == -ESTALE) && passthrough_stat(&vnode->pass, &open_file)) {
        /* Deleted, with its topic perhaps, or rewritten, and still open. */
        file.mtime_ms = open_file.st_mtim.tv_sec * 1000 + open_file.st_mtim.tv_nsec / 1000000;
        file.size = open_file.st_size;
        rc = 0;
    }
    attr_set_times(st, rc != 0 ? 0 : file.mtime_ms, 0);
    st->st_mode = S_IFREG | (attr->file_mode & 0444);
    st->st_size = rc != 0 ? 0 : file.size;
    st->st_blocks = (st->st_size + 511) / 512;
    return rc;
}

static int topic_stat(struct vnode *vnode, struct stat *st, bool *closed)
{
    struct tree_attr attr;
    topic_attr(vnode->topic, &attr);
    st->st_uid = attr.uid;
    st->st_gid = attr.gid;
    if (topic_deleted(vnode->topic) && vnode->key.kind != VNODE_SEGMENT_FILE)
        return -ESTALE;
    switch (vnode->key.kind) {
    case VNODE_PARTITION:
    case VNODE_FOLLOW:
    case VNODE_JSON:
        partition_stat(vnode, &attr, st);
        return 0;
    case VNODE_ANY:
        attr_set_times(st, attr.mtime_ms, attr.ctime_ms);
        st->st_mode = S_IFREG | (attr.file_mode & 0222);
        return 0;
    case VNODE_SEGMENT_FILE:
        return segment_stat(vnode, &attr, st, closed);
    case VNODE_TOPIC:
        attr_set_times(st, attr.mtime_ms, attr.ctime_ms);
        st->st_mode = S_IFDIR | attr.dir_mode;
        break;
    default:
        attr_set_times(st, attr.mtime_ms, attr.ctime_ms);
        st->st_mode = S_IFDIR | (attr.dir_mode & 0555);
    }
    st->st_nlink = 2;
    return 0;
}

double attr_entry_timeout(const struct vnode *vnode)
{
    switch (vnode->key.kind) {
    case VNODE_PARTITION:
    case VNODE_ANY:
    case VNODE_FOLLOW:
    case VNODE_JSON:
    case VNODE_SEGMENT_FILE:
    case VNODE_STATUS: /* each look is another node, likewise of streams */
    case VNODE_GROUP_STREAM:
    case VNODE_GROUP_JSON:
        return 0;
    default:
        return DIR_TIMEOUT_S;
    }
}

/* Seconds; closed: a segment's file that does not change any more. */
static double timeout_of(const struct vnode *vnode, bool closed)
{
    if (closed)
        return CLOSED_SEGMENT_TIMEOUT_S;
    if (vnode->key.kind == VNODE_STATUS)
        return DIR_TIMEOUT_S;
    /* The mode of a directory of views is its topic's or its group's, whose chmod the kernel does not see as theirs. */
    if ((vnode->topic != NULL && vnode->key.kind != VNODE_TOPIC) || vnode->key.kind == VNODE_GROUP_JSON_DIR)
        return 0;
    return attr_entry_timeout(vnode);
}

/* As attr_stat(); *closed: as in timeout_of(), by the same look as the size. */
static int any_stat(fuse_req_t req, struct vnode *vnode, struct stat *st, bool *closed)
{
    struct session *session = session_of(req);
    memset(st, 0, sizeof *st);
    st->st_ino = tree_ino(&vnode->key);
    st->st_nlink = 1;
    st->st_blksize = ATTR_BLKSIZE;
    if (group_kind(vnode))
        return group_stat(req, vnode, st);
    if (vnode->topic != NULL)
        return topic_stat(vnode, st, closed);
    struct tree_attr attr;
    node_root_attr(session->node, &attr);
    st->st_uid = attr.uid;
    st->st_gid = attr.gid;
    attr_set_times(st, attr.mtime_ms, attr.ctime_ms);
    if (vnode->key.kind == VNODE_STATUS) {
        attr_set_times(st, vnode->made_ms, vnode->made_ms);
        st->st_mode = S_IFREG | 0444;
        st->st_size = (off_t)vnode->text_len;
        st->st_blocks = (st->st_size + 511) / 512;
        return 0;
    }
    st->st_mode = S_IFDIR | (vnode->key.kind == VNODE_ROOT ? attr.dir_mode : attr.dir_mode & 0555);
    st->st_nlink = 2;
    return 0;
}

int attr_stat(fuse_req_t req, struct vnode *vnode, struct stat *st, double *timeout)
{
    bool closed = false;
    int rc = any_stat(req, vnode, st, &closed);
    *timeout = timeout_of(vnode, closed);
    return rc;
}

bool attr_in_group(fuse_req_t req, gid_t gid)
{
    enum { SOME_GROUPS = 64 };
    gid_t some[SOME_GROUPS], *all = some;
    bool found = fuse_req_ctx(req)->gid == gid;
    int count = found ? 0 : fuse_req_getgroups(req, SOME_GROUPS, some);

    if (count > SOME_GROUPS) {
        int room = count;
        all = malloc((size_t)room * sizeof *all);
        count = all != NULL ? fuse_req_getgroups(req, room, all) : 0;
        if (count > room) /* they were others meanwhile */
            count = room;
    }
    for (int i = 0; i < count && !found; i++)
        found = all[i] == gid;
    if (all != some)
        free(all);
    return found;
}

void attr_now(struct session *session, const struct vnode *vnode, struct tree_attr *attr)
{
    if (vnode->topic != NULL)
        topic_attr(vnode->topic, attr);
    else if (vnode->group != NULL)
        node_group_attr(vnode->group, attr);
    else if (vnode->key.kind == VNODE_GROUPS_DIR)
        node_groups_attr(session->node, attr);
    else
        node_root_attr(session->node, attr);
}

bool attr_is_owner(struct session *session, const struct vnode *vnode, uid_t uid)
{
    struct tree_attr attr;
    attr_now(session, vnode, &attr);
    return uid == 0 || uid == attr.uid;
}
