/* replication/group/assignor.c: three ways to share out.
 *
 * sticky: who has a partition keeps it; what nobody has goes, in order, to whoever has the fewest; then partitions move
 * from who has more to who has less, until nobody can give one to somebody who would still have no more than the giver.
 * Where members read different topics a partition may have to pass through others' hands: a way from giver to taker is
 * looked for over topics that both sides of each step read, the shortest one. Each move lowers the sum of the squares
 * of what members have, so that it ends; and with equal subscriptions a member gives only what is above its share, so
 * that no other way moves fewer. */
#include "replication/group/assignor.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct sharing {
    struct assign_topic *topics;
    size_t topic_count;
    const struct assign_member *members;
    size_t member_count;
    /* sticky */
    int32_t *load; /* of each member */
    /* A search: for each member from whom it would get a partition, and of which topic. */
    struct step {
        int32_t giver; /* -1: not reached */
        int32_t topic;
    } * steps;
    int32_t *queue;
    bool *stuck; /* a member from whom nothing can move, as things are */
};

static bool is_subscribed(const struct sharing *sharing, int32_t member, int32_t topic)
{
    const struct assign_member *of = &sharing->members[member];

    for (size_t i = 0; i < of->topic_count; i++)
        if (of->topics[i] == topic)
            return true;
    return false;
}

static void clear(struct sharing *sharing)
{
    for (size_t t = 0; t < sharing->topic_count; t++)
        for (int32_t p = 0; p < sharing->topics[t].partitions; p++)
            sharing->topics[t].owners[p] = -1;
}

/* ---- range ---- */

static void range(struct sharing *sharing)
{
    int32_t members = (int32_t)sharing->member_count;

    clear(sharing);
    for (int32_t t = 0; t < (int32_t)sharing->topic_count; t++) {
        struct assign_topic *topic = &sharing->topics[t];
        int32_t readers = 0, next = 0, place = 0;
        for (int32_t m = 0; m < members; m++)
            readers += is_subscribed(sharing, m, t);
        for (int32_t m = 0; m < members; m++) {
            if (!is_subscribed(sharing, m, t))
                continue;
            int32_t count = topic->partitions / readers + (place < topic->partitions % readers);
            for (int32_t i = 0; i < count; i++)
                topic->owners[next++] = m;
            place++;
        }
    }
}

/* ---- roundrobin ---- */

static void roundrobin(struct sharing *sharing)
{
    int32_t members = (int32_t)sharing->member_count, at = 0;

    clear(sharing);
    for (int32_t t = 0; t < (int32_t)sharing->topic_count; t++) {
        bool read = false;
        for (int32_t m = 0; m < members && !read; m++)
            read = is_subscribed(sharing, m, t);
        for (int32_t p = 0; read && p < sharing->topics[t].partitions; p++) {
            while (!is_subscribed(sharing, at, t))
                at = (at + 1) % members;
            sharing->topics[t].owners[p] = at;
            at = (at + 1) % members;
        }
    }
}

/* ---- sticky ---- */

static void keep(struct sharing *sharing)
{
    for (int32_t t = 0; t < (int32_t)sharing->topic_count; t++) {
        struct assign_topic *topic = &sharing->topics[t];
        for (int32_t p = 0; p < topic->partitions; p++) {
            int32_t owner = topic->owners[p];
            if (owner < 0 || owner >= (int32_t)sharing->member_count || !is_subscribed(sharing, owner, t))
                topic->owners[p] = -1;
            else
                sharing->load[owner]++;
        }
    }
}

static void give_free(struct sharing *sharing)
{
    for (int32_t t = 0; t < (int32_t)sharing->topic_count; t++) {
        struct assign_topic *topic = &sharing->topics[t];
        for (int32_t p = 0; p < topic->partitions; p++) {
            int32_t least = -1;
            if (topic->owners[p] >= 0)
                continue;
            for (int32_t m = 0; m < (int32_t)sharing->member_count; m++)
                if (is_subscribed(sharing, m, t) && (least < 0 || sharing->load[m] < sharing->load[least]))
                    least = m;
            topic->owners[p] = least;
            if (least >= 0)
                sharing->load[least]++;
        }
    }
}

static bool owns_of(const struct sharing *sharing, int32_t member, int32_t topic)
{
    const struct assign_topic *of = &sharing->topics[topic];

    for (int32_t p = 0; p < of->partitions; p++)
        if (of->owners[p] == member)
            return true;
    return false;
}

