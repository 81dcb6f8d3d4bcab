#!/usr/bin/env bats
# Consumer groups' streams with real programs: who reads on has done with what it read, and what a dead worker had in
# hand goes to the others.
load lib

setup() {
    log_setup
    mount_log
    cd "$M"
    mkdir orders .groups/kitchen
    S=.groups/kitchen/orders
}

# The first record that the group gives out now: by a member that commits nothing.
next_record() { head -n 1 "${1:-$S}"; }

# worker FILE PROGRAM…: a program that reads the stream, in a session of its own; its output goes to the file.
worker() {
    local out=$1
    shift
    setsid "$@" < "$S" > "$out" 3>&- &
    WORKER=$!
    BG+=("$WORKER")
}

# kill -9, with its children, and wait until that is over.
kill_worker() { # PID
    kill -9 -- "-$1" 2>/dev/null || kill -9 "$1"
    wait "$1" 2>/dev/null || :
}

lines() { [ ! -e "$1" ] || wc -l < "$1"; }
# So many members have a partition each, at least.
shared_by() { [ "$(awk '$2 == "orders" && $9 != "-" { print $9 }' .cluster/groups | sort -u | wc -l)" = "$1" ]; } # MEMBERS

@test "two workers share a topic, one is killed, and nothing is lost" {
    touch orders/1
    for i in 1 2; do
        worker "$T/done.$i" bash -c 'while read -r line; do echo "$line"; done'
        pids[i]=$WORKER
    done
    wait_until 'shared_by 2'
    for i in $(seq 1 100); do echo "table $i" >> orders/$((i % 2)); done
    wait_until '[ "$(cat "$T"/done.* | wc -l)" = 100 ]'
    at_least "$(lines "$T/done.1")" 1
    at_least "$(lines "$T/done.2")" 1
    kill_worker "${pids[1]}"
    for i in $(seq 101 200); do echo "table $i" >> orders/$((i % 2)); done
    wait_until '[ "$(sort -u "$T"/done.* | wc -l)" = 200 ]'
    is "$(sort -u "$T"/done.* | sort -k 2n | head -n 1)" "table 1"
    # What the dead one had committed within the last 100 ms may be here twice; it leaves with what it has.
    at_most "$(cat "$T"/done.* | wc -l)" 201
}

@test "reading on is the commit; closing, exiting and being killed are none" {
    seq 10 >> orders/0
    is "$(head -n 1 "$S")" 1
    is "$(head -n 3 "$S")" $'1\n2\n3'
    is "$(next_record)" 1
    is "$(bash -c 'read -r a; read -r b; read -r c; echo $a $b $c' < "$S")" "1 2 3"
    is "$(next_record)" 3 # nobody has read on from the third
    py "$S" <<'P'
fd = os.open(sys.argv[1], os.O_RDONLY)
same(os.read(fd, 5), b"3\n4\n") # whole records of less than its size
same(os.read(fd, 5), b"5\n6\n")
os._exit(0)
P
    is "$(next_record)" 5
}

# The group is made anew, once its last member has left: a moment after that has ended.
anew() { wait_until 'rmdir .groups/kitchen 2> /dev/null' && mkdir .groups/kitchen; }

# in_hand PROGRAM…: the number of the record that a program is killed with, and the one that the group gives out next:
# of 1,200 records it has the 700th in hand.
in_hand() {
    seq 1200 >> orders/0
    worker "$T/out" "$@"
    wait_until '[ -e "$T/stuck" ]' 30
    kill_worker "$WORKER"
    rm "$T/stuck"
    NEXT=$(next_record)
}

