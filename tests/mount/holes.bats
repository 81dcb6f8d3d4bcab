#!/usr/bin/env bats
# Retention and compaction remove bytes; what is left keeps its positions.
load lib

setup() {
    log_setup
    mount_log log.cleaner.backoff.ms=50
    cd "$M"
    mkdir orders
    # 1000 records of 10 bytes: record n is at position 10 n
    seq -f '%09.0f' 0 999 > "$T/in"
}

fill() { # in batches of 10 records
    py "$T/in" <<'P'
data = read_all(sys.argv[1])
fd = os.open("orders/0", APPEND)
for at in range(0, len(data), 100):
    os.write(fd, data[at:at + 100])
P
}

trim() { fallocate -p -o 0 -l "$1" orders/0; }

@test "fallocate -p drops the records that end at or before a position" {
    fill
    trim 5000
    is "$(cat orders/0)" "$(tail -n 500 "$T/in")"
    is "$(attr orders/0 user.log.start_offset)" 500
    is "$(attr orders/0 user.log.start_position)" 5000
}

@test "a record that is cut by the position is kept whole" {
    fill
    trim 5009
    is "$(head -n 1 orders/0)" 000000500
    trim 5010
    is "$(head -n 1 orders/0)" 000000501
    trim 3
    is "$(head -n 1 orders/0)" 000000501
}

@test "st_size stays, st_blocks and du say what is retained" {
    fill
    trim 5000
    is "$(size orders/0)" 10000
    is "$(attr orders/0 user.log.size)" 5000
    is "$(stat -c %b orders/0)" 10
    remount
    is "$(size orders/0)" 10000
    is "$(stat -c %b orders/0)" 10
    is "$(cat orders/0)" "$(tail -n 500 "$T/in")"
}

@test "all records can be dropped, and the log goes on where it was" {
    fill
    trim 10000
    is "$(cat orders/0)" ''
    is "$(size orders/0)" 10000
    is "$(attr orders/0 user.log.start_offset)" 1000
    is "$(stat -c %b orders/0)" 0
    echo next >> orders/0
    is "$(cat orders/0)" next
    is "$(cat orders/0@1000)" next
    is "$(size orders/0)" 10005
    remount
    is "$(cat orders/0)" next
    is "$(attr orders/0 user.log.position)" 10005
}

@test "cat, grep, head, wc and awk on a trimmed partition show exactly what is retained" {
    fill
    trim 7770
    tail -n 223 "$T/in" > "$T/left"
    cmp <(cat orders/0) "$T/left"
    is "$(grep -c . orders/0)" 223
    is "$(grep -c 00000077 orders/0)" 3
    is "$(head -n 1 orders/0)" 000000777
    is "$(head -c 20 orders/0)" $'000000777\n000000778'
    is "$(wc -l < orders/0)" 223
    is "$(wc -l orders/0)" '223 orders/0'
    is "$(awk '{ s += $1 } END { print NR, s }' orders/0)" "223 $(awk '{ s += $1 } END { print s }' "$T/left")"
    is "$(sed -n 2p orders/0)" 000000778
    is "$(sort -r orders/0 | head -n 1)" 000000999
}

@test "wc -c, cp, dd and cmp count what is retained" {
    fill
    trim 7770
    tail -n 223 "$T/in" > "$T/left"
    is "$(wc -c < <(cat orders/0))" 2230
    cp orders/0 "$T/copy"
    cmp "$T/copy" "$T/left"
    dd if=orders/0 of="$T/dd" bs=1000 status=none
    cmp "$T/dd" "$T/left"
}

@test "tail works from the end, also on a trimmed partition" {
    fill
    trim 7770
    is "$(tail -n 3 orders/0)" "$(tail -n 3 "$T/in")"
    is "$(tail -c 25 orders/0)" "$(tail -c 25 "$T/in")"
    is "$(tail -n +1 orders/0 | head -n 1)" 000000777
}

same_tails() { # FILE: tail -n N of it shows the last N of what it holds, whatever N
    local n count
    cat "$1" > "$T/held"
    count=$(wc -l < "$T/held")
    for n in 1 2 9 10 11 $((count / 2)) $((count - 1)) "$count" $((count + 1)) $((count + 100000)); do
        cmp <(timeout 20 tail -n "$n" "$1") <(tail -n "$n" "$T/held") || { echo "tail -n $n $1"; return 1; }
    done
    cmp <(timeout 20 tail "$1") <(tail "$T/held")
}

