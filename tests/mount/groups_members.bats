#!/usr/bin/env bats
# A group while it runs, as its attributes and .cluster/groups show it, and what may be done to it meanwhile.
load lib

setup() {
    log_setup
    mount_log allow_other
    cd "$M"
    mkdir orders .groups/kitchen
    S=.groups/kitchen/orders
}

as() { # UID COMMAND…: as that user, in the group of the same number
    local uid=$1
    shift
    setpriv --reuid="$uid" --regid="$uid" --clear-groups "$@"
}

# A worker that writes down each record before it reads on; its pid in WORKER.
worker() { # OUTPUT [STREAM]
    setsid bash -c 'while read -r line; do echo "$line"; done' < "${2:-$S}" > "$1" 3>&- &
    WORKER=$!
    BG+=("$WORKER")
}

end_worker() { # PID
    kill -9 -- "-$1"
    wait "$1" 2>/dev/null || :
}

group() { attr .groups/kitchen "user.group.$1"; }
committed() { attr "${1:-orders/0}" user.group.kitchen.committed; }
# The line of a partition in .cluster/groups, without what time changes.
line() { awk -v p="$1" '$1 == "kitchen" && $2 == "orders" && $3 == p { $7 = "MS"; print }' .cluster/groups; } # PARTITION

@test "members and state are shown while there are some" {
    touch orders/1
    is "$(group state) $(group members)" 'Empty 0'
    worker "$T/1"
    one=$WORKER
    wait_until '[ "$(group members)" = 1 ]'
    wait_until '[ "$(group state)" = Stable ]'
    before=$(group generation)
    worker "$T/2"
    two=$WORKER
    wait_until '[ "$(group members)" = 2 ]'
    wait_until '[ "$(group state)" = Stable ]'
    at_least "$(group generation)" $((before + 1))
    is "$(group coordinator)" 1
    end_worker "$one"
    end_worker "$two"
    wait_until '[ "$(group members)" = 0 ]'
    wait_until '[ "$(group state)" = Empty ]'
}

@test "a descriptor that nobody reads is no member" {
    exec 4< "$S"
    is "$(group members)" 0
    rmdir .groups/kitchen
    fails 'Stale file handle' dd bs=1 count=1 <&4
    exec 4<&-
}

@test "an open stream of a deleted group, or topic, is none of what has its name by then" {
    echo one >>orders/0
    exec 5<.groups/kitchen/orders
    rmdir .groups/kitchen
    mkdir .groups/kitchen
    fails 'Stale file handle' cat <&5
    exec 5<&-
    exec 5<.groups/kitchen/orders
    set_attr orders user.config.delete.topic.enable true
    rmdir orders
    mkdir orders
    echo two >>orders/0
    fails 'Stale file handle' cat <&5
    exec 5<&-
    is "$(timeout 30 head -n 1 .groups/kitchen/orders)" two
}

@test "rmdir of a group with members is EBUSY, and works when they have gone" {
    seq 3 >> orders/0
    worker "$T/1"
    wait_until '[ "$(cat "$T/1")" = "$(seq 3)" ]'
    fails 'Device or resource busy' rmdir .groups/kitchen
    is "$(ls .groups)" kitchen
    end_worker "$WORKER"
    wait_until 'rmdir .groups/kitchen'
    is "$(ls .groups)" ''
    # With its offsets: the next one of that name begins anew.
    mkdir .groups/kitchen
    is "$(head -n 1 "$S")" 1
}

@test ".cluster/groups says who is at a partition, and how far" {
    touch orders/1
    seq 3 >> orders/0
    worker "$T/1"
    # bash reads on from a record when it has written it down: the last one is committed by nobody.
    wait_until '[ "$(committed)" = 3 ] && [ "$(line 1 | cut -d" " -f4)" = 0 ]'
    member=$(line 0 | cut -d' ' -f9)
    [ "$member" != - ]
    is "$(line 0)" "kitchen orders 0 3 3 0 MS 0 $member $(uname -n) $WORKER"
    is "$(line 1)" "kitchen orders 1 0 0 0 MS 0 $member $(uname -n) $WORKER"
    kill -STOP "$WORKER"
    wait_until 'grep -q "^State:.T" "/proc/$WORKER/status"'
    seq 4 9 >> orders/0
    is "$(line 0)" "kitchen orders 0 3 9 6 MS 0 $member $(uname -n) $WORKER"
    later 30
    at_least "$(awk '$3 == 0 { print $7 }' .cluster/groups)" 30
    kill -CONT "$WORKER"
    wait_until '[ "$(line 0)" = "kitchen orders 0 9 9 0 MS 0 $member $(uname -n) $WORKER" ]'
    end_worker "$WORKER"
    wait_until '[ "$(line 0)" = "kitchen orders 0 9 9 0 MS 0 - - -" ]'
}

