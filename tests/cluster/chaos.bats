#!/usr/bin/env bats
# A minute of kills, pauses, cuts and restarts, and a history that holds. CHAOS_SEED=N repeats one, CHAOS_SECONDS= is longer.
BATS_TEST_TIMEOUT=$((${CHAOS_SECONDS:-60} + 300))
load lib

@test "chaos: each acknowledged line once, in order, the same everywhere, and no position ever changes" {
    start_cluster 3
    timeout $((BATS_TEST_TIMEOUT - 60)) python3 "$BATS_TEST_DIRNAME/chaos.py" "$ROOT/mount-scripts/logmnt-cluster" "$C" \
        "${CHAOS_SECONDS:-60}" "${CHAOS_SEED:-$RANDOM}" 3>&-
}
