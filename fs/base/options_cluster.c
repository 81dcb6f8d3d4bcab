/* fs/base/options_cluster.c: addresses, files, and what goes together.
 *
 * A half-configured node would come up as a single one, or as a member of nothing, and be found out much later: so
 * whatever has no meaning alone is refused. */
#include "fs/base/options_cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/base/absolute.h"
#include "replication/base/address.h"
#include "replication/wire/hello.h"

/* ---- values ---- */

/* A decimal number from min to max, nothing around it. */
static bool parse_number(const char *text, size_t len, long max, long *out)
{
    char digits[16], *end;

    if (len == 0 || len >= sizeof digits || strspn(text, "0123456789") < len) {
        return false;
    }
    memcpy(digits, text, len);
    digits[len] = '\0';
    *out = strtol(digits, &end, 10);
    return *out >= 1 && *out <= max;
}

/* HOST:PORT, [HOST]:PORT for one with colons. option is for the words, as it was given. */
static int parse_address(const char *option, const char *text, char **host, int *port, struct err *e)
{
    const char *colon = strrchr(text, ':'), *begin = text;
    long number;
    size_t len;

    if (colon == NULL || !parse_number(colon + 1, strlen(colon + 1), UINT16_MAX, &number)) {
        return err_set(e, -EINVAL, "%s: needs a port from 1 to 65535, as in HOST:PORT", option);
    }
    len = (size_t)(colon - text);
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        begin++;
        len -= 2;
    } else if (memchr(text, ':', len) != NULL) {
        return err_set(e, -EINVAL, "%s: an address with colons goes in brackets, as in [HOST]:PORT", option);
    }
    if (len == 0 || len >= HELLO_HOST_BYTES) {
        return err_set(e, -EINVAL, "%s: needs a host of 1 to %d bytes, as in HOST:PORT", option, HELLO_HOST_BYTES - 1);
    }
    *host = strndup(begin, len);
    *port = (int)number;
    return *host != NULL ? 0 : err_sys(e, -ENOMEM, "%s", option);
}

static int set_listen(struct cluster_options *options, const char *value, struct err *e)
{
    char option[ERR_TEXT_BYTES], *host;
    int rc;

    snprintf(option, sizeof option, "listen=%s", value);
    rc = parse_address(option, value, &host, &options->listen_port, e);
    if (rc == 0) {
        free(options->listen_host);
        options->listen_host = host;
    }
    return rc;
}

/* In ascending order of the ids. */
static void insert(struct cluster_options *options, const struct node_peer *peer)
{
    size_t at = options->peer_count++;

    for (; at > 0 && options->peers[at - 1].id > peer->id; at--) {
        options->peers[at] = options->peers[at - 1];
    }
    options->peers[at] = *peer;
}

static int set_peer(struct cluster_options *options, const char *value, struct err *e)
{
    char option[ERR_TEXT_BYTES], *host;
    struct node_peer peer;
    const char *mark = strchr(value, '@');
    long id;
    int rc;

    snprintf(option, sizeof option, "peer=%s", value);
    if (mark == NULL || !parse_number(value, (size_t)(mark - value), INT32_MAX, &id)) {
        return err_set(e, -EINVAL, "%s: needs a node id from 1 to %d in front, as in ID@HOST:PORT", option, INT32_MAX);
    }
    if (options->peer_count == LIMIT_NODES) {
        return err_set(e, -EINVAL, "%s: more than %d nodes", option, LIMIT_NODES);
    }
    rc = parse_address(option, mark + 1, &host, &peer.port, e);
    if (rc != 0) {
        return rc;
    }
    peer.id = (int32_t)id;
    peer.host = host;
    for (size_t i = 0; i < options->peer_count; i++) {
        const struct node_peer *other = &options->peers[i];

        if (other->id == peer.id) {
            rc = err_set(e, -EINVAL, "%s: node %d was given before, at %s", option, peer.id,
                         address_text(other->host, other->port).text);
        } else if (other->port == peer.port && strcmp(other->host, peer.host) == 0) {
            rc = err_set(e, -EINVAL, "%s: that is the address of node %d", option, other->id);
        }
    }
    if (rc != 0) {
        free(host);
        return rc;
    }
    insert(options, &peer);
    return 0;
}

static int set_recover(struct cluster_options *options, const char *value, struct err *e)
{
    long id;

    if (!parse_number(value, strlen(value), INT32_MAX, &id)) {
        return err_set(e, -EINVAL, "quorum.recover=%s: must be a node id, from 1 to %d", value, INT32_MAX);
    }
    options->quorum_recover = (int32_t)id;
    return 0;
}

