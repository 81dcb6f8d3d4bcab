#include "fs/tree/names.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/tree/address.h"
#include "fs/tree/status.h"

struct special {
    const char *name;
    enum vnode_kind kind;
};

static const struct special of_root[] = {
    {".internal", VNODE_INTERNAL_DIR}, {".cluster", VNODE_CLUSTER_DIR}, {".groups", VNODE_GROUPS_DIR}};
static const struct special of_topic[] = {
    {".any", VNODE_ANY}, {".follow", VNODE_FOLLOW_DIR}, {".json", VNODE_JSON_DIR}, {".segments", VNODE_SEGMENTS_DIR}};

static const struct special *special(const struct special *of, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(of[i].name, name) == 0)
            return &of[i];
    }
    return NULL;
}

/* What the partitions in a directory are shown as; VNODE_KINDS: it holds none. */
static enum vnode_kind shown_as(const struct vnode *dir)
{
    switch (dir->key.kind) {
    case VNODE_TOPIC:
        return VNODE_PARTITION;
    case VNODE_FOLLOW_DIR:
        return VNODE_FOLLOW;
    case VNODE_JSON_DIR:
        return VNODE_JSON;
    case VNODE_SEGMENTS_DIR:
        return VNODE_SEGMENTS;
    default:
        return VNODE_KINDS;
    }
}

int32_t names_partition(const struct vnode *dir, const char *name)
{
    struct address address;
    enum vnode_kind kind = shown_as(dir);
    if (kind == VNODE_KINDS || kind == VNODE_SEGMENTS)
        return -1;
    if (strchr(name, '@') != NULL)
        return address_parse(name, &address) != 0 ? -1 : address.partition;
    return address_partition(name);
}

static int resolve_topic(struct session *session, const char *name, bool internal, struct vnode_key *key)
{
    key->kind = VNODE_TOPIC;
    key->topic = internal ? node_internal_topic(session->node, name) : node_topic(session->node, name);
    return key->topic != NULL ? 0 : -ENOENT;
}

static int resolve_address(struct topic *topic, const char *name, struct vnode_key *key)
{
    struct address address;
    int rc = address_parse(name, &address);
    if (rc != 0)
        return rc;
    key->index = address.partition;
    key->extra = 1;
    return topic_partition(topic, address.partition) != NULL ? NAMES_ADDRESS : -ENOENT;
}

void names_ask(struct session *session, const struct vnode_key *key, const char *name, struct read_op *op)
{
    struct address address;
    struct clock *clock = node_clock(session->node);
    (void)address_parse(name, &address); /* it did when it was resolved */
    op->part = topic_partition(key->topic, key->index);
    address_ask(&address, clock->wall_ms(clock), op);
}

int names_found(const char *name, const struct read_op *op, struct vnode_key *key)
{
    struct address address;
    struct log_point point;
    int rc = address_parse(name, &address);
    if (rc == 0)
        rc = address_found(&address, op, &point);
    if (rc != 0)
        return rc;
    key->start = point.position;
    key->generation = (uint64_t)point.offset;
    return 0;
}

static int resolve_in_topic(const struct vnode *dir, const char *name, struct vnode_key *key)
{
    const struct special *found =
        dir->key.kind == VNODE_TOPIC ? special(of_topic, sizeof of_topic / sizeof *of_topic, name) : NULL;
    if (found != NULL) {
        key->kind = found->kind;
        key->index = found->kind == VNODE_ANY ? -1 : 0;
        return 0;
    }
    key->kind = shown_as(dir);
    if (key->kind != VNODE_SEGMENTS && strchr(name, '@') != NULL)
        return resolve_address(dir->topic, name, key);
    key->index = address_partition(name);
    return key->index >= 0 && topic_partition(dir->topic, key->index) != NULL ? 0 : -ENOENT;
}

bool names_segment(const char *name, struct vnode_key *key)
{
    for (int kind = 0; kind < SEGMENT_FILES; kind++) {
        char expected[40];
        char *end;
        errno = 0;
        int64_t base = strtoll(name, &end, 10);
        if (errno || end == name || base < 0)
            return false;
        log_file_name(base, (enum segment_file)kind, expected);
        if (strcmp(expected, name) != 0)
            continue;
        key->start = base;
        key->extra = kind;
        return true;
    }
    return false;
}

static int resolve_segment(const struct vnode *dir, const char *name, struct vnode_key *key)
{
    struct log_file file;
    struct err e = {0};
    if (!names_segment(name, key))
        return -ENOENT;
    int rc = partition_file_find(dir->pfile->part, key->start, (enum segment_file)key->extra, &file, &e);
    key->kind = VNODE_SEGMENT_FILE;
    key->index = dir->key.index;
    key->generation = rc != 0 ? 0 : file.generation;
    return rc;
}

/* In `.groups/G` and `.groups/G/.json`: a group has a stream of every topic. */
static int resolve_in_group(struct session *session, const struct vnode *dir, const char *name, struct vnode_key *key)
{
    bool json = dir->key.kind == VNODE_GROUP_JSON_DIR;
    if (!json && strcmp(name, ".json") == 0) {
        key->kind = VNODE_GROUP_JSON_DIR;
        return 0;
    }
    key->kind = json ? VNODE_GROUP_JSON : VNODE_GROUP_STREAM;
    key->topic = node_topic(session->node, name);
    return key->topic != NULL ? 0 : -ENOENT;
}