@test "programs that finish a record before they read on have nothing unprocessed committed" {
    export T
    shell='n=0; while read -r line; do n=$((n + 1)); if [ "$n" = 700 ]; then : > "$T/stuck"; sleep 1000; fi; done'
    at=0
    for program in bash dash "busybox sh"; do
        in_hand $program -c "$shell"
        is "$program $NEXT" "$program 700"
        anew
        fallocate -p -o 0 -l "$(size orders/0)" orders/0
    done
    # Those have a buffer: what was in it is given out again.
    for program in \
        'gawk { if (NR == 700) { system(": > $T/stuck; sleep 1000") } }' \
        'perl -ne if ($. == 700) { open my $f, ">", "$ENV{T}/stuck"; close $f; sleep 1000 }' \
        $'python3 -c import os, sys, time\nfor n, line in enumerate(sys.stdin, 1):\n    if n == 700: open(os.environ["T"] + "/stuck", "w").close(); time.sleep(1000)'; do
        name=${program%% *} rest=${program#* }
        case $rest in -ne* | -c*) in_hand "$name" "${rest%% *}" "${rest#* }" ;; *) in_hand "$name" "$rest" ;; esac
        echo "$name $NEXT"
        at_most "$NEXT" 700
        at_least "$NEXT" 200 # max.poll.records bounds a repetition
        anew
        fallocate -p -o 0 -l "$(size orders/0)" orders/0
    done
}

# What reads ahead, or runs jobs side by side, has committed what nobody has done with.
ahead() { # RECORDS PROGRAM…: all of them are committed when it is killed, and it is done with none
    seq "$1" >> orders/0
    worker "$T/out" "${@:2}"
    wait_until '[ "$(attr orders/0 user.group.kitchen.lag 2>/dev/null)" = 0 ]'
    kill_worker "$WORKER"
    is "$(cat "$T/out")" ''
    anew
    fallocate -p -o 0 -l "$(size orders/0)" orders/0
}

@test "programs that read ahead have committed what they have in hand" {
    ahead 1 xargs -L1 sh -c 'sleep 1000; echo "$0"'
    ahead 4 xargs -P4 -L1 sh -c 'sleep 1000; echo "$0"'
    ahead 10 sh -c 'cat | { read -r line; sleep 1000; echo "$line"; }'
    ahead 10 sh -c 'while read -r line; do cat > /dev/null; echo "$line"; done'
    ahead 10 sort
}

@test "a read gives whole records of one partition, less than its size, and pieces only of a first one that is longer" {
    touch orders/1
    printf '%s\n' a bb ccc >> orders/0
    printf '%s\n' dddddddddddd e >> orders/1
    py "$S" <<'P'
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK)
p = select.poll()
p.register(fd, select.POLLIN)
wait_until(lambda: p.poll(0) and os.getxattr(f"/proc/self/fd/{fd}", "user.group.partitions") == b"0,1")
os.set_blocking(fd, True)
same(os.read(fd, 9), b"a\nbb\n")
same(os.read(fd, 4096), b"dddddddddddd\ne\n")  # the next partition's turn
same(os.read(fd, 4096), b"ccc\n")
append("orders/1", b"0123456789\nz\n")
same(os.read(fd, 4), b"0123")
same(os.read(fd, 4), b"4567")
same(os.read(fd, 8), b"89\n")
same(os.read(fd, 8), b"z\n")
P
}

