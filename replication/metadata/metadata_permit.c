/* replication/metadata/metadata_permit.c: may who asked for a command have it? By owners, groups and modes as they are
 * where the command stands in the log, so on every node alike (REPLICATION.md, rule 61).
 *
 * The rules are those by which the kernel, and fs/ behind it, judge the call where it is made: path_resolution(7),
 * mkdir(2), rmdir(2), chmod(2), chown(2), xattr(7). What only that host's kernel knows is not asked again: capabilities
 * of who is not root, and the way to what is changed (x on the directories above, mounts). */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "replication/metadata/metadata_internal.h"

enum { EXECUTE = 01, WRITE = 02 };

enum membership { IS_OUT, IS_IN, IS_UNKNOWN };

static enum membership in_group(const struct command_caller *caller, gid_t gid)
{
    if (caller->gid == gid)
        return IS_IN;
    for (int32_t i = 0; i < caller->group_count; i++) {
        if (caller->groups[i] == gid)
            return IS_IN;
    }
    return caller->group_count < 0 ? IS_UNKNOWN : IS_OUT;
}

/* One class of the mode counts, though another one may have more. Of whose groups are not known what either class has:
 * the kernel knew the right one. */
static bool has_rights(const struct command_caller *caller, const struct tree_attr *attr, mode_t mode, mode_t rights)
{
    bool as_member = (mode >> 3 & rights) == rights, as_other = (mode & rights) == rights;
    if (caller->uid == attr->uid)
        return (mode >> 6 & rights) == rights;
    switch (in_group(caller, attr->gid)) {
    case IS_IN:
        return as_member;
    case IS_OUT:
        return as_other;
    case IS_UNKNOWN:
        break;
    }
    return as_member || as_other;
}

/* Each of these: 0, -EACCES, -EPERM. */

/* A name comes or goes in a directory. */
static int may_name(const struct command_caller *caller, const struct tree_attr *dir)
{
    return has_rights(caller, dir, dir->dir_mode, WRITE | EXECUTE) ? 0 : -EACCES;
}

/* In a sticky one only what is his, or if that is. */
static int may_remove(const struct command_caller *caller, const struct tree_attr *dir, const struct tree_attr *attr)
{
    int rc = may_name(caller, dir);
    if (rc == 0 && (dir->dir_mode & S_ISVTX) != 0 && caller->uid != attr->uid && caller->uid != dir->uid)
        rc = -EPERM;
    return rc;
}

/* An attribute of the `user.` kind, which is w of the file that has it, and of a sticky directory its owner's; and all
 * of them are the owner's here. */
static int may_set(const struct command_caller *caller, const struct tree_attr *attr, mode_t mode, bool is_dir)
{
    bool is_owner = caller->uid == attr->uid;
    if (is_dir && (mode & S_ISVTX) != 0 && !is_owner)
        return -EPERM;
    if (!has_rights(caller, attr, mode, WRITE))
        return -EACCES;
    return is_owner ? 0 : -EPERM;
}

/* The kernel takes the set-id bits away where somebody writes, whoever that is. */
static bool only_drops_set_id(const struct tree_attr *now, const struct command *cmd)
{
    mode_t to = cmd->attr.file_mode, from = now->file_mode;
    return cmd->set == ATTR_FILE_MODE && (to & ~from) == 0 && (from & ~to & 01777) == 0;
}

/* chmod and chown: the owner, who gives a file to a group that he is in, or leaves it to the one that has it, and to
 * nobody else. */
static int may_change(const struct command_caller *caller, const struct tree_attr *now, const struct command *cmd)
{
    if (only_drops_set_id(now, cmd))
        return 0;
    if (caller->uid != now->uid || ((cmd->set & ATTR_UID) != 0 && cmd->attr.uid != caller->uid))
        return -EPERM;
    if ((cmd->set & ATTR_GID) == 0 || cmd->attr.gid == now->gid)
        return 0;
    return in_group(caller, cmd->attr.gid) == IS_OUT ? -EPERM : 0;
}

/* ---- what commands are about ---- */

