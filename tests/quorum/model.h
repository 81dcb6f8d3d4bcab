/* tests/quorum/model.h: a whole quorum in one thread, from one seed: the machines of replication/metadata/raft.h, toy
 * logs, a model of fetching, disks that lose what was not flushed, and a network that loses, doubles, delays and
 * reorders. Time is a number; the queue of what is to come decides what it is next. */
#ifndef LOGMNT_TESTS_QUORUM_MODEL_H
#define LOGMNT_TESTS_QUORUM_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "replication/metadata/raft.h"

enum {
    NODES_MAX = 6,
    LOG_MAX = 1500, /* offsets of one run */
    SEEN_MAX = 16,  /* epochs that were ever at one offset */
    EPOCHS_MAX = 4096,
    FETCH_MAX = 24, /* records of one answer */
    INBOX_MAX = 256,
};

/* ---- chance ---- */

struct chance {
    uint64_t state;
};
uint32_t chance_below(struct chance *chance, uint32_t below);
bool chance_percent(struct chance *chance, unsigned percent);

/* ---- a log ---- */

enum record_kind { RECORD_COMMAND, RECORD_LEADER, RECORD_VOTERS };

struct record {
    int32_t epoch;
    int32_t value; /* unlike any other's */
    uint8_t kind;
    uint8_t index; /* in its batch */
    int16_t set;   /* RECORD_VOTERS: in model.sets */
};

/* What lies on the disk survives; what lies between flushed and end may not. */
struct toy_log {
    struct raft_log facts; /* first */
    int64_t start, end, flushed;
    int32_t start_epoch; /* of the record before start; -1: none */
    int16_t start_set;   /* in force there; -1: none */
    int64_t start_set_offset;
    int16_t set; /* in force at the end, and the offset of its record; -1: none */
    int64_t set_offset;
    unsigned generation; /* counts truncations and resets: a flush that began before one is void */
    struct record records[LOG_MAX];
};

void toy_log_init(struct toy_log *log);
void toy_log_append(struct toy_log *log, const struct record *records, int count);
void toy_log_truncate(struct toy_log *log, int64_t end);
void toy_log_reset(struct toy_log *log, int64_t start, int32_t epoch, int16_t set, int64_t set_offset);
/* Drops what is below start; the voters in force there are found in the records. */
void toy_log_trim(struct toy_log *log, int64_t start);
/* A crash: keeps what was flushed and, of the rest, as many whole batches as chance wants. */
void toy_log_crash(struct toy_log *log, struct chance *chance);
int32_t toy_log_epoch_at(const struct toy_log *log, int64_t offset); /* of the record before offset */
/* Kafka's OffsetsForLeaderEpoch: the largest epoch not above `epoch`, and where it ends. As the real log, this one
 * knows no epochs of what lay before its start but the one that goes on there: below all that it knows, `epoch` itself
 * ended there. */
int32_t toy_log_epoch_end(const struct toy_log *log, int32_t epoch, int64_t *end);

/* ---- messages on their way ---- */

struct packet {
    struct raft_message message;
    int64_t session; /* FETCH and its answer: of the follower */
    int64_t asked;   /* FETCH_ANSWER: the offset that was asked for */
    int64_t base;    /* FETCH_ANSWER: of records; where the snapshot ends */
    int count;
    int16_t set; /* of the snapshot */
    int64_t set_offset;
    struct record records[FETCH_MAX];
    struct packet *next;
};

/* ---- a node ---- */

struct node {
    struct raft_id self;
    struct raft raft;
    struct toy_log log;
    struct raft_state disk;  /* quorum-state, as it was persisted */
    struct raft_peers peers; /* its `peer=` list */
    int run;                 /* counts starts */
    bool up;
    bool recover; /* starts with quorum.recover */

    /* What the machine has asked for and is not done yet. */
    bool persisting;
    bool flushing;
    int action_at;
    int inbox_at, inbox_count;
    int64_t busy_until;
    int64_t tick_at;
    int64_t paused_until;
    struct raft_actions actions;
    struct {
        struct raft_event event;
        struct raft_message message;
        struct raft_voters voters, target;
        struct raft_change change;
        struct raft_peers peers;
    } inbox[INBOX_MAX];

    /* Its fetcher. */
    struct raft_id fetch_from;
    int64_t session;
    int64_t fetch_at; /* the next beat */
    int32_t fetch_epoch;

    /* What the checker knows of it. */
    bool answered;       /* as a leader, that it knows all that is decided */
    int64_t alive_until; /* its leader was heard, and does not count as dead before */
    int32_t called_in;   /* the epoch whose leader has ended it, and named this node first */
    int64_t high_watermark;
    int64_t fetched_ms[NODES_MAX]; /* as a leader */
    struct raft_id fetched_id[NODES_MAX];
    int64_t acked[NODES_MAX];

