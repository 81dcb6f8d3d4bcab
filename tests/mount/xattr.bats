#!/usr/bin/env bats
# Extended attributes: what there is to know, and what can be set.
load lib

setup() {
    log_setup
    mount_log
    cd "$M"
    mkdir orders
}

@test "getfattr -d on a partition lists what there is to know about it" {
    seq 10 >> orders/0
    fallocate -p -o 0 -l 4 orders/0
    getfattr -d --absolute-names orders/0 > "$T/seen"
    for pair in start_offset=2 high_watermark=10 end_offset=10 start_position=4 position=21 size=17 segments=1 \
        leader=1 replicas=1 isr=1; do
        grep -qxF "user.log.${pair%=*}=\"${pair#*=}\"" "$T/seen" || { echo "no $pair in"; cat "$T/seen"; false; }
    done
    grep -qE '^user.log.leader_epoch="[0-9]+"$' "$T/seen"
}

@test "getfattr -d on a topic lists its identity and every setting in force" {
    getfattr -d --absolute-names orders > "$T/seen"
    grep -qE '^user.topic.id="[A-Za-z0-9_-]{22}"$' "$T/seen"
    grep -qx 'user.topic.partitions="1"' "$T/seen"
    grep -qx 'user.topic.replication_factor="1"' "$T/seen"
    # Kafka's defaults; delete.topic.enable, key.separator and framing are ours
    for pair in retention.ms=604800000 retention.bytes=-1 segment.bytes=1073741824 segment.ms=604800000 \
        cleanup.policy=delete max.message.bytes=1048576 min.insync.replicas=1 delete.topic.enable=false \
        flush.messages=9223372036854775807 flush.ms=9223372036854775807 index.interval.bytes=4096 framing=line \
        message.timestamp.type=CreateTime delete.retention.ms=86400000 min.cleanable.dirty.ratio=0.5 \
        min.compaction.lag.ms=0; do
        grep -qxF "user.config.${pair%%=*}=\"${pair#*=}\"" "$T/seen" || { echo "no $pair in"; cat "$T/seen"; false; }
    done
    grep -q '^user.config.key.separator=' "$T/seen"
}

@test "getfattr -d on MOUNT lists the cluster, the node and the defaults" {
    getfattr -d --absolute-names . > "$T/seen"
    grep -qE '^user.cluster.id="[A-Za-z0-9_-]{22}"$' "$T/seen"
    grep -qx 'user.cluster.controller="1"' "$T/seen"
    grep -qx 'user.node.id="1"' "$T/seen"
    grep -qx 'user.config.num.partitions="1"' "$T/seen"
    grep -qx 'user.config.default.replication.factor="1"' "$T/seen"
    grep -qx 'user.config.retention.ms="604800000"' "$T/seen"
}

@test "set one to override, remove it to go back to the default" {
    set_attr orders user.config.retention.ms 1000000
    is "$(attr orders user.config.retention.ms)" 1000000
    is "$(attr . user.config.retention.ms)" 604800000
    setfattr -x user.config.retention.ms orders
    is "$(attr orders user.config.retention.ms)" 604800000
}

@test "the cluster's default holds for every topic that does not override it" {
    set_attr orders user.config.retention.ms 1000000
    mkdir bills
    set_attr . user.config.retention.ms 2000000
    is "$(attr bills user.config.retention.ms)" 2000000
    is "$(attr orders user.config.retention.ms)" 1000000
    setfattr -x user.config.retention.ms orders
    is "$(attr orders user.config.retention.ms)" 2000000
    setfattr -x user.config.retention.ms .
    is "$(attr orders user.config.retention.ms)" 604800000
}

@test "num.partitions is what mkdir makes" {
    set_attr . user.config.num.partitions 4
    mkdir bills
    is "$(ls bills | tr '\n' ' ')" '0 1 2 3 '
    is "$(attr bills user.topic.partitions)" 4
    is "$(ls orders)" 0
}

@test "settings are kept over a restart, and over kill -9" {
    set_attr orders user.config.retention.ms 1000000
    set_attr . user.config.num.partitions 2
    id=$(attr orders user.topic.id)
    cluster=$(attr . user.cluster.id)
    remount
    is "$(attr orders user.config.retention.ms)" 1000000
    set_attr orders user.config.segment.bytes 100000
    restart_after_kill
    is "$(attr orders user.config.retention.ms)" 1000000
    is "$(attr orders user.config.segment.bytes)" 100000
    is "$(attr . user.config.num.partitions)" 2
    is "$(attr orders user.topic.id)" "$id"
    is "$(attr . user.cluster.id)" "$cluster"
}

