#!/usr/bin/env bats
# Nodes as members of a cluster: who is there, who leads what, and what becomes of it when one dies, stops or comes back.
load lib

node() { awk -v id="$2" '$1 == id { print $4 }' "$C/$1/.cluster/nodes"; }               # AS-SEEN-FROM NODE: its state
role() { awk -v id="$2" '$1 == id { print $3 }' "$C/$1/.cluster/nodes"; }               # likewise
part() { awk -v p="$2" '$1 == "orders" && $2 == p { print $'"$3"' }' "$C/$1/.cluster/partitions"; } # FROM PARTITION COLUMN
leader() { part "$1" "$2" 3; }
isr() { part "$1" "$2" 6; }
controller() { attr "$C/$1" user.cluster.controller; }
CALM=node.session.timeout.ms=60000,replica.lag.time.max.ms=60000 # who only stands still is not put out

# All nodes up, as each of them sees it, and orders with three partitions, each led by another node.
three_nodes() { # [OPTIONS]
    start_cluster -o "tls=off${1:+,$1}" 3
    for from in 1 2 3; do for id in 1 2 3; do wait_until "[ \"\$(node $from $id)\" = up ]"; done; done
    change mkdir "$C/1/orders"
    change set_attr "$C/1/orders" user.topic.partitions 3
    for from in 1 2 3; do wait_until "leaders_of $from | grep -qx '1 2 3'"; done
    learn boss controller 1 # the last thing: it may have changed meanwhile
}
leaders_of() { for p in 0 1 2; do leader "$1" $p; done | sort | paste -sd' '; } # AS-SEEN-FROM NODE
# Others lead what a node led, as that one sees it, and it is in sync with nothing any more.
is_left_by() { # AS-SEEN-FROM NODE
    local p
    for p in 0 1 2; do [[ "$(leader "$1" $p)" =~ ^[123]$ && "$(leader "$1" $p)" != "$2" && "$(isr "$1" $p)" != *$2* ]] || return 1; done
}

@test "three nodes: one controller, three voters, replicas on all, leaders spread" {
    three_nodes $CALM
    for from in 1 2 3; do
        wait_until "seen=\$(controller $from) && [[ \$seen =~ ^[123]\$ ]] && [ \"\$seen\" = \"\$(controller 1)\" ]"
        is "$(attr "$C/$from" user.cluster.voters)" 1,2,3
        wait_until "[ \"\$(awk '\$5 == \"yes\"' $C/$from/.cluster/nodes | wc -l)\" = 1 ]"
        is "$(awk 'NR > 1 { print $3 }' "$C/$from/.cluster/nodes" | sort -u)" voter
        is "$(for p in 0 1 2; do leader $from $p; done | sort | tr '\n' ' ')" '1 2 3 '
        for p in 0 1 2; do
            is "$(part $from $p 5 | tr , '\n' | sort | tr '\n' ' ')" '1 2 3 '
            is "$(attr "$C/$from/orders/$p" user.log.leader)" "$(leader 1 $p)"
            is "$(attr "$C/$from/orders/$p" user.log.replicas)" "$(attr "$C/1/orders/$p" user.log.replicas)"
        done
        is "$(attr "$C/$from" user.config.default.replication.factor)" 3
        is "$(attr "$C/$from/orders" user.config.min.insync.replicas)" 2
        is "$(attr "$C/$from/orders" user.topic.replication_factor)" 3
    done
}

@test "a node that is killed is fenced, and others lead what it led, at once" {
    three_nodes $CALM # it is not waited for: its kernel lives
    for dead in 1 2 3; do [ $dead = "$boss" ] || break; done
    for from in 1 2 3; do [ $from = $dead ] || break; done
    cluster kill "$C" $dead
    wait_until "[ \"\$(node $from $dead)\" = fenced ]"
    wait_until "is_left_by $from $dead"
    fails 'resource busy' answered set_attr "$C/$from/orders/0" user.log.leader $dead
    grep -qx 'logmnt_nodes_fenced 1' "$C/$from/.cluster/metrics"
    grep -qx 'logmnt_partitions_under_replicated 3' "$C/$from/.cluster/metrics"
    cluster start "$C" $dead
    wait_until "[ \"\$(node $from $dead)\" = up ]"
    wait_until "[ \"\$(node $dead $dead)\" = up ]"
}

@test "the controller is killed: another one is, and the partitions it led have leaders" {
    three_nodes
    learn dead controller 1
    for from in 1 2 3; do [ $from = "$dead" ] || break; done
    cluster kill "$C" "$dead"
    wait_until "boss=\$(controller $from) && [[ \$boss =~ ^[123]\$ ]] && [ \"\$boss\" != $dead ]"
    wait_until "[ \"\$(node $from $dead)\" = fenced ]"
    wait_until "is_left_by $from $dead"
    change mkdir "$C/$from/more"
}

