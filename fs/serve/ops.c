#include "fs/serve/ops.h"

#include <pthread.h>

#include "fs/base/limits.h"

static void do_init(void *userdata, struct fuse_conn_info *conn)
{
    struct session *session = userdata;
    conn->max_write = LIMIT_REQUEST_BYTES;
    conn->max_background = 65535; /* a RELEASE is not to wait in the kernel's queue (fence.h) */
    conn->congestion_threshold = 65535;
    if ((conn->capable & FUSE_CAP_SPLICE_WRITE) != 0)
        conn->want |= FUSE_CAP_SPLICE_WRITE;
    conn->want &= ~(unsigned)(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_SPLICE_READ | FUSE_CAP_ASYNC_DIO);
    if (session->ready != NULL)
        session->ready(session->ready_arg);
}

static struct fuse_lowlevel_ops table;
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void fill_table(void)
{
    table.init = do_init;
    ops_attr_register(&table);
    ops_xattr_register(&table);
    ops_tree_register(&table);
    ops_lookup_register(&table);
    ops_file_register(&table);
    ops_dir_register(&table);
    ops_lock_register(&table);
}

const struct fuse_lowlevel_ops *ops_table(void)
{
    pthread_once(&table_once, fill_table);
    return &table;
}
