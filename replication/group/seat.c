/* replication/group/seat.c: from items to records, and from committed records to answers. */
#include "replication/group/seat.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/bugs.h"
#include "engine/base/container.h"
#include "engine/record/framing.h"
#include "replication/group/groups_internal.h"

enum {
    MARK_INTERVAL_BYTES = 4096,
    MARKS = 64,
    LOAD_AGAIN_MS = 500,
    LOAD_LATEST_MS = 30000,
    WRITE_AGAIN_MS = 500,
    LEASE_AGAIN_MS = 100
};

/* ---- answers ---- */

static void answer(struct outbox *box, const struct seat *seat, const struct seat_item *it, struct group_told *told)
{
    struct elements_buffer *to = outbox_to(box, it->node, it->process);

    told->kind = GROUP_TOLD_RESULT;
    told->ticket = it->item.ticket;
    told->index = seat->index;
    if (it->item.kind != GROUP_ITEM_ASK)
        told->version = (int64_t)it->item.number;
    if (to != NULL)
        group_told_encode(told, to);
}

static void answer_only(struct outbox *box, const struct seat *seat, const struct seat_item *it,
                        enum group_outcome outcome)
{
    struct group_told told = {.outcome = outcome};

    if (it->item.kind != GROUP_ITEM_BEAT)
        answer(box, seat, it, &told);
}

static void free_item(struct seat_item *it)
{
    free(it->item.entries);
    free(it);
}

/* Those that were acted on, but whose records are in no log. */
static void answer_acted(struct seat *seat, enum group_outcome outcome)
{
    while (seat->acted != NULL) {
        struct seat_item *it = seat->acted;
        seat->acted = it->next;
        if (it->item.kind != GROUP_ITEM_ASK)
            answer_only(&seat->groups->answers, seat, it, outcome);
        free_item(it);
    }
}

static void drop_acted(struct seat *seat)
{
    while (seat->acted != NULL) {
        struct seat_item *it = seat->acted;
        seat->acted = it->next;
        free_item(it);
    }
}

/* Nothing is in it any more. */
static void forget_inbox(struct seat *seat)
{
    seat->last = &seat->first;
    seat->inbox_bytes = 0;
    seat->beat_count = 0;
}

/* What waits is to be asked again. */
static void refuse_all(struct seat *seat, enum group_outcome outcome)
{
    while (seat->first != NULL) {
        struct seat_item *it = seat->first;
        seat->first = it->next;
        bool asks = outcome == GROUP_OUTCOME_FULL && it->item.kind == GROUP_ITEM_ASK; /* which takes no room */
        answer_only(&seat->groups->answers, seat, it, asks ? GROUP_OUTCOME_LATER : outcome);
        free_item(it);
    }
    forget_inbox(seat);
}

/* ---- life ---- */

static void on_appended(struct append_op *op, int rc)
{
    struct seat *seat = CONTAINER_OF(op, struct seat, op);

    seat->append_rc = rc;
    atomic_store(&seat->append_over, true);
    mailbox_kick(&seat->groups->mailbox);
}

void seat_init(struct seat *seat, struct groups *groups, int32_t index)
{
    *seat = (struct seat){.groups = groups, .index = index};
    seat->last = &seat->first;
}

static void count_groups(struct seat *seat, bool away)
{
    if (away)
        atomic_fetch_sub(&seat->groups->coordinated, seat->core.groups.count);
    else
        atomic_fetch_add(&seat->groups->coordinated, seat->core.groups.count);
}

static bool is_loaded(const struct seat *seat)
{
    return seat->state == SEAT_READY || seat->state == SEAT_WRITING || seat->state == SEAT_STALLED;
}

/* What it knows is of no use any more. Not while it is WRITING. */
static void forget(struct seat *seat)
{
    if (seat->state == SEAT_LOADING && seat->load != NULL)
        seat_load_cancel(seat->load);
    seat->load = NULL;
    seat_starts_cancel(seat);
    if (is_loaded(seat)) {
        count_groups(seat, true);
        coordinator_free(&seat->core);
    }
    outbox_drop(&seat->answers);
    seat->full = false;
}