@test "a clean stop hands over: no partition is ever without a leader" {
    three_nodes $CALM
    for stops in 1 2 3; do [ $stops = "$boss" ] || break; done
    for from in 1 2 3; do [ $from = $stops ] || break; done
    bg bash -c "until [ -e $T/over ]; do awk '\$1 == \"orders\" { print \$3 }' $C/$from/.cluster/partitions; done >$T/leaders"
    cluster stop "$C" $stops
    wait_until "[ \"\$(node $from $stops)\" = fenced ]"
    touch "$T/over"
    wait "${BG[0]}"
    not grep -qx none "$T/leaders"
    for p in 0 1 2; do [ "$(leader $from $p)" != $stops ]; done
    not grep -q 'unclean' "$C/log/$stops"
}

@test "all lose their power at once: each partition is led by one of those that were in sync" {
    three_nodes
    kill_nodes 1 2 3
    start_nodes 1 2 3
    for from in 1 2 3; do
        for id in 1 2 3; do wait_until "[ \"\$(node $from $id)\" = up ]"; done
        for p in 0 1 2; do wait_until "leader $from $p | grep -qx '[123]'"; done
    done
}

@test "a link that is cut fences after the session, and a healed one brings the node back" {
    three_nodes
    for away in 1 2 3; do [ $away = "$boss" ] || break; done
    for from in 1 2 3; do [ $from = $away ] || break; done
    cluster cut "$C" $away
    wait_until "[ \"\$(node $from $away)\" = fenced ]"
    wait_until "[ \"\$(controller $away)\" = none ]"
    ls "$C/$away/orders"
    cluster heal "$C"
    wait_until "[ \"\$(node $from $away)\" = up ]"
    wait_until "[ \"\$(controller $away)\" = \"\$(controller $from)\" ]"
}

metric() { awk -v name="logmnt_$2" '$1 == name { print $2 }' "$C/$1/.cluster/metrics"; } # AS-SEEN-FROM NAME

@test "a host that is cut off says so: a metric knows no controller, and .cluster/nodes of nobody whether it is up" {
    three_nodes
    columns=$(awk '{ print $1, $2, $3 }' "$C/1/.cluster/nodes")
    for away in $((boss % 3 + 1)) "$boss"; do # first a follower
        from=$((away % 3 + 1)) other=$(((away + 1) % 3 + 1))
        cluster cut "$C" $away
        wait_until "[ \"\$(metric $away current_leader)\" = -1 ]"
        wait_until "[ \"\$(controller $away) \$(metric $away is_controller)\" = 'none 0' ]"
        # Ids, addresses and roles are what was decided; who lives is what a controller says.
        wait_until "[ \"\$(awk 'NR > 1 { print \$4, \$5 }' $C/$away/.cluster/nodes | sort -u)\" = 'unknown no' ]"
        is "$(awk '{ print $1, $2, $3 }' "$C/$away/.cluster/nodes")" "$columns"
        # Where the majority is all of it is known.
        for mount in $from $other; do
            wait_until "[[ \"\$(metric $mount current_leader)\" =~ ^[$from$other]\$ ]]"
            wait_until "[ \"\$(node $mount $away) \$(node $mount $from) \$(node $mount $other)\" = 'fenced up up' ]"
        done
        wait_until "[ \"\$(metric $from current_leader)\" = \"\$(controller $other)\" ]"
        cluster heal "$C"
        for mount in 1 2 3; do
            wait_until "[ \"\$(awk 'NR > 1 { print \$4 }' $C/$mount/.cluster/nodes | paste -sd' ')\" = 'up up up' ]"
            wait_until "[[ \"\$(metric $mount current_leader)\" =~ ^[123]\$ ]]"
        done
    done
}

@test "a follower that stands still leaves the ISR after replica.lag.time.max.ms, though its session lives" {
    three_nodes replica.lag.time.max.ms=1000,node.session.timeout.ms=60000
    learn from leader 1 0
    for still in 1 2 3; do [ $still = "$boss" ] || [ $still = "$from" ] || break; done
    cluster pause "$C" "$still"
    bg sh -c "echo line >>$C/$from/orders/0"
    wait_until "isr=\$(isr $from 0) && [[ \$isr =~ ^[123] && \$isr != *$still* ]]"
    wait_until "[ \"\$(node $from $still)\" = up ]" # fenced it would stay so
    cluster resume "$C" "$still"
    wait_until "isr $from 0 | tr , '\n' | grep -qx $still"
}

