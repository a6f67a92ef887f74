"""Starts an example server on a port of its own, and never leaves it behind.

The port is picked by the kernel and read from the line the server prints, so that a stranger
already listening somewhere can never be taken for the server under test.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DRIVERS = {"epoll": "epoll", "uring": "io_uring"}  # the flag's word, the ready line's word
CHROMIUM_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]
READY = re.compile(r"^listening on (127\.0\.0\.1:\d+)\b(.*)$", re.MULTILINE)


class Complaint(Exception):
    """Something the caller has to know, said in one sentence."""


def exit_on_signals():
    """Lets `with` blocks clean up when this script is told to stop."""
    for number in signal.SIGTERM, signal.SIGHUP:
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def drivers(choice):
    return list(DRIVERS) if choice == "both" else [choice]


def build(example):
    """Builds an example in release mode and returns the path of its program."""
    subprocess.run(["cargo", "build", "--release", "--example", example], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return ROOT / target / "release" / "examples" / example


@contextmanager
def child(command, log, **options):
    """A process, and whatever it starts itself, that never outlives the `with` block."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True, **options)
    try:
        yield process
    finally:
        end(process)


def end(process, patience=5):
    """Asks the process to end, and kills it with everything it started if it does not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Server:
    """A running server: its address, and a polite end."""

    def __init__(self, process, address, log):
        self.process, self.address, self.log = process, address, log

    @property
    def port(self):
        return int(self.address.rpartition(":")[2])

    def drain(self, patience=30):
        """Sends SIGTERM; the server has to end well and take its port along."""
        if self.process.poll() is not None:
            raise Complaint(f"the server died early, status {self.process.returncode}; see {self.log}")
        self.process.terminate()
        try:
            status = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise Complaint(f"the server ignored SIGTERM for {patience} s; see {self.log}") from None
        if status != 0:
            raise Complaint(f"the server ended with status {status} after SIGTERM; see {self.log}")
        wait_until(lambda: not answers(self.port), 5,
                   f"someone still listens on {self.address}: it was not the server under test")


@contextmanager
def serve(binary, *flags, log, driver=None):
    """Runs `binary --listen 127.0.0.1:0 FLAGS…` and yields it as a `Server` once it is ready."""
    command = [str(binary), "--listen", "127.0.0.1:0", *flags]
    if driver:
        command += ["--driver", driver]
    with child(command, log) as process:

        def ready():
            line = READY.search(log.read_text(errors="replace"))
            if not line and process.poll() is not None:
                raise Complaint(f"{binary} ended with status {process.returncode} before it was "
                                f"ready; see {log}")
            return line

        line = wait_until(ready, 20, f"{binary} printed no `listening on 127.0.0.1:PORT`; see {log}")
        if driver and not re.search(rf"\b{DRIVERS[driver]}\b", line[2]):
            raise Complaint(f"asked for --driver {driver}, got `{line[0]}`")
        yield Server(process, line[1], log)


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition, patience, complaint):
    """Returns the first true result of `condition`, or complains after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise Complaint(complaint)
        time.sleep(0.05)
    return result