static void leave(struct seat *seat)
{
    forget(seat);
    answer_acted(seat, GROUP_OUTCOME_ELSEWHERE);
    refuse_all(seat, GROUP_OUTCOME_ELSEWHERE);
    if (seat->part != NULL)
        partition_unref(seat->part);
    seat->part = NULL;
    seat->state = SEAT_AWAY;
}

/* It leads; part's reference is the seat's from here on. */
static void begin(struct seat *seat, struct partition *part, int32_t epoch)
{
    seat->part = part;
    seat->epoch = epoch;
    seat->state = SEAT_LOADING;
    seat->load_ms = 0;
    seat->load_wait_ms = 0;
    if (BUG(coordinator_unloaded)) {
        coordinator_init(&seat->core, &seat->groups->env.facts);
        seat->state = SEAT_READY;
    }
}

static void load_anew(struct seat *seat)
{
    forget(seat);
    answer_acted(seat, GROUP_OUTCOME_LATER);
    refuse_all(seat, GROUP_OUTCOME_LATER);
    seat->state = SEAT_LOADING;
    seat->load_ms = seat->groups->now_ms + LOAD_AGAIN_MS;
    groups_due(seat->groups, seat->load_ms);
}

void seat_look(struct seat *seat)
{
    struct group_env *env = &seat->groups->env;
    struct partition *part;
    struct partition_info info = {0};

    seat->look = true;
    if (seat->state == SEAT_WRITING)
        return; /* its append ends first */
    part = env->offsets(env->facts.arg, seat->index);
    if (part != NULL)
        partition_info(part, &info);
    bool over = info.leader != env->node || info.leader_epoch != seat->epoch;
    if (seat->state == SEAT_READY && over && BUG(old_coordinator_goes_on))
        info = (struct partition_info){.leader = env->node, .leader_epoch = seat->epoch};
    else if (seat->state != SEAT_AWAY && over)
        leave(seat);
    if (seat->state == SEAT_AWAY && info.leader == env->node)
        begin(seat, part, info.leader_epoch);
    else if (part != NULL)
        partition_unref(part);
}

/* ---- what comes ---- */

/* Whether that node's members know all that was decided of them, told or about to be, and are all that it has. */
static bool knows_all(struct seat *seat, int32_t node, uint64_t process, const struct group_item *item)
{
    if (!is_loaded(seat))
        return false;
    for (size_t i = 0; i < item->entry_count; i++) {
        const struct group_entry *entry = &item->entries[i];
        struct member_id id = {node, process, entry->key};
        const struct reader *reader = coordinator_reader(&seat->core, &id);
        if (entry->release)
            continue;
        if (reader == NULL || reader->changed || entry->epoch != seat->epoch || entry->value != reader->version)
            return false;
    }
    return coordinator_lists_all(&seat->core, node, process, item);
}

/* Whether one of that node's waits, which says as much but of the last moment; it waits from here on. */
static bool beat_waits(struct seat *seat, int32_t node)
{
    for (int i = 0; i < seat->beat_count; i++) {
        if (seat->beats[i] == node)
            return true;
    }
    if (seat->beat_count < LIMIT_NODES)
        seat->beats[seat->beat_count++] = node;
    return false;
}

/* What is answered without a record has nothing to stop it where another node leads by now: so it waits for the lease.
 * A node that alone makes up the cluster has it for good. */
static bool has_lease(const struct seat *seat)
{
    const struct group_env *env = &seat->groups->env;

    return env->has_lease(env->facts.arg) || BUG(old_coordinator_goes_on);
}

/* Its sender is not cut off. outcome: OK, its members know all, or were told before this in the same box; LATER, that
 * is not known, and is looked at. */
static void answer_beat(struct outbox *box, struct seat *seat, int32_t node, uint64_t process, int64_t sent_ms,
                        enum group_outcome outcome)
{
    struct group_told told = {.kind = GROUP_TOLD_HEARD, .index = seat->index, .outcome = outcome, .version = sent_ms};
    struct elements_buffer *to;

