#!/usr/bin/env bats
# .json: one JSON object a record.
load lib

setup() {
    log_setup
    mount_log
    cd "$M"
    mkdir orders
}

@test "each record is one object with its partition, offset, timestamp, key and value" {
    before=$(date +%s%3N)
    printf 'first\nsecond\n' >> orders/0
    after=$(date +%s%3N)
    py "$before" "$after" <<'P'
rows = [json.loads(l) for l in open("orders/.json/0")]
same([list(r) for r in rows], [["partition", "offset", "timestamp", "key", "value"]] * 2)
same([(r["partition"], r["offset"], r["key"], r["value"]) for r in rows], [(0, 0, None, "first"), (0, 1, None, "second")])
for r in rows:
    check(int(sys.argv[1]) <= r["timestamp"] <= int(sys.argv[2]), r)
P
}

@test "with key.separator the key is what comes before the first one" {
    set_attr orders user.config.key.separator =
    printf 'k=v\nk=a=b\n=empty key\nno separator\nempty value=\n' >> orders/0
    py <<'P'
same([(r["key"], r["value"]) for r in map(json.loads, open("orders/.json/0"))],
     [("k", "v"), ("k", "a=b"), ("", "empty key"), (None, "no separator"), ("empty value", "")])
P
}

@test "any bytes make valid JSON, and the exact ones are in value_base64" {
    py <<'P'
rng = random.Random(11)
records = [bytes(b for b in range(256) if b != 10), b'quote " backslash \\ tab \t nul \0', "grün €uro 😀".encode(),
           b"\xff", b"cut \xe2\x82", b"\xed\xa0\x80 surrogate", b"\xc0\xaf overlong", b"\xf4\x90\x80\x80 too high", b"\x7f"]
records += [rng.randbytes(rng.randrange(200)).replace(b"\n", b"") for _ in range(200)]
append("orders/0", b"".join(r + b"\n" for r in records))
raw = read_all("orders/.json/0")
raw.decode("utf-8")
rows = [json.loads(l) for l in raw.splitlines()]
same(len(rows), len(records))
for row, record in zip(rows, records):
    same(row["value"], record.decode("utf-8", "replace"))
    try:
        record.decode("utf-8")
        check("value_base64" not in row, row)
    except UnicodeDecodeError:
        same(base64.b64decode(row["value_base64"], validate=True), record)
P
}

@test "a key that is not UTF-8 has key_base64" {
    set_attr orders user.config.key.separator :
    printf '\377key:value\n' >> orders/0
    py <<'P'
row = json.loads(read_all("orders/.json/0"))
same((row["key"], row["value"]), ("\ufffdkey", "value"))
same(base64.b64decode(row["key_base64"]), b"\xffkey")
check("value_base64" not in row)
P
}

@test "it ends at the high watermark" {
    is "$(size orders/.json/0)" 0
    seq 3 >> orders/0
    is "$(timeout 30 cat orders/.json/0 | wc -l)" 3
    exec 4< orders/.json/0
    is "$(cat <&4 | wc -l)" 3
    echo 4 >> orders/0
    is "$(cat <&4 | python3 -c 'import json, sys; print([json.loads(l)["value"] for l in sys.stdin])')" "['4']"
}

@test "a read is filled as long as there is more, whatever its size and wherever it begins" {
    seq 20000 >> orders/0
    py <<'P'
whole = read_all("orders/.json/0")
for size in (100, 4096, 8192, 65536, 100000, 1 << 20):
    fd = os.open("orders/.json/0", os.O_RDONLY)
    got, sizes = b"", []
    while part := os.read(fd, size):
        got += part
        sizes.append(len(part))
    same(got, whole)
    same([n for n in sizes[:-1] if n != size], [])
    os.close(fd)
fd = os.open("orders/.json/0", os.O_RDONLY)
same(os.read(fd, 10000), whole[:10000])
same(os.pread(fd, 20000, 5000), whole[5000:25000])  # what was read before, and on
same(os.read(fd, 1000), whole[10000:11000])
P
    is "$(dd if=orders/.json/0 bs=64k count=10 2>/dev/null | wc -c)" 655360
}

