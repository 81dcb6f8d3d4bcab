/* Which member gets which partition: the cases of Kafka's RangeAssignorTest, RoundRobinAssignorTest and
 * AbstractStickyAssignorTest, with their outcomes as facts, and what interface.md promises of sticky. */
#include "replication/group/assignor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 64 };

/* A group: topics with owners, members with what they read. */
struct story {
    struct assign_topic topics[MOST];
    int32_t owners[MOST][256];
    struct assign_member members[MOST];
    int32_t reads[MOST][MOST];
    size_t topic_count, member_count;
};

static void topic(struct story *s, int32_t partitions)
{
    size_t t = s->topic_count++;
    s->topics[t] = (struct assign_topic){.partitions = partitions, .owners = s->owners[t]};
    for (int32_t p = 0; p < partitions; p++)
        s->owners[t][p] = -1;
}

/* The topics that it reads; -1 ends them. */
static void member(struct story *s, ...)
{
    va_list args;
    size_t m = s->member_count++, count = 0;
    va_start(args, s);
    for (int t; (t = va_arg(args, int)) >= 0;)
        s->reads[m][count++] = t;
    va_end(args);
    s->members[m] = (struct assign_member){.topics = s->reads[m], .topic_count = count};
}

static void assign(struct story *s, enum assignor assignor)
{
    assert_int_equal(assignor_assign(assignor, s->topics, s->topic_count, s->members, s->member_count), 0);
}

/* "0 0 1": the owners of the topic's partitions. */
static void assert_owners(const struct story *s, size_t t, const char *expected)
{
    for (int32_t p = 0; p < s->topics[t].partitions; p++) {
        char *end;
        long owner = strtol(expected, &end, 10);
        assert_ptr_not_equal(end, expected);
        assert_int_equal(s->owners[t][p], owner);
        expected = end;
    }
}

static int32_t load(const struct story *s, int32_t m)
{
    int32_t count = 0;
    for (size_t t = 0; t < s->topic_count; t++) {
        for (int32_t p = 0; p < s->topics[t].partitions; p++)
            count += s->owners[t][p] == m;
    }
    return count;
}

static bool reads(const struct story *s, int32_t m, int32_t t)
{
    for (size_t i = 0; i < s->members[m].topic_count; i++) {
        if (s->members[m].topics[i] == t)
            return true;
    }
    return false;
}

/* Each partition of a topic that is read has one owner, who reads it; and nobody could give one to somebody who would
 * have no more than the giver then (Kafka's isBalanced). */
static void assert_balanced(const struct story *s)
{
    for (size_t t = 0; t < s->topic_count; t++) {
        for (int32_t p = 0; p < s->topics[t].partitions; p++) {
            int32_t owner = s->owners[t][p];
            assert_true(owner >= 0 && reads(s, owner, (int32_t)t));
            for (int32_t m = 0; m < (int32_t)s->member_count; m++)
                assert_false(reads(s, m, (int32_t)t) && load(s, m) + 1 < load(s, owner));
        }
    }
}

static int32_t moved(const struct story *before, const struct story *after)
{
    int32_t count = 0;
    for (size_t t = 0; t < before->topic_count; t++) {
        for (int32_t p = 0; p < before->topics[t].partitions; p++)
            count += before->owners[t][p] >= 0 && before->owners[t][p] != after->owners[t][p];
    }
    return count;
}

static struct story copy(const struct story *from)
{
    struct story to = *from;
    for (size_t t = 0; t < to.topic_count; t++)
        to.topics[t].owners = NULL;
    return to;
}

/* After a copy: pointers to its own arrays. */
static void settle(struct story *s)
{
    for (size_t t = 0; t < s->topic_count; t++)
        s->topics[t].owners = s->owners[t];
    for (size_t m = 0; m < s->member_count; m++)
        s->members[m].topics = s->reads[m];
}

/* ---- range: RangeAssignorTest ---- */

