"""Eight writers that append until the log is gone, and the check of what they left.

    writers.py PARTITION ACKED plain|fsync    each writer notes in ACKED.<n> what was acknowledged, and goes on there
    writers.py check FILE ACKED               each noted line is there exactly once, each writer's lines are in order

A line is "<writer> <number> <filling>". The last line of a writer that was under way may be there or not: so it may
where write(2) says ETIMEDOUT, as it does when the disk goes between a record's bytes and its entry.
"""
import errno
import os
import sys

WRITERS = 8
ENDS = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ENODEV, errno.ETIMEDOUT)


def line(writer, number):
    return b"w%d %d %s\n" % (writer, number, b"x" * ((number * 37 + writer) % 211))


def noted(acked, writer):
    """The numbers that were acknowledged."""
    try:
        with open(f"{acked}.{writer}") as f:
            numbers = [int(n) for n in f]
    except FileNotFoundError:
        numbers = []
    return numbers


def write(path, acked, how, writer):
    tried_name = f"{acked}-tried.{writer}"
    number = int(open(tried_name).read()) if os.path.exists(tried_name) else 0
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    except OSError:
        return
    with open(f"{acked}.{writer}", "a") as note, open(tried_name, "w") as tried:
        while True:
            data = line(writer, number)
            tried.seek(0)
            tried.write(f"{number + 1}")
            tried.flush()
            try:
                if os.write(fd, data) != len(data):
                    sys.exit("a short write")
                if how == "fsync":
                    os.fsync(fd)
            except OSError as e:
                if e.errno not in ENDS:
                    raise
                break
            note.write(f"{number}\n")
            note.flush()
            number += 1
    try:
        os.close(fd)
    except OSError:
        pass


def check(path, acked):
    seen = [[] for _ in range(WRITERS)]
    with open(path, "rb") as f:
        for n, text in enumerate(f):
            fields = text.split(b" ")
            writer, number = int(fields[0][1:]), int(fields[1])
            if text != line(writer, number):
                sys.exit(f"line {n + 1} is torn: {text!r}")
            seen[writer].append(number)
    total = 0
    for writer in range(WRITERS):
        if seen[writer] != sorted(set(seen[writer])):
            sys.exit(f"writer {writer}: order or duplicates: {seen[writer]}")
        lost = set(noted(acked, writer)) - set(seen[writer])
        if lost:
            sys.exit(f"writer {writer}: acknowledged and lost: {sorted(lost)}")
        total += len(seen[writer])
    print(f"{total} lines, each where it should be")


if sys.argv[1] == "check":
    check(sys.argv[2], sys.argv[3])
else:
    for w in range(WRITERS):
        if os.fork() == 0:
            write(sys.argv[1], sys.argv[2], sys.argv[3], w)
            os._exit(0)
    for w in range(WRITERS):
        if os.wait()[1] != 0:
            sys.exit("a writer failed")
