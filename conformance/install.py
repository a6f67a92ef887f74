"""Installs what a run needs into `build/`, once."""

import os
import shutil
import subprocess

from serve import ROOT, Complaint

PIP_QUIET = ["-q", "--disable-pip-version-check"]


def install_once(folder, pins, fill):
    """Runs `fill` on an empty folder, unless an earlier run already did so with the same pins."""
    stamp = folder / "installed"
    if stamp.is_file() and stamp.read_text() == pins:
        return
    shutil.rmtree(folder, ignore_errors=True)
    print(f"conformance: installing into {folder.relative_to(ROOT)}", flush=True)
    fill()
    stamp.write_text(pins)


def quietly(*command, **environment):
    """Runs a command that is only worth reading when it fails."""
    done = subprocess.run([str(word) for word in command], env={**os.environ, **environment},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Complaint(f"`{' '.join(map(str, command))}` failed:\n{done.stdout.rstrip()}")
