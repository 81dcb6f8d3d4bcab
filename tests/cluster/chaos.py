"""chaos.py CLUSTER-PROGRAM DIR SECONDS SEED: a black box's history of a cluster that is killed, paused and cut.

Three nodes; one topic on all. On each mount a writer appends numbered lines, one a write(2), and a reader reads what is
there and again what it has read. Meanwhile nodes are killed, paused, stopped, started and cut off, lose their disks and
are made voters again, replicas and voters become fewer and more again, all chosen by the seed. Disks are lost one at a
time, when all replicas are in sync. In the end all is healed, and then it holds:

  each acknowledged line is there, once, and the lines of a writer in their order
  no line that was certainly refused (EROFS, EINTR) is there
  what a reader has seen at a position is what is there, on every node alike
"""
import errno
import hashlib
import os
import random
import subprocess
import sys
import time

NODES = (1, 2, 3)
REFUSED = (errno.EROFS, errno.EINTR)  # nothing is there
AWAY = (errno.ENOTCONN, errno.ENODEV, errno.ENOENT, errno.ECONNABORTED, errno.ESTALE)


def path(node):
    return "%s/%d/chaos/0" % (DIR, node)


def ending():
    return os.path.exists(WORK + "/end")


def close(fd):
    try:
        os.close(fd)
    except OSError:
        pass  # its daemon is dead


def write(node):
    """A writer's process: what became of each line goes to WORK/writer-NODE: a, r or u, and its number."""
    fd, number = -1, 0
    with open("%s/writer-%d" % (WORK, node), "w", buffering=1) as book:
        while not ending():
            try:
                if fd < 0:
                    fd = os.open(path(node), os.O_WRONLY | os.O_APPEND)
            except OSError:
                time.sleep(0.05)
                continue
            number += 1
            try:
                os.write(fd, b"w%d %d\n" % (node, number))
                book.write("a %d\n" % number)
            except OSError as e:
                book.write("%s %d\n" % ("r" if e.errno in REFUSED else "u", number))
                if e.errno in AWAY:
                    close(fd)
                    fd = -1
                time.sleep(0.01)
    if fd >= 0:
        close(fd)


class Reader:
    """A reader's process: what it has seen goes to WORK/reader-NODE, what was wrong to WORK/wrong-NODE."""

    def __init__(self, node):
        self.node, self.seen, self.size, self.daemon = node, b"", 0, b""

    def wrong(self, *words):
        with open("%s/wrong-%d" % (WORK, self.node), "a") as out:
            print("node %d:" % self.node, *words, file=out)

    def look(self, chance):
        fd = os.open(path(self.node), os.O_RDONLY)
        try:
            with open("%s/pid/%d" % (DIR, self.node), "rb") as file:
                daemon = file.read()
            size = os.fstat(fd).st_size
            if size < self.size and daemon == self.daemon:
                self.wrong("st_size went from %d to %d" % (self.size, size))
            self.size, self.daemon = size, daemon  # a new mount begins at what its node knows
            while True:
                some = os.pread(fd, 1 << 16, len(self.seen))
                if not some:
                    break
                self.seen += some
            at = chance.randrange(len(self.seen) + 1)
            again = os.pread(fd, 1 << 14, at)
            if again[:len(self.seen) - at] != self.seen[at:at + len(again)]:
                self.wrong("position %d has changed" % at)
        finally:
            close(fd)

    def run(self):
        chance = random.Random(self.node)
        while not ending():
            try:
                self.look(chance)
            except OSError:
                pass  # its daemon is dead
            time.sleep(0.02)
        with open("%s/reader-%d" % (WORK, self.node), "wb") as out:
            out.write(self.seen)


if sys.argv[1] in ("write", "read"):
    DIR, WORK = sys.argv[3:5]
    if sys.argv[1] == "write":
        write(int(sys.argv[2]))
    else:
        Reader(int(sys.argv[2])).run()
    sys.exit(0)

PROGRAM, DIR, SECONDS, SEED = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
WORK = DIR + "/history"
wrong = []


def say(*words):
    print("%7.2f" % (time.monotonic() - BEGIN), *words, flush=True)


