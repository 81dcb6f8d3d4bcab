/* fs/base/options.c: argv → struct options.
 *
 * The happy path: each word of argv is a flag, a list of mount options or the mount point; each mount option is looked
 * up in four tables in turn: numbers of ours, words of ours, those of a cluster (options_cluster.c), and what libfuse
 * knows and an append-only log can live with. At the end the defaults that depend on others are filled in. The first
 * word that fits nowhere, or has a value that it does not take, ends it with one line. Options given twice: the last
 * one counts, as with mount(8), but for peer=, which is a list. */
#include "fs/base/options.h"

#include <errno.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/base/absolute.h"
#include "fs/base/fuse.h"

#define OPTIONS_VERSION "0.1.0"

/* Kafka takes any long for a time. Clamped to this, "for ever" can still be added to a clock. */
static const int64_t time_max_ms = INT64_MAX / 4;

/* What is gathered before struct options can be filled in. */
struct parsed {
    struct options *out;
    char *fsname, *subtype;
    bool flags_given[8]; /* of fuse_flags */
    bool delivery_timeout_given;
};

/* ---- numbers ---- */

struct number {
    const char *name;
    size_t at; /* in struct options, an int64_t */
    int64_t min, max;
};

static const struct number numbers[] = {
    {"linger.ms", offsetof(struct options, linger_ms), 0, INT64_MAX},
    {"batch.size", offsetof(struct options, batch_size_bytes), 0, INT32_MAX},
    {"buffer.memory", offsetof(struct options, buffer_memory_bytes), 0, INT64_MAX},
    {"delivery.timeout.ms", offsetof(struct options, delivery_timeout_ms), 0, INT32_MAX},
    {"log.retention.check.interval.ms", offsetof(struct options, log_retention_check_interval_ms), 1, INT64_MAX},
    {"log.cleaner.backoff.ms", offsetof(struct options, log_cleaner_backoff_ms), 0, INT64_MAX},
    {"replica.lag.time.max.ms", offsetof(struct options, replica_lag_time_max_ms), 1, INT64_MAX},
    {"node.session.timeout.ms", offsetof(struct options, node_session_timeout_ms), 1, INT32_MAX},
};

static int parse_number(const char *name, const char *value, int64_t min, int64_t max, int64_t *out, struct err *e)
{
    long long n;
    char *end;

    errno = 0;
    n = strtoll(value, &end, 10);
    if (*value == '\0' || strchr("-0123456789", *value) == NULL || *end != '\0') {
        return err_set(e, -EINVAL, "%s=%s: not a number", name, value);
    }
    if (errno == ERANGE || n < min || n > max) {
        return err_set(e, -EINVAL, "%s=%s: must be from %lld to %lld", name, value, (long long)min, (long long)max);
    }
    *out = n;
    return 0;
}

/* ---- words of ours ---- */

static int set_data(struct parsed *p, const char *value, struct err *e)
{
    return absolute_set(&p->out->data_dir, "data", "directory", value, e);
}

static int set_id(struct parsed *p, const char *value, struct err *e)
{
    int64_t id = 0;
    int rc = parse_number("id", value, 1, INT32_MAX, &id, e);

    p->out->id = (int32_t)id;
    return rc;
}

static int set_acks(struct parsed *p, const char *value, struct err *e)
{
    if (strcmp(value, "0") == 0) {
        p->out->acks = ACKS_NONE;
    } else if (strcmp(value, "1") == 0) {
        p->out->acks = ACKS_LEADER;
    } else if (strcmp(value, "all") == 0 || strcmp(value, "-1") == 0) {
        p->out->acks = ACKS_ALL;
    } else {
        return err_set(e, -EINVAL, "acks=%s: must be 0, 1 or all", value);
    }
    return 0;
}

static int set_check_crcs(struct parsed *p, const char *value, struct err *e)
{
    if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0) {
        return err_set(e, -EINVAL, "check.crcs=%s: must be true or false", value);
    }
    p->out->check_crcs = *value == 't';
    return 0;
}

static int set_name(char **name, const char *option, const char *value, struct err *e)
{
    char *copy;

    if (*value == '\0') {
        return err_set(e, -EINVAL, "%s=: needs a value", option);
    }
    copy = strdup(value);
    if (copy == NULL) {
        return err_sys(e, -ENOMEM, "%s=%s", option, value);
    }
    free(*name);
    *name = copy;
    return 0;
}

static int set_fsname(struct parsed *p, const char *value, struct err *e)
{
    return set_name(&p->fsname, "fsname", value, e);
}

