/* Who may have which change: caller by object by change, with what the man pages and docs/FILESYSTEM.md say of each;
 * and the caller as bytes of a command. */
#include "replication/metadata/metadata.h"

#include <errno.h>
#include <msgpack.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/metadata_fixture.h"

enum { OWNER = 10, MEMBER = 11, OTHER = 12, BOSS = 13 }; /* BOSS has MOUNT and .groups */
enum { STAFF = 20, BOSSES = 21, NONE = 22 };
enum { NOT_KNOWN = -1 };

static const struct tree_attr own_root = {.uid = 1, .gid = 2, .dir_mode = 0755, .file_mode = 0644};

static int setup(void **state)
{
    return metadata_setup(state, &own_root);
}

static struct command command(enum command_type type, const char *topic)
{
    struct command cmd = {.type = type, .time_ms = 1000};
    snprintf(cmd.topic, sizeof cmd.topic, "%s", topic);
    memset(cmd.id, topic[0], UUID_BYTES);
    return cmd;
}

static struct command group_command(enum command_type type, const char *group)
{
    struct command cmd = {.type = type, .time_ms = 1000};
    snprintf(cmd.group, sizeof cmd.group, "%s", group);
    memset(cmd.id, group[0], UUID_BYTES);
    return cmd;
}

static void register_node(struct metadata *meta, int32_t id, int32_t feature_level)
{
    struct command cmd = {.type = COMMAND_REGISTER_NODE,
                          .registration = {.id = id, .epoch = -1, .feature_level = feature_level}};
    assert_int_equal(metadata_apply_as_in_log(meta, &cmd), 0);
}

/* As the first controller of a cluster says it. */
static void say_root(struct metadata *meta, mode_t mode)
{
    struct command cmd = command(COMMAND_SET_ATTR, "");
    cmd.attr = (struct tree_attr){.uid = BOSS, .gid = BOSSES, .dir_mode = mode, .file_mode = 0644};
    cmd.set = ATTR_UID | ATTR_GID | ATTR_DIR_MODE | ATTR_FILE_MODE | COMMAND_ATTR_MTIME;
    memset(cmd.id, 0, UUID_BYTES);
    assert_int_equal(metadata_apply_as_in_log(meta, &cmd), 0);
}

static void make_topic(struct metadata *meta, const char *name, mode_t dir_mode, mode_t file_mode)
{
    int32_t replicas[] = {1, 1};
    struct command cmd = command(COMMAND_CREATE_TOPIC, name);
    cmd.attr = (struct tree_attr){.uid = OWNER, .gid = STAFF, .dir_mode = dir_mode, .file_mode = file_mode};
    cmd.partitions = cmd.replica_count = 2;
    cmd.replication_factor = 1;
    cmd.replicas = replicas;
    assert_int_equal(metadata_apply_as_in_log(meta, &cmd), 0);
}

static void make_group(struct metadata *meta, mode_t mode)
{
    struct command cmd = group_command(COMMAND_CREATE_GROUP, "kitchen");
    cmd.attr = (struct tree_attr){.uid = OWNER, .gid = STAFF, .dir_mode = mode};
    assert_int_equal(metadata_apply_as_in_log(meta, &cmd), 0);
}

/* ---- who by what by which ---- */

enum change {
    MKDIR,
    RMDIR,
    TOUCH,
    SET_PARTITIONS, /* setfattr of user.topic.partitions */
    CHMOD,
    CHMOD_FILE,
    DROP_SET_ID, /* what the kernel does to a partition that somebody writes */
    GIVE_AWAY,   /* chown OTHER */
    TAKE,        /* chown to the caller himself */
    CHGRP_STAFF,
    CHGRP_BOSSES,
    SET,
    REMOVE,
    SET_FACTOR,
    SET_REPLICAS,
    SET_LEADER,
    ROOT_CHMOD,
    ROOT_CHGRP_STAFF,
    ROOT_SET,
    SET_VOTERS,
    UNREGISTER,
    GROUP_MKDIR,
    GROUP_RMDIR,
    GROUP_CHMOD,
    GROUP_SET,
    GROUPS_CHMOD,
    GROUPS_GIVE_AWAY,
};

