/* engine/recover/recover_flushed.c: what was on the disk when later batches came, as their entries say (batch.h).
 *
 * The recovery point is written down now and then; what an fsync has promised since lies above it, where a tail that a
 * crash has torn is cut. That a batch in there does not hold can be both, the tail or damage. It is damage if an entry
 * behind it says that it was on the disk; then nothing may be cut. What was flushed last, with nothing appended since,
 * says nobody. */
#include "engine/recover/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "engine/base/limits.h"
#include "engine/log/log_internal.h"

enum { ENTRIES_AT_ONCE = 1024 };

static int read_all(struct io *io, int fd, int64_t count, uint8_t *buf, int64_t *entries)
{
    int64_t first, i;

    for (first = 0; first < count; first += ENTRIES_AT_ONCE) {
        int64_t n = count - first < ENTRIES_AT_ONCE ? count - first : ENTRIES_AT_ONCE;
        int rc =
            io_pread_all(io, fd, buf, (size_t)n * BATCH_ENTRY_BYTES, BATCH_HEADER_BYTES + first * BATCH_ENTRY_BYTES);

        if (rc < 0) {
            return rc;
        }
        for (i = 0; i < n; i++) {
            uint32_t unflushed = batch_entry_unflushed(buf + i * BATCH_ENTRY_BYTES);

            if (unflushed < BATCH_UNFLUSHED_MANY && first + i - unflushed > *entries) {
                *entries = first + i - unflushed;
            }
        }
    }
    return 0;
}

int recover_flushed(struct log *log, const struct recover_files *files, int64_t *entries, struct err *e)
{
    struct io *io = log->env->io;
    char name[SEGMENT_NAME_BYTES];
    uint8_t *buf;
    struct stat st;
    int fd, rc;

    *entries = -1;
    segment_name(files->base_offset, SEGMENT_BATCHES, "", name);
    fd = io->open(io, log->dir.fd, name, O_RDONLY, 0);
    if (fd < 0) {
        return fd == -ENOENT ? 0 : err_sys(e, fd, "open %s", name);
    }
    buf = malloc((size_t)ENTRIES_AT_ONCE * BATCH_ENTRY_BYTES);
    rc = buf == NULL ? -ENOMEM : io->fstat(io, fd, &st);
    if (rc == 0) {
        rc = read_all(io, fd, (st.st_size - BATCH_HEADER_BYTES) / BATCH_ENTRY_BYTES, buf, entries);
    }
    free(buf);
    io->close(io, fd);
    return rc < 0 ? err_sys(e, rc, "read %s", name) : 0;
}
