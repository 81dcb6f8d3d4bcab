"""The works of a cluster: three nodes on this machine, each in a network of its own (mount-scripts/logmnt-cluster).

Needs root, for the namespaces. What is a ratio is measured against the same in one run: TCP over the same veth pairs,
a plain file, one writer instead of sixteen, the writers' own rate."""

import contextlib
import errno
import os
import resource
import shutil
import subprocess
import sys
import threading
import time

from harness import Failed, LIMIT_S, Row, await_condition, run, settle, shell

NODES = (1, 2, 3)
SCRIPT = os.path.join(os.path.dirname(__file__), "..", "..", "mount-scripts", "logmnt-cluster")
HERE = os.path.dirname(__file__)
PROXIED_PORT, TCP_PORT = 9441, 9500


class Cluster:
    """Three nodes, and what is asked of them. `options` are those of logmnt(8)."""

    def __init__(self, bench, name, options="tls=off"):
        self.bench, self.name, self.options = bench, name, options
        self.dir = bench.path("cluster-" + name)
        self.environment = dict(os.environ, LOGMNT=os.path.join(bench.build, "logmnt"))
        self.helpers = []

    def script(self, *words):
        return run(SCRIPT, *map(str, words), env=self.environment)

    def command(self, word, *words):
        return self.script(word, self.dir, *words)

    def start(self, helper=()):
        """helper: a program to be started in each node's network, before the nodes can meet."""
        space = f"b{os.getpid()}"
        options = ("-o", self.options) if self.options else ()
        starting = subprocess.Popen([SCRIPT, "-n", space, *options, str(len(NODES)), self.dir], env=self.environment,
                                    stdout=subprocess.DEVNULL)
        for node in NODES if helper else ():
            await_condition("its network", lambda n=node: os.path.exists(f"/run/netns/logmnt-{space}-{n}"))
            self.helper(node, *helper)
        if starting.wait(LIMIT_S) != 0:
            raise Failed("the cluster did not start")
        for node in NODES:
            await_condition(f"node {node} has a controller", lambda n=node: self.controller(n) is not None, 30)
        return self

    def helper(self, node, *argv):
        """A program in the node's network that says when it is ready."""
        process = subprocess.Popen([SCRIPT, "exec", self.dir, str(node), *argv], stdout=subprocess.PIPE,
                                   env=self.environment)
        self.helpers.append(process)
        if not process.stdout.readline():
            raise Failed(f"{argv[0]} did not start")

    def inside(self, node, *argv):
        return self.command("exec", node, *argv)

    def down(self):
        for process in self.helpers:
            process.kill()
            process.wait()
        if os.path.exists(f"{self.dir}/cluster"):
            subprocess.run([SCRIPT, "down", self.dir], env=self.environment, capture_output=True, timeout=LIMIT_S)
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- what it is ----

    def path(self, node, *names):
        return os.path.join(self.dir, str(node), *names)

    def pid(self, node):
        with open(f"{self.dir}/pid/{node}") as text:
            return int(text.read())

    def cpu_s(self):
        """Of the nodes, and of the programs that ended."""
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime + sum(cpu_s(self.pid(node)) for node in NODES)

    def attr(self, path, name):
        done = subprocess.run(["timeout", "5", "getfattr", "--absolute-names", "--only-values", "-n", name, path],
                              capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else ""

    def number(self, path, name):
        text = self.attr(path, name)
        return int(text) if text.isdigit() else None

    def controller(self, node):
        return self.number(self.path(node), "user.cluster.controller")

    def leader(self, node, topic):
        return self.number(self.path(node, topic, "0"), "user.log.leader")

    def in_sync(self, node, topic):
        return len(list(filter(None, self.attr(self.path(node, topic, "0"), "user.log.isr").split(","))))

    def await_whole(self, topic, limit_s=120):
        for node in NODES:
            await_condition(f"{topic} is in sync on all nodes, as node {node} sees it",
                            lambda n=node: self.in_sync(n, topic) == len(NODES) and self.controller(n), limit_s, 0.05)

    # ---- what is made of it ----

    def topic(self, name, replicas=3, leader=None):
        run("mkdir", self.path(1, name))
        if replicas != 3:
            run("setfattr", "-n", "user.topic.replication_factor", "-v", str(replicas), self.path(1, name))
        for node in NODES:
            await_condition(f"{name} on node {node}", lambda n=node: os.path.exists(self.path(n, name, "0")))
        if replicas == 3:
            self.await_whole(name)
        if leader is not None and replicas == 1:
            run("setfattr", "-n", "user.log.replicas", "-v", str(leader), self.path(1, name, "0"))
        if leader is not None:
            self.lead(name, leader)

    def lead(self, name, leader):
        def there():
            if self.leader(1, name) != leader:
                subprocess.run(["setfattr", "-n", "user.log.leader", "-v", str(leader), self.path(1, name, "0")],
                               capture_output=True, timeout=LIMIT_S)
            return all(self.leader(node, name) == leader for node in NODES)

        await_condition(f"node {leader} leads {name}", there, 60, 0.05)


@contextlib.contextmanager
def cluster_of(bench, name, options="tls=off"):
    cluster = Cluster(bench, name, options)
    try:
        yield cluster.start()
    finally:
        cluster.down()


class Stream:
    """A thread that appends a numbered line after the other to one open file, and knows when each was acknowledged."""

    def __init__(self, path, line_bytes=20, pause_s=0.0):
        self.path, self.line_bytes, self.pause_s = path, line_bytes, pause_s
        self.writes, self.errors = [], []  # (begun, ended); errnos
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.loop, daemon=True)

    def loop(self):
        fd, number = os.open(self.path, os.O_WRONLY | os.O_APPEND), 0
        while not self.over.is_set():
            number += 1
            line = (b"%d " % number).ljust(self.line_bytes - 1, b"x") + b"\n"
            begun = time.monotonic()
            try:
                os.write(fd, line)
                self.writes.append((begun, time.monotonic()))
            except OSError as error:
                self.errors.append(errno.errorcode[error.errno])
            if self.pause_s:
                self.over.wait(self.pause_s)
        os.close(fd)

    def __enter__(self):
        self.thread.start()
        await_condition("writes are acknowledged", lambda: len(self.writes) > 50, 30)
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(60)

    def next_after(self, moment, limit_s=30):
        """Seconds from that moment until a write that was begun later was acknowledged."""
        def found():
            return next((ended - moment for begun, ended in reversed(self.writes) if begun >= moment), None)

        await_condition("a write is acknowledged again", lambda: found() is not None, limit_s, 0.001)
        return min(ended - moment for begun, ended in self.writes if begun >= moment)

    def longest_since(self, moment):
        return max((ended - begun for begun, ended in self.writes if ended >= moment), default=0.0)


