#include "fs/tree/status.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "fs/tree/group_lines.h"
#include "fs/tree/metrics.h"
#include "fs/tree/tree.h"
#include "replication/base/address.h"
#include "replication/replica/partition_read.h"

static void id_list(FILE *out, const struct replica_set *set)
{
    for (int i = 0; i < set->count; i++)
        fprintf(out, "%s%" PRId32, i != 0 ? "," : "", set->ids[i]);
    if (set->count == 0)
        fputs("-", out);
}

/* Whom a controller hears is known from nobody else: what it said last may not be so any more, of this node neither. */
static const char *state_of(const struct node_member *member, int32_t controller)
{
    if (controller == 0)
        return "unknown";
    if (member->fenced)
        return "fenced";
    return member->stopping ? "stopping" : "up";
}

static void write_nodes(struct session *session, const struct group_lines *lines, FILE *out)
{
    static const char *const roles[] = {
        [NODE_VOTER] = "voter", [NODE_OBSERVER] = "observer", [NODE_REPLACED] = "replaced"};
    struct node_member *members;
    size_t count;
    int32_t controller = node_controller(session->node);
    (void)lines;
    fputs("id address role state controller epoch\n", out);
    if (node_members(session->node, &members, &count) != 0)
        return;
    for (size_t i = 0; i < count; i++) {
        const struct node_member *member = &members[i];
        fprintf(out, "%" PRId32 " ", member->id);
        if (member->port != 0)
            fputs(address_text(member->host, member->port).text, out);
        else
            fputs("-", out);
        fprintf(out, " %s %s %s %" PRId64 "\n", roles[member->role], state_of(member, controller),
                member->id == controller ? "yes" : "no", member->epoch);
    }
    free(members);
}

static void write_partition(struct partition *part, void *arg)
{
    FILE *out = arg;
    struct partition_info info;
    struct log_size size;
    bool known = partition_is_known(part);
    int64_t start = partition_log_start(part).offset, end = partition_high_watermark(part).offset;
    partition_info(part, &info);
    partition_size(part, &size);
    fprintf(out, "%s %" PRId32 " ", topic_name(partition_topic(part)), partition_index(part));
    if (info.leader < 0)
        fputs("none", out);
    else
        fprintf(out, "%" PRId32, info.leader);
    fprintf(out, " %" PRId32 " ", info.leader_epoch);
    id_list(out, &info.replicas);
    fputc(' ', out);
    id_list(out, &info.isr);
    const char *state = info.leader < 0 ? "offline" : info.isr.count < info.replicas.count ? "under-replicated" : "ok";
    if (known)
        fprintf(out, " %" PRId64 " %" PRId64 " %" PRId64, start, end, size.retained_bytes);
    else
        fputs(" - - -", out);
    fprintf(out, " %s\n", state);
}

static void write_partitions(struct session *session, const struct group_lines *lines, FILE *out)
{
    (void)lines;
    fputs("topic partition leader leader_epoch replicas isr start_offset high_watermark bytes state\n", out);
    (void)node_each_partition(session->node, write_partition, out);
}

static void write_groups(struct session *session, const struct group_lines *lines, FILE *out)
{
    (void)session;
    group_lines_write(lines, out);
}

static const struct {
    const char *name;
    void (*write)(struct session *session, const struct group_lines *lines, FILE *out);
    bool asks;  /* with the lines of groups; NULL otherwise */
    bool whole; /* of all of them, or not at all */
} files[] = {{"groups", write_groups, true, true},
             {"metrics", metrics_write, true, false},
             {"nodes", write_nodes, false, false},
             {"partitions", write_partitions, false, false}};

const char *status_name(int64_t which)
{
    return which >= 0 && which < (int64_t)(sizeof files / sizeof *files) ? files[which].name : NULL;
}

int64_t status_find(const char *name)
{
    for (int64_t i = 0; status_name(i) != NULL; i++) {
        if (strcmp(status_name(i), name) == 0)
            return i;
    }
    return -1;
}

bool status_asks(int64_t which)
{
    return files[which].asks;
}

/* *text is malloc-ed. 0 or -ENOMEM. */
static int make_text(struct session *session, int64_t which, const struct group_lines *lines, char **text, size_t *len)
{
    FILE *out = open_memstream(text, len);
    bool whole;

    if (out == NULL)
        return -ENOMEM;
    files[which].write(session, lines, out);
    whole = ferror(out) == 0;
    if (fclose(out) == 0 && whole)
        return 0;
    free(*text);
    return -ENOMEM;
}

static struct vnode *make_vnode(struct session *session, const struct vnode_key *key, const struct group_lines *lines)
{
    struct clock *clock = node_clock(session->node);
    struct vnode *vnode;
    char *text;
    size_t len;

    if (make_text(session, key->start, lines, &text, &len) != 0)
        return NULL;
    vnode = tree_text_vnode(session->tree, key, text, len, clock->wall_ms(clock));
    if (vnode == NULL)
        free(text);
    return vnode;
}

struct vnode *status_vnode(struct session *session, const struct vnode_key *key)
{
    assert(!status_asks(key->start));
    return make_vnode(session, key, NULL);
}

/* What is not known of some groups is left out of metrics, which tell of much else; of `groups` nothing is left out. */
static void gathered(fuse_req_t req, const struct group_lines_use *use, const struct group_lines *lines, int rc)
{
    struct vnode_key key = {.kind = VNODE_STATUS, .start = use->which};
    struct vnode *vnode = NULL;

    if (rc == 0 || !files[use->which].whole) {
        vnode = make_vnode(session_of(req), &key, lines);
        rc = vnode != NULL ? 0 : -ENOMEM;
    }
    use->reply(req, vnode, rc);
}

void status_ask(fuse_req_t req, const struct vnode_key *key, void (*reply)(fuse_req_t req, struct vnode *vnode, int rc))
{
    struct group_lines_use use = {.which = key->start, .reply = reply};

    group_lines_ask(req, &use, gathered);
}