/* Whoever `giver` could give a partition to, and was not reached before, goes into the queue. Returns its new end. */
static int32_t reach_from(struct sharing *sharing, int32_t giver, int32_t end)
{
    const struct assign_member *from = &sharing->members[giver];

    for (size_t i = 0; i < from->topic_count; i++) {
        int32_t topic = from->topics[i];
        if (!owns_of(sharing, giver, topic))
            continue;
        for (int32_t m = 0; m < (int32_t)sharing->member_count; m++) {
            if (sharing->steps[m].giver >= 0 || !is_subscribed(sharing, m, topic))
                continue;
            sharing->steps[m] = (struct step){giver, topic};
            sharing->queue[end++] = m;
        }
    }
    return end;
}

/* The member, as few steps away as can be, of those the one with the fewest, that has at least two less. -1: none. */
static int32_t find_taker(struct sharing *sharing, int32_t giver)
{
    int32_t begin = 0, end, most = sharing->load[giver] - 2;

    for (size_t m = 0; m < sharing->member_count; m++)
        sharing->steps[m].giver = -1;
    sharing->steps[giver].giver = giver;
    end = reach_from(sharing, giver, 0);
    while (begin < end) {
        int32_t level = end, least = -1;
        for (int32_t i = begin; i < level; i++) {
            int32_t m = sharing->queue[i];
            if (sharing->load[m] <= most && (least < 0 || sharing->load[m] < sharing->load[least]))
                least = m;
        }
        if (least >= 0)
            return least;
        for (; begin < level; begin++)
            end = reach_from(sharing, sharing->queue[begin], end);
    }
    return -1;
}

/* The last one that the giver has of the topic. */
static void hand_on(struct sharing *sharing, int32_t topic, int32_t giver, int32_t taker)
{
    struct assign_topic *of = &sharing->topics[topic];
    int32_t p = of->partitions - 1;

    while (of->owners[p] != giver)
        p--;
    of->owners[p] = taker;
}

static void move_one(struct sharing *sharing, int32_t giver, int32_t taker)
{
    sharing->load[giver]--;
    sharing->load[taker]++;
    while (taker != giver) {
        struct step step = sharing->steps[taker];
        hand_on(sharing, step.topic, step.giver, taker);
        taker = step.giver;
    }
}

/* Who has the most, of those that are not stuck. -1: nobody. */
static int32_t find_giver(const struct sharing *sharing)
{
    int32_t most = -1;

    for (int32_t m = 0; m < (int32_t)sharing->member_count; m++)
        if (!sharing->stuck[m] && (most < 0 || sharing->load[m] > sharing->load[most]))
            most = m;
    return most;
}

static void level(struct sharing *sharing)
{
    bool moved = true;

    while (moved) { /* a move may set free who was stuck before */
        int32_t giver;
        moved = false;
        memset(sharing->stuck, 0, sharing->member_count * sizeof *sharing->stuck);
        while ((giver = find_giver(sharing)) >= 0) {
            int32_t taker = sharing->load[giver] < 2 ? -1 : find_taker(sharing, giver);
            if (taker < 0) {
                sharing->stuck[giver] = true;
                continue;
            }
            move_one(sharing, giver, taker);
            moved = true;
        }
    }
}

static int sticky(struct sharing *sharing)
{
    size_t members = sharing->member_count;
    int rc = -ENOMEM;

    sharing->load = calloc(members, sizeof *sharing->load);
    sharing->steps = calloc(members, sizeof *sharing->steps);
    sharing->queue = calloc(members, sizeof *sharing->queue);
    sharing->stuck = calloc(members, sizeof *sharing->stuck);
    if (sharing->load != NULL && sharing->steps != NULL && sharing->queue != NULL && sharing->stuck != NULL) {
        keep(sharing);
        give_free(sharing);
        level(sharing);
        rc = 0;
    }
    free(sharing->load);
    free(sharing->steps);
    free(sharing->queue);
    free(sharing->stuck);
    return rc;
}

int assignor_assign(enum assignor assignor, struct assign_topic *topics, size_t topic_count,
                    const struct assign_member *members, size_t member_count)
{
    struct sharing sharing = {
        .topics = topics, .topic_count = topic_count, .members = members, .member_count = member_count};

    if (member_count == 0) {
        clear(&sharing);
        return 0;
    }
    switch (assignor) {
    case ASSIGNOR_RANGE:
        range(&sharing);
        return 0;
    case ASSIGNOR_ROUNDROBIN:
        roundrobin(&sharing);
        return 0;
    case ASSIGNOR_STICKY:
        return sticky(&sharing);
    }
    return 0;
}
