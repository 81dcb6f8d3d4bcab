#!/usr/bin/env bats
# README's tour, run as it stands there: what it says a command prints is what the command prints.
load lib

# The tour between its start and its stop, which are this test's own.
tour() {
    awk '/^```/ { inside = /^```sh/; next } inside' "$ROOT/README.md" |
        grep -vE '^(mkdir /tmp/log|build/logmnt .*|cd /tmp/log|cd .* && fusermount3 .*)$'
}

# Times, and how bash names itself, are not the same twice.
same_each_time() { sed -E 's/"timestamp":[0-9]{13}/"timestamp":T/; s/^bash: line [0-9]+:/bash:/'; }

@test "README's tour prints what README says" {
    tour >"$T/tour"
    at_least "$(grep -c . "$T/tour")" 40
    grep -v '^#' "$T/tour" >"$T/commands"
    bash "$T/commands" 2>&1 3>&- | sed "s|^$T/commands|bash|" | same_each_time >"$T/seen"
    grep '^#' "$T/tour" | sed 's/^# //' | same_each_time >"$T/expected"
    diff -u "$T/expected" "$T/seen"
}
