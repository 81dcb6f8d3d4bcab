/* replication/group/sticky.c: who has a partition keeps it; what nobody has goes, in order, to whoever has the fewest;
 * then partitions move from who has more to who has less, until nobody can give one to somebody who would still have no
 * more than the giver.
 *
 * Where members read different topics a partition may have to pass through others' hands: a way from giver to taker is
 * looked for over topics that both sides of each step read, the shortest one. Each move lowers the sum of the squares
 * of what members have, so that it ends; and with equal subscriptions a member gives only what is above its share, so
 * that no other way moves fewer.
 *
 * Who has the most, and of a topic's readers who has the fewest, is at the top of a heap. Where a giver finds no taker,
 * those whom it could have reached find none either, since they reach no others and have no more: one search is for all
 * of them. */
#include "replication/group/sticky.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* That a member reads a topic. */
struct subscription {
    int32_t member, topic;
    int32_t last;  /* of the member's partitions of the topic the highest; -1: none. The others: `before` */
    int32_t place; /* in the topic's heap */
};

/* The item at the top is the one with the fewest partitions, or the most; of several the first. */
struct heap {
    int32_t *items; /* members, or places in `subs` */
    int32_t count;
};

struct sticky {
    struct assign_topic *topics;
    int32_t topic_count;
    const struct assign_member *members;
    int32_t member_count;
    int32_t *load;             /* of each member */
    struct subscription *subs; /* member by member, in the order of its topics */
    int32_t *first_sub;        /* of each member, and their number */
    int32_t *before;           /* of all partitions: the next lower one of the topic that the same member has; -1 */
    int32_t *first_before;     /* of each topic, in `before` */
    struct heap *readers;      /* of each topic: subs */
    int32_t *reader_items;     /* of all of them */
    struct heap givers;        /* members */
    int32_t *giver_places;     /* -1: it is no giver any more */
    /* A search, by its number: the sub that each member was reached from, and what was looked at. */
    struct step {
        int32_t search, sub;
    } * steps;
    int32_t *topic_search;
    int32_t search;
    int32_t *queue;
    bool *stuck; /* a member from whom nothing can move, as things are */
};

/* ---- heaps ---- */

static int32_t member_at(const struct sticky *sticky, const struct heap *heap, int32_t item)
{
    return heap == &sticky->givers ? item : sticky->subs[item].member;
}

/* Whether item a is to be above item b. */
static bool is_above(const struct sticky *sticky, const struct heap *heap, int32_t a, int32_t b)
{
    int32_t of_a = member_at(sticky, heap, a), of_b = member_at(sticky, heap, b);
    int32_t more = sticky->load[of_a] - sticky->load[of_b];

    if (more == 0)
        return of_a < of_b;
    return heap == &sticky->givers ? more > 0 : more < 0;
}

static void put(struct sticky *sticky, struct heap *heap, int32_t place, int32_t item)
{
    heap->items[place] = item;
    if (heap == &sticky->givers)
        sticky->giver_places[item] = place;
    else
        sticky->subs[item].place = place;
}

/* The item at that place may be too low. */
static void rise(struct sticky *sticky, struct heap *heap, int32_t place)
{
    int32_t item = heap->items[place];

    for (; place > 0 && is_above(sticky, heap, item, heap->items[(place - 1) / 2]); place = (place - 1) / 2)
        put(sticky, heap, place, heap->items[(place - 1) / 2]);
    put(sticky, heap, place, item);
}

/* The item at that place may be too high. */
static void sink(struct sticky *sticky, struct heap *heap, int32_t place)
{
    int32_t item = heap->items[place], child;

    while ((child = 2 * place + 1) < heap->count) {
        if (child + 1 < heap->count && is_above(sticky, heap, heap->items[child + 1], heap->items[child]))
            child++;
        if (!is_above(sticky, heap, heap->items[child], item))
            break;
        put(sticky, heap, place, heap->items[child]);
        place = child;
    }
    put(sticky, heap, place, item);
}

