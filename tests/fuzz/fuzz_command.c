/* tests/fuzz/fuzz_command.c: any bytes as a record of the metadata log: refused with the reason, or understood, the
 * same when it is encoded and decoded again, and applied to a state that has a bit of everything without harming it:
 * whatever the command does, a snapshot of the state gives it back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replication/metadata/metadata.h"
#include "replication/metadata/snapshot.h"
#include "tests/fuzz/fuzz.h"

/* A node that nothing stands on. */
enum { RETIRED = 3 };

static void must_apply(struct metadata *meta, const struct command *cmd)
{
    FUZZ_CHECK(metadata_apply(meta, cmd, meta->next_offset, NULL) == 0);
}

static void make_topic(struct metadata *meta, const char *name, uint8_t id)
{
    int32_t replicas[] = {1, 2};
    struct command cmd = {.type = COMMAND_CREATE_TOPIC, .partitions = 2, .replication_factor = 1, .replica_count = 2};
    memcpy(cmd.topic, name, strlen(name));
    memset(cmd.id, id, UUID_BYTES);
    cmd.replicas = replicas;
    must_apply(meta, &cmd);
}

static void fill(struct metadata *meta)
{
    static const struct tree_attr root = {.dir_mode = 0755, .file_mode = 0644};
    struct command group = {.type = COMMAND_CREATE_GROUP, .group = "g"};
    struct command voters = {.type = COMMAND_SET_VOTERS, .voters = {.count = 1, .ids = {{1, 9}}}};
    metadata_init(meta, &root);
    voters.target = voters.voters;
    must_apply(meta, &voters);
    for (int32_t id = 1; id <= 3; id++) {
        struct command node = {.type = COMMAND_REGISTER_NODE,
                               .registration = {.id = id, .epoch = -1, .fenced = id == RETIRED}};
        must_apply(meta, &node);
    }
    make_topic(meta, "t", 'A');
    make_topic(meta, METADATA_OFFSETS_TOPIC, 'B');
    must_apply(meta, &group);
}

static void check_snapshot(const struct metadata *meta)
{
    static const struct tree_attr root = {.dir_mode = 0755, .file_mode = 0644};
    struct log_point end = {meta->next_offset, 0};
    struct snapshot first, second;
    struct snapshot_id id;
    struct metadata read;
    FUZZ_CHECK(snapshot_encode(meta, end, &first, NULL) == 0);
    metadata_init(&read, &root);
    FUZZ_CHECK(snapshot_decode(&first, &read, &id, NULL) == 0);
    FUZZ_CHECK(snapshot_encode(&read, end, &second, NULL) == 0);
    FUZZ_CHECK(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
    snapshot_free(&first);
    snapshot_free(&second);
    metadata_free(&read);
}

/* Whatever was done before it: it is forgotten or it stays, and what is left makes a snapshot. */
static void try_unregister(struct metadata *meta)
{
    struct command cmd = {.type = COMMAND_UNREGISTER_NODE, .registration = *metadata_node(meta, RETIRED)};
    int rc = metadata_apply(meta, &cmd, meta->next_offset, NULL);
    FUZZ_CHECK((rc == 0) == (metadata_node(meta, RETIRED) == NULL));
    FUZZ_CHECK(rc == 0 || rc == -EBUSY);
    check_snapshot(meta);
}

static void try_apply(const struct command *cmd)
{
    struct metadata meta;
    struct err e = {0};
    fill(&meta);
    int checked = metadata_check(&meta, cmd, NULL);
    int rc = metadata_apply(&meta, cmd, meta.next_offset, &e);
    FUZZ_CHECK(checked != 0 || rc == 0);
    FUZZ_CHECK(rc == 0 || e.text[0] != '\0');
    check_snapshot(&meta);
    if (metadata_node(&meta, RETIRED) != NULL)
        try_unregister(&meta);
    metadata_free(&meta);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct command cmd, again;
    struct err e = {0};
    void *first, *second;
    size_t first_len, second_len;
    int rc = command_decode(data, len, &cmd, &e);
    if (rc != 0) {
        FUZZ_CHECK(rc == -EBADMSG && e.text[0] != '\0');
        return 0;
    }
    FUZZ_CHECK(command_encode(&cmd, &first, &first_len) == 0);
    FUZZ_CHECK(command_decode(first, first_len, &again, &e) == 0);
    FUZZ_CHECK(command_encode(&again, &second, &second_len) == 0);
    FUZZ_CHECK(first_len == second_len && memcmp(first, second, first_len) == 0);
    try_apply(&cmd);
    free(first);
    free(second);
    command_free(&cmd);
    command_free(&again);
    return 0;
}
