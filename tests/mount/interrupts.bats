#!/usr/bin/env bats
# Signals end waits, and never write a record twice.
load lib

# With two in-sync replicas asked for and one there, a write waits.
setup() {
    log_setup
    mount_log delivery.timeout.ms=60000
    cd "$M"
    mkdir orders
}

hold() { set_attr orders user.config.min.insync.replicas 2; }
let_go() { set_attr orders user.config.min.insync.replicas 1; }

gone() { # PID: by itself, long before delivery.timeout.ms
    wait_until "[ ! -e /proc/$1 ] || grep -q '^State:.Z' /proc/$1/status"
}

parked() { # PID: it sleeps in a write
    wait_until "grep -qs '^1 ' /proc/$1/syscall"
}

@test "a writer that waits for replicas is ended by kill, ^C and kill -9 at once, and nothing is appended" {
    hold
    for signal in TERM INT KILL; do
        bg env --default-signal=INT dd if=<(echo lost) of=orders/0 oflag=append conv=notrunc status=none
        writer=$!
        parked "$writer"
        kill -$signal "$writer"
        gone "$writer"
    done
    let_go
    echo kept >> orders/0
    is "$(cat orders/0)" kept
}

@test "a signal that the program handles gives EINTR before anything was appended" {
    hold
    py <<'P'
fd = os.open("orders/0", APPEND)
check(rung(os.write, fd, b"interrupted\n"), "the write returned")
os.setxattr("orders", "user.config.min.insync.replicas", b"1")
os.write(fd, b"tried again\n")
same(read_all("orders/0"), b"tried again\n")
P
}

@test "python retries after EINTR, and each record is there once" {
    hold
    py <<'P'
count = 0
def handler(*_):
    global count
    count += 1
    if count == 20:
        os.setxattr("orders", "user.config.min.insync.replicas", b"1")
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
fd = os.open("orders/0", APPEND)
for n in range(200):
    same(os.write(fd, b"%d\n" % n), len(b"%d\n" % n))
    os.fsync(fd)
signal.setitimer(signal.ITIMER_REAL, 0)
check(count >= 20, count)
same(read_all("orders/0"), b"".join(b"%d\n" % n for n in range(200)))
P
}

@test "dd under a hail of SIGUSR1 copies each line once" {
    seq 200000 > "$T/in"
    bg dd if="$T/in" of=orders/0 bs=3000 oflag=append conv=notrunc
    writer=$!
    # SIGUSR1 is the tenth bit of those it catches; bash, which catches it too, was there before the exec.
    wait_until '[ -s orders/0 ] || awk "/^Name:/ { name = \$2 } /^SigCgt:/ { caught = \$2 }
        END { exit !(name == \"dd\" && caught ~ /[2367abef]..\$/) }" /proc/$writer/status'
    for i in {1..3000}; do kill -USR1 "$writer" 2>/dev/null || break; done
    wait "$writer"
    cmp "$T/in" orders/0
}

@test "a parked follower ends at once, whatever the signal" {
    for signal in INT TERM HUP KILL; do
        bg env --default-signal=INT cat orders/.follow/0
        reader=$!
        wait_until "follows $reader"
        kill -$signal "$reader"
        gone "$reader"
    done
}

@test "a handled signal ends a wait with EINTR, with SA_RESTART too" {
    hold
    py <<'P'
import ctypes
libc = ctypes.CDLL(None, use_errno=True) # python's own calls go on by themselves
def waits(call):
    signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2) # again, should the first come too early
    same((call(), errno.errorcode.get(ctypes.get_errno())), (-1, "EINTR"))
    signal.setitimer(signal.ITIMER_REAL, 0)
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, False)
buffer = ctypes.create_string_buffer(b"line\n")
reader, writer = os.open("orders/.follow/0", os.O_RDONLY), os.open("orders/0", APPEND)
waits(lambda: libc.read(reader, buffer, 5))
waits(lambda: libc.write(writer, b"line\n", 5))
P
}

@test "a follower whose program handles the signal loses nothing" {
    py <<'P'
hits = []
signal.signal(signal.SIGALRM, lambda *_: hits.append(1) or (len(hits) == 30 and append("orders/0", b"at last\n")))
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
fd = os.open("orders/.follow/0", os.O_RDONLY)
same(os.read(fd, 100), b"at last\n")
signal.setitimer(signal.ITIMER_REAL, 0)
check(len(hits) >= 30)
P
}

@test "an exiting writer with a waiting line does not hang" {
    hold
    bg bash -c 'exec 4>> orders/0; printf half >&4; kill -9 $$'
    gone "$!"
    let_go
}

@test "the daemon stops cleanly with writers, followers and lock waiters under way" {
    hold
    bg dd if=<(echo waits) of=orders/0 oflag=append conv=notrunc status=none
    writer=$!
    parked "$writer"
    mkdir busy
    bg bash -c 'while echo x >> busy/0; do :; done' 2>/dev/null
    loop=$!
    bg cat orders/.follow/0 2>/dev/null
    reader=$!
    bg flock busy/0 sleep 100
    wait_until '[ -s busy/0 ] && ! flock -n busy/0 true'
    bg flock busy/0 true
    waiter=$!
    cd /
    kill "$PID"
    wait_until no_daemon
    not mountpoint -q "$M"
    for pid in $writer $loop $reader $waiter; do gone "$pid"; done
    mount_log
    is "$(cat "$M/orders/0")" ''
    is "$(sort -u "$M/busy/0")" x
}

@test "fusermount3 -uz with a parked reader and a closed writer ends both the read and the daemon" {
    bg cat orders/.follow/0 2>/dev/null
    reader=$!
    wait_until "follows $reader"
    cd /
    fusermount3 -uz "$M"
    wait_until no_daemon
    gone "$reader"
}

@test "fusermount3 -uz while readers are killed ends the daemon" {
    local readers=()
    for _ in $(seq 20); do
        bg cat orders/.follow/0
        readers+=("$!")
    done
    for reader in "${readers[@]}"; do wait_until "follows $reader"; done
    cd /
    kill -9 "${readers[@]}"
    fusermount3 -uz "$M"
    wait_until no_daemon
}
