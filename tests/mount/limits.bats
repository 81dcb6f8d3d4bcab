#!/usr/bin/env bats
# The longest record: max.message.bytes, and what happens to a longer one. Many partitions, few descriptors.
load lib

setup() {
    log_setup
    mount_log
    cd "$M"
    mkdir orders
}

small() { set_attr orders user.config.max.message.bytes 100; }

@test "a record of max.message.bytes fits, one byte more is EMSGSIZE" {
    small
    py <<'P'
append("orders/0", b"x" * 100 + b"\n")
fd = os.open("orders/0", APPEND)
same(error(os.write, fd, b"y" * 101 + b"\n"), "EMSGSIZE")
os.close(fd)
same(read_all("orders/0"), b"x" * 100 + b"\n")
P
}

@test "the default is one MiB, without the newline" {
    py <<'P'
M = 1 << 20
fd = os.open("orders/0", APPEND)
def send(data):
    while data:
        data = data[os.write(fd, data):]
send(b"x" * M + b"\n")
same(os.stat("orders/0").st_size, M + 1)
same(error(send, b"y" * (M + 1) + b"\n"), "EMSGSIZE")
os.close(fd)
same(os.stat("orders/0").st_size, M + 1)
append("orders/0", b"and on\n")
same(read_all("orders/0")[M + 1:], b"and on\n")
P
}

@test "a write that makes a record too long has not happened, its short lines neither" {
    small
    py <<'P'
fd = os.open("orders/0", APPEND)
same(error(os.write, fd, b"short\n" + b"x" * 200 + b"\nanother\n"), "EMSGSIZE")
same(os.stat("orders/0").st_size, 0)
same(os.write(fd, b"ok\n"), 3)
same(error(os.write, fd, b"x" * 150), "EMSGSIZE")
same(os.write(fd, b"still ok\n"), 9)
os.close(fd)
same(read_all("orders/0"), b"ok\nstill ok\n")
P
}

@test "of a long line that came in pieces nothing is kept, up to its newline" {
    small
    py <<'P'
fd = os.open("orders/0", APPEND)
same(os.write(fd, b"a" * 60), 60)
same(error(os.write, fd, b"b" * 60), "EMSGSIZE")
same(error(os.write, fd, b"c"), "EMSGSIZE")
same(error(os.write, fd, b"the rest\nand a line behind it\n"), "EMSGSIZE")
same(os.write(fd, b"fine\n"), 5)
os.close(fd)
same(read_all("orders/0"), b"fine\n")
P
}

@test "a write that failed for its length can be tried again in vain, and the line is over with it" {
    small
    py <<'P'
fd = os.open("orders/0", APPEND)
same(os.write(fd, b"a" * 60), 60)
same(error(os.write, fd, b"b" * 60 + b"\n"), "EMSGSIZE")
same(error(os.write, fd, b"b" * 60 + b"\n"), "EMSGSIZE")
same(os.write(fd, b"fine\n"), 5)
same(read_all("orders/0"), b"fine\n")
P
}

@test "a long line is forgotten with its open file" {
    small
    py <<'P'
fd = os.open("orders/0", APPEND)
same(os.write(fd, b"a" * 60), 60)
same(error(os.write, fd, b"b" * 60), "EMSGSIZE")
os.close(fd)
append("orders/0", b"a new open file knows nothing of it\n")
same(read_all("orders/0"), b"a new open file knows nothing of it\n")
P
}

@test "another open file is not harmed by one's long line" {
    small
    py <<'P'
bad, good = os.open("orders/0", APPEND), os.open("orders/0", APPEND)
same(os.write(good, b"half "), 5)
same(os.write(bad, b"a" * 60), 60)
same(error(os.write, bad, b"b" * 60), "EMSGSIZE")
same(os.write(good, b"and half\n"), 9)
same(read_all("orders/0"), b"half and half\n")
P
}

@test "with a larger max.message.bytes a record may be larger than what the kernel hands over at once" {
    set_attr orders user.config.max.message.bytes 8388608
    py <<'P'
M = 5 << 20
fd = os.open("orders/0", APPEND)
data = b"x" * M + b"\n"
while data:
    data = data[os.write(fd, data):]
os.close(fd)
same(read_all("orders/0"), b"x" * M + b"\n")
P
    is "$(attr orders/0 user.log.high_watermark)" 1
}

@test "four hundred partitions need no four hundred descriptors" {
    local topic
    unmount_log
    ulimit -n 200
    mount_log
    cd "$M"
    for topic in $(seq 400); do mkdir "t$topic"; done
    for topic in $(seq 400); do echo "$topic" >> "t$topic/0"; done
    is "$(ls "/proc/$PID/fd" | awk 'END { print (NR < 200) }')" 1
    cat t*/0 | sort -n | cmp - <(seq 400)
    remount
    for topic in $(seq 400); do echo again >> "t$topic/0"; done
    is "$(cat t*/0 | grep -c again)" 400
    rmdir t1 2>&1 | grep -q 'not empty'
    set_attr t1 user.config.delete.topic.enable true
    rmdir t1
    [ ! -e "$DATA/topics/t1-0" ]
}

@test "when memory ends, what a write took is there, and of what it refused nothing" {
    set_attr orders user.config.max.message.bytes 33554432
    py "$PID" <<'P'
pid, = sys.argv[1:]
MIB = 1 << 20
def limit(to):
    subprocess.run(["prlimit", "--pid", pid, "--data=" + to + ":"], check=True)
def room():
    """Six MiB more than it has: no thread more, which would take eight. One may begin before the limit is there."""
    before = None
    while before != (now := next(int(l.split()[1]) << 10 for l in open(f"/proc/{pid}/status") if l.startswith("VmData"))):
        limit(str(now + 6 * MIB))
        before = now
fd, taken = os.open("orders/0", APPEND), 0
same(os.write(fd, b"first\n"), 6)
limited = os.environ["SANITIZED"] == "" # a sanitizer ends the program there; then the line is only long
if limited:
    room()
refused = None
while refused is None and taken < 24 * MIB:
    try:
        taken += os.write(fd, b"x" * MIB)
    except OSError as e:
        refused = errno.errorcode[e.errno]
if limited:
    same(refused, "ENOMEM")
    same(error(os.write, fd, b"\nnot this\n" + b"y" * (MIB - 10)), "ENOMEM")
    same(os.stat("orders/0").st_size, 6)
check(taken > 0)
os.close(fd)
limit("unlimited")
append("orders/0", b"last\n")
got = read_all("orders/0")
same(len(got), 6 + taken + 6)
check(got == b"first\n" + b"x" * taken + b"\nlast\n")
P
}
