#!/usr/bin/env bats
# linger.ms: writes return at once, lines collect into batches, fsync and close say what went wrong.
load lib

setup() {
    log_setup
    mkdir -p "$M"
}

start() { # OPTIONS
    mount_log "$1"
    cd "$M"
    mkdir orders
}

batches() { echo $((($(stat -c %s orders/.segments/0/00000000000000000000.batches) - 64) / 64)); }

@test "a line is there after linger.ms" {
    start linger.ms=100
    echo one >> orders/0
    exec 4>> orders/0
    echo two >&4
    wait_until '[ "$(cat orders/0)" = "$(printf "one\ntwo")" ]'
}

@test "close delivers what collected" {
    start linger.ms=60000
    seq 100 >> orders/0
    is "$(cat orders/0)" "$(seq 100)"
    py <<'P'
fd = os.open("orders/0", APPEND)
os.write(fd, b"101\n")
same(os.getxattr("orders/0", "user.log.high_watermark"), b"100")
os.close(fd)
same(os.getxattr("orders/0", "user.log.high_watermark"), b"101")
P
}

@test "fsync delivers what collected" {
    start linger.ms=60000
    py <<'P'
fd = os.open("orders/0", APPEND)
for n in range(50):
    os.write(fd, b"%d\n" % n)
same(os.stat("orders/0").st_size, 0)
os.fsync(fd)
same(read_all("orders/0"), b"".join(b"%d\n" % n for n in range(50)))
P
}

@test "many small writes are few batches, in their order" {
    start linger.ms=60000
    py <<'P'
fd = os.open("orders/0", APPEND)
for n in range(1000):
    os.write(fd, b"line %d\n" % n)
os.close(fd)
same(read_all("orders/0"), b"".join(b"line %d\n" % n for n in range(1000)))
P
    at_most "$(batches)" 3
}

@test "a full batch is sent without waiting" {
    start linger.ms=60000,batch.size=1000
    exec 4>> orders/0
    for i in {1..30}; do head -c 99 /dev/zero | tr '\0' x >&4; echo >&4; done
    wait_until '[ "$(size orders/0)" -ge 2000 ]'
    at_least "$(batches)" 2
}

@test "a record larger than batch.size is sent by itself" {
    start linger.ms=60000,batch.size=100
    py <<'P'
fd = os.open("orders/0", APPEND)
os.write(fd, b"small\n")
os.write(fd, b"x" * 5000 + b"\n")
os.write(fd, b"small again\n")
os.close(fd)
same(read_all("orders/0"), b"small\n" + b"x" * 5000 + b"\nsmall again\n")
P
}

@test "writers wait for a full buffer, and lose nothing" {
    start linger.ms=20,buffer.memory=65536,batch.size=16384
    py <<'P'
for w in range(4):
    if os.fork() == 0:
        fd = os.open("orders/0", APPEND)
        for n in range(500):
            os.write(fd, b"%d %d %s\n" % (w, n, b"x" * 500))
        os.close(fd)
        os._exit(0)
for w in range(4):
    same(os.wait()[1], 0)
seen = [[] for _ in range(4)]
for line in read_all("orders/0").splitlines():
    w, n, _ = line.split(b" ")
    seen[int(w)].append(int(n))
same(seen, [list(range(500))] * 4)
P
}

@test "a write that asks for the disk leaves no earlier one of its open file behind it" {
    start linger.ms=3600000,delivery.timeout.ms=3600000
    py <<'P'
def write_through(fd, data):
    same(os.pwritev(fd, [data], 0, os.RWF_DSYNC), len(data))
fd = os.open("orders/0", APPEND)
again = os.dup(fd)
os.write(fd, b"first\n")
os.write(again, b"second\nhal")
write_through(fd, b"f\nthird\n")
same(read_all("orders/0"), b"first\nsecond\nhalf\nthird\n")
os.write(again, b"fourth\n")
same(os.stat("orders/0").st_size, 24)  # only what asks does not linger
write_through(again, b"fifth")  # no record yet
write_through(fd, b"\n")
same(read_all("orders/0"), b"first\nsecond\nhalf\nthird\nfourth\nfifth\n")
os.setxattr("orders", "user.topic.partitions", b"2")
os.setxattr("orders", "user.config.key.separator", b":")
fd = os.open("orders/.any", APPEND)
for n in range(10):
    os.write(fd, b"k%d:first\n" % n)
write_through(fd, b"".join(b"k%d:second\n" % n for n in range(10)))
lines = read_all("orders/0").splitlines() + read_all("orders/1").splitlines()
for n in range(10):
    same([l for l in lines if l.startswith(b"k%d:" % n)], [b"k%d:first" % n, b"k%d:second" % n])
P
}

@test "a signal ends a wait behind what lingers" {
    start linger.ms=3600000,delivery.timeout.ms=3600000
    set_attr orders user.config.min.insync.replicas 2
    py <<'P'
signal.signal(signal.SIGUSR1, lambda *_: 1 / 0)
fd = os.open("orders/0", APPEND)
os.write(fd, b"first\n")
def interrupt():
    wait_until(lambda: b"logmnt_appends_parked 1\n" in read_all(".cluster/metrics"))
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
threading.Thread(target=interrupt).start()
try:
    os.pwritev(fd, [b"second\n"], 0, os.RWF_DSYNC)
    check(False, "it was written")
except ZeroDivisionError:
    pass
same(os.write(fd, b"third\n"), 6)  # it has the turn
os.setxattr("orders", "user.config.min.insync.replicas", b"1")
os.fsync(fd)
same(read_all("orders/0"), b"first\nthird\n")
P
}

