/* tests/unit/test_group_map.c: what a group's stream has given, whose it is, and what of it is done (interface.md,
 * Consumer groups). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/consume/group_map.h"

enum { MANY = 500 }; /* max.poll.records unless set */

static const struct group_owner first = {.partition = 0, .epoch = 7}, second = {.partition = 1, .epoch = 7},
                                first_again = {.partition = 0, .epoch = 8};

/* Adds the lines of text as records of an owner, from an offset on. */
static void add(struct group_map *map, struct group_owner owner, int64_t offset, const char *text)
{
    struct group_record records[16];
    size_t count = 0;
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        records[count].offset = offset++;
        records[count++].len = (uint32_t)(strchr(line, '\n') + 1 - line);
    }
    assert_int_equal(group_map_add(map, owner, records, count, text), 0);
}

/* A read of `size` at pos gets this text. */
static void reads(struct group_map *map, int64_t pos, size_t size, const char *want)
{
    char *got = calloc(1, size + 1);
    assert_int_equal(group_map_read_at(map, pos), 0);
    size_t len = (size_t)group_map_give(map, pos, size, MANY, got);
    assert_int_equal(len, strlen(want));
    assert_string_equal(got, want);
    free(got);
}

/* ---- what a commit calls, as text: "0/7:2 1/7:5" ---- */

struct said {
    char text[256];
};

static void say(struct said *said, const struct group_offset *offset)
{
    size_t len = strlen(said->text);
    snprintf(said->text + len, sizeof said->text - len, "%s%d/%d:%lld", len > 0 ? " " : "", offset->owner.partition,
             offset->owner.epoch, (long long)offset->offset);
}

static void heard(void *arg, const struct group_offset *offset)
{
    say(arg, offset);
}

static void commits(struct group_map *map, int64_t pos, const char *want)
{
    struct said said = {""};
    group_map_commit(map, pos, heard, &said);
    assert_string_equal(said.text, want);
}

/* What was asked for is answered. */
static void settles(struct group_map *map, int64_t pos, const struct group_offset *asked, size_t count,
                    const char *want)
{
    struct said said = {""};
    group_map_settle(map, pos, asked, count, heard, &said);
    assert_string_equal(said.text, want);
}

static void would_commit(struct group_map *map, int64_t pos, const char *want)
{
    struct said said = {""};
    struct group_offset *list;
    size_t count;
    assert_int_equal(group_map_offsets(map, pos, &list, &count), 0);
    for (size_t i = 0; i < count; i++)
        say(&said, &list[i]);
    assert_string_equal(said.text, want);
    free(list);
}

static void cannot_commit(struct group_map *map, int64_t pos, int rc)
{
    struct group_offset *list;
    size_t count;
    assert_int_equal(group_map_offsets(map, pos, &list, &count), rc);
    assert_null(list);
}

/* ---- what a read is given ---- */

static void a_read_gets_whole_records_that_come_to_less_than_its_size(void **state)
{
    struct group_map map = {0};
    (void)state;
    add(&map, first, 0, "one\ntwo\nthree\n");
    reads(&map, 0, 8, "one\n"); /* two of them would fill it */
    reads(&map, 4, 9, "two\n");
    reads(&map, 8, 4096, "three\n");
    assert_int_equal(group_map_give(&map, 14, 4096, MANY, NULL), 0);
    group_map_free(&map);
}

/* dash reads byte by byte. */
static void only_a_first_record_that_does_not_fit_is_given_in_pieces(void **state)
{
    struct group_map map = {0};
    (void)state;
    add(&map, first, 0, "ab\nlonger\nc\n");
    reads(&map, 0, 1, "a");
    reads(&map, 1, 1, "b");
    reads(&map, 2, 1, "\n");
    reads(&map, 3, 4, "long");
    reads(&map, 7, 6, "er\nc\n"); /* the rest of one, and what fits behind it */
    group_map_free(&map);
}

