/* tests/bench/tcp.c: what a network costs by itself, to hold against.
 *
 *   tcp serve PORT [FILE]        answers `echo` and `fetch` until it is ended; prints a line when it listens
 *   tcp echo HOST PORT COUNT     COUNT round trips of 100 bytes, one after the other; prints the median in nanoseconds
 *   tcp fetch HOST PORT          reads the server's FILE to its end, drops it, and prints how long it took
 *
 * A connection's first byte says what it wants. Each connection is served by a process of its own. */
#include "tests/bench/measure.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 100, BUFFER_BYTES = 512 << 10 };

static char buffer[BUFFER_BYTES];

static struct sockaddr_in address_of(const char *host, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)measure_number(port, "port"))};

    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fprintf(stderr, "%s: not an address\n", host);
        exit(2);
    }
    return address;
}

static int new_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0)
        measure_fail("socket");
    return fd;
}

static void send_all(int fd, size_t len)
{
    for (size_t sent = 0; sent < len;) {
        ssize_t n = write(fd, buffer + sent, len - sent);

        if (n < 0)
            measure_fail("write");
        sent += (size_t)n;
    }
}

/* false: the other side has ended. */
static bool receive_all(int fd, size_t len)
{
    for (size_t got = 0; got < len;) {
        ssize_t n = read(fd, buffer + got, len - got);

        if (n < 0)
            measure_fail("read");
        if (n == 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

/* ---- serving ---- */

static void serve_one(int fd, const char *path)
{
    char what;
    ssize_t n;
    int file;

    if (read(fd, &what, 1) != 1)
        exit(0);
    if (what == 'e') {
        while (receive_all(fd, MESSAGE_BYTES))
            send_all(fd, MESSAGE_BYTES);
        exit(0);
    }
    file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        measure_fail(path == NULL ? "no file" : path);
    while ((n = read(file, buffer, sizeof buffer)) > 0)
        send_all(fd, (size_t)n);
    exit(n < 0);
}

static void serve(const char *port, const char *path)
{
    struct sockaddr_in address = address_of("0.0.0.0", port);
    int listener = new_socket(), one = 1;

    signal(SIGCHLD, SIG_IGN);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 16) != 0)
        measure_fail("listen");
    puts("listening");
    fflush(stdout);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        pid_t pid;

        if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)
            measure_fail("accept");
        pid = fork();
        if (pid < 0)
            measure_fail("fork");
        if (pid == 0)
            serve_one(fd, path);
        close(fd);
    }
}

/* ---- asking ---- */

static int ask(const char *host, const char *port, char what)
{
    struct sockaddr_in address = address_of(host, port);
    int fd = new_socket();

    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 || write(fd, &what, 1) != 1)
        measure_fail(host);
    return fd;
}

static int64_t echo(int fd, long count)
{
    int64_t *samples = calloc((size_t)count, sizeof *samples);

    if (samples == NULL)
        measure_fail("memory");
    for (long i = 0; i < count; i++) {
        int64_t begun_ns = measure_now_ns();

        send_all(fd, MESSAGE_BYTES);
        if (!receive_all(fd, MESSAGE_BYTES))
            measure_fail("echo");
        samples[i] = measure_now_ns() - begun_ns;
    }
    return measure_median_ns(samples, (size_t)count);
}

static int64_t fetch(const char *host, const char *port)
{
    int64_t begun_ns = measure_now_ns();
    int fd = ask(host, port, 'f');
    ssize_t n;

    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        continue;
    if (n < 0)
        measure_fail("fetch");
    return measure_now_ns() - begun_ns;
}

int main(int argc, char **argv)
{
    if ((argc == 3 || argc == 4) && strcmp(argv[1], "serve") == 0) {
        serve(argv[2], argc == 4 ? argv[3] : NULL);
    } else if (argc == 5 && strcmp(argv[1], "echo") == 0) {
        printf("%lld\n", (long long)echo(ask(argv[2], argv[3], 'e'), measure_number(argv[4], "count")));
        return 0;
    } else if (argc == 4 && strcmp(argv[1], "fetch") == 0) {
        printf("%lld\n", (long long)fetch(argv[2], argv[3]));
        return 0;
    }
    fprintf(stderr, "usage: tcp serve PORT [FILE] | echo HOST PORT COUNT | fetch HOST PORT\n");
    return 2;
}
