/* tests/hands/write.c: a hand that writes.
 *
 * A write is made up first: some fragments, each a line but perhaps the last, and noted as tried. Then it goes out in
 * one of the ways that Linux has, alone or up to RINGS_MAX at once, and what the call returned is noted: all of it, or
 * an errno that this story allows. A short write is none: nothing that these stories do may cut one. */
#include "tests/hands/write.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/hands/rings.h"
#include "tests/hands/text.h"

enum {
    FRAGMENTS_OF_WRITE = 20,
    LETTERS_OF_WRITE = 40,
    SEGMENTS_MAX = 200, /* fewer than the kernel hands over at once, whatever lies in them */
    ONE_PIECE_BYTES = 200 << 10,
};

/* A write that was made up. */
struct attempt {
    uint8_t *bytes;
    size_t len;
    uint32_t first, count; /* fragments */
    uint32_t letters;
    struct iovec iov[SEGMENTS_MAX];
    int iovcnt;
};

static size_t pick_len(struct hand *hand, int class)
{
    static const size_t most[] = {4 << 10, 100 << 10, 400 << 10, (1 << 20) + (300 << 10)};
    size_t limit = most[class];

    if (hand->world->story.max_record < (int64_t)limit) {
        limit = (size_t)hand->world->story.max_record + 100; /* now and then one is too long */
    }
    return TEXT_MIN_BYTES + hands_below(hand, limit - TEXT_MIN_BYTES);
}

/* Most writes are small; a few are larger than what the kernel hands over at once. */
static int pick_class(struct hand *hand)
{
    uint64_t n = hands_below(hand, 100);

    if (!hand->world->story.pieces) {
        return n < 80 ? 0 : 1;
    }
    return n < 70 ? 0 : n < 90 ? 1 : n < 95 ? 2 : 3;
}

static void make_letters(struct hand *hand, struct attempt *a)
{
    a->letters = 1 + (uint32_t)hands_below(hand, LETTERS_OF_WRITE);
    for (uint32_t i = 0; i < a->letters; i++) {
        a->bytes[a->len++] = (uint8_t)text_letter(hand->id);
        a->bytes[a->len++] = '\n';
    }
    hand->log->letters_tried += a->letters;
}

/* As many fragments as fit the room. */
static void make_fragments(struct hand *hand, struct attempt *a, int file, uint32_t group, size_t room)
{
    const struct story *story = &hand->world->story;
    struct hand_log *log = hand->log;
    uint32_t wanted = 1 + (uint32_t)hands_below(hand, FRAGMENTS_OF_WRITE);
    int class = pick_class(hand);

    if (!story->pieces && room > ONE_PIECE_BYTES) {
        room = ONE_PIECE_BYTES;
    }
    a->first = log->fragment_count;
    while (a->count < wanted && a->first + a->count < FRAGMENTS_MAX) {
        size_t len = pick_len(hand, class);
        struct text_id id = {file, hand->id, a->first + a->count, (uint32_t)len};

        if (a->len + len + 1 > room) {
            break;
        }
        text_make(a->bytes + a->len, &id);
        a->len += len;
        log->fragments[id.number] = (struct fragment){
            .len = id.len, .write = a->first, .group = group, .file = (uint8_t)file, .fate = FATE_TRIED, .ends = true};
        a->count++;
        a->bytes[a->len++] = '\n';
    }
    if (a->count > 0 && story->tails && hands_chance(hand, 30)) {
        log->fragments[a->first + a->count - 1].ends = false;
        a->len--;
    }
    log->fragment_count += a->count;
}

static void cut_segments(struct hand *hand, struct attempt *a, bool vector)
{
    int most = !vector ? 1 : 2 + (int)hands_below(hand, hands_chance(hand, 20) ? SEGMENTS_MAX - 2 : 10);
    size_t at = 0;

    a->iovcnt = 0;
    while (at < a->len) {
        size_t n = a->len - at;

        if (a->iovcnt < most - 1) {
            n = 1 + hands_below(hand, n < 1000 ? n : 2 * n / (size_t)most);
            n = n < a->len - at ? n : a->len - at;
        }
        a->iov[a->iovcnt++] = (struct iovec){a->bytes + at, n};
        at += n;
    }
}

/* Whether the kernel hands it over in one request: it takes 256 pages at most. */
static bool is_whole(const struct attempt *a)
{
    size_t pages = 0;

    for (int i = 0; i < a->iovcnt; i++) {
        size_t start = (size_t)(uintptr_t)a->iov[i].iov_base % 4096;

        pages += (start + a->iov[i].iov_len + 4095) / 4096;
    }
    return pages <= 256;
}

