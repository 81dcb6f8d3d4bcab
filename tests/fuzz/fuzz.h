/* tests/fuzz/fuzz.h: what the fuzzers share: a check that ends the run with its place, and a cursor over the input. */
#ifndef LOGMNT_TESTS_FUZZ_H
#define LOGMNT_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define FUZZ_CHECK(condition)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                             \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Numbers from the front of an input that ends in zeros. */
struct fuzz_input {
    const uint8_t *data;
    size_t len;
};

static inline uint32_t fuzz_take(struct fuzz_input *in, size_t bytes)
{
    uint32_t value = 0;

    for (size_t i = 0; i < bytes && in->len > 0; i++) {
        value |= (uint32_t)in->data[0] << (8 * i);
        in->data++;
        in->len--;
    }
    return value;
}

/* The input as text; malloc-ed. */
static inline char *fuzz_text(const uint8_t *data, size_t len)
{
    char *text = malloc(len + 1);

    FUZZ_CHECK(text != NULL);
    if (len > 0) {
        memcpy(text, data, len);
    }
    text[len] = '\0';
    return text;
}

#endif
