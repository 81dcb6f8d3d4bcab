#!/usr/bin/env bats
# Whoever watches is told: of a partition when records can be seen, whoever wrote them and how; of `.segments` when the
# active file grows, and when files come and go.
load lib

# Watch(PATH); .wait(EVENTS[, NAME]) waits until each of them has come, .drain() gives those that are there.
watcher='
IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_OPEN, IN_CREATE, IN_DELETE = 2, 4, 8, 0x20, 0x100, 0x200
libc = ctypes.CDLL(None, use_errno=True)
class Watch:
    def __init__(self, path, mask=IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE):
        self.fd = libc.inotify_init1(os.O_NONBLOCK)
        check(libc.inotify_add_watch(self.fd, path.encode(), mask) >= 0, path)
        self.poll = select.poll()
        self.poll.register(self.fd, select.POLLIN)
    def drain(self, ms=0):
        events = []
        while self.poll.poll(ms):
            data, at = os.read(self.fd, 65536), 0
            while at < len(data):
                wd, mask, cookie, length = struct.unpack_from("iIII", data, at)
                events.append((mask, data[at + 16:at + 16 + length].rstrip(b"\0").decode()))
                at += 16 + length
            ms = 0
        return events
    def wait(self, mask, name="", holds=lambda: True):
        end = time.monotonic() + LIMIT_S
        seen = []
        while time.monotonic() < end:
            new = self.drain(100)
            seen += new
            came = 0
            for m, n in seen:
                came |= m if not name or n == name else 0
            if came & mask == mask and holds():
                return
        check(False, "no event", mask, name, seen[-20:])
'

@test "of appends through every opener, each with IN_MODIFY and IN_CLOSE_WRITE" {
    mkdir orders
    py <<P
$watcher
os.stat("orders/0")
first, main = Watch("orders/0"), os.open("orders/0", APPEND)
second, other = Watch("orders/0"), os.open("orders/0", APPEND)
any_ = os.open("orders/.any", APPEND)
both = os.open("orders/0", os.O_RDWR | os.O_APPEND)
for n in range(20):
    for fd in (main, other, any_, both):
        first.drain(), second.drain()
        os.write(fd, b"%d\n" % n)
        for watch in (first, second):
            watch.wait(IN_MODIFY | IN_CLOSE_WRITE)
for shell in ("echo x >> orders/0", "echo x >> orders/.any"):
    first.drain()
    subprocess.run(shell, shell=True, check=True)
    first.wait(IN_MODIFY | IN_CLOSE_WRITE)
P
}

@test "with linger.ms, when the records can be seen and not before" {
    remount linger.ms=400
    mkdir orders
    py <<P
$watcher
for path in ("orders/0", "orders"):
    for n in range(3):
        watch, size = Watch(path), os.stat("orders/0").st_size
        fd = os.open("orders/0", APPEND)
        watch.drain()
        os.write(fd, b"one\n")
        if path == "orders/0":
            watch.wait(IN_MODIFY)
            same(os.stat("orders/0").st_size, size + 4)
        else:
            watch.wait(IN_CLOSE_WRITE, "0", lambda: os.stat("orders/0").st_size == size + 4)
        os.close(fd)
P
}

@test "of an append that had to wait for replicas, when it is committed" {
    remount delivery.timeout.ms=600000
    mkdir orders
    set_attr orders user.config.min.insync.replicas 2
    py <<P
$watcher
watch = Watch("orders/0")
writer = threading.Thread(target=append, args=("orders/0", b"x\n"))
writer.start()
end = time.monotonic() + LIMIT_S
while b"\nlogmnt_appends_parked 1" not in read_all(".cluster/metrics"):
    check(time.monotonic() < end)
same(watch.drain(), [])
os.setxattr("orders", "user.config.min.insync.replicas", b"1")
watch.wait(IN_MODIFY)
writer.join()
P
}

@test "of a partition that nobody may write to any more, and of one in a topic of another owner" {
    mkdir orders bills
    chown 1234:1234 bills
    py <<P
$watcher
for topic in ("orders", "bills"):
    watch, fd = Watch(topic + "/0"), os.open(topic + "/0", APPEND)
    os.chmod(topic + "/0", 0o444)
    watch.drain()
    os.write(fd, b"x\n")
    watch.wait(IN_MODIFY)
P
}

