# tests/cluster/records.bash: writers on all hosts, and what has to be true of their lines in the end. After lib.bash.

controller() { attr "$C/$1" user.cluster.controller 2>/dev/null; }
leader() { attr "$C/$1/orders/0" user.log.leader 2>/dev/null; } # as NODE knows it
isr() { attr "$C/$1/orders/0" user.log.isr 2>/dev/null; }
others() { for node in 1 2 3; do [ "$node" = "$1" ] || echo "$node"; done; }

# Who only stands still keeps what it leads, and stays in sync: for stories in which nobody is to be put out.
# shellcheck disable=SC2034 # the tests use it
CALM=node.session.timeout.ms=60000,replica.lag.time.max.ms=60000

# Three nodes, and a topic whose partition is on all of them, in sync.
form() { # [-o OPTIONS]
    start_cluster "$@" 3
    make_orders
}
make_orders() {
    local node
    wait_until "mkdir $C/1/orders 2>/dev/null || [ -d $C/1/orders ]"
    for node in 1 2 3; do wait_until "[ -e $C/$node/orders/0 ]"; done
    whole
}
# All are in sync, and as all of them know it.
is_whole() {
    local led node
    led=$(leader 1)
    [[ $led =~ ^[0-9]+$ ]] || return 1
    for node in 1 2 3; do [ "$(isr $node) $(leader $node)" = "1,2,3 $led" ] || return 1; done
}
whole() { wait_until is_whole; }
# Somebody who is known leads, and not that node any more.
another_leads() { # AS-SEEN-FROM NODE
    wait_until "led=\$(leader $1) && [[ \$led =~ ^[0-9]+\$ ]] && [ \"\$led\" != $2 ]"
}

lead() { # NODE: leads the partition, as all know, and is preferred as its leader: otherwise it would not be for long
    change set_attr "$C/1/orders/0" user.log.replicas "$1,$(others "$1" | paste -sd,)"
    wait_until "[ \"\$(leader 1)\" = $1 ] || set_attr $C/1/orders/0 user.log.leader $1 2>/dev/null"
    wait_until "is_whole && [ \"\$(leader 1)\" = $1 ]"
}

# The same bytes on all mounts, as soon as the high watermark has got to the end on each.
are_same() {
    local node mark
    for node in 1 2 3; do
        mark=$(attr "$C/$node/orders/0" user.log.high_watermark 2>/dev/null) || return 1
        [ "$(attr "$C/$node/orders/0" user.log.end_offset 2>/dev/null)" = "$mark" ] || return 1
    done
    [ "$(for node in 1 2 3; do sha256sum <"$C/$node/orders/0"; done 2>/dev/null | uniq -c | awk '{ print $1 }')" = 3 ]
}
same() { # [LINES]: so many
    [ $# = 0 ] || wait_until "[ \"\$(wc -l <$C/1/orders/0)\" = $1 ]"
    wait_until are_same || { wc "$C"/*/orders/0; return 1; }
}
none_failed() { # WRITER'S-NUMBER…: which is its node's, mostly
    local number
    for number; do [ ! -s "$T/w$number.failed" ] || { head -n 3 "$T/w$number.failed"; return 1; }; done
}

# writer NODE NAME: lines `NAME N`, one a write(2), until $T/enough is there; those that were acknowledged go to $T/NAME,
# those that failed to $T/NAME.failed. NAME is w and a number, of which the first digit is the node's.
writer() {
    python3 - "$C/$1/orders/0" "$2" "$T" <<'END'
import errno, os, sys
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
        if e.errno == errno.ENOTCONN:
            break  # its daemon is dead, and so is this open file, for good
try:
    os.close(fd)
except OSError:
    pass  # its daemon is dead
END
}
begin_writers() { for node in 1 2 3; do bg writer $node "w$node"; done; }
end_writers() { touch "$T/enough"; wait "${BG[@]}"; BG=(); rm "$T/enough"; }
acked() { cat "$T"/w*[0-9] 2>/dev/null | wc -l; }
more() { local now; now=$(acked); wait_until "[ \$(acked) -gt $((now + ${1:-20})) ]"; } # that many more lines were acknowledged

# Each acknowledged line of a writer once, and all its lines in order; none that was refused for certain (EROFS). What else
# failed may be there.
intact() { # NODE
    python3 - "$C/$1/orders/0" "$T" <<'END'
import glob, os, sys
seen, bad = {}, 0
for line in open(sys.argv[1]):
    name, number = line.split()
    seen.setdefault(name, []).append(int(number))
for name, numbers in seen.items():
    if numbers != sorted(set(numbers)):
        bad = 1
        print(name, "has lines twice or out of order:", [(a, b) for a, b in zip(numbers, numbers[1:]) if b <= a][:5])
for path in glob.glob(sys.argv[2] + "/w*[0-9]"):
    name = path.rsplit("/", 1)[1]
    if os.path.exists(path + ".failed"):
        refused = {int(line.split()[0]) for line in open(path + ".failed") if "Read-only" in line} & set(seen.get(name, []))
        if refused:
            bad = 1
            print(name, "has", len(refused), "lines that were refused:", sorted(refused)[:5])
    lost = {int(line.split()[1]) for line in open(path) if line.endswith("\n")} - set(seen.get(name, []))
    if lost:
        bad = 1
        print(name, "lost", len(lost), "acknowledged lines:", sorted(lost)[:5])
sys.exit(bad)
END
}