static struct partition_change moves[1];
static int32_t replica[1] = {1};

static struct command with_attr(struct command cmd, unsigned set, struct tree_attr attr)
{
    cmd.set = set;
    cmd.attr = attr;
    return cmd;
}

static struct command named(struct command cmd, const char *name, const char *value)
{
    snprintf(cmd.name, sizeof cmd.name, "%s", name);
    snprintf(cmd.value, sizeof cmd.value, "%s", value);
    return cmd;
}

static struct command placed(struct command cmd, int32_t partition)
{
    cmd.partition = partition;
    cmd.replication_factor = cmd.replica_count = 1;
    cmd.replicas = replica;
    return cmd;
}

static struct command led(struct command cmd)
{
    memset(moves[0].topic_id, 'o', UUID_BYTES);
    cmd.changes = moves;
    cmd.change_count = 1;
    return cmd;
}

static struct command change_of(enum change change, uid_t caller)
{
    struct command orders = command(COMMAND_SET_ATTR, "orders"), root = command(COMMAND_SET_ATTR, "");
    struct command kitchen = group_command(COMMAND_SET_GROUP_ATTR, "kitchen"),
                   groups = group_command(COMMAND_SET_GROUP_ATTR, "");
    switch (change) {
    case MKDIR:
        return command(COMMAND_CREATE_TOPIC, "more");
    case RMDIR:
        return command(COMMAND_DELETE_TOPIC, "orders");
    case TOUCH:
    case SET_PARTITIONS:
        return command(COMMAND_CREATE_PARTITIONS, "orders");
    case CHMOD:
        return with_attr(orders, ATTR_DIR_MODE, (struct tree_attr){.dir_mode = 0777});
    case CHMOD_FILE:
        return with_attr(orders, ATTR_FILE_MODE, (struct tree_attr){.file_mode = 0777});
    case DROP_SET_ID:
        return with_attr(orders, ATTR_FILE_MODE, (struct tree_attr){.file_mode = 0666});
    case GIVE_AWAY:
        return with_attr(orders, ATTR_UID, (struct tree_attr){.uid = OTHER});
    case TAKE:
        return with_attr(orders, ATTR_UID, (struct tree_attr){.uid = caller});
    case CHGRP_STAFF:
        return with_attr(orders, ATTR_GID, (struct tree_attr){.gid = STAFF});
    case CHGRP_BOSSES:
        return with_attr(orders, ATTR_GID, (struct tree_attr){.gid = BOSSES});
    case SET:
        return named(command(COMMAND_SET_CONFIG, "orders"), "retention.ms", "5");
    case REMOVE:
        return named(command(COMMAND_REMOVE_CONFIG, "orders"), "retention.ms", "");
    case SET_FACTOR:
        return placed(command(COMMAND_ASSIGN_REPLICAS, "orders"), -1);
    case SET_REPLICAS:
        return placed(command(COMMAND_ASSIGN_REPLICAS, "orders"), 0);
    case SET_LEADER:
        return led(command(COMMAND_CHANGE_PARTITIONS, "orders"));
    case ROOT_CHMOD:
        return with_attr(root, ATTR_DIR_MODE, (struct tree_attr){.dir_mode = 0777});
    case ROOT_CHGRP_STAFF:
        return with_attr(root, ATTR_GID, (struct tree_attr){.gid = STAFF});
    case ROOT_SET:
        return named(command(COMMAND_SET_CONFIG, ""), "retention.ms", "5");
    case SET_VOTERS:
        return (struct command){.type = COMMAND_SET_VOTERS};
    case UNREGISTER:
        return (struct command){.type = COMMAND_UNREGISTER_NODE};
    case GROUP_MKDIR:
        return group_command(COMMAND_CREATE_GROUP, "more");
    case GROUP_RMDIR:
        return group_command(COMMAND_DELETE_GROUP, "kitchen");
    case GROUP_CHMOD:
        return with_attr(kitchen, ATTR_DIR_MODE, (struct tree_attr){.dir_mode = 0777});
    case GROUP_SET:
        return named(group_command(COMMAND_SET_GROUP_CONFIG, "kitchen"), "max.poll.records", "5");
    case GROUPS_CHMOD:
        return with_attr(groups, ATTR_DIR_MODE, (struct tree_attr){.dir_mode = 0777});
    case GROUPS_GIVE_AWAY:
        return with_attr(groups, ATTR_UID, (struct tree_attr){.uid = OTHER});
    }
    abort();
}

