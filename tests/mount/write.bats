#!/usr/bin/env bats
# Writing produces.
load lib

@test "what is echoed into a partition is what cat shows" {
    mkdir orders
    echo 'first order' >> orders/0
    echo 'second order' >> orders/0
    is "$(cat orders/0)" $'first order\nsecond order'
    is "$(size orders/0)" 25
}

@test "any bytes but the newline are a record, as they came" {
    mkdir blobs
    head -c 1000000 /dev/urandom > "$T/in"
    printf '\n' >> "$T/in"
    cat "$T/in" >> blobs/0
    cmp "$T/in" blobs/0
}

@test "an empty line is a record, and writing nothing is none" {
    mkdir orders
    printf '\n\n' >> orders/0
    printf '' >> orders/0
    is "$(attr orders/0 user.log.high_watermark)" 2
    is "$(size orders/0)" 2
}

@test "a partition cannot be overwritten: > is refused, >> works" {
    mkdir orders
    echo one >> orders/0
    fails 'Operation not permitted' sh 'echo two > orders/0'
    fails 'Operation not permitted' truncate -s 0 orders/0
    fails 'Operation not permitted' dd if=/dev/zero of=orders/0 count=1
    fails 'Operation not permitted' dd if=/dev/zero of=orders/0 count=1 conv=notrunc
    fails 'Operation not permitted' cp /etc/passwd orders/0
    is "$(cat orders/0)" one
}

@test "a descriptor opened for reading and writing reads, and each write to it is EPERM" {
    mkdir orders
    echo one >> orders/0
    exec 4<> orders/0
    read -r line <&4
    is "$line" one
    fails 'Operation not permitted' sh 'echo two >&4'
    exec 4>&-
    py <<'P'
fd = os.open("orders/0", os.O_RDWR)
same(error(os.write, fd, b"x\n"), "EPERM")
same(error(os.pwrite, fd, b"x\n", 0), "EPERM")
same(error(os.ftruncate, fd, 0), "EPERM")
same(error(os.open, "orders/0", os.O_WRONLY), "EPERM")
same(error(os.open, "orders/0", APPEND | os.O_TRUNC), "EPERM")
same(error(os.truncate, "orders/0", 0), "EPERM")
same(read_all("orders/0"), b"one\n")
P
}

@test "O_APPEND that is set later makes an appender, and one that is taken away ends it" {
    mkdir orders
    py <<'P'
fd = os.open("orders/0", os.O_RDWR)
same(error(os.write, fd, b"no\n"), "EPERM")
fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
same(os.write(fd, b"yes\n"), 4)
fcntl.fcntl(fd, fcntl.F_SETFL, 0)
same(error(os.write, fd, b"no\n"), "EPERM")
same(read_all("orders/0"), b"yes\n")
P
}

@test "all complete lines of one write are one batch" {
    mkdir orders
    /usr/bin/printf 'a\nb\nc\n' >> orders/0
    # DISK_FORMAT: a header of 64 bytes, and 64 for each batch
    is "$(stat -c %s orders/.segments/0/00000000000000000000.batches)" 128
    echo d >> orders/0
    is "$(stat -c %s orders/.segments/0/00000000000000000000.batches)" 192
    is "$(attr orders/0 user.log.high_watermark)" 4
}

@test "a line can be written piece by piece, by several processes" {
    mkdir logins
    { printf 'user='; sleep 0; id -un; } >> logins/0
    is "$(cat logins/0)" user=root
    is "$(attr logins/0 user.log.high_watermark)" 1
}

@test "a line begun with printf and ended with echo through one descriptor is one record" {
    mkdir orders
    exec 4>> orders/0
    printf a >&4
    is "$(size orders/0)" 0
    echo b >&4
    exec 4>&-
    is "$(cat orders/0)" ab
    is "$(attr orders/0 user.log.high_watermark)" 1
}

@test "a line without its newline gets one at the last close, and whoever looks then finds it" {
    mkdir orders
    for i in {1..300}; do
        printf 'x%d' "$i" >> orders/0
        is "$(tail -n 1 < orders/0)" "x$i"
    done
    for i in {301..400}; do
        printf 'x%d' "$i" >> orders/0
        is "$(attr orders/0 user.log.high_watermark)" "$i"
    done
    seq -f x%g 400 | cmp - orders/0
}

