/* replication/wire/account.c: counting, and the bounds of each account. */
#include "replication/wire/account.h"

#include "replication/base/limits.h"
#include "replication/wire/message.h"

const struct account_bound account_bounds[ACCOUNTS] = {
    [ACCOUNT_QUORUM] = {LIMIT_QUORUM_FRAMES, LIMIT_QUORUM_BYTES},
    [ACCOUNT_MEMBERS] = {LIMIT_MEMBER_FRAMES, LIMIT_MEMBER_BYTES},
    [ACCOUNT_ASKED] = {LIMIT_ASKED_FRAMES, LIMIT_ASKED_BYTES},
    [ACCOUNT_READS] = {LIMIT_READS_SERVED, LIMIT_READS_SERVED_BYTES},
    [ACCOUNT_READ_ANSWERS] = {LIMIT_READ_ANSWERS, LIMIT_READ_ANSWERS_BYTES},
    [ACCOUNT_GROUPS] = {LIMIT_GROUP_FRAMES, LIMIT_GROUP_BYTES},
    [ACCOUNT_CONTROL] = {LIMIT_CONTROL_FRAMES, LIMIT_CONTROL_BYTES},
    [ACCOUNT_RECORDS] = {LIMIT_RECORDS_FRAMES, LIMIT_RECORDS_BYTES},
    [ACCOUNT_APPENDS] = {LIMIT_APPENDS_SERVED, LIMIT_APPENDS_SERVED_BYTES},
};

/* What becomes of one more. */
static const enum account_verdict beyond[ACCOUNTS] = {
    [ACCOUNT_QUORUM] = ACCOUNT_LOSES,  [ACCOUNT_MEMBERS] = ACCOUNT_LOSES,      [ACCOUNT_ASKED] = ACCOUNT_REFUSES,
    [ACCOUNT_READS] = ACCOUNT_LOSES,   [ACCOUNT_READ_ANSWERS] = ACCOUNT_LOSES, [ACCOUNT_GROUPS] = ACCOUNT_LOSES,
    [ACCOUNT_CONTROL] = ACCOUNT_STOPS, [ACCOUNT_RECORDS] = ACCOUNT_STOPS,      [ACCOUNT_APPENDS] = ACCOUNT_REFUSES,
};

enum account_name account_of(int kind, enum channel channel)
{
    if (kind >= MESSAGE_RAFT && kind <= MESSAGE_CHANGE_VOTERS_ANSWER)
        return ACCOUNT_QUORUM;
    if (kind >= MESSAGE_HEARTBEAT && kind <= MESSAGE_LAST_ISR_ANSWER)
        return ACCOUNT_MEMBERS;
    if (kind == MESSAGE_FLUSH || kind == MESSAGE_DELETE_RECORDS || kind == MESSAGE_FLUSH_INSYNC ||
        kind == MESSAGE_SHOWN || kind == MESSAGE_SEAL)
        return ACCOUNT_ASKED;
    if (kind == MESSAGE_READ || kind == MESSAGE_LOOKUP || kind == MESSAGE_STAT)
        return ACCOUNT_READS;
    if (kind == MESSAGE_LOOKUP_ANSWER || kind == MESSAGE_STAT_ANSWER)
        return ACCOUNT_READ_ANSWERS;
    if (kind == MESSAGE_GROUP_REQUEST || kind == MESSAGE_GROUP_ANSWER)
        return ACCOUNT_GROUPS;
    /* By the connection on which it came, wherever it belongs: that is the one to be stopped. */
    return channel == CHANNEL_CONTROL ? ACCOUNT_CONTROL : ACCOUNT_RECORDS;
}

void account_init(struct account *account, enum account_name name, const struct account_bound *bound,
                  void (*go_on)(struct account *account))
{
    *account = (struct account){.name = name, .bound = bound, .go_on = go_on};
    pthread_mutex_init(&account->lock, NULL);
}

void account_free(struct account *account)
{
    pthread_mutex_destroy(&account->lock);
}

/* Under the lock. */
static bool has_room(const struct account *account, size_t bytes)
{
    const struct account_bound *bound = account->bound;
    return account->count == 0 || (account->count < bound->count && account->bytes + bytes <= bound->bytes);
}

enum account_verdict account_take(struct account *account, size_t bytes)
{
    enum account_verdict verdict = ACCOUNT_TAKES;
    pthread_mutex_lock(&account->lock);
    if (!has_room(account, bytes))
        verdict = beyond[account->name];
    if (verdict == ACCOUNT_TAKES || verdict == ACCOUNT_STOPS) {
        account->count++;
        account->bytes += bytes;
    }
    if (verdict == ACCOUNT_STOPS)
        atomic_store(&account->stopped, true);
    pthread_mutex_unlock(&account->lock);
    return verdict;
}

void account_give(struct account *account, size_t bytes)
{
    const struct account_bound *bound = account->bound;
    pthread_mutex_lock(&account->lock);
    account->count--;
    account->bytes -= bytes;
    /* Soon: a window that has been shut for conn.c's RECORDS_TIMEOUT_MS ends the sender's connection. */
    bool goes_on = atomic_load(&account->stopped) && account->count <= bound->count - (bound->count + 7) / 8 &&
                   account->bytes <= bound->bytes - bound->bytes / 8;
    if (goes_on)
        atomic_store(&account->stopped, false);
    pthread_mutex_unlock(&account->lock);
    if (goes_on && account->go_on != NULL)
        account->go_on(account);
}
