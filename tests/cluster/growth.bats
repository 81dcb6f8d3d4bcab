#!/usr/bin/env bats
# A cluster that grows, a node that is replaced, a quorum that is made anew: nothing is lost, and nobody has to wait for it.
load lib
load records

role() { awk -v id="$2" '$1 == id { print $3 }' "$C/$1/.cluster/nodes"; } # AS-SEEN-FROM NODE
node_state() { awk -v id="$2" '$1 == id { print $4 }' "$C/$1/.cluster/nodes"; }
# EBUSY until all of them are connected and caught up.
set_voters() { wait_until "set_attr $C/$1 user.cluster.voters $2 2>/dev/null"; } # NODE LIST

@test "one node grows to three under writers: its records are copied, none is lost, and then any of them may die" {
    start_cluster -o tls=off 1
    change mkdir "$C/1/orders"
    seq -f 'w1 -%g' 2000 -1 1 >>"$C/1/orders/0"
    is "$(attr "$C/1" user.cluster.voters)" 1
    id=$(attr "$C/1" user.cluster.id)
    cluster stop "$C" 1
    start_cluster 3
    wait_until "[ -e $C/2/orders/0 ] && [ -e $C/3/orders/0 ]"
    for node in 1 2 3; do is "$(attr "$C/$node" user.cluster.id)" "$id"; done
    begin_writers
    more
    set_voters 1 1,2,3
    change set_attr "$C/2/orders" user.topic.replication_factor 3
    whole
    more
    for node in 1 2 3; do wait_until "[ \"\$(attr $C/$node user.cluster.voters)\" = 1,2,3 ]"; done
    kill_nodes 1
    another_leads 2 1
    more
    change mkdir "$C/3/after"
    start_nodes 1
    whole
    end_writers
    none_failed 2 3
    same
    is "$(head -n 2000 "$C/3/orders/0" | sha256sum)" "$(seq -f 'w1 -%g' 2000 -1 1 | sha256sum)"
    intact 2
}

@test "a node whose disk was replaced is made a voter again by the same list, and counts as one" {
    form
    seq -f 'w1 %g' 3000 >>"$C/1/orders/0"
    learn boss controller 1
    gone=$(others "$boss" | tail -n 1)
    third=$(others "$boss" | head -n 1)
    kill_nodes "$gone"
    cluster wipe "$C" "$gone"
    start_nodes "$gone"
    wait_until "[ \"\$(role $boss $gone)\" = replaced ] && [ \"\$(node_state $boss $gone)\" = up ]"
    whole
    set_voters "$boss" 1,2,3
    wait_until "[ \"\$(role $boss $gone)\" = voter ]"
    # Two of three decide: the one that is left, and the new one.
    kill_nodes "$third"
    wait_until "mkdir $C/$gone/after 2>/dev/null || [ -d $C/$gone/after ]"
    kill_nodes "$boss"
    start_nodes "$third"
    wait_until "mkdir $C/$gone/later 2>/dev/null || [ -d $C/$gone/later ]"
    start_nodes "$boss"
    whole
    same 3000
}

@test "all disks are replaced, one after the other: that a node is a voter is said of its new disk alone" {
    form
    seq -f 'w1 %g' 3000 >>"$C/1/orders/0"
    for gone in 1 2 3; do
        other=$(others "$gone" | head -n 1)
        whole
        kill_nodes "$gone"
        cluster wipe "$C" "$gone"
        wait_until "[ \"\$(node_state $other $gone)\" = fenced ]"
        fails 'resource busy' answered set_attr "$C/$other" user.cluster.voters 1,2,3
        start_nodes "$gone"
        set_voters "$other" 1,2,3
        wait_until "[ \"\$(role $other $gone)\" = voter ]"
    done
    change mkdir "$C/1/after"
    whole
    same 3000
}

@test "a quorum that is lost for good is made anew from what one node has, and not while another voter is there" {
    form
    seq -f 'w1 %g' 1000 >>"$C/1/orders/0"
    same
    note_epochs 3
    cluster stop "$C" 3
    fails 'quorum.recover: node' cluster start -o quorum.recover=3 "$C" 3
    fails 'quorum.recover=2' cluster start -o quorum.recover=2 "$C" 3
    start_nodes 3
    whole
    cluster kill "$C" 1 2
    cluster stop "$C" 3
    cluster wipe "$C" 1
    cluster wipe "$C" 2
    cluster start -o quorum.recover=3 "$C" 3
    is "$(attr "$C/3" user.cluster.voters)" 3
    wait_until '[ "$(controller 3)" = 3 ]'
    is "$(cat "$C/3/orders/0")" "$(seq -f 'w1 %g' 1000)"
    change mkdir "$C/3/bills"
    # The two come back as new ones, and it is a cluster of three again.
    cluster start "$C" 1 2
    wait_until "[ -d $C/1/bills ] && [ -d $C/2/bills ]"
    set_voters 3 1,2,3
    whole
    same 1000
    echo w2 1 >>"$C/2/orders/0"
    same
}

