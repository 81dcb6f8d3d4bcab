#include "fs/tree/xattr.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <syslog.h>

#include "fs/base/change.h"
#include "fs/tree/attr.h"
#include "fs/tree/group_xattr.h"
#include "fs/tree/handle.h"
#include "replication/group/member.h"
#include "replication/base/limits.h"

#define CONFIG_PREFIX "user.config."
enum { VALUE_BYTES = 512 };

/* One attribute that is worked out when asked for. show() writes its text and returns 0, or -ENODATA; NULL: it takes
 * asking (group_xattr.h). */
struct shown {
    const char *name;
    int (*show)(struct session *session, const struct vnode *vnode, char *out);
};

static int number(char *out, int64_t n)
{
    snprintf(out, VALUE_BYTES, "%" PRId64, n);
    return 0;
}

static int ids(char *out, const struct replica_set *set)
{
    size_t at = 0;
    out[0] = '\0';
    for (int i = 0; i < set->count; i++)
        at += (size_t)snprintf(out + at, VALUE_BYTES - at, "%s%" PRId32, i != 0 ? "," : "", set->ids[i]);
    return 0;
}

/* ---- a partition ---- */

static int show_start_offset(struct session *s, const struct vnode *v, char *out)
{
    (void)s;
    return number(out, partition_log_start(v->pfile->part).offset);
}

static int show_high_watermark(struct session *s, const struct vnode *v, char *out)
{
    (void)s;
    return number(out, partition_high_watermark(v->pfile->part).offset);
}

static int show_end_offset(struct session *s, const struct vnode *v, char *out)
{
    (void)s;
    return number(out, partition_log_end(v->pfile->part).offset);
}

static int show_start_position(struct session *s, const struct vnode *v, char *out)
{
    (void)s;
    return number(out, partition_log_start(v->pfile->part).position);
}

static int show_position(struct session *s, const struct vnode *v, char *out)
{
    (void)s;
    return number(out, vnode_addressed(v) ? v->start.position : partition_high_watermark(v->pfile->part).position);
}

static int show_size(struct session *s, const struct vnode *v, char *out)
{
    struct log_size size;
    (void)s;
    partition_size(v->pfile->part, &size);
    return number(out, size.retained_bytes);
}

static int show_segments(struct session *s, const struct vnode *v, char *out)
{
    struct log_size size;
    (void)s;
    partition_size(v->pfile->part, &size);
    return number(out, size.segments);
}

static int show_leader(struct session *s, const struct vnode *v, char *out)
{
    struct partition_info info;
    (void)s;
    partition_info(v->pfile->part, &info);
    if (info.leader >= 0)
        return number(out, info.leader);
    strcpy(out, "none");
    return 0;
}

static int show_leader_epoch(struct session *s, const struct vnode *v, char *out)
{
    struct partition_info info;
    (void)s;
    partition_info(v->pfile->part, &info);
    return number(out, info.leader_epoch);
}

static int show_replicas(struct session *s, const struct vnode *v, char *out)
{
    struct partition_info info;
    (void)s;
    partition_info(v->pfile->part, &info);
    return ids(out, &info.replicas);
}

static int show_isr(struct session *s, const struct vnode *v, char *out)
{
    struct partition_info info;
    (void)s;
    partition_info(v->pfile->part, &info);
    return ids(out, &info.isr);
}

/* The node's open file's: each look-up gives a node of its own, so that there is one, unless another one came to it
 * without a look-up. */
static int show_skipped(struct session *s, const struct vnode *v, char *out)
{
    struct handle *handle;
    int count = handles_of(s->handles, v, &handle);
    if (count != 1)
        return count == 0 ? -ENODATA : -EBUSY;
    number(out, atomic_load(&handle->skipped));
    handle_unref(handle);
    return 0;
}

static const struct shown of_follow[] = {
    {"user.log.skipped", show_skipped},
    {"user.log.start_offset", show_start_offset},
    {"user.log.high_watermark", show_high_watermark},
    {"user.log.end_offset", show_end_offset},
    {"user.log.start_position", show_start_position},
    {"user.log.position", show_position},
    {"user.log.size", show_size},
    {"user.log.segments", show_segments},
    {"user.log.leader", show_leader},
    {"user.log.leader_epoch", show_leader_epoch},
    {"user.log.replicas", show_replicas},
    {"user.log.isr", show_isr},
    {NULL, NULL},
};
static const struct shown *const of_partition = of_follow + 1;

/* ---- a topic, MOUNT ---- */

