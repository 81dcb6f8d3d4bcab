/* fs/consume/json_view.h: `.json`: the partition as one JSON object a record, generated as it is read. Ends at the high
 * watermark, as the partition does; reading on later goes on. The last MiB can be read again (history.h). */
#ifndef LOGMNT_FS_CONSUME_JSON_VIEW_H
#define LOGMNT_FS_CONSUME_JSON_VIEW_H

#include "fs/tree/handle.h"

void json_view_read(fuse_req_t req, struct handle *handle, size_t size, int64_t pos, uint64_t owner);

#endif
