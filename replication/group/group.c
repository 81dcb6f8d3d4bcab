/* replication/group/group.c: the transitions of partitions, and what each of them writes. */
#include "replication/group/group.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/bugs.h"
#include "engine/base/err.h"

/* ---- what a turn brings ---- */

static void write_record(const struct offsets_record *record, struct group_changes *changes)
{
    offsets_record_encode(record, &changes->records);
    changes->record_count++;
    if (changes->records.failed)
        changes->failed = true;
}

static struct offsets_record record_of(const struct group *group, enum offsets_record_kind kind)
{
    struct offsets_record record = {.kind = kind, .committed = GROUP_OFFSET_NONE};

    memcpy(record.group, group->name, sizeof record.group);
    memcpy(record.group_id, group->rules.id, UUID_BYTES);
    return record;
}

void group_write(const struct group *group, struct group_changes *changes)
{
    struct offsets_record record = record_of(group, OFFSETS_GROUP);

    record.generation = group->generation;
    record.empty_since_ms = group->empty_since_ms;
    write_record(&record, changes);
}

static void write_reader(const struct reader *reader, bool tombstone, struct group_changes *changes)
{
    struct offsets_record record = record_of(reader->group, OFFSETS_MEMBER);

    record.tombstone = tombstone;
    record.member = reader->id;
    memcpy(record.topic_id, reader->topic->id, UUID_BYTES);
    memcpy(record.host, reader->host, sizeof record.host);
    record.pid = reader->pid;
    record.partitions = reader->topic->partitions;
    write_record(&record, changes);
}

void group_write_claim(const struct group *group, const struct group_topic *topic, int32_t partition, bool tombstone,
                       struct group_changes *changes)
{
    struct offsets_record record = record_of(group, OFFSETS_PARTITION);
    const struct claim *claim = &topic->claims[partition];

    record.tombstone = tombstone;
    memcpy(record.topic_id, topic->id, UUID_BYTES);
    record.partition = partition;
    record.committed = claim->committed;
    record.commit_ms = claim->commit_ms;
    record.epoch = claim->epoch;
    record.leader_epoch = claim->leader_epoch;
    record.reset = (struct member_id){claim->reset.node, claim->reset.process, claim->reset.ticket};
    if (claim->owner != NULL)
        record.member = claim->owner->id;
    write_record(&record, changes);
}

void group_mark_changed(struct reader *reader, struct group_changes *changes)
{
    if (reader->changed)
        return;
    reader->changed = true;
    reader->next_changed = changes->changed;
    changes->changed = reader;
}

static void unmark_changed(struct reader *reader, struct group_changes *changes)
{
    struct reader **at = &changes->changed;

    if (!reader->changed)
        return;
    while (*at != reader)
        at = &(*at)->next_changed;
    *at = reader->next_changed;
    reader->changed = false;
}

void group_unsettle(struct group *group, bool stirred, struct group_changes *changes)
{
    group->stirred = group->stirred || stirred;
    if (group->unsettled)
        return;
    group->unsettled = true;
    group->next_unsettled = changes->unsettled;
    changes->unsettled = group;
}

/* ---- groups and topics ---- */

struct group *group_create(const char *name, const struct group_rules *rules)
{
    struct group *group = calloc(1, sizeof *group);

    if (group == NULL)
        return NULL;
    strncpy(group->name, name, sizeof group->name - 1);
    group->rules = *rules;
    return group;
}

void group_free(struct group *group)
{
    assert(group->readers == NULL && !group->unsettled);
    while (group->topics != NULL) {
        struct group_topic *topic = group->topics;
        group->topics = topic->next;
        free(topic->claims);
        free(topic);
    }
    free(group);
}

struct group_topic *group_find_topic(struct group *group, const uint8_t id[UUID_BYTES])
{
    struct group_topic *topic = group->topics;

    while (topic != NULL && memcmp(topic->id, id, UUID_BYTES) != 0)
        topic = topic->next;
    return topic;
}

