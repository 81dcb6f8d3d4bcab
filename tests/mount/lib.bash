# tests/mount/lib.bash: a mounted log for each test, and what the tests say over and over (more of it: tests/words.bash).
#
#   $T  this test's own directory     $M     the mount point, where a test starts
#   $DATA  the data directory         $PID   the daemon
#
# A test that leaves the daemon running after the unmount, a stuck mount, or a sanitizer's report, fails. Descriptor 3 is
# bats' own: tests use 4 and up.

ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
. "$ROOT/tests/words.bash"
export LOGMNT=${LOGMNT:-$ROOT/build/logmnt}
export SANITIZED BATS_TEST_TIMEOUT LC_ALL=C TZ=UTC PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
export PYTHONPATH=$BATS_TEST_DIRNAME PYTHONDONTWRITEBYTECODE=1
case $LOGMNT in
*/asan/* | */tsan/*) SANITIZED=1 ROUNDS=3 BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-180} ;;
*) SANITIZED= ROUNDS=20 BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-90} ;;
esac

setup() {
    log_setup
    mount_log
    cd "$M"
}

teardown() { log_teardown; }

log_setup() {
    umask 022
    T=$(mktemp -d /tmp/logmnt-test.XXXXXX)
    chmod 755 "$T"
    M=$T/mnt DATA=$T/data PID='' DISK='' LOOP='' BG=()
    mkdir "$M"
    export HOME=$T
    unset XDG_STATE_HOME
    export ASAN_OPTIONS=log_path=$T/sanitizer:detect_leaks=1
    export UBSAN_OPTIONS=log_path=$T/sanitizer:print_stacktrace=1
    export TSAN_OPTIONS=log_path=$T/sanitizer:second_deadlock_stack=1
    # A call that the daemon never answers cannot be interrupted: then only the daemon's end ends the test.
    # Nor does a program that ignores bats' SIGTERM end by itself. Not a child of bats', which ends those first.
    (setsid bash -c 'sleep $((BATS_TEST_TIMEOUT + 10)) & echo $! > "$0/watchdog"; wait $! || exit
        umount -c -f "$1"; fusermount3 -uz "$1"; pkill -9 -f -- "^$LOGMNT .*data=$0/"; pkill -9 -P "$2"' "$T" "$M" $$ >/dev/null 2>&1 3>&- &)
}

log_teardown() {
    local bad=0 fd pid report
    cd /
    for fd in 4 5 6 7 8 9; do eval "exec $fd>&-"; done 2>/dev/null
    end_bg
    if grep -qF -- " $M " /proc/self/mounts; then
        leave_mount
        timeout 20 fusermount3 -u "$M" || { echo "teardown: cannot unmount"; bad=1; }
    fi
    if ! wait_until no_daemon 2>/dev/null; then
        echo "teardown: a daemon is still there: $(daemon_pids | tr '\n' ' ')"
        bad=1
    fi
    if [ $bad = 1 ]; then
        umount -c -f "$M" 2>/dev/null # aborts the connection: nobody waits for it any more
        fusermount3 -uz "$M" 2>/dev/null
        for pid in $(daemon_pids); do kill -9 "$pid"; done
    fi
    for report in "$T"/sanitizer*; do
        [ -s "$report" ] || continue
        head -n 60 "$report"
        bad=1
    done
    if [ -n "$DISK" ] && mountpoint -q "$DISK"; then
        wait_until 'umount "$DISK" 2>/dev/null' 10 || { umount -l "$DISK"; bad=1; }
    fi
    [ -z "$LOOP" ] || losetup -d "$LOOP"
    wait_until '[ -s "$T/watchdog" ]' && read -r pid < "$T/watchdog" && kill "$pid"
    rm -rf --one-file-system "$T"
    return $bad
}

# The daemons of this test's data directory, running ones only (a zombie has no command line).
daemon_pids() { pgrep -f -- "^$LOGMNT .*data=$DATA" || :; }

# The one that has the lock: an earlier one gives that back before it has ended, and a child has the same command line
# until it has come to give itself another.
daemon_pid() {
    local pid
    read -r pid < "$DATA/lock" && is_running "$pid" && echo "$pid"
}

is_running() { # PID: no zombie either
    local stat
    { read -r stat < "/proc/$1/stat"; } 2> /dev/null && [[ $stat != *') Z '* ]]
}

# To be asked again and again: a look at all processes is dear.
no_daemon() {
    [ -n "$PID" ] && is_running "$PID" && return 1
    [ -z "$(daemon_pids)" ]
}

# A program that was just begun reads its libraries, and what is to be the default for it may not be yet.
follows() { # PID: it waits in a read, with a stream open
    grep -qs '^0 ' "/proc/$1/syscall" && ls -l "/proc/$1/fd" 2> /dev/null | grep -q follow
}

mount_log() { # [OPTIONS]: returns once the mount answers
    timeout 60 "$LOGMNT" -o "data=$DATA${1:+,$1}" "$M" 3>&- 4>&- 5>&- || { echo "logmnt: exit status $?"; return 1; }
    PID=$(daemon_pid) || { echo "logmnt returned 0, but no daemon runs"; return 1; }
}

# In this order: what a dead mount answers may be what the kernel remembers, and a live one is not there yet when the
# directory below it answers.
is_mounted() { stat -f "$M" > /dev/null 2>&1 && mountpoint -q "$M"; }

mount_log_in_front() { # [OPTIONS]: its own log goes to $T/log
    "$LOGMNT" -f -o "data=$DATA${1:+,$1}" "$M" 2>"$T/log" 3>&- 4>&- 5>&- &
    PID=$!
    BG+=("$PID")
    wait_until is_mounted
}

# Of this run's processes: to look where another's is would be to be in its mount for a moment.
nobody_is_in_it() {
    local pid links=()
    for pid in $(pgrep -g 0); do links+=("/proc/$pid/cwd" "/proc/$pid"/fd/*); done
    ! readlink "${links[@]}" 2> /dev/null | grep -qF -- "$M"
}

# Before an unmount. Who is in the mount makes it EBUSY, and a shell waits neither for what stands in <(…) nor for
# children of what it has killed.
leave_mount() {
    cd /
    wait_until nobody_is_in_it || :
}

unmount_log() {
    leave_mount
    timeout 20 fusermount3 -u "$M"
    wait_until no_daemon
}

remount() { # [OPTIONS]: a clean stop and a new start
    unmount_log
    mount_log "$@"
    cd "$M"
}

# With the last of its threads. Until then it holds its files, and its mount is not dead, though its command line may be
# gone and it may be called a zombie.
has_ended() { # PID
    ! awk '/^State:/ { dead = $2 ~ /[ZX]/ } /^Threads:/ { threads = $2 } END { exit dead && threads <= 1 }' \
        "/proc/$1/status" 2> /dev/null
}

kill_log() { # kill -9; the dead mount stays
    cd /
    kill -9 "$PID"
    wait_until "has_ended $PID"
}

restart_after_kill() { # [OPTIONS]
    kill_log
    mount_log "$@"
    cd "$M"
}

# Those, and all that was started by them, and by that in turn.
with_children() { # PID…
    local pids
    while [ $# -gt 0 ]; do
        echo "$@"
        pids=$(pgrep -P "$(IFS=,; echo "$*")") || :
        set -- $pids
    done
}

# A killed program has the mount open until it has ended, and nobody but its parent can wait for it. Whom the test has
# waited for is no child any more, and its number may be another's.
end_bg() {
    local pid pids self=$BASHPID
    pids=$(comm -12 <(printf '%s\n' "${BG[@]}" | sort) <(pgrep -P "$self" | sort))
    [ -n "$pids" ] || return 0
    pids=$(with_children $pids)
    kill -9 $pids 2>/dev/null
    for pid in "${BG[@]}"; do wait "$pid" 2>/dev/null; done
    for pid in $pids; do wait_until "has_ended $pid"; done
}

# Until the clock has moved on by some milliseconds, so that what follows has a later timestamp.
later() {
    local start=${EPOCHREALTIME/./}
    wait_until "[ \$((\${EPOCHREALTIME/./} - $start)) -gt ${1:-5}000 ]"
}

sh() { bash -c "$@"; }

# py [ARGUMENT…] <<PROGRAM: python with the names of calls.py.
py() { python3 -c 'import sys; from calls import *; exec(compile(sys.stdin.read(), "<test>", "exec"))' "$@"; }

size() { stat -c %s "$1"; }

# Disk images for the tests that need a disk of their own: $DISK, with the data directory on it.
loop_disk() { # MEGABYTES
    truncate -s "$1M" "$T/disk.img"
    mkfs.ext4 -q -F -m 0 "$T/disk.img"
    DISK=$T/disk
    mkdir "$DISK"
    if ! LOOP=$(losetup -f --show "$T/disk.img") || ! mount "$LOOP" "$DISK"; then
        echo "no loop device could be mounted (this test needs root and /dev/loop*)"
        return 1
    fi
    DATA=$DISK/data
}