/* A READ of a page's worth or more may be one of several of one read(2), of which the next is sent if it is filled. */
static void a_piece_does_not_fill_what_the_kernel_may_have_cut(void **state)
{
    enum { LONG = 5000 };
    struct group_map map = {0};
    char *line = malloc(LONG);
    struct group_record record = {.offset = 0, .len = LONG};
    (void)state;
    memset(line, 'x', LONG);
    line[LONG - 1] = '\n';
    assert_int_equal(group_map_add(&map, first, &record, 1, line), 0);
    assert_int_equal(group_map_give(&map, 0, 4096, MANY, NULL), 4095);
    assert_int_equal(group_map_unfinished(&map, first), 0);
    assert_int_equal(group_map_unfinished(&map, second), -1);
    assert_int_equal(group_map_give(&map, 4095, 4096, MANY, NULL), LONG - 4095);
    assert_int_equal(group_map_unfinished(&map, first), -1);
    free(line);
    group_map_free(&map);
}

static void max_poll_records_bounds_a_read(void **state)
{
    struct group_map map = {0};
    char got[16] = "";
    (void)state;
    add(&map, first, 0, "a\nb\nc\n");
    assert_int_equal(group_map_give(&map, 0, 4096, 2, got), 4);
    assert_string_equal(got, "a\nb\n");
    assert_int_equal(group_map_give(&map, 0, 4096, 1, got), 2);
    group_map_free(&map);
}

static void a_read_is_of_one_partition(void **state)
{
    struct group_map map = {0};
    (void)state;
    add(&map, first, 0, "a\nb\n");
    add(&map, second, 90, "c\n");
    reads(&map, 0, 4096, "a\nb\n");
    reads(&map, 4, 4096, "c\n");
    group_map_free(&map);
}

static void a_read_goes_on_over_a_gap_of_offsets(void **state)
{
    struct group_map map = {0};
    (void)state;
    add(&map, first, 0, "a\n");
    add(&map, first, 10, "b\n"); /* compaction removed what was between */
    reads(&map, 0, 4096, "a\nb\n");
    commits(&map, 2, "0/7:1");
    commits(&map, 4, "0/7:11");
    group_map_free(&map);
}

/* ---- seeking ---- */

static void seeking_back_gives_the_same_bytes(void **state)
{
    struct group_map map = {0};
    (void)state;
    add(&map, first, 0, "one\ntwo\nthree\n");
    reads(&map, 0, 4096, "one\ntwo\nthree\n");
    reads(&map, 4, 4096, "two\nthree\n");
    reads(&map, 1, 4096, "ne\ntwo\nthree\n");
    assert_int_equal(group_map_read_at(&map, -1), -EINVAL);
    assert_int_equal(group_map_read_at(&map, 15), -EINVAL);
    group_map_free(&map);
}

static void no_further_back_than_a_mib(void **state)
{
    enum { LINE = 1 << 16 };
    struct group_map map = {0};
    char *line = malloc(LINE), *again = malloc(LINE);
    (void)state;
    for (int i = 0; i < 40; i++) {
        struct group_record record = {.offset = i, .len = LINE};
        memset(line, 'a' + i % 26, LINE);
        line[LINE - 1] = '\n';
        assert_int_equal(group_map_read_at(&map, group_map_end(&map)), 0);
        group_map_commit(&map, group_map_end(&map), heard, &(struct said){""});
        assert_int_equal(group_map_add(&map, first, &record, 1, line), 0);
        assert_int_equal(group_map_give(&map, (int64_t)i * LINE, LINE + 1, MANY, NULL), LINE);
    }
    assert_int_equal(group_map_read_at(&map, 40 * LINE - (1 << 20)), 0);
    assert_int_equal(group_map_give(&map, 40 * LINE - (1 << 20), LINE + 1, MANY, again), LINE);
    assert_int_equal(again[0], 'a' + 24);
    assert_int_equal(group_map_read_at(&map, 40 * LINE - (1 << 20) - 1), -EINVAL);
    free(line);
    free(again);
    group_map_free(&map);
}

