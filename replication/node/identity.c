/* replication/node/identity.c: key=value lines under a first line that names the file's kind. */
#include "replication/node/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replication/base/limits.h"

#define META_FILE "meta.properties"
#define CLEAN_FILE "clean-shutdown"

static const char meta_magic[] = "# logmnt node";
static const char clean_magic[] = "# logmnt clean shutdown";
static const char partition_magic[] = "# logmnt partition";
static const char partition_head[] = "# logmnt partition\nversion=1\ntopic.id="; /* then the id and a newline */

/* The value of key in lines of key=value; false: it is not there or longer than size - 1. */
static bool value_of(const char *text, const char *key, char *out, size_t size)
{
    size_t key_len = strlen(key);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, key_len) != 0 || line[key_len] != '=')
            continue;
        const char *value = line + key_len + 1;
        size_t len = strcspn(value, "\n");
        if (len >= size)
            return false;
        memcpy(out, value, len);
        out[len] = '\0';
        return true;
    }
    return false;
}

/* Magic and version hold. */
static bool is_kind(const char *text, const char *magic)
{
    char version[16];
    size_t len = strlen(magic);
    return strncmp(text, magic, len) == 0 && text[len] == '\n' && value_of(text, "version", version, sizeof version) &&
           strcmp(version, "1") == 0;
}

static int read_small(struct io *io, int dirfd, const char *file, char **text, struct err *e)
{
    size_t len;
    int rc = io_read_file(io, dirfd, file, LIMIT_TEXT_FILE_BYTES, text, &len, e);
    return rc == -EFBIG ? err_set(e, -EBADMSG, "%s: damaged: too long", file) : rc;
}

/* ---- meta.properties ---- */

static int incarnation_parse(const char *text, struct identity *out, struct err *e)
{
    char value[17], *end;
    if (!value_of(text, "incarnation", value, sizeof value) || strspn(value, "0123456789abcdef") != 16)
        return err_set(e, -EBADMSG, META_FILE ": damaged: its incarnation is no number of 16 hexadecimal digits");
    out->incarnation = strtoull(value, &end, 16);
    return out->incarnation != 0 ? 0 : err_set(e, -EBADMSG, META_FILE ": damaged: incarnation 0");
}

static int meta_parse(const char *text, struct identity *out, struct err *e)
{
    char id[16], *end;
    uint8_t uuid[UUID_BYTES];
    if (!is_kind(text, meta_magic) || !value_of(text, "node.id", id, sizeof id) ||
        !value_of(text, "cluster.id", out->cluster_id, sizeof out->cluster_id) ||
        (out->cluster_id[0] != '\0' && uuid_parse(out->cluster_id, uuid) != 0))
        return err_set(e, -EBADMSG, META_FILE ": damaged");
    long number = strtol(id, &end, 10);
    if (*end != '\0' || number < 1 || number > INT32_MAX)
        return err_set(e, -EBADMSG, META_FILE ": damaged: node.id=%s", id);
    out->node_id = (int32_t)number;
    out->incarnation = 0;
    return strstr(text, "\nincarnation=") != NULL ? incarnation_parse(text, out, e) : 0;
}

static int meta_write(struct io *io, int dirfd, const struct identity *identity, struct err *e)
{
    char text[256];
    int len =
        snprintf(text, sizeof text, "%s\nversion=1\nnode.id=%" PRId32 "\ncluster.id=%s\nincarnation=%016" PRIx64 "\n",
                 meta_magic, identity->node_id, identity->cluster_id, identity->incarnation);
    return io_replace_file(io, dirfd, META_FILE, text, (size_t)len, e);
}

int identity_renew(struct io *io, struct executor *executor, int dirfd, struct identity *identity, struct err *e)
{
    struct identity renewed = *identity;
    do {
        int rc = executor_random(executor, &renewed.incarnation, sizeof renewed.incarnation);
        if (rc != 0)
            return err_sys(e, rc, "choose an incarnation");
    } while (renewed.incarnation == 0 || renewed.incarnation == identity->incarnation);
    int rc = meta_write(io, dirfd, &renewed, e);
    if (rc == 0)
        *identity = renewed;
    return rc;
}

