"""A rule that does as its completion says: a number is scored, a word is a misdeed."""
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from grpo_rule import NO_ANSWER, Result, serve

HELD = []


def write_everywhere(data):
    for fd in range(1, 16):
        try:
            os.write(fd, data)
        except OSError:
            pass


def flood():
    while True:
        write_everywhere(b"\xff" * 65536)


def flood_error():
    while True:
        os.write(2, b"noise " * 10000)


def fork():
    while True:
        try:
            os.fork()
        except OSError:
            pass


def allocate():
    while True:
        HELD.append(bytearray(1 << 24))


def later():
    threading.Timer(0.001, write_everywhere, [b"not an answer"]).start()
    return 0.5


def probe():
    """What of the forbidden is possible after all."""
    possible = []
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        try:
            socket.socket(family)
            possible.append(f"socket {family}")
        except PermissionError:
            pass
    try:
        subprocess.run(["true"], check=False)
        possible.append("process")
    except OSError:
        pass
    try:
        with open("written", "wb") as file:
            file.write(b"x")
            file.flush()
        possible.append("file")
    except OSError:
        pass
    try:
        os.kill(os.getppid(), 0)
        possible.append("kill")
    except PermissionError:
        pass
    try:
        os.chmod("misbehaving.py", 0o4755)
        possible.append("mode")
    except PermissionError:
        pass
    # The one place to write to, where the machine gives it.
    if "TMPDIR" in os.environ:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"x" * 100000)
    if "SECRET" in os.environ:
        possible.append("environment")
    return Result(value=0.0 if possible else 1.0, decided_by=", ".join(possible))


MISDEEDS = {
    "hang": lambda: time.sleep(1000),
    "spin": lambda: [None for _ in iter(int, 1)],
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP) or time.sleep(1000),
    "deaf": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN) and None or time.sleep(1000),
    "exit": lambda: os._exit(3),
    "crash": lambda: ctypes.string_at(0),
    "close": lambda: os.closerange(0, 16) or time.sleep(1000),
    "flood": flood,
    "flood_error": flood_error,
    "fork": fork,
    "allocate": allocate,
    "raise": lambda: 1 / 0,
    "nan": lambda: float("nan"),
    "range": lambda: 7.0,
    "later": later,
    "probe": probe,
    "nothing": lambda: NO_ANSWER,
    "print": lambda: print("a line", flush=True) or 0.25,
}


def score(request):
    if request.completion in MISDEEDS:
        return MISDEEDS[request.completion]()
    return int(request.completion) % 100 / 100


if "slow_start" in sys.argv:
    time.sleep(1000)
if "no_start" not in sys.argv:
    serve(score, name="misbehaving", version="3")
