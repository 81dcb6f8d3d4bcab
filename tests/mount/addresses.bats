#!/usr/bin/env bats
# Where to start reading is part of the name.
load lib

setup() {
    log_setup
    mount_log
    cd "$M"
    mkdir orders
}

fill() { seq -f 'record %.0f' 0 999 >> orders/0; }

@test "0@5678 starts at record 5678" {
    seq 0 9999 >> orders/0
    is "$(head -n 1 orders/0@5678)" 5678
    is "$(cat orders/0@5678 | head -n 1)" 5678
    is "$(cat orders/0@9998)" $'9998\n9999'
    is "$(cat orders/0@0 | wc -l)" 10000
}

@test "its position attribute is the byte position in the partition" {
    fill
    is "$(attr orders/0@500 user.log.position)" $((10 * 9 + 90 * 10 + 400 * 11))
    position=$(attr orders/0@500 user.log.position)
    is "$(tail -c +$((position + 1)) orders/0 | head -n 1)" 'record 500'
}

@test "position 0 is the record found" {
    fill
    py <<'P'
data = read_all("orders/0@500")
same(data[:22], b"record 500\nrecord 501\n")
fd = os.open("orders/0@500", os.O_RDONLY)
same(os.pread(fd, 11, 11), b"record 501\n")
same(os.fstat(fd).st_size, len(data))
same(os.lseek(fd, -11, os.SEEK_END), len(data) - 11)
same(os.read(fd, 100), b"record 999\n")
P
}

@test "0@-10 is the last ten records, 0@-2000 of a thousand all of them" {
    fill
    is "$(cat orders/0@-10)" "$(seq -f 'record %.0f' 990 999)"
    is "$(cat orders/0@-1)" 'record 999'
    is "$(cat orders/0@-2000 | wc -l)" 1000
}

@test "0@start and 0@end" {
    fill
    is "$(head -n 1 orders/0@start)" 'record 0'
    is "$(cat orders/0@end)" ''
    fallocate -p -o 0 -l "$(attr orders/0@700 user.log.position)" orders/0
    is "$(head -n 1 orders/0@start)" 'record 700'
}

@test "0@earliest and 0@latest are other words for them, in the views too" {
    fill
    fallocate -p -o 0 -l "$(attr orders/0@700 user.log.position)" orders/0
    is "$(head -n 1 orders/0@earliest)" 'record 700'
    is "$(cat orders/0@latest)" ''
    is "$(attr orders/0@latest user.log.position)" "$(size orders/0)"
    is "$(head -n 1 orders/.follow/0@earliest)" 'record 700'
    is "$(cat orders/.json/0@earliest | wc -l)" 300
}

@test "the high watermark itself is the end, an offset above it is ENOENT, one below the log start is the start" {
    fill
    is "$(cat orders/0@1000)" ''
    fails 'No such file or directory' cat orders/0@1001
    fails 'No such file or directory' cat orders/0@99999999999999999999999
    fallocate -p -o 0 -l "$(attr orders/0@700 user.log.position)" orders/0
    is "$(head -n 1 orders/0@5)" 'record 700'
    is "$(head -n 1 orders/0@-900)" 'record 700'
}

@test "what is appended later is read from an address too" {
    fill
    exec 4< orders/0@end
    is "$(cat <&4)" ''
    echo new >> orders/0
    is "$(cat <&4)" new
}

@test "a time is the first record at or after it" {
    echo early >> orders/0
    later 30
    t=$(date +%Y-%m-%dT%H:%M:%S.%3NZ)
    later 30
    printf 'late 1\nlate 2\n' >> orders/0
    is "$(cat "orders/0@$t")" $'late 1\nlate 2'
    is "$(cat "orders/0@${t%Z}+00:00")" $'late 1\nlate 2'
    is "$(cat "orders/0@${t/T/ }")" $'late 1\nlate 2'
    is "$(cat "orders/.json/0@${t/T/ }" | wc -l)" 2
    is "$(cat "orders/0@2000-01-01 00:00")" $'early\nlate 1\nlate 2'
    is "$(cat "orders/0@2000-01-01")" $'early\nlate 1\nlate 2'
    is "$(cat "orders/0@2000-01-01T00:00")" $'early\nlate 1\nlate 2'
    is "$(cat "orders/0@2000-01-01T00:00:00Z")" $'early\nlate 1\nlate 2'
    is "$(cat "orders/0@2100-01-01")" ''
}

