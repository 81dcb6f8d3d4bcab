#!/usr/bin/env bats
# Starting and stopping it.
load lib

setup() {
    log_setup
    cd "$T"
}

refused() { # TEXT ARGUMENT…: one line on stderr that names the cause, and nothing was done
    local text=$1 status=0
    shift
    timeout 20 "$LOGMNT" "$@" >"$T/out" 2>"$T/err" 3>&- || status=$?
    cat "$T/err"
    [ "$status" -ne 0 ] && [ "$status" -lt 124 ]
    is "$(wc -l < "$T/err")" 1
    grep -qF -- "$text" "$T/err"
    is "$(wc -c < "$T/out")" 0
    not mountpoint -q "$M"
    is "$(daemon_pids)" ''
}

@test "logmnt returns once the mount answers, and goes to the background" {
    mount_log
    mkdir "$M/orders"
    echo x >> "$M/orders/0"
    is "$(cat "$M/orders/0")" x
    [ "$(awk '/^PPid/ { print $2 }' "/proc/$PID/status")" != $$ ]
    is "$(readlink "/proc/$PID/fd/0")" /dev/null
}

@test "it lets go of the caller's pipe" {
    local round
    for round in $(seq 20); do
        is "$(timeout 20 "$LOGMNT" -o "data=$DATA" "$M" 2>&1 3>&- 4>&- 5>&- | cat; echo "${PIPESTATUS[*]}")" "0 0"
        unmount_log
    done
}

@test "with -f it stays in front, and ends with 0 when it is unmounted" {
    mount_log_in_front
    front=$PID
    mkdir "$M/orders"
    fusermount3 -u "$M"
    wait "$front"
}

@test "with no options the data is in XDG_STATE_HOME, or in ~/.local/state" {
    XDG_STATE_HOME=$T/state "$LOGMNT" "$M" 3>&-
    mkdir "$M/orders"
    [ -d "$T/state/logmnt" ]
    fusermount3 -u "$M"
    HOME=$T/home "$LOGMNT" "$M" 3>&-
    mkdir "$M/bills"
    [ -d "$T/home/.local/state/logmnt" ]
    is "$(ls "$M")" bills
    fusermount3 -u "$M"
    wait_until '! pgrep -f -- "^$LOGMNT $M"'
}

@test "--help and --version" {
    "$LOGMNT" --help > "$T/help"
    for word in MOUNTPOINT data= acks= linger.ms id= -f; do grep -qF -- "$word" "$T/help"; done
    "$LOGMNT" --version | grep -qE '^logmnt [0-9]+\.[0-9]+'
}

@test "an unmount stops it cleanly, and everything is there at the next start" {
    mount_log
    mkdir "$M/orders"
    seq 10000 >> "$M/orders/0"
    unmount_log
    mount_log
    is "$(cat "$M/orders/0")" "$(seq 10000)"
}

@test "SIGTERM and SIGINT stop it, with files open too" {
    for signal in TERM INT; do
        mount_log
        mkdir -p "$M/orders"
        exec 4>> "$M/orders/0" 5< "$M/orders/0"
        printf 'unfinished %s' $signal >&4
        kill -$signal "$PID"
        wait_until no_daemon
        not mountpoint -q "$M"
        exec 4>&- 5>&-
    done
}

@test "a start right after a stop waits for the old daemon" {
    for i in {1..5}; do
        mount_log
        mkdir -p "$M/orders"
        seq 1000 >> "$M/orders/0"
        fusermount3 -u "$M"
    done
    mount_log
    is "$(wc -l < "$M/orders/0")" 5000
    kill "$PID"
    wait_until '! mountpoint -q "$M"'
    mount_log
    is "$(wc -l < "$M/orders/0")" 5000
}

@test "and for one that has not noticed yet that its mount has gone" {
    mount_log
    mkdir "$M/orders"
    kill -STOP "$PID"
    fusermount3 -u "$M"
    mkdir "$T/other"
    timeout 60 "$LOGMNT" -o "data=$T/another" "$T/other" 3>&- 4>&- 5>&- # it has that one's device
    timeout 60 "$LOGMNT" -o "data=$DATA" "$M" 3>&- 4>&- 5>&- &
    local start=$! stopped=$PID
    later 500 # longer than it would wait for one that serves
    kill -CONT "$stopped"
    wait "$start"
    PID=$(daemon_pid)
    [ "$PID" != "$stopped" ]
    is "$(ls "$M")" orders
    local other
    read -r other < "$T/another/lock"
    fusermount3 -u "$T/other"
    wait_until "! is_running $other"
}

