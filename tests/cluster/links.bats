#!/usr/bin/env bats
# Links that carry one way only, and readers that follow over the death of who led.
load lib
load records

@test "a link that carries one way only stops nobody, whichever way, and nothing is lost or doubled" {
    form
    begin_writers
    more
    for way in to from; do
        # Whoever leads by now: the first link may have cost the leadership, and between two followers none is needed.
        learn lead leader 1
        other=$(others "$lead" | head -n 1) third=$(others "$lead" | tail -n 1)
        link=${lead}to$other
        [ $way = to ] || link=${other}to$lead
        cluster cut "$C" "$link"
        # Long enough for whoever is not heard to be put out: the link is of no use, and what is left decides.
        wait_until "isr=\$(isr $third) && [ \"\$isr\" != 1,2,3 ]"
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
    learn dead leader 1
    writes=$(others "$dead" | head -n 1)
    reads=$(others "$dead" | tail -n 1)
    bg bash -c "exec cat $C/$reads/orders/.follow/0 >$T/followed"
    bg bash -c "exec tail -n +1 -f $C/$reads/orders/0 >$T/tailed"
    bg bash -c "i=0; until [ -e $T/enough ]; do echo \$((++i)) || echo \$i >&2; done >>$C/$writes/orders/0 2>$T/failed"
    writer=$!
    wait_until '[ "$(wc -l <"$T/followed")" -gt 100 ]'
    cluster kill "$C" "$dead"
    another_leads "$reads" "$dead"
    seen=$(wc -l <"$T/followed")
    wait_until "[ \"\$(wc -l <$T/followed)\" -gt $((seen + 100)) ]"
    touch "$T/enough"
    wait "$writer"
    [ ! -s "$T/failed" ] || { head -n 3 "$T/failed"; return 1; }
    lines=$(wc -l <"$C/$writes/orders/0")
    for file in followed tailed; do
        wait_until "[ \"\$(wc -l <$T/$file)\" = $lines ]"
        cmp "$T/$file" <(seq "$lines")
    done
}

replicas() { attr "$C/$1/orders/0" user.log.replicas 2>/dev/null | tr , '\n' | sort | paste -sd,; } # as NODE knows them

@test "a host without a replica follows over the death of the leader that it reads from" {
    form
    change set_attr "$C/1/orders" user.topic.replication_factor 2
    wait_until '[[ "$(isr 1)" =~ ^[0-9],[0-9]$ ]] && [ "$(isr 1)" = "$(replicas 1)" ]'
    change set_attr "$C/1/orders" user.config.min.insync.replicas 1
    away=$(comm -23 <(printf '%s\n' 1 2 3) <(replicas 1 | tr , '\n') | head -n 1)
    wait_until "[ \"\$(replicas $away)\" = \"\$(replicas 1)\" ]"
    learn dead leader "$away"
    bg bash -c "exec cat $C/$away/orders/.follow/0 >$T/followed"
    bg bash -c "i=0; until [ -e $T/enough ]; do echo \$((++i)) || echo \$i >&2; done >>$C/$away/orders/0 2>$T/failed"
    writer=$!
    wait_until '[ "$(wc -l <"$T/followed")" -gt 100 ]'
    cluster kill "$C" "$dead"
    another_leads "$away" "$dead"
    seen=$(wc -l <"$T/followed")
    wait_until "[ \"\$(wc -l <$T/followed)\" -gt $((seen + 100)) ]"
    touch "$T/enough"
    wait "$writer"
    [ ! -s "$T/failed" ] || { head -n 3 "$T/failed"; return 1; }
    lines=$(wc -l <"$C/$away/orders/0")
    wait_until "[ \"\$(wc -l <$T/followed)\" = $lines ]"
    cmp "$T/followed" <(seq "$lines")
}
