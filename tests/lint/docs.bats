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

@test "the rules that code and tests cite are in REPLICATION, and each of those is cited" {
    python3 - <<'END'
import pathlib, re, sys
rules = set(re.findall(r"^(\d+)\. \*\*", pathlib.Path("docs/REPLICATION.md").read_text(), re.M))
cited = {}
for folder in ("engine", "replication", "fs", "tests"):
    for file in sorted(pathlib.Path(folder).rglob("*.*")):
        if file.suffix not in (".c", ".h", ".bats"):
            continue
        text = re.sub(r"\s*\n\s*[*#]?\s*", " ", file.read_text())  # a comment goes on in the next line
        text = text.replace("GROUPS.md, rule", "")  # another document's
        for numbers in re.findall(r"\brules? (\d+(?:(?:,| and| to) \d+)*)", text):
            cited.update((number, file) for number in re.findall(r"\d+", numbers))
wrong = [f"{file}: there is no rule {number}" for number, file in cited.items() if number not in rules]
wrong += [f"rule {number} is cited nowhere" for number in sorted(rules - cited.keys(), key=int)]
sys.exit("\n".join(wrong) if wrong or not rules else 0)
END
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
