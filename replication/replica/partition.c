/* replication/replica/partition.c: a partition's life and what can be asked of it.
 *
 *     FOREIGN --- the directory is this topic's, or not there ---> CLOSED ---+--- log_open() ----------> OPEN
 *        |                                                                   |                            |
 *        |   (no room, memory or descriptors: the next append tries again)   +--- damaged --> DAMAGED     |
 *        |                                                                                       |        |
 *        +--- the topic is deleted: its name alone            RETIRED <--- it is deleted --------+--------+
 *
 * A damaged log that other replicas have all of is dropped, and a new one takes its place: OPEN (partition_damage.c).
 *
 * Opening: is the directory this topic's? → log_open() → leader epoch → high watermark. What cannot be opened is there
 * all the same, offline, so that one bad partition does not stop a node: FOREIGN and CLOSED without a log, DAMAGED with
 * one that is offline from the start. RETIRED: its directory has given up its name, and goes with the last reference.
 * Each step is made under the life lock, by open_log() and retire() alone. Every question looks first whether the topic
 * was deleted (-ESTALE) or the log is offline (-EIO); points are answered in any case. */
#include "replication/replica/partition.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/recover/log_open.h"
#include "replication/replica/partition_metadata.h"
#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/replica/remote.h"

/* ---- settings ---- */

/* log: the partition's, or what is to be; NULL: none yet. The config lock is held. */
static void set_config(struct partition *part, struct log *log)
{
    struct topic_config config;
    topic_config(part->topic, &config);
    atomic_store(&part->settings.min_insync_config, config.min_insync_replicas);
    partition_set_min_insync(part);
    atomic_store(&part->settings.log_append_time, config.log_append_time);
    atomic_store(&part->settings.framing, (int)config.log.framing);
    atomic_store(&part->settings.flush_messages, config.log.flush_messages);
    atomic_store(&part->settings.flush_ms, config.log.flush_ms);
    atomic_store(&part->settings.compact, (config.log.cleanup_policy & CLEANUP_COMPACT) != 0);
    if (log != NULL)
        log_set_config(log, &config.log);
}

void partition_renew_config(struct partition *part)
{
    pthread_mutex_lock(&part->settings.lock);
    set_config(part, part->log);
    pthread_mutex_unlock(&part->settings.lock);
}

/* ---- opening ---- */

/* Out of the way, under a name that says whose it was; never used again. A deleted topic's is removed by the look at
 * strays, after the topics were opened; any other never by us. */
static int set_aside(struct partition *part, const char *id_text, bool deleted, struct err *e)
{
    struct io *io = part->manager->io;
    int dirfd = part->manager->topics_dirfd;
    char stem[IO_NAME_BYTES], to[IO_NAME_BYTES];
    snprintf(stem, sizeof stem, "%.200s.%s", part->name, id_text);
    int rc = io_put_aside(io, dirfd, part->name, stem, deleted ? "delete" : "stray", to);
    if (rc == 0)
        rc = io->fsync(io, dirfd);
    if (rc != 0)
        return err_sys(e, rc, "%s: set the directory of another topic aside", part->name);
    if (!deleted)
        log_line(LOG_WARNING, "%s: its directory belonged to another topic and is now topics/%s", part->name, to);
    return 0;
}

/* A start that did not know yet that an older topic of this name is gone has set this one's directory aside: it is put
 * back. Its place is free. */
static int put_back(struct partition *part, struct err *e)
{
    enum { TRIED = 8 }; /* more than starts in a row that knew no better */
    struct io *io = part->manager->io;
    char id_text[UUID_TEXT_BYTES], from[IO_NAME_BYTES];
    int rc = -ENOENT;
    uuid_text(part->topic->id, id_text);
    for (unsigned n = 0; n < TRIED && rc == -ENOENT; n++) {
        snprintf(from, sizeof from, "%.200s.%s.%u-stray", part->name, id_text, n);
        rc = io->rename(io, part->manager->topics_dirfd, from, part->manager->topics_dirfd, part->name);
    }
    if (rc == -ENOENT)
        return 0;
    if (rc == 0)
        rc = io->fsync(io, part->manager->topics_dirfd);
    if (rc != 0)
        return err_sys(e, rc, "%s: put its directory back", part->name);
    log_line(LOG_NOTICE, "%s: its directory is back from topics/%s", part->name, from);
    return 0;
}

