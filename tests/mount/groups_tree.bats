#!/usr/bin/env bats
# Consumer groups as names: made, listed, owned, set and removed. What their streams give is groups.bats.
load lib

setup() {
    log_setup
    mount_log allow_other
    cd "$M"
}

as() { # UID COMMAND…: as that user, in the group of the same number
    local uid=$1
    shift
    setpriv --reuid="$uid" --regid="$uid" --clear-groups "$@"
}

# What as shell code may do: r, w, rw or -.
may() { # UID FILE
    as "$1" bash -c 'a=; [ ! -r "$1" ] || a=r; [ ! -w "$1" ] || a+=w; echo "${a:--}"' - "$2"
}

@test "mkdir makes a group, rmdir removes it" {
    mkdir orders .groups/kitchen .groups/bar
    is "$(ls .groups | tr '\n' ' ')" 'bar kitchen '
    is "$(stat -c %F .groups .groups/kitchen .groups/kitchen/orders | tr '\n' ,)" 'directory,directory,regular file,'
    is "$(ls -a | tr '\n' ' ')" '. .. orders '
    rmdir .groups/kitchen
    is "$(ls .groups)" bar
    fails 'No such file or directory' ls .groups/kitchen
    fails 'No such file or directory' cat .groups/kitchen/orders
}

