/* tests/unit/test_options.c: the command line: what is taken, what is refused, and with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/base/options.h"

enum { MAX_WORDS = 16 };

/* Parses the words given, which end with NULL. */
static int parse(struct options *out, struct err *e, const char *word, ...)
{
    char *argv[MAX_WORDS] = {strdup("logmnt")};
    int argc = 1;
    va_list ap;
    int rc;

    va_start(ap, word);
    for (; word != NULL; word = va_arg(ap, const char *)) {
        assert_true(argc < MAX_WORDS);
        argv[argc++] = strdup(word);
    }
    va_end(ap);
    e->text[0] = '\0';
    rc = options_parse(argc, argv, out, e);
    for (int i = 0; i < argc; i++) {
        free(argv[i]);
    }
    return rc;
}

/* Refused, with a line that holds `words`. */
static void refuse(const char *list, const char *words)
{
    struct options options;
    struct err e;

    assert_int_equal(parse(&options, &e, "-o", list, "/mnt", NULL), -EINVAL);
    if (strstr(e.text, words) == NULL) {
        fail_msg("-o %s: \"%s\" does not say \"%s\"", list, e.text, words);
    }
    assert_null(strchr(e.text, '\n'));
}

static void accept(struct options *options, const char *list)
{
    struct err e;

    if (parse(options, &e, "-o", list, "/mnt", NULL) != 0) {
        fail_msg("-o %s: %s", list, e.text);
    }
}

static void without_options_the_defaults_are_those_of_the_contract(void **state)
{
    struct options options;
    struct err e;

    (void)state;
    setenv("XDG_STATE_HOME", "/var/state", 1);
    assert_int_equal(parse(&options, &e, "/mnt/log", NULL), 0);
    assert_string_equal(options.mountpoint, "/mnt/log");
    assert_string_equal(options.data_dir, "/var/state/logmnt");
    assert_string_equal(options.fuse_options, "default_permissions,fsname=logmnt,subtype=logmnt");
    assert_int_equal(options.id, 1);
    assert_int_equal(options.acks, ACKS_ALL);
    assert_int_equal(options.linger_ms, 0);
    assert_int_equal(options.batch_size_bytes, 16384);
    assert_int_equal(options.buffer_memory_bytes, 33554432);
    assert_int_equal(options.delivery_timeout_ms, 30000);
    assert_true(options.check_crcs);
    assert_int_equal(options.log_retention_check_interval_ms, 300000);
    assert_int_equal(options.log_cleaner_backoff_ms, 15000);
    assert_int_equal(options.replica_lag_time_max_ms, 10000);
    assert_int_equal(options.node_session_timeout_ms, 3000);
    assert_false(options.foreground || options.debug || options.help || options.version);
    options_free(&options);
}

static void data_goes_to_the_state_directory_of_the_user(void **state)
{
    struct options options;
    struct err e;

    (void)state;
    unsetenv("XDG_STATE_HOME");
    setenv("HOME", "/home/ada", 1);
    assert_int_equal(parse(&options, &e, "/mnt", NULL), 0);
    assert_string_equal(options.data_dir, "/home/ada/.local/state/logmnt");
    options_free(&options);
    setenv("XDG_STATE_HOME", "relative/is/ignored", 1);
    assert_int_equal(parse(&options, &e, "/mnt", NULL), 0);
    assert_string_equal(options.data_dir, "/home/ada/.local/state/logmnt");
    options_free(&options);
    unsetenv("XDG_STATE_HOME");
}

static void a_relative_data_directory_is_one_of_here(void **state)
{
    struct options options;
    char want[4200];
    char *cwd = getcwd(NULL, 0);

    (void)state;
    snprintf(want, sizeof want, "%s/some/where", cwd);
    free(cwd);
    accept(&options, "data=some/where");
    assert_string_equal(options.data_dir, want);
    options_free(&options);
    accept(&options, "data=/abs");
    assert_string_equal(options.data_dir, "/abs");
    options_free(&options);
}

static void options_come_in_every_shape_that_mount_uses(void **state)
{
    struct options options;
    struct err e;

    (void)state;
    assert_int_equal(parse(&options, &e, "-oid=7,acks=1", "-o", "linger.ms=5", "-f", "--", "-odd", NULL), 0);
    assert_int_equal(options.id, 7);
    assert_int_equal(options.acks, ACKS_LEADER);
    assert_int_equal(options.linger_ms, 5);
    assert_true(options.foreground);
    assert_false(options.debug);
    assert_string_equal(options.mountpoint, "-odd");
    options_free(&options);
    assert_int_equal(parse(&options, &e, "/mnt", "-d", "-o", "id=2,,id=3,", NULL), 0);
    assert_int_equal(options.id, 3);
    assert_true(options.foreground && options.debug);
    options_free(&options);
}

