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
