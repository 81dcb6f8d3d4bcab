/* A log knows in which epochs it was led, and takes appends of the one that is now. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/crc32c.h"
#include "tests/unit/faulty_log.h"

static int setup(void **state)
{
    (void)state;
    faulty_log_init();
    return 0;
}

/* Without a role. */
static void open_log(bool clean)
{
    struct log_known known = {.clean_shutdown = clean};

    f.env.io = f.io;
    if (f.env.cache == NULL) {
        f.env.cache = segment_cache_new(f.io, 4);
    }
    if (log_open(&f.env, "t-0", &f.config, &known, &f.log, NULL, &f.e) != 0) {
        fail_msg("%s", f.e.text);
    }
}

static void open_again(bool clean)
{
    assert_int_equal(log_close(f.log, &f.e), 0);
    f.log = NULL;
    open_log(clean);
}

/* Ten bytes a record. */
static int append(int32_t epoch)
{
    static const char record[] = "123456789\n";
    struct iovec iov = {(void *)(uintptr_t)record, 10};
    struct append_batch batch = {.iov = &iov,
                                 .iovcnt = 1,
                                 .len = 10,
                                 .records = 1,
                                 .crc = crc32c(0, record, 10),
                                 .first_timestamp_ms = 1,
                                 .last_timestamp_ms = 1,
                                 .producer_id = -1,
                                 .producer_epoch = -1,
                                 .sequence = -1};
    struct log_append_result result;

    return log_append(f.log, &batch, epoch, &result, &f.e);
}

static void lead(int32_t epoch)
{
    if (log_lead(f.log, epoch, &f.e) != 0) {
        fail_msg("%s", f.e.text);
    }
}

static void expect_end(int32_t asked, int32_t epoch, int64_t offset)
{
    struct log_point end;
    int32_t found;

    log_epoch_end(f.log, asked, &found, &end);
    assert_int_equal(found, epoch);
    assert_int_equal(end.offset, offset);
    assert_int_equal(end.position, offset < 0 ? -1 : offset * 10);
}

static void appends_of_another_epoch_are_refused(void **state)
{
    (void)state;
    open_log(true);
    assert_int_equal(append(0), -ESTALE);
    lead(3);
    assert_int_equal(append(2), -ESTALE);
    assert_int_equal(append(4), -ESTALE);
    assert_int_equal(append(3), 0);
    lead(5);
    assert_int_equal(append(3), -ESTALE);
    assert_int_equal(append(5), 0);
    assert_int_equal(log_follow(f.log, 6, &f.e), 0);
    assert_int_equal(append(5), -ESTALE);
    assert_int_equal(append(6), -ESTALE);
    assert_int_equal(log_end(f.log).offset, 2);
    assert_int_equal(log_offline(f.log), 0);
}

static void roles_do_not_go_back(void **state)
{
    (void)state;
    open_log(true);
    lead(4);
    assert_int_equal(log_lead(f.log, 3, &f.e), -ESTALE);
    assert_int_equal(log_follow(f.log, 4, &f.e), -ESTALE);
    assert_int_equal(log_follow(f.log, 3, &f.e), -ESTALE);
    assert_int_equal(log_follow(f.log, 6, &f.e), 0);
    assert_int_equal(log_lead(f.log, 6, &f.e), -ESTALE);
    assert_int_equal(log_lead(f.log, 5, &f.e), -ESTALE);
    assert_int_equal(log_follow(f.log, 6, &f.e), 0);
    lead(7);
    assert_int_equal(append(7), 0);
    open_again(true);
    assert_int_equal(log_lead(f.log, 6, &f.e), -ESTALE); /* it knows of 7 */
    lead(7);
}

/* Records or none (KIP-101); end offsets as KIP-279 asks for them. */
static void an_epoch_begins_when_its_leadership_does(void **state)
{
    (void)state;
    open_log(true);
    expect_end(0, -1, -1);
    lead(1);
    expect_end(1, 1, 0);
    append(1);
    append(1);
    expect_end(1, 1, 2);
    lead(4);
    expect_end(1, 1, 2);
    expect_end(3, 1, 2);
    expect_end(4, 4, 2);
    append(4);
    expect_end(4, 4, 3);
    expect_end(5, 4, -1);
    lead(6); /* without a record */
    for (int again = 0; again < 3; again++) {
        assert_int_equal(log_latest_epoch(f.log), 6);
        expect_end(0, 0, 0);
        expect_end(1, 1, 2);
        expect_end(4, 4, 3);
        expect_end(6, 6, 3);
        open_again(again == 0);
    }
}

