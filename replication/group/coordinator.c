/* replication/group/coordinator.c: events, as they come, to the groups that they are about. */
#include "replication/group/coordinator.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/container.h"

/* ---- groups and members by name ---- */

static uint64_t hash_name(const char *name)
{
    return table_hash(name, strlen(name), 0);
}

static uint64_t hash_id(const struct member_id *id)
{
    return table_hash(&id->number, sizeof id->number, id->process ^ (uint64_t)(uint32_t)id->node << 32);
}

static struct group *find_group(struct coordinator *coordinator, const char *name)
{
    struct table_link *link = table_find(&coordinator->groups, hash_name(name));

    while (link != NULL && strcmp(CONTAINER_OF(link, struct group, link)->name, name) != 0)
        link = table_find_next(link);
    return link != NULL ? CONTAINER_OF(link, struct group, link) : NULL;
}

struct reader *coordinator_reader(struct coordinator *coordinator, const struct member_id *id)
{
    struct table_link *link = table_find(&coordinator->readers, hash_id(id));

    while (link != NULL && member_id_compare(&CONTAINER_OF(link, struct reader, link)->id, id) != 0)
        link = table_find_next(link);
    return link != NULL ? CONTAINER_OF(link, struct reader, link) : NULL;
}

static struct group *add_group(struct coordinator *coordinator, const char *name, const struct group_rules *rules)
{
    struct group *group = group_create(name, rules);

    if (group == NULL) {
        coordinator->changes.failed = true;
        return NULL;
    }
    table_add(&coordinator->groups, &group->link, hash_name(name));
    return group;
}

static void forget_unsettled(struct coordinator *coordinator, struct group *group)
{
    struct group **at = &coordinator->changes.unsettled;

    if (!group->unsettled)
        return;
    while (*at != group)
        at = &(*at)->next_unsettled;
    *at = group->next_unsettled;
    group->unsettled = false;
}

static void remove_reader(struct coordinator *coordinator, struct reader *reader)
{
    group_remove_reader(reader, &coordinator->changes);
    table_remove(&coordinator->readers, &reader->link);
    free(reader);
}

static void remove_group(struct coordinator *coordinator, struct group *group)
{
    table_remove(&coordinator->groups, &group->link);
    forget_unsettled(coordinator, group);
    group_free(group);
}

static void drop_topic(struct coordinator *coordinator, struct group *group, struct group_topic *topic)
{
    for (struct reader *reader = group->readers, *next; reader != NULL; reader = next) {
        next = reader->next;
        if (reader->topic == topic)
            remove_reader(coordinator, reader);
    }
    group_drop_topic(group, topic, &coordinator->changes);
}

/* It was deleted: so is all that was kept of it. */
static void drop_group(struct coordinator *coordinator, struct group *group)
{
    struct offsets_record record = {.kind = OFFSETS_GROUP, .tombstone = true};

    while (group->topics != NULL)
        drop_topic(coordinator, group, group->topics);
    memcpy(record.group, group->name, sizeof record.group);
    offsets_record_encode(&record, &coordinator->changes.records);
    coordinator->changes.record_count++;
    remove_group(coordinator, group);
}

/* ---- life ---- */

void coordinator_init(struct coordinator *coordinator, const struct group_facts *facts)
{
    *coordinator = (struct coordinator){.facts = facts, .changes = {.due_ms = INT64_MAX}};
}

void coordinator_free(struct coordinator *coordinator)
{
    struct table_link *link, *next;

    for (link = table_begin(&coordinator->groups); link != NULL; link = next) {
        struct group *group = CONTAINER_OF(link, struct group, link);
        next = table_next(&coordinator->groups, link);
        while (group->readers != NULL) {
            struct reader *reader = group->readers;
            group->readers = reader->next;
            free(reader);
        }
        group->unsettled = false;
        group_free(group);
    }
    table_free(&coordinator->groups);
    table_free(&coordinator->readers);
    free(coordinator->changes.records.bytes);
    free(coordinator->changes.starts);
}

/* ---- records ---- */

/* The group that a record is about. A name that was used again is another group: what was kept of the old one is of no
 * use, and its tombstones may be behind. NULL: no memory. */
static struct group *replayed_group(struct coordinator *coordinator, const struct offsets_record *record)
{
    struct group *group = find_group(coordinator, record->group);
    struct group_rules rules = {0};

