#!/usr/bin/env bats
# kill -9 of the daemon, and what ends it as suddenly.
load lib

setup() {
    log_setup
    ulimit -c 0
    mount_log
    cd "$M"
    mkdir orders
}

@test "kill -9 under eight writers: each acknowledged line exactly once, each writer's order kept" {
    cd /
    for ((round = 0; round < ROUNDS; round++)); do
        bg python3 "$BATS_TEST_DIRNAME/writers.py" "$M/orders/0" "$T/acked" plain
        writers=$!
        wait_until '[ "$(cat "$T"/acked.* 2>/dev/null | wc -l)" -gt '$((round * 100 + 80))' ]' 30
        kill -9 "$PID"
        wait "$writers"
        mount_log
        python3 "$BATS_TEST_DIRNAME/writers.py" check "$M/orders/0" "$T/acked"
    done
    at_least "$(wc -l < "$M/orders/0")" $((ROUNDS * 80))
    is "$(attr "$M/orders/0" user.log.high_watermark)" "$(wc -l < "$M/orders/0")"
}

@test "kill -9 while .any is written: each acknowledged line once in its partition" {
    set_attr orders user.topic.partitions 3
    set_attr orders user.config.key.separator ' '
    cd /
    for ((round = 0; round < 3; round++)); do
        bg python3 "$BATS_TEST_DIRNAME/writers.py" "$M/orders/.any" "$T/acked" plain
        writers=$!
        wait_until '[ "$(cat "$T"/acked.* 2>/dev/null | wc -l)" -gt '$((round * 100 + 80))' ]' 30
        kill -9 "$PID"
        wait "$writers"
        mount_log
        cat "$M"/orders/[0-9]* > "$T/all"
        python3 "$BATS_TEST_DIRNAME/writers.py" check "$T/all" "$T/acked"
    done
}

@test "a kill -9 leaves positions, offsets and what was read before as they were" {
    seq 5000 >> orders/0
    fallocate -p -o 0 -l "$(attr orders/0@100 user.log.position)" orders/0
    cat orders/0 > "$T/before"
    known() { getfattr -d --absolute-names orders/0 | grep -v leader_epoch; }
    before=$(known)
    restart_after_kill
    is "$(known)" "$before"
    cmp "$T/before" orders/0
    restart_after_kill
    cmp "$T/before" orders/0
}

@test "an unterminated line that waited is not there after a kill -9" {
    echo whole >> orders/0
    exec 4>> orders/0
    printf half >&4
    restart_after_kill
    exec 4>&- || :
    is "$(cat orders/0)" whole
    echo next >> orders/0
    is "$(cat orders/0)" $'whole\nnext'
}

@test "topics that were made before a kill -9 are there, in whatever haste" {
    for ((round = 0; round < 5; round++)); do
        (n=0; while mkdir "topic-$round-$n" 2>/dev/null; do echo "topic-$round-$n" >> "$T/made"; n=$((n + 1)); done) 3>&- &
        maker=$!
        BG+=("$maker")
        wait_until 'grep -q "topic-'$round'-20$" "$T/made" 2>/dev/null'
        kill -9 "$PID"
        wait "$maker"
        cd /
        mount_log
        cd "$M"
        while read -r topic; do [ -e "$topic/0" ] || { echo "$topic is lost"; false; }; done < "$T/made"
    done
}

@test "kill -9 during retention and compaction loses no record that was kept" {
    mkdir state
    set_attr state user.config.key.separator :
    set_attr state user.config.segment.bytes 2000
    set_attr state user.config.min.cleanable.dirty.ratio 0
    set_attr state user.config.cleanup.policy compact
    for ((round = 0; round < 5; round++)); do
        py "$round" <<'P'
fd = os.open("state/0", APPEND)
for n in range(300):
    os.write(fd, b"k%d:%s-%d\n" % (n % 20, sys.argv[1].encode(), n))
P
        restart_after_kill log.cleaner.backoff.ms=10
        py "$round" <<'P'
last = dict(l.split(b":") for l in read_all("state/0").splitlines())
same(last, {b"k%d" % k: b"%s-%d" % (sys.argv[1].encode(), 280 + k) for k in range(20)})
P
    done
}

# Of names that go the kernel is told, and that waits for the directory's lock, which who makes or removes one holds until
# the killed daemon answers.
under_mkdir_and_rmdir() { # COMMAND…: what ends the daemon
    local round maker
    cd /
    for ((round = 0; round < ROUNDS; round++)); do
        : >"$T/made"
        for maker in 1 2 3 4; do
            bg sh "while mkdir '$M/t$maker-$round' && ls -l '$M/t$maker-$round' && rmdir '$M/t$maker-$round'; do echo >>'$T/made'; done" >/dev/null 2>&1
        done
        wait_until "[ \$(wc -l <'$T/made') -gt $((20 + 5 * round)) ]"
        "$@"
    done
}

kill_and_start() {
    kill_log
    end_bg
    mount_log
}

abort_and_start() {
    kill -ABRT "$PID"
    mount_log
    end_bg
}

@test "kill -9 under mkdir and rmdir: the daemon ends, and so do they" {
    under_mkdir_and_rmdir kill_and_start
}

# A process that dumps its core, or would but for a limit, waits for all of its threads before the first of them ends.
@test "so they do when it aborts, and the next start waits for that" {
    under_mkdir_and_rmdir abort_and_start
}
