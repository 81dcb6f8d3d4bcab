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
    wait_until formed 15
}
others() { for node in $(seq "$COUNT"); do [ "$node" = "$1" ] || echo "$node"; done; } # NODE
# soon CONDITION: within the two seconds that the contract gives another host
soon() { wait_until "$1" 2; }

@test "three mounts answer at once, the quorum forms by itself, and all are of one cluster" {
    start_cluster 3
    for node in 1 2 3; do ls "$C/$node"; is "$(attr "$C/$node" user.node.id)" $node; done
    COUNT=3
    wait_until formed 15
    id=$(attr "$C/1" user.cluster.id)
    is "${#id}" 22
    for node in 1 2 3; do
        is "$(attr "$C/$node" user.cluster.id)" "$id"
        is "$(attr "$C/$node" user.cluster.voters)" 1,2,3
        is "$(awk '{ print $1, $2, $3, $4 }' "$C/$node/.cluster/nodes")" "id address role state
1 10.44.0.1:9440 voter up
2 10.44.0.2:9440 voter up
3 10.44.0.3:9440 voter up"
    done
}

@test "a change on any mount is there when it returns, and on the others within two seconds" {
    form 3
    for node in 1 2 3; do
        mkdir "$C/$node/t$node"
        ls -d "$C/$node/t$node"
        for other in $(others $node); do soon "[ -d $C/$other/t$node ]"; done
        touch "$C/$node/t$node/1"
        for other in $(others $node); do soon "[ -e $C/$other/t$node/1 ]"; done
        set_attr "$C/$node/t$node" user.config.retention.ms 86400000
        is "$(attr "$C/$node/t$node" user.config.retention.ms)" 86400000
        chmod 750 "$C/$node/t$node"
        chown 1234:2345 "$C/$node/t$node"
        for other in $(others $node); do
            soon "[ \"\$(attr $C/$other/t$node user.config.retention.ms)\" = 86400000 ]"
            soon "[ \"\$(stat -c '%a %u %g' $C/$other/t$node)\" = '750 1234 2345' ]"
            is "$(stat -c '%i %Y %Z' "$C/$other/t$node")" "$(stat -c '%i %Y %Z' "$C/$node/t$node")"
        done
    done
    is "$(ls "$C/1")" $'t1\nt2\nt3'
    for node in 1 2 3; do
        rmdir "$C/$node/t$node"
        [ ! -e "$C/$node/t$node" ]
        for other in $(others $node); do soon "[ ! -e $C/$other/t$node ]"; done
    done
}

@test "touch of the same partition on two mounts at the same moment: it is there on both" {
    form 3
    mkdir "$C/1/t"
    for node in 2 3; do soon "[ -e $C/$node/t/0 ]"; done
    for partition in $(seq 20); do
        touch "$C/1/t/$partition" & first=$!
        touch "$C/2/t/$partition"
        wait $first
        ls "$C/1/t/$partition" "$C/2/t/$partition"
        soon "[ -e $C/3/t/$partition ]"
    done
    fails 'Invalid argument' set_attr "$C/1/t" user.topic.partitions 21
    touch "$C/3/t/21"
    touch "$C/1/t/21"
    is "$(attr "$C/1/t" user.topic.partitions)" 22
}

@test "a topic with records is not deleted, and keeps its framing, whichever mount is asked" {
    form 3
    set_attr "$C/1" user.config.default.replication.factor 1
    for holder in 1 2 3; do
        mkdir "$C/1/t"
        for node in 1 2 3; do soon "[ -e $C/$node/t/0 ]"; done
        soon "[[ \"\$(attr $C/$holder/t/0 user.log.leader)\" =~ ^[0-9]+$ ]]"
        seq 100 >>"$C/$holder/t/0"
        for node in 1 2 3; do
            fails 'Directory not empty' rmdir "$C/$node/t"
            fails 'Device or resource busy' set_attr "$C/$node/t" user.config.framing msgpack
        done
        is "$(cat "$C/$holder/t/0")" "$(seq 100)"
        set_attr "$C/1/t" user.config.delete.topic.enable true
        rmdir "$C/1/t"
        for node in 1 2 3; do soon "[ ! -e $C/$node/t ]"; done
    done
}