static int set_subtype(struct parsed *p, const char *value, struct err *e)
{
    return set_name(&p->subtype, "subtype", value, e);
}

static const struct {
    const char *name;
    int (*set)(struct parsed *p, const char *value, struct err *e);
} words[] = {
    {"data", set_data},     {"id", set_id},           {"acks", set_acks}, {"check.crcs", set_check_crcs},
    {"fsname", set_fsname}, {"subtype", set_subtype},
};

/* ---- libfuse's own, without a value ---- */

static const char *const fuse_flags[] = {
    "allow_other", "allow_root", "auto_unmount", "ro", "nosuid", "nodev", "noexec", "noatime",
};

/* What asks for what is the case anyway: taken, and not handed on. */
static const char *const fuse_defaults[] = {"default_permissions", "rw", "async"};

static bool name_in(const char *name, const char *const *list, size_t count, size_t *found)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, list[i]) == 0) {
            *found = i;
            return true;
        }
    }
    return false;
}

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static int parse_flag(struct parsed *p, const char *name, struct err *e)
{
    size_t i;

    if (name_in(name, fuse_flags, COUNT_OF(fuse_flags), &i)) {
        p->flags_given[i] = true;
        return 0;
    }
    if (name_in(name, fuse_defaults, COUNT_OF(fuse_defaults), &i)) {
        return 0;
    }
    return err_set(e, -EINVAL, "unknown option '%s' (see logmnt --help)", name);
}

/* An option of ours that takes a value. 1: it was not one. value NULL: none was given. */
static int parse_valued(struct parsed *p, const char *name, const char *value, struct err *e)
{
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        const struct number *number = &numbers[i];

        if (strcmp(name, number->name) == 0) {
            int64_t *at = (int64_t *)((char *)p->out + number->at);

            if (value == NULL) {
                return err_set(e, -EINVAL, "%s: needs a value", name);
            }
            p->delivery_timeout_given = p->delivery_timeout_given || at == &p->out->delivery_timeout_ms;
            return parse_number(name, value, number->min, number->max, at, e);
        }
    }
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (strcmp(name, words[i].name) == 0) {
            return value != NULL ? words[i].set(p, value, e) : err_set(e, -EINVAL, "%s: needs a value", name);
        }
    }
    return 1;
}

/* One option; cuts it at its '='. */
static int parse_option(struct parsed *p, char *option, struct err *e)
{
    char *equals = strchr(option, '=');
    char *value = equals != NULL ? equals + 1 : NULL;
    int rc;

    if (*option == '\0') {
        return 0;
    }
    if (equals != NULL) {
        *equals = '\0';
    }
    rc = parse_valued(p, option, value, e);
    if (rc <= 0) {
        return rc;
    }
    rc = cluster_option_set(&p->out->cluster, option, value, e);
    if (rc <= 0) {
        return rc;
    }
    rc = parse_flag(p, option, e);
    if (rc == 0 && value != NULL) {
        return err_set(e, -EINVAL, "%s: takes no value", option);
    }
    return rc;
}

/* The list of an -o: commas separate, a backslash takes what follows as it is (as in libfuse). */
static int parse_list(struct parsed *p, const char *list, struct err *e)
{
    char *option = malloc(strlen(list) + 1);
    size_t len = 0;
    int rc = 0;

    if (option == NULL) {
        return err_sys(e, -ENOMEM, "-o");
    }
    for (const char *at = list; rc == 0; at++) {
        if (*at == ',' || *at == '\0') {
            option[len] = '\0';
            rc = parse_option(p, option, e);
            len = 0;
            if (*at == '\0') {
                break;
            }
            continue;
        }
        if (*at == '\\' && at[1] != '\0') {
            at++;
        }
        option[len++] = *at;
    }
    free(option);
    return rc;
}

/* ---- argv ---- */

static int set_mountpoint(struct options *out, const char *word, struct err *e)
{
    if (out->mountpoint != NULL) {
        return err_set(e, -EINVAL, "%s: one mount point is enough, %s was given before", word, out->mountpoint);
    }
    if (*word == '\0') {
        return err_set(e, -EINVAL, "the mount point is empty");
    }
    out->mountpoint = strdup(word);
    return out->mountpoint != NULL ? 0 : err_sys(e, -ENOMEM, "%s", word);
}