static bool grow(struct group_topic *topic, int32_t partitions)
{
    struct claim *claims = realloc(topic->claims, (size_t)partitions * sizeof *claims);

    if (claims == NULL)
        return false;
    topic->claims = claims;
    for (int32_t p = topic->partitions; p < partitions; p++)
        claims[p] = (struct claim){.committed = GROUP_OFFSET_NONE, .leader_epoch = -1};
    topic->partitions = partitions;
    return true;
}

/* By its name; the ids settle it while names are not known. */
static void insert_topic(struct group *group, struct group_topic *topic)
{
    struct group_topic **at = &group->topics;

    while (*at != NULL && strcmp((*at)->name, topic->name) < 0)
        at = &(*at)->next;
    topic->next = *at;
    *at = topic;
}

static void take_out_topic(struct group *group, struct group_topic *topic)
{
    struct group_topic **at = &group->topics;

    while (*at != topic)
        at = &(*at)->next;
    *at = topic->next;
}

struct group_topic *group_add_topic(struct group *group, const uint8_t id[UUID_BYTES], const char *name,
                                    int32_t partitions)
{
    struct group_topic *topic = group_find_topic(group, id);

    if (topic == NULL) {
        topic = calloc(1, sizeof *topic);
        if (topic == NULL)
            return NULL;
        memcpy(topic->id, id, UUID_BYTES);
        strncpy(topic->name, name, sizeof topic->name - 1);
        insert_topic(group, topic);
    } else if (strcmp(topic->name, name) != 0 && name[0] != '\0') {
        take_out_topic(group, topic);
        memset(topic->name, 0, sizeof topic->name);
        strncpy(topic->name, name, sizeof topic->name - 1);
        insert_topic(group, topic);
    }
    if (partitions > topic->partitions && !grow(topic, partitions))
        return NULL;
    return topic;
}

/* ---- the transitions of a partition ---- */

static bool is_blank(const struct claim *claim)
{
    return claim->committed == GROUP_OFFSET_NONE && claim->epoch == 0;
}

static void ask_start(struct group *group, struct group_topic *topic, int32_t partition, struct group_changes *changes)
{
    struct claim_start *starts = realloc(changes->starts, (changes->start_count + 1) * sizeof *starts);

    if (starts == NULL) {
        changes->failed = true;
        return;
    }
    changes->starts = starts;
    struct claim_start *start = &starts[changes->start_count++];
    *start = (struct claim_start){.partition = partition, .from_latest = group->rules.from_latest};
    memcpy(start->group, group->name, sizeof start->group);
    memcpy(start->group_id, group->rules.id, UUID_BYTES);
    memcpy(start->topic_id, topic->id, UUID_BYTES);
    topic->claims[partition].asked = true;
}

/* So far all is processed, as of now. */
static void set_committed(struct claim *claim, int64_t offset, int32_t leader_epoch, struct group_changes *changes)
{
    claim->committed = offset;
    claim->commit_ms = changes->wall_ms;
    claim->leader_epoch = leader_epoch;
}

void group_begin_added(struct group *group, struct group_topic *topic, int32_t from, struct group_changes *changes)
{
    for (int32_t p = from; p < topic->partitions; p++) {
        set_committed(&topic->claims[p], 0, -1, changes);
        group_write_claim(group, topic, p, false, changes);
    }
    group_unsettle(group, true, changes);
}

static void give(struct group *group, struct group_topic *topic, int32_t partition, struct group_changes *changes)
{
    struct claim *claim = &topic->claims[partition];

    assert(claim->owner == NULL && claim->committed != GROUP_OFFSET_NONE);
    claim->state = CLAIM_OWNED;
    claim->owner = claim->target;
    claim->epoch++;
    claim->start = claim->committed;
    claim->start_epoch = claim->leader_epoch;
    changes->handovers++;
    group_mark_changed(claim->owner, changes);
    group_write_claim(group, topic, partition, false, changes);
}

/* Nobody's from here on; whoever had it is told. */
static void set_free(struct claim *claim, struct group_changes *changes)
{
    if (claim->owner != NULL)
        group_mark_changed(claim->owner, changes);
    claim->owner = NULL;
    claim->state = CLAIM_FREE;
}

