/* replication/metadata/snapshot.c: metadata → commands → bytes, and back. */
#include "replication/metadata/snapshot.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bugs.h"
#include "engine/base/crc32c.h"
#include "engine/base/limits.h"
#include "engine/record/framing.h"
#include "replication/base/limits.h"

/* All numbers little-endian. */
struct header {
    char magic[8];
    uint32_t version;
    uint32_t crc; /* CRC-32C of what follows this field: the rest of the header and the body */
    uint64_t body_len;
    int64_t next_offset;
    int64_t next_position; /* from version 2 on, likewise what follows */
    int32_t epoch;
    uint32_t unused;
};
enum { HEADER_BYTES = sizeof(struct header), HEADER_BYTES_1 = 32, CRC_FROM = 16, VERSION = 2 };
_Static_assert(HEADER_BYTES == 48, "the header has no holes");
static const char magic[8] = "LOGMNTMS";

struct bytes {
    char *data;
    size_t len, room;
};

static int bytes_add(struct bytes *bytes, const void *data, size_t len)
{
    if (bytes->room - bytes->len < len) {
        size_t room = 2 * (bytes->len + len) + 4096;
        char *grown = realloc(bytes->data, room);
        if (grown == NULL)
            return -ENOMEM;
        bytes->data = grown;
        bytes->room = room;
    }
    memcpy(bytes->data + bytes->len, data, len);
    bytes->len += len;
    return 0;
}

static int add_command(struct bytes *bytes, const struct command *cmd)
{
    void *data;
    size_t len;
    int rc = command_encode(cmd, &data, &len);
    if (rc != 0)
        return rc;
    rc = bytes_add(bytes, data, len);
    free(data);
    return rc;
}

