#!/usr/bin/env bats
# What the disks do: the power fails on all hosts at once, one is full, one stands still. The others go on.
load lib
load records

form_on_disks() { # [-o OPTIONS] [-m] MEGABYTES NODE…
    start_cluster_on_disks "$@"
    make_orders
}

# FS_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: what was not synced is lost.
power_off() { # NODE…
    python3 - "${@/#/$T/disk/}" <<'P'
import fcntl, os, struct, sys
disks = [os.open(disk, os.O_RDONLY) for disk in sys.argv[1:]]
for disk in disks:
    fcntl.ioctl(disk, 0x8004587D, struct.pack("I", 2))
P
}

power_on() { # NODE…
    local node loop
    for node; do
        loop=$(cat "$T/disk/$node.loop")
        wait_until "umount $T/disk/$node"
        wait_until "[ ! -e /sys/fs/ext4/${loop##*/} ]" # it would be mounted again, dead as it is
        mount "$loop" "$T/disk/$node"
    done
}

# As writer(), with an fsync of each line before it counts.
synced_writer() { # NODE NAME
    python3 - "$C/$1/orders/0" "$2" "$T" <<'P'
import os, sys
path, name, work = sys.argv[1:]
acked = open(f"{work}/{name}", "w")
fd, number = os.open(path, os.O_WRONLY | os.O_APPEND), 0
try:
    while True:
        number += 1
        os.write(fd, f"{name} {number}\n".encode())
        os.fsync(fd)
        print(f"{name} {number}", file=acked, flush=True)
except OSError:
    pass
P
}

@test "the power fails on all three at once: every line that was fsynced on any of them is there, the same everywhere" {
    form_on_disks 96 1 2 3
    for node in 1 2 3; do bg synced_writer $node "w$node"; done
    more 60
    # What was promised before the cut: a call that is under way while ext4 is shut down may return 0, which no machine
    # without power does.
    for node in 1 2 3; do cp "$T/w$node" "$T/promised$node"; done
    note_epochs 1 2 3
    power_off 1 2 3
    cluster kill "$C" 1 2 3
    wait "${BG[@]}"
    BG=()
    power_on 1 2 3
    start_nodes 1 2 3
    whole
    for node in 1 2 3; do cp "$T/promised$node" "$T/w$node"; done
    same
    intact 1
    echo after 1 >>"$C/2/orders/0"
    same
}

@test "a follower's disk is full: it leaves the ISR, nobody's write fails or waits for it, and it comes back when there is room" {
    form_on_disks 48 3
    lead 1
    begin_writers
    more
    dd if=/dev/zero of="$T/disk/3/fill" bs=64k status=none 2>/dev/null || :
    wait_until "[ \"\$(isr 1)\" = 1,2 ]"
    more 100
    rm "$T/disk/3/fill"
    whole
    more
    end_writers
    none_failed 1 2 3
    same
    intact 3
}

# 60 MB in the topic's partition, of which node 3 has as much as fits on its disk, to the last page.
overfill() {
    lead 1
    head -c 60000000 /dev/zero | tr '\0' x | fold -w 1000 >>"$C/1/orders/0"
    wait_until "[ \"\$(isr 1)\" = 1,2 ]"
}
remove_up_to() { fallocate -p -o 0 -l "$1" "$C/1/orders/0"; } # POSITION: DeleteRecords
remove_all() { remove_up_to "$(attr "$C/1/orders/0" user.log.position)"; }
# Node 3 has followed, said so once, and goes on.
has_come_back() {
    whole
    is "$(attr "$C/3/orders/0" user.log.start_offset)" "$(attr "$C/1/orders/0" user.log.start_offset)"
    at_most "$(grep -c 'orders-0: begins anew' "$C/log/3")" 1
    at_most "$(grep -c 'reset orders-0' "$C/log/3")" 0
    seq 1000 >>"$C/2/orders/0"
    same
}

