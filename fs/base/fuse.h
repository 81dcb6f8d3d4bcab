/* fs/base/fuse.h: the one place that names libfuse's headers and the version of its interface we write to. */
#ifndef LOGMNT_FS_BASE_FUSE_H
#define LOGMNT_FS_BASE_FUSE_H

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 314
#endif
#include <fuse_lowlevel.h>

#endif