def cluster(*words):
    # This process has nothing open on the mounts: a child that closed it would wait for a node that stands still.
    done = subprocess.run([PROGRAM, words[0], DIR, *map(str, words[1:])], capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError("%s: %s" % (" ".join(map(str, words)), done.stderr))


def book(node, letter):
    with open("%s/writer-%d" % (WORK, node)) as lines:
        return [int(line.split()[1]) for line in lines if line.startswith(letter) and line.endswith("\n")]


def acked():
    return [len(book(node, "a")) for node in NODES]


def attribute(where, name):
    return subprocess.run(["timeout", "3", "getfattr", "--only-values", "--absolute-names", "-n", name, where],
                          capture_output=True, text=True).stdout


def set_attribute(where, name, value):
    return subprocess.run(["timeout", "10", "setfattr", "-n", name, "-v", value, where],
                          capture_output=True).returncode == 0


def await_that(what, condition, seconds=90):
    """false: it did not come to that, which is wrong."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            wrong.append("%d s passed, and it is not so that %s" % (seconds, what))
            return False
        time.sleep(0.1)
    return True


def all_in_sync():
    return all(attribute(path(node), "user.log.isr").count(",") == len(NODES) - 1 for node in NODES)


def set_voters(node, *of):
    """EAGAIN until all of them are connected and caught up."""
    return await_that("node %d sets the voters %s" % (node, of),
                      lambda: set_attribute("%s/%d" % (DIR, node), "user.cluster.voters", ",".join(map(str, of))))


def known(node, other):
    """What the other one's .cluster/nodes says of the node: its role and its epoch."""
    try:
        with open("%s/%d/.cluster/nodes" % (DIR, other)) as lines:
            columns = next(line.split() for line in lines if line.split()[0] == str(node))
    except (OSError, StopIteration):
        return "", ""
    return columns[2], columns[5]


def is_voter_since(node, other, epoch):
    """It has registered since it had that epoch, and the disk that it has now is a voter's."""
    role, now = known(node, other)
    return role == "voter" and now not in ("", epoch)


def lose_disk(node, other):
    """The node comes back empty, is a voter again by the same list, and in sync."""
    if not await_that("all replicas are in sync before a disk is lost", all_in_sync):
        return
    cluster("kill", node)
    cluster("wipe", node)
    await_that("node %d says which registration node %d had" % (other, node), lambda: known(node, other)[1])
    epoch = known(node, other)[1]
    cluster("start", node)
    if set_voters(other, *NODES):
        await_that("node %d is a voter with its new disk" % node, lambda: is_voter_since(node, other, epoch))
        await_that("all replicas are in sync after node %d lost its disk" % node, all_in_sync)


def fewer(kind, node, other, pause):
    """Fewer replicas, or voters, and as many again."""
    if not await_that("all replicas are in sync before there are fewer", all_in_sync):
        return
    topic = "%s/%d/chaos" % (DIR, other)
    if kind == "voters":
        set_voters(other, node)
    else:
        await_that("there are two replicas", lambda: set_attribute(topic, "user.topic.replication_factor", "2"))
    time.sleep(pause)
    if kind == "voters":
        set_voters(other, *NODES)
    elif await_that("there are three replicas",
                    lambda: set_attribute(topic, "user.topic.replication_factor", str(len(NODES)))):
        await_that("all replicas are in sync when there are more", all_in_sync)


def torment(chance):
    """Something bad for a while, and then well again."""
    kind = chance.choice(("kill", "kill", "pause", "cut", "cut one way", "stop", "kill leader", "kill all", "lose disk",
                          "replicas", "voters"))
    node, other = chance.sample(NODES, 2)
    pause = chance.uniform(0.2, 5)
    if kind == "kill leader":
        said = attribute(path(other), "user.log.leader")
        node = int(said) if said.isdigit() else node
    say(kind, node if kind != "kill all" else "", "for %.1f s" % pause, acked())
    if kind in ("kill", "kill leader"):
        cluster("kill", node)
        time.sleep(pause)
        cluster("start", node)
    elif kind == "kill all":
        cluster("kill", *NODES)
        cluster("start")
    elif kind == "stop":
        cluster("stop", node)
        time.sleep(pause)
        cluster("start", node)
    elif kind == "lose disk":
        lose_disk(node, other)
    elif kind in ("replicas", "voters"):
        fewer(kind, node, other, pause)
    elif kind == "pause":
        cluster("pause", node)
        time.sleep(pause)
        cluster("resume", node)
    else:
        cluster("cut", node if kind == "cut" else "%dto%d" % (node, other))
        time.sleep(pause)
        cluster("heal")
    time.sleep(chance.uniform(0, 2))


def more_from_all(seconds):
    """Each writer gets something acknowledged."""
    before, deadline = acked(), time.monotonic() + seconds
    while not all(now > had for now, had in zip(acked(), before)):
        if time.monotonic() > deadline:
            wrong.append("%d s after all was healed not every mount has had a write acknowledged: %s, then %s" %
                         (seconds, before, acked()))
            return
        time.sleep(0.2)


def content_of(node):
    """None: it cannot be read now, while its host waits for a leader."""
    try:
        with open(path(node), "rb") as file:
            return file.read()
    except OSError:
        return None


def same_everywhere(seconds):
    deadline = time.monotonic() + seconds
    while True:
        contents = [content_of(node) for node in NODES]
        if contents[0] is not None and contents[0] == contents[1] == contents[2]:
            return contents[0]
        if time.monotonic() > deadline:
            wrong.append("the nodes differ: %s" % [c and (len(c), hashlib.md5(c).hexdigest()) for c in contents])
            return contents[0] or b""
        time.sleep(0.2)


def check(content):
    there = {node: [] for node in NODES}
    for line in content.decode().splitlines():
        name, number = line.split()
        there[int(name[1:])].append(int(number))
    for node in NODES:
        numbers = there[node]
        jumps = [(a, b) for a, b in zip(numbers, numbers[1:]) if b <= a]
        if jumps:
            wrong.append("writer %d: doubled or out of order: %s" % (node, jumps[:5]))
        lost = sorted(set(book(node, "a")) - set(numbers))
        if lost:
            wrong.append("writer %d: %d acknowledged lines are lost: %s" % (node, len(lost), lost[:5]))
        ghosts = sorted(set(book(node, "r")) & set(numbers))
        if ghosts:
            wrong.append("writer %d: refused lines are there: %s" % (node, ghosts[:5]))
        with open("%s/reader-%d" % (WORK, node), "rb") as file:
            seen = file.read()
        if not content.startswith(seen):
            at = next(i for i, (a, b) in enumerate(zip(content + b"\0", seen + b"\1")) if a != b)
            wrong.append("node %d: what was read at position %d is not what is there" % (node, at))
        if os.path.exists("%s/wrong-%d" % (WORK, node)):
            with open("%s/wrong-%d" % (WORK, node)) as lines:
                wrong.extend(line.strip() for line in lines)


def is_made(topic):
    try:
        os.mkdir(topic)
    except OSError:
        pass  # no controller has answered in time, or it is there
    return os.path.isdir(topic)


def start(role, node):
    return subprocess.Popen([sys.executable, __file__, role, str(node), DIR, WORK], close_fds=True)


BEGIN = time.monotonic()
say("seed", SEED)
os.makedirs(WORK)
await_that("the topic is made", lambda: is_made("%s/1/chaos" % DIR))
for node in NODES:
    while not os.path.exists(path(node)):
        time.sleep(0.05)
    open("%s/writer-%d" % (WORK, node), "w").close()
crew = [start(role, node) for role in ("write", "read") for node in NODES]
more_from_all(90)
choice = random.Random(SEED)
while time.monotonic() - BEGIN < SECONDS and not wrong:
    torment(choice)
say("healed", acked())
more_from_all(90)
open(WORK + "/end", "w").close()
for member in crew:
    try:
        member.wait(90)
    except subprocess.TimeoutExpired:
        wrong.append("a call hangs: %s" % " ".join(member.args[2:4]))
if not wrong:
    check(same_everywhere(90))
say("acknowledged", acked(), "refused", [len(book(node, "r")) for node in NODES], "unsure",
    [len(book(node, "u")) for node in NODES])
for line in wrong:
    say("WRONG:", line)
for member in crew:
    member.kill()
sys.exit(1 if wrong else 0)