/* The last MiB is there beside a record that is longer than that and given in pieces. */
static void a_record_of_more_than_a_mib_is_given_whole(void **state)
{
    enum { LONG = 3 << 20 };
    struct group_map map = {0};
    uint8_t *line = malloc(LONG), *got = malloc(LONG);
    struct group_record record = {.offset = 1, .len = LONG};
    int64_t pos = 2;
    (void)state;
    for (size_t i = 0; i < LONG; i++)
        line[i] = (uint8_t)('a' + i % 23);
    line[LONG - 1] = '\n';
    add(&map, first, 0, "a\n");
    reads(&map, 0, 4096, "a\n");
    assert_int_equal(group_map_add(&map, first, &record, 1, line), 0);
    while (pos < 2 + LONG) {
        assert_int_equal(group_map_read_at(&map, pos), 0);
        pos += (int64_t)group_map_give(&map, pos, 1 << 20, MANY, got + pos - 2);
    }
    assert_memory_equal(got, line, LONG);
    assert_in_range(map.history.capacity, 1 << 20, 2 << 20); /* of the record only the last MiB is left */
    assert_int_equal(group_map_give(&map, pos - (1 << 20), 1 << 20, MANY, got), (1 << 20) - 1);
    assert_memory_equal(got, line + LONG - (1 << 20), (1 << 20) - 1);
    would_commit(&map, pos, "0/7:2");
    free(line);
    free(got);
    group_map_free(&map);
}

/* ---- reading on commits ---- */

static void a_read_at_p_commits_the_complete_records_before_p(void **state)
{
    struct group_map map = {0};
    (void)state;
    add(&map, first, 100, "one\ntwo\nthree\n");
    reads(&map, 0, 4096, "one\ntwo\nthree\n");
    commits(&map, 0, "");
    commits(&map, 3, "");
    commits(&map, 4, "0/7:101");
    commits(&map, 4, "");
    commits(&map, 7, "");
    commits(&map, 14, "0/7:103");
    commits(&map, 8, ""); /* never back */
    group_map_free(&map);
}

static void each_partition_has_its_own_offsets(void **state)
{
    struct group_map map = {0};
    (void)state;
    add(&map, first, 0, "a\nb\n");
    add(&map, second, 90, "c\nd\n");
    add(&map, first, 2, "e\n");
    reads(&map, 0, 4096, "a\nb\n");
    reads(&map, 4, 4096, "c\nd\n");
    reads(&map, 8, 4096, "e\n");
    would_commit(&map, 6, "1/7:91 0/7:2");
    would_commit(&map, 10, "0/7:3 1/7:92");
    commits(&map, 6, "0/7:2 1/7:91");
    would_commit(&map, 10, "0/7:3 1/7:92");
    commits(&map, 10, "1/7:92 0/7:3");
    would_commit(&map, 10, "");
    group_map_free(&map);
}

static void what_was_not_given_cannot_be_committed(void **state)
{
    struct group_map map = {0};
    (void)state;
    add(&map, first, 0, "one\ntwo\n");
    reads(&map, 0, 5, "one\n");
    reads(&map, 4, 2, "tw");
    cannot_commit(&map, 7, -EINVAL);
    cannot_commit(&map, -1, -EINVAL);
    would_commit(&map, 6, "0/7:1"); /* `two` is not delivered whole */
    reads(&map, 6, 3, "o\n");
    would_commit(&map, 8, "0/7:2");
    group_map_free(&map);
}

/* Asked for while the reader had all of the one partition; by the answer most of it has been withdrawn, and another
 * one's records are in its place. */
static void what_was_not_asked_for_is_not_settled(void **state)
{
    struct group_map map = {0};
    struct group_offset *asked;
    size_t count;
    (void)state;
    add(&map, first, 0, "a\nb\nc\n");
    reads(&map, 0, 4096, "a\nb\nc\n");
    assert_int_equal(group_map_offsets(&map, 6, &asked, &count), 0);
    assert_int_equal(group_map_read_at(&map, 2), 0);
    assert_int_equal(group_map_withdraw(&map, first), 1);
    add(&map, second, 90, "k\nl\nm\n");
    reads(&map, 2, 4096, "k\nl\nm\n");
    settles(&map, 6, asked, count, "0/7:1");
    assert_int_equal(map.committed_pos, 2);
    would_commit(&map, 6, "1/7:92");
    free(asked);
    group_map_free(&map);
}

/* The same owner's records may be in their own place, further than they were asked for. */
static void no_more_is_settled_than_was_asked_for(void **state)
{
    struct group_map map = {0};
    struct group_offset asked = {.owner = first, .offset = 2};
    (void)state;
    add(&map, first, 0, "a\nb\nc\n");
    reads(&map, 0, 4096, "a\nb\nc\n");
    settles(&map, 6, &asked, 1, "0/7:2");
    assert_int_equal(map.committed_pos, 4);
    settles(&map, 6, &asked, 1, "");
    commits(&map, 6, "0/7:3");
    group_map_free(&map);
}

