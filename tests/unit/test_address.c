/* tests/unit/test_address.c: 0@5678, 0@-10, 0@2026-11-22T09:00:00Z and the like. Instants are those that date(1) gives.
 * What a small partition of this file's answers is where they lead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/tree/address.h"

/* ---- a partition of records 100 … 199, ten bytes each, one a second from second 1000 on ---- */

static const struct log_point high_watermark = {200, 2000};

static struct log_point found(int64_t offset)
{
    offset = offset < 100 ? 100 : offset > 200 ? 200 : offset;
    return (struct log_point){offset, offset * 10};
}

/* What it answers. */
static void answer(struct read_op *op)
{
    op->high_watermark = high_watermark;
    switch (op->kind) {
    case FIND_OFFSET:
        op->point = found(op->at);
        break;
    case FIND_TIME:
        op->point = found(100 + (op->at - 1000000 + 999) / 1000);
        break;
    case FIND_LAST:
        op->point = found(op->at > 200 ? 0 : 200 - op->at);
        break;
    case FIND_END:
        op->point = high_watermark;
        break;
    default:
        fail_msg("no address asks for that: %d", (int)op->kind);
    }
}

/* ---- the tests ---- */

static void expect(const char *name, int32_t partition, enum address_kind kind, int64_t value)
{
    struct address address;

    if (address_parse(name, &address) != 0) {
        fail_msg("%s: not understood", name);
    }
    assert_int_equal(address.partition, partition);
    assert_int_equal(address.kind, kind);
    assert_int_equal(address.value, value);
}

static void refuse(const char *name)
{
    struct address address;

    if (address_parse(name, &address) != -ENOENT) {
        fail_msg("%s: was understood", name);
    }
}

static void a_partition_is_a_number_without_sign_or_leading_zeros(void **state)
{
    (void)state;
    assert_int_equal(address_partition("0"), 0);
    assert_int_equal(address_partition("17"), 17);
    assert_int_equal(address_partition("2147483647"), 2147483647);
    assert_int_equal(address_partition("2147483648"), -1);
    assert_int_equal(address_partition("99999999999999999999"), -1);
    assert_int_equal(address_partition("00"), -1);
    assert_int_equal(address_partition("01"), -1);
    assert_int_equal(address_partition("+1"), -1);
    assert_int_equal(address_partition("-1"), -1);
    assert_int_equal(address_partition(" 1"), -1);
    assert_int_equal(address_partition("1 "), -1);
    assert_int_equal(address_partition("1a"), -1);
    assert_int_equal(address_partition(""), -1);
    assert_int_equal(address_partition("0@0"), -1);
}

static void offsets_counts_and_ends(void **state)
{
    (void)state;
    expect("0@5678", 0, ADDRESS_OFFSET, 5678);
    expect("12@0", 12, ADDRESS_OFFSET, 0);
    expect("0@9223372036854775807", 0, ADDRESS_OFFSET, INT64_MAX);
    expect("0@-10", 0, ADDRESS_LAST, 10);
    expect("0@-0", 0, ADDRESS_LAST, 0);
    expect("0@2026", 0, ADDRESS_OFFSET, 2026); /* a year is a number */
    expect("3@start", 3, ADDRESS_START, 0);
    expect("3@end", 3, ADDRESS_END, 0);
    expect("3@earliest", 3, ADDRESS_START, 0);
    expect("3@latest", 3, ADDRESS_END, 0);
}

static void how_long_ago(void **state)
{
    (void)state;
    expect("0@-30s", 0, ADDRESS_AGO, 30000);
    expect("0@-15m", 0, ADDRESS_AGO, 900000);
    expect("0@-2h", 0, ADDRESS_AGO, 7200000);
    expect("0@-7d", 0, ADDRESS_AGO, 604800000);
    refuse("0@-15M");
    refuse("0@-15ms");
    refuse("0@-m");
    refuse("0@-1.5h");
    refuse("0@15m");
    refuse("0@--1");
    refuse("0@-9223372036854775807s");
    refuse("0@-99999999999999999999");
}

