"""The works that `make bench` measures: one function each, named as the table names them (`-` for `_`)."""

import contextlib
import glob
import os
import threading
import time

from harness import ALL_CPUS, PLACEMENTS, Failed, Row, await_condition, printed_ns, run, shell, timed

FREE = {"free": ALL_CPUS}
ONE_CPU = {name: cpus for name, cpus in PLACEMENTS.items() if name != "free"}


# ---- bulk ----


def cat_append(bench, line_bytes, row):
    lines = bench.lines_file(line_bytes)
    plain, count = bench.path("plain", "file"), 0
    append = 'cat "$1" >> "$2"'

    def fresh_file():
        shell('rm -f "$1" && : > "$1"', plain)

    def fresh_topic():
        nonlocal count
        if count:
            run("rmdir", bench.path("ours", f"bench{count}"))
        count += 1
        bench.make_topic(f"bench{count}")

    def append_ours():
        return timed(append, lines, bench.path("ours", f"bench{count}", "0"))()

    with bench.mounted():
        bench.compare(row, {
            "P": (fresh_file, timed(append, lines, plain)),
            "E": timed(append, lines, bench.path("empty", "bench", "0")),
            "ours": (fresh_topic, append_ours),
        })
        run("cmp", lines, bench.path("ours", f"bench{count}", "0"))


def cat_append_1k(bench, row=Row("cat big >> 0, 1 KiB lines", "≤ 1.25 x (P + E)", 1.25, ("P", "E"))):
    cat_append(bench, 1024, row)


def cat_append_100(bench, row=Row("cat big >> 0, 100-byte lines", "≤ 1.4 x (P + E)", 1.4, ("P", "E"))):
    cat_append(bench, 100, row)


def cat_read(bench, row=Row("cat 0 > /dev/null, page-cached", "≤ 1.15 x (P + E)", 1.15, ("P", "E"))):
    lines = bench.lines_file(1024)
    read = 'cat "$1" > /dev/null'
    with bench.mounted(size=os.path.getsize(lines)):
        partition = os.path.join(bench.make_topic("bench"), "0")
        shell('cat "$1" >> "$2"', lines, partition)
        run("cmp", lines, partition)
        bench.compare(row, {
            "P": timed(read, lines),
            "E": timed(read, bench.path("empty", "bench", "0")),
            "ours": timed(read, partition),
        })


def segments(bench, row, script):
    """`script` over closed segments of a quarter of the data and a small active one, and over copies of them."""
    lines = bench.lines_file(1024)
    with bench.mounted():
        topic = bench.make_topic("bench", segment_bytes=bench.megabytes << 18)
        shell('cat "$1" >> "$2" && echo last >> "$2"', lines, f"{topic}/0")
        files = bench.path("plain", "files")
        shell('mkdir "$1" && cp "$2"/*.log "$1"/', files, f"{topic}/.segments/0")
        if sum(map(os.path.getsize, glob.glob(f"{files}/*.log"))) != os.path.getsize(lines) + len("last\n"):
            raise Failed("the segments do not add up to what was appended")
        program = bench.program("newlines")
        bench.compare(row, {
            "P": timed(script, files, program),
            "ours": timed(script, f"{topic}/.segments/0", program),
        })


def segments_read(bench, row=Row("cat .segments/0/*.log, the second time", "≤ 1.1 x P", 1.1, ("P",))):
    segments(bench, row, 'cat "$1"/*.log > /dev/null')


def segments_mmap(bench, row=Row("newlines counted over mmaps of .segments/0/*.log", "≤ 1.1 x P", 1.1, ("P",))):
    segments(bench, row, '"$2" "$1"/*.log > /dev/null')


# ---- small requests ----

# With the scheduler free a sample of these is one of a few speeds, as client and daemon came to lie: more rounds.
MORE = 3


def appends(bench, row, mode, total):
    with bench.mounted("acks=1"):
        bench.make_topic("bench")
        plain = bench.path("plain", "file")
        shell(': > "$1"', plain)
        command = (bench.program("appends"), mode, "1", str(total), "100")
        bench.compare(row, {
            "P": printed_ns(*command, plain),
            "E": printed_ns(*command, bench.path("empty", "bench", "0")),
            "ours": printed_ns(*command, bench.path("ours", "bench", "0")),
        }, times=MORE)