@test "forked children that exit and closed duplicates do not end a waiting line" {
    mkdir orders
    exec 4>> orders/0
    printf 'one' >&4
    (true)
    (exit 3) || true
    (echo >/dev/null)
    exec 5>&4
    exec 5>&-
    is "$(size orders/0)" 0
    (printf ' two' >&4)
    /bin/echo ' three' >&4
    is "$(cat orders/0)" 'one two three'
    exec 4>&-
    is "$(cat orders/0)" 'one two three'
}

@test "a child that inherited the descriptor keeps the line waiting until it is done" {
    mkdir orders
    mkfifo "$T/go"
    { printf begun; { read -r _ < "$T/go"; echo ' and done'; } & } >> orders/0 3>&-
    is "$(size orders/0)" 0
    echo > "$T/go"
    wait_until '[ "$(cat orders/0)" = "begun and done" ]'
}

@test "two open files have two waiting lines, and they do not mix" {
    mkdir orders
    exec 4>> orders/0 5>> orders/0
    printf 'a1' >&4
    printf 'b1' >&5
    printf 'a2' >&4
    echo 'b2' >&5
    echo 'a3' >&4
    exec 4>&- 5>&-
    is "$(cat orders/0)" $'b1b2\na1a2a3'
}

@test "fsync does not end a line" {
    mkdir orders
    py <<'P'
fd = os.open("orders/0", APPEND)
os.write(fd, b"abc")
os.fsync(fd)
os.fdatasync(fd)
same(os.stat("orders/0").st_size, 0)
os.write(fd, b"d\nef")
os.fsync(fd)
same(os.stat("orders/0").st_size, 5)
os.close(fd)
same(read_all("orders/0"), b"abcd\nef\n")
P
}

@test "a program that writes in 4096-byte pages never tears a line" {
    mkdir orders
    seq -f 'line %.0f of a program with a stdio buffer' 50000 > "$T/in"
    dd if="$T/in" of=orders/0 bs=4096 oflag=append conv=notrunc status=none
    cmp "$T/in" orders/0
    is "$(attr orders/0 user.log.high_watermark)" 50000
    dd if="$T/in" bs=4096 status=none | stdbuf -o4096 cat >> orders/0
    is "$(attr orders/0 user.log.high_watermark)" 100000
}

@test "a write of many megabytes arrives whole and in order" {
    mkdir orders
    seq 1000000 > "$T/in"
    py "$T/in" <<'P'
data = read_all(sys.argv[1])
fd = os.open("orders/0", APPEND)
while data:
    data = data[os.write(fd, data):]
os.close(fd)
P
    cmp "$T/in" orders/0
    is "$(attr orders/0 user.log.high_watermark)" 1000000
}

@test "writev with a thousand pieces is one row of lines" {
    mkdir orders
    py <<'P'
fd = os.open("orders/0", APPEND)
pieces = [b"%d\n" % i for i in range(1000)]
same(os.writev(fd, pieces), sum(map(len, pieces)))
os.close(fd)
same(read_all("orders/0"), b"".join(pieces))
P
}

@test "pwrite, sendfile, splice and copy_file_range do what they do on any append-only file" {
    mkdir orders
    seq 1000 > "$T/in"
    py "$T" <<'P'
t = sys.argv[1]
source = read_all(t + "/in")
open(t + "/plain", "w").close()

def attempt(path):
    out, said = os.open(path, APPEND), []
    src = os.open(t + "/in", os.O_RDONLY)
    r, w = os.pipe()
    os.write(w, b"from a pipe\n")
    def note(call, *args):
        try:
            said.append(call(*args))
        except OSError as e:
            said.append(errno.errorcode[e.errno])
    note(os.write, out, b"write\n")
    note(os.pwrite, out, b"pwrite at 0\n", 0)
    note(os.pwrite, out, b"pwrite far behind\n", 1 << 40)
    note(os.pwritev, out, [b"pwritev ", b"at 3\n"], 3)
    note(os.sendfile, out, src, 0, len(source))
    note(os.copy_file_range, src, out, len(source), 0)
    note(os.splice, r, out, 12)
    note(os.writev, out, [b"writev\n", b"of two\n"])
    note(os.lseek, out, 0, os.SEEK_SET)
    note(os.write, out, b"after a seek\n")
    os.close(out)
    return said, read_all(path)

plain, ours = attempt(t + "/plain"), attempt("orders/0")
same(ours, plain)
P
}

@test "dd appends with oflag=append conv=notrunc" {
    mkdir orders
    echo first >> orders/0
    printf 'second\nthird\n' | dd of=orders/0 oflag=append conv=notrunc status=none
    printf 'fourth\n' | dd of=orders/0 oflag=append,dsync conv=notrunc,fsync status=none
    is "$(cat orders/0)" $'first\nsecond\nthird\nfourth'
}