@test "a read that could be filled is left short, so that the kernel does not send the next" {
    yes 0123456789abcde | head -n 200000 >> orders/0
    set_attr .groups/kitchen user.config.max.poll.records 1000000
    py "$S" <<'P'
fd = os.open(sys.argv[1], os.O_RDONLY)
for size in (16, 17, 4096, 65536, 1 << 20, 3 << 20):
    got = os.read(fd, size)
    check(len(got) % 16 == 0 or size == 16, size, len(got))
    check(len(got) <= max(16, min(size, 1 << 20) - 1), size, len(got))
    me = f"/proc/self/fd/{fd}"
# One READ of the kernel's after the other: the position is what was given.
at = os.lseek(fd, 0, os.SEEK_CUR)
same(os.getxattr(me, "user.group.positions"), b"0:%d" % (at // 16))
P
}

@test "max.poll.records bounds a read, and works at once" {
    seq 2000 >> orders/0
    py "$S" <<'P'
fd = os.open(sys.argv[1], os.O_RDONLY)
same(os.read(fd, 65536).count(b"\n"), 500)
os.setxattr(".groups/kitchen", "user.config.max.poll.records", b"7")
same(os.read(fd, 65536).count(b"\n"), 7)
os.removexattr(".groups/kitchen", "user.config.max.poll.records")
same(os.read(fd, 65536).count(b"\n"), 500)
P
}

@test "dash reads byte by byte, and a long line is whole" {
    mkdir .groups/bar
    py <<'P'
append("orders/0", b"x" * 20000 + b"\nshort\n")
P
    is "$(dash -c 'read -r a; read -r b; echo ${#a} $b' < "$S")" "20000 short"
    is "$(bash -c 'read -r a; read -r b; echo ${#a} $b' < .groups/bar/orders)" "20000 short"
}

@test "programs may seek back over the last MiB, and nowhere else" {
    py "$S" <<'P'
line = b"%07d\n"
append("orders/0", b"".join(line % i for i in range(400000)))
fd = os.open(sys.argv[1], os.O_RDONLY)
all = b""
while len(all) < 3200000:
    all += os.read(fd, 65536)
for back in (1, 8, 100, 4096, 65537, 1 << 20):
    got = os.pread(fd, 4096, len(all) - back)
    check(got and all[len(all) - back:].startswith(got), back)
same(error(os.pread, fd, 10, len(all) - (1 << 20) - 1), "EINVAL")
same(error(os.pread, fd, 10, len(all) + 1), "EINVAL")
same(error(os.pread, fd, 10, 0), "EINVAL")
P
}

@test "fsync commits all that was delivered, and says so when it is decided" {
    seq 10 >> orders/0
    py "$S" <<'P'
fd = os.open(sys.argv[1], os.O_RDONLY)
os.fsync(fd)
same(os.read(fd, 6), b"1\n2\n")
os.fsync(fd)
os._exit(0)
P
    is "$(next_record)" 3
}

@test "user.group.commit commits up to a position, or all" {
    seq 10 >> orders/0
    [ "$(bash -c 'read -r a; setfattr -n user.group.commit -v "$(sed -n "s/^pos:[[:space:]]*//p" /proc/self/fdinfo/0)" /proc/self/fd/0; echo $a' < "$S")" = 1 ]
    is "$(next_record)" 2
    py "$S" <<'P'
f = open(sys.argv[1], "rb")
me = f"/proc/self/fd/{f.fileno()}"
def commit(at):
    os.setxattr(me, "user.group.commit", at)
same(error(commit, b"0"), None)
same(error(commit, b"1"), "EINVAL")
same([f.readline(), f.readline()], [b"2\n", b"3\n"])
commit(b"%d" % (f.tell() + 1)) # half of the next one is none
for bad in (b"-1", b"4x", b" 4", b"99999999999999999999", b"1000"):
    same(error(commit, bad), "EINVAL")
commit(b"0") # is before what is committed
same(error(os.setxattr, me, "user.group.positions", b"0:9"), "EPERM")
same(error(os.setxattr, me, "user.group.nonsense", b"9"), "EINVAL")
same(error(os.getxattr, me, "user.group.commit"), "ENODATA")
same(error(os.setxattr, sys.argv[1], "user.group.commit", b"0"), "EINVAL")
os._exit(0)
P
    is "$(next_record)" 4
}

@test "with enable.auto.commit=false only fsync and setfattr commit" {
    seq 10 >> orders/0
    set_attr .groups/kitchen user.config.enable.auto.commit false
    is "$(bash -c 'for i in 1 2 3 4 5; do read -r a; done; echo $a' < "$S")" 5
    is "$(next_record)" 1
    py "$S" <<'P'
fd = os.open(sys.argv[1], os.O_RDONLY)
got = [os.read(fd, 3) for i in range(4)]
os.setxattr(f"/proc/self/fd/{fd}", "user.group.commit", b"4") # an old position, of the second record
os._exit(0)
P
    is "$(next_record)" 3
}

@test "with enable.auto.commit=false a partition that is taken away can be committed before it is given up" {
    touch orders/1
    seq 10 >> orders/0
    seq 10 >> orders/1
    set_attr .groups/kitchen user.config.enable.auto.commit false
    set_attr .groups/kitchen user.config.rebalance.timeout.ms 60000
    py "$S" <<'P'
def owned(fd):
    return len(os.getxattr(f"/proc/self/fd/{fd}", "user.group.partitions").split(b","))
fd = os.open(sys.argv[1], os.O_RDONLY)
got = os.read(fd, 21) + os.read(fd, 21)
same(got, b"1\n2\n3\n4\n5\n6\n7\n8\n9\n" * 2)
other = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK)
same(error(os.read, other, 100), "EAGAIN")
wait_until(lambda: owned(fd) == 1) # long before rebalance.timeout.ms
got = os.read(fd, 21) # reads on, from what it keeps
os.fsync(fd)
while error(os.read, other, 100) is not None:
    pass
P
    is "$(for i in 0 1; do attr orders/$i user.group.kitchen.committed; echo; done | sort -n | xargs)" "9 10"
}

@test "an open file shows its member's partitions and positions" {
    touch orders/1
    seq 10 >> orders/0
    py "$S" <<'P'
fd = os.open(sys.argv[1], os.O_RDONLY)
me = f"/proc/self/fd/{fd}"
same(os.listxattr(me), ["user.group.partitions", "user.group.positions", "user.log.skipped"])
same(os.getxattr(me, "user.group.partitions"), b"") # nobody has read it: it holds no share
os.read(fd, 5)
wait_until(lambda: os.getxattr(me, "user.group.partitions") == b"0,1")
same(os.getxattr(me, "user.group.positions"), b"0:2,1:0")
same(os.listxattr(sys.argv[1]), [])
other = os.open(me, os.O_RDONLY) # without a look-up
for call in (os.listxattr, lambda p: os.getxattr(p, "user.group.partitions"),
             lambda p: os.setxattr(p, "user.group.commit", b"")):
    same(error(call, me), "EBUSY")
os.read(fd, 5)
os.fsync(fd)
os.close(other)
wait_until(lambda: error(os.listxattr, me) is None)
P
    getfattr -d /proc/self/fd/4 4< "$S" > "$T/dump"
    is "$(grep -c user "$T/dump")" 3
}

@test "O_NONBLOCK gives EAGAIN, poll wakes, and a signal ends a wait" {
    py "$S" <<'P'
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK)
p = select.poll()
p.register(fd, select.POLLIN)
same(p.poll(0), [])
same(error(os.read, fd, 100), "EAGAIN")
seen = []
t = threading.Thread(target=lambda: seen.append(p.poll(1000 * LIMIT_S)))
t.start()
wait_until(lambda: blocked(t.native_id))
append("orders/0", b"one\n")
t.join(LIMIT_S)
same(seen, [[(fd, select.POLLIN)]])
same(os.read(fd, 100), b"one\n")
same(error(os.read, fd, 100), "EAGAIN")
os.set_blocking(fd, True)
check(rung(os.read, fd, 100))
append("orders/0", b"two\n")
same(os.read(fd, 100), b"two\n")
P
    for signal in INT KILL; do
        bg env --default-signal=INT cat "$S"
        reader=$!
        wait_until 'grep -qs "^0 " /proc/'$reader'/syscall && ls -l /proc/'$reader'/fd | grep -q kitchen'
        kill -$signal "$reader"
        wait_until '[ ! -e /proc/'$reader' ] || grep -q "^State:.Z" /proc/'$reader'/status'
    done
}