/* ---- handing over ---- */

static void at_a_hand_over_what_is_behind_the_next_read_is_withdrawn(void **state)
{
    struct group_map map = {0};
    (void)state;
    add(&map, first, 0, "one\ntwo\nthree\n");
    reads(&map, 0, 4096, "one\ntwo\nthree\n");
    assert_true(group_map_holds(&map, first));
    assert_int_equal(group_map_read_at(&map, 4), 0); /* bash has done one line, and seeks back */
    commits(&map, 4, "0/7:1");
    assert_int_equal(group_map_withdraw(&map, second), -1);
    assert_true(group_map_holds(&map, first));
    assert_int_equal(group_map_withdraw(&map, first), 1);
    assert_false(group_map_holds(&map, first));
    assert_int_equal(group_map_end(&map), 4);
    assert_int_equal(group_map_read_at(&map, 5), -EINVAL);
    add(&map, second, 90, "c\n");
    reads(&map, 4, 4096, "c\n"); /* the stream goes on there with others */
    commits(&map, 6, "1/7:91");
    reads(&map, 0, 4096, "one\n"); /* and before that it is what it was */
    group_map_free(&map);
}

/* The next read is the one furthest on: who seeks back afterwards has done with what is before that all the same. */
static void what_was_read_on_from_stays(void **state)
{
    struct group_map map = {0};
    (void)state;
    add(&map, first, 0, "one\ntwo\n");
    reads(&map, 0, 4096, "one\ntwo\n");
    assert_int_equal(group_map_read_at(&map, 8), 0);
    reads(&map, 4, 4096, "two\n");
    assert_false(group_map_holds(&map, first));
    assert_int_equal(group_map_withdraw(&map, first), -1);
    reads(&map, 0, 4096, "one\ntwo\n");
    group_map_free(&map);
}

/* A line never becomes half of one and half of another. */
static void a_record_that_was_begun_is_given_to_its_end(void **state)
{
    struct group_map map = {0};
    (void)state;
    add(&map, first, 0, "longer\n");
    reads(&map, 0, 4, "long");
    assert_int_equal(group_map_read_at(&map, 4), 0);
    assert_true(group_map_holds(&map, first));
    assert_int_equal(group_map_withdraw(&map, first), -1);
    reads(&map, 4, 4096, "er\n");
    assert_int_equal(group_map_read_at(&map, 7), 0);
    assert_false(group_map_holds(&map, first));
    commits(&map, 7, "0/7:1"); /* whether that is still in time the coordinator knows */
    group_map_free(&map);
}

/* Likewise of one that a program has seeked into. */
static void a_seek_into_a_record_withdraws_what_is_behind_it(void **state)
{
    struct group_map map = {0};
    (void)state;
    add(&map, first, 0, "one\ntwo\nthree\n");
    reads(&map, 0, 4096, "one\ntwo\nthree\n");
    assert_int_equal(group_map_read_at(&map, 5), 0);
    assert_int_equal(group_map_withdraw(&map, first), 2);
    reads(&map, 5, 4096, "wo\n");
    assert_int_equal(group_map_end(&map), 8);
    group_map_free(&map);
}

/* With enable.auto.commit=false reading on is not enough to be done with it. */
static void what_was_read_on_from_is_owed_until_it_is_committed(void **state)
{
    struct group_map map = {0};
    (void)state;
    add(&map, first, 0, "one\ntwo\n");
    assert_false(group_map_owes(&map, first)); /* nothing of it was given */
    reads(&map, 0, 4096, "one\ntwo\n");
    assert_int_equal(group_map_read_at(&map, 8), 0);
    assert_false(group_map_holds(&map, first));
    assert_true(group_map_owes(&map, first));
    add(&map, second, 90, "c\n");
    reads(&map, 8, 4096, "c\n");
    commits(&map, 4, "0/7:1");
    assert_true(group_map_owes(&map, first));
    commits(&map, 8, "0/7:2");
    assert_false(group_map_owes(&map, first));
    assert_true(group_map_owes(&map, second));
    group_map_free(&map);
}