static void make(struct hand *hand, struct attempt *a, int file, uint32_t group, size_t room, bool vector)
{
    uint16_t complete = 0;

    a->len = a->count = a->letters = 0;
    if (hands_chance(hand, 10)) {
        make_letters(hand, a);
    } else {
        make_fragments(hand, a, file, group, room);
    }
    cut_segments(hand, a, vector);
    for (uint32_t i = a->count; i-- > 0;) {
        struct fragment *f = &hand->log->fragments[a->first + i];

        f->whole = is_whole(a);
        f->last = complete;
        complete = (uint16_t)(complete + f->ends);
    }
}

static bool is_allowed(const struct story *story, int error)
{
    switch (error) {
    case EMSGSIZE:
        return story->max_record < REQUEST_BYTES;
    case EPERM:
        return story->flips;
    case EINTR:
    case ECANCELED: /* io_uring: the signal came while it looked whether it may write */
        return story->parks;
    default:
        return false;
    }
}

static void note(struct hand *hand, const struct attempt *a, int file, ssize_t result)
{
    bool done = result == (ssize_t)a->len;

    if (result >= 0 && !done) {
        hands_complain(hand, "a short write", 0);
        return;
    }
    if (result < 0 && !is_allowed(&hand->world->story, (int)-result)) {
        hands_complain(hand, "a write", (int)-result);
    }
    if (result == -EMSGSIZE) {
        atomic_store(&hand->world->oversize[file], true);
    }
    for (uint32_t i = 0; i < a->count; i++) {
        hand->log->fragments[a->first + i].fate = done ? FATE_ACKED : FATE_NONE;
    }
    hand->log->letters_tried -= a->letters;
    hand->log->letters += done ? a->letters : 0;
}

/* Where pwrite says to write does not matter: it appends. */
static off_t anywhere(struct hand *hand)
{
    return (off_t)hands_below(hand, 1 << 20);
}

static ssize_t write_plainly(struct hand *hand, int fd, const struct attempt *a)
{
    ssize_t n;

    if (a->iovcnt == 1) {
        n = hands_chance(hand, 50) ? write(fd, a->bytes, a->len) : pwrite(fd, a->bytes, a->len, anywhere(hand));
    } else {
        n = hands_chance(hand, 50) ? writev(fd, a->iov, a->iovcnt) : pwritev(fd, a->iov, a->iovcnt, anywhere(hand));
    }
    return n < 0 ? -errno : n;
}

/* Up to RINGS_MAX writes at once. */
static void write_at_once(struct hand *hand, int fd, int file, uint32_t group)
{
    struct attempt all[RINGS_MAX];
    struct ring_call calls[RINGS_MAX];
    int count = hands_chance(hand, 60) ? 1 : 2 + (int)hands_below(hand, RINGS_MAX - 1);
    uint8_t *text = hand->text;
    bool aio = hands_chance(hand, 60);

    for (int i = 0; i < count; i++) {
        all[i].bytes = text;
        make(hand, &all[i], file, group, WRITE_TEXT_BYTES / RINGS_MAX, hands_chance(hand, 30));
        text += all[i].len;
        calls[i] = (struct ring_call){fd, true, all[i].iov, all[i].iovcnt, anywhere(hand), -ECANCELED};
    }
    if (aio || !ring_uring(hand->rings, calls, count)) {
        ring_aio(hand->rings, calls, count);
    }
    for (int i = 0; i < count; i++) {
        note(hand, &all[i], file, calls[i].result);
    }
}

static void write_to(struct hand *hand, int fd, int file, uint32_t group)
{
    struct attempt a;

    if (hands_chance(hand, 40)) {
        write_at_once(hand, fd, file, group);
        return;
    }
    a.bytes = hand->text;
    make(hand, &a, file, group, WRITE_TEXT_BYTES / RINGS_MAX, hands_chance(hand, 30));
    note(hand, &a, file, write_plainly(hand, fd, &a));
}

/* A descriptor more of a shared open file, and its close: FLUSH while others write. */
static void write_through_dup(struct hand *hand, int file, uint32_t group)
{
    int fd = dup(hand->files->write_fd[file]);

    if (fd < 0) {
        hands_complain(hand, "dup", errno);
        return;
    }
    write_to(hand, fd, file, group);
    if (close(fd) != 0 && (errno != EINTR || !hand->world->story.parks)) {
        hands_complain(hand, "close", errno);
    }
}

