#!/usr/bin/env bats
# Consumer groups on the tree of three mounts: one group, whichever mount is asked.
load lib

form() { # N
    COUNT=$1
    start_cluster "$1"
    wait_until formed
}
formed() {
    local node
    for node in $(seq "$COUNT"); do
        [ "$(awk '$4 == "up"' "$C/$node/.cluster/nodes" | wc -l)" = "$COUNT" ] || return 1
    done
}
# Three nodes that have the topic of offsets: 150 directories, which all of this machine's nodes make at once.
form_with_offsets() {
    form 3
    wait_until 'mkdir "$C/1/.groups/first" 2>/dev/null || [ -d "$C/1/.groups/first" ]'
    offsets_are_made
    change rmdir "$C/1/.groups/first"
}
offsets_are_made() {
    local node
    for node in 1 2 3; do wait_until "[ \"\$(ls $C/data/$node/topics | grep -c '^__consumer_offsets-')\" = 50 ]"; done
}
committed() { attr "$C/$1/orders/0" user.group.kitchen.committed; } # NODE
coordinator() { attr "$C/$1/.groups/kitchen" user.group.coordinator; } # NODE

@test "a group of one mount is a group of all" {
    form 3
    change mkdir "$C/1/orders" "$C/2/.groups/kitchen"
    ls "$C/2/.groups/kitchen"
    for node in 1 3; do soon "[ -d $C/$node/.groups/kitchen ]"; done
    offsets_are_made
    fails 'File exists' answered mkdir "$C/3/.groups/kitchen"
    change set_attr "$C/3/.groups/kitchen" user.config.max.poll.records 7
    change chmod 750 "$C/3/.groups/kitchen"
    change chown 1234:2345 "$C/1/.groups/kitchen"
    for node in 1 2 3; do
        soon "[ \"\$(attr $C/$node/.groups/kitchen user.config.max.poll.records)\" = 7 ]"
        soon "[ \"\$(stat -c '%a %u %g' $C/$node/.groups/kitchen)\" = '750 1234 2345' ]"
        soon "[ -e $C/$node/.groups/kitchen/orders ]"
        is "$(stat -c %i "$C/$node/.groups/kitchen/orders")" "$(stat -c %i "$C/1/.groups/kitchen/orders")"
        is "$(attr "$C/$node/.internal/__consumer_offsets" user.topic.replication_factor)" 3
    done
    change rmdir "$C/1/.groups/kitchen"
    for node in 2 3; do soon "[ ! -e $C/$node/.groups/kitchen ]"; done
}

@test "offsets are the same from every mount, and set from any" {
    form_with_offsets
    change mkdir "$C/1/orders" "$C/1/.groups/kitchen"
    seq 9 >> "$C/1/orders/0"
    for node in 2 3; do soon "[ -e $C/$node/orders/0 ] && [ -d $C/$node/.groups/kitchen ]"; done
    for node in 1 2 3; do
        change set_attr "$C/$node/orders/0" user.group.kitchen.committed "$((node + 3))"
        is "$(committed $node)" "$((node + 3))"
        for other in 1 2 3; do soon "[ \"\$(committed $other)\" = $((node + 3)) ]"; done
    done
    learn coordinator coordinator 1
    for node in 2 3; do soon "[ \"\$(coordinator $node)\" = $coordinator ]"; done
    for node in 1 2 3; do # where the end is what its host knows
        soon "[ \"\$(awk 'NR > 1 { \$7 = \"MS\"; print }' $C/$node/.cluster/groups)\" = 'kitchen orders 0 6 9 3 MS 0 - - -' ]"
    done
    change setfattr -x user.group.kitchen.committed "$C/3/orders/0"
    soon "fails 'No such attribute' committed 1 >/dev/null"
}