    if (sent_ms == 0 || seat->state == SEAT_AWAY || !has_lease(seat))
        return;
    to = outbox_to(box, node, process);
    if (to != NULL)
        group_told_encode(&told, to);
}

void seat_take(struct seat *seat, int32_t node, uint64_t process, struct group_item *item)
{
    bool beat = item->kind == GROUP_ITEM_BEAT, known = beat && knows_all(seat, node, process, item);
    if (beat) { /* at once, whatever the seat is at */
        answer_beat(&seat->groups->answers, seat, node, process, item->offset,
                    known ? GROUP_OUTCOME_OK : GROUP_OUTCOME_LATER);
    }
    size_t bytes = sizeof(struct seat_item) + item->entry_count * sizeof *item->entries;
    struct seat_item *it = calloc(1, sizeof *it);

    if (it == NULL) { /* asked again */
        free(item->entries);
        return;
    }
    *it = (struct seat_item){.node = node, .process = process, .item = *item};
    if (seat->state == SEAT_AWAY || seat->state == SEAT_LOADING) {
        answer_only(&seat->groups->answers, seat, it,
                    seat->state == SEAT_AWAY ? GROUP_OUTCOME_ELSEWHERE : GROUP_OUTCOME_LATER);
        free_item(it);
        return;
    }
    seat->core.changes.now_ms = seat->groups->now_ms;
    coordinator_heard(&seat->core, node, process);
    if (seat->state == SEAT_STALLED) { /* or it is asked again */
        if (seat->full && item->kind != GROUP_ITEM_ASK)
            answer_only(&seat->groups->answers, seat, it, GROUP_OUTCOME_FULL);
        free_item(it);
        return;
    }
    bool idle = known && seat->state == SEAT_READY;
    if (idle || seat->inbox_bytes + bytes > LIMIT_GROUP_INBOX_BYTES || (beat && beat_waits(seat, node))) {
        free_item(it);
        return;
    }
    *seat->last = it;
    seat->last = &it->next;
    seat->inbox_bytes += bytes;
}

/* ---- acting on it ---- */

/* Members that it has not, or that know less than it has told; and readers that are nobody's any more. */
static void act_beat(struct seat *seat, struct seat_item *it)
{
    coordinator_drop_unlisted(&seat->core, it->node, it->process, &it->item);
    for (size_t i = 0; i < it->item.entry_count; i++) {
        const struct group_entry *entry = &it->item.entries[i];
        struct member_id id = {it->node, it->process, entry->key};
        struct reader *reader = coordinator_reader(&seat->core, &id);
        if (entry->release)
            continue;
        if (reader != NULL) {
            if (entry->epoch != seat->epoch || entry->value != reader->version)
                group_mark_changed(reader, &seat->core.changes);
            continue;
        }
        struct elements_buffer *to = outbox_to(&seat->answers, it->node, it->process);
        struct group_told told = {.kind = GROUP_TOLD_SHARES,
                                  .ticket = entry->key,
                                  .index = seat->index,
                                  .outcome = GROUP_OUTCOME_UNKNOWN,
                                  .epoch = seat->epoch,
                                  .version = ++seat->groups->versions};
        if (to != NULL)
            group_told_encode(&told, to);
        else
            it->item.offset = 0; /* it is not told, and so not answered */
    }
}

static void act_commit(struct seat *seat, const struct seat_item *it)
{
    struct group_told told = {.refused_count = it->item.entry_count};

    told.refused = calloc(told.refused_count + 1, sizeof *told.refused);
    if (told.refused == NULL)
        return; /* asked again */
    if (it->item.kind == GROUP_ITEM_LEAVE)
        told.outcome = coordinator_leave(&seat->core, it->node, it->process, &it->item, told.refused);
    else
        told.outcome = coordinator_commit(&seat->core, it->node, it->process, &it->item, told.refused);
    answer(&seat->answers, seat, it, &told);
    free(told.refused);
}