static int show_topic_id(struct session *s, const struct vnode *v, char *out)
{
    (void)s;
    snprintf(out, VALUE_BYTES, "%s", topic_id(v->topic));
    return 0;
}

static int show_topic_partitions(struct session *s, const struct vnode *v, char *out)
{
    (void)s;
    return number(out, topic_partition_count(v->topic));
}

static int show_topic_factor(struct session *s, const struct vnode *v, char *out)
{
    (void)s;
    return number(out, topic_replication_factor(v->topic));
}

static const struct shown of_topic[] = {
    {"user.topic.id", show_topic_id},
    {"user.topic.partitions", show_topic_partitions},
    {"user.topic.replication_factor", show_topic_factor},
    {NULL, NULL},
};

static int show_cluster_id(struct session *s, const struct vnode *v, char *out)
{
    (void)v;
    const char *id = node_cluster_id(s->node);
    snprintf(out, VALUE_BYTES, "%s", id);
    return id[0] != '\0' ? 0 : -ENODATA; /* before the first quorum */
}

static int show_node_id(struct session *s, const struct vnode *v, char *out)
{
    (void)v;
    return number(out, node_id(s->node));
}

static int show_controller(struct session *s, const struct vnode *v, char *out)
{
    int32_t controller = node_controller(s->node);
    (void)v;
    if (controller > 0)
        return number(out, controller);
    strcpy(out, "none");
    return 0;
}

static int show_voters(struct session *s, const struct vnode *v, char *out)
{
    int32_t voters[LIMIT_VOTERS];
    struct replica_set set = {0};
    int32_t count = node_voters(s->node, voters);
    (void)v;
    for (int32_t i = 0; i < count; i++)
        replica_set_add(&set, voters[i]);
    return ids(out, &set);
}

static const struct shown of_root[] = {
    {"user.cluster.id", show_cluster_id},
    {"user.cluster.controller", show_controller},
    {"user.cluster.voters", show_voters},
    {"user.node.id", show_node_id},
    {NULL, NULL},
};

static int show_assignor(struct session *s, const struct vnode *v, char *out)
{
    return node_get_group_config(s->node, node_group_name(v->group), "partition.assignment.strategy", out);
}

static int show_coordinator(struct session *s, const struct vnode *v, char *out)
{
    int32_t coordinator = group_coordinator(node_group_room(s->node), node_group_name(v->group));
    if (coordinator > 0)
        return number(out, coordinator);
    strcpy(out, "none");
    return 0;
}

static const struct shown of_group[] = {
    {"user.group.state", NULL},
    {"user.group.generation", NULL},
    {"user.group.assignor", show_assignor},
    {"user.group.members", NULL},
    {"user.group.coordinator", show_coordinator},
    {NULL, NULL},
};

static const struct shown *table_of(const struct vnode *vnode)
{
    static const struct shown none[] = {{NULL, NULL}};
    switch (vnode->key.kind) {
    case VNODE_PARTITION:
    case VNODE_JSON:
        return of_partition;
    case VNODE_FOLLOW:
        return of_follow;
    case VNODE_TOPIC:
        return of_topic;
    case VNODE_GROUP:
        return of_group;
    case VNODE_ROOT:
        return of_root;
    default:
        return none;
    }
}

static const struct shown *find(const struct vnode *vnode, const char *name)
{
    const struct shown *shown = table_of(vnode);
    while (shown->name != NULL && strcmp(shown->name, name) != 0)
        shown++;
    return shown->name != NULL ? shown : NULL;
}

/* Whether settings of topics are to be seen here; those of the whole cluster only on MOUNT. */
static bool has_config(const struct vnode *vnode, const struct config_def *def)
{
    return vnode->key.kind == VNODE_ROOT ||
           (vnode->key.kind == VNODE_TOPIC && def != NULL && def->scope == CONFIG_TOPIC);
}

/* The name of the setting that an attribute's name is about, here; NULL: none. */
static const char *config_of(const struct vnode *vnode, const char *name)
{
    static const struct config_set none;
    if (strncmp(name, CONFIG_PREFIX, strlen(CONFIG_PREFIX)) != 0)
        return NULL;
    name += strlen(CONFIG_PREFIX);
    if (vnode->key.kind == VNODE_GROUP)
        return group_config_in_force(&none, name) != NULL ? name : NULL;
    const struct config_def *def = config_find(name);
    return def != NULL && has_config(vnode, def) ? name : NULL;
}

