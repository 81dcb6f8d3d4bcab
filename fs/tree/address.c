/* fs/tree/address.c: NAME@ADDRESS, read by hand with a cursor that moves over what it has understood.
 *
 * The happy path: the partition's number, '@', then the first form that fits and takes all of the rest. Everything else
 * is -ENOENT, as for any name that is not there. Times are turned into ms since 1970 here; what is relative stays so
 * until address_ask(), which says what the partition is to be asked. */
#include "fs/tree/address.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

enum {
    MS_PER_SECOND = 1000,
    MS_PER_MINUTE = 60 * MS_PER_SECOND,
    MS_PER_HOUR = 60 * MS_PER_MINUTE,
    MS_PER_DAY = 24 * MS_PER_HOUR,
};

/* ---- the smallest pieces: each moves *at over what it took, or leaves it and returns false ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool take_char(const char **at, char c)
{
    if (**at != c) {
        return false;
    }
    (*at)++;
    return true;
}

/* One digit or more. */
static bool take_number(const char **at, int64_t *out)
{
    const char *p = *at;
    int64_t value = 0;

    if (!is_digit(*p)) {
        return false;
    }
    for (; is_digit(*p); p++) {
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *p - '0', &value)) {
            return false;
        }
    }
    *at = p;
    *out = value;
    return true;
}

/* Exactly so many digits. */
static bool take_digits(const char **at, int digits, int *out)
{
    int value = 0;

    for (int i = 0; i < digits; i++) {
        if (!is_digit((*at)[i])) {
            return false;
        }
        value = value * 10 + ((*at)[i] - '0');
    }
    *at += digits;
    *out = value;
    return true;
}

/* ---- times ---- */

struct when {
    int year, month, day;
    int hour, minute, second;
    int ms;           /* up to 1000: a fraction is rounded up, for "at or after" */
    bool zoned;       /* otherwise the host's own time zone */
    int zone_minutes; /* east of UTC */
};

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && leap ? 29 : days[month - 1];
}

static bool take_date(const char **at, struct when *when)
{
    return take_digits(at, 4, &when->year) && take_char(at, '-') && take_digits(at, 2, &when->month) &&
           take_char(at, '-') && take_digits(at, 2, &when->day) && when->month >= 1 && when->month <= 12 &&
           when->day >= 1 && when->day <= days_in_month(when->year, when->month);
}

/* The digits behind a second's point. Records carry whole ms, so the first at or after a fraction of one is at the next
 * whole ms. */
static bool take_fraction(const char **at, int *ms)
{
    int scale = 100;
    bool more = false;

    if (!is_digit(**at)) {
        return false;
    }
    *ms = 0;
    for (; is_digit(**at); (*at)++) {
        *ms += (**at - '0') * scale;
        more = more || (scale == 0 && **at != '0');
        scale /= 10;
    }
    *ms += more ? 1 : 0;
    return true;
}

static bool take_time(const char **at, struct when *when)
{
    if (!take_digits(at, 2, &when->hour) || when->hour > 23 || !take_char(at, ':') ||
        !take_digits(at, 2, &when->minute) || when->minute > 59) {
        return false;
    }
    if (!take_char(at, ':')) {
        return true;
    }
    if (!take_digits(at, 2, &when->second) || when->second > 59) {
        return false;
    }
    return (!take_char(at, '.') && !take_char(at, ',')) || take_fraction(at, &when->ms);
}

/* Z, ±hh:mm, ±hhmm, ±hh, or nothing. */
static bool take_zone(const char **at, struct when *when)
{
    int sign = **at == '-' ? -1 : 1;
    int hours;
    int minutes = 0;

    if (**at == '\0') {
        return true;
    }
    when->zoned = true;
    if (take_char(at, 'Z') || take_char(at, 'z')) {
        return true;
    }
    if ((!take_char(at, '+') && !take_char(at, '-')) || !take_digits(at, 2, &hours) || hours > 23) {
        return false;
    }
    if (**at != '\0') {
        (void)take_char(at, ':');
        if (!take_digits(at, 2, &minutes) || minutes > 59) {
            return false;
        }
    }
    when->zone_minutes = sign * (hours * 60 + minutes);
    return true;
}