static void order(struct sticky *sticky, struct heap *heap)
{
    for (int32_t place = heap->count / 2 - 1; place >= 0; place--)
        sink(sticky, heap, place);
}

/* ---- who reads what, and has it ---- */

/* -1: the member does not read the topic. */
static int32_t find_sub(const struct sticky *sticky, int32_t member, int32_t topic)
{
    for (int32_t s = sticky->first_sub[member]; s < sticky->first_sub[member + 1]; s++) {
        if (sticky->subs[s].topic == topic)
            return s;
    }
    return -1;
}

/* first_sub is there. */
static void subscribe(struct sticky *sticky)
{
    int32_t *items = sticky->reader_items;

    for (int32_t m = 0; m < sticky->member_count; m++) {
        for (size_t i = 0; i < sticky->members[m].topic_count; i++) {
            int32_t topic = sticky->members[m].topics[i];
            sticky->subs[sticky->first_sub[m] + (int32_t)i] =
                (struct subscription){.member = m, .topic = topic, .last = -1};
            sticky->readers[topic].count++;
        }
    }
    for (int32_t t = 0; t < sticky->topic_count; t++) {
        sticky->readers[t].items = items;
        items += sticky->readers[t].count;
        sticky->readers[t].count = 0;
    }
    for (int32_t s = 0; s < sticky->first_sub[sticky->member_count]; s++) {
        struct heap *readers = &sticky->readers[sticky->subs[s].topic];
        put(sticky, readers, readers->count++, s);
    }
}

static void keep(struct sticky *sticky)
{
    for (int32_t t = 0; t < sticky->topic_count; t++) {
        struct assign_topic *topic = &sticky->topics[t];
        for (int32_t p = 0; p < topic->partitions; p++) {
            int32_t owner = topic->owners[p];
            if (owner < 0 || owner >= sticky->member_count || find_sub(sticky, owner, t) < 0)
                topic->owners[p] = -1;
            else
                sticky->load[owner]++;
        }
    }
}

static void give_free(struct sticky *sticky)
{
    for (int32_t t = 0; t < sticky->topic_count; t++) {
        struct assign_topic *topic = &sticky->topics[t];
        struct heap *readers = &sticky->readers[t];
        order(sticky, readers);
        for (int32_t p = 0; p < topic->partitions && readers->count > 0; p++) {
            if (topic->owners[p] >= 0)
                continue;
            topic->owners[p] = sticky->subs[readers->items[0]].member;
            sticky->load[topic->owners[p]]++;
            sink(sticky, readers, 0);
        }
    }
}

static void note_owned(struct sticky *sticky)
{
    for (int32_t t = 0; t < sticky->topic_count; t++) {
        for (int32_t p = 0; p < sticky->topics[t].partitions; p++) {
            int32_t owner = sticky->topics[t].owners[p];
            if (owner < 0)
                continue;
            struct subscription *sub = &sticky->subs[find_sub(sticky, owner, t)];
            sticky->before[sticky->first_before[t] + p] = sub->last;
            sub->last = p;
        }
    }
}

/* ---- from giver to taker ---- */

/* Of those to whom the giver could give a partition the one with the fewest, if it has at least two less. -1: none. */
static int32_t find_near_taker(struct sticky *sticky, int32_t giver)
{
    int32_t taker = -1;

    for (int32_t s = sticky->first_sub[giver]; s < sticky->first_sub[giver + 1]; s++) {
        const struct heap *readers = &sticky->readers[sticky->subs[s].topic];
        int32_t m = sticky->subs[readers->items[0]].member;
        if (sticky->subs[s].last < 0 || sticky->load[m] > sticky->load[giver] - 2)
            continue;
        if (taker < 0 || sticky->load[m] < sticky->load[taker]) {
            taker = m;
            sticky->steps[m].sub = s;
        }
    }
    return taker;
}