@test "a topic deleted on one mount leaves nothing on the disks of the others, which had looked at it" {
    form 3
    mkdir "$C/1/orders" "$C/1/.groups/kitchen"
    set_attr "$C/1/orders" user.config.delete.topic.enable true
    echo x >> "$C/1/orders/0"
    for node in 1 2 3; do
        soon "[ \"\$(cat $C/$node/orders/0)\" = x ]"
        wait_until "[ -d $C/$node/.groups/kitchen ]"
        is "$(head -n 1 "$C/$node/.groups/kitchen/orders")" x
    done
    rmdir "$C/2/orders"
    for node in 1 2 3; do wait_until "[ -z \"\$(ls $C/data/$node/topics | grep '^orders-')\" ]" 5; done
}

# A name that is not there is kept by the kernel as well, and with it the directory that it is not in.
@test "nor does it where somebody looks for names in it that are not there any more" {
    form 3
    mkdir "$C/1/orders"
    set_attr "$C/1/orders" user.config.delete.topic.enable true
    echo x >> "$C/1/orders/0"
    soon "[ -e $C/2/orders/0 ]"
    cd "$C/2/orders"
    rmdir "$C/1/orders"
    soon "[ ! -e $C/2/orders ]"
    fails 'Stale file handle' cat 0
    fails 'Stale file handle' cat nosuch
    cd /
    for node in 1 2 3; do wait_until "[ -z \"\$(ls $C/data/$node/topics | grep '^orders-')\" ]" 5; done
}

@test "rmdir on one mount and a write on another at the same moment: one of the two fails" {
    form 3
    python3 - "$C" <<'END'
import os, sys, threading, time
mounts = sys.argv[1]

def attempt(call, *args):
    try:
        call(*args)
        return True
    except OSError:
        return False

for turn in range(60):
    here, there = f"{mounts}/{turn % 3 + 1}/t{turn}", f"{mounts}/{(turn + 1 + turn // 3 % 2) % 3 + 1}/t{turn}"
    os.mkdir(here)
    deadline = time.monotonic() + 10
    while not os.path.exists(f"{there}/0"):
        assert time.monotonic() < deadline, there
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
    assert ok["write"] != ok["rmdir"], (turn, ok)
    assert os.path.exists(f"{here}/0") == ok["write"], (turn, ok)
END
}

@test "what exists is EEXIST and what is not there is ENOENT, on every mount alike" {
    form 3
    mkdir "$C/1/orders"
    soon "[ -d $C/2/orders ] && [ -d $C/3/orders ]"
    for node in 1 2 3; do
        fails 'File exists' mkdir "$C/$node/orders"
        fails 'No such file' rmdir "$C/$node/none"
        fails 'Invalid argument' mkdir "$C/$node/__no"
    done
    # Many at once, from all sides: each name is made by one of them.
    for round in $(seq 10); do
        for node in 1 2 3; do
            bg bash -c "mkdir $C/$node/race$round 2>/dev/null && echo $node >>$T/won$round"
        done
        wait "${BG[@]}" || : # who loses fails
        BG=()
        is "$(wc -l <"$T/won$round")" 1
    done
}

@test "the controller is killed: changes work again within seconds, and it comes back" {
    form 3
    for round in 1 2; do
        dead=$(controller 1)
        cluster kill "$C" "$dead"
        alive=$(others "$dead" | head -n 1)
        wait_until "mkdir $C/$alive/after$round 2>/dev/null || [ -d $C/$alive/after$round ]" 8
        [ "$(controller "$alive")" != "$dead" ]
        for other in $(others "$dead"); do soon "[ -d $C/$other/after$round ]"; done
        cluster start "$C" "$dead"
        wait_until "[ -d $C/$dead/after$round ]" 10
        wait_until formed 15
    done
}

@test "the controller's host stands still, or is cut off: another one leads, and the old one follows when it is back" {
    form 3
    for how in 'pause resume' 'cut heal'; do
        read -r begin end <<<"$how"
        lost=$(controller 1)
        cluster "$begin" "$C" "$lost"
        alive=$(others "$lost" | head -n 1)
        wait_until "mkdir $C/$alive/$begin 2>/dev/null || [ -d $C/$alive/$begin ]" 12
        [ "$(controller "$alive")" != "$lost" ]
        cluster "$end" "$C" "$lost"
        wait_until "[ -d $C/$lost/$begin ]" 15
        wait_until formed 15
    done
}

