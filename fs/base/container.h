/* fs/base/container.h: from an embedded struct to the one that embeds it. */
#ifndef LOGMNT_FS_BASE_CONTAINER_H
#define LOGMNT_FS_BASE_CONTAINER_H

#include <stddef.h>

#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
