/* tests/hands/hands.c: one descriptor, many hands: see hands.h.
 *
 *     hands TOPIC [seed=N] [writes=N] [max=BYTES] [tails] [pieces] [keyed] [flips] [parks]
 *
 * The first process opens the files, makes the others, and, when they have ended, closes the files and checks. The seed
 * is printed. It fixes what each hand does, not how they meet. */
#include "tests/hands/hands.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "tests/hands/check.h"
#include "tests/hands/read.h"
#include "tests/hands/rings.h"
#include "tests/hands/text.h"
#include "tests/hands/trim.h"
#include "tests/hands/write.h"

enum { HANDS_OF_PROCESS = HANDS / PROCESSES, POKE_NS = 3000000 };

/* What the shared open files for writing are: some partitions twice, so that two open files append to one. */
static const struct {
    int partition; /* -1: .any */
    int flags;
} shared[SHARED_FILES] = {
    {0, O_WRONLY}, {0, O_RDWR}, {1, O_WRONLY}, {1, O_WRONLY | O_SYNC}, {2, O_WRONLY}, {-1, O_WRONLY}, {-1, O_WRONLY},
};

int hands_partition(int file)
{
    return shared[file].partition;
}

uint64_t hands_below(struct hand *hand, uint64_t limit)
{
    hand->random = hand->random * 6364136223846793005U + 1442695040888963407U;
    return (hand->random >> 24) % (limit > 0 ? limit : 1);
}

bool hands_chance(struct hand *hand, int percent)
{
    return (int)hands_below(hand, 100) < percent;
}

void hands_complain(struct hand *hand, const char *what, int error)
{
    if (hand->log->complaint[0] == '\0') {
        snprintf(hand->log->complaint, sizeof hand->log->complaint, "hand %d: %s%s%s", hand->id, what,
                 error != 0 ? ": " : "", error != 0 ? strerror(error) : "");
    }
    atomic_store(&hand->world->failed, true);
}