def add(bench, row, **samples):
    bench.rows.append(row.filled("free", samples))


# ---- writes ----


def write_latency(bench, row=Row("3 nodes: 100-byte write, acks=all, p50", "≤ 4 TCP round trips + an append", 1.0,
                                 ("4 round trips", "append"), "us")):
    """Of one writer with one write at a time, on the leader's host and on another one."""
    with cluster_of(bench, "lat") as cluster:
        cluster.topic("three", 3, 1)
        cluster.topic("one", 1, 1)
        cluster.helper(2, bench.program("tcp"), "serve", str(TCP_PORT))
        samples = {name: [] for name in ("ours", "4 round trips", "append", "p99 in p50s", "on another host")}
        for turn in range(bench.runs + 1):
            trip_us = float(cluster.inside(1, bench.program("tcp"), "echo", "10.44.0.2", TCP_PORT, 2000)) / 1e3
            append_us, _ = percentiles(bench, cluster.path(1, "one", "0"), 2000)
            p50_us, p99_us = percentiles(bench, cluster.path(1, "three", "0"), 2000)
            far_us, _ = percentiles(bench, cluster.path(2, "three", "0"), 2000)
            if turn:
                for name, value in zip(samples, (p50_us, 4 * trip_us, append_us, p99_us / p50_us, far_us)):
                    samples[name].append(value)
        add(bench, row, **samples)
        add(bench, Row("3 nodes: the same, p99 in p50s", "≤ 5", 5, unit="x"), ours=samples["p99 in p50s"])


def percentiles(bench, path, count):
    median, p99, *_ = run(bench.program("tails"), "plain", "1", str(count), "100", path).split()
    return int(median) / 1e3, int(p99) / 1e3


def writers_delayed(bench, row=Row("3 nodes, 5 ms a message: a line of 16 writers", "≤ 1/12 of one writer's", 1 / 12,
                                   ("one writer",), "us")):
    """Each node's port is a proxy's that delays each way by 5 ms; the node listens behind it."""
    cluster = Cluster(bench, "delay", f"tls=off,listen=0.0.0.0:{PROXIED_PORT}")
    proxy = (sys.executable, os.path.join(HERE, "delay.py"), "9440", "127.0.0.1", str(PROXIED_PORT), "5")
    try:
        cluster.start(proxy)
        cluster.topic("three", 3, 1)
        path = cluster.path(1, "three", "0")
        samples = {"ours": [], "one writer": []}
        for turn in range(bench.runs + 1):
            for name, writers, total in (("one writer", 1, 100), ("ours", 16, 1600)):
                ns = float(run(bench.program("appends"), "open", str(writers), str(total), "100", path))
                if turn:
                    samples[name].append(ns / 1e3)
        add(bench, row, **samples)
    finally:
        cluster.down()