static void a_backslash_takes_a_comma_into_a_value(void **state)
{
    struct options options;

    (void)state;
    accept(&options, "data=/a\\,b\\\\c,fsname=x\\,y");
    assert_string_equal(options.data_dir, "/a,b\\c");
    assert_string_equal(options.fuse_options, "default_permissions,fsname=x\\,y,subtype=logmnt");
    options_free(&options);
}

static void every_setting_is_taken(void **state)
{
    struct options options;

    (void)state;
    accept(&options,
           "id=2147483647,acks=0,linger.ms=1,batch.size=2,buffer.memory=3,delivery.timeout.ms=4,check.crcs=false,"
           "log.retention.check.interval.ms=5,log.cleaner.backoff.ms=0,replica.lag.time.max.ms=6,"
           "node.session.timeout.ms=7");
    assert_int_equal(options.id, 2147483647);
    assert_int_equal(options.acks, ACKS_NONE);
    assert_int_equal(options.linger_ms, 1);
    assert_int_equal(options.batch_size_bytes, 2);
    assert_int_equal(options.buffer_memory_bytes, 3);
    assert_int_equal(options.delivery_timeout_ms, 4);
    assert_false(options.check_crcs);
    assert_int_equal(options.log_retention_check_interval_ms, 5);
    assert_int_equal(options.log_cleaner_backoff_ms, 0);
    assert_int_equal(options.replica_lag_time_max_ms, 6);
    assert_int_equal(options.node_session_timeout_ms, 7);
    options_free(&options);
    accept(&options, "acks=-1,check.crcs=true,acks=all");
    assert_int_equal(options.acks, ACKS_ALL);
    assert_true(options.check_crcs);
    options_free(&options);
}

static void values_out_of_kafkas_range_are_refused_by_name(void **state)
{
    (void)state;
    refuse("id=0", "id=0: must be from 1 to 2147483647");
    refuse("id=2147483648", "id=2147483648: must be from 1");
    refuse("id=99999999999999999999", "must be from 1");
    refuse("id=-1", "must be from 1");
    refuse("id=", "id=: not a number");
    refuse("id=1x", "not a number");
    refuse("id= 1", "not a number");
    refuse("id=+1", "not a number");
    refuse("id=-", "not a number");
    refuse("acks=2", "acks=2: must be 0, 1 or all");
    refuse("acks=", "must be 0, 1 or all");
    refuse("linger.ms=-1", "linger.ms=-1: must be from 0");
    refuse("batch.size=-1", "must be from 0");
    refuse("batch.size=2147483648", "to 2147483647");
    refuse("buffer.memory=-1", "must be from 0");
    refuse("delivery.timeout.ms=-1", "must be from 0");
    refuse("delivery.timeout.ms=5,linger.ms=6", "must not be below linger.ms=6");
    refuse("check.crcs=yes", "must be true or false");
    refuse("log.retention.check.interval.ms=0", "must be from 1");
    refuse("log.cleaner.backoff.ms=-1", "must be from 0");
    refuse("replica.lag.time.max.ms=0", "must be from 1");
    refuse("node.session.timeout.ms=0", "must be from 1");
    refuse("data=", "names no directory");
}

/* As Kafka's producer does with a delivery.timeout.ms that was not set. */
static void an_unset_delivery_timeout_follows_linger(void **state)
{
    struct options options;

    (void)state;
    accept(&options, "linger.ms=60000");
    assert_int_equal(options.delivery_timeout_ms, 60000);
    options_free(&options);
}

static void for_ever_can_still_be_added_to_a_clock(void **state)
{
    struct options options;

    (void)state;
    accept(&options, "log.retention.check.interval.ms=9223372036854775807");
    assert_true(options.log_retention_check_interval_ms <= INT64_MAX / 2);
    assert_true(options.log_retention_check_interval_ms > INT64_C(1000) * 365 * 86400 * 1000);
    options_free(&options);
}