/* The mode of what it is about: of MOUNT for a name that comes and goes there, of `.groups` likewise, else of the
 * topic's directory, its partitions, the group's entry. */
struct row {
    enum change change;
    mode_t mode;
    uid_t uid;
    int64_t group; /* besides NONE; NOT_KNOWN: nor any other */
    int expected;
};

static const struct row rows[] = {
    /* mkdir(2): w and x on the directory; one class of the mode counts (POSIX.1-2017, 4.5), though it has less. */
    {MKDIR, 0755, BOSS, NONE, 0},
    {MKDIR, 0755, OTHER, NONE, -EACCES},
    {MKDIR, 0777, OTHER, NONE, 0},
    {MKDIR, 0776, OTHER, NONE, -EACCES},
    {MKDIR, 0775, OTHER, BOSSES, 0},
    {MKDIR, 0757, OTHER, BOSSES, -EACCES},
    {MKDIR, 0077, BOSS, BOSSES, -EACCES},
    {MKDIR, 0000, 0, NONE, 0},
    /* Who is a member of what is not known: either class may be his. */
    {MKDIR, 0775, OTHER, NOT_KNOWN, 0},
    {MKDIR, 0757, OTHER, NOT_KNOWN, 0},
    {MKDIR, 0755, OTHER, NOT_KNOWN, -EACCES},
    {MKDIR, 0577, BOSS, NOT_KNOWN, -EACCES},

    /* rmdir(2): likewise, and in a sticky directory one's own, or in one's own. */
    {RMDIR, 0755, OWNER, STAFF, -EACCES},
    {RMDIR, 0777, OTHER, NONE, 0},
    {RMDIR, 01777, OTHER, NONE, -EPERM},
    {RMDIR, 01777, MEMBER, STAFF, -EPERM},
    {RMDIR, 01777, OWNER, NONE, 0},
    {RMDIR, 01777, BOSS, NONE, 0},
    {RMDIR, 01755, OWNER, NONE, -EACCES},
    {RMDIR, 01000, 0, NONE, 0},

    /* `touch T/3` takes w on T, and x as any name; user.topic.partitions the owner, and w as any attribute. */
    {TOUCH, 0755, OWNER, NONE, 0},
    {TOUCH, 0775, MEMBER, STAFF, 0},
    {TOUCH, 0775, OTHER, NONE, -EACCES},
    {TOUCH, 0655, OWNER, NONE, -EACCES},
    {TOUCH, 0777, OTHER, NONE, 0},
    {TOUCH, 0, 0, NONE, 0},
    {SET_PARTITIONS, 0755, OWNER, NONE, 0},
    {SET_PARTITIONS, 0200, OWNER, NONE, 0},
    {SET_PARTITIONS, 0555, OWNER, NONE, -EACCES},
    {SET_PARTITIONS, 0777, OTHER, NONE, -EPERM},
    {SET_PARTITIONS, 0755, OTHER, NONE, -EACCES},
    {SET_PARTITIONS, 01755, OTHER, NONE, -EPERM}, /* xattr(7): of a sticky directory they are its owner's */

    /* chmod(2): the owner, whatever the mode. */
    {CHMOD, 0000, OWNER, NONE, 0},
    {CHMOD, 0777, MEMBER, STAFF, -EPERM},
    {CHMOD, 0777, BOSS, NONE, -EPERM},
    {CHMOD, 0000, 0, NONE, 0},
    {CHMOD_FILE, 0000, OWNER, NONE, 0},
    {CHMOD_FILE, 0755, OTHER, NONE, -EPERM},
    {DROP_SET_ID, 06666, OTHER, NONE, 0},
    {DROP_SET_ID, 0644, OTHER, NONE, -EPERM}, /* it would add some */
    {DROP_SET_ID, 07666, OTHER, NONE, -EPERM},

    /* chown(2): the group by the owner, to one that he is in; the owner by root. */
    {GIVE_AWAY, 0777, OWNER, NONE, -EPERM},
    {GIVE_AWAY, 0777, 0, NONE, 0},
    {TAKE, 0777, OWNER, NONE, 0}, /* his already */
    {TAKE, 0777, OTHER, NONE, -EPERM},
    {CHGRP_STAFF, 0777, OWNER, STAFF, 0},
    {CHGRP_STAFF, 0777, OWNER, NONE, 0}, /* it has that group already */
    {CHGRP_STAFF, 0777, MEMBER, STAFF, -EPERM},
    {CHGRP_BOSSES, 0777, OWNER, STAFF, -EPERM},
    {CHGRP_BOSSES, 0777, OWNER, BOSSES, 0},
    {CHGRP_BOSSES, 0777, OWNER, NOT_KNOWN, 0}, /* the host has looked, and what he is in is no state of the cluster */
    {CHGRP_BOSSES, 0777, 0, NONE, 0},

    /* Settings are the owner's, who needs w as for any attribute; on a topic that is its directory, */
    {SET, 0755, OWNER, NONE, 0},
    {SET, 0555, OWNER, NONE, -EACCES},
    {SET, 0777, OTHER, NONE, -EPERM},
    {SET, 0777, BOSS, NONE, -EPERM},
    {SET, 0755, OTHER, NONE, -EACCES},
    {SET, 0, 0, NONE, 0},
    {REMOVE, 0755, OWNER, NONE, 0},
    {REMOVE, 0777, MEMBER, STAFF, -EPERM},
    {SET_FACTOR, 0755, OWNER, NONE, 0},
    {SET_FACTOR, 0777, OTHER, NONE, -EPERM},
    {SET_FACTOR, 0555, OWNER, NONE, -EACCES},
    /* and of what is a partition's the partition. */
    {SET_REPLICAS, 0644, OWNER, NONE, 0},
    {SET_REPLICAS, 0444, OWNER, NONE, -EACCES},
    {SET_REPLICAS, 0666, OTHER, NONE, -EPERM},
    {SET_REPLICAS, 01666, OTHER, NONE, -EPERM},
    {SET_REPLICAS, 0, 0, NONE, 0},
    {SET_LEADER, 0644, OWNER, NONE, 0},
    {SET_LEADER, 0444, OWNER, NONE, -EACCES},
    {SET_LEADER, 0644, MEMBER, STAFF, -EACCES},
    {SET_LEADER, 0664, MEMBER, STAFF, -EPERM},
    {SET_LEADER, 0, 0, NONE, 0},

    /* MOUNT's are its owner's. */
    {ROOT_CHMOD, 0, BOSS, NONE, 0},
    {ROOT_CHMOD, 0777, OTHER, BOSSES, -EPERM},
    {ROOT_CHGRP_STAFF, 0777, BOSS, STAFF, 0},
    {ROOT_CHGRP_STAFF, 0777, BOSS, NONE, -EPERM},
    {ROOT_SET, 0755, BOSS, NONE, 0},
    {ROOT_SET, 0777, OWNER, NONE, -EPERM},
    {ROOT_SET, 0, 0, NONE, 0},
    {SET_VOTERS, 0755, BOSS, NONE, 0},
    {SET_VOTERS, 0777, OWNER, BOSSES, -EPERM},
    {SET_VOTERS, 0555, BOSS, NONE, -EACCES},
    {SET_VOTERS, 0, 0, NONE, 0},
    {UNREGISTER, 0755, BOSS, NONE, 0},
    {UNREGISTER, 0777, OWNER, BOSSES, -EPERM},
    {UNREGISTER, 0555, BOSS, NONE, -EACCES},
    {UNREGISTER, 0, 0, NONE, 0},

    /* Groups: in `.groups` as topics in MOUNT. */
    {GROUP_MKDIR, 01777, OTHER, NONE, 0},
    {GROUP_MKDIR, 01755, OTHER, NONE, -EACCES},
    {GROUP_RMDIR, 01777, OWNER, NONE, 0},
    {GROUP_RMDIR, 01777, BOSS, NONE, 0},
    {GROUP_RMDIR, 01777, MEMBER, STAFF, -EPERM},
    {GROUP_RMDIR, 0777, OTHER, NONE, 0},
    {GROUP_RMDIR, 0, 0, NONE, 0},
    {GROUP_CHMOD, 0, OWNER, NONE, 0},
    {GROUP_CHMOD, 0777, BOSS, NONE, -EPERM},
    {GROUP_SET, 0750, OWNER, NONE, 0},
    {GROUP_SET, 0777, OTHER, NONE, -EPERM},
    {GROUP_SET, 0750, MEMBER, STAFF, -EACCES},
    {GROUPS_CHMOD, 0, BOSS, NONE, 0},
    {GROUPS_CHMOD, 0777, OTHER, NONE, -EPERM},
    {GROUPS_GIVE_AWAY, 0777, BOSS, NONE, -EPERM},
    {GROUPS_GIVE_AWAY, 0777, 0, NONE, 0},
};