/* Is DATA/topics/NAME, if it is there, this topic's? Afterwards it is, or it is not there. *named: it says so itself.
 */
static int claim_directory(struct partition *part, bool made, bool *named, struct err *e)
{
    struct io *io = part->manager->io;
    uint8_t id[UUID_BYTES];
    *named = false;
    int dirfd = io->open(io, part->manager->topics_dirfd, part->name, O_RDONLY | O_DIRECTORY, 0);
    if (dirfd == -ENOENT && !made) {
        int rc = put_back(part, e);
        if (rc != 0)
            return rc;
        dirfd = io->open(io, part->manager->topics_dirfd, part->name, O_RDONLY | O_DIRECTORY, 0);
    }
    if (dirfd == -ENOENT)
        return 0;
    if (dirfd < 0)
        return err_sys(e, dirfd, "open %s", part->name);
    int rc = partition_metadata_read(io, dirfd, id, e);
    io->close(io, dirfd);
    if (rc == 0 && memcmp(id, part->topic->id, UUID_BYTES) == 0) {
        *named = true;
        return 0;
    }
    if (rc == 0) {
        char text[UUID_TEXT_BYTES];
        uuid_text(id, text);
        rc = set_aside(part, text, stray_has(&part->manager->stray, id), e);
        return rc == 0 ? claim_directory(part, made, named, e) : rc;
    }
    if (made) {
        rc = set_aside(part, "unknown", false, e);
        return rc == 0 ? claim_directory(part, made, named, e) : rc;
    }
    /* One whose bytes a power cut took is ours: another topic's would have been renamed before ours was made. */
    return rc == -ENOENT ? 0 : err_wrap(e, rc, "open %s", part->name);
}

/* partition.metadata. */
static int name_directory(struct partition *part, struct err *e)
{
    struct io *io = part->manager->io;
    int dirfd = io->open(io, part->manager->topics_dirfd, part->name, O_RDONLY | O_DIRECTORY, 0);
    if (dirfd < 0)
        return err_sys(e, dirfd, "open %s", part->name);
    /* Among others a start may know of an older topic of this name alone: one that does not say whose it is would be
     * taken for that one's, and go with it. Of groups' offsets there is no older one: they are never deleted. */
    bool only = part->topic->internal && !part->topic->own;
    bool durable = quorum_has_peers(part->manager->quorum) && !only;
    int rc = partition_metadata_write(io, dirfd, part->topic->id, durable, e);
    io->close(io, dirfd);
    return rc;
}

/* partition.metadata, and from the log's epochs the one in which this node leads. */
static int open_epoch(struct partition *part, struct log *log, bool named, bool recovered, struct err *e)
{
    bool empty = log_start(log).offset >= log_end(log).offset;
    int rc = named ? 0 : name_directory(part, e);
    /* One that a power cut took is written again by a later start: nobody who reads has to wait for room. */
    if (rc != 0 && (empty || !err_is_full_disk(rc)))
        return err_wrap(e, rc, "open %s", part->name);

    int32_t latest = log_latest_epoch(log);
    int32_t own = recovered || latest < 0 ? latest + 1 : latest;
    assert(!recovered || own > latest); /* REPLICATION.md, rule 3 */
    /* Where it had to wait for room, the cluster may have decided on others meanwhile (life lock). */
    atomic_store(&part->leader_epoch, part->registered ? partition_epoch_by(&part->registration, own) : own);
    atomic_store(&part->epoch.assigned, false);
    return 0;
}

