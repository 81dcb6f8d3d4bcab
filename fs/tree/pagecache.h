/* fs/tree/pagecache.h: what the kernel's page cache may hold of one partition, and when it has to go.
 *
 * sendfile, splice and private mappings read a partition through the kernel's cache, page by page. Two things make a
 * page there wrong: the partition grows, and the page that ended at the old high watermark shows NULs behind it from
 * when the kernel believes the new size until it drops the page; and a hole is made, and the page goes on showing what
 * is not there any more. So it is remembered which nodes have pages, and up to where the last one of each was filled
 * with records (its end). Before anybody is told of a size beyond that, and when a hole has been made, all pages are
 * dropped; who looks meanwhile is parked behind a fence.
 *
 *            a READ fills pages                 a look finds a greater high watermark, or a hole is made
 *   EMPTY ------------------------> FILLED ------------------------------------------------> DROPPING
 *     ^                               ^  |  fills more                                          |
 *     |                               |  +--> FILLED                                            |
 *     |  nothing was filled meanwhile |  something was                                          |
 *     +-------------------------------+---------------------------------------------------------+
 *
 * Dropping waits for pages whose READ is under way, so it is done by a thread of the pool, never by one that answers
 * READs, and with no lock held.
 *
 * What the kernel does within one call, between finding a page and looking at the size, is out of reach: a thread that
 * loses the CPU just there for as long as a drop and a look take would still show NULs. So that it hardly ever gets the
 * occasion, who asks first while the partition is being appended to is not served out of the cache at all (consume.c),
 * and nobody is given its last page where it has been dropped LIMIT_DROPS times within a second. */
#ifndef LOGMNT_FS_TREE_PAGECACHE_H
#define LOGMNT_FS_TREE_PAGECACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/base/fuse.h"

struct pfile;
struct session;
struct pagecache;

/* The pfile is going, and each of its nodes has gone. NULL: nothing. */
void pagecache_free(struct pagecache *cache);

/* Before a READ of node `id` that ends at `end` (a position of the partition) is answered through the cache: notes that
 * the node has pages. *limit is the high watermark that the answer goes up to. 0 or -ENOMEM. -EINVAL: not now
 * (LIMIT_CACHED_NODES, LIMIT_DROPS). Holes are looked for behind this call: one that is made later is heard of. */
int pagecache_fill(struct pfile *pfile, struct session *session, fuse_ino_t id, int64_t end, int64_t *limit);

/* Of a high watermark's position, read before this call, what may be shown: no more than each page knows of. */
int64_t pagecache_shown(struct pfile *pfile, int64_t position);

/* Begins to drop all pages if they would be wrong for who looks now: whoever is told of the fence by pagecache_fence()
 * then waits. One load where nothing is cached. */
void pagecache_look(struct pfile *pfile);
/* A WRITE through node `id`, of which the kernel raises the size by itself when it is answered: begins to drop its
 * pages if there are such as end at a high watermark. As pagecache_look(). Since the node's count of appenders was
 * raised before this, no READ fills such a page until they are flushed (consume.c). */
void pagecache_append(struct pfile *pfile, fuse_ino_t id);
/* NULL: there was never anything to wait for. */
struct fence *pagecache_fence(struct pfile *pfile);

#endif