@test "when an ordinary user runs the daemon" {
    unmount_log
    chmod a+rw /dev/fuse # as udev makes it; a container's may be root's alone
    chown -R nobody: "$T"
    local as="setpriv --reuid=nobody --regid=nogroup --clear-groups"
    timeout 60 $as "$LOGMNT" -o "data=$DATA,log.cleaner.backoff.ms=50" "$M" 3>&-
    $as python3 - "$M" <<P
sys = __import__("sys")
sys.path.insert(0, "$BATS_TEST_DIRNAME")
from calls import *
$watcher
os.chdir("$M")
os.mkdir("orders")
os.setxattr("orders", "user.config.segment.bytes", b"1000")
watch, segments = Watch("orders/0"), Watch("orders/.segments/0")
for n in range(40):
    append("orders/.any", b"x" * 99 + b"\n")
watch.wait(IN_MODIFY)
segments.wait(IN_CREATE, "%020d.log" % 10)
P
    timeout 20 $as fusermount3 -u "$M"
}

@test "watchers of .segments are told of growth, rolls and deletions" {
    remount log.cleaner.backoff.ms=50
    mkdir orders
    set_attr orders user.config.segment.bytes 1000
    py <<P
$watcher
def names():
    return {"%020d.%s" % (base, kind) for base in bases for kind in ("log", "batches", "index", "timeindex")}
def line():
    append("orders/0", b"%099d\n" % len(lines))
    lines.append(b"%099d\n" % len(lines))
lines, bases = [], [0]
line()
watch, active = Watch("orders/.segments/0"), Watch("orders/.segments/0/%020d.log" % 0)
for n in range(8): # each is told of
    watch.drain(), active.drain()
    line()
    watch.wait(IN_MODIFY, "%020d.log" % 0), active.wait(IN_MODIFY)
line()
for base in (10, 20, 30): # the segment is full: the next line begins one
    line()
    bases.append(base)
    for kind in ("log", "batches", "index", "timeindex"):
        watch.wait(IN_CREATE, "%020d.%s" % (base, kind), lambda: os.path.exists("orders/.segments/0/%020d.log" % base))
        break
    same(set(os.listdir("orders/.segments/0")), names())
    watch.drain()
    active = Watch("orders/.segments/0/%020d.log" % base)
    for n in range(9):
        line()
    active.wait(IN_MODIFY)
held = os.open("orders/.segments/0/%020d.log" % 0, os.O_RDONLY)
watch.drain()
subprocess.run(["fallocate", "-p", "-o", "0", "-l", "2000", "orders/0"], check=True)
watch.wait(IN_DELETE, "%020d.log" % 10)
bases = [20, 30]
same(set(os.listdir("orders/.segments/0")), names())
same(os.pread(held, 4096, 0), b"".join(lines[:10])) # who has it open reads on
same(b"".join(read_all("orders/.segments/0/%020d.log" % b) for b in bases), b"".join(lines[20:]))
P
}

