/* replication/replica/partition_metadata.c: three lines, of which a crash may leave a part. */
#include "replication/replica/partition_metadata.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replication/base/properties.h"

static const char partition_magic[] = "# logmnt partition";
static const char partition_head[] = "# logmnt partition\nversion=1\ntopic.id="; /* then the id and a newline */

/* Less than a whole one, and nothing else: there was no room for the rest, or the power went before it came. */
static bool is_beginning(const char *text)
{
    size_t len = strlen(text), head = strlen(partition_head);
    return len < head + UUID_TEXT_BYTES && strncmp(text, partition_head, len < head ? len : head) == 0;
}

int partition_metadata_read(struct io *io, int dirfd, uint8_t id[UUID_BYTES], struct err *e)
{
    char *text, topic_id[UUID_TEXT_BYTES];
    int rc = properties_read(io, dirfd, PARTITION_METADATA_FILE, &text, e);
    if (rc != 0)
        return rc;
    /* Made, but its bytes were not yet on the disk: empty, zeros, or some of them. */
    if (is_beginning(text))
        rc = -ENOENT;
    else if (!properties_are(text, partition_magic) || !properties_value(text, "topic.id", topic_id, sizeof topic_id) ||
             uuid_parse(topic_id, id) != 0)
        rc = err_set(e, -EBADMSG, PARTITION_METADATA_FILE ": damaged");
    free(text);
    return rc;
}

int partition_metadata_write(struct io *io, int dirfd, const uint8_t id[UUID_BYTES], bool durable, struct err *e)
{
    char text[128], topic_id[UUID_TEXT_BYTES];
    uuid_text(id, topic_id);
    struct iovec iov = {.iov_base = text};
    iov.iov_len = (size_t)snprintf(text, sizeof text, "%s\nversion=1\ntopic.id=%s\n", partition_magic, topic_id);
    int fd = io->open(io, dirfd, PARTITION_METADATA_FILE, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return err_sys(e, fd, "make " PARTITION_METADATA_FILE);
    int rc = io_pwritev_all(io, fd, &iov, 1, 0);
    if (rc == 0 && durable)
        rc = io->fdatasync(io, fd);
    io->close(io, fd);
    /* Half of it would pass for damage. */
    if (rc != 0)
        io->unlink(io, dirfd, PARTITION_METADATA_FILE, 0);
    return rc == 0 ? 0 : err_sys(e, rc, "write " PARTITION_METADATA_FILE);
}