/* In pieces, since there may be many rows. */
static void act_ask(struct seat *seat, const struct seat_item *it)
{
    struct group_told all, piece;
    size_t told = 0;
    uint32_t number = 0;

    if (it->item.offset != 0 && !coordinator_seal(&seat->core, &it->item)) {
        answer_only(&seat->answers, seat, it, GROUP_OUTCOME_LATER);
        return;
    }
    if (coordinator_ask(&seat->core, &it->item, &all) != 0)
        return;
    do {
        size_t rows = all.row_count - told < LIMIT_GROUP_ROWS ? all.row_count - told : LIMIT_GROUP_ROWS;
        piece = (struct group_told){
            .rows = all.rows + told, .row_count = rows, .version = group_piece(it->item.number, number++)};
        told += rows;
        piece.more = told < all.row_count;
        if (!piece.more) {
            piece.groups = all.groups;
            piece.group_count = all.group_count;
        }
        answer(&seat->answers, seat, it, &piece);
    } while (told < all.row_count);
    group_told_free(&all);
}

static void act_on(struct seat *seat, struct seat_item *it)
{
    switch (it->item.kind) {
    case GROUP_ITEM_BEAT:
        act_beat(seat, it);
        break;
    case GROUP_ITEM_JOIN:
        answer_only(&seat->answers, seat, it, coordinator_join(&seat->core, it->node, it->process, &it->item));
        break;
    case GROUP_ITEM_LEAVE:
    case GROUP_ITEM_COMMIT:
        act_commit(seat, it);
        break;
    case GROUP_ITEM_RESET:
    case GROUP_ITEM_FORGET:
        answer_only(&seat->answers, seat, it, coordinator_reset(&seat->core, it->node, it->process, &it->item));
        break;
    case GROUP_ITEM_ASK:
        act_ask(seat, it);
        break;
    case GROUP_ITEM_KINDS:
        break;
    }
}

/* false: no memory; the next beat finds that it knows less. */
static bool tell_shares(struct seat *seat, struct reader *reader)
{
    struct elements_buffer *to = outbox_to(&seat->answers, reader->id.node, reader->id.process);
    struct group_told told;

    reader->version = ++seat->groups->versions;
    if (to == NULL || coordinator_shares(reader, &told) != 0)
        return false;
    told.index = seat->index;
    told.epoch = seat->epoch;
    group_told_encode(&told, to);
    group_told_free(&told);
    return true;
}

/* Behind all that was told: those whose beat was acted on know all as of that. */
static void answer_beats(struct seat *seat)
{
    for (const struct seat_item *it = seat->acted; it != NULL; it = it->next) {
        if (it->item.kind == GROUP_ITEM_BEAT)
            answer_beat(&seat->answers, seat, it->node, it->process, it->item.offset, GROUP_OUTCOME_OK);
    }
}

/* All that the turn has brought is committed: now it is told. */
static void publish(struct seat *seat)
{
    struct groups *groups = seat->groups;
    struct group_changes *changes = &seat->core.changes;
    bool told = true;

    for (struct reader *reader = changes->changed; reader != NULL; reader = reader->next_changed)
        told = tell_shares(seat, reader) && told;
    if (told)
        answer_beats(seat);
    atomic_fetch_add(&groups->commits, changes->commits);
    atomic_fetch_add(&groups->fenced, changes->fenced);
    atomic_fetch_add(&groups->handovers, changes->handovers);
    changes->commits = changes->fenced = changes->handovers = 0;
    outbox_send(&seat->answers, &groups->env, MESSAGE_GROUP_ANSWER);
    drop_acted(seat);
    seat_starts_begin(seat);
    coordinator_clear(&seat->core);
    seat->state = SEAT_READY;
    seat->full = false;
}

/* One line a minute tells of it. */
static void log_failure(struct seat *seat, int rc, const char *what, const char *then, const struct err *e)
{
    int64_t now_ms = seat->groups->now_ms;

    if (rc == -EREMOTE || rc == -ESTALE || (rc == -EIO && seat->state != SEAT_LOADING))
        return;
    if (rc == seat->logged_rc && now_ms - seat->logged_ms < LIMIT_REFUSAL_LOG_MS)
        return;
    seat->logged_rc = rc;
    seat->logged_ms = now_ms;
    log_line(LOG_WARNING, "__consumer_offsets-%d: %s failed: %s; %s", (int)seat->index, what,
             e != NULL && e->text[0] != '\0' ? e->text : strerror(-rc), then);
}

