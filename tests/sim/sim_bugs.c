/* tests/sim/sim_bugs.c: the proof of the simulator itself. Errors that real systems had are put in, one at a time
 * (engine/base/bugs.h, replication/metadata/raft_bugs.h), and it must find each: sim_bugs [SEEDS [BUG [FROM]]]. A build
 * of its own has them.
 *
 * Some errors of the metadata quorum are left to tests/quorum/quorum_bugs.c, whose runs have nothing but elections.
 *
 * change_at_batch_offset: each record of the quorum's log is a batch of its own here, so that the two offsets are one.
 *
 * bootstrap_by_majority: takes two disks that are lost at once, which may be all that had what was promised.
 *
 * answers_early: a leader judges a command by no less than was decided when it came (quorum_ops.c, append()), so that
 * nobody is told what was not so.
 *
 * answer_echoes_epoch: who is behind learns the epoch from the leader that it looks for, too.
 *
 * old_epoch_counted (Raft, figure 8): takes a leader that has its predecessor's record on a majority, is lost before
 * its own first one is, and is followed by one that has neither.
 *
 * change_before_own_epoch: takes a change that its predecessor has begun, and the moment until its first record is
 * decided, in which it would have to be lost, too.
 *
 * snapshot_epoch_unread: takes a log that parts from the leader's where that begins, at the place of its snapshot. */
#include "engine/base/bugs.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "replication/metadata/raft_bugs.h"
#include "tests/sim/run.h"

struct bugs bugs;

/* The worlds that an error can show in. */
enum world_kind {
    ALONE,   /* one node */
    DATA,    /* a cluster, with topics */
    NAMES,   /* one in which topics come and go */
    SEESAW,  /* one whose replicas lead in turn */
    MEMBERS, /* a cluster, with members of a group */
    CLUSTER, /* any */
};

#define ENTRY(of, name, kind, from)                                                                                    \
    {                                                                                                                  \
#name, &of.name, kind, from                                                                                    \
    }
#define BUG_ENTRY(name, kind, from) ENTRY(bugs, name, kind, from)
#define RAFT_ENTRY(name, kind, from) ENTRY(raft_bugs, name, kind, from)

static const struct {
    const char *name;
    bool *put_in;
    enum world_kind kind;
    uint64_t from; /* the seed to begin with: one found it at or not far behind it, when this was written */
} all[] = {
    BUG_ENTRY(cuts_to_high_watermark, DATA, 1015),
    BUG_ENTRY(fetches_not_fenced, DATA, 565),
    BUG_ENTRY(isr_not_compared, DATA, 30),
    BUG_ENTRY(stale_epoch_joins, DATA, 110),
    BUG_ENTRY(isr_keeps_old_end, DATA, 112),
    BUG_ENTRY(counts_diverging, DATA, 250),
    BUG_ENTRY(cut_epochs_unsynced, DATA, 280),
    BUG_ENTRY(recovery_point_ahead, ALONE, 1),
    BUG_ENTRY(clean_mark_late, ALONE, 199),
    BUG_ENTRY(compacts_undecided, DATA, 880),
    BUG_ENTRY(compaction_loses_end, ALONE, 1),
    BUG_ENTRY(leads_on_after_loss, DATA, 15),
    BUG_ENTRY(appends_after_failure, ALONE, 3),
    BUG_ENTRY(answers_before_known, DATA, 1340),
    BUG_ENTRY(diverges_once, SEESAW, 1),
    BUG_ENTRY(mark_before_cut, SEESAW, 1),
    BUG_ENTRY(gaps_taken, SEESAW, 1),
    BUG_ENTRY(appends_twice, DATA, 22),
    BUG_ENTRY(commits_unfenced, MEMBERS, 45),
    BUG_ENTRY(offsets_taken_for_none, MEMBERS, 521),
    BUG_ENTRY(coordinator_unloaded, MEMBERS, 5),
    BUG_ENTRY(old_coordinator_goes_on, MEMBERS, 185),
    BUG_ENTRY(given_before_let_go, MEMBERS, 13),
    BUG_ENTRY(leaver_keeps_its_target, MEMBERS, 1),
    BUG_ENTRY(seal_ends_by_time, ALONE, 163),
    BUG_ENTRY(judged_by_asker, NAMES, 35),
    BUG_ENTRY(later_clock_wins, NAMES, 1),
    BUG_ENTRY(snapshot_of_some, NAMES, 1),
    BUG_ENTRY(lease_from_answer, CLUSTER, 355),
    BUG_ENTRY(lease_not_asked, DATA, 1),
    BUG_ENTRY(session_not_granted, CLUSTER, 1),
    RAFT_ENTRY(lease_from_arrival, CLUSTER, 325),
    RAFT_ENTRY(lone_voter_keeps_epoch, CLUSTER, 1),
    RAFT_ENTRY(ack_moves_back, CLUSTER, 157),
    RAFT_ENTRY(high_watermark_moves_back, CLUSTER, 1),
    RAFT_ENTRY(voters_before_lost, CLUSTER, 125),
    RAFT_ENTRY(removed_voter_stands, CLUSTER, 33),
    RAFT_ENTRY(candidate_skips_pre_vote, CLUSTER, 1),
    RAFT_ENTRY(wiped_voter_votes, CLUSTER, 65),
    RAFT_ENTRY(ack_before_flush, CLUSTER, 1),
    RAFT_ENTRY(never_resigns, CLUSTER, 9),
    RAFT_ENTRY(pre_vote_with_leader, CLUSTER, 1),
    RAFT_ENTRY(two_changes_at_once, CLUSTER, 1),
    RAFT_ENTRY(votes_for_behind, CLUSTER, 11),
    RAFT_ENTRY(vote_not_persisted, CLUSTER, 1036),
};