@test "leadership is moved by setfattr, and only to who is in sync" {
    three_nodes $CALM
    learn led leader 1 0
    wait_until "[ \"\$(isr 2 0 | tr , '\\n' | wc -l)\" = 3 ]"
    to=$((led % 3 + 1))
    # As the preferred one it stays: some time after a start the leadership goes back to who is.
    change set_attr "$C/2/orders/0" user.log.replicas "$to,$led,$((to % 3 + 1))"
    change set_attr "$C/2/orders/0" user.log.leader "$to"
    is "$(attr "$C/2/orders/0" user.log.leader)" "$to"
    wait_until "[ \"\$(leader 3 0)\" = $to ]"
    fails 'Invalid argument' set_attr "$C/2/orders/0" user.log.leader 4
}

@test "a node of the list whose disk is empty is replaced, until it is made a voter again" {
    three_nodes
    for gone in 1 2 3; do [ $gone = "$boss" ] || break; done
    for from in 1 2 3; do [ $from = $gone ] || break; done
    cluster kill "$C" $gone
    cluster wipe "$C" $gone
    cluster start "$C" $gone
    wait_until "[ \"\$(role $from $gone)\" = replaced ]"
    wait_until "[ \"\$(node $from $gone)\" = up ]"
}

# It is on the one that leads it, and nowhere else.
is_single() { local led; led=$(leader 1 0) && [[ $led =~ ^[123]$ ]] && [ "$(part 1 0 5) $(isr 1 0)" = "$led $led" ]; }
lines() { wc -l <"$C/$1/orders/0"; }

@test "copies of a topic go and come, and each has all of it" {
    three_nodes $CALM
    seq 1000 >>"$C/1/orders/0"
    change set_attr "$C/2/orders" user.topic.replication_factor 1
    is "$(attr "$C/2/orders" user.topic.replication_factor)" 1
    wait_until is_single
    echo 1001 >>"$C/3/orders/0"
    change set_attr "$C/3/orders" user.topic.replication_factor 3
    wait_until "[ \"\$(isr 1 0 | tr , '\\n' | wc -l)\" = 3 ]"
    for from in 1 2 3; do
        wait_until "[ \"\$(lines $from)\" = 1001 ]"
        is "$(cat "$C/$from/orders/0")" "$(seq 1001)"
    done
    fails 'Invalid argument' set_attr "$C/1/orders" user.topic.replication_factor 4
}

@test "a partition is moved to other nodes, and written to meanwhile" {
    three_nodes $CALM
    change set_attr "$C/1/orders" user.topic.replication_factor 1
    wait_until is_single
    learn led leader 1 0
    to=$((led % 3 + 1))
    bg bash -c "for i in \$(seq 200); do echo \$i >>$C/1/orders/0 || exit; done; touch $T/written"
    change set_attr "$C/2/orders/0" user.log.replicas "$to"
    wait_until "[ \"\$(part 1 0 5)\" = $to ]"
    wait_until "[ \"\$(leader 1 0)\" = $to ]"
    wait_until '[ -e $T/written ]'
    wait_until "[ \"\$(lines $to)\" = 200 ]" # it was written on another host
    is "$(cat "$C/$to/orders/0")" "$(seq 200)"
}

@test "a topic shows how many copies there are of its partitions, and how many suffice, however they were set" {
    three_nodes
    change set_attr "$C/1/orders/0" user.log.replicas 1,2
    is "$(attr "$C/1/orders" user.topic.replication_factor)" 2
    is "$(attr "$C/1/orders" user.config.min.insync.replicas)" 1
    wait_until "[ \"\$(part 1 0 5)\" = 1,2 ] || [ \"\$(part 1 0 5)\" = 2,1 ]"
    for from in 1 2 3; do
        wait_until "[ \"\$(attr $C/$from/orders user.topic.replication_factor)\" = 2 ]"
        is "$(attr "$C/$from/orders" user.config.min.insync.replicas)" 1
    done
    cluster kill "$C" 1
    echo one >>"$C/3/orders/0"
    change set_attr "$C/2/orders" user.config.min.insync.replicas 2
    is "$(attr "$C/2/orders" user.config.min.insync.replicas)" 2
}

@test "the leader is killed between two writes: nothing is lost and nothing doubled" {
    three_nodes
    learn dead leader 1 0
    for from in 1 2 3; do [ $from = "$dead" ] || break; done
    seq 100 >>"$C/$from/orders/0"
    cluster kill "$C" "$dead"
    seq 101 200 >>"$C/$from/orders/0"
    is "$(cat "$C/$from/orders/0")" "$(seq 200)"
    cluster start "$C" "$dead"
    wait_until "[ \"\$(lines $dead)\" = 200 ]"
    is "$(cat "$C/$dead/orders/0")" "$(seq 200)"
    wait_until "[ \"\$(isr $from 0 | tr , '\\n' | wc -l)\" = 3 ]"
}
