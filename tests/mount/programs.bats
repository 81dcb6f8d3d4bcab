#!/usr/bin/env bats
# Real programs, as they are.
load lib

setup() {
    log_setup
    mount_log
    cd "$M"
    mkdir web
    py "$T/in" <<'P'
rng = random.Random(42)
with open(sys.argv[1], "w") as f:
    for n in range(20000):
        f.write(f'10.0.{rng.randrange(4)}.{rng.randrange(250)} - - [22/Nov/2026:09:{n // 600 % 60:02}:{n % 60:02} +0000] '
                f'"GET /page/{rng.randrange(300)} HTTP/1.1" {rng.choice((200, 200, 200, 304, 404, 500))} {rng.randrange(9000)}\n')
P
    cat "$T/in" >> web/0
}

same_as() { # COMMAND…: prints for web/0 what it prints for the plain file
    local ours plain
    ours=$("$@" web/0 | md5sum)
    plain=$("$@" "$T/in" | md5sum)
    is "$ours" "$plain"
}

@test "cat, head, tail, wc, nl, od and md5sum" {
    same_as cat
    same_as head -n 3
    same_as head -c 100000
    same_as head -n -19990
    same_as tail -n 3
    same_as tail -n +19990
    same_as tail -c 1000
    same_as tail -c +1000000
    is "$(wc < web/0)" "$(wc < "$T/in")"
    same_as nl
    same_as od -c
    is "$(md5sum < web/0)" "$(md5sum < "$T/in")"
}

@test "sort, uniq, cut, tac, shuf, split and comm" {
    same_as sort
    same_as sort -k 9
    same_as tac
    is "$(cut -d ' ' -f 9 web/0 | sort | uniq -c)" "$(cut -d ' ' -f 9 "$T/in" | sort | uniq -c)"
    is "$(shuf web/0 | sort | md5sum)" "$(sort "$T/in" | md5sum)"
    split -n l/4 web/0 "$T/part."
    cat "$T"/part.* | cmp - "$T/in"
    split -l 3000 web/0 "$T/lines."
    is "$(ls "$T"/lines.* | wc -l)" 7
    cat "$T"/lines.* | cmp - "$T/in"
    cmp web/0 "$T/in"
    diff web/0 "$T/in"
}

@test "grep, sed, gawk and perl" {
    same_as grep -c ' 404 '
    same_as grep -m 5 -n ' 500 '
    same_as grep -A 2 -B 2 'page/77 '
    same_as sed -n '1000,1010p'
    same_as sed 's/GET/PUT/'
    same_as gawk '{ n[$9]++; s += $10 } END { for (k in n) print k, n[k]; print s }'
    same_as perl -ne 'print if / 404 /'
    same_as perl -e 'open F, "<", $ARGV[0]; seek F, -200, 2; print <F>'
}

@test "dd with skip, count and large blocks" {
    cmp <(dd if=web/0 bs=100 skip=77 count=33 status=none) <(dd if="$T/in" bs=100 skip=77 count=33 status=none)
    cmp <(dd if=web/0 bs=1M status=none) "$T/in"
    cmp <(dd if=web/0 bs=4k iflag=skip_bytes skip=12345 status=none) <(tail -c +12346 "$T/in")
}

@test "cp, cp --reflink=auto, cp --sparse=always, install and rsync copy it" {
    cp web/0 "$T/a"
    cp --sparse=always web/0 "$T/b"
    install -m 600 web/0 "$T/c"
    rsync web/0 "$T/d"
    for copy in a b c d; do cmp "$T/$copy" "$T/in"; done
}

@test "bash reads and writes in every way it knows" {
    mkdir notes
    echo 'a line' >> notes/0
    printf '%s\n' one two >> notes/0
    cat >> notes/0 <<< 'here string'
    cat >> notes/0 <<'H'
here
document
H
    { echo out; echo err >&2; } >> notes/0 2>&1
    ls /nonexistent 2>> notes/0 || :
    (cd /; echo subshell) >> notes/0
    for i in 1 2 3; do echo "loop $i"; done >> notes/0
    yes | head -n 3 >> notes/0 || :
    mapfile -t lines < notes/0
    is "${#lines[@]}" 16
    is "${lines[6]} ${lines[7]}" 'out err'
    is "$(< notes/0)" "$(cat notes/0)"
    n=0
    while IFS= read -r line; do is "$line" "${lines[n]}"; n=$((n + 1)); done < notes/0
    is "$n" 16
}

