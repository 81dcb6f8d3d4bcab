/* replication/replica/forwarder.c: one list in the order of the sequences, and what of it is under way.
 *
 * Why no batch is appended twice, and none before an earlier one of the same producer:
 *   1. A log takes a sequence that goes on where its producer's last one ended; a lower one is a duplicate
 *      (producers.h). So no sequence is taken twice.
 *   2. One that leaves some out is taken only when all that it leaves out lies in the gap that it was sent with, and so
 *      is the first one of a producer of which a log knows nothing, where it leaves out all before it.
 *   3. The gap is that to the batch before it in the list, as the list is when the request is made. So what lies in it
 *      is over on this side: nobody waits for that, and coming later it is a duplicate by 1. */
#include "replication/replica/forwarder.h"

#include <assert.h>
#include <errno.h>

void forwarder_init(struct forwarder *forwarder)
{
    *forwarder = (struct forwarder){.leader = FORWARD_NOBODY, .leader_epoch = -1, .next_request = 1};
}

/* ---- the list ---- */

/* In front of `next`; NULL: behind all. */
static void insert(struct forwarder *forwarder, struct forward *forward, struct forward *next)
{
    forward->state = FORWARD_WAITING;
    forward->rc = 0;
    forward->request = 0;
    forward->behind = 0;
    forward->gap = 0;
    forward->next = next;
    forward->prev = next != NULL ? next->prev : forwarder->last;
    *(forward->prev != NULL ? &forward->prev->next : &forwarder->first) = forward;
    *(next != NULL ? &next->prev : &forwarder->last) = forward;
    forwarder->count++;
}

static struct forward *take(struct forwarder *forwarder, struct forward *forward, int rc)
{
    *(forward->prev != NULL ? &forward->prev->next : &forwarder->first) = forward->next;
    *(forward->next != NULL ? &forward->next->prev : &forwarder->last) = forward->prev;
    forward->prev = NULL;
    forward->next = NULL;
    forward->state = FORWARD_OVER;
    forward->rc = rc;
    forwarder->count--;
    return forward;
}

void forwarder_add(struct forwarder *forwarder, struct forward *forward)
{
    forward->sequence = FORWARD_UNNUMBERED;
    forward->in_doubt = false;
    insert(forwarder, forward, NULL);
}

/* Of two numbers, which go round: the one from which the other is less than half of the circle ahead. */
static bool comes_before(int32_t sequence, int32_t other)
{
    uint32_t ahead = ((uint32_t)other - (uint32_t)sequence) & INT32_MAX;

    return ahead > 0 && ahead <= INT32_MAX / 2;
}

void forwarder_add_numbered(struct forwarder *forwarder, struct forward *forward, int32_t sequence)
{
    struct forward *next = forwarder->first;

    assert(sequence >= 0);
    forward->sequence = sequence;
    forward->in_doubt = true;
    while (next != NULL && next->sequence != FORWARD_UNNUMBERED && comes_before(next->sequence, sequence)) {
        next = next->next;
    }
    insert(forwarder, forward, next);
}

static int32_t sequence_add(int32_t sequence, uint32_t records)
{
    return (int32_t)(((uint32_t)sequence + records) & INT32_MAX);
}

int32_t forwarder_take_sequence(struct forwarder *forwarder, uint32_t records)
{
    int32_t sequence = forwarder->next_sequence;

    forwarder->next_sequence = sequence_add(sequence, records);
    return sequence;
}

bool forwarder_idle(const struct forwarder *forwarder)
{
    return forwarder->first == NULL;
}

/* ---- requests ---- */

static struct forward_request_state *find_request(struct forwarder *forwarder, uint64_t number)
{
    for (int i = 0; i < LIMIT_FORWARD_REQUESTS; i++) {
        if (forwarder->requests[i].number == number) {
            return &forwarder->requests[i];
        }
    }
    return NULL;
}