@test "what comes through the page cache is refused" {
    seq 10 >> orders/0
    py "$S" <<'P'
fd = os.open(sys.argv[1], os.O_RDONLY)
r, w = os.pipe()
out = os.open(os.environ["HOME"] + "/out", os.O_WRONLY | os.O_CREAT)
same(error(os.sendfile, out, fd, 0, 10), "EINVAL")
same(error(os.splice, fd, w, 10), "EINVAL")
check(error(os.copy_file_range, fd, out, 10) in ("EINVAL", "EXDEV"))
same(error(mmap.mmap, fd, 10, mmap.MAP_SHARED, mmap.PROT_READ), "ENODEV")
same(os.read(fd, 3), b"1\n")
P
    bg cp "$S" "$T/copy" # falls back to read(2), and waits for more
    wait_until 'cmp -s "$T/copy" orders/0 && grep -qs "^0 " /proc/'$!'/syscall'
}

@test ".json is the same stream as JSON lines, with one set of offsets" {
    printf '%s\n' 'a' 'b"c' >> orders/0
    is "$(timeout 30 head -n 1 .groups/kitchen/.json/orders | grep -o '"partition.*value":"a"}' | sed 's/"timestamp":[0-9]*/T/')" \
        '"partition":0,"offset":0,T,"key":null,"value":"a"}'
    is "$(bash -c 'read -r a; read -r b; echo "$b"' < .groups/kitchen/.json/orders | python3 -c 'import json; print(json.loads(input())["value"])')" 'b"c'
    is "$(next_record)" 'b"c'
    # Members of both views share the partitions.
    touch orders/1
    py <<'P'
plain = os.open(".groups/kitchen/orders", os.O_RDONLY | os.O_NONBLOCK)
other = os.open(".groups/kitchen/.json/orders", os.O_RDONLY | os.O_NONBLOCK)
def partitions(fd):
    error(os.read, fd, 1)
    return os.getxattr(f"/proc/self/fd/{fd}", "user.group.partitions")
wait_until(lambda: sorted([partitions(plain), partitions(other)]) == [b"0", b"1"])
P
}