/* A word that starts with '-'. Moves *i when it takes the next one too. */
static int parse_switch(struct parsed *p, int argc, char **argv, int *i, struct err *e)
{
    const char *word = argv[*i];

    if (strcmp(word, "-f") == 0) {
        p->out->foreground = true;
    } else if (strcmp(word, "-d") == 0) {
        p->out->foreground = true;
        p->out->debug = true;
    } else if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
        p->out->help = true;
    } else if (strcmp(word, "-V") == 0 || strcmp(word, "--version") == 0) {
        p->out->version = true;
    } else if (strncmp(word, "-o", 2) == 0) {
        if (word[2] != '\0') {
            return parse_list(p, word + 2, e);
        }
        if (++*i >= argc) {
            return err_set(e, -EINVAL, "-o: needs a list of options");
        }
        return parse_list(p, argv[*i], e);
    } else {
        return err_set(e, -EINVAL, "unknown option '%s' (see logmnt --help)", word);
    }
    return 0;
}

static int parse_words(struct parsed *p, int argc, char **argv, struct err *e)
{
    bool switches = true;
    int rc = 0;

    for (int i = 1; i < argc && rc == 0 && !p->out->help && !p->out->version; i++) {
        if (switches && strcmp(argv[i], "--") == 0) {
            switches = false;
        } else if (switches && argv[i][0] == '-' && argv[i][1] != '\0') {
            rc = parse_switch(p, argc, argv, &i, e);
        } else {
            rc = set_mountpoint(p->out, argv[i], e);
        }
    }
    return rc;
}

/* ---- what follows from the rest ---- */

/* ${XDG_STATE_HOME:-~/.local/state}/logmnt; the XDG base directory specification says to ignore a relative one. */
static int default_data(struct options *out, struct err *e)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    int n;

    if (state != NULL && *state == '/') {
        n = asprintf(&out->data_dir, "%s/logmnt", state);
    } else {
        if (home == NULL || *home != '/') {
            const struct passwd *pw = getpwuid(geteuid());

            home = pw != NULL ? pw->pw_dir : NULL;
        }
        if (home == NULL || *home != '/') {
            return err_set(e, -EINVAL, "no home directory is known to keep the data in: say data=DIR");
        }
        n = asprintf(&out->data_dir, "%s/.local/state/logmnt", home);
    }
    if (n < 0) {
        out->data_dir = NULL;
        return err_sys(e, -ENOMEM, "data");
    }
    return 0;
}

/* Kafka's rule for the two: what was not said follows linger.ms, what was said must not be below it. */
static int check_times(struct parsed *p, struct err *e)
{
    struct options *out = p->out;
    int64_t *times[] = {&out->linger_ms, &out->log_retention_check_interval_ms, &out->log_cleaner_backoff_ms,
                        &out->replica_lag_time_max_ms};

    if (out->delivery_timeout_ms < out->linger_ms && p->delivery_timeout_given) {
        return err_set(e, -EINVAL, "delivery.timeout.ms=%lld: must not be below linger.ms=%lld",
                       (long long)out->delivery_timeout_ms, (long long)out->linger_ms);
    }
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        *times[i] = *times[i] < time_max_ms ? *times[i] : time_max_ms;
    }
    if (out->delivery_timeout_ms < out->linger_ms) {
        out->delivery_timeout_ms = out->linger_ms;
    }
    return 0;
}

/* name=value with what separates options taken out of its meaning. */
static void put_escaped(FILE *list, const char *name, const char *value)
{
    fprintf(list, ",%s=", name);
    for (; *value != '\0'; value++) {
        if (*value == ',' || *value == '\\') {
            fputc('\\', list);
        }
        fputc(*value, list);
    }
}

static int make_fuse_options(struct parsed *p, struct err *e)
{
    char *text = NULL;
    size_t len = 0;
    FILE *list = open_memstream(&text, &len);

    if (list == NULL) {
        return err_sys(e, -ENOMEM, "options");
    }
    fputs("default_permissions", list);
    for (size_t i = 0; i < COUNT_OF(fuse_flags); i++) {
        if (p->flags_given[i]) {
            fprintf(list, ",%s", fuse_flags[i]);
        }
    }
    put_escaped(list, "fsname", p->fsname != NULL ? p->fsname : "logmnt");
    put_escaped(list, "subtype", p->subtype != NULL ? p->subtype : "logmnt");
    if (fclose(list) != 0) {
        free(text);
        return err_sys(e, -ENOMEM, "options");
    }
    p->out->fuse_options = text;
    return 0;
}

