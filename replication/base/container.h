/* replication/base/container.h: from an embedded struct to its embedder. */
#ifndef LOGMNT_REPLICATION_BASE_CONTAINER_H
#define LOGMNT_REPLICATION_BASE_CONTAINER_H

#include <stddef.h>

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
