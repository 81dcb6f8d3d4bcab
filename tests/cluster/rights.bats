#!/usr/bin/env bats
# Owner, group and mode are enforced on every mount, and by what is decided, not by what a host has heard.
load lib

controller() { attr "$C/$1" user.cluster.controller 2>/dev/null; } # as NODE knows it
# The quorum has formed: each node knows the same controller, and all to be up.
formed() {
    local node first
    first=$(controller 1)
    [[ $first =~ ^[0-9]+$ ]] || return 1
    for node in 1 2 3; do
        [ "$(controller $node)" = "$first" ] && [ "$(awk '$4 == "up"' "$C/$node/.cluster/nodes" | wc -l)" = 3 ] || return 1
    done
}
form() { # [OPTIONS]
    chmod 755 "$T"
    start_cluster -o "allow_other${1:+,$1}" 3
    wait_until formed
    is "$(as 7 ls -a "$C/2" | wc -l)" 2
}
others() { for node in 1 2 3; do [[ " $* " == *" $node "* ]] || echo "$node"; done; } # NODE…
on_all() { for node in 1 2 3; do soon "$1"; done; }                                  # CONDITION: of $node

as() { # UID COMMAND…: as that user, in the group of the same number
    local uid=$1
    shift
    setpriv --reuid="$uid" --regid="$uid" --clear-groups "$@"
}
in_group() { # GROUPS UID COMMAND…: in these, besides
    local groups=$1 uid=$2
    shift 2
    setpriv --reuid="$uid" --regid="$uid" --groups="$groups" "$@"
}

# What timed out may have made it, or removed it.
made() { answered "$@" || [ -d "${!#}" ]; }   # COMMAND… DIRECTORY
gone() { answered "$@" || [ ! -e "${!#}" ]; } # COMMAND… DIRECTORY

@test "who may not is refused on every mount, and who may may" {
    form
    change mkdir "$C/1/orders" "$C/1/.groups/first"
    change chown 7:70 "$C/1/orders"
    on_all '[ "$(stat -c "%u %g" "$C/$node/orders")" = "7 70" ]'
    for node in 1 2 3; do
        m=$C/$node
        fails 'Permission denied' as 7 mkdir "$m/more"
        fails 'Permission denied' as 7 rmdir "$m/orders"
        fails 'Operation not permitted' as 7 chmod 777 "$m"
        fails 'Permission denied' as 7 setfattr -n user.config.num.partitions -v 2 "$m"
        fails 'Permission denied' as 7 setfattr -n user.cluster.voters -v 1,2,3 "$m"
        fails 'Permission denied' as 8 touch "$m/orders/1"
        fails 'Permission denied' as 8 setfattr -n user.config.retention.ms -v 5 "$m/orders"
        fails 'Permission denied' as 8 setfattr -n user.log.leader -v 1 "$m/orders/0"
        fails 'Operation not permitted' as 8 chmod 777 "$m/orders"
        fails 'Operation not permitted' as 8 chown 8 "$m/orders"
        fails 'Operation not permitted' as 7 chown 8 "$m/orders"
        fails 'Operation not permitted' as 7 chgrp 80 "$m/orders"
        change as 7 setfattr -n user.config.retention.ms -v "8640000$node" "$m/orders"
        soon "[ -e $m/orders/$((node - 1)) ]"
        change as 7 touch "$m/orders/$node"
        change as 7 chmod 7${node}5 "$m/orders"
        change in_group 70,80 7 chgrp 80 "$m/orders"
        change in_group "$(seq -s , 70 400)" 7 chgrp 70 "$m/orders"
        made as 7 mkdir "$m/.groups/g$node"
        fails 'Operation not permitted' as 8 rmdir "$m/.groups/g$node"
        change as 7 setfattr -n user.config.max.poll.records -v 5 "$m/.groups/g$node"
        gone as 7 rmdir "$m/.groups/g$node"
    done
    change chmod 775 "$C/1"
    change chgrp 90 "$C/1"
    on_all '[ "$(stat -c "%g %a" "$C/$node")" = "90 775" ]'
    for node in 1 2 3; do
        fails 'Permission denied' as 8 mkdir "$C/$node/by8-$node"
        made in_group 90 8 mkdir "$C/$node/by8-$node"
        # More than a command carries; which they are this host's kernel knows.
        gone in_group "$(seq -s , 1 300)" 8 rmdir "$C/$node/by8-$node"
    done
    change chmod 1777 "$C/1"
    on_all '[ "$(stat -c %a "$C/$node")" = 1777 ]'
    for node in 1 2 3; do
        fails 'Operation not permitted' as 8 rmdir "$C/$node/orders"
        made as 8 mkdir "$C/$node/mine$node"
        for other in $(others $node); do soon "[ -d $C/$other/mine$node ]"; done
        gone as 8 rmdir "$C/$(others $node | head -n 1)/mine$node"
    done
    gone as 7 rmdir "$C/2/orders"
}

