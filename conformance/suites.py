"""The two programs that can run the Autobahn cases: how to install each, how to start it.

`wstest` is the original and runs on Python 2.7 only. `kosoku` runs the same case files on a
current Python. Both write the same `index.json`.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from install import PIP_QUIET, install_once, quietly
from serve import ROOT, Complaint, child

HOME = ROOT / "build" / "autobahn"
REQUIREMENTS = ROOT / "conformance" / "requirements-autobahn-py27.txt"
VIRTUALENV = "virtualenv==20.15.1"  # the last one that still serves Python 2.7
KOSOKU = "kosoku==0.1.0"
SUITE_SECONDS_MAX = 1800


class Wstest:
    """The original suite, on Python 2.7."""

    name = "wstest"
    venv = HOME / "wstest"

    def install(self):
        pins = REQUIREMENTS.read_text()

        def fill():
            python = python27()
            boot = HOME / "boot"
            quietly(python, "-m", "pip", "install", *PIP_QUIET, "--upgrade", "--target", boot,
                    VIRTUALENV)
            quietly(python, "-m", "virtualenv", "-q", "-p", python, self.venv, PYTHONPATH=str(boot))
            quietly(self.venv / "bin" / "pip", "install", *PIP_QUIET, "-r", REQUIREMENTS)

        install_once(self.venv, pins, fill)

    def run(self, address, cases, reports):
        spec = reports / "spec.json"
        spec.write_text(json.dumps({
            "outdir": str(reports),
            # A busy machine with two cores needs more patience than the default of a second.
            "options": {
                "openHandshakeTimeout": 15,
                "closeHandshakeTimeout": 10,
                "serverConnectionDropTimeout": 5,
            },
            "servers": [{"agent": "throng", "url": f"ws://{address}"}],
            "cases": cases,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }, indent=2))
        start([self.venv / "bin" / "wstest", "-m", "fuzzingclient", "-s", spec], reports)


class Kosoku:
    """The same cases on a Python of today."""

    name = "kosoku"
    venv = HOME / "kosoku"

    def install(self):
        if sys.version_info < (3, 10):
            raise Complaint(f"{KOSOKU} needs Python 3.10, this is {sys.version.split()[0]}")

        def fill():
            quietly(sys.executable, "-m", "venv", self.venv)
            quietly(self.venv / "bin" / "pip", "install", *PIP_QUIET, KOSOKU)

        install_once(self.venv, KOSOKU, fill)

    def run(self, address, cases, reports):
        globs = [word for case in cases for word in ("-i", case)]
        start([self.venv / "bin" / "kosoku", "-m", "fuzzingclient", address,
               "-p", "1", "-o", reports, *globs], reports)


def installed(choice):
    """The suite asked for, ready to run; `auto` prefers the original."""
    chosen = {"wstest": [Wstest()], "kosoku": [Kosoku()], "auto": [Wstest(), Kosoku()]}[choice]
    refusals = []
    for suite in chosen:
        try:
            suite.install()
            return suite
        except Complaint as why:
            refusals.append(f"{suite.name}: {why}")
            print(f"conformance: {refusals[-1]}", file=sys.stderr)
    raise Complaint("no Autobahn suite could be installed; it takes Python 2.7 (as pyenv has it) or "
                    "Python 3.10, and a way to PyPI")


def python27():
    """A Python 2.7 that really starts: pyenv's shim of that name may only complain."""
    candidates = []
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True).stdout.strip()
        candidates += sorted(Path(root).glob("versions/2.7.*/bin/python2.7"), reverse=True)
    candidates += filter(None, [shutil.which("python2.7")])
    for python in candidates:
        if subprocess.run([python, "-c", "import ssl, zlib"], capture_output=True).returncode == 0:
            return python
    raise Complaint("no working Python 2.7 here")


def start(command, reports):
    """Runs a suite to its end. Its exit status says little: the report is what counts."""
    log = reports / "suite.log"
    with child([str(word) for word in command], log) as process:
        try:
            process.wait(SUITE_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            raise Complaint(f"the suite was not done after {SUITE_SECONDS_MAX} s; see {log}") from None