static void times_with_a_zone(void **state)
{
    (void)state;
    expect("0@2026-11-22T09:00:00Z", 0, ADDRESS_TIME, INT64_C(1795338000000));
    expect("0@2026-11-22t09:00:00z", 0, ADDRESS_TIME, INT64_C(1795338000000));
    expect("0@2026-11-22T09:00Z", 0, ADDRESS_TIME, INT64_C(1795338000000));
    expect("0@2026-11-22T10:00:00+01:00", 0, ADDRESS_TIME, INT64_C(1795338000000));
    expect("0@2026-11-22T10:00:00+0100", 0, ADDRESS_TIME, INT64_C(1795338000000));
    expect("0@2026-11-22T10:00:00+01", 0, ADDRESS_TIME, INT64_C(1795338000000));
    expect("0@2026-11-22T03:30:00-05:30", 0, ADDRESS_TIME, INT64_C(1795338000000));
    expect("0@2026-11-22 09:00:00Z", 0, ADDRESS_TIME, INT64_C(1795338000000));
    expect("0@2026-11-22 09:00Z", 0, ADDRESS_TIME, INT64_C(1795338000000));
    expect("0@2026-11-22 10:00:00.5+01:00", 0, ADDRESS_TIME, INT64_C(1795338000500)); /* date --rfc-3339 */
    expect("0@2026-11-22Z", 0, ADDRESS_TIME, INT64_C(1795305600000));
    expect("0@1970-01-01T00:00:00Z", 0, ADDRESS_TIME, 0);
    expect("0@1969-12-31T23:59:59Z", 0, ADDRESS_TIME, -1000);
    expect("0@2024-02-29T00:00:00Z", 0, ADDRESS_TIME, INT64_C(1709164800000));
    expect("0@2000-02-29T00:00:00Z", 0, ADDRESS_TIME, INT64_C(951782400000));
}

/* Records carry whole ms: at or after a fraction of one is from the next one on. */
static void fractions_of_a_second(void **state)
{
    (void)state;
    expect("0@2026-11-22T09:00:00.5Z", 0, ADDRESS_TIME, INT64_C(1795338000500));
    expect("0@2026-11-22T09:00:00,25Z", 0, ADDRESS_TIME, INT64_C(1795338000250));
    expect("0@2026-11-22T09:00:00.123Z", 0, ADDRESS_TIME, INT64_C(1795338000123));
    expect("0@2026-11-22T09:00:00.123000Z", 0, ADDRESS_TIME, INT64_C(1795338000123));
    expect("0@2026-11-22T09:00:00.123001Z", 0, ADDRESS_TIME, INT64_C(1795338000124));
    expect("0@2026-11-22T08:59:59.9999999999999999999999Z", 0, ADDRESS_TIME, INT64_C(1795338000000));
    refuse("0@2026-11-22T09:00:00.Z");
    refuse("0@2026-11-22T09:00.5Z");
}

static void times_without_a_zone_are_the_hosts(void **state)
{
    (void)state;
    setenv("TZ", "XYZ-2", 1); /* two hours east of UTC */
    tzset();
    expect("0@2026-11-22T11:00:00", 0, ADDRESS_TIME, INT64_C(1795338000000));
    expect("0@2026-11-22T11:00", 0, ADDRESS_TIME, INT64_C(1795338000000));
    expect("0@2026-11-22 11:00", 0, ADDRESS_TIME, INT64_C(1795338000000));
    expect("0@2026-11-22", 0, ADDRESS_TIME, INT64_C(1795298400000));
    expect("0@2026-11-22T09:00:00Z", 0, ADDRESS_TIME, INT64_C(1795338000000));
    expect("0@1970-01-01T01:59:59", 0, ADDRESS_TIME, -1000); /* -1 is also what mktime(3) fails with */
    unsetenv("TZ");
    tzset();
}

static void dates_that_do_not_exist(void **state)
{
    (void)state;
    refuse("0@2026-02-29");
    refuse("0@2026-02-30");
    refuse("0@1900-02-29");
    refuse("0@2026-04-31");
    refuse("0@2026-00-10");
    refuse("0@2026-13-01");
    refuse("0@2026-01-00");
    refuse("0@2026-01-32");
    refuse("0@2026-11-22T24:00Z");
    refuse("0@2026-11-22T09:60Z");
    refuse("0@2026-11-22T09:00:60Z");
    refuse("0@2026-11-22T09:00:00+24:00");
    refuse("0@2026-11-22T09:00:00+01:60");
}

