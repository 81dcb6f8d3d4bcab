/* fs/tree/evictor.h: the kernel forgets addresses that nobody uses any more.
 *
 * It keeps a name that was looked up, and with it our node, until it runs short of memory. There are as many addresses
 * (0@5678) as there are records, so the latest ones are remembered here, in a table by their hash; one that is pushed
 * out of it is looked up once more, from outside (outside.h), and that LOOKUP is answered ENOENT: then the kernel drops
 * the name, and forgets the node as soon as it is not open either. */
#ifndef LOGMNT_FS_TREE_EVICTOR_H
#define LOGMNT_FS_TREE_EVICTOR_H

#include "fs/base/session.h"
#include "fs/tree/tree.h"

struct evictor;

struct evictor *evictor_new(struct session *session); /* NULL: no memory, no thread */
/* After the mount is gone (a call through it has returned by then). */
void evictor_free(struct evictor *evictor);
/* The LOOKUP of this address is being answered. Any thread. */
void evictor_note(struct evictor *evictor, const struct vnode *vnode, const char *name);

#endif
