/* replication/replica/partition_registration.c: what the cluster has decided on a partition, as this node knows it. */
#include "replication/node/node_internal.h"
#include "replication/replica/partition_internal.h"

void partition_set_registration(struct partition *part, const struct partition_registration *registration)
{
    pthread_mutex_lock(&part->lock);
    part->registration = *registration;
    pthread_mutex_unlock(&part->lock);
}

void partition_info(struct partition *part, struct partition_info *out)
{
    int32_t self = part->node->options.id;
    bool usable = partition_state(part) == 0;
    pthread_mutex_lock(&part->lock);
    *out = (struct partition_info){.leader = part->registration.leader,
                                   .leader_epoch = part->registration.leader_epoch,
                                   .replicas = part->registration.replicas,
                                   .isr = part->registration.isr};
    pthread_mutex_unlock(&part->lock);
    if (out->leader != self)
        return;
    out->leader_epoch = atomic_load(&part->leader_epoch);
    if (!usable)
        out->leader = LEADER_NONE;
}