/* fsync(2) by who has not read on: nobody will be given it again, so it stays to be read here. */
static void what_was_committed_stays(void **state)
{
    struct group_map map = {0};
    (void)state;
    add(&map, first, 0, "one\ntwo\nthree\n");
    reads(&map, 0, 4096, "one\ntwo\nthree\n");
    commits(&map, 8, "0/7:2");
    assert_int_equal(group_map_read_at(&map, 4), 0);
    assert_int_equal(group_map_withdraw(&map, first), 2);
    reads(&map, 4, 4096, "two\n");
    add(&map, second, 90, "c\n");
    reads(&map, 8, 4096, "c\n");
    commits(&map, 10, "1/7:91");
    group_map_free(&map);
}

/* After a reset the partition comes back under another epoch, with offsets that may be lower. */
static void a_reset_goes_on_at_the_present_position(void **state)
{
    struct group_map map = {0};
    (void)state;
    add(&map, first, 50, "a\nb\n");
    reads(&map, 0, 4096, "a\nb\n");
    assert_int_equal(group_map_read_at(&map, 2), 0);
    commits(&map, 2, "0/7:51");
    assert_int_equal(group_map_withdraw(&map, first), 51);
    add(&map, first_again, 10, "k\nl\n");
    reads(&map, 2, 4096, "k\nl\n");
    commits(&map, 6, "0/8:12");
    group_map_free(&map);
}

/* Compaction has left gaps, so that they are in several stretches. */
static void a_withdrawal_says_which_record_was_the_first(void **state)
{
    struct group_map map = {0};
    (void)state;
    add(&map, first, 10, "a\n");
    add(&map, first, 20, "b\nc\n");
    add(&map, first, 30, "d\n");
    reads(&map, 0, 4096, "a\nb\nc\nd\n");
    assert_int_equal(group_map_read_at(&map, 3), 0);
    assert_int_equal(group_map_withdraw(&map, first), 21);
    assert_int_equal(group_map_end(&map), 4);
    add(&map, first, 21, "c\n");
    add(&map, first, 30, "d\n");
    reads(&map, 4, 4096, "c\nd\n");
    commits(&map, 8, "0/7:11 0/7:22 0/7:31");
    group_map_free(&map);
}

/* ---- what is kept ---- */

enum { TINY = 2 };

/* Gives `records` lines "n\n" of an owner, 500 a read, without a commit. */
static void give_many(struct group_map *map, struct group_owner owner, int64_t offset, int64_t records)
{
    struct group_record batch[MANY];
    char bytes[MANY * TINY];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = i % TINY == 0 ? 'n' : '\n';
    for (int64_t done = 0; done < records; done += MANY) {
        int64_t pos = group_map_end(map);
        for (int i = 0; i < MANY; i++)
            batch[i] = (struct group_record){.offset = offset + done + i, .len = TINY};
        assert_int_equal(group_map_read_at(map, pos), 0);
        assert_int_equal(group_map_add(map, owner, batch, MANY, bytes), 0);
        assert_int_equal(group_map_give(map, pos, 1 << 20, MANY, NULL), sizeof bytes);
    }
}

/* They are in more than one stretch. */
static void what_is_given_again_is_bounded_by_records_and_size(void **state)
{
    enum { RECORDS = 5000, SIZE = 1 << 20 };
    struct group_map map = {0};
    (void)state;
    give_many(&map, first, 5, RECORDS);
    assert_int_equal(group_map_give(&map, 0, SIZE, MANY, NULL), TINY * MANY);
    assert_int_equal(group_map_give(&map, TINY, SIZE, 4200, NULL), TINY * 4200);
    assert_int_equal(group_map_give(&map, 0, SIZE, RECORDS, NULL), TINY * RECORDS);
    assert_int_equal(group_map_give(&map, 0, TINY * 4200, RECORDS, NULL), TINY * 4199);
    assert_int_equal(group_map_give(&map, 0, TINY * 4200 + 1, RECORDS, NULL), TINY * 4200);
    assert_int_equal(group_map_give(&map, TINY * 4096 - 1, SIZE, MANY, NULL), TINY * MANY - 1);
    group_map_free(&map);
}

