/* The forwarder against toy leaders over a network that loses, from seeds. What it promises is looked at at the end:
 * what was acknowledged is in the log once, what failed for certain is not, and all of it is in the order of its
 * submission. The same with the log's checks left out, one at a time, has to be found. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/container.h"
#include "engine/log/producers.h"
#include "replication/replica/forwarder.h"

enum { SEEDS = 2000, NODES = 3, APPENDS = 120, LOG_MAX = 4000, WIRE_MAX = 4096, STEPS = 1500, SELF = 9 };

/* What the toy leader leaves out. */
enum bug { BUG_NONE, BUG_TAKES_DUPLICATES, BUG_TAKES_GAPS, BUG_TAKES_ANY_FIRST, BUGS };

struct entry {
    int id; /* of the append */
    int32_t sequence;
    uint32_t records;
};

struct log {
    struct entry entries[LOG_MAX];
    int count;
};

struct append {
    struct forward forward;
    enum { NEW, UNDER_WAY, ENDED } state;
    int rc;
};

/* One batch or one answer on the way; those of one request have its number. */
struct packet {
    bool answer;
    int node;
    int32_t epoch;
    uint64_t request;
    struct entry entry;
    uint32_t gap;
    enum forward_answer what;
    int rc;
};

struct world {
    uint64_t random;
    enum bug bug;
    struct forwarder forwarder;
    struct append appends[APPENDS];
    int submitted;
    int64_t now_ms;
    struct log logs[NODES];
    int leader; /* node */
    int32_t epoch;
    bool up;
    int committed;                /* entries of the leader's log that no later leader lacks */
    struct packet wire[WIRE_MAX]; /* to and from the node that the sender takes for the leader, in order */
    int wire_count;
    struct packet parked[WIRE_MAX]; /* in the leader's log, not yet committed: answered then */
    int parked_count;
};

