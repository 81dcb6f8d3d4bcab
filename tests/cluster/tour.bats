#!/usr/bin/env bats
# The contract on three hosts: what is done on one is looked at on another, with a replica there and without.
load lib
load records

# --- README's tour of one mount, its commands on one host after the other ---

# All hosts know the same of topics and groups, each has all records, and all are in sync.
is_settled() {
    local node
    for node in 1 2 3; do
        (cd "$C/$node" && cat .cluster/partitions && ls . .groups && getfattr -d -- * 2>/dev/null) >"$T/known$node"
        cmp -s "$T/known1" "$T/known$node" || return 1
    done
    ! grep -qE ' (under-replicated|offline)$' "$T/known1"
}
turn() { wait_until is_settled; HOST=$((HOST % 3 + 1)); cd "$C/$HOST" || exit; }

# Who leads, and whom: of one node there is nothing to choose.
of_three() { sed -E 's/^(orders [0-9]+) [0-9]+ [0-9]+ [0-9,]+ [0-9,]+ /\1 - - - - /'; }

@test "README's tour prints what README says when each command is another host's" {
    start_cluster -o tls=off 3
    wait_until '[ "$(awk "\$4 == \"up\"" "$C/1/.cluster/nodes" | wc -l)" = 3 ]'
    export T C BATS_TEST_DIRNAME
    readme_tour >"$T/tour"
    {
        echo ". '$BATS_TEST_DIRNAME/lib.bash'"
        declare -f is_settled turn
        # What is decided is asked for again on a machine that is short of time, and may be there by then.
        grep -v '^#' "$T/tour" | sed -E 's/^(mkdir|touch|setfattr) .*/change & 2>>$T\/said/; s/^rmdir /answered &/; s/^./turn; &/'
    } >"$T/commands"
    bash "$T/commands" 2>&1 3>&- | sed "s|^$T/commands|bash|" | same_each_time | of_three >"$T/seen"
    grep '^#' "$T/tour" | sed 's/^# //' | same_each_time | of_three >"$T/expected"
    diff -u "$T/expected" "$T/seen"
}

# --- a story each ---