/* Whoever `giver` could give a partition to, and was not reached before, goes into the queue. Returns its new end. */
static int32_t reach_from(struct sticky *sticky, int32_t giver, int32_t end)
{
    for (int32_t s = sticky->first_sub[giver]; s < sticky->first_sub[giver + 1]; s++) {
        int32_t topic = sticky->subs[s].topic;
        if (sticky->subs[s].last < 0 || sticky->topic_search[topic] == sticky->search)
            continue; /* all of the topic's readers were reached */
        sticky->topic_search[topic] = sticky->search;
        for (int32_t i = 0; i < sticky->readers[topic].count; i++) {
            int32_t m = sticky->subs[sticky->readers[topic].items[i]].member;
            if (sticky->steps[m].search == sticky->search)
                continue;
            sticky->steps[m] = (struct step){sticky->search, s};
            sticky->queue[end++] = m;
        }
    }
    return end;
}

/* Of queue[begin … end) the one with the fewest, if that is no more than `most`; of several the first. -1: none. */
static int32_t find_fewest(const struct sticky *sticky, int32_t begin, int32_t end, int32_t most)
{
    int32_t fewest = -1;

    for (int32_t i = begin; i < end; i++) {
        int32_t m = sticky->queue[i];
        bool fewer = fewest < 0 || sticky->load[m] < sticky->load[fewest] ||
                     (sticky->load[m] == sticky->load[fewest] && m < fewest);
        if (sticky->load[m] <= most && fewer)
            fewest = m;
    }
    return fewest;
}

/* The member, as few steps away as can be, of those the one with the fewest, that has at least two less. -1: none, and
 * all who were reached are stuck. */
static int32_t find_taker(struct sticky *sticky, int32_t giver)
{
    int32_t begin = 0, end, taker = find_near_taker(sticky, giver);

    if (taker >= 0)
        return taker;
    sticky->search++;
    sticky->steps[giver].search = sticky->search;
    end = reach_from(sticky, giver, 0);
    while (begin < end) {
        int32_t level = end;
        taker = find_fewest(sticky, begin, level, sticky->load[giver] - 2);
        if (taker >= 0)
            return taker;
        for (; begin < level; begin++)
            end = reach_from(sticky, sticky->queue[begin], end);
    }
    for (int32_t i = 0; i < end; i++)
        sticky->stuck[sticky->queue[i]] = true;
    return -1;
}

/* The last one that somebody has of the topic goes to the taker. */
static void hand_on(struct sticky *sticky, struct subscription *from, int32_t taker)
{
    int32_t *before = sticky->before + sticky->first_before[from->topic];
    int32_t p = from->last, *higher = &sticky->subs[find_sub(sticky, taker, from->topic)].last;

    from->last = before[p];
    while (*higher > p)
        higher = &before[*higher];
    before[p] = *higher;
    *higher = p;
    sticky->topics[from->topic].owners[p] = taker;
}

static void change_load(struct sticky *sticky, int32_t member, int32_t change)
{
    sticky->load[member] += change;
    for (int32_t s = sticky->first_sub[member]; s < sticky->first_sub[member + 1]; s++) {
        struct heap *readers = &sticky->readers[sticky->subs[s].topic];
        if (change > 0)
            sink(sticky, readers, sticky->subs[s].place);
        else
            rise(sticky, readers, sticky->subs[s].place);
    }
    int32_t place = sticky->giver_places[member];
    if (place < 0)
        return;
    if (change > 0)
        rise(sticky, &sticky->givers, place);
    else
        sink(sticky, &sticky->givers, place);
}

static void move_one(struct sticky *sticky, int32_t giver, int32_t taker)
{
    change_load(sticky, giver, -1);
    change_load(sticky, taker, 1);
    while (taker != giver) {
        struct subscription *sub = &sticky->subs[sticky->steps[taker].sub];
        hand_on(sticky, sub, taker);
        taker = sub->member;
    }
}

/* The first of the givers is none any more. */
static void drop_giver(struct sticky *sticky)
{
    struct heap *givers = &sticky->givers;

    sticky->giver_places[givers->items[0]] = -1;
    givers->items[0] = givers->items[--givers->count];
    if (givers->count > 0)
        sink(sticky, givers, 0);
}