static void set_mode(struct metadata *meta, const struct row *row)
{
    switch (row->change) {
    case MKDIR:
    case RMDIR:
    case ROOT_CHMOD:
    case ROOT_CHGRP_STAFF:
    case ROOT_SET:
    case SET_VOTERS:
    case UNREGISTER:
        meta->root.dir_mode = row->mode;
        break;
    case CHMOD_FILE:
    case DROP_SET_ID:
    case SET_REPLICAS:
    case SET_LEADER:
        meta->topics[1]->attr.file_mode = row->mode; /* behind the topic of offsets */
        break;
    case GROUP_MKDIR:
    case GROUP_RMDIR:
    case GROUPS_CHMOD:
    case GROUPS_GIVE_AWAY:
        meta->groups_attr.dir_mode = row->mode;
        break;
    case GROUP_CHMOD:
    case GROUP_SET:
        meta->groups[0]->attr.dir_mode = row->mode;
        break;
    default:
        meta->topics[1]->attr.dir_mode = row->mode;
    }
}

static void fill(struct metadata *meta)
{
    register_node(meta, 1, FEATURE_LEVEL);
    say_root(meta, 0755);
    make_topic(meta, METADATA_OFFSETS_TOPIC, 0755, 0444);
    make_topic(meta, "orders", 0755, 0644);
    make_group(meta, 0755);
    assert_string_equal(meta->topics[1]->name, "orders");
}