def write_open(bench, row=Row("100-byte write on an open file, acks=1", "≤ 1.3 x E", 1.3, ("E",), "us")):
    appends(bench, row, "open", 20000)


def echo(bench, row=Row("echo >> (open, write, close)", "≤ 1.5 x E", 1.5, ("E",), "us")):
    appends(bench, row, "reopen", 5000)


def writers(bench, row, partitions):
    """Eight writers against one, the same number of lines in all."""
    total = 16000
    with bench.mounted("acks=1"):
        bench.make_topic("bench")
        run("setfattr", "-n", "user.topic.partitions", "-v", "8", bench.path("ours", "bench"))

        def work(mount, count, number):
            files = [bench.path(mount, "bench", str(n)) for n in range(count)]
            return printed_ns(bench.program("appends"), "open", str(number), str(total), "100", *files)

        bench.compare(row, {
            "ours": work("ours", partitions, 8),
            "one writer": work("ours", 1, 1),
            "E": work("empty", partitions, 8),
            "E, one writer": work("empty", 1, 1),
        }, times=MORE)


def writers_one(bench, row=Row("8 writers on one partition, per line", "≤ 1 x one writer", 1.05, ("one writer",), "us")):
    writers(bench, row, 1)


def writers_many(bench, row=Row("8 writers on 8 partitions, per line", "≤ 1 x one writer", 1.05, ("one writer",), "us")):
    writers(bench, row, 8)
    one_cpu, free = bench.rows[-1], bench.rows[-2]
    # One writer free mostly waits for CPUs to wake; on one CPU it is one core's work, and the measure of more cores.
    scale = Row("8 writers on 8 partitions, all CPUs / one writer on one CPU", "≤ 1.1 x E", 1.1, ("E",), "x")
    samples = {
        "ours": [many / one for many, one in zip(free.samples["ours"], one_cpu.samples["one writer"])],
        "E": [many / one for many, one in zip(free.samples["E"], one_cpu.samples["E, one writer"])],
    }
    bench.rows.append(scale.filled("free", samples))


def follow_latency(bench, row=Row("write → a blocked .follow reader, p50", "≤ 5 x a pipe", 5.0, ("P",), "us")):
    with bench.mounted("acks=1"):
        bench.make_topic("bench")
        command = (bench.program("wakeups"), bench.path("ours", "bench", "0"), bench.path("ours", "bench", ".follow", "0@end"))
        waiting = {}

        def half(name):
            """One run measures both; the side that comes second finds its part waiting."""
            if name not in waiting:
                pipe, ours = run(*command, "500").split()
                waiting.update({"P": float(pipe) / 1e9, "ours": float(ours) / 1e9})
            return waiting.pop(name)

        bench.compare(row, {"P": lambda: half("P"), "ours": lambda: half("ours")}, times=MORE)
        for part in bench.rows[-len(PLACEMENTS):]:
            part.cpu_s = {}  # of both halves together


# ---- the slowest writes ----

TAIL_WRITERS, TAIL_WRITES, TAIL_LINE_BYTES = 25, 400, 100
REMOVED_TOPICS = 8


class BulkLoad:
    """Removals and compaction on our mount, while it is entered: topics of `megabytes` in all, in segments of 1 MiB, are
    removed, and keyed lines go into a compacted one over and over."""

    def __init__(self, bench):
        self.bench, self.made, self.failure = bench, 0, None
        self.keyed = bench.path("keyed")
        with open(self.keyed, "wb") as out:
            out.write(b"".join(b"key-%04d=%0100d\n" % (n % 1000, n) for n in range(40000)))
        self.compacted = bench.make_topic("compacted", segment_bytes=1 << 20, key_separator="=",
                                          cleanup_policy="compact", min_cleanable_dirty_ratio=0)

    def prepare(self):
        lines, share = self.bench.lines_file(1024), (self.bench.megabytes << 20) // REMOVED_TOPICS
        self.topics = []
        for _ in range(REMOVED_TOPICS):
            self.topics.append(self.bench.make_topic(f"big{self.made}", segment_bytes=1 << 20))
            self.made += 1
            shell('head -c "$1" "$2" >> "$3/0"', str(share), lines, self.topics[-1])

    def loop(self):
        try:
            for topic in self.topics:
                run("rmdir", topic)
            while not self.over.is_set():
                shell('cat "$1" >> "$2/0"', self.keyed, self.compacted)
        except Failed as error:
            self.failure = error

    @contextlib.contextmanager
    def beside(self):
        self.over = threading.Event()
        thread = threading.Thread(target=self.loop)
        thread.start()
        try:
            yield
        finally:
            self.over.set()
            thread.join()
        if self.failure:
            raise self.failure