/* The settings of one set, as commands like cmd that leave ctime as it is. */
static int add_config(struct bytes *bytes, const struct config_set *set, struct command cmd, int64_t ctime_ms)
{
    cmd.time_ms = ctime_ms;
    for (size_t i = 0; i < set->count; i++) {
        memcpy(cmd.name, set->entries[i].name, sizeof cmd.name);
        memcpy(cmd.value, set->entries[i].value, sizeof cmd.value);
        int rc = add_command(bytes, &cmd);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int add_nodes(struct bytes *bytes, const struct metadata *meta)
{
    int rc = 0;
    for (size_t i = 0; i < meta->node_count && rc == 0; i++) {
        struct command cmd = {.type = COMMAND_REGISTER_NODE, .registration = meta->nodes[i]};
        /* The epoch travels as the time, which a registration has no other use for. */
        cmd.time_ms = meta->nodes[i].epoch;
        cmd.registration.unclean = false;
        rc = add_command(bytes, &cmd);
    }
    return rc;
}

/* The partitions as they stand, some at a time. */
static int add_partitions(struct bytes *bytes, const struct metadata_topic *topic)
{
    int rc = 0;
    struct command cmd = {.type = COMMAND_SET_PARTITIONS, .time_ms = topic->attr.ctime_ms};
    int32_t most = topic->partitions < LIMIT_COMMAND_CHANGES ? topic->partitions : LIMIT_COMMAND_CHANGES;
    cmd.changes = calloc((size_t)most, sizeof *cmd.changes);
    if (cmd.changes == NULL)
        return -ENOMEM;
    for (int32_t p = 0; p < topic->partitions && rc == 0; p++) {
        struct partition_change *change = &cmd.changes[cmd.change_count++];
        *change = (struct partition_change){.index = p, .to = topic->parts[p]};
        memcpy(change->topic_id, topic->id, UUID_BYTES);
        if (cmd.change_count < most && p + 1 < topic->partitions)
            continue;
        rc = add_command(bytes, &cmd);
        cmd.change_count = 0;
    }
    command_free(&cmd);
    return rc;
}

/* The replicas as the topic was made with them are all that CREATE_TOPIC knows; add_partitions() says the rest. */
static int add_made(struct bytes *bytes, const struct metadata_topic *topic)
{
    struct command cmd = {.type = COMMAND_CREATE_TOPIC,
                          .time_ms = topic->attr.ctime_ms,
                          .attr = topic->attr,
                          .partitions = topic->partitions,
                          .replication_factor = topic->replication_factor,
                          .replica_count = topic->partitions * topic->replication_factor};
    memcpy(cmd.topic, topic->name, sizeof cmd.topic);
    memcpy(cmd.id, topic->id, UUID_BYTES);
    cmd.replicas = calloc((size_t)cmd.replica_count, sizeof *cmd.replicas);
    if (cmd.replicas == NULL)
        return -ENOMEM;
    /* As many ids as the factor says, whatever a move under way has made of the replicas. */
    for (int32_t p = 0; p < topic->partitions; p++) {
        for (int32_t i = 0; i < topic->replication_factor; i++) {
            cmd.replicas[p * topic->replication_factor + i] =
                topic->parts[p].replicas.ids[i % topic->parts[p].replicas.count];
        }
    }
    int rc = add_command(bytes, &cmd);
    command_free(&cmd);
    return rc;
}

static int add_topic(struct bytes *bytes, const struct metadata_topic *topic)
{
    struct command set = {.type = COMMAND_SET_CONFIG};
    int rc = add_made(bytes, topic);
    if (rc == 0)
        rc = add_partitions(bytes, topic);
    memcpy(set.topic, topic->name, sizeof set.topic);
    if (BUG(snapshot_of_some))
        return rc;
    return rc != 0 ? rc : add_config(bytes, &topic->config, set, topic->attr.ctime_ms);
}

static int add_group(struct bytes *bytes, const struct metadata_group *group)
{
    struct command made = {.type = COMMAND_CREATE_GROUP, .time_ms = group->attr.ctime_ms, .attr = group->attr};
    struct command set = {.type = COMMAND_SET_GROUP_CONFIG};
    memcpy(made.group, group->name, sizeof made.group);
    memcpy(made.id, group->id, UUID_BYTES);
    memcpy(set.group, group->name, sizeof set.group);
    int rc = add_command(bytes, &made);
    return rc != 0 ? rc : add_config(bytes, &group->config, set, group->attr.ctime_ms);
}

static int add_groups(struct bytes *bytes, const struct metadata *meta)
{
    struct command dir = {.type = COMMAND_SET_GROUP_ATTR,
                          .time_ms = meta->groups_attr.ctime_ms,
                          .attr = meta->groups_attr,
                          .set = ATTR_UID | ATTR_GID | ATTR_DIR_MODE | ATTR_FILE_MODE | COMMAND_ATTR_MTIME};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < meta->group_count; i++)
        rc = add_group(bytes, meta->groups[i]);
    /* Last, because each group made above moved its times. */
    return rc != 0 ? rc : add_command(bytes, &dir);
}

/* The quorum's own: its last epoch, and the voters (KIP-630, KIP-853). The offset of the record that set those travels
 * as the time. */
static int add_quorum(struct bytes *bytes, const struct metadata *meta)
{
    struct command epoch = {.type = COMMAND_BEGIN_EPOCH, .epoch = meta->epoch};
    struct command voters = {.type = COMMAND_SET_VOTERS,
                             .time_ms = meta->voters.offset,
                             .voters = meta->voters.voters,
                             .target = meta->voters.target};
    if (meta->voters.offset < 0)
        return 0;
    memcpy(voters.cluster, meta->cluster_id, sizeof voters.cluster);
    epoch.leader = meta->voters.voters.ids[0]; /* one is asked for; who led is of no use here */
    int rc = meta->epoch > 0 ? add_command(bytes, &epoch) : 0;
    return rc != 0 ? rc : add_command(bytes, &voters);
}

static int add_body(struct bytes *bytes, const struct metadata *meta)
{
    int rc = add_nodes(bytes, meta);
    for (size_t i = 0; rc == 0 && i < meta->topic_count; i++)
        rc = add_topic(bytes, meta->topics[i]);
    if (rc == 0)
        rc = add_config(bytes, &meta->config, (struct command){.type = COMMAND_SET_CONFIG}, meta->root.ctime_ms);
    if (rc == 0)
        rc = add_groups(bytes, meta);
    /* Last, because each topic made above moved MOUNT's times. */
    rc = rc == 0 ? add_quorum(bytes, meta) : rc;
    struct command ids = {.type = COMMAND_PRODUCER_IDS, .count = meta->next_producer_id};
    if (rc == 0 && meta->next_producer_id > 0)
        rc = add_command(bytes, &ids);
    struct command root = {.type = COMMAND_SET_ATTR,
                           .time_ms = meta->root.ctime_ms,
                           .attr = meta->root,
                           .set = ATTR_UID | ATTR_GID | ATTR_DIR_MODE | ATTR_FILE_MODE | COMMAND_ATTR_MTIME};
    return rc != 0 ? rc : add_command(bytes, &root);
}

int snapshot_encode(const struct metadata *meta, struct log_point end, struct snapshot *out, struct err *e)
{
    struct bytes bytes = {0};
    struct header header = {.version = htole32(VERSION),
                            .next_offset = (int64_t)htole64((uint64_t)end.offset),
                            .next_position = (int64_t)htole64((uint64_t)end.position),
                            .epoch = (int32_t)htole32((uint32_t)meta->epoch)};
    assert(end.offset == meta->next_offset);
    memcpy(header.magic, magic, sizeof magic);
    int rc = bytes_add(&bytes, &header, HEADER_BYTES);
    if (rc == 0)
        rc = add_body(&bytes, meta);
    if (rc != 0) {
        free(bytes.data);
        return err_sys(e, rc, SNAPSHOT_FILE);
    }
    header.body_len = htole64(bytes.len - HEADER_BYTES);
    memcpy(bytes.data, &header, HEADER_BYTES);
    header.crc = htole32(crc32c(0, bytes.data + CRC_FROM, bytes.len - CRC_FROM));
    memcpy(bytes.data, &header, HEADER_BYTES);
    *out = (struct snapshot){.data = bytes.data, .len = bytes.len};
    return 0;
}

void snapshot_free(struct snapshot *snapshot)
{
    free(snapshot->data);
    *snapshot = (struct snapshot){0};
}

int snapshot_write(struct io *io, int dirfd, const char *name, const struct snapshot *snapshot, struct err *e)
{
    return io_replace_file(io, dirfd, name, snapshot->data, snapshot->len, e);
}

/* ---- reading ---- */

/* Its numbers as they are; *bytes: how long it is. */
static int take_header(const char *data, size_t len, struct header *header, size_t *bytes, struct err *e)
{
    uint32_t version;
    *header = (struct header){.next_position = -1, .epoch = -1};
    if (len < HEADER_BYTES_1 || memcmp(data, magic, sizeof magic) != 0)
        return err_set(e, -EBADMSG, SNAPSHOT_FILE ": bad magic");
    memcpy(header, data, HEADER_BYTES_1);
    version = le32toh(header->version);
    *bytes = version == 1 ? HEADER_BYTES_1 : HEADER_BYTES;
    if (version < 1 || version > VERSION)
        return err_set(e, -EBADMSG, SNAPSHOT_FILE ": version %u, this build knows %d", version, VERSION);
    if (len < *bytes)
        return err_set(e, -EBADMSG, SNAPSHOT_FILE ": wrong length");
    memcpy(header, data, *bytes);
    header->body_len = le64toh(header->body_len);
    header->next_offset = (int64_t)le64toh((uint64_t)header->next_offset);
    if (header->next_offset < 0)
        return err_set(e, -EBADMSG, SNAPSHOT_FILE ": bad offset");
    if (version == 1)
        return 0;
    header->next_position = (int64_t)le64toh((uint64_t)header->next_position);
    header->epoch = (int32_t)le32toh((uint32_t)header->epoch);
    if (header->next_position < 0 || header->epoch < 0)
        return err_set(e, -EBADMSG, SNAPSHOT_FILE ": bad position or epoch");
    return 0;
}

static struct snapshot_id id_of(const struct header *header)
{
    return (struct snapshot_id){.end = {header->next_offset, header->next_position}, .epoch = header->epoch};
}

/* The offset of the record that a command of the body stands for, where that is part of the state. */
static int64_t own_offset(const struct command *cmd)
{
    return cmd->type == COMMAND_REGISTER_NODE || cmd->type == COMMAND_SET_VOTERS ? cmd->time_ms : 0;
}

static int apply_body(const char *body, size_t len, struct metadata *meta, struct err *e)
{
    while (len > 0) {
        struct command cmd;
        size_t record = framing_record_len(FRAMING_MSGPACK, (const uint8_t *)body, len);
        if (record == 0)
            return err_set(e, -EBADMSG, SNAPSHOT_FILE ": ends within a command");
        int rc = command_decode(body, record, &cmd, e);
        if (rc != 0)
            return err_wrap(e, rc, SNAPSHOT_FILE);
        rc = metadata_apply(meta, &cmd, own_offset(&cmd), e);
        command_free(&cmd);
        if (rc != 0)
            return err_wrap(e, rc == -ENOMEM ? rc : -EBADMSG, SNAPSHOT_FILE);
        body += record;
        len -= record;
    }
    return 0;
}

int snapshot_decode(const struct snapshot *snapshot, struct metadata *meta, struct snapshot_id *id, struct err *e)
{
    const char *data = snapshot->data;
    struct header header;
    size_t bytes;
    int rc = take_header(data, snapshot->len, &header, &bytes, e);
    if (rc != 0)
        return rc;
    if (header.body_len != snapshot->len - bytes)
        return err_set(e, -EBADMSG, SNAPSHOT_FILE ": wrong length");
    if (le32toh(header.crc) != crc32c(0, data + CRC_FROM, snapshot->len - CRC_FROM))
        return err_set(e, -EBADMSG, SNAPSHOT_FILE ": CRC does not match");
    rc = apply_body(data + bytes, snapshot->len - bytes, meta, e);
    if (rc == 0)
        meta->next_offset = header.next_offset;
    *id = id_of(&header);
    return rc;
}

int snapshot_read(struct io *io, int dirfd, const char *name, struct metadata *meta, struct snapshot_id *id,
                  struct err *e)
{
    struct snapshot snapshot = {0};
    char *data;
    int rc = io_read_file(io, dirfd, name, LIMIT_SMALL_FILE_BYTES, &data, &snapshot.len, e);
    if (rc != 0)
        return rc;
    snapshot.data = data;
    rc = snapshot_decode(&snapshot, meta, id, e);
    snapshot_free(&snapshot);
    return rc;
}

/* ---- pieces, for other nodes ---- */

/* Opens the file; *size is its whole length. The descriptor, or a negative errno. */
static int open_file(struct io *io, int dirfd, struct header *header, size_t *bytes, int64_t *size, struct err *e)
{
    char head[HEADER_BYTES];
    struct stat st;
    int fd = io->open(io, dirfd, SNAPSHOT_FILE, O_RDONLY, 0);
    if (fd < 0)
        return err_sys(e, fd, "open " SNAPSHOT_FILE);
    int rc = io->fstat(io, fd, &st);
    if (rc == 0 && st.st_size < HEADER_BYTES) /* a header of version 1 is shorter; its body is not */
        rc = err_set(e, -EBADMSG, SNAPSHOT_FILE ": wrong length");
    else if (rc != 0 || (rc = io_pread_all(io, fd, head, sizeof head, 0)) != 0)
        err_sys(e, rc, "read " SNAPSHOT_FILE);
    else
        rc = take_header(head, sizeof head, header, bytes, e);
    *size = rc == 0 ? st.st_size : 0;
    if (rc == 0)
        return fd;
    io->close(io, fd);
    return rc;
}

/* Of all that its CRC covers. */
static int file_crc(struct io *io, int fd, int64_t size, uint32_t *crc, struct err *e)
{
    enum { AT_ONCE = 64 << 10 };
    uint8_t *buf = malloc(AT_ONCE);
    int rc = buf == NULL ? -ENOMEM : 0;
    *crc = 0;
    for (int64_t at = CRC_FROM; rc == 0 && at < size; at += AT_ONCE) {
        size_t len = size - at < AT_ONCE ? (size_t)(size - at) : AT_ONCE;
        rc = io_pread_all(io, fd, buf, len, at);
        if (rc == 0)
            *crc = crc32c(*crc, buf, len);
    }
    free(buf);
    return rc == 0 ? 0 : err_sys(e, rc, "read " SNAPSHOT_FILE);
}

int snapshot_check(struct io *io, int dirfd, struct err *e)
{
    struct header header;
    size_t bytes;
    int64_t size;
    uint32_t crc;
    int fd = open_file(io, dirfd, &header, &bytes, &size, e);
    if (fd < 0)
        return fd;
    int rc = file_crc(io, fd, size, &crc, e);
    if (rc == 0 && header.body_len != (uint64_t)size - bytes)
        rc = err_set(e, -EBADMSG, SNAPSHOT_FILE ": wrong length");
    if (rc == 0 && le32toh(header.crc) != crc)
        rc = err_set(e, -EBADMSG, SNAPSHOT_FILE ": CRC does not match");
    io->close(io, fd);
    return rc;
}

int snapshot_read_piece(struct io *io, int dirfd, const struct snapshot_id *id, int64_t at, void *out, size_t room,
                        size_t *got, int64_t *size, struct err *e)
{
    struct header header;
    size_t bytes;
    int rc, fd = open_file(io, dirfd, &header, &bytes, size, e);
    if (fd < 0)
        return fd;
    if (header.next_offset != id->end.offset || (header.epoch >= 0 && header.epoch != id->epoch) || at < 0 ||
        at > *size) {
        rc = err_set(e, -ENOENT, SNAPSHOT_FILE ": it is of offset %lld by now", (long long)header.next_offset);
    } else {
        *got = (int64_t)room < *size - at ? room : (size_t)(*size - at);
        rc = io_pread_all(io, fd, out, *got, at);
        if (rc != 0)
            err_sys(e, rc, "read " SNAPSHOT_FILE);
    }
    io->close(io, fd);
    return rc;
}

int snapshot_adopt(struct io *io, int dirfd, struct err *e)
{
    int rc = io->rename(io, dirfd, SNAPSHOT_NEW_FILE, dirfd, SNAPSHOT_FILE);
    if (rc == 0)
        rc = io->fsync(io, dirfd);
    return rc == 0 ? 0 : err_sys(e, rc, "take over " SNAPSHOT_NEW_FILE);
}