static struct command asked_by(const struct row *row)
{
    struct command cmd = change_of(row->change, row->uid);
    struct command_caller *caller = &cmd.origin.caller;
    *caller = (struct command_caller){.is_user = true, .uid = row->uid, .gid = NONE, .group_count = 2};
    caller->by_attribute = row->change == SET_PARTITIONS;
    caller->groups[0] = NONE;
    caller->groups[1] = (gid_t)row->group;
    if (row->group == NOT_KNOWN)
        caller->group_count = -1;
    return cmd;
}

static void test_who_may_have_what(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        struct metadata meta;
        struct err e = {""};
        metadata_init(&meta, &own_root);
        fill(&meta);
        set_mode(&meta, row);
        struct command cmd = asked_by(row);
        int rc = metadata_permit(&meta, &cmd, &e);
        if (rc != row->expected || (rc != 0) != (e.text[0] != '\0'))
            fail_msg("row %zu: change %d, mode %o, user %u: %d %s, not %d", i, (int)row->change, (unsigned)row->mode,
                     (unsigned)row->uid, rc, e.text, row->expected);
        /* The daemon's own, and what an older build asked for, is not judged. */
        cmd.origin.caller.is_user = false;
        assert_int_equal(metadata_permit(&meta, &cmd, NULL), 0);
        metadata_free(&meta);
    }
}