    if (group != NULL)
        return group;
    memcpy(rules.id, record->group_id, UUID_BYTES);
    group = add_group(coordinator, record->group, &rules);
    if (group != NULL)
        group->empty_since_ms = -1;
    return group;
}

/* Not through group_add_reader(): nothing is decided here. */
static int replay_reader(struct coordinator *coordinator, struct group *group, const struct offsets_record *record)
{
    struct reader *reader = coordinator_reader(coordinator, &record->member);
    struct group_topic *topic = group_add_topic(group, record->topic_id, "", record->partitions);

    if (topic == NULL)
        return -ENOMEM;
    topic->counted = topic->counted || record->partitions > 0;
    if (reader == NULL) {
        struct reader **at = &group->readers;
        reader = calloc(1, sizeof *reader);
        if (reader == NULL)
            return -ENOMEM;
        reader->id = record->member;
        while (*at != NULL && member_id_compare(&(*at)->id, &reader->id) < 0)
            at = &(*at)->next;
        reader->group = group;
        reader->next = *at;
        *at = reader;
        reader->topic = topic;
        group->reader_count++;
        topic->readers++;
        table_add(&coordinator->readers, &reader->link, hash_id(&reader->id));
    }
    memcpy(reader->host, record->host, sizeof reader->host);
    reader->pid = record->pid;
    return 0;
}

static void forget_reader(struct coordinator *coordinator, const struct member_id *id)
{
    struct reader *reader = coordinator_reader(coordinator, id);

    if (reader == NULL)
        return;
    struct reader **at = &reader->group->readers;
    while (*at != reader)
        at = &(*at)->next;
    *at = reader->next;
    reader->group->reader_count--;
    reader->topic->readers--;
    table_remove(&coordinator->readers, &reader->link);
    free(reader);
}

static void forget_group(struct coordinator *coordinator, struct group *group)
{
    while (group->readers != NULL)
        forget_reader(coordinator, &group->readers->id);
    remove_group(coordinator, group);
}

static int replay_claim(struct group *group, const struct offsets_record *record)
{
    struct group_topic *topic = group_add_topic(group, record->topic_id, "", record->partition + 1);

    if (topic == NULL)
        return -ENOMEM;
    topic->claims[record->partition] = (struct claim){
        .committed = record->committed,
        .commit_ms = record->commit_ms,
        .epoch = record->epoch,
        .leader_epoch = record->leader_epoch,
        .reset = {.node = record->reset.node, .process = record->reset.process, .ticket = record->reset.number},
        .start = record->committed,
        .start_epoch = record->leader_epoch,
        .replayed = record->member};
    return 0;
}

static void replay_tombstone(struct coordinator *coordinator, const struct offsets_record *record)
{
    struct group *group = find_group(coordinator, record->group);
    struct group_topic *topic = NULL;

    if (group == NULL)
        return;
    switch (record->kind) {
    case OFFSETS_GROUP:
        forget_group(coordinator, group);
        break;
    case OFFSETS_MEMBER:
        forget_reader(coordinator, &record->member);
        break;
    case OFFSETS_PARTITION:
        topic = group_find_topic(group, record->topic_id);
        if (topic != NULL && record->partition < topic->partitions)
            topic->claims[record->partition] = (struct claim){.committed = GROUP_OFFSET_NONE, .leader_epoch = -1};
        break;
    }
}

/* All of the old group with that name goes without a word: its tombstones were written before the new one's first
 * record, or are in force by its keys. */
static int replay_value(struct coordinator *coordinator, const struct offsets_record *record)
{
    struct group *group = replayed_group(coordinator, record);

    if (group == NULL)
        return -ENOMEM;
    if (memcmp(group->rules.id, record->group_id, UUID_BYTES) != 0) {
        forget_group(coordinator, group);
        group = replayed_group(coordinator, record);
        if (group == NULL)
            return -ENOMEM;
    }
    switch (record->kind) {
    case OFFSETS_GROUP:
        group->generation = record->generation;
        group->empty_since_ms = record->empty_since_ms;
        return 0;
    case OFFSETS_MEMBER:
        return replay_reader(coordinator, group, record);
    case OFFSETS_PARTITION:
        return replay_claim(group, record);
    }
    return 0;
}

int coordinator_replay(struct coordinator *coordinator, const uint8_t *bytes, size_t len, struct err *e)
{
    struct offsets_record record;
    int rc = offsets_record_decode(bytes, len, &record, e);

    if (rc != 0)
        return rc;
    if (record.tombstone) {
        replay_tombstone(coordinator, &record);
        return 0;
    }
    return replay_value(coordinator, &record);
}