/* Once through all, as they become givers. Whether something moved: that may set free who was stuck before. */
static bool level(struct sticky *sticky)
{
    bool moved = false;

    sticky->givers.count = sticky->member_count;
    for (int32_t m = 0; m < sticky->member_count; m++) {
        sticky->stuck[m] = false;
        put(sticky, &sticky->givers, m, m);
    }
    order(sticky, &sticky->givers);
    while (sticky->givers.count > 0) {
        int32_t giver = sticky->givers.items[0];
        int32_t taker = sticky->stuck[giver] || sticky->load[giver] < 2 ? -1 : find_taker(sticky, giver);
        if (taker < 0) {
            drop_giver(sticky);
            continue;
        }
        move_one(sticky, giver, taker);
        moved = true;
    }
    return moved;
}

/* ---- its memory ---- */

static void forget(struct sticky *sticky)
{
    free(sticky->load);
    free(sticky->subs);
    free(sticky->first_sub);
    free(sticky->before);
    free(sticky->first_before);
    free(sticky->readers);
    free(sticky->reader_items);
    free(sticky->givers.items);
    free(sticky->giver_places);
    free(sticky->steps);
    free(sticky->topic_search);
    free(sticky->queue);
    free(sticky->stuck);
}

/* So many, and one more, since calloc(0) may be NULL. */
static void *array(size_t count, size_t bytes)
{
    return calloc(count + 1, bytes);
}

static int prepare(struct sticky *sticky)
{
    size_t members = (size_t)sticky->member_count, topics = (size_t)sticky->topic_count, subs = 0, partitions = 0;

    sticky->first_sub = array(members, sizeof *sticky->first_sub);
    sticky->first_before = array(topics, sizeof *sticky->first_before);
    if (sticky->first_sub == NULL || sticky->first_before == NULL)
        return -ENOMEM;
    for (size_t m = 0; m < members; m++) {
        subs += sticky->members[m].topic_count;
        sticky->first_sub[m + 1] = (int32_t)subs;
    }
    for (size_t t = 0; t < topics; t++) {
        sticky->first_before[t] = (int32_t)partitions;
        partitions += (size_t)sticky->topics[t].partitions;
    }
    sticky->load = array(members, sizeof *sticky->load);
    sticky->subs = array(subs, sizeof *sticky->subs);
    sticky->before = array(partitions, sizeof *sticky->before);
    sticky->readers = array(topics, sizeof *sticky->readers);
    sticky->reader_items = array(subs, sizeof *sticky->reader_items);
    sticky->givers.items = array(members, sizeof *sticky->givers.items);
    sticky->giver_places = array(members, sizeof *sticky->giver_places);
    sticky->steps = array(members, sizeof *sticky->steps);
    sticky->topic_search = array(topics, sizeof *sticky->topic_search);
    sticky->queue = array(members, sizeof *sticky->queue);
    sticky->stuck = array(members, sizeof *sticky->stuck);
    return sticky->load != NULL && sticky->subs != NULL && sticky->before != NULL && sticky->readers != NULL &&
                   sticky->reader_items != NULL && sticky->givers.items != NULL && sticky->giver_places != NULL &&
                   sticky->steps != NULL && sticky->topic_search != NULL && sticky->queue != NULL &&
                   sticky->stuck != NULL
               ? 0
               : -ENOMEM;
}

int sticky_assign(struct assign_topic *topics, size_t topic_count, const struct assign_member *members,
                  size_t member_count)
{
    struct sticky sticky = {.topics = topics,
                            .topic_count = (int32_t)topic_count,
                            .members = members,
                            .member_count = (int32_t)member_count};
    int rc = prepare(&sticky);

    if (rc == 0) {
        subscribe(&sticky);
        keep(&sticky);
        give_free(&sticky);
        note_owned(&sticky);
        for (int32_t t = 0; t < sticky.topic_count; t++)
            order(&sticky, &sticky.readers[t]);
        while (level(&sticky)) {
        }
    }
    forget(&sticky);
    return rc;
}