static void libfuses_own_options_are_handed_on(void **state)
{
    struct options options;

    (void)state;
    accept(&options, "ro,allow_other,default_permissions,fsname=web,subtype=log,noatime,rw");
    assert_string_equal(options.fuse_options, "default_permissions,allow_other,ro,noatime,fsname=web,subtype=log");
    options_free(&options);
    refuse("allow_other,allow_root", "exclude each other");
    refuse("allow_other=1", "allow_other: takes no value");
    refuse("fsname", "fsname: needs a value");
    refuse("fsname=", "fsname=: needs a value");
}

static void what_an_append_only_log_cannot_be_is_refused(void **state)
{
    (void)state;
    refuse("kernel_cache", "unknown option 'kernel_cache'");
    refuse("max_read=4096", "unknown option 'max_read'");
    refuse("bogus", "unknown option 'bogus'");
    refuse("bogus=1", "unknown option 'bogus'");
    refuse("ID=1", "unknown option 'ID'");
    refuse("retention.ms=1000", "unknown option 'retention.ms'");
    refuse("=1", "unknown option ''");
}

static void a_node_of_a_cluster_listens_and_knows_its_peers(void **state)
{
    struct options options;

    (void)state;
    accept(&options, "id=2,listen=0.0.0.0:9000,peer=3@c.example:9003,peer=1@[fd00::1]:9001,peer=2@b:65535,"
                     "tls.cert=/x/cert,tls.key=key,tls.ca=/x/ca");
    assert_string_equal(options.cluster.listen_host, "0.0.0.0");
    assert_int_equal(options.cluster.listen_port, 9000);
    assert_int_equal(options.cluster.peer_count, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(options.cluster.peers[i].id, i + 1); /* ascending */
    }
    assert_string_equal(options.cluster.peers[0].host, "fd00::1");
    assert_int_equal(options.cluster.peers[0].port, 9001);
    assert_string_equal(options.cluster.peers[1].host, "b");
    assert_string_equal(options.cluster.tls.cert, "/x/cert");
    assert_true(options.cluster.tls.key[0] == '/'); /* the daemon leaves the caller's directory */
    assert_false(options.cluster.tls_off);
    options_free(&options);
    accept(&options, "listen=[::1]:1,listen=localhost:2,tls=off,quorum.recover=1");
    assert_string_equal(options.cluster.listen_host, "localhost"); /* the last one counts */
    assert_int_equal(options.cluster.listen_port, 2);
    assert_true(options.cluster.tls_off);
    assert_int_equal(options.cluster.quorum_recover, 1);
    assert_int_equal(options.cluster.peer_count, 0);
    options_free(&options);
}

static void addresses_that_are_none_are_refused(void **state)
{
    (void)state;
    refuse("listen=a", "listen=a: needs a port from 1 to 65535");
    refuse("listen=", "listen=: needs a port");
    refuse("listen=a:", "needs a port");
    refuse("listen=a:0", "needs a port");
    refuse("listen=a:65536", "needs a port");
    refuse("listen=a:9x", "needs a port");
    refuse("listen=a:-1", "needs a port");
    refuse("listen=:9000", "listen=:9000: needs a host");
    refuse("listen=[]:9000", "needs a host");
    refuse("listen=::1:9000", "goes in brackets");
    refuse("peer=a:1", "peer=a:1: needs a node id from 1 to 2147483647");
    refuse("peer=@a:1", "needs a node id");
    refuse("peer=0@a:1", "needs a node id");
    refuse("peer=2147483648@a:1", "needs a node id");
    refuse("peer=1@a", "peer=1@a: needs a port");
    refuse("peer=1@a:1,peer=1@b:1", "peer=1@b:1: node 1 was given before, at a:1");
    refuse("peer=1@[::1]:1,peer=1@b:1", "peer=1@b:1: node 1 was given before, at [::1]:1");
    refuse("peer=1@a:1,peer=2@a:1", "peer=2@a:1: that is the address of node 1");
}

static void half_of_a_cluster_is_refused(void **state)
{
    (void)state;
    refuse("listen=a:1", "say tls.cert=, tls.key= and tls.ca=, or tls=off");
    refuse("listen=[::1]:1", "listen=[::1]:1: whoever");
    refuse("listen=127.0.0.1:1", "say tls.cert="); /* every local user could be a node */
    refuse("listen=a:1,tls.cert=x,tls.key=y", "tls.ca is missing");
    refuse("listen=a:1,tls.cert=x,tls.ca=y", "tls.key is missing");
    refuse("listen=a:1,tls.key=x", "tls.cert is missing");
    refuse("listen=a:1,tls=off,tls.key=x", "exclude each other");
    refuse("listen=a:1,tls=on", "tls=on: must be off");
    refuse("tls.cert=", "tls.cert=: names no file");
    refuse("peer=1@a:1", "peer: without listen=HOST:PORT");
    refuse("tls=off", "tls=off: without listen=");
    refuse("tls.ca=x", "tls.ca: without listen=");
    refuse("quorum.recover=1", "quorum.recover: without listen=");
    refuse("id=4,listen=a:1,tls=off,peer=1@a:1,peer=2@b:1", "leaves out this node: add peer=4@HOST:PORT");
    refuse("id=4,listen=0.0.0.0:1,tls=off", "add peer=4@HOST:PORT");
    refuse("listen=[::]:1,tls=off", "add peer=1@HOST:PORT");
    refuse("listen=a:1,tls=off,quorum.recover=2", "quorum.recover=2: this is node 1");
    refuse("quorum.recover=0", "must be a node id");
}

