#!/usr/bin/env bats
# framing=msgpack: each record is one MessagePack object.
load lib

setup() {
    log_setup
    mount_log
    cd "$M"
    mkdir events
    set_attr events user.config.framing msgpack
}

@test "framing can be set while the topic is empty, EBUSY after that" {
    is "$(attr events user.config.framing)" msgpack
    set_attr events user.config.framing line
    set_attr events user.config.framing msgpack
    printf '\x01' >> events/0
    fails 'Device or resource busy' set_attr events user.config.framing line
    is "$(attr events user.config.framing)" msgpack
    mkdir lines
    echo x >> lines/0
    fails 'Device or resource busy' set_attr lines user.config.framing msgpack
}

@test "each object is a record, and the file is the stream of them" {
    py <<'P'
objects = [b"\x01", b"\xa5hello", b"\x93\x01\x02\x03", b"\x81\xa1k\xa1v", b"\xc0", b"\xc4\x03\n\n\n", b"\xcb" + struct.pack(">d", 1.5)]
append("events/0", b"".join(objects[:3]))
for o in objects[3:]:
    append("events/0", o)
same(read_all("events/0"), b"".join(objects))
same(os.getxattr("events/0", "user.log.high_watermark"), b"7")
for n, o in enumerate(objects):
    same(read_all(f"events/0@{n}")[:len(o)], o)
same(read_all("events/0@-1"), objects[-1])
P
}

@test "records may hold any bytes, newlines too" {
    py <<'P'
rng = random.Random(9)
records = [rng.randbytes(rng.randrange(2000)) for _ in range(100)]
objects = [b"\xc5" + struct.pack(">H", len(r)) + r for r in records]
append("events/0", b"".join(objects))
same(read_all("events/0"), b"".join(objects))
same(os.getxattr("events/0", "user.log.high_watermark"), b"100")
same(read_all("events/0@57"), b"".join(objects[57:]))
P
}

@test "an object may come in pieces" {
    py <<'P'
fd = os.open("events/0", APPEND)
whole = b"\x93\xa5hello\xcd\x12\x34\xc4\x02ab"
for byte in whole:
    os.write(fd, bytes([byte]))
    done = os.stat("events/0").st_size
    check(done in (0, len(whole)), done)
same(os.stat("events/0").st_size, len(whole))
os.close(fd)
same(os.getxattr("events/0", "user.log.high_watermark"), b"1")
P
}

@test "what is not MessagePack is refused with EINVAL, whole" {
    py <<'P'
fd = os.open("events/0", APPEND)
same(error(os.write, fd, b"\x01\x02\xc1"), "EINVAL")
same(os.stat("events/0").st_size, 0)
same(os.write(fd, b"\x01"), 1)
same(read_all("events/0"), b"\x01")
P
}

@test "an object still incomplete at the last close is dropped, and that is logged" {
    unmount_log
    mount_log_in_front
    cd "$M"
    printf '\x01\x93\x01\x02' >> events/0
    is "$(cat events/0 | od -An -tx1)" ' 01'
    wait_until 'grep -q events "$T/log"'
    printf '\x05' >> events/0
    is "$(cat events/0 | od -An -tx1)" ' 01 05'
}

@test "nesting of any depth does not harm the daemon" {
    py <<'P'
deep = b"\x91" * 500000 + b"\x01"
fd = os.open("events/0", APPEND)
data = deep
try:
    while data:
        data = data[os.write(fd, data):]
    same(read_all("events/0"), deep)
except OSError as e:
    check(e.errno in (errno.EINVAL, errno.EMSGSIZE), e)
os.close(fd)
append("events/0", b"\x07")
same(read_all("events/0@-1"), b"\x07")
read_all("events/.json/0")
P
}

@test "lengths that lie are not believed: the object just waits, up to max.message.bytes" {
    set_attr events user.config.max.message.bytes 1000
    py <<'P'
for head in (b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01"):
    fd = os.open("events/0", APPEND)
    got = error(os.write, fd, head)
    if got is None:
        while (got := error(os.write, fd, b"\x01" * 500)) is None:
            pass
    check(got in ("EMSGSIZE", "EINVAL"), head, got)
    os.close(fd)
same(os.stat("events/0").st_size, 0)
append("events/0", b"\x2a")
same(read_all("events/0"), b"\x2a")
P
}

@test "max.message.bytes holds for an object" {
    set_attr events user.config.max.message.bytes 100
    py <<'P'
fits, long = b"\xd9\x62" + b"x" * 98, b"\xd9\x63" + b"x" * 99
same(len(fits), 100)
append("events/0", fits)
fd = os.open("events/0", APPEND)
same(error(os.write, fd, long), "EMSGSIZE")
os.close(fd)
same(read_all("events/0"), fits)
P
}

@test ".json shows the objects as JSON" {
    py <<'P'
objects = {b"\x2a": 42, b"\xe0": -32, b"\xc0": None, b"\xc2": False, b"\xc3": True, b"\xa2hi": "hi",
           b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff": 2**64 - 1, b"\xd3\x80" + b"\0" * 7: -2**63, b"\xcb" + struct.pack(">d", 0.1): 0.1,
           b"\xca" + struct.pack(">f", 0.5): 0.5, b"\x93\x01\xa1a\x90": [1, "a", []], b"\x82\xa1a\x01\xa1b\x91\xc3": {"a": 1, "b": [True]},
           b"\xde\x00\x01\xa4nest\x81\xa1x\xc0": {"nest": {"x": None}}}
append("events/0", b"".join(objects))
rows = [json.loads(l) for l in open("events/.json/0")]
same([r["offset"] for r in rows], list(range(len(objects))))
same([r["value"] for r in rows], list(objects.values()))
P
}

@test "compaction takes the first element of an array as the key, and nil as its tombstone" {
    remount log.cleaner.backoff.ms=50
    set_attr events user.config.segment.bytes 200
    set_attr events user.config.min.cleanable.dirty.ratio 0
    set_attr events user.config.cleanup.policy compact
    py <<'P'
for n in range(300):
    append("events/0", b"\x92" + bytes([n % 5]) + b"\xcd" + struct.pack(">H", n))
def rows():
    data = read_all("events/0")
    return [(data[at + 1], struct.unpack(">H", data[at + 3:at + 5])[0]) for at in range(0, len(data), 5)]
wait_until(lambda: len(rows()) < 80)
same(dict(rows()), {k: 295 + k for k in range(5)})
same(os.stat("events/0").st_size, 1500)
P
}

@test "the log is the same after a restart and after kill -9" {
    printf '\x93\x01\x02\x03\x81\xa1a\x01' >> events/0
    before=$(od -c events/0)
    remount
    is "$(od -c events/0)" "$before"
    printf '\x2a' >> events/0
    restart_after_kill
    is "$(attr events/0 user.log.high_watermark)" 3
    is "$(attr events user.config.framing)" msgpack
}

@test "two openers' pieces do not mix" {
    py <<'P'
a, b = os.open("events/0", APPEND), os.open("events/0", APPEND)
os.write(a, b"\xa4ab")
os.write(b, b"\xa2")
os.write(a, b"cd")
os.write(b, b"xy")
same(read_all("events/0"), b"\xa4abcd\xa2xy")
P
}