/* For sure the log has nothing of the piece that was handed to it, and may take it later. */
static bool is_refused(int rc)
{
    return rc == -EROFS || err_is_passing(rc);
}

/* Whatever was decided stays decided, and comes into force when the log takes it. */
static void stall(struct seat *seat, int rc, const struct err *e)
{
    seat->state = SEAT_STALLED;
    seat->written -= seat->iov.iov_len;
    seat->full = err_is_full_disk(rc);
    seat->retry_ms = seat->groups->now_ms + WRITE_AGAIN_MS;
    groups_due(seat->groups, seat->retry_ms);
    log_failure(seat, rc, "an append", "it is tried again", e);
    if (seat->full) {
        answer_acted(seat, GROUP_OUTCOME_FULL);
        refuse_all(seat, GROUP_OUTCOME_FULL);
    }
    seat_look(seat);
}

/* The append is over, or never began. */
static void written(struct seat *seat, int rc, const struct err *e)
{
    if (rc == 0 || (rc == -EREMOTE && BUG(old_coordinator_goes_on))) {
        publish(seat);
        return;
    }
    if (is_refused(rc)) {
        stall(seat, rc, e);
        return;
    }
    log_failure(seat, rc, "an append", "its groups are read anew", e);
    load_anew(seat);
    seat_look(seat);
}

/* Whole records, so many that they are one append. */
static size_t piece_len(const uint8_t *bytes, size_t len)
{
    size_t at = 0;

    if (len <= LIMIT_GROUP_APPEND_BYTES)
        return len;
    while (at < len) {
        size_t record = framing_record_len(FRAMING_MSGPACK, bytes + at, len - at);
        if (at > 0 && at + record > LIMIT_GROUP_APPEND_BYTES)
            break;
        at += record;
    }
    return at;
}

/* As partition_append_submit(). */
static int append(struct seat *seat, struct err *e)
{
    struct framing_mark marks[MARKS];

    seat->op = (struct append_op){.part = seat->part,
                                  .acks = ACKS_ALL,
                                  .timeout_ms = LIMIT_GROUP_APPEND_MS,
                                  .from_peer = true,
                                  .internal = true,
                                  .in_epoch = true,
                                  .only_epoch = seat->epoch,
                                  .done = on_appended};
    int rc = append_batch_scan(&seat->op.batch, FRAMING_MSGPACK, &seat->iov, seat->core.changes.wall_ms,
                               MARK_INTERVAL_BYTES, marks, MARKS);
    assert(rc == 0);
    atomic_store(&seat->append_over, false);
    return partition_append_submit(&seat->op, e);
}

/* Appends what is left of the turn's records, one piece behind the other. Of a turn that ends within them the next
 * coordinator reads the beginning, which nobody was told of: it shares out anew. */
static void write_records(struct seat *seat)
{
    const struct elements_buffer *records = &seat->core.changes.records;
    struct err e = {""};
    int rc = 1;

    seat->state = SEAT_WRITING;
    while (rc == 1 && seat->written < records->len) {
        uint8_t *from = records->bytes + seat->written;
        seat->iov = (struct iovec){from, piece_len(from, records->len - seat->written)};
        seat->written += seat->iov.iov_len;
        rc = append(seat, &e);
    }
    if (rc != 0)
        written(seat, rc > 0 ? 0 : rc, &e);
}

