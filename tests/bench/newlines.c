/* tests/bench/newlines.c: counts the lines of files through a mapping of each, as `grep -c '' --mmap` once did, and as
 * that reads what cannot be mapped.
 *
 *   newlines FILE... */
#include "tests/bench/measure.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static long count_in(const char *bytes, size_t len)
{
    const char *end = bytes + len;
    long lines = 0;

    for (; (bytes = memchr(bytes, '\n', (size_t)(end - bytes))) != NULL; bytes++)
        lines++;
    return lines;
}

static long count_by_reading(int fd, const char *path)
{
    static char buffer[1 << 17];
    long lines = 0;
    ssize_t n;

    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        lines += count_in(buffer, (size_t)n);
    if (n < 0)
        measure_fail(path);
    return lines;
}

static long count_lines(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *bytes;
    long lines;

    if (fd < 0 || fstat(fd, &st) != 0)
        measure_fail(path);
    if (st.st_size == 0) {
        close(fd);
        return 0;
    }
    bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED && errno != ENODEV) /* a segment that still grows */
        measure_fail(path);
    lines = bytes == MAP_FAILED ? count_by_reading(fd, path) : count_in(bytes, (size_t)st.st_size);
    if (bytes != MAP_FAILED)
        munmap(bytes, (size_t)st.st_size);
    close(fd);
    return lines;
}

int main(int argc, char **argv)
{
    long lines = 0;

    for (int i = 1; i < argc; i++)
        lines += count_lines(argv[i]);
    printf("%ld\n", lines);
    return 0;
}