@test "a record's timestamp is a time at which it is found" {
    for i in 1 2 3 4; do
        echo "record $i" >> orders/0
        later 5
    done
    py <<'P'
import datetime
for row in map(json.loads, open("orders/.json/0")):
    t = datetime.datetime.fromtimestamp(row["timestamp"] / 1000, datetime.timezone.utc)
    for zone in (datetime.timezone.utc, datetime.timezone(datetime.timedelta(hours=5, minutes=30))):
        name = "orders/0@" + t.astimezone(zone).isoformat(timespec="milliseconds")
        same(open(name).readline(), row["value"] + "\n")
P
}

@test "a time without a zone is in the time zone of the daemon's host" {
    unmount_log
    TZ=Asia/Kolkata mount_log
    cd "$M"
    echo early >> orders/0
    later 30
    t=$(TZ=Asia/Kolkata date +%Y-%m-%dT%H:%M:%S.%3N)
    later 30
    echo late >> orders/0
    is "$(cat "orders/0@$t")" late
    is "$(cat "orders/0@${t}Z")" ''
}

# What two seconds ago is depends on when it is asked: an answer of which nothing follows is asked for again, with a
# record that is new then.
@test "0@-15m is the last quarter of an hour, with s, m, h and d" {
    local asked=0 seen
    echo early >> orders/0
    later 2200
    until [ $asked -gt 0 ] && [ $((${EPOCHREALTIME/./} - asked)) -lt 2000000 ]; do
        asked=${EPOCHREALTIME/./}
        echo late >> orders/0
        seen=$(cat orders/0@-2s)
    done
    is "$(uniq <<< "$seen")" late
    for ago in 15m 1h 1d 900s; do is "$(cat orders/0@-$ago | uniq)" $'early\nlate'; done
}

@test "what fits no form is ENOENT at once" {
    fill
    for name in 0@ 0@x 0@1x 0@--5 0@+5 0@-0x 0@-5w 0@-m 0@2026-13-01 0@2026-02-30 0@2026-11-22T25:00 0@2026-11-22T0900 \
        '0@2026-11-22 25:00' '0@2026-11-22 ' 0@Latest \
        0@Start 0@end2 0@@5 0@5@6 '0@ 5' '0@5 ' 1@5 x@5 00@5 -1@5 @5 0@2026-1-1 0@2026-11-22T09:00:00X 0@0x10; do
        fails 'No such file or directory' timeout 30 cat "orders/$name"
        fails 'No such file or directory' timeout 30 cat "orders/.follow/$name"
        fails 'No such file or directory' timeout 30 cat "orders/.json/$name"
    done
}

@test "an address cannot be written" {
    fill
    fails 'Permission denied' sh 'echo x >> orders/0@5'
    fails 'Permission denied' sh 'echo x >> orders/0@end'
    fails 'Permission denied' sh 'echo x >> orders/.follow/0@5'
    fails 'Permission denied' sh 'echo x >> orders/.json/0@5'
    is "$(cat orders/0 | wc -l)" 1000
}

@test "addresses are reached by name and never listed" {
    fill
    cat orders/0@5 >/dev/null
    is "$(ls -a orders)" $'.\n..\n0'
    is "$(ls orders/.follow)" 0
    ls -l orders/0@5 >/dev/null
}

@test "the same names work in .json and .follow" {
    fill
    py <<'P'
same(json.loads(open("orders/.json/0@998").readline())["offset"], 998)
same([json.loads(l)["offset"] for l in open("orders/.json/0@-2")], [998, 999])
same(open("orders/.json/0@end").read(), "")
same(json.loads(open("orders/.json/0@start").readline())["offset"], 0)
P
    is "$(timeout 30 head -n 2 orders/.follow/0@998)" $'record 998\nrecord 999'
    is "$(timeout 30 head -n 1 orders/.follow/0@-1)" 'record 999'
}

@test "an empty partition has a start and an end" {
    is "$(cat orders/0@start orders/0@end orders/0@0 orders/0@-5 orders/0@-1h orders/0@2020-01-01)" ''
    fails 'No such file or directory' cat orders/0@1
}

@test "addresses find each record over many segments" {
    set_attr orders user.config.segment.bytes 500
    set_attr orders user.config.index.interval.bytes 50
    py <<'P'
rng = random.Random(3)
lines = [b"%d %s\n" % (n, b"x" * rng.randrange(40)) for n in range(400)]
at = 0
fd = os.open("orders/0", APPEND)
while at < 400:
    n = rng.randrange(1, 6)
    os.write(fd, b"".join(lines[at:at + n]))
    at += n
position = 0
for n, line in enumerate(lines):
    name = f"orders/0@{n}"
    same(open(name, "rb").readline(), line)
    same(int(os.getxattr(name, "user.log.position")), position)
    position += len(line)
for n in (1, 2, 57, 399, 400):
    same(read_all(f"orders/0@-{n}"), b"".join(lines[-n:]))
P
    remount
    is "$(head -c 4 orders/0@399)" '399 '
}