@test "its size is whole pages and never less than its text, and what copies by size copies all of it or fails" {
    is "$(size orders/.json/0)" 0
    py "$T/out" <<'P'
rng = random.Random(5)
append("orders/0", b"".join(rng.randbytes(rng.randrange(3000)).replace(b"\n", b"\x01") + b"\n" for _ in range(300)))
append("orders/0", b"\x01" * 500000 + b"\xff\n" + b"\n" * 1000)
for name in "0", "0@300", "0@-1":
    text, size = read_all("orders/.json/" + name), os.stat("orders/.json/" + name).st_size
    check(len(text) <= size and size % 4096 == 0, name, len(text), size)
same(os.stat("orders/.json/0@end").st_size, 0)
text = read_all("orders/.json/0")
fd = os.open("orders/.json/0", os.O_RDONLY)
out = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
r, w = os.pipe()
same(error(os.sendfile, out, fd, 0, 4096), "EINVAL")
same(error(os.splice, fd, w, 4096, 0), "EINVAL")
shutil.copyfile("orders/.json/0", sys.argv[1])
same(read_all(sys.argv[1]), text)
P
    cp orders/.json/0 "$T/copy"
    cmp "$T/copy" "$T/out"
    is "$(cat orders/.json/0 | wc -c)" "$(size "$T/out")"
    fails 'Invalid argument' wc -c orders/.json/0
    fails 'Invalid argument' tail -n 3 orders/.json/0
    fails 'Invalid argument' tac orders/.json/0
    fails 'shrank' tar -cf "$T/tar" orders/.json/0
    fails '' rsync orders/.json/0 "$T/rsynced"
}

@test "programs may seek back in it within the last MiB, and nowhere else" {
    seq 100000 >> orders/0
    {
        is "$(head -n 1 | grep -o '"value":"[^"]*"')" '"value":"1"'
        read -r line
        [[ $line == *'"value":"2"'* ]]
        is "$(head -n 1 | grep -o '"value":"[^"]*"')" '"value":"3"'
    } < orders/.json/0
    py <<'P'
fd = os.open("orders/.json/0", os.O_RDONLY)
got = b""
while part := os.read(fd, 65536):
    got += part
check(len(got) > 3 << 20)
same(os.pread(fd, 1000, len(got) - (1 << 20)), got[-(1 << 20):][:1000])
same(error(os.pread, fd, 10, 0), "EINVAL")
same(error(os.pread, fd, 10, len(got) + 1), "EINVAL")
same(os.pread(fd, 10, len(got)), b"")
P
}

@test "offsets are the records' own after a trim" {
    seq 0 99 >> orders/0
    fallocate -p -o 0 -l "$(attr orders/0@90 user.log.position)" orders/0
    is "$(head -n 1 orders/.json/0 | python3 -c 'import json, sys; r = json.load(sys.stdin); print(r["offset"], r["value"])')" '90 90'
}

@test "a record of a mebibyte and one of nothing" {
    py <<'P'
big = b'"' * (1 << 20)
fd = os.open("orders/0", APPEND)
data = big + b"\n\n"
while data:
    data = data[os.write(fd, data):]
os.close(fd)
rows = [json.loads(l) for l in open("orders/.json/0")]
same([r["value"] for r in rows], [big.decode(), ""])
P
}

@test "each partition has its own numbers" {
    set_attr orders user.topic.partitions 2
    echo a >> orders/0
    echo b >> orders/1
    py <<'P'
for n, value in enumerate("ab"):
    row = json.loads(read_all(f"orders/.json/{n}"))
    same((row["partition"], row["offset"], row["value"]), (n, 0, value))
P
}

@test "it is read-only" {
    fails '' sh 'echo x >> orders/.json/0'
    fails '' sh 'echo x > orders/.json/0'
    is "$(cat orders/0)" ''
}

@test "a record as long as they get is shown whole, though its object is longer than what can be read again" {
    py <<'P'
records = [b"a" * 1048576, b"\xff" * 1048576, b"short"]
for record in records:
    append("orders/0", record + b"\n")
rows = [json.loads(l) for l in open("orders/.json/0")]
same([len(r["value"]) for r in rows], [1048576, 1048576, 5])
check(base64.b64decode(rows[1]["value_base64"]) == records[1])
P
}
