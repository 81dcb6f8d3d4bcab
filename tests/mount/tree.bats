#!/usr/bin/env bats
# The tree: topics are directories, partitions are files.
load lib

@test "mkdir makes a topic with one partition, rmdir removes it" {
    is "$(ls)" ''
    mkdir orders
    is "$(ls)" orders
    is "$(ls orders)" 0
    is "$(stat -c %F orders orders/0 | tr '\n' ' ')" 'directory regular empty file '
    rmdir orders
    is "$(ls)" ''
    fails 'No such file or directory' cat orders/0
}

@test "mkdir of what exists is EEXIST, rmdir of what does not is ENOENT" {
    mkdir orders
    fails 'File exists' mkdir orders
    fails 'No such file or directory' rmdir bills
    fails 'Not a directory' rmdir orders/0
}

@test "topic names are Kafka's" {
    mkdir a A9 a.b a_b a-b 0 "$(printf 'n%.0s' {1..249})" _x
    for name in '.hidden' '__internal' 'a b' 'a:b' 'a@b' 'grün' 'a+b' $'a\nb'; do
        fails 'Invalid argument' mkdir "$name"
    done
    run mkdir "$(printf 'n%.0s' {1..250})"
    [ "$status" -ne 0 ]
    is "$(ls | wc -l)" 8
}

@test "touch adds the next partition, and no other" {
    mkdir orders
    touch orders/1
    touch orders/2
    is "$(ls orders | tr '\n' ' ')" '0 1 2 '
    is "$(attr orders user.topic.partitions)" 3
    fails 'Operation not permitted' touch orders/4
    fails 'Operation not permitted' touch orders/03
    fails 'Operation not permitted' touch orders/readme
    fails 'Operation not permitted' touch orders/-1
    is "$(ls orders | wc -l)" 3
}

@test "touch on an existing partition succeeds and changes nothing" {
    mkdir orders
    echo one >> orders/0
    before=$(stat -c '%s %Y %y %i %a %b' orders/0)
    later
    touch orders/0
    is "$(stat -c '%s %Y %y %i %a %b' orders/0)" "$before"
}

