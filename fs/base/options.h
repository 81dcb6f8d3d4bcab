/* fs/base/options.h: the command line of logmnt, checked before anything is touched. */
#ifndef LOGMNT_FS_BASE_OPTIONS_H
#define LOGMNT_FS_BASE_OPTIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "fs/base/options_cluster.h"
#include "replication/replica/partition.h"

struct options {
    char *mountpoint;   /* as given */
    char *data_dir;     /* data=DIR, else ${XDG_STATE_HOME:-~/.local/state}/logmnt; absolute */
    char *fuse_options; /* what is libfuse's own, comma-separated ("default_permissions,allow_other"); the rest was ours
                         */
    int32_t id;
    enum acks acks;
    int64_t linger_ms;
    int64_t batch_size_bytes;
    int64_t buffer_memory_bytes;
    int64_t delivery_timeout_ms;
    bool check_crcs;
    int64_t log_retention_check_interval_ms;
    int64_t log_cleaner_backoff_ms;
    int64_t replica_lag_time_max_ms;
    int64_t node_session_timeout_ms;
    struct cluster_options cluster;
    bool foreground; /* -f, -d */
    bool debug;      /* -d */
    bool help;
    bool version;
};

/* Parses argv. 0, or -EINVAL with one clear line in e naming the option and what is wrong with it: unknown options
 * (libfuse's own mount options are known by a list), values out of Kafka's range, a missing or surplus mount point.
 * Also "-o a,b", "-oa", "-o" repeated, "--". On error nothing needs to be freed. */
int options_parse(int argc, char **argv, struct options *out, struct err *e);
void options_free(struct options *options);
const char *options_usage(void);   /* --help */
const char *options_version(void); /* --version: "logmnt 0.1.0" and the FUSE library's */

#endif