/* That there is none has an errno of its own, elsewhere. */
static int judge_topic(const struct metadata *meta, const struct metadata_topic *topic, const struct command *cmd)
{
    const struct command_caller *caller = &cmd->origin.caller;
    if (topic == NULL)
        return 0;
    switch (cmd->type) {
    case COMMAND_DELETE_TOPIC:
        return may_remove(caller, &meta->root, &topic->attr);
    case COMMAND_CREATE_PARTITIONS:
        return caller->by_attribute ? may_set(caller, &topic->attr, topic->attr.dir_mode, true)
                                    : may_name(caller, &topic->attr);
    case COMMAND_SET_ATTR:
        return may_change(caller, &topic->attr, cmd);
    case COMMAND_ASSIGN_REPLICAS:
        if (cmd->partition >= 0)
            return may_set(caller, &topic->attr, topic->attr.file_mode, false);
        break;
    case COMMAND_CHANGE_PARTITIONS:
        return may_set(caller, &topic->attr, topic->attr.file_mode, false);
    default:
        break;
    }
    return may_set(caller, &topic->attr, topic->attr.dir_mode, true);
}

static int judge_partitions(const struct metadata *meta, const struct command *cmd)
{
    int rc = 0;
    for (int32_t i = 0; rc == 0 && i < cmd->change_count; i++)
        rc = judge_topic(meta, metadata_topic_by_id(meta, cmd->changes[i].topic_id), cmd);
    return rc;
}

static int judge_root(const struct metadata *meta, const struct command *cmd)
{
    const struct command_caller *caller = &cmd->origin.caller;
    if (cmd->type == COMMAND_SET_ATTR)
        return may_change(caller, &meta->root, cmd);
    return may_set(caller, &meta->root, meta->root.dir_mode, true);
}

static int judge_group(const struct metadata *meta, const struct command *cmd)
{
    const struct command_caller *caller = &cmd->origin.caller;
    const struct metadata_group *group = metadata_group(meta, cmd->group);
    if (cmd->type == COMMAND_SET_GROUP_ATTR && cmd->group[0] == '\0')
        return may_change(caller, &meta->groups_attr, cmd);
    if (group == NULL)
        return 0;
    if (cmd->type == COMMAND_DELETE_GROUP)
        return may_remove(caller, &meta->groups_attr, &group->attr);
    if (cmd->type == COMMAND_SET_GROUP_ATTR)
        return may_change(caller, &group->attr, cmd);
    return may_set(caller, &group->attr, group->attr.dir_mode, true);
}

static int judge(const struct metadata *meta, const struct command *cmd)
{
    switch (cmd->type) {
    case COMMAND_CREATE_TOPIC:
        return may_name(&cmd->origin.caller, &meta->root);
    case COMMAND_DELETE_TOPIC:
    case COMMAND_CREATE_PARTITIONS:
    case COMMAND_ASSIGN_REPLICAS:
        return judge_topic(meta, metadata_topic(meta, cmd->topic), cmd);
    case COMMAND_SET_ATTR:
    case COMMAND_SET_CONFIG:
    case COMMAND_REMOVE_CONFIG:
        if (cmd->topic[0] != '\0')
            return judge_topic(meta, metadata_topic(meta, cmd->topic), cmd);
        return judge_root(meta, cmd);
    case COMMAND_SET_VOTERS:
    case COMMAND_UNREGISTER_NODE:
        return judge_root(meta, cmd);
    case COMMAND_CHANGE_PARTITIONS:
        return judge_partitions(meta, cmd);
    case COMMAND_CREATE_GROUP:
        return may_name(&cmd->origin.caller, &meta->groups_attr);
    case COMMAND_DELETE_GROUP:
    case COMMAND_SET_GROUP_ATTR:
    case COMMAND_SET_GROUP_CONFIG:
    case COMMAND_REMOVE_GROUP_CONFIG:
        return judge_group(meta, cmd);
    case COMMAND_REGISTER_NODE:
    case COMMAND_CHANGE_NODE:
    case COMMAND_SET_PARTITIONS:
    case COMMAND_PRODUCER_IDS:
    case COMMAND_BEGIN_EPOCH:
    case COMMAND_TYPES:
        break;
    }
    return 0; /* no user's */
}

int metadata_permit(const struct metadata *meta, const struct command *cmd, struct err *e)
{
    const struct command_caller *caller = &cmd->origin.caller;
    int rc = caller->is_user && caller->uid != 0 ? judge(meta, cmd) : 0;
    if (rc == 0)
        return 0;
    return err_set(e, rc, "%s is not for user %u to ask for", command_type_name(cmd->type), (unsigned)caller->uid);
}

bool metadata_judges(const struct metadata *meta)
{
    return meta->root_said && metadata_check_level(meta, FEATURE_LEVEL_CALLERS, NULL) == 0;
}
