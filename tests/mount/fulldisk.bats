#!/usr/bin/env bats
# A real full disk: 64 MB of ext4 on a loop device.
load lib

setup() {
    log_setup
    loop_disk 64
    mount_log
    cd "$M"
    mkdir orders
}

fill_disk() { # leaves about 4 MB
    fallocate -l $(($(df --output=avail -B1 "$DISK" | tail -n 1) - 4000000)) "$DISK/ballast"
}

@test "ENOSPC reaches the writer, reads go on, and freed space is used again" {
    echo first >> orders/0
    fill_disk
    py "$T/acked" <<'P'
line = b"x" * 99 + b"\n"
fd, count = os.open("orders/0", APPEND), 0
while True:
    try:
        same(os.write(fd, line * 500), 50000)
        count += 500
    except OSError as e:
        same(e.errno, errno.ENOSPC)
        break
    check(count < 500000, "the disk never gets full")
same(os.stat("orders/0").st_size, 6 + 100 * count)
same(error(os.write, fd, line * 500), "ENOSPC")
same(read_all("orders/0"), b"first\n" + line * count)
open(sys.argv[1], "w").write(str(count))
P
    is "$(head -n 1 orders/0)" first
    rm "$DISK/ballast"
    echo again >> orders/0
    is "$(tail -n 1 orders/0)" again
    is "$(attr orders/0 user.log.high_watermark)" $(($(cat "$T/acked") + 2))
    remount
    is "$(tail -n 1 orders/0)" again
    is "$(wc -l < orders/0)" $(($(cat "$T/acked") + 2))
}

@test "with linger.ms no failure of a write that is in the log in part says that it is not" {
    remount linger.ms=3600000,delivery.timeout.ms=3600000,batch.size=33554432,buffer.memory=67108864
    set_attr orders user.topic.partitions 2
    set_attr orders user.config.key.separator :
    fill_disk
    py <<'P'
def key_of(partition):
    for key in range(100):
        append("orders/.any", b"%d:key\n" % key)
        if b"%d:key\n" % key in read_all(f"orders/{partition}"):
            return b"%d" % key
def big_and(*writes):
    fd = os.open("orders/.any", APPEND)
    for data in (b"%s:%s\n" % (big, b"x" * 1000)) * 900, *writes:
        for _ in range(8 if len(data) > 100 else 1):
            same(os.write(fd, data), len(data))
    return fd
def written(data):
    return data in read_all(f"orders/{small_in}")
for small_in in 0, 1:
    small, big = key_of(small_in), key_of(1 - small_in)
    fd = big_and(small + b":by itself\n")
    same(error(os.fsync, fd), "ENOSPC")
    check(written(b"by itself\n"))
    os.fsync(fd)
    os.close(fd)
    fd = big_and(big + b":no\n" + small + b":torn\n")
    same(error(os.fsync, fd), "ETIMEDOUT")
    check(written(b"torn\n"))
    os.fsync(fd)
    os.close(fd)
    fd = big_and(big + b":no\n" + small + b":torn by close\n")
    same(error(os.close, fd), "ETIMEDOUT")
    check(written(b"torn by close\n"))
    same(read_all(f"orders/{1 - small_in}").count(b":no\n"), 0)
P
}

@test "DeleteRecords frees space on a full disk" {
    set_attr orders user.config.segment.bytes 1000000
    fill_disk
    py <<'P'
fd = os.open("orders/0", APPEND)
while True:
    try:
        os.write(fd, b"x" * 65535 + b"\n")
    except OSError as e:
        same(e.errno, errno.ENOSPC)
        break
P
    fallocate -p -o 0 -l 2500000 orders/0
    for i in {1..20}; do head -c 50000 /dev/zero | tr '\0' y >> orders/0; done
    is "$(tail -n 20 orders/0 | tr -d '\n' | wc -c)" 1000000
}

@test "small lines until the disk is full: every acknowledged one is there, and none else" {
    fill_disk
    fallocate -l $(($(df --output=avail -B1 "$DISK" | tail -n 1) - 400000)) "$DISK/ballast2"
    py "$T/acked" <<'P'
fd, count = os.open("orders/0", APPEND), 0
while True:
    try:
        os.write(fd, b"line %d %s\n" % (count, b"." * 400))
        count += 1
    except OSError as e:
        same(e.errno, errno.ENOSPC)
        break
same(read_all("orders/0").splitlines(), [b"line %d %s" % (n, b"." * 400) for n in range(count)])
P
    before=$(wc -l < orders/0)
    restart_after_kill
    is "$(wc -l < orders/0)" "$before"
    rm "$DISK/ballast2"
    echo again >> orders/0
    is "$(tail -n 1 orders/0)" again
}

@test "a full disk makes mkdir and settings fail, and the daemon go on" {
    dd if=/dev/zero of="$DISK/ballast" bs=64k status=none 2>/dev/null || :
    dd if=/dev/zero of="$DISK/ballast2" bs=1 count=4096 status=none 2>/dev/null || :
    for i in {1..50}; do mkdir "topic-$i" 2>/dev/null || break; done
    at_least "$(ls | wc -l)" 1
    is "$(cat orders/0)" ''
    rm "$DISK/ballast"
    mkdir after
    echo x >> after/0
    is "$(cat after/0)" x
    remount
    is "$(cat after/0)" x
}

