/* tests/hands/hands.h: one descriptor, many hands: several threads of several processes use the same open files of one
 * topic at once, in every way in which Linux lets them read and write, and afterwards what they were told is held
 * against what is there.
 *
 * A hand is one thread. Everything that it writes is made of fragments that say who wrote them (text.h), so that what
 * comes out can be taken apart again: a line holds the fragments of one open file, in the order of its writes, however
 * many hands had it open. What each hand did and was told stands in memory that all processes share. All random choices
 * come from one seed, each hand's from a stream of its own. */
#ifndef LOGMNT_TESTS_HANDS_HANDS_H
#define LOGMNT_TESTS_HANDS_HANDS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    PROCESSES = 3,
    WRITERS = 4, /* hands of a process that write */
    READERS = 2, /* that read */
    FOLLOWERS = 2,
    HANDS = PROCESSES * (WRITERS + READERS + FOLLOWERS),
    PARTITIONS = 3,
    FRAGMENTS_MAX = 1 << 15, /* of one hand */
    READS_MAX = 1 << 15,
    SHARED_FILES = 7,             /* opened before the processes are made */
    READ_AND_WRITTEN = 1,         /* of them, the one that is read, too */
    FILES = SHARED_FILES + HANDS, /* and those that a hand opens for one write each */
    REQUEST_BYTES = 1 << 20,      /* as the kernel cuts what is written */
};

/* What a run is like; from the command line. */
struct story {
    const char *topic; /* its directory */
    uint64_t seed;
    int writes;         /* of each writing hand */
    int64_t max_record; /* max.message.bytes */
    bool tails;         /* writes may end within a line */
    bool pieces;        /* they may be larger than the kernel hands over at once */
    bool keyed;         /* key.separator is ':' */
    bool flips;         /* O_APPEND comes and goes */
    bool parks;         /* min.insync.replicas goes up and down, and signals come */
};

/* What a fragment's writer was told. */
enum fate {
    FATE_NONE,  /* an error, or it was never tried: it is not there */
    FATE_ACKED, /* it is there, once */
    FATE_TRIED, /* its write never returned */
};

struct fragment {
    uint32_t len;
    uint32_t write; /* which of its hand's */
    uint32_t group; /* writes under way at once share one: their order cannot be told */
    uint16_t last;  /* how many fragments with a newline follow in the same write */
    uint8_t file;   /* the open file that it was written through */
    uint8_t fate;   /* enum fate */
    bool ends;      /* its newline came with it */
    bool whole;     /* its write was handed over in one piece */
    uint8_t found;  /* how often it was */
};

/* What files were read through. */
enum view {
    VIEW_BY_POSITION, /* pread and its like: at says where */
    VIEW_SPLICED,     /* likewise, through the kernel's page cache */
    VIEW_IN_TURN,     /* read(2) of one open file that all hands share: each byte goes to one of them */
    VIEW_FOLLOW,      /* by position, in .follow */
    VIEW_FOLLOW_IN_TURN,
    VIEW_JSON, /* by position, in .json */
    VIEW_JSON_IN_TURN,
    VIEWS
};

struct reading {
    int64_t at;
    uint32_t len;
    uint8_t view;
    uint8_t partition;
    uint64_t hash;
};

struct hand_log {
    struct fragment fragments[FRAGMENTS_MAX];
    uint32_t fragment_count;
    uint32_t letters, letters_tried; /* one-byte lines that were acknowledged; that may or may not be there */
    struct reading readings[READS_MAX];
    uint32_t reading_count;
    char complaint[256]; /* what went wrong; empty: nothing */
};

/* What all processes share. */
struct world {
    struct story story;
    _Atomic int writing; /* hands that still write */
    _Atomic bool over;   /* nothing is written any more but what wakes followers */
    _Atomic bool failed;
    _Atomic int closes[FILES];               /* how often the last descriptor of such an open file was closed */
    _Atomic bool oversize[FILES];            /* a line through it was too long */
    _Atomic int64_t follow_upto[PARTITIONS]; /* how far anybody has read of what is read by position */
    _Atomic int64_t json_upto[PARTITIONS];
    struct hand_log logs[HANDS + 1]; /* the last is the first process's own */
};

/* Open files that all hands share. */
struct files {
    int write_fd[SHARED_FILES];
    int by_position[PARTITIONS];
    int in_turn[PARTITIONS];
    int follow[PARTITIONS];
    int follow_in_turn[PARTITIONS];
    int json[PARTITIONS];
    int json_in_turn[PARTITIONS];
};

/* One thread's. */
struct hand {
    struct world *world;
    const struct files *files;
    struct hand_log *log;
    int id;
    uint64_t random;
    struct rings *rings; /* rings.h */
    uint8_t *buffer;     /* for reading */
    uint8_t *text;       /* for writing */
};

/* The number of partition that a shared file for writing appends to; -1: `.any`. */
int hands_partition(int file);
/* A random number below limit. */
uint64_t hands_below(struct hand *hand, uint64_t limit);
bool hands_chance(struct hand *hand, int percent);
/* The first complaint of a hand stays, and everything ends soon. Says which call, with errno if it is not 0. */
void hands_complain(struct hand *hand, const char *what, int error);
uint64_t hands_hash(const uint8_t *bytes, size_t len);

#endif
