#!/usr/bin/env bats
# .segments: the files as they are on the disk, read-only and kept in the kernel's cache.
load lib

setup() {
    log_setup
    mount_log log.cleaner.backoff.ms=50
    cd "$M"
    mkdir orders
    set_attr orders user.config.segment.bytes 1000
    seq -f '%09.0f' 0 999 > "$T/in"
    split -l 10 "$T/in" "$T/part."
    for part in "$T"/part.*; do cat "$part" >> orders/0; done
}

@test "names and sizes of closed segments are those on the disk" {
    for file in "$DATA"/topics/orders-0/*.log; do
        name=${file##*/}
        is "$(size "orders/.segments/0/$name")" "$(size "$file")"
        cmp "$file" "orders/.segments/0/$name"
    done
    is "$(ls orders/.segments/0 | sed 's/.*\.//' | sort -u | tr '\n' ' ')" 'batches index log timeindex '
}

@test "cat of the segments' logs is the partition" {
    cmp <(cat orders/.segments/0/*.log) "$T/in"
    echo more >> orders/0
    is "$(cat orders/.segments/0/*.log | tail -n 1)" more
}

@test "they can be mapped, shared and private" {
    py "$T/in" <<'P'
data, at = read_all(sys.argv[1]), 0
*closed, active = sorted(n for n in os.listdir("orders/.segments/0") if n.endswith(".log"))
for name in closed:
    fd = os.open("orders/.segments/0/" + name, os.O_RDONLY)
    size = os.fstat(fd).st_size
    for flags in (mmap.MAP_SHARED, mmap.MAP_PRIVATE):
        same(mmap.mmap(fd, size, flags=flags, prot=mmap.PROT_READ)[:], data[at:at + size])
    at += size
check(at > 0)
fd = os.open("orders/.segments/0/" + active, os.O_RDONLY)
size = os.fstat(fd).st_size
same(error(lambda: mmap.mmap(fd, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)), "ENODEV")
same(read_all("orders/.segments/0/" + active), data[at:])
P
}

@test "the active one is not to be had from the kernel's cache: sendfile and splice are EINVAL until it is rolled" {
    cp "$T/in" "$T/expected"
    py "$T/expected" "$T/out" <<'P'
os.mkdir("app")
data = read_all(sys.argv[1])
append("app/0", data)
file = "app/.segments/0/00000000000000000000.log"
fd = os.open(file, os.O_RDONLY)
out = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
r, w = os.pipe()
same(error(os.sendfile, out, fd, 0, 4096), "EINVAL")
same(error(os.splice, fd, w, 4096, 0), "EINVAL")
shutil.copyfile(file, sys.argv[2])
same(read_all(sys.argv[2]), data)
os.setxattr("app", "user.config.segment.bytes", b"1000")
append("app/0", b"more\n")
check(os.path.exists("app/.segments/0/%020d.log" % data.count(b"\n")))
for same_fd in (fd, os.open(file, os.O_RDONLY)):
    os.ftruncate(out, 0)
    at = os.lseek(out, 0, os.SEEK_SET)
    while n := os.sendfile(out, same_fd, at, 1 << 20):
        at += n
    same(read_all(sys.argv[2]), data)
P
}

@test "who reads the active one while it grows sees no NUL, however many read it and look at its size" {
    py <<'P'
os.mkdir("app")
append("app/0", b"first\n")
file = "app/.segments/0/00000000000000000000.log"

def watch(begin):
    os.read(begin, 1)
    fd, at, bad = os.open(file, os.O_RDONLY), 0, 0
    while True:
        size = os.stat(file).st_size
        got = os.pread(fd, 65536, max(0, size - 3000))
        bad += b"\0" in got
        if b"last" in got:
            os._exit(bad != 0)

r, w = os.pipe()
readers = []
for _ in range(2):
    readers.append(os.fork())
    if readers[-1] == 0:
        watch(r)
os.write(w, b"go")
fd = os.open("app/0", APPEND)
for n in range(10000):
    os.write(fd, b"%099d\n" % n)
os.write(fd, b"last\n")
same([os.waitpid(pid, 0)[1] for pid in readers], [0, 0])
P
}

@test "they are read-only" {
    file=$(ls orders/.segments/0/*.log | head -n 1)
    for try in "echo x >> $file" "echo x > $file" "rm $file" "mv $file orders/.segments/0/x" "truncate -s 0 $file" \
        "touch orders/.segments/0/new" "mkdir orders/.segments/0/new"; do
        fails '' sh "$try"
    done
    cmp <(cat orders/.segments/0/*.log) "$T/in"
}

@test "rsync backs them up, and the second time copies only what is new" {
    rsync -a orders/.segments/ "$T/backup/"
    cmp <(cat "$T"/backup/0/*.log) "$T/in"
    echo more >> orders/0
    rsync -ai orders/.segments/ "$T/backup/" > "$T/copied"
    is "$(grep -c 00000000000000000000 "$T/copied" || :)" 0
    at_most "$(grep -c '^>f' "$T/copied")" 8
    cmp <(cat "$T"/backup/0/*.log) orders/0
}

@test "tar backs them up" {
    tar -cf "$T/backup.tar" orders/.segments
    mkdir "$T/restored"
    tar -xf "$T/backup.tar" -C "$T/restored"
    cmp <(cat "$T"/restored/orders/.segments/0/*.log) "$T/in"
}

@test "grep and find go through them" {
    is "$(grep -l 000000500 orders/.segments/0/*.log | wc -l)" 1
    is "$(find orders/.segments -name '*.log' -size +0 | wc -l)" "$(ls orders/.segments/0/*.log | wc -l)"
}

@test "a segment that retention deleted stays readable until it is closed" {
    first=$(ls orders/.segments/0/*.log | head -n 1)
    exec 4< "$first"
    head -c 10 <&4 > "$T/start"
    fallocate -p -o 0 -l 5000 orders/0
    [ ! -e "$first" ]
    cat "$T/start" - <&4 > "$T/kept"
    cmp "$T/kept" <(head -c "$(size "$T/kept")" "$T/in")
    at_least "$(size "$T/kept")" 900
}

@test "those of a deleted topic stay readable until they are closed, read before or not" {
    mkdir gone
    set_attr gone user.config.delete.topic.enable true
    set_attr gone user.config.segment.bytes 1000
    seq 1000 >> gone/0
    mapfile -t files < <(ls gone/.segments/0/*.log)
    exec 4< "${files[0]}" 5< "${files[0]}" 6< "${files[-1]}" 7< "${files[-1]}"
    head -c 1 <&5 > "$T/one"
    head -c 1 <&7 >> "$T/one"
    cp "${files[0]}" "$T/closed"
    cp "${files[-1]}" "$T/active"
    rmdir gone
    [ ! -e gone ]
    cmp "$T/closed" - <&4
    cmp <(tail -c +2 "$T/closed") - <&5
    cmp "$T/active" - <&6
    cmp <(tail -c +2 "$T/active") - <&7
    exec 4<&- 5<&- 6<&- 7<&-
}

@test "the active segment ends at the high watermark, and grows" {
    last=$(ls orders/.segments/0/*.log | tail -n 1)
    before=$(size "$last")
    echo 12345 >> orders/0
    last_now=$(ls orders/.segments/0/*.log | tail -n 1)
    if [ "$last_now" = "$last" ]; then
        is "$(size "$last")" $((before + 6))
        is "$(cat "$last" | wc -c)" $((before + 6))
    fi
    is "$(tail -n 1 "$last_now")" 12345
}

@test "a file that compaction rewrote is another file" {
    mkdir state
    set_attr state user.config.key.separator =
    set_attr state user.config.min.cleanable.dirty.ratio 0
    set_attr state user.config.segment.bytes 500
    py <<'P'
for n in range(200):
    append("state/0", b"k%d=%03d\n" % (n % 3, n))
P
    file=state/.segments/0/00000000000000000000.log
    cat "$file" > "$T/old"
    exec 4< "$file"
    ino=$(stat -c %i "$file")
    set_attr state user.config.cleanup.policy compact
    wait_until '[ "$(stat -c %i "'$file'" 2>/dev/null)" != '$ino' ]'
    cmp "$T/old" <(cat <&4)
    at_most "$(cat $file | wc -c)" 200
}

# A byte is another one since before the start: of a closed segment, and of the active one; and far into a large one.
rotten() { # [OPTIONS]
    mkdir large
    set_attr large user.config.segment.bytes 190000
    py <<'P'
for n in range(200):
    append("large/0", b"%0999d\n" % n)
P
    closed=00000000000000000000.log
    echo last >> orders/0
    active=00000000000000001000.log
    is "$(cat "orders/.segments/0/$active")" last
    unmount_log
    for at in "orders-0/$closed 505" "orders-0/$active 2" "large-0/$closed 150500"; do
        printf 'Z' | dd of="$DATA/topics/${at% *}" bs=1 seek="${at#* }" conv=notrunc status=none
    done
    mount_log_in_front "$@"
    cd "$M"
}

@test "bytes that do not match their CRC are EIO, as in the partition, however they are read; the others are shown" {
    rotten
    for file in "orders/.segments/0/$closed" "orders/.segments/0/$active" "large/.segments/0/$closed"; do
        fails 'Input/output error' sh "cat $file > /dev/null"
        fails 'Input/output error' sh "cat $file > /dev/null"
    done
    grep -q 'orders-0: .*CRC' "$T/log"
    fails 'Input/output error' cat orders/0
    is "$(head -c 100000 "large/.segments/0/$closed" | md5sum)" "$(head -c 100000 "$DATA/topics/large-0/$closed" | md5sum)"
    is "$(cat orders/.segments/0/00000000000000000100.log)" "$(sed -n 101,200p "$T/in")"
    echo more >> orders/0
    py "large/.segments/0/$closed" "$T/out" "orders/.segments/0/$active" <<'P'
fd = os.open(sys.argv[3], os.O_RDONLY)
same(os.pread(fd, 100, os.fstat(fd).st_size - 5), b"more\n")
fd = os.open(sys.argv[1], os.O_RDONLY)
out = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
same(error(os.sendfile, out, fd, 150000, 4096), "EIO")
P
}

@test "one that was opened before it was deleted is checked all the same" {
    rotten
    exec 4< "large/.segments/0/$closed"
    head -c 10 <&4 > "$T/start"
    set_attr large user.config.delete.topic.enable true
    rmdir large
    [ ! -e large ]
    fails 'Input/output error' sh 'cat <&4 > /dev/null'
    exec 4<&-
}

@test "one that is still open, and was not checked, keeps nobody from stopping" {
    rotten
    exec 4< "orders/.segments/0/$closed"
    kill "$PID"
    wait_until no_daemon
    exec 4<&-
}

@test "with check.crcs=false they are shown as they lie" {
    rotten check.crcs=false
    for file in "orders-0/$closed" "orders-0/$active" "large-0/$closed"; do
        cmp "$DATA/topics/$file" "${file%-0/*}/.segments/0/${file#*/}"
    done
}