@test "a follower's disk is full of what its leader removes: it comes back, and so does a replica that found no room to begin" {
    form_on_disks -m 40 3
    overfill
    change mkdir "$C/1/more"
    seq 1000 >>"$C/1/more/0"
    remove_all
    has_come_back
    wait_until "[ \"\$(attr $C/1/more/0 user.log.isr)\" = 1,2,3 ] && cmp -s $C/1/more/0 $C/3/more/0"
}

@test "a follower's disk is full of what its leader removes while it is down: it comes back once it is started" {
    form_on_disks -m 40 3
    overfill
    kill_nodes 3
    remove_all
    start_nodes 3
    has_come_back
}

@test "a follower's disk is full, and its leader removes a part of what is there: it comes back with the rest" {
    form_on_disks -m 40 3
    change set_attr "$C/1/orders" user.config.segment.bytes 8000000
    overfill
    remove_up_to 33000000
    has_come_back
}

@test "a host whose disk is full reads on at the leader: no read ends where its own replica does" {
    form_on_disks 48 3
    lead 1
    seq -f 'line %05g' 20000 >>"$C/1/orders/0"
    wait_until "cmp -s $C/1/orders/0 $C/3/orders/0"
    dd if=/dev/zero of="$T/disk/3/fill" bs=64k status=none 2>/dev/null || :
    # More than what is left of its last block: the first one does not fit there any more.
    wait_until "seq 2000 >>$C/1/orders/0 && [ \"\$(isr 1)\" = 1,2 ]"
    for i in $(seq 40); do echo "behind $i" >>"$C/1/orders/0"; done
    echo own >>"$C/3/orders/0"
    is "$(tail -n 2 "$C/3/orders/0")" $'behind 40\nown'
    python3 - "$C/3/orders/0" "$C/1/orders/0" <<'P'
import os, sys
with open(sys.argv[2], "rb") as leaders:
    whole = leaders.read()
fd = os.open(sys.argv[1], os.O_RDONLY)
assert os.fstat(fd).st_size == len(whole)
for back in 100, 1000, 5000, 40000, 100000, len(whole): # of the larger ones what is its own is as much as is spliced
    got = os.pread(fd, 1 << 20, len(whole) - back)
    assert got == whole[-back:][:1 << 20], f"{len(got)} bytes of {back}"
P
    rm "$T/disk/3/fill"
    whole
    cmp "$C/3/orders/0" "$C/1/orders/0"
}

@test "the leader's disk is full: another one leads, no write fails, and it comes back when there is room" {
    form_on_disks 48 1
    lead 1
    begin_writers
    more
    dd if=/dev/zero of="$T/disk/1/fill" bs=64k status=none 2>/dev/null || :
    wait_until "[[ \"\$(leader 2)\" =~ ^[23]$ ]]"
    more 100
    rm "$T/disk/1/fill"
    whole
    end_writers
    none_failed 1 2 3
    same
    intact 1
}

