#!/usr/bin/env bats
# Reading anywhere: a host that holds no replica of a partition shows the same as the one that does.
load lib

# Three nodes, and a topic of one replica: on $HOLDER alone; $AWAY and $THIRD are the others.
form() {
    start_cluster -o tls=off 3
    wait_until "set_attr $C/1 user.config.default.replication.factor 1 2>/dev/null"
    wait_until "mkdir $C/1/solo 2>/dev/null || [ -d $C/1/solo ]"
    for node in 1 2 3; do wait_until "[ -e $C/$node/solo/0 ]"; done
    wait_until '[[ "$(attr "$C/1/solo/0" user.log.leader)" =~ [0-9] ]]'
    HOLDER=$(attr "$C/1/solo/0" user.log.replicas)
    AWAY=$((HOLDER % 3 + 1)) THIRD=$(((HOLDER + 1) % 3 + 1))
    P=$C/$HOLDER/solo A=$C/$AWAY/solo B=$C/$THIRD/solo
}
# What others have written shows there within two seconds.
grown() { for node in "$@"; do soon "[ \"\$(stat -c %s $node/0)\" = \"\$(stat -c %s $P/0)\" ]"; done; } # TOPIC…

@test "bytes, sizes, attributes and addresses are the same on a host without a replica" {
    form
    seq 1 20000 | sed 's/^/record /' >"$T/lines"
    cat "$T/lines" >>"$P/0"
    grown "$A" "$B"
    cmp "$A/0" "$T/lines"
    soon "[ \"\$(stat -c '%s %b %i %Y' $A/0)\" = \"\$(stat -c '%s %b %i %Y' $P/0)\" ]"
    soon "[ \"\$(getfattr -d --absolute-names $A/0 | grep user.)\" = \"\$(getfattr -d --absolute-names $P/0 | grep user.)\" ]"
    for at in 0 777 19999 20000 start end -3 -1h 2020-01-01; do is "$(sha256sum <"$A/0@$at")" "$(sha256sum <"$P/0@$at")"; done
    is "$(head -n 1 "$A/0@12344")" 'record 12345'
    is "$(attr "$A/0@12344" user.log.position)" "$(attr "$P/0@12344" user.log.position)"
    fails 'No such file' cat "$A/0@20001"
    is "$(sha256sum <"$A/.json/0")" "$(sha256sum <"$P/.json/0")"
    is "$(tail -n 2 "$A/0")" "$(tail -n 2 "$T/lines")"
    is "$(tac "$A/0" | sha256sum)" "$(tac "$T/lines" | sha256sum)"
    is "$(grep -c 'record 7' "$B/0")" "$(grep -c 'record 7' "$T/lines")"
    is "$(ls -A "$A/.segments/0")" ''
}

# Its line of .cluster/partitions, from the log's start on, and its samples.
told() { # NODE
    awk '$1 == "solo" { print $7, $8, $9, $10 }' "$C/$1/.cluster/partitions"
    grep '{topic="solo",partition="0"}' "$C/$1/.cluster/metrics" || :
}

@test "status files say nothing of a partition that their host does not know, and then what its leader says" {
    form
    seq 1000 >>"$P/0"
    cluster restart "$C" "$AWAY"
    wait_until "grep -q '^solo 0 $HOLDER ' $C/$AWAY/.cluster/partitions"
    is "$(told "$AWAY")" '- - - ok'
    known='0 1000 3893 ok
logmnt_high_watermark{topic="solo",partition="0"} 1000
logmnt_log_size_bytes{topic="solo",partition="0"} 3893'
    is "$(told "$HOLDER")" "$known"
    wait_until 'stat "$A/0" >/dev/null && [ "$(told "$AWAY")" = "$known" ]' # for two seconds
}

@test "what is written through a host without a replica is at once there, for the next read" {
    form
    for i in $(seq 50); do
        echo "line $i" >>"$A/0"
        is "$(tail -n 1 "$A/0")" "line $i"
        is "$(wc -l <"$A/0")" "$i"
    done
    is "$(cat "$P/0")" "$(cat "$A/0")"
}

