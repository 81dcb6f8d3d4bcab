#include "fs/produce/kept.h"

#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/container.h"
#include "engine/base/err.h"
#include "fs/base/limits.h"
#include "fs/base/session.h"

/* It failed with rc. true: it is tried again. */
static bool try_again(struct kept *kept, int rc)
{
    struct clock *clock = node_clock(kept->session->node);
    int64_t now_ms = clock->mono_ms(clock);
    bool missing = err_is_passing(rc) && !err_is_full_disk(rc);

    if (!missing || atomic_load(&kept->no_more)) {
        return false;
    }
    if (kept->since_ms == 0) {
        kept->since_ms = now_ms;
        log_line(LOG_WARNING, "%s: what was written is kept and tried again: %s",
                 kept->append.part != NULL ? partition_name(kept->append.part) : "a partition", strerror(-rc));
    }
    if (now_ms - kept->since_ms >= kept->patience_ms) {
        return false;
    }
    alarm_set(node_executor(kept->session->node), &kept->again, LIMIT_APPEND_AGAIN_MS);
    return true;
}

/* As kept_submit(). */
static int settle(struct kept *kept, int rc)
{
    return rc < 0 && try_again(kept, rc) ? 0 : rc;
}

int kept_submit(struct kept *kept)
{
    return settle(kept, kept->submit(kept));
}

static void on_again(struct alarm *alarm)
{
    struct kept *kept = CONTAINER_OF(alarm, struct kept, again);
    int rc = kept_submit(kept);

    if (rc != 0) {
        kept->done(kept, rc < 0 ? rc : 0);
    }
}

static void on_done(struct append_op *append, int rc)
{
    struct kept *kept = CONTAINER_OF(append, struct kept, append);

    if (rc == 0 || settle(kept, rc) != 0) {
        kept->done(kept, rc);
    }
}

void kept_init(struct kept *kept, struct session *session)
{
    kept->session = session;
    kept->append.done = on_done;
    alarm_init(&kept->again, WORK_PROMPT, on_again);
}

void kept_submit_soon(struct kept *kept)
{
    alarm_set(node_executor(kept->session->node), &kept->again, 0);
}

int kept_give_up(struct kept *kept)
{
    atomic_store(&kept->no_more, true);
    if (alarm_cancel(node_executor(kept->session->node), &kept->again)) {
        kept_submit_soon(kept);
        return 0;
    }
    if (kept->append.part == NULL) {
        return 0;
    }
    if (partition_append_cancel(&kept->append)) {
        return -EROFS;
    }
    return partition_append_forget(&kept->append) ? -ETIMEDOUT : 0;
}