static int value_of(struct session *session, const struct vnode *vnode, const char *name, char *out)
{
    if (vnode_deleted(vnode))
        return -ESTALE;
    const struct shown *shown = find(vnode, name);
    if (shown != NULL)
        return shown->show != NULL ? shown->show(session, vnode, out) : 0;
    const char *setting = config_of(vnode, name);
    if (setting == NULL)
        return -ENODATA;
    if (vnode->group != NULL)
        return node_get_group_config(session->node, node_group_name(vnode->group), setting, out);
    return node_get_config(session->node, vnode->topic != NULL ? topic_name(vnode->topic) : NULL, setting, out);
}

void xattr_reply(fuse_req_t req, const char *data, size_t len, size_t size)
{
    if (size == 0)
        fuse_reply_xattr(req, len);
    else if (len > size)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, data, len);
}

void xattr_get(fuse_req_t req, struct vnode *vnode, const char *name, size_t size)
{
    char value[VALUE_BYTES];
    if (group_xattr_is(vnode, name)) {
        group_xattr_get(req, vnode, name, size);
        return;
    }
    /* ls asks for labels and ACLs of every file until it hears that there are none here. */
    bool ours = strncmp(name, "user.", strlen("user.")) == 0;
    int rc = ours ? value_of(session_of(req), vnode, name, value) : -EOPNOTSUPP;
    if (rc != 0)
        fuse_reply_err(req, -rc);
    else
        xattr_reply(req, value, strlen(value), size);
}

void xattr_write_names(struct session *session, const struct vnode *vnode, FILE *out)
{
    size_t count;
    /* What MOUNT does not have yet, or a node without an open file, is not listed: all of that is at hand. */
    char value[VALUE_BYTES];
    for (const struct shown *shown = table_of(vnode); shown->name != NULL; shown++) {
        if ((vnode->key.kind != VNODE_ROOT && vnode->key.kind != VNODE_FOLLOW) ||
            shown->show(session, vnode, value) != -ENODATA)
            fprintf(out, "%s%c", shown->name, '\0');
    }
    const struct config_def *defs = config_defs(&count);
    for (size_t i = 0; i < count; i++) {
        if (has_config(vnode, &defs[i]))
            fprintf(out, CONFIG_PREFIX "%s%c", defs[i].name, '\0');
    }
    const char *const *settings = group_config_names(&count);
    for (size_t i = 0; i < count && vnode->key.kind == VNODE_GROUP; i++)
        fprintf(out, CONFIG_PREFIX "%s%c", settings[i], '\0');
}