@test "partitions can be added, never removed" {
    set_attr orders user.topic.partitions 3
    is "$(ls orders | tr '\n' ' ')" '0 1 2 '
    fails 'Invalid argument' set_attr orders user.topic.partitions 2
    fails 'Invalid argument' set_attr orders user.topic.partitions x
    fails 'Invalid argument' set_attr orders user.topic.partitions -1
    is "$(attr orders user.topic.partitions)" 3
    echo x >> orders/2
    is "$(cat orders/2)" x
}

@test "an unknown name is ENODATA to read and EINVAL to set" {
    py <<'P'
for path, names in {"orders": ["user.config.no.such", "user.nothing", "user.topic.no"],
                    "orders/0": ["user.log.no", "user.config.retention.ms", "user.nothing"],
                    ".": ["user.config.no", "user.cluster.no"]}.items():
    for name in names:
        same((path, name, error(os.getxattr, path, name)), (path, name, "ENODATA"))
        same((path, name, error(os.setxattr, path, name, b"1")), (path, name, "EINVAL"))
P
}

@test "one that is only shown is EPERM to set" {
    py <<'P'
for path, names in {"orders": ["user.topic.id"],
                    "orders/0": ["user.log." + n for n in ("start_offset", "high_watermark", "end_offset", "start_position",
                                 "position", "size", "segments", "leader_epoch", "isr")],
                    ".": ["user.cluster.id", "user.cluster.controller", "user.node.id"]}.items():
    for name in names:
        before = os.getxattr(path, name)
        same((path, name, error(os.setxattr, path, name, b"7")), (path, name, "EPERM"))
        same(os.getxattr(path, name), before)
P
}

@test "a bad value is EINVAL and changes nothing" {
    py <<'P'
bad = {"retention.ms": [b"x", b"", b"1.5", b"-2", b"10 ", b" 10", b"99999999999999999999", b"1\0"],
       "retention.bytes": [b"-2", b"much"], "segment.bytes": [b"13", b"-1", b"2147483648", b"x"],
       "segment.ms": [b"0", b"-1"], "cleanup.policy": [b"nothing", b"delete,", b"", b"DELETE compact"],
       "max.message.bytes": [b"-1", b"x"], "min.insync.replicas": [b"0", b"-1", b"x"],
       "delete.topic.enable": [b"yes", b"1", b""], "flush.messages": [b"0", b"x"], "flush.ms": [b"-1", b"x"],
       "index.interval.bytes": [b"-1", b"x"], "framing": [b"lines", b"", b"csv"],
       "message.timestamp.type": [b"now", b""], "min.cleanable.dirty.ratio": [b"1.5", b"-0.1", b"x"]}
for name, values in bad.items():
    name = "user.config." + name
    before = os.getxattr("orders", name)
    for value in values:
        same((name, value, error(os.setxattr, "orders", name, value)), (name, value, "EINVAL"))
        same(os.getxattr("orders", name), before)
for value in (b"0", b"-1", b"x", b"99999999999"):
    same(error(os.setxattr, ".", "user.config.num.partitions", value), "EINVAL")
same(os.getxattr(".", "user.config.num.partitions"), b"1")
P
}

@test "XATTR_CREATE and XATTR_REPLACE, small buffers, and removing what is not there" {
    py <<'P'
names = os.listxattr("orders")
check("user.topic.id" in names and "user.config.retention.ms" in names)
same(error(os.removexattr, "orders", "user.config.no.such"), "ENODATA")
same(error(os.removexattr, "orders", "user.topic.id"), "EPERM")
libc = ctypes.CDLL(None, use_errno=True)
same(libc.getxattr(b"orders", b"user.topic.id", None, 0), 22)
buf = ctypes.create_string_buffer(4)
same(libc.getxattr(b"orders", b"user.topic.id", buf, 4), -1)
same(errno.errorcode[ctypes.get_errno()], "ERANGE")
P
}

@test "ls -l shows no access control list, and cp -a works" {
    echo one >> orders/0
    ls -l orders > "$T/ls"
    is "$(awk 'NR == 2 { print $1 }' "$T/ls")" -rw-r--r--
    cp -a orders "$T/copy"
    cmp orders/0 "$T/copy/0"
    is "$(ls -A "$T/copy")" 0
}