/* Whose each partition is, by the members that there are. */
static void find_owners(struct coordinator *coordinator, struct group *group)
{
    for (struct group_topic *topic = group->topics; topic != NULL; topic = topic->next) {
        for (int32_t p = 0; p < topic->partitions; p++) {
            struct claim *claim = &topic->claims[p];
            struct reader *owner = claim->replayed.node != 0 ? coordinator_reader(coordinator, &claim->replayed) : NULL;
            if (owner == NULL || owner->topic != topic)
                continue;
            claim->state = CLAIM_OWNED;
            claim->owner = owner;
            claim->target = owner;
        }
    }
}

void coordinator_loaded(struct coordinator *coordinator)
{
    struct table_link *link;

    for (link = table_begin(&coordinator->groups); link != NULL; link = table_next(&coordinator->groups, link)) {
        struct group *group = CONTAINER_OF(link, struct group, link);
        find_owners(coordinator, group);
        if (group->readers != NULL) { /* the last coordinator may have been about to hand something over */
            group_unsettle(group, false, &coordinator->changes);
        } else if (group->empty_since_ms < 0) { /* or had no time left to say since when there is nobody */
            group->empty_since_ms = coordinator->changes.wall_ms;
            group_write(group, &coordinator->changes);
        }
    }
    coordinator_look(coordinator);
    for (link = table_begin(&coordinator->readers); link != NULL; link = table_next(&coordinator->readers, link)) {
        const struct reader *reader = CONTAINER_OF(link, struct reader, link);
        coordinator_heard(coordinator, reader->id.node, reader->id.process);
    }
}

/* ---- turns ---- */

void coordinator_begin(struct coordinator *coordinator, int64_t now_ms, int64_t wall_ms)
{
    coordinator->changes.now_ms = now_ms;
    coordinator->changes.wall_ms = wall_ms;
}

void coordinator_end(struct coordinator *coordinator)
{
    struct group_changes *changes = &coordinator->changes;

    while (changes->unsettled != NULL) {
        struct group *group = changes->unsettled;
        changes->unsettled = group->next_unsettled;
        group->unsettled = false;
        group_settle(group, changes);
    }
    if (changes->records.failed)
        changes->failed = true;
}

void coordinator_clear(struct coordinator *coordinator)
{
    struct group_changes *changes = &coordinator->changes;

    while (changes->changed != NULL) {
        changes->changed->changed = false;
        changes->changed = changes->changed->next_changed;
    }
    changes->records.len = 0;
    changes->record_count = 0;
    changes->start_count = 0;
}

/* ---- nodes ---- */

static struct group_session *session_of(struct coordinator *coordinator, int32_t node)
{
    struct group_session *unused = NULL;

    for (int i = 0; i < LIMIT_NODES_MET; i++) {
        if (coordinator->sessions[i].node == node)
            return &coordinator->sessions[i];
        if (coordinator->sessions[i].node == 0 && unused == NULL)
            unused = &coordinator->sessions[i];
    }
    return unused;
}

void coordinator_heard(struct coordinator *coordinator, int32_t node, uint64_t process)
{
    struct group_session *session = session_of(coordinator, node);

    if (session != NULL)
        *session = (struct group_session){node, process, coordinator->changes.now_ms};
}

static struct reader *listed_reader(struct coordinator *coordinator, int32_t node, uint64_t process,
                                    const struct group_entry *entry)
{
    struct member_id id = {node, process, entry->key};

    return coordinator_reader(coordinator, &id);
}

/* Whether the beat would list it, if it was a member. */
static bool is_meant(const struct reader *reader, int32_t node, uint64_t process, const struct group_item *beat)
{
    return reader->id.node == node && reader->id.process == process && reader->id.number <= beat->number;
}

bool coordinator_lists_all(struct coordinator *coordinator, int32_t node, uint64_t process,
                           const struct group_item *beat)
{
    struct table *readers = &coordinator->readers;
    size_t listed = 0, meant = 0;

    for (size_t i = 0; i < beat->entry_count; i++)
        listed += listed_reader(coordinator, node, process, &beat->entries[i]) != NULL;
    if (listed == readers->count)
        return true;
    for (struct table_link *link = table_begin(readers); link != NULL; link = table_next(readers, link))
        meant += is_meant(CONTAINER_OF(link, struct reader, link), node, process, beat);
    return listed == meant || beat->number == 0;
}

