/* fs/tree/group_xattr.c: a reset of an offset goes
 *
 *   group_xattr_set ──┬────────────────→ where is the address? ──found──→ RESET ──→ answered
 *                     └── flags: is there an offset? ──┘  └── nowhere ──→ EINVAL
 *
 * each step parked where it is not over at once. */
#include "fs/tree/group_xattr.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "engine/base/container.h"
#include "fs/base/limits.h"
#include "fs/tree/address.h"
#include "fs/tree/asking.h"
#include "fs/tree/group_attr.h"
#include "fs/tree/group_call.h"
#include "fs/tree/xattr.h"

#define GROUP_PREFIX "user.group."

enum { VALUE_BYTES = 512 };

/* ---- names ---- */

enum of_offset { OF_COMMITTED, OF_LAG };

static const char *const of_offset_suffix[] = {[OF_COMMITTED] = ".committed", [OF_LAG] = ".lag"};

enum of_group { OF_STATE, OF_GENERATION, OF_MEMBERS, OF_GROUPS };

static const char *const of_group_names[] = {[OF_STATE] = GROUP_PREFIX "state",
                                             [OF_GENERATION] = GROUP_PREFIX "generation",
                                             [OF_MEMBERS] = GROUP_PREFIX "members"};

/* user.group.G.committed and user.group.G.lag. */
static bool parse_offset_name(const char *name, char group[GROUP_NAME_BYTES], enum of_offset *which)
{
    size_t prefix = strlen(GROUP_PREFIX), len = strlen(name);

    if (strncmp(name, GROUP_PREFIX, prefix) != 0)
        return false;
    for (int i = OF_COMMITTED; i <= OF_LAG; i++) {
        size_t suffix = strlen(of_offset_suffix[i]);
        if (len <= prefix + suffix || strcmp(name + len - suffix, of_offset_suffix[i]) != 0)
            continue;
        len -= prefix + suffix;
        if (len >= GROUP_NAME_BYTES)
            return false;
        memcpy(group, name + prefix, len);
        group[len] = '\0';
        *which = (enum of_offset)i;
        return true;
    }
    return false;
}

static enum of_group find_of_group(const char *name)
{
    int which = OF_STATE;

    while (which < OF_GROUPS && strcmp(of_group_names[which], name) != 0)
        which++;
    return (enum of_group)which;
}

/* A partition that groups may have offsets of, under its own name or as a view. */
static bool has_offsets(const struct vnode *vnode)
{
    enum vnode_kind kind = vnode->key.kind;

    return (kind == VNODE_PARTITION || kind == VNODE_FOLLOW || kind == VNODE_JSON) && !topic_internal(vnode->topic);
}

bool group_xattr_is(const struct vnode *vnode, const char *name)
{
    char group[GROUP_NAME_BYTES];
    enum of_offset which;

    if (vnode->key.kind == VNODE_GROUP)
        return find_of_group(name) != OF_GROUPS;
    return has_offsets(vnode) && parse_offset_name(name, group, &which);
}

bool group_xattr_listed(struct session *session, const struct vnode *vnode)
{
    return has_offsets(vnode) && node_group_count(session->node) > 0;
}

/* ---- getting ---- */

struct get_call {
    struct group_call call; /* first */
    struct vnode *vnode;    /* alive until the request is answered, and so below */
    size_t size;            /* of the caller's buffer */
    enum of_offset of_offset;
    enum of_group of_group;
};

static void reply_number(fuse_req_t req, int64_t number, size_t size)
{
    char value[VALUE_BYTES];

    snprintf(value, sizeof value, "%" PRId64, number);
    xattr_reply(req, value, strlen(value), size);
}

/* The group's offset of the partition; GROUP_OFFSET_NONE: it has none. */
static int64_t committed_in(const struct group_op *op, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < op->row_count; i++) {
        if (op->rows[i].partition == partition && strcmp(op->rows[i].topic, topic) == 0)
            return op->rows[i].committed;
    }
    return GROUP_OFFSET_NONE;
}

/* The group's offset of this partition, or what hinders: rc of the op, -ENODATA, or -ETIMEDOUT: it is not known whether
 * there is one. */
static int committed_here(const struct group_op *op, const struct vnode *vnode, int rc, int64_t *offset)
{
    *offset = rc == 0 ? committed_in(op, topic_name(vnode->topic), vnode->key.index) : GROUP_OFFSET_NONE;
    if (rc == 0 && *offset == GROUP_OFFSET_NONE)
        rc = op->described_count > 0 ? -ENODATA : -ETIMEDOUT;
    return rc;
}

static void answer_offset(struct group_call *call, int rc)
{
    const struct get_call *get = CONTAINER_OF(call, struct get_call, call);
    const struct vnode *vnode = get->vnode;
    int64_t offset;

    rc = committed_here(&call->op, vnode, rc, &offset);
    if (vnode_deleted(vnode))
        rc = -ESTALE;
    else if (rc == -ENOENT)
        rc = -ENODATA;
    if (rc != 0)
        fuse_reply_err(call->park.req, -rc);
    else if (get->of_offset == OF_COMMITTED)
        reply_number(call->park.req, offset, get->size);
    else
        reply_number(call->park.req, group_lag(vnode->pfile->part, offset), get->size);
}