@test "what fails in front of a write that asks for the disk is not its own failure" {
    start linger.ms=300,delivery.timeout.ms=300
    set_attr orders user.config.min.insync.replicas 2
    py <<'P'
fd = os.open("orders/0", APPEND)
os.write(fd, b"lost\n")
same(error(os.pwritev, fd, [b"refused\n"], 0, os.RWF_DSYNC), "EROFS")  # nothing of this one is in the log
same(error(os.fsync, fd), "EROFS")  # of the other one
os.fsync(fd)
os.close(fd)
P
    is "$(size orders/0)" 0
}

@test "what went wrong is said by fsync, and by close" {
    start linger.ms=20,delivery.timeout.ms=300
    set_attr orders user.config.min.insync.replicas 2
    py <<'P'
fd = os.open("orders/0", APPEND)
same(os.write(fd, b"lost\n"), 5)
same(error(os.fsync, fd), "EROFS")
os.close(fd)
fd = os.open("orders/0", APPEND)
same(os.write(fd, b"lost too\n"), 9)
same(error(os.close, fd), "EROFS")
P
    set_attr orders user.config.min.insync.replicas 1
    echo kept >> orders/0
    is "$(cat orders/0)" kept
}

@test "EMSGSIZE is said at once" {
    start linger.ms=60000
    set_attr orders user.config.max.message.bytes 100
    py <<'P'
fd = os.open("orders/0", APPEND)
same(os.write(fd, b"fits\n"), 5)
same(error(os.write, fd, b"x" * 101 + b"\n"), "EMSGSIZE")
same(os.write(fd, b"fits too\n"), 9)
os.close(fd)
same(read_all("orders/0"), b"fits\nfits too\n")
P
}

@test "what was taken is appended, though max.message.bytes is smaller by then" {
    start linger.ms=3600000,delivery.timeout.ms=3600000
    py <<'P'
fd = os.open("orders/0", APPEND)
os.write(fd, b"x" * 100 + b"\n" + b"y" * 100)
os.setxattr("orders", "user.config.max.message.bytes", b"10")
same(error(os.write, fd, b"z" * 11 + b"\n"), "EMSGSIZE")
os.close(fd)
same(read_all("orders/0"), b"x" * 100 + b"\n")  # z was the rest of a line by half, which is dropped
os.setxattr("orders", "user.config.max.message.bytes", b"100")
fd = os.open("orders/0", APPEND)
os.write(fd, b"y" * 100)
os.setxattr("orders", "user.config.max.message.bytes", b"10")
os.close(fd)
same(read_all("orders/0"), b"x" * 100 + b"\n" + b"y" * 100 + b"\n")
P
}

@test "an unfinished line waits as ever, and is one record at the last close" {
    start linger.ms=50
    { printf 'user='; sleep 0; id -un; printf tail; } >> orders/0
    is "$(cat orders/0)" $'user=root\ntail'
}

@test "a clean stop delivers what still lingers" {
    start linger.ms=60000
    exec 4>> orders/0
    echo one >&4
    cd /
    kill "$PID"
    wait_until no_daemon
    exec 4>&- || :
    mount_log
    is "$(cat "$M/orders/0")" one
}

@test ".any lingers too, key by key in order" {
    start linger.ms=50
    set_attr orders user.topic.partitions 3
    set_attr orders user.config.key.separator :
    py <<'P'
fd = os.open("orders/.any", APPEND)
for n in range(300):
    os.write(fd, b"k%d:%d\n" % (n % 5, n))
os.close(fd)
lines = b"".join(read_all(f"orders/{p}") for p in range(3)).splitlines()
for k in range(5):
    same([l for l in lines if l.startswith(b"k%d:" % k)], [b"k%d:%d" % (k, n) for n in range(k, 300, 5)])
P
}

@test "close waits for what was written before it, not for what others write through the open file meanwhile" {
    start linger.ms=3600000,delivery.timeout.ms=3600000
    set_attr orders user.config.min.insync.replicas 2
    py <<'P'
fd = os.open("orders/0", APPEND)
again = os.dup(fd)
same(os.write(fd, b"before\n"), 7)
closing = threading.Thread(target=os.close, args=(again,))
closing.start()
wait_until(lambda: b"logmnt_appends_parked 1\n" in read_all(".cluster/metrics"))  # close sent it
same(os.write(fd, b"meanwhile\n"), 10)
os.setxattr("orders", "user.config.min.insync.replicas", b"1")
closing.join(LIMIT_S)
check(not closing.is_alive(), "close waits for a line that was written after it")
same(read_all("orders/0"), b"before\n")
os.close(fd)
same(read_all("orders/0"), b"before\nmeanwhile\n")
P
}

@test "a last line is found right after a close that took its time" {
    start linger.ms=20,delivery.timeout.ms=60000
    py <<'P'
expected = b""
for n in range(5):
    os.setxattr("orders", "user.config.min.insync.replicas", b"2")
    fd = os.open("orders/0", APPEND)
    os.write(fd, b"%d\nlast of %d" % (n, n))
    closing = threading.Thread(target=os.close, args=(fd,))
    closing.start()
    since = time.monotonic()
    wait_until(lambda: b"logmnt_appends_parked 1\n" in read_all(".cluster/metrics") and time.monotonic() > since + 0.1)
    os.setxattr("orders", "user.config.min.insync.replicas", b"1")
    closing.join()
    expected += b"%d\nlast of %d\n" % (n, n)
    same(read_all("orders/0"), expected)
P
}

# Its descriptor closes within the execve(2), where the kernel lets nobody look at the process.
@test "a program starts another one while it has a partition open" {
    start linger.ms=60000
    py <<'P'
import subprocess
fd = os.open("orders/0", APPEND)
for close_fds in True, False:
    os.write(fd, b"line\n")
    subprocess.run(["true"], close_fds=close_fds, check=True)
same(read_all("orders/0"), b"line\nline\n")
P
}
