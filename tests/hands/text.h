/* tests/hands/text.h: what the hands write, so that it can be told apart again.
 *
 *     <FF.HH.SSSSSS.LLLLLLLL:FILLING>    a fragment: open file, hand, number, its whole length; the filling follows
 *                                        from hand and number
 *     x                                  a line of one byte, newline included, would say nothing: a letter, one a hand
 *
 * A key.separator of ':' makes `<FF.HH.SSSSSS.LLLLLLLL` a line's key. */
#ifndef LOGMNT_TESTS_HANDS_TEXT_H
#define LOGMNT_TESTS_HANDS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TEXT_HEAD_BYTES = 23, TEXT_KEY_BYTES = 22, TEXT_MIN_BYTES = TEXT_HEAD_BYTES + 1 };

struct text_id {
    int file, hand;
    uint32_t number;
    uint32_t len;
};

/* Before anything else; no threads yet. */
void text_begin(uint64_t seed);
/* Writes the fragment of len ≥ TEXT_MIN_BYTES bytes. */
void text_make(uint8_t *out, const struct text_id *id);
/* Reads the head of a fragment. false: there is none. */
bool text_head(const uint8_t *bytes, size_t len, struct text_id *id);
/* Whether all of it is as it was written. */
bool text_is_whole(const uint8_t *bytes, size_t len, const struct text_id *id);
char text_letter(int hand);

#endif
