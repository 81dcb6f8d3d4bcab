#!/usr/bin/env bats
# Changes to the tree that wait for the disk: a file system on a loop device that is frozen (fsfreeze(8): what writes to
# it waits) until the test thaws it.
load lib

setup() {
    log_setup
    loop_disk 64
    mount_log
    cd "$M"
}

teardown() {
    fsfreeze -u "$DISK" 2>/dev/null
    log_teardown
}

freeze() { sync -f "$DISK" && fsfreeze -f "$DISK"; }
thaw() { fsfreeze -u "$DISK"; }

# Of what runs in the background, those who wait for an answer of the daemon.
waiting() {
    local pid
    for pid in "${BG[@]}"; do cat "/proc/$pid/wchan" && echo; done | grep -c '^request_wait_answer$'
}

@test "any number of changes that wait keep nobody from reading, looking and listing" {
    local i
    for i in {1..24}; do mkdir "t$i"; done
    mkdir other
    echo hello >> other/0
    for i in {1..12}; do
        mkdir "d$i" # the kernel lets nobody look up a name in a directory that is being changed
        printf 'one\ntwo\n' >> "d$i/0"
    done
    freeze
    for i in {1..20}; do bg setfattr -n user.config.retention.ms -v "${i}000000" "t$i"; done
    bg chmod 700 t21
    bg touch t22/1
    bg setfattr -n user.config.framing -v msgpack t23
    for i in {1..12}; do bg fallocate -p -o 0 -l 4 "d$i/0"; done
    wait_until '[ "$(waiting)" -ge 35 ]'
    is "$(timeout 30 cat other/0)" hello
    is "$(timeout 30 stat -c %s other/0)" 6
    timeout 30 ls -l > /dev/null
    is "$(timeout 30 getfattr --only-values -n user.config.retention.ms t1)" 604800000
    is "$(stat -c %a t21)" 755
    is "$(timeout 30 cat d1/0)" $'one\ntwo'
    thaw
    for i in "${BG[@]}"; do wait "$i"; done
    BG=()
    for i in {1..20}; do is "$(attr "t$i" user.config.retention.ms)" "${i}000000"; done
    for i in {1..12}; do is "$(cat "d$i/0")" two; done
    is "$(stat -c %a t21)" 700
    is "$(echo t22/*)" "t22/0 t22/1"
    is "$(attr t23 user.config.framing)" msgpack
}
