/* tests/quorum/quorum_bugs.c: the proof of the test itself. Errors that real systems had are put in, one at a time
 * (replication/metadata/raft_bugs.h), and the random test must find each: quorum_bugs [SEEDS [BUG]]. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replication/metadata/raft_bugs.h"
#include "tests/quorum/model.h"

#define BUG(name)                                                                                                      \
    {                                                                                                                  \
#name, offsetof(struct raft_bugs, name)                                                                        \
    }

static const struct {
    const char *name;
    size_t at;
} bugs[] = {
    BUG(lone_voter_keeps_epoch),
    BUG(ack_moves_back),
    BUG(high_watermark_moves_back),
    BUG(change_at_batch_offset),
    BUG(voters_before_lost),
    BUG(removed_voter_stands),
    BUG(answer_echoes_epoch),
    BUG(candidate_skips_pre_vote),
    BUG(bootstrap_by_majority),
    BUG(wiped_voter_votes),
    BUG(ack_before_flush),
    BUG(old_epoch_counted),
    BUG(never_resigns),
    BUG(answers_early),
    BUG(change_before_own_epoch),
    BUG(pre_vote_with_leader),
    BUG(vote_not_persisted),
    BUG(two_changes_at_once),
    BUG(votes_for_behind),
    BUG(snapshot_epoch_unread),
};

enum { BUGS = sizeof bugs / sizeof *bugs };

int main(int argc, char **argv)
{
    struct model *model = calloc(1, sizeof *model);
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000;
    int missed = 0, number = 0;

    if (model == NULL)
        return 2;
    printf("1..%d\n", argc > 2 ? 1 : BUGS);
    for (size_t i = 0; i < BUGS; i++) {
        uint64_t seed = 1;

        if (argc > 2 && strcmp(argv[2], bugs[i].name) != 0)
            continue;
        memset(&raft_bugs, 0, sizeof raft_bugs);
        *((bool *)&raft_bugs + bugs[i].at) = true;
        while (seed <= seeds && model_run(model, seed, false) == 0)
            seed++;
        number++;
        if (seed <= seeds) {
            printf("ok %d - %s is found: seed %llu: %s: %s\n", number, bugs[i].name, (unsigned long long)seed,
                   model->failure, model->text);
        } else {
            printf("not ok %d - %s is not found in %llu seeds\n", number, bugs[i].name, (unsigned long long)seeds);
            missed++;
        }
        fflush(stdout);
    }
    model_free(model);
    free(model);
    return missed > 0;
}