/* The high watermark of the last checkpoint, as far as the log still holds it; then what the ISR says. */
static void open_high_watermark(struct partition *part, struct log *log)
{
    struct log_point start = log_start(log), end = log_end(log);
    struct log_point hw =
        log_clip(log, part->disk.known_high_watermark.cuts,
                 (struct log_point){part->disk.known_high_watermark.offset, part->disk.known_high_watermark.position});
    if (log_offline(log) == 0) {
        /* What is appended now must not be taken for what the checkpoint speaks of. */
        if (hw.offset > end.offset)
            atomic_store(&part->manager->checkpoints_ahead, true);
        if (hw.offset >= end.offset)
            hw = end;
        else if (hw.offset <= start.offset)
            hw = start;
        else if (log_lookup_offset(log, hw.offset, end, &hw, NULL) != 0)
            hw = start;
    }
    pthread_mutex_lock(&part->lock);
    part->isr.high_watermark = hw;
    /* isr_init() took the checkpoint's, which may lie behind the end of what a crash left; this one's also where it was
     * registered before there was room to open it. */
    for (int i = 0; i < part->isr.count; i++) {
        if (!part->registered || part->isr.replicas[i].id == part->manager->id)
            part->isr.replicas[i].end = hw;
    }
    /* What of the metadata log is decided is the quorum's to say. */
    if (part->isr.count == 1 && !part->topic->own) {
        isr_advance(&part->isr, part->manager->id, end);
        isr_update(&part->isr, atomic_load(&part->settings.min_insync_replicas));
    }
    pthread_mutex_unlock(&part->lock);
}

/* The settings may have changed since the log was opened with them: whoever changes them now does so before, and the
 * log has them here, or finds the log. So no lock of the topic's is held while a log is recovered. Who sees the life
 * sees the log. */
static void publish(struct partition *part, struct log *log, int life)
{
    partition_flush_begin(part, log);
    pthread_mutex_lock(&part->settings.lock);
    set_config(part, log);
    atomic_store(&part->log, log);
    pthread_mutex_unlock(&part->settings.lock);
    atomic_store(&part->disk.life, life);
}

/* All of it, from FOREIGN or CLOSED; with the life lock held once others know the partition. */
static int open_log(struct partition *part, bool made, struct err *e)
{
    bool named = false, recovered = false;
    struct topic_config config;
    struct log *log;
    int rc = claim_directory(part, made, &named, e);
    if (rc != 0)
        return rc;
    assert(!made || !named); /* REPLICATION.md, rule 12: nothing bears an id that was chosen since this node started */
    atomic_store(&part->disk.life, LIFE_CLOSED);
    topic_config(part->topic, &config);
    rc = log_open(&part->manager->env, part->name, &config.log, &part->disk.known, &log, &recovered, e);
    if (log == NULL)
        return rc;
    if (rc == 0)
        rc = open_epoch(part, log, named, recovered, e);
    if (rc != 0 && log_offline(log) == 0) {
        /* What does not say whose it is must not be written to. */
        log_close(log, NULL);
        return rc;
    }
    open_high_watermark(part, log);
    publish(part, log, rc == 0 ? LIFE_OPEN : LIFE_DAMAGED);
    return rc;
}

/* What was made of its directory, which is this topic's, when there was no room for all of it: there was never anything
 * in it. What cannot be removed goes with the next attempt, or with the topic. The life lock is held once others know
 * the partition. */
static void remove_unmade(struct partition *part)
{
    if (atomic_load(&part->disk.making) != MAKING_OVER && part->log == NULL &&
        atomic_load(&part->disk.life) == LIFE_CLOSED)
        (void)io_remove_dir(part->manager->io, part->manager->topics_dirfd, part->name);
}

