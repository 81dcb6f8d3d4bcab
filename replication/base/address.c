/* replication/base/address.c: pure; cannot fail. */
#include "replication/base/address.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct address_text address_text(const char *host, int32_t port)
{
    struct address_text out;
    const char *format = strchr(host, ':') != NULL ? "[%.260s]:%" PRId32 : "%.260s:%" PRId32;
    snprintf(out.text, sizeof out.text, format, host, port);
    return out;
}