def tail_rows(bench, what, sides, load):
    """Rounds that alternate ours and the other side; of each how many times the median the slowest writes took."""
    base = next(side for side in sides if side != "ours")
    samples = {name: {side: [] for side in sides} for name in ("99.9th percentile", "longest")}
    for turn in range(bench.runs + 1):
        for side, (mode, path) in sides.items() if turn % 2 else reversed(sides.items()):
            if load:
                load.prepare()
            os.sync()
            with load.beside() if load else contextlib.nullcontext():
                words = run(bench.program("tails"), mode, str(TAIL_WRITERS), str(TAIL_WRITES), str(TAIL_LINE_BYTES), path)
            median, _, high, longest = map(int, words.split())
            if turn:
                samples["99.9th percentile"][side].append(high / median)
                samples["longest"][side].append(longest / median)
    for name, of in samples.items():
        row = Row(f"{name} of {what}, in medians", f"≤ 1.5 x {base}", 1.5, (base,), "x")
        bench.rows.append(row.filled("free", of))


def tails(bench, row=Row("the slowest writes of 25 writers, in medians", "≤ 1.5 x P", 1.5, ("P",), "x")):
    """One partition, 25 writers, acks=all: what a write may take beyond the usual. Where ours is on the disk when it is
    answered the other side is O_SYNC on a plain file, else an empty file system; each with the same load beside it.
    With linger.ms a write that fills a batch sends that one, and none of those that others fill meanwhile."""
    with bench.mounted("log.cleaner.backoff.ms=100"):
        plain = bench.path("plain", "file")
        shell(': > "$1"', plain)
        synced, flushed, paged = (bench.make_topic(name) for name in ("synced", "flushed", "paged"))
        run("setfattr", "-n", "user.config.flush.messages", "-v", "1", flushed)
        cases = {"O_SYNC": {"ours": ("sync", f"{synced}/0"), "P": ("sync", plain)},
                 "flush.messages=1": {"ours": ("plain", f"{flushed}/0"), "P": ("sync", plain)},
                 "no flush": {"ours": ("plain", f"{paged}/0"), "E": ("plain", bench.path("empty", "bench", "0"))}}
        for name, sides in cases.items():
            tail_rows(bench, name, sides, None)
        load = BulkLoad(bench)
        for name, sides in cases.items():
            tail_rows(bench, f"{name} beside removals and compaction", sides, load)
    with bench.mounted("linger.ms=5"):
        lingering = bench.make_topic("lingering")
        sides = {"ours": ("plain", f"{lingering}/0"), "E": ("plain", bench.path("empty", "bench", "0"))}
        tail_rows(bench, "linger.ms=5", sides, None)


# ---- big logs ----


def numbered_lines(path, count):
    """Line n is n in 99 digits, as tests/bench/lookups.c expects it."""
    with open(path, "wb") as out:
        for base in range(0, count, 100000):
            out.write(b"".join(b"%099d\n" % n for n in range(base, min(base + 100000, count))))


def lookup(bench, row=Row("open 0@N and read that record", None, None, (), "us")):
    records = bench.lookup_records
    source = bench.path("records")
    numbered_lines(source, records)
    with bench.mounted() as (ours, _):
        partition = os.path.join(bench.make_topic("bench"), "0")
        shell('cat "$1" >> "$2"', source, partition)
        os.unlink(source)
        ours.stop()
        os.sync()
        ours.start()  # its mappings of the indexes begin anew
        data = glob.glob(bench.path("data", "topics", "bench-0", "*"))
        command = (bench.program("lookups"), partition, str(records))
        cold = Row(row.work + f", p50 of {records / 1e6:g} M, cold", "< 2 ms", 2000, unit="us")
        bench.compare(cold, {"ours": printed_ns(*command, "15", "1", *data)}, FREE)
        warm = Row(row.work + f", p50 of {records / 1e6:g} M, warm", "< 200 us", 200, unit="us")
        bench.compare(warm, {"ours": printed_ns(*command, "2000", "2")})