void coordinator_drop_unlisted(struct coordinator *coordinator, int32_t node, uint64_t process,
                               const struct group_item *beat)
{
    struct table *readers = &coordinator->readers;
    struct table_link *link, *next;

    if (coordinator_lists_all(coordinator, node, process, beat))
        return;
    for (size_t i = 0; i < beat->entry_count; i++) {
        struct reader *reader = listed_reader(coordinator, node, process, &beat->entries[i]);
        if (reader != NULL)
            reader->listed = true;
    }
    for (link = table_begin(readers); link != NULL; link = next) {
        struct reader *reader = CONTAINER_OF(link, struct reader, link);
        next = table_next(readers, link);
        if (!reader->listed && is_meant(reader, node, process, beat))
            remove_reader(coordinator, reader);
        else
            reader->listed = false;
    }
}

/* How long the member's process was not heard of. One that was never heard of, or not since another of its node was, is
 * as old as can be. */
static int64_t silent_ms(struct coordinator *coordinator, const struct reader *reader)
{
    const struct group_session *session = session_of(coordinator, reader->id.node);

    if (session == NULL || session->node == 0 || session->process != reader->id.process)
        return INT64_MAX;
    return coordinator->changes.now_ms - session->heard_ms;
}

/* ---- what the cluster says ---- */

/* The topic, with as many partitions as there are by now: those that are new to it are shared out. NULL: no memory. */
static struct group_topic *know_topic(struct coordinator *coordinator, struct group *group,
                                      const uint8_t id[UUID_BYTES], const char *name, int32_t partitions)
{
    const struct group_topic *known = group_find_topic(group, id);
    int32_t before = known != NULL ? known->partitions : 0;
    struct group_topic *topic = group_add_topic(group, id, name, partitions);

    if (topic == NULL) {
        coordinator->changes.failed = true;
        return NULL;
    }
    if (topic->partitions > before && topic->readers > 0 && topic->counted)
        group_begin_added(group, topic, before, &coordinator->changes);
    else if (topic->partitions > before && topic->readers > 0)
        group_unsettle(group, true, &coordinator->changes);
    topic->counted = true;
    return topic;
}

static void look_at_topics(struct coordinator *coordinator, struct group *group)
{
    const struct group_facts *facts = coordinator->facts;

    for (struct group_topic *topic = group->topics, *next; topic != NULL; topic = next) {
        char name[GROUP_NAME_BYTES];
        int32_t partitions;
        next = topic->next;
        if (facts->topic(facts->arg, topic->id, name, &partitions) != 0) {
            drop_topic(coordinator, group, topic);
            continue;
        }
        (void)know_topic(coordinator, group, topic->id, name, partitions);
    }
}

static void look_at_group(struct coordinator *coordinator, struct group *group)
{
    const struct group_facts *facts = coordinator->facts;
    struct group_rules rules;
    int rc = facts->group(facts->arg, group->name, &rules);

    if (rc != 0 && rc != -ENOENT) { /* it goes on as it was */
        look_at_topics(coordinator, group);
        return;
    }
    if (rc != 0 || memcmp(rules.id, group->rules.id, UUID_BYTES) != 0) {
        drop_group(coordinator, group);
        return;
    }
    if (rules.assignor != group->rules.assignor && group->readers != NULL)
        group_unsettle(group, true, &coordinator->changes);
    if (!group->known && group->readers != NULL)
        group_unsettle(group, false, &coordinator->changes);
    group->rules = rules;
    group->known = true;
    look_at_topics(coordinator, group);
}

void coordinator_look(struct coordinator *coordinator)
{
    const struct group_facts *facts = coordinator->facts;
    struct table_link *link, *next;

    for (link = table_begin(&coordinator->groups); link != NULL; link = next) {
        next = table_next(&coordinator->groups, link);
        look_at_group(coordinator, CONTAINER_OF(link, struct group, link));
    }
    for (link = table_begin(&coordinator->readers); link != NULL; link = next) {
        struct reader *reader = CONTAINER_OF(link, struct reader, link);
        next = table_next(&coordinator->readers, link);
        if (!facts->lives(facts->arg, reader->id.node, reader->id.process))
            remove_reader(coordinator, reader);
    }
}

