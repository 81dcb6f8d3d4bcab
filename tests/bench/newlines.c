/* tests/bench/newlines.c: counts the lines of files through a mapping of each, as `grep -c '' --mmap` once did.
 *
 *   newlines FILE... */
#include "tests/bench/measure.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static long count_lines(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *bytes, *at, *end;
    long lines = 0;

    if (fd < 0 || fstat(fd, &st))
        measure_fail(path);
    if (st.st_size == 0) {
        close(fd);
        return 0;
    }
    bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED)
        measure_fail(path);
    end = bytes + st.st_size;
    for (at = bytes; (at = memchr(at, '\n', (size_t)(end - at))); at++)
        lines++;
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
