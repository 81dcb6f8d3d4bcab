# A change of framing under open files.
load lib

@test "what waits for its newline is no part of an object when the framing changes" {
    mkdir events
    exec 5>>events/0
    printf abc >&5
    set_attr events user.config.framing msgpack
    printf '\x01\x02' >&5
    exec 5>&-
    is "$(od -An -tx1 events/0)" ' 01 02'
    is "$(attr events/0 user.log.high_watermark)" 2
    is "$(wc -l < events/.json/0)" 2
}

@test "an unfinished object is no part of a line when the framing changes" {
    mkdir events
    set_attr events user.config.framing msgpack
    exec 5>>events/0
    printf '\xa4ab' >&5
    set_attr events user.config.framing line
    echo one >&5
    exec 5>&-
    is "$(cat events/0)" one
    is "$(attr events/0 user.log.high_watermark)" 1
}

@test "what waits when the framing changes is dropped at the last close" {
    mkdir events
    exec 5>>events/0
    printf abc >&5
    set_attr events user.config.framing msgpack
    exec 5>&-
    is "$(size events/0)" 0
    is "$(attr events/0 user.log.high_watermark)" 0
}

@test "lines that linger hold the framing: EBUSY, and they are records of the old one" {
    remount linger.ms=3600000,delivery.timeout.ms=3600000
    mkdir events
    py <<'P'
fd = os.open("events/0", APPEND)
same(os.write(fd, b"one\n"), 4)
same(error(os.setxattr, "events", "user.config.framing", b"msgpack"), "EBUSY")
same(error(os.removexattr, "events", "user.config.framing"), "EBUSY")
same(os.stat("events/0").st_size, 0)
os.close(fd)
same(read_all("events/0"), b"one\n")
same(error(os.setxattr, "events", "user.config.framing", b"msgpack"), "EBUSY")
P
    fallocate -p -o 0 -l 100 events/0
    set_attr events user.config.framing msgpack
}

@test "a write that waits for replicas holds the framing until it is given up" {
    remount delivery.timeout.ms=60000
    mkdir events
    set_attr events user.config.min.insync.replicas 2
    bg dd if=<(echo one) of=events/0 oflag=append conv=notrunc status=none
    writer=$!
    wait_until 'grep -q "^logmnt_appends_parked 1$" .cluster/metrics'
    fails 'Device or resource busy' set_attr events user.config.framing msgpack
    kill "$writer"
    wait "$writer" || :
    wait_until 'grep -q "^logmnt_appends_parked 0$" .cluster/metrics'
    set_attr events user.config.framing msgpack
    set_attr events user.config.min.insync.replicas 1
    is "$(size events/0)" 0
}

@test "a write that waits for room in buffer.memory holds the framing" {
    remount linger.ms=3600000,delivery.timeout.ms=3600000,buffer.memory=20000,batch.size=20000
    mkdir events full
    py <<'P'
full = os.open("full/0", APPEND)
same(os.write(full, b"x" * 19990 + b"\n"), 19991)
writer = os.fork()
if writer == 0:
    os.write(os.open("events/0", APPEND), b"one two three\n")
    os._exit(0)
def busy():  # once the write is there
    for framing in b"msgpack", b"line":
        if error(os.setxattr, "events", "user.config.framing", framing):
            return True
wait_until(busy)
os.kill(writer, signal.SIGTERM)
os.waitpid(writer, 0)
wait_until(lambda: error(os.setxattr, "events", "user.config.framing", b"msgpack") is None)
same(os.stat("events/0").st_size, 0)
P
}