@test "an offset is moved while the group runs, back and on" {
    seq 5 >> orders/0
    worker "$T/1"
    wait_until '[ "$(cat "$T/1")" = "$(seq 5)" ]'
    set_attr orders/0 user.group.kitchen.committed start
    wait_until '[ "$(cat "$T/1")" = "$(seq 5; seq 5)" ]'
    kill -STOP "$WORKER"
    wait_until 'grep -q "^State:.T" "/proc/$WORKER/status"'
    seq 6 9 >> orders/0
    set_attr orders/0 user.group.kitchen.committed -1
    kill -CONT "$WORKER"
    wait_until '[ "$(tail -n 1 "$T/1")" = 9 ]'
    # Up to where the member hears of it, it goes on as before.
    is "$(sed '$d' "$T/1" | head -n 10)" "$(seq 5; seq 5)"
    is "$(sed '1,10d;$d' "$T/1")" "$(seq 6 8 | head -n $(($(wc -l < "$T/1") - 11)))"
}

@test "a poison record is stepped over while the workers die of it" {
    { seq 3; echo poison; seq 5 7; } >> orders/0
    set_attr .groups/kitchen user.config.max.poll.records 1
    cat > "$T/worker" <<'WORKER'
while read -r line; do [ "$line" != poison ] || exit 1; echo "$line"; done
WORKER
    bg bash -c 'until bash "$0" < "$1"; do sleep 0.1; done >> "$2"' "$T/worker" "$S" "$T/done"
    wait_until '[ "$(cat "$T/done" 2>/dev/null)" = "$(seq 3)" ] && [ "$(committed)" = 3 ]'
    is "$(tail -n +4 orders/0 | head -n 1) $(head -n 1 orders/0@3)" 'poison poison'
    set_attr orders/0 user.group.kitchen.committed 4
    wait_until '[ "$(cat "$T/done")" = "$(seq 3; seq 5 7)" ]'
}

@test "joining needs r on the group's entry and on the topic's partitions" {
    echo one >> orders/0
    is "$(as 1234 head -n 1 "$S")" one
    chmod 700 .groups/kitchen
    fails 'Permission denied' as 1234 head -n 1 "$S"
    chmod 755 .groups/kitchen
    chmod 640 orders/0
    for stream in "$S" .groups/kitchen/.json/orders; do
        fails 'Permission denied' as 1234 head -n 1 "$stream"
    done
    chown 1234 .groups/kitchen
    fails 'Permission denied' as 1234 head -n 1 "$S"
    chown 1234 orders
    is "$(as 1234 head -n 1 "$S")" one
    # A member may set its own attributes without w on either.
    chmod 400 orders/0
    chmod 500 .groups/kitchen
    as 1234 python3 -c 'import os
fd = os.open(".groups/kitchen/orders", os.O_RDONLY)
os.read(fd, 100)
os.setxattr(fd, "user.group.commit", b"")'
    is "$(committed)" 1
}

@test "a name that is used again while a stream is open is another group" {
    seq 3 >> orders/0
    exec 4< "$S"
    rmdir .groups/kitchen
    mkdir .groups/kitchen
    fails 'Stale file handle' cat <&4
    exec 4<&-
    is "$(head -n 1 "$S")" 1
}