# In the background; what it is told is in $T/said.
bg_as() { bg setpriv --reuid="$1" --regid="$1" --clear-groups "${@:2}" 2>>"$T/said"; } # UID COMMAND…
# It is in the call, which waits for the daemon, or over: mkdir, rmdir, setxattr, fchmodat, fchmodat2.
is_asked() { grep -qsE '^(83|84|188|268|452) ' "/proc/$1/syscall" || ! kill -0 "$1" 2>/dev/null; } # PID

# An rmdir on $asker waits for the leader of a partition, on $still, while its right is taken away on $boss.
late_rmdir() { # REFUSAL COMMAND…: takes the right away
    local refusal=$1 pid node
    change chmod 1777 "$C/$boss"
    change chown 7 "$C/$boss/orders"
    on_all '[ "$(stat -c "%u %a" "$C/$node" "$C/$node/orders" | tr "\n" " ")" = "0 1777 7 755 " ]'
    on_all '[ "$(attr "$C/$node/orders/0" user.log.leader)" = "$still" ]'
    cluster pause "$C" "$still"
    : >"$T/said"
    bg_as 7 rmdir "$C/$asker/orders"
    pid=$!
    wait_until "is_asked $pid"
    change "${@:2}"
    cluster resume "$C" "$still"
    not wait "$pid"
    BG=()
    # A machine that had no second for all that has it time out.
    grep -q -e "$refusal" -e 'timed out' -e 'Read-only' "$T/said"
    wait_until formed
    for node in 1 2 3; do ls -d "$C/$node/orders"; done
}

@test "an rmdir that waits while its right is taken away on another host removes nothing" {
    form node.session.timeout.ms=60000
    change mkdir "$C/1/orders"
    learn boss controller 1
    still=$(others "$boss" | head -n 1) asker=$(others "$boss" "$still")
    change set_attr "$C/$boss/orders/0" user.log.replicas "$still,$asker,$boss" # it is preferred as leader
    wait_until 'set_attr "$C/$boss/orders/0" user.log.leader "$still"'
    late_rmdir 'Permission denied' chmod 755 "$C/$boss"
    late_rmdir 'Operation not permitted' chown 0 "$C/$boss/orders"
    change rmdir "$C/$asker/orders"
}

# The controller hears the host, which does not hear what is decided.
@test "a host that has not heard of a revocation does not undo it" {
    form node.session.timeout.ms=60000
    change mkdir "$C/1/orders"
    change chmod 777 "$C/1"
    change chown 7 "$C/1/orders"
    on_all '[ "$(stat -c "%u %a" "$C/$node" "$C/$node/orders" | tr "\n" " ")" = "0 777 7 755 " ]'
    learn boss controller 1
    deaf=$(others "$boss" | head -n 1)
    cluster cut "$C" "${boss}to$deaf"
    change chmod 755 "$C/$boss"
    change chown 0 "$C/$boss/orders"
    bg_as 7 mkdir "$C/$deaf/more"
    bg_as 7 chmod 777 "$C/$deaf/orders"
    bg_as 7 setfattr -n user.config.retention.ms -v 5 "$C/$deaf/orders"
    for pid in "${BG[@]}"; do wait_until "is_asked $pid"; done
    cluster heal "$C"
    for pid in "${BG[@]}"; do not wait "$pid"; done # refused, or not answered in a second
    BG=()
    wait_until formed
    change mkdir "$C/$deaf/.groups/after" # behind all that it had asked for
    for node in 1 2 3; do
        wait_until "[ -e $C/$node/.groups/after ]"
        [ ! -e "$C/$node/more" ]
        soon '[ "$(stat -c "%u %a" "$C/$node" "$C/$node/orders" | tr "\n" " ")" = "0 755 0 755 " ]'
        is "$(attr "$C/$node/orders" user.config.retention.ms)" 604800000
    done
}
