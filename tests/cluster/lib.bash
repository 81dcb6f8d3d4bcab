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
*/asan/* | */tsan/*) SANITIZED=1 BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-300} ;;
*) SANITIZED='' BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-120} ;;
esac

cluster() { timeout 100 "$ROOT/mount-scripts/logmnt-cluster" "$@" 3>&-; }

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
    for pid in "${BG[@]}"; do
        pkill -9 -P "$pid"
        kill -9 "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
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

start_cluster() { # [-o OPTIONS] N: named after this process, so that suites can run beside each other
    cluster -n "t$$" "$@" "$C" >"$T/mounts"
}

# logged NODE TEXT: a line of its log has it.
logged() { grep -qF -- "$2" "$C/log/$1"; }
forget_logs() { for log in "$C"/log/*; do : >"$log"; done; }
daemon() { cat "$C/pid/$1"; } # NODE

# Disks of their own for some nodes, before the cluster is there: node N's data is on an ext4 at $T/disk/N.
start_cluster_on_disks() { # [-o OPTIONS] MEGABYTES NODE…: three nodes
    local options='' megabytes node image loop
    if [ "$1" = -o ]; then options=$2; shift 2; fi
    megabytes=$1
    shift
    mkdir -p "$C/data" "$T/disk"
    for node; do
        image=$T/disk/$node.img
        truncate -s "${megabytes}M" "$image"
        mkfs.ext4 -q -F -m 0 "$image"
        mkdir "$T/disk/$node"
        if ! loop=$(losetup -f --show "$image") || ! mount "$loop" "$T/disk/$node"; then
            echo "no loop device could be mounted (this test needs root and /dev/loop*)"
            return 1
        fi
        echo "$loop" >"$T/disk/$node.loop"
        mkdir "$T/disk/$node/data"
        ln -s "$T/disk/$node/data" "$C/data/$node"
    done
    printf '%s\n' "NAME=t$$" COUNT=3 "OPTIONS=$options" >"$C/cluster"
    cluster start "$C"
}

drop_disks() {
    local file bad=0
    for file in "$T"/disk/*.loop; do
        [ -e "$file" ] || continue
        fsfreeze -u "${file%.loop}" 2>/dev/null
        wait_until "umount ${file%.loop} 2>/dev/null || ! mountpoint -q ${file%.loop}" 10 || { umount -l "${file%.loop}"; bad=1; }
        losetup -d "$(cat "$file")"
    done
    return $bad
}
