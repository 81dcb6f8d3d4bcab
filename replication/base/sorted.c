/* replication/base/sorted.c: by halves. */
#include "replication/base/sorted.h"

#include <string.h>

size_t sorted_place(const void *list, size_t count, const char *(*name_at)(const void *list, size_t i),
                    const char *name, bool *found)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name_at(list, middle), name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = false;
    return low;
}