@test "tail shows the last N lines also when fewer are retained" {
    local left
    fill
    for left in 999 820 819 500 30 10 5 1; do
        trim $((10000 - 10 * left))
        is "$(wc -l < orders/0)" $left
        same_tails orders/0
    done
    trim 10000
    is "$(tail orders/0)" ''
    set_attr orders user.config.segment.bytes 1000
    seq 100000 >> orders/0
    trim "$(($(size orders/0) - 31))"
    is "$(tail orders/0)" "$(seq 99996 100000)"
    is "$(tail -n 100000 orders/0)" "$(seq 99996 100000)"
    echo more >> orders/0
    same_tails orders/0
}

@test "tail counts back over the holes of a compacted partition" {
    mkdir state
    set_attr state user.config.key.separator =
    set_attr state user.config.cleanup.policy compact
    set_attr state user.config.segment.bytes 100000
    set_attr state user.config.min.cleanable.dirty.ratio 0.01
    py <<'P'
fd = os.open("state/0", APPEND)
for n in range(30000):
    key = n % 100 if 10000 < n < 25000 else n
    os.write(fd, b"%05d=%d\n" % (key, n))
P
    # 0 to 10000, the last of each of 100 keys, and 25000 to 29999
    wait_until '[ "$(wc -l < state/0)" = 15001 ]'
    same_tails state/0
}

@test "tac and head -n -5 of a trimmed partition work by the name 0@start" {
    fill
    trim 9000
    is "$(tac orders/0@start)" "$(tail -n 100 "$T/in" | tac)"
    is "$(head -n -5 orders/0@start)" "$(tail -n 100 "$T/in" | head -n -5)"
}

@test "bash reads a trimmed partition line by line, each line once" {
    fill
    trim 7770
    {
        read -r a
        read -r b
        c=$(head -n 1)
        is "$a $b $c" '000000777 000000778 000000779'
        n=0
        while read -r line; do n=$((n + 1)); done
        is "$n $line" '220 '
    } < orders/0
}

@test "a reader that was there before a trim goes on behind the hole" {
    fill
    exec 4< orders/0
    is "$(dd bs=10 count=3 status=none <&4)" "$(head -n 3 "$T/in")"
    trim 9950
    is "$(cat <&4)" "$(tail -n 5 "$T/in")"
}

@test "positions that were read keep their meaning, others are the partition's" {
    fill
    trim 5000
    py "$T/in" <<'P'
data = read_all(sys.argv[1])
fd = os.open("orders/0", os.O_RDONLY)
same(os.read(fd, 30), data[5000:5030])
same(os.lseek(fd, 10, os.SEEK_SET), 10)
same(os.read(fd, 10), data[5010:5020])
same(os.pread(fd, 30, 0), data[5000:5030])
same(os.pread(fd, 10, 9990), data[9990:])
same(os.pread(fd, 10, 7000), data[7000:7010])
P
}

@test "a read that begins in a hole and reaches past its end returns only what lies in the range" {
    fill
    trim 5000
    py "$T/in" <<'P'
data = read_all(sys.argv[1])
fd = os.open("orders/0", os.O_RDONLY)
same(os.pread(fd, 100, 4990), data[5000:5090])
fd = os.open("orders/0", os.O_RDONLY)
same(os.pread(fd, 20000, 0), data[5000:])
fd = os.open("orders/0", os.O_RDONLY)
same(os.pread(fd, 100, 1000), data[5000:5100])
P
}

@test "with a hole anywhere, sendfile and splice are EINVAL from the first byte to the last, and read goes on" {
    set_attr orders user.config.segment.bytes 100000
    seq -f '%09.0f' 30000 > "$T/in"
    cat "$T/in" >> orders/0
    trim 50000
    py "$T/in" "$T/out" <<'P'
data = read_all(sys.argv[1])
out = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
r, w = os.pipe()
fd = os.open("orders/0", os.O_RDONLY)
for at in 0, 40960, 53248, 200704, len(data) - 4096:
    same((at, error(os.sendfile, out, fd, at, 4096)), (at, "EINVAL"))
    same((at, error(os.splice, fd, w, 4096, at)), (at, "EINVAL"))
same(pread_all(fd, len(data), 0), data[50000:])
same(error(os.sendfile, out, fd, 200704, 4096), "EINVAL")
shutil.copyfile("orders/0", sys.argv[2])
same(read_all(sys.argv[2]), data[50000:])
# What begins behind the hole has none.
fd = os.open("orders/0@start", os.O_RDONLY)
same(os.sendfile(out, fd, 0, 1 << 20), len(data) - 50000)
P
}