elections() { cat "$C"/log/* | grep -o 'leads the metadata quorum in epoch [0-9]*' | sort -u; } # as any node has learnt of them

reigns() { elections; attr "$C/$1/orders/0" user.log.leader_epoch; } # NODE

# Of a node that leads all there is to lead, or of one that leads nothing. Who gets no processor for a second may lose it
# for that: it is tried again on a machine that was short of time, and for no other reason.
disk_stands_still() { # leader|follower
    local still before seen begun last=$((SECONDS + WAIT_S)) BEGUN_US BEGUN_STALLED_MS
    while :; do
        learn boss controller 1
        lead "$boss"
        still=$boss
        [ "$1" = leader ] || still=$(others "$boss" | head -n 1)
        before=$(reigns "$boss")
        begin_clock
        begun=$BEGUN_US
        fsfreeze -f "$T/disk/$still"
        bg bash -c "echo w1 $((++LINES_OF_W1)) >>$C/$(others "$still" | tail -n 1)/orders/0"
        wait_until "[ \$((\${EPOCHREALTIME/./} - $begun)) -gt 4500000 ]"
        fsfreeze -u "$T/disk/$still"
        wait "$!"
        whole
        seen=$(reigns "$boss")
        read_clock
        [ "$seen" != "$before" ] && [ "$STOOD_MS" -ge 1000 ] && [ $SECONDS -lt $last ] || break
    done
    is "$seen" "$before"
    for node in 1 2 3; do wait_until "[ \"\$(controller $node) \$(leader $node)\" = '$boss $boss' ]"; done
}

@test "a disk that stands still for longer than a session costs nobody its leadership" {
    form_on_disks 96 1 2 3
    LINES_OF_W1=100
    seq -f 'w1 %g' $LINES_OF_W1 >>"$C/1/orders/0"
    same
    for who in leader follower; do disk_stands_still $who; done
    same $LINES_OF_W1
}

memory() { awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$(daemon "$1")/status"; } # NODE: its, in MiB

# What others send to it waits with them; what lies with it already is 32 MiB of each of them.
@test "a disk that stands still takes no more memory than has a name, and when it goes on nothing is missing" {
    form_on_disks 300 1 2 3
    change mkdir "$C/1/many"
    wait_until "set_attr $C/1/many user.topic.partitions 144 2>/dev/null || [ -e $C/1/many/143 ]"
    for node in 1 2 3; do wait_until "[ -e $C/$node/many/143 ]"; done
    learn boss controller 1
    still=$(others "$boss" | head -n 1)
    from=$(others "$still" | tail -n 1)
    yes 'one of many lines, each like any other..' | head -n 25500 >"$T/lines"
    for part in {0..143}; do wait_until "echo first 2>/dev/null >>$C/$from/many/$part"; done
    before=$(memory "$still")
    fsfreeze -f "$T/disk/$still"
    for part in {0..143}; do
        bg dd if="$T/lines" of="$C/$from/many/$part" bs=1M oflag=append conv=notrunc status=none
    done
    wait_until "logged $still 'than this node comes to work on'"
    took=$(($(memory "$still") - before))
    fsfreeze -u "$T/disk/$still"
    for pid in "${BG[@]}"; do wait "$pid"; done
    [ "$SANITIZED" ] || at_most "$took" 120
    whole
    for part in 0 1 2; do # which each node leads one of
        wait_until "cmp -s $C/$from/many/$part <(echo first; cat $T/lines)"
        for node in 1 2 3; do wait_until "cmp -s $C/$from/many/$part $C/$node/many/$part"; done
    done
}

is_without() { local isr; isr=$(isr "$1") && [[ $isr != *$2* ]]; } # AS-SEEN-FROM NODE: it is not in sync

# A write of the metadata hangs there, too: it cannot learn what is decided, and is fenced.
@test "the leader's disk hangs, and so does what is decided meanwhile: another one leads, and writes go on" {
    form_on_disks 96 1 2 3
    learn boss controller 1
    still=$(others "$boss" | head -n 1)
    lead "$still"
    seq -f 'w1 %g' 100 >>"$C/$boss/orders/0"
    same
    fsfreeze -f "$T/disk/$still"
    bg bash -c "echo w1 101 >>$C/$boss/orders/0"
    echoed=$!
    change mkdir "$C/$boss/more"
    another_leads "$boss" "$still"
    wait "$echoed"
    wait_until "is_without $boss $still"
    echo w1 102 >>"$C/$(others "$still" | tail -n 1)/orders/0"
    fsfreeze -u "$T/disk/$still"
    whole
    same 102
}

@test "the leader's disk dies: another one leads, no write elsewhere fails, and it is started again with its disk" {
    form_on_disks 96 1 2 3
    learn boss controller 1
    dead=$(others "$boss" | head -n 1)
    lead "$dead"
    for node in $(others "$dead"); do bg writer "$node" "w$node"; done
    more
    power_off "$dead"
    another_leads "$boss" "$dead"
    more 100
    wait_until "is_without $boss $dead"
    end_writers
    none_failed $(others "$dead")
    kill_nodes "$dead"
    power_on "$dead"
    start_nodes "$dead"
    whole
    same
    intact "$dead"
}
