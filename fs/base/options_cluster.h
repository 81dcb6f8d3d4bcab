/* fs/base/options_cluster.h: the options that make a node one of a cluster: listen=, peer=, tls.*, tls=off,
 * quorum.recover=. */
#ifndef LOGMNT_FS_BASE_OPTIONS_CLUSTER_H
#define LOGMNT_FS_BASE_OPTIONS_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "replication/base/limits.h"
#include "replication/node/node.h"

struct cluster_options {
    char *listen_host; /* NULL: no listen=, a single node */
    int listen_port;
    struct node_peer peers[LIMIT_NODES]; /* their hosts are ours to free */
    size_t peer_count;
    char *tls_cert, *tls_key, *tls_ca; /* absolute; NULL: not given */
    struct tls_files tls;              /* them; for node_options.tls, if all are given */
    bool tls_off;
    int32_t quorum_recover; /* 0: not given */
};

/* 1: name is none of these options; 0; -EINVAL, -ENOMEM with one clear line. value NULL: none was given. */
int cluster_option_set(struct cluster_options *options, const char *name, const char *value, struct err *e);
/* Do they go together, for a node of that id? 0, or -EINVAL with one clear line. */
int cluster_options_check(struct cluster_options *options, int32_t id, struct err *e);
void cluster_options_free(struct cluster_options *options);

#endif