static int complete(struct parsed *p, struct err *e)
{
    struct options *out = p->out;
    int rc;

    if (out->mountpoint == NULL) {
        return err_set(e, -EINVAL, "no mount point was given (see logmnt --help)");
    }
    if (p->flags_given[0] && p->flags_given[1]) {
        return err_set(e, -EINVAL, "allow_other and allow_root exclude each other");
    }
    rc = check_times(p, e);
    if (rc == 0) {
        rc = cluster_options_check(&out->cluster, out->id, e);
    }
    if (rc == 0 && out->data_dir == NULL) {
        rc = default_data(out, e);
    }
    if (rc == 0) {
        rc = make_fuse_options(p, e);
    }
    return rc;
}

int options_parse(int argc, char **argv, struct options *out, struct err *e)
{
    struct parsed p = {.out = out};
    int rc;

    _Static_assert(COUNT_OF(p.flags_given) == COUNT_OF(fuse_flags), "one for each");
    *out = (struct options){
        .id = 1,
        .acks = ACKS_ALL, /* KIP-679: the strongest guarantee by default; that nothing comes twice is rule 34 */
        .linger_ms = 0,
        .batch_size_bytes = 16384,
        .buffer_memory_bytes = 33554432,
        .delivery_timeout_ms = 30000,
        .check_crcs = true,
        .log_retention_check_interval_ms = 300000,
        .log_cleaner_backoff_ms = 15000,
        .replica_lag_time_max_ms = 10000,
        .node_session_timeout_ms = 3000,
    };
    rc = parse_words(&p, argc, argv, e);
    if (rc == 0 && !out->help && !out->version) {
        rc = complete(&p, e);
    }
    free(p.fsname);
    free(p.subtype);
    if (rc < 0) {
        options_free(out);
    }
    return rc;
}

void options_free(struct options *options)
{
    free(options->mountpoint);
    free(options->data_dir);
    free(options->fuse_options);
    cluster_options_free(&options->cluster);
    *options = (struct options){0};
}

const char *options_usage(void)
{
    return "usage: logmnt [-f] [-d] [-o OPTION[,OPTION...]] MOUNTPOINT\n"
           "Mounts a log: topics are directories, partitions are append-only files, records are lines.\n"
           "\n"
           "  -f                stay in the foreground\n"
           "  -d                debug: -f and libfuse's own trace\n"
           "  -h, --help        this text\n"
           "  -V, --version     the versions of logmnt and of the FUSE library\n"
           "\n"
           "  -o data=DIR       where segments live (${XDG_STATE_HOME:-~/.local/state}/logmnt)\n"
           "  -o id=N           node id (1)\n"
           "  -o acks=0|1|all   when write(2) returns (all)\n"
           "  -o check.crcs=true|false\n"
           "                    check each batch before it is first shown (true)\n"
           "\n"
           "  a cluster; without them it is a single node without a network port:\n"
           "  -o listen=HOST:PORT\n"
           "                    where other nodes reach this one\n"
           "  -o peer=ID@HOST:PORT\n"
           "                    once for each first member, this node included\n"
           "  -o tls.cert=FILE, -o tls.key=FILE, -o tls.ca=FILE\n"
           "                    mutual TLS; the certificate names DNS:node-ID.logmnt\n"
           "  -o tls=off        the network is trusted\n"
           "  -o quorum.recover=ID\n"
           "                    make a lost quorum anew from this node's log\n"
           "\n"
           "  this mount's producer, as in Kafka:\n"
           "  -o linger.ms=N (0)             -o batch.size=BYTES (16384)\n"
           "  -o buffer.memory=BYTES (33554432)\n"
           "  -o delivery.timeout.ms=N (30000)\n"
           "\n"
           "  this node's timers, as in Kafka:\n"
           "  -o log.retention.check.interval.ms=N (300000)\n"
           "  -o log.cleaner.backoff.ms=N (15000)\n"
           "  -o replica.lag.time.max.ms=N (10000)\n"
           "  -o node.session.timeout.ms=N (3000)\n"
           "\n"
           "  of libfuse: allow_other, allow_root, auto_unmount, ro, nosuid, nodev, noexec, noatime,\n"
           "  fsname=NAME, subtype=NAME; default_permissions is always on\n"
           "\n"
           "fusermount3 -u MOUNTPOINT, or SIGTERM, stops it cleanly.\n";
}

const char *options_version(void)
{
    static char text[128];

    snprintf(text, sizeof text, "logmnt " OPTIONS_VERSION "\nFUSE library %s\n", fuse_pkgversion());
    return text;
}