fill_to_the_last_byte() { # orders/0 gets what fits; then the disk takes nothing more, in whatever portions
    fill_disk
    py "$DISK/rest" <<'P'
def fill(fd):
    for size in (1 << 16, 1 << 12, 100):
        while True:
            try:
                os.write(fd, b"x" * (size - 1) + b"\n")
            except OSError as e:
                same(e.errno, errno.ENOSPC)
                break
fd = os.open("orders/0", APPEND)
fill(fd)
rest = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for i in range(3):
    fill(rest)
    os.fsync(rest)
same(error(os.write, fd, b"no\n" * 2000), "ENOSPC")
P
}

@test "a disk that is full to the last byte: DeleteRecords makes room" {
    fill_to_the_last_byte
    [ "$(wc -l < orders/0)" -gt 10 ]
    fallocate -p -o 0 -l "$(size orders/0)" orders/0
    is "$(wc -l < orders/0)" 0
    wait_until 'echo again >> orders/0'
    is "$(cat orders/0)" again
    remount
    is "$(cat orders/0)" again
}

@test "a disk that is full to the last byte: a shorter retention makes room" {
    fill_to_the_last_byte
    set_attr orders user.config.retention.ms 1
    wait_until 'set_attr orders user.config.retention.ms 1; [ "$(wc -l < orders/0)" = 0 ]'
    set_attr orders user.config.retention.ms -1
    wait_until 'echo again >> orders/0'
    remount
    is "$(cat orders/0)" again
}

@test "a disk that is full to the last byte: rmdir makes room" {
    fill_to_the_last_byte
    set_attr orders user.config.delete.topic.enable true
    rmdir orders
    wait_until 'mkdir -p again && echo again >> again/0'
    is "$(cat again/0)" again
}

@test "a topic that has no room leaves nothing behind" {
    fill_to_the_last_byte
    not mkdir another 2> "$T/err"
    grep -q 'No space left' "$T/err"
    is "$(ls "$DATA/topics" | grep -c another)" 0
}

@test "while writers hammer a full disk DeleteRecords works each time" {
    local n
    set_attr orders user.config.segment.bytes 500000
    fill_disk
    cat > "$T/hammer.py" <<'EOF'
import errno, os, sys
fd = os.open("orders/0", os.O_WRONLY | os.O_APPEND)
while not os.path.exists(sys.argv[1]):
    try:
        os.write(fd, b"x" * 999 + b"\n")
    except OSError as e:
        if e.errno != errno.ENOSPC:
            raise
        open(sys.argv[2], "a").write("full\n")
EOF
    for n in 1 2 3; do bg python3 "$T/hammer.py" "$T/stop" "$T/met.$n"; done
    for n in $(seq 12); do
        : > "$T/met.1"
        wait_until '[ -s "$T/met.1" ]' # the disk is full
        fallocate -p -o 0 -l "$(($(size orders/0) - 300000))" orders/0
    done
    touch "$T/stop"
    wait_until '! pgrep -f "$T/hammer.py" > /dev/null'
    fallocate -p -o 0 -l "$(size orders/0)" orders/0
    is "$(cat orders/0)" ''
    wait_until 'echo again >> orders/0'
}

@test "a start without a byte left, the reserve gone: all can be read, and deleting makes room" {
    set_attr orders user.config.delete.topic.enable true
    mkdir kept
    echo kept >> kept/0
    fill_to_the_last_byte
    kill_log
    rm "$DATA/reserve"
    dd if=/dev/zero of="$DISK/rest3" bs=64k status=none 2>/dev/null || :
    dd if=/dev/zero of="$DISK/rest4" bs=1k status=none 2>/dev/null || :
    sync -f "$DISK"
    mount_log
    cd "$M"
    is "$(cat kept/0)" kept
    [ "$(wc -l < orders/0)" -gt 10 ]
    not mkdir another 2> "$T/err"
    grep -q 'No space left' "$T/err"
    rm "$DISK/rest3"
    rmdir orders
    wait_until 'mkdir -p again && echo again >> again/0'
    is "$(cat again/0)" again
    remount
    is "$(cat kept/0 again/0)" $'kept\nagain'
}

@test "a full disk refuses commits at once, tells of it once, and they go on when there is room" {
    unmount_log
    mount_log_in_front
    cd "$M"
    mkdir .groups/kitchen
    seq 20000 >> orders/0
    py "$DISK/ballast" <<'P'
def committed():
    return int(os.getxattr("orders/0", "user.group.kitchen.committed"))
def delivered():
    return int(os.getxattr(stream, "user.group.positions").split(b":")[1])
def fill(path):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (1 << 20, 1 << 12, 1):
        while error(os.write, fd, b"x" * size) is None:
            pass
    os.close(fd)
stream = os.open(".groups/kitchen/orders", os.O_RDONLY)
os.read(stream, 200)
os.fsync(stream) # its place is there before the disk is full
fill(sys.argv[1])
refused = None
while refused is None:
    check(delivered() < 20000 if os.read(stream, 200) else False, "the disk never refuses a commit")
    refused = error(os.fsync, stream)
same(refused, "ENOSPC")
for i in range(2):
    same(error(os.fsync, stream), "ENOSPC")
check(len(os.read(stream, 200)) > 0) # reading does not wait for it
late = os.open(".groups/kitchen/orders", os.O_RDONLY)
same(error(os.read, late, 200), "ENOSPC") # nor does a first one wait for room
os.close(late)
os.unlink(sys.argv[1])
while error(os.fsync, stream) is not None:
    pass
same(committed(), delivered())
P
    is "$(grep -c 'an append failed' "$T/log")" 1
}