@test "a busy loop of echo is a thousand records" {
    mkdir notes
    for i in {1..1000}; do echo "$i" >> notes/0; done
    is "$(cat notes/0)" "$(seq 1000)"
}

@test "tee -a writes to a partition and to a pipe" {
    mkdir notes
    is "$(seq 1000 | tee -a notes/0 | wc -l)" 1000
    is "$(cat notes/0)" "$(seq 1000)"
    echo more | tee -a notes/0 web/0 > /dev/null
    is "$(tail -n 1 notes/0) $(tail -n 1 web/0)" 'more more'
    fails 'Operation not permitted' sh 'echo x | tee notes/0'
}

@test "less shows the first page, jumps to the end, and follows" {
    mkdir notes
    echo first >> notes/0
    cmp <(less web/0 | cat) "$T/in"
    TERM=vt100 py "$(head -n 1 "$T/in" | cut -c 1-60)" "$(tail -n 1 "$T/in" | cut -c 1-60)" <<'P'
import pty

def less(*args):
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execvp("less", ("less",) + args)
    screen = b""
    def shows(text, anew=False):
        nonlocal screen
        if anew:
            screen = b""
        while text.encode() not in screen:
            check(select.select([terminal], [], [], 30)[0], text, screen)
            screen += os.read(terminal, 65536)
    def keys(text):
        os.write(terminal, text)
    def ends():
        try:
            while os.read(terminal, 65536):
                pass
        except OSError as e:
            same(e.errno, errno.EIO)  # the other side of the terminal is closed
        same(os.waitpid(pid, 0)[1], 0)
    return shows, keys, ends

shows, keys, ends = less("web/0")
shows(sys.argv[1])
keys(b"G")
shows(sys.argv[2])
keys(b"q")
ends()
shows, keys, ends = less("+F", "notes/0")
shows("first")
append("notes/0", b"second\n")
shows("second")
append("notes/0", b"third\n")
shows("third")
keys(b"\x03")
shows("(END)", anew=True) # the terminal drops what is typed until ^C has been taken
keys(b"q")
ends()
P
}

@test "python: logging.FileHandler and WatchedFileHandler, several processes" {
    mkdir app
    py <<'P'
import logging, logging.handlers
for w in range(4):
    if os.fork() == 0:
        for n, handler in enumerate((logging.FileHandler("app/0"), logging.handlers.WatchedFileHandler("app/0"))):
            log = logging.getLogger(f"{w}.{n}")
            log.addHandler(handler)
            log.setLevel(logging.INFO)
        for i in range(100):
            logging.getLogger(f"{w}.0").info("file %d %d", w, i)
            logging.getLogger(f"{w}.1").info("watched %d %d", w, i)
        logging.shutdown()
        os._exit(0)
for w in range(4):
    same(os.wait()[1], 0)
lines = open("app/0").read().splitlines()
same(len(lines), 800)
for w in range(4):
    for kind in ("file", "watched"):
        same([l for l in lines if l.startswith(f"{kind} {w} ")], [f"{kind} {w} {i}" for i in range(100)])
P
}

@test "python: reading by line, readline and tell, os.pread, mmap, fileinput, shutil" {
    py "$T/in" "$T/out" <<'P'
import fileinput, hashlib, linecache
data = read_all(sys.argv[1])
lines = data.decode().splitlines(keepends=True)
same(list(open("web/0")), lines)
with open("web/0") as f:
    same([f.readline() for _ in range(5)], lines[:5])
    at = f.tell()
    same(f.readline(), lines[5])
    f.seek(at)
    same(f.readline(), lines[5])
same(list(fileinput.input(["web/0"])), lines)
same(linecache.getline("web/0", 100), lines[99])
fd = os.open("web/0", os.O_RDONLY)
same(os.pread(fd, 1000, 5000), data[5000:6000])
shutil.copyfile("web/0", sys.argv[2])
same(read_all(sys.argv[2]), data)
shutil.copy2("web/0", sys.argv[2])
same(read_all(sys.argv[2]), data)
with open("web/0", "rb", buffering=0) as f:
    same(f.readall(), data)
os.setxattr("web", "user.config.segment.bytes", b"1000000")
append("web/0", b"the segment before this is closed\n")
with open("web/.segments/0/00000000000000000000.log", "rb") as f:
    m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
    same(m.find(lines[700].encode()), data.find(lines[700].encode()))
    same(hashlib.md5(m).digest(), hashlib.md5(data).digest())
P
}

