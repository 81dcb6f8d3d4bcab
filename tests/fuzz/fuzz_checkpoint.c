/* tests/fuzz/fuzz_checkpoint.c: any bytes as a checkpoint, as `leader-epochs` and as `quorum-state`: refused, or
 * understood and the same when written and read again.
 *
 * The files are in memory, behind a struct io. Input: 0 as it is, 1 as the body of a sealed file; then bytes. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "engine/base/checkpoint.h"
#include "engine/base/seal.h"
#include "engine/log/epochs.h"
#include "engine/log/producers.h"
#include "replication/metadata/quorum_state.h"
#include "tests/fuzz/fuzz.h"

/* ---- one file in memory, whatever it is called ---- */

enum { FILE_MAX = 1 << 20, THE_FD = 1000 };

static uint8_t file[FILE_MAX];
static size_t file_len;

static int mem_open(struct io *io, int dirfd, const char *name, int flags, mode_t mode)
{
    (void)io, (void)dirfd, (void)name, (void)mode;
    if ((flags & O_TRUNC) != 0) {
        file_len = 0;
    }
    return THE_FD;
}

static int mem_fd(struct io *io, int fd)
{
    (void)io, (void)fd;
    return 0;
}

static ssize_t mem_pread(struct io *io, int fd, void *buf, size_t len, int64_t at)
{
    (void)io, (void)fd;
    if ((size_t)at >= file_len) {
        return 0;
    }
    len = len < file_len - (size_t)at ? len : file_len - (size_t)at;
    memcpy(buf, file + at, len);
    return (ssize_t)len;
}

static ssize_t mem_pwritev(struct io *io, int fd, const struct iovec *iov, int iovcnt, int64_t at)
{
    size_t done = 0;

    (void)io, (void)fd;
    for (int i = 0; i < iovcnt; i++) {
        FUZZ_CHECK((size_t)at + done + iov[i].iov_len <= FILE_MAX);
        memcpy(file + at + done, iov[i].iov_base, iov[i].iov_len);
        done += iov[i].iov_len;
    }
    file_len = (size_t)at + done;
    return (ssize_t)done;
}

static int mem_fstat(struct io *io, int fd, struct stat *st)
{
    (void)io, (void)fd;
    memset(st, 0, sizeof *st);
    st->st_mode = S_IFREG;
    st->st_size = (off_t)file_len;
    return 0;
}

static int mem_rename(struct io *io, int from_dirfd, const char *from, int to_dirfd, const char *to)
{
    (void)io, (void)from_dirfd, (void)from, (void)to_dirfd, (void)to;
    return 0;
}

static struct io mem_io = {.open = mem_open,
                           .close = mem_fd,
                           .pread = mem_pread,
                           .pwritev = mem_pwritev,
                           .fdatasync = mem_fd,
                           .fsync = mem_fd,
                           .fstat = mem_fstat,
                           .rename = mem_rename};

/* ---- the formats ---- */

static void set_file(const uint8_t *data, size_t len, const char *magic)
{
    if (magic == NULL) {
        memcpy(file, data, len);
        file_len = len;
    } else {
        struct seal_text body = {.text = (char *)(uintptr_t)data, .len = len};

        FUZZ_CHECK(seal_write(&mem_io, 0, "f", magic, &body, NULL) == 0);
    }
}

static void check_checkpoint(void)
{
    struct checkpoint_entry *entries, *again;
    struct err e = {0};
    size_t count, again_count;
    bool by_name;
    int rc = checkpoint_read(&mem_io, 0, "f", &entries, &count, &by_name, &e);

    FUZZ_CHECK(rc == 0 || (rc == -EBADMSG && entries == NULL && count == 0 && e.text[0] != '\0'));
    if (rc < 0) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(checkpoint_find(entries, count, entries[i].key) == &entries[i]);
        FUZZ_CHECK(i == 0 || strcmp(entries[i - 1].key, entries[i].key) < 0);
    }
    FUZZ_CHECK(checkpoint_write(&mem_io, 0, "f", entries, count, NULL) == 0);
    FUZZ_CHECK(checkpoint_read(&mem_io, 0, "f", &again, &again_count, &by_name, NULL) == 0 && !by_name);
    FUZZ_CHECK(again_count == count && memcmp(entries, again, count * sizeof *entries) == 0);
    free(entries);
    free(again);
}

