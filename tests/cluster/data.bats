#!/usr/bin/env bats
# Records: written on any host, the same on each, and none that was acknowledged is lost or doubled, whoever dies.
load lib
load records

@test "echo on each host, cat on each host: the same, at once where it was written" {
    form
    for node in 1 2 3; do
        for i in 1 2 3; do
            echo "from $node, $i" >>"$C/$node/orders/0"
            is "$(tail -n 1 "$C/$node/orders/0")" "from $node, $i"
        done
    done
    same
    is "$(wc -l <"$C/1/orders/0")" 9
    whole
    for node in 1 2 3; do is "$(attr "$C/$node/orders/0" user.log.replicas | tr , '\n' | sort | paste -sd,)" 1,2,3; done
}

@test "an append on a host that does not lead waits for its own replica to show it, and no longer" {
    form
    learn leads leader 1
    elsewhere=$(others "$leads" | head -n 1)
    for i in $(seq 300); do echo "$i" >>"$C/$elsewhere/orders/0"; done # at a second each this would be 300 s
    is "$(cat "$C/$elsewhere/orders/0")" "$(seq 300)"
    same
}

@test "who appends where others have copies is told of the largest request; who reads, and who appends alone, is not" {
    form
    appender_is_told() { # NODE BYTES; a stat(1) of %o alone lets the kernel tell what it knows
        exec 5>>"$C/$1/orders/0"
        is "$(stat -L -c '%s %o' /proc/self/fd/5)" "0 $2"
        is "$(stat -c '%s %o' "$C/$1/orders/0")" '0 524288'
        exec 5>&-
    }
    for node in 1 2 3; do appender_is_told $node 1048576; done
    change set_attr "$C/1/orders" user.topic.replication_factor 1
    for node in 1 2 3; do wait_until "[[ \$(attr $C/$node/orders/0 user.log.replicas) =~ ^[123]\$ ]]"; done
    only=$(attr "$C/1/orders/0" user.log.replicas)
    appender_is_told "$only" 524288
    for node in $(others "$only"); do appender_is_told "$node" 1048576; done
}

@test "each host counts what was written there, and the leader what its replicas acknowledge" {
    counted() { awk -v name="$2" '$1 == name { print $2 }' "$C/$1/.cluster/metrics"; } # NODE NAME
    form -o "$CALM"
    learn leads leader 1
    elsewhere=$(others "$leads" | head -n 1)
    for i in $(seq 20); do echo "$i" >>"$C/$elsewhere/orders/0"; done
    for i in $(seq 5); do echo "$i" >>"$C/$leads/orders/0"; done
    sync "$C/$elsewhere/orders/0"
    is "$(counted "$elsewhere" 'logmnt_append_seconds_count{acks="all"}')" 20
    is "$(counted "$elsewhere" logmnt_forwarded_append_seconds_count)" 20
    is "$(counted "$elsewhere" logmnt_fsync_seconds_count)" 1
    is "$(counted "$leads" 'logmnt_append_seconds_count{acks="all"}')" 5
    is "$(counted "$leads" logmnt_forwarded_append_seconds_count)" 0
    is "$(counted "$leads" logmnt_fsync_seconds_count)" 0
    for node in $(others "$leads"); do
        at_least "$(counted "$leads" "logmnt_replica_ack_seconds_count{replica=\"$node\"}")" 1
    done
}

# A look waits for what a close has left, but no longer than a quarter of a second: appends that stand still hold up no
# look (FILESYSTEM.md).
is_there_after_close() { # NODE LINE
    local file=$C/$1/orders/0 begun=${EPOCHREALTIME/./} seen
    printf '%s' "$2" >>"$file"
    seen=$(tail -n 1 <"$file")
    [ "$seen" != "$2" ] || return 0
    at_least $(((${EPOCHREALTIME/./} - begun) / 1000)) 250
    wait_until "[ \"\$(tail -n 1 <$file)\" = '$2' ]"
}

@test "a last line without its newline is there for whoever looks after the close, on each host" {
    form
    for node in 1 2 3; do
        for i in $(seq 50); do is_there_after_close "$node" "from $node, $i"; done
    done
    same
    is "$(wc -l <"$C/1/orders/0")" 150
}

@test "a follower of .follow on another host sees each record" {
    form
    bg bash -c "cat $C/2/orders/.follow/0 >$T/followed2"
    bg bash -c "cat $C/3/orders/.follow/0 >$T/followed3"
    seq 1000 >>"$C/1/orders/0"
    seq 1001 2000 >>"$C/2/orders/0"
    for node in 2 3; do wait_until "[ \$(wc -l <$T/followed$node) = 2000 ]"; cmp "$T/followed$node" <(seq 2000); done
}

@test "the leader is killed under writers on all hosts: nothing acknowledged is lost, doubled or out of order" {
    form
    begin_writers
    more
    learn dead leader 1
    kill_nodes "$dead"
    another_leads "$(others "$dead" | head -n 1)" "$dead"
    more
    start_nodes "$dead"
    whole
    more
    end_writers
    none_failed $(others "$dead")
    same
    for node in 1 2 3; do intact $node; done
}

@test "the leader's host stands still, or is cut off, under writers: no write elsewhere fails, and nothing is lost or doubled" {
    form
    for how in '4 pause resume' '5 cut heal'; do
        read -r round begin end <<<"$how"
        learn lost leader 1
        for node in 1 2 3; do bg writer $node "w$node$round"; done
        more
        cluster "$begin" "$C" "$lost"
        another_leads "$(others "$lost" | head -n 1)" "$lost"
        more
        cluster "$end" "$C" "$lost"
        whole
        more
        end_writers
        for node in $(others "$lost"); do none_failed "$node$round"; done
    done
    same
    for node in 1 2 3; do intact $node; done
}

@test "a rolling restart of all hosts under writers: no write on a mount that lives fails" {
    form
    for stops in 1 2 3; do
        writers=()
        for node in $(others $stops); do
            bg writer "$node" "w$node$stops"
            writers+=("$node$stops")
        done
        more
        restart_nodes $stops
        whole
        more
        end_writers
        none_failed "${writers[@]}"
    done
    same
    for node in 1 2 3; do intact $node; done
}

@test "all are killed at once under writers: what was acknowledged is there, the same everywhere" {
    form
    begin_writers
    more 50
    kill_nodes 1 2 3
    end_writers
    start_nodes 1 2 3
    whole
    same
    intact 1
    echo after >>"$C/3/orders/0"
    same
}

@test "a host that is cut off comes back and catches up; what it could not know it does not show" {
    form
    learn alive leader 1
    lost=$(others "$alive" | head -n 1)
    cluster cut "$C" "$lost"
    seq 500 >>"$C/$alive/orders/0"
    cat "$C/$lost/orders/0" >/dev/null # local reads go on
    cluster heal "$C"
    wait_until "[ \"\$(wc -l <$C/$lost/orders/0)\" = 500 ]"
    whole
    same
}

@test "a wiped data directory comes back by fetching" {
    form
    seq 5000 >>"$C/1/orders/0"
    learn leads leader 1
    lost=$(others "$leads" | tail -n 1)
    kill_nodes "$lost"
    cluster wipe "$C" "$lost"
    start_nodes "$lost"
    wait_until "[ \"\$(wc -l <$C/$lost/orders/0 2>/dev/null)\" = 5000 ]"
    whole
    same
}