static bool when_to_ms(const struct when *when, int64_t *out)
{
    struct tm tm = {
        .tm_year = when->year - 1900,
        .tm_mon = when->month - 1,
        .tm_mday = when->day,
        .tm_hour = when->hour,
        .tm_min = when->minute,
        .tm_sec = when->second,
        .tm_wday = -1, /* set by a conversion that succeeds: -1 is also a time */
        .tm_isdst = -1,
    };
    time_t seconds = when->zoned ? timegm(&tm) : mktime(&tm);

    if (tm.tm_wday == -1) {
        return false;
    }
    *out = (int64_t)seconds * MS_PER_SECOND + when->ms - (int64_t)when->zone_minutes * MS_PER_MINUTE;
    return true;
}

static bool parse_time(const char *text, int64_t *out)
{
    struct when when = {0};
    const char *at = text;

    if (!take_date(&at, &when)) {
        return false;
    }
    if ((take_char(&at, 'T') || take_char(&at, 't') || take_char(&at, ' ')) && !take_time(&at, &when)) {
        return false;
    }
    return take_zone(&at, &when) && *at == '\0' && when_to_ms(&when, out);
}

/* ---- the other forms ---- */

/* What follows a '-': a number of records, or of seconds, minutes, hours or days. */
static bool parse_back(const char *text, struct address *out)
{
    const char *at = text;
    int64_t unit_ms;

    if (!take_number(&at, &out->value)) {
        return false;
    }
    switch (*at) {
    case '\0':
        out->kind = ADDRESS_LAST;
        return true;
    case 's':
        unit_ms = MS_PER_SECOND;
        break;
    case 'm':
        unit_ms = MS_PER_MINUTE;
        break;
    case 'h':
        unit_ms = MS_PER_HOUR;
        break;
    case 'd':
        unit_ms = MS_PER_DAY;
        break;
    default:
        return false;
    }
    out->kind = ADDRESS_AGO;
    return at[1] == '\0' && !__builtin_mul_overflow(out->value, unit_ms, &out->value);
}

static bool parse_form(const char *text, struct address *out)
{
    const char *at = text;

    if (strcmp(text, "start") == 0 || strcmp(text, "earliest") == 0) {
        out->kind = ADDRESS_START;
        return true;
    }
    if (strcmp(text, "end") == 0 || strcmp(text, "latest") == 0) {
        out->kind = ADDRESS_END;
        return true;
    }
    if (text[0] == '-') {
        return parse_back(text + 1, out);
    }
    if (take_number(&at, &out->value) && *at == '\0') {
        out->kind = ADDRESS_OFFSET;
        return true;
    }
    out->kind = ADDRESS_TIME;
    return parse_time(text, &out->value);
}

/* A number without sign or leading zeros. */
static bool take_partition(const char **at, int32_t *out)
{
    bool zero = **at == '0';
    const char *first = *at;
    int64_t value;

    if (!take_number(at, &value) || value > INT32_MAX || (zero && *at != first + 1)) {
        return false;
    }
    *out = (int32_t)value;
    return true;
}

int32_t address_partition(const char *name)
{
    const char *at = name;
    int32_t partition;

    return take_partition(&at, &partition) && *at == '\0' ? partition : -1;
}

int address_parse(const char *name, struct address *out)
{
    struct address address = {0};
    const char *at = name;

    if (!take_partition(&at, &address.partition) || !take_char(&at, '@') || !parse_form(at, &address)) {
        return -ENOENT;
    }
    *out = address;
    return 0;
}

void address_ask(const struct address *address, int64_t now_ms, struct read_op *op)
{
    op->at = address->value;
    switch (address->kind) {
    case ADDRESS_OFFSET:
        op->kind = FIND_OFFSET;
        return;
    case ADDRESS_LAST:
        op->kind = FIND_LAST;
        return;
    case ADDRESS_TIME:
        op->kind = FIND_TIME;
        return;
    case ADDRESS_AGO:
        op->kind = FIND_TIME;
        op->at = now_ms - address->value;
        return;
    case ADDRESS_START:
        op->kind = FIND_OFFSET;
        op->at = 0;
        return;
    case ADDRESS_END:
        op->kind = FIND_END;
    }
}

int address_found(const struct address *address, const struct read_op *op, struct log_point *out)
{
    if (address->kind == ADDRESS_OFFSET && address->value > op->high_watermark.offset) {
        return -ENOENT;
    }
    *out = op->point;
    return 0;
}
