/* tests/fuzz/fuzz_options.c: any command line, a word a line: it is refused with one line, or what it says is in range.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/base/options.h"
#include "tests/fuzz/fuzz.h"

enum { MAX_WORDS = 32 };

static void check_options(const struct options *options)
{
    if (options->help || options->version) {
        return;
    }
    FUZZ_CHECK(options->mountpoint != NULL && options->mountpoint[0] != '\0');
    FUZZ_CHECK(options->data_dir != NULL && options->data_dir[0] == '/');
    FUZZ_CHECK(strncmp(options->fuse_options, "default_permissions,", 20) == 0);
    FUZZ_CHECK(options->id >= 1);
    FUZZ_CHECK(options->acks == ACKS_NONE || options->acks == ACKS_LEADER || options->acks == ACKS_ALL);
    FUZZ_CHECK(options->linger_ms >= 0 && options->linger_ms <= options->delivery_timeout_ms);
    FUZZ_CHECK(options->delivery_timeout_ms <= INT64_MAX / 2);
    FUZZ_CHECK(options->batch_size_bytes >= 0 && options->batch_size_bytes <= INT32_MAX);
    FUZZ_CHECK(options->buffer_memory_bytes >= 0);
    FUZZ_CHECK(options->log_retention_check_interval_ms >= 1 &&
               options->log_retention_check_interval_ms <= INT64_MAX / 2);
    FUZZ_CHECK(options->log_cleaner_backoff_ms >= 0 && options->log_cleaner_backoff_ms <= INT64_MAX / 2);
    FUZZ_CHECK(options->replica_lag_time_max_ms >= 1 && options->replica_lag_time_max_ms <= INT64_MAX / 2);
    FUZZ_CHECK(options->node_session_timeout_ms >= 1);
    const struct cluster_options *cluster = &options->cluster;
    FUZZ_CHECK(cluster->listen_host != NULL || (cluster->peer_count == 0 && cluster->quorum_recover == 0));
    FUZZ_CHECK(cluster->listen_host == NULL || cluster->tls_off == (cluster->tls.cert == NULL));
    for (size_t i = 0; i < cluster->peer_count; i++) {
        FUZZ_CHECK(cluster->peers[i].id > (i == 0 ? 0 : cluster->peers[i - 1].id));
        FUZZ_CHECK(cluster->peers[i].host[0] != '\0' && cluster->peers[i].port >= 1 && cluster->peers[i].port < 65536);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text = fuzz_text(data, len);
    char *argv[MAX_WORDS + 1] = {(char[]){"logmnt"}};
    int argc = 1;
    struct options options;
    struct err e = {0};
    char *rest = text;
    int rc;

    while (rest != NULL && argc < MAX_WORDS) {
        argv[argc++] = strsep(&rest, "\n");
    }
    rc = options_parse(argc, argv, &options, &e);
    FUZZ_CHECK(rc == 0 || rc == -EINVAL);
    if (rc == 0) {
        check_options(&options);
        options_free(&options);
    } else {
        FUZZ_CHECK(e.text[0] != '\0' && options.mountpoint == NULL && options.data_dir == NULL);
    }
    free(text);
    return 0;
}