@test "a smaller segment.bytes rolls the next append" {
    echo one >> orders/0
    set_attr orders user.config.segment.bytes 100
    for i in 1 2 3 4; do head -c 60 /dev/zero | tr '\0' x >> orders/0; done
    at_least "$(attr orders/0 user.log.segments)" 4
    is "$(attr orders/0 user.log.segments)" "$(ls "$DATA"/topics/orders-0/*.log | wc -l)"
}

@test "segment.ms rolls a segment whose time has come" {
    echo one >> orders/0
    set_attr orders user.config.segment.ms 50
    later 60
    echo two >> orders/0
    at_least "$(attr orders/0 user.log.segments)" 2
}

@test "a change of max.message.bytes holds for the next write" {
    exec 4>> orders/0
    echo 12345678901 >&4
    set_attr orders user.config.max.message.bytes 10
    fails 'Message too long' sh 'echo 12345678901 >&4'
    echo 1234567890 >&4
    is "$(cat orders/0)" $'12345678901\n1234567890'
}

@test "message.timestamp.type takes both of Kafka's values" {
    set_attr orders user.config.message.timestamp.type LogAppendTime
    echo one >> orders/0
    is "$(attr orders user.config.message.timestamp.type)" LogAppendTime
    set_attr orders user.config.message.timestamp.type CreateTime
}

@test "cleanup.policy may be both" {
    set_attr orders user.config.key.separator :
    set_attr orders user.config.cleanup.policy compact,delete
    is "$(attr orders user.config.cleanup.policy)" compact,delete
}

@test "with flush.messages=1 each record is on the disk when its write returns" {
    set_attr orders user.config.flush.messages 1
    for i in {1..20}; do echo "$i" >> orders/0; done
    is "$(cat orders/0)" "$(seq 20)"
}

@test "the position of an address is an attribute of its name, and so are the others" {
    seq 10 >> orders/0
    is "$(attr orders/0@5 user.log.position)" 10
    is "$(attr orders/0@-1 user.log.position)" 18
}

@test "replicas, leader and replication factor can be set, to nodes that there are" {
    py <<'P'
same(os.getxattr("orders", "user.topic.replication_factor"), b"1")
os.setxattr("orders", "user.topic.replication_factor", b"1")
os.setxattr("orders/0", "user.log.replicas", b"1")
os.setxattr("orders/0", "user.log.leader", b"1")
for path, name, bad in (("orders", "user.topic.replication_factor", (b"0", b"2", b"9", b"x", b"", b"1,", b"-1")),
                        ("orders/0", "user.log.replicas", (b"1,2", b"2", b"1,1", b"0", b"", b"1,", b",1", b"x")),
                        ("orders/0", "user.log.leader", (b"2", b"0", b"none", b"", b"1 "))):
    before = os.getxattr(path, name)
    for value in bad:
        same((name, value, error(os.setxattr, path, name, value)), (name, value, "EINVAL"))
    same((name, error(os.removexattr, path, name)), (name, "EPERM"))
    same(os.getxattr(path, name), before)
P
    is "$(awk '$1 == "orders" { print $3, $5, $6, $10 }' .cluster/partitions)" '1 1 1 ok'
}

@test "voters that are not connected are EBUSY, and nothing has changed" {
    py <<'P'
same(error(os.setxattr, ".", "user.cluster.voters", b"1,2,3"), "EBUSY")
same(os.getxattr(".", "user.cluster.voters"), b"1")
P
}

@test "a node that lives is not unregistered, nor one that there is not" {
    py <<'P'
name = "user.cluster.unregister"
same(error(os.setxattr, ".", name, b"1"), "EBUSY")
same(error(os.setxattr, ".", name, b"2"), "ENOENT")
for value in (b"", b"0", b"-1", b"1,2", b"x", b"1 ", b"99999999999"):
    same((value, error(os.setxattr, ".", name, value)), (value, "EINVAL"))
same(error(os.setxattr, "orders", name, b"2"), "EINVAL")
same(error(os.getxattr, ".", name), "ENODATA")
same(error(os.removexattr, ".", name), "ENODATA")
same(name in os.listxattr("."), False)
P
    is "$(awk '{ print $1, $4 }' .cluster/nodes | paste -sd,)" 'id state,1 up'
}

@test "a node alone is controller and voter, and its status says so" {
    is "$(attr . user.cluster.voters)" 1
    is "$(awk '{ print $1, $2, $3, $4, $5 }' .cluster/nodes)" 'id address role state controller
1 - voter up yes'
    grep -qx 'logmnt_is_controller 1' .cluster/metrics
    grep -qx 'logmnt_partitions_under_replicated 0' .cluster/metrics
    grep -qx 'logmnt_partitions_without_leader 0' .cluster/metrics
}