@test "nothing makes a partition by mistake" {
    mkdir orders
    fails 'Operation not permitted' sh 'echo x > orders/1'
    fails 'No such file or directory' sh 'echo x >> orders/1'
    fails 'Operation not permitted' cp /etc/passwd orders/1
    fails 'Operation not permitted' cp /etc/passwd orders/
    fails 'Operation not permitted' sh 'set -C; echo x > orders/1'
    py <<'P'
same(error(os.open, "orders/1", APPEND | os.O_CREAT), "ENOENT")
same(error(os.open, "orders/1", os.O_WRONLY | os.O_CREAT | os.O_EXCL), "EPERM")
same(error(os.open, "orders/1", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "EPERM")
check(error(os.open, "orders/x", APPEND | os.O_CREAT) in ("EPERM", "ENOENT"))
same(error(os.mknod, "orders/x"), "EPERM")
P
    is "$(ls orders)" 0
}

@test "a partition added while a reader is there is found at once" {
    mkdir orders
    fails 'No such file or directory' cat orders/1
    touch orders/1
    echo x >> orders/1
    is "$(cat orders/*)" x
}

@test "mkdir anywhere but at the top is EPERM" {
    mkdir orders
    for dir in orders/x orders/.follow/x orders/.json/x orders/.segments/x orders/.segments/0/x .cluster/x .internal/x; do
        fails 'Operation not permitted' mkdir "$dir"
    done
}

@test "names with a dot are reached by name and never listed" {
    mkdir orders
    is "$(ls -a)" $'.\n..\norders'
    is "$(ls -a orders)" $'.\n..\n0'
    ls -d .cluster .internal orders/.follow orders/.json orders/.segments orders/.any > /dev/null
}

@test "what is inside the dot directories is listed" {
    mkdir orders
    touch orders/1
    is "$(ls orders/.follow | tr '\n' ' ')" '0 1 '
    is "$(ls orders/.json | tr '\n' ' ')" '0 1 '
    is "$(ls orders/.segments | tr '\n' ' ')" '0 1 '
    is "$(ls .cluster | tr '\n' ' ')" 'groups metrics nodes partitions '
    ls .internal | grep -qx __cluster_metadata
}

@test "find, grep -r and cp -r meet each record once, and end" {
    mkdir orders bills
    touch orders/1
    echo 'needle a' >> orders/0
    echo 'needle b' >> orders/1
    echo 'needle c' >> bills/0
    is "$(find . | sort | tr '\n' ' ')" '. ./bills ./bills/0 ./orders ./orders/0 ./orders/1 '
    is "$(grep -rh needle . | sort)" $'needle a\nneedle b\nneedle c'
    cp -r . "$T/copy"
    is "$(cd "$T/copy" && find . -type f | sort | tr '\n' ' ')" './bills/0 ./orders/0 ./orders/1 '
    is "$(cat orders/*)" $'needle a\nneedle b'
}

@test "rename, link, symlink and mknod are EPERM" {
    mkdir orders bills
    echo x >> orders/0
    py <<'P'
same(error(os.rename, "orders", "other"), "EPERM")
same(error(os.rename, "orders/0", "orders/1"), "EPERM")
same(error(os.rename, "orders/0", "bills/1"), "EPERM")
same(error(os.link, "orders/0", "orders/1"), "EPERM")
same(error(os.link, "orders/0", "orders/name"), "EPERM")
same(error(os.symlink, "orders/0", "orders/name"), "EPERM")
same(error(os.symlink, "orders", "name"), "EPERM")
same(error(os.mkfifo, "orders/fifo"), "EPERM")
same(error(os.mkfifo, "fifo"), "EPERM")
same(error(os.mknod, "file", 0o600 | 0o100000), "EPERM")
same(error(os.unlink, "orders/0"), "EPERM")
P
    fails 'Operation not permitted' touch file
    fails 'Operation not permitted' sh 'echo x > file'
    is "$(ls)" $'bills\norders'
    is "$(cat orders/0)" x
}

@test "df shows the file system that holds the data, du what is retained" {
    mkdir orders
    is "$(df --output=size . | tail -n 1)" "$(df --output=size "$DATA" | tail -n 1)"
    head -c 1000000 /dev/zero | tr '\0' '\n' >> orders/0
    at_least "$(du -s --block-size=1 orders | cut -f1)" 1000000
    at_most "$(du -s --block-size=1 orders | cut -f1)" 1010000
}

@test "topics, partitions and records are there after a restart and after kill -9" {
    mkdir orders bills
    touch orders/1
    echo a >> orders/0
    echo b >> orders/1
    before=$(find . | sort; cat orders/*)
    remount
    is "$(find . | sort; cat orders/*)" "$before"
    mkdir later
    echo c >> later/0
    restart_after_kill
    is "$(cat orders/* later/*)" $'a\nb\nc'
    is "$(ls | tr '\n' ' ')" 'bills later orders '
}

@test "a topic made again is not the old one" {
    mkdir orders
    id=$(attr orders user.topic.id)
    ino=$(stat -c %i orders/0)
    set_attr orders user.config.retention.ms 1234567
    set_attr orders user.config.delete.topic.enable true
    echo old >> orders/0
    rmdir orders
    mkdir orders
    is "$(cat orders/0)" ''
    is "$(attr orders/0 user.log.end_offset)" 0
    is "$(attr orders user.config.retention.ms)" 604800000
    [ "$(attr orders user.topic.id)" != "$id" ]
    [ "$(stat -c %i orders/0)" != "$ino" ]
    remount
    is "$(cat orders/0)" ''
}

@test "a thousand topics can be made and listed" {
    seq -f 'topic-%.0f' 1000 | xargs mkdir
    is "$(ls | wc -l)" 1000
    is "$(ls -l | grep -c ^d)" 1000
    echo x >> topic-777/0
    is "$(cat topic-*/0)" x
    seq -f 'topic-%.0f' 1000 | grep -vx topic-777 | xargs rmdir
    is "$(ls)" topic-777
}

@test "a hundred partitions are listed in the order of their numbers" {
    mkdir orders
    set_attr orders user.topic.partitions 100
    is "$(ls -U orders | tr '\n' ' ')" "$(seq 0 99 | tr '\n' ' ')"
    for p in 0 7 42 99; do echo "$p" >> orders/$p; done
    is "$(cat orders/{7,42,99,0} | tr '\n' ' ')" '7 42 99 0 '
}

@test "the status files can be read, and not written" {
    mkdir orders
    echo x >> orders/0
    cat .cluster/nodes .cluster/partitions > "$T/seen"
    grep -q 1 "$T/seen"
    grep -q orders .cluster/partitions
    is "$(grep -vcE '^(#.*|[a-zA-Z_:][a-zA-Z0-9_:]*(\{[^}]*\})? [-+0-9.eEInfNa]+)$' .cluster/metrics || :)" 0
    at_least "$(grep -vc '^#' .cluster/metrics)" 5
    for file in groups nodes partitions metrics; do
        fails '' sh "echo x >> .cluster/$file"
        fails '' sh "echo x > .cluster/$file"
        fails '' rm ".cluster/$file"
    done
}

@test "a status file has its text's true size, so that whatever trusts a size copies all of it" {
    mkdir orders
    py "$T/out" <<'P'
os.setxattr("orders", "user.topic.partitions", b"300")
for name in "nodes", "partitions", "metrics":
    file = ".cluster/" + name
    fd = os.open(file, os.O_RDONLY)
    size = os.fstat(fd).st_size
    text = pread_all(fd, 1 << 20, 0)
    same(len(text), size)
    same(text[-1:], b"\n")
    for flags in mmap.MAP_SHARED, mmap.MAP_PRIVATE:
        same(mmap.mmap(fd, size, flags=flags, prot=mmap.PROT_READ)[:], text)
    out = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    same(os.sendfile(out, fd, 0, 1 << 20), size)
    same(read_all(sys.argv[1]), text)
    same(os.pread(fd, 10, size), b"")
    shutil.copyfile(file, sys.argv[1])
    same(len(read_all(sys.argv[1])), os.stat(sys.argv[1]).st_size)
same(read_all(sys.argv[1]).count(b"\nlogmnt_high_watermark{"), 300)
check(text.count(b"\nlogmnt_high_watermark{") == 300 and size > 10000)
P
    is "$(wc -c < .cluster/partitions)" "$(cat .cluster/partitions | wc -c)"
    is "$(ls -l .cluster | awk 'NR > 1 && $5 < 20' | wc -l)" 0
}

@test "a status file is made anew at each look, and what is open stays as it was" {
    mkdir orders
    exec 4< .cluster/partitions
    is "$(awk '$1 == "orders" { print $8 }' .cluster/partitions)" 0
    before=$(size .cluster/partitions)
    seq 1234 >> orders/0
    is "$(awk '$1 == "orders" { print $8 }' .cluster/partitions)" 1234
    is "$(size .cluster/partitions)" "$(cat .cluster/partitions | wc -c)"
    at_least "$(size .cluster/partitions)" $((before + 3))
    is "$(awk '$1 == "orders" { print $8 }' <&4)" 0
    is "$(stat -c %i .cluster/metrics)" "$(stat -c %i .cluster/metrics)"
    py <<'P'
# Readers and writers side by side: each open file is whole.
stop = threading.Event()
def grow():
    while not stop.is_set():
        append("orders/0", b"one more\n")
thread = threading.Thread(target=grow)
thread.start()
for _ in range(500):
    with open(".cluster/partitions", "rb", buffering=0) as f:
        size = os.fstat(f.fileno()).st_size
        text = f.readall()
        same((len(text), text[-1:]), (size, b"\n"))
stop.set()
thread.join()
P
}

@test "the metadata log can be read like any topic, and not written" {
    mkdir orders
    at_least "$(wc -c < .internal/__cluster_metadata/0)" 1
    ls .internal/__cluster_metadata | grep -qx 0
    fails '' sh 'echo x >> .internal/__cluster_metadata/0'
    fails '' rmdir .internal/__cluster_metadata
    fails '' mkdir .internal/x
}

@test "a name of 256 bytes is ENAMETOOLONG, one of 255 is not, wherever it is looked up" {
    mkdir orders
    echo one >> orders/0
    long=$(printf 'n%.0s' {1..256})
    for dir in . orders orders/.follow orders/.json orders/.segments orders/.segments/0 .internal .cluster; do
        py "$dir" "$long" <<'P'
dir, long = sys.argv[1:]
calls = [os.stat, os.mkdir, os.rmdir, os.unlink, os.listdir, lambda p: os.mknod(p, 0o600), lambda p: os.open(p, os.O_RDONLY),
         lambda p: os.open(p, os.O_WRONLY | os.O_APPEND | os.O_CREAT), lambda p: os.symlink("x", p), lambda p: os.rename(p, p + "x"),
         lambda p: os.link(p, p + "x"), lambda p: os.chmod(p, 0o600), lambda p: os.getxattr(p, "user.x"), lambda p: os.stat(p + "/0")]
for number, call in enumerate(calls):
    for name in long, "0@" + long[2:], long * 4:
        same((dir, number, error(call, f"{dir}/{name}")), (dir, number, "ENAMETOOLONG"))
    check(error(call, f"{dir}/{long[:-1]}") in ("ENOENT", "EPERM", "EINVAL"), dir, number)
    check(error(call, f"{dir}/0@{long[:-3]}") in ("ENOENT", "EPERM", "EINVAL"), dir, number)
same(os.statvfs(dir).f_namemax, 255)
same(os.pathconf(dir, "PC_NAME_MAX"), 255)
P
    done
    is "$(ls)" orders
}