static void act(struct seat *seat)
{
    struct groups *groups = seat->groups;
    struct coordinator *core = &seat->core;
    struct clock *clock = groups->env.clock;

    count_groups(seat, true);
    coordinator_begin(core, groups->now_ms, clock->wall_ms(clock));
    if (seat->look)
        coordinator_look(core);
    seat->look = false;
    seat_starts_take(seat);
    while (seat->first != NULL) {
        struct seat_item *it = seat->first;
        seat->first = it->next;
        act_on(seat, it);
        it->next = seat->acted;
        seat->acted = it;
    }
    forget_inbox(seat);
    coordinator_tick(core);
    coordinator_end(core);
    count_groups(seat, false);
    if (core->changes.failed) {
        log_line(LOG_ERR, "__consumer_offsets-%d: out of memory; its groups are read anew", (int)seat->index);
        load_anew(seat);
    } else if (core->changes.record_count > 0) {
        seat->written = 0;
        write_records(seat);
    } else {
        publish(seat);
    }
}

/* What is damaged will be so in half a second, too. */
static void load_later(struct seat *seat, int rc)
{
    int64_t wait_ms = rc == -EBADMSG ? seat->load_wait_ms * 2 : LOAD_AGAIN_MS;

    if (wait_ms < LOAD_AGAIN_MS)
        wait_ms = LOAD_AGAIN_MS;
    seat->load_wait_ms = wait_ms < LOAD_LATEST_MS ? wait_ms : LOAD_LATEST_MS;
    seat->load_ms = seat->groups->now_ms + seat->load_wait_ms;
}

/* All is read: the first turn brings it to what the cluster says by now. */
static void loaded(struct seat *seat)
{
    struct groups *groups = seat->groups;
    struct clock *clock = groups->env.clock;
    struct err e = {""};
    int rc = seat_load_take(seat->load, &seat->core, &e);

    seat->load = NULL;
    if (rc != 0) {
        log_failure(seat, rc, "reading it", "it is tried again", &e);
        load_later(seat, rc);
        return;
    }
    seat->load_wait_ms = 0;
    atomic_fetch_add(&groups->loads, 1);
    seat->state = SEAT_READY;
    count_groups(seat, false);
    coordinator_begin(&seat->core, groups->now_ms, clock->wall_ms(clock));
    coordinator_loaded(&seat->core);
    seat->look = true;
}

static void load(struct seat *seat)
{
    if (seat->load != NULL && seat_load_over(seat->load)) {
        loaded(seat);
    } else if (seat->load == NULL && seat->load_ms <= seat->groups->now_ms) {
        seat->load = seat_load_begin(seat);
        if (seat->load == NULL)
            seat->load_ms = seat->groups->now_ms + LOAD_AGAIN_MS;
    }
    if (seat->state == SEAT_LOADING && seat->load == NULL)
        groups_due(seat->groups, seat->load_ms);
}

/* When time has to be looked at: with nothing kept here, never. */
static int64_t due_ms(const struct seat *seat)
{
    const struct coordinator *core = &seat->core;

    if (core->groups.count == 0)
        return INT64_MAX;
    return core->tick_ms < core->changes.due_ms ? core->tick_ms : core->changes.due_ms;
}

void seat_run(struct seat *seat)
{
    if (seat->state == SEAT_WRITING && atomic_load(&seat->append_over)) {
        if (seat->append_rc == 0)
            write_records(seat);
        else
            written(seat, seat->append_rc, NULL);
        seat_look(seat); /* what it was told meanwhile */
    }
    if (seat->state == SEAT_STALLED) {
        groups_due(seat->groups, seat->retry_ms);
        if (seat->retry_ms <= seat->groups->now_ms)
            write_records(seat);
    }
    if (seat->state == SEAT_LOADING)
        load(seat);
    if (seat->state != SEAT_READY)
        return;
    if (!has_lease(seat)) {
        groups_due(seat->groups, seat->groups->now_ms + LEASE_AGAIN_MS);
        return;
    }
    if (seat->first != NULL || seat->look || seat->finds != NULL || due_ms(seat) <= seat->groups->now_ms)
        act(seat);
    if (seat->state == SEAT_READY)
        groups_due(seat->groups, due_ms(seat));
}

void seat_free(struct seat *seat)
{
    if (seat->state == SEAT_WRITING) {
        assert(atomic_load(&seat->append_over));
        seat->state = SEAT_STALLED;
    }
    leave(seat);
    assert(seat->finds == NULL);
}
