#!/usr/bin/env bats
# Records: written on any host, the same on each, and none that was acknowledged is lost or doubled, whoever dies.
load lib

controller() { attr "$C/$1" user.cluster.controller 2>/dev/null; }
leader() { attr "$C/$1/orders/0" user.log.leader 2>/dev/null; } # as NODE knows it
isr() { attr "$C/$1/orders/0" user.log.isr 2>/dev/null; }
others() { for node in 1 2 3; do [ "$node" = "$1" ] || echo "$node"; done; }

# Three nodes, and a topic whose partition is on all of them, in sync.
form() { # [-o OPTIONS]
    start_cluster "$@" 3
    wait_until "mkdir $C/1/orders 2>/dev/null || [ -d $C/1/orders ]" 30
    for node in 1 2 3; do wait_until "[ -e $C/$node/orders/0 ]" 5; done
    whole
}
whole() { wait_until '[ "$(isr 1)" = 1,2,3 ] && [[ "$(leader 1)" =~ [0-9] ]]' 30; }

# The same bytes on all mounts, as soon as the high watermark has got there.
same() {
    local node sum
    sum=$(sha256sum <"$C/1/orders/0")
    for node in 2 3; do wait_until "[ \"\$(sha256sum <$C/$node/orders/0)\" = '$sum' ]" 10 || { wc "$C"/*/orders/0; return 1; }; done
}

# writer NODE NAME: lines `NAME N`, one a write(2), until $T/enough is there; those that were acknowledged go to $T/NAME,
# those that failed to $T/NAME.failed.
writer() {
    python3 - "$C/$1/orders/0" "$2" "$T" <<'END'
import os, sys
path, name, work = sys.argv[1:]
acked, failed = open(f"{work}/{name}", "w"), open(f"{work}/{name}.failed", "w")
fd, number = os.open(path, os.O_WRONLY | os.O_APPEND), 0
while not os.path.exists(f"{work}/enough"):
    number += 1
    try:
        os.write(fd, f"{name} {number}\n".encode())
        print(f"{name} {number}", file=acked, flush=True)
    except OSError as e:
        print(number, e, file=failed, flush=True)
try:
    os.close(fd)
except OSError:
    pass  # its daemon is dead
END
}
begin_writers() { for node in 1 2 3; do bg writer $node "w$node"; done; }
end_writers() { touch "$T/enough"; wait "${BG[@]}"; BG=(); }
acked() { cat "$T"/w[123] 2>/dev/null | wc -l; }
more() { local now; now=$(acked); wait_until "[ \$(acked) -gt $((now + ${1:-20})) ]" 60; } # that many more lines were acknowledged

# Each acknowledged line of a writer once, and all its lines in order; what failed without a certain error may be there.
intact() { # NODE
    python3 - "$C/$1/orders/0" "$T" <<'END'
import glob, sys
seen, bad = {}, 0
for line in open(sys.argv[1]):
    name, number = line.split()
    seen.setdefault(name, []).append(int(number))
for name, numbers in seen.items():
    if numbers != sorted(set(numbers)):
        bad = 1
        print(name, "has lines twice or out of order:", [(a, b) for a, b in zip(numbers, numbers[1:]) if b <= a][:5])
for path in glob.glob(sys.argv[2] + "/w[123]"):
    name = path.rsplit("/", 1)[1]
    lost = {int(line.split()[1]) for line in open(path)} - set(seen.get(name, []))
    if lost:
        bad = 1
        print(name, "lost", len(lost), "acknowledged lines:", sorted(lost)[:5])
sys.exit(bad)
END
}

@test "echo on each host, cat on each host: the same, at once where it was written" {
    form
    for node in 1 2 3; do
        for i in 1 2 3; do
            echo "from $node, $i" >>"$C/$node/orders/0"
            is "$(tail -n 1 "$C/$node/orders/0")" "from $node, $i"
        done
    done
    same
    is "$(wc -l <"$C/1/orders/0")" 9
    is "$(isr 2)" 1,2,3
    for node in 1 2 3; do is "$(attr "$C/$node/orders/0" user.log.replicas | tr , '\n' | sort | paste -sd,)" 1,2,3; done
}

@test "an append on a host that does not lead waits for its own replica to show it, and no longer" {
    form
    elsewhere=$(others "$(leader 1)" | head -n 1)
    for i in $(seq 300); do echo "$i" >>"$C/$elsewhere/orders/0"; done # at a second each this would be 300 s
    is "$(cat "$C/$elsewhere/orders/0")" "$(seq 300)"
    same
}

@test "a follower of .follow on another host sees each record" {
    form
    bg bash -c "cat $C/2/orders/.follow/0 >$T/followed2"
    bg bash -c "cat $C/3/orders/.follow/0 >$T/followed3"
    seq 1000 >>"$C/1/orders/0"
    seq 1001 2000 >>"$C/2/orders/0"
    for node in 2 3; do wait_until "[ \$(wc -l <$T/followed$node) = 2000 ]" 10; cmp "$T/followed$node" "$C/1/orders/0"; done
}

@test "the leader is killed under writers on all hosts: nothing acknowledged is lost, doubled or out of order" {
    form
    begin_writers
    more
    dead=$(leader 1)
    cluster kill "$C" "$dead"
    alive=$(others "$dead" | head -n 1)
    wait_until "[[ \"\$(leader $alive)\" =~ ^[0-9]+$ ]] && [ \"\$(leader $alive)\" != $dead ]" 15
    more
    cluster start "$C" "$dead"
    whole
    more
    end_writers
    for node in $(others "$dead"); do [ ! -s "$T/w$node.failed" ] || { head -n 3 "$T/w$node.failed"; return 1; }; done
    same
    for node in 1 2 3; do intact $node; done
}

@test "a rolling restart under writers: no write on a mount that lives fails" {
    form
    bg writer 1 w1
    bg writer 3 w3
    more
    cluster restart "$C" 2
    whole
    more
    end_writers
    for node in 1 3; do [ ! -s "$T/w$node.failed" ] || { head -n 3 "$T/w$node.failed"; return 1; }; done
    same
    intact 1
}

@test "all are killed at once under writers: what was acknowledged is there, the same everywhere" {
    form
    begin_writers
    more 50
    cluster kill "$C" 1 2 3
    end_writers
    cluster start "$C"
    whole
    same
    intact 1
    echo after >>"$C/3/orders/0"
    same
}

@test "a host that is cut off comes back and catches up; what it could not know it does not show" {
    form
    lost=$(others "$(leader 1)" | head -n 1)
    cluster cut "$C" "$lost"
    alive=$(leader "$(others "$lost" | head -n 1)")
    seq 500 >>"$C/$alive/orders/0"
    cat "$C/$lost/orders/0" >/dev/null # local reads go on
    cluster heal "$C"
    wait_until "[ \"\$(wc -l <$C/$lost/orders/0)\" = 500 ]" 30
    whole
    same
}

@test "a wiped data directory comes back by fetching" {
    form
    seq 5000 >>"$C/1/orders/0"
    lost=$(others "$(leader 1)" | tail -n 1)
    cluster kill "$C" "$lost"
    cluster wipe "$C" "$lost"
    cluster start "$C" "$lost"
    wait_until "[ \"\$(wc -l <$C/$lost/orders/0 2>/dev/null)\" = 5000 ]" 40
    whole
    same
}