@test "with the quorum lost ls and stat go on, changes end in an error soon, and it is made whole again" {
    form 3
    mkdir "$C/1/orders"
    soon "[ -d $C/3/orders ]"
    cluster kill "$C" 1 2
    is "$(timeout 5 ls "$C/3")" orders
    start=${EPOCHREALTIME/./}
    fails '' timeout 10 mkdir "$C/3/none"
    at_most $(((${EPOCHREALTIME/./} - start) / 1000)) 4000
    wait_until '[ "$(controller 3)" = none ]'
    fails 'Read-only file system' timeout 5 mkdir "$C/3/none" # known to be lost: at once
    is "$(timeout 5 ls "$C/3")" orders
    cluster start "$C" 1
    wait_until "mkdir $C/3/again 2>/dev/null || [ -d $C/3/again ]" 20
    soon "[ -d $C/1/again ]"
    [ ! -e "$C/3/none" ]
}

@test "one after the other is stopped cleanly and started: each change in between is taken" {
    form 3
    for node in 1 2 3; do
        bg bash -c "i=0; while [ ! -e $T/enough ]; do i=\$((i + 1)); mkdir $C/$(others $node | head -n 1)/n$node-\$i || echo \"\$i\" >>$T/failed; done"
        writer=$!
        cluster restart "$C" $node
        wait_until formed 15
        touch "$T/enough"
        wait "$writer"
        rm "$T/enough"
    done
    [ ! -e "$T/failed" ] || { echo "changes that failed: $(wc -l <"$T/failed")"; return 1; }
    at_least "$(ls "$C/1" | wc -l)" 3
    for node in 2 3; do wait_until "[ \"\$(ls $C/1)\" = \"\$(ls $C/$node)\" ]" 5; done
}

@test "what was made while a host was down is there as soon as its mount answers" {
    form 3
    mkdir "$C/1/t"
    for round in $(seq 3); do
        cluster stop "$C" 3
        wait_until "mkdir $C/1/t$round 2>/dev/null || [ -d $C/1/t$round ]" 8
        wait_until "touch $C/1/t/$round 2>/dev/null && [ -e $C/1/t/$round ]" 8
        bg python3 - "$C/3" "$round" <<'END'
import os, sys
mount, number = sys.argv[1:]
before = os.stat(mount).st_dev
while os.stat(mount).st_dev == before:
    pass
if os.fork() == 0:
    os._exit(0 if f"t{number}" in os.listdir(mount) else 1)
os.stat(f"{mount}/t{number}")
os.stat(f"{mount}/t/{number}")
assert os.wait()[1] == 0, "not listed"
END
        looks=$!
        cluster start "$C" 3
        wait "$looks"
    done
}

@test "with the quorum lost a host that starts waits a second for it, once, and shows what it knows" {
    form 3
    mkdir "$C/1/orders"
    soon "[ -d $C/3/orders ]"
    cluster stop "$C" 1 2 3
    cluster start "$C" 3
    start=${EPOCHREALTIME/./}
    fails 'No such file' timeout 10 stat "$C/3/none"
    is "$(timeout 5 ls "$C/3")" orders
    at_most $(((${EPOCHREALTIME/./} - start) / 1000)) 4000
}

@test "all are killed at once, and everything is there again" {
    form 3
    mkdir "$C"/1/{a,b,c}
    touch "$C/2/a/1"
    cluster kill "$C" 1 2 3
    cluster start "$C"
    wait_until formed 15
    for node in 1 2 3; do wait_until "[ \"\$(ls $C/$node $C/$node/a)\" = \"$(printf '%s\n' "$C/$node:" a b c '' "$C/$node/a:" 0 1)\" ]" 10; done
    mkdir "$C/3/d"
}

@test "before the first quorum changes are EROFS and the cluster has no id; with its last voter it is there" {
    COUNT=3
    mkdir "$C"
    printf '%s\n' "NAME=t$$" COUNT=3 OPTIONS=tls=off >"$C/cluster"
    cluster start "$C" 1 2 # the first start needs all voters
    ls "$C/1" "$C/2"
    fails 'Read-only file system' timeout 5 mkdir "$C/1/orders"
    fails 'No such attribute' getfattr -n user.cluster.id "$C/1"
    cluster start "$C" 3
    wait_until formed 15
    mkdir "$C/1/orders"
}
