"""The works of consumer groups: what a stream costs beside `.follow`, and how soon shares change hands."""

import os
import subprocess
import sys
import time

from cluster import NODES, Cluster
from harness import ALL_CPUS, PLACEMENTS, Row, await_condition, printed_ns, run, shell

FREE = {"free": ALL_CPUS}
READ_BYTES = 512 << 10  # st_blksize: what cat asks for
POLL_RECORDS = 500  # max.poll.records unless set
CLIENT = os.path.join(os.path.dirname(__file__), "group_client.py")


def client(*words):
    return (sys.executable, CLIENT, *map(str, words))


class Groups:
    """New groups of one mount, one after the other."""

    def __init__(self, mount):
        self.mount, self.count = mount, 0

    def new(self):
        self.count += 1
        run("mkdir", f"{self.mount}/.groups/bench{self.count}")

    def stream(self, topic):
        return f"{self.mount}/.groups/bench{self.count}/{topic}"


def beside_follow(bench, row, lines, work, placements=PLACEMENTS, times=1):
    """work(FILE): of the stream of a new group, against `.follow`; the lines are there so many times."""
    with bench.mounted() as (ours, _):
        partition = os.path.join(bench.make_topic("bench"), "0")
        shell('for n in $(seq "$3"); do cat "$1" >> "$2"; done', lines, partition, str(times))
        groups = Groups(ours.mount)
        bench.compare(row, {
            ".follow": lambda: work(os.path.join(ours.mount, "bench", ".follow", "0")),
            "ours": (groups.new, lambda: work(groups.stream("bench"))),
        }, placements)


def cat_beside_follow(bench, row, line_bytes, read_bytes, times=4):
    """Four times BENCH_MB: enough that joining, which is in it, does not count."""
    lines = bench.lines_file(line_bytes)
    size = times * os.path.getsize(lines)
    work = lambda path: printed_ns(*client("cat", path, size, read_bytes))()  # noqa: E731
    beside_follow(bench, row, lines, work, times=times)


def groups_cat(bench, row=Row("cat of a group's stream, 1 KiB lines", "≤ 1.25 x .follow", 1.25, (".follow",))):
    cat_beside_follow(bench, row, 1024, READ_BYTES)


def groups_cat_short(bench, row=Row("cat of a group's stream, 100-byte lines", "", None, (".follow",))):
    """max.poll.records bounds a read: both are read by as many bytes as those come to."""
    cat_beside_follow(bench, row, 100, POLL_RECORDS * 100 + 1)


def groups_while_read(bench, row=Row("bash's while read of a stream, 100,000 records", "≤ 1.11 x .follow", 1.11,
                                     (".follow",))):
    records = 100000
    lines = bench.path("lines-short")
    with open(lines, "w") as out:
        out.writelines(f"table {n}: tea\n" for n in range(records))
    loop = 'n=0; while read -r line; do n=$((n + 1)); [ $n = "$2" ] && exit; done < "$1"'

    def work(path):
        begun = time.monotonic()
        run("bash", "-c", loop, "bash", path, str(records))
        return time.monotonic() - begun

    beside_follow(bench, row, lines, work, FREE)


def groups_first(bench, row=Row("open of a stream → its first record", "< 20 ms", 20)):
    with bench.mounted() as (ours, _):
        shell('echo one >> "$1"', os.path.join(bench.make_topic("bench"), "0"))
        groups = Groups(ours.mount)
        bench.compare(row, {"ours": (groups.new, lambda: printed_ns(*client("first", groups.stream("bench")))())}, FREE)


def groups_takeover(bench, row=Row("kill -9 of a member → its next record at another", "< 100 ms", 100)):
    with bench.mounted() as (ours, _):
        topic = bench.make_topic("bench")
        run("touch", f"{topic}/1")
        groups = Groups(ours.mount)

        def work():
            stream = groups.stream("bench")
            return printed_ns(*client("takeover", stream, topic, stream))()

        bench.compare(row, {"ours": (groups.new, work)}, FREE)


