/* Reasons: set, wrapped outward, cut but never overrun; log lines are one line. */
#include "engine/base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <syslog.h>

#include <cmocka.h>

static void set_replaces_and_returns_rc(void **state)
{
    struct err e = {"old"};

    (void)state;
    assert_int_equal(err_set(&e, -EBADMSG, "segment %d: bad magic", 345), -EBADMSG);
    assert_string_equal(e.text, "segment 345: bad magic");
    assert_int_equal(err_set(NULL, -EIO, "nobody reads this"), -EIO);
}

static void wrap_puts_words_in_front(void **state)
{
    struct err e = {"bad magic"};

    (void)state;
    assert_int_equal(err_wrap(&e, -EBADMSG, "segment %d", 345), -EBADMSG);
    assert_int_equal(err_wrap(&e, -EBADMSG, "open %s", "orders-0"), -EBADMSG);
    assert_string_equal(e.text, "open orders-0: segment 345: bad magic");
    assert_int_equal(err_wrap(NULL, -EIO, "x"), -EIO);
}

static void wrap_of_an_empty_text_has_no_colon(void **state)
{
    struct err e = {""};

    (void)state;
    err_wrap(&e, -EIO, "open orders-0");
    assert_string_equal(e.text, "open orders-0");
}

static void sys_names_the_errno(void **state)
{
    struct err e = {""};

    (void)state;
    assert_int_equal(err_sys(&e, -ENOENT, "open %s", "x"), -ENOENT);
    assert_string_equal(e.text, "open x: No such file or directory");
}

static void long_texts_are_cut_and_terminated(void **state)
{
    struct err e = {""};
    char big[2 * ERR_TEXT_BYTES];

    (void)state;
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = '\0';
    err_set(&e, -EIO, "%s", big);
    assert_int_equal(strlen(e.text), ERR_TEXT_BYTES - 1);
    err_wrap(&e, -EIO, "front");
    assert_int_equal(strlen(e.text), ERR_TEXT_BYTES - 1);
    assert_memory_equal(e.text, "front: xxx", 10);
    err_wrap(&e, -EIO, "%s", big);
    assert_int_equal(strlen(e.text), ERR_TEXT_BYTES - 1);
    err_sys(&e, -EIO, "%s", big);
    assert_int_equal(strlen(e.text), ERR_TEXT_BYTES - 1);
}

static char seen[4096];
static int seen_level;

static void remember(int level, const char *line)
{
    seen_level = level;
    strncpy(seen, line, sizeof seen - 1);
}

static void an_event_is_one_line(void **state)
{
    (void)state;
    log_sink_set(remember);
    log_line(LOG_WARNING, "topic %s is odd", "a\nb\rc");
    log_sink_set(NULL);
    assert_int_equal(seen_level, LOG_WARNING);
    assert_string_equal(seen, "topic a b c is odd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_replaces_and_returns_rc),        cmocka_unit_test(wrap_puts_words_in_front),
        cmocka_unit_test(wrap_of_an_empty_text_has_no_colon), cmocka_unit_test(sys_names_the_errno),
        cmocka_unit_test(long_texts_are_cut_and_terminated),  cmocka_unit_test(an_event_is_one_line),
    };

    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