/* Goes as far towards its target as it can. */
static void advance(struct group *group, struct group_topic *topic, int32_t partition, struct group_changes *changes)
{
    struct claim *claim = &topic->claims[partition];

    switch (claim->state) {
    case CLAIM_FREE:
        if (claim->target == NULL)
            return;
        if (claim->committed != GROUP_OFFSET_NONE) {
            give(group, topic, partition, changes);
            return;
        }
        claim->state = CLAIM_STARTING;
        if (!claim->asked)
            ask_start(group, topic, partition, changes);
        return;
    case CLAIM_STARTING:
        if (claim->target == NULL)
            claim->state = CLAIM_FREE;
        else if (!claim->asked)
            ask_start(group, topic, partition, changes);
        return;
    case CLAIM_OWNED:
        if (claim->target == claim->owner)
            return;
        if (claim->target != NULL && BUG(given_before_let_go)) {
            set_free(claim, changes);
            give(group, topic, partition, changes);
            return;
        }
        claim->state = CLAIM_REVOKING;
        claim->revoke_ms = changes->now_ms + group->rules.rebalance_timeout_ms;
        if (claim->revoke_ms < changes->due_ms)
            changes->due_ms = claim->revoke_ms;
        group_mark_changed(claim->owner, changes);
        return;
    case CLAIM_REVOKING:
        if (claim->target != claim->owner)
            return;
        claim->state = CLAIM_OWNED;
        group_mark_changed(claim->owner, changes);
        return;
    }
}

void group_started(struct group *group, struct group_topic *topic, int32_t partition, int64_t offset,
                   int32_t leader_epoch, struct group_changes *changes)
{
    struct claim *claim = &topic->claims[partition];

    claim->asked = false;
    if (claim->state != CLAIM_STARTING)
        return;
    claim->state = CLAIM_FREE;
    if (claim->committed == GROUP_OFFSET_NONE)
        set_committed(claim, offset, leader_epoch, changes);
    advance(group, topic, partition, changes);
}

/* What its owner has is withdrawn: whoever is to have it gets it anew, at once. */
static void hand_over_anew(struct group *group, struct group_topic *topic, int32_t partition,
                           struct group_changes *changes)
{
    struct claim *claim = &topic->claims[partition];

    if (claim->state == CLAIM_STARTING)
        claim->state = CLAIM_FREE;
    set_free(claim, changes);
    group_write_claim(group, topic, partition, false, changes);
    advance(group, topic, partition, changes);
}

/* It was committed, and is not there any more. */
static void rewind_lost(struct group *group, struct group_topic *topic, int32_t partition, int64_t offset,
                        struct group_changes *changes)
{
    struct claim *claim = &topic->claims[partition];

    if (offset < claim->committed) {
        log_line(LOG_WARNING, "group %s: %s/%d has lost records that were committed, and goes on at %lld, not %lld",
                 group->name, topic->name, (int)partition, (long long)offset, (long long)claim->committed);
        set_committed(claim, offset, claim->leader_epoch, changes);
    }
    hand_over_anew(group, topic, partition, changes);
}

bool group_commit(struct reader *reader, const struct group_entry *entry, struct group_changes *changes)
{
    struct group_topic *topic = reader->topic;
    int32_t partition = (int32_t)entry->key;
    struct claim *claim = partition < topic->partitions ? &topic->claims[partition] : NULL;

    bool owns = claim != NULL && claim->owner == reader && claim->epoch == entry->epoch;

    if (!owns && !(claim != NULL && !entry->release && !entry->lost && BUG(commits_unfenced))) {
        changes->fenced++;
        return false;
    }
    if (entry->lost) {
        rewind_lost(reader->group, topic, partition, entry->value, changes);
        return true;
    }
    if (entry->value > claim->committed) {
        set_committed(claim, entry->value, entry->leader_epoch, changes);
        changes->commits++;
        if (!entry->release)
            group_write_claim(reader->group, topic, partition, false, changes);
    }
    if (entry->release) {
        set_free(claim, changes);
        group_write_claim(reader->group, topic, partition, false, changes);
        advance(reader->group, topic, partition, changes);
    }
    return true;
}

