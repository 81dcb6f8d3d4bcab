#include "fs/produce/produce_file.h"

#include <errno.h>
#include <stdlib.h>

#include "fs/produce/accumulator.h"

static int made(struct pfile *pfile)
{
    struct produce_file *file = calloc(1, sizeof *file);
    if (file == NULL)
        return -ENOMEM;
    pthread_mutex_init(&file->lock, NULL);
    file->sticky.partition = -1;
    pfile->produce = file;
    return 0;
}

static void gone(struct pfile *pfile)
{
    struct produce_file *file = pfile->produce;
    if (file->accumulator != NULL)
        accumulator_free(file->accumulator);
    pthread_mutex_destroy(&file->lock);
    free(file);
}

const struct pfile_hooks produce_file_hooks = {.made = made, .gone = gone};