def restart_10g(bench, row=Row("mount after kill -9", "< 1 s to the first read", 1000)):
    """As a user does it, over the mount that the killed daemon left: logmnt … && head -c 1 …"""
    lines = bench.lines_file(1024)
    append, partition = 'cat "$1" >> "$2"', bench.path("ours", "bench", "0")
    size, target = 0, int(bench.restart_gb * (1 << 30))
    row = Row(f"{row.work} with {bench.restart_gb:g} GB in the log", row.goal, row.limit)
    ours = bench.ours()
    samples = []
    try:
        ours.start_background()
        bench.make_topic("bench")
        while size < target:
            shell(append, lines, partition)
            os.sync()  # as it comes, or the kernel stops the writers
            size += os.path.getsize(lines)
        for _ in range(bench.runs):
            shell(append, lines, partition)  # what no sync covered is what a start must check
            size += os.path.getsize(lines)
            ours.kill_background()
            begun = time.monotonic()
            ours.start_background()
            shell('head -c 1 "$1" > /dev/null', partition)
            samples.append((time.monotonic() - begun) * 1e3)
            if os.path.getsize(partition) != size:
                raise Failed(f"{os.path.getsize(partition)} bytes are left of {size}")
        bench.rows.append(row.filled("free", {"ours": samples}))
    finally:
        ours.kill_background()
        bench.wipe()


# ---- many topics, small records ----


def topics_1000(bench, row=Row("1,000 topics: ls -l", "< 50 ms", 50)):
    ours = bench.ours()
    try:
        ours.start()
        shell('cd "$1" && mkdir $(seq -f topic-%.0f 1000) && for t in *; do echo x >> $t/0; done', ours.mount)
        after_making_mb = ours.status_kb("VmRSS") / 1024
        bench.compare(row, {"ours": timed('ls -l "$1" > /dev/null', ours.mount)})
        ours.stop()
        ours.start()
        shell('ls -l "$1" > /dev/null', ours.mount)
        after_restart_mb = ours.status_kb("VmRSS") / 1024
        resident = Row("1,000 topics: RSS after making them, after a restart", "≤ 64 MB", 64, unit="MB")
        bench.rows.append(resident.filled("free", {"ours": [max(after_making_mb, after_restart_mb)]}))
        idle = Row("1,000 topics: idle wake-ups a second", "one timer", 1, unit="1/s")
        bench.rows.append(idle.filled("free", {"ours": [idle_wakeups(ours)]}))
        ours.stop()
    finally:
        bench.wipe()


def idle_wakeups(daemon, seconds=20):
    """A second, after what was begun has come to rest. More than one thread that wakes is more than one timer."""
    time.sleep(3)
    before = daemon.wakeups()
    time.sleep(seconds)
    woken = {thread: count - before.get(thread, 0) for thread, count in daemon.wakeups().items()}
    woken = {thread: count for thread, count in woken.items() if count}
    if len(woken) > 1:
        raise Failed(f"{len(woken)} threads woke in {seconds} idle seconds: {sorted(woken.values())}")
    return sum(woken.values()) / seconds


def disk_bytes(bench, row=Row("disk bytes of a record", None, None, unit="x")):
    for line_bytes, count, limit in ((1024, 100000, 1.10), (100, 300000, 1.75)):
        row = Row(f"disk bytes / bytes, {line_bytes}-byte records appended singly", f"≤ {limit} x", limit, unit="x")
        ours = bench.ours()
        try:
            ours.start()
            bench.make_topic("bench")
            with bench.placed(ONE_CPU["1 cpu"]):
                run(bench.program("appends"), "open", "1", str(count), str(line_bytes), bench.path("ours", "bench", "0"))
            os.sync()
            files = glob.glob(bench.path("data", "topics", "bench-0", "*"))
            used = sum(os.stat(file).st_blocks * 512 for file in files)
            bench.rows.append(row.filled("free", {"ours": [used / (line_bytes * count)]}))
            ours.stop()
        finally:
            bench.wipe()


WORKS = [cat_append_1k, cat_append_100, cat_read, segments_read, segments_mmap, write_open, echo, writers_one,
         writers_many, follow_latency, tails, lookup, restart_10g, topics_1000, disk_bytes]
NAMES = {work.__name__.replace("_", "-"): work for work in WORKS}