uint64_t hands_hash(const uint8_t *bytes, size_t len)
{
    uint64_t h = len;

    for (; len >= sizeof h; bytes += sizeof h, len -= sizeof h) {
        uint64_t word;

        memcpy(&word, bytes, sizeof word);
        h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    for (; len > 0; bytes++, len--) {
        h = (h ^ *bytes) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    return h;
}

static void die(const char *what)
{
    fprintf(stderr, "hands: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- the hands ---- */

static void *hand_run(void *arg)
{
    struct hand *hand = arg;
    int role = hand->id % HANDS_OF_PROCESS;

    hand->rings = rings_new();
    hand->buffer = malloc(READ_BUFFER_BYTES);
    hand->text = malloc(WRITE_TEXT_BYTES);
    if (hand->buffer == NULL || hand->text == NULL) {
        die("malloc");
    }
    if (role < WRITERS) {
        write_all(hand);
    } else if (role < WRITERS + READERS) {
        read_all(hand);
    } else {
        read_follow(hand);
    }
    free(hand->text);
    free(hand->buffer);
    rings_free(hand->rings);
    return NULL;
}

static void poked(int sig)
{
    (void)sig;
}

static void pause_ns(long ns)
{
    struct timespec pause = {.tv_nsec = ns};

    nanosleep(&pause, NULL);
}

/* Signals that are handled, to threads that may wait. They only come while all of them live. */
static void poke(const struct world *world, const pthread_t *threads)
{
    unsigned next = 0;

    while (!atomic_load(&world->over) && !atomic_load(&world->failed)) {
        pthread_kill(threads[next++ % HANDS_OF_PROCESS], SIGUSR1);
        pause_ns(POKE_NS);
    }
}

static void run_process(struct world *world, const struct files *files, int process)
{
    struct hand hands[HANDS_OF_PROCESS] = {0};
    pthread_t threads[HANDS_OF_PROCESS];

    for (int i = 0; i < HANDS_OF_PROCESS; i++) {
        int id = process * HANDS_OF_PROCESS + i;

        hands[i] = (struct hand){.world = world,
                                 .files = files,
                                 .log = &world->logs[id],
                                 .id = id,
                                 .random = world->story.seed * 1000003 + (uint64_t)id};
        hands_below(&hands[i], 2);
        if (pthread_create(&threads[i], NULL, hand_run, &hands[i]) != 0) {
            die("a thread");
        }
    }
    if (world->story.parks) {
        poke(world, threads);
    }
    for (int i = 0; i < HANDS_OF_PROCESS; i++) {
        pthread_join(threads[i], NULL);
    }
    _exit(0);
}

/* ---- the first process ---- */

static int open_at(const struct world *world, const char *name, int partition, int flags)
{
    char path[4096];
    int fd;

    if (partition < 0) {
        snprintf(path, sizeof path, "%s/.any", world->story.topic);
    } else {
        snprintf(path, sizeof path, "%s/%s%d", world->story.topic, name, partition);
    }
    fd = open(path, flags);
    if (fd < 0) {
        die(path);
    }
    return fd;
}

static void open_files(const struct world *world, struct files *files)
{
    for (int i = 0; i < SHARED_FILES; i++) {
        files->write_fd[i] = open_at(world, "", shared[i].partition, shared[i].flags | O_APPEND);
    }
    for (int i = 0; i < PARTITIONS; i++) {
        files->by_position[i] = open_at(world, "", i, O_RDONLY);
        files->in_turn[i] = open_at(world, "", i, O_RDONLY);
        files->follow[i] = open_at(world, ".follow/", i, O_RDONLY);
        files->follow_in_turn[i] = open_at(world, ".follow/", i, O_RDONLY);
        files->json[i] = open_at(world, ".json/", i, O_RDONLY);
        files->json_in_turn[i] = open_at(world, ".json/", i, O_RDONLY);
    }
}

/* The last closes: what waits for its newline gets it. */
static void close_written(struct world *world, const struct files *files)
{
    for (int i = 0; i < SHARED_FILES; i++) {
        if (fsync(files->write_fd[i]) != 0) {
            die("fsync");
        }
        atomic_fetch_add(&world->closes[i], 1);
        if (close(files->write_fd[i]) != 0) {
            die("close");
        }
    }
}

/* What came after the others had ended. */
static void read_rest(struct world *world, const struct files *files)
{
    struct hand hand = {
        .world = world, .files = files, .log = &world->logs[HANDS], .id = HANDS, .random = world->story.seed};

    hand.buffer = malloc(READ_BUFFER_BYTES);
    if (hand.buffer == NULL) {
        die("malloc");
    }
    for (int i = 0; i < PARTITIONS; i++) {
        read_turns(&hand, VIEW_IN_TURN, i, files->in_turn[i]);
        read_turns(&hand, VIEW_JSON_IN_TURN, i, files->json_in_turn[i]);
    }
    free(hand.buffer);
}

static void set_parking(const struct world *world, bool on)
{
    if (setxattr(world->story.topic, "user.config.min.insync.replicas", on ? "2" : "1", 1, 0) != 0) {
        die("min.insync.replicas");
    }
}

/* A line for each partition, until nobody waits in .follow any more and all processes have ended. */
static bool wake_and_reap(struct world *world, const struct files *files)
{
    char line[2] = {text_letter(HANDS), '\n'};
    struct hand_log *log = &world->logs[HANDS];
    bool ok = true;
    int left = PROCESSES;

    while (left > 0) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);

        if (pid > 0) {
            left--;
            ok = ok && WIFEXITED(status) && WEXITSTATUS(status) == 0;
            continue;
        }
        for (int i = 0; i < SHARED_FILES && hands_partition(i) >= 0; i += 2) {
            if (write(files->write_fd[i], line, sizeof line) == sizeof line) {
                log->letters++;
            }
        }
        pause_ns(POKE_NS);
    }
    return ok;
}

static bool run_hands(struct world *world, const struct files *files)
{
    for (int process = 0; process < PROCESSES; process++) {
        pid_t pid = fork();

        if (pid < 0) {
            die("fork");
        }
        if (pid == 0) {
            run_process(world, files, process);
        }
    }
    for (int round = 0; atomic_load(&world->writing) > 0 && !atomic_load(&world->failed); round++) {
        if (world->story.parks) {
            set_parking(world, round % 2 == 0);
        }
        pause_ns(POKE_NS);
    }
    if (world->story.parks) {
        set_parking(world, false);
    }
    atomic_store(&world->over, true);
    return wake_and_reap(world, files);
}

static bool complaints(const struct world *world)
{
    bool any = false;

    for (int i = 0; i <= HANDS; i++) {
        if (world->logs[i].complaint[0] != '\0') {
            fprintf(stderr, "hands: %s\n", world->logs[i].complaint);
            any = true;
        }
    }
    return any;
}

static bool check(struct world *world)
{
    struct content contents[PARTITIONS];
    struct content json[PARTITIONS];
    bool ok;
    size_t bytes = 0;

    for (int i = 0; i < PARTITIONS; i++) {
        contents[i] = content_read(world, "", i);
        json[i] = content_read(world, ".json/", i);
        bytes += contents[i].len;
    }
    ok = check_partitions(world, contents) && check_readings(world, contents, json) &&
         trim_and_read(world, &contents[0]);
    printf("hands: %zu bytes of %d hands, %s\n", bytes, HANDS, ok ? "each where it should be" : "and that is wrong");
    for (int i = 0; i < PARTITIONS; i++) {
        free(contents[i].bytes);
        free(json[i].bytes);
    }
    return ok;
}

/* ---- the command line ---- */

static void read_word(struct story *story, const char *word)
{
    static const char *const names[] = {"tails", "pieces", "keyed", "flips", "parks"};
    bool *const flags[] = {&story->tails, &story->pieces, &story->keyed, &story->flips, &story->parks};

    if (strncmp(word, "seed=", 5) == 0) {
        story->seed = strtoull(word + 5, NULL, 10);
        return;
    }
    if (strncmp(word, "writes=", 7) == 0) {
        story->writes = atoi(word + 7);
        return;
    }
    if (strncmp(word, "max=", 4) == 0) {
        story->max_record = atoll(word + 4);
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(word, names[i]) == 0) {
            *flags[i] = true;
            return;
        }
    }
    fprintf(stderr, "hands: what is %s?\n", word);
    exit(2);
}

int main(int argc, char **argv)
{
    struct files files;
    struct world *world = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct sigaction action = {.sa_handler = poked};
    bool ok;

    if (world == MAP_FAILED || argc < 2) {
        fprintf(stderr, "hands: TOPIC and words, please\n");
        return 2;
    }
    world->story = (struct story){.topic = argv[1], .writes = 40, .max_record = 32 << 20};
    if (getrandom(&world->story.seed, sizeof world->story.seed, 0) < 0) {
        die("getrandom");
    }
    world->story.seed %= 1000000;
    for (int i = 2; i < argc; i++) {
        read_word(&world->story, argv[i]);
    }
    printf("hands: seed=%llu\n", (unsigned long long)world->story.seed);
    fflush(stdout);
    sigaction(SIGUSR1, &action, NULL);
    text_begin(world->story.seed);
    atomic_store(&world->writing, PROCESSES * WRITERS);
    open_files(world, &files);
    ok = run_hands(world, &files);
    ok = !complaints(world) && ok;
    close_written(world, &files);
    read_rest(world, &files);
    return ok && check(world) && !complaints(world) ? 0 : 1;
}