static void answer_of_group(struct group_call *call, int rc)
{
    static const char *const phases[] = {[GROUP_EMPTY] = "Empty",
                                         [GROUP_REBALANCING] = "PreparingRebalance",
                                         [GROUP_STABLE] = "Stable",
                                         [GROUP_DEAD] = "Dead"};
    const struct get_call *get = CONTAINER_OF(call, struct get_call, call);
    fuse_req_t req = call->park.req;

    if (rc == -ENOENT || vnode_deleted(get->vnode))
        rc = -ESTALE;
    else if (rc == 0 && call->op.described_count == 0)
        rc = -ETIMEDOUT;
    if (rc != 0) {
        fuse_reply_err(req, -rc);
        return;
    }
    const struct group_described *described = &call->op.described[0];
    if (get->of_group == OF_STATE)
        xattr_reply(req, phases[described->phase], strlen(phases[described->phase]), get->size);
    else
        reply_number(req, get->of_group == OF_GENERATION ? described->generation : described->members, get->size);
}

/* NULL: no memory; the request was answered so. */
static struct get_call *new_get(fuse_req_t req, struct vnode *vnode, size_t size,
                                void (*answer)(struct group_call *call, int rc))
{
    struct group_call *call = group_call_new(req, sizeof(struct get_call), answer);
    struct get_call *get;

    if (call == NULL)
        return NULL;
    get = CONTAINER_OF(call, struct get_call, call);
    get->vnode = vnode;
    get->size = size;
    return get;
}

void group_xattr_get(fuse_req_t req, struct vnode *vnode, const char *name, size_t size)
{
    char group[GROUP_NAME_BYTES];
    bool is_group = vnode->key.kind == VNODE_GROUP;
    enum of_offset which = OF_COMMITTED;

    if (vnode_deleted(vnode)) {
        fuse_reply_err(req, ESTALE);
        return;
    }
    struct get_call *get = new_get(req, vnode, size, is_group ? answer_of_group : answer_offset);
    if (get == NULL)
        return;
    if (is_group) {
        get->of_group = find_of_group(name);
        group_call_begin(&get->call, GROUP_ASK_GROUP, node_group_name(vnode->group), NULL, -1);
        return;
    }
    (void)parse_offset_name(name, group, &which); /* it did: group_xattr_is() */
    get->of_offset = which;
    group_call_begin(&get->call, GROUP_ASK_GROUP, group, NULL, -1);
}

/* ---- listing ---- */

/* What could not be asked is left out: who copies a file, or lists a directory, is to go on. */
static void answer_list(struct group_call *call, int rc)
{
    const struct get_call *get = CONTAINER_OF(call, struct get_call, call);
    struct group_op *op = &call->op;
    char *names = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&names, &len);

    if (out == NULL) {
        fuse_reply_err(call->park.req, ENOMEM);
        return;
    }
    xattr_write_names(session_of(call->park.req), get->vnode, out);
    for (size_t i = 0; rc == 0 && i < op->row_count; i++) {
        if (op->rows[i].committed != GROUP_OFFSET_NONE) {
            for (int which = OF_COMMITTED; which <= OF_LAG; which++)
                fprintf(out, GROUP_PREFIX "%s%s%c", op->rows[i].group, of_offset_suffix[which], '\0');
        }
    }
    if (fclose(out) == 0)
        xattr_reply(call->park.req, names, len, get->size);
    else
        fuse_reply_err(call->park.req, ENOMEM);
    free(names);
}

void group_xattr_list(fuse_req_t req, struct vnode *vnode, size_t size)
{
    struct get_call *get = new_get(req, vnode, size, answer_list);

    if (get != NULL)
        group_call_begin(&get->call, GROUP_ASK_PARTITION, NULL, topic_name(vnode->topic), vnode->key.index);
}

/* ---- setting, removing ---- */

/* What is to become of the group's offset. */
struct wish {
    struct vnode *vnode;
    char group[GROUP_NAME_BYTES];
    struct address address;
    int flags;
};

struct wish_call {
    struct group_call call; /* first */
    struct wish wish;
};

static void answer_changed(struct group_call *call, int rc)
{
    const struct wish *wish = &CONTAINER_OF(call, struct wish_call, call)->wish;

    if (vnode_deleted(wish->vnode))
        rc = -ESTALE;
    else if (rc == -ENOENT) /* the group is gone by now */
        rc = call->op.ask == GROUP_RESET ? -EINVAL : -ENODATA;
    fuse_reply_err(call->park.req, -rc);
}

static struct group_call *new_call(fuse_req_t req, const struct wish *wish,
                                   void (*answer)(struct group_call *call, int rc))
{
    struct group_call *call = group_call_new(req, sizeof(struct wish_call), answer);

    if (call != NULL)
        CONTAINER_OF(call, struct wish_call, call)->wish = *wish;
    return call;
}

