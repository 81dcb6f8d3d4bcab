/* fs/consume/group_stream_attr.c: what an open file of a stream shows as extended attributes, and the one that can be
 * set. An attribute comes with a node and no file handle; each look-up of a stream's name gives a node of its own, so
 * that is the open file's, unless another one came to it without a look-up.
 */
#include "fs/consume/group_stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/consume/group_stream_internal.h"
#include "fs/consume/reader.h"
#include "fs/tree/xattr.h"

static const char partitions_name[] = "user.group.partitions", positions_name[] = "user.group.positions",
                  skipped_name[] = "user.log.skipped", commit_name[] = "user.group.commit";

/* The node's open file, referenced. 0; -EBUSY: there are several; `none`: there is none; -ESTALE. */
static int handle_of_node(fuse_req_t req, struct vnode *vnode, int none, struct handle **out)
{
    int count = handles_of(session_of(req)->handles, vnode, out);
    if (count == 1)
        return 0;
    return vnode_deleted(vnode) ? -ESTALE : count == 0 ? none : -EBUSY;
}

/* ---- showing ---- */

/* A part's partition, or with what is to be delivered next; a comma between them. Under the handle's lock. NULL: no
 * memory. */
static char *list_parts(struct group_stream *stream, bool positions)
{
    enum { ENTRY_BYTES = 34 }; /* 2^31, a colon, 2^63, a comma */
    (void)stream_update(stream);
    char *text = malloc(stream->count * ENTRY_BYTES + 1);
    size_t len = 0;
    if (text == NULL)
        return NULL;
    text[0] = '\0';
    for (size_t i = 0; i < stream->count; i++) {
        const struct group_part *part = stream->parts[i];
        int64_t unfinished = group_map_unfinished(&stream->map, part->owner);
        if (part->revoked)
            continue;
        len += (size_t)sprintf(text + len, "%s%" PRId32, len > 0 ? "," : "", part->owner.partition);
        if (positions)
            len += (size_t)sprintf(text + len, ":%" PRId64, unfinished >= 0 ? unfinished : part->next.offset);
    }
    return text;
}

/* malloc-ed. NULL: *rc says why not. */
static char *value_of(struct handle *handle, const char *name, int *rc)
{
    struct group_stream *stream = handle->reader->group;
    char *text = NULL;
    *rc = -ENOMEM;
    pthread_mutex_lock(&handle->lock);
    if (strcmp(name, partitions_name) == 0)
        text = list_parts(stream, false);
    else if (strcmp(name, positions_name) == 0)
        text = list_parts(stream, true);
    else if (strcmp(name, skipped_name) != 0)
        *rc = -ENODATA;
    else if (asprintf(&text, "%" PRId64, stream->skipped) < 0)
        text = NULL;
    pthread_mutex_unlock(&handle->lock);
    return text;
}

void group_stream_getxattr(fuse_req_t req, struct vnode *vnode, const char *name, size_t size)
{
    struct handle *handle;
    int rc = strncmp(name, "user.", strlen("user.")) == 0 ? 0 : -EOPNOTSUPP; /* labels and ACLs */
    if (rc == 0)
        rc = handle_of_node(req, vnode, -ENODATA, &handle);
    if (rc != 0) {
        fuse_reply_err(req, -rc);
        return;
    }
    char *text = value_of(handle, name, &rc);
    if (text != NULL)
        xattr_reply(req, text, strlen(text), size);
    else
        fuse_reply_err(req, -rc);
    free(text);
    handle_unref(handle);
}

void group_stream_listxattr(fuse_req_t req, struct vnode *vnode, size_t size)
{
    char names[sizeof partitions_name + sizeof positions_name + sizeof skipped_name];
    struct handle *handle;
    int rc = handle_of_node(req, vnode, -ENODATA, &handle);
    if (rc == -ENODATA) {
        xattr_reply(req, names, 0, size);
        return;
    }
    if (rc != 0) {
        fuse_reply_err(req, -rc);
        return;
    }
    memcpy(names, partitions_name, sizeof partitions_name);
    memcpy(names + sizeof partitions_name, positions_name, sizeof positions_name);
    memcpy(names + sizeof partitions_name + sizeof positions_name, skipped_name, sizeof skipped_name);
    xattr_reply(req, names, sizeof names, size);
    handle_unref(handle);
}

/* ---- setting ---- */

static bool is_shown(const char *name)
{
    return strcmp(name, partitions_name) == 0 || strcmp(name, positions_name) == 0 || strcmp(name, skipped_name) == 0;
}

/* A position as text of `size` bytes. -EINVAL: it is none. */
static int64_t position_of(const char *value, size_t size)
{
    int64_t pos = 0;
    for (size_t i = 0; i < size; i++) {
        if (value[i] < '0' || value[i] > '9' || pos > (INT64_MAX - 9) / 10)
            return -EINVAL;
        pos = pos * 10 + (value[i] - '0');
    }
    return pos;
}

void group_stream_setxattr(fuse_req_t req, struct vnode *vnode, const char *name, const char *value, size_t size)
{
    struct handle *handle = NULL;
    int64_t pos = position_of(value, size);
    int rc = handle_of_node(req, vnode, -EINVAL, &handle);
    if (rc == 0 && is_shown(name))
        rc = -EPERM;
    else if (rc == 0 && (strcmp(name, commit_name) != 0 || pos < 0))
        rc = -EINVAL;
    if (rc != 0)
        fuse_reply_err(req, -rc);
    else if (size == 0)
        group_stream_fsync(req, handle);
    else
        group_stream_commit(req, handle, pos);
    if (handle != NULL)
        handle_unref(handle);
}

void group_stream_removexattr(fuse_req_t req, struct vnode *vnode, const char *name)
{
    struct handle *handle;
    int rc = handle_of_node(req, vnode, -ENODATA, &handle);
    if (rc == 0)
        handle_unref(handle);
    fuse_reply_err(req, rc != 0 ? -rc : is_shown(name) ? EPERM : ENODATA);
}
