#!/usr/bin/env bats
# Nothing grows over millions of opens: the daemon's own counts of nodes and open files are afterwards what they were
# before, to the one. The kernel forgets a name some time after the last close of it, so that is waited for; a last name it
# may keep, so those are looked at before each count.
load lib

setup() {
    log_setup
    mount_log
    cd "$M"
    mkdir orders
    seq 1000 >> orders/0
    # These two stay known to the kernel whatever their time-out is; the views' directories do for a second.
    exec 4< orders 5< .cluster
}

counts() { awk '/^logmnt_(file_nodes|open_files) / { printf "%s ", $2 }' .cluster/metrics; }

# Does it, and then there are the nodes of orders, .cluster and metrics, those of NAMES, and the open files of the first
# three.
leaves_nothing() { # NAMES PROGRAM
    local names=($1)
    py <<<"$2"
    wait_until "stat $1 > '$T/stat' && [ \"\$(counts)\" = '$((3 + ${#names[@]})) 3 ' ]" ||
        { echo "expected: $((3 + ${#names[@]})) 3, seen: $(counts)"; return 1; }
}

@test "opens, writes and closes leave nothing behind" {
    leaves_nothing orders/0 '
for n in range(10000):
    append("orders/0", b"line\n")'
}

@test "contended opens, with a node each, leave nothing behind" {
    leaves_nothing orders/0 '
held = os.open("orders/0", APPEND)
threads = [threading.Thread(target=lambda: [append("orders/0", b"line\n") for _ in range(1500)]) for _ in range(3)]
for t in threads:
    t.start()
for t in threads:
    t.join()
os.close(held)'
}

@test "names that are not there, and refused ones, leave nothing behind" {
    leaves_nothing orders/0 '
for n in range(10000):
    check(not os.path.exists(f"orders/name{n}") and not os.path.exists(f"topic{n}"))
for n in range(5000):
    same(error(os.open, f"orders/name{n}", os.O_WRONLY | os.O_CREAT), "EPERM")
    same(error(os.mkdir, f"orders/name{n}"), "EPERM")'
}

@test "of fifteen thousand addresses the latest 4,096 at most are remembered" {
    seq 5000 >> orders/0
    py <<'P'
for view in "", ".follow/", ".json/":
    for n in range(5000):
        os.close(os.open(f"orders/{view}0@{n}", os.O_RDONLY))
same(read_all("orders/0@5990"), b"".join(b"%d\n" % n for n in range(4991, 5001)))
P
    # orders, .follow, .json, .cluster, metrics
    wait_until '[ "$(counts | cut -d " " -f 1)" -le $((4096 + 5)) ]'
    is "$(counts | cut -d ' ' -f 2)" 3
}

@test "topics that come and go leave nothing behind" {
    leaves_nothing orders/0 '
for n in range(60):
    os.mkdir(f"topic{n}")
    fd = os.open(f"topic{n}/0", APPEND)
    views = [os.open(f"topic{n}/{view}/0", os.O_RDONLY) for view in (".json", ".follow")]
    os.rmdir(f"topic{n}")
    same(error(os.write, fd, b"late\n"), "ESTALE")
    for f in fd, *views:
        os.close(f)'
    wait_until '[ -z "$(ls "$DATA/topics" | grep topic)" ]'
}

@test "a group's stream of a topic that was deleted leaves nothing on the disk" {
    mkdir .groups/kitchen
    py <<'P'
for view in "", ".json/":
    os.mkdir("gone")
    os.setxattr("gone", "user.config.delete.topic.enable", b"true")
    append("gone/0", b"x\n")
    closed, held = [os.open(f".groups/kitchen/{view}gone", os.O_RDONLY) for _ in range(2)]
    check(os.read(closed, 100))
    os.close(closed)
    os.rmdir("gone")
    same(error(os.read, held, 100), "ESTALE")
    os.close(held)
P
    wait_until '[ -z "$(ls "$DATA/topics" | grep gone)" ]'
}

@test "open files whose process is killed leave nothing behind" {
    leaves_nothing 'orders/0 orders/.follow orders/.follow/0@end' '
for n in range(200):
    pid = os.fork()
    if pid == 0:
        fds = [os.open("orders/0", APPEND), os.open("orders/.follow/0@end", os.O_RDONLY), os.open("orders", os.O_RDONLY)]
        os.write(fds[0], b"line\nhalf")
        fcntl.flock(fds[0], fcntl.LOCK_SH)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)'
}
