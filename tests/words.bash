# tests/words.bash: what the tests of tests/mount and tests/cluster say over and over; each lib.bash reads it.

bg() { # COMMAND…: in the background; its pid in $!
    "$@" 3>&- &
    BG+=("$!")
}

wait_until() { # CONDITION [SECONDS]: $WAIT_S by default; with sanitizers three times as long
    local seconds=$((${2:-${WAIT_S:-15}} * (SANITIZED ? 3 : 1)))
    local deadline=$((SECONDS + seconds + 1))
    until eval "$1"; do
        if [ $SECONDS -ge $deadline ]; then
            echo "waited $seconds s in vain for: $1" >&2
            return 1
        fi
        sleep 0.02
    done
}

is() { # ACTUAL EXPECTED
    [ "$1" = "$2" ] || { printf 'expected: %q\nseen:     %q\n' "$2" "$1"; return 1; }
}

at_least() { # ACTUAL MINIMUM
    [ "$1" -ge "$2" ] || { echo "expected at least $2, seen $1"; return 1; }
}

at_most() { # ACTUAL MAXIMUM
    [ "$1" -le "$2" ] || { echo "expected at most $2, seen $1"; return 1; }
}

# `! COMMAND` fails a test only as its last line.
not() { # COMMAND…: it fails
    if "$@"; then
        echo "expected to fail: $*"
        return 1
    fi
}

fails() { # TEXT COMMAND…: it fails, and says so
    local text=$1 output status=0
    shift
    output=$("$@" 2>&1 3>&-) || status=$?
    if [ "$status" = 0 ] || [[ $output != *"$text"* ]]; then
        printf 'expected a failure with "%s": %s\nseen: status %s, %s\n' "$text" "$*" "$status" "$output"
        return 1
    fi
}

attr() { getfattr --absolute-names --only-values -n "$2" "$1"; } # FILE NAME
set_attr() { setfattr -n "$2" -v "$3" "$1"; }                     # FILE NAME VALUE

# --- README's tour ---

# Between its start and its stop, which are a test's own.
readme_tour() {
    awk '/^```/ { inside = /^```sh/; next } inside' "$ROOT/README.md" |
        grep -vE '^(mkdir /tmp/log|build/logmnt .*|cd /tmp/log|cd .* && fusermount3 .*)$'
}

# Times, and how bash names itself, are not the same twice.
same_each_time() { sed -E 's/"timestamp":[0-9]{13}/"timestamp":T/; s/^bash: line [0-9]+:/bash:/'; }
