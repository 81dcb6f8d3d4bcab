# What SIGTERM finds under way: a stop is clean and takes 10 s at most, whatever is still open.
load lib

stop_log() {
    cd /
    kill -TERM "$PID"
    wait_until no_daemon
    [ -f "$DATA/clean-shutdown" ] || { echo 'the stop was not a clean one'; return 1; }
}

@test "directories that are open and were listed" {
    mkdir orders
    echo one >> orders/0
    bg python3 -c "
import os, sys, time
held = [os.open(d, os.O_RDONLY) for d in ('.', 'orders', 'orders/.segments/0', '.internal')]
print([os.listdir(fd) for fd in held], flush=True)
time.sleep(60)" > "$T/listed"
    wait_until '[ -s "$T/listed" ]'
    stop_log
    mount_log
    is "$(cat "$M/orders/0")" one
}

@test "an fsync that waits for batches which cannot be appended" {
    remount linger.ms=1
    mkdir orders
    setfattr -n user.config.min.insync.replicas -v 2 orders
    bg python3 -c "
import os
fd = os.open('orders/0', os.O_WRONLY | os.O_APPEND)
os.write(fd, b'one\n')
print('written', flush=True)
try:
    os.fsync(fd)
except OSError as e:
    print(os.strerror(e.errno), flush=True)" > "$T/said"
    syncer=$!
    wait_until 'grep -q written "$T/said"'
    wait_until 'grep -qs "^74 " "/proc/$syncer/syscall"' # fsync
    stop_log
    wait_until 'grep -q "Transport endpoint" "$T/said"'
}

@test "an open file that many threads polled at once" {
    mkdir orders
    py <<'P'
import select, threading
fd = os.open("orders/.follow/0", os.O_RDONLY | os.O_NONBLOCK)
end = time.monotonic() + 2
def run():
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while time.monotonic() < end:
        poll.poll(1)
threads = [threading.Thread(target=run) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
os.close(fd)
P
    stop_log
}
