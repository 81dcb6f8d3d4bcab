#include "replication/executor/executor.h"

#include "engine/base/container.h"

static void run_alarm(struct work *work)
{
    struct alarm *alarm = CONTAINER_OF(work, struct alarm, work);
    alarm->ring(alarm);
}

void alarm_init(struct alarm *alarm, enum work_kind kind, void (*ring)(struct alarm *alarm))
{
    *alarm = (struct alarm){.ring = ring, .kind = kind, .work = {.run = run_alarm}};
}

int executor_uuid(struct executor *executor, uint8_t out[UUID_BYTES])
{
    int rc;
    do
        rc = executor_random(executor, out, UUID_BYTES);
    while (rc == 0 && !uuid_make(out));
    return rc;
}
