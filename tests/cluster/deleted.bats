#!/usr/bin/env bats
# Topics that are deleted, and made again: what goes where a host was down, and what those see who have them open.
load lib

form() { # three nodes, each of which knows all to be up
    start_cluster -o tls=off 3
    for node in 1 2 3; do wait_until "[ \"\$(awk '\$4 == \"up\"' $C/$node/.cluster/nodes | wc -l)\" = 3 ]"; done
}

# Reads orders on a mount from before it is there until it shows the new topic's records: by then its host has heard of the
# old one's end, and nothing of that is seen any more. What one look sees is of one topic.
sees_the_new_one() { # MOUNT
    python3 - "$1/orders" <<'END'
import json, sys, time
topic, deadline, new = sys.argv[1], time.monotonic() + 200, b"".join(b"new %d\n" % n for n in range(1, 101))

def look(name):
    try:
        with open(f"{topic}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""  # no mount, or no topic

def lines_of(name):
    seen = look(name)
    if name.startswith(".json"):
        seen = b"".join(json.loads(line)["value"].encode() + b"\n" for line in seen.splitlines())
    return seen

begun = False
while look("0") != new:
    assert time.monotonic() < deadline, look("0")[:100]
    for name in "0", "0@start", ".json/0", ".segments/0/00000000000000000000.log":
        seen = lines_of(name)
        kinds = {line.split()[0] for line in seen.splitlines()}
        assert len(kinds) < 2, (name, kinds)
        begun = begun or b"new" in kinds
        assert not begun or b"old" not in kinds, (name, seen[:100])
END
}

@test "a topic deleted, and made again, while a host was down: what it had goes there as well, and is not seen in the new one" {
    form
    for how in stop kill; do
        for topic in orders bills; do
            change mkdir "$C/1/$topic"
            change set_attr "$C/1/$topic" user.config.delete.topic.enable true
            for node in 1 3; do wait_until "[ -e $C/$node/$topic/0 ]"; done
            seq -f 'old %g' 1000 >>"$C/1/$topic/0"
            wait_until "[ \"\$(wc -l <$C/3/$topic/0)\" = 1000 ]"
        done
        note_epochs 3
        cluster $how "$C" 3
        change rmdir "$C/1/orders" "$C/1/bills"
        change mkdir "$C/2/orders"
        seq -f 'new %g' 100 >>"$C/2/orders/0"
        bg sees_the_new_one "$C/3"
        looks=$!
        start_nodes 3
        [ ! -e "$C/3/bills" ]
        is "$(attr "$C/3/orders" user.topic.id)" "$(attr "$C/1/orders" user.topic.id)"
        not grep -q old "$C/3/orders/0"
        wait "$looks"
        wait_until "[ \"\$(ls $C/data/3/topics | grep -E '^(orders|bills)-')\" = orders-0 ]"
        not grep -rq '^old ' "$C/data/3/topics"
        change set_attr "$C/3/orders" user.config.delete.topic.enable true
        change rmdir "$C/3/orders"
        for node in 1 2 3; do soon "[ ! -e $C/$node/orders ]"; done
    done
}

# Modes are changed until the metadata log of node 1 begins behind that offset: what was before is in a snapshot alone.
outrun() { # OFFSET TOPIC…
    python3 - "$C/1" "$@" <<'END'
import os, sys, threading
mount, offset, topics = sys.argv[1], int(sys.argv[2]), sys.argv[3:]

def is_behind():
    return int(os.getxattr(f"{mount}/.internal/__cluster_metadata/0", "user.log.start_offset")) > offset

def change(topic):
    while not is_behind():
        for mode in range(0o700, 0o710):
            try:
                os.chmod(f"{mount}/{topic}", mode)
            except OSError:
                pass  # no controller has answered in time

threads = [threading.Thread(target=change, args=(topic,)) for topic in topics]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
END
}

@test "a host that was down while others' metadata went on behind a snapshot has their topics, and none that was deleted" {
    form
    local topics=(a b c d e f g h)
    change mkdir "${topics[@]/#/$C/1/}" "$C/1/orders" "$C/1/bills"
    for topic in orders bills; do
        change set_attr "$C/1/$topic" user.config.delete.topic.enable true
        wait_until "[ -e $C/1/$topic/0 ]"
        seq -f 'old %g' 1000 >>"$C/1/$topic/0"
        wait_until "[ \"\$(wc -l <$C/3/$topic/0)\" = 1000 ]"
    done
    seq 1000 >>"$C/1/a/0"
    note_epochs 3
    cluster kill "$C" 3
    change rmdir "$C/1/orders" "$C/1/bills"
    change mkdir "$C/2/orders" "$C/2/later"
    seq -f 'new %g' 100 >>"$C/2/orders/0"
    outrun "$(attr "$C/1/.internal/__cluster_metadata/0" user.log.end_offset)" "${topics[@]}"
    start_nodes 3
    is "$(ls "$C/3")" "$(ls "$C/1")"
    for topic in a later orders; do
        soon "[ \"\$(stat -c '%i %a %Z' $C/3/$topic)\" = \"\$(stat -c '%i %a %Z' $C/1/$topic)\" ]"
        wait_until "cmp -s $C/1/$topic/0 $C/3/$topic/0"
    done
    wait_until "[ \"\$(ls $C/data/3/topics | grep -E '^(orders|bills)-')\" = orders-0 ]"
    not grep -rq '^old ' "$C/data/3/topics"
    change mkdir "$C/3/more"
}

# Waits in .follow until the topic is deleted, and asks its other open files then. READY: its process waits from now on.
outlives() { # TOPIC READY
    python3 - "$@" <<'END'
import errno, os, sys, time
topic, ready = sys.argv[1:]

def says(call, *args):
    try:
        return call(*args)
    except OSError as e:
        return errno.errorcode[e.errno]

reads = os.open(f"{topic}/0", os.O_RDONLY)
follows = os.open(f"{topic}/.follow/0", os.O_RDONLY)
writes = os.open(f"{topic}/0", os.O_WRONLY | os.O_APPEND)
first = os.read(follows, 100)
assert first == b"first\n", first
with open(ready, "w") as file:
    print(os.getpid(), file=file)
said = [says(os.read, follows, 100), says(os.pread, reads, 100, 0), says(os.write, writes, b"late\n"), says(os.fsync, writes),
        says(os.fstat, reads), says(os.getxattr, reads, "user.log.size")]
assert said == ["ESTALE"] * 6, said
END
}

@test "a topic deleted on one host is ESTALE to who has its files open, or waits in .follow, on the others" {
    form
    for copies in 3 1; do # with one, two hosts have none
        change set_attr "$C/1" user.config.default.replication.factor $copies
        change mkdir "$C/1/orders"
        change set_attr "$C/1/orders" user.config.delete.topic.enable true
        echo first >>"$C/1/orders/0"
        outliving=()
        for node in 1 2 3; do
            wait_until "[ \"\$(cat $C/$node/orders/0)\" = first ]"
            bg outlives "$C/$node/orders" "$T/ready$node"
            outliving+=("$!")
        done
        for node in 1 2 3; do wait_until "[ -s $T/ready$node ] && grep -qs '^0 ' /proc/\$(cat $T/ready$node)/syscall"; done
        change rmdir "$C/2/orders"
        for pid in "${outliving[@]}"; do wait "$pid"; done
        for node in 1 2 3; do soon "[ ! -e $C/$node/orders ]"; done
        rm "$T"/ready?
    done
}