static int set_tls(struct cluster_options *options, const char *value, struct err *e)
{
    if (strcmp(value, "off") != 0) {
        return err_set(e, -EINVAL, "tls=%s: must be off; tls.cert=, tls.key= and tls.ca= turn it on", value);
    }
    options->tls_off = true;
    return 0;
}

/* ---- the options ---- */

int cluster_option_set(struct cluster_options *options, const char *name, const char *value, struct err *e)
{
    static const struct {
        const char *name;
        int (*set)(struct cluster_options *options, const char *value, struct err *e);
    } words[] = {{"listen", set_listen}, {"peer", set_peer}, {"quorum.recover", set_recover}, {"tls", set_tls}};
    const struct {
        const char *name;
        char **path;
    } files[] = {{"tls.cert", &options->tls_cert}, {"tls.key", &options->tls_key}, {"tls.ca", &options->tls_ca}};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(name, words[i].name) == 0) {
            return value != NULL ? words[i].set(options, value, e) : err_set(e, -EINVAL, "%s: needs a value", name);
        }
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (strcmp(name, files[i].name) == 0) {
            return value != NULL ? absolute_set(files[i].path, name, "file", value, e)
                                 : err_set(e, -EINVAL, "%s: needs a value", name);
        }
    }
    return 1;
}

/* ---- what goes together ---- */

/* What has no meaning without listen=. NULL: there is nothing of it. */
static const char *needs_listen(const struct cluster_options *options)
{
    return options->peer_count > 0        ? "peer"
           : options->tls_cert != NULL    ? "tls.cert"
           : options->tls_key != NULL     ? "tls.key"
           : options->tls_ca != NULL      ? "tls.ca"
           : options->tls_off             ? "tls=off"
           : options->quorum_recover != 0 ? "quorum.recover"
                                          : NULL;
}

static int check_tls(struct cluster_options *options, struct err *e)
{
    const char *missing = options->tls_cert == NULL  ? "tls.cert"
                          : options->tls_key == NULL ? "tls.key"
                          : options->tls_ca == NULL  ? "tls.ca"
                                                     : NULL;
    bool some = options->tls_cert != NULL || options->tls_key != NULL || options->tls_ca != NULL;

    if (options->tls_off && some) {
        return err_set(e, -EINVAL, "tls=off and tls.cert=, tls.key=, tls.ca= exclude each other");
    }
    if (some && missing != NULL) {
        return err_set(e, -EINVAL, "%s is missing: tls.cert=, tls.key= and tls.ca= go together", missing);
    }
    if (!some && !options->tls_off) {
        return err_set(e, -EINVAL,
                       "listen=%s: whoever reaches it could be a node: say tls.cert=, tls.key= and tls.ca=, or "
                       "tls=off where the network is trusted",
                       address_text(options->listen_host, options->listen_port).text);
    }
    options->tls = (struct tls_files){options->tls_cert, options->tls_key, options->tls_ca};
    return 0;
}

static bool lists(const struct cluster_options *options, int32_t id)
{
    for (size_t i = 0; i < options->peer_count; i++) {
        if (options->peers[i].id == id) {
            return true;
        }
    }
    return false;
}

static bool is_any_address(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

int cluster_options_check(struct cluster_options *options, int32_t id, struct err *e)
{
    int rc;

    if (options->listen_host == NULL) {
        const char *alone = needs_listen(options);

        return alone == NULL ? 0 : err_set(e, -EINVAL, "%s: without listen=HOST:PORT there are no other nodes", alone);
    }
    rc = check_tls(options, e);
    if (rc != 0) {
        return rc;
    }
    if (options->peer_count > 0 && !lists(options, id)) {
        return err_set(e, -EINVAL, "peer=: the list leaves out this node: add peer=%d@HOST:PORT", id);
    }
    if (options->peer_count == 0 && is_any_address(options->listen_host)) {
        return err_set(e, -EINVAL, "listen=%s: where do other nodes find this one? add peer=%d@HOST:PORT",
                       address_text(options->listen_host, options->listen_port).text, id);
    }
    if (options->quorum_recover != 0 && options->quorum_recover != id) {
        return err_set(e, -EINVAL, "quorum.recover=%d: this is node %d; start the one whose log is to count",
                       options->quorum_recover, id);
    }
    return 0;
}

void cluster_options_free(struct cluster_options *options)
{
    for (size_t i = 0; i < options->peer_count; i++) {
        free((char *)(uintptr_t)options->peers[i].host);
    }
    free(options->listen_host);
    free(options->tls_cert);
    free(options->tls_key);
    free(options->tls_ca);
}
