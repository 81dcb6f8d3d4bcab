/* replication/base/properties.h: small text files of key=value lines under a first line that names the file's kind, and
 * a version=1. docs/DISK_FORMAT.md. */
#ifndef LOGMNT_REPLICATION_BASE_PROPERTIES_H
#define LOGMNT_REPLICATION_BASE_PROPERTIES_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"
#include "engine/base/io.h"

/* The text, malloc-ed, the caller's. -ENOENT; -EBADMSG: it is too long for one; errnos of the disk. */
int properties_read(struct io *io, int dirfd, const char *file, char **text, struct err *e);
/* The first line is this one, and the version is known. */
bool properties_are(const char *text, const char *magic);
/* The value of key; false: it is not there or longer than size - 1. */
bool properties_value(const char *text, const char *key, char *out, size_t size);

#endif
