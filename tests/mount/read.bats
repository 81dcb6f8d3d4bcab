#!/usr/bin/env bats
# Reading consumes.
load lib

setup() {
    log_setup
    mount_log
    cd "$M"
    mkdir orders
    seq -f 'order %.0f' 1000 > "$T/in"
}

@test "a second reader sees what the first one saw" {
    cat "$T/in" >> orders/0
    cmp "$T/in" orders/0
    cmp "$T/in" orders/0
    exec 4< orders/0 5< orders/0
    read -r a <&4
    read -r b <&5
    is "$a" "$b"
}

@test "reading from any position gives the bytes from there" {
    cat "$T/in" >> orders/0
    py "$T/in" <<'P'
data = read_all(sys.argv[1])
fd = os.open("orders/0", os.O_RDONLY)
rng = random.Random(1)
for _ in range(500):
    at, n = rng.randrange(len(data) + 50), rng.randrange(1, 5000)
    same(os.pread(fd, n, at), data[at:at + n])
same(os.lseek(fd, -10, os.SEEK_END), len(data) - 10)
same(os.read(fd, 100), data[-10:])
same(os.read(fd, 100), b"")
P
}

@test "at the end a read gives nothing, until there is more" {
    echo one >> orders/0
    exec 4< orders/0
    is "$(cat <&4)" one
    is "$(cat <&4)" ''
    echo two >> orders/0
    is "$(cat <&4)" two
}

@test "stat shows growth without delay" {
    py <<'P'
total = 0
watch = os.open("orders/0", os.O_RDONLY)
for n in range(300):
    append("orders/0", b"x" * n + b"\n")
    total += n + 1
    same(os.stat("orders/0").st_size, total)
    same(os.fstat(watch).st_size, total)
P
}

@test "mtime is that of the last append" {
    is "$(size orders/0)" 0
    before=$(date +%s%3N)
    later
    echo one >> orders/0
    after=$(date +%s%3N)
    mtime=$(date -r orders/0 +%s%3N)
    at_least "$mtime" "$before"
    at_most "$mtime" "$((after + 1))"
    remount
    is "$(date -r orders/0 +%s%3N)" "$mtime"
}

@test "st_ino is a partition's own, and the same after a restart" {
    set_attr orders user.topic.partitions 3
    before=$(stat -c '%n %i' orders orders/0 orders/1 orders/2)
    is "$(stat -c %i orders orders/0 orders/1 orders/2 | sort -u | wc -l)" 4
    remount
    is "$(stat -c '%n %i' orders orders/0 orders/1 orders/2)" "$before"
}

@test "st_ino is the same for each opener while several append" {
    exec 4>> orders/0 5>> orders/0
    py <<'P'
inos = {os.stat("orders/0").st_ino, os.fstat(4).st_ino, os.fstat(5).st_ino}
inos.add(os.fstat(os.open("orders/0", APPEND)).st_ino)
same(len(inos), 1)
P
}

@test "records, positions and sizes are the same after a restart" {
    cat "$T/in" >> orders/0
    before=$(getfattr -d --absolute-names orders/0; stat -c '%s %b %i %y' orders/0)
    remount
    is "$(getfattr -d --absolute-names orders/0; stat -c '%s %b %i %y' orders/0)" "$before"
    cmp "$T/in" orders/0
    echo 'order 1001' >> orders/0
    is "$(tail -n 1 orders/0)" 'order 1001'
    is "$(attr orders/0 user.log.high_watermark)" 1001
}

@test "st_blocks is what is retained, in blocks of 512 bytes" {
    head -c 1048576 /dev/zero | tr '\0' '\n' >> orders/0
    is "$(stat -c %b orders/0)" 2048
    is "$(du --block-size=1 orders/0 | cut -f1)" 1048576
}

@test "bash reads line by line, and what it leaves is there for the next reader" {
    seq 10 >> orders/0
    {
        read -r a
        read -r b
        is "$a $b" '1 2'
        is "$(head -n 1)" 3
        is "$(cat)" "$(seq 4 10)"
    } < orders/0
}

@test "what goes through the page cache is never wrong: sendfile, splice, copyfile, private mmap" {
    cat "$T/in" >> orders/0
    py "$T/in" "$T/out" <<'P'
data = read_all(sys.argv[1])
for more in (b"", b"a line more\n", b"and another\n"):
    if more:
        append("orders/0", more)
        data += more
    fd = os.open("orders/0", os.O_RDONLY)
    out = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    at = 0
    while at < len(data) + 1:
        n = os.sendfile(out, fd, at, 1 << 20)
        if n == 0:
            break
        at += n
    same(read_all(sys.argv[2]), data)
    r, w = os.pipe()
    got, at = b"", 0
    while n := os.splice(fd, w, 16384, offset_src=at):
        got += os.read(r, n)
        at += n
    same(got, data)
    m = mmap.mmap(fd, len(data), flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    same(m[:], data)
    m.close()
    shutil.copyfile("orders/0", sys.argv[2])
    same(read_all(sys.argv[2]), data)
    os.close(fd)
    os.close(out)
P
}

@test "sendfile and splice are EINVAL while the partition is open for appending, and programs read instead" {
    cat "$T/in" >> orders/0
    py "$T/in" "$T/out" <<'P'
data = read_all(sys.argv[1])
out = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT | os.O_TRUNC)
r, w = os.pipe()
for path in "orders/0", "orders/.any":
    fd = os.open(path, APPEND)
    os.write(fd, b"grows\n")
    data += b"grows\n"
    reader = os.open("orders/0", os.O_RDONLY)
    same(error(os.sendfile, out, reader, 0, 4096), "EINVAL")
    same(error(os.splice, reader, w, 4096, 0), "EINVAL")
    shutil.copyfile("orders/0", sys.argv[2])
    same(read_all(sys.argv[2]), data)
    os.close(fd)
    # Who was refused once goes on reading; who comes now is served.
    same(error(os.sendfile, out, reader, 0, 4096), "EINVAL")
    reader = os.open("orders/0", os.O_RDONLY)
    same(os.sendfile(out, reader, 0, 1 << 30), len(data))
P
}

