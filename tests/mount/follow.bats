#!/usr/bin/env bats
# .follow: the same bytes, and a read at the end waits for more.
load lib

setup() {
    log_setup
    mount_log
    cd "$M"
    mkdir orders
}

@test "cat .follow shows what is there and then each line as it comes" {
    echo one >> orders/0
    bg cat orders/.follow/0 > "$T/seen"
    wait_until '[ "$(cat "$T/seen")" = one ]'
    echo two >> orders/0
    wait_until '[ "$(wc -l < "$T/seen")" = 2 ]'
    printf three >> orders/0
    wait_until '[ "$(tail -n 1 "$T/seen")" = three ]'
    is "$(cat "$T/seen")" $'one\ntwo\nthree'
}

@test "a reader that is parked before the first record gets it" {
    bg head -n 1 orders/.follow/0 > "$T/seen"
    echo first >> orders/0
    wait "$!"
    is "$(cat "$T/seen")" first
}

@test "0@end and 0@-2 in .follow start there and go on" {
    seq 5 >> orders/0
    bg head -n 2 orders/.follow/0@end > "$T/end"
    end=$!
    bg head -n 4 orders/.follow/0@-2 > "$T/last"
    last=$!
    wait_until '[ "$(ls -l /proc/'$end'/fd /proc/'$last'/fd | grep -c follow)" = 2 ]'
    seq 6 7 >> orders/0
    wait "$end" "$last"
    is "$(cat "$T/end")" $'6\n7'
    is "$(cat "$T/last")" $'4\n5\n6\n7'
}

@test "^C ends the wait at once" {
    for signal in INT KILL; do
        bg env --default-signal=INT cat orders/.follow/0
        reader=$!
        wait_until "follows $reader"
        kill -$signal "$reader"
        wait_until '[ ! -e /proc/'$reader' ] || grep -q "^State:.Z" /proc/'$reader'/status'
    done
}

@test "O_NONBLOCK gives EAGAIN at the end, and bytes when there are some" {
    py <<'P'
fd = os.open("orders/.follow/0", os.O_RDONLY | os.O_NONBLOCK)
same(error(os.read, fd, 100), "EAGAIN")
append("orders/0", b"one\n")
same(os.read(fd, 100), b"one\n")
same(error(os.read, fd, 100), "EAGAIN")
P
}

@test "poll, select and epoll wake when a record is committed" {
    py <<'P'
fd = os.open("orders/.follow/0", os.O_RDONLY | os.O_NONBLOCK)
p = select.poll()
p.register(fd, select.POLLIN)
e = select.epoll()
e.register(fd, select.EPOLLIN)
for n, wait in enumerate((lambda: p.poll(1000 * LIMIT_S), lambda: e.poll(LIMIT_S),
                          lambda: select.select([fd], [], [], LIMIT_S)[0])):
    same(p.poll(0), [])
    same(e.poll(0), [])
    same(select.select([fd], [], [], 0)[0], [])
    seen = []
    t = threading.Thread(target=lambda: seen.append(wait()))
    t.start()
    wait_until(lambda: blocked(t.native_id))
    append("orders/0", b"line %d\n" % n)
    t.join(LIMIT_S)
    check(not t.is_alive() and seen[0], n, seen)
    check(p.poll(0) and e.poll(0), "readable")
    same(os.read(fd, 100), b"line %d\n" % n)
P
}

@test "who is told of changes alone is told of each" {
    mkdir .groups/kitchen
    py <<'P'
for stream in ("orders/.follow/0", ".groups/kitchen/orders"):
    fd = os.open(stream, os.O_RDONLY | os.O_NONBLOCK)
    e = select.epoll()
    e.register(fd, select.EPOLLIN | select.EPOLLET)
    def drain():
        got = b""
        while True:
            try:
                got += os.read(fd, 100)
            except BlockingIOError:
                return got
    drain()
    e.poll(0)
    for n in range(5):
        append("orders/0", b"line %d\n" % n)
        check(e.poll(LIMIT_S), stream, n)
        if n != 2:  # as of a pipe: also where something is left unread
            check(drain().endswith(b"line %d\n" % n), stream, n)
P
}

