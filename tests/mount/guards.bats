#!/usr/bin/env bats
# Programs that delete must destroy nothing.
load lib

setup() {
    log_setup
    mount_log
    cd "$M"
    mkdir orders
    touch orders/1
    echo keep >> orders/0
    echo this >> orders/1
}

kept() {
    is "$(cat "$M"/orders/*)" $'keep\nthis'
    is "$(ls "$M/orders" | tr '\n' ' ')" '0 1 '
}

@test "rmdir of a topic that retains records is ENOTEMPTY" {
    fails 'Directory not empty' rmdir orders
    kept
}

@test "rm of a partition is EPERM" {
    fails 'Operation not permitted' rm -f orders/0
    fails 'Operation not permitted' unlink orders/1
    kept
}

@test "rm -rf loses nothing" {
    fails 'Operation not permitted' rm -rf orders
    cd "$T"
    run rm -rf "$M"
    [ "$status" -ne 0 ]
    kept
}

@test "find -delete loses nothing" {
    run find . -mindepth 1 -delete
    [ "$status" -ne 0 ]
    kept
}

@test "python's rmtree loses nothing" {
    py <<'P'
shutil.rmtree("orders", ignore_errors=True)
same(error(shutil.rmtree, "orders"), "EPERM")
P
    kept
}

@test "rsync --delete loses nothing" {
    mkdir "$T/empty"
    run rsync -a --delete "$T/empty/" "$M/"
    [ "$status" -ne 0 ]
    kept
    echo other > "$T/empty/0"
    run rsync -a --delete --inplace "$T/empty/" "$M/orders/"
    [ "$status" -ne 0 ]
    kept
}

@test "cp, mv, sed -i, shred and truncate lose nothing" {
    echo other > "$T/0"
    for try in "cp $T/0 orders/0" "cp -f $T/0 orders/0" "mv $T/0 orders/0" "mv orders/0 $T/1" "sed -i s/keep/x/ orders/0" \
        'shred orders/0' 'truncate -s 0 orders/0' 'truncate -s 1000 orders/0' 'install /etc/passwd orders/0' ': > orders/0' \
        'ln -sf /etc/passwd orders/0' 'fallocate -l 1000 orders/0' 'fallocate -z -o 0 -l 5 orders/0' \
        'fallocate -c -o 0 -l 4096 orders/0'; do
        fails '' sh "$try"
        kept
    done
}

@test "O_TRUNC is refused of an open for reading, too" {
    mkdir .groups/kitchen soup
    echo leek >> soup/0
    py <<'P'
flags = os.O_RDONLY | os.O_TRUNC
same(error(os.open, "soup/0", flags), "EPERM")
for name in ("soup/0@0", "soup/.follow/0", "soup/.json/0", ".groups/kitchen/soup", ".groups/kitchen/.json/soup",
             ".cluster/metrics", "soup/.any"):
    same((name, error(os.open, name, flags)), (name, "EACCES"))
P
    is "$(cat soup/0)" leek
}

@test "with delete.topic.enable a topic goes with its records" {
    set_attr orders user.config.delete.topic.enable true
    rmdir orders
    [ ! -e orders ]
    is "$(ls "$DATA/topics" | grep -c '^orders-[0-9]*$' || :)" 0
    remount
    [ ! -e orders ]
}

@test "even then rm -rf does not get at the partitions" {
    set_attr orders user.config.delete.topic.enable true
    fails 'Operation not permitted' rm -rf orders
    kept
}

@test "a deleted topic is ESTALE under an open file" {
    set_attr orders user.config.delete.topic.enable true
    exec 4>> orders/0 5< orders/0
    rmdir orders
    fails 'Stale file handle' sh 'echo x >&4'
    fails 'Stale file handle' sh 'cat <&5'
    mkdir orders
    fails 'Stale file handle' sh 'echo x >&4'
    is "$(cat orders/0)" ''
}

@test "fsync of an open file of a deleted topic is ESTALE, whatever it had written" {
    py <<'P'
def appended(path, data=b"", then=None):
    fd = os.open(path, APPEND)
    same(os.write(fd, data), len(data))
    if then:
        then(fd)
    return fd
for name in "0", ".any":
    os.mkdir("bills")
    os.setxattr("bills", "user.config.delete.topic.enable", b"true")
    path = "bills/" + name
    fds = [appended(path), appended(path, b"half"), appended(path, b"line\n"), appended(path, b"line\n", os.fsync)]
    fds += [os.open("bills/" + view, os.O_RDONLY) for view in ("0", "0@start", ".follow/0", ".json/0")]
    os.rmdir("bills")
    same([error(call, fd) for fd in fds for call in (os.fsync, os.fdatasync)], ["ESTALE"] * 2 * len(fds))
    for fd in fds:
        os.close(fd)
P
}

@test "a follower of a deleted topic is not left waiting" {
    set_attr orders user.config.delete.topic.enable true
    bg cat orders/.follow/0 > /dev/null
    reader=$!
    wait_until 'ls -l /proc/'$reader'/fd | grep -q follow'
    rmdir orders
    wait_until '[ ! -e /proc/'$reader' ] || grep -q "^State:.Z" /proc/'$reader'/status'
}
