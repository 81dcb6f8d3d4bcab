#!/usr/bin/env bats
# Links that carry one way only, and readers that follow over the death of who led.
load lib
load records

@test "a link that carries one way only stops nobody, whichever way, and nothing is lost or doubled" {
    form
    begin_writers
    more
    lead=$(leader 1)
    other=$(others "$lead" | head -n 1)
    for link in "${lead}to$other" "${other}to$lead"; do
        cluster cut "$C" "$link"
        # Long enough for whoever is not heard to be put out: the link is of no use, and what is left decides.
        wait_until "[ \"\$(isr $(others "$lead" | tail -n 1))\" != 1,2,3 ]" 30
        more 60
        cluster heal "$C"
        whole
        more
    done
    end_writers
    same
    for node in 1 2 3; do intact $node; done
}

@test "cat .follow and tail -f on a host that only follows go on over the leader's kill -9: each line once, in order" {
    form
    dead=$(leader 1)
    writes=$(others "$dead" | head -n 1)
    reads=$(others "$dead" | tail -n 1)
    bg bash -c "exec cat $C/$reads/orders/.follow/0 >$T/followed"
    bg bash -c "exec tail -n +1 -f $C/$reads/orders/0 >$T/tailed"
    bg bash -c "i=0; until [ -e $T/enough ]; do echo \$((++i)) || echo \$i >&2; done >>$C/$writes/orders/0 2>$T/failed"
    writer=$!
    wait_until '[ "$(wc -l <"$T/followed")" -gt 100 ]' 20
    cluster kill "$C" "$dead"
    wait_until "[[ \"\$(leader $reads)\" =~ ^[0-9]+$ ]] && [ \"\$(leader $reads)\" != $dead ]" 15
    seen=$(wc -l <"$T/followed")
    wait_until "[ \"\$(wc -l <$T/followed)\" -gt $((seen + 100)) ]" 30
    touch "$T/enough"
    wait "$writer"
    [ ! -s "$T/failed" ] || { head -n 3 "$T/failed"; return 1; }
    lines=$(wc -l <"$C/$writes/orders/0")
    for file in followed tailed; do
        wait_until "[ \"\$(wc -l <$T/$file)\" = $lines ]" 20
        cmp "$T/$file" <(seq "$lines")
    done
}

@test "a host without a replica follows over the death of the leader that it reads from" {
    form
    set_attr "$C/1/orders" user.topic.replication_factor 2
    wait_until '[[ "$(isr 1)" =~ ^[0-9],[0-9]$ ]]' 30
    set_attr "$C/1/orders" user.config.min.insync.replicas 1
    away=$(comm -23 <(printf '%s\n' 1 2 3) <(isr 1 | tr , '\n' | sort) | head -n 1)
    wait_until "[ \"\$(attr $C/$away/orders/0 user.log.replicas)\" = \"\$(attr $C/1/orders/0 user.log.replicas)\" ]"
    dead=$(leader "$away")
    bg bash -c "exec cat $C/$away/orders/.follow/0 >$T/followed"
    bg bash -c "i=0; until [ -e $T/enough ]; do echo \$((++i)) || echo \$i >&2; done >>$C/$away/orders/0 2>$T/failed"
    writer=$!
    wait_until '[ "$(wc -l <"$T/followed")" -gt 100 ]' 20
    cluster kill "$C" "$dead"
    wait_until "[[ \"\$(leader $away)\" =~ ^[0-9]+$ ]] && [ \"\$(leader $away)\" != $dead ]" 15
    seen=$(wc -l <"$T/followed")
    wait_until "[ \"\$(wc -l <$T/followed)\" -gt $((seen + 100)) ]" 30
    touch "$T/enough"
    wait "$writer"
    [ ! -s "$T/failed" ] || { head -n 3 "$T/failed"; return 1; }
    lines=$(wc -l <"$C/$away/orders/0")
    wait_until "[ \"\$(wc -l <$T/followed)\" = $lines ]" 20
    cmp "$T/followed" <(seq "$lines")
}