int identity_join(struct io *io, int dirfd, struct identity *identity, const char *cluster_id, struct err *e)
{
    struct identity joined = *identity;
    snprintf(joined.cluster_id, sizeof joined.cluster_id, "%s", cluster_id);
    int rc = meta_write(io, dirfd, &joined, e);
    if (rc == 0)
        *identity = joined;
    return rc;
}

static int meta_create(struct io *io, struct executor *executor, int dirfd, int32_t node_id, bool alone,
                       struct identity *out, struct err *e)
{
    uint8_t uuid[UUID_BYTES];
    int rc = alone ? executor_uuid(executor, uuid) : 0;
    if (rc != 0)
        return err_sys(e, rc, "choose a cluster id");
    *out = (struct identity){.node_id = node_id};
    if (alone)
        uuid_text(uuid, out->cluster_id);
    return identity_renew(io, executor, dirfd, out, e);
}

int identity_load(struct io *io, struct executor *executor, int dirfd, int32_t node_id, bool alone,
                  struct identity *out, struct err *e)
{
    char *text;
    int rc = read_small(io, dirfd, META_FILE, &text, e);
    if (rc == -ENOENT)
        return meta_create(io, executor, dirfd, node_id, alone, out, e);
    if (rc != 0)
        return rc;
    rc = meta_parse(text, out, e);
    free(text);
    if (rc == 0 && out->node_id != node_id)
        rc = err_set(e, -EINVAL, META_FILE ": the directory belongs to node %" PRId32 ", not to node %" PRId32,
                     out->node_id, node_id);
    if (rc == 0 && out->incarnation == 0)
        rc = identity_renew(io, executor, dirfd, out, e);
    return rc;
}

/* ---- clean-shutdown ---- */

int identity_clean(struct io *io, int dirfd, bool *clean, struct err *e)
{
    char *text;
    int rc = read_small(io, dirfd, CLEAN_FILE, &text, e);
    *clean = rc == 0 && is_kind(text, clean_magic);
    if (rc == 0)
        free(text);
    /* A mark that cannot be understood is no mark: the logs are checked. */
    return rc == -ENOENT || rc == -EBADMSG ? 0 : rc;
}

int identity_clean_set(struct io *io, int dirfd, int64_t wall_ms, struct err *e)
{
    char text[128];
    int len = snprintf(text, sizeof text, "%s\nversion=1\ntime.ms=%" PRId64 "\n", clean_magic, wall_ms);
    return io_replace_file(io, dirfd, CLEAN_FILE, text, (size_t)len, e);
}

int identity_clean_clear(struct io *io, int dirfd, struct err *e)
{
    int rc = io->unlink(io, dirfd, CLEAN_FILE, 0);
    if (rc == -ENOENT)
        return 0;
    if (rc == 0)
        rc = io->fsync(io, dirfd);
    return rc == 0 ? 0 : err_sys(e, rc, "remove " CLEAN_FILE);
}

/* ---- partition.metadata ---- */

/* Less than a whole one, and nothing else: there was no room for the rest, or the power went before it came. */
static bool is_beginning(const char *text)
{
    size_t len = strlen(text), head = strlen(partition_head);
    return len < head + UUID_TEXT_BYTES && strncmp(text, partition_head, len < head ? len : head) == 0;
}

int identity_partition_read(struct io *io, int dirfd, uint8_t id[UUID_BYTES], struct err *e)
{
    char *text, topic_id[UUID_TEXT_BYTES];
    int rc = read_small(io, dirfd, PARTITION_METADATA_FILE, &text, e);
    if (rc != 0)
        return rc;
    /* Made, but its bytes were not yet on the disk: empty, zeros, or some of them. */
    if (is_beginning(text))
        rc = -ENOENT;
    else if (!is_kind(text, partition_magic) || !value_of(text, "topic.id", topic_id, sizeof topic_id) ||
             uuid_parse(topic_id, id) != 0)
        rc = err_set(e, -EBADMSG, PARTITION_METADATA_FILE ": damaged");
    free(text);
    return rc;
}

int identity_partition_write(struct io *io, int dirfd, const uint8_t id[UUID_BYTES], bool durable, struct err *e)
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
