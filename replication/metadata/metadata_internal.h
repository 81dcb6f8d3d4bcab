/* replication/metadata/metadata_internal.h: what metadata.c, metadata_check.c and metadata_apply.c share. */
#ifndef LOGMNT_REPLICATION_METADATA_METADATA_INTERNAL_H
#define LOGMNT_REPLICATION_METADATA_METADATA_INTERNAL_H

#include <stdbool.h>

#include "replication/metadata/metadata.h"

/* A command is checked when it is proposed and again when it is applied. In between others may have been applied, and
 * with one of them it may have lost a race: that is a verdict's `race`. What is refused without one has never fitted,
 * and was not proposed by this build. */
struct verdict {
    bool race;
    struct err *e;
};

/* A race's errno, which is returned. */
#define LOST(verdict, rc, ...) ((verdict)->race = true, err_set((verdict)->e, rc, __VA_ARGS__))

/* What metadata_apply() asks: metadata_check() without the questions that earlier versions did not ask. */
int metadata_fits(const struct metadata *meta, const struct command *cmd, struct verdict *verdict);

/* Where the name (the id) is, or where it would go. */
size_t metadata_topic_place(const struct metadata *meta, const char *name, bool *found);
size_t metadata_id_place(const struct metadata *meta, const uint8_t id[UUID_BYTES], bool *found);
struct metadata_topic *metadata_topic_find(const struct metadata *meta, const char *name); /* NULL: none */
void metadata_topic_free(struct metadata_topic *topic);

/* metadata_groups.c: groups; the commands that are about them. */
size_t metadata_group_place(const struct metadata *meta, const char *name, bool *found);
void metadata_group_free(struct metadata_group *group);
/* The group a command is about; one made again under the same name is another one. */
int metadata_check_same_group(const struct metadata *meta, const struct command *cmd, struct verdict *verdict);
int metadata_group_fits(const struct metadata *meta, const struct command *cmd, struct verdict *verdict);
int metadata_group_apply(struct metadata *meta, const struct command *cmd); /* 0, -ENOMEM */
/* What the command sets of the attributes. */
void metadata_set_attr(struct tree_attr *attr, const struct command *cmd);
/* Whether it sets everything that there is. */
bool metadata_says_all(const struct command *cmd);

/* Sets or removes what the command says. cluster: NULL for the cluster's own settings. -ENOMEM. */
int metadata_change_set(struct config_set *set, const struct config_set *cluster, const struct command *cmd);

#endif