@test "records of MessagePack, and a long one in pieces" {
    mkdir packed
    set_attr packed user.config.framing msgpack
    py <<'P'
def record(body):
    return b"\xc5" + struct.pack(">H", len(body)) + body
append("packed/0", record(b"a\nb") + record(b"c" * 5000) + record(b"d"))
fd = os.open(".groups/kitchen/packed", os.O_RDONLY)
same(os.read(fd, 100), record(b"a\nb"))
got = os.read(fd, 1000)
check(0 < len(got) < 1000)
while len(got) < 5007:
    got += os.read(fd, 1000)
same(got, record(b"c" * 5000) + record(b"d"))
P
}

@test "what retention removed before it was delivered is counted" {
    seq 100 >> orders/0
    is "$(next_record)" 1
    fallocate -p -o 0 -l 20 orders/0 # 1 to 10 come to 21 bytes
    py "$S" <<'P'
fd = os.open(sys.argv[1], os.O_RDONLY)
same(os.read(fd, 6), b"10\n")
same(os.getxattr(f"/proc/self/fd/{fd}", "user.log.skipped"), b"9")
P
}

@test "descriptors of one open file are one member" {
    touch orders/1 orders/2
    for i in 0 1 2; do seq $((i * 1000)) $((i * 1000 + 999)) >> orders/$i; done
    py "$S" <<'P'
fd = os.open(sys.argv[1], os.O_RDONLY)
got, lock = [], threading.Lock()
def read(fd):
    while True:
        with lock:
            if sum(map(len, got)) >= 3000: return
        part = os.read(fd, 4096)
        with lock: got.append(part.split(b"\n")[:-1])
        if not part: return
threads = [threading.Thread(target=read, args=(d,), daemon=True) for d in (fd, os.dup(fd), os.dup(fd))]
for t in threads: t.start()
wait_until(lambda: sum(map(len, got)) >= 3000)
same(sorted(int(n) for part in got for n in part), list(range(3000)))
wait_until(lambda: os.getxattr(f"/proc/self/fd/{fd}", "user.group.partitions") == b"0,1,2")
os._exit(0)
P
}

@test "a member that many threads pread at once sees one stream" {
    seq 20000 >> orders/0
    py "$S" <<'P'
fd = os.open(sys.argv[1], os.O_RDONLY)
want = b"".join(b"%d\n" % i for i in range(1, 20001))
def read(seed):
    rnd = random.Random(seed)
    at = 0
    while at < len(want):
        try:
            got = os.pread(fd, rnd.choice((1, 7, 300, 5000, 65536)), at)
        except OSError as e:
            same(e.errno, errno.EINVAL) # another one is not there yet, or far ahead
            continue
        if want[at:at + len(got)] != got:
            bad.append((at, got[:50]))
            return
        if rnd.random() < 0.7: at += len(got)
bad = []
threads = [threading.Thread(target=read, args=(i,), daemon=True) for i in range(4)]
for t in threads: t.start()
for t in threads: t.join(60)
same(bad, [])
check(not any(t.is_alive() for t in threads))
os._exit(0)
P
}

@test "a partition that is added is shared out, and one that is slow to read holds up nobody" {
    echo one >> orders/0
    py "$S" <<'P'
fd = os.open(sys.argv[1], os.O_RDONLY)
same(os.read(fd, 100), b"one\n")
os.close(os.open("orders/1", os.O_WRONLY | os.O_CREAT))
append("orders/1", b"two\n")
same(os.read(fd, 100), b"two\n")
P
}