static void each_position_says_which_records_end_before_it(void **state)
{
    enum { RECORDS = 101, LONGEST = 7 };
    struct group_map map = {0};
    struct group_record records[RECORDS];
    char bytes[RECORDS * LONGEST] = {0};
    int64_t len = 0, ended = 0, end = 0;
    (void)state;
    for (int i = 0; i < RECORDS; i++) {
        records[i] = (struct group_record){.offset = 10 + i, .len = 1 + (uint32_t)(i * i % LONGEST)};
        len += records[i].len;
    }
    assert_int_equal(group_map_add(&map, first, records, RECORDS, bytes), 0);
    assert_int_equal(group_map_give(&map, 0, sizeof bytes + 1, RECORDS, NULL), len);
    for (int64_t pos = 1; pos <= len; pos++) {
        char want[32] = "";
        for (; ended < RECORDS && end + records[ended].len <= pos; ended++)
            end += records[ended].len;
        if (ended > 0)
            snprintf(want, sizeof want, "0/7:%d", (int)(10 + ended));
        would_commit(&map, pos, want);
    }
    assert_int_equal(ended, RECORDS);
    group_map_free(&map);
}

/* What was read into a piece is answered from there, also when it is the stream's no more. */
static void bytes_that_lie_in_a_piece_are_shared_with_it(void **state)
{
    enum { RECORDS = 10, LEN = 4000 };
    struct group_map map = {0};
    struct group_record records[RECORDS];
    struct history_piece *piece = history_piece_new(RECORDS * LEN);
    char got[2 * LEN];
    (void)state;
    memset(piece->bytes, 'x', RECORDS * LEN);
    for (int i = 0; i < RECORDS; i++)
        records[i] = (struct group_record){.offset = i, .len = LEN};
    assert_int_equal(group_map_add_piece(&map, first, records, RECORDS, piece), 0);
    assert_int_equal(group_map_give(&map, 0, 1 << 20, MANY, NULL), RECORDS * LEN);
    assert_int_equal(group_map_read_at(&map, 3 * LEN - 7), 0);
    assert_int_equal(group_map_give(&map, 3 * LEN - 7, LEN, MANY, got), 7);
    assert_int_equal(group_map_withdraw(&map, first), 3);
    assert_int_equal(group_map_end(&map), 3 * LEN);
    char line[] = "yy\n";
    assert_int_equal(group_map_add(&map, second, &(struct group_record){.offset = 9, .len = 3}, 1, line), 0);
    for (int i = 0; i < RECORDS * LEN; i++)
        assert_int_equal(piece->bytes[i], 'x');
    history_piece_unref(piece);
    assert_int_equal(group_map_read_at(&map, 3 * LEN), 0);
    assert_int_equal(group_map_give(&map, 3 * LEN, sizeof got, MANY, got), 3);
    assert_memory_equal(got, "yy\n", 3);
    group_map_free(&map);
}

static void a_million_uncommitted_records_are_known_one_by_one(void **state)
{
    enum { MILLION = 1000 * 1000 };
    struct group_map map = {0};
    (void)state;
    give_many(&map, first, 5, MILLION);
    would_commit(&map, 2 * 12345 + 1, "0/7:12350");
    would_commit(&map, 2 * MILLION, "0/7:1000005");
    group_map_free(&map);
}

static void of_too_many_uncommitted_ones_the_oldest_are_committed_together(void **state)
{
    enum { RECORDS = 3 * 1000 * 1000 };
    struct group_map map = {0};
    (void)state;
    add(&map, second, 90, "x\n");
    reads(&map, 0, 4096, "x\n");
    give_many(&map, first, 0, RECORDS);
    assert_true(map.weight <= LIMIT_STREAM_RECORDS);
    cannot_commit(&map, 4, -ERANGE);
    commits(&map, 4, "");
    would_commit(&map, 2 + 2 * (RECORDS - 1), "1/7:91 0/7:2999999");
    struct said said = {""};
    group_map_commit(&map, 2 + 2 * RECORDS, heard, &said);
    assert_memory_equal(said.text, "1/7:91 ", 7);
    would_commit(&map, 2 + 2 * RECORDS, "");
    would_commit(&map, 4, ""); /* is before what is committed: changes nothing */
    group_map_free(&map);
}

