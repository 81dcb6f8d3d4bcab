/* replication/group/coordinator_tell.c: what groups' coordinators tell: a member its shares, and whoever asks what
 * there is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/container.h"
#include "replication/group/coordinator.h"

int coordinator_shares(const struct reader *reader, struct group_told *out)
{
    const struct group_topic *topic = reader->topic;
    size_t count = 0;

    *out = (struct group_told){.kind = GROUP_TOLD_SHARES, .ticket = reader->id.number, .version = reader->version};
    for (int32_t p = 0; p < topic->partitions; p++)
        count += topic->claims[p].owner == reader;
    if (count == 0)
        return 0;
    out->shares = calloc(count, sizeof *out->shares);
    if (out->shares == NULL)
        return -ENOMEM;
    for (int32_t p = 0; p < topic->partitions; p++) {
        const struct claim *claim = &topic->claims[p];
        if (claim->owner == reader) {
            out->shares[out->share_count++] = (struct group_told_share){
                p, claim->epoch, claim->start, claim->state == CLAIM_REVOKING, claim->start_epoch};
        }
    }
    return 0;
}

static void tell_row(const struct group *group, const struct group_topic *topic, int32_t partition,
                     struct group_told_row *row)
{
    const struct claim *claim = &topic->claims[partition];

    *row = (struct group_told_row){.partition = partition, .committed = claim->committed};
    memcpy(row->group, group->name, sizeof row->group);
    memcpy(row->topic_id, topic->id, UUID_BYTES);
    if (claim->owner == NULL)
        return;
    row->owner = claim->owner->id;
    row->pid = claim->owner->pid;
    memcpy(row->host, claim->owner->host, sizeof row->host);
}

/* Adds the rows of a group that are asked for: of a topic that has readers all; of one that has none, and where one
 * partition is asked for, those with an offset. */
static int tell_rows(const struct group *group, const struct group_item *item, struct group_told *out)
{
    size_t most = out->row_count;

    for (const struct group_topic *topic = group->topics; topic != NULL; topic = topic->next)
        most += (size_t)topic->partitions;
    if (most == out->row_count)
        return 0;
    struct group_told_row *rows = realloc(out->rows, most * sizeof *rows);
    if (rows == NULL)
        return -ENOMEM;
    out->rows = rows;
    for (const struct group_topic *topic = group->topics; topic != NULL; topic = topic->next) {
        if (item->partition >= 0 && memcmp(topic->id, item->topic_id, UUID_BYTES) != 0)
            continue;
        for (int32_t p = 0; p < topic->partitions; p++) {
            bool has = topic->claims[p].committed != GROUP_OFFSET_NONE;
            if (item->partition >= 0 ? item->partition == p && has : has || topic->readers > 0)
                tell_row(group, topic, p, &rows[out->row_count++]);
        }
    }
    return 0;
}

static int tell_group(const struct group *group, struct group_told *out)
{
    struct group_told_group *groups = realloc(out->groups, (out->group_count + 1) * sizeof *groups);

    if (groups == NULL)
        return -ENOMEM;
    out->groups = groups;
    struct group_told_group *told = &groups[out->group_count++];
    *told = (struct group_told_group){
        .phase = group_phase(group), .generation = group->generation, .members = group->reader_count};
    memcpy(told->group, group->name, sizeof told->group);
    return 0;
}

int coordinator_ask(struct coordinator *coordinator, const struct group_item *item, struct group_told *out)
{
    struct table_link *link;
    int rc = 0;

    *out = (struct group_told){.kind = GROUP_TOLD_RESULT, .ticket = item->ticket, .index = item->index};
    for (link = table_begin(&coordinator->groups); link != NULL && rc == 0;
         link = table_next(&coordinator->groups, link)) {
        const struct group *group = CONTAINER_OF(link, struct group, link);
        if (item->group[0] != '\0' && strcmp(group->name, item->group) != 0)
            continue;
        rc = tell_rows(group, item, out);
        if (rc == 0 && item->partition < 0)
            rc = tell_group(group, out);
    }
    if (rc != 0)
        group_told_free(out);
    return rc;
}