@test "a group that is removed while somebody joins is gone for who joins, or in use for who removes it" {
    mkdir orders
    for i in {1..40}; do
        mkdir .groups/kitchen
        cat .groups/kitchen/orders > "$T/out" 2> "$T/err" 3>&- &
        reader=$!
        BG+=("$reader")
        [ $((i % 2)) = 0 ] || until grep -q kitchen/orders < <(readlink /proc/$reader/fd/*) || ! kill -0 $reader; do :; done
        if rmdir .groups/kitchen 2> "$T/rmdir"; then
            wait $reader && false
            grep -qE 'Stale file handle|No such file or directory' "$T/err"
        else
            grep -q 'Device or resource busy' "$T/rmdir"
            kill $reader
            wait $reader || :
            wait_until 'rmdir .groups/kitchen 2> /dev/null'
        fi
    done
}

@test "a group has a stream of every topic, by name and as JSON" {
    mkdir .groups/kitchen
    is "$(ls .groups/kitchen)" ''
    mkdir orders bills
    is "$(ls .groups/kitchen | tr '\n' ' ')" 'bills orders '
    is "$(ls -A .groups/kitchen | tr '\n' ' ')" 'bills orders '
    is "$(ls .groups/kitchen/.json | tr '\n' ' ')" 'bills orders '
    is "$(stat -c %F .groups/kitchen/.json/orders)" 'regular file'
    rmdir bills
    is "$(ls .groups/kitchen .groups/kitchen/.json | tr '\n' ' ')" '.groups/kitchen: orders  .groups/kitchen/.json: orders '
    fails 'No such file or directory' stat .groups/kitchen/bills
    # Topics that are no user's have none.
    fails 'No such file or directory' stat .groups/kitchen/__consumer_offsets
    fails 'No such file or directory' stat .groups/kitchen/.internal
    fails 'No such file or directory' stat .groups/kitchen/orders@5
}

@test "names are a topic's, and so short that an attribute can have them" {
    longest=$(printf 'g%.0s' {1..234})
    mkdir ".groups/$longest" .groups/a.b_c-D9 .groups/_x .groups/0
    for name in .hidden .json __internal 'a b' a:b a@b grün $'a\nb' "${longest}g"; do
        fails 'Invalid argument' mkdir ".groups/$name"
    done
    is "$(ls .groups | wc -l)" 4
    fails 'File exists' mkdir .groups/0
    fails 'No such file or directory' rmdir .groups/1
}

@test "the first group makes the topic of offsets, which is no user's" {
    is "$(ls .internal)" __cluster_metadata
    mkdir .groups/kitchen
    is "$(ls .internal | tr '\n' ' ')" '__cluster_metadata __consumer_offsets '
    is "$(ls .internal/__consumer_offsets | wc -l)" 50
    is "$(attr .internal/__consumer_offsets user.config.cleanup.policy)" compact
    is "$(attr .internal/__consumer_offsets user.config.framing)" msgpack
    is "$(grep -c '^__consumer_offsets ' .cluster/partitions)" 50
    grep -qx 'logmnt_high_watermark{topic="__consumer_offsets",partition="49"} 0' .cluster/metrics
    is "$(attr .internal/__consumer_offsets user.topic.replication_factor)" 1
    fails 'Operation not permitted' sh -c 'echo x >> .internal/__consumer_offsets/0'
    fails 'Operation not permitted' rmdir .internal/__consumer_offsets
    fails 'Operation not permitted' touch .internal/__consumer_offsets/50
    fails 'Operation not permitted' chmod 777 .internal/__consumer_offsets
    fails 'Operation not permitted' setfattr -n user.config.retention.ms -v 1 .internal/__consumer_offsets
    fails 'Operation not permitted' fallocate -p -o 0 -l 100 .internal/__consumer_offsets/0
    fails 'Invalid argument' mkdir __consumer_offsets
    rmdir .groups/kitchen
    is "$(ls .internal | wc -l)" 2
    cat .internal/__consumer_offsets/*
}

@test "nothing else is made, moved or removed there" {
    mkdir orders .groups/kitchen
    for name in .groups/kitchen/x .groups/kitchen/.json/x .groups/kitchen/.x; do
        fails 'Operation not permitted' mkdir "$name"
        fails 'Operation not permitted' touch "$name"
        fails 'Operation not permitted' ln -s orders "$name"
        fails 'Operation not permitted' ln orders/0 "$name"
        fails 'Operation not permitted' mkfifo "$name"
        fails 'Operation not permitted' sh -c 'echo x > "$1"' - "$name"
        fails 'No such file or directory' sh -c 'echo x >> "$1"' - "$name"
    done
    fails 'Operation not permitted' touch .groups/x
    fails 'Operation not permitted' rmdir .groups
    fails 'Operation not permitted' rmdir .groups/kitchen/.json
    fails 'Not a directory' rmdir .groups/kitchen/orders
    fails 'Operation not permitted' rm -f .groups/kitchen/orders
    fails 'Operation not permitted' rm -f .groups/kitchen/.json/orders
    fails 'Operation not permitted' mv .groups/kitchen .groups/bar
    fails 'Operation not permitted' mv .groups/kitchen/orders .groups/kitchen/bills
    fails 'Permission denied' truncate -s 0 .groups/kitchen/orders
    fails 'Operation not permitted' python3 -c 'import os; os.truncate(".groups/kitchen/orders", 0)'
    fails 'Operation not permitted' chmod 600 .groups/kitchen/orders
    fails 'Operation not permitted' chown 1234 .groups/kitchen/orders
    fails 'Operation not permitted' chmod 600 .groups/kitchen/.json
    is "$(ls .groups)" kitchen
}

@test "a stream is not to be opened for writing, by root either" {
    mkdir orders .groups/kitchen
    for stream in .groups/kitchen/orders .groups/kitchen/.json/orders; do
        fails 'Permission denied' sh -c 'echo x >> "$1"' - "$stream"
        fails 'Permission denied' dd if=/dev/null of="$stream" conv=notrunc
        fails 'Permission denied' sh -c ': <> "$1"' - "$stream"
    done
}

@test ".groups is 1777, until it is changed" {
    is "$(stat -c '%u %g %a' .groups)" '0 0 1777'
    as 1234 mkdir .groups/theirs
    as 4321 mkdir .groups/others
    fails 'Operation not permitted' as 4321 rmdir .groups/theirs # sticky
    as 1234 rmdir .groups/theirs
    rmdir .groups/others
    chmod 2755 .groups
    chown 77:88 .groups
    is "$(stat -c '%u %g %a' .groups)" '77 88 2755'
    fails 'Permission denied' as 1234 mkdir .groups/theirs
    as 77 mkdir .groups/ours
    setpriv --reuid=77 --regid=88 --clear-groups chmod 2755 .groups # its owner's, whose MOUNT is not
    fails 'Operation not permitted' as 1234 chmod 777 .groups
    is "$(stat -c '%u %g %a' .groups/ours)" '77 88 2755' # as a set-group-ID directory does
    remount allow_other
    is "$(stat -c '%u %g %a' .groups .groups/ours | tr '\n' ,)" '77 88 2755,77 88 2755,'
}

@test "a group belongs to who made it, and its mode gives x with r" {
    (umask 027 && as 1234 mkdir .groups/kitchen)
    is "$(stat -c '%u %g %a' .groups/kitchen)" '1234 1234 750'
    chmod 640 .groups/kitchen
    is "$(stat -c %a .groups/kitchen)" 750
    is "$(stat -c %a .groups/kitchen/.json)" 550
    (umask 022 && mkdir -m 600 .groups/bar)
    is "$(stat -c %a .groups/bar)" 700
    as 1234 chmod 4664 .groups/kitchen
    is "$(stat -c %a .groups/kitchen)" 4775
    fails 'Operation not permitted' as 1234 chmod 777 .groups/bar
    fails 'Operation not permitted' as 1234 chown 1234 .groups/bar
    chown 5:6 .groups/bar
    is "$(stat -c '%u %g' .groups/bar)" '5 6'
    restart_after_kill allow_other
    is "$(stat -c '%u %g %a' .groups/kitchen .groups/bar | tr '\n' ,)" '1234 1234 4775,5 6 700,'
}

@test "a stream's r is what the group's entry and the partitions both grant, and w goes with it" {
    mkdir orders .groups/kitchen
    chown 1234:100 orders
    chown 4321:200 .groups/kitchen
    local uid
    # entry's owner, topic's owner, others, for the entry's and the partitions' modes
    while read -r entry parts a b c; do
        chmod "$entry" .groups/kitchen
        chmod "$parts" orders/0
        for stream in orders .json/orders; do
            is "$entry $parts $(may 4321 .groups/kitchen/$stream) $(may 1234 .groups/kitchen/$stream) $(may 7 .groups/kitchen/$stream)" \
                "$entry $parts $a $b $c"
        done
    done <<'TABLE'
755 644 rw rw rw
755 600 -  rw -
700 644 rw -  -
700 600 -  -  -
755 640 -  rw -
755 604 rw rw rw
TABLE
    # Root may read and set, as everywhere.
    [ -r .groups/kitchen/orders ] && [ -w .groups/kitchen/orders ]
}

@test "members of the entry's group, and of the topic's" {
    mkdir orders .groups/kitchen
    chown 1234:100 orders
    chown 4321:200 .groups/kitchen
    chmod 640 orders/0
    chmod 750 .groups/kitchen
    with() { setpriv --reuid=7 --regid=7 --groups="$1" bash -c '[ -r "$0" ] && echo yes || echo no' .groups/kitchen/orders; }
    is "$(with 100)" no
    is "$(with 200)" no
    is "$(with 100,200)" yes
    is "$(with "$(seq -s, 300 390),100,200")" yes
}

@test "a topic without x keeps everybody out of its streams" {
    mkdir orders
    echo 'table 4: tea' >> orders/0
    as 1234 mkdir .groups/kitchen
    chown 1000:100 orders
    local stream mode owner member others
    member() { setpriv --reuid=7 --regid=7 --groups=100 bash -c '[ -r "$0" ] && echo rw || echo -' "$1"; }
    while read -r mode owner member others; do
        chmod "$mode" orders
        for stream in orders .json/orders; do
            is "$mode $(may 1000 .groups/kitchen/$stream) $(member .groups/kitchen/$stream) $(may 1234 .groups/kitchen/$stream)" \
                "$mode $owner $member $others"
        done
    done <<'TABLE'
711 rw rw rw
755 rw rw rw
744 rw -  -
710 rw rw -
701 rw -  rw
677 -  rw rw
700 rw -  -
TABLE
    for stream in orders .json/orders; do
        fails 'Permission denied' as 1234 timeout 30 head -n 1 .groups/kitchen/$stream
        fails 'Permission denied' as 1234 getfattr -n user.group.partitions .groups/kitchen/$stream
    done
    # The group's owner is no exception where his are the same as the topic's.
    chown 1234:1234 orders
    chmod 600 orders
    fails 'Permission denied' as 1234 timeout 30 head -n 1 .groups/kitchen/orders
}

@test "who has a stream open reads on when the topic is closed to him" {
    mkdir orders
    chown 1234 orders
    echo 'table 4: tea' >> orders/0
    as 1234 mkdir .groups/kitchen
    is "$(as 1234 timeout 30 bash -c 'exec 4< .groups/kitchen/orders && chmod 0 orders && head -n 1 <&4')" 'table 4: tea'
    fails 'Permission denied' as 1234 timeout 30 head -n 1 .groups/kitchen/orders
}

@test "settings of a group are Kafka's names" {
    mkdir .groups/kitchen
    is "$(getfattr -d --absolute-names .groups/kitchen | grep -o 'user.config.*')" "$(cat <<'SETTINGS'
user.config.auto.offset.reset="earliest"
user.config.enable.auto.commit="true"
user.config.max.poll.interval.ms="300000"
user.config.max.poll.records="500"
user.config.partition.assignment.strategy="sticky"
user.config.rebalance.timeout.ms="5000"
user.config.session.timeout.ms="10000"
SETTINGS
)"
    setfattr -n user.config.max.poll.records -v 7 .groups/kitchen
    setfattr -n user.config.partition.assignment.strategy -v range .groups/kitchen
    is "$(attr .groups/kitchen user.config.max.poll.records)" 7
    is "$(attr .groups/kitchen user.group.assignor)" range
    for bad in max.poll.records=0 max.poll.records=x max.poll.interval.ms=-1 enable.auto.commit=maybe \
        auto.offset.reset=none partition.assignment.strategy=fair retention.ms=1 no.such=1; do
        fails 'Invalid argument' setfattr -n "user.config.${bad%=*}" -v "${bad#*=}" .groups/kitchen
    done
    fails 'Invalid argument' setfattr -n user.other -v 1 .groups/kitchen
    fails 'Operation not permitted' setfattr -n user.group.assignor -v range .groups/kitchen
    fails 'No such attribute' attr .groups/kitchen user.config.retention.ms
    fails 'No such attribute' setfattr -x user.config.retention.ms .groups/kitchen
    remount allow_other
    is "$(attr .groups/kitchen user.config.max.poll.records)" 7
    setfattr -x user.config.max.poll.records .groups/kitchen
    is "$(attr .groups/kitchen user.config.max.poll.records)" 500
    fails 'No such attribute' setfattr -x user.config.max.poll.records .groups/kitchen
    # MOUNT's are the topics'.
    fails 'Invalid argument' setfattr -n user.config.max.poll.records -v 7 .
    fails 'Invalid argument' setfattr -n user.config.max.poll.records -v 7 .groups
}

@test "settings need the group's owner, or root" {
    as 1234 mkdir .groups/kitchen
    chmod 777 .groups/kitchen
    as 1234 setfattr -n user.config.max.poll.records -v 7 .groups/kitchen
    fails 'Operation not permitted' as 4321 setfattr -n user.config.max.poll.records -v 8 .groups/kitchen
    is "$(as 4321 getfattr --only-values -n user.config.max.poll.records .groups/kitchen)" 7
}

@test "a name that is used again is another group" {
    mkdir orders .groups/kitchen
    setfattr -n user.config.max.poll.records -v 7 .groups/kitchen
    before=$(stat -c %i .groups/kitchen/orders)
    cd .groups/kitchen
    rmdir "$M/.groups/kitchen"
    mkdir "$M/.groups/kitchen"
    fails 'Stale file handle' stat orders
    cd "$M"
    is "$(attr .groups/kitchen user.config.max.poll.records)" 500
    [ "$(stat -c %i .groups/kitchen/orders)" != "$before" ]
}

@test "inode numbers stay, and a stream is the same file at each look" {
    mkdir orders .groups/kitchen
    numbers() { stat -c %i .groups .groups/kitchen .groups/kitchen/orders .groups/kitchen/.json .groups/kitchen/.json/orders; }
    before=$(numbers)
    is "$(numbers)" "$before"
    is "$(sort -u <<<"$before" | wc -l)" 5
    is "$(ls -i .groups/kitchen | cut -d' ' -f1)" "$(stat -c %i .groups/kitchen/orders)"
    remount allow_other
    is "$(numbers)" "$before"
}

@test "find and grep -r meet no group" {
    mkdir orders .groups/kitchen
    echo one >> orders/0
    is "$(find . | sort | tr '\n' ' ')" '. ./orders ./orders/0 '
    is "$(timeout 30 grep -r one)" 'orders/0:one'
}

# ---- what coordinators know ----

@test "a group that nobody reads in is empty" {
    mkdir orders .groups/kitchen
    is "$(getfattr -d .groups/kitchen | grep -o 'user.group.*')" "$(cat <<'ATTRIBUTES'
user.group.assignor="sticky"
user.group.coordinator="1"
user.group.generation="0"
user.group.members="0"
user.group.state="Empty"
ATTRIBUTES
)"
    for name in state generation assignor members coordinator; do
        fails 'Operation not permitted' set_attr .groups/kitchen "user.group.$name" 1
        fails 'Operation not permitted' setfattr -x "user.group.$name" .groups/kitchen
        fails 'No such attribute' attr .groups "user.group.$name"
        fails 'No such attribute' attr orders "user.group.$name"
    done
}

committed() { attr "${2:-orders/0}" "user.group.${1:-kitchen}.committed"; } # [GROUP [FILE]]

@test "an offset is set by number, by counting back, by time and by name" {
    mkdir orders .groups/kitchen
    TZ=UTC seq 1 10 >> orders/0
    later 20
    since=$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)
    later 20
    seq 11 15 >> orders/0
    while read -r value offset; do
        set_attr orders/0 user.group.kitchen.committed "$value"
        is "$value $(committed)" "$value $offset"
        is "$value $(attr orders/0 user.group.kitchen.lag)" "$value $((15 - offset))"
    done <<TABLE
0 0
7 7
15 15
-4 11
-400 0
start 0
end 15
earliest 0
latest 15
2020-01-01 0
2020-01-01T09:00Z 0
$since 10
2099-01-01 15
-1h 0
TABLE
    for value in 16 x '' ' 7' 7x -x 1.5 +3 2020-02-30 -1y; do
        fails 'Invalid argument' set_attr orders/0 user.group.kitchen.committed "$value"
    done
    is "$(committed)" 0
}

@test "below the log start it is the log start, and the lag counts what there is" {
    mkdir orders .groups/kitchen
    seq 10 99 >> orders/0 # 3 bytes a record
    set_attr orders/0 user.group.kitchen.committed 5
    fallocate -p -o 0 -l 60 orders/0
    is "$(committed) $(attr orders/0 user.group.kitchen.lag)" '5 70'
    set_attr orders/0 user.group.kitchen.committed 7
    is "$(committed) $(attr orders/0 user.group.kitchen.lag)" '20 70'
}

@test "each group with an offset here is listed, and no other" {
    mkdir orders .groups/kitchen .groups/bar .groups/a.b
    touch orders/1
    listed() { getfattr -d "$1" | grep -o 'user.group.*' | tr '\n' ' '; }
    is "$(listed orders/0)" ''
    fails 'No such attribute' committed
    fails 'No such attribute' attr orders/0 user.group.kitchen.lag
    set_attr orders/0 user.group.kitchen.committed 0
    set_attr orders/0 user.group.a.b.committed 0
    set_attr orders/1 user.group.bar.committed 0
    is "$(listed orders/0)" 'user.group.a.b.committed="0" user.group.a.b.lag="0" user.group.kitchen.committed="0" user.group.kitchen.lag="0" '
    is "$(listed orders/1)" 'user.group.bar.committed="0" user.group.bar.lag="0" '
    is "$(listed orders/.follow/0)" "$(listed orders/0)"
    is "$(listed orders/.json/0)" "$(listed orders/0)"
    is "$(listed orders)$(listed .groups/kitchen/orders)" ''
    rmdir .groups/a.b
    is "$(listed orders/0)" 'user.group.kitchen.committed="0" user.group.kitchen.lag="0" '
}

@test "an offset is forgotten when it is removed" {
    mkdir orders .groups/kitchen
    echo one >> orders/0
    fails 'No such attribute' setfattr -x user.group.kitchen.committed orders/0
    set_attr orders/0 user.group.kitchen.committed 1
    setfattr -x user.group.kitchen.committed orders/0
    fails 'No such attribute' committed
    fails 'No such attribute' setfattr -x user.group.kitchen.committed orders/0
}

@test "what is not there, not to be set, and not for all" {
    mkdir orders .groups/kitchen
    echo one >> orders/0
    fails 'Invalid argument' set_attr orders/0 user.group.bar.committed 0
    fails 'No such attribute' committed bar
    fails 'No such attribute' setfattr -x user.group.bar.committed orders/0
    fails 'Operation not permitted' set_attr orders/0 user.group.kitchen.lag 0
    fails 'Operation not permitted' setfattr -x user.group.kitchen.lag orders/0
    fails 'Invalid argument' set_attr orders/0 user.group.kitchen.offset 0
    fails 'Operation not permitted' set_attr orders/0@start user.group.kitchen.committed 0
    fails 'Operation not permitted' set_attr orders/.follow/0 user.group.kitchen.committed 0
    fails 'Invalid argument' set_attr orders user.group.kitchen.committed 0
    fails 'Operation not permitted' set_attr .internal/__consumer_offsets/0 user.group.kitchen.committed 0
    fails 'No such attribute' committed kitchen .internal/__consumer_offsets/0
    flags() { python3 -c 'import os, sys; os.setxattr("orders/0", "user.group.kitchen.committed", b"1", getattr(os, sys.argv[1]))' "$1"; }
    fails 'No data available' flags XATTR_REPLACE
    flags XATTR_CREATE
    fails 'File exists' flags XATTR_CREATE
    flags XATTR_REPLACE
    is "$(committed)" 1
}

@test "w on the group's entry, and on the partition, moves an offset" {
    mkdir orders .groups/kitchen
    echo one >> orders/0
    chmod 666 orders/0
    fails 'Permission denied' as 1234 setfattr -n user.group.kitchen.committed -v 1 orders/0
    fails 'Permission denied' as 1234 setfattr -x user.group.kitchen.committed orders/0
    chmod 777 .groups/kitchen
    as 1234 setfattr -n user.group.kitchen.committed -v 1 orders/0
    is "$(committed)" 1
    chmod 644 orders/0
    fails 'Permission denied' as 1234 setfattr -n user.group.kitchen.committed -v 0 orders/0
    chown 1234 .groups/kitchen
    chmod 755 .groups/kitchen
    chmod 666 orders/0
    as 1234 setfattr -n user.group.kitchen.committed -v 0 orders/0
    is "$(as 4321 getfattr --only-values -n user.group.kitchen.committed orders/0)" 0
}

@test "offsets are there after any stop, and go with the group and with the topic" {
    mkdir orders .groups/kitchen .groups/bar
    seq 9 >> orders/0
    set_attr orders user.config.delete.topic.enable true
    set_attr orders/0 user.group.kitchen.committed 7
    set_attr orders/0 user.group.bar.committed 3
    remount allow_other
    is "$(committed) $(committed bar)" '7 3'
    restart_after_kill allow_other
    is "$(committed) $(committed bar)" '7 3'
    rmdir .groups/kitchen
    mkdir .groups/kitchen
    fails 'No such attribute' committed
    rmdir orders
    mkdir orders
    fails 'No such attribute' committed bar
    is "$(cat .cluster/groups)" 'group topic partition committed end lag lag_ms lost member host pid'
}

@test ".cluster/groups has a line a group, topic and partition" {
    is "$(cat .cluster/groups)" 'group topic partition committed end lag lag_ms lost member host pid'
    mkdir orders bills .groups/kitchen .groups/bar
    touch orders/1
    seq 10 99 >> orders/0
    later 50
    set_attr orders/0 user.group.kitchen.committed 10
    set_attr orders/1 user.group.kitchen.committed end
    set_attr bills/0 user.group.kitchen.committed end
    set_attr orders/0 user.group.bar.committed 90
    fallocate -p -o 0 -l 60 orders/0
    is "$(sed -E 's/^(kitchen orders 0 10 90 70) [0-9]+/\1 MS/' .cluster/groups)" "$(cat <<'GROUPS'
group topic partition committed end lag lag_ms lost member host pid
bar orders 0 90 90 0 0 0 - - -
kitchen bills 0 0 0 0 0 0 - - -
kitchen orders 0 10 90 70 MS 10 - - -
kitchen orders 1 0 0 0 0 0 - - -
GROUPS
)"
    at_least "$(awk '$1 == "kitchen" && $2 == "orders" && $3 == 0 { print $7 }' .cluster/groups)" 50
    is "$(stat -c '%a %F' .cluster/groups)" '444 regular file'
    # Of one look-up: at another one lag_ms has grown.
    exec {table}< .cluster/groups
    is "$(cat <&$table | wc -c)" "$(stat -L -c %s /proc/self/fd/$table)"
    exec {table}<&-
    grep -qx 'logmnt_group_lag{group="kitchen",topic="orders",partition="0"} 70' .cluster/metrics
    grep -qx 'logmnt_groups 2' .cluster/metrics
    is "$(ls .cluster | tr '\n' ' ')" 'groups metrics nodes partitions '
}
