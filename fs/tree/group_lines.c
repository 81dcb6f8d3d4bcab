#include "fs/tree/group_lines.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/container.h"
#include "fs/base/limits.h"

static const struct group_lines none;

struct lines_call {
    struct park park;
    struct group_listing listing;
    struct work work; /* making the text is not for the turn that brought the answer */
    int rc;
    struct group_lines_use use;
    void (*then)(fuse_req_t req, const struct group_lines_use *use, const struct group_lines *lines, int rc);
};

static void over(struct lines_call *call, int rc)
{
    struct group_lines lines = {.all = call->listing.lines, .count = call->listing.op.row_count};

    park_answer(&call->park);
    call->then(call->park.req, &call->use, rc == 0 ? &lines : &none, rc);
    park_unref(&call->park);
}

static void on_work(struct work *work)
{
    struct lines_call *call = CONTAINER_OF(work, struct lines_call, work);

    over(call, call->rc);
}

static void on_done(struct group_listing *listing, int rc)
{
    struct lines_call *call = CONTAINER_OF(listing, struct lines_call, listing);

    call->rc = rc;
    call->work.run = on_work;
    executor_prompt(node_executor(session_of(call->park.req)->node), &call->work);
}

static bool call_cancel(struct park *park)
{
    return group_listing_cancel(&CONTAINER_OF(park, struct lines_call, park)->listing);
}

static void call_aborted(struct park *park, int rc)
{
    fuse_reply_err(park->req, -rc);
}

static void call_free(struct park *park)
{
    struct lines_call *call = CONTAINER_OF(park, struct lines_call, park);

    group_listing_free(&call->listing);
    free(call);
}

static struct lines_call *call_new(fuse_req_t req)
{
    struct lines_call *call = calloc(1, sizeof *call);

    if (call == NULL)
        return NULL;
    call->listing.op.groups = node_group_room(session_of(req)->node);
    call->listing.op.ask = GROUP_ASK_ALL;
    call->listing.op.partition = -1;
    call->listing.op.timeout_ms = LIMIT_GROUP_ANSWER_MS;
    call->listing.done = on_done;
    call->park.fatal_only = true;
    call->park.cancel = call_cancel;
    call->park.aborted = call_aborted;
    call->park.free = call_free;
    return call;
}

void group_lines_ask(fuse_req_t req, const struct group_lines_use *use,
                     void (*then)(fuse_req_t req, const struct group_lines_use *use, const struct group_lines *lines,
                                  int rc))
{
    bool groups = node_group_count(session_of(req)->node) > 0;
    struct lines_call *call = groups ? call_new(req) : NULL;
    int rc;

    if (call == NULL) {
        then(req, use, &none, groups ? -ENOMEM : 0);
        return;
    }
    call->use = *use;
    call->then = then;
    park_begin(&call->park, session_of(req), req);
    rc = group_listing_submit(&call->listing);
    if (rc != 0)
        over(call, rc);
    park_settle(&call->park);
}

/* ---- as text ---- */

static void number_or_dash(FILE *out, int64_t number, bool known)
{
    if (known)
        fprintf(out, " %" PRId64, number);
    else
        fputs(" -", out);
}

static void text_or_dash(FILE *out, const char *text)
{
    fprintf(out, " %s", text[0] != '\0' ? text : "-");
}

void group_lines_write(const struct group_lines *lines, FILE *out)
{
    fputs("group topic partition committed end lag lag_ms lost member host pid\n", out);
    for (size_t i = 0; i < lines->count; i++) {
        const struct group_line *line = &lines->all[i];
        const struct group_row *row = line->row;
        fprintf(out, "%s %s %" PRId32, row->group, row->topic, row->partition);
        number_or_dash(out, row->committed, row->committed != GROUP_OFFSET_NONE);
        number_or_dash(out, line->end, line->end >= 0);
        number_or_dash(out, line->lag, line->lag >= 0);
        number_or_dash(out, line->lag_ms, line->lag_ms >= 0);
        number_or_dash(out, line->lost, line->lost >= 0 && row->committed != GROUP_OFFSET_NONE);
        text_or_dash(out, row->member);
        text_or_dash(out, row->host);
        number_or_dash(out, row->pid, row->member[0] != '\0');
        fputc('\n', out);
    }
}

static void metric_of(FILE *out, const char *name, const struct group_row *row, int64_t value)
{
    fprintf(out, "logmnt_%s{group=\"%s\",topic=\"%s\",partition=\"%" PRId32 "\"} %" PRId64 "\n", name, row->group,
            row->topic, row->partition, value);
}

void group_lines_metrics(const struct group_lines *lines, FILE *out)
{
    fputs("# HELP logmnt_group_lag Records that a group has not committed.\n# TYPE logmnt_group_lag gauge\n", out);
    for (size_t i = 0; i < lines->count; i++) {
        if (lines->all[i].lag >= 0)
            metric_of(out, "group_lag", lines->all[i].row, lines->all[i].lag);
    }
    fputs("# HELP logmnt_group_lag_ms Age of the oldest record that a group has not committed.\n"
          "# TYPE logmnt_group_lag_ms gauge\n",
          out);
    for (size_t i = 0; i < lines->count; i++) {
        if (lines->all[i].lag_ms >= 0)
            metric_of(out, "group_lag_ms", lines->all[i].row, lines->all[i].lag_ms);
    }
}
