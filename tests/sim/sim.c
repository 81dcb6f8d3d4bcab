/* tests/sim/sim.c: the simulator: whole nodes, engine and replication, alone or in clusters, each run in one thread
 * from one seed, and as many runs beside each other as there are processors.
 *
 *     build/tests/sim                        SIM_SEEDS seeds (2000), from SIM_SEED on (1)
 *     SIM_NODES=3                            of so many nodes; 0: 3 to 5, by the seed; without it 1
 *     SIM_JOBS=1                             of so many processes
 *     SIM_SEED=77 SIM_SEEDS=1 SIM_VERBOSE=1 build/tests/sim   one of them, told step by step
 *
 * Every 47th seed is run twice, of which there are such of all kinds: both runs have to be the same, bit for bit. A
 * process that ends over a seed (an assertion, a sanitizer) has failed with it, and another one goes on with the next.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/net_check.h"
#include "tests/sim/run.h"

enum { TWICE = 47, FAILURES_SHOWN = 10, JOBS_MAX = 64 };

/* What all processes see. */
struct board {
    _Atomic uint64_t next; /* seed that nobody has begun */
    _Atomic unsigned failed;
    uint64_t seeds[JOBS_MAX]; /* which one each is at; 0: none */
    struct totals totals[JOBS_MAX];
};

static struct board *board;
static uint64_t first, count;
static int nodes;
static bool verbose;

static void quiet(int level, const char *line)
{
    (void)level;
    (void)line;
}

static uint64_t number(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? strtoull(text, NULL, 10) : fallback;
}

static void print_totals(const struct totals *totals)
{
    printf("# %" PRIu64 " seeds: %" PRIu64 " calls answered, %" PRIu64 " lines checked, %" PRIu64
           " lost with the power, %" PRIu64 " batches found whose caller died; %" PRIu64 " crashes, %" PRIu64
           " of them power cuts, %" PRIu64 " clean stops; writes torn %" PRIu64 ", lost %" PRIu64 ", of zeros %" PRIu64
           ", refused for room %" PRIu64 ", failed %" PRIu64 "\n",
           count, totals->answers, totals->lines_checked, totals->lines_lost, totals->batches_found, totals->crashes,
           totals->power_cuts, totals->stops, totals->faults[DISK_FAULT_TORN], totals->faults[DISK_FAULT_LOST],
           totals->faults[DISK_FAULT_ZEROS], totals->faults[DISK_FAULT_FULL], totals->faults[DISK_FAULT_FAILED]);
    if (totals->sessions > 0) {
        printf("# %" PRIu64 " sessions between nodes, %" PRIu64
               " of them with a connection that the other side had lost, %" PRIu64 " frames; %" PRIu64
               " known deaths; %" PRIu64 " seconds lived; %" PRIu64 " unclean elections, %" PRIu64
               " disks replaced, %" PRIu64 " nodes unregistered\n",
               totals->sessions, totals->crossed, totals->frames, totals->deaths, totals->lived_ms / 1000,
               totals->unclean, totals->wipes, totals->retired);
    }
}

static void has_failed(uint64_t seed, const char *failure)
{
    printf("not ok %" PRIu64 " - seed %" PRIu64 ": %s\n# SIM_NODES=%d SIM_SEED=%" PRIu64
           " SIM_SEEDS=1 SIM_VERBOSE=1 build/tests/sim\n",
           seed - first + 1, seed, failure, nodes, seed);
    fflush(stdout);
    board->failed++;
}

static void try_seed(uint64_t seed, struct totals *totals)
{
    char failure[WORLD_FAILURE_BYTES] = "", again[WORLD_FAILURE_BYTES];
    if (nodes != 1)
        net_check(seed, failure, sizeof failure);
    uint64_t trace = failure[0] != '\0' ? 0 : run_seed(seed, nodes, verbose, totals, failure);
    if (failure[0] == '\0' && seed % TWICE == 0 && run_seed(seed, nodes, false, NULL, again) != trace)
        snprintf(failure, sizeof failure, "two runs of one seed differ");
    if (failure[0] != '\0')
        has_failed(seed, failure);
}

/* One seed after the other, until there are no more. */
static void work(int job)
{
    while (board->failed < FAILURES_SHOWN) {
        uint64_t seed = atomic_fetch_add(&board->next, 1);
        if (seed >= first + count)
            break;
        board->seeds[job] = seed;
        try_seed(seed, &board->totals[job]);
        board->seeds[job] = 0;
    }
}

static pid_t begin(int job)
{
    pid_t pid = fork();
    assert(pid >= 0);
    if (pid == 0) {
        work(job);
        exit(0);
    }
    return pid;
}

/* A process has ended. true: its place is to be taken. */
static bool end(int job, int status)
{
    uint64_t seed = board->seeds[job];
    char failure[80];
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return false;
    snprintf(failure, sizeof failure, "its process ended by %s %d", WIFSIGNALED(status) ? "signal" : "exit status",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    has_failed(seed != 0 ? seed : first, failure);
    board->seeds[job] = 0;
    return seed != 0 && board->failed < FAILURES_SHOWN;
}

static void work_together(int jobs)
{
    pid_t pids[JOBS_MAX];
    int left = jobs, status;
    for (int job = 0; job < jobs; job++)
        pids[job] = begin(job);
    while (left > 0) {
        pid_t ended = wait(&status);
        assert(ended > 0);
        for (int job = 0; job < jobs; job++) {
            if (pids[job] != ended)
                continue;
            pids[job] = end(job, status) ? begin(job) : -1;
            left -= pids[job] < 0;
        }
    }
}

static struct totals sum(int jobs)
{
    struct totals all = {0};
    for (int job = 0; job < jobs; job++) {
        for (size_t i = 0; i < sizeof all / sizeof(uint64_t); i++)
            ((uint64_t *)&all)[i] += ((const uint64_t *)&board->totals[job])[i];
    }
    return all;
}

int main(void)
{
    first = number("SIM_SEED", 1);
    count = number("SIM_SEEDS", 2000);
    nodes = (int)number("SIM_NODES", 1);
    verbose = getenv("SIM_VERBOSE") != NULL;
    uint64_t jobs = number("SIM_JOBS", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
    jobs = jobs < 1 || count == 1 ? 1 : jobs > JOBS_MAX ? JOBS_MAX : jobs;
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(board != MAP_FAILED);
    board->next = first;
    if (!verbose)
        log_sink_set(quiet);
    if (jobs == 1)
        work(0);
    else
        work_together((int)jobs);
    struct totals totals = sum((int)jobs);
    print_totals(&totals);
    if (board->failed == 0)
        printf("ok 1 - %" PRIu64 " seeds of %s\n", count, nodes == 1 ? "one node" : "clusters");
    return board->failed > 0;
}
