#include "tests/hands/read.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/hands/rings.h"

enum { SEGMENTS_MAX = 300, SPLICE_BYTES = 64 << 10, TURN_BYTES = 256, REFUSED_S = 30 };

static void note(struct hand *hand, enum view view, int partition, int64_t at, const uint8_t *bytes, size_t len)
{
    struct hand_log *log = hand->log;

    if (len == 0) {
        return;
    }
    if (log->reading_count == READS_MAX) {
        hands_complain(hand, "too many readings", 0);
        return;
    }
    log->readings[log->reading_count++] = (struct reading){.at = at,
                                                           .len = (uint32_t)len,
                                                           .view = (uint8_t)view,
                                                           .partition = (uint8_t)partition,
                                                           .hash = hands_hash(bytes, len)};
}

/* Segments of a buffer, so many that the kernel may need several requests for them. */
static int cut_segments(struct hand *hand, uint8_t *bytes, size_t len, struct iovec *iov)
{
    int count = hands_chance(hand, 70) ? 2 + (int)hands_below(hand, 8) : SEGMENTS_MAX;
    size_t each = len / (size_t)count;

    for (int i = 0; i < count; i++) {
        size_t n = i < count - 1 ? each : len - each * (size_t)(count - 1);

        iov[i] = (struct iovec){bytes + each * (size_t)i, n};
    }
    return count;
}

static size_t pick_len(struct hand *hand)
{
    uint64_t n = hands_below(hand, 100);

    if (n < 60) {
        return TURN_BYTES + hands_below(hand, 8 << 10);
    }
    return TURN_BYTES + hands_below(hand, n < 95 ? 300 << 10 : 3 << 20);
}

static ssize_t failed_or(ssize_t n)
{
    return n < 0 ? -errno : n;
}

/* ---- by position ---- */

static ssize_t read_ring(struct hand *hand, int fd, uint8_t *bytes, size_t len, int64_t at, bool aio)
{
    struct iovec iov[SEGMENTS_MAX];
    struct ring_call call = {fd, false, iov, 1, at, 0};

    iov[0] = (struct iovec){bytes, len};
    if (hands_chance(hand, 40)) {
        call.iovcnt = cut_segments(hand, bytes, len, iov);
    }
    if (aio || !ring_uring(hand->rings, &call, 1)) {
        ring_aio(hand->rings, &call, 1);
    }
    return call.result;
}

/* Through the page cache: splice(2) and sendfile(2) into a pipe. */
static ssize_t read_spliced(struct hand *hand, int fd, uint8_t *bytes, size_t len, int64_t at)
{
    int fds[2];
    off_t from = at;
    ssize_t n;
    ssize_t got = 0;

    if (pipe2(fds, O_CLOEXEC) != 0) {
        return -errno;
    }
    len = len < SPLICE_BYTES ? len : SPLICE_BYTES;
    n = failed_or(hands_chance(hand, 50) ? splice(fd, &from, fds[1], NULL, len, SPLICE_F_NONBLOCK)
                                         : sendfile(fds[1], fd, &from, len));
    close(fds[1]);
    while (n > 0 && got < n) {
        ssize_t part = read(fds[0], bytes + got, (size_t)(n - got));

        if (part <= 0) {
            break;
        }
        got += part;
    }
    close(fds[0]);
    return n < 0 ? n : got;
}

static ssize_t read_waiting(struct hand *hand, int fd, uint8_t *bytes, size_t len, int64_t at)
{
    struct iovec iov[SEGMENTS_MAX];

    if (hands_chance(hand, 50)) {
        return failed_or(pread(fd, bytes, len, at));
    }
    return failed_or(preadv(fd, iov, cut_segments(hand, bytes, len, iov), at));
}

static ssize_t read_somehow(struct hand *hand, int fd, uint8_t *bytes, size_t len, int64_t at)
{
    if (hands_chance(hand, 50)) {
        return read_waiting(hand, fd, bytes, len, at);
    }
    return read_ring(hand, fd, bytes, len, at, hands_chance(hand, 50));
}

void read_at(struct hand *hand, int partition, int fd, int64_t at)
{
    ssize_t n = read_somehow(hand, fd, hand->buffer, pick_len(hand), at);

    if (n < 0) {
        hands_complain(hand, "a read", (int)-n);
    } else {
        note(hand, VIEW_BY_POSITION, partition, at, hand->buffer, (size_t)n);
    }
}

bool read_spliced_at(struct hand *hand, int partition, int fd, int64_t at)
{
    ssize_t n = read_spliced(hand, fd, hand->buffer, pick_len(hand), at);

    if (n >= 0) {
        note(hand, VIEW_SPLICED, partition, at, hand->buffer, (size_t)n);
    } else if (n != -EINVAL) { /* it may be refused, but never be wrong */
        hands_complain(hand, "a splice", (int)-n);
    }
    return n >= 0;
}

