/* replication/metadata/election.c: the rules of election.h, one function each. */
#include "replication/metadata/election.h"

/* Who left the ISR for `isr` is eligible for as long as that is too small to commit anything (KIP-966). */
static void set_isr(struct partition_registration *out, const struct replica_set *isr,
                    const struct election_rules *rules)
{
    struct replica_set gone = out->isr;
    replica_set_remove_all(&gone, isr);
    out->isr = *isr;
    if (isr->count >= rules->min_insync_replicas)
        out->elr.count = 0;
    else
        replica_set_add_all(&out->elr, &gone);
    replica_set_remove_all(&out->elr, isr);
    replica_set_remove_all(&out->last_isr, isr);
}

/* An election: the leader is in sync with itself. That alone settles nothing of what was feared: it may have lost its
 * power, too, and not be back. */
static void elect(struct partition_registration *out, int32_t leader)
{
    out->leader = leader;
    replica_set_add(&out->isr, leader);
    replica_set_remove(&out->elr, leader);
    replica_set_remove(&out->last_isr, leader);
}

/* The first of the replicas, in the order of preference, that is in `among` and may lead. */
static int32_t first_of(const struct partition_registration *part, const struct replica_set *among,
                        const struct election_nodes *nodes)
{
    const struct replica_set *order = part->target.count > 0 ? &part->target : &part->replicas;
    for (int32_t i = 0; i < order->count; i++) {
        if (replica_set_has(among, order->ids[i]) && nodes->stays(nodes->arg, order->ids[i]))
            return order->ids[i];
    }
    for (int32_t i = 0; i < among->count; i++) {
        if (replica_set_has(&part->replicas, among->ids[i]) && nodes->stays(nodes->arg, among->ids[i]))
            return among->ids[i];
    }
    return LEADER_NONE;
}

/* Takes out of the ISR who may not be in it. A leader that is shutting down and found nobody to lead stays. */
static void expel(struct partition_registration *out, const struct election_nodes *nodes,
                  const struct election_rules *rules)
{
    struct replica_set isr = out->isr;
    for (int32_t i = 0; i < out->isr.count; i++) {
        if (out->isr.ids[i] != out->leader && !nodes->stays(nodes->arg, out->isr.ids[i]))
            replica_set_remove(&isr, out->isr.ids[i]);
    }
    if (isr.count < out->isr.count)
        set_isr(out, &isr, rules);
}

/* LEADER_NONE: nobody lives who has all that was committed. */
static int32_t chosen(const struct partition_registration *part, const struct election_nodes *nodes)
{
    int32_t leader = first_of(part, &part->isr, nodes);
    if (leader == LEADER_NONE && part->isr.count == 0)
        leader = first_of(part, &part->elr, nodes);
    return leader;
}

static void choose(struct partition_registration *out, const struct election_nodes *nodes)
{
    int32_t leader = chosen(out, nodes);
    if (leader != LEADER_NONE)
        elect(out, leader);
}

/* The replicas are what they shall be once all of those are in sync (REPLICATION.md, rule 50). */
static void end_move(struct partition_registration *out, const struct election_nodes *nodes,
                     const struct election_rules *rules)
{
    if (out->target.count == 0 || !replica_set_within(&out->target, &out->isr))
        return;
    if (!replica_set_has(&out->target, out->leader)) {
        int32_t leader = first_of(out, &out->target, nodes);
        if (leader == LEADER_NONE)
            return;
        elect(out, leader);
    }
    out->replicas = out->target;
    out->target.count = 0;
    set_isr(out, &out->replicas, rules);
    out->elr.count = 0;
    out->last_isr.count = 0;
}

bool partition_registration_equal(const struct partition_registration *a, const struct partition_registration *b)
{
    return a->leader == b->leader && a->leader_epoch == b->leader_epoch && a->partition_epoch == b->partition_epoch &&
           replica_set_equal(&a->replicas, &b->replicas) && replica_set_equal(&a->target, &b->target) &&
           replica_set_equal(&a->isr, &b->isr) && replica_set_equal(&a->elr, &b->elr) &&
           replica_set_equal(&a->last_isr, &b->last_isr);
}

bool election_settle(const struct partition_registration *part, const struct election_nodes *nodes,
                     const struct election_rules *rules, struct partition_registration *out)
{
    *out = *part;
    if (out->leader != LEADER_NONE && !nodes->stays(nodes->arg, out->leader)) {
        int32_t leader = first_of(out, &out->isr, nodes);
        if (leader != LEADER_NONE)
            elect(out, leader);
        else if (!nodes->lives(nodes->arg, out->leader))
            out->leader = LEADER_NONE;
    }
    expel(out, nodes, rules);
    if (out->leader == LEADER_NONE)
        choose(out, nodes);
    end_move(out, nodes, rules);
    return !partition_registration_equal(part, out);
}