def cat_append(bench, row=Row("3 nodes: cat big >> 0, 1 KiB lines, 3 copies", "≤ 4 x P", 4.0, ("P",))):
    lines = bench.lines_file(1024)
    with cluster_of(bench, "cat") as cluster:
        cluster.topic("three", 3, 1)
        sides = {"ours": cluster.path(1, "three", "0"), "P": os.path.join(cluster.dir, "plain")}
        samples, cpus = {name: [] for name in sides}, {name: [] for name in sides}
        for turn in range(bench.runs + 1):
            for name in sorted(sides, reverse=turn % 2 == 0):
                settle(cluster.dir, 4 * bench.megabytes)  # three copies, and what is on its way
                begun, before_s = time.monotonic(), cluster.cpu_s()
                shell('cat "$1" >> "$2"', lines, sides[name])
                elapsed = time.monotonic() - begun
                if turn:
                    samples[name].append(elapsed * 1e3)
                    cpus[name].append(cluster.cpu_s() - before_s)
            os.unlink(sides["P"])
            end = cluster.attr(sides["ours"], "user.log.position")
            run("fallocate", "-p", "-o", "0", "-l", end, sides["ours"])
        bench.rows.append(row.filled("free", samples, cpus))


# ---- who dies, and who is cut off ----


def away(cluster, topic, controls):
    """Has a node lead the topic that also leads the quorum, or one that does not; returns it, and one to write on."""
    controller = cluster.controller(1)
    others = [node for node in NODES if node != controller]
    node, writer = (controller, others[0]) if controls else others
    cluster.lead(topic, node)
    return node, writer


def losses(bench, row, controls, lose, mend, took):
    """Rounds: the leader is lost under a writer on another host, between two moments; `took` says what that cost."""
    seconds, errors = [], []
    with cluster_of(bench, "loss") as cluster:
        cluster.topic("three", 3, 1)
        for _ in range(bench.runs):
            node, writer = away(cluster, "three", controls)
            with Stream(cluster.path(writer, "three", "0"), pause_s=0.001) as stream:
                before = time.monotonic()
                lose(cluster, node)
                seconds.append(took(stream, before, time.monotonic()) * 1e3)
                errors += stream.errors
            mend(cluster, node)
            cluster.await_whole("three")
    add(bench, row, ours=seconds)
    if errors:
        raise Failed(f"{len(errors)} writes failed: {sorted(set(errors))}")


def kill(cluster, node):
    os.kill(cluster.pid(node), 9)


def start(cluster, node):
    await_condition("it has died", lambda: not os.path.exists(f"/proc/{cluster.pid(node)}"))
    cluster.command("start", node)


def next_write(stream, _, lost):
    return stream.next_after(lost)


def kill_leader(bench, row=Row("3 nodes: leader kill -9 → next write elsewhere, p50", "< 300 ms", 300)):
    losses(bench, row, False, kill, start, next_write)


def kill_controller(bench, row=Row("3 nodes: the same, and it was the controller", "< 300 ms", 300)):
    losses(bench, row, True, kill, start, next_write)


def cut(cluster, node):
    cluster.command("cut", node)


def heal(cluster, _):
    cluster.command("heal")


def cut_leader(bench, row=Row("3 nodes: leader's link cut → next write elsewhere", "< 4 s", 4000)):
    losses(bench, row, False, cut, heal, next_write)


def cut_controller(bench, row=Row("3 nodes: the same, and it was the controller", "< 6 s", 6000)):
    losses(bench, row, True, cut, heal, next_write)


def stop_leader(bench, row=Row("3 nodes: clean stop of leader and controller: longest write", "< 100 ms", 100)):
    def over_the_stop(stream, before, _):
        await_condition("writes go on after it", lambda: stream.writes[-1][0] > time.monotonic() - 0.05)
        return stream.longest_since(before)

    losses(bench, row, True, lambda cluster, node: cluster.command("stop", node), start, over_the_stop)


