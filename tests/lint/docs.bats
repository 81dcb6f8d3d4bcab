#!/usr/bin/env bats
# What docs/ says of the tree is so: the map of files, the links, the options.

setup() { cd "$BATS_TEST_DIRNAME/../.." || return 1; }

# The names in the first column of the map's table of a folder, each as the files it stands for.
mapped() { # FOLDER
    awk -v folder="### $1/" '/^###/ { inside = $0 == folder } inside && /^\|/' docs/ARCHITECTURE.md |
        sed -e 1,2d -e 's/^| //; s/ |.*//; s/, /\n/g' |
        while read -r name; do
            case $name in
            *.[ch]) echo "$1/$name" ;;
            *) printf '%s\n' "$1/$name.c" "$1/$name.h" ;;
            esac
        done | sort
}

@test "ARCHITECTURE's map of files names each file once, and no other" {
    local room
    for room in {engine,replication,fs}/*; do
        diff <(mapped "$room") <(ls "$room"/*.[ch])
    done
}

@test "functions that ARCHITECTURE names are there" {
    local name
    for name in $(grep -oE '`[a-z0-9_]+`' docs/ARCHITECTURE.md | tr -d '`' | sort -u | grep _ | grep -v '^__'); do
        grep -qrw "$name" --include='*.[ch]' engine replication fs || { echo "$name is nowhere"; return 1; }
    done
}

@test "the rules that assertions cite are in REPLICATION" {
    local number cited
    cited=$(grep -rhoE 'REPLICATION\.md, rules? [0-9, and]+' --include='*.[ch]' engine replication fs | grep -oE '[0-9]+')
    [ -n "$cited" ]
    for number in $cited; do
        grep -q "^$number\. " docs/REPLICATION.md || { echo "there is no rule $number"; return 1; }
    done
}

@test "links between the documents lead somewhere" {
    local file target
    for file in README.md docs/*.md; do
        for target in $(grep -oE '\]\([^)#]+' "$file" | sed 's/^](//' | grep -v '^http'); do
            [ -e "$(dirname "$file")/$target" ] || { echo "$file: $target"; return 1; }
        done
    done
}

@test "the man page and OPERATIONS know each mount option that logmnt --help names" {
    local option
    for option in $(grep -oE '"(  -o|  )[^"]*' fs/base/options.c | grep -oE -- '-o [a-z.]+=' | sed 's/^-o //; s/=//' | sort -u); do
        grep -qF "Cm $option" docs/logmnt.8 || { echo "logmnt.8: $option"; return 1; }
        grep -qF "\`$option" docs/OPERATIONS.md || { echo "OPERATIONS.md: $option"; return 1; }
    done
}