@test "a worker that is stopped is handed over from when its time is up, and goes on with what it has" {
    touch orders/1
    set_attr .groups/kitchen user.config.rebalance.timeout.ms 300
    worker "$T/first" bash -c 'while read -r line; do echo "$line"; done'
    first=$WORKER
    echo a >> orders/0
    echo b >> orders/1
    wait_until '[ "$(lines "$T/first")" = 2 ]'
    kill -STOP "$first"
    for i in 0 1; do seq $((i * 100)) $((i * 100 + 9)) >> orders/$i; done
    worker "$T/second" bash -c 'while read -r line; do echo "$line"; done'
    wait_until '[ "$(lines "$T/second")" -ge 10 ]'
    kill -CONT "$first"
    wait_until '[ "$(cat "$T/first" "$T/second" | sort -u | wc -l)" = 22 ]'
}

@test "an open file of a deleted topic is ESTALE, also to who waits" {
    echo one >> orders/0
    set_attr orders user.config.delete.topic.enable true
    bg sh 'cat '"$S"' > "$0" 2> "$1"' "$T/out" "$T/err"
    wait_until '[ -s "$T/out" ]'
    rmdir orders
    wait_until 'grep -q "Stale file handle" "$T/err"'
}

@test "stopping the daemon ends parked readers" {
    bg cat "$S"
    reader=$!
    wait_until 'grep -qs "^0 " /proc/'$reader'/syscall && ls -l /proc/'$reader'/fd | grep -q kitchen'
    kill -TERM "$PID"
    wait_until '[ ! -e /proc/'$reader' ] || grep -q "^State:.Z" /proc/'$reader'/status'
}

@test "ten workers, half of them killed while records flow: each is processed, few twice" {
    [ -z "$SANITIZED" ] && records=${GROUP_RECORDS:-40000} || records=4000
    for i in $(seq 9); do touch orders/$i; done
    for i in $(seq 10); do
        worker "$T/done.$i" bash -c 'while read -r line; do echo "$line"; done'
        pids[i]=$WORKER
    done
    py "$records" <<'P' &
fds = [os.open(f"orders/{i}", APPEND) for i in range(10)]
for n in range(int(sys.argv[1])):
    os.write(fds[n % 10], b"%d\n" % n)
P
    writer=$!
    for i in 1 2 3 4 5; do
        wait_until '[ "$(cat "$T"/done.* | wc -l)" -ge '$((records * i / 8))' ]' 60
        kill_worker "${pids[i]}"
    done
    wait "$writer"
    wait_until '[ "$(sort -u "$T"/done.* | wc -l)" = '$records' ]' 60
    at_most "$(cat "$T"/done.* | wc -l)" $((records + 5 * 500))
}

@test "who stops reading with records in hand is put out, and ESTALE from then on" {
    touch orders/1
    py "$S" <<'P'
def partitions(fd): return os.getxattr(f"/proc/self/fd/{fd}", "user.group.partitions")
idle = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK)
busy = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK)
def both():
    error(os.read, idle, 100), error(os.read, busy, 100)
    return sorted([partitions(idle), partitions(busy)]) == [b"0", b"1"]
wait_until(both)
partition = "orders/" + partitions(busy).decode()
append(partition, b"one\n")
wait_until(lambda: error(os.pread, busy, 100, 0) is None) # it has a record in hand, and the other one has none
# Nor will it have one when it takes over: the time is for a member that holds records alone.
subprocess.run(["fallocate", "-p", "-o", "0", "-l", "4", partition], check=True)
os.setxattr(".groups/kitchen", "user.config.max.poll.interval.ms", b"300")
# Who waits at the end is not put out, and takes over.
wait_until(lambda: partitions(idle) == b"0,1")
os.removexattr(".groups/kitchen", "user.config.max.poll.interval.ms")
append(partition, b"two\n")
wait_until(lambda: error(os.read, idle, 100) is None)
same(error(os.pread, busy, 100, 4), "ESTALE")
same(error(os.pread, busy, 100, 0), "ESTALE")
same(error(os.fsync, busy), "ESTALE")
P
}

