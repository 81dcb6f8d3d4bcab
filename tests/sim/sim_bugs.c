/* tests/sim/sim_bugs.c: the proof of the simulator itself. Errors that real systems had are put in, one at a time
 * (engine/base/bugs.h), and it must find each: sim_bugs [SEEDS [BUG]]. A build of its own has them.
 *
 * The errors of the metadata quorum are put in by tests/quorum/quorum_bugs.c. */
#include "engine/base/bugs.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "tests/sim/run.h"

struct bugs bugs;

#define BUG_ENTRY(name, nodes, from)                                                                                   \
    {                                                                                                                  \
#name, offsetof(struct bugs, name), nodes, from                                                                \
    }

static const struct {
    const char *name;
    size_t at;
    int nodes;     /* in the world that it must be found in */
    uint64_t from; /* the seed to begin with: one found it not far behind, when this was written */
} all[] = {
    BUG_ENTRY(diverges_once, 0, 330),          BUG_ENTRY(fetches_not_fenced, 0, 130),
    BUG_ENTRY(isr_not_compared, 0, 20),        BUG_ENTRY(isr_keeps_old_end, 0, 215),
    BUG_ENTRY(counts_diverging, 0, 20),        BUG_ENTRY(leads_on_after_loss, 0, 1),
    BUG_ENTRY(appends_twice, 0, 25),           BUG_ENTRY(recovery_point_ahead, 1, 1),
    BUG_ENTRY(clean_mark_late, 1, 170),        BUG_ENTRY(appends_after_failure, 1, 1),
    BUG_ENTRY(commits_unfenced, 0, 955),       BUG_ENTRY(offsets_taken_for_none, 0, 130),
    BUG_ENTRY(coordinator_unloaded, 0, 1),     BUG_ENTRY(old_coordinator_goes_on, 0, 165),
    BUG_ENTRY(leaver_keeps_its_target, 0, 55), BUG_ENTRY(seal_ends_by_time, 1, 20),
};

enum { BUGS = sizeof all / sizeof *all, SEEDS = 2000, CONTROLS = 20, TRIAL_S = 60, JOBS_MAX = 64 };

static void quiet(int level, const char *line)
{
    (void)level;
    (void)line;
}

/* One seed, in a process of its own: an assertion of the product that ends it has found the error, too. */
struct trial {
    pid_t pid;
    int from; /* where it says what it found */
};

static struct trial begin(uint64_t seed, int nodes)
{
    struct trial trial;
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
    alarm(TRIAL_S);
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
        snprintf(failure, WORLD_FAILURE_BYTES, WTERMSIG(status) == SIGALRM ? "it comes to no end" : "an assertion");
}

/* The first seed from that one on that fails; 0: none of so many. As many at a time as there are processors. */
static uint64_t find(int nodes, uint64_t from, uint64_t seeds, char failure[WORLD_FAILURE_BYTES])
{
    long jobs = sysconf(_SC_NPROCESSORS_ONLN) < JOBS_MAX ? sysconf(_SC_NPROCESSORS_ONLN) : JOBS_MAX;
    for (uint64_t seed = from; seed < from + seeds; seed += (uint64_t)jobs) {
        struct trial trials[JOBS_MAX];
        uint64_t found = 0;
        for (long i = 0; i < jobs; i++)
            trials[i] = begin(seed + (uint64_t)i, nodes);
        for (long i = 0; i < jobs; i++) {
            char text[WORLD_FAILURE_BYTES];
            end(&trials[i], text);
            if (text[0] == '\0' || found != 0)
                continue;
            found = seed + (uint64_t)i;
            memcpy(failure, text, sizeof text);
        }
        if (found != 0)
            return found;
    }
    return 0;
}

/* Without an error nothing is found. */
static int find_nothing(int nodes)
{
    char failure[WORLD_FAILURE_BYTES];
    uint64_t seed = find(nodes, 1, CONTROLS, failure);
    if (seed == 0)
        return 0;
    printf("# without an error in it seed %" PRIu64 " of %d nodes finds: %s\n", seed, nodes, failure);
    return 1;
}

int main(int argc, char **argv)
{
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : SEEDS;
    char failure[WORLD_FAILURE_BYTES];
    int missed = 0, number = 0;

    log_sink_set(quiet);
    missed += find_nothing(1);
    missed += find_nothing(0);
    printf("1..%d\n", argc > 2 ? 1 : BUGS);
    for (size_t i = 0; i < BUGS; i++) {
        if (argc > 2 && strcmp(argv[2], all[i].name) != 0)
            continue;
        memset(&bugs, 0, sizeof bugs);
        *((bool *)&bugs + all[i].at) = true;
        uint64_t seed = find(all[i].nodes, all[i].from, seeds, failure);
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
