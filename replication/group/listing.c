/* replication/group/listing.c: rows, and each one's look at its partition.
 *
 *     STATUS --- how far it reaches ---> FIND --- where the first uncommitted record is ---> RUN --- its time ---> OVER
 *        |                                ^ only where there is one
 *        +--- nothing is uncommitted, or it did not answer ---------------------------------------------------------^
 */
#include "replication/group/listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/container.h"
#include "replication/group/groups_internal.h"
#include "replication/replica/partition_read.h"

enum look_state { LOOK_STATUS, LOOK_FIND, LOOK_RUN, LOOK_OVER };

struct group_look {
    struct group_listing *listing;
    struct group_line *line;
    struct partition *part; /* referenced; NULL: there is none any more */
    enum look_state state;
    struct read_op read;
    int64_t from; /* the first offset that is not committed */
};

static void over(struct group_listing *listing)
{
    if (atomic_fetch_sub(&listing->left, 1) == 1)
        listing->done(listing, 0);
}

static void tick(struct group_look *look, int rc);

static void on_read(struct read_op *op, int rc)
{
    tick(CONTAINER_OF(op, struct group_look, read), rc);
}

/* 1: answered; 0: tick() will be called; or a negative errno. */
static int ask(struct group_look *look, enum read_kind kind, int64_t at)
{
    look->read = (struct read_op){.part = look->part,
                                  .kind = kind,
                                  .at = at,
                                  .limit = INT64_MAX,
                                  .max = 1,
                                  .timeout_ms = look->listing->op.timeout_ms,
                                  .done = on_read};
    return partition_read_submit(&look->read);
}

/* How far it reaches, as of now or as heard last. Returns whether something is uncommitted. */
static bool take_status(struct group_look *look)
{
    struct group_line *line = look->line;
    int64_t start = partition_log_start(look->part).offset, committed = line->row->committed;

    line->end = partition_high_watermark(look->part).offset;
    look->from = committed > start ? committed : start;
    line->lag = line->end > look->from ? line->end - look->from : 0;
    line->lost = committed != GROUP_OFFSET_NONE && start > committed ? start - committed : 0;
    line->lag_ms = line->lag == 0 ? 0 : -1;
    return line->lag > 0;
}

static void take_run(struct group_look *look)
{
    struct clock *clock = look->listing->op.groups->env.clock;
    int64_t age_ms = clock->wall_ms(clock) - look->read.run.timestamp_ms;

    look->line->lag_ms = age_ms > 0 ? age_ms : 0;
}

/* An answer: the next state, with what to ask in it (*at). */
static enum look_state go_on(struct group_look *look, int rc, int64_t *at)
{
    switch (look->state) {
    case LOOK_STATUS:
        if (rc < 0 && !partition_is_known(look->part))
            return LOOK_OVER;
        if (!take_status(look))
            return LOOK_OVER;
        *at = look->from;
        return LOOK_FIND;
    case LOOK_FIND:
        if (rc < 0)
            return LOOK_OVER;
        *at = look->read.point.position;
        return LOOK_RUN;
    case LOOK_RUN:
        if (rc >= 0 && look->read.found)
            take_run(look);
        return LOOK_OVER;
    case LOOK_OVER:
        break;
    }
    return LOOK_OVER;
}

/* rc: of what was asked in this state. */
static void tick(struct group_look *look, int rc)
{
    static const enum read_kind kinds[] = {
        [LOOK_STATUS] = READ_STATUS, [LOOK_FIND] = FIND_OFFSET, [LOOK_RUN] = READ_RUN};
    struct group_listing *listing = look->listing;
    int64_t at = 0;

    do {
        look->state = go_on(look, rc, &at);
        if (look->state == LOOK_OVER) {
            over(listing);
            return;
        }
        rc = ask(look, kinds[look->state], at);
    } while (rc != 0);
}

/* ---- all of them ---- */

enum { LOOKS_AT_ONCE = 16 };

static void begin(struct group_look *look)
{
    if (look->part == NULL || atomic_load(&look->listing->unwanted)) {
        over(look->listing);
        return;
    }
    int rc = ask(look, READ_STATUS, 0);
    if (rc != 0)
        tick(look, rc);
}

static void make_look(struct group_listing *listing, size_t i)
{
    struct group_env *env = &listing->op.groups->env;
    const struct group_row *row = &listing->op.rows[i];
    struct group_look *look = &listing->looks[i];
    uint8_t id[UUID_BYTES];

    listing->lines[i] = (struct group_line){.row = row, .end = -1, .lag = -1, .lag_ms = -1, .lost = -1};
    look->listing = listing;
    look->line = &listing->lines[i];
    if (env->topic_named(env->facts.arg, row->topic, id) == 0)
        look->part = env->partition(env->facts.arg, id, row->partition);
}

/* Begins the next ones; behind what waits by then, those after them. */
static void look_on(struct work *work)
{
    struct group_listing *listing = CONTAINER_OF(work, struct group_listing, work);
    size_t count = listing->op.row_count;

    for (size_t i = 0; i < LOOKS_AT_ONCE && listing->begun < count; i++)
        begin(&listing->looks[listing->begun++]);
    if (listing->begun < count)
        executor_prompt(listing->op.groups->env.executor, &listing->work);
    else
        over(listing);
}

static void take_rows(struct work *work)
{
    struct group_listing *listing = CONTAINER_OF(work, struct group_listing, work);
    size_t count = listing->op.row_count;
    int rc = listing->rc;

    listing->lines = rc == 0 ? calloc(count + 1, sizeof *listing->lines) : NULL;
    listing->looks = rc == 0 ? calloc(count + 1, sizeof *listing->looks) : NULL;
    if (listing->lines == NULL || listing->looks == NULL) {
        listing->done(listing, rc == 0 ? -ENOMEM : rc);
        return;
    }
    for (size_t i = 0; i < count; i++)
        make_look(listing, i);
    atomic_store(&listing->left, count + 1);
    listing->begun = 0;
    listing->work.run = look_on;
    look_on(work);
}

/* Within a turn of the room's, which touches no partition. */
static void on_rows(struct group_op *op, int rc)
{
    struct group_listing *listing = CONTAINER_OF(op, struct group_listing, op);

    listing->rc = rc;
    listing->work.run = take_rows;
    executor_prompt(op->groups->env.executor, &listing->work);
}

int group_listing_submit(struct group_listing *listing)
{
    listing->op.done = on_rows;
    return group_op_submit(&listing->op);
}

bool group_listing_cancel(struct group_listing *listing)
{
    atomic_store(&listing->unwanted, true);
    return group_op_cancel(&listing->op);
}

void group_listing_free(struct group_listing *listing)
{
    for (size_t i = 0; listing->looks != NULL && i < listing->op.row_count; i++) {
        if (listing->looks[i].part != NULL)
            partition_unref(listing->looks[i].part);
    }
    free(listing->looks);
    free(listing->lines);
    listing->looks = NULL;
    listing->lines = NULL;
    group_op_free(&listing->op);
}
