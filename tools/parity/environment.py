"""The virtual environment of the scripts beside this file, which compute goldens with the reference implementations."""
import os
import pathlib
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv-parity"


def enter():
    """Runs the calling script again inside .venv-parity, filling that first unless it was filled from the same list before."""
    if pathlib.Path(sys.prefix).resolve() == VENV:
        return
    packages = ROOT / "tools/parity/pip_packages.txt"
    installed = VENV / "installed.txt"
    if not installed.exists() or installed.read_text() != packages.read_text():
        venv.create(VENV, with_pip=True)
        subprocess.run([VENV / "bin/pip", "install", "--quiet", "--requirement", packages], check=True)
        installed.write_text(packages.read_text())
    os.execv(VENV / "bin/python", [str(VENV / "bin/python"), *sys.argv])