/* Time that this node did not look at, since it stood still, is nobody's silence. */
static void forgive(struct coordinator *coordinator, int64_t missed_ms)
{
    int64_t now_ms = coordinator->changes.now_ms;

    for (int i = 0; i < LIMIT_NODES_MET; i++) {
        struct group_session *session = &coordinator->sessions[i];
        session->heard_ms = now_ms - session->heard_ms > missed_ms ? session->heard_ms + missed_ms : now_ms;
    }
}

void coordinator_tick(struct coordinator *coordinator)
{
    struct group_changes *changes = &coordinator->changes;
    struct table_link *link, *next;

    if (changes->now_ms < coordinator->tick_ms && changes->now_ms < changes->due_ms)
        return;
    if (coordinator->tick_ms != 0 && changes->now_ms - coordinator->tick_ms > COORDINATOR_TICK_MS)
        forgive(coordinator, changes->now_ms - coordinator->tick_ms);
    coordinator->tick_ms = changes->now_ms + COORDINATOR_TICK_MS;
    changes->due_ms = INT64_MAX;
    for (link = table_begin(&coordinator->readers); link != NULL; link = next) {
        struct reader *reader = CONTAINER_OF(link, struct reader, link);
        next = table_next(&coordinator->readers, link);
        if (reader->group->known && silent_ms(coordinator, reader) > reader->group->rules.session_timeout_ms)
            remove_reader(coordinator, reader);
    }
    for (link = table_begin(&coordinator->groups); link != NULL; link = table_next(&coordinator->groups, link))
        group_tick(CONTAINER_OF(link, struct group, link), changes);
}

/* ---- what is asked for ---- */

/* The group that an item is about, as the cluster has it; made here at its first use. NULL: this node does not know of
 * it, or no more, or not yet. */
static struct group *group_of(struct coordinator *coordinator, const struct group_item *item)
{
    const struct group_facts *facts = coordinator->facts;
    struct group *group = find_group(coordinator, item->group);
    struct group_rules rules;

    if (facts->group(facts->arg, item->group, &rules) != 0 || memcmp(rules.id, item->group_id, UUID_BYTES) != 0)
        return NULL;
    if (group != NULL && memcmp(group->rules.id, rules.id, UUID_BYTES) != 0) {
        drop_group(coordinator, group);
        group = NULL;
    }
    if (group == NULL) {
        group = add_group(coordinator, item->group, &rules);
        if (group != NULL) {
            group->empty_since_ms = coordinator->changes.wall_ms;
            group->known = true;
        }
    }
    return group;
}

static struct group_topic *topic_of(struct coordinator *coordinator, struct group *group, const uint8_t id[UUID_BYTES])
{
    const struct group_facts *facts = coordinator->facts;
    char name[GROUP_NAME_BYTES];
    int32_t partitions;

    if (facts->topic(facts->arg, id, name, &partitions) != 0)
        return NULL;
    return know_topic(coordinator, group, id, name, partitions);
}

enum group_outcome coordinator_join(struct coordinator *coordinator, int32_t node, uint64_t process,
                                    const struct group_item *item)
{
    struct member_id id = {node, process, item->number};
    struct group *group = group_of(coordinator, item);
    struct group_topic *topic = group != NULL ? topic_of(coordinator, group, item->topic_id) : NULL;
    struct reader *reader = coordinator_reader(coordinator, &id);

    if (topic == NULL || !coordinator->facts->lives(coordinator->facts->arg, node, process))
        return GROUP_OUTCOME_LATER; /* whom the next look would put out again, too */
    if (reader != NULL) {           /* asked again */
        group_mark_changed(reader, &coordinator->changes);
        return GROUP_OUTCOME_OK;
    }
    if (coordinator->changes.now_ms < group->sealed_ms)
        return GROUP_OUTCOME_LATER;
    reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        coordinator->changes.failed = true;
        return GROUP_OUTCOME_LATER;
    }
    reader->id = id;
    reader->topic = topic;
    reader->pid = item->pid;
    memcpy(reader->host, item->host, sizeof reader->host);
    table_add(&coordinator->readers, &reader->link, hash_id(&id));
    group_add_reader(group, reader, &coordinator->changes);
    return GROUP_OUTCOME_OK;
}

bool coordinator_seal(struct coordinator *coordinator, const struct group_item *item)
{
    struct group *group = group_of(coordinator, item);

    if (group != NULL && group->reader_count == 0)
        group->sealed_ms = coordinator->changes.now_ms + LIMIT_GROUP_SEAL_MS;
    return group != NULL;
}