static void a_value_that_is_missing_is_asked_for(void **state)
{
    (void)state;
    refuse("data", "data: needs a value");
    refuse("id", "id: needs a value");
    refuse("linger.ms", "linger.ms: needs a value");
    refuse("listen", "listen: needs a value");
    refuse("tls.key", "tls.key: needs a value");
    refuse("peer", "peer: needs a value");
}

static void there_is_exactly_one_mount_point(void **state)
{
    struct options options;
    struct err e;

    (void)state;
    assert_int_equal(parse(&options, &e, NULL), -EINVAL);
    assert_non_null(strstr(e.text, "no mount point"));
    assert_int_equal(parse(&options, &e, "-f", NULL), -EINVAL);
    assert_int_equal(parse(&options, &e, "/a", "/b", NULL), -EINVAL);
    assert_non_null(strstr(e.text, "/b: one mount point is enough, /a was given"));
    assert_int_equal(parse(&options, &e, "", NULL), -EINVAL);
    assert_int_equal(parse(&options, &e, "/mnt", "-o", NULL), -EINVAL);
    assert_non_null(strstr(e.text, "-o: needs a list"));
    assert_int_equal(parse(&options, &e, "-x", "/mnt", NULL), -EINVAL);
    assert_non_null(strstr(e.text, "unknown option '-x'"));
    assert_int_equal(parse(&options, &e, "-s", "/mnt", NULL), -EINVAL);
    assert_int_equal(parse(&options, &e, "--data=/x", "/mnt", NULL), -EINVAL);
}

static void help_and_version_need_nothing_else(void **state)
{
    struct options options;
    struct err e;

    (void)state;
    assert_int_equal(parse(&options, &e, "--help", "bogus", "words", NULL), 0);
    assert_true(options.help);
    options_free(&options);
    assert_int_equal(parse(&options, &e, "-h", NULL), 0);
    assert_true(options.help);
    options_free(&options);
    assert_int_equal(parse(&options, &e, "--version", NULL), 0);
    assert_true(options.version);
    options_free(&options);
    assert_int_equal(parse(&options, &e, "-V", NULL), 0);
    assert_true(options.version);
    options_free(&options);
    assert_non_null(strstr(options_usage(), "usage: logmnt"));
    assert_int_equal(strncmp(options_version(), "logmnt 0.1.0\n", 13), 0);
    assert_non_null(strstr(options_version(), "FUSE library 3."));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_options_the_defaults_are_those_of_the_contract),
        cmocka_unit_test(data_goes_to_the_state_directory_of_the_user),
        cmocka_unit_test(a_relative_data_directory_is_one_of_here),
        cmocka_unit_test(options_come_in_every_shape_that_mount_uses),
        cmocka_unit_test(a_backslash_takes_a_comma_into_a_value),
        cmocka_unit_test(every_setting_is_taken),
        cmocka_unit_test(values_out_of_kafkas_range_are_refused_by_name),
        cmocka_unit_test(an_unset_delivery_timeout_follows_linger),
        cmocka_unit_test(for_ever_can_still_be_added_to_a_clock),
        cmocka_unit_test(libfuses_own_options_are_handed_on),
        cmocka_unit_test(what_an_append_only_log_cannot_be_is_refused),
        cmocka_unit_test(a_node_of_a_cluster_listens_and_knows_its_peers),
        cmocka_unit_test(addresses_that_are_none_are_refused),
        cmocka_unit_test(half_of_a_cluster_is_refused),
        cmocka_unit_test(a_value_that_is_missing_is_asked_for),
        cmocka_unit_test(there_is_exactly_one_mount_point),
        cmocka_unit_test(help_and_version_need_nothing_else),
    };

    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