@test "a removed offset is as if there had never been one, and auto.offset.reset says where to begin" {
    seq 5 >> orders/0
    set_attr orders/0 user.group.kitchen.committed 4
    is "$(head -n 1 "$S")" 5
    setfattr -x user.group.kitchen.committed orders/0
    is "$(head -n 1 "$S")" 1
    # Where a group begins is committed as it is given the partition.
    is "$(committed)" 0
    mkdir .groups/late
    set_attr .groups/late user.config.auto.offset.reset latest
    worker "$T/late" .groups/late/orders
    wait_until '[ "$(attr orders/0 user.group.late.committed 2>/dev/null)" = 5 ]'
    echo 6 >> orders/0
    wait_until '[ "$(cat "$T/late")" = 6 ]'
}

@test "what was delivered before a reset is withdrawn, and the stream goes on with the record that was set" {
    seq 0 4 >> orders/0
    py "$S" <<'P'
fd = os.open(sys.argv[1], os.O_RDONLY)
assert os.read(fd, 4096) == b"0\n1\n2\n3\n4\n"
os.setxattr("orders/0", "user.group.kitchen.committed", b"3")
try:
    os.fsync(fd)
    raise SystemExit("a commit of what was withdrawn")
except OSError as e:
    assert e.errno == errno.ESTALE, e
assert os.read(fd, 4096) == b"3\n4\n"
os.fsync(fd)
assert os.getxattr("orders/0", "user.group.kitchen.committed") == b"5"
P
}

# members PROGRAM…: python with members of one stream, which read what there is each time that they are asked.
members() {
    py "$S" <<P
def join(count, path=sys.argv[1]):
    return [os.open(path, os.O_RDONLY | os.O_NONBLOCK) for _ in range(count)]
def partitions(fd):
    text = os.getxattr(f"/proc/self/fd/{fd}", "user.group.partitions").decode()
    return [int(p) for p in text.split(",")] if text else []
def shares(fds):
    for fd in fds: error(os.read, fd, 100)
    return [partitions(fd) for fd in fds]
$1
P
}

@test "an assignor is set while the group runs, and shares out anew" {
    set_attr orders user.topic.partitions 5
    members '
fds = join(2)
wait_until(lambda: sorted(map(len, shares(fds))) == [2, 3])
for name, expected in ("range", [[0, 1, 2], [3, 4]]), ("roundrobin", [[0, 2, 4], [1, 3]]), ("range", [[0, 1, 2], [3, 4]]):
    os.setxattr(".groups/kitchen", "user.config.partition.assignment.strategy", name.encode())
    wait_until(lambda: sorted(shares(fds)) == sorted(expected))
    same(os.getxattr(".groups/kitchen", "user.group.assignor").decode(), name)
# Sticky moves only what must move: it is balanced already, and one who comes is given one of those who have three.
os.setxattr(".groups/kitchen", "user.config.partition.assignment.strategy", b"sticky")
same(os.getxattr(".groups/kitchen", "user.group.assignor"), b"sticky")
before = shares(fds)
fds += join(1)
wait_until(lambda: sorted(map(len, shares(fds))) == [1, 2, 2])
after = shares(fds)
check(all(set(new) <= set(old) for old, new in zip(before, after)), before, after)'
}

@test "two hundred members at once: each partition is one member's, and all have as many" {
    set_attr orders user.topic.partitions 300
    members '
fds = join(200)
wait_until(lambda: sorted(p for share in shares(fds) for p in share) == list(range(300)) and
           sorted(map(len, shares(fds))) == [1] * 100 + [2] * 100)
for fd in fds[:150]: os.close(fd)
fds = fds[150:]
wait_until(lambda: sorted(map(len, shares(fds))) == [6] * 50)
same(sorted(p for share in shares(fds) for p in share), list(range(300)))'
    wait_until '[ "$(group members)" = 0 ]'
}

@test "of a commit of which a part is fenced the rest is committed" {
    touch orders/1
    for i in 0 1; do seq 5 >> orders/$i; done
    set_attr .groups/kitchen user.config.enable.auto.commit false
    members '
fd, = join(1)
wait_until(lambda: select.select([fd], [], [], 0)[0] and partitions(fd) == [0, 1])
same([os.read(fd, 100), os.read(fd, 100)], [b"1\n2\n3\n4\n5\n"] * 2)
os.setxattr("orders/0", "user.group.kitchen.committed", b"2")
same(error(os.fsync, fd), "ESTALE")
same([os.getxattr(f"orders/{i}", "user.group.kitchen.committed") for i in (0, 1)], [b"2", b"5"])'
}
