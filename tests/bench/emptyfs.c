/* tests/bench/emptyfs.c: baseline E: what any libfuse file system costs that does nothing.
 *
 * MOUNT/bench/0 … 15 take appends and throw them away, and serve `size` zeros. What the kernel sees of it is what it
 * sees of logmnt: the same capabilities, sizes, timeouts, open flags and worker threads (fs/serve/serve.c,
 * fs/base/limits.h), the same depth of path, so that the same calls of a program make the same requests.
 *
 *   emptyfs [-o size=BYTES] MOUNTPOINT      stays in the foreground; fusermount3 -u or SIGTERM ends it
 */
#include "fs/base/fuse.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/base/limits.h"
#include "fs/tree/attr.h"

enum {
    NODE_TOPIC = 2,
    NODE_PARTITION = 16, /* of partition 0 */
    PARTITIONS = 16,
};

/* Of directories; those of partitions are 0, so that growth is seen at once. */
static const double DIRECTORY_TIMEOUT_S = 1.0;

struct empty {
    unsigned long size;
    char *zeros; /* LIMIT_REQUEST_BYTES */
};

static struct empty empty;

static const struct fuse_opt options[] = {
    {"size=%lu", offsetof(struct empty, size), 1},
    FUSE_OPT_END,
};

static int is_partition(fuse_ino_t ino)
{
    return ino >= NODE_PARTITION && ino < NODE_PARTITION + PARTITIONS;
}

static double attributes(fuse_ino_t ino, struct stat *st)
{
    memset(st, 0, sizeof *st);
    st->st_ino = ino;
    st->st_uid = getuid();
    st->st_gid = getgid();
    if (is_partition(ino) == 0) {
        st->st_mode = S_IFDIR | 0755;
        st->st_nlink = 2;
        return DIRECTORY_TIMEOUT_S;
    }
    st->st_mode = S_IFREG | 0644;
    st->st_nlink = 1;
    st->st_size = (off_t)empty.size;
    st->st_blksize = ATTR_BLKSIZE;
    return 0;
}

static void empty_init(void *userdata, struct fuse_conn_info *conn)
{
    (void)userdata;
    conn->max_write = LIMIT_REQUEST_BYTES;
    conn->max_background = 65535;
    conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_MOVE);
    conn->want |= conn->capable & FUSE_CAP_SPLICE_WRITE;
}

static void empty_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry = {0};
    char *end;
    unsigned long n = strtoul(name, &end, 10);

    if (parent == FUSE_ROOT_ID && strcmp(name, "bench") == 0)
        entry.ino = NODE_TOPIC;
    else if (parent == NODE_TOPIC && end != name && *end == '\0' && n < PARTITIONS)
        entry.ino = NODE_PARTITION + n;
    if (entry.ino == 0) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    entry.attr_timeout = attributes(entry.ino, &entry.attr);
    entry.entry_timeout = entry.attr_timeout;
    fuse_reply_entry(req, &entry);
}

static void empty_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct stat st;
    double timeout_s = attributes(ino, &st);

    (void)fi;
    fuse_reply_attr(req, &st, timeout_s);
}

static void empty_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    (void)ino;
    (void)name;
    (void)size;
    fuse_reply_err(req, EOPNOTSUPP);
}

static void empty_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    fi->direct_io = 1;
    fuse_reply_open(req, fi);
}

static void empty_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
    size_t left = offset < (off_t)empty.size ? empty.size - (size_t)offset : 0;

    (void)ino;
    (void)fi;
    if (left > LIMIT_REQUEST_BYTES)
        left = LIMIT_REQUEST_BYTES;
    fuse_reply_buf(req, empty.zeros, size < left ? size : left);
}

static void empty_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
                        struct fuse_file_info *fi)
{
    (void)ino;
    (void)bytes;
    (void)offset;
    (void)fi;
    fuse_reply_write(req, size);
}

static void empty_done(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    (void)fi;
    fuse_reply_err(req, 0);
}

static const struct fuse_lowlevel_ops operations = {
    .init = empty_init,
    .lookup = empty_lookup,
    .getattr = empty_getattr,
    .getxattr = empty_getxattr,
    .open = empty_open,
    .read = empty_read,
    .write = empty_write,
    .flush = empty_done,
    .release = empty_done,
};

static int serve(struct fuse_session *session)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    int rc;

    if (config == NULL)
        return -ENOMEM;
    fuse_loop_cfg_set_clone_fd(config, 1);
    fuse_loop_cfg_set_max_threads(config, LIMIT_WORKERS);
    fuse_loop_cfg_set_idle_threads(config, LIMIT_WORKERS);
    rc = fuse_session_loop_mt(session, config);
    fuse_loop_cfg_destroy(config);
    return rc;
}

int main(int argc, char **argv)
{
    struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
    struct fuse_cmdline_opts command = {0};
    struct fuse_session *session = NULL;
    int rc = 1;

    empty.zeros = calloc(1, LIMIT_REQUEST_BYTES);
    if (empty.zeros == NULL || fuse_opt_parse(&args, &empty, options, NULL) != 0 ||
        fuse_parse_cmdline(&args, &command) != 0 || command.mountpoint == NULL ||
        fuse_opt_add_arg(&args, "-odefault_permissions,fsname=emptyfs") != 0)
        goto out;
    session = fuse_session_new(&args, &operations, sizeof operations, NULL);
    if (session == NULL || fuse_set_signal_handlers(session) != 0 ||
        fuse_session_mount(session, command.mountpoint) != 0)
        goto out;
    rc = serve(session) < 0;
    fuse_session_unmount(session);
out:
    if (session != NULL) {
        fuse_remove_signal_handlers(session);
        fuse_session_destroy(session);
    }
    free(command.mountpoint);
    fuse_opt_free_args(&args);
    free(empty.zeros);
    return rc;
}