int names_resolve(struct session *session, const struct vnode *dir, const char *name, struct vnode_key *key)
{
    memset(key, 0, sizeof *key);
    if (strlen(name) > NAME_MAX)
        return -ENAMETOOLONG;
    if (vnode_deleted(dir))
        return -ESTALE;
    int rc = -ENOENT;
    switch (dir->key.kind) {
    case VNODE_ROOT: {
        const struct special *found = special(of_root, sizeof of_root / sizeof *of_root, name);
        if (found == NULL)
            return resolve_topic(session, name, false, key);
        key->kind = found->kind;
        return 0;
    }
    case VNODE_INTERNAL_DIR:
        return resolve_topic(session, name, true, key);
    case VNODE_CLUSTER_DIR:
        key->kind = VNODE_STATUS;
        key->start = status_find(name);
        return key->start < 0 ? -ENOENT : 0;
    case VNODE_GROUPS_DIR:
        key->kind = VNODE_GROUP;
        key->group = node_group(session->node, name);
        return key->group != NULL ? 0 : -ENOENT;
    case VNODE_GROUP:
    case VNODE_GROUP_JSON_DIR:
        rc = resolve_in_group(session, dir, name, key);
        if (rc == 0)
            key->group = node_group_ref(dir->group);
        return rc;
    case VNODE_SEGMENTS:
        rc = resolve_segment(dir, name, key);
        break;
    case VNODE_TOPIC:
    case VNODE_FOLLOW_DIR:
    case VNODE_JSON_DIR:
    case VNODE_SEGMENTS_DIR:
        rc = resolve_in_topic(dir, name, key);
        break;
    default:
        return -ENOTDIR;
    }
    if (rc >= 0)
        key->topic = topic_ref(dir->topic);
    return rc;
}

/* ---- listing ---- */

/* A function type, for the signatures below. */
typedef int names_each(void *arg, const char *name, const struct vnode_key *key);

/* Of MOUNT, of `.internal`, or streams of a group. */
static int list_topics(struct session *session, const struct vnode_key *as, bool internal, names_each *each, void *arg)
{
    struct topic **topics;
    size_t count;
    int rc =
        internal ? node_internal_topics(session->node, &topics, &count) : node_topics(session->node, &topics, &count);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        struct vnode_key key = *as;
        key.topic = topics[i];
        if (rc == 0)
            rc = each(arg, topic_name(topics[i]), &key);
        topic_unref(topics[i]);
    }
    free(topics);
    return rc;
}

static int list_groups(struct session *session, names_each *each, void *arg)
{
    struct node_group **groups;
    size_t count;
    int rc = node_group_list(session->node, &groups, &count);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        struct vnode_key key = {.kind = VNODE_GROUP, .group = groups[i]};
        if (rc == 0)
            rc = each(arg, node_group_name(groups[i]), &key);
        node_group_unref(groups[i]);
    }
    free(groups);
    return rc;
}

static int list_partitions(const struct vnode *dir, names_each *each, void *arg)
{
    int rc = 0;
    int32_t count = topic_partition_count(dir->topic);
    for (int32_t i = 0; i < count && rc == 0; i++) {
        char name[16];
        struct vnode_key key = {.kind = shown_as(dir), .index = i, .topic = dir->topic};
        snprintf(name, sizeof name, "%d", (int)i);
        rc = each(arg, name, &key);
    }
    return rc;
}

static int list_segments(const struct vnode *dir, names_each *each, void *arg)
{
    struct log_file *files;
    size_t count;
    struct err e = {0};
    int rc = partition_files(dir->pfile->part, &files, &count, &e);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < count && rc == 0; i++) {
        char name[40];
        struct vnode_key key = {.kind = VNODE_SEGMENT_FILE,
                                .index = dir->key.index,
                                .topic = dir->topic,
                                .start = files[i].base_offset,
                                .extra = files[i].kind,
                                .generation = files[i].generation};
        log_file_name(files[i].base_offset, files[i].kind, name);
        rc = each(arg, name, &key);
    }
    free(files);
    return rc;
}

int names_list(struct session *session, const struct vnode *dir, names_each *each, void *arg)
{
    struct vnode_key topic = {.kind = VNODE_TOPIC}, stream = {.kind = VNODE_GROUP_STREAM, .group = dir->group};
    int rc = 0;
    if (vnode_deleted(dir))
        return 0;
    switch (dir->key.kind) {
    case VNODE_ROOT:
        return list_topics(session, &topic, false, each, arg);
    case VNODE_INTERNAL_DIR:
        return list_topics(session, &topic, true, each, arg);
    case VNODE_GROUPS_DIR:
        return list_groups(session, each, arg);
    case VNODE_GROUP_JSON_DIR:
        stream.kind = VNODE_GROUP_JSON;
        return list_topics(session, &stream, false, each, arg);
    case VNODE_GROUP:
        return list_topics(session, &stream, false, each, arg);
    case VNODE_CLUSTER_DIR:
        for (int i = 0; status_name(i) != NULL && rc == 0; i++) {
            struct vnode_key key = {.kind = VNODE_STATUS, .start = i};
            rc = each(arg, status_name(i), &key);
        }
        return rc;
    case VNODE_SEGMENTS:
        return list_segments(dir, each, arg);
    default:
        return list_partitions(dir, each, arg);
    }
}
