/* engine/recover/log_open.c: from a name to a log.
 *
 * Happy path: the directory is made if it is not there, recover.c fills the list of segments. Failure: a log whose
 * bytes are corrupt is there, offline; any other error leaves nothing but the directory. */
#include "engine/recover/log_open.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "engine/log/log_internal.h"
#include "engine/log/producers.h"
#include "engine/recover/recover.h"

static int make_directory(struct log *log, struct err *e)
{
    struct io *io = log->env->io;
    int rc = io->mkdir(io, log->env->topics_dirfd, log->name, 0700);

    if (rc < 0 && rc != -EEXIST) {
        return err_sys(e, rc, "make its directory");
    }
    log->directory_dirty = rc == 0;
    return 0;
}

/* Corruption leaves a log that has its name and nothing else. */
static void become_offline(struct log *log, const struct log_known *known, const struct err *e)
{
    log_drop_segments(log);
    log->start = known->start;
    log->end = known->start;
    log_go_offline(log, -EBADMSG, e->text);
}

/* The directory is held. */
static int load(struct log *log, const struct log_known *known, bool *checked, struct err *e)
{
    struct log_known left;
    bool agree = true;
    int rc = epochs_load(log->env->io, log->dir.fd, &log->epochs, e);

    if (rc < 0) {
        return rc;
    }
    left = log_clip_known(log, known);
    rc = recover_log(log, &left, checked, &agree, e);
    if (rc == 0) {
        rc = log_check_epochs(log, agree, e);
    }
    return rc == 0 ? log_load_producers(log, e) : rc;
}

int log_open(struct log_env *env, const char *name, const struct log_config *config, const struct log_known *known,
             struct log **out, bool *recovered, struct err *e)
{
    struct err local = {0};
    struct log *log;
    bool checked = false;
    int rc;

    *out = NULL;
    if (strlen(name) >= sizeof log->name) {
        return err_set(e, -ENAMETOOLONG, "open %s: the name is too long", name);
    }
    log = log_new(env, name, config);
    if (log == NULL) {
        return err_sys(e, -ENOMEM, "open %s", name);
    }
    rc = make_directory(log, &local);
    if (rc == 0) {
        rc = dir_hold(&log->dir, &local);
    }
    if (rc == 0) {
        rc = load(log, known, &checked, &local);
        dir_release(&log->dir);
        /* What an unclean stop left unflushed is open and dirty: of many such logs no more at once than of others. */
        while (segment_cache_is_over(env->cache) && segment_cache_make_room(env->cache)) {
        }
    }
    if (rc < 0) {
        err_wrap(&local, rc, "open %s", name);
        err_set(e, rc, "%s", local.text);
    }
    if (rc == -EBADMSG) {
        become_offline(log, known, &local);
    } else if (rc < 0) {
        log_free(log);
        return rc;
    }
    if (recovered != NULL) {
        *recovered = checked;
    }
    *out = log;
    return rc;
}

/* ---- a log that is given up ---- */

/* That all of it counts as never flushed, before anything goes. */
static int forget_figures(struct io *io, int dirfd, uint32_t cuts, struct err *e)
{
    struct epochs none = {0};
    int rc = epochs_cut(&none, (struct log_point){0, 0});

    if (rc < 0) {
        return err_sys(e, rc, "leader-epochs");
    }
    none.cuts[0].number = cuts + 1;
    rc = epochs_store(io, dirfd, &none, e);
    epochs_free(&none);
    return rc;
}

struct clearing {
    struct io *io;
    int dirfd;
};

static int clear_name(void *arg, const char *name)
{
    struct clearing *clearing = arg;
    enum segment_file kind;
    const char *suffix;
    int64_t offset;
    int rc;

    if (!segment_name_parse(name, &offset, &kind, &suffix) && !producers_name_parse(name, &offset)) {
        return 0;
    }
    rc = clearing->io->unlink(clearing->io, clearing->dirfd, name, 0);
    return rc == -ENOENT ? 0 : rc;
}

int log_clear(struct log_env *env, const char *name, uint32_t cuts, struct err *e)
{
    struct io *io = env->io;
    struct clearing clearing = {.io = io};
    int rc;

    clearing.dirfd = io->open(io, env->topics_dirfd, name, O_RDONLY | O_DIRECTORY, 0);
    if (clearing.dirfd < 0) {
        return clearing.dirfd == -ENOENT ? 0 : err_sys(e, clearing.dirfd, "open the directory %s", name);
    }
    rc = forget_figures(io, clearing.dirfd, cuts, e);
    if (rc == 0) {
        rc = io->list(io, clearing.dirfd, clear_name, &clearing);
        if (rc == 0) {
            rc = io->fsync(io, clearing.dirfd);
        }
        if (rc < 0) {
            err_sys(e, rc, "clear %s", name);
        }
    }
    io->close(io, clearing.dirfd);
    return rc;
}