bool election_prefer(const struct partition_registration *part, const struct election_nodes *nodes,
                     const struct election_rules *rules, struct partition_registration *out)
{
    election_settle(part, nodes, rules, out);
    int32_t preferred = out->replicas.count > 0 ? out->replicas.ids[0] : LEADER_NONE;
    if (out->leader != LEADER_NONE && out->leader != preferred && replica_set_has(&out->isr, preferred) &&
        nodes->stays(nodes->arg, preferred))
        elect(out, preferred);
    return !partition_registration_equal(part, out);
}

bool election_move(const struct partition_registration *part, const struct replica_set *target,
                   struct partition_registration *out)
{
    *out = *part;
    for (int32_t i = 0; i < part->replicas.count; i++) {
        int32_t id = part->replicas.ids[i];
        if (!replica_set_has(&part->isr, id) && !replica_set_has(&part->elr, id) &&
            !replica_set_has(&part->last_isr, id) && !replica_set_has(target, id))
            replica_set_remove(&out->replicas, id);
    }
    bool room = replica_set_add_all(&out->replicas, target);
    out->target = *target;
    /* None to come and none to go: only the order is another. */
    if (room && out->replicas.count == target->count) {
        out->replicas = *target;
        out->target.count = 0;
    }
    return room;
}

void election_set_isr(const struct partition_registration *part, const struct replica_set *isr,
                      const struct election_rules *rules, struct partition_registration *out)
{
    *out = *part;
    set_isr(out, isr, rules);
    if (isr->count > 1 && isr->count >= rules->min_insync_replicas)
        out->last_isr.count = 0;
}

bool election_forget(const struct partition_registration *part, int32_t node, bool lost,
                     struct partition_registration *out)
{
    *out = *part;
    if (!lost && (replica_set_has(&out->isr, node) || replica_set_has(&out->elr, node)))
        replica_set_add(&out->last_isr, node);
    if (lost)
        replica_set_remove(&out->last_isr, node);
    replica_set_remove(&out->isr, node);
    replica_set_remove(&out->elr, node);
    if (out->leader == node)
        out->leader = LEADER_NONE;
    return !partition_registration_equal(part, out);
}

bool election_resign(const struct partition_registration *part, int32_t node, const struct election_nodes *nodes,
                     const struct election_rules *rules, struct partition_registration *out)
{
    bool sole = part->isr.count == 1 && replica_set_has(&part->isr, node);
    struct partition_registration without;
    election_forget(part, node, true, &without);
    *out = without;
    if (sole || without.isr.count + without.elr.count + without.last_isr.count == 0)
        return false;
    if (without.leader == LEADER_NONE)
        election_settle(&without, nodes, rules, out);
    out->leader_epoch = part->leader_epoch + 1;
    return true;
}

bool election_withdraw(const struct partition_registration *part, int32_t node, const struct election_nodes *nodes,
                       const struct election_rules *rules, struct partition_registration *out)
{
    struct partition_registration without;
    *out = *part;
    if (!replica_set_has(&part->isr, node) && !replica_set_has(&part->elr, node))
        return false;
    election_forget(part, node, false, &without);
    if (without.isr.count + without.elr.count == 0)
        return false;
    election_settle(&without, nodes, rules, out);
    if (part->leader == node && (out->leader == LEADER_NONE || out->leader == node))
        return false;
    if (out->isr.count >= rules->min_insync_replicas)
        replica_set_remove(&out->last_isr, node);
    out->leader_epoch = part->leader_epoch + 1;
    return true;
}

void election_appoint(const struct partition_registration *part, int32_t node, struct partition_registration *out)
{
    *out = *part;
    out->isr.count = out->elr.count = 0;
    elect(out, node);
}

bool election_needs_unclean(const struct partition_registration *part, const struct election_nodes *nodes,
                            const struct election_rules *rules, struct replica_set *asked)
{
    asked->count = 0;
    if (!rules->unclean || part->leader != LEADER_NONE || chosen(part, nodes) != LEADER_NONE)
        return false;
    for (int32_t i = 0; i < part->replicas.count; i++) {
        if (nodes->stays(nodes->arg, part->replicas.ids[i]))
            replica_set_add(asked, part->replicas.ids[i]);
    }
    return asked->count > 0;
}

bool election_needs_last_isr(const struct partition_registration *part)
{
    return part->leader == LEADER_NONE && part->isr.count == 0 && part->elr.count == 0 && part->last_isr.count > 0;
}
