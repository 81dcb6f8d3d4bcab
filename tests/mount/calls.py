"""What the tests' python programs say over and over."""
import base64
import ctypes
import errno
import fcntl
import itertools
import json
import mmap
import os
import random
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

APPEND = os.O_WRONLY | os.O_APPEND
PATIENCE = 3 if os.environ.get("SANITIZED") else 1
LIMIT_S = 20 * PATIENCE  # of one call or thread that has to come back


def check(condition, *what):
    if not condition:
        sys.exit("check failed: " + " ".join(repr(w) for w in what) + f" (line {sys._getframe(1).f_lineno})")


def same(actual, expected):
    if actual != expected:
        sys.exit(f"line {sys._getframe(1).f_lineno}: expected {expected!r}\nseen {actual!r}"[:4000])


def error(call, *args):
    """The name of the error that a call ends with, or None."""
    try:
        call(*args)
    except OSError as e:
        return errno.errorcode[e.errno].replace("EDEADLOCK", "EDEADLK")
    return None


def read_all(path):
    with open(path, "rb") as f:
        return f.read()


def pread_all(fd, count, at):
    """As pread, and on where it was short: a stream may give less than asked."""
    got = b""
    while len(got) < count and (part := os.pread(fd, count - len(got), at + len(got))):
        got += part
    return got


def append(path, data):
    """One open, one write(2), one close."""
    fd = os.open(path, APPEND)
    try:
        same(os.write(fd, data), len(data))
    finally:
        os.close(fd)


def wait_until(condition, seconds=15):
    deadline = time.monotonic() + seconds * PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"waited in vain (line {sys._getframe(1).f_lineno})")
        time.sleep(0.01)


class Rung(Exception):
    pass


def rung(call, *args):
    """Whether a handled signal ends the call's wait. It comes again should it have come before the wait began."""
    def ring(*_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise Rung
    signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
        call(*args)
    except Rung:
        return True
    signal.setitimer(signal.ITIMER_REAL, 0)
    return False


def blocked(thread_id):
    """True once the thread sleeps in a system call."""
    with open(f"/proc/self/task/{thread_id}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[0] in "SD"