/* Somewhere, or where it grows. */
static void read_by_position(struct hand *hand)
{
    int partition = (int)hands_below(hand, PARTITIONS);
    int fd = hand->files->by_position[partition];
    struct stat st;
    int64_t at;

    if (fstat(fd, &st) != 0) {
        hands_complain(hand, "fstat", errno);
        return;
    }
    at = (int64_t)hands_below(hand, (uint64_t)st.st_size + 1);
    if (hands_chance(hand, 40) && at < st.st_size - 4096) {
        at = st.st_size - 4096;
    }
    lseek(fd, at, SEEK_SET);
    if (partition == hands_partition(READ_AND_WRITTEN) && hands_chance(hand, 30)) {
        fd = hand->files->write_fd[READ_AND_WRITTEN]; /* by position, which no write looks at */
    }
    if (hands_chance(hand, 80)) {
        read_at(hand, partition, fd, at);
        return;
    }
    read_spliced_at(hand, partition, fd, at);
}

/* ---- in turn ---- */

/* The next bytes of an open file that all hands read. false: there are none now. */
static bool read_in_turn(struct hand *hand, enum view view, int partition, int fd)
{
    struct iovec iov[SEGMENTS_MAX];
    size_t len = pick_len(hand);
    ssize_t n;

    if (hands_chance(hand, 60)) {
        n = failed_or(read(fd, hand->buffer, len));
    } else {
        n = failed_or(readv(fd, iov, cut_segments(hand, hand->buffer, len, iov)));
    }
    if (n < 0 && n != -EINTR) {
        hands_complain(hand, "a read in turn", (int)-n);
        return false;
    }
    note(hand, view, partition, -1, hand->buffer, n < 0 ? 0 : (size_t)n);
    return n != 0;
}

void read_turns(struct hand *hand, enum view view, int partition, int fd)
{
    while (read_in_turn(hand, view, partition, fd)) {
    }
}

/* ---- streams, by position ---- */

/* Behind what anybody has read of an open .follow or .json that is read by position, or within the last MiB before it.
 * refused_s: since when it was none of both, one read after the other; 0: it was. */
static void stream_by_position(struct hand *hand, enum view view, int partition, int fd, time_t *refused_s)
{
    bool json = view == VIEW_JSON;
    const char *what = json ? "a read of .json where it stands" : "a read of .follow where it stands";
    _Atomic int64_t *upto = json ? &hand->world->json_upto[partition] : &hand->world->follow_upto[partition];
    int64_t seen = atomic_load(upto);
    int64_t back = hands_chance(hand, 20) ? (int64_t)hands_below(hand, 100 << 10) : 0;
    int64_t at = seen > back ? seen - back : 0;
    bool ring = hands_chance(hand, 30);
    size_t len = pick_len(hand);
    ssize_t n = ring ? read_ring(hand, fd, hand->buffer, len, at, hands_chance(hand, 50))
                     : read_waiting(hand, fd, hand->buffer, len, at);

    if (n == -EINTR || n == -EINVAL) {
        /* EINVAL: others have read on by more than a MiB, and will say so, as soon as they have a CPU. */
        if (n == -EINVAL && *refused_s == 0) {
            *refused_s = time(NULL);
        }
        if (n == -EINVAL && time(NULL) - *refused_s > REFUSED_S) {
            hands_complain(hand, what, EINVAL);
        }
        sched_yield();
        return;
    }
    *refused_s = 0;
    if (n == 0 && (ring || json)) {
        return; /* .json has an end; and the kernel does not ask beyond the size that it saw last */
    }
    if (n <= 0) {
        hands_complain(hand, n == 0 ? ".follow has ended" : what, (int)-n);
        return;
    }
    note(hand, view, partition, at, hand->buffer, (size_t)n);
    while (seen < at + n && !atomic_compare_exchange_weak(upto, &seen, at + n)) {
    }
}

void read_all(struct hand *hand)
{
    const struct files *files = hand->files;
    time_t refused_s[PARTITIONS] = {0};
    bool more = true;

    while (more && !atomic_load(&hand->world->failed)) {
        more = !atomic_load(&hand->world->over);
        for (int p = 0; p < PARTITIONS; p++) {
            bool read = read_in_turn(hand, VIEW_IN_TURN, p, files->in_turn[p]) |
                        read_in_turn(hand, VIEW_JSON_IN_TURN, p, files->json_in_turn[p]);

            if (read) {
                more = true;
            } else {
                sched_yield();
            }
        }
        if (hand->log->reading_count < READS_MAX / 2) {
            int p = (int)hands_below(hand, PARTITIONS);

            read_by_position(hand);
            stream_by_position(hand, VIEW_JSON, p, files->json[p], &refused_s[p]);
        }
    }
}

/* ---- .follow ---- */

static bool is_readable(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};

    return poll(&poller, 1, 0) == 1;
}

void read_follow(struct hand *hand)
{
    const struct files *files = hand->files;

    /* One waits with others in the kernel for its turn, one beside others in the daemon. */
    bool in_turn = hand->id % 2 == 0;
    time_t refused_s[PARTITIONS] = {0};

    while (!atomic_load(&hand->world->over) && !atomic_load(&hand->world->failed)) {
        int p = (int)hands_below(hand, PARTITIONS);
        int fd = in_turn ? files->follow_in_turn[p] : files->follow[p];

        if (hands_chance(hand, 50) && !is_readable(fd)) {
            continue;
        }
        if (!in_turn) {
            stream_by_position(hand, VIEW_FOLLOW, p, fd, &refused_s[p]);
        } else if (!read_in_turn(hand, VIEW_FOLLOW_IN_TURN, p, fd)) {
            hands_complain(hand, ".follow has ended", 0);
        }
    }
}