# A topic with replicas on these nodes, led by the first of them, as all hosts know.
make() { # TOPIC NODE,…
    local node
    change mkdir "$C/1/$1"
    for node in 1 2 3; do wait_until "[ -e $C/$node/$1/0 ]"; done
    change set_attr "$C/1/$1/0" user.log.replicas "$2"
    for node in 1 2 3; do wait_until "is_made $node $1 $2"; done
}
is_made() { # AS-SEEN-FROM TOPIC NODE,…
    local part=$C/$1/$2/0
    [ "$(attr "$part" user.log.replicas)" = "$3" ] && [ "$(attr "$part" user.log.isr)" = "$(tr , '\n' <<<"$3" | sort | paste -sd,)" ] || return 1
    [ "$(attr "$part" user.log.leader)" = "${3%%,*}" ] || { set_attr "$part" user.log.leader "${3%%,*}" 2>/dev/null && return 1; }
}
ends() { # FILE…: all are as long as the first one
    local file
    for file; do wait_until "[ \"\$(stat -c %s $file)\" = \"\$(stat -c %s $1)\" ]"; done
}
# So many lines a write(2), each of which may roll the segment.
in_pieces() { python3 -c 'import os, sys
lines, fd = sys.stdin.buffer.readlines(), os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
for at in range(0, len(lines), 10):
    os.write(fd, b"".join(lines[at:at + 10]))' "$1"; } # FILE

@test "acks: 0 waits for nobody, 1 for the leader alone, all for everybody in sync, each a host's own" {
    mkdir "$C"
    printf '%s\n' "NAME=t$$" COUNT=3 "OPTIONS=tls=off,delivery.timeout.ms=600000,$CALM" >"$C/cluster"
    cluster start -o acks=0 "$C" 1
    cluster start -o acks=1 "$C" 2
    cluster start "$C" 3
    make_orders
    lead 2
    for node in 1 2 3; do echo "from $node" >>"$C/$node/orders/0"; done
    same 3
    cluster pause "$C" 2
    echo none >>"$C/1/orders/0" # the leader has not heard of it
    is "$(wc -l <"$C/1/orders/0")" 3
    cluster resume "$C" 2
    same 4
    cluster pause "$C" 1
    echo leader >>"$C/2/orders/0"
    is "$(wc -l <"$C/2/orders/0")" 4 # it is in the log, and nobody reads it yet
    bg bash -c 'echo all >>"$0" && echo acked' "$C/3/orders/0" >"$T/acked"
    writes=$!
    wait_until "[ \"\$(attr $C/2/orders/0 user.log.end_offset)\" = 6 ]"
    [ ! -s "$T/acked" ]
    cluster resume "$C" 1
    wait "$writes"
    is "$(cat "$T/acked")" acked
    same 6
    is "$(tail -n 3 "$C/1/orders/0")" $'none\nleader\nall'
}

batches() { # NODE: of orders/0, on its disk
    local bytes
    bytes=$(cat "$C/$1"/orders/.segments/0/*.batches | wc -c)
    echo $(((bytes - 64) / 64))
}

@test "linger.ms: what lingers is seen nowhere, and fsync and close send it, though the leader has died meanwhile" {
    form -o tls=off,linger.ms=600000,delivery.timeout.ms=600000
    lead 1
    mkfifo "$T/go"
    bg python3 -c '
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
go = open(sys.argv[2] + "/go")
def write(first):
    for n in range(first, first + 100):
        os.write(fd, b"%d\n" % n)
def stop(name):
    open(sys.argv[2] + "/" + name, "w").close()
    go.readline()
write(1)
stop("written")
os.fsync(fd)
stop("flushed")
write(101)
os.close(fd)
stop("closed")' "$C/3/orders/0" "$T"
    exec 5>"$T/go"
    wait_until '[ -e "$T/written" ]'
    for node in 1 2 3; do is "$(attr "$C/$node/orders/0" user.log.end_offset)" 0; done
    kill_nodes 1
    another_leads 3 1
    echo >&5
    wait_until '[ -e "$T/flushed" ]'
    is "$(cat "$C/3/orders/0")" "$(seq 100)"
    echo >&5
    wait_until '[ -e "$T/closed" ]'
    is "$(cat "$C/3/orders/0")" "$(seq 200)"
    exec 5>&-
    start_nodes 1
    whole
    same 200
    for node in 1 2 3; do at_most "$(batches $node)" 4; done
}

@test ".any: from each host a key goes to the partition that Kafka's client would pick, in order" {
    form -o tls=off
    change set_attr "$C/1/orders" user.config.key.separator :
    change set_attr "$C/2/orders" user.topic.partitions 3
    for node in 1 2 3; do wait_until "[ -e $C/$node/orders/2 ] && [ \"\$(attr $C/$node/orders user.config.key.separator)\" = : ]"; done
    for node in 1 2 3; do
        bg python3 -c '
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
for n in range(100):
    os.write(fd, b"".join(b"%s:%s.%d\n" % (key, sys.argv[2].encode(), n) for key in (b"21", b"foobar", b"abc", b"")))
' "$C/$node/orders/.any" $node
    done
    wait "${BG[@]}"
    BG=()
    for part in 0 1 2; do
        ends "$C"/[123]/orders/$part
        cmp "$C/1/orders/$part" "$C/2/orders/$part"
        cmp "$C/1/orders/$part" "$C/3/orders/$part"
    done
    python3 - "$C/3/orders" <<'END'
import sys
# Hashes from Kafka's own UtilsTest.testMurmur2; toPositive(hash) % partitions is the rule. Of the empty key it has none.
known = {"21": -973932308, "foobar": -790332482, "abc": 479470107}
seen = {}
for part in range(3):
    with open(f"{sys.argv[1]}/{part}") as file:
        for line in file:
            key, value = line.rstrip("\n").split(":")
            seen.setdefault(key, []).append((part, *map(int, value.split("."))))
assert len(seen) == 4, seen.keys()
for key, values in seen.items():
    parts = {part for part, _, _ in values}
    assert len(parts) == 1, (key, parts)
    assert key not in known or parts == {(known[key] & 0x7fffffff) % 3}, (key, parts)
    for node in 1, 2, 3:
        assert [n for _, by, n in values if by == node] == list(range(100)), (key, node)
END
}

@test "compaction: each replica keeps each key's last record where it was, and so a host without one sees it" {
    start_cluster -o tls=off,log.cleaner.backoff.ms=100 3
    make state 1,2
    for setting in key.separator== cleanup.policy=compact segment.bytes=1000 min.cleanable.dirty.ratio=0.01; do
        change set_attr "$C/2/state" "user.config.${setting%%=*}" "${setting#*=}"
    done
    wait_until "[ \"\$(attr $C/3/state user.config.cleanup.policy)\" = compact ]"
    python3 -c 'for n in range(3000): print(f"k{n % 10}={n}")' | in_pieces "$C/3/state/0"
    ends "$C"/[123]/state/0
    for node in 1 2 3; do
        wait_until "[ \"\$(wc -l <$C/$node/state/0)\" -lt 200 ]" # the last segments, and ten
        is "$(stat -c %s "$C/$node/state/0")" "$(stat -c %s "$C/1/state/0")"
        is "$(attr "$C/$node/state/0@2995" user.log.position)" "$(attr "$C/1/state/0@2995" user.log.position)"
        python3 - "$C/$node/state/.json/0" <<'END'
import json, sys
with open(sys.argv[1]) as file:
    records = [json.loads(line) for line in file]
last = {record["key"]: record["offset"] for record in records}
assert last == {f"k{n % 10}": n for n in range(2990, 3000)}, last
assert all(int(record["value"]) == record["offset"] for record in records)
END
    done
}

@test "retention: segments go from every replica, and a host without one sees what is left" {
    start_cluster -o tls=off,log.retention.check.interval.ms=100 3
    make app 1,2
    change set_attr "$C/1/app" user.config.segment.bytes 1000
    for node in 1 2 3; do wait_until "[ \"\$(attr $C/$node/app user.config.segment.bytes)\" = 1000 ]"; done
    seq -f '%09.0f' 0 999 >"$T/lines"
    in_pieces "$C/3/app/0" <"$T/lines"
    ends "$C"/[123]/app/0
    change set_attr "$C/3/app" user.config.retention.bytes 2000
    wait_until "start=\$(attr $C/1/app/0 user.log.start_offset) && [ \$start -gt 700 ]" # ten segments of 1000 bytes: 800, then
    for node in 1 2 3; do
        wait_until "[ \"\$(attr $C/$node/app/0 user.log.start_offset)\" = $start ]"
        soon "[ \"\$(cat $C/$node/app/0)\" = \"\$(tail -n +$((start + 1)) $T/lines)\" ]"
        is "$(stat -c %s "$C/$node/app/0")" 10000
        is "$(head -n 1 "$C/$node/app/0@start")" "$(sed -n $((start + 1))p "$T/lines")"
    done
    for node in 1 2; do
        wait_until "[ \"\$(ls $C/data/$node/topics/app-0/*.log | wc -l)\" -le 3 ]"
        wait_until "cmp -s <(cat $C/$node/app/.segments/0/*.log) <(tail -n +$((start + 1)) $T/lines)"
    done
}

mapped() { # FILE: what a shared mapping of it has
    python3 -c 'import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
sys.stdout.buffer.write(mmap.mmap(fd, os.fstat(fd).st_size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)[:])' "$1"
}

@test ".segments: each replica's files are the partition, before and after the leader's death, and elsewhere there are none" {
    form -o tls=off
    make app 1,2
    change set_attr "$C/1/app" user.config.segment.bytes 1000
    for node in 1 2; do wait_until "[ \"\$(attr $C/$node/app user.config.segment.bytes)\" = 1000 ]"; done
    seq -f '%09.0f' 0 999 >"$T/lines"
    in_pieces "$C/3/app/0" <"$T/lines"
    ends "$C"/[123]/app/0
    for node in 1 2; do
        cat "$C/$node"/app/.segments/0/*.log | cmp - "$T/lines"
        at_least "$(ls "$C/$node"/app/.segments/0/*.log | wc -l)" 9
        first=$C/$node/app/.segments/0/00000000000000000000.log
        mapped "$first" | cmp - <(head -c "$(stat -c %s "$first")" "$T/lines")
    done
    is "$(ls "$C/3/app/.segments/0")" ''
    kill_nodes 1
    seq -f '%09.0f' 1000 1499 | tee -a "$T/lines" | in_pieces "$C/3/app/0"
    cat "$C/2"/app/.segments/0/*.log | cmp - "$T/lines"
    start_nodes 1
    wait_until "cat $C/1/app/.segments/0/*.log 2>/dev/null | cmp -s - $T/lines"
    is "$(ls "$C/3/app/.segments/0")" ''
}

@test "an unclean election: what is lost is lost everywhere, and no host shows two lines at one place" {
    form -o tls=off
    make app 1,2
    seq -f 'kept %g' 100 >>"$C/3/app/0"
    ends "$C"/[123]/app/0
    note_epochs 2
    cluster stop "$C" 2
    wait_until "[ \"\$(attr $C/3/app/0 user.log.isr)\" = 1 ]"
    seq -f 'lost %g' 100 >>"$C/3/app/0"
    seen=$(stat -c %s "$C/3/app/0")
    cp "$C/3/app/0" "$T/before"
    is "$(wc -l <"$T/before")" 200
    kill_nodes 1
    start_nodes 2
    wait_until "[ \"\$(attr $C/3/app/0 user.log.leader)\" = none ]"
    wait_until "[ \"\$(awk '\$1 == \"app\" { print \$NF }' $C/3/.cluster/partitions)\" = offline ]"
    is "$(wc -l <"$C/2/app/0")" 100
    change set_attr "$C/2/app" user.config.unclean.leader.election.enable true
    wait_until "[ \"\$(attr $C/3/app/0 user.log.leader)\" = 2 ]"
    seq -f 'after %g' 100 >>"$C/3/app/0"
    start_nodes 1
    wait_until "[ \"\$(attr $C/3/app/0 user.log.isr)\" = 1,2 ]"
    for node in 1 2 3; do
        wait_until "[ \"\$(cat $C/$node/app/0)\" = \"\$(seq -f 'kept %g' 100; seq -f 'after %g' 100)\" ]"
        at_least "$(stat -c %s "$C/$node/app/0")" $((seen + 1))
        # Where host 3 had been shown what is lost, nothing else is.
        is "$(attr "$C/$node/app/0@100" user.log.position)" "$(attr "$C/2/app/0@100" user.log.position)"
        at_least "$(attr "$C/$node/app/0@100" user.log.position)" "$seen"
    done
}
