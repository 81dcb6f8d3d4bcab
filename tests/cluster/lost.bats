#!/usr/bin/env bats
# Nobody is there to be asked: what is on a host's own disk is read on, what would change anything ends in an error in
# bounded time, and who waits is gone at once when it is killed.
load lib
load records

# All that a host with a replica can say by itself of orders, which holds $T/lines (node 2's are as many as node 1's).
reads_on() { # NODE
    local topic=$C/$1/orders
    alone() { timeout -s KILL "$WAIT_S" "$@"; }
    alone ls "$C/$1" | grep -qx orders
    is "$(alone ls "$topic")" 0
    is "$(alone stat -c %s "$topic/0")" "$(stat -c %s "$T/lines")"
    alone cat "$topic/0" | cmp - "$T/lines"
    alone cat "$topic"/.segments/0/*.log | cmp - "$T/lines"
    is "$(alone tail -n 1 "$topic/0")" "$(tail -n 1 "$T/lines")"
    is "$(alone head -n 1 "$topic/0@500")" "$(sed -n 501p "$T/lines")"
    is "$(alone head -n 1 "$topic/.follow/0@-1")" "$(tail -n 1 "$T/lines")"
    is "$(alone cat "$topic/.json/0" | wc -l)" "$(wc -l <"$T/lines")"
    is "$(alone getfattr --absolute-names --only-values -n user.log.high_watermark "$topic/0")" "$(wc -l <"$T/lines")"
    alone getfattr --absolute-names -d "$topic" >"$T/said"
    grep -q '^user.topic.partitions="1"$' "$T/said"
    is "$(alone awk '$1 == "orders" { print $1, $2, $5 }' "$C/$1/.cluster/partitions")" 'orders 0 1,2,3'
    alone cat "$C/$1/.cluster/nodes" "$C/$1/.cluster/metrics" >/dev/null
}

# It fails, as what waits for others does, within so many milliseconds.
ends_badly() { # MS COMMAND…
    local said status=0
    begin_clock
    said=$(timeout "$WAIT_S" "${@:2}" 2>&1 3>&-) || status=$?
    if [ $status = 0 ] || [[ $said != *'Read-only file system'* && $said != *'Connection timed out'* ]]; then
        echo "seen: status $status, $said"
        return 1
    fi
    ran_at_most "$1" || { echo "too late: $said"; return 1; }
}
append_ends_badly() { ends_badly "$1" bash -c 'echo "$1" >>"$0"' "$C/$2/orders/0" "$3"; } # MS NODE LINE

@test "with the quorum lost what is here is read on, and an append ends in an error when its time is over, whoever led" {
    form -o tls=off,delivery.timeout.ms=4000
    lead 1
    seq 1000 >"$T/lines"
    cat "$T/lines" >>"$C/1/orders/0"
    same 1000
    for left in 1 2; do
        kill_nodes $(others $left)
        reads_on $left
        append_ends_badly 6000 $left "lost $left"
        append_ends_badly 1500 $left "lost as well" # at once, from then on
        ends_badly 6000 sync "$C/$left/orders/0"
        ends_badly 3000 mkdir "$C/$left/undecided$left"
        ends_badly 3000 chmod 700 "$C/$left/orders"
        reads_on $left
        start_nodes $(others $left)
        whole
        lead 1
        same
        cp "$C/1/orders/0" "$T/lines"
        is "$(grep -v lost "$T/lines")" "$(seq 1000)"
        not grep 'lost as well' "$T/lines"
    done
}

@test "all links are cut under writers: appends end in errors, each host reads on, and nothing that was acknowledged is lost" {
    form -o tls=off,delivery.timeout.ms=4000
    begin_writers
    more 60
    cluster cut "$C" 1 2 3
    for node in 1 2 3; do wait_until "[ -s $T/w$node.failed ]"; done
    for node in 1 2 3; do
        # What it has shown of others' word, and not got itself before the cut, it cannot give now.
        timeout "$WAIT_S" cat "$C/$node/orders/0" >"$T/seen$node" 2>"$T/said" || grep -q 'timed out' "$T/said"
        at_least "$(wc -l <"$T/seen$node")" 60
    done
    cluster heal "$C"
    whole
    more
    end_writers
    same
    for node in 1 2 3; do
        intact $node
        cmp -n "$(stat -c %s "$T/seen$node")" "$T/seen$node" "$C/$node/orders/0"
    done
}

# In a call of this number (x86-64: 0 read, 1 write, 17 pread, 74 fsync, 285 fallocate), whose first argument is so.
waits_in() { grep -qs "^$2 0x$3 " "/proc/$1/syscall"; } # PID CALL ARGUMENT
is_gone() { [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"; } # PID
# Again and again, whatever comes of it; its process in $!.
again() { # PYTHON-EXPRESSION PATH
    bg python3 -c '
import os, sys, time
path = sys.argv[1]
fd = os.open(path, os.O_RDONLY)
while True:
    try:
        '"$1"'
    except OSError:
        time.sleep(0.001)' "$2"
}

# Of one replica, on node 1.
make_single() { # TOPIC
    change set_attr "$C/1" user.config.default.replication.factor 1
    change mkdir "$C/1/$1"
    change set_attr "$C/1/$1/0" user.log.replicas 1
    for node in 1 3; do wait_until "[ \"\$(attr $C/$node/$1/0 user.log.replicas) \$(attr $C/$node/$1/0 user.log.leader)\" = '1 1' ]"; done
    seq 1000 >>"$C/1/$1/0"
    soon "[ \"\$(stat -c %s $C/3/$1/0)\" = \"\$(stat -c %s $C/1/$1/0)\" ]"
}

@test "whoever waits for another host, which is cut off or stands still, is gone at once when it is killed" {
    form -o "tls=off,delivery.timeout.ms=3600000,$CALM"
    lead 1
    echo first >>"$C/3/orders/0"
    make_single read
    make_single followed
    for how in 'cut 3' 'pause 1'; do
        mkfifo "$T/go"
        bg bash -c 'exec cat <"$0"' "$C/3/followed/.follow/0" >"$T/followed"
        follows=$!
        wait_until '[ "$(wc -l <"$T/followed")" = 1000 ]'
        bg bash -c 'exec 4>>"$0"; echo ready; read -r _ <"$1"; echo parked >&4' "$C/3/orders/0" "$T/go" >"$T/ready"
        appends=$!
        wait_until '[ -s "$T/ready" ]'
        read -r does node <<<"$how"
        cluster "$does" "$C" "$node"
        again 'os.pread(fd, 100, 0)' "$C/3/read/0"
        reads=$!
        again 'os.stat(path)' "$C/3/read/0"
        looks=$!
        again 'os.getxattr(path, "user.log.isr")' "$C/3/read/0"
        asks=$!
        bg python3 -c 'import os, sys; os.fsync(os.open(sys.argv[1], os.O_RDONLY))' "$C/3/orders/0"
        flushes=$!
        echo >"$T/go"
        wait_until "waits_in $follows 0 0"
        wait_until "waits_in $appends 1 1"
        wait_until "waits_in $flushes 74 3"
        wait_until "waits_in $reads 17 3"
        begin_clock
        kill -9 $reads
        wait_until "is_gone $reads"
        ran_at_most 2500 # it would have waited for five seconds
        for pid in $follows $appends $flushes $looks $asks; do
            kill -9 "$pid"
            wait_until "is_gone $pid"
        done
        BG=()
        case $does in cut) cluster heal "$C" ;; pause) cluster resume "$C" "$node" ;; esac
        whole
        wait_until "echo after >>$C/3/orders/0"
        same
        is "$(tail -n 1 "$C/1/orders/0")" after
        is "$(wc -l <"$C/3/read/0")" 1000
        rm "$T/go"
    done
}

# fallocate(1) would wait for half a minute: on the leader's host until the others have the new log start, elsewhere for an
# answer.
@test "DeleteRecords that waits for another host is gone at once when it is killed" {
    form -o "tls=off,$CALM"
    lead 1
    seq 100 >>"$C/1/orders/0"
    same 100
    for how in '3 1 20' '1 3 40'; do
        read -r still asks bytes <<<"$how"
        cluster pause "$C" "$still"
        bg fallocate -p -o 0 -l "$bytes" "$C/$asks/orders/0"
        deletes=$!
        wait_until "waits_in $deletes 285 3"
        begin_clock
        kill -9 "$deletes"
        wait_until "is_gone $deletes"
        ran_at_most 2000
        cluster resume "$C" "$still"
        whole
    done
    fallocate -p -o 0 -l 50 "$C/3/orders/0"
    for node in 1 2 3; do soon "[ \"\$(cat $C/$node/orders/0)\" = \"\$(seq 20 100)\" ]"; done
}

@test "a signal ends an append that could not be sent, with EINTR, and then it is nowhere" {
    form -o "tls=off,delivery.timeout.ms=3600000,$CALM"
    lead 1
    cluster cut "$C" 3
    for node in 1 2; do wait_until "grep -qE '^(peer $node .*: lost|node $node: silent)' $C/log/3"; done
    bg python3 -c '
import errno, os, signal, sys
class Rung(Exception):
    pass
def ring(*_):
    raise Rung
signal.signal(signal.SIGUSR1, ring)
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
try:
    os.write(fd, b"never\n")
    sys.exit("written")
except Rung:
    pass
os.write(fd, b"tried again\n")' "$C/3/orders/0"
    writes=$!
    wait_until "waits_in $writes 1 3"
    kill -USR1 "$writes"
    wait_until "[ \"\$(awk '/^ShdPnd/ { print \$2 }' /proc/$writes/status)\" = 0000000000000000 ]"
    wait_until "waits_in $writes 1 3"
    cluster heal "$C"
    wait "$writes"
    whole
    same 1
    is "$(cat "$C/1/orders/0")" 'tried again'
}

# By the end of the contract's ten seconds; a daemon that waits for the call would need an hour.
stops() { begin_clock; cluster stop "$C" "$1" && ran_at_most 15000; } # NODE

@test "a daemon stops in time though an fsync waits for other hosts, on the leader's host and on another" {
    form -o "tls=off,acks=0,delivery.timeout.ms=3600000,$CALM"
    lead 1
    echo first >>"$C/1/orders/0"
    same
    for how in 'cut 3 3' 'pause 3 1'; do
        read -r does node stops <<<"$how"
        note_epochs "$stops"
        cluster "$does" "$C" "$node"
        bg python3 -c '
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
os.write(fd, b"more\n")
os.fsync(fd)' "$C/$stops/orders/0" 2>"$T/said"
        flushes=$!
        wait_until "waits_in $flushes 74 3"
        stops "$stops"
        wait_until "is_gone $flushes"
        grep -q 'not connected' "$T/said"
        case $does in cut) cluster heal "$C" ;; pause) cluster resume "$C" "$node" ;; esac
        start_nodes "$stops"
        whole
    done
    same
}