@test "perl and python append with their buffers, and never tear a line" {
    mkdir app
    perl -e 'open F, ">>", "app/0" or die; print F "perl line $_ " . "x" x ($_ % 100) . "\n" for 1..2000; close F or die'
    python3 -c 'f = open("app/0", "a")
for n in range(1, 2001): print("python line", n, "x" * (n % 100), file=f)
f.close()'
    is "$(grep -cE '^(perl|python) line [0-9]+ x*$' app/0)" 4000
    is "$(wc -l < app/0)" 4000
}

@test "logger writes its lines into a partition and reads them from one" {
    mkdir app
    logger --no-act --socket-errors=off --stderr --tag shop 'an order came' 2>> app/0
    logger --no-act --socket-errors=off --stderr --tag shop --file web/0@-3 2>> app/0
    is "$(wc -l < app/0)" 4
    is "$(head -n 1 app/0 | sed 's/.*shop: //')" 'an order came'
    is "$(tail -n 1 app/0 | sed 's/.*shop: //')" "$(tail -n 1 "$T/in")"
}

@test "find by size, time and name; xargs; du" {
    mkdir old
    is "$(find . -name 0 -size +100k)" ./web/0
    is "$(find . -type f -mmin -5 -size +0)" ./web/0
    is "$(find . -type f -empty)" ./old/0
    is "$(find . -type f -print0 | xargs -0 cat | md5sum)" "$(md5sum < "$T/in")"
}

@test "gzip and tar read it" {
    is "$(gzip -c web/0 | gunzip | md5sum)" "$(md5sum < "$T/in")"
    is "$(tar -cO web/0 | tar -xO | md5sum)" "$(md5sum < "$T/in")"
}

@test "a pipeline of programs, live: tail -f, grep and sort into another topic" {
    mkdir errors
    bg bash -c "tail -n 0 -f web/0 | grep --line-buffered ' 599 ' >> errors/0"
    job=$!
    wait_until 'tail=$(pgrep -P '$job' -x tail) && grep -qs "^pos:.$(size web/0)$" /proc/$tail/fdinfo/*'
    for i in 1 2 3; do
        echo "x 200 $i" >> web/0
        echo "x 599 $i" >> web/0
    done
    wait_until '[ "$(wc -l < errors/0)" = 3 ]'
    kill "$tail"
    wait "$job"
    is "$(cat errors/0)" $'x 599 1\nx 599 2\nx 599 3'
}

@test "eight threads read one descriptor at random positions" {
    py "$T/in" <<'P'
data = read_all(sys.argv[1])
fd = os.open("web/0", os.O_RDONLY)
bad = []
def reader(seed):
    rng = random.Random(seed)
    for _ in range(300):
        at, n = rng.randrange(len(data)), rng.randrange(1, 70000)
        if os.pread(fd, n, at) != data[at:at + n]:
            bad.append(at)
threads = [threading.Thread(target=reader, args=(s,)) for s in range(8)]
for t in threads: t.start()
for t in threads: t.join()
same(bad, [])
P
}

@test "apache writes its access and error logs into partitions" {
    mkdir access apache
    mkdir "$T/htdocs"
    echo hello > "$T/htdocs/index.html"
    cat > "$T/httpd.conf" <<C
ServerRoot $T
ServerName localhost
Listen 127.0.0.1:80
PidFile $T/httpd.pid
User nobody
Group nogroup
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
DocumentRoot $T/htdocs
ErrorLog $M/apache/0
LogFormat "%r %>s %b" plain
CustomLog $M/access/0 plain
C
    # In a network of its own: nobody else has its port.
    bg unshare --net sh -c 'ip link set lo up && exec apache2 -f "$1/httpd.conf" -D FOREGROUND' - "$T"
    apache=$!
    ask() { nsenter --net --target "$apache" curl -s "$@"; }
    wait_until 'ask -o /dev/null http://127.0.0.1/'
    for i in {1..50}; do
        ask "http://127.0.0.1/index.html?request=$i" -o /dev/null &
    done 3>&-
    is "$(ask http://127.0.0.1/index.html)" hello
    ask http://127.0.0.1/missing -o /dev/null
    # It logs a request behind its answer.
    wait_until '[ "$(grep -c "request=" access/0)" = 50 ] && grep -q /missing access/0'
    kill "$apache"
    wait "$apache" || :
    is "$(grep -c 'GET /index.html?request=[0-9]* HTTP/1.1 200 6$' access/0)" 50
    is "$(grep -o 'request=[0-9]*' access/0 | sort -u | wc -l)" 50
    grep -q 'GET /missing HTTP/1.1 404' access/0
    grep -q 'resuming normal operations' apache/0
    grep -q 'caught SIGTERM, shutting down' apache/0
}
