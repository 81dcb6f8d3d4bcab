/* tests/unit/metadata_fixture.h: a state of the metadata, and commands that come to it as those of the log do. */
#ifndef LOGMNT_TESTS_UNIT_METADATA_FIXTURE_H
#define LOGMNT_TESTS_UNIT_METADATA_FIXTURE_H

#include "replication/metadata/metadata.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static inline int metadata_setup(void **state, const struct tree_attr *root)
{
    struct metadata *meta = calloc(1, sizeof *meta);
    metadata_init(meta, root);
    *state = meta;
    return 0;
}

static inline int metadata_teardown(void **state)
{
    metadata_free(*state);
    free(*state);
    return 0;
}

/* Encoded and decoded, to be freed by command_free(). */
static inline struct command command_as_in_log(const struct command *cmd)
{
    void *data;
    size_t len;
    struct command decoded;
    struct err e = {""};
    assert_int_equal(command_encode(cmd, &data, &len), 0);
    if (command_decode(data, len, &decoded, &e) != 0)
        fail_msg("decode: %s", e.text);
    free(data);
    return decoded;
}

/* At the next offset. */
static inline int metadata_apply_as_in_log(struct metadata *meta, const struct command *cmd)
{
    struct command decoded = command_as_in_log(cmd);
    int rc = metadata_apply(meta, &decoded, meta->next_offset, NULL);
    command_free(&decoded);
    return rc;
}

#endif