/* What is not there has its own errno, and so has what is there already. */
static void test_that_there_is_none_is_said_first(void **state)
{
    struct metadata *meta = *state;
    fill(meta);
    int32_t replicas[] = {1};
    struct command made = asked_by(&(struct row){MKDIR, 0, OTHER, NONE, 0}), cmd;
    made.partitions = made.replication_factor = made.replica_count = 1;
    made.replicas = replicas;
    assert_int_equal(metadata_check(meta, &made, NULL), -EACCES);
    snprintf(made.topic, sizeof made.topic, "orders");
    assert_int_equal(metadata_check(meta, &made, NULL), -EEXIST);
    for (enum change change = RMDIR; change <= SET_REPLICAS; change++) {
        cmd = asked_by(&(struct row){change, 0, OTHER, NONE, 0});
        snprintf(cmd.topic, sizeof cmd.topic, "none");
        assert_int_equal(metadata_check(meta, &cmd, NULL), -ENOENT);
    }
    for (enum change change = GROUP_RMDIR; change <= GROUP_SET; change++) {
        cmd = asked_by(&(struct row){change, 0, OTHER, NONE, 0});
        snprintf(cmd.group, sizeof cmd.group, "none");
        assert_int_equal(metadata_check(meta, &cmd, NULL), -ENOENT);
    }
}

/* ---- where it is applied ---- */

/* One that was proposed before the right was taken away: a race, which each node and each replay loses alike. */
static void test_a_right_that_is_gone_where_it_is_applied(void **state)
{
    struct metadata *meta = *state;
    fill(meta);
    struct command chmod = asked_by(&(struct row){CHMOD, 0, OWNER, NONE, 0});
    struct command set = asked_by(&(struct row){SET, 0, OWNER, NONE, 0});
    struct command taken = asked_by(&(struct row){GIVE_AWAY, 0, 0, NONE, 0});
    assert_int_equal(metadata_check(meta, &chmod, NULL), 0);
    assert_int_equal(metadata_check(meta, &set, NULL), 0);
    assert_int_equal(metadata_apply_as_in_log(meta, &taken), 0);
    int64_t before = meta->next_offset;
    assert_int_equal(metadata_apply_as_in_log(meta, &chmod), -EPERM);
    assert_int_equal(metadata_apply_as_in_log(meta, &set), -EACCES);
    assert_int_equal(meta->next_offset, before + 2);
    const struct metadata_topic *orders = metadata_topic(meta, "orders");
    assert_int_equal(orders->attr.dir_mode, 0755);
    assert_null(config_set_get(&orders->config, "retention.ms"));
    /* The new owner, and the same of a build that named nobody. */
    set = asked_by(&(struct row){SET, 0, OTHER, NONE, 0});
    assert_int_equal(metadata_apply_as_in_log(meta, &set), 0);
    chmod.origin.caller.is_user = false;
    assert_int_equal(metadata_apply_as_in_log(meta, &chmod), 0);
    assert_int_equal(orders->attr.dir_mode, 0777);
}