@test "a member on one mount is a member on all: who it is, and that its group is not removed" {
    form_with_offsets
    change mkdir "$C/1/orders" "$C/1/.groups/kitchen"
    seq 3 >> "$C/1/orders/0"
    for node in 2 3; do soon "[ -e $C/$node/orders/0 ] && [ -d $C/$node/.groups/kitchen ]"; done
    bg bash -c 'while read -r line; do :; done < "$0"' "$C/2/.groups/kitchen/orders"
    reader=$!
    wait_until '[ "$(committed 3 2>/dev/null)" = 3 ]'
    for node in 1 2 3; do
        soon "[ \"\$(attr $C/$node/.groups/kitchen user.group.members)\" = 1 ]"
        soon "[ \"\$(awk 'NR > 1 { print \$1, \$2, \$3, \$4, \$10, \$11 }' $C/$node/.cluster/groups)\" = \
            'kitchen orders 0 3 $(uname -n) $reader' ]"
        fails 'Device or resource busy' answered rmdir "$C/$node/.groups/kitchen"
    done
    # Moved from another host, it goes on from there.
    change set_attr "$C/1/orders/0" user.group.kitchen.committed start
    wait_until '[ "$(committed 1)" = 3 ]'
    kill -9 "$reader"
    wait_until 'rmdir "$C/3/.groups/kitchen" || [ ! -e "$C/3/.groups/kitchen" ]'
    for node in 1 2; do soon "[ ! -e $C/$node/.groups/kitchen ]"; done
}

@test "a coordinator that dies loses nothing, and meanwhile nothing is taken for none" {
    form_with_offsets
    change mkdir "$C/1/orders" "$C/1/.groups/kitchen"
    seq 9 >> "$C/1/orders/0"
    for node in 2 3; do soon "[ -e $C/$node/orders/0 ] && [ -d $C/$node/.groups/kitchen ]"; done
    change set_attr "$C/1/orders/0" user.group.kitchen.committed 5
    learn dead coordinator 1
    cluster kill "$C" "$dead"
    for node in 1 2 3; do [ "$node" = "$dead" ] || alive=$node; done
    # Until another one has its offsets: the last known one, or ETIMEDOUT; never ENODATA.
    begin_clock
    seen=''
    until [ "$seen" = 5 ]; do
        seen=$(committed "$alive" 2>"$T/error") || grep -q 'timed out' "$T/error"
        [ -z "$seen" ] || is "$seen" 5
        ran_at_most 6000
    done
    wait_until 'set_attr "$C/$alive/orders/0" user.group.kitchen.committed 7'
    ran_at_most 11000
    is "$(committed "$alive")" 7
    [ "$(coordinator "$alive")" != "$dead" ]
}

@test "what .cluster/groups has told shows as attributes, too, where no coordinator answers" {
    form_with_offsets
    change mkdir "$C/1/orders" "$C/1/.groups/kitchen"
    seq 9 >> "$C/1/orders/0"
    change set_attr "$C/1/orders/0" user.group.kitchen.committed 5
    soon "[ \"\$(awk 'NR > 1 { print \$1, \$2, \$3, \$4 }' $C/1/.cluster/groups)\" = 'kitchen orders 0 5' ]"
    cluster kill "$C" 2
    cluster kill "$C" 3
    is "$(committed 1)" 5
    is "$(attr "$C/1/orders/0" user.group.kitchen.lag)" 4
    is "$(attr "$C/1/.groups/kitchen" user.group.state)" Empty
    is "$(attr "$C/1/.groups/kitchen" user.group.members)" 0
    is "$(getfattr --absolute-names -m 'user\.group' "$C/1/orders/0" | grep -c kitchen)" 2
}

@test "the topic of offsets grows with the cluster" {
    form 1
    change mkdir "$C/1/orders" "$C/1/.groups/kitchen"
    seq 9 >> "$C/1/orders/0"
    change set_attr "$C/1/orders/0" user.group.kitchen.committed 5
    is "$(attr "$C/1/.internal/__consumer_offsets" user.topic.replication_factor)" 1
    form 3
    offsets=$C/1/.internal/__consumer_offsets
    wait_until '[ "$(attr "$offsets" user.topic.replication_factor)" = 3 ]'
    wait_until '[ "$(for part in "$offsets"/*; do attr "$part" user.log.isr; echo; done | sort -u)" = 1,2,3 ]'
    # The users' topics stay as they are; and whoever has the offsets may die.
    is "$(attr "$C/1/orders" user.topic.replication_factor)" 1
    change set_attr "$C/1/orders" user.topic.replication_factor 3
    wait_until '[ "$(attr "$C/1/orders/0" user.log.isr | wc -c)" = 5 ]'
    wait_until '[ "$(committed 3)" = 5 ]'
}