int partition_open(struct topic *topic, int32_t index, const struct partition_registration *registration,
                   const struct checkpoints *known, bool made, struct partition **out, struct err *e)
{
    struct partition *part = calloc(1, sizeof *part);
    *out = part;
    if (part == NULL)
        return err_sys(e, -ENOMEM, "open %s-%" PRId32, topic->name, index);
    part->topic = topic;
    part->manager = topic->manager;
    part->index = index;
    snprintf(part->name, sizeof part->name, "%s-%" PRId32, topic->name, index);
    pthread_mutex_init(&part->life_lock, NULL);
    pthread_mutex_init(&part->settings.lock, NULL);
    pthread_mutex_init(&part->lock, NULL);
    pthread_mutex_init(&part->holes.lock, NULL);
    part->waiters.lowest_position = INT64_MAX;
    partition_flush_init(part);
    partition_forward_init(part);
    partition_ask_init(part);
    partition_insync_init(part);
    partition_shown_init(part);
    partition_seal_init(part);
    partition_feed_init(part);
    part->registration = *registration;
    partition_renew_config(part);

    snprintf(part->checkpoint_key, sizeof part->checkpoint_key, "%s-%" PRId32, topic->id_text, index);
    checkpoints_known(made ? NULL : known, part->name, part->checkpoint_key, &part->disk.known,
                      &part->disk.known_high_watermark);
    part->replica = partition_is_elsewhere(part, registration) ? REPLICA_ELSEWHERE : REPLICA_HERE;
    isr_init(&part->isr, registration->replicas.ids, registration->replicas.count,
             (struct log_point){part->disk.known_high_watermark.offset, part->disk.known_high_watermark.position});
    int rc = open_log(part, made, e);
    part->disk.open_rc = rc;
    part->disk.making = made && part->log == NULL ? MAKING_DUE : MAKING_OVER;
    remove_unmade(part);
    partition_hold_init(part);
    return rc;
}

/* Its directory keeps its name, and the next start tries again, whatever has become of the command. */
static void leave(struct partition *part, const struct err *e)
{
    log_line(LOG_ERR, "%s", e->text);
    (void)stray_note(&part->manager->stray, part->topic->name, part->topic->id);
}

/* Its directory, which there was no room, memory or descriptor to open, gives up its name; the next start removes it.
 * The life lock is held, and no other topic of the name is there yet. */
static void retire_unopened(struct partition *part)
{
    struct err e = {0};
    bool named;
    int rc = atomic_load(&part->disk.life) == LIFE_FOREIGN ? claim_directory(part, false, &named, &e) : 0;
    if (rc == 0)
        rc = set_aside(part, part->topic->id_text, true, &e);
    if (rc != 0 && rc != -ENOENT)
        leave(part, &e);
}

/* The life lock is held. */
static void retire(struct partition *part)
{
    struct reserve *reserve = part->manager->reserve;
    struct err e = {0};
    int life = atomic_load(&part->disk.life);
    if (part->log == NULL && atomic_load(&part->disk.making) != MAKING_OVER)
        remove_unmade(part);
    else if (part->log == NULL)
        retire_unopened(part);
    if (life != LIFE_OPEN && life != LIFE_DAMAGED)
        return;
    int rc = log_retire(part->log, &e);
    if (reserve_begin(reserve, rc)) {
        rc = log_retire(part->log, &e);
        reserve_end(reserve);
    }
    if (rc != 0)
        leave(part, &e);
    else
        atomic_store(&part->disk.life, LIFE_RETIRED);
}

void partition_retire(struct partition *part)
{
    pthread_mutex_lock(&part->life_lock);
    retire(part);
    pthread_mutex_unlock(&part->life_lock);
    manager_remove(part->manager, part);
    partition_followers_stop(part);
    partition_holes_made(part);
}

int partition_reopen(struct partition *part, struct err *e)
{
    int rc = 0;
    pthread_mutex_lock(&part->life_lock);
    if (part->log == NULL) {
        rc = part->disk.open_rc;
        if (partition_has_others(part)) /* the log may have less than its checkpoint says, and has shown until now */
            partition_shown_keep(part);
        if (atomic_load(&part->disk.making) == MAKING_HELD)
            err_set(e, rc, "%s could not be made, and is taken back", part->name);
        else if (err_is_passing(rc) && !atomic_load(&part->topic->deleted))
            rc = open_log(
                part, atomic_load(&part->disk.making) == MAKING_DUE && atomic_load(&part->disk.life) == LIFE_FOREIGN,
                e);
        else
            err_set(e, rc = -EIO, "%s is offline after an error", part->name);
        part->disk.open_rc = rc;
        if (part->log != NULL)
            atomic_store(&part->disk.making, MAKING_OVER);
        /* Of a deleted topic another one may have the name by now. */
        if (!atomic_load(&part->topic->deleted))
            remove_unmade(part);
        else if (part->log != NULL) /* deleted meanwhile */
            retire(part);
    }
    pthread_mutex_unlock(&part->life_lock);
    return rc;
}

