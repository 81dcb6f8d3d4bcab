/* fs/produce/produce_file.h: what producing keeps of a partition as a file (tree.h's pfile), or of `.any`: made with
 * the pfile and freed with it. */
#ifndef LOGMNT_FS_PRODUCE_PRODUCE_FILE_H
#define LOGMNT_FS_PRODUCE_PRODUCE_FILE_H

#include <pthread.h>

#include "fs/produce/partitioner.h"
#include "fs/tree/tree.h"

struct accumulator;

struct produce_file {
    pthread_mutex_t lock;             /* for a few loads and stores, and while an accumulator is made */
    struct accumulator *accumulator;  /* linger.ms; NULL until the first record */
    struct partitioner_sticky sticky; /* of `.any` */
};

/* For tree_new(). */
extern const struct pfile_hooks produce_file_hooks;

#endif