# It waits for a holder of the lock that says it is stopping, which is the test.
start_that_waits() { # [OPTION]: LOGMNT's pid in $start
    mkdir -p "$DATA"
    exec 4>> "$DATA/lock"
    flock 4
    printf '%d\nstopping\n' $$ > "$DATA/lock"
    env --default-signal=INT,HUP "$LOGMNT" "$@" -o "data=$DATA" "$M" 2> "$T/err" 3>&- 4>&- 5>&- &
    start=$!
    wait_until 'pgrep -P $start > "$T/children"'
}

@test "a start that is ended by a signal leaves no daemon and no mount" {
    local signal start status
    for signal in TERM INT HUP; do
        start_that_waits
        kill -$signal "$start"
        exec 4>&-
        status=0
        wait "$start" || status=$?
        is "$(daemon_pids)" ''
        is "$status" $((128 + $(kill -l $signal)))
        is "$(grep -c " $M " /proc/mounts)" 0
        is "$(wc -l < "$T/err")" 1
    done
    mount_log
}

@test "nor does one whose command is killed, which cannot tell it" {
    local start
    start_that_waits
    kill -9 "$start"
    exec 4>&-
    wait_until no_daemon
    is "$(grep -c " $M " /proc/mounts)" 0
    mount_log
}

@test "in front it says so" {
    local start status=0
    start_that_waits -f
    kill "$start"
    exec 4>&-
    wait "$start" || status=$?
    is "$status" 1
    grep -qF 'called off before the mount' "$T/err"
    is "$(wc -l < "$T/err")" 1
    is "$(grep -c " $M " /proc/mounts)" 0
}

@test "a dead mount is replaced" {
    mount_log
    mkdir "$M/orders"
    echo x >> "$M/orders/0"
    kill_log
    fails 'Transport endpoint is not connected' ls "$M"
    mount_log
    is "$(cat "$M/orders/0")" x
    is "$(grep -c " $M " /proc/mounts)" 1
}

@test "a daemon that is killed while the next start asks its mount leaves a dead one, too" {
    mount_log
    mkdir "$M/orders"
    kill -STOP "$PID"
    "$LOGMNT" -f -o "data=$T/other" "$M" 2> "$T/err" 3>&- 4>&- 5>&- &
    BG+=("$!")
    wait_until "grep -qs request_wait_answer /proc/$!/wchan"
    kill -9 "$PID"
    wait_until 'is_mounted || [ -s "$T/err" ]'
    is "$(cat "$T/err")" ''
    mkdir "$M/bills"
    [ -e "$T/other/topics/bills-0" ]
    fusermount3 -u "$M"
    wait "${BG[0]}"
}

@test "a second daemon is refused by the lock, at once, and the first goes on" {
    mount_log
    mkdir "$M/orders" "$T/other"
    start=$SECONDS
    status=0
    timeout 20 "$LOGMNT" -o "data=$DATA" "$T/other" 2> "$T/err" 3>&- || status=$?
    [ "$status" -ne 0 ]
    at_most $((SECONDS - start)) 9 # one that was stopping would be waited for, for ten
    is "$(wc -l < "$T/err")" 1
    grep -qF "$DATA" "$T/err"
    not mountpoint -q "$T/other"
    echo x >> "$M/orders/0"
    is "$(cat "$M/orders/0")" x
}

@test "a second log is refused where one is mounted, whatever the name" {
    local name
    for name in mnt 'a b' 'a\b' $'tab\tnewline\nhash#' 'a\040b'; do
        M=$T/$name
        mkdir -p "$M"
        mount_log
        fails 'a logmnt is mounted there already' "$LOGMNT" -o "data=$T/other" "$M"
        unmount_log
        not mountpoint -q "$M"
    done
}