def stop_controller_mkdir(bench, row=Row("3 nodes: clean stop of the controller: longest chmod", "< 100 ms", 100)):
    longest = []
    with cluster_of(bench, "stop") as cluster:
        cluster.topic("three", 3, 1)
        for _ in range(bench.runs):
            node = cluster.controller(1)
            path = cluster.path(next(n for n in NODES if n != node), "three")
            over, worst = threading.Event(), [0.0]

            def change():
                while not over.is_set():
                    begun = time.monotonic()
                    os.chmod(path, 0o750 if os.stat(path).st_mode & 0o5 else 0o755)
                    worst[0] = max(worst[0], time.monotonic() - begun)

            thread = threading.Thread(target=change, daemon=True)
            thread.start()
            try:
                cluster.command("stop", node)
            finally:
                over.set()
                thread.join(60)
            longest.append(worst[0] * 1e3)
            cluster.command("start", node)
            cluster.await_whole("three")
    add(bench, row, ours=longest)


# ---- the rest ----


def follower_back(bench, row=Row("3 nodes: a follower back after a time away under load", "≤ 1/10 of the time away", 0.1,
                                 ("away",))):
    """The writer has a pace of its own, and goes on while the follower catches up: about 1 MiB/s."""
    away_s = float(os.environ.get("BENCH_AWAY_S") or 60)
    with cluster_of(bench, "back") as cluster:
        cluster.topic("three", 3, 1)
        with Stream(cluster.path(1, "three", "0"), 16 << 10, 0.015) as stream:
            cluster.command("kill", 3)
            gone = time.monotonic()
            time.sleep(away_s)
            at_start = len(stream.writes)
            cluster.command("start", 3)
            began = time.monotonic()
            cluster.await_whole("three", 300)
            took = time.monotonic() - began
            rate = at_start * 16 / 1024 / (began - gone)
            if stream.errors:
                raise Failed(f"writes failed: {sorted(set(stream.errors))}")
        add(bench, row, **{"ours": [took * 1e3], "away": [(began - gone) * 1e3], "MiB/s written": [rate]})


BEHIND = 8  # partitions that the node that was away lacks


