/* replication/metadata/tree_attr.h: what stat(2) shows of a topic or of MOUNT, and is not worked out. */
#ifndef LOGMNT_REPLICATION_METADATA_TREE_ATTR_H
#define LOGMNT_REPLICATION_METADATA_TREE_ATTR_H

#include <stdint.h>
#include <sys/types.h>

/* Owner, group, modes (permission bits and S_ISGID, S_ISVTX, no type), times. */
struct tree_attr {
    uid_t uid;
    gid_t gid;
    mode_t dir_mode;  /* of the directory */
    mode_t file_mode; /* of the partitions and their views */
    int64_t ctime_ms; /* last change of any of this */
    int64_t mtime_ms; /* of the directory: a name came or went */
};

/* Some of them. */
enum { ATTR_UID = 1, ATTR_GID = 2, ATTR_DIR_MODE = 4, ATTR_FILE_MODE = 8 };

#endif
