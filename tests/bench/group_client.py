"""Members of consumer groups, as measuring programs: each prints what it measured.

  group_client.py first STREAM                 ns from the open to the first record
  group_client.py cat FILE BYTES READ_BYTES    ns to read so much, as cat does: into one buffer, READ_BYTES at most a time
  group_client.py takeover STREAM TOPIC STREAM ns from a member's kill -9 until another one, of the second stream's
                                               mount, has the next record of its partition; TOPIC has two
  group_client.py members STREAM N             ns until N members that open it at once have as many shares
  group_client.py moved STREAM TOPIC N         how many partitions move beside its own when one of N members leaves
  group_client.py idle GROUPS TOPIC N          a member in each of N groups; says so, and stays until its input ends
"""

import collections
import os
import resource
import signal
import subprocess
import sys
import time

READ_BYTES = 512 << 10  # st_blksize: what cat asks for


def open_stream(path, flags=0):
    return os.open(path, os.O_RDONLY | flags)


def partitions(fd):
    text = os.getxattr(f"/proc/self/fd/{fd}", "user.group.partitions").decode()
    return frozenset(map(int, text.split(","))) if text else frozenset()


def ask(fd):
    """A member that has nothing to read is one from here on."""
    try:
        return os.read(fd, READ_BYTES)
    except BlockingIOError:
        return b""


def first(stream):
    begun = time.monotonic_ns()
    os.read(open_stream(stream), READ_BYTES)
    return time.monotonic_ns() - begun


def cat(path, size, read_bytes):
    fd, left = open_stream(path), int(size)
    sink = os.open("/dev/null", os.O_WRONLY)
    buffer = bytearray(int(read_bytes))  # os.read() has a new one for each, which costs by what it is given
    view = memoryview(buffer)
    begun = time.monotonic_ns()
    while left > 0:
        left -= os.write(sink, view[:os.readv(fd, [buffer])])
    return time.monotonic_ns() - begun


def takeover(stream, topic, other_stream):
    """The victim waits for records, so all that it has read is committed."""
    victim = subprocess.Popen([sys.executable, "-c", f"import os; fd = os.open({stream!r}, os.O_RDONLY)\n"
                               "while True: os.read(fd, 65536)"])
    fd = open_stream(other_stream, os.O_NONBLOCK)
    own = frozenset()
    while len(own) != 1 or not wait_status(victim.pid):
        ask(fd)
        own = partitions(fd)
        time.sleep(0.01)
    time.sleep(0.5)
    its = ({0, 1} - own).pop()
    os.set_blocking(fd, True)
    begun = time.monotonic_ns()
    victim.send_signal(signal.SIGKILL)
    os.write(os.open(f"{topic}/{its}", os.O_WRONLY | os.O_APPEND), b"next\n")
    while not os.read(fd, 65536).endswith(b"next\n"):
        pass
    taken = time.monotonic_ns() - begun
    victim.wait()
    return taken


def wait_status(pid):
    """It sleeps in a read(2)."""
    with open(f"/proc/{pid}/syscall") as text:
        return text.read().startswith("0 ")


def members(stream, count):
    begun = time.monotonic_ns()
    fds = [open_stream(stream, os.O_NONBLOCK) for _ in range(int(count))]
    for fd in fds:
        ask(fd)
    while True:
        shares = [partitions(fd) for fd in fds]
        if all(len(share) == 1 for share in shares) and len(frozenset().union(*shares)) == len(fds):
            return time.monotonic_ns() - begun
        for fd, share in zip(fds, shares):
            if len(share) != 1:
                ask(fd)  # reads on, and so lets go


def moved(stream, topic, count):
    total = sum(name.isdigit() for name in os.listdir(topic))
    fds = [open_stream(stream, os.O_NONBLOCK) for _ in range(int(count))]

    def settle():
        while True:
            for fd in fds:
                ask(fd)
            shares = {fd: partitions(fd) for fd in fds}
            if sum(map(len, shares.values())) == total == len(frozenset().union(*shares.values())):
                sizes = collections.Counter(map(len, shares.values()))
                if max(sizes) - min(sizes) <= 1:
                    return shares
            time.sleep(0.01)

    before = settle()
    gone = fds.pop()
    os.close(gone)
    after = settle()
    return sum(len(share - after[fd]) for fd, share in before.items() if fd != gone)


def idle(groups, topic, count):
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    for n in range(int(count)):
        ask(open_stream(f"{groups}/g{n}/{topic}", os.O_NONBLOCK))
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)


print(globals()[sys.argv[1]](*sys.argv[2:]))