static uint32_t later(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

struct damaged_log {
    struct log *log;
    struct damaged_log *next;
};

int partition_make_anew(struct partition *part, struct err *e)
{
    const struct log_known *known = &part->disk.known, nothing = {0};
    struct damaged_log *damaged = calloc(1, sizeof *damaged);
    struct topic_config config;
    struct log *log;
    bool named = false;
    uint32_t cuts = later(later(known->recovery_cuts, known->start_cuts),
                          later(known->cleaner_cuts, part->disk.known_high_watermark.cuts));

    assert(log_offline(part->log) != 0);
    if (damaged == NULL)
        return err_sys(e, -ENOMEM, "%s", part->name);
    int rc = log_clear(&part->manager->env, part->name, later(cuts, log_cuts(part->log)), e);
    if (rc == 0)
        rc = claim_directory(part, false, &named, e);
    topic_config(part->topic, &config);
    if (rc == 0)
        rc = log_open(&part->manager->env, part->name, &config.log, &nothing, &log, NULL, e);
    if (rc != 0)
        goto err_after_memory;
    if (!named && (rc = name_directory(part, e)) != 0)
        goto err_after_open;
    *damaged = (struct damaged_log){part->log, part->disk.damaged_logs};
    part->disk.damaged_logs = damaged;
    publish(part, log, LIFE_OPEN);
    return 0;
err_after_open:
    log_close(log, NULL);
err_after_memory:
    free(damaged);
    return rc;
}

int partition_free(struct partition *part, bool destroy, struct err *e)
{
    int rc = 0;
    while (part->disk.damaged_logs != NULL) {
        struct damaged_log *damaged = part->disk.damaged_logs;
        part->disk.damaged_logs = damaged->next;
        log_close(damaged->log, NULL);
        free(damaged);
    }
    if (part->log != NULL)
        atomic_fetch_add(&part->manager->flushes_gone, log_flushes(part->log));
    if (part->log != NULL)
        rc = destroy && atomic_load(&part->disk.life) == LIFE_RETIRED ? log_destroy(part->log, e)
                                                                      : log_close(part->log, e);
    atomic_fetch_add(&part->manager->batches_gone, part->appended.batches);
    atomic_fetch_add(&part->manager->records_gone, part->appended.records);
    atomic_fetch_add(&part->manager->bytes_gone, part->appended.bytes);
    assert(part->remote.reads.first == NULL);
    remote_free(part->remote.replica);
    manager_remove(part->manager, part);
    free(part->shown.round);
    partition_followers_free(part);
    pthread_mutex_destroy(&part->holes.lock);
    pthread_mutex_destroy(&part->forward.lock);
    pthread_mutex_destroy(&part->lock);
    pthread_mutex_destroy(&part->settings.lock);
    pthread_mutex_destroy(&part->life_lock);
    free(part);
    return rc;
}

/* ---- references and names ---- */

struct partition *partition_ref(struct partition *part)
{
    assert(!atomic_load_explicit(&part->manager->left, memory_order_relaxed)); /* node/node_stop.c */
    topic_ref(part->topic);
    return part;
}

void partition_unref(struct partition *part)
{
    topic_unref(part->topic);
}

int32_t partition_index(const struct partition *part)
{
    return part->index;
}

struct topic *partition_topic(const struct partition *part)
{
    return part->topic;
}

const char *partition_name(const struct partition *part)
{
    return part->name;
}

/* ---- state ---- */

int partition_usable(struct partition *part, struct err *e)
{
    if (atomic_load_explicit(&part->topic->deleted, memory_order_acquire))
        return err_set(e, -ESTALE, "topic %s was deleted", part->topic->name);
    if (part->log == NULL || log_offline(part->log) != 0)
        return err_set(e, -EIO, "%s is offline after an error", part->name);
    return 0;
}

bool partition_is_open(const struct partition *part)
{
    int life = atomic_load(&part->disk.life);
    return life == LIFE_OPEN || (life == LIFE_RETIRED && log_offline(part->log) == 0);
}

int partition_reach(struct partition *part, struct err *e)
{
    int rc = partition_usable(part, e);
    if (rc != -EIO || atomic_load(&part->log) != NULL || partition_reopen(part, e) != 0)
        return rc;
    return partition_usable(part, e);
}

int partition_state(struct partition *part)
{
    if (atomic_load_explicit(&part->replica, memory_order_acquire) == REPLICA_ELSEWHERE)
        return atomic_load(&part->topic->deleted) ? -ESTALE : 0;
    return partition_reach(part, NULL);
}

void partition_fail_if_offline(struct partition *part)
{
    if (part->log == NULL || log_offline(part->log) == 0)
        return;
    pthread_mutex_lock(&part->lock);
    struct partition_waiter *waiters = partition_collect(part, INT64_MAX);
    pthread_mutex_unlock(&part->lock);
    partition_wake(waiters, NULL);
    partition_hold_offline(part);
}

/* ---- points ---- */

struct log_point partition_own_high_watermark(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    struct log_point hw = part->isr.high_watermark;
    pthread_mutex_unlock(&part->lock);
    return hw;
}

void partition_own_range(struct partition *part, struct log_point *from, struct log_point *to)
{
    pthread_mutex_lock(&part->lock);
    *from = part->deletes.removed;
    *to = part->isr.high_watermark;
    pthread_mutex_unlock(&part->lock);
}

struct log_point partition_shown_start(struct partition *part)
{
    struct log_point start = log_start(part->log), removed, to;
    partition_own_range(part, &removed, &to);
    return removed.offset > start.offset ? removed : start;
}

bool partition_hides(struct partition *part)
{
    return partition_shown_start(part).offset > log_start(part->log).offset;
}

struct log_point partition_high_watermark(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    struct log_point hw = part->isr.high_watermark;
    if (part->shown.point.position > hw.position)
        hw = part->shown.point;
    pthread_mutex_unlock(&part->lock);
    return hw;
}

/* Whether it is elsewhere, and then what was heard of it; zeros: nothing yet. */
static bool is_elsewhere(struct partition *part, struct stat_answer *out)
{
    if (atomic_load_explicit(&part->replica, memory_order_acquire) != REPLICA_ELSEWHERE)
        return false;
    if (!remote_heard(part, out))
        *out = (struct stat_answer){0};
    return true;
}

struct log_point partition_log_start(struct partition *part)
{
    struct stat_answer there;
    if (is_elsewhere(part, &there))
        return there.log_start;
    return part->log != NULL ? partition_shown_start(part) : (struct log_point){0, 0};
}

struct log_point partition_log_end(struct partition *part)
{
    struct stat_answer there;
    if (is_elsewhere(part, &there))
        return there.log_end;
    return part->log != NULL ? log_end(part->log) : partition_high_watermark(part);
}

int64_t partition_mtime_ms(struct partition *part)
{
    struct stat_answer there;
    if (is_elsewhere(part, &there))
        return there.log_end.offset > 0 ? there.mtime_ms : -1;
    return part->log != NULL && log_end(part->log).offset > 0 ? log_last_append_ms(part->log) : -1;
}

void partition_size(struct partition *part, struct log_size *out)
{
    struct stat_answer there;
    *out = (struct log_size){0};
    if (is_elsewhere(part, &there)) {
        out->start = there.log_start;
        out->end = there.log_end;
        out->retained_bytes = there.retained_bytes;
        out->segments = there.segments;
    } else if (part->log != NULL) {
        struct log_point removed, to;
        int64_t most;
        log_size(part->log, out);
        partition_own_range(part, &removed, &to);
        most = out->end.position - removed.position;
        if (removed.offset > out->start.offset && out->retained_bytes > most)
            out->retained_bytes = most > 0 ? most : 0;
    }
}
