#!/usr/bin/env bats
# A real power cut: ext4 on a loop device, shut down without flushing its journal.
load lib

setup() {
    log_setup
    loop_disk 96
    mount_log
    mkdir "$M/orders"
}

power_off() { # FS_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH
    py "$DISK" <<'P'
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack("I", 2))
P
}

restart_machine() {
    kill -9 "$PID"
    wait_until no_daemon
    wait_until 'umount "$DISK"'
    # A mount namespace that somebody makes at this moment has the dead file system, too, and it would be mounted again.
    wait_until '[ ! -e "/sys/fs/ext4/${LOOP##*/}" ]'
    mount "$LOOP" "$DISK"
    mount_log
}

cut_power() {
    power_off
    restart_machine
}

@test "writers with fsync: after each power cut every synced line is there exactly once" {
    for ((round = 0; round < ROUNDS; round++)); do
        bg python3 "$BATS_TEST_DIRNAME/writers.py" "$M/orders/0" "$T/acked" fsync
        writers=$!
        wait_until '[ "$(cat "$T"/acked.* 2>/dev/null | wc -l)" -gt '$((round * 60 + 40))' ]' 30
        # What was promised before the cut. A call that is under way while ext4 is shut down may return 0 for bytes that
        # the journal no longer takes; a real machine without power returns nothing.
        for file in "$T"/acked.*; do cp "$file" "$T/promised${file##*/acked}"; done
        cut_power
        wait "$writers"
        python3 "$BATS_TEST_DIRNAME/writers.py" check "$M/orders/0" "$T/promised"
        for file in "$T"/promised.*; do cp "$file" "$T/acked${file##*/promised}"; done
        is "$(attr "$M/orders/0" user.log.high_watermark)" "$(wc -l < "$M/orders/0")"
    done
}

@test "what was synced keeps its positions, its topic, its settings and its mode" {
    set_attr "$M/orders" user.config.segment.bytes 20000
    chmod 640 "$M/orders/0"
    seq 10000 | dd of="$M/orders/0" oflag=append conv=notrunc,fsync bs=4096 status=none
    position=$(attr "$M/orders/0@7000" user.log.position)
    seq 10001 12000 >> "$M/orders/0"
    cut_power
    is "$(head -n 10000 "$M/orders/0")" "$(seq 10000)"
    is "$(cat "$M/orders/0")" "$(seq "$(wc -l < "$M/orders/0")")"
    is "$(attr "$M/orders/0@7000" user.log.position)" "$position"
    is "$(attr "$M/orders" user.config.segment.bytes)" 20000
    is "$(stat -c %a "$M/orders/0")" 640
}

@test "O_DSYNC and flush.messages=1 promise the disk as fsync does" {
    set_attr "$M/orders" user.topic.partitions 2
    for i in {1..30}; do echo "$i" | dd of="$M/orders/0" oflag=append,dsync conv=notrunc status=none; done
    set_attr "$M/orders" user.config.flush.messages 1
    for i in {1..30}; do echo "$i" >> "$M/orders/1"; done
    cut_power
    is "$(cat "$M/orders/0")" "$(seq 30)"
    is "$(cat "$M/orders/1")" "$(seq 30)"
}

@test "a topic that mkdir made, and DeleteRecords, survive" {
    mkdir "$M/bills"
    seq 1000 | dd of="$M/bills/0" oflag=append conv=notrunc,fsync status=none
    fallocate -p -o 0 -l "$(attr "$M/bills/0@500" user.log.position)" "$M/bills/0"
    size=$(size "$M/bills/0")
    cut_power
    is "$(ls "$M" | tr '\n' ' ')" 'bills orders '
    is "$(tail -n 500 "$M/bills/0")" "$(seq 501 1000)"
    is "$(size "$M/bills/0")" "$size"
}

@test "while the power is out an fsync is EIO, never a false promise" {
    exec 4>> "$M/orders/0"
    echo one >&4
    python3 -c 'import os; os.fsync(4)'
    power_off
    py <<'P'
try:
    os.write(4, b"two\n")
    os.fsync(4)
    sys.exit("fsync said that a dead disk has it")
except OSError as e:
    same(e.errno, errno.EIO)
same(error(os.write, 4, b"three\n"), "EIO")
P
    exec 4>&-
    restart_machine
    is "$(head -n 1 "$M/orders/0")" one
}

@test "a group that had committed lost records is given what is written in their place" {
    mkdir "$M/.groups/kitchen"
    seq 1000 >> "$M/orders/0"
    py "$M/.groups/kitchen/orders" "$M/.internal/__consumer_offsets" <<'P'
stream, got = os.open(sys.argv[1], os.O_RDONLY), b""
while got.count(b"\n") < 1000:
    got += os.read(stream, 65536)
os.fsync(stream)
for name in os.listdir(sys.argv[2]): # the disk has what is committed, and of the records what it has
    os.fsync(os.open(sys.argv[2] + "/" + name, os.O_RDONLY))
P
    cut_power
    seq 2001 2200 >> "$M/orders/0"
    is "$(head -n 200 "$M/.groups/kitchen/orders")" "$(seq 2001 2200)"
}