static struct reader *reader_of(struct coordinator *coordinator, int32_t node, uint64_t process,
                                const struct group_item *item)
{
    struct member_id id = {node, process, item->number};
    struct reader *reader = coordinator_reader(coordinator, &id);

    if (reader == NULL || memcmp(reader->group->rules.id, item->group_id, UUID_BYTES) != 0)
        return NULL;
    return reader;
}

enum group_outcome coordinator_commit(struct coordinator *coordinator, int32_t node, uint64_t process,
                                      const struct group_item *item, bool *refused)
{
    struct reader *reader = reader_of(coordinator, node, process, item);

    for (size_t i = 0; i < item->entry_count; i++)
        refused[i] = reader == NULL || !group_commit(reader, &item->entries[i], &coordinator->changes);
    return reader != NULL ? GROUP_OUTCOME_OK : GROUP_OUTCOME_UNKNOWN;
}

enum group_outcome coordinator_leave(struct coordinator *coordinator, int32_t node, uint64_t process,
                                     const struct group_item *item, bool *refused)
{
    enum group_outcome outcome = coordinator_commit(coordinator, node, process, item, refused);

    if (outcome == GROUP_OUTCOME_OK)
        remove_reader(coordinator, reader_of(coordinator, node, process, item));
    return outcome;
}

static const struct reset_done *find_reset(const struct coordinator *coordinator, int32_t node, uint64_t process,
                                           uint64_t ticket)
{
    for (size_t i = 0; i < COORDINATOR_RESETS && i < coordinator->reset_count; i++) {
        const struct reset_done *reset = &coordinator->resets[i];
        if (reset->node == node && reset->process == process && reset->ticket == ticket)
            return reset;
    }
    return NULL;
}

enum group_outcome coordinator_reset(struct coordinator *coordinator, int32_t node, uint64_t process,
                                     const struct group_item *item)
{
    const struct reset_done *before = find_reset(coordinator, node, process, item->ticket);
    int64_t offset = item->kind == GROUP_ITEM_RESET ? item->offset : GROUP_OFFSET_NONE;

    if (before != NULL)
        return before->outcome;
    struct group *group = group_of(coordinator, item);
    struct group_topic *topic = group != NULL ? topic_of(coordinator, group, item->topic_id) : NULL;
    if (topic == NULL || item->partition < 0 || item->partition >= topic->partitions)
        return GROUP_OUTCOME_LATER;
    /* Done by the coordinator that was before: which offset it says by now is for others to say. */
    struct reset_origin origin = {node, process, item->ticket}, *last = &topic->claims[item->partition].reset;
    if (last->node == node && last->process == process && last->ticket == item->ticket)
        return GROUP_OUTCOME_OK;
    struct reset_origin before_it = *last;
    *last = origin;
    bool done = group_reset(group, topic, item->partition, offset, &coordinator->changes);
    if (!done)
        topic->claims[item->partition].reset = before_it;
    enum group_outcome outcome = done ? GROUP_OUTCOME_OK : GROUP_OUTCOME_NONE;
    coordinator->resets[coordinator->reset_count++ % COORDINATOR_RESETS] =
        (struct reset_done){node, process, item->ticket, outcome};
    return outcome;
}

static struct group *group_of_start(struct coordinator *coordinator, const struct claim_start *start)
{
    struct group *group = find_group(coordinator, start->group);

    return group != NULL && memcmp(group->rules.id, start->group_id, UUID_BYTES) == 0 ? group : NULL;
}

void coordinator_started(struct coordinator *coordinator, const struct claim_start *start, int64_t offset,
                         int32_t leader_epoch)
{
    struct group *group = group_of_start(coordinator, start);
    struct group_topic *topic = group != NULL ? group_find_topic(group, start->topic_id) : NULL;

    if (topic != NULL && start->partition < topic->partitions)
        group_started(group, topic, start->partition, offset, leader_epoch, &coordinator->changes);
}

bool coordinator_starts(struct coordinator *coordinator, const struct claim_start *start)
{
    struct group *group = group_of_start(coordinator, start);
    struct group_topic *topic = group != NULL ? group_find_topic(group, start->topic_id) : NULL;

    return topic != NULL && start->partition < topic->partitions && topic->claims[start->partition].asked;
}
