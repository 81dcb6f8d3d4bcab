#!/usr/bin/env bats
# README's tour, run as it stands there: what it says a command prints is what the command prints.
load lib

@test "README's tour prints what README says" {
    readme_tour >"$T/tour"
    at_least "$(grep -c . "$T/tour")" 40
    grep -v '^#' "$T/tour" >"$T/commands"
    bash "$T/commands" 2>&1 3>&- | sed "s|^$T/commands|bash|" | same_each_time >"$T/seen"
    grep '^#' "$T/tour" | sed 's/^# //' | same_each_time >"$T/expected"
    diff -u "$T/expected" "$T/seen"
}