@test "a data directory belongs to one node id" {
    mount_log id=7
    is "$(attr "$M" user.node.id)" 7
    is "$(attr "$M" user.cluster.controller)" 7
    unmount_log
    refused "$DATA" -o "data=$DATA,id=8" "$M"
    mount_log id=7
}

# As another daemon has it; says which.
listen_somewhere() {
    python3 -c 'import signal, socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
signal.pause()' >"$T/port" 3>&- &
    BG+=("$!")
    wait_until '[ -s "$T/port" ]'
}

# What was wrong may have been the id.
@test "a start that is refused for its options makes the data directory nobody's" {
    local at
    listen_somewhere
    at=127.0.0.1:$(cat "$T/port")
    refused "logmnt: listen=$at: Address already in use" -o "data=$DATA,id=2,listen=$at,tls=off" "$M"
    is "$(ls "$DATA")" lock
    refused 'quorum.recover: this node holds no metadata to make a quorum of' \
        -o "data=$DATA,id=2,listen=$at,tls=off,quorum.recover=2" "$M"
    is "$(ls "$DATA")" lock
    mount_log id=3
    is "$(attr "$M" user.node.id)" 3
}

@test "every bad option is named in one line, and nothing is touched" {
    for bad in nonsense acks=2 acks= acks=some id=0 id=-1 id=2147483648 id=x linger.ms=-1 linger.ms=x batch.size=x \
        batch.size=-1 buffer.memory=x delivery.timeout.ms=-1 check.crcs=maybe log.retention.check.interval.ms=0 \
        log.cleaner.backoff.ms=-1 no.such.option=1 retention.ms=5; do
        refused "${bad%%=*}" -o "data=$DATA,$bad" "$M"
        [ ! -e "$DATA" ]
    done
    refused data -o data= "$M"
    refused --nonsense --nonsense "$M"
    refused -x -x "$M"
}

@test "a mount point that is missing, not there or not a directory is refused" {
    refused '' -o "data=$DATA"
    refused nowhere -o "data=$DATA" "$T/nowhere"
    echo x > "$T/file"
    refused file -o "data=$DATA" "$T/file"
    refused '' -o "data=$DATA" "$M" "$T"
    is "$(cat "$T/file")" x
}

@test "a data directory in the mount point, or around it, is refused before anything is made" {
    mkdir -p "$T/around/at"
    ln -s "$T/around" "$T/link"
    refused 'must not lie in each other' -o "data=$M" "$M"
    refused 'must not lie in each other' -o "data=$M/data" "$M"
    refused 'must not lie in each other' -o "data=$M/not/there/yet/" "$M"
    refused 'must not lie in each other' -o "data=$T/not/./there//../../mnt/data" "$M"
    ln -s "$M" "$T/to"
    ln -s not/../mnt "$T/through" # to nothing, before that is made
    refused 'must not lie in each other' -o "data=$T/not/../to/data" "$M"
    refused 'must not lie in each other' -o "data=$T/not/../through/data" "$M"
    refused 'must not lie in each other' -o "data=$T/not/yet/../../around/at/../../link/at/data" "$T/around/at"
    [ ! -e "$T/not" ]
    refused 'must not lie in each other' -o "data=$T/around" "$T/around/at"
    refused 'must not lie in each other' -o "data=$T/link/at/data" "$T/around/at"
    refused 'must not lie in each other' -o "data=$T/around/at/data" "$T/link"
    is "$(find "$M" "$T/around" -mindepth 1)" "$T/around/at"
}

as_nobody() { # LOGMNT becomes one that nobody starts
    local program=$LOGMNT
    LOGMNT=$T/as_nobody
    printf '%s\n' '#!/bin/sh' "exec setpriv --reuid=nobody --regid=nogroup --clear-groups '$program' \"\$@\"" > "$LOGMNT"
    chmod 755 "$T" "$LOGMNT"
}

@test "what fusermount3 refuses a user is said in the one line" {
    as_nobody
    mkdir "$T/its"
    chown nobody:nogroup "$T/its"
    refused 'user has no write access to mountpoint' -o "data=$T/its/data" "$M"
}

