/* replication/node/identity.c: key=value lines under a first line that names the file's kind. */
#include "replication/node/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replication/base/properties.h"

#define META_FILE "meta.properties"
#define CLEAN_FILE "clean-shutdown"

static const char meta_magic[] = "# logmnt node";
static const char clean_magic[] = "# logmnt clean shutdown";

/* ---- meta.properties ---- */

static int number_parse(const char *text, const char *key, uint64_t *out, struct err *e)
{
    char value[17], *end;
    if (!properties_value(text, key, value, sizeof value) || strspn(value, "0123456789abcdef") != 16)
        return err_set(e, -EBADMSG, META_FILE ": damaged: its %s is no number of 16 hexadecimal digits", key);
    *out = strtoull(value, &end, 16);
    return *out != 0 ? 0 : err_set(e, -EBADMSG, META_FILE ": damaged: %s 0", key);
}

/* Neither is there in what the first versions made. */
static int incarnations_parse(const char *text, struct identity *out, struct err *e)
{
    int rc = 0;
    out->incarnation = out->renewed = 0;
    if (strstr(text, "\nincarnation=") != NULL)
        rc = number_parse(text, "incarnation", &out->incarnation, e);
    if (rc == 0 && strstr(text, "\nrenewed=") != NULL)
        rc = number_parse(text, "renewed", &out->renewed, e);
    return rc;
}

static int meta_parse(const char *text, struct identity *out, struct err *e)
{
    char id[16], *end;
    uint8_t uuid[UUID_BYTES];
    if (!properties_are(text, meta_magic) || !properties_value(text, "node.id", id, sizeof id) ||
        !properties_value(text, "cluster.id", out->cluster_id, sizeof out->cluster_id) ||
        (out->cluster_id[0] != '\0' && uuid_parse(out->cluster_id, uuid) != 0))
        return err_set(e, -EBADMSG, META_FILE ": damaged");
    long number = strtol(id, &end, 10);
    if (*end != '\0' || number < 1 || number > INT32_MAX)
        return err_set(e, -EBADMSG, META_FILE ": damaged: node.id=%s", id);
    out->node_id = (int32_t)number;
    return incarnations_parse(text, out, e);
}

static int meta_write(struct io *io, int dirfd, const struct identity *identity, struct err *e)
{
    char text[256];
    int len =
        snprintf(text, sizeof text, "%s\nversion=1\nnode.id=%" PRId32 "\ncluster.id=%s\nincarnation=%016" PRIx64 "\n",
                 meta_magic, identity->node_id, identity->cluster_id, identity->incarnation);
    if (identity->renewed != 0)
        len += snprintf(text + len, sizeof text - (size_t)len, "renewed=%016" PRIx64 "\n", identity->renewed);
    return io_replace_file(io, dirfd, META_FILE, text, (size_t)len, e);
}

int identity_renew(struct io *io, struct executor *executor, int dirfd, struct identity *identity, uint64_t registered,
                   struct err *e)
{
    struct identity renewed = *identity;
    if (registered == 0 || registered != identity->renewed)
        renewed.renewed = identity->incarnation;
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
    if (rc == 0) /* of it alone: the rest is being read by others */
        memcpy(identity->cluster_id, joined.cluster_id, sizeof identity->cluster_id);
    return rc;
}

static int meta_create(struct io *io, struct executor *executor, int dirfd, int32_t node_id, struct identity *out,
                       struct err *e)
{
    *out = (struct identity){.node_id = node_id};
    return identity_renew(io, executor, dirfd, out, 0, e);
}

bool identity_is_there(struct io *io, int dirfd)
{
    int fd = io->open(io, dirfd, META_FILE, O_RDONLY, 0);
    if (fd >= 0)
        io->close(io, fd);
    return fd != -ENOENT;
}

int identity_load(struct io *io, struct executor *executor, int dirfd, int32_t node_id, struct identity *out,
                  struct err *e)
{
    char *text;
    int rc = properties_read(io, dirfd, META_FILE, &text, e);
    if (rc == -ENOENT)
        return meta_create(io, executor, dirfd, node_id, out, e);
    if (rc != 0)
        return rc;
    rc = meta_parse(text, out, e);
    free(text);
    if (rc == 0 && out->node_id != node_id) {
        rc = err_set(e, -EINVAL, META_FILE ": the directory belongs to node %" PRId32 ", not to node %" PRId32,
                     out->node_id, node_id);
    }
    if (rc == 0 && out->incarnation == 0)
        rc = identity_renew(io, executor, dirfd, out, 0, e);
    return rc;
}

/* ---- clean-shutdown ---- */

int identity_clean(struct io *io, int dirfd, bool *clean, struct err *e)
{
    char *text;
    int rc = properties_read(io, dirfd, CLEAN_FILE, &text, e);
    *clean = rc == 0 && properties_are(text, clean_magic);
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
    /* Also where there is none: a process that was killed may have got no further than the unlink. */
    if (rc == 0 || rc == -ENOENT)
        rc = io->fsync(io, dirfd);
    return rc == 0 ? 0 : err_sys(e, rc, "remove " CLEAN_FILE);
}
