/* replication/base/sorted.h: lists of things in the order of their names. Pure. */
#ifndef LOGMNT_REPLICATION_BASE_SORTED_H
#define LOGMNT_REPLICATION_BASE_SORTED_H

#include <stdbool.h>
#include <stddef.h>

/* Where the name is, or where it would go: name_at(list, i) is that of the i-th of count things. */
size_t sorted_place(const void *list, size_t count, const char *(*name_at)(const void *list, size_t i),
                    const char *name, bool *found);

#endif
