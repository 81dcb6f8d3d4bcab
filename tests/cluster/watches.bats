#!/usr/bin/env bats
# Whoever watches hears of records that are written on other hosts: of a partition and of its directory, where a replica
# is and where none is.
load lib

# Two replicas on three nodes: $LEADER has one, $FOLLOWER the other, $AWAY none. What is looked at there is asked for
# growth for a while: so nobody has looked at a partition on $AWAY.
form() {
    start_cluster -o tls=off 3
    wait_until "set_attr $C/1 user.config.default.replication.factor 2 2>/dev/null"
    wait_until "mkdir $C/1/orders 2>/dev/null || [ -d $C/1/orders ]"
    wait_until 'read -r LEADER FOLLOWER < <(holders 0) && [ -n "$FOLLOWER" ]'
    AWAY=$((6 - LEADER - FOLLOWER))
    for node in 1 2 3; do wait_until "[ -d $C/$node/orders ]"; done
}
# The leader and the other replica of a partition that are in sync, as node 1 knows them.
holders() { # PARTITION
    awk -v partition="$1" '$1 == "orders" && $2 == partition && $6 ~ /,/ {
        split($6, isr, ","); print $3, isr[isr[1] == $3 ? 2 : 1] }' "$C/1/.cluster/partitions"
}

print_events() { # PATH…: each IN_MODIFY as a line, PATH or PATH/NAME; the first one is `watching`
    python3 - "$@" <<'END'
import ctypes, os, struct, sys
IN_MODIFY = 2
libc = ctypes.CDLL(None)
fd = libc.inotify_init()
watched = {libc.inotify_add_watch(fd, path.encode(), IN_MODIFY): path for path in sys.argv[1:]}
assert min(watched) > 0
print("watching", flush=True)
while True:
    data, at = os.read(fd, 65536), 0
    while at < len(data):
        wd, mask, cookie, length = struct.unpack_from("iIII", data, at)
        name = data[at + 16:at + 16 + length].rstrip(b"\0").decode()
        print(watched[wd] + ("/" + name if name else ""), flush=True)
        at += 16 + length
END
}
watch() { # FILE PATH…: those go there
    bg print_events "${@:2}" >"$T/$1"
    wait_until "grep -qx watching $T/$1"
}
heard() { grep -cx -- "$2" "$T/$1" || :; } # FILE LINE: how often
# More of such lines than there were.
hears() { # FILE LINE BEFORE
    wait_until "[ \"\$(heard $1 $2)\" -gt $3 ]"
}

@test "of a directory, of each append on another host, though nobody has looked at the partition" {
    form
    watch away "$C/$AWAY/orders"
    watch follows "$C/$FOLLOWER/orders"
    for round in 1 2 3 4 5; do
        away=$(heard away "$C/$AWAY/orders/0") follows=$(heard follows "$C/$FOLLOWER/orders/0")
        echo "line $round" >>"$C/$LEADER/orders/0"
        hears away "$C/$AWAY/orders/0" "$away"
        hears follows "$C/$FOLLOWER/orders/0" "$follows"
    done
    is "$(cat "$C/$AWAY/orders/0")" "$(cat "$C/$LEADER/orders/0")"
}

@test "of a partition itself, which was opened, and of one that was made meanwhile" {
    form
    echo one >>"$C/$LEADER/orders/0"
    soon "[ \"\$(cat $C/$AWAY/orders/0 $C/$FOLLOWER/orders/0)\" = \$'one\\none' ]"
    watch away "$C/$AWAY/orders/0" "$C/$AWAY/orders"
    watch follows "$C/$FOLLOWER/orders/0" "$C/$FOLLOWER/orders"
    for round in 1 2 3; do
        for path in orders/0 orders; do
            part=$([ $path = orders ] && echo orders/0 || echo $path)
            away=$(heard away "$C/$AWAY/$part") follows=$(heard follows "$C/$FOLLOWER/$part")
            echo "line $round" >>"$C/$LEADER/orders/0"
            hears away "$C/$AWAY/$part" "$away"
            hears follows "$C/$FOLLOWER/$part" "$follows"
        done
    done
    for partition in 1 2 3; do # each node is without a replica of one of them
        wait_until "touch $C/1/orders/$partition 2>/dev/null"
        wait_until "read -r led other < <(holders $partition) && [ -n \"\$other\" ]"
        away=$(heard away "$C/$AWAY/orders/$partition") follows=$(heard follows "$C/$FOLLOWER/orders/$partition")
        echo one >>"$C/$led/orders/$partition"
        [ "$led" = "$AWAY" ] || hears away "$C/$AWAY/orders/$partition" "$away"
        [ "$led" = "$FOLLOWER" ] || hears follows "$C/$FOLLOWER/orders/$partition" "$follows"
    done
}
