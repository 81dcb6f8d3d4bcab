"""come_and_go.py SEED MEMBERS DIR MOUNT...: members of .groups/kitchen/orders come, close and are killed, while records flow.

So many members, six at a time, on the mounts in any order. Each notes in DIR what a read gave before it sends the next
one, which commits that. So, whatever ends it, all is committed but what its last read gave. In the end it holds:

  each record was given to somebody
  none was given again once it was read on from (for which no timeout may put anybody out, and no host may die)
  what a member closed with, its last read, was given again
"""
import glob
import os
import random
import signal
import sys
import time
from collections import Counter

ALIVE, LIMIT_S = 6, 60
SEED, MEMBERS, DIR, MOUNTS = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]


def member(number):
    rnd = random.Random(SEED * 1000 + number)
    stream = os.open(rnd.choice(MOUNTS) + "/.groups/kitchen/orders", os.O_RDONLY)
    notes = os.open("%s/%d" % (DIR, number), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    size = rnd.choice((64, 300, 4096, 1 << 20))
    for _ in range(rnd.choice((3, 10, 100, 10**9))):
        os.write(notes, os.read(stream, size).replace(b"\n", b" ") + b"\n")
    os.close(stream)
    os.write(notes, b"closed\n")


def produce():
    """Until SIGTERM; then all there are, one a line, are in DIR/made."""
    stop, rnd, made = [], random.Random(SEED), []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    paths = sorted(glob.glob(MOUNTS[0] + "/orders/*"))
    parts = [os.open(path, os.O_WRONLY | os.O_APPEND) for path in paths]
    while not stop:
        records = [b"%d" % (len(made) + i) for i in range(rnd.choice((1, 1, 5, 40)))]
        os.write(rnd.choice(parts), b"".join(record + b"\n" for record in records))
        made += records
        time.sleep(0.001)
    with open(DIR + "/made", "wb") as out:
        out.write(b"\n".join(made))


def child(work, *args):
    pid = os.fork()
    if pid != 0:
        return pid
    try:
        work(*args)
        os._exit(0)
    finally:
        os._exit(1)


def reap(alive):
    for pid in list(alive):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done and status not in (0, signal.SIGKILL):
            sys.exit("a member ended with status %d" % status)
        if done:
            alive.remove(pid)


def given():
    """Of each record, how often it was given, how often it was read on from, and how often a member closed with it."""
    count, done, closed = Counter(), Counter(), Counter()
    for path in glob.glob(DIR + "/[0-9]*"):
        with open(path, "rb") as notes:
            reads = [line.split() for line in notes]
        has_closed = reads[-1:] == [[b"closed"]]
        if has_closed:
            reads.pop()
        for number, read in enumerate(reads, 1):
            count.update(read)
            (done if number < len(reads) else closed if has_closed else Counter()).update(read)
    return count, done, closed


def due_of(made):
    """What is to be given yet."""
    count, _, closed = given()
    return [record for record in made if count[record] <= closed[record]]


def main():
    rnd, alive, begun = random.Random(SEED), [], 0
    producer = child(produce)
    while begun < MEMBERS:
        reap(alive)
        while len(alive) < ALIVE:
            alive.append(child(member, begun))
            begun += 1
        time.sleep(0.05)
        if rnd.random() < 0.5:
            os.kill(rnd.choice(alive), signal.SIGKILL)
    os.kill(producer, signal.SIGTERM)
    if os.waitpid(producer, 0)[1] != 0:
        sys.exit("seed %d: the producer failed" % SEED)
    with open(DIR + "/made", "rb") as file:
        made = set(file.read().split())
    deadline = time.monotonic() + LIMIT_S
    while due := due_of(made):
        if time.monotonic() > deadline:
            sys.exit("seed %d: %d of %d records are not given, or not again, as %s" % (SEED, len(due), len(made), due[0]))
        reap(alive)
        while len(alive) < 2:
            alive.append(child(member, begun))
            begun += 1
        time.sleep(0.05)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    count, done, _ = given()
    twice = [record for record in done if done[record] > 1]
    if twice or set(count) != made:
        sys.exit("seed %d: %d records were given again though they were read on from, as %s; %d that nobody made"
                 % (SEED, len(twice), min(twice, default=None), len(set(count) - made)))
    print("%d members, %d records, %d given again" % (begun, len(made), sum(count.values()) - len(made)))


main()
