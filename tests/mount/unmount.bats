#!/usr/bin/env bats
# An unmount never fails because of the daemon, and the daemon sees that its mount has gone.
load lib

# In the background: what waits for a line of $T/go, which nobody writes but by `echo go >&5`.
setup() {
    log_setup
    mkfifo "$T/go"
    exec 5<> "$T/go"
    mount_log
    cd "$M"
}

# Many times: appends that go past a node that is watched, and addresses by the thousand, which the kernel is
# made to forget; then, without a pause, the question whether the mount is in use. umount2(2) with MNT_EXPIRE answers
# EBUSY when it is and EAGAIN when it is not, and changes nothing the first time.
prober='
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
MNT_EXPIRE = 4
mnt, rounds = sys.argv[1].encode(), int(sys.argv[2])
def busy():
    same(libc.umount2(mnt, MNT_EXPIRE), -1)
    return errno.errorcode[ctypes.get_errno()]
seen = {}
for n in range(rounds):
    ask(n)
    said = busy()
    seen[said] = seen.get(said, 0) + 1
same(seen, {"EAGAIN": rounds})'

@test "what the daemon does to its own mount never makes an unmount fail" {
    mkdir orders
    cd /
    py "$M" $((ROUNDS * 30)) <<P
def ask(n):
    held = [os.open("$M/orders/" + name, APPEND) for name in ("0", "0", ".any")]
    for fd in held:
        os.write(fd, b"x\n")
    for m in range(6):
        os.stat("$M/orders/0@%d" % (n * 3 % 8192 + m % 3))
    for fd in held:
        os.close(fd)
    time.sleep(0.0003 * (n % 10)) # the daemon acts sooner or later
$prober
P
}

@test "nor when an ordinary user runs it" {
    unmount_log
    chmod a+rw /dev/fuse # as udev makes it; a container's may be root's alone
    chown -R nobody: "$T"
    local as="setpriv --reuid=nobody --regid=nogroup --clear-groups"
    timeout 60 $as "$LOGMNT" -o "data=$DATA" "$M" 3>&-
    $as mkdir "$M/orders"
    mkfifo "$T/ask" "$T/said"
    chown nobody "$T/ask" "$T/said"
    bg $as python3 -c "
import os
ask, said = open('$T/ask', 'rb', 0), open('$T/said', 'wb', 0)
while ask.read(1):
    held = [os.open('$M/orders/' + name, os.O_WRONLY | os.O_APPEND) for name in ('0', '0', '.any')]
    for fd in held:
        os.write(fd, b'x\n')
    for fd in held:
        os.close(fd)
    said.write(b'!')"
    py "$M" $((ROUNDS * 20)) <<P
question, reply = open("$T/ask", "wb", 0), open("$T/said", "rb", 0)
def ask(n):
    question.write(b"?")
    same(reply.read(1), b"!")
    time.sleep(0.0003 * (n % 10))
$prober
P
    timeout 20 $as fusermount3 -u "$M"
}

@test "nor does the stop wait for a process outside that somebody has stopped" {
    mkdir orders
    local outside
    outside=$(pgrep -P "$PID" -x logmnt-outside)
    kill -STOP "$outside"
    echo one >> orders/.any # whoever watches orders has to hear of it
    cd /
    timeout 20 fusermount3 -u "$M"
    wait_until no_daemon || { kill -9 "$outside"; false; }
    [ -f "$DATA/clean-shutdown" ]
    fails '' kill -0 "$outside"
}

@test "a lazy unmount with a reader parked in .follow: the read ends, the daemon stops cleanly" {
    mkdir orders
    echo one >> orders/0
    bg python3 -c "
import os
fd = os.open('orders/.follow/0', os.O_RDONLY)
os.read(fd, 4)
print('parked', flush=True)
try:
    print(os.read(fd, 4), flush=True)
except OSError as e:
    print(os.strerror(e.errno), flush=True)
print('held', flush=True)
open('$T/go').read(1)" > "$T/said" 5>&-
    reader=$!
    wait_until 'grep -q parked "$T/said" && grep -qs "^0 " "/proc/$reader/syscall"'
    cd /
    fusermount3 -uz "$M"
    wait_until no_daemon
    wait_until 'grep -q held "$T/said"'
    is "$(sed -n 2p "$T/said")" 'Transport endpoint is not connected'
    ls -l "/proc/$reader/fd" | grep -q follow # it still holds the file
    [ -f "$DATA/clean-shutdown" ]
    mount_log
    is "$(cat "$M/orders/0")" one
}

@test "a lazy unmount: what is open for appending is closed as by a last close" {
    mkdir orders
    bg python3 -c "
import os
fd = os.open('orders/0', os.O_WRONLY | os.O_APPEND)
os.write(fd, b'one\ntwo')
print('written', flush=True)
open('$T/go').read(1)" > "$T/said" 5>&-
    wait_until 'grep -q written "$T/said"'
    cd /
    fusermount3 -uz "$M"
    wait_until no_daemon
    mount_log
    is "$(cat "$M/orders/0")" $'one\ntwo'
}

@test "another mount at the same place is left alone by a daemon whose mount has gone" {
    mkdir orders
    bg python3 -c "
import os
fd = os.open('orders/.follow/0', os.O_RDONLY)
print('open', flush=True)
open('$T/go').read(1)" > "$T/said" 5>&-
    wait_until 'grep -q open "$T/said"'
    cd /
    fusermount3 -uz "$M" && mount -t tmpfs logmnt-test "$M"
    : > "$M/kept"
    wait_until no_daemon
    [ -f "$M/kept" ]
    umount "$M"
}

@test "others' mounts that come and go hide nothing: the daemon sees that its own has gone" {
    mkdir "$T/other"
    bg bash -c "while [ ! -e '$T/over' ]; do mount -t tmpfs logmnt-test '$T/other'; umount '$T/other'; done" 5>&-
    local others=$!
    wait_until "mountpoint -q '$T/other'"
    cd /
    fusermount3 -uz "$M"
    wait_until no_daemon
    : > "$T/over"
    wait "$others"
    [ -f "$DATA/clean-shutdown" ]
}

served_on() { # a start is refused, and waits for nobody to end
    run "$LOGMNT" -o "data=$DATA" "$M"
    is "$status" 1
    grep -q 'is in use by process [0-9]*$' <<< "$output"
}

@test "a bind mount is a mount: the daemon serves until the last one goes" {
    mkdir orders "$T/second"
    mount --bind "$M" "$T/second"
    cd /
    fusermount3 -u "$M"
    echo one >> "$T/second/orders/0"
    is "$(cat "$T/second/orders/0")" one
    wait_until 'grep -q " $T/second\$" "$DATA/lock"'
    served_on
    umount "$T/second"
    wait_until no_daemon
}

@test "so is one in another mount namespace" {
    mkdir orders
    bg unshare -m --propagation private bash -c "
        echo there; read -r < $T/go; echo one >> $M/orders/0; cat $M/orders/0; read -r < $T/go" > "$T/said" 5>&-
    wait_until 'grep -q there "$T/said"'
    cd /
    fusermount3 -u "$M"
    fails '' mountpoint -q "$M"
    echo go >&5
    wait_until 'grep -q one "$T/said"'
    wait_until 'not grep -q mount "$DATA/lock"'
    served_on
    echo go >&5
    wait_until no_daemon
}
