/* tests/bench/lookups.c: opens FILE@N for random N, reads that record, closes; prints the median in nanoseconds.
 *
 *   lookups FILE RECORDS COUNT SEED [DATA_FILE...]
 *
 * Record N of FILE is N in 99 digits and a newline; another record found is a failure, not a sample. With DATA_FILEs
 * each lookup is a cold one: their pages are dropped from the cache before it, and everything else that may be dropped
 * if the caller may (root). */
#include "tests/bench/measure.h"

#include <fcntl.h>
#include <unistd.h>

enum { RECORD_BYTES = 100 };

static void evict(char **data_files, int count)
{
    int fd;

    for (int i = 0; i < count; i++) {
        fd = open(data_files[i], O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            measure_fail(data_files[i]);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
    fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (write(fd, "3\n", 2) != 2)
            measure_fail("drop_caches");
        close(fd);
    }
}

static int64_t look_up(const char *file, long record)
{
    char path[4096], want[RECORD_BYTES + 1], got[RECORD_BYTES];
    int64_t begun_ns, elapsed_ns;
    int fd;

    snprintf(path, sizeof path, "%s@%ld", file, record);
    snprintf(want, sizeof want, "%0*ld\n", RECORD_BYTES - 1, record);
    begun_ns = measure_now_ns();
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, got, RECORD_BYTES) != RECORD_BYTES || close(fd) != 0)
        measure_fail(path);
    elapsed_ns = measure_now_ns() - begun_ns;
    if (memcmp(want, got, RECORD_BYTES) != 0) {
        fprintf(stderr, "%s: found another record: %.*s", path, RECORD_BYTES, got);
        exit(1);
    }
    return elapsed_ns;
}

int main(int argc, char **argv)
{
    long records, count;
    int64_t *samples;

    if (argc < 5) {
        fprintf(stderr, "usage: lookups FILE RECORDS COUNT SEED [DATA_FILE...]\n");
        return 2;
    }
    records = measure_number(argv[2], "RECORDS");
    count = measure_number(argv[3], "COUNT");
    srand48(measure_number(argv[4], "SEED"));
    samples = calloc((size_t)count, sizeof *samples);
    if (samples == NULL)
        measure_fail("calloc");
    for (long i = 0; i < count; i++) {
        if (argc > 5)
            evict(argv + 5, argc - 5);
        samples[i] = look_up(argv[1], (long)(drand48() * (double)records));
    }
    printf("%lld\n", (long long)measure_median_ns(samples, (size_t)count));
    free(samples);
    return 0;
}