/* How many numbers right before a batch's own are over. */
static uint32_t gap_before(const struct forward *forward)
{
    const struct forward *before = forward->prev;

    if (before == NULL) {
        return FORWARD_GAP_ALL;
    }
    return ((uint32_t)forward->sequence - (uint32_t)sequence_add(before->sequence, before->records)) & INT32_MAX;
}

/* Whether a batch that waits may go into the request with this number. Out of order it was refused because the one
 * before it was not in the log: that one has to be sent again, or be over. */
static bool may_go(const struct forward *forward, uint64_t number)
{
    const struct forward *before = forward->prev;

    return forward->behind == 0 || gap_before(forward) != forward->gap || before->request == number ||
           (before->state == FORWARD_SENT && before->request >= forward->behind);
}

static void put(struct forwarder *forwarder, struct forward_request *out, struct forward *forward)
{
    if (forward->sequence == FORWARD_UNNUMBERED) {
        forward->sequence = forwarder_take_sequence(forwarder, forward->records);
    }
    forward->gap = gap_before(forward);
    forward->behind = 0;
    forward->state = FORWARD_SENT;
    forward->request = out->number;
    out->batches[out->count++] = forward;
    out->bytes += forward->bytes;
}

bool forwarder_next(struct forwarder *forwarder, struct forward_request *out)
{
    struct forward_request_state *unused = find_request(forwarder, 0);

    if (forwarder->leader == FORWARD_NOBODY || forwarder->link == 0 || forwarder->paused || unused == NULL) {
        return false;
    }
    out->number = forwarder->next_request;
    out->count = 0;
    out->bytes = 0;
    for (struct forward *forward = forwarder->first; forward != NULL; forward = forward->next) {
        if (forward->state == FORWARD_SENT) {
            continue;
        }
        /* None overtakes one that waits. */
        if (out->count == LIMIT_FORWARD_BATCHES ||
            (out->count > 0 && out->bytes + forward->bytes > LIMIT_FORWARD_BYTES) || !may_go(forward, out->number)) {
            break;
        }
        put(forwarder, out, forward);
    }
    if (out->count == 0) {
        return false;
    }
    forwarder->next_request++;
    *unused = (struct forward_request_state){.number = out->number, .left = out->count};
    return true;
}

void forwarder_pause(struct forwarder *forwarder)
{
    forwarder->paused = true;
}

void forwarder_unsent(struct forwarder *forwarder, const struct forward_request *request)
{
    struct forward_request_state *state = find_request(forwarder, request->number);

    assert(state != NULL);
    state->number = 0;
    for (int i = 0; i < request->count; i++) {
        request->batches[i]->state = FORWARD_WAITING;
    }
    forwarder->paused = true;
}

/* ---- what happens ---- */

/* Nobody will answer what is under way. */
static void doubt(struct forwarder *forwarder)
{
    for (int i = 0; i < LIMIT_FORWARD_REQUESTS; i++) {
        forwarder->requests[i].number = 0;
    }
    for (struct forward *forward = forwarder->first; forward != NULL; forward = forward->next) {
        if (forward->state == FORWARD_SENT) {
            forward->state = FORWARD_WAITING;
            forward->in_doubt = true;
        }
        forward->behind = 0;
    }
}

void forwarder_set_leader(struct forwarder *forwarder, int32_t leader, int32_t leader_epoch, uint64_t link)
{
    if (leader == forwarder->leader && leader_epoch == forwarder->leader_epoch && link == forwarder->link) {
        return;
    }
    doubt(forwarder);
    forwarder->leader = leader;
    forwarder->leader_epoch = leader_epoch;
    forwarder->link = link;
    forwarder->paused = false;
    forwarder->failing = forwarder->failing && !(leader != FORWARD_NOBODY && link != 0);
}

void forwarder_go_on(struct forwarder *forwarder)
{
    forwarder->paused = false;
}

static struct forward *find_sent(struct forwarder *forwarder, uint64_t request, int32_t sequence)
{
    struct forward *forward = forwarder->first;

    while (forward != NULL &&
           (forward->state != FORWARD_SENT || forward->request != request || forward->sequence != sequence)) {
        forward = forward->next;
    }
    return forward;
}