def beside_catch_up(bench, row=Row("3 nodes: 100-byte write, acks=all, beside a catch-up, p50", "≤ 2 x the same alone", 2.0,
                                   ("alone",), "us")):
    """One writer on the leader's host while a node that was away fetches four times BENCH_MB, of several partitions; and
    before it comes back. Both with two replicas in sync."""
    lines = bench.lines_file(1024)
    with cluster_of(bench, "beside") as cluster:
        cluster.topic("three", 3, 1)
        run("mkdir", cluster.path(1, "big"))
        run("setfattr", "-n", "user.topic.partitions", "-v", str(BEHIND), cluster.path(1, "big"))
        parts = [os.path.join("big", str(i)) for i in range(BEHIND)]
        medians, tails, rates = {"ours": [], "alone": []}, {"ours": [], "alone": []}, []
        for _ in range(bench.runs):
            await_condition("all is in sync", lambda: all(len(in_sync(cluster, part)) == 3 for part in parts), 60, 0.05)
            cluster.command("kill", 3)
            await_condition("it is out of sync", lambda: all("3" not in in_sync(cluster, part) for part in parts), 60, 0.05)
            for part in parts:
                shell('head -c "$3" "$1" >> "$2"', lines, cluster.path(1, part),
                      str((4 * bench.megabytes << 20) // BEHIND >> 20 << 20))
            os.sync()
            with Stream(cluster.path(1, "three", "0"), 100) as stream:
                begun = time.monotonic()
                time.sleep(5)
                alone = latencies(stream, begun)
                cluster.command("start", 3)
                begun = time.monotonic()
                await_condition("it is in sync again", lambda: all("3" in in_sync(cluster, part) for part in parts),
                                LIMIT_S, 0.01)
                took = time.monotonic() - begun
                beside = latencies(stream, begun)
            if stream.errors:
                raise Failed(f"writes failed: {sorted(set(stream.errors))}")
            rates.append(4 * bench.megabytes / took)
            for part in parts:
                end = cluster.attr(cluster.path(1, part), "user.log.position")
                run("fallocate", "-p", "-o", "0", "-l", end, cluster.path(1, part))
            for name, sample in (("ours", beside), ("alone", alone)):
                medians[name].append(sample[len(sample) // 2] * 1e6)
                tails[name].append(sample[len(sample) * 99 // 100] * 1e6)
        add(bench, row, **medians, **{"MiB/s caught up": rates})
        add(bench, Row("3 nodes: the same, p99", "", None, ("alone",), "us"), **tails)


def in_sync(cluster, part):
    return os.getxattr(cluster.path(1, part), "user.log.isr").decode().split(",")


def latencies(stream, since):
    """Of the writes that were begun from then on, in order of size."""
    return sorted(ended - begun for begun, ended in list(stream.writes) if begun >= since)


def remote_cat(bench, row=Row("3 nodes: cat of a partition elsewhere", "≤ 2 x a TCP copy", 2.0, ("TCP",))):
    lines = bench.lines_file(1024)
    for name, options in (("plain", "tls=off"), ("TLS", "")):
        this = Row(f"{row.work}, {name}", row.goal, row.limit, row.base)
        with cluster_of(bench, "far", options) as cluster:
            cluster.topic("one", 1, 1)
            shell('cat "$1" >> "$2"', lines, cluster.path(1, "one", "0"))
            cluster.helper(1, bench.program("tcp"), "serve", str(TCP_PORT), lines)
            far = cluster.path(2, "one", "0")
            await_condition("all of it is seen", lambda: os.stat(far).st_size == os.stat(lines).st_size, 30)
            samples = {"ours": [], "TCP": []}
            shell('cat "$1" "$2" > /dev/null', lines, cluster.path(1, "one", "0"))  # both are in memory where they are sent
            for turn in range(bench.runs + 1):
                tcp_ms = float(cluster.inside(2, bench.program("tcp"), "fetch", "10.44.0.1", TCP_PORT)) / 1e6
                begun = time.monotonic()
                shell('cat "$1" > /dev/null', far)
                if turn:
                    samples["ours"].append((time.monotonic() - begun) * 1e3)
                    samples["TCP"].append(tcp_ms)
            add(bench, this, **samples)


def idle(bench, row=Row("3 nodes, 1,000 partitions: CPU of an idle one", "< 1 % of a core", 1, unit="%")):
    with cluster_of(bench, "idle") as cluster:
        for i in range(10):
            run("mkdir", cluster.path(1, f"t{i}"))
            await_condition("100 partitions", lambda topic=cluster.path(1, f"t{i}"): subprocess.run(
                ["setfattr", "-n", "user.topic.partitions", "-v", "100", topic], capture_output=True).returncode == 0)
        for i in range(10):
            shell('for p in "$1"/*; do echo x >> "$p"; done', cluster.path(1, f"t{i}"))
        for node in NODES:
            await_condition("all is in sync", lambda n=node: whole(cluster, n), 120, 0.5)
        time.sleep(15)  # what was begun comes to rest
        before = [cpu_s(cluster.pid(node)) for node in NODES]
        time.sleep(30)
        percent = [(cpu_s(cluster.pid(node)) - was) / 30 * 100 for node, was in zip(NODES, before)]
        resident = [resident_mb(cluster.pid(node)) for node in NODES]
        add(bench, row, ours=[max(percent)])
        add(bench, Row("3 nodes, 1,000 partitions: RSS", "< 96 MB each", 96, unit="MB"), ours=[max(resident)])


def whole(cluster, node):
    with open(cluster.path(node, ".cluster", "partitions")) as text:
        lines = [line.split() for line in text][1:]
    return len(lines) >= 1000 and all(len(line[4].split(",")) == len(line[5].split(",")) for line in lines)


def cpu_s(pid):
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/schedstat") as text:
            total += int(text.read().split()[0])
    return total / 1e9


def resident_mb(pid):
    with open(f"/proc/{pid}/status") as text:
        return next(int(line.split()[1]) for line in text if line.startswith("VmRSS:")) / 1024


def cold_start(bench, row=Row("3 nodes: cold start → first acknowledged write", "< 1.5 s", 1500)):
    took = []
    with cluster_of(bench, "cold") as cluster:
        cluster.topic("three", 3, 1)
        shell('echo x >> "$1"', cluster.path(1, "three", "0"))
        for _ in range(bench.runs):
            cluster.command("stop", *NODES)
            begun = time.monotonic()
            starting = subprocess.Popen([SCRIPT, "start", cluster.dir], env=cluster.environment,
                                        stdout=subprocess.DEVNULL)
            while not appended(cluster.path(1, "three", "0")):
                if time.monotonic() - begun > 60:
                    raise Failed("no write in 60 s")
                time.sleep(0.002)
            took.append((time.monotonic() - begun) * 1e3)
            starting.wait(LIMIT_S)
    add(bench, row, ours=took)


def appended(path):
    """Not O_CREAT: before the mount answers there is a directory of that name without it."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    except OSError:
        return False
    try:
        return os.write(fd, b"x\n") == 2
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)


WORKS = [write_latency, writers_delayed, cat_append, kill_leader, kill_controller, cut_leader, cut_controller, stop_leader,
         stop_controller_mkdir, follower_back, beside_catch_up, remote_cat, idle, cold_start]
NAMES = {"cluster-" + work.__name__.replace("_", "-"): work for work in WORKS}