static uint32_t below(struct world *w, uint32_t n)
{
    uint64_t z = (w->random += 0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (uint32_t)((z ^ (z >> 31)) % n);
}

/* ---- a leader ---- */

static void learn(const struct log *log, struct producers *known)
{
    *known = (struct producers){0};
    for (int i = 0; i < log->count; i++) {
        const struct batch_entry b = {
            .producer_id = 1, .sequence = log->entries[i].sequence, .records = log->entries[i].records};

        assert_int_equal(producers_reserve(known, 1), 0);
        producers_note(known, &b, i, 0);
    }
}

/* Whether the log takes it. As log_append() does, but for the bug. */
static enum forward_answer judge(const struct world *w, const struct log *log, const struct packet *packet,
                                 bool *duplicate)
{
    struct producers known;
    enum producer_verdict verdict;
    uint32_t missing;

    learn(log, &known);
    verdict = producers_judge(&known, 1, 0, packet->entry.sequence);
    missing = producers_missing(&known, 1, 0, packet->entry.sequence);
    producers_free(&known);
    *duplicate = verdict == PRODUCER_DUPLICATE && w->bug != BUG_TAKES_DUPLICATES;
    if (verdict == PRODUCER_UNKNOWN && missing > packet->gap && w->bug != BUG_TAKES_ANY_FIRST) {
        return FORWARD_OUT_OF_ORDER;
    }
    if (verdict == PRODUCER_GAP && missing > packet->gap && w->bug != BUG_TAKES_GAPS) {
        return FORWARD_OUT_OF_ORDER;
    }
    return FORWARD_APPENDED;
}

static void answer(struct world *w, struct packet packet, enum forward_answer what, int rc)
{
    packet.answer = true;
    packet.what = what;
    packet.rc = rc;
    assert_true(w->wire_count < WIRE_MAX);
    w->wire[w->wire_count++] = packet;
}

static void receive(struct world *w, const struct packet *packet)
{
    struct log *log = &w->logs[packet->node];
    enum forward_answer what;
    bool duplicate;

    if (packet->node != w->leader || packet->epoch != w->epoch || below(w, 12) == 0) {
        answer(w, *packet, FORWARD_LATER, 0);
        return;
    }
    if (below(w, 12) == 0) {
        answer(w, *packet, FORWARD_REFUSED, -ENOSPC);
        return;
    }
    what = judge(w, log, packet, &duplicate);
    if (what != FORWARD_APPENDED) {
        answer(w, *packet, what, 0);
        return;
    }
    if (!duplicate) {
        assert_true(log->count < LOG_MAX);
        log->entries[log->count++] = packet->entry;
    }
    assert_true(w->parked_count < WIRE_MAX);
    w->parked[w->parked_count++] = *packet;
}

/* All that is in the log is on the other nodes. */
static void commit(struct world *w)
{
    w->committed = w->logs[w->leader].count;
    for (int i = 0; i < w->parked_count; i++) {
        answer(w, w->parked[i], FORWARD_APPENDED, 0);
    }
    w->parked_count = 0;
}

static void tell_leader(struct world *w)
{
    forwarder_set_leader(&w->forwarder, w->leader, w->epoch, w->up);
}

/* Another leads: all have what was committed, and nobody knows what else. */
static void elect(struct world *w)
{
    const struct log *old = &w->logs[w->leader];
    int next = (int)below(w, NODES);
    int kept = w->committed + (int)below(w, (uint32_t)(old->count - w->committed + 1));
    struct log log = *old;

    log.count = kept;
    for (int i = 0; i < NODES; i++) {
        w->logs[i] = log;
    }
    w->leader = next;
    w->epoch++;
    w->committed = kept;
    w->parked_count = 0;
    w->wire_count = 0;
    tell_leader(w);
}

/* ---- the sender ---- */

static void end(struct world *w, struct forward *forward)
{
    while (forward != NULL) {
        struct append *append = CONTAINER_OF(forward, struct append, forward);
        struct forward *next = forward->next;

        forward->next = NULL;
        append->state = ENDED;
        append->rc = forward->rc;
        forward = next;
    }
    (void)w;
}

static void submit(struct world *w)
{
    struct append *append = &w->appends[w->submitted];

    if (w->submitted == APPENDS || w->forwarder.failing) {
        return;
    }
    append->forward = (struct forward){.records = 1 + below(w, 3), .bytes = 1 + below(w, LIMIT_FORWARD_BYTES / 2)};
    append->forward.deadline_ms = w->now_ms + 20 + below(w, 300);
    append->state = UNDER_WAY;
    w->submitted++;
    forwarder_add(&w->forwarder, &append->forward);
}

static void send_all(struct world *w)
{
    struct forward_request request;

    while (forwarder_next(&w->forwarder, &request)) {
        if (below(w, 30) == 0) {
            forwarder_unsent(&w->forwarder, &request);
            return;
        }
        for (int i = 0; i < request.count; i++) {
            const struct forward *forward = request.batches[i];
            int id = (int)(CONTAINER_OF(forward, const struct append, forward) - w->appends);

            assert_true(w->wire_count < WIRE_MAX);
            w->wire[w->wire_count++] = (struct packet){.node = w->forwarder.leader,
                                                       .epoch = w->forwarder.leader_epoch,
                                                       .request = request.number,
                                                       .entry = {id, forward->sequence, forward->records},
                                                       .gap = forward->gap};
        }
    }
}

/* The first packet arrives. */
static void deliver(struct world *w)
{
    struct packet packet;

    if (w->wire_count == 0) {
        return;
    }
    packet = w->wire[0];
    memmove(w->wire, w->wire + 1, (size_t)--w->wire_count * sizeof packet);
    if (packet.answer) {
        end(w, forwarder_answer(&w->forwarder, packet.request, packet.entry.sequence, packet.what, packet.rc));
    } else {
        receive(w, &packet);
    }
}

/* The link ends: of what was under way the first ones have arrived, and no answer to any. */
static void lose_link(struct world *w)
{
    int arrived = w->wire_count > 0 ? (int)below(w, (uint32_t)w->wire_count + 1) : 0;

    for (int i = 0; i < arrived; i++) {
        if (!w->wire[i].answer) {
            struct packet packet = w->wire[i];

            receive(w, &packet);
        }
    }
    w->wire_count = 0;
    w->parked_count = 0;
    w->up = false;
    tell_leader(w);
}

static void step(struct world *w)
{
    switch (below(w, 24)) {
    case 0:
        lose_link(w);
        break;
    case 1:
        elect(w);
        break;
    case 2:
    case 3:
        w->up = true;
        tell_leader(w);
        break;
    case 4:
    case 5:
        commit(w);
        break;
    case 6:
        w->now_ms += below(w, 60);
        end(w, forwarder_expire(&w->forwarder, w->now_ms));
        break;
    case 7:
    case 8:
        forwarder_go_on(&w->forwarder);
        break;
    case 9: {
        struct append *append = &w->appends[below(w, APPENDS)];

        if (append->state == UNDER_WAY && forwarder_cancel(&w->forwarder, &append->forward)) {
            append->state = ENDED;
            append->rc = -EINTR;
        }
        break;
    }
    case 10:
    case 11:
    case 12:
        submit(w);
        break;
    default:
        deliver(w);
    }
    if (below(w, 3) > 0) {
        send_all(w);
    }
}

/* All faults end: what is left is answered. */
static bool come_to_rest(struct world *w)
{
    w->up = true;
    tell_leader(w);
    for (int i = 0; i < STEPS && !forwarder_idle(&w->forwarder); i++) {
        forwarder_go_on(&w->forwarder);
        send_all(w);
        deliver(w);
        if (w->wire_count == 0) {
            commit(w);
        }
    }
    return forwarder_idle(&w->forwarder);
}

/* What is wrong; NULL: nothing. */
static const char *look(const struct world *w)
{
    const struct log *log = &w->logs[w->leader];
    int times[APPENDS] = {0};
    int last = -1;

    for (int i = 0; i < log->count; i++) {
        int id = log->entries[i].id;

        if (++times[id] > 1) {
            return "a batch twice";
        }
        if (id < last) {
            return "two batches in another order";
        }
        last = id;
    }
    for (int i = 0; i < w->submitted; i++) {
        const struct append *append = &w->appends[i];

        if (append->rc == 0 && times[i] == 0) {
            return "an acknowledged batch is not there";
        }
        if (append->rc != 0 && append->rc != -ETIMEDOUT && times[i] > 0) {
            return "a batch that failed for certain is there";
        }
    }
    return NULL;
}

static const char *run(struct world *w, uint64_t seed, enum bug bug)
{
    memset(w, 0, sizeof *w);
    w->random = seed * 0x2545f4914f6cdd1d + 1;
    w->bug = bug;
    w->up = true;
    forwarder_init(&w->forwarder);
    if (below(w, 3) == 0) {
        w->forwarder.next_sequence = INT32_MAX - (int32_t)below(w, 100);
    }
    tell_leader(w);
    for (int i = 0; i < STEPS; i++) {
        step(w);
    }
    if (!come_to_rest(w)) {
        return "it does not come to rest";
    }
    return look(w);
}

static void nothing_twice_nothing_lost_all_in_order(void **state)
{
    struct world *w = *state;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        const char *wrong = run(w, seed, BUG_NONE);

        if (wrong != NULL) {
            fail_msg("seed %d: %s", (int)seed, wrong);
        }
    }
}

static void each_check_is_needed(void **state)
{
    struct world *w = *state;

    for (enum bug bug = BUG_NONE + 1; bug < BUGS; bug++) {
        const char *wrong = NULL;
        uint64_t seed = 0;

        while (wrong == NULL && seed < SEEDS) {
            wrong = run(w, ++seed, bug);
        }
        if (wrong == NULL) {
            fail_msg("without check %d nothing is found in %d seeds", (int)bug, SEEDS);
        }
        print_message("without check %d: seed %d, %s\n", (int)bug, (int)seed, wrong);
    }
}

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct world));
    return *state == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_twice_nothing_lost_all_in_order),
        cmocka_unit_test(each_check_is_needed),
    };

    return cmocka_run_group_tests_name("forwarder, from seeds", tests, setup, teardown);
}