/* It would stop for good at such a command; and before MOUNT's owner is decided each has its own. */
static void test_nobody_is_named_before_all_judge_alike(void **state)
{
    struct metadata *meta = *state;
    register_node(meta, 1, FEATURE_LEVEL);
    assert_false(metadata_judges(meta));
    say_root(meta, 0755);
    assert_true(metadata_judges(meta));
    register_node(meta, 2, FEATURE_LEVEL_CALLERS - 1);
    assert_false(metadata_judges(meta));
    struct command fences = {.type = COMMAND_CHANGE_NODE,
                             .registration = {.id = 2, .epoch = metadata_node(meta, 2)->epoch, .fenced = true}};
    assert_int_equal(metadata_apply_as_in_log(meta, &fences), 0); /* one that is gone may never come back */
    assert_true(metadata_judges(meta));
    register_node(meta, 2, FEATURE_LEVEL_CALLERS); /* it was upgraded */
    assert_true(metadata_judges(meta));
}

/* ---- bytes ---- */

static int decoded(const struct command *cmd, struct command *out)
{
    void *data;
    size_t len;
    assert_int_equal(command_encode(cmd, &data, &len), 0);
    int rc = command_decode(data, len, out, NULL);
    free(data);
    return rc;
}

static void test_a_caller_is_given_back(void **state)
{
    (void)state;
    struct command cmd = asked_by(&(struct row){SET_PARTITIONS, 0, OWNER, STAFF, 0}), back;
    struct command_caller *caller = &cmd.origin.caller;
    int32_t replicas[] = {1};
    cmd.partitions = 3;
    cmd.replication_factor = cmd.replica_count = 1;
    cmd.replicas = replicas;
    cmd.origin.node = 2;
    cmd.origin.number = UINT64_MAX;
    for (int32_t count = -1; count <= LIMIT_CALLER_GROUPS; count++) {
        if (count > 0)
            caller->groups[count - 1] = UINT32_MAX - (uint32_t)count;
        caller->group_count = count;
        caller->by_attribute = count % 2 != 0;
        assert_int_equal(decoded(&cmd, &back), 0);
        assert_true(back.origin.caller.is_user);
        assert_int_equal(back.origin.caller.by_attribute, caller->by_attribute);
        assert_int_equal(back.origin.caller.uid, OWNER);
        assert_int_equal(back.origin.caller.gid, NONE);
        assert_int_equal(back.origin.caller.group_count, count);
        if (count > 0)
            assert_memory_equal(back.origin.caller.groups, caller->groups, (size_t)count * sizeof *caller->groups);
        assert_int_equal(back.origin.node, 2);
        assert_true(back.origin.number == UINT64_MAX);
        command_free(&back);
    }
}

/* Both go together: the third version has seals where the second has them. */
static void test_a_caller_and_seals(void **state)
{
    (void)state;
    struct command cmd = asked_by(&(struct row){RMDIR, 0, OWNER, STAFF, 0}), back;
    struct command_seal seals[2] = {{3, 4}, {5, 6}};
    assert_int_equal(decoded(&cmd, &back), 0);
    assert_null(back.seals);
    assert_true(back.origin.caller.is_user);
    cmd.seals = seals;
    cmd.seal_count = 2;
    assert_int_equal(decoded(&cmd, &back), 0);
    assert_int_equal(back.seal_count, 2);
    assert_int_equal(back.seals[1].node_epoch, 6);
    assert_true(back.origin.caller.is_user);
    command_free(&back);
    cmd.origin.caller.is_user = false;
    assert_int_equal(decoded(&cmd, &back), 0);
    assert_int_equal(back.seal_count, 2);
    assert_false(back.origin.caller.is_user);
    command_free(&back);
}

static void pack_text(msgpack_packer *pk, const char *text)
{
    msgpack_pack_str(pk, strlen(text));
    msgpack_pack_str_body(pk, text, strlen(text));
}

/* A setting of a topic, as docs/DISK_FORMAT.md lays it down; caller: elements of that array, -1: the key is not there.
 */
