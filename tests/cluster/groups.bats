#!/usr/bin/env bats
# Consumer groups on three hosts: one group, whoever its members' hosts are; hosts and coordinators that die take
# nothing with them.
load lib

in_sync() { attr "$1" user.log.isr 2>/dev/null | tr ',' '\n' | sort | tr -d '\n'; } # FILE

# Three nodes, and a topic of so many partitions, each on all of them and in sync; a group.
form() { # PARTITIONS [OPTIONS]
    local i
    start_cluster ${2:+-o "$2"} 3
    wait_until "mkdir $C/1/orders 2>/dev/null || [ -d $C/1/orders ]"
    [ "$1" = 1 ] || change set_attr "$C/1/orders" user.topic.partitions "$1"
    wait_until "mkdir $C/1/.groups/kitchen 2>/dev/null || [ -d $C/1/.groups/kitchen ]"
    for node in 1 2 3; do
        for i in $(seq 0 $(($1 - 1))); do
            wait_until "[ -e $C/$node/orders/$i ]"
            wait_until "[ \"\$(in_sync $C/$node/orders/$i)\" = 123 ]"
        done
        wait_until "[ -e $C/$node/.groups/kitchen/orders ]"
    done
}

# worker NODE NAME: appends `RECORD` to $T/done.NAME for each record that it was given, with os.read: what a read brings
# is done before the next. In a session of its own; its pid in $WORKER.
worker() {
    setsid python3 - "$C/$1/.groups/kitchen/orders" "$T/done.$2" 3>&- <<'END' &
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
out = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
while True:
    part = os.read(fd, 4096)
    os.write(out, part)
END
    WORKER=$!
    BG+=("$WORKER")
}

produce() { # NODE FIRST LAST: record N to partition N % 3; each acknowledged
    python3 - "$C/$1/orders" "$2" "$3" <<'END'
import os, sys
fds = [os.open(f"{sys.argv[1]}/{i}", os.O_WRONLY | os.O_APPEND) for i in range(3)]
for n in range(int(sys.argv[2]), int(sys.argv[3]) + 1):
    os.write(fds[n % 3], b"%d\n" % n)
END
}

all_done() { [ "$(cat "$T"/done.* 2>/dev/null | sort -u | wc -l)" = "$1" ]; } # RECORDS
doubled() { echo $(($(cat "$T"/done.* | wc -l) - $(cat "$T"/done.* | sort -u | wc -l))); }
lines() { cat "$T/done.$1" 2>/dev/null | wc -l; }
# So many members have a partition each, at least.
shared_by() { [ "$(awk '$2 == "orders" && $9 != "-" { print $9 }' "$C/1/.cluster/groups" | sort -u | wc -l)" = "$1" ]; } # MEMBERS
coordinator() { attr "$C/${1:-1}/.groups/kitchen" user.group.coordinator 2>/dev/null; }
# What has been read on from of each of the three partitions, a line each.
all_committed() { [ "$(for i in 0 1 2; do attr "$C/$1/orders/$i" user.group.kitchen.committed; echo; done 2>/dev/null | sort -u)" = "$2" ]; } # NODE OFFSET

@test "members on three hosts share the partitions, and each record is given to one of them" {
    form 3 node.session.timeout.ms=30000 # who is only slow is not put out
    for node in 1 2 3; do worker $node $node; done
    wait_until 'shared_by 3'
    produce 1 1 300
    wait_until 'all_done 300'
    produce 2 301 600
    wait_until 'all_done 600'
    for node in 1 2 3; do at_least "$(lines $node)" 1; done
    at_most "$(doubled)" 500 # of the first who came: a hand-over withdraws, and never doubles what was read on from
}

@test "a worker that is killed is taken over from on another host, with nothing lost" {
    form 3
    worker 1 1
    first=$WORKER
    produce 3 1 100
    wait_until 'all_done 100'
    worker 2 2
    produce 3 101 200
    wait_until 'all_done 200'
    kill -9 "$first"
    produce 3 201 300
    wait_until 'all_done 300'
    at_least "$(lines 2)" 100
}

@test "a host that dies takes its members along, and theirs goes to the others" {
    form 3
    for node in 1 2 3; do worker $node $node; done
    produce 1 1 300
    wait_until 'all_done 300'
    cluster kill "$C" 3
    produce 1 301 600
    wait_until 'all_done 600'
}

@test "a coordinator that dies puts nobody out, and commits go on" {
    form 3
    learn dead coordinator
    set -- $(for node in 1 2 3; do [ $node = "$dead" ] || echo $node; done)
    worker "$1" a
    worker "$2" b
    produce "$1" 1 300
    wait_until 'all_done 300'
    cluster kill "$C" "$dead"
    produce "$1" 301 600
    wait_until 'all_done 600'
    wait_until "now=\$(coordinator $1) && [[ \$now =~ ^[123]\$ ]] && [ \"\$now\" != $dead ]"
    # What they have read on from is committed, and stays so when they have gone: a member that comes then, behind them,
    # is given nothing old. Who has done a record has not read on yet.
    produce "$2" 601 603
    wait_until 'all_done 603'
    wait_until "all_committed $1 201"
    kill -9 "${BG[@]}"
    wait_until "[ \"\$(attr $C/$1/.groups/kitchen user.group.members)\" = 0 ]"
    wait_until "all_committed $1 201"
}

@test "a host that is cut off is put out, and goes on as it comes back" {
    form 3
    for node in 1 2 3; do worker $node $node; done
    produce 1 1 300
    wait_until 'all_done 300'
    cluster cut "$C" 3
    produce 1 301 600
    wait_until 'all_done 600'
    cluster heal "$C"
    worker 3 again
    produce 1 601 900
    wait_until 'all_done 900'
}

@test "members come, close and are killed on three hosts: each record is given, and none again that was read on from" {
    form 3 node.session.timeout.ms=30000 # who is only slow is not put out
    for timeout in rebalance session; do change set_attr "$C/1/.groups/kitchen" user.config.$timeout.timeout.ms 60000; done
    mkdir "$T/notes"
    python3 "$BATS_TEST_DIRNAME/come_and_go.py" "${GROUP_SEED:-$RANDOM}" 60 "$T/notes" "$C/1" "$C/2" "$C/3" 3>&-
    wait_until '[ "$(attr "$C/2/.groups/kitchen" user.group.members)" = 0 ]'
}