/* An open file of its own, of the same partitions, for one write. */
static void write_alone(struct hand *hand, uint32_t group)
{
    char path[4096];
    int partition = (int)hands_below(hand, PARTITIONS + 1);
    int file = SHARED_FILES + hand->id;
    int fd;

    if (partition < PARTITIONS) {
        snprintf(path, sizeof path, "%s/%d", hand->world->story.topic, partition);
    } else {
        snprintf(path, sizeof path, "%s/.any", hand->world->story.topic);
    }
    fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | (hands_chance(hand, 10) ? O_DSYNC : 0));
    if (fd < 0) {
        hands_complain(hand, "open", errno);
        return;
    }
    write_to(hand, fd, file, group);
    atomic_fetch_add(&hand->world->closes[file], 1);
    if (close(fd) != 0 && (errno != EINTR || !hand->world->story.parks)) {
        hands_complain(hand, "close", errno);
    }
}

static void sync_it(struct hand *hand, int fd)
{
    int rc = hands_chance(hand, 50) ? fsync(fd) : fdatasync(fd);

    if (rc != 0 && (errno != EINTR || !hand->world->story.parks)) {
        hands_complain(hand, "fsync", errno);
    }
}

static void lock_it(struct hand *hand, int fd)
{
    struct flock lock = {.l_type = hands_chance(hand, 50) ? F_WRLCK : F_RDLCK,
                         .l_start = (off_t)hands_below(hand, 100),
                         .l_len = 1 + (off_t)hands_below(hand, 10)};
    bool own = hands_chance(hand, 50);

    if (hands_chance(hand, 30)) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            flock(fd, LOCK_UN);
        }
        return;
    }
    if (fcntl(fd, own ? F_OFD_SETLK : F_SETLK, &lock) == 0) {
        lock.l_type = F_UNLCK;
        fcntl(fd, own ? F_OFD_SETLK : F_SETLK, &lock);
    }
}

/* While it is away every write through the open file is EPERM. */
static void flip_append(struct hand *hand, int fd)
{
    int flags = fcntl(fd, F_GETFL);

    (void)hand;
    fcntl(fd, F_SETFL, flags & ~O_APPEND);
    fcntl(fd, F_SETFL, flags | O_APPEND);
}

/* splice(2) does not append. */
static void splice_in(struct hand *hand, int fd)
{
    int pipe_fds[2];

    if (hand->world->story.flips) { /* it would be refused, but for another reason */
        return;
    }
    if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
        hands_complain(hand, "pipe", errno);
        return;
    }
    if (write(pipe_fds[1], "spliced\n", 8) != 8 || splice(pipe_fds[0], NULL, fd, NULL, 8, 0) >= 0 || errno != EINVAL) {
        hands_complain(hand, "splice into an append-only file", errno);
    }
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void look_at(struct hand *hand, int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0) {
        hands_complain(hand, "fstat", errno);
    }
    if (ftruncate(fd, 0) == 0 || errno != EPERM) {
        hands_complain(hand, "ftruncate", errno);
    }
    lseek(fd, (off_t)hands_below(hand, 1 << 20), SEEK_SET);
}

static void do_something_else(struct hand *hand, int fd)
{
    switch (hands_below(hand, 5)) {
    case 0:
        sync_it(hand, fd);
        break;
    case 1:
        lock_it(hand, fd);
        break;
    case 2:
        splice_in(hand, fd);
        break;
    case 3:
        look_at(hand, fd);
        break;
    default:
        if (hand->world->story.flips) {
            flip_append(hand, fd);
        } else {
            close(dup(fd));
        }
    }
}

void write_all(struct hand *hand)
{
    for (int i = 0; i < hand->world->story.writes && !atomic_load(&hand->world->failed); i++) {
        int file = (int)hands_below(hand, SHARED_FILES);
        uint64_t how = hands_below(hand, 10);

        if (hand->log->fragment_count > FRAGMENTS_MAX - RINGS_MAX * FRAGMENTS_OF_WRITE) {
            break;
        }
        if (how < 6) {
            write_to(hand, hand->files->write_fd[file], file, (uint32_t)i);
        } else if (how < 8) {
            write_through_dup(hand, file, (uint32_t)i);
        } else {
            write_alone(hand, (uint32_t)i);
        }
        if (hands_chance(hand, 40)) {
            do_something_else(hand, hand->files->write_fd[file]);
        }
    }
    atomic_fetch_sub(&hand->world->writing, 1);
}
