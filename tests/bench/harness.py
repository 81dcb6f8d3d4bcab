"""What every benchmark needs: mounts of ours and of E, a plain directory, timing, placement, and the rows of the table.

All that touches a mount is a program with a time limit: a daemon that hangs fails its benchmark, not the run."""

import contextlib
import os
import random
import resource
import shutil
import signal
import statistics
import string
import subprocess
import time

LIMIT_S = 300  # of any one program

ALL_CPUS = os.sched_getaffinity(0)
# Where client and daemon run. A wake-up across CPUs costs a virtual machine several times what a small request does, and
# comes and goes by the scheduler's mood: on one CPU there is none, and what is left is the work.
PLACEMENTS = {"free": ALL_CPUS, "1 cpu": {max(ALL_CPUS)}}


class Failed(Exception):
    pass


def run(*argv, **options):
    """Runs a program to its end and returns what it printed; a failure carries its last words."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S, **options)
    if done.returncode:
        raise Failed(f"{' '.join(argv)[:200]}: exit {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def shell(script, *args):
    return run("sh", "-c", script, "sh", *args)


def settle(directory, megabytes):
    """What was written before is on the disk, and the memory that files of so many megabytes will be given was in use a
    moment ago. For what a guest leaves free its host may take away (a balloon's free page reporting), and give back page
    by page as it is touched: that is five times the cost of writing it, and would be that of who came later."""
    os.sync()
    path = os.path.join(directory, "settle")
    block = bytes(1 << 20)
    with open(path, "wb", buffering=0) as out:
        os.unlink(path)  # so that none of it is ever written to the disk
        for _ in range(megabytes):
            out.write(block)


def await_condition(what, condition, limit_s=20.0, step_s=0.002):
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {limit_s:.0f} s")
        time.sleep(step_s)


class Daemon:
    """A FUSE daemon in the foreground with its mount; `mount` is a directory that is made for it."""

    def __init__(self, name, argv, mount, log):
        self.name, self.argv, self.mount, self.log = name, argv, mount, log
        self.process = None

    def start(self):
        os.makedirs(self.mount, exist_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        await_condition(f"{self.name} mounts", self.answers)
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended: {self.last_words()}")
        if not os.path.ismount(self.mount):
            return False
        return subprocess.run(["stat", self.mount], capture_output=True, timeout=LIMIT_S).returncode == 0

    def last_words(self):
        with open(self.log, errors="replace") as log:
            return log.read()[-300:].strip()

    def stop(self):
        if self.process is None:
            return
        subprocess.run(["fusermount3", "-u", self.mount], capture_output=True, timeout=LIMIT_S)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"{self.name} did not stop within 30 s") from None
        self.process = None

    def kill(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(30)
            self.process = None

    def start_background(self):
        """As without -f: returns when the mount answers, also over the mount that a killed daemon has left."""
        if not os.path.lexists(self.mount):
            with contextlib.suppress(FileExistsError):  # a dead mount
                os.mkdir(self.mount)
        run(*(word for word in self.argv if word != "-f"))

    def kill_background(self):
        for pid in self.background_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await_condition(f"{self.name} is killed", lambda: not self.background_pids())

    def background_pids(self):
        """Of the processes with just this command line, zombies (which have none) left out."""
        want = [word for word in self.argv if word != "-f"]
        pids = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as text:
                if text.read().decode(errors="replace").split("\0")[:-1] == want:
                    pids.append(int(pid))
        return pids

    def threads(self):
        tasks = f"/proc/{self.process.pid}/task"
        return [f"{tasks}/{tid}" for tid in os.listdir(tasks)]

    def pin(self, cpus):
        for thread in self.threads():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(os.path.basename(thread)), cpus)

    def cpu_s(self):
        """Of all threads that live: user and system."""
        total_ns = 0
        for thread in self.threads():
            with contextlib.suppress(OSError), open(f"{thread}/schedstat") as text:
                total_ns += int(text.read().split()[0])
        return total_ns / 1e9

    def status_kb(self, field):
        with open(f"/proc/{self.process.pid}/status") as text:
            return next(int(line.split()[1]) for line in text if line.startswith(field + ":"))

    def wakeups(self):
        """Voluntary context switches so far, by thread: each is a sleep that something ended."""
        counts = {}
        for thread in self.threads():
            with contextlib.suppress(OSError), open(f"{thread}/status") as text:
                counts[thread] = next(int(l.split()[1]) for l in text if l.startswith("voluntary_ctxt_switches"))
        return counts


class Bench:
    """The directory of one run, on the disk that is measured, and what is started in it."""

    def __init__(self, build, runs, megabytes, restart_gb, lookup_records):
        self.build = os.path.abspath(build)
        self.runs, self.megabytes = runs, megabytes
        self.restart_gb, self.lookup_records = restart_gb, lookup_records
        self.dir = os.path.join(self.build, "bench-data")
        self.daemons = []
        self.rows = []

    def program(self, name):
        return os.path.join(self.build, "bench", name)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def open(self):
        self.close()
        os.makedirs(self.dir)

    def close(self):
        """Whatever is left, of this run or of one that was cut short."""
        for daemon in self.daemons:
            daemon.kill()
        self.daemons.clear()
        for mount in ("ours", "empty"):
            if os.path.lexists(self.path(mount)) or os.path.ismount(self.path(mount)):
                subprocess.run(["fusermount3", "-uz", self.path(mount)], capture_output=True, timeout=LIMIT_S)
        shutil.rmtree(self.dir, ignore_errors=True)

    def ours(self, *options):
        """logmnt on a data directory that is kept until wipe(). Not started."""
        argv = [os.path.join(self.build, "logmnt"), "-f", "-o", ",".join(("data=" + self.path("data"),) + options)]
        daemon = Daemon("logmnt", argv + [self.path("ours")], self.path("ours"), self.path("ours.log"))
        self.daemons.append(daemon)
        return daemon

    def empty(self, size=0):
        argv = [self.program("emptyfs"), "-o", f"size={size}", self.path("empty")]
        daemon = Daemon("emptyfs", argv, self.path("empty"), self.path("empty.log"))
        self.daemons.append(daemon)
        return daemon

    @contextlib.contextmanager
    def mounted(self, *options, size=0):
        """Both daemons, and a plain directory; all of it gone at the end."""
        os.makedirs(self.path("plain"), exist_ok=True)
        ours, empty = self.ours(*options), self.empty(size)
        try:
            yield ours.start(), empty.start()
            empty.stop()
            ours.stop()
        finally:
            self.wipe()

    def wipe(self):
        for daemon in self.daemons:
            daemon.kill()
            subprocess.run(["fusermount3", "-uz", daemon.mount], capture_output=True, timeout=LIMIT_S)
        self.daemons.clear()
        for name in ("data", "plain"):
            shutil.rmtree(self.path(name), ignore_errors=True)

    def make_topic(self, name, **settings):
        """mkdir, with settings of the topic in Kafka's names (`_` for `.`); it may be removed with all its records."""
        topic = self.path("ours", name)
        run("mkdir", topic)
        for key, value in {"delete_topic_enable": "true", **settings}.items():
            run("setfattr", "-n", "user.config." + key.replace("_", "."), "-v", str(value), topic)
        return topic

    def lines_file(self, line_bytes):
        """`megabytes` of lines, in the page cache and on the disk."""
        path = self.path(f"lines-{line_bytes}")
        if not os.path.exists(path):
            rng = random.Random(1)
            letters = string.ascii_letters + string.digits
            total = self.megabytes << 20
            count = (1 << 20) // line_bytes
            block = "".join("".join(rng.choices(letters, k=line_bytes - 1)) + "\n" for _ in range(count)).encode()
            with open(path, "wb") as out:
                while out.tell() + len(block) <= total:
                    out.write(block)
            os.sync()
        shell('cat "$1" > /dev/null', path)
        return path

    def compare(self, row, sides, placements=PLACEMENTS, times=1):
        """Measures the sides in turn, `runs` rounds (or `times` as many) after one to warm up, and adds a row for each
        placement.

        sides: name -> a function that does the work once and returns its seconds, or (prepare, work) with what must not
        be timed. The table's columns are `ours`, `P` and `E`."""
        scale = {"ms": 1e3, "us": 1e6}[row.unit]
        for placement, cpus in placements.items():
            samples = {name: [] for name in sides}
            cpu_s = {name: [] for name in sides}
            with self.placed(cpus):
                for turn in range(self.runs * times + 1):
                    order = list(sides) if turn % 2 else list(reversed(sides))
                    for name in order:
                        elapsed, cpu = self.sample(sides[name])
                        if turn:
                            samples[name].append(elapsed * scale)
                            cpu_s[name].append(cpu)
            self.rows.append(row.filled(placement, samples, cpu_s))

    def sample(self, side):
        prepare, work = side if isinstance(side, tuple) else (None, side)
        if prepare:
            prepare()
        os.sync()
        before = self.cpu_s()
        elapsed = work()
        return elapsed, self.cpu_s() - before

    def cpu_s(self):
        """Of the programs that ended and of the daemons."""
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime + sum(d.cpu_s() for d in self.daemons if d.process)

    @contextlib.contextmanager
    def placed(self, cpus):
        os.sched_setaffinity(0, cpus)
        for daemon in self.daemons:
            if daemon.process:
                daemon.pin(cpus)
        try:
            yield
        finally:
            os.sched_setaffinity(0, ALL_CPUS)
            for daemon in self.daemons:
                if daemon.process:
                    daemon.pin(ALL_CPUS)


def timed(script, *args):
    """A side's work: the elapsed seconds of a shell line."""

    def work():
        begun = time.monotonic()
        shell(script, *args)
        return time.monotonic() - begun

    return work


def printed_ns(*argv):
    """A side's work: a measuring program that prints nanoseconds."""
    return lambda: float(run(*argv)) / 1e9


class Row:
    """One line of the table. A ratio's goal is `limit` times the sum of the medians of `base`; an absolute one's is
    `limit` in the row's own unit."""

    def __init__(self, work, goal, limit, base=(), unit="ms"):
        self.work, self.goal, self.limit, self.base, self.unit = work, goal, limit, base, unit
        self.placement = ""
        self.medians, self.samples, self.cpu_s = {}, {}, {}
        self.ratio = self.spread = self.error = None

    def filled(self, placement, samples, cpu_s=None):
        row = Row(self.work, self.goal, self.limit, self.base, self.unit)
        row.placement, row.samples = placement, samples
        row.medians = {name: statistics.median(values) for name, values in samples.items()}
        row.cpu_s = {name: statistics.median(values) for name, values in (cpu_s or {}).items()}
        if self.base:
            row.ratio = row.medians["ours"] / sum(row.medians[name] for name in self.base)
            rounds = zip(samples["ours"], *(samples[name] for name in self.base))
            ratios = [ours / sum(rest) for ours, *rest in rounds]
            row.spread = (min(ratios), max(ratios))
        else:
            row.spread = (min(samples["ours"]), max(samples["ours"]))
        return row

    def failed(self, error):
        row = Row(self.work, self.goal, self.limit, self.base, self.unit)
        row.error = str(error)
        return row

    def cpu_ratio(self):
        base_s = sum(self.cpu_s.get(name, 0) for name in self.base)
        return self.cpu_s["ours"] / base_s if base_s else None

    def met(self):
        if self.error or self.limit is None:
            return None if self.limit is None else False
        return (self.ratio if self.base else self.medians["ours"]) <= self.limit

    def as_json(self):
        return {
            "work": self.work, "placement": self.placement, "goal": self.goal, "limit": self.limit, "unit": self.unit,
            "base": list(self.base), "medians": self.medians, "samples": self.samples, "cpu_s": self.cpu_s,
            "ratio": self.ratio, "cpu_ratio": self.cpu_ratio(), "spread": self.spread, "met": self.met(),
            "error": self.error,
        }
