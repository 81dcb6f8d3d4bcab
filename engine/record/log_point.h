/* engine/record/log_point.h: a place between two records, in both coordinates that stay. */
#ifndef LOGMNT_ENGINE_RECORD_LOG_POINT_H
#define LOGMNT_ENGINE_RECORD_LOG_POINT_H

#include <stdint.h>

struct log_point {
    int64_t offset;
    int64_t position;
};

#endif