static void what_fits_no_form(void **state)
{
    (void)state;
    refuse("");
    refuse("0");
    refuse("@5");
    refuse("0@");
    refuse("00@5");
    refuse("x@5");
    refuse("0@x");
    refuse("0@5x");
    refuse("0@+5");
    refuse("0@ 5");
    refuse("0@5 ");
    refuse("0@-");
    refuse("0@0x10");
    refuse("0@1.5");
    refuse("0@9223372036854775808");
    refuse("2147483648@5");
    refuse("0@START");
    refuse("0@starts");
    refuse("0@endx");
    refuse("0@Earliest");
    refuse("0@earlies");
    refuse("0@latest ");
    refuse("0@0@0");
}

static void what_fits_no_form_of_a_time(void **state)
{
    (void)state;
    refuse("0@2026-11");
    refuse("0@2026-1-2");
    refuse("0@26-11-22");
    refuse("0@2026-11-22T");
    refuse("0@2026-11-22T9:00Z");
    refuse("0@2026-11-22T09Z");
    refuse("0@2026-11-22T09:00:Z");
    refuse("0@2026-11-22 ");
    refuse("0@2026-11-22 Z");
    refuse("0@2026-11-22  09:00:00");
    refuse("0@2026-11-22 T09:00:00");
    refuse("0@2026-11-22 9:00Z");
    refuse("0@2026-11-22 09:00:00 +01:00");
    refuse("0@2026-11-22T09:00:00ZZ");
    refuse("0@2026-11-22T09:00:00+");
    refuse("0@2026-11-22T09:00:00+1");
    refuse("0@2026-11-22T09:00:00+01:");
    refuse("0@2026-11-22T09:00:00+01:0");
    refuse("0@2026-11-22T09:00:00+010");
    refuse("0@2026-11-22T09:00:00 Z");
    refuse("0@2026-11-22x");
}

static int64_t resolve(const char *name, int64_t now_ms)
{
    struct address address;
    struct read_op op = {0};
    struct log_point point;
    int rc;

    assert_int_equal(address_parse(name, &address), 0);
    address_ask(&address, now_ms, &op);
    answer(&op);
    rc = address_found(&address, &op, &point);
    if (rc < 0) {
        return rc;
    }
    assert_int_equal(point.position, point.offset * 10);
    return point.offset;
}

static void addresses_find_their_records(void **state)
{
    (void)state;
    assert_int_equal(resolve("0@150", 0), 150);
    assert_int_equal(resolve("0@7", 0), 100);
    assert_int_equal(resolve("0@200", 0), 200);
    assert_int_equal(resolve("0@201", 0), -ENOENT);
    assert_int_equal(resolve("0@-10", 0), 190);
    assert_int_equal(resolve("0@-0", 0), 200);
    assert_int_equal(resolve("0@-100000", 0), 100);
    assert_int_equal(resolve("0@1970-01-01T00:17:00Z", 0), 120); /* second 1020 */
    assert_int_equal(resolve("0@2026-01-01", 0), 200);
    assert_int_equal(resolve("0@-1m", 1100000), 140);
    assert_int_equal(resolve("0@-7d", 1100000), 100);
    assert_int_equal(resolve("0@start", 0), 100);
    assert_int_equal(resolve("0@end", 0), 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_partition_is_a_number_without_sign_or_leading_zeros),
        cmocka_unit_test(offsets_counts_and_ends),
        cmocka_unit_test(how_long_ago),
        cmocka_unit_test(times_with_a_zone),
        cmocka_unit_test(fractions_of_a_second),
        cmocka_unit_test(times_without_a_zone_are_the_hosts),
        cmocka_unit_test(dates_that_do_not_exist),
        cmocka_unit_test(what_fits_no_form),
        cmocka_unit_test(what_fits_no_form_of_a_time),
        cmocka_unit_test(addresses_find_their_records),
    };

    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
