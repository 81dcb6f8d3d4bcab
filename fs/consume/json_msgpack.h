/* fs/consume/json_msgpack.h: a MessagePack object as JSON, as json.h says. Pure. */
#ifndef LOGMNT_FS_CONSUME_JSON_MSGPACK_H
#define LOGMNT_FS_CONSUME_JSON_MSGPACK_H

#include "fs/consume/json_text.h"

/* Appends the object, which takes up len bytes exactly. False: it is not one; the text then has a part of it that the
 * caller takes back. *clean is set to false when a text in it was not UTF-8. */
bool json_msgpack_put(struct json_writer *w, const uint8_t *bytes, size_t len, bool *clean);

#endif