static void what_is_committed_and_a_mib_back_is_forgotten(void **state)
{
    struct group_map map = {0};
    (void)state;
    for (int i = 0; i < 20; i++) {
        give_many(&map, first, (int64_t)i * 200000, 200000);
        group_map_commit(&map, group_map_end(&map), heard, &(struct said){""});
    }
    assert_true(map.weight < (1 << 20)); /* of four million */
    group_map_free(&map);
}

/* A READ that waited while others went on. */
static void what_is_kept_no_more_is_not_given(void **state)
{
    enum { CHUNK = 1000, CHUNKS = 2 * LIMIT_STREAM_BACK_BYTES / CHUNK };
    struct group_map map = {0};
    struct said said = {""};
    char *lines = malloc(CHUNK + 1), got[CHUNK];
    (void)state;
    for (int i = 0; i < CHUNK; i++)
        lines[i] = i % 10 == 9 ? '\n' : 'x';
    lines[CHUNK] = '\0';
    for (int i = 0; i < CHUNKS; i++) {
        struct group_record record = {.offset = i, .len = CHUNK};
        assert_int_equal(group_map_add(&map, first, &record, 1, lines), 0);
        assert_int_equal(group_map_read_at(&map, (int64_t)i * CHUNK), 0);
        assert_int_equal(group_map_give(&map, (int64_t)i * CHUNK, CHUNK + 1, MANY, got), CHUNK);
        /* Its stretch is there as long as it is not committed, its bytes are not. */
        assert_int_equal(group_map_give(&map, 0, sizeof got, MANY, got),
                         (i + 1) * CHUNK > LIMIT_STREAM_BACK_BYTES ? -EINVAL : CHUNK - 1);
    }
    group_map_commit(&map, map.given_pos, heard, &said);
    assert_int_equal(group_map_give(&map, 0, sizeof got, MANY, got), -EINVAL);
    free(lines);
    group_map_free(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_gets_whole_records_that_come_to_less_than_its_size),
        cmocka_unit_test(only_a_first_record_that_does_not_fit_is_given_in_pieces),
        cmocka_unit_test(a_piece_does_not_fill_what_the_kernel_may_have_cut),
        cmocka_unit_test(max_poll_records_bounds_a_read),
        cmocka_unit_test(a_read_is_of_one_partition),
        cmocka_unit_test(a_read_goes_on_over_a_gap_of_offsets),
        cmocka_unit_test(seeking_back_gives_the_same_bytes),
        cmocka_unit_test(no_further_back_than_a_mib),
        cmocka_unit_test(a_record_of_more_than_a_mib_is_given_whole),
        cmocka_unit_test(a_read_at_p_commits_the_complete_records_before_p),
        cmocka_unit_test(each_partition_has_its_own_offsets),
        cmocka_unit_test(what_was_not_given_cannot_be_committed),
        cmocka_unit_test(what_was_not_asked_for_is_not_settled),
        cmocka_unit_test(no_more_is_settled_than_was_asked_for),
        cmocka_unit_test(at_a_hand_over_what_is_behind_the_next_read_is_withdrawn),
        cmocka_unit_test(what_was_read_on_from_stays),
        cmocka_unit_test(a_record_that_was_begun_is_given_to_its_end),
        cmocka_unit_test(a_seek_into_a_record_withdraws_what_is_behind_it),
        cmocka_unit_test(what_was_read_on_from_is_owed_until_it_is_committed),
        cmocka_unit_test(what_was_committed_stays),
        cmocka_unit_test(a_reset_goes_on_at_the_present_position),
        cmocka_unit_test(a_withdrawal_says_which_record_was_the_first),
        cmocka_unit_test(what_is_given_again_is_bounded_by_records_and_size),
        cmocka_unit_test(each_position_says_which_records_end_before_it),
        cmocka_unit_test(bytes_that_lie_in_a_piece_are_shared_with_it),
        cmocka_unit_test(a_million_uncommitted_records_are_known_one_by_one),
        cmocka_unit_test(of_too_many_uncommitted_ones_the_oldest_are_committed_together),
        cmocka_unit_test(what_is_committed_and_a_mib_back_is_forgotten),
        cmocka_unit_test(what_is_kept_no_more_is_not_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