# Who had looked into the directory before that, and read it, as rsyslog does, would stand still.
@test "a segment that was found before its IN_CREATE is told of with what it grew by" {
    mkdir orders
    set_attr orders user.config.segment.bytes 1000
    outside=$(pgrep -P "$PID" -x logmnt-outside)
    py <<P
$watcher
def line():
    append("orders/0", b"%099d\n" % 0)
def log(base):
    return "orders/.segments/0/%020d.log" % base
def is_asked(): # the process of the daemon's acts has one before it
    sockets = subprocess.run(["ss", "-xpH"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    return any("pid=$outside," in socket and socket.split()[2] != "0" for socket in sockets)
def receives(tasks): # one of them is in recvfrom
    return subprocess.run(f"grep -qs '^45 ' /proc/{tasks}/syscall", shell=True).returncode == 0
def stop(): # between two acts: one that it had taken and not answered would keep the daemon from asking
    os.kill($outside, signal.SIGSTOP)
    wait_until(lambda: open("/proc/$outside/stat").read().rsplit(")", 1)[1].split()[0] == "T")
    if receives("$outside") and not receives("$PID/task/*"): # which waits for no answer
        return True
    os.kill($outside, signal.SIGCONT)
line()
first = Watch(log(0))
line()
first.wait(IN_MODIFY)
wait_until(stop)
line()
wait_until(is_asked) # it knows of one segment
for n in range(8):
    line()
found = Watch(log(10))
for n in range(10):
    line()
os.stat(log(20))
os.kill($outside, signal.SIGCONT)
found.wait(IN_MODIFY)
P
}

@test "and of what compaction rewrites" {
    remount log.cleaner.backoff.ms=50
    mkdir orders
    set_attr orders user.config.key.separator :
    set_attr orders user.config.segment.bytes 1000
    py <<P
$watcher
watch = Watch("orders/.segments/0")
for n in range(40):
    append("orders/0", b"key:%090d\n" % n)
watch.wait(IN_CREATE, holds=lambda: len(os.listdir("orders/.segments/0")) >= 16)
watch.drain(200)
os.setxattr("orders", "user.config.cleanup.policy", b"compact")
watch.wait(IN_DELETE)
P
}

@test "watchers of .segments are told of partitions that are added, whoever has found them before" {
    mkdir orders
    py <<P
$watcher
early, other = Watch("orders/.segments"), Watch("orders/.segments")
same(os.listdir("orders/.segments"), ["0"])
os.setxattr("orders", "user.topic.partitions", b"3")
os.stat("orders/.segments/1")
early.wait(IN_CREATE, "1")
other.wait(IN_CREATE, "2")
late = Watch("orders/.segments")
os.setxattr("orders", "user.topic.partitions", b"4")
for watch in (early, late):
    watch.wait(IN_CREATE, "3")
same(sorted(os.listdir("orders/.segments")), ["0", "1", "2", "3"])
# And of what is in it, like any other.
added = Watch("orders/.segments/3/%020d.log" % 0)
append("orders/3", b"x\n")
added.wait(IN_MODIFY)
same(read_all("orders/.segments/3/%020d.log" % 0), b"x\n")
P
}

@test "rsyslog's imfile, in inotify mode, ships every line of .segments over rolls and retention" {
    remount log.cleaner.backoff.ms=50,log.retention.check.interval.ms=100
    mkdir orders
    set_attr orders user.config.segment.bytes 20000
    cat > "$T/rsyslog.conf" <<C
global(workDirectory="$T/state" maxMessageSize="64k")
module(load="imfile" mode="inotify")
input(type="imfile" file="$M/orders/.segments/*/*.log" tag="orders" ruleset="ship")
template(name="line" type="string" string="%msg%\n")
ruleset(name="ship") { action(type="omfile" file="$T/shipped" template="line") }
C
    mkdir "$T/state"
    seq 1000 >> orders/0
    bg rsyslogd -n -f "$T/rsyslog.conf" -i "$T/rsyslog.pid"
    wait_until '[ "$(wc -l < "$T/shipped")" = 1000 ]' 30
    for hundred in $(seq 10 99); do
        seq $((hundred * 100 + 1)) $((hundred * 100 + 100)) >> orders/0
    done
    at_least "$(ls orders/.segments/0/*.log | wc -l)" 3
    wait_until '[ "$(wc -l < "$T/shipped")" = 10000 ]' 30
    set_attr orders user.config.retention.bytes 20000
    wait_until '[ "$(ls orders/.segments/0/*.log | wc -l)" -le 2 ]'
    for thousand in {10..19}; do # retention waits for no reader, so the writer does
        seq $((thousand * 1000 + 1)) $((thousand * 1000 + 1000)) >> orders/0
        wait_until '[ "$(wc -l < "$T/shipped")" = $((thousand * 1000 + 1000)) ]' 30
    done
    cmp <(sort -n "$T/shipped") <(seq 20000)
    set_attr orders user.topic.partitions 2
    seq 20001 20500 >> orders/1
    wait_until '[ "$(wc -l < "$T/shipped")" = 20500 ]' 30
    cmp <(sort -n "$T/shipped") <(seq 20500)
}

# A new mount namespace holds every mount of the machine for a moment: a disk that is unmounted just then stays in use.
@test "for that a daemon of root takes a clone of its mount, and no copy of all the others" {
    mkdir orders
    py <<P
$watcher
os.stat("orders/0")
watch = Watch("orders/0")
append("orders/.any", b"x\n")
watch.wait(IN_MODIFY | IN_CLOSE_WRITE)
P
    outside=$(pgrep -P "$PID" -x logmnt-outside)
    is "$(tr '\0' ' ' < "/proc/$outside/cmdline" | sed 's/ *$//')" 'logmnt: outside'
    is "$(readlink "/proc/$outside/ns/mnt")" "$(readlink /proc/self/ns/mnt)"
}