static int decode_setting(int version, int caller, size_t groups, int64_t uid, struct command *out)
{
    msgpack_sbuffer buffer;
    msgpack_packer pk;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&pk, &buffer, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, caller >= 0 ? 8 : 7);
    static const char *const texts[][2] = {
        {"type", "set_config"}, {"topic", "orders"}, {"name", "retention.ms"}, {"value", "5"}};
    for (int i = 0; i < 4; i++) {
        pack_text(&pk, texts[i][0]);
        pack_text(&pk, texts[i][1]);
    }
    pack_text(&pk, "version");
    msgpack_pack_int(&pk, version);
    pack_text(&pk, "time");
    msgpack_pack_int(&pk, 1000);
    pack_text(&pk, "origin");
    msgpack_pack_array(&pk, 3);
    for (int i = 1; i <= 3; i++)
        msgpack_pack_int(&pk, i);
    if (caller >= 0) {
        pack_text(&pk, "caller");
        msgpack_pack_array(&pk, (size_t)caller);
    }
    for (int i = 0; i < caller; i++) {
        if (i == 2)
            msgpack_pack_array(&pk, groups);
        else
            msgpack_pack_int64(&pk, i == 0 ? uid : 1);
        for (size_t g = 0; i == 2 && g < groups; g++)
            msgpack_pack_int(&pk, 20);
    }
    struct err e = {""};
    int rc = command_decode(buffer.data, buffer.size, out, &e);
    assert_true(rc == 0 || (rc == -EBADMSG && e.text[0] != '\0'));
    msgpack_sbuffer_destroy(&buffer);
    return rc;
}

/* What an older build wrote names nobody, and is applied as it was there. */
static void test_a_record_without_a_caller(void **state)
{
    struct metadata *meta = *state;
    struct command cmd;
    fill(meta);
    assert_int_equal(decode_setting(1, -1, 0, 0, &cmd), 0);
    assert_false(cmd.origin.caller.is_user);
    assert_int_equal(cmd.origin.node, 1);
    meta->topics[1]->attr.dir_mode = 0;
    assert_int_equal(metadata_apply(meta, &cmd, meta->next_offset, NULL), 0);
    assert_string_equal(config_set_get(&metadata_topic(meta, "orders")->config, "retention.ms"), "5");
    assert_int_equal(decode_setting(1, 4, 1, 10, &cmd), 0); /* a further key of that version */
    assert_false(cmd.origin.caller.is_user);
    assert_int_equal(decode_setting(3, 4, 1, 10, &cmd), 0);
    assert_true(cmd.origin.caller.is_user);
    assert_int_equal(cmd.origin.caller.uid, 10);
    assert_int_equal(decode_setting(3, 5, 1, 10, &cmd), 0); /* of a later build */
}

static void test_callers_that_are_none(void **state)
{
    (void)state;
    struct command cmd;
    assert_int_equal(decode_setting(3, -1, 0, 0, &cmd), -EBADMSG);
    assert_int_equal(decode_setting(3, 3, 0, 0, &cmd), -EBADMSG);
    assert_int_equal(decode_setting(3, 4, 0, -1, &cmd), -EBADMSG);
    assert_int_equal(decode_setting(3, 4, 0, (int64_t)UINT32_MAX + 1, &cmd), -EBADMSG);
    assert_int_equal(decode_setting(3, 4, LIMIT_CALLER_GROUPS, 0, &cmd), 0);
    assert_int_equal(decode_setting(3, 4, LIMIT_CALLER_GROUPS + 1, 0, &cmd), -EBADMSG);
    assert_int_equal(decode_setting(4, 4, 0, 0, &cmd), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_may_have_what),
        cmocka_unit_test_setup_teardown(test_that_there_is_none_is_said_first, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_a_right_that_is_gone_where_it_is_applied, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_nobody_is_named_before_all_judge_alike, setup, metadata_teardown),
        cmocka_unit_test(test_a_caller_is_given_back),
        cmocka_unit_test(test_a_caller_and_seals),
        cmocka_unit_test_setup_teardown(test_a_record_without_a_caller, setup, metadata_teardown),
        cmocka_unit_test(test_callers_that_are_none),
    };
    return cmocka_run_group_tests_name("metadata permit", tests, NULL, NULL);
}
