#!/usr/bin/env bats
# flock and fcntl locks, between any two openers of a partition.
load lib

setup() {
    log_setup
    mount_log
    cd "$M"
    mkdir orders
}

@test "flock keeps others out while a command runs" {
    mkfifo "$T/go"
    bg flock orders/0 cat "$T/go"
    holder=$!
    wait_until '! flock -n orders/0 true'
    fails '' flock -n orders/0 true
    py <<'P'
check(rung(fcntl.flock, os.open("orders/0", os.O_RDWR), fcntl.LOCK_EX), "it got the lock")
P
    fails '' flock -n -s orders/0 true
    echo > "$T/go"
    wait "$holder"
    flock -n orders/0 true
}

@test "shared flocks go together, an exclusive one waits for all" {
    flock -s orders/0 flock -n -s orders/0 true
    fails '' flock -s orders/0 flock -n -x orders/0 true
}

@test "a counter that eight processes raise under flock comes out right" {
    echo 0 > "$T/counter"
    for w in {1..8}; do
        for i in {1..15}; do
            flock orders/0 bash -c 'read -r n < "$0"; echo $((n + 1)) > "$0"' "$T/counter"
        done 3>&- &
        BG+=("$!")
    done
    wait "${BG[@]}"
    is "$(cat "$T/counter")" 120
}

@test "flock works between openers while several of them append" {
    exec 4>> orders/0 5>> orders/0 6>> orders/0
    flock -n 4
    fails '' flock -n 5
    fails '' flock -n 6
    fails '' flock -n orders/0 true
    flock -u 4
    flock -n 6
    fails '' flock -n 4
    exec 6>&-
    flock -n 4
}

@test "a waiting flock gets the lock when the holder is killed" {
    bg flock orders/0 sleep 100
    holder=$!
    wait_until '! flock -n orders/0 true'
    bg flock orders/0 true
    waiter=$!
    wait_until 'pkill -P "$holder" -x sleep' # flock takes the lock before it begins that
    kill "$holder" 2>/dev/null || :
    wait "$waiter"
}

@test "a flock is the open file's: dup and fork share it, the last close ends it" {
    exec 4>> orders/0
    exec 5>&4
    flock -n 4
    exec 4>&-
    fails '' flock -n orders/0 true
    exec 5>&-
    flock -n orders/0 true
}

@test "a flock that is waited for can be interrupted" {
    exec 4>> orders/0
    flock -n 4
    timeout -s INT 0.3 flock orders/0 true 4>&- || : # else it would not return: nobody unlocks
}

@test "fcntl locks are byte ranges of a process" {
    py <<'P'
a = os.open("orders/0", os.O_RDWR)
fcntl.lockf(a, fcntl.LOCK_EX | fcntl.LOCK_NB, 100, 0)
def child(start, length, kind):
    pid = os.fork()
    if pid == 0:
        fd = os.open("orders/0", os.O_RDWR)
        os._exit(0 if error(fcntl.lockf, fd, kind | fcntl.LOCK_NB, length, start) is None else 1)
    return os.waitpid(pid, 0)[1] == 0
check(not child(0, 100, fcntl.LOCK_EX))
check(not child(99, 1, fcntl.LOCK_SH))
check(child(100, 100, fcntl.LOCK_EX))
fcntl.lockf(a, fcntl.LOCK_UN, 50, 25)
check(child(25, 50, fcntl.LOCK_EX))
check(not child(0, 25, fcntl.LOCK_EX))
check(not child(75, 25, fcntl.LOCK_EX))
fcntl.lockf(a, fcntl.LOCK_SH | fcntl.LOCK_NB, 100, 0)
check(child(0, 100, fcntl.LOCK_SH))
check(not child(0, 100, fcntl.LOCK_EX))
b = os.open("orders/0", os.O_RDONLY)
os.close(b)  # POSIX: closing any descriptor of the file drops the process's locks
check(child(0, 100, fcntl.LOCK_EX))
P
}

@test "any close by the process drops its fcntl locks of whatever was locked" {
    seq 10 >> orders/0
    py <<'P'
def seen(path): # as F_GETLK tells another process
    pid = os.fork()
    if pid == 0:
        got = fcntl.fcntl(os.open(path, os.O_RDONLY), fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
        os._exit(struct.unpack("hhqqi4x", got)[0])
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == fcntl.F_RDLCK
segment = "orders/.segments/0/" + sorted(os.listdir("orders/.segments/0"))[0]
for path in ("orders/0", "orders/0@start", "orders/.follow/0", "orders/.follow/0@start", "orders/.json/0", segment):
    a, b = os.open(path, os.O_RDONLY), os.open(path, os.O_RDONLY)
    fcntl.lockf(a, fcntl.LOCK_SH)
    check(seen(path), path, "was not locked")
    os.close(b)
    check(not seen(path), path, "is still locked")
    os.close(a)
P
}

@test "a partition's addresses and views are locked with it" {
    seq 10 >> orders/0
    for one in 0 0@start .follow/0 .json/0@start; do
        for other in 0 0@end .follow/0 .follow/0@start .json/0; do
            fails '' flock -n "orders/$one" flock -n "orders/$other" true
        done
    done
}

@test "F_GETLK says who holds it" {
    py <<'P'
a = os.open("orders/0", os.O_RDWR)
fcntl.lockf(a, fcntl.LOCK_EX, 10, 5)
if os.fork() == 0:
    fd = os.open("orders/0", os.O_RDWR)
    kind, whence, start, length, pid = struct.unpack("hhqqi", fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))[:28])
    os._exit(0 if (kind, start, length, pid) == (fcntl.F_WRLCK, 5, 10, os.getppid()) else 1)
same(os.wait()[1], 0)
P
}

@test "a waiting fcntl lock is granted at the unlock, and of two who wait for each other one gets EDEADLK" {
    py <<'P'
a = os.open("orders/0", os.O_RDWR)
fcntl.lockf(a, fcntl.LOCK_EX, 1, 0)
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    fd = os.open("orders/0", os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX, 1, 1)
    os.write(w, b"x")
    os._exit(error(fcntl.lockf, fd, fcntl.LOCK_EX, 1, 0) == "EDEADLK") # its end unlocks, too
os.read(r, 1)
mine = error(fcntl.lockf, a, fcntl.LOCK_EX, 1, 1) # whichever of the two asks last
fcntl.lockf(a, fcntl.LOCK_UN, 1, 0)
others = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
check((mine, others) in (("EDEADLK", 0), (None, 1)), mine, others)
P
}

@test "open file description locks work too" {
    py <<'P'
F_OFD_SETLK = 37
a, b = os.open("orders/0", os.O_RDWR), os.open("orders/0", os.O_RDWR)
lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
fcntl.fcntl(a, F_OFD_SETLK, lock)
check(error(fcntl.fcntl, b, F_OFD_SETLK, lock) in ("EAGAIN", "EACCES"))
os.close(a)
fcntl.fcntl(b, F_OFD_SETLK, lock)
P
}

@test "locks are a partition's own, and fcntl and flock do not see each other" {
    touch orders/1
    flock -n orders/0 flock -n orders/1 true
    exec 4>> orders/0
    flock -n 4
    py <<'P'
fcntl.lockf(os.open("orders/0", os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
P
}

@test "a lock does not keep others from reading and appending" {
    exec 4>> orders/0
    flock -n 4
    echo x >> orders/0
    is "$(cat orders/0)" x
}
