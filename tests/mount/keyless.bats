#!/usr/bin/env bats
# A compacted topic takes no record without a key, as in Kafka.
load lib

setup() {
    log_setup
    mount_log
    cd "$M"
    mkdir state
    set_attr state user.config.key.separator :
    set_attr state user.config.cleanup.policy compact
}

@test "a line without a key is EINVAL in a compacted topic, and nothing of its write is appended" {
    py <<'P'
append("state/0", b"a:1\nb:2\n")
fd = os.open("state/0", APPEND)
for lines in b"none\n", b"c:3\nnone\n", b"none\nc:3\n", b"c:3\nnone\nd:4\n", b"\n", b"c:3\n\nd:4\n":
    same(error(os.write, fd, lines), "EINVAL")
same(read_all("state/0"), b"a:1\nb:2\n")
same(os.write(fd, b":the empty key is a key\n"), 24)
same(os.write(fd, b"c:\n"), 3)
same(read_all("state/0"), b"a:1\nb:2\n:the empty key is a key\nc:\n")
P
    fails 'Invalid argument' sh 'echo none >> state/0'
}

@test "so is one that came in pieces, and a separator over two pieces is one" {
    set_attr state user.config.key.separator =:=
    py <<'P'
fd = os.open("state/0", APPEND)
os.write(fd, b"key=")
os.write(fd, b":=1\nlonger=:")
os.write(fd, b"=2\nthird=:=3\nno")
same(error(os.write, fd, b"key\nfourth=:=4\n"), "EINVAL")
same(os.write(fd, b"w=:=5\n"), 6)
same(error(os.write, fd, b"=:\n"), "EINVAL")
same(read_all("state/0"), b"key=:=1\nlonger=:=2\nthird=:=3\nnow=:=5\n")
P
}

@test "a last line without a key is not appended at the last close" {
    printf 'a:1\nnone' >> state/0
    printf 'b:2' >> state/0
    is "$(cat state/0)" $'a:1\nb:2'
}

@test "through .any, too: no partition takes anything of such a write" {
    set_attr state user.topic.partitions 5
    py <<'P'
fd = os.open("state/.any", APPEND)
same(error(os.write, fd, b"".join(b"k%d:v\n" % n for n in range(20)) + b"none\n"), "EINVAL")
same([os.stat(f"state/{n}").st_size for n in range(5)], [0] * 5)
same(os.write(fd, b"k:v\n"), 4)
os.close(fd)
same(sum(os.stat(f"state/{n}").st_size for n in range(5)), 4)
P
}

@test "with linger.ms the write itself is EINVAL, and the lines of others are not lost with it" {
    remount linger.ms=60000
    set_attr state user.topic.partitions 3
    py <<'P'
one, other, third = os.open("state/0", APPEND), os.open("state/0", APPEND), os.open("state/.any", APPEND)
os.write(one, b"a:1\n")
same(error(os.write, other, b"none\n"), "EINVAL")
same(error(os.write, third, b"b:1\nnone\n"), "EINVAL")
os.write(one, b"a:2\n")
os.write(third, b"last without a key")
os.fsync(one)
for fd in one, other, third:
    os.close(fd)
same([read_all(f"state/{n}") for n in range(3)], [b"a:1\na:2\n", b"", b""])
P
}

@test "lines that linger while the topic becomes a compacted one are refused to whoever waits for them" {
    mkdir late
    set_attr late user.config.key.separator :
    remount linger.ms=60000
    py <<'P'
fd = os.open("late/0", APPEND)
os.write(fd, b"none\n")
os.setxattr("late", "user.config.cleanup.policy", b"compact")
same(error(os.fsync, fd), "EINVAL")
same(os.write(fd, b"a:1\n"), 4)
os.fsync(fd)
same(read_all("late/0"), b"a:1\n")
P
}

@test "a topic that is compacted no longer takes every line" {
    set_attr state user.config.cleanup.policy delete
    echo none >> state/0
    set_attr state user.config.cleanup.policy delete,compact
    fails 'Invalid argument' sh 'echo none >> state/0'
    is "$(cat state/0)" none
}

@test "a MessagePack record has a key when it is an array whose first element is not nil" {
    mkdir events
    set_attr events user.config.framing msgpack
    set_attr events user.config.cleanup.policy compact
    py <<'P'
fd = os.open("events/0", APPEND)
keyed = [b"\x92\xa1k\x01", b"\x91\x2a", b"\xdc\x00\x02\x01\x02", b"\xdd\x00\x00\x00\x01\xa0", b"\x92\x90\xc0"]
for record in b"\x2a", b"\xc0", b"\xa1k", b"\x90", b"\x81\x01\x02", b"\xdc\x00\x00", b"\xdd\x00\x00\x00\x00", b"\x92\xc0\x01", b"\x91\xc0":
    for write in record, keyed[0] + record, record + keyed[0]:
        same((record, error(os.write, fd, write)), (record, "EINVAL"))
same(os.write(fd, b"".join(keyed)), len(b"".join(keyed)))
for byte in b"\xdd\x00\x00\x00\x02\xa1k\x01":
    os.write(fd, bytes([byte]))
os.write(fd, b"\xdd\x00\x00\x00\x02")
same(error(os.write, fd, b"\xc0\x01"), "EINVAL")
os.close(fd)
same(read_all("events/0"), b"".join(keyed) + b"\xdd\x00\x00\x00\x02\xa1k\x01")
P
}

@test "a topic of lines without key.separator cannot be compacted, whatever makes it so" {
    mkdir plain
    fails 'Invalid argument' set_attr plain user.config.cleanup.policy compact
    fails 'Invalid argument' set_attr plain user.config.cleanup.policy delete,compact
    fails 'Invalid argument' setfattr -x user.config.key.separator state
    fails 'Invalid argument' set_attr state user.config.key.separator ''
    is "$(attr state user.config.key.separator)" :
    set_attr state user.config.key.separator ,
    set_attr plain user.config.cleanup.policy delete
    set_attr plain user.config.framing msgpack
    set_attr plain user.config.cleanup.policy compact
    fails 'Invalid argument' set_attr plain user.config.framing line
    fails 'Invalid argument' setfattr -x user.config.framing plain
    is "$(attr plain user.config.framing)" msgpack
}

@test "the cluster's defaults cannot make one, neither for new topics nor for one that there is" {
    fails 'Invalid argument' set_attr . user.config.cleanup.policy compact
    is "$(attr . user.config.cleanup.policy)" delete
    set_attr . user.config.key.separator =
    mkdir heir
    set_attr heir user.config.cleanup.policy compact
    fails 'Invalid argument' setfattr -x user.config.key.separator .
    fails 'Invalid argument' set_attr . user.config.key.separator ''
    set_attr . user.config.cleanup.policy compact
    mkdir born
    fails 'Invalid argument' sh 'echo none >> born/0'
    echo a=1 >> born/0
    fails 'Invalid argument' setfattr -x user.config.key.separator .
    set_attr born user.config.cleanup.policy delete
    setfattr -x user.config.cleanup.policy heir
    fails 'Invalid argument' setfattr -x user.config.key.separator .
    set_attr . user.config.cleanup.policy delete
    setfattr -x user.config.key.separator .
    fails 'Invalid argument' set_attr . user.config.cleanup.policy compact
    remount
    is "$(attr . user.config.key.separator)" ''
    is "$(attr state user.config.cleanup.policy)" compact
}