@test "a compacted partition is not sent out of the kernel's cache, by no name" {
    mkdir state
    set_attr state user.config.key.separator =
    set_attr state user.config.segment.bytes 20000
    set_attr state user.config.min.cleanable.dirty.ratio 0.01
    py <<'P'
for n in range(0, 9000, 100):
    append("state/0", b"".join(b"%05d=%d\n" % (i % 7 if 3000 < i < 6000 else i, i) for i in range(n, n + 100)))
data = read_all("state/0")
out = os.open("/dev/null", os.O_WRONLY)
before = os.open("state/0", os.O_RDONLY)
same(os.sendfile(out, before, 0, 1 << 20), len(data))
os.setxattr("state", "user.config.cleanup.policy", b"compact")
wait_until(lambda: read_all("state/0").count(b"\n") < 7000)
# The pages go at the end of the pass, which may rewrite more than one segment.
wait_until(lambda: error(os.sendfile, out, before, 0, 4096) == "EINVAL")
for fd in before, os.open("state/0", os.O_RDONLY), os.open("state/0@start", os.O_RDONLY):
    same(error(os.sendfile, out, fd, 0, 4096), "EINVAL")
same(error(os.sendfile, out, before, 4096 * (len(data) // 4096), 4096), "EINVAL")
P
}

@test "what was sent out of the kernel's cache before a trim is not sent again after it" {
    fill
    py "$T/in" <<'P'
data = read_all(sys.argv[1])
out = os.open("/dev/null", os.O_WRONLY)
fd = os.open("orders/0", os.O_RDONLY)
same(os.sendfile(out, fd, 0, 1 << 20), len(data))
mapped = os.open("orders/0@100", os.O_RDONLY)
m = mmap.mmap(mapped, len(data) - 1000, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
same(m[:], data[1000:])
subprocess.run("fallocate -p -o 0 -l 5000 orders/0", shell=True, check=True)
for at in 0, 4096, 8192:
    same(error(os.sendfile, out, fd, at, 4096), "EINVAL")
if os.fork() == 0:
    signal.signal(signal.SIGBUS, signal.SIG_DFL)
    m[0]
    os._exit(0)
same(os.waitstatus_to_exitcode(os.wait()[1]), -signal.SIGBUS)
same(read_all("orders/0"), data[5000:])
P
}

@test "whole segments before the position are deleted at once" {
    set_attr orders user.config.segment.bytes 1000
    fill
    before=$(ls orders/.segments/0/ | grep -c 'log$')
    at_least "$before" 9
    trim 5000
    at_most "$(ls orders/.segments/0/ | grep -c 'log$')" $((before - 4))
    at_most "$(cat "$DATA"/topics/orders-0/*.log | wc -c)" 6000
    is "$(cat orders/0)" "$(tail -n 500 "$T/in")"
}

@test "a smaller retention.bytes deletes whole segments at once, oldest first" {
    set_attr orders user.config.segment.bytes 1000
    fill
    set_attr orders user.config.retention.bytes 3000
    wait_until '[ "$(attr orders/0 user.log.size)" -le 4000 ]' # the timer runs every five minutes
    is "$(size orders/0)" 10000
    left=$(cat orders/0 | wc -c)
    at_least "$left" 3000
    at_most "$left" 4000
    is "$(cat orders/0)" "$(tail -c "$left" "$T/in")"
    is "$(attr orders/0 user.log.start_position)" $((10000 - left))
    is "$(attr orders/0 user.log.size)" "$left"
}

@test "a shorter retention.ms empties an idle topic at once, the active segment too" {
    fill
    later 20
    set_attr orders user.config.retention.ms 10
    wait_until '[ -z "$(cat orders/0)" ]' # the timer runs every five minutes
    is "$(size orders/0)" 10000
    is "$(attr orders/0 user.log.start_offset)" 1000
    setfattr -x user.config.retention.ms orders
    echo next >> orders/0
    is "$(cat orders/0)" next
}

@test "an idle topic expires by the timer too" {
    remount log.retention.check.interval.ms=100
    set_attr orders user.config.retention.ms 300
    fill
    wait_until '[ -z "$(cat orders/0)" ]'
    is "$(size orders/0)" 10000
}

@test "after retention removed everything a topic can be removed" {
    fill
    fails 'Directory not empty' rmdir orders
    trim 10000
    rmdir orders
    [ ! -e orders ]
}

compacted() { # TOPIC: keys k0…k9 written many times over small segments
    mkdir "$1"
    set_attr "$1" user.config.key.separator =
    set_attr "$1" user.config.cleanup.policy compact
    set_attr "$1" user.config.min.cleanable.dirty.ratio 0
    set_attr "$1" user.config.segment.bytes 1000
    py "$1" <<'P'
for n in range(500):
    append(sys.argv[1] + "/0", b"k%d=%03d\n" % (n % 10, n))
P
}

@test "compaction keeps the last value of each key, with its own offset and position" {
    compacted state
    wait_until '[ "$(cat state/0 | wc -l)" -lt 160 ]'
    is "$(size state/0)" 3500
    is "$(attr state/0 user.log.high_watermark)" 500
    py <<'P'
rows = [json.loads(l) for l in open("state/.json/0")]
offsets = [r["offset"] for r in rows]
same(offsets, sorted(set(offsets)))
for r in rows:
    same((r["key"], r["value"]), (f"k{r['offset'] % 10}", f"{r['offset']:03}"))
same({r["key"]: r["value"] for r in rows}, {f"k{n}": f"{490 + n}" for n in range(10)})
for r in rows:
    name = f"state/0@{r['offset']}"
    same(int(os.getxattr(name, "user.log.position")), 7 * r["offset"])
    same(open(name).readline(), f"{r['key']}={r['value']}\n")
P
}

@test "a group is given what compaction left, and commits and is moved across the holes" {
    compacted state
    mkdir .groups/kitchen
    wait_until '[ "$(cat state/0 | wc -l)" -lt 160 ]'
    py <<'P'
left = [json.loads(l)["offset"] for l in open("state/.json/0")]
check(left[0] > 3, left)
fd = os.open(".groups/kitchen/state", os.O_RDONLY)
got = b""
while not got.endswith(b"=499\n"):
    got += os.read(fd, 300)
given = [int(record[3:]) for record in got.split()]
same(given, sorted(set(given)))
check(set(given) <= set(left), given, left)
same(got, b"".join(b"k%d=%03d\n" % (n % 10, n) for n in given))
os.fsync(fd)
def attr(name): return os.getxattr("state/0", "user.group.kitchen." + name)
same((attr("committed"), attr("lag")), (b"500", b"0"))
same(os.getxattr(f"/proc/self/fd/{fd}", "user.log.skipped"), b"0") # nothing that retention removed
# As an address does, an offset that is a hole's means the next record.
os.setxattr("state/0", "user.group.kitchen.committed", b"3")
set_to = int(attr("committed"))
check(set_to in left, set_to, left)
next = int(os.read(fd, 300).split()[0][3:])
check(next >= set_to and next in left, next, set_to, left) # if that was compacted meanwhile, it is a later one
P
}

@test "bash reads a compacted partition with its many holes, each record once" {
    compacted state
    wait_until '[ "$(cat state/0 | wc -l)" -lt 160 ]'
    setfattr -x user.config.cleanup.policy state
    cat state/0 > "$T/all"
    while read -r line; do echo "$line"; done < state/0 > "$T/read"
    cmp "$T/all" "$T/read"
    { head -n 5; head -n 7; cat; } < state/0 > "$T/pieces"
    cmp "$T/all" "$T/pieces"
}

@test "a read is filled over however many holes, and all of it can be sought back to" {
    mkdir state
    set_attr state user.config.key.separator =
    set_attr state user.config.cleanup.policy compact
    set_attr state user.config.min.cleanable.dirty.ratio 0
    set_attr state user.config.segment.bytes 65536
    seq 1000 9999 | sed 's/$/=/; a x=' >>state/0
    seq 10000 29999 | sed 's/$/=/' >>state/0
    wait_until '[ "$(head -n 9000 state/0 | grep -c x)" -le 1 ]'
    setfattr -x user.config.cleanup.policy state
    cat state/0 >"$T/all"
    at_least "$(wc -l <"$T/all")" 29000
    dd if=state/0 of="$T/block" bs=1M count=1 status=none
    cmp "$T/all" "$T/block"
    { head -n 3; cat; } <state/0 >"$T/pieces" # head reads 8 KiB, which hold 1,365 of these
    cmp "$T/all" "$T/pieces"
}

@test "a tombstone removes its key" {
    mkdir state
    set_attr state user.config.key.separator :
    set_attr state user.config.cleanup.policy compact
    set_attr state user.config.min.cleanable.dirty.ratio 0
    set_attr state user.config.delete.retention.ms 0
    set_attr state user.config.segment.bytes 200
    py <<'P'
append("state/0", b"gone:value\n")
append("state/0", b"stays:value\n")
append("state/0", b"gone:\n")
for n in range(100):
    append("state/0", b"other:%d\n" % n)
P
    wait_until 'echo other:more >> state/0; ! grep -q ^gone: state/0'
    is "$(grep stays state/0)" stays:value
    is "$(head -n 1 state/0@1)" stays:value
    remount log.cleaner.backoff.ms=50
    is "$(grep -c gone state/0 || :)" 0
}
