#!/usr/bin/env bats
# Nobody waits for an append that waits: not who looks, not who changes, not who is told.
load lib

setup() {
    log_setup
    mount_log delivery.timeout.ms=600000
    cd "$M"
    mkdir orders
    echo first >> orders/0
}

# An append that waits until min.insync.replicas is 1 again; its process in $appender.
park() { # COMMAND…
    set_attr orders user.config.min.insync.replicas 2
    bg "$@"
    appender=$!
    wait_until 'grep -qs "^1 " /proc/$appender/syscall' # write
    wait_until 'grep -q "^logmnt_appends_parked [1-9]" .cluster/metrics'
}

unpark() { set_attr orders user.config.min.insync.replicas 1; }

# Within ten seconds: it would wait for as many minutes.
at_once() { timeout -s KILL 10 "$@" || { echo "it waited: $*"; return 1; }; }

looks_and_changes() {
    at_once stat orders/0 > /dev/null
    at_once chmod 640 orders/0
    at_once chown 0:0 orders/0
    at_once touch orders/0
    at_once getfattr -d orders/0 > /dev/null
    fails '' at_once setfattr -n user.log.leader -v 7 orders/0
    at_once ls -l orders > /dev/null
    is "$(at_once cat orders/0)" "$(cat orders/0@start)"
    at_once python3 -c 'import os; fd = os.open("orders/0", os.O_RDWR); os.fchmod(fd, 0o644)'
}

@test "not for the first appender of a partition" {
    park python3 -c 'import os; os.write(os.open("orders/0", os.O_WRONLY | os.O_APPEND), b"x\n")'
    looks_and_changes
    unpark
    wait "$appender"
}

@test "nor for one that opened it before, when others had looked at it" {
    stat orders/0 > /dev/null
    bg sleep 60 < orders/0
    mkfifo "$T/go"
    bg python3 -c 'import os, sys
fd = os.open("orders/0", os.O_WRONLY | os.O_APPEND)
open(sys.argv[1] + "/opened", "w")
open(sys.argv[1] + "/go").read()
os.write(fd, b"x\n")' "$T"
    appender=$!
    wait_until '[ -e "$T/opened" ]'
    set_attr orders user.config.min.insync.replicas 2
    echo > "$T/go"
    wait_until 'grep -q "^logmnt_appends_parked 1" .cluster/metrics'
    looks_and_changes
    unpark
    wait "$appender"
}

@test "nor by a descriptor that was open before the appender came" {
    exec 4< orders/0
    park python3 -c 'import os; os.write(os.open("orders/0", os.O_WRONLY | os.O_APPEND), b"x\n")'
    at_once python3 -c 'import os; os.fchmod(4, 0o640); os.fstat(4); os.utime(4)'
    at_once setfattr -n user.config.x -v 1 /proc/self/fd/4 < orders/0 2> "$T/said" || grep -q 'Invalid argument' "$T/said"
    unpark
    wait "$appender"
}

@test "nor for one whose process looks at what it appends to" {
    park python3 -c 'import os
os.stat("orders/0")
fd = os.open("orders/0", os.O_RDWR | os.O_APPEND)
os.stat("orders/0")
os.write(fd, b"x\n")'
    looks_and_changes
    unpark
    wait "$appender"
}

@test "appenders that come and go at once are each alone" {
    py <<'P'
import concurrent.futures
def one(n):
    for m in range(100):
        append("orders/0", b"%d.%d\n" % (n, m))
        if m % 7 == n:
            os.stat("orders/0")
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(one, range(8)))
lines = read_all("orders/0").split()[1:]
same(len(lines), 800)
for n in range(8):
    same([l for l in lines if l.startswith(b"%d." % n)], [b"%d.%d" % (n, m) for m in range(100)])
P
}
