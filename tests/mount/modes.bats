#!/usr/bin/env bats
# Owner, group and mode: kept, and enforced.
load lib

setup() {
    log_setup
    mount_log allow_other
    cd "$M"
}

as() { # UID COMMAND…: as that user, in the group of the same number
    local uid=$1
    shift
    [ "$1" != sh ] || { shift; set -- bash -c "$@"; }
    setpriv --reuid="$uid" --regid="$uid" --clear-groups "$@"
}

@test "a topic belongs to who made it, with the umask's mode" {
    chmod 1777 .
    (umask 027 && as 1234 mkdir orders)
    is "$(stat -c '%u %g %a' orders)" '1234 1234 750'
    is "$(stat -c '%u %g %a' orders/0)" '1234 1234 640'
    mkdir bills
    is "$(stat -c '%u %g %a' bills bills/0 | tr '\n' ,)" '0 0 755,0 0 644,'
}

@test "w on MOUNT is the right to make topics" {
    fails 'Permission denied' as 1234 mkdir orders
    chmod 777 .
    as 1234 mkdir orders
    is "$(stat -c %u orders)" 1234
}

@test "w on a partition is the right to produce, r to consume" {
    mkdir orders
    echo one >> orders/0
    chmod 640 orders/0
    fails 'Permission denied' as 1234 cat orders/0
    fails 'Permission denied' as 1234 sh 'echo x >> orders/0'
    chmod 644 orders/0
    is "$(as 1234 cat orders/0)" one
    fails 'Permission denied' as 1234 sh 'echo x >> orders/0'
    chmod 622 orders/0
    as 1234 sh 'echo two >> orders/0'
    fails 'Permission denied' as 1234 cat orders/0
    is "$(cat orders/0)" $'one\ntwo'
}

@test "the mode of a partition is for all of them and their views" {
    mkdir orders
    touch orders/1
    echo one >> orders/0
    chmod 600 orders/1
    is "$(stat -c %a orders/0 orders/1 | tr '\n' ' ')" '600 600 '
    for file in orders/0 orders/0@0 orders/.follow/0 orders/.json/0 orders/.segments/0/00000000000000000000.log; do
        fails 'Permission denied' as 1234 timeout 30 head -n 1 "$file"
    done
    fails 'Permission denied' as 1234 sh 'echo x >> orders/.any'
    chown 1234:1234 orders/0
    is "$(stat -c '%u %g' orders orders/0 orders/1 | sort -u)" '1234 1234'
    is "$(as 1234 head -n 1 orders/0@0)" one
    as 1234 sh 'echo x >> orders/.any'
}

@test "chmod of a partition keeps all that it is given; its views have r bits alone" {
    mkdir orders
    echo one >> orders/0
    for mode in 755 711 4755 2644 1644 7777 644; do
        chmod "$mode" orders/0
        is "$(stat -c %a orders/0)" "$mode"
        is "$(printf %o $((0$(stat -c %a orders/0@0) | 0444)))" 444
        is "$(printf %o $((0$(stat -c %a orders/.json/0) | 0444)))" 444
        is "$(printf %o $((0$(stat -c %a orders/.any) | 0222)))" 222
    done
    chmod +x orders/0
    remount allow_other
    is "$(stat -c %a orders/0)" 755
    mkdir scripts
    printf '#!/bin/sh\necho it runs\n' >> scripts/0
    chmod 755 scripts/0
    is "$(scripts/0)" 'it runs'
}

@test "a chmod of a topic shows in its views at once" {
    mkdir orders
    chmod 755 orders
    is "$(stat -c %a orders/.follow orders/.segments)" $'555\n555'
    chmod 750 orders
    is "$(stat -c %a orders/.follow orders/.segments)" $'550\n550'
}

@test ".any has the partitions' w bits" {
    mkdir orders
    chmod 666 orders/0
    is "$(stat -c %a orders/.any)" 222
    as 1234 sh 'echo x >> orders/.any'
    fails 'Permission denied' as 1234 cat orders/.any
}

@test "owner, group and mode are kept over a restart and kill -9" {
    mkdir orders
    chmod 2770 orders
    chmod 660 orders/0
    chown 1234:2345 orders/0
    chmod 1777 .
    before=$(stat -c '%n %u %g %a' . orders orders/0)
    remount allow_other
    is "$(stat -c '%n %u %g %a' . orders orders/0)" "$before"
    restart_after_kill allow_other
    is "$(stat -c '%n %u %g %a' . orders orders/0)" "$before"
}

@test "settings and DeleteRecords need the owner or root, also with w" {
    mkdir orders
    chmod 777 . orders
    chmod 666 orders/0
    seq 10 >> orders/0
    fails 'Operation not permitted' as 1234 setfattr -n user.config.retention.ms -v 1 orders
    fails 'Operation not permitted' as 1234 setfattr -x user.config.retention.ms orders
    fails 'Operation not permitted' as 1234 setfattr -n user.topic.partitions -v 5 orders
    fails 'Operation not permitted' as 1234 fallocate -p -o 0 -l 10 orders/0
    fails 'Operation not permitted' as 1234 setfattr -n user.config.num.partitions -v 5 .
    is "$(cat orders/0)" "$(seq 10)"
    is "$(attr orders user.config.retention.ms)" 604800000
    chown 1234 orders
    as 1234 setfattr -n user.config.retention.ms -v 100000000 orders
    as 1234 fallocate -p -o 0 -l 4 orders/0
    is "$(cat orders/0)" "$(seq 3 10)"
}