static void check_epochs(void)
{
    struct epochs epochs = {0};
    struct err e = {0};
    int rc = epochs_load(&mem_io, 0, &epochs, &e);

    FUZZ_CHECK(rc == 0 || (rc == -EBADMSG && e.text[0] != '\0'));
    if (rc == 0) {
        struct epochs again = {0};
        struct log_point point = {700, 7000};
        int32_t found;

        for (uint32_t i = 1; i < epochs.count; i++) {
            FUZZ_CHECK(epochs.entries[i - 1].epoch < epochs.entries[i].epoch);
            FUZZ_CHECK(epochs.entries[i - 1].start.offset < epochs.entries[i].start.offset);
        }
        for (uint32_t i = 1; i < epochs.cut_count; i++) {
            FUZZ_CHECK(epochs.cuts[i - 1].number < epochs.cuts[i].number);
            FUZZ_CHECK(epochs.cuts[i - 1].to.offset < epochs.cuts[i].to.offset);
        }
        FUZZ_CHECK(epochs.count == 0 || epochs_latest(&epochs) == epochs.entries[epochs.count - 1].epoch);
        epochs_end(&epochs, 7, (struct log_point){1000, 10000}, &found);
        FUZZ_CHECK(epochs_clip(&epochs, 3, point).offset <= 700);
        epochs_truncate_start(&epochs, (struct log_point){3, 30});
        epochs_forget_cuts(&epochs, 3);
        if (epochs_cuts(&epochs) < UINT32_MAX) {
            FUZZ_CHECK(epochs_cut(&epochs, point) == 0);
            FUZZ_CHECK(epochs_clip(&epochs, epochs_cuts(&epochs) - 1, (struct log_point){900, 9000}).offset == 700);
        }
        FUZZ_CHECK(epochs_store(&mem_io, 0, &epochs, NULL) == 0);
        FUZZ_CHECK(epochs_load(&mem_io, 0, &again, NULL) == 0);
        FUZZ_CHECK(again.count == epochs.count && again.cut_count == epochs.cut_count);
        epochs_free(&again);
    }
    epochs_free(&epochs);
}

/* Of the server that the file says it is of, or of another. */
static void check_quorum_state(void)
{
    struct raft_id self = {1, 0x5f0c1e7a92b34d68u};
    struct raft_state state, again;
    struct err e = {0};
    int rc = quorum_state_read(&mem_io, 0, self, &state, &e);

    FUZZ_CHECK(rc == 0 || (rc == -EBADMSG && e.text[0] != '\0' && state.epoch == 0));
    if (rc < 0) {
        return;
    }
    FUZZ_CHECK(state.epoch >= 0 && state.vote.node >= 0 && state.leader.node >= 0);
    FUZZ_CHECK(quorum_state_write(&mem_io, 0, self, &state, NULL) == 0);
    FUZZ_CHECK(quorum_state_read(&mem_io, 0, self, &again, NULL) == 0);
    FUZZ_CHECK(again.epoch == state.epoch && raft_id_equal(again.vote, state.vote) &&
               raft_id_equal(again.leader, state.leader));
}

static void check_producers(void)
{
    struct producers producers, again;
    struct err e = {0};
    int rc = producers_load(&mem_io, 0, 7, 0, &producers, &e);

    FUZZ_CHECK(rc == 0 || (rc == -EBADMSG && producers.count == 0 && e.text[0] != '\0'));
    if (rc == 0) {
        struct batch_entry b = {.producer_id = 5, .sequence = 9, .records = 3};

        FUZZ_CHECK(producers_reserve(&producers, 1) == 0);
        producers_note(&producers, &b, 100, 0);
        FUZZ_CHECK(producers_judge(&producers, 5, 0, 12) == PRODUCER_NEXT);
        FUZZ_CHECK(producers_store(&mem_io, 0, 7, &producers, NULL) == 0);
        FUZZ_CHECK(producers_load(&mem_io, 0, 7, 0, &again, NULL) == 0);
        FUZZ_CHECK(again.count == producers.count);
        producers_free(&again);
    }
    producers_free(&producers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    bool sealed = len > 0 && data[0] % 2 == 1;
    bool first_version = len > 0 && data[0] % 4 == 3;

    if (len < 1 || len > FILE_MAX / 2 || (sealed && memchr(data, '\0', len) != NULL)) {
        return 0;
    }
    set_file(data + 1, len - 1, !sealed ? NULL : first_version ? "logmnt checkpoint 1" : "logmnt checkpoint 2");
    check_checkpoint();
    set_file(data + 1, len - 1, !sealed ? NULL : first_version ? "logmnt leader-epochs 1" : "logmnt leader-epochs 2");
    check_epochs();
    set_file(data + 1, len - 1, sealed ? "logmnt quorum-state 1" : NULL);
    check_quorum_state();
    set_file(data + 1, len - 1, sealed ? "logmnt producers 1" : NULL);
    check_producers();
    return 0;
}