static void range_cases(void **state)
{
    (void)state;
    struct story s = {0}; /* testOneConsumerOneTopic */
    topic(&s, 3);
    member(&s, 0, -1);
    assign(&s, ASSIGNOR_RANGE);
    assert_owners(&s, 0, "0 0 0");

    s = (struct story){0}; /* testTwoConsumersOneTopicOnePartition */
    topic(&s, 1);
    member(&s, 0, -1);
    member(&s, 0, -1);
    assign(&s, ASSIGNOR_RANGE);
    assert_owners(&s, 0, "0");

    s = (struct story){0}; /* testTwoConsumersOneTopicTwoPartitions */
    topic(&s, 2);
    member(&s, 0, -1);
    member(&s, 0, -1);
    assign(&s, ASSIGNOR_RANGE);
    assert_owners(&s, 0, "0 1");

    s = (struct story){0}; /* testMultipleConsumersMixedTopics */
    topic(&s, 3);
    topic(&s, 2);
    member(&s, 0, -1);
    member(&s, 0, 1, -1);
    member(&s, 0, -1);
    assign(&s, ASSIGNOR_RANGE);
    assert_owners(&s, 0, "0 1 2");
    assert_owners(&s, 1, "1 1");

    s = (struct story){0}; /* testTwoConsumersTwoTopicsSixPartitions */
    topic(&s, 3);
    topic(&s, 3);
    member(&s, 0, 1, -1);
    member(&s, 0, 1, -1);
    assign(&s, ASSIGNOR_RANGE);
    assert_owners(&s, 0, "0 0 1");
    assert_owners(&s, 1, "0 0 1");
}

/* ---- roundrobin: RoundRobinAssignorTest ---- */

static void roundrobin_cases(void **state)
{
    (void)state;
    struct story s = {0}; /* testOneConsumerMultipleTopics */
    topic(&s, 1);
    topic(&s, 2);
    member(&s, 0, 1, -1);
    assign(&s, ASSIGNOR_ROUNDROBIN);
    assert_owners(&s, 0, "0");
    assert_owners(&s, 1, "0 0");

    s = (struct story){0}; /* testTwoConsumersOneTopicOnePartition */
    topic(&s, 1);
    member(&s, 0, -1);
    member(&s, 0, -1);
    assign(&s, ASSIGNOR_ROUNDROBIN);
    assert_owners(&s, 0, "0");

    s = (struct story){0}; /* testMultipleConsumersMixedTopics */
    topic(&s, 3);
    topic(&s, 2);
    member(&s, 0, -1);
    member(&s, 0, 1, -1);
    member(&s, 0, -1);
    assign(&s, ASSIGNOR_ROUNDROBIN);
    assert_owners(&s, 0, "0 1 2");
    assert_owners(&s, 1, "1 1");

    s = (struct story){0}; /* testTwoConsumersTwoTopicsSixPartitions */
    topic(&s, 3);
    topic(&s, 3);
    member(&s, 0, 1, -1);
    member(&s, 0, 1, -1);
    assign(&s, ASSIGNOR_ROUNDROBIN);
    assert_owners(&s, 0, "0 1 0");
    assert_owners(&s, 1, "1 0 1");
}

/* ---- sticky: AbstractStickyAssignorTest ---- */

static void sticky_first_assignments(void **state)
{
    (void)state;
    struct story s = {0}; /* testTwoConsumersOneTopicOnePartition */
    topic(&s, 1);
    member(&s, 0, -1);
    member(&s, 0, -1);
    assign(&s, ASSIGNOR_STICKY);
    assert_owners(&s, 0, "0");

    s = (struct story){0}; /* testMultipleConsumersMixedTopicSubscriptions */
    topic(&s, 3);
    topic(&s, 2);
    member(&s, 0, -1);
    member(&s, 0, 1, -1);
    member(&s, 0, -1);
    assign(&s, ASSIGNOR_STICKY);
    assert_balanced(&s);
    assert_int_equal(load(&s, 1), 2);
    assert_owners(&s, 1, "1 1");

    s = (struct story){0}; /* testTwoConsumersTwoTopicsSixPartitions */
    topic(&s, 3);
    topic(&s, 3);
    member(&s, 0, 1, -1);
    member(&s, 0, 1, -1);
    assign(&s, ASSIGNOR_STICKY);
    assert_int_equal(load(&s, 0), 3);
    assert_int_equal(load(&s, 1), 3);

    s = (struct story){0}; /* nobody reads the topic */
    topic(&s, 2);
    topic(&s, 1);
    member(&s, 1, -1);
    assign(&s, ASSIGNOR_STICKY);
    assert_owners(&s, 0, "-1 -1");
    assert_owners(&s, 1, "0");
}

