/* replication/group/assignor.c: range and roundrobin; sticky.c has the third. */
#include "replication/group/assignor.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "replication/group/sticky.h"

struct sharing {
    struct assign_topic *topics;
    size_t topic_count;
    const struct assign_member *members;
    size_t member_count;
    int32_t *readers; /* of the topic whose turn it is */
};

static bool is_subscribed(const struct sharing *sharing, int32_t member, int32_t topic)
{
    const struct assign_member *of = &sharing->members[member];

    for (size_t i = 0; i < of->topic_count; i++) {
        if (of->topics[i] == topic)
            return true;
    }
    return false;
}

/* Finds the readers of a topic, in order. Their number. */
static int32_t find_readers(struct sharing *sharing, int32_t topic)
{
    int32_t count = 0;

    for (int32_t m = 0; m < (int32_t)sharing->member_count; m++) {
        if (is_subscribed(sharing, m, topic))
            sharing->readers[count++] = m;
    }
    return count;
}

static void clear(struct sharing *sharing)
{
    for (size_t t = 0; t < sharing->topic_count; t++) {
        for (int32_t p = 0; p < sharing->topics[t].partitions; p++)
            sharing->topics[t].owners[p] = -1;
    }
}

static void range(struct sharing *sharing)
{
    for (int32_t t = 0; t < (int32_t)sharing->topic_count; t++) {
        struct assign_topic *topic = &sharing->topics[t];
        int32_t readers = find_readers(sharing, t), next = 0;
        for (int32_t r = 0; r < readers; r++) {
            int32_t count = topic->partitions / readers + (r < topic->partitions % readers);
            for (int32_t i = 0; i < count; i++)
                topic->owners[next++] = sharing->readers[r];
        }
    }
}

static void roundrobin(struct sharing *sharing)
{
    int32_t at = 0; /* the member whose turn it is */

    for (int32_t t = 0; t < (int32_t)sharing->topic_count; t++) {
        int32_t readers = find_readers(sharing, t), r = 0;
        while (r < readers && sharing->readers[r] < at)
            r++;
        for (int32_t p = 0; readers > 0 && p < sharing->topics[t].partitions; p++, r++) {
            int32_t member = sharing->readers[r % readers];
            sharing->topics[t].owners[p] = member;
            at = (member + 1) % (int32_t)sharing->member_count;
        }
    }
}

int assignor_assign(enum assignor assignor, struct assign_topic *topics, size_t topic_count,
                    const struct assign_member *members, size_t member_count)
{
    struct sharing sharing = {
        .topics = topics, .topic_count = topic_count, .members = members, .member_count = member_count};

    if (member_count > 0 && assignor == ASSIGNOR_STICKY)
        return sticky_assign(topics, topic_count, members, member_count);
    sharing.readers = calloc(member_count + 1, sizeof *sharing.readers); /* 1: calloc(0) may be NULL */
    if (sharing.readers == NULL)
        return -ENOMEM;
    clear(&sharing);
    if (assignor == ASSIGNOR_RANGE)
        range(&sharing);
    else if (assignor == ASSIGNOR_ROUNDROBIN)
        roundrobin(&sharing);
    free(sharing.readers);
    return 0;
}