    /* As a leader: what each other asked and was not told yet; offset -1: nothing. */
    struct {
        int64_t offset, high_watermark, session;
        struct raft_id from;
        int32_t last_epoch;
        bool beat;
    } pending[NODES_MAX];
};

/* ---- the whole ---- */

enum happening_kind {
    HAPPENS_PACKET,
    HAPPENS_TICK,
    HAPPENS_GO_ON,
    HAPPENS_FLUSH,
    HAPPENS_FETCH,
    HAPPENS_EVENT,
    HAPPENS_FAULT,
    HAPPENS_CLIENT
};

struct happening {
    int64_t at;
    uint64_t seq; /* what was planned first happens first */
    enum happening_kind kind;
    int node, run;
    union {
        struct packet *packet;
        struct {
            int64_t end;
            unsigned generation;
        } flush;
        int64_t session;
        struct {
            enum raft_event_type type;
            int32_t node;
        } event;
    };
};

struct seen {
    int32_t epoch, value, epoch_before;
};

struct model {
    uint64_t seed;
    struct chance chance;
    int64_t now;
    struct node nodes[NODES_MAX];
    int count;
    struct raft_peers peers;
    bool trace;

    struct happening *heap;
    int heap_count, heap_size;
    uint64_t seq;
    struct packet *free_packets;

    /* How bad the world is. */
    bool blocked[NODES_MAX][NODES_MAX]; /* from, to */
    unsigned loss_percent, double_percent, late_percent, crash_permille, wipe_percent, false_gone_percent;
    int delay_ms, fault_ms;
    bool faults;

    struct raft_change *sets; /* every voters' record that was ever asked for; its offset means nothing */
    int set_count, set_size;
    int32_t next_value;
    int64_t next_session;

    /* What is known to be so. */
    struct {
        int32_t epoch, value;
    } decided[LOG_MAX];
    int64_t decided_end;
    struct seen seen[LOG_MAX][SEEN_MAX];
    struct {
        struct raft_id id;
        int run;
        int64_t high_watermark, answered; /* the greatest decided; the first answered, -1: none */
    } epochs[EPOCHS_MAX];
    int32_t epoch_max;
    bool wiped;         /* a disk was lost */
    bool lost_for_good; /* all that was decided may be gone: recovered */

    const char *failure; /* the first invariant that did not hold; NULL: none */
    char text[512];

    long steps, elections, changes, resets, truncations; /* that the seed saw */
};

/* 0, or 1 with model->failure and text. */
int model_run(struct model *model, uint64_t seed, bool trace);
void model_free(struct model *model);

/* cluster.c */
struct happening *model_plan(struct model *model, int64_t at, enum happening_kind kind, int node);
void model_until(struct model *model, int64_t until);
void node_event(struct model *model, struct node *node, const struct raft_event *event);
void node_send(struct model *model, struct node *node, const struct packet *packet);
void node_start(struct model *model, struct node *node);
void node_crash(struct model *model, struct node *node);
/* Appends to its log, with what the machine is to be told. */
void node_append(struct model *model, struct node *node, struct record *records, int count);
void node_flush(struct model *model, struct node *node);
void node_pump(struct model *model, struct node *node);
int16_t model_set(struct model *model, const struct raft_voters *voters, const struct raft_voters *target);
int node_number(const struct model *model, const struct node *node);
void model_trace(const struct model *model, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* fetch.c */
void fetch_tend(struct model *model, struct node *node);
void fetch_beat(struct model *model, struct node *node, int64_t session);
void fetch_request(struct model *model, struct node *node, const struct packet *packet);
void fetch_answer(struct model *model, struct node *node, const struct packet *packet);
/* The machine's answer to a fetch, with what the log has to say. */
void fetch_complete(struct model *model, struct node *node, const struct raft_message *message);
void fetch_serve(struct model *model, struct node *node);

/* check.c */
void check_failed(struct model *model, const char *failure, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void check_appended(struct model *model, const struct node *node, int64_t offset);
void check_truncated(struct model *model, const struct node *node, int64_t end);
/* Before its actions are done. */
void check_step(struct model *model, struct node *node, const struct raft_event *event, enum raft_role before,
                int32_t epoch_before);
void check_action(struct model *model, struct node *node, const struct raft_action *action);
void check_fetch(struct model *model, struct node *node, const struct raft_message *fetch, bool diverging);

/* faults.c */
void faults_happen(struct model *model);
void faults_propose(struct model *model);
void faults_end(struct model *model);
void faults_block(struct model *model, int from, int to, bool blocked);

#endif
