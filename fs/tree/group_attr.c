#include "fs/tree/group_attr.h"

#include <errno.h>
#include <unistd.h>

#include "fs/tree/attr.h"

bool group_kind(const struct vnode *vnode)
{
    return vnode->group != NULL || vnode->key.kind == VNODE_GROUPS_DIR;
}

/* ---- rights ---- */

mode_t group_mode(mode_t mode)
{
    return mode | (mode & 0444) >> 2;
}

/* How far to the left the caller's three bits of a mode are. */
static int class_of(fuse_req_t req, const struct tree_attr *attr)
{
    enum { OWNER = 6, GROUP = 3, OTHERS = 0 };

    if (fuse_req_ctx(req)->uid == attr->uid)
        return OWNER;
    return attr_in_group(req, attr->gid) ? GROUP : OTHERS;
}

bool group_may(fuse_req_t req, struct node_group *group, int rights)
{
    struct tree_attr attr;

    node_group_attr(group, &attr);
    return fuse_req_ctx(req)->uid == 0 || (attr.dir_mode >> class_of(req, &attr) & (mode_t)rights) == (mode_t)rights;
}

static mode_t stream_mode(fuse_req_t req, const struct tree_attr *entry, struct topic *topic)
{
    struct tree_attr attr;
    mode_t mode, readable;

    topic_attr(topic, &attr);
    readable = attr.file_mode & attr.dir_mode << 2; /* x on the directory, as on the way to its other views */
    mode = entry->dir_mode & readable & 0444;
    if (fuse_req_ctx(req)->uid != 0 && (entry->uid != attr.uid || entry->gid != attr.gid)) {
        int class = class_of(req, entry);
        mode_t both = entry->dir_mode >> class & readable >> class_of(req, &attr) & 04;
        mode = (mode & ~((mode_t)04 << class)) | both << class;
    }
    return mode | mode >> 1;
}

int64_t group_lag(struct partition *part, int64_t committed)
{
    int64_t start = partition_log_start(part).offset, end = partition_high_watermark(part).offset;
    int64_t from = committed > start ? committed : start; /* GROUP_OFFSET_NONE is below all */

    return end > from ? end - from : 0;
}

/* ---- what stat(2) says ---- */

/* A stream has no size that would be true. With 0 sendfile(2) copies nothing and says that this was all; so it is what
 * there is in all partitions, in whole pages, which `wc -c` does not believe (attr_json_size()), and one where there is
 * nothing. */
static void stream_stat(const struct vnode *vnode, struct stat *st, int64_t ctime_ms)
{
    enum { SIZE_UNIT = 4096 };
    int64_t records = 0, bytes = 0, mtime_ms = -1;
    struct topic_config config;

    for (int32_t i = 0; i < topic_partition_count(vnode->topic); i++) {
        struct partition *part = topic_partition(vnode->topic, i);
        struct log_point start = partition_log_start(part), end = partition_high_watermark(part);
        records += end.offset - start.offset;
        bytes += end.position - start.position;
        if (partition_mtime_ms(part) > mtime_ms)
            mtime_ms = partition_mtime_ms(part);
    }
    attr_set_times(st, mtime_ms, ctime_ms);
    topic_config(vnode->topic, &config);
    st->st_size = vnode->key.kind == VNODE_GROUP_JSON ? attr_json_size(config.log.framing, records, bytes)
                                                      : (bytes + SIZE_UNIT - 1) / SIZE_UNIT * SIZE_UNIT;
    if (st->st_size == 0)
        st->st_size = SIZE_UNIT;
    st->st_blocks = st->st_size / 512;
}

int group_stat(fuse_req_t req, struct vnode *vnode, struct stat *st)
{
    struct tree_attr attr;

    if (vnode_deleted(vnode))
        return -ESTALE;
    if (vnode->group == NULL)
        node_groups_attr(session_of(req)->node, &attr);
    else
        node_group_attr(vnode->group, &attr);
    st->st_uid = attr.uid;
    st->st_gid = attr.gid;
    if (vnode_kind_is_stream(vnode->key.kind)) {
        stream_stat(vnode, st, attr.ctime_ms);
        st->st_mode = S_IFREG | stream_mode(req, &attr, vnode->topic);
        return 0;
    }
    attr_set_times(st, attr.mtime_ms, attr.ctime_ms);
    st->st_mode = S_IFDIR | (vnode->key.kind == VNODE_GROUP_JSON_DIR ? attr.dir_mode & 0555 : attr.dir_mode);
    st->st_nlink = 2;
    return 0;
}