static void sticky_after_members_come_and_go(void **state)
{
    (void)state;
    struct story s = {0}, before; /* testAddRemoveConsumerOneTopic */
    topic(&s, 3);
    member(&s, 0, -1);
    assign(&s, ASSIGNOR_STICKY);
    assert_owners(&s, 0, "0 0 0");
    member(&s, 0, -1);
    before = copy(&s);
    assign(&s, ASSIGNOR_STICKY);
    assert_balanced(&s);
    assert_int_equal(moved(&before, &s), 1);
    /* The first one leaves: what it had goes, the other's stays. */
    for (int32_t p = 0; p < 3; p++)
        s.owners[0][p] = s.owners[0][p] == 0 ? -1 : 0;
    s.member_count = 1;
    before = copy(&s);
    assign(&s, ASSIGNOR_STICKY);
    assert_owners(&s, 0, "0 0 0");
    assert_int_equal(moved(&before, &s), 0);
}

static void one_of_a_hundred_leaves_and_only_its_own_move(void **state)
{
    (void)state;
    static struct story s, before;
    s = (struct story){0};
    for (int t = 0; t < 5; t++)
        topic(&s, 200);
    for (int m = 0; m < 60; m++)
        member(&s, 0, 1, 2, 3, 4, -1);
    assign(&s, ASSIGNOR_STICKY);
    assert_balanced(&s);
    /* The last one leaves. */
    int32_t had = load(&s, 59);
    for (int t = 0; t < 5; t++) {
        for (int32_t p = 0; p < 200; p++) {
            if (s.owners[t][p] == 59)
                s.owners[t][p] = -1;
        }
    }
    s.member_count = 59;
    before = copy(&s);
    assign(&s, ASSIGNOR_STICKY);
    assert_balanced(&s);
    assert_true(had == 16 || had == 17);
    assert_int_equal(moved(&before, &s), 0);
}

/* testLargeAssignmentWithMultipleConsumersLeaving, testConflictingPreviousAssignments and their like by chance:
 * whatever was before, what comes is balanced; with equal subscriptions no fewer moves would do. */
static void whatever_was_before_it_ends_balanced(void **state)
{
    (void)state;
    static struct story s, before;
    uint64_t seed = 1;
    for (int round = 0; round < 300; round++) {
        bool equal = round % 2 == 0;
        s = (struct story){0};
        for (int t = 0; t < 4; t++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            topic(&s, 1 + (int32_t)(seed >> 33) % 12);
        }
        for (int m = 0; m < 6; m++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            s.member_count++;
            for (int32_t t = 0; t < 4; t++) {
                if (equal || (seed >> (33 + t) & 1) != 0 || t == m % 4)
                    s.reads[m][s.members[m].topic_count++] = t;
            }
        }
        settle(&s);
        for (size_t t = 0; t < 4; t++) {
            for (int32_t p = 0; p < s.topics[t].partitions; p++) {
                seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
                s.owners[t][p] = (int32_t)(seed >> 33) % 9 - 2; /* some are nobody's, some somebody's who left */
            }
        }
        before = copy(&s);
        assign(&s, ASSIGNOR_STICKY);
        assert_balanced(&s);
        if (!equal)
            continue;
        /* Each keeps what it had, up to its share. */
        int32_t partitions = 0, shed = 0, spare = 0, has[6];
        for (size_t t = 0; t < 4; t++)
            partitions += s.topics[t].partitions;
        spare = partitions % 6;
        for (int32_t m = 0; m < 6; m++)
            has[m] = load(&before, m);
        for (int32_t least = partitions / 6, m = 0; m < 6; m++) {
            int32_t may = least;
            if (has[m] > least && spare > 0) {
                may++;
                spare--;
            }
            shed += has[m] > may ? has[m] - may : 0;
        }
        int32_t lost = 0;
        for (size_t t = 0; t < 4; t++) {
            for (int32_t p = 0; p < s.topics[t].partitions; p++)
                lost += before.owners[t][p] >= 6;
        }
        assert_int_equal(moved(&before, &s), shed + lost);
    }
}

