#include "replication/executor/alarms.h"

#include <stdlib.h>

enum { FIRST_ROOM = 64 };

static void set(struct alarms *alarms, size_t index, struct alarm *alarm)
{
    alarms->heap[index] = alarm;
    alarm->heap_index = index;
}

static void up(struct alarms *alarms, size_t index)
{
    struct alarm *alarm = alarms->heap[index];
    for (; index > 1 && alarms->heap[index / 2]->deadline_ms > alarm->deadline_ms; index /= 2)
        set(alarms, index, alarms->heap[index / 2]);
    set(alarms, index, alarm);
}

static void down(struct alarms *alarms, size_t index)
{
    struct alarm *alarm = alarms->heap[index];
    for (size_t child; (child = 2 * index) <= alarms->count; index = child) {
        if (child < alarms->count && alarms->heap[child + 1]->deadline_ms < alarms->heap[child]->deadline_ms)
            child++;
        if (alarms->heap[child]->deadline_ms >= alarm->deadline_ms)
            break;
        set(alarms, index, alarms->heap[child]);
    }
    set(alarms, index, alarm);
}

void alarms_free(struct alarms *alarms)
{
    free(alarms->heap);
    *alarms = (struct alarms){0};
}

void alarms_add(struct alarms *alarms, struct alarm *alarm)
{
    if (alarms->count + 1 >= alarms->room) {
        size_t room = alarms->room == 0 ? FIRST_ROOM : 2 * alarms->room;
        struct alarm **heap = realloc(alarms->heap, room * sizeof(struct alarm *));
        if (heap == NULL)
            abort();
        alarms->heap = heap;
        alarms->room = room;
    }
    set(alarms, ++alarms->count, alarm);
    up(alarms, alarms->count);
}

void alarms_remove(struct alarms *alarms, struct alarm *alarm)
{
    size_t index = alarm->heap_index;
    struct alarm *moved = alarms->heap[alarms->count--];
    alarm->heap_index = 0;
    if (moved == alarm)
        return;
    set(alarms, index, moved);
    up(alarms, index);
    down(alarms, moved->heap_index);
}

struct alarm *alarms_first(const struct alarms *alarms)
{
    return alarms->count > 0 ? alarms->heap[1] : NULL;
}

void alarms_clear(struct alarms *alarms)
{
    for (size_t i = 1; i <= alarms->count; i++)
        alarms->heap[i]->heap_index = 0;
    alarms->count = 0;
}

int64_t alarms_deadline_ms(int64_t now_ms, int64_t after_ms)
{
    return after_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + after_ms;
}