enum {
    BUGS = sizeof all / sizeof *all,
    SEEDS = 2000,
    CONTROLS = 20,
    TRIAL_S = 5 /* of its processor */,
    JOBS_MAX = 64
};

static void quiet(int level, const char *line)
{
    (void)level;
    (void)line;
}

/* One seed, in a process of its own: an assertion of the product that ends it has found the error, too. */
struct trial {
    uint64_t seed;
    pid_t pid;
    int from; /* where it says what it found */
};

static struct trial begin(uint64_t seed, int nodes)
{
    struct trial trial = {.seed = seed};
    int ends[2];
    if (pipe(ends) != 0)
        abort();
    trial.from = ends[0];
    trial.pid = fork();
    if (trial.pid < 0)
        abort();
    if (trial.pid > 0) {
        close(ends[1]);
        return trial;
    }
    char failure[WORLD_FAILURE_BYTES];
    int nowhere = open("/dev/null", O_WRONLY);
    if (nowhere < 0 || dup2(nowhere, STDERR_FILENO) < 0)
        abort();
    struct rlimit limit = {TRIAL_S, TRIAL_S};
    if (setrlimit(RLIMIT_CPU, &limit) != 0)
        abort();
    run_seed(seed, nodes, false, NULL, failure);
    _exit(write(ends[1], failure, strlen(failure)) < 0);
}

static void end(const struct trial *trial, char failure[WORLD_FAILURE_BYTES])
{
    int status;
    ssize_t len = read(trial->from, failure, WORLD_FAILURE_BYTES - 1);
    failure[len > 0 ? len : 0] = '\0';
    close(trial->from);
    if (waitpid(trial->pid, &status, 0) < 0)
        abort();
    if (WIFSIGNALED(status))
        snprintf(failure, WORLD_FAILURE_BYTES, WTERMSIG(status) == SIGKILL ? "it comes to no end" : "an assertion");
}

/* The next seed, this one or a later one, whose world is of that kind. */
static uint64_t next_of(enum world_kind kind, uint64_t seed)
{
    while ((kind == DATA && (run_is_of_metadata(seed) || run_is_seesaw(seed))) ||
           (kind == NAMES && !run_is_of_metadata(seed)) || (kind == SEESAW && !run_is_seesaw(seed)) ||
           (kind == MEMBERS && !run_has_members(seed)))
        seed++;
    return seed;
}

/* The first seed of [from, end) that fails; 0: none. As many at a time as there are processors. */
static uint64_t find(enum world_kind kind, uint64_t from, uint64_t end_seed, char failure[WORLD_FAILURE_BYTES])
{
    long jobs = sysconf(_SC_NPROCESSORS_ONLN) < JOBS_MAX ? sysconf(_SC_NPROCESSORS_ONLN) : JOBS_MAX;
    for (uint64_t seed = next_of(kind, from); seed < end_seed;) {
        struct trial trials[JOBS_MAX];
        uint64_t found = 0;
        long count = 0;
        for (; count < jobs && seed < end_seed; seed = next_of(kind, seed + 1))
            trials[count++] = begin(seed, kind == ALONE ? 1 : 0);
        for (long i = 0; i < count; i++) {
            char text[WORLD_FAILURE_BYTES];
            end(&trials[i], text);
            if (text[0] == '\0' || found != 0)
                continue;
            found = trials[i].seed;
            memcpy(failure, text, sizeof text);
        }
        if (found != 0)
            return found;
    }
    return 0;
}

/* Without an error nothing is found. */
static int find_nothing(enum world_kind kind)
{
    char failure[WORLD_FAILURE_BYTES];
    uint64_t seed = find(kind, 1, 1 + CONTROLS, failure);
    if (seed == 0)
        return 0;
    printf("# without an error in it seed %" PRIu64 "%s finds: %s\n", seed, kind == ALONE ? " of one node" : "",
           failure);
    return 1;
}

int main(int argc, char **argv)
{
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : SEEDS;
    char failure[WORLD_FAILURE_BYTES];
    int missed = 0, number = 0;

    log_sink_set(quiet);
    if (argc <= 2)
        missed += find_nothing(ALONE) + find_nothing(DATA) + find_nothing(NAMES) + find_nothing(SEESAW) +
                  find_nothing(MEMBERS);
    printf("1..%d\n", argc > 2 ? 1 : BUGS);
    for (size_t i = 0; i < BUGS; i++) {
        if (argc > 2 && strcmp(argv[2], all[i].name) != 0)
            continue;
        memset(&bugs, 0, sizeof bugs);
        memset(&raft_bugs, 0, sizeof raft_bugs);
        *all[i].put_in = true;
        uint64_t from = argc > 3 ? strtoull(argv[3], NULL, 10) : all[i].from;
        /* What is not found there any more may be in front of it by now. */
        uint64_t seed = find(all[i].kind, from, 1 + seeds, failure);
        if (seed == 0)
            seed = find(all[i].kind, 1, from, failure);
        number++;
        missed += seed == 0;
        if (seed != 0)
            printf("ok %d - %s is found: seed %" PRIu64 ": %s\n", number, all[i].name, seed, failure);
        else
            printf("not ok %d - %s is not found in %" PRIu64 " seeds\n", number, all[i].name, seeds);
        fflush(stdout);
    }
    return missed > 0;
}
