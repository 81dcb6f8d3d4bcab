#!/usr/bin/env bats
# One descriptor, many hands: several threads of several processes use the same open files at once, in every way in
# which Linux lets them; every acknowledged line is there, whole and once (tests/hands). A failure prints the seed;
# HANDS_SEED=N runs it again.
load lib

HANDS=$ROOT/build/tests/hands

setup() {
    log_setup
    [ -x "$HANDS" ] || { echo "$HANDS is not there: make hands"; return 1; }
}

# hands MOUNT-OPTIONS WRITES WORD…: a topic of three partitions, and the hands on it.
hands() {
    local options=$1 writes=$2 max=33554432 word
    shift 2
    mount_log "$options"
    cd "$M"
    mkdir t
    set_attr t user.topic.partitions 3
    for word in "$@"; do
        case $word in
        max=*) max=${word#max=} ;;
        keyed) set_attr t user.config.key.separator : ;;
        esac
    done
    set_attr t user.config.max.message.bytes "$max"
    [ -z "$SANITIZED" ] || writes=$((writes / 3))
    timeout "$BATS_TEST_TIMEOUT" "$HANDS" "$M/t" "max=$max" "writes=$writes" ${HANDS_SEED:+"seed=$HANDS_SEED"} "$@"
}

@test "lines of any length, written in pieces, through partitions and .any" { hands '' 18 tails pieces; }

@test "the same while lines linger" { hands linger.ms=5 18 tails pieces; }

@test "records with keys, and lines that are too long" { hands '' 40 tails keyed max=20000; }

@test "the same while they linger" { hands linger.ms=5 40 tails keyed max=20000; }

@test "signals, and appends that wait for their replicas" { hands '' 30 tails parks; }

@test "O_APPEND comes and goes" { hands '' 40 flips max=20000; }
