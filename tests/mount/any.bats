#!/usr/bin/env bats
# .any: Kafka's default partitioner picks the partition.
load lib

setup() {
    log_setup
    mount_log
    cd "$M"
    mkdir orders
    set_attr orders user.topic.partitions 7
}

@test "a key goes to the partition that Kafka's java client would pick" {
    set_attr orders user.config.key.separator :
    py <<'P'
# Hashes from Kafka's own UtilsTest.testMurmur2; toPositive(hash) % partitions is the rule.
known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536,
         b"a-little-bit-longer-string": -1486304829, b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
         b"abc": 479470107}
for key, value in known.items():
    append("orders/.any", key + b":" + b"value\n")
for key, value in known.items():
    check(key + b":value" in read_all(f"orders/{(value & 0x7fffffff) % 7}").splitlines(), key)
P
}

@test "thousands of keys, the empty one too, each in its partition" {
    set_attr orders user.config.key.separator :
    py <<'P'
def murmur2(key):  # Austin Appleby's MurmurHash2 with Kafka's seed
    M, h = 0x5bd1e995, 0x9747b28c ^ len(key)
    for i in range(0, len(key) & ~3, 4):
        k = int.from_bytes(key[i:i + 4], "little") * M & 0xffffffff
        k = (k ^ k >> 24) * M & 0xffffffff
        h = (h * M & 0xffffffff) ^ k
    tail = key[len(key) & ~3:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * M & 0xffffffff
    h = (h ^ h >> 13) * M & 0xffffffff
    return h ^ h >> 15
check(murmur2(b"foobar") == -790332482 & 0xffffffff and murmur2(b"21") == -973932308 & 0xffffffff)
rng = random.Random(5)
keys = [b""] + [rng.randbytes(rng.randrange(1, 30)).replace(b"\n", b".").replace(b":", b";") for _ in range(2000)]
expected = {n: [] for n in range(7)}
fd = os.open("orders/.any", APPEND)
for at in range(0, len(keys), 50):
    batch = [k + b":" + b"%d" % n for n, k in enumerate(keys[at:at + 50], at)]
    os.write(fd, b"".join(b + b"\n" for b in batch))
    for k, line in zip(keys[at:at + 50], batch):
        expected[(murmur2(k) & 0x7fffffff) % 7].append(line)
os.close(fd)
for n in range(7):
    same(read_all(f"orders/{n}").split(b"\n")[:-1], expected[n])
P
}

@test "without a key the lines of one batch stay together, and batches wander" {
    py <<'P'
fd = os.open("orders/.any", APPEND)
for n in range(200):
    os.write(fd, b"".join(b"%d.%d %s\n" % (n, k, b"x" * 400) for k in range(10)))
os.close(fd)
lines = [read_all(f"orders/{p}").splitlines() for p in range(7)]
same(sum(map(len, lines)), 2000)
for part in lines:
    numbers = [l.split(b" ")[0].split(b".") for l in part]
    for at in range(0, len(numbers), 10):
        same(numbers[at:at + 10], [[numbers[at][0], b"%d" % k] for k in range(10)])
check(sum(1 for l in lines if l) >= 4, [len(l) for l in lines])
P
}

@test "the file keeps the whole line, key included" {
    set_attr orders user.config.key.separator ::
    echo 'alice::paid' >> orders/.any
    is "$(cat orders/*)" 'alice::paid'
}

@test "a line that waits for its newline goes where its key says at the last close" {
    set_attr orders user.config.key.separator :
    { printf 'fo'; printf 'obar:'; printf 'last'; } >> orders/.any
    is "$(cat orders/$(((-790332482 & 0x7fffffff) % 7)))" foobar:last
    for i in {1..50}; do
        printf 'foobar:%d' "$i" >> orders/.any
        is "$(tail -n 1 orders/$(((-790332482 & 0x7fffffff) % 7)))" "foobar:$i"
    done
}

@test "it is write-only: opening it for reading is EACCES, for root too" {
    fails 'Permission denied' cat orders/.any
    py <<'P'
same(error(os.open, "orders/.any", os.O_RDONLY), "EACCES")
same(error(os.open, "orders/.any", os.O_RDWR | os.O_APPEND), "EACCES")
P
    is "$(stat -c %A orders/.any)" --w-------
}

@test "it is append-only, and not listed" {
    fails 'Operation not permitted' sh 'echo x > orders/.any'
    is "$(ls -a orders | grep -c any || :)" 0
    is "$(cat orders/*)" ''
}

@test "a line that is too long harms nothing else" {
    set_attr orders user.config.max.message.bytes 50
    py <<'P'
fd = os.open("orders/.any", APPEND)
same(error(os.write, fd, b"ok\n" + b"x" * 51 + b"\n"), "EMSGSIZE")
same(os.write(fd, b"fine\n"), 5)
P
    is "$(cat orders/*)" fine
}

@test "eight writers through it lose nothing and keep each key's order" {
    set_attr orders user.config.key.separator :
    py <<'P'
for w in range(8):
    if os.fork() == 0:
        fd = os.open("orders/.any", APPEND)
        for n in range(300):
            os.write(fd, b"writer %d:%d\n" % (w, n))
        os._exit(0)
for w in range(8):
    same(os.wait()[1], 0)
for w in range(8):
    key = b"writer %d:" % w
    homes = [p for p in range(7) if key in read_all(f"orders/{p}")]
    same(len(homes), 1)
    same([int(l.split(b":")[1]) for l in read_all(f"orders/{homes[0]}").splitlines() if l.startswith(key)], list(range(300)))
P
}

@test "fsync through it waits for every partition it wrote to" {
    py <<'P'
fd = os.open("orders/.any", APPEND)
for n in range(20):
    os.write(fd, b"line %d %s\n" % (n, b"x" * 3000))
os.fsync(fd)
os.close(fd)
P
    is "$(cat orders/* | wc -l)" 20
}

@test "one large write of short lines over a thousand partitions: each key's lines in their order, none twice" {
    set_attr orders user.topic.partitions 1000
    set_attr orders user.config.key.separator :
    py <<'P'
lines = [b"%d:%d" % (n % 5000, n) for n in range(80000)]
data = b"".join(l + b"\n" for l in lines)
check(len(data) < 1 << 20, "one piece")
append("orders/.any", data)
homes, seen = {}, []
for p in range(1000):
    part = read_all(f"orders/{p}").splitlines()
    numbers = [int(l.split(b":")[1]) for l in part]
    same(numbers, sorted(numbers))
    for l in part:
        same(homes.setdefault(l.split(b":")[0], p), p)
    seen += numbers
same(sorted(seen), list(range(80000)))
P
}
