#!/usr/bin/env bats
# The table of errors, where a single node can show them.
load lib

setup() {
    log_setup
    mount_log delivery.timeout.ms=300
    cd "$M"
    mkdir orders
}

@test "EROFS: too few replicas in sync until delivery.timeout.ms, and nothing was appended" {
    echo before >> orders/0
    set_attr orders user.config.min.insync.replicas 2
    fails 'Read-only file system' sh 'echo lost >> orders/0'
    is "$(cat orders/0)" before
    set_attr orders user.config.min.insync.replicas 1
    echo after >> orders/0
    is "$(cat orders/0)" $'before\nafter'
}

@test "after one append has timed out the next fail at once" {
    remount delivery.timeout.ms=3000
    set_attr orders user.config.min.insync.replicas 2
    start=$SECONDS
    fails 'Read-only file system' sh 'echo lost >> orders/0'
    at_least $((SECONDS - start)) 2
    start=$SECONDS
    for i in 1 2 3 4 5; do fails 'Read-only file system' sh 'echo lost >> orders/0'; done
    at_most $((SECONDS - start)) 11 # each by itself: 15
    set_attr orders user.config.min.insync.replicas 1
    echo kept >> orders/0
    is "$(cat orders/0)" kept
}

@test "with acks=1 and acks=0 a write does not wait for replicas, a reader does" {
    set_attr orders user.config.min.insync.replicas 2
    remount acks=1,delivery.timeout.ms=300
    echo one >> orders/0
    is "$(attr orders/0 user.log.end_offset)" 1
    is "$(cat orders/0)" ''
    remount acks=0,delivery.timeout.ms=300
    echo two >> orders/0
    wait_until '[ "$(attr orders/0 user.log.end_offset)" = 2 ]'
    set_attr orders user.config.min.insync.replicas 1
    is "$(cat orders/0)" $'one\ntwo'
}

@test "a write that waits for replicas goes through when there are enough" {
    remount delivery.timeout.ms=30000
    set_attr orders user.config.min.insync.replicas 2
    bg bash -c 'echo waited >> orders/0'
    writer=$!
    wait_until 'ls -l /proc/'$writer'/fd | grep -q orders/0'
    is "$(cat orders/0)" ''
    set_attr orders user.config.min.insync.replicas 1
    wait "$writer"
    is "$(cat orders/0)" waited
}

@test "EISDIR, ENOTDIR, ENOENT where anybody would expect them" {
    fails 'Is a directory' sh 'echo x >> orders'
    fails 'Not a directory' ls orders/0/x
    fails 'No such file or directory' cat bills/0
    fails 'No such file or directory' cat orders/1
    fails 'No such file or directory' ls orders/.nothing
    fails 'No such file or directory' ls .nothing
}

@test "a partition that is damaged below its recovery point is EIO, and the rest of the node goes on" {
    mkdir bills
    seq 1000 >> orders/0
    seq 1000 >> bills/0
    unmount_log
    printf 'damage' | dd of="$DATA/topics/orders-0/00000000000000000000.batches" bs=1 seek=70 conv=notrunc status=none
    mount_log
    cd "$M"
    fails 'Input/output error' cat orders/0
    fails 'Input/output error' sh 'echo x >> orders/0'
    is "$(cat bills/0)" "$(seq 1000)"
    echo more >> bills/0
    is "$(tail -n 1 bills/0)" more
    mkdir later
}

@test "it is said once, in one line that names the partition" {
    mkdir bills
    seq 1000 >> orders/0
    unmount_log
    printf 'damage' | dd of="$DATA/topics/orders-0/00000000000000000000.batches" bs=1 seek=70 conv=notrunc status=none
    mount_log_in_front
    cd "$M"
    for i in 1 2 3; do fails 'Input/output error' cat orders/0; done
    at_least "$(grep -c orders-0 "$T/log")" 1
    at_most "$(grep -c orders-0 "$T/log")" 2
}
