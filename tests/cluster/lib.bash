# tests/cluster/lib.bash: clusters of real daemons, each node in a network namespace of its own (mount-scripts/logmnt-cluster).
# What tests say over and over is in tests/words.bash.
#
#   $T  this test's own directory     $C  the cluster's: mounts are $C/1, $C/2, …, logs $C/log/1, …
#
# A test fails when its cluster does not stop by itself at the end, or when a sanitizer has something to say.

ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
. "$ROOT/tests/words.bash"
export LOGMNT=${LOGMNT:-$ROOT/build/logmnt}
export SANITIZED BATS_TEST_TIMEOUT LC_ALL=C TZ=UTC PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
# shellcheck disable=SC2034 # the tests use it
case $LOGMNT in
*/asan/* | */tsan/*) SANITIZED=1 BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-600} ;;
*) SANITIZED='' BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-300} ;;
esac
# What several daemons bring about together, each of which may get no processor for seconds.
# shellcheck disable=SC2034 # wait_until's
WAIT_S=60

cluster() { timeout 200 "$ROOT/mount-scripts/logmnt-cluster" "$@" 3>&-; }

setup() {
    umask 022
    T=$(mktemp -d /tmp/logmnt-cluster.XXXXXX)
    C=$T/c BG=()
    export ASAN_OPTIONS=log_path=$T/sanitizer:detect_leaks=1
    export UBSAN_OPTIONS=log_path=$T/sanitizer:print_stacktrace=1
    export TSAN_OPTIONS=log_path=$T/sanitizer:second_deadlock_stack=1
    # A call that no daemon answers cannot be interrupted: then only the daemons' end ends the test. Not a child of
    # bats', which ends those first.
    (setsid bash -c 'sleep $((BATS_TEST_TIMEOUT + 10)) & echo $! > "$0/watchdog"; wait $! || exit
        cat "$0"/c/pid/* | xargs -r kill -9' "$T" >/dev/null 2>&1 3>&- &)
}

teardown() {
    local bad=0 pid report log
    cd /
    end_bg
    [ ! -e "$C/cluster" ] || cluster down "$C" || bad=1
    for report in "$T"/sanitizer*; do
        [ -s "$report" ] || continue
        head -n 60 "$report"
        bad=1
    done
    if [ "$bad" = 1 ] || [ "${BATS_TEST_COMPLETED:-}" != 1 ]; then
        for log in "$C"/log/*; do
            [ -e "$log" ] || continue
            echo "--- ${log#"$T/"}"
            tail -n 15 "$log"
        done
    fi
    drop_disks || bad=1
    wait_until '[ -s "$T/watchdog" ]' && read -r pid <"$T/watchdog" && kill "$pid"
    rm -rf --one-file-system "$T"
    return $bad
}

# Whoever has ended is no child any more, and its number may be another's.
end_bg() {
    local pid children self=$BASHPID
    children=$(pgrep -P "$self") || :
    for pid in "${BG[@]}"; do
        if grep -qx -- "$pid" <<<"$children"; then
            pkill -9 -P "$pid"
            kill -9 "$pid" 2>/dev/null
        fi
    done
    for pid in "${BG[@]}"; do wait "$pid" 2>/dev/null; done
}

start_cluster() { # [-o OPTIONS] N: named after this process, so that suites can run beside each other
    cluster -n "t$$" "$@" "$C" >"$T/mounts"
}

# logged NODE TEXT: a line of its log has it.
logged() { grep -qF -- "$2" "$C/log/$1"; }
forget_logs() { for log in "$C"/log/*; do : >"$log"; done; }
daemon() { cat "$C/pid/$1"; } # NODE

# --- the contract's time, on a machine that may have none ---

# For how long the machine has made anybody wait for a processor or a disk, of all time, to $STALLED_MS; 0 where the
# kernel does not tell. A limit of the contract is one of a machine that runs: such time is not of it.
read_stalls() {
    local file total
    STALLED_MS=0
    for file in /proc/pressure/cpu /proc/pressure/io; do
        { read -r _ _ _ _ total <"$file"; } 2>/dev/null && STALLED_MS=$((STALLED_MS + ${total#total=} / 1000))
    done
    return 0
}
begin_clock() { read_stalls; BEGUN_US=${EPOCHREALTIME/./} BEGUN_STALLED_MS=$STALLED_MS; }
read_clock() { # since begin_clock, to $RAN_MS and $STOOD_MS
    read_stalls
    STOOD_MS=$((STALLED_MS - BEGUN_STALLED_MS))
    RAN_MS=$(((${EPOCHREALTIME/./} - BEGUN_US) / 1000 - STOOD_MS))
    [ "$RAN_MS" -gt 0 ] || RAN_MS=0
}
ran_at_most() { read_clock; at_most "$RAN_MS" "$1"; } # MS, since begin_clock

# soon CONDITION: within the two seconds that the contract gives another host. A look that a daemon was late to answer
# counts as a fifth of a second.
soon() {
    local left=$((2000 * (SANITIZED ? 3 : 1))) last=$((SECONDS + WAIT_S)) BEGUN_US BEGUN_STALLED_MS
    begin_clock
    until eval "$1"; do
        if [ $left -le 0 ] || [ $SECONDS -ge $last ]; then
            echo "waited two seconds in vain for: $1" >&2
            return 1
        fi
        sleep 0.02
        read_clock
        left=$((left - (RAN_MS < 200 ? RAN_MS : 200)))
        begin_clock
    done
}

# answered COMMAND…: what a change of the tree or of settings comes to. It is decided within a second or ETIMEDOUT, and
# EROFS from then on until a controller has answered. So it is asked for again on a machine that was short of time; on
# one that was not, ETIMEDOUT is its end.
answered() {
    local said status last=$((SECONDS + WAIT_S)) BEGUN_US BEGUN_STALLED_MS
    while :; do
        begin_clock
        status=0
        said=$("$@" 2>&1 3>&-) || status=$?
        read_clock
        case $said in
        *'Read-only file system'*) ;;
        *'Connection timed out'*) [ "$STALLED_MS" = 0 ] || [ "$STOOD_MS" -ge 100 ] || break ;;
        *) break ;;
        esac
        [ $SECONDS -lt $last ] || break
        sleep 0.02
    done
    [ -z "$said" ] || printf '%s\n' "$said" >&2
    return $status
}

is_set() { # -n NAME -v VALUE FILE or -x NAME FILE, as of setfattr: that is so
    case $1 in
    -n) [ "$(attr "$5" "$2")" = "$4" ] ;;
    -x) [ -e "$3" ] && ! attr "$3" "$2" >/dev/null 2>&1 ;;
    esac
}

# change COMMAND…: the change is made. What timed out may have made it, and is refused when it is asked for again: a name
# that is there or is not, as many partitions as there are, an attribute that was removed.
change() {
    local name
    case $1 in
    mkdir) for name in "${@:2}"; do answered mkdir "$name" || [ -d "$name" ] || return; done ;;
    rmdir) for name in "${@:2}"; do answered rmdir "$name" || [ ! -e "$name" ] || return; done ;;
    set_attr) answered "$@" || [ "$(attr "$2" "$3")" = "$4" ] ;;
    setfattr) answered "$@" || is_set "${@:2}" ;;
    *) answered "$@" ;;
    esac
}

# learn VARIABLE COMMAND…: what the command says, once that is a node's id.
learn() { wait_until "$1=\$(${*:2}) && [[ \$$1 =~ ^[0-9]+\$ ]]"; }

# --- one start after another ---

# A node's registration, as another one knows it: that of a later start is greater. What a mount says right after a start
# may be from before it.
epoch() { awk -v id="$2" '$1 == id { print $6 }' "$C/$1/.cluster/nodes" 2>/dev/null || :; } # AS-SEEN-FROM NODE
EPOCHS=()
note_epochs() { # NODE…
    local node from epoch
    for node; do
        EPOCHS[node]=0
        for from in 1 2 3; do
            epoch=$(epoch $from "$node")
            [ "${epoch:-0}" -le "${EPOCHS[node]}" ] || EPOCHS[node]=$epoch
        done
    done
}
kill_nodes() { note_epochs "$@"; cluster kill "$C" "$@"; } # NODE…
start_nodes() { # NODE…: those that have ended since note_epochs; each mount knows that they are back
    cluster start "$C" "$@"
    await_starts "$@"
}
restart_nodes() { note_epochs "$@"; cluster restart "$C" "$@"; await_starts "$@"; } # NODE…: clean stops, likewise
await_starts() { # NODE…
    local node from
    for node; do
        for from in 1 2 3; do
            [ ! -r "$C/$from/.cluster/nodes" ] || wait_until "[ \"\$(epoch $from $node)\" -gt ${EPOCHS[node]} ] 2>/dev/null"
        done
    done
}

# Disks of their own for some nodes, before the cluster is there: node N's data is on an ext4 at $T/disk/N.
start_cluster_on_disks() { # [-o OPTIONS] [-m] MEGABYTES NODE…: three nodes; -m: in memory, where not a page is left of a full one
    local options='' memory='' megabytes node image loop
    if [ "$1" = -o ]; then options=$2; shift 2; fi
    if [ "$1" = -m ]; then memory=1; shift; fi
    megabytes=$1
    shift
    mkdir -p "$C/data" "$T/disk"
    for node; do
        mkdir "$T/disk/$node"
        if [ "$memory" ]; then
            mount -t tmpfs -o "size=${megabytes}m" none "$T/disk/$node"
        else
            image=$T/disk/$node.img
            truncate -s "${megabytes}M" "$image"
            mkfs.ext4 -q -F -m 0 "$image"
            if ! loop=$(losetup -f --show "$image") || ! mount "$loop" "$T/disk/$node"; then
                echo "no loop device could be mounted (this test needs root and /dev/loop*)"
                return 1
            fi
            echo "$loop" >"$T/disk/$node.loop"
        fi
        mkdir "$T/disk/$node/data"
        ln -s "$T/disk/$node/data" "$C/data/$node"
    done
    printf '%s\n' "NAME=t$$" COUNT=3 "OPTIONS=$options" >"$C/cluster"
    cluster start "$C"
}

drop_disks() {
    local disk bad=0
    for disk in "$T"/disk/*/; do
        [ -d "$disk" ] || continue
        disk=${disk%/}
        fsfreeze -u "$disk" 2>/dev/null
        wait_until "umount $disk 2>/dev/null || ! mountpoint -q $disk" 10 || { umount -l "$disk"; bad=1; }
        [ ! -e "$disk.loop" ] || losetup -d "$(cat "$disk.loop")"
    done
    return $bad
}