@test "a partition itself is always readable to poll" {
    py <<'P'
p = select.poll()
p.register(os.open("orders/0", os.O_RDONLY), select.POLLIN)
check(p.poll(0), "poll says a plain file is not readable")
P
}

@test "select for writing or for exceptions takes nothing from the read that follows" {
    seq 10 >> orders/0
    py <<'P'
for name in ("orders/.follow/0", "orders/0", "orders/0@start"):
    fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    for n in range(2):
        same(os.pread(fd, 4, 0), b"1\n2\n")
        select.select([], [fd], [], 0)
        select.select([], [], [fd], 0)
P
}

@test ".follow/0 has its partition's size" {
    seq 100 >> orders/0
    is "$(size orders/.follow/0)" "$(size orders/0)"
}

@test "head and bash seek back over what they did not use" {
    seq 10 >> orders/0
    {
        is "$(head -n 2)" $'1\n2'
        read -r a
        is "$a" 3
        is "$(head -n 1)" 4
    } < orders/.follow/0
}

@test "seeking back within the last MiB gives the same bytes, any other position is EINVAL" {
    py <<'P'
line = b"%0999d\n"
data = b"".join(line % n for n in range(3000))
append("orders/0", data[:1500000])
append("orders/0", data[1500000:])
fd = os.open("orders/.follow/0", os.O_RDONLY | os.O_NONBLOCK)
got = b""
while len(got) < len(data):
    got += os.read(fd, 100000)
same(got, data)
for back in (1, 10, 4096, 500000, 1 << 20):
    same(pread_all(fd, back, len(data) - back), data[len(data) - back:])
same(error(os.pread, fd, 10, 0), "EINVAL")
same(error(os.pread, fd, 10, len(data) - (1 << 20) - 1000), "EINVAL")
same(error(os.pread, fd, 10, len(data) + 1), "EINVAL")
same(error(os.read, fd, 10), "EAGAIN")
P
}

@test "a thousand parked readers need no thread each, and all are woken" {
    py "$PID" <<'P'
threading.stack_size(128 << 10)
seen, count = [], 1000
fds = [os.open("orders/.follow/0", os.O_RDONLY) for _ in range(count)]
threads = [threading.Thread(target=lambda fd=fd: seen.append(os.read(fd, 100)), daemon=True) for fd in fds]
for t in threads:
    t.start()
wait_until(lambda: all(blocked(t.native_id) for t in threads), 60)
with open(f"/proc/{sys.argv[1]}/status") as f:
    daemon_threads = next(int(l.split()[1]) for l in f if l.startswith("Threads"))
check(daemon_threads < 50, "threads", daemon_threads)
append("orders/0", b"wake up\n")
wait_until(lambda: len(seen) == count, 60)
same(set(seen), {b"wake up\n"})
P
}

@test "a reader that asks for fewer bytes than a write brings gets them in turn" {
    cat > "$T/reader.py" <<'EOF'
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
got = b""
while not got.endswith(b"end\n"):
    got += os.read(fd, 7)
sys.stdout.write(got.decode())
EOF
    printf 'before\n' >> orders/0
    bg python3 "$T/reader.py" orders/.follow/0 > "$T/seen"
    reader=$!
    bg python3 "$T/reader.py" orders/.follow/0@end > "$T/end"
    end=$!
    wait_until '[ "$(ls -l /proc/'$reader'/fd /proc/'$end'/fd | grep -c follow)" = 2 ]'
    for n in $(seq 50); do
        printf '%s\n' "a longer line $n" "short" >> orders/0
        printf 'in two ' >> orders/0
    done
    echo end >> orders/0
    wait "$reader" "$end"
    cmp orders/0 "$T/seen"
    cmp <(tail -n +2 orders/0) "$T/end"
}