@test "holes are the leader's: who reads on a trimmed partition elsewhere sees what is retained" {
    form
    seq -f 'record %06.0f' 1 5000 >"$T/lines"
    cat "$T/lines" >>"$P/0"
    grown "$A"
    is "$(wc -l <"$A/0")" 5000
    exec 4<"$A/.follow/0"
    is "$(dd bs=14 count=1 status=none <&4)" 'record 000001'
    fallocate -p -o 0 -l $((14 * 4000)) "$P/0"
    soon "[ \"\$(wc -l <$A/0)\" = 1000 ]"
    is "$(head -n 1 "$A/0")" 'record 004001'
    soon "[ \"\$(attr $A/0 user.log.start_offset)\" = 4000 ]"
    is "$(head -n 1 "$A/0@start")" 'record 004001'
    is "$(head -n 1 "$A/.json/0" | grep -o '"offset":[0-9]*')" '"offset":4000'
    is "$(stat -c %s "$A/0")" $((14 * 5000))
    lines=$(timeout "$WAIT_S" sed /005000/q <&4 | wc -l) # some of them may have been read ahead before the others went
    at_least "$lines" 1000
    is "$(attr "/proc/$BASHPID/fd/4" user.log.skipped)" $((4999 - lines))
    exec 4<&-
    for gone in 4200 4400 4600; do # asked for here, it is gone here when that returns
        wc -l <"$A/0" >/dev/null
        fallocate -p -o 0 -l $((14 * gone)) "$A/0"
        is "$(wc -l <"$A/0")" $((5000 - gone))
        is "$(attr "$A/0" user.log.start_offset)" $gone
        is "$(head -n 1 "$A/0@start")" "$(printf 'record %06d' $((gone + 1)))"
    done
}

@test "a follower on another host gets each record as it comes, and tail -f shows it grow" {
    form
    echo one >>"$P/0"
    bg cat "$A/.follow/0" >"$T/followed"
    bg tail -n +1 -f "$B/0" >"$T/tailed"
    wait_until '[ "$(cat "$T/followed")" = one ] && [ "$(cat "$T/tailed")" = one ]'
    for i in $(seq 20); do
        echo "line $i" >>"$P/0"
        wait_until "tail -n 1 $T/followed | grep -qx 'line $i'"
    done
    wait_until "cmp -s $T/tailed $P/0"
    cmp "$T/followed" "$P/0"
    grown "$A"
}

@test "a poll elsewhere wakes when a record is committed" {
    form
    echo one >>"$P/0"
    grown "$A"
    bg python3 -c '
import os, select, sys
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK)
p = select.poll()
p.register(fd, select.POLLIN)
assert p.poll(0) == []
open(sys.argv[2], "w").close()
assert p.poll(60000), "not woken"
print(os.read(fd, 100).decode(), end="")' "$A/.follow/0@end" "$T/polling" >"$T/polled"
    wait_until '[ -e "$T/polling" ]'
    echo two >>"$P/0"
    wait_until '[ "$(cat "$T/polled")" = two ]'
}

@test "with the only replica gone a read ends after 5 s, stat and ls tell what was known, and a new start serves on" {
    form
    seq 1 100 >>"$P/0"
    grown "$A"
    is "$(wc -l <"$A/0")" 100
    cluster kill "$C" "$HOLDER"
    local began=$SECONDS
    begin_clock
    fails 'timed out' cat "$A/0"
    at_least $((SECONDS - began)) 4
    ran_at_most 10000
    is "$(timeout "$WAIT_S" stat -c %s "$A/0")" 292
    timeout "$WAIT_S" ls -l "$A" >/dev/null
    bg cat "$A/.follow/0@end" >"$T/followed"
    cluster start "$C" "$HOLDER" >/dev/null
    wait_until "cat $A/0 >$T/again 2>/dev/null"
    is "$(sort -n "$T/again" | tail -n 1)" 100
}

@test "a reader on a host without a replica sees each line once, in order, while it grows and links break" {
    form
    bg bash -c "i=0; until [ -e $T/enough ]; do echo \$((++i)); done >>$P/0"
    local writer=$! lines
    bg cat "$A/.follow/0" >"$T/followed"
    wait_until '[ -s "$T/followed" ]'
    cluster cut "$C" "$AWAY-$HOLDER"
    # It has grown, and the reader's host has not heard of it: its stat(2) asks the leader in vain for a second.
    wait_until '[ "$(stat -c %s "$A/0")" -lt "$(stat -c %s "$P/0")" ]'
    cluster heal "$C"
    touch "$T/enough"
    wait "$writer"
    lines=$(wc -l <"$P/0")
    wait_until "[ \"\$(wc -l <$T/followed)\" = $lines ]"
    cmp "$T/followed" <(seq "$lines")
}
