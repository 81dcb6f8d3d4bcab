#!/usr/bin/env bats
# `.cluster/metrics`: Prometheus's text, and that what it counts is what was done.
load lib

# A value by the name that the text gives it, labels included.
value() { awk -v name="$1" '$1 == name { print $2 }' .cluster/metrics; }

@test "the text is what Prometheus's format asks for" {
    mkdir orders
    echo x >>orders/0
    py <<'END'
import re
text = read_all(".cluster/metrics").decode()
assert text.endswith("\n")
name = "[a-zA-Z_:][a-zA-Z0-9_:]*"
sample = re.compile(r'(%s)(?:\{((?:%s="(?:[^"\\\n]|\\.)*",?)*)\})? ([-+0-9.eE]+|[-+]?Inf|NaN)' % (name, name))
types, helped, seen, family, ended = {}, set(), set(), None, set()
for line in text.splitlines():
    if line.startswith("# HELP "):
        helped.add(line.split(" ", 3)[2])
        continue
    if line.startswith("# TYPE "):
        _, _, of, kind = line.split(" ")
        assert of not in types and of in helped, line
        assert kind in ("counter", "gauge", "histogram"), line
        types[of] = kind
        if family:
            ended.add(family)
        family = of
        continue
    found = sample.fullmatch(line)
    assert found, line
    of = re.sub("_(bucket|sum|count)$", "", found[1]) if types[family] == "histogram" else found[1]
    assert of == family and of not in ended, line  # all lines of a family together, under its TYPE
    assert (found[1], found[2]) not in seen, line
    seen.add((found[1], found[2]))
    assert types[of] != "counter" or of.endswith("_total"), line
assert "histogram" in types.values()
END
}

@test "histograms are cumulative, end with all there are, and their bounds rise" {
    mkdir orders
    for i in $(seq 20); do echo "$i" >>orders/0; done
    sync orders/0
    py <<'END'
import re
rows = {}
for line in read_all(".cluster/metrics").decode().splitlines():
    found = re.fullmatch(r'(logmnt_\w+)_(bucket|sum|count)(?:\{(.*)\})? (\S+)', line)
    if not found:
        continue
    labels = dict(re.findall(r'(\w+)="([^"]*)"', found[3] or ""))
    bound = labels.pop("le", None)
    one = rows.setdefault((found[1], tuple(sorted(labels.items()))), {"buckets": []})
    if found[2] == "bucket":
        one["buckets"].append((float(bound), int(found[4])))
    else:
        assert bound is None and found[2] not in one, line
        one[found[2]] = float(found[4])
assert len(rows) >= 7, rows.keys()
for name, one in rows.items():
    bounds, counts = zip(*one["buckets"])
    assert list(bounds) == sorted(set(bounds)) and bounds[-1] == float("inf"), name
    assert list(counts) == sorted(counts) and counts[-1] == one["count"], name
    within = [count - before for count, before in zip(counts, (0,) + counts)]
    # The sum lies between what the bounds say at the least and at the most.
    least = sum(n * bound for n, bound in zip(within, (0,) + bounds))
    assert one["sum"] + 1e-9 >= least * (1 - 1e-9), (name, one)
    if within[-1] == 0:
        assert one["sum"] <= sum(n * bound for n, bound in zip(within, bounds) if n) + 1e-9, (name, one)
END
}

@test "what they count is what was done" {
    commands=$(value logmnt_metadata_command_seconds_count)
    mkdir orders
    chmod 700 orders
    chmod 755 orders
    is "$(value logmnt_metadata_command_seconds_count)" $((commands + 3))
    for i in $(seq 25); do echo "$i" >>orders/0; done
    is "$(value 'logmnt_append_seconds_count{acks="all"}')" 25
    is "$(value 'logmnt_append_seconds_count{acks="1"}')" 0
    is "$(value 'logmnt_append_failures_total{acks="all"}')" 0
    is "$(value logmnt_forwarded_append_seconds_count)" 0
    flushes=$(value logmnt_log_flush_seconds_count)
    for i in 1 2 3; do
        echo "$i" >>orders/0
        sync orders/0
    done
    is "$(value logmnt_fsync_seconds_count)" 3
    is "$(value logmnt_fsync_failures_total)" 0
    at_least "$(value logmnt_log_flush_seconds_count)" $((flushes + 3))
    # Of one look, and when none is under way: the one counts those that have begun, the other one those that are over.
    wait_until 'awk "{ n[\$1] = \$2 } END { exit n[\"logmnt_log_flush_seconds_count\"] != n[\"logmnt_flushes_total\"] }" .cluster/metrics'
    fails 'File exists' mkdir orders # known here, and no command
    is "$(value logmnt_metadata_command_seconds_count)" $((commands + 3))
    is "$(value logmnt_metadata_command_failures_total)" 0
}

@test "a write that fails is told from one that was acknowledged" {
    remount delivery.timeout.ms=300
    mkdir orders
    set_attr orders user.config.min.insync.replicas 2
    fails 'Read-only file system' sh 'echo x >>orders/0'
    is "$(value 'logmnt_append_failures_total{acks="all"}')" 1
    is "$(value 'logmnt_append_seconds_count{acks="all"}')" 0
    remount acks=1
    echo x >>orders/0
    is "$(value 'logmnt_append_seconds_count{acks="1"}')" 1
    is "$(value 'logmnt_append_seconds_count{acks="all"}')" 0
}

@test "elections of the quorum are counted, and each raises its epoch" {
    is "$(value logmnt_elections_total)" 1 # the only voter elects itself at each start
    epoch=$(value logmnt_current_epoch)
    at_least "$epoch" 1
    mkdir orders
    is "$(value logmnt_current_epoch)" "$epoch"
    remount
    is "$(value logmnt_elections_total)" 1
    is "$(value logmnt_current_epoch)" $((epoch + 1))
}

@test "who leads the quorum is a metric: the only voter leads itself" {
    is "$(value logmnt_current_leader)" 1
    is "$(value logmnt_is_controller)" 1
}