@test "a follower sees each line once while eight writers append" {
    bg head -n 1600 orders/.follow/0 > "$T/seen"
    follower=$!
    py <<'P'
for w in range(8):
    if os.fork() == 0:
        fd = os.open("orders/0", APPEND)
        for n in range(200):
            os.write(fd, b"%d-%d\n" % (w, n))
        os._exit(0)
for w in range(8):
    os.wait()
P
    wait "$follower"
    cmp "$T/seen" orders/0
}

@test "a follower goes on over a hole" {
    seq 1000 >> orders/0
    exec 4< orders/.follow/0
    fallocate -p -o 0 -l "$(attr orders/0@990 user.log.position)" orders/0
    is "$(timeout 30 head -n 10 <&4)" "$(seq 991 1000)"
    bg head -n 11 orders/.follow/0 > "$T/seen"
    echo 1001 >> orders/0
    wait "$!"
    is "$(cat "$T/seen")" "$(seq 991 1001)"
}

# Of 1000 … 1099, five bytes each.
drop() { fallocate -p -o 0 -l "$(($1 * 5))" orders/0; }       # the first N
next() { dd bs=5 count=1 status=none <&"$1"; }                # DESCRIPTOR: one record
skipped() { attr "/proc/$BASHPID/fd/$1" user.log.skipped; }

@test "user.log.skipped counts the records that the reads of an open file passed over" {
    seq 1000 1099 >> orders/0
    exec 4< orders/.follow/0 5< orders/.follow/0@20 6< orders/.follow/0@end
    is "$(next 4)" 1000
    drop 10
    is "$(skipped 4)" 0 # nothing was passed over yet
    is "$(next 4)" 1010
    is "$(skipped 4)" 9
    is "$(next 4)" 1011
    is "$(skipped 4)" 9
    drop 30
    is "$(next 4)" 1030
    is "$(skipped 4)" 27
    is "$(next 5)" 1030
    is "$(skipped 5)" 10
    is "$(timeout 30 head -n 69 <&4)" "$(seq 1031 1099)"
    drop 100
    echo 1100 >> orders/0
    is "$(next 4)" 1100
    is "$(next 6)" 1100
    is "$(skipped 4)" 27
    is "$(skipped 6)" 0
    is "$(next 5)" 1100
    is "$(skipped 5)" 79
}

@test "user.log.skipped counts a record that was read by half, and none twice that is read again" {
    seq 1000 1099 >> orders/0
    exec 4< orders/.follow/0
    is "$(dd bs=7 count=1 status=none <&4)" $'1000\n10'
    drop 10
    is "$(next 4)" 1010
    is "$(skipped 4)" 9
    py <<'P'
fd = os.open("orders/.follow/0", os.O_RDONLY)
def skipped():
    return int(os.getxattr(f"/proc/self/fd/{fd}", "user.log.skipped"))
same(os.read(fd, 10), b"1010\n1011\n")
same(os.pread(fd, 5, 5), b"1011\n")
subprocess.run(["fallocate", "-p", "-o", "0", "-l", "100", "orders/0"], check=True)
same(os.pread(fd, 5, 0), b"1020\n")
same(skipped(), 8)
same(os.pread(fd, 10, 0), b"1020\n1021\n")
same(os.read(fd, 5), b"1022\n")
same(skipped(), 8)
P
}

