#!/usr/bin/env bats
# Programs that copy, serve or follow a file, over everything here that looks like one. Two outcomes are right: all of
# it, or a failure that a script notices. A copy that is short, doubled or padded with exit status 0 is neither, and
# nor is one that never ends. docs/TESTING.md lists the programs that were tried by hand (go, java, node, ruby).
BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-300}
load lib

setup() {
    log_setup
    mount_log log.cleaner.backoff.ms=50
    cd "$M"
    mkdir whole trimmed compacted
    for topic in whole trimmed compacted; do set_attr $topic user.config.segment.bytes 60000; done
    set_attr compacted user.config.key.separator =
    set_attr compacted user.config.min.cleanable.dirty.ratio 0.01
    py "$T" <<'P'
def put(path, lines):
    for at in range(0, len(lines), 200):
        append(path, b"".join(lines[at:at + 200]))
lines = [b"%07d a line of the log\n" % n for n in range(8000)]
put("whole/0", lines)
put("trimmed/0", lines)
subprocess.run(["fallocate", "-p", "-o", "0", "-l", "90000", "trimmed/0"], check=True)
put("compacted/0", [b"%05d=%09d\n" % (n % 9 if 2000 < n < 6000 else n, n) for n in range(8000)])
os.setxattr("compacted", "user.config.cleanup.policy", b"compact")
wait_until(lambda: read_all("compacted/0").count(b"\n") < 6000)
# What read(2) gives, in pieces of a size that divides nothing. DeleteRecords leaves what ends behind the position.
kept = lines[90000 // len(lines[0]):]
expected = {"whole/0": b"".join(lines), "trimmed/0": b"".join(kept), "trimmed/0@start": b"".join(kept)}
for name in ("whole/0", "trimmed/0", "compacted/0", "trimmed/0@start", "compacted/0@start", "whole/.json/0", "trimmed/.json/0",
             "compacted/.json/0"):
    fd, got = os.open(name, os.O_RDONLY), b""
    while part := os.read(fd, 7001):
        got += part
    same(got, expected.get(name, got))
    check(got.endswith(b"\n"))
    os.makedirs(os.path.dirname(f"{sys.argv[1]}/expected/{name}"), exist_ok=True)
    with open(f"{sys.argv[1]}/expected/{name}", "wb") as f:
        f.write(got)
P
    mkdir -p "$T/expected/whole/.segments/0" "$T/expected/.cluster"
    for file in whole/.segments/0/*.log; do dd if="$file" of="$T/expected/$file" bs=7001 status=none; done
    at_least "$(ls whole/.segments/0/*.log | wc -l)" 3
    SOURCES="whole/0 trimmed/0 compacted/0 trimmed/0@start compacted/0@start whole/.json/0 trimmed/.json/0
        compacted/.json/0 $(ls whole/.segments/0/*.log | sed -n '1p;$p') .cluster/metrics"
}

# all_of SOURCE COPY: the copy holds all of it.
all_of() {
    case $1 in
    .cluster/metrics) # another text at each look
        is "$(grep -c '^logmnt_high_watermark{' "$2")" 3 && [ "$(tail -c 1 "$2")" = '' ] &&
            grep -q '^logmnt_log_size_bytes{topic="whole",partition="0"} [0-9]*$' "$2" ;;
    *) cmp "$T/expected/$1" "$2" ;;
    esac
}

# copies COMMAND: run as `bash -c COMMAND`, with SOURCE in $1 and the copy to make in $2, over each of $SOURCES. What
# became of each is in $OUTCOMES ("all" or "fails"). Of a whole partition and of what has its true size it is all.
copies() {
    local source status bad=0
    OUTCOMES=
    for source in $SOURCES; do
        rm -f "$T/copy"
        timeout 20 bash -o pipefail -c "$1" copy "$source" "$T/copy" >"$T/said" 2>&1 3>&- && status=0 || status=$?
        if [ $status = 124 ]; then
            echo "$1: of $source never ends"
            bad=1
        elif [ $status = 0 ] && ! all_of "$source" "$T/copy" >"$T/differs" 2>&1; then
            echo "$1: of $source is not all of it, with exit status 0: $(head -c 300 "$T/differs")"
            bad=1
        fi
        [ $status = 0 ] && OUTCOMES+="$source all"$'\n' || OUTCOMES+="$source fails"$'\n'
    done
    for source in whole/0 trimmed/0@start .cluster/metrics "$(ls whole/.segments/0/*.log | head -n 1)"; do
        grep -qx "$source all" <<<"$OUTCOMES" || { echo "$1: of $source fails"; bad=1; }
    done
    return $bad
}

gives_all() { # COMMAND: of everything
    copies "$1" && is "$(grep -v ' all$' <<<"$OUTCOMES" | head -c 1000)" ''
}

@test "cat, cp, dd, install, tee, head, tail -c +1, perl and gawk give all of everything" {
    gives_all 'cat "$1" > "$2"'
    gives_all 'cat "$1" | cat > "$2"'
    gives_all 'cp "$1" "$2"'
    gives_all 'cp --sparse=always "$1" "$2"'
    gives_all 'cp --sparse=never "$1" "$2"'
    gives_all 'install -m 600 "$1" "$2"'
    gives_all 'dd if="$1" of="$2" bs=64k status=none'
    gives_all 'dd if="$1" of="$2" bs=1000 status=none'
    gives_all 'dd if="$1" of="$2" bs=64k count=100 status=none'
    gives_all 'tee "$2" < "$1" > /dev/null'
    gives_all 'head -n 1000000 "$1" > "$2"'
    gives_all 'tail -c +1 "$1" > "$2"'
    gives_all 'gawk 1 "$1" > "$2"'
    gives_all "perl -MFile::Copy -e 'copy(@ARGV) or die' \"\$1\" \"\$2\""
}

@test "python's copies give all of everything, whatever they are made with" {
    gives_all 'python3 -c "import shutil, sys; shutil.copyfile(*sys.argv[1:])" "$1" "$2"'
    gives_all 'python3 -c "import shutil, sys; shutil.copy2(*sys.argv[1:])" "$1" "$2"'
    gives_all 'python3 -c "import sys; open(sys.argv[2], \"wb\").write(open(sys.argv[1], \"rb\").read())" "$1" "$2"'
    gives_all 'python3 -c "import sys; open(sys.argv[2], \"wb\").writelines(open(sys.argv[1], \"rb\"))" "$1" "$2"'
    gives_all 'python3 -c "import sys, pathlib; pathlib.Path(sys.argv[2]).write_bytes(pathlib.Path(sys.argv[1]).read_bytes())" "$1" "$2"'
}

@test "sendfile, splice and a private mapping alone give all of it or fail" {
    cat > "$T/by.py" <<'P'
import mmap, os, sys
how, source, copy = sys.argv[1:]
fd, out = os.open(source, os.O_RDONLY), os.open(copy, os.O_WRONLY | os.O_CREAT, 0o600)
at, size = 0, os.fstat(fd).st_size
r, w = os.pipe()
if how == "sendfile":
    while n := os.sendfile(out, fd, None, 65536):
        pass
elif how == "splice":
    while n := os.splice(fd, w, 65536):
        os.write(out, os.read(r, n))
else:
    os.write(out, mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)[:])
P
    for how in sendfile splice mmap; do
        copies "python3 $T/by.py $how \"\$1\" \"\$2\""
        is "$(grep -c 'fails$' <<<"$OUTCOMES")" 7
    done
}

@test "busybox gives all of everything" {
    gives_all 'busybox cp "$1" "$2"'
    gives_all 'busybox cat "$1" > "$2"'
    gives_all 'busybox dd if="$1" of="$2" bs=64k'
    gives_all 'busybox cat < "$1" | busybox tee "$2" > /dev/null'
}

@test "pv gives all of everything, though it splices and falls back in the middle" {
    gives_all 'pv -q "$1" > "$2"'
    gives_all 'pv -q "$1" | cat > "$2"'
    gives_all 'pv -q < "$1" | cat > "$2"'
}

@test "tac gives all of it or fails" {
    copies 'tac "$1" > "$2.back" && tac "$2.back" > "$2"'
    copies 'busybox tac "$1" > "$2.back" && tac "$2.back" > "$2"'
}

@test "rsync, tar and split give all of it or fail" {
    copies 'rsync --inplace "$1" "$2"'
    copies 'rsync "$1" "$2"'
    copies 'tar -cf "$2.tar" "$1" && tar -xOf "$2.tar" > "$2"'
    gives_all 'rm -f "$2."?? && split -b 50000 "$1" "$2." && cat "$2."?? > "$2"'
}

@test "nginx serves all of it or cuts the connection, with sendfile and without" {
    for sendfile in on off; do
        cat > "$T/nginx.conf" <<C
daemon off;
user root;
pid $T/nginx.pid;
error_log $T/nginx.log;
events {}
http {
    access_log off;
    sendfile $sendfile;
    server { listen unix:$T/nginx.sock; location / { root $M; } }
}
C
        rm -f "$T/nginx.sock"
        bg nginx -p "$T" -c "$T/nginx.conf" -e "$T/nginx.log"
        local nginx=$!
        wait_until "curl -s -o $T/probe --unix-socket $T/nginx.sock http://log/whole/0"
        copies "curl -sS -f --unix-socket $T/nginx.sock -o \"\$2\" http://log/\"\$1\""
        kill "$nginx"
        wait "$nginx" || :
    done
}

@test "python's http.server serves all of it or less than it announced" {
    cat > "$T/serve.py" <<'P'
import functools, http.server, os, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
with open(sys.argv[2] + ".new", "w") as f:
    print(server.server_port, file=f)
os.rename(sys.argv[2] + ".new", sys.argv[2])
server.serve_forever()
P
    bg python3 "$T/serve.py" "$M" "$T/port" 2>"$T/serve.log"
    wait_until '[ -e "$T/port" ]'
    copies "curl -sS -f -o \"\$2\" http://127.0.0.1:$(cat "$T/port")/\"\$1\""
}

@test "rsyslog's imfile, polling, ships each line of .segments once, of what was there and of what comes" {
    mkdir "$T/spool"
    cat > "$T/rsyslog.conf" <<C
global(workDirectory="$T/spool" processInternalMessages="off")
module(load="imfile" mode="polling" pollingInterval="1")
template(name="line" type="string" string="%msg%\n")
input(type="imfile" file="$M/whole/.segments/0/*.log" tag="log" ruleset="out")
ruleset(name="out") { action(type="omfile" file="$T/shipped" template="line") }
C
    bg rsyslogd -n -f "$T/rsyslog.conf" -i "$T/rsyslog.pid"
    wait_until '[ "$(wc -l < "$T/shipped")" -ge 8000 ]' 60
    py <<'P'
for n in range(8000, 14000, 100):
    append("whole/0", b"".join(b"%07d a line of the log\n" % i for i in range(n, n + 100)))
P
    at_least "$(ls whole/.segments/0/*.log | wc -l)" 6
    wait_until '[ "$(wc -l < "$T/shipped")" -ge 14000 ]' 60
    kill -TERM "$(cat "$T/rsyslog.pid")"
    sort "$T/shipped" | cmp - <(sort whole/0)
}

@test "sendfile and splice of a stream in which nothing is yet are EINVAL, and no end" {
    mkdir empty .groups/g
    py <<'P'
for name in ("empty/.follow/0", "whole/.follow/0@end", ".groups/g/empty", ".groups/g/.json/empty"):
    fd, (r, w) = os.open(name, os.O_RDONLY), os.pipe()
    same(error(os.sendfile, w, fd, None, 4096), "EINVAL")
    same(error(os.splice, fd, w, 4096), "EINVAL")
P
}

@test "busybox cat of a stream in which nothing is yet waits for the first line" {
    mkdir empty .groups/g
    for source in empty/.follow/0 whole/.follow/0@end .groups/g/empty; do
        bg busybox cat "$source" > "$T/seen"
        reader=$!
        wait_until 'grep -qs "^0 " /proc/'$reader'/syscall && ls -l /proc/'$reader'/fd | grep -q '$source
        for topic in empty whole; do echo "for $source" >> $topic/0; done
        wait_until 'grep -qx "for '$source'" $T/seen'
        kill "$reader"
    done
}

@test "what follows gives each line once: tail -f of a partition, cat and grep of .follow" {
    bg sh "exec tail -n +1 -f trimmed/0 > $T/tail"
    bg sh "exec cat trimmed/.follow/0 > $T/cat"
    bg sh "exec cat compacted/.follow/0 > $T/compacted"
    bg sh "exec grep --line-buffered . trimmed/.follow/0 > $T/grep"
    py <<'P'
for n in range(8000, 8300):
    append("trimmed/0", b"%07d a line of the log\n" % n)
    append("compacted/0", b"new%d=1\n" % n)
P
    cp trimmed/0 "$T/all"
    for copy in tail cat grep; do
        wait_until "[ \"\$(wc -l < $T/$copy)\" -ge \"\$(wc -l < $T/all)\" ]" 30
        cmp "$T/all" "$T/$copy"
    done
    wait_until "grep -q '^new8299=' $T/compacted" 30
    is "$(grep -c '^new' "$T/compacted")" 300
}