bool group_reset(struct group *group, struct group_topic *topic, int32_t partition, int64_t offset,
                 struct group_changes *changes)
{
    struct claim *claim = &topic->claims[partition];

    if (offset == GROUP_OFFSET_NONE && claim->committed == GROUP_OFFSET_NONE)
        return false;
    claim->committed = offset;
    claim->commit_ms = changes->wall_ms;
    claim->leader_epoch = -1; /* wherever that is */
    if (is_blank(claim)) {
        group_write_claim(group, topic, partition, true, changes);
        return true;
    }
    hand_over_anew(group, topic, partition, changes);
    return true;
}

/* ---- members ---- */

void group_add_reader(struct group *group, struct reader *reader, struct group_changes *changes)
{
    struct reader **at = &group->readers;

    while (*at != NULL && member_id_compare(&(*at)->id, &reader->id) < 0)
        at = &(*at)->next;
    reader->group = group;
    reader->next = *at;
    *at = reader;
    group->reader_count++;
    group->empty_since_ms = -1;
    reader->topic->readers++;
    write_reader(reader, false, changes);
    group_mark_changed(reader, changes);
    group_unsettle(group, true, changes);
}

void group_remove_reader(struct reader *reader, struct group_changes *changes)
{
    struct group *group = reader->group;
    struct group_topic *topic = reader->topic;
    struct reader **at = &group->readers;

    while (*at != reader)
        at = &(*at)->next;
    *at = reader->next;
    group->reader_count--;
    topic->readers--;
    if (group->reader_count == 0)
        group->empty_since_ms = changes->wall_ms;
    /* Records need not say that what it owned is free: its own says that it is no more. */
    for (int32_t p = 0; p < topic->partitions; p++) {
        struct claim *claim = &topic->claims[p];
        if (claim->target == reader)
            claim->target = NULL;
        if (claim->owner == reader)
            set_free(claim, changes);
        if (claim->state == CLAIM_STARTING && claim->target == NULL)
            claim->state = CLAIM_FREE;
    }
    write_reader(reader, true, changes);
    unmark_changed(reader, changes);
    if (BUG(leaver_keeps_its_target))
        return;
    group_unsettle(group, true, changes);
}

void group_drop_topic(struct group *group, struct group_topic *topic, struct group_changes *changes)
{
    assert(topic->readers == 0);
    for (int32_t p = 0; p < topic->partitions; p++) {
        if (!is_blank(&topic->claims[p]))
            group_write_claim(group, topic, p, true, changes);
    }
    take_out_topic(group, topic);
    free(topic->claims);
    free(topic);
}

/* ---- sharing out ---- */

/* All that the assignor needs, in one piece. */
struct plan {
    struct assign_topic *topics;
    struct assign_member *members;
    int32_t *owners;
    struct reader **readers;
    int32_t topic_count;
};

static int make_plan(struct group *group, struct plan *plan)
{
    size_t topics = 0, partitions = 0;
    int32_t place = 0;

    for (struct group_topic *topic = group->topics; topic != NULL; topic = topic->next) {
        topic->place = (int32_t)topics++;
        partitions += (size_t)topic->partitions;
    }
    plan->topic_count = (int32_t)topics;
    plan->topics = calloc(topics + 1, sizeof *plan->topics);
    plan->members = calloc((size_t)group->reader_count + 1, sizeof *plan->members);
    plan->owners = calloc(partitions + 1, sizeof *plan->owners);
    plan->readers = calloc((size_t)group->reader_count + 1, sizeof *plan->readers);
    if (plan->topics == NULL || plan->members == NULL || plan->owners == NULL || plan->readers == NULL)
        return -ENOMEM;
    for (struct reader *reader = group->readers; reader != NULL; reader = reader->next) {
        reader->place = place;
        plan->readers[place] = reader;
        plan->members[place++] = (struct assign_member){.topics = &reader->topic->place, .topic_count = 1};
    }
    int32_t *owners = plan->owners;
    for (struct group_topic *topic = group->topics; topic != NULL; topic = topic->next) {
        plan->topics[topic->place] = (struct assign_topic){.partitions = topic->partitions, .owners = owners};
        for (int32_t p = 0; p < topic->partitions; p++) {
            const struct claim *claim = &topic->claims[p];
            const struct reader *has = claim->target != NULL ? claim->target : claim->owner;
            *owners++ = has != NULL ? has->place : -1;
        }
    }
    return 0;
}

