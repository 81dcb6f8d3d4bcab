/* replication/metadata/raft_internal.h: what the files of the machine share. All of it runs inside raft_step(). */
#ifndef LOGMNT_REPLICATION_METADATA_RAFT_INTERNAL_H
#define LOGMNT_REPLICATION_METADATA_RAFT_INTERNAL_H

#include "replication/metadata/raft.h"
#include "replication/metadata/raft_bugs.h"

/* raft.c */
struct raft_action *raft_act(struct raft *raft, enum raft_action_type type);
/* The message of a new SEND action, from this server in its epoch, everything else zero. */
struct raft_message *raft_send(struct raft *raft, enum raft_message_type type, struct raft_id to);
/* An answer to msg, with this server's epoch and leader. */
struct raft_message *raft_answer(struct raft *raft, const struct raft_message *msg);
uint32_t raft_random(struct raft *raft, uint32_t below);
int64_t raft_log_end(const struct raft *raft);
/* Never goes down. */
void raft_advance_high_watermark(struct raft *raft, int64_t offset);

/* raft_states.c: the roles; nobody else sets raft->role or raft->state. */
/* The role of one without a leader in its epoch: UNATTACHED, RESIGNED, or OBSERVER for who is no voter. */
void raft_become_leaderless(struct raft *raft);
void raft_become_prospective(struct raft *raft);
void raft_become_candidate(struct raft *raft);
void raft_become_leader(struct raft *raft);
/* Without an election, in a new epoch: the others are lost for good. */
void raft_become_sole_leader(struct raft *raft);
/* heard: the leader itself has said so. */
void raft_become_follower(struct raft *raft, struct raft_id leader, bool heard);
void raft_resign(struct raft *raft);
/* Lets a higher epoch be this server's, with the leader if one is known (node 0: none). Does nothing for others. */
void raft_adopt_epoch(struct raft *raft, int32_t epoch, struct raft_id leader);
void raft_give_vote(struct raft *raft, struct raft_id candidate);
void raft_leader_lives(struct raft *raft);
void raft_leader_ended(struct raft *raft);
/* Voters were set or taken back. */
void raft_voters_changed(struct raft *raft);
/* Brings the next election near, if no leader is known to live and a majority is connected. */
void raft_hurry(struct raft *raft);
void raft_tick(struct raft *raft);

/* raft_votes.c */
/* Empties the ballot but for the own vote, and asks the other voters. true: the own vote is a majority. */
bool raft_ask_votes(struct raft *raft);
void raft_on_vote(struct raft *raft, const struct raft_message *msg);
void raft_on_vote_answer(struct raft *raft, const struct raft_message *msg);

/* raft_leader.c */
void raft_lead(struct raft *raft);
void raft_lead_tick(struct raft *raft);
int64_t raft_lead_deadline_ms(const struct raft *raft);
void raft_hand_over(struct raft *raft);
/* A leader of a node that stops: hands over and resigns, if there is a successor or no use in waiting for one
 * (REPLICATION.md, rule 49). */
void raft_leave(struct raft *raft);
/* No step of the voters counts on it before it fetches again. */
void raft_lead_lost(struct raft *raft, int32_t node);
void raft_on_fetch(struct raft *raft, const struct raft_message *msg, bool diverging);
/* The leader's own log was flushed, or its voters have changed. */
void raft_count_flushed(struct raft *raft);
/* NULL: it has not fetched. */
const struct raft_replica *raft_replica_of(const struct raft *raft, struct raft_id id);

/* raft_change.c: a leader's steps from the voters in force to their target. */
int raft_change_to(struct raft *raft, const struct raft_peers *nodes);
void raft_change_step(struct raft *raft);
/* Another voter can be talked to and is caught up. */
bool raft_other_is_ready(const struct raft *raft);

/* raft_find.c */
void raft_find_tick(struct raft *raft);
int64_t raft_find_deadline_ms(const struct raft *raft);
void raft_find_now(struct raft *raft, int32_t node);
void raft_on_find(struct raft *raft, const struct raft_message *msg);
void raft_on_find_answer(struct raft *raft, const struct raft_message *msg);
/* A start with no voters in the log. */
void raft_bootstrap_start(struct raft *raft);
void raft_recover(struct raft *raft);

#endif
