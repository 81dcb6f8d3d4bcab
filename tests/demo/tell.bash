# tests/demo/tell.bash: what the demos say and check. Whoever includes it sets $out, a file, and $left, where to look.

tell() { if [ -t 1 ]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n== %s\n' "$*"; fi; }

fail() {
    printf '\ndemo: FAILED: %s\n' "$*" >&2
    printf 'What there is stays as it is, for a look: %s.\n' "$left" >&2
    exit 1
}

# run COMMANDS: each line is printed and run, all in one shell; what they print is shown and kept in $out. The first line
# that fails ends it.
run() {
    bash -c 'mapfile -t _lines <<<"$1"
        for _line in "${_lines[@]}"; do printf "$ %s\n" "$_line"; eval "$_line" || exit; done' bash "$1" 2>&1 | tee "$out"
    local status=${PIPESTATUS[0]}
    [ "$status" = 0 ] || fail "exit status $status"
}

# The last step's output without the command lines; then the checks on it.
said() { grep -v '^\$ ' "$out"; }
expect() { # WHAT, EXTENDED REGULAR EXPRESSION: a line of the output
    said | grep -qE -- "$2" || fail "$1 was expected"
}
same() { # WHAT, EXPECTED, SEEN
    [ "$2" = "$3" ] || fail "$1: expected $2, seen $3"
}