/* A partition goes through somebody's hands: 0 reads both topics, 1 the first, 2 the second. */
static void a_way_of_several_steps(void **state)
{
    (void)state;
    struct story s = {0};
    topic(&s, 3);
    topic(&s, 3);
    member(&s, 0, -1);
    member(&s, 0, 1, -1);
    member(&s, 1, -1);
    s.owners[0][0] = s.owners[0][1] = s.owners[0][2] = 0;
    s.owners[1][0] = s.owners[1][1] = 1;
    s.owners[1][2] = 2;
    assign(&s, ASSIGNOR_STICKY);
    assert_balanced(&s);
    assert_int_equal(load(&s, 0), 2);
    assert_int_equal(load(&s, 1), 2);
    assert_int_equal(load(&s, 2), 2);
}

/* As large as groups get: what is in balance stays, and who comes or leaves moves its share alone. */
static void ten_thousand_partitions_of_thousands_of_members(void **state)
{
    enum { PARTITIONS = 10000, MEMBERS = 5000, LEFT = MEMBERS - 1 };
    static int32_t owners[PARTITIONS], has[PARTITIONS], topics[] = {0};
    static struct assign_member members[PARTITIONS];
    struct assign_topic topic = {.partitions = PARTITIONS, .owners = owners};
    (void)state;
    for (int p = 0; p < PARTITIONS; p++) {
        members[p] = (struct assign_member){.topics = topics, .topic_count = 1};
        owners[p] = -1;
    }
    assert_int_equal(assignor_assign(ASSIGNOR_STICKY, &topic, 1, members, MEMBERS), 0);
    for (int p = 0; p < PARTITIONS; p++)
        assert_int_equal(owners[p], p % MEMBERS);
    assert_int_equal(assignor_assign(ASSIGNOR_STICKY, &topic, 1, members, MEMBERS), 0);
    for (int p = 0; p < PARTITIONS; p++)
        assert_int_equal(owners[p], p % MEMBERS);
    /* The last one leaves: the first two have three. */
    for (int p = LEFT; p < PARTITIONS; p += MEMBERS)
        owners[p] = -1;
    assert_int_equal(assignor_assign(ASSIGNOR_STICKY, &topic, 1, members, LEFT), 0);
    for (int p = 0; p < PARTITIONS; p++)
        assert_int_equal(owners[p], p % MEMBERS != LEFT ? p % MEMBERS : p == LEFT ? 0 : 1);
    /* As many come as there are partitions: of each that somebody had, the first one stays. */
    assert_int_equal(assignor_assign(ASSIGNOR_STICKY, &topic, 1, members, PARTITIONS), 0);
    for (int p = 0; p < PARTITIONS; p++) {
        has[owners[p]]++;
        assert_int_equal(has[owners[p]], 1);
        assert_true(p >= LEFT || owners[p] == p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(range_cases),
        cmocka_unit_test(roundrobin_cases),
        cmocka_unit_test(sticky_first_assignments),
        cmocka_unit_test(sticky_after_members_come_and_go),
        cmocka_unit_test(one_of_a_hundred_leaves_and_only_its_own_move),
        cmocka_unit_test(whatever_was_before_it_ends_balanced),
        cmocka_unit_test(a_way_of_several_steps),
        cmocka_unit_test(ten_thousand_partitions_of_thousands_of_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
