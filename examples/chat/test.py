#!/usr/bin/env python3
"""Two people talk through the chat example, each in a window of a real browser.

    examples/chat/test.py [--binary PATH] [--driver epoll|uring]

Drives Chromium over WebDriver, for which it needs Debian's chromium and chromium-driver.
Leaves a picture in build/chat.png.
"""

import argparse
import base64
import json
import shutil
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "conformance"))

from serve import CHROMIUM_FLAGS, Complaint, answers, build, child, exit_on_signals, serve, wait_until

LOGS = ROOT / "build" / "chat"
PICTURE = ROOT / "build" / "chat.png"
GREETING = "Grüß Gott, 世界 🦀"
MARKUP = "<script>document.body.remove()</script><b>bold?</b>"


def main():
    exit_on_signals()
    options = arguments()
    binary = options.binary or build("chat")
    with serve(binary, driver=options.driver, log=LOGS / "server.log") as server, browser() as session:
        talk(server, session)
    print("chat: passed")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, help="a chat server built elsewhere")
    parser.add_argument("--driver", choices=["epoll", "uring"], help="default: the server's choice")
    return parser.parse_args()


def talk(server, session):
    ada = Window.open(session, f"http://{server.address}/")
    bob = Window.open(session, f"http://{server.address}/")
    for window in ada, bob:
        window.sees("#state", lambda text: text == "connected")
        window.sees("#count", lambda text: text == "2")
    ada.type("#name", "Ada")
    bob.type("#name", "Bob")

    step("each sees what the other says")
    ada.say(GREETING)
    bob.sees("#log", has_line("Ada", GREETING))
    bob.say("Hello, Ada")
    ada.sees("#log", has_line("Bob", "Hello, Ada"))

    step("markup arrives as text")
    bob.say(MARKUP)
    for window in ada, bob:
        window.sees("#log", has_line("Bob", MARKUP))
        window.has_no("#log script")
    ada.picture(PICTURE)

    step("a closed window is one fewer")
    bob.close()
    ada.sees("#count", lambda text: text == "1")

    step("the server drains, and the page says so")
    server.drain()
    ada.sees("#state", lambda text: text.startswith("disconnected"))


def has_line(name, said):
    return lambda log: any(name in line and said in line for line in log.splitlines())


def step(what):
    print(f"chat: {what}", flush=True)


class Window:
    """One window of the session; every call goes there first."""

    def __init__(self, session, handle):
        self.session, self.handle = session, handle

    @classmethod
    def open(cls, session, url):
        window = cls(session, session.post("window/new", type="window")["handle"])
        window.here().post("url", url=url)
        return window

    def here(self):
        self.session.post("window", handle=self.handle)
        return self.session

    def close(self):
        self.here().call("DELETE", "window")

    def type(self, selector, text):
        """Sets an input's value as if typed; WebDriver's own keys stop at U+FFFF."""
        self.script(
            "const input = document.querySelector(arguments[0]); input.value = arguments[1];"
            "for (const name of ['input', 'change'])"
            " input.dispatchEvent(new Event(name, { bubbles: true }));", selector, text)

    def say(self, text):
        self.type("#text", text)
        self.script("document.querySelector('#say').requestSubmit();")

    def sees(self, selector, expected):
        """Waits until the element's text is as expected. The log's lines are its `li`."""
        read = ("const found = document.querySelector(arguments[0]);"
                "const lines = found ? [...found.querySelectorAll('li')] : [];"
                "return lines.length ? lines.map(line => line.textContent).join('\\n')"
                " : found?.textContent.trim() ?? '';")
        try:
            wait_until(lambda: expected(self.script(read, selector)), 10, "")
        except Complaint:
            found = self.script(read, selector)
            self.picture(PICTURE)
            raise Complaint(f"{selector} never came to be as expected; it reads {found!r}, "
                            f"see {PICTURE}") from None

    def has_no(self, selector):
        if self.script("return document.querySelector(arguments[0]) !== null;", selector):
            raise Complaint(f"{selector} exists: what somebody said has become markup")

    def script(self, source, *arguments):
        return self.here().post("execute/sync", script=source, args=list(arguments))

    def picture(self, path):
        path.write_bytes(base64.b64decode(self.here().call("GET", "screenshot")))


class Session:
    """A WebDriver session, spoken over plain HTTP."""

    def __init__(self, base):
        self.base = base

    def post(self, path, **body):
        return self.call("POST", path, body)

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            f"{self.base}/{path}".rstrip("/"), method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as refused:
            value = json.load(refused)["value"]
            raise Complaint(f"WebDriver, {method} {path}: {value['message']}") from None


@contextmanager
def browser():
    if not (driver := shutil.which("chromedriver")):
        raise Complaint("no chromedriver here; .ci/chromium installs Debian's")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with child([driver, f"--port={port}"], LOGS / "chromedriver.log") as process:
        wait_until(lambda: answers(port), 20, "chromedriver does not come up")
        with tempfile.TemporaryDirectory() as profile:
            root = Session(f"http://127.0.0.1:{port}")
            capabilities = {"goog:chromeOptions": {
                "args": [*CHROMIUM_FLAGS, f"--user-data-dir={profile}/chromium"]}}
            opened = root.post("session", capabilities={"alwaysMatch": capabilities})
            session = Session(f"{root.base}/session/{opened['sessionId']}")
            try:
                yield session
            finally:
                session.call("DELETE", "")


if __name__ == "__main__":
    try:
        main()
    except Complaint as complaint:
        sys.exit(f"chat: {complaint}")
