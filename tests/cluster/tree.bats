#!/usr/bin/env bats
# The tree is the same on every mount, and its changes are decided whoever dies.
load lib

controller() { attr "$C/$1" user.cluster.controller 2>/dev/null; } # as NODE knows it
# The quorum has formed, and all nodes are part of it: each knows the same controller, and all to be up.
formed() {
    local node first
    first=$(controller 1)
    [[ $first =~ ^[0-9]+$ ]] || return 1
    for node in $(seq "$COUNT"); do
        [ "$(controller "$node")" = "$first" ] && [ "$(awk '$4 == "up"' "$C/$node/.cluster/nodes" | wc -l)" = "$COUNT" ] || return 1
    done
}
form() { # [-o OPTIONS] N
    COUNT=${!#}
    start_cluster "$@"
    wait_until formed
}
others() { for node in $(seq "$COUNT"); do [ "$node" = "$1" ] || echo "$node"; done; } # NODE

@test "three mounts answer at once, the quorum forms by itself, and all are of one cluster" {
    start_cluster 3
    for node in 1 2 3; do ls "$C/$node"; is "$(attr "$C/$node" user.node.id)" $node; done
    COUNT=3
    wait_until formed
    id=$(attr "$C/1" user.cluster.id)
    is "${#id}" 22
    for node in 1 2 3; do
        is "$(attr "$C/$node" user.cluster.id)" "$id"
        is "$(attr "$C/$node" user.cluster.voters)" 1,2,3
        wait_until "[ \"\$(awk '{ print \$1, \$2, \$3, \$4 }' $C/$node/.cluster/nodes)\" = 'id address role state
1 10.44.0.1:9440 voter up
2 10.44.0.2:9440 voter up
3 10.44.0.3:9440 voter up' ]"
    done
}

@test "a change on any mount is there when it returns, and on the others within two seconds" {
    form 3
    for node in 1 2 3; do
        change mkdir "$C/$node/t$node"
        ls -d "$C/$node/t$node"
        for other in $(others $node); do soon "[ -d $C/$other/t$node ]"; done
        change touch "$C/$node/t$node/1"
        for other in $(others $node); do soon "[ -e $C/$other/t$node/1 ]"; done
        change set_attr "$C/$node/t$node" user.config.retention.ms 86400000
        is "$(attr "$C/$node/t$node" user.config.retention.ms)" 86400000
        change chmod 750 "$C/$node/t$node"
        change chown 1234:2345 "$C/$node/t$node"
        for other in $(others $node); do
            soon "[ \"\$(attr $C/$other/t$node user.config.retention.ms)\" = 86400000 ]"
            soon "[ \"\$(stat -c '%a %u %g' $C/$other/t$node)\" = '750 1234 2345' ]"
            is "$(stat -c '%i %Y %Z' "$C/$other/t$node")" "$(stat -c '%i %Y %Z' "$C/$node/t$node")"
        done
    done
    is "$(ls "$C/1")" $'t1\nt2\nt3'
    for node in 1 2 3; do
        change rmdir "$C/$node/t$node"
        [ ! -e "$C/$node/t$node" ]
        for other in $(others $node); do soon "[ ! -e $C/$other/t$node ]"; done
    done
}

# What stat(2) tells of a name. A stream's times are those of its topic.
told() { stat -c '%i %a %u %g %y %z' "$C/$1/$2"; } # NODE NAME
# What it tells on that mount, on which the last change was made, it tells on the others within two seconds.
alike() { # NODE NAME…
    local from=$1 name node first
    shift
    for name; do
        first=$(told "$from" "$name")
        for node in $(others "$from"); do soon "[ \"\$(told $node $name)\" = '$first' ]"; done
    done
}

@test "numbers, modes and times of all names are the same on every mount, also where a node was down" {
    local tree=(. .groups .cluster .internal .groups/kitchen .groups/kitchen/orders orders orders/.any orders/.follow
        orders/0 orders/.follow/0 orders/.json/0)
    form 3
    kill_nodes 3
    change mkdir "$C/1/orders" "$C/1/.groups/kitchen"
    change chmod 775 "$C/1"
    start_nodes 3
    wait_until formed
    for node in 1 2 3; do soon "[ -e $C/$node/orders/0 ] && [ -e $C/$node/.groups/kitchen/orders ]"; done
    alike 1 "${tree[@]}"
    change chmod 640 "$C/3/orders/0"
    alike 3 "${tree[@]}"
    echo one >>"$C/2/orders/0"
    alike 2 "${tree[@]}"
    fallocate -p -o 0 -l 4 "$C/1/orders/0"
    alike 1 "${tree[@]}"
    before=$(for name in "${tree[@]}"; do told 1 "$name"; done)
    kill_nodes 1 2 3
    start_nodes 1 2 3
    wait_until formed
    for node in 1 2 3; do # a replica knows of its records what it did when it was killed, until somebody leads
        wait_until "[ \"\$(for name in ${tree[*]}; do told $node \$name; done)\" = '$before' ]"
    done
}

@test "touch of the same partition on two mounts at the same moment: it is there on both" {
    form 3
    change mkdir "$C/1/t"
    for node in 2 3; do soon "[ -e $C/$node/t/0 ]"; done
    for partition in $(seq 20); do
        bg change touch "$C/1/t/$partition"
        first=$!
        change touch "$C/2/t/$partition"
        wait $first
        ls "$C/1/t/$partition" "$C/2/t/$partition"
        soon "[ -e $C/3/t/$partition ]"
    done
    fails 'Invalid argument' answered set_attr "$C/1/t" user.topic.partitions 21
    change touch "$C/3/t/21"
    change touch "$C/1/t/21"
    is "$(attr "$C/1/t" user.topic.partitions)" 22
}

@test "a topic with records is not deleted, and keeps its framing, whichever mount is asked" {
    form 3
    change set_attr "$C/1" user.config.default.replication.factor 1
    for holder in 1 2 3; do
        change mkdir "$C/1/t"
        for node in 1 2 3; do soon "[ -e $C/$node/t/0 ]"; done
        soon "[[ \"\$(attr $C/$holder/t/0 user.log.leader)\" =~ ^[0-9]+$ ]]"
        seq 100 >>"$C/$holder/t/0"
        for node in 1 2 3; do
            fails 'Directory not empty' answered rmdir "$C/$node/t"
            fails 'Device or resource busy' answered set_attr "$C/$node/t" user.config.framing msgpack
        done
        is "$(cat "$C/$holder/t/0")" "$(seq 100)"
        change set_attr "$C/1/t" user.config.delete.topic.enable true
        change rmdir "$C/1/t"
        for node in 1 2 3; do soon "[ ! -e $C/$node/t ]"; done
    done
}

@test "a topic deleted on one mount leaves nothing on the disks of the others, which had looked at it" {
    form 3
    change mkdir "$C/1/orders" "$C/1/.groups/kitchen"
    change set_attr "$C/1/orders" user.config.delete.topic.enable true
    echo x >> "$C/1/orders/0"
    for node in 1 2 3; do
        soon "[ \"\$(cat $C/$node/orders/0)\" = x ]"
        wait_until "[ -d $C/$node/.groups/kitchen ]"
        is "$(head -n 1 "$C/$node/.groups/kitchen/orders")" x
    done
    change rmdir "$C/2/orders"
    for node in 1 2 3; do wait_until "[ -z \"\$(ls $C/data/$node/topics | grep '^orders-')\" ]"; done
}

# A name that is not there is kept by the kernel as well, and with it the directory that it is not in.
@test "nor does it where somebody looks for names in it that are not there any more" {
    form 3
    change mkdir "$C/1/orders"
    change set_attr "$C/1/orders" user.config.delete.topic.enable true
    echo x >> "$C/1/orders/0"
    soon "[ -e $C/2/orders/0 ]"
    cd "$C/2/orders"
    change rmdir "$C/1/orders"
    soon "[ ! -e $C/2/orders ]"
    fails 'Stale file handle' cat 0
    fails 'Stale file handle' cat nosuch
    cd /
    for node in 1 2 3; do wait_until "[ -z \"\$(ls $C/data/$node/topics | grep '^orders-')\" ]"; done
}

@test "rmdir on one mount and a write on another at the same moment: one of the two fails" {
    form 3
    python3 - "$C" <<'END'
import errno, os, sys, threading, time
mounts = sys.argv[1]
UNDECIDED = (errno.ETIMEDOUT, errno.EROFS)  # no controller has answered in time: it may yet come into force

def attempt(call, *args):
    try:
        call(*args)
        return True
    except OSError as e:
        return None if e.errno in UNDECIDED else False

def is_made(name):
    return attempt(os.mkdir, name) or os.path.isdir(name)

def await_that(condition, *args):
    deadline = time.monotonic() + 60
    while not condition(*args):
        assert time.monotonic() < deadline, (condition, args)

turn = judged = 0
while judged < 60:
    turn += 1
    here, there = f"{mounts}/{turn % 3 + 1}/t{turn}", f"{mounts}/{(turn + 1 + turn // 3 % 2) % 3 + 1}/t{turn}"
    await_that(is_made, here)
    await_that(os.path.exists, f"{there}/0")
    fd = os.open(f"{here}/0", os.O_WRONLY | os.O_APPEND)
    both, ok = threading.Barrier(2), {}

    def write():
        both.wait()
        ok["write"] = attempt(os.write, fd, b"acked\n")

    def rmdir():
        both.wait()
        ok["rmdir"] = attempt(os.rmdir, there)

    threads = [threading.Thread(target=call) for call in (write, rmdir)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    attempt(os.close, fd)
    if None in ok.values():
        continue
    judged += 1
    assert ok["write"] != ok["rmdir"], (turn, ok)
    assert os.path.exists(f"{here}/0") == ok["write"], (turn, ok)
END
}

@test "what exists is EEXIST and what is not there is ENOENT, on every mount alike" {
    form 3
    change mkdir "$C/1/orders"
    soon "[ -d $C/2/orders ] && [ -d $C/3/orders ]"
    for node in 1 2 3; do
        fails 'File exists' answered mkdir "$C/$node/orders"
        fails 'No such file' answered rmdir "$C/$node/none"
        fails 'Invalid argument' answered mkdir "$C/$node/__no"
    done
    # Many at once, from all sides: each name is made by one of them. Who is told ETIMEDOUT may be the one.
    for round in $(seq 10); do
        for node in 1 2 3; do
            bg bash -c "mkdir $C/$node/race$round 2>>$T/said$round && echo $node >>$T/won$round"
        done
        wait "${BG[@]}" || : # who loses fails
        BG=()
        if grep -qs -e 'timed out' -e 'Read-only' "$T/said$round"; then
            at_most "$(cat "$T/won$round" 2>/dev/null | wc -l)" 1
        else
            is "$(wc -l <"$T/won$round")" 1
        fi
    done
}

@test "the controller is killed: changes work again within seconds, and it comes back" {
    form 3
    for round in 1 2; do
        learn dead controller 1
        kill_nodes "$dead"
        alive=$(others "$dead" | head -n 1)
        wait_until "mkdir $C/$alive/after$round 2>/dev/null || [ -d $C/$alive/after$round ]"
        [ "$(controller "$alive")" != "$dead" ]
        for other in $(others "$dead"); do soon "[ -d $C/$other/after$round ]"; done
        start_nodes "$dead"
        wait_until "[ -d $C/$dead/after$round ]"
        wait_until formed
    done
}

@test "the controller's host stands still, or is cut off: another one leads, and the old one follows when it is back" {
    form 3
    for how in 'pause resume' 'cut heal'; do
        read -r begin end <<<"$how"
        learn lost controller 1
        cluster "$begin" "$C" "$lost"
        alive=$(others "$lost" | head -n 1)
        wait_until "mkdir $C/$alive/$begin 2>/dev/null || [ -d $C/$alive/$begin ]"
        [ "$(controller "$alive")" != "$lost" ]
        cluster "$end" "$C" "$lost"
        wait_until "[ -d $C/$lost/$begin ]"
        wait_until formed
    done
}

@test "with the quorum lost ls and stat go on, changes end in an error soon, and it is made whole again" {
    form 3
    change mkdir "$C/1/orders"
    for node in 2 3; do soon "[ -d $C/$node/orders ]"; done
    # Not the controller: in its log what it could not decide may be, and is decided when the quorum is back.
    learn boss controller 1
    left=$(others "$boss" | tail -n 1)
    back=$(others "$left" | head -n 1)
    cluster kill "$C" $(others "$left")
    is "$(timeout "$WAIT_S" ls "$C/$left")" orders
    begin_clock
    fails '' timeout "$WAIT_S" mkdir "$C/$left/none"
    ran_at_most 4000
    wait_until '[ "$(controller $left)" = none ]'
    fails '' timeout "$WAIT_S" mkdir "$C/$left/none"
    begin_clock
    fails 'Read-only file system' timeout "$WAIT_S" mkdir "$C/$left/none" # known to be lost: at once
    ran_at_most 1000
    fails 'Read-only file system' timeout "$WAIT_S" chmod 700 "$C/$left/orders"
    logged "$left" 'chmod or chown of /orders: no controller has answered'
    is "$(timeout "$WAIT_S" ls "$C/$left")" orders
    cluster start "$C" "$back"
    wait_until "mkdir $C/$left/again 2>/dev/null || [ -d $C/$left/again ]"
    soon "[ -d $C/$back/again ]"
    [ ! -e "$C/$left/none" ]
}

changes() { # NODE NAME: topics, until $T/enough is there; what failed is in $T/failed
    local i=0
    until [ $i -gt 0 ] && [ -e "$T/enough" ]; do
        i=$((i + 1))
        change mkdir "$C/$1/$2-$i" 2>"$T/failed.said" || echo "$2-$i: $(cat "$T/failed.said")" >>"$T/failed"
    done
}

@test "one after the other is stopped cleanly and started: each change in between is taken" {
    form 3
    for node in 1 2 3; do
        bg changes "$(others $node | head -n 1)" "n$node"
        writer=$!
        restart_nodes $node
        wait_until formed
        touch "$T/enough"
        wait "$writer"
        rm "$T/enough"
    done
    [ ! -e "$T/failed" ] || { cat "$T/failed"; return 1; }
    for node in 2 3; do wait_until "[ \"\$(ls $C/1)\" = \"\$(ls $C/$node)\" ]"; done
    ls -d "$C"/1/n[123]-1
    is "$(ls -d "$C"/1/n[123]-1 | wc -l)" 3
}

finds_at_once() { # MOUNT N FILE: what round N has made, in the first looks at the mount; FILE: it waits for that
    python3 - "$@" <<'END'
import os, sys, time
mount, number, ready = sys.argv[1:]
before = os.stat(mount).st_dev
open(ready, "w").close()
while os.stat(mount).st_dev == before:
    pass
begun = time.monotonic()

def await_that(condition):
    while not condition():  # who has not heard of the quorum for a second shows what it knows
        assert time.monotonic() - begun > 1, "it is not there, and was not waited for"

if os.fork() == 0:
    try:
        await_that(lambda: f"t{number}" in os.listdir(mount))
        os._exit(0)
    finally:
        os._exit(1)
await_that(lambda: os.path.exists(f"{mount}/t{number}"))
await_that(lambda: os.path.exists(f"{mount}/t/{number}"))
assert os.wait()[1] == 0, "not listed"
END
}

@test "what was made while a host was down is there as soon as its mount answers" {
    form 3
    change mkdir "$C/1/t"
    for round in $(seq 3); do
        cluster stop "$C" 3
        wait_until "mkdir $C/1/t$round 2>/dev/null || [ -d $C/1/t$round ]"
        wait_until "touch $C/1/t/$round 2>/dev/null && [ -e $C/1/t/$round ]"
        bg finds_at_once "$C/3" "$round" "$T/waits$round"
        looks=$!
        wait_until "[ -e $T/waits$round ]"
        cluster start "$C" 3
        wait "$looks"
    done
}

@test "with the quorum lost a host that starts waits a second for it, once, and shows what it knows" {
    form 3
    change mkdir "$C/1/orders"
    soon "[ -d $C/3/orders ]"
    cluster stop "$C" 1 2 3
    cluster start "$C" 3
    begin_clock
    fails 'No such file' timeout "$WAIT_S" stat "$C/3/none"
    is "$(timeout "$WAIT_S" ls "$C/3")" orders
    ran_at_most 4000
}

@test "all are killed at once, and everything is there again" {
    form 3
    change mkdir "$C"/1/{a,b,c}
    soon "[ -e $C/2/a/0 ]"
    change touch "$C/2/a/1"
    kill_nodes 1 2 3
    start_nodes 1 2 3
    wait_until formed
    for node in 1 2 3; do wait_until "[ \"\$(ls $C/$node $C/$node/a)\" = \"$(printf '%s\n' "$C/$node:" a b c '' "$C/$node/a:" 0 1)\" ]"; done
    change mkdir "$C/3/d"
}

@test "before the first quorum changes are EROFS and the cluster has no id; with its last voter it is there" {
    COUNT=3
    mkdir "$C"
    printf '%s\n' "NAME=t$$" COUNT=3 OPTIONS=tls=off >"$C/cluster"
    cluster start "$C" 1 2 # the first start needs all voters
    ls "$C/1" "$C/2"
    fails 'Read-only file system' timeout "$WAIT_S" mkdir "$C/1/orders"
    fails 'No such attribute' getfattr -n user.cluster.id "$C/1"
    cluster start "$C" 3
    wait_until formed
    change mkdir "$C/1/orders"
}