@test "a group may read several topics, each by its own members" {
    mkdir bills
    echo order >> orders/0
    echo bill >> bills/0
    is "$(bash -c 'read -r a; read -r b <&4; echo $a $b' < "$S" 4< .groups/kitchen/bills)" "order bill"
    py <<'P'
fds = [os.open(f".groups/kitchen/{topic}", os.O_RDONLY) for topic in ("orders", "bills")]
same([os.read(fd, 100) for fd in fds], [b"order\n", b"bill\n"])
same([os.getxattr(f"/proc/self/fd/{fd}", "user.group.positions") for fd in fds], [b"0:1", b"0:1"])
P
}

@test "a child of a killed worker that has the stream open is still the member" {
    echo one >> orders/0
    worker "$T/out" bash -c 'read -r a; sleep 1000 <&0 & echo $! > "$0"; wait' "$T/child"
    wait_until '[ -s "$T/child" ]'
    child=$(cat "$T/child")
    wait_until 'ls -l /proc/'$child'/fd/0 | grep -q kitchen'
    kill -9 "$WORKER"
    wait "$WORKER" || :
    is "$(timeout 1 head -n 1 "$S" || echo none)" none
    kill -9 "$child"
    is "$(next_record)" one
}

@test "a reset moves the owner while it reads: what it had in hand is withdrawn, and its commit is ESTALE" {
    seq 10 >> orders/0
    py "$S" <<'P'
fd = os.open(sys.argv[1], os.O_RDONLY)
me = f"/proc/self/fd/{fd}"
same(os.read(fd, 5), b"1\n2\n")
os.setxattr("orders/0", "user.group.kitchen.committed", b"7")
same(error(os.fsync, fd), "ESTALE")
same(error(os.fsync, fd), "ESTALE") # nothing else was given meanwhile
wait_until(lambda: os.getxattr(me, "user.group.positions") == b"0:7")
same(os.read(fd, 100), b"8\n9\n10\n")
same(os.pread(fd, 100, 0), b"1\n2\n") # what was read stays what it was
os.setxattr("orders/0", "user.group.kitchen.committed", b"start")
wait_until(lambda: os.getxattr(me, "user.group.positions") == b"0:0")
same(os.read(fd, 3), b"1\n") # at its present position
P
}

@test "a commit of what was withdrawn is ESTALE to setfattr, too, for which the kernel asks twice" {
    seq 10 >> orders/0
    py "$S" <<'P'
fd = os.open(sys.argv[1], os.O_RDONLY)
me = f"/proc/self/fd/{fd}"
def commit(at):
    os.setxattr(me, "user.group.commit", at)
for all in (True, False):
    at = b"%d" % (os.lseek(fd, 0, os.SEEK_CUR) + len(os.read(fd, 5)))
    os.setxattr("orders/0", "user.group.kitchen.committed", b"7")
    wait_until(lambda: os.getxattr(me, "user.group.positions") == b"0:7")
    same(error(commit, b"" if all else at), "ESTALE")
    same(error(commit, at), "ESTALE")
    same(os.getxattr("orders/0", "user.group.kitchen.committed"), b"7")
    same(os.read(fd, 3), b"8\n") # more is given, which can be committed
    commit(b"")
    same(os.getxattr("orders/0", "user.group.kitchen.committed"), b"8")
    same(error(commit, at), "ESTALE") # that has not come to be
P
}

@test "nobody steps over a poison record but by its offset" {
    seq 5 >> orders/0
    worker "$T/out" bash -c 'while read -r line; do [ "$line" != 3 ] || sleep 1000; echo "$line"; done'
    wait_until '[ "$(lines "$T/out")" = 2 ]'
    wait_until '[ "$(attr orders/0 user.group.kitchen.committed)" = 2 ]'
    set_attr orders/0 user.group.kitchen.committed 3
    kill_worker "$WORKER"
    is "$(next_record)" 4
}

@test "what a group has committed shows on its partitions, and a committed offset outlives the daemon" {
    seq 10 >> orders/0
    is "$(bash -c 'for i in 1 2 3 4; do read -r a; done; echo $a' < "$S")" 4
    wait_until '[ "$(attr orders/0 user.group.kitchen.committed)" = 3 ]'
    remount
    is "$(next_record)" 4
    restart_after_kill
    is "$(next_record)" 4
}
