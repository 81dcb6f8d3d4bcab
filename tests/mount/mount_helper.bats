#!/usr/bin/env bats
# mount.logmnt: mount(8) and fstab(5) mount a log as they mount anything else.
load lib

# mount(8) looks for helpers in /sbin and runs them with a PATH of its own: both are this test's, in a namespace of its own.
setup() {
    log_setup
    S=$T/sbin
    mkdir "$S"
    cp "$ROOT/mount-scripts/mount.logmnt" "$LOGMNT" "$S"
}

teardown() { log_teardown; }

# The daemon is known by the name that the helper called it by.
daemon_pids() { pgrep -f -- "^logmnt .*fsname=" | while read -r pid; do
    tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$T/" && echo "$pid"
done || :; }

# in_namespace: runs the script on its standard input where /sbin is $S, and nobody else has a port.
in_namespace() {
    timeout 60 unshare --mount --propagation private --net bash -eu -c '
        ip link set lo up
        mount --bind "$1" "$(realpath /sbin)"
        M=$2 T=$3
        eval "$(cat)"' bash "$S" "$M" "$T" 3>&-
}

@test "mount -t logmnt DIR MOUNTPOINT, and umount stops it cleanly" {
    in_namespace <<'END'
        mount -t logmnt "$T/data" "$M"
        [ "$(findmnt -no SOURCE,FSTYPE "$M")" = "$T/data fuse.logmnt" ]
        mkdir "$M/orders"
        echo tea >> "$M/orders/0"
        umount "$M"
END
    wait_until '[ -z "$(daemon_pids)" ]'
    [ -e "$T/data/clean-shutdown" ]
    is "$(cat "$T"/data/topics/orders-0/*.log)" tea
}

@test "a line of fstab: mount's own options stay with mount, logmnt's go on, and it is not mounted twice" {
    echo "$T/data $M logmnt defaults,noauto,nofail,_netdev,x-systemd.automount,noatime,allow_other,acks=1 0 0" >"$T/fstab"
    in_namespace <<'END'
        mount -T "$T/fstab" "$M"
        findmnt -no OPTIONS "$M" | grep -w noatime | grep -qw allow_other
        sed -i s/noauto,// "$T/fstab"
        mount -T "$T/fstab" -a -v | grep -q 'already mounted'
        umount "$M"
END
}

@test "a data directory and a mount point with spaces, commas and backslashes in their names" {
    mkdir "$M/a b"
    in_namespace <<'END'
        mount -t logmnt "$T/da ta,1\\2" "$M/a b"
        mkdir "$M/a b/orders"
        umount "$M/a b"
END
    wait_until '[ -z "$(daemon_pids)" ]'
    [ -d "$T/da ta,1\\2/topics/orders-0" ]
}

@test "the options of a cluster go through mount and fstab, each peer of the list" {
    local cluster=listen=127.0.0.1:9092,peer=1@127.0.0.1:9092,tls=off
    echo "$T/data $M logmnt _netdev,$cluster 0 0" >"$T/fstab"
    in_namespace <<'END'
        mount -T "$T/fstab" "$M"
        until [ "$(getfattr --only-values -n user.cluster.controller "$M")" = 1 ]; do sleep 0.02; done 2> /dev/null
        mkdir "$M/orders"
        umount "$M"
END
    wait_until '[ -z "$(daemon_pids)" ]'
    in_namespace <<END
        mount -t logmnt "$T/data" "$M" -o $cluster,peer=2@127.0.0.1:9,peer=3@127.0.0.1:10
        tr '\\0' ' ' </proc/\$(head -n 1 "$T/data/lock")/cmdline >"$T/cmdline"
        ls "$M"
        umount "$M"
END
    for peer in peer=1@127.0.0.1:9092 peer=2@127.0.0.1:9 peer=3@127.0.0.1:10; do grep -qF "$peer" "$T/cmdline"; done
}

# mount(8) runs helpers without HOME, so it is the one in the passwd database, here an empty one.
@test "none is the default data directory" {
    in_namespace <<'END'
        home=$(getent passwd "$(id -u)" | cut -d: -f6)
        mount -t tmpfs none "$home"
        mount -t logmnt none "$M"
        [ -e "$home/.local/state/logmnt/meta.properties" ]
        umount "$M"
END
}

@test "what cannot be mounted is an error of mount, in one clear line" {
    fails "unknown option 'nosuch'" in_namespace <<<'mount -t logmnt "$T/data" "$M" -o nosuch'
    fails "tls.cert=" in_namespace <<<'mount -t logmnt "$T/data" "$M" -o listen=localhost:9'
    fails "usage: mount.logmnt" "$S/mount.logmnt"
    in_namespace <<<'mount -f -t logmnt "$T/data" "$M"; ! mountpoint -q "$M"'
}
