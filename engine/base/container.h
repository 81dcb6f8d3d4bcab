/* engine/base/container.h: from an embedded struct to the one that embeds it. */
#ifndef LOGMNT_ENGINE_BASE_CONTAINER_H
#define LOGMNT_ENGINE_BASE_CONTAINER_H

#include <stddef.h>

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