@test "user.log.skipped counts what a waiting reader was given of a write, all of it or a part" {
    seq 1000 1009 >> orders/0
    py <<'P'
fd = os.open("orders/.follow/0@end", os.O_RDONLY)
def woken(size, lines):
    got = []
    reader = threading.Thread(target=lambda: got.append(os.read(fd, size)))
    reader.start()
    wait_until(lambda: blocked(reader.native_id))
    append("orders/0", lines)
    reader.join()
    return got[0]
def drop(records):
    subprocess.run(["fallocate", "-p", "-o", "0", "-l", str(5 * records), "orders/0"], check=True)
def skipped():
    return int(os.getxattr(f"/proc/self/fd/{fd}", "user.log.skipped"))
same(woken(100, b"1010\n1011\n1012\n"), b"1010\n1011\n1012\n")
same(woken(7, b"1013\n1014\n1015\n1016\n"), b"1013\n10")
drop(16)
same(os.read(fd, 5), b"1016\n")
same(skipped(), 2)
same(woken(100, b"1017\n1018\n"), b"1017\n1018\n")
append("orders/0", b"1019\n1020\n1021\n")
drop(21)
same(os.read(fd, 5), b"1021\n")
same(skipped(), 4)
P
}

@test "user.log.skipped is an open file's own" {
    seq 1000 1099 >> orders/0
    drop 50
    exec 4< orders/.follow/0 5< orders/.follow/0
    is "$(next 4)" 1050
    is "$(skipped 4)" 0 # it began with the first one that there was
    drop 60
    is "$(next 4)" 1060
    is "$(skipped 4)" 9
    is "$(skipped 5)" 0
    getfattr -d "/proc/$BASHPID/fd/4" 2> /dev/null | grep -qx 'user.log.skipped="9"'
    fails 'No such attribute' attr orders/.follow/0 user.log.skipped
    fails 'No such attribute' attr orders/0 user.log.skipped
    is "$(getfattr -d orders/.follow/0 | grep skipped)" ''
    fails 'not permitted' set_attr "/proc/$BASHPID/fd/4" user.log.skipped 0
    exec 6< "/proc/$BASHPID/fd/4"
    fails 'busy' skipped 4
}

@test "user.log.skipped counts objects, too" {
    set_attr orders user.config.framing msgpack
    printf '\x92\x01\x02%.0s' {1..100} >> orders/0
    exec 4< orders/.follow/0
    dd bs=4 count=1 status=none <&4 > "$T/seen"
    fallocate -p -o 0 -l 30 orders/0
    dd bs=7 count=1 status=none <&4 > "$T/seen"
    is "$(skipped 4)" 9
    fallocate -p -o 0 -l 60 orders/0
    dd bs=3 count=1 status=none <&4 > "$T/seen"
    is "$(skipped 4)" 17
}

@test "a page of lines is never held back for a full buffer" {
    py <<'P'
fd = os.open("orders/.follow/0", os.O_RDONLY)
for n in range(50):
    append("orders/0", b"%d\n" % n)
    same(os.read(fd, 1 << 20), b"%d\n" % n)
append("orders/0", b"x" * 300000 + b"\n")
got = b""
while not got.endswith(b"\n"):
    got += os.read(fd, 1 << 20)
same(got, b"x" * 300000 + b"\n")
P
}

@test "tail -f and tail -F show a partition grow, also when two append" {
    seq 3 >> orders/0
    exec 4>> orders/0
    bg tail -n 1 -f orders/0 > "$T/f"
    bg tail -n +1 -F orders/0 > "$T/F" 2> "$T/F.err"
    wait_until '[ "$(cat "$T/f")" = 3 ] && [ "$(wc -l < "$T/F")" = 3 ]'
    echo 4 >> orders/0
    echo 5 >&4
    echo 6 >> orders/0
    wait_until '[ "$(cat "$T/f")" = "$(seq 3 6)" ]'
    wait_until '[ "$(cat "$T/F")" = "$(seq 6)" ]'
    is "$(cat "$T/F.err")" ''
}

