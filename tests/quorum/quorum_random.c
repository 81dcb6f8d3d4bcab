/* tests/quorum/quorum_random.c: quorum_random [SEEDS [FIRST]] runs so many seeds, quorum_random -s SEED tells one.
 *
 * Ends with 1 at the first seed in which something did not hold, and says how to run it again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/quorum/model.h"

int main(int argc, char **argv)
{
    struct model *model = calloc(1, sizeof *model);
    bool one = argc > 2 && strcmp(argv[1], "-s") == 0;
    uint64_t first = one ? strtoull(argv[2], NULL, 10) : argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    uint64_t seeds = one ? 1 : argc > 1 ? strtoull(argv[1], NULL, 10) : 20000;
    long steps = 0, elections = 0, changes = 0, resets = 0, truncations = 0;
    int rc = 0;

    if (model == NULL)
        return 2;
    for (uint64_t seed = first; seed < first + seeds && rc == 0; seed++) {
        rc = model_run(model, seed, one);
        steps += model->steps;
        elections += model->elections;
        changes += model->changes;
        resets += model->resets;
        truncations += model->truncations;
        if (rc != 0) {
            printf("not ok 1 - seed %llu at %lld ms: %s: %s\n# again: %s -s %llu\n", (unsigned long long)seed,
                   (long long)model->now, model->failure, model->text, argv[0], (unsigned long long)seed);
        }
    }
    printf("# %llu seeds from %llu: %ld steps, %ld elections, %ld changes of voters, %ld truncations, %ld resets\n",
           (unsigned long long)seeds, (unsigned long long)first, steps, elections, changes, truncations, resets);
    if (rc == 0)
        printf("ok 1 - the quorum holds in %llu seeds\n", (unsigned long long)seeds);
    model_free(model);
    free(model);
    return rc;
}