/* What a failed fsync leaves in doubt begins no epoch; a full disk is no failure of the disk. */
static void an_epoch_that_is_not_on_the_disk_has_not_begun(void **state)
{
    (void)state;
    open_log(true);
    lead(1);
    append(1);
    faulty_io_arm(&faulty, FAULTY_PWRITEV, 1, -ENOSPC);
    assert_int_equal(log_lead(f.log, 2, &f.e), -ENOSPC);
    assert_int_equal(log_latest_epoch(f.log), 1);
    assert_int_equal(append(2), -ESTALE);
    faulty_io_disarm(&faulty);
    lead(2);
    append(2);
    faulty_io_arm(&faulty, FAULTY_FSYNC, 1, -EIO);
    assert_int_equal(log_lead(f.log, 3, &f.e), -EIO);
    assert_int_equal(log_offline(f.log), -EIO);
    assert_int_equal(log_latest_epoch(f.log), 2);
}

/* ---- at an open ---- */

static void path_of(const char *name, char path[160])
{
    snprintf(path, 160, "%s/t-0/%s", f.path, name);
}

static void three_epochs(void)
{
    f.config.segment_bytes = 30;
    open_log(true);
    for (int32_t epoch = 1; epoch < 7; epoch += 2) {
        lead(epoch);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(append(epoch), 0);
        }
    }
}

static void expect_three_epochs(void)
{
    assert_int_equal(log_latest_epoch(f.log), 5);
    expect_end(1, 1, 4);
    expect_end(2, 1, 4);
    expect_end(3, 3, 8);
    expect_end(5, 5, 12);
}

/* The entries say what the file should: it is made again where they do not agree. */
static void a_file_that_does_not_agree_is_made_again(void **state)
{
    static const char *const files[] = {
        NULL, "logmnt leader-epochs 1\n0 0\ncrc32c 950e55fd\n", /* epoch 0 alone */
    };
    char path[160];

    (void)state;
    three_epochs();
    path_of("leader-epochs", path);
    for (int i = 0; i < 4; i++) {
        const char *text = files[i / 2];

        assert_int_equal(log_close(f.log, &f.e), 0);
        assert_int_equal(unlink(path), 0);
        if (text != NULL) {
            int fd = open(path, O_WRONLY | O_CREAT, 0600);

            assert_int_equal(write(fd, text, strlen(text)), strlen(text));
            close(fd);
        }
        open_log(i % 2 == 0);
        expect_three_epochs();
        assert_int_equal(access(path, F_OK), 0);
    }
}

/* What a crash took of the tail takes the epochs that began in it, durably: else they would come back when the log has
 * grown over their start again. */
static void epochs_behind_the_end_go(void **state)
{
    char path[160];

    (void)state;
    three_epochs();
    assert_int_equal(log_close(f.log, &f.e), 0);
    path_of("00000000000000000006.batches", path);
    assert_int_equal(truncate(path, 64 + 64), 0); /* ends at 7: epoch 5 began at 8 */
    open_log(false);
    assert_int_equal(log_end(f.log).offset, 7);
    assert_int_equal(log_latest_epoch(f.log), 3);
    lead(3);
    append(3);
    append(3);
    open_again(false);
    assert_int_equal(log_latest_epoch(f.log), 3);
    expect_end(3, 3, 9);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(appends_of_another_epoch_are_refused),     TEST(roles_do_not_go_back),
        TEST(an_epoch_begins_when_its_leadership_does), TEST(an_epoch_that_is_not_on_the_disk_has_not_begun),
        TEST(a_file_that_does_not_agree_is_made_again), TEST(epochs_behind_the_end_go),
    };

    return cmocka_run_group_tests_name("log_epochs", tests, NULL, NULL);
}