@test "chmod and chown need the owner" {
    mkdir orders
    fails 'Operation not permitted' as 1234 chmod 777 orders
    fails 'Operation not permitted' as 1234 chmod 777 orders/0
    fails 'Operation not permitted' as 1234 chown 1234 orders/0
    chown 1234:1234 orders
    as 1234 chmod 700 orders
    is "$(stat -c %a orders)" 700
    fails 'Operation not permitted' as 1234 chown 0 orders
}

# Each call by each user, of what is 1234:80, and what became of it; whether that is so does not depend on the kind of file
# system, so a directory and a file of the disk say what is right.
@test "chown does what it does to files of a disk, whoever asks for what" {
    mkdir orders .groups/kitchen "$T/dir"
    touch "$T/file"
    py "$M" "$T" <<'P'
mount, disk = sys.argv[1:]
KEEP, OWNER, OTHER, OWN, PRIMARY, IN, OUT = -1, 1234, 4321, 80, 70, 71, 90
USERS = {"owner": OWNER, "other": OTHER, "root": 0}

def chown(path, user, uid, gid, mode):
    os.chown(path, OWNER, OWN)
    os.chmod(path, mode)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([IN])
            os.setresgid(PRIMARY, PRIMARY, PRIMARY)
            os.setresuid(user, user, user)
            os.chown(path, uid, gid)
            os._exit(0)
        except OSError as e:
            os._exit(e.errno)
    rc = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    now = os.stat(path)
    return errno.errorcode.get(rc, "well"), now.st_uid, now.st_gid, oct(now.st_mode & 0o7777)

bad = 0
for name, like, mode in [("orders/0", "file", 0o640), ("orders/0", "file", 0o6750), ("orders", "dir", 0o751),
                         (".groups/kitchen", "dir", 0o755), (".groups", "dir", 0o1777), ("", "dir", 0o1777)]:
    for user, uid, gid in itertools.product(USERS, (KEEP, OWNER, OTHER), (KEEP, OWN, PRIMARY, IN, OUT)):
        expected = chown(f"{disk}/{like}", USERS[user], uid, gid, mode)
        seen = chown(f"{mount}/{name}", USERS[user], uid, gid, mode)
        if seen != expected:
            print(f"{user}: chown {uid}:{gid} {name or 'MOUNT'} ({mode:o}): {seen}, on a disk {expected}")
            bad += 1
sys.exit(bad > 0)
P
}

@test "who was the owner when he opened a file changes nothing of it later, nor of another one of its name" {
    mkdir orders bills .groups/kitchen
    chown 1234:1234 orders bills .groups/kitchen
    cat >"$T/late.py" <<'END'
import errno, os, sys
mount, done = sys.argv[1:]
opened = {name: os.open(f"{mount}/{name}", os.O_RDONLY) for name in ("orders/0", "bills", "bills/0", ".groups/kitchen")}
open(f"{done}/opened", "w").close()
while not os.path.exists(f"{done}/changed"):
    pass
for name, fd in opened.items():
    for call in (lambda: os.fchmod(fd, 0o666), lambda: os.fchown(fd, -1, 1234)):
        try:
            call()
            print(name, "allowed")
        except OSError as e:
            print(name, errno.errorcode[e.errno])
END
    mkdir -m 777 "$T/done"
    bg as 1234 python3 "$T/late.py" "$M" "$T/done" >"$T/late"
    wait_until "[ -e $T/done/opened ]"
    chown 0:0 orders
    rmdir bills .groups/kitchen
    mkdir bills .groups/kitchen
    touch "$T/done/changed"
    wait "${BG[@]}"
    BG=()
    is "$(uniq "$T/late")" 'orders/0 EPERM
bills ESTALE
bills/0 ESTALE
.groups/kitchen ESTALE'
    is "$(stat -c '%n %a %u %g' orders/0 bills bills/0 .groups/kitchen)" 'orders/0 644 0 0
bills 755 0 0
bills/0 644 0 0
.groups/kitchen 755 0 0'
}

@test "rmdir needs w on MOUNT, and with the sticky bit the owner" {
    chmod 1777 .
    as 1234 mkdir orders
    fails 'Operation not permitted' as 2345 rmdir orders
    as 1234 rmdir orders
    mkdir bills
    chmod 755 .
    fails 'Permission denied' as 1234 rmdir bills
}

@test "touch of the next partition needs w on the topic" {
    mkdir orders
    fails 'Permission denied' as 1234 touch orders/1
    chown 1234 orders
    as 1234 touch orders/1
    is "$(ls orders | tr '\n' ' ')" '0 1 '
    is "$(stat -c '%u %a' orders/0)" "$(stat -c '%u %a' orders/1)"
}

@test "a topic without x keeps everybody out of its views" {
    mkdir orders
    echo one >> orders/0
    chmod 700 orders
    for file in orders/0 orders/.follow/0 orders/.json/0 orders/.segments/0/00000000000000000000.log; do
        fails 'Permission denied' as 1234 timeout 30 head -n 1 "$file"
    done
}

@test "without allow_other another user is kept out of the mount" {
    mkdir orders
    remount
    cd "$T"
    fails 'Permission denied' as 1234 ls "$M"
    cd "$M"
}
