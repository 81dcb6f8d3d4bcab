#!/usr/bin/env bats
# logmnt-cluster itself: nodes with a network each, and what can be done to them by name.
load lib

state() { cluster status "$C" | awk -v node="$1" '$1 == node { print $2 }'; }
cut_of() { cluster status "$C" | awk -v node="$1" '$1 == node { print $6 }'; }
spaces() { ip netns list | grep -c "logmnt-t$$-" || :; }
reaches() { cluster exec "$C" "$1" timeout 1 bash -c ": </dev/tcp/10.44.0.$2/9440" 2>/dev/null; } # FROM TO

@test "nodes start, are killed, paused, stopped and started by name, and nothing stays" {
    start_cluster 3
    is "$(cat "$T/mounts")" "$C/1"$'\n'"$C/2"$'\n'"$C/3"
    for node in 1 2 3; do
        mountpoint "$C/$node"
        is "$(state $node)" running
        is "$(attr "$C/$node" user.node.id)" $node
    done
    cluster kill "$C" 2
    is "$(state 2)" killed
    fails 'not connected' ls "$C/2"
    cluster pause "$C" 3
    wait_until '[ "$(state 3)" = paused ]' # it stops at its next turn
    cluster start "$C"
    is "$(state 2)" running
    cluster resume "$C" 3
    wait_until '[ "$(state 3)" = running ]'
    cluster stop "$C" 1
    is "$(state 1)" stopped
    [ -e "$C/data/1/clean-shutdown" ]
    cluster wipe "$C" 1
    [ ! -e "$C/data/1" ]
    fails 'node 2 runs' cluster wipe "$C" 2
    cluster restart "$C" 2
    is "$(state 2)" running
    cluster down "$C"
    is "$(spaces)" 0
    not grep -q "$C" /proc/mounts
    ls "$C/data/2/meta.properties"
}