@test "inotify tells of each append, through whichever opener it came" {
    exec 4>> orders/0
    py <<'P'
libc = ctypes.CDLL(None, use_errno=True)
IN_MODIFY, IN_ATTRIB = 2, 4
fd = libc.inotify_init1(os.O_NONBLOCK)
check(libc.inotify_add_watch(fd, b"orders/0", IN_MODIFY | IN_ATTRIB) >= 0)
p = select.poll()
p.register(fd, select.POLLIN)
def drain():
    while p.poll(0):
        os.read(fd, 65536)
other = os.open("orders/0", APPEND)
for n in range(20):
    for writer in (4, other):
        drain()
        os.write(writer, b"%d\n" % n)
        check(p.poll(1000 * LIMIT_S), "no event", n, writer)
P
}

@test "a topic that goes while its watchers are still to be told takes nothing along" {
    py <<'P'
for n in range(40):
    os.mkdir("gone")
    os.setxattr("gone", "user.config.delete.topic.enable", b"true")
    first, second = os.open("gone/0", APPEND), os.open("gone/0", APPEND)
    os.write(first, b"x\n")
    os.write(second, b"y\n") # past the main node
    os.close(first)
    os.close(second)
    os.rmdir("gone")
P
    echo x >> orders/0
    is "$(cat orders/0)" x
}

@test "stopping the daemon ends parked readers" {
    bg cat orders/.follow/0
    reader=$!
    wait_until 'ls -l /proc/'$reader'/fd | grep -q follow'
    cd /
    kill "$PID"
    wait_until no_daemon
    wait_until '[ ! -e /proc/'$reader' ] || grep -q "^State:.Z" /proc/'$reader'/status'
}

# The kernel cuts a read into pieces of 256 pages or segments' ends, and sends the next one when a piece was filled.
@test "a read that the kernel cuts returns with what there is" {
    py <<'P'
def cut(fd, segments, each):
    """Reads into so many segments; what it got."""
    buffers = [bytearray(each) for _ in range(segments)]
    n = os.readv(fd, buffers)
    return b"".join(buffers)[:n]

def lines(size):
    return (b"x" * 62 + b"\n") * (size // 63) + b"x" * (size % 63 - 1) + b"\n" * (size % 63 > 0)

def gets(read, data):
    """All of the bytes, in as many reads as it takes, none of which waits."""
    got = b""
    while len(got) < len(data):
        box = []
        t = threading.Thread(target=lambda: box.append(read()), daemon=True)
        t.start()
        t.join(LIMIT_S)
        check(box, "a read waits, with", len(data) - len(got), "bytes to be had")
        check(box[0], "an end of file")
        got += box[0]
    same(got, data)

fd = os.open("orders/.follow/0", os.O_RDONLY)
for segments, each in ((300, 1), (300, 100), (1000, 16), (512, 4096)):
    for size in (255, 256, 257, 256 * each - 1, 256 * each, 256 * each + 1, 512 * each, segments * each):
        if size > 2:
            data = lines(size)
            append("orders/0", data)
            gets(lambda: cut(fd, segments, each), data)
            if size > 1 << 19: # so far back it may not be read again
                continue
            append("orders/0", data)
            gets(lambda: os.pread(fd, size, os.lseek(fd, 0, os.SEEK_CUR)) and os.read(fd, size), data)

# Parked first: what wakes it fills it.
for segments, each in ((300, 100), (512, 16)):
    data = lines(256 * each)
    box = []
    t = threading.Thread(target=lambda: box.append(cut(fd, segments, each)), daemon=True)
    t.start()
    wait_until(lambda: blocked(t.native_id))
    append("orders/0", data)
    t.join(LIMIT_S)
    check(box, "it waits on")
    gets(lambda: cut(fd, segments, each), data[len(box[0]):])
P
}

@test "a small record is read whole by a read of its size" {
    py <<'P'
fd = os.open("orders/.follow/0", os.O_RDONLY)
for size in (1, 100, 255):
    append("orders/0", b"z" * (size - 1) + b"\n")
    same(len(os.read(fd, size)), size)
P
}