/* Whether somebody is to have another partition than before. */
static bool carry_out(struct group *group, const struct plan *plan, struct group_changes *changes)
{
    bool moves = false;

    for (struct group_topic *topic = group->topics; topic != NULL; topic = topic->next) {
        for (int32_t p = 0; p < topic->partitions; p++) {
            int32_t owner = plan->topics[topic->place].owners[p];
            struct reader *target = owner < 0 ? NULL : plan->readers[owner];
            moves = moves || topic->claims[p].target != target;
            topic->claims[p].target = target;
            advance(group, topic, p, changes);
        }
    }
    return moves;
}

void group_settle(struct group *group, struct group_changes *changes)
{
    struct plan plan = {0};

    if (!group->known)
        return; /* by what, is not known; a look goes on with it */
    if (make_plan(group, &plan) != 0 || assignor_assign(group->rules.assignor, plan.topics, (size_t)plan.topic_count,
                                                        plan.members, (size_t)group->reader_count) != 0) {
        changes->failed = true;
    } else if (carry_out(group, &plan, changes) || group->stirred) {
        group->generation++;
        group->stirred = false;
        group_write(group, changes);
    }
    free(plan.topics);
    free(plan.members);
    free(plan.owners);
    free(plan.readers);
}

/* ---- time ---- */

static bool has_expired(const struct group *group, const struct group_topic *topic, const struct claim *claim,
                        int64_t wall_ms)
{
    int64_t since_ms = claim->commit_ms;

    if (topic->readers > 0 || is_blank(claim))
        return false;
    if (group->reader_count == 0 && group->empty_since_ms > since_ms)
        since_ms = group->empty_since_ms;
    return wall_ms - since_ms >= group->rules.offsets_retention_ms;
}

void group_tick(struct group *group, struct group_changes *changes)
{
    if (!group->known)
        return;
    for (struct group_topic *topic = group->topics; topic != NULL; topic = topic->next) {
        for (int32_t p = 0; p < topic->partitions; p++) {
            struct claim *claim = &topic->claims[p];
            if (claim->state == CLAIM_REVOKING && claim->revoke_ms <= changes->now_ms) {
                hand_over_anew(group, topic, p, changes);
            } else if (claim->state == CLAIM_REVOKING && claim->revoke_ms < changes->due_ms) {
                changes->due_ms = claim->revoke_ms;
            } else if (has_expired(group, topic, claim, changes->wall_ms)) {
                group_write_claim(group, topic, p, true, changes);
                *claim = (struct claim){.committed = GROUP_OFFSET_NONE, .leader_epoch = -1, .asked = claim->asked};
            }
        }
    }
}

/* ---- looks ---- */

bool group_is_blank(const struct group *group)
{
    if (group->readers != NULL || group->generation != 0)
        return false;
    for (const struct group_topic *topic = group->topics; topic != NULL; topic = topic->next) {
        for (int32_t p = 0; p < topic->partitions; p++) {
            if (!is_blank(&topic->claims[p]))
                return false;
        }
    }
    return true;
}

int32_t group_phase(const struct group *group)
{
    enum { EMPTY, REBALANCING, STABLE };

    if (group->readers == NULL)
        return EMPTY;
    for (const struct group_topic *topic = group->topics; topic != NULL; topic = topic->next) {
        for (int32_t p = 0; p < topic->partitions; p++) {
            if (topic->claims[p].owner != topic->claims[p].target)
                return REBALANCING;
        }
    }
    return STABLE;
}