# In front of PATH: a daemon that mounts when it is told to, and a stat that does just before it looks what a daemon does
# meanwhile: it takes the dead mount of node 1 away. The second look tells the daemon to go on.
meddle() {
    mkdir "$T/bin"
    cat >"$T/bin/logmnt" <<END
#!/bin/bash
: >"$T/launched"
until [ -e "$T/go" ]; do sleep 0.02; done
exec "$LOGMNT" "\$@"
END
    cat >"$T/bin/stat" <<END
#!/bin/bash
if [ -e "$T/taken" ]; then
    : >"$T/go"
elif [ -e "$T/launched" ]; then
    umount -l "$C/1"
    : >"$T/taken"
fi
exec $(command -v stat) "\$@"
END
    chmod +x "$T"/bin/*
}

@test "a dead mount that goes while a start looks is no mount of the new daemon" {
    start_cluster -o tls=off 1
    cluster kill "$C" 1
    meddle
    PATH=$T/bin:$PATH LOGMNT=$T/bin/logmnt cluster start "$C"
    [ -e "$T/go" ]
    is "$(state 1)" running
    is "$(attr "$C/1" user.node.id)" 1
}

# In front of PATH: what a launcher does to say which process it has begun waits until it is told to go on; who comes to
# that, and who asks for the lock, is counted.
hold_launchers() {
    mkdir "$T/bin"
    cat >"$T/bin/mv" <<END
#!/bin/bash
echo >>"$T/moving"
until [ -e "$T/go" ]; do sleep 0.02; done
exec $(command -v mv) "\$@"
END
    cat >"$T/bin/flock" <<END
#!/bin/bash
echo >>"$T/asking"
exec $(command -v flock) "\$@"
END
    chmod +x "$T"/bin/*
}
lines() { cat "$T/$1" 2>/dev/null | wc -l; }
start_beside() { # NAME: its exit status goes to $T/NAME, and whether the mount is there then
    bg eval "PATH=$T/bin:$PATH cluster start $C; echo \$? \$(mountpoint -q $C/1; echo \$?) >$T/$1"
}

@test "of two starts of one node at once one launches it, and both wait for its mount" {
    start_cluster -o tls=off 1
    cluster stop "$C" 1
    hold_launchers
    start_beside first
    wait_until '[ "$(lines moving)" = 1 ]'
    start_beside second
    wait_until '[ "$(lines moving)" = 2 ] || [ "$(lines asking)" = 2 ]'
    : >"$T/go"
    wait_until '[ -s "$T/first" ] && [ -s "$T/second" ]'
    is "$(cat "$T/first")" '0 0'
    is "$(cat "$T/second")" '0 0'
    is "$(pgrep -fc "data=$C/data/1,")" 1
    is "$(ls "$C/pid")" 1
    is "$(attr "$C/1" user.node.id)" 1
}

@test "links are cut and healed: a cable, a pair, one way" {
    start_cluster -o tls=off 3
    for from in 1 2 3; do for to in 1 2 3; do wait_until "reaches $from $to"; done; done
    cluster cut "$C" 2
    is "$(cut_of 2)" cable
    not reaches 2 1
    not reaches 3 2
    wait_until 'reaches 1 3'
    cluster heal "$C" 2
    wait_until 'reaches 2 1'
    cluster cut "$C" 1-3
    is "$(cut_of 1) $(cut_of 3)" '1to3 3to1'
    not reaches 1 3
    wait_until 'reaches 1 2'
    wait_until 'reaches 3 2'
    cluster heal "$C"
    cluster cut "$C" 1to2
    is "$(cut_of 1) $(cut_of 2)" '1to2 -'
    not reaches 1 2
    cluster exec "$C" 1 timeout 5 ip neighbour show 10.44.0.2 | grep -q PERMANENT
    cluster heal "$C" 1to2
    wait_until 'reaches 1 2'
    is "$(cut_of 1)" -
}

@test "one node grows to three, and starts again with options of its own" {
    start_cluster -o tls=off 1
    start_cluster 3
    is "$(wc -l <"$T/mounts")" 3
    cluster stop "$C" 3
    cluster start -o linger.ms=7 "$C" 3
    tr '\0' ' ' <"/proc/$(daemon 3)/cmdline" | grep -q linger.ms=7
    cluster restart "$C" 3
    not grep -qa linger.ms=7 "/proc/$(daemon 3)/cmdline"
    fails 'has 3 nodes' start_cluster 2
}

@test "what cannot be is said in a line, and what had begun is taken back" {
    fails "unknown option 'nosuch'" start_cluster -o nosuch 2
    is "$(spaces)" 0
    not grep -q "$C" /proc/mounts
    rm -r "$C"
    fails 'LOGMNT' env LOGMNT=/nowhere "$ROOT/mount-scripts/logmnt-cluster" 2 "$C"
    fails 'usage:' cluster
    fails 'usage:' cluster explode "$C"
    fails 'usage:' cluster -x 3 "$C"
    fails '0: from 1 to 64' start_cluster 0
    fails 'there is no cluster here' cluster status "$T"
    fails '1 to 9 letters' cluster -n a-b 1 "$C"
    fails 'without commas' cluster -n "t$$" 1 "$T/tab"$'\t'
    mkdir -p "$T/full/x"
    fails 'is not empty' cluster 1 "$T/full"
    start_cluster -o tls=off 1
    fails '9: the nodes are 1 to 1' cluster kill "$C" 9
    fails 'kill: which?' cluster kill "$C"
    fails 'a link is between two' cluster cut "$C" 1-1
    fails 'another cluster has this name' cluster -n "t$$" 1 "$T/other"
    fails 'its name is' cluster -n other 1 "$C"
}

@test "README's three hosts do what README says" {
    awk '/^    mount-scripts\/logmnt-cluster 3/, /logmnt-cluster down/' "$ROOT/README.md" | grep -v ' down ' |
        sed "s|logmnt-cluster 3 |logmnt-cluster -n t$$ 3 |; s|/tmp/trio|$C|g" >"$T/tour"
    at_least "$(wc -l <"$T/tour")" 9
    (cd "$ROOT" && bash -e "$T/tour" 3>&-)
    lines='table 4: two espressi'$'\n''table 7: one tea'
    for node in 1 2 3; do wait_until "[ \"\$(cat $C/$node/orders/0)\" = '$lines' ]"; done
    wait_until '[ "$(awk "/^orders/ { print \$6, \$NF }" "$C/1/.cluster/partitions")" = "1,2,3 ok" ]'
    wait_until '[ "$(awk "{ print \$1, \$4 }" "$C/1/.cluster/nodes" | paste -sd,)" = "id state,1 up,2 up,3 up" ]'
}

@test "make demo-cluster: each step shows what it should" {
    C=$T/demo-cluster # beside the program
    ln -s "$(realpath "$LOGMNT")" "$T/logmnt"
    "$ROOT/tests/demo/run-cluster" "$T/logmnt" >"$T/shown" 3>&- || { cat "$T/shown"; return 1; }
    # In the end all is well, and what it says to type can be pasted, into a shell of its own.
    is "$(ls "$C/1" | paste -sd' ')" 'orders web'
    sed '1,/^topic partition leader/d; /^$/,$d' "$T/shown" >"$T/partitions"
    is "$(awk '{ print $1, $2, $NF }' "$T/partitions" | paste -sd,)" 'orders 0 ok,web 0 ok'
    sed '1,/^The cluster runs/d; /^[^ ]/d' "$T/shown" >"$T/next"
    is "$(grep -cE '^  ([^ ]*/)?logmnt-cluster ' "$T/next")" 4
    env -u LOGMNT bash -e "$T/next" 3>&-
    is "$(spaces)" 0
    not grep -q "$C" /proc/mounts
}