@test "where the node with the last copy was killed, too, it leads what it has when the others are back, empty" {
    form
    seq -f 'w1 %g' 1000 >>"$C/1/orders/0"
    same
    cluster kill "$C" 1 2 3
    cluster wipe "$C" 1
    cluster wipe "$C" 2
    cluster start -o quorum.recover=3 "$C" 3
    # It may have lost what it had acknowledged, and others that were in sync might come back with it.
    wait_until '[ "$(leader 3)" = none ]'
    cluster start "$C" 1 2
    set_voters 3 1,2,3
    whole
    same 1000
    is "$(cat "$C/1/orders/0")" "$(seq -f 'w1 %g' 1000)"
}

led() { awk '$1 == "orders" { print $3, $6 }' "$C/$1/.cluster/partitions"; } # AS-SEEN-FROM: who leads, who is in sync
@test "what only the lost nodes had is led by nobody, though they are back, empty, until an unclean election is allowed" {
    form -o tls=off,delivery.timeout.ms=2000
    seq 1000 >>"$C/1/orders/0"
    change set_attr "$C/1/orders/0" user.log.replicas 1,2
    wait_until '[ "$(attr "$C/3/orders/0" user.log.replicas) $(isr 3)" = "1,2 1,2" ]'
    cluster kill "$C" 1 2
    cluster stop "$C" 3
    cluster wipe "$C" 1
    cluster wipe "$C" 2
    cluster start -o quorum.recover=3 "$C" 3
    wait_until '[[ "$(led 3)" = none* ]]'
    cluster start "$C" 1 2
    set_voters 3 1,2,3
    for node in 1 2 3; do wait_until "[ \"\$(led $node)\" = 'none -' ]"; done
    fails 'Read-only file system' bash -c "echo refused >>$C/1/orders/0"
    change set_attr "$C/3" user.config.unclean.leader.election.enable true
    for node in 1 2 3; do wait_until "[[ \"\$(led $node)\" =~ ^[12]' '1,2\$ ]]"; done
    for node in 1 2 3; do is "$(cat "$C/$node/orders/0")" ''; done # the price
    change setfattr -x user.config.unclean.leader.election.enable "$C/3"
    echo anew >>"$C/3/orders/0"
    for node in 1 2 3; do wait_until "[ \"\$(cat $C/$node/orders/0)\" = anew ]"; done
}

forget() { # AS-SEEN-FROM NODE: what timed out may have been decided
    answered set_attr "$C/$1" user.cluster.unregister "$2" || [ -z "$(node_state "$1" "$2")" ]
}
# Where the partition's replicas are to be, and then are, in sync.
move_to() { # PARTITION-FILE LIST
    change set_attr "$1" user.log.replicas "$2"
    wait_until "[ \"\$(attr $1 user.log.replicas) \$(attr $1 user.log.isr)\" = '$2 $(tr , '\n' <<<"$2" | sort | paste -sd,)' ]"
}

@test "a fourth node has replicas for a while and is retired under writers: then nothing tells of it any more" {
    form
    begin_writers
    start_cluster 4
    wait_until '[ "$(role 1 4) $(node_state 1 4)" = "observer up" ]'
    move_to "$C/1/orders/0" 4,1,2
    change mkdir "$C/4/.groups/kitchen" # the groups' offsets are on four nodes, too
    more
    fails 'resource busy' answered set_attr "$C/1" user.cluster.unregister 4
    cluster stop "$C" 4
    wait_until '[ "$(node_state 1 4)" = fenced ]'
    fails 'resource busy' answered set_attr "$C/1" user.cluster.unregister 4
    move_to "$C/2/orders/0" 1,2,3
    fails 'resource busy' answered set_attr "$C/1" user.cluster.unregister 4
    fails 'not permitted' set_attr "$C/1/.internal/__cluster_metadata/0" user.log.replicas 1,2,3
    for part in "$C/1/.internal/__consumer_offsets"/[0-9]*; do move_to "$part" 1,2,3; done
    more
    wait_until "grep -qx 'logmnt_nodes_fenced 1' $C/1/.cluster/metrics" # another one may have stood still meanwhile
    fails 'resource busy' answered set_attr "$C/1" user.cluster.unregister 3 # it lives, and votes
    fails 'Invalid argument' answered set_attr "$C/1" user.cluster.unregister four
    learn before epoch 3 4
    forget 3 4
    for node in 1 2 3; do
        wait_until "[ \"\$(awk '{ print \$1, \$4 }' $C/$node/.cluster/nodes | paste -sd,)\" = 'id state,1 up,2 up,3 up' ]"
        wait_until "grep -qx 'logmnt_nodes_fenced 0' $C/$node/.cluster/metrics"
    done
    fails 'No such file' answered set_attr "$C/1" user.cluster.unregister 4
    more
    end_writers
    none_failed 1 2 3
    same
    intact 3
    # If it comes back it is a new one, and nobody's replica.
    cluster start "$C" 4
    wait_until '[ "$(role 1 4) $(node_state 1 4)" = "observer up" ]'
    learn after epoch 1 4
    at_least "$after" $((before + 1))
    wait_until '[ "$(sha256sum <"$C/4/orders/0")" = "$(sha256sum <"$C/1/orders/0")" ]'
    is "$(attr "$C/4/orders/0" user.log.replicas)" 1,2,3
}