@test "what recovery has to say is no line more of a start that fails" {
    mount_log
    mkdir "$M/orders"
    seq 1000 >> "$M/orders/0"
    kill_log
    fusermount3 -u "$M"
    truncate -s -2 "$DATA/topics/orders-0/00000000000000000000.log"
    as_nobody
    chown -R nobody:nogroup "$DATA"
    refused 'user has no write access to mountpoint' -o "data=$DATA" "$M"
}

@test "a data directory that cannot be one is refused" {
    echo x > "$T/file"
    refused "$T/file" -o "data=$T/file" "$M"
    refused "$T/file" -o "data=$T/file/below" "$M"
    is "$(cat "$T/file")" x
    refused /proc/none -o "data=/proc/none" "$M"
}

@test "each damaged file of the data directory is named, or harmless; never a crash" {
    mount_log
    mkdir "$M/orders"
    seq 1000 >> "$M/orders/0"
    unmount_log
    cp -a "$DATA" "$T/good"
    find "$T/good" -type f -size +0 -printf '%P\n' | sort > "$T/files"
    at_least "$(wc -l < "$T/files")" 5
    while read -r file; do
        for damage in garbage empty; do
            rm -rf "$DATA"
            cp -a "$T/good" "$DATA"
            if [ $damage = empty ]; then : > "$DATA/$file"; else head -c 300 /dev/urandom > "$DATA/$file"; fi
            cp "$DATA/$file" "$T/damaged"
            status=0
            timeout 30 "$LOGMNT" -o "data=$DATA" "$M" > "$T/out" 2> "$T/err" 3>&- || status=$?
            echo "$file $damage: $status, $(cat "$T/err")"
            if [ "$status" = 0 ]; then
                PID=$(daemon_pid)
                run timeout 10 cat "$M/orders/0"
                kill -0 "$PID"
                unmount_log
            else
                [ "$status" -lt 124 ]
                is "$(wc -l < "$T/err")" 1
                grep -qF "${file##*/}" "$T/err"
                # Surplus behind the last entry of a log may be cut; nothing else of it is touched.
                cmp -n "$(size "$DATA/$file")" "$T/damaged" "$DATA/$file"
                not mountpoint -q "$M"
            fi
        done
    done < "$T/files"
}

@test "libfuse's own options are taken, and -o may be repeated" {
    "$LOGMNT" -o "data=$DATA" -o allow_other,ro,noatime -o fsname=mylog "$M" 3>&-
    PID=$(daemon_pid)
    grep "$M" /proc/mounts > "$T/mounts"
    grep -q '^mylog ' "$T/mounts"
    grep -q 'allow_other' "$T/mounts"
    grep -qE '[ ,]ro,' "$T/mounts"
    grep -q 'default_permissions' "$T/mounts"
    fails 'Read-only file system' mkdir "$M/orders"
}

@test "a relative data directory and a relative mount point work" {
    cd "$T"
    "$LOGMNT" -o data=data mnt 3>&-
    mkdir mnt/orders
    [ -d "$T/data/topics/orders-0" ]
    cd /
    fusermount3 -u "$M"
    wait_until '! pgrep -f -- "^$LOGMNT -o data=data mnt"'
}

