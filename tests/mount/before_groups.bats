#!/usr/bin/env bats
# A data directory of a build that knew nothing of consumer groups, with a metadata.snapshot: it opens, shows what it
# showed, and has groups from then on. before_groups/make made it.
load lib

BEFORE=$BATS_TEST_DIRNAME/before_groups

setup() {
    log_setup
    tar -C "$T" --no-same-owner -xzf "$BEFORE/data.tar.gz"
}

# What was seen then is seen now; attributes that were added since are no difference.
expect_same() {
    "$BATS_TEST_DIRNAME/version1/describe" > "$T/shown"
    diff "$BEFORE/shown.txt" "$T/shown" > "$T/diff" || :
    not grep -e '^<' -e '^> [^u]' "$T/diff"
}

open_it() {
    mount_log
    cd "$M"
}

@test "it opens after a clean stop and after a crash, with everything that was in it" {
    open_it
    expect_same
    unmount_log
    rm "$DATA/clean-shutdown"
    open_it
    expect_same
}

@test "it has a .groups as a new one has, and groups read what was written before" {
    open_it
    is "$(stat -c '%a %u %g' .groups)" "1777 $(id -u) $(id -g)"
    is "$(ls .groups)" ''
    mkdir .groups/kitchen
    is "$(ls .groups/kitchen | tr '\n' ' ')" 'bills later orders '
    is "$(head -n 120 .groups/kitchen/orders | sort -n)" "$(seq 120)"
    is "$(stat -c %a .internal/__consumer_offsets/0)" 444
}

@test "its next snapshot has the groups, too" {
    open_it
    mkdir .groups/kitchen
    chmod 1750 .groups
    set_attr .groups/kitchen user.config.max.poll.records 7
    stat -c '%i %Y' "$DATA/metadata.snapshot" > "$T/before"
    py <<'P'
for i in range(4200):
    os.chmod("orders", 0o700 + i % 64)
os.chmod("orders", 0o711)
P
    wait_until '! stat -c "%i %Y" "$DATA/metadata.snapshot" | cmp -s - "$T/before"'
    remount
    is "$(stat -c %a .groups)" 1750
    is "$(attr .groups/kitchen user.config.max.poll.records)" 7
    expect_same
}
