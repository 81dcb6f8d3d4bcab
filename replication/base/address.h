/* replication/base/address.h: where a node listens, as people write it. */
#ifndef LOGMNT_REPLICATION_BASE_ADDRESS_H
#define LOGMNT_REPLICATION_BASE_ADDRESS_H

#include <stdint.h>

struct address_text {
    char text[280]; /* a longer host is cut */
};

/* HOST:PORT; [HOST]:PORT where the host has colons itself (RFC 3986, 3.2.2). */
struct address_text address_text(const char *host, int32_t port);

#endif
