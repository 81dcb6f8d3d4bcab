#!/usr/bin/env bats
# A data directory of version 1 of every format opens and is carried over: nothing that a user sees of it changes.
# version1/make made it, with segments, trims, compaction, settings, keys and epochs, and wrote down what was to be seen.
load lib

V1=$BATS_TEST_DIRNAME/version1
CALM=log.cleaner.backoff.ms=3600000,log.retention.check.interval.ms=3600000

setup() {
    log_setup
    tar -C "$T" --no-same-owner -xzf "$V1/data.tar.gz"
}

# What was seen then is seen now; attributes that were added since are no difference. But the mtime of a partition
# without a record is its directory's since then, the same on every host: shown.txt has that.
expect_same() { # [FILE]
    "$V1/describe" > "$T/shown"
    diff "${1:-$V1/shown.txt}" "$T/shown" > "$T/diff" || :
    not grep -e '^<' -e '^> [^u]' "$T/diff"
}

open_it() {
    mount_log "$CALM"
    cd "$M"
}

@test "it opens after a clean stop, with everything that was in it" {
    open_it
    expect_same
}

@test "it opens after a crash, with everything that was in it" {
    rm "$DATA/clean-shutdown"
    open_it
    expect_same
}

@test "carried over, it shows the same after a stop and after a crash" {
    open_it
    remount "$CALM"
    expect_same
    restart_after_kill "$CALM"
    expect_same
}

@test "it takes appends, and what was appended to it survives a stop and a crash" {
    open_it
    declare -A lines
    for file in orders/0 orders/1 trimmed/0 spread/2 stamped/0 again/0; do
        lines[$file]=$(wc -l < "$file")
        for i in 1 2 3; do echo "appended later, $i" >> "$file"; done
    done
    echo 'a:the last of a' >> keyed/0
    printf '\xa4late' >> packed/0
    "$V1/describe" > "$T/after"
    for file in "${!lines[@]}"; do
        is "$(wc -l < "$file")" $((lines[$file] + 3))
        is "$(tail -n 1 "$file")" 'appended later, 3'
    done
    remount "$CALM"
    expect_same "$T/after"
    restart_after_kill "$CALM"
    expect_same "$T/after"
}

@test "it is compacted further, and trimmed further" {
    mount_log log.cleaner.backoff.ms=50
    cd "$M"
    records() { cut -d: -f1 keyed/0 | sort | uniq -d | grep -c '^[a-f]$' || :; }
    for i in 1 2 3 4; do
        for key in a b c d e f; do echo "$key:again $i" >> keyed/0; done
        echo "filler $i: $(printf '%0200d' 0)" >> keyed/0
    done
    wait_until '[ "$(records)" = 0 ] || [ "$(grep -c again keyed/0)" -le 12 ]'
    is "$(grep '^a:' keyed/0 | tail -n 1)" 'a:again 4'
    fallocate -p -o 0 -l "$(size trimmed/0)" trimmed/0
    is "$(cat trimmed/0 | wc -c)" 0
    echo more >> trimmed/0
    remount "$CALM"
    is "$(cat trimmed/0)" more
}
