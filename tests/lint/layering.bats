#!/usr/bin/env bats
# Who may include what, as docs/ARCHITECTURE.md lays down, and what the tree must not hold.

setup() { cd "$BATS_TEST_DIRNAME/../.." || return 1; }

# includes FOLDER: every "file:header" of the folder's sources.
includes() {
    grep -HoE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"][^>"]+' "$1"/*/*.[ch] 2>/dev/null |
        sed -E 's/:[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]/:/' || true
}

none() { # COMMAND…: prints nothing
    run "$@"
    echo "$output"
    [ -z "$output" ]
}

only_in() { # FOLDER HEADER-PATTERN: no other folder includes such a header
    local room
    for room in engine replication fs; do
        [ "$room" = "$1" ] || includes "$room" | grep -E ":($2)\$" || true
    done
}

@test "engine includes neither replication nor fs" {
    upward() { includes engine | grep -E ':(\.\./)*(replication|fs)/' || true; }
    none upward
}

@test "hot.ld names functions that there are" {
    unknown() {
        local file names name
        set -f
        tr '\n' ' ' <fs/serve/hot.ld | grep -oE '\*[a-z_/0-9]+\.o\([^)]*\)' | while IFS='(' read -r file names; do
            file=${file#\*} file=${file%.o}.c
            for name in ${names%)}; do
                name=${name#.text.} name=${name%\*}
                grep -qE "^[a-z].*\b$name\(" "$file" || echo "$file: no $name()"
            done
        done
    }
    none unknown
}

@test "replication never includes fs" {
    upward() { includes replication | grep -E ':(\.\./)*fs/' || true; }
    none upward
}

# upward LAYER FLOOR…: what reaches from a folder to one on its right. The folders of a layer are its floors, the lowest
# one first: a file includes only from its own and from those to the left of it.
upward() {
    local layer=$1 file header from to floor
    shift
    declare -A rank=()
    for floor in "$@"; do rank[$floor]=${#rank[@]}; done
    for floor in "$layer"/*/; do
        floor=${floor%/}
        [ -n "${rank[${floor##*/}]}" ] || echo "$floor is no floor"
    done
    while IFS=: read -r file header; do
        [[ $header == "$layer"/*/* ]] || continue
        from=${file#"$layer"/} to=${header#"$layer"/}
        from=${from%%/*} to=${to%%/*}
        [ "${rank[$to]:-99}" -le "${rank[$from]:--1}" ] || echo "$file includes $header"
    done < <(includes "$layer")
}

@test "the folders of a layer are its floors" {
    none upward engine base record segment log recover
    none upward fs base tree produce consume serve
    none upward replication base executor wire metadata replica group node
    between() { includes fs | grep -E '^fs/(produce/.*:fs/consume|consume/.*:fs/produce)/' || true; }
    none between
}

@test "headers are included from the root" {
    relative() { for d in engine replication fs; do includes $d | grep -E ':\.\.?/' || true; done; }
    none relative
}

@test "FUSE is known in fs alone" { none only_in fs 'fuse[a-z_0-9]*\.h|fuse3?/.*'; }

@test "libuv, OpenSSL and msgpack are known in replication alone" {
    none only_in replication 'uv\.h|uv/.*|openssl/.*|msgpack\.h|msgpack/.*'
}

@test "ISA-L is known in engine alone" { none only_in engine 'isa-l\.h|isa-l/.*|crc\.h'; }

@test "engine is plain POSIX: no threads' loop, no sockets" {
    network() { includes engine | grep -E ':(sys/socket|netinet/.*|arpa/.*|netdb|sys/epoll|poll)(\.h)?$' || true; }
    none network
}

@test "replication has its threads, its time and its chance from the executor and the clock" {
    past_the_seams() {
        grep -rnE '\b(pthread_create|pthread_cond_(timed)?wait|sched_yield|nanosleep|usleep|clock_gettime|getrandom)\(' \
            replication | grep -v '^replication/executor/executor_uv\.c:' || true
    }
    none past_the_seams
}

@test "engine and replication touch the disk through struct io" {
    # Not the data: what /proc says of a process, and whether a certificate can be read.
    past_io() {
        local calls='f?open|openat|opendir|p?readv?|p?writev?|f(data)?sync|syncfs|sync_file_range|f?truncate|fallocate'
        calls+='|rename(at2?)?|(un)?link(at)?|mkdir(at)?|rmdir|mmap|[fl]?stat|fstatat|f?statvfs|copy_file_range|sendfile'
        grep -rnE "(^|[^a-z_>.])($calls)\([^)0-9]" engine replication --include='*.c' |
            grep -vE '^(engine/base/io|replication/node/data_lock|replication/wire/tls)\.c:' || true
    }
    none past_io
}

@test "a source includes its own header first" {
    other_first() {
        local c h first
        for c in {engine,replication,fs}/*/*.c; do
            h=${c%.c}.h
            [ -f "$h" ] || continue
            first=$(grep -m1 -oE '^#include [<"][^>"]+' "$c" | sed -E 's/^#include [<"]//')
            [ "$first" = "$h" ] || echo "$c includes $first first"
        done
    }
    none other_first
}

@test "the top level holds what it should and nothing else" {
    unexpected() { git ls-files -co --exclude-standard | sed 's,/.*,,' | sort -u |
        grep -vxE 'Makefile|README\.md|fs|engine|replication|mount-scripts|tests|docs|\..*' || true; }
    none unexpected
}

@test "no file is longer than 800 lines" {
    long() { find engine replication fs tests mount-scripts -type f \( -name '*.[ch]' -o -name '*.bats' -o -name '*.bash' \) \
        -exec wc -l {} + | awk '$2 != "total" && $1 > 800'; }
    none long
}

@test "nothing is marked as to be done later" {
    later() { grep -rnE 'TO[D]O|FIX[M]E' Makefile README.md engine replication fs tests mount-scripts docs .ci 2>/dev/null || true; }
    none later
}

@test "no path of one developer's machine is named" {
    paths() { git ls-files -co --exclude-standard -z | xargs -0 grep -nE '/wor[k]/(main|notes|shared)|/roo[t]/\.' 2>/dev/null || true; }
    none paths
}

@test "the layout is clang-format's" {
    command -v clang-format
    files=$(ls {engine,replication,fs}/*/*.[ch] tests/*/*.[ch])
    clang-format --dry-run --Werror $files
}