@test "O_SYNC, O_DSYNC, fsync and fdatasync work" {
    mkdir orders
    py <<'P'
for n, flag in enumerate((os.O_SYNC, os.O_DSYNC)):
    fd = os.open("orders/0", APPEND | flag)
    same(os.write(fd, b"synced %d\n" % n), 9)
    os.close(fd)
fd = os.open("orders/0", APPEND)
os.write(fd, b"then fsync\n")
os.fsync(fd)
os.write(fd, b"then fdatasync\n")
os.fdatasync(fd)
os.close(fd)
same(read_all("orders/0"), b"synced 0\nsynced 1\nthen fsync\nthen fdatasync\n")
P
    sync orders/0
    sync -f orders/0
}

@test "open for appending and reading at once, as python's a+ does" {
    mkdir orders
    py <<'P'
with open("orders/0", "a+") as f:
    f.write("one\n")
    f.flush()
    f.seek(0)
    same(f.read(), "one\n")
    f.write("two\n")
    f.flush()
    f.seek(0)
    same(f.readlines(), ["one\n", "two\n"])
P
}

@test "eight writers at once: no line is torn or lost, and each one's order is kept" {
    mkdir orders
    py <<'P'
def writer(w):
    fd = os.open("orders/0", APPEND)
    for n in range(500):
        os.write(fd, b"%d %d %s\n" % (w, n, b"x" * (n % 97)))
    os._exit(0)

for w in range(8):
    if os.fork() == 0:
        writer(w)
for w in range(8):
    same(os.wait()[1], 0)
seen = [[] for _ in range(8)]
for line in read_all("orders/0").splitlines():
    w, n, x = (line + b" ").split(b" ")[:3]
    same(len(x), int(n) % 97)
    seen[int(w)].append(int(n))
for w in range(8):
    same(seen[w], list(range(500)))
P
    is "$(attr orders/0 user.log.high_watermark)" 4000
}

@test "lines of one write are never interleaved with another writer's" {
    mkdir orders
    py <<'P'
for w in range(4):
    if os.fork() == 0:
        fd = os.open("orders/0", APPEND)
        for n in range(200):
            os.write(fd, b"".join(b"%d.%d.%d\n" % (w, n, k) for k in range(20)))
        os._exit(0)
for w in range(4):
    same(os.wait()[1], 0)
lines = read_all("orders/0").splitlines()
same(len(lines), 16000)
for i in range(0, 16000, 20):
    first = lines[i].rsplit(b".", 1)[0]
    same(lines[i:i + 20], [first + b".%d" % k for k in range(20)])
P
}

@test "a file that is opened ten thousand times leaves nothing behind in the daemon" {
    mkdir orders
    py "$PID" <<'P'
pid = sys.argv[1]
def round(n):
    keep = os.open("orders/0", APPEND)  # a second opener each time
    for _ in range(n):
        append("orders/0", b"x\n")
    os.close(keep)
def memory():
    with open(f"/proc/{pid}/status") as f:
        return next(int(l.split()[1]) for l in f if l.startswith("VmRSS"))
round(500)
fds, rss = len(os.listdir(f"/proc/{pid}/fd")), memory()
round(10000)
check(len(os.listdir(f"/proc/{pid}/fd")) <= fds + 50, "descriptors", fds, os.listdir(f"/proc/{pid}/fd"))
limit = 200000 if "tsan" in os.environ["LOGMNT"] or "asan" in os.environ["LOGMNT"] else 8000
check(memory() < rss + limit, "kB of memory", rss, memory())
same(os.stat("orders/0").st_size, 21000)
P
}

@test "rmdir and a change of framing right after a close find the record that the close made" {
    python3 - "$M" <<'END'
import errno, os, sys

def refused(expected, call, *args):
    try:
        call(*args)
    except OSError as e:
        assert e.errno == expected, e
        return
    raise AssertionError(args)

for turn in range(300):
    topic = f"{sys.argv[1]}/t{turn}"
    os.mkdir(topic)
    fd = os.open(f"{topic}/{'0' if turn % 3 else '.any'}", os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"precious")
    os.close(fd)
    if turn % 2:
        refused(errno.ENOTEMPTY, os.rmdir, topic)
    else:
        refused(errno.EBUSY, os.setxattr, topic, "user.config.framing", b"msgpack")
END
}
