/* tests/bench/measure.h: what the measuring programs share: a clock, a median, and how they give up. */
#ifndef LOGMNT_BENCH_MEASURE_H
#define LOGMNT_BENCH_MEASURE_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline int64_t measure_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static inline void measure_fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static inline int measure_compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Sorts the samples. */
static inline int64_t measure_median_ns(int64_t *samples, size_t count)
{
    qsort(samples, count, sizeof *samples, measure_compare);
    return samples[count / 2];
}

/* A positive number of the command line, or the end. */
static inline long measure_number(const char *text, const char *what)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (end == text || *end != '\0' || value <= 0) {
        fprintf(stderr, "%s: not a positive number: %s\n", what, text);
        exit(2);
    }
    return value;
}

#endif
