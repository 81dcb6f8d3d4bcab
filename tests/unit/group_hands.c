#include "tests/unit/group_hands.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "replication/group/groups_internal.h"

static bool loses_requests, loses_answers;
static int (*send_through)(void *arg, int32_t to, enum message_kind kind, const void *header, size_t header_bytes,
                           const void *body, size_t body_bytes);

static int send_or_not(void *arg, int32_t to, enum message_kind kind, const void *header, size_t header_bytes,
                       const void *body, size_t body_bytes)
{
    bool lost = (loses_requests && kind == MESSAGE_GROUP_REQUEST) || (loses_answers && kind == MESSAGE_GROUP_ANSWER);
    return lost ? 0 : send_through(arg, to, kind, header, header_bytes, body, body_bytes);
}

void group_hands_lose(struct groups *groups, bool requests, bool answers)
{
    if (groups->env.send != send_or_not) {
        send_through = groups->env.send;
        groups->env.send = send_or_not;
    }
    loses_requests = requests;
    loses_answers = answers;
}

static struct seat *seat_of(struct groups *groups, const char *group)
{
    return &groups->seats[group_index(group)];
}

size_t group_hands_readers(struct groups *groups, const char *group)
{
    return seat_of(groups, group)->core.readers.count;
}

bool group_hands_stalled(struct groups *groups, const char *group)
{
    return seat_of(groups, group)->state == SEAT_STALLED;
}

int64_t group_hands_unheard_ms(struct groups *groups, const char *group)
{
    return groups_now_ms(groups) - atomic_load(&groups->heard_ms[group_index(group)]);
}

static void on_reset(struct group_op *op, int rc)
{
    (void)op, (void)rc;
}

void group_hands_reset(struct groups *groups, struct group_op *op)
{
    *op = (struct group_op){.groups = groups,
                            .ask = GROUP_RESET,
                            .group = "kitchen",
                            .topic = "orders",
                            .timeout_ms = 1000,
                            .done = on_reset};
    assert_int_equal(group_op_submit(op), 0);
}