@test "who was served out of the kernel's cache sees no NUL when the partition grows, whoever looks at its size" {
    seq 1000 >> orders/0
    py <<'P'
def watch(how):
    """Follows the partition with one open file; 0 when each byte of it was a record's."""
    fd, (r, w), at, bad = os.open("orders/0", os.O_RDONLY), os.pipe(), 0, 0
    while True:
        try:
            if how == "splice":
                n = os.splice(fd, w, 60000, offset_src=at)
            else:
                size = os.stat("orders/0").st_size
                n = os.sendfile(w, fd, at, min(60000, size - at)) if size > at else 0
        except OSError as e:
            same(e.errno, errno.EINVAL)
            os.close(fd)
            fd = os.open("orders/0", os.O_RDONLY)
            continue
        if n == 0:
            os.stat("orders/0")
            continue
        got, at = os.read(r, n), at + n
        bad += b"\0" in got
        if b"last" in got:
            os._exit(bad != 0)

def look():
    while True:
        os.stat("orders/0")

readers = []
for how in "splice", "sendfile":
    readers.append(os.fork())
    if readers[-1] == 0:
        watch(how)
looker = os.fork()
if looker == 0:
    look()
for n in range(3000):
    append("orders/0" if n % 3 else "orders/.any", b"%050d\n" % n)
append("orders/0", b"last\n")
ends = [os.waitpid(pid, 0)[1] for pid in readers]
os.kill(looker, signal.SIGKILL)
same(ends, [0, 0])
P
}

@test "a shared mmap of a partition is ENODEV" {
    echo one >> orders/0
    py <<'P'
fd = os.open("orders/0", os.O_RDONLY)
same(error(lambda: mmap.mmap(fd, 4, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)), "ENODEV")
P
}

@test "copy_file_range out of a partition gives its bytes" {
    cat "$T/in" >> orders/0
    py "$T/in" "$T/out" <<'P'
data = read_all(sys.argv[1])
fd = os.open("orders/0", os.O_RDONLY)
out = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
try:
    while os.copy_file_range(fd, out, 1 << 20):
        pass
except OSError as e:
    check(e.errno in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP), e)  # another file system: programs use read(2)
got = read_all(sys.argv[2])
check(got in (b"", data), len(got))
P
    cp orders/0 "$T/copy"
    cmp "$T/in" "$T/copy"
}

@test "the bytes of a partition may be anything: a read never looks into them" {
    py <<'P'
rng = random.Random(7)
data = b"".join(rng.randbytes(rng.randrange(2000)).replace(b"\n", b" ") + b"\n" for _ in range(300))
append("orders/0", data)
same(read_all("orders/0"), data)
P
}

@test "fifty readers at once, while a writer appends" {
    cat "$T/in" >> orders/0
    py "$T/in" <<'P'
data = read_all(sys.argv[1])
for r in range(50):
    if os.fork() == 0:
        for _ in range(5):
            same(read_all("orders/0")[:len(data)], data)
        os._exit(0)
for n in range(200):
    append("orders/0", b"%d\n" % n)
for _ in range(50):
    same(os.wait()[1], 0)
same(read_all("orders/0"), data + b"".join(b"%d\n" % n for n in range(200)))
P
}

@test "bytes that changed on the disk are EIO, never shown" {
    cat "$T/in" >> orders/0
    echo 'the next batch' >> orders/0
    unmount_log
    file=$(find "$DATA" -name '00000000000000000000.log' -path '*orders-0*')
    printf X | dd of="$file" bs=1 seek=500 conv=notrunc status=none
    mount_log
    cd "$M"
    fails 'Input/output error' cat orders/0
    is "$(tail -n 1 orders/0@-1)" 'the next batch'
}

@test "check.crcs=false reads without looking" {
    cat "$T/in" >> orders/0
    unmount_log
    file=$(find "$DATA" -name '00000000000000000000.log' -path '*orders-0*')
    printf X | dd of="$file" bs=1 seek=500 conv=notrunc status=none
    mount_log check.crcs=false
    cd "$M"
    is "$(wc -c < orders/0)" "$(wc -c < "$T/in")"
}
