/* replication/base/properties.c: read whole, looked through line by line. */
#include "replication/base/properties.h"

#include <errno.h>
#include <string.h>

#include "replication/base/limits.h"

bool properties_value(const char *text, const char *key, char *out, size_t size)
{
    size_t key_len = strlen(key);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, key_len) != 0 || line[key_len] != '=')
            continue;
        const char *value = line + key_len + 1;
        size_t len = strcspn(value, "\n");
        if (len >= size)
            return false;
        memcpy(out, value, len);
        out[len] = '\0';
        return true;
    }
    return false;
}

bool properties_are(const char *text, const char *magic)
{
    char version[16];
    size_t len = strlen(magic);
    return strncmp(text, magic, len) == 0 && text[len] == '\n' &&
           properties_value(text, "version", version, sizeof version) && strcmp(version, "1") == 0;
}

int properties_read(struct io *io, int dirfd, const char *file, char **text, struct err *e)
{
    size_t len;
    int rc = io_read_file(io, dirfd, file, LIMIT_TEXT_FILE_BYTES, text, &len, e);
    return rc == -EFBIG ? err_set(e, -EBADMSG, "%s: damaged: too long", file) : rc;
}