void xattr_list(fuse_req_t req, struct vnode *vnode, size_t size)
{
    char *names = NULL;
    size_t len = 0;
    if (group_xattr_listed(session_of(req), vnode)) {
        group_xattr_list(req, vnode, size);
        return;
    }
    FILE *out = open_memstream(&names, &len);
    if (out == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    xattr_write_names(session_of(req), vnode, out);
    if (fclose(out) == 0)
        xattr_reply(req, names, len, size);
    else
        fuse_reply_err(req, ENOMEM);
    free(names);
}

/* ---- setting ---- */

struct xattr_change {
    struct change change; /* first */
    char name[XATTR_NAME_MAX + 1];
};

/* What may do when it is tried again is EAGAIN below; of that setxattr(2) in Linux makes EOPNOTSUPP. */
static void answer_change(struct change *change, int rc)
{
    if (rc != 0 && change->op.e.text[0] != '\0')
        log_line(LOG_NOTICE, "%s: %s", ((struct xattr_change *)change)->name, change->op.e.text);
    fuse_reply_err(change->park.req, rc == -EAGAIN ? EBUSY : -rc);
}

static struct change *new_change(fuse_req_t req, const char *name)
{
    struct change *change = change_new(req, sizeof(struct xattr_change), answer_change);
    if (change == NULL)
        return NULL;
    change->op.caller.by_attribute = true;
    strncpy(((struct xattr_change *)change)->name, name, XATTR_NAME_MAX);
    return change;
}

static void set_config(fuse_req_t req, const struct vnode *vnode, const char *name, const char *value)
{
    struct change *change = new_change(req, name);
    const char *topic = vnode->topic != NULL ? topic_name(vnode->topic) : NULL;
    struct node *node = session_of(req)->node;
    name += strlen(CONFIG_PREFIX);
    if (change != NULL && vnode->group != NULL)
        change_begun(change, node_set_group_config(node, &change->op, node_group_name(vnode->group), name, value));
    else if (change != NULL)
        change_begun(change, node_set_config(node, &change->op, topic, name, value));
}

/* Not more than there are. */
static void answer_partitions(struct change *change, int rc)
{
    answer_change(change, rc == -EEXIST ? -EINVAL : rc);
}

static void set_partitions(fuse_req_t req, const struct vnode *vnode, const char *name, int32_t count)
{
    struct change *change = new_change(req, name);
    if (change != NULL) {
        change->answer = answer_partitions;
        change_begun(change,
                     node_create_partitions(session_of(req)->node, &change->op, topic_name(vnode->topic), count));
    }
}

static void set_factor(fuse_req_t req, const struct vnode *vnode, const char *name, int32_t factor)
{
    struct change *change = new_change(req, name);
    if (change != NULL) {
        change_begun(change,
                     node_set_replication_factor(session_of(req)->node, &change->op, topic_name(vnode->topic), factor));
    }
}

static void set_leader(fuse_req_t req, const struct vnode *vnode, const char *name, int32_t leader)
{
    struct change *change = new_change(req, name);
    if (change != NULL) {
        change_begun(change, node_set_leader(session_of(req)->node, &change->op, topic_name(vnode->topic),
                                             partition_index(vnode->pfile->part), leader));
    }
}

static void set_replicas(fuse_req_t req, const struct vnode *vnode, const char *name, const struct replica_set *set)
{
    struct change *change = new_change(req, name);
    if (change != NULL) {
        change_begun(change, node_assign_replicas(session_of(req)->node, &change->op, topic_name(vnode->topic),
                                                  partition_index(vnode->pfile->part), set));
    }
}

/* In any order. */
static void set_voters(fuse_req_t req, const char *name, const struct replica_set *set)
{
    struct change *change = new_change(req, name);
    struct replica_set voters = *set;
    replica_set_sort(&voters);
    if (change != NULL)
        change_begun(change, node_change_voters(session_of(req)->node, &change->op, voters.ids, voters.count));
}

static void unregister(fuse_req_t req, const char *name, int32_t id)
{
    struct change *change = new_change(req, name);
    if (change != NULL)
        change_begun(change, node_unregister(session_of(req)->node, &change->op, id));
}

/* A number as text, from 1 to max; -EINVAL. *end is behind it. */
static int32_t number_of(const char *text, int32_t max, const char **end)
{
    char *behind;
    errno = 0;
    long number = strtol(text, &behind, 10);
    if (errno || behind == text || text[0] < '0' || text[0] > '9' || number < 1 || number > max)
        return -EINVAL;
    *end = behind;
    return (int32_t)number;
}

/* The text is one number, and nothing else. */
static int32_t only_number(const char *text, int32_t max)
{
    const char *end;
    int32_t number = number_of(text, max, &end);
    return number < 0 || *end != '\0' ? -EINVAL : number;
}

/* Node ids, comma-separated, none twice. 0 or -EINVAL. */
static int ids_of(const char *text, struct replica_set *out)
{
    const char *end;
    *out = (struct replica_set){0};
    for (;; text = end + 1) {
        int32_t id = number_of(text, INT32_MAX, &end);
        if (id < 0 || replica_set_has(out, id) || out->count == LIMIT_REPLICAS)
            return -EINVAL;
        replica_set_add(out, id);
        if (*end != ',')
            return *end != '\0' ? -EINVAL : 0;
    }
}

/* What may be set, besides settings. */
enum settable { SETS_NONE, SETS_PARTITIONS, SETS_FACTOR, SETS_LEADER, SETS_REPLICAS, SETS_VOTERS, SETS_UNREGISTERED };

static enum settable settable(const struct vnode *vnode, const char *name)
{
    if (vnode->key.kind == VNODE_TOPIC && strcmp(name, "user.topic.partitions") == 0)
        return SETS_PARTITIONS;
    if (vnode->key.kind == VNODE_TOPIC && strcmp(name, "user.topic.replication_factor") == 0)
        return SETS_FACTOR;
    if (vnode->key.kind == VNODE_PARTITION && strcmp(name, "user.log.leader") == 0)
        return SETS_LEADER;
    if (vnode->key.kind == VNODE_PARTITION && strcmp(name, "user.log.replicas") == 0)
        return SETS_REPLICAS;
    if (vnode->key.kind == VNODE_ROOT && strcmp(name, "user.cluster.voters") == 0)
        return SETS_VOTERS;
    if (vnode->key.kind == VNODE_ROOT && strcmp(name, "user.cluster.unregister") == 0)
        return SETS_UNREGISTERED;
    return SETS_NONE;
}

/* Is the value one that it takes? 0 or -EINVAL. */
static int check_value(enum settable which, const char *value)
{
    struct replica_set set;
    switch (which) {
    case SETS_PARTITIONS:
        return only_number(value, LIMIT_TOPIC_PARTITIONS) < 0 ? -EINVAL : 0;
    case SETS_FACTOR:
        return only_number(value, LIMIT_REPLICAS) < 0 ? -EINVAL : 0;
    case SETS_LEADER:
    case SETS_UNREGISTERED:
        return only_number(value, INT32_MAX) < 0 ? -EINVAL : 0;
    case SETS_REPLICAS:
    case SETS_VOTERS:
        return ids_of(value, &set);
    case SETS_NONE:
        break;
    }
    return -EINVAL;
}

/* Of a value that was checked. */
static void set_value(fuse_req_t req, const struct vnode *vnode, const char *name, const char *value)
{
    struct replica_set set;
    switch (settable(vnode, name)) {
    case SETS_PARTITIONS:
        set_partitions(req, vnode, name, only_number(value, LIMIT_TOPIC_PARTITIONS));
        break;
    case SETS_FACTOR:
        set_factor(req, vnode, name, only_number(value, LIMIT_REPLICAS));
        break;
    case SETS_LEADER:
        set_leader(req, vnode, name, only_number(value, INT32_MAX));
        break;
    case SETS_REPLICAS:
        ids_of(value, &set);
        set_replicas(req, vnode, name, &set);
        break;
    case SETS_VOTERS:
        ids_of(value, &set);
        set_voters(req, name, &set);
        break;
    case SETS_UNREGISTERED:
        unregister(req, name, only_number(value, INT32_MAX));
        break;
    case SETS_NONE:
        set_config(req, vnode, name, value);
        break;
    }
}

/* What is the cluster's own is not changed; but where groups' offsets lie is, as where any records do. */
static bool is_fixed(const struct vnode *vnode, const char *name)
{
    enum settable which = settable(vnode, name);
    return vnode->topic != NULL && topic_internal(vnode->topic) &&
           (!topic_name_internal(topic_name(vnode->topic)) || (which != SETS_REPLICAS && which != SETS_FACTOR));
}

/* Whether the attribute may be set, or removed (value NULL): 0 or a negative errno. */
static int check_change(fuse_req_t req, const struct vnode *vnode, const char *name, const char *value, int flags)
{
    struct session *session = session_of(req);
    char present[VALUE_BYTES];
    if (vnode_deleted(vnode))
        return -ESTALE;
    if (is_fixed(vnode, name) || !attr_is_owner(session, vnode, fuse_req_ctx(req)->uid))
        return -EPERM;
    if ((flags & XATTR_CREATE) != 0 && value_of(session, vnode, name, present) == 0)
        return -EEXIST;
    enum settable which = settable(vnode, name);
    if (value != NULL && which != SETS_NONE)
        return check_value(which, value);
    if (find(vnode, name) != NULL)
        return -EPERM;
    if (config_of(vnode, name) != NULL)
        return 0;
    if (value != NULL && strncmp(name, CONFIG_PREFIX, strlen(CONFIG_PREFIX)) == 0)
        log_line(LOG_NOTICE, "%s: no such setting here", name);
    return value != NULL ? -EINVAL : -ENODATA;
}

/* Sets, or removes (value NULL), and answers. */
static void change(fuse_req_t req, const struct vnode *vnode, const char *name, const char *value, int flags)
{
    int rc = check_change(req, vnode, name, value, flags);
    if (rc != 0)
        fuse_reply_err(req, -rc);
    else if (value != NULL)
        set_value(req, vnode, name, value);
    else
        set_config(req, vnode, name, NULL);
}

void xattr_set(fuse_req_t req, struct vnode *vnode, const char *name, const char *value, size_t size, int flags)
{
    char text[VALUE_BYTES];
    if (size >= sizeof text || memchr(value, '\0', size) != NULL) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    memcpy(text, value, size);
    text[size] = '\0';
    if (group_xattr_is(vnode, name))
        group_xattr_set(req, vnode, name, text, flags);
    else
        change(req, vnode, name, text, flags);
}

void xattr_remove(fuse_req_t req, struct vnode *vnode, const char *name)
{
    if (group_xattr_is(vnode, name))
        group_xattr_set(req, vnode, name, NULL, 0);
    else
        change(req, vnode, name, NULL, 0);
}
