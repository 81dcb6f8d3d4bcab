/* replication/metadata/metadata_groups.c: consumer groups: names, owners, modes and settings, in an array sorted by
 * name; what the commands about them ask of the state, and do to it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replication/base/limits.h"
#include "replication/base/sorted.h"
#include "replication/metadata/metadata_internal.h"

int group_name_check(const char *name)
{
    enum { ATTRIBUTE_BYTES = 255 /* Linux: XATTR_NAME_MAX */, AROUND = sizeof "user.group..committed" - 1 };
    return strlen(name) > ATTRIBUTE_BYTES - AROUND ? -EINVAL : topic_name_check(name);
}

static const char *group_name_at(const void *list, size_t i)
{
    return ((struct metadata_group *const *)list)[i]->name;
}

size_t metadata_group_place(const struct metadata *meta, const char *name, bool *found)
{
    return sorted_place(meta->groups, meta->group_count, group_name_at, name, found);
}

static struct metadata_group *find(const struct metadata *meta, const char *name)
{
    bool found;
    size_t place = metadata_group_place(meta, name, &found);
    return found ? meta->groups[place] : NULL;
}

const struct metadata_group *metadata_group(const struct metadata *meta, const char *name)
{
    return find(meta, name);
}

void metadata_group_free(struct metadata_group *group)
{
    config_set_free(&group->config);
    free(group);
}

/* ---- does a command fit? ---- */

static int check_create(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    if (group_name_check(cmd->group) != 0)
        return err_set(verdict->e, -EINVAL, "%s: not a group's name", cmd->group);
    if (metadata_topic(meta, METADATA_OFFSETS_TOPIC) == NULL) /* nobody deletes it, so that this is no race */
        return err_set(verdict->e, -EINVAL, "group %s: there is no topic for its offsets", cmd->group);
    if (find(meta, cmd->group) != NULL)
        return LOST(verdict, -EEXIST, "group %s exists", cmd->group);
    if (meta->group_count >= LIMIT_GROUPS)
        return LOST(verdict, -ENOSPC, "there are %d groups already", LIMIT_GROUPS);
    return 0;
}

int metadata_check_same_group(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    const struct metadata_group *group = find(meta, cmd->group);
    if (group == NULL || memcmp(group->id, cmd->id, UUID_BYTES) != 0)
        return LOST(verdict, -ENOENT, "no group %s", cmd->group);
    return 0;
}

static int check_config(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    const struct metadata_group *group = find(meta, cmd->group);
    if (group == NULL)
        return LOST(verdict, -ENOENT, "no group %s", cmd->group);
    if (cmd->type == COMMAND_SET_GROUP_CONFIG)
        return group_config_check(cmd->name, cmd->value, verdict->e);
    if (group_config_in_force(&group->config, cmd->name) == NULL)
        return err_set(verdict->e, -EINVAL, "%s: no such setting of a group", cmd->name);
    if (config_set_get(&group->config, cmd->name) == NULL)
        return LOST(verdict, -ENODATA, "%s: not set", cmd->name);
    return 0;
}

int metadata_group_fits(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    switch (cmd->type) {
    case COMMAND_CREATE_GROUP:
        return check_create(meta, cmd, verdict);
    case COMMAND_DELETE_GROUP:
        return metadata_check_same_group(meta, cmd, verdict);
    case COMMAND_SET_GROUP_ATTR:
        if (cmd->group[0] != '\0' && find(meta, cmd->group) == NULL)
            return LOST(verdict, -ENOENT, "no group %s", cmd->group);
        return 0;
    default:
        return check_config(meta, cmd, verdict);
    }
}

/* ---- what it does ---- */

/* The names in `.groups` changed. */
static void touch(struct metadata *meta, int64_t time_ms)
{
    meta->groups_attr.mtime_ms = time_ms;
    meta->groups_attr.ctime_ms = time_ms;
}

static int create_group(struct metadata *meta, const struct command *cmd)
{
    bool found;
    size_t place = metadata_group_place(meta, cmd->group, &found);
    struct metadata_group *group = calloc(1, sizeof *group);
    struct metadata_group **groups = realloc(meta->groups, (meta->group_count + 1) * sizeof(struct metadata_group *));
    if (groups != NULL)
        meta->groups = groups;
    if (group == NULL || groups == NULL) {
        free(group);
        return -ENOMEM;
    }
    memcpy(group->name, cmd->group, sizeof group->name);
    memcpy(group->id, cmd->id, UUID_BYTES);
    group->attr = cmd->attr;
    memmove(&groups[place + 1], &groups[place], (meta->group_count - place) * sizeof(struct metadata_group *));
    groups[place] = group;
    meta->group_count++;
    touch(meta, cmd->time_ms);
    return 0;
}

static void remove_group(struct metadata *meta, const struct command *cmd)
{
    bool found;
    size_t place = metadata_group_place(meta, cmd->group, &found);
    metadata_group_free(meta->groups[place]);
    meta->group_count--;
    memmove(&meta->groups[place], &meta->groups[place + 1],
            (meta->group_count - place) * sizeof(struct metadata_group *));
    touch(meta, cmd->time_ms);
}

static int change_config(struct metadata_group *group, const struct command *cmd)
{
    if (cmd->type == COMMAND_REMOVE_GROUP_CONFIG)
        config_set_remove(&group->config, cmd->name);
    else if (config_set_put(&group->config, cmd->name, cmd->value) != 0)
        return -ENOMEM;
    group->attr.ctime_ms = cmd->time_ms;
    return 0;
}

int metadata_group_apply(struct metadata *meta, const struct command *cmd)
{
    switch (cmd->type) {
    case COMMAND_CREATE_GROUP:
        return create_group(meta, cmd);
    case COMMAND_DELETE_GROUP:
        remove_group(meta, cmd);
        return 0;
    case COMMAND_SET_GROUP_ATTR:
        metadata_set_attr(cmd->group[0] != '\0' ? &find(meta, cmd->group)->attr : &meta->groups_attr, cmd);
        meta->groups_said = meta->groups_said || (cmd->group[0] == '\0' && metadata_says_all(cmd));
        return 0;
    default:
        return change_config(find(meta, cmd->group), cmd);
    }
}