/* RESET, or FORGET. */
static void begin_change(fuse_req_t req, const struct wish *wish, enum group_ask ask, int64_t offset)
{
    struct group_call *call = new_call(req, wish, answer_changed);

    if (call == NULL)
        return;
    call->op.offset = offset;
    group_call_begin(call, ask, wish->group, topic_name(wish->vnode->topic), wish->vnode->key.index);
}

/* ---- where the address is ---- */

struct wish_place {
    struct asking asking; /* first */
    struct work work;
    struct wish wish;
    bool asked;
};

static enum asking_next place_tick(struct asking *asking)
{
    struct wish_place *place = CONTAINER_OF(asking, struct wish_place, asking);
    struct clock *clock = node_clock(asking->session->node);

    if (place->asked)
        return ASKING_OVER;
    place->asked = true;
    asking->op.part = place->wish.vnode->pfile->part;
    address_ask(&place->wish.address, clock->wall_ms(clock), &asking->op);
    return ASKING_READ;
}

static void place_answer(struct asking *asking)
{
    const struct wish_place *place = CONTAINER_OF(asking, struct wish_place, asking);
    struct log_point point;
    int rc = asking->rc;

    if (rc == 0 && address_found(&place->wish.address, &asking->op, &point) != 0)
        rc = -EINVAL;
    if (rc != 0)
        fuse_reply_err(asking->req, -rc);
    else
        begin_change(asking->req, &place->wish, GROUP_RESET, point.offset);
}

static void place_free(struct asking *asking)
{
    free(CONTAINER_OF(asking, struct wish_place, asking));
}

static const struct asking_kind place_kind = {
    .tick = place_tick,
    .answer = place_answer,
    .free = place_free,
    .fatal_only = true,
};

static void go_place(struct work *work)
{
    struct wish_place *place = CONTAINER_OF(work, struct wish_place, work);
    struct session *session = place->asking.session;

    asking_go(&place->asking);
    parks_let_go(session);
}

/* On a thread of the pool: who calls may be a turn of the room of groups, which waits for no disk. */
static void find_place(fuse_req_t req, const struct wish *wish)
{
    struct wish_place *place = calloc(1, sizeof *place);

    if (place == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    place->asking.req = req;
    place->asking.session = session_of(req);
    place->asking.kind = &place_kind;
    place->asking.op.timeout_ms = LIMIT_GROUP_ANSWER_MS;
    place->wish = *wish;
    place->work.run = go_place;
    parks_hold(place->asking.session);
    executor_prompt(node_executor(place->asking.session->node), &place->work);
}

/* ---- the flags of setxattr(2) ---- */

static void answer_present(struct group_call *call, int rc)
{
    const struct wish *wish = &CONTAINER_OF(call, struct wish_call, call)->wish;
    int64_t offset;

    rc = committed_here(&call->op, wish->vnode, rc, &offset);
    if (rc == 0 && (wish->flags & XATTR_CREATE) != 0)
        rc = -EEXIST;
    else if (rc == -ENODATA && (wish->flags & XATTR_REPLACE) == 0)
        rc = 0;
    if (rc != 0)
        fuse_reply_err(call->park.req, -rc);
    else
        find_place(call->park.req, wish);
}

/* ---- ---- */

/* As a name of the partition: an address is what may come behind it. */
static int parse_value(const char *value, struct address *out)
{
    char name[VALUE_BYTES + 2];

    snprintf(name, sizeof name, "0@%s", value);
    return address_parse(name, out) == 0 ? 0 : -EINVAL;
}

static int check_wish(fuse_req_t req, struct wish *wish, enum of_offset which, const char *value)
{
    struct node_group *group = node_group(session_of(req)->node, wish->group);
    int rc = 0;

    if (group == NULL)
        return value != NULL ? -EINVAL : -ENODATA;
    if (which == OF_LAG || wish->vnode->key.kind != VNODE_PARTITION || vnode_addressed(wish->vnode))
        rc = -EPERM;
    else if (!group_may(req, group, W_OK))
        rc = -EACCES;
    else if (value != NULL)
        rc = parse_value(value, &wish->address);
    node_group_unref(group);
    return rc;
}

void group_xattr_set(fuse_req_t req, struct vnode *vnode, const char *name, const char *value, int flags)
{
    struct wish wish = {.vnode = vnode, .flags = flags};
    enum of_offset which = OF_COMMITTED;
    int rc;

    if (vnode_deleted(vnode))
        rc = -ESTALE;
    else if (!has_offsets(vnode) || !parse_offset_name(name, wish.group, &which))
        rc = -EPERM; /* what a group's entry shows */
    else
        rc = check_wish(req, &wish, which, value);
    if (rc != 0) {
        fuse_reply_err(req, -rc);
    } else if (value == NULL) {
        begin_change(req, &wish, GROUP_FORGET, 0);
    } else if (flags == 0) {
        find_place(req, &wish);
    } else {
        struct group_call *call = new_call(req, &wish, answer_present);
        if (call != NULL)
            group_call_begin(call, GROUP_ASK_GROUP, wish.group, NULL, -1);
    }
}