@test "the daemon keeps nothing of its caller: neither its directory, nor a descriptor, nor a lock" {
    local fd front=
    mkdir "$T/here"
    for front in '' -f; do
        (
            cd "$T/here"
            exec 9>"$T/lock" 11<"$T" 200>>"$T/log-of-the-caller"
            flock 9
            if [ -n "$front" ]; then
                "$LOGMNT" -f -o "data=$DATA" "$M" < "$T/lock" 2>"$T/log" 3>&- 4>&- 5>&- &
            else
                timeout 60 "$LOGMNT" -o "data=$DATA" "$M" < "$T/lock" 3>&- 4>&- 5>&-
            fi
        )
        wait_until is_mounted
        PID=$(daemon_pid)
        is "$(readlink "/proc/$PID/cwd")" /
        flock -n "$T/lock" true
        rmdir "$T/here"
        for fd in /proc/"$PID"/task/*/fd/*; do
            case $(readlink "$fd") in
            "$T/lock" | "$T" | "$T/log-of-the-caller") echo "$fd: $(readlink "$fd")"; return 1 ;;
            esac
        done
        is "$(readlink "/proc/$PID/fd/0")" /dev/null
        unmount_log
        mkdir "$T/here"
    done
}

@test "a file size limit of the caller's neither ends the daemon nor takes a partition away" {
    (ulimit -S -f 1024; mount_log) # KiB
    mkdir "$M/orders"
    seq 300000 >> "$M/orders/0"
    is "$(tail -n 1 "$M/orders/0")" 300000
    unmount_log
    (ulimit -f 3072; mount_log) # hard: that is all there is
    fails "No space left" py "$M/orders/0" <<'P'
fd = os.open(sys.argv[1], APPEND)
for i in range(20):
    os.write(fd, b"x" * 65535 + b"\n")
P
    set_attr "$M/orders" user.config.segment.ms 1
    wait_until '[ "$(attr "$M/orders/0" user.log.segments)" -gt 1 ]'
    echo y >> "$M/orders/0" # there is room in another file
    is "$(tail -n 1 "$M/orders/0")" y
    unmount_log
}

@test "signals that the caller blocks or ignores stop it as ever, and a dead mount is taken away" {
    mount_log
    kill_log
    py "$LOGMNT" -o "data=$DATA" "$M" <<'P' 3>&- 4>&- 5>&-
import signal
for ignored in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(ignored, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.execv(sys.argv[1], sys.argv[1:])
P
    PID=$(daemon_pid)
    mkdir "$M/orders"
    kill "$PID"
    wait_until "has_ended $PID"
    fails '' mountpoint -q "$M"
}

@test "a caller's umask keeps others out of the data, but not the daemon itself" {
    (umask 0777; mount_log)
    mkdir "$M/orders"
    echo x >> "$M/orders/0"
    is "$(find "$DATA" -perm /077)" ''
    is "$(find "$DATA" -type d ! -perm -700)" ''
    is "$(find "$DATA" -type f ! -perm -600)" ''
    unmount_log
}

@test "it starts with closed descriptors, too" {
    "$LOGMNT" -o "data=$DATA" "$M" <&- >&- 2>&- 3>&- 4>&- 5>&-
    PID=$(daemon_pid)
    mkdir "$M/orders"
    echo x >> "$M/orders/0"
    is "$(cat "$M/orders/0")" x
    is "$(readlink "/proc/$PID/fd/1")" /dev/null
    fusermount3 -u "$M"
}

@test "relative paths are those of the caller's directory, also when it goes away meanwhile" {
    mkdir "$T/here" "$T/here/sub"
    cd "$T/here/sub"
    "$LOGMNT" -o data=../../data ../../mnt 3>&- 4>&- 5>&-
    cd "$T"
    rm -r "$T/here"
    mkdir "$M/orders"
    [ -d "$T/data/topics" ]
    (cd "$T" && fusermount3 -u mnt)
    wait_until '! pgrep -f -- "^$LOGMNT -o data=../../data"'
    "$LOGMNT" -f -o data=data mnt 3>&- 4>&- 5>&- &
    BG+=("$!")
    wait_until is_mounted
    is "$(ls "$M")" orders
    fusermount3 -u "$M"
    wait "${BG[0]}"
}

@test "starting on a full log that was stopped cleanly is quick, however large" {
    mount_log
    mkdir "$M/orders"
    head -c 100000000 /dev/zero | tr '\0' 'x' | fold -w 999 >> "$M/orders/0"
    is "$(tail -n 1 "$M/orders/0" | wc -c)" 101 # a record since the close; not yet one when kill -9 overtakes the RELEASE
    kill_log
    mount_log
    is "$(tail -n 1 "$M/orders/0@-2" | wc -c)" 101
}

@test "one line is logged for an event in front, and none for a quiet run" {
    mount_log_in_front
    mkdir "$M/orders"
    seq 1000 >> "$M/orders/0"
    cat "$M/orders/0" > /dev/null
    fails '' sh "echo x > $M/orders/0"
    fusermount3 -u "$M"
    wait_until no_daemon
    at_most "$(wc -l < "$T/log")" 6
}

@test "what is wrong with a setting is one line, also where there is no such setting" {
    mount_log_in_front
    mkdir "$M/orders"
    fails 'Invalid argument' setfattr -n user.config.retention.ms -v x "$M/orders"
    fails 'Invalid argument' setfattr -n user.config.retention -v 1 "$M/orders"
    fails 'Invalid argument' setfattr -n user.topic.replication_factor -v 2 "$M/orders"
    is "$(grep -c '^user.config.retention.ms: ' "$T/log")" 1
    is "$(grep '^user.config.retention: ' "$T/log")" 'user.config.retention: no such setting here'
    is "$(grep '^user.topic' "$T/log")" \
        'user.topic.replication_factor: replication factor 2 is more than the number of nodes, 1'
    fusermount3 -u "$M"
    wait_until no_daemon
}

@test "in the background its lines go to syslog from the start on, and warnings to who waits for the mount, too" {
    mount_log
    mkdir "$M/orders"
    seq 1000 >> "$M/orders/0"
    echo torn >> "$M/orders/0"
    kill_log
    truncate -s -2 "$DATA/topics/orders-0/00000000000000000000.log"
    mkdir "$T/dev"
    timeout 60 unshare -m --propagation private bash -eu -c '
        mount -t tmpfs none "$1/dev"
        mknod -m 666 "$1/dev/null" c 1 3
        mknod -m 666 "$1/dev/urandom" c 1 9
        mknod -m 666 "$1/dev/fuse" c 10 229
        mount --bind "$1/dev" /dev
        python3 - "$1/syslog" << END &
import socket, sys
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind("/dev/log")
with open(sys.argv[1], "ab", buffering=0) as out:
    while True:
        line = log.recv(4096)
        out.write(line + b"\n")
        if line.endswith(b"stopping: Terminated"):
            break
END
        reader=$!
        until [ -S /dev/log ]; do sleep 0.02; done
        "$2" -o "data=$3" "$4" 2> "$1/err"
        wc -l < "$4/orders/0" > "$1/lines"
        kill "$(head -n 1 "$3/lock")"
        wait "$reader"
    ' - "$T" "$LOGMNT" "$DATA" "$M"
    wait_until no_daemon
    is "$(cat "$T/lines")" 1000
    grep -q 'logmnt\[[0-9]*\]: orders-0: cut at offset 1000' "$T/syslog"
    is "$(grep -c . "$T/err")" 1
    grep -q 'orders-0: cut at offset 1000' "$T/err"
    grep -q 'Terminated' "$T/syslog"
}

@test "a node that listens says who may come, and half of a cluster is no mount" {
    refused 'tls=off where the network is trusted' -o "data=$DATA,listen=127.0.0.1:9" "$M"
    refused 'add peer=7@HOST:PORT' -o "data=$DATA,id=7,listen=127.0.0.1:9,tls=off,peer=1@127.0.0.1:9" "$M"
    refused 'peer: without listen=' -o "data=$DATA,peer=1@127.0.0.1:9" "$M"
    refused 'node 1 was given before' -o "data=$DATA,listen=a:9,tls=off,peer=1@a:9,peer=1@b:9" "$M"
    refused "tls.cert=$T/none: No such file" -o "data=$DATA,listen=127.0.0.1:9,tls.cert=none,tls.key=none,tls.ca=none" "$M"
    refused 'logmnt: listen=192.0.2.1:9: Cannot assign' -o "data=$DATA,listen=192.0.2.1:9,tls=off" "$M"
    mount_log
    unmount_log
    refused 'logmnt: listen=192.0.2.1:9: Cannot assign' -o "data=$DATA,listen=192.0.2.1:9,tls=off" "$M"
    [ -e "$DATA/clean-shutdown" ] # it had begun, and is as it was
}

@test "a SIGHUP ends no daemon, in front neither" {
    mount_log_in_front
    mkdir "$M/orders"
    kill -HUP "$PID"
    kill -HUP "$PID"
    echo x >> "$M/orders/0"
    kill -TERM "$PID"
    wait "$PID"
    grep -q 'stopping: Terminated' "$T/log"
    not grep -q 'Hangup' "$T/log"
    mount_log
    kill -HUP "$PID"
    is "$(cat "$M/orders/0")" x
}