def groups_members(bench, row=Row("200 members at once → each has its share", "< 1 s", 1000)):
    with bench.mounted() as (ours, _):
        topic = bench.make_topic("bench")
        run("setfattr", "-n", "user.topic.partitions", "-v", "200", topic)
        groups = Groups(ours.mount)
        work = lambda: printed_ns(*client("members", groups.stream("bench"), 200))()  # noqa: E731
        bench.compare(row, {"ours": (groups.new, work)}, FREE)


def groups_moved(bench, row=Row("one of 100 members of 1,000 partitions leaves: others' that move", "0", 0,
                                unit="partitions")):
    ours = bench.ours()
    try:
        ours.start()
        topic = bench.make_topic("bench")
        run("setfattr", "-n", "user.topic.partitions", "-v", "1000", topic)
        groups = Groups(ours.mount)
        groups.new()
        moved = float(run(*client("moved", groups.stream("bench"), topic, 100)))
        bench.rows.append(row.filled("free", {"ours": [moved]}))
        ours.stop()
    finally:
        bench.wipe()


def groups_idle(bench, row=Row("1,000 groups of one member, idle: CPU", "< 1 % of a core", 1, unit="%")):
    ours, seconds, count = bench.ours(), 20, 1000
    try:
        ours.start()
        bench.make_topic("bench")
        shell('cd "$1/.groups" && mkdir $(seq -f g%.0f 0 $(($2 - 1)))', ours.mount, str(count))
        argv = client("idle", f"{ours.mount}/.groups", "bench", count)
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as members:
            members.stdout.readline()
            time.sleep(3)
            before = ours.cpu_s()
            time.sleep(seconds)
            used = 100 * (ours.cpu_s() - before) / seconds
            resident_mb = ours.status_kb("VmRSS") / 1024
            members.stdin.close()
        bench.rows.append(row.filled("free", {"ours": [used]}))
        resident = Row(f"{count:,} groups of one member, idle: RSS", "< 64 MB", 64, unit="MB")
        bench.rows.append(resident.filled("free", {"ours": [resident_mb]}))
        ours.stop()
    finally:
        bench.wipe()


# ---- between hosts ----


def on_three(bench, row, partitions, work):
    """work(CLUSTER, GROUPS): seconds, with a new group each time."""
    cluster = Cluster(bench, "groups")
    try:
        cluster.start()
        topic = cluster.path(1, "bench")
        cluster.topic("bench")
        if partitions > 1:
            run("setfattr", "-n", "user.topic.partitions", "-v", str(partitions), topic)
            for node in NODES:
                await_condition(f"its partitions are on node {node}",
                                lambda n=node: os.path.exists(cluster.path(n, "bench", str(partitions - 1))))
        shell('for p in "$1"/[0-9]*; do echo one >> "$p"; done', topic)
        groups = Groups(cluster.path(1))
        samples = []
        for _ in range(bench.runs + 1):
            groups.new()
            for node in NODES:
                await_condition(f"the group is on node {node}",
                                lambda n=node: os.path.exists(cluster.path(n, ".groups", f"bench{groups.count}", "bench")))
            samples.append(work(cluster, groups) * 1e3)
        bench.rows.append(row.filled("three nodes", {"ours": samples[1:]}))
    finally:
        cluster.down()


def groups_first_three(bench, row=Row("open of a stream → its first record, three nodes", "< 50 ms", 50)):
    on_three(bench, row, 1, lambda cluster, groups: printed_ns(*client("first", groups.stream("bench")))())


def groups_takeover_three(bench, row=Row("kill -9 of a member → its next record on another host", "< 200 ms", 200)):
    def work(cluster, groups):
        other = cluster.path(2, ".groups", f"bench{groups.count}", "bench")
        return printed_ns(*client("takeover", groups.stream("bench"), cluster.path(1, "bench"), other))()

    on_three(bench, row, 2, work)


WORKS = [groups_cat, groups_cat_short, groups_while_read, groups_first, groups_takeover, groups_members, groups_moved,
         groups_idle, groups_first_three, groups_takeover_three]
NAMES = {work.__name__.replace("_", "-"): work for work in WORKS}