static void send_again(struct forwarder *forwarder, struct forward *forward, enum forward_answer answer)
{
    forward->state = FORWARD_WAITING;
    if (answer == FORWARD_OUT_OF_ORDER && forward->prev != NULL) {
        forward->behind = forwarder->next_request;
        return;
    }
    forward->in_doubt = forward->in_doubt || answer == FORWARD_LOST;
    forwarder->paused = true;
}

struct forward *forwarder_answer(struct forwarder *forwarder, uint64_t request, int32_t sequence,
                                 enum forward_answer answer, int rc)
{
    struct forward_request_state *state = request != 0 ? find_request(forwarder, request) : NULL;
    struct forward *forward;

    if (state == NULL) {
        return NULL; /* of a link or a leader that is no more */
    }
    if (--state->left == 0) {
        state->number = 0;
    }
    forwarder->failing = false;
    forward = find_sent(forwarder, request, sequence);
    if (forward == NULL) {
        return NULL;
    }
    switch (answer) {
    case FORWARD_APPENDED:
        return take(forwarder, forward, 0);
    case FORWARD_REFUSED:
        /* By this leader. Where an earlier one may have it in its log, that may come to lead once more. */
        return take(forwarder, forward, forward->in_doubt ? -ETIMEDOUT : rc);
    case FORWARD_UNDECIDED:
        return take(forwarder, forward, -ETIMEDOUT);
    case FORWARD_OUT_OF_ORDER:
    case FORWARD_LATER:
    case FORWARD_LOST:
        break;
    }
    send_again(forwarder, forward, answer);
    return NULL;
}

/* ---- ends ---- */

/* REPLICATION.md, rule 36: EROFS is certain. */
static int expired_rc(const struct forward *forward)
{
    return forward->state == FORWARD_SENT || forward->in_doubt ? -ETIMEDOUT : -EROFS;
}

struct forward *forwarder_expire(struct forwarder *forwarder, int64_t now_ms)
{
    struct forward *expired = NULL, **last = &expired, *forward, *next;

    for (forward = forwarder->first; forward != NULL; forward = next) {
        next = forward->next;
        if (forward->deadline_ms > now_ms) {
            continue;
        }
        /* A leader that answers is one that may be asked again. */
        forwarder->failing = forwarder->failing || !forwarder->paused;
        *last = take(forwarder, forward, expired_rc(forward));
        last = &forward->next;
    }
    return expired;
}

/* The topic is deleted, with all that is in a log: nothing is in doubt. */
static int failed_rc(const struct forward *forward, int rc)
{
    return rc != -ESTALE && expired_rc(forward) == -ETIMEDOUT ? -ETIMEDOUT : rc;
}

struct forward *forwarder_fail(struct forwarder *forwarder, int rc)
{
    struct forward *all = forwarder->first;

    for (struct forward *forward = all; forward != NULL; forward = forward->next) {
        forward->rc = failed_rc(forward, rc);
        forward->state = FORWARD_OVER;
        forward->prev = NULL;
    }
    forwarder->first = NULL;
    forwarder->last = NULL;
    forwarder->count = 0;
    return all;
}

int64_t forwarder_deadline(const struct forwarder *forwarder)
{
    int64_t earliest_ms = INT64_MAX;

    for (const struct forward *forward = forwarder->first; forward != NULL; forward = forward->next) {
        earliest_ms = forward->deadline_ms < earliest_ms ? forward->deadline_ms : earliest_ms;
    }
    return earliest_ms;
}

bool forwarder_cancel(struct forwarder *forwarder, struct forward *forward)
{
    if (forward->state != FORWARD_WAITING || forward->in_doubt) {
        return false;
    }
    (void)take(forwarder, forward, -EINTR);
    return true;
}

bool forwarder_forget(struct forwarder *forwarder, struct forward *forward)
{
    if (forward->state == FORWARD_OVER) {
        return false;
    }
    (void)take(forwarder, forward, -ETIMEDOUT);
    return true;
}
