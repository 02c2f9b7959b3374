"""Virtual environments of the scripts that compare with other projects' code: .venv-NAME beside .venv, filled over the network once."""
import os
import pathlib
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "tools/parity/pip_packages.txt"
EXIT_UNAVAILABLE = 69

# Name: (packages of pip_packages.txt, whether pip installs what they ask for too).
ENVIRONMENTS = {
    # TRL imports requests without asking for it.
    "parity": (["trl", "torch", "transformers", "requests"], True),
    # TRL's functions of rewards alone, which need nothing.
    "parity-rewards": (["trl"], False),
    "safetensors": (["safetensors"], True),
    # Without what the library needs to reach the hub.
    "tokenizers": (["tokenizers"], False),
    "math-verify": (["math-verify"], True),
}


def pinned(package):
    """The package's line of pip_packages.txt, "trl==1.13.0"."""
    (line,) = [line for line in PACKAGES.read_text(encoding="utf-8").splitlines() if line.startswith(package + "==")]
    return line


def enter(name):
    """Runs the calling script again inside .venv-NAME, filling that first unless it was filled with the same versions before."""
    folder = ROOT / f".venv-{name}"
    if pathlib.Path(sys.prefix).resolve() == folder:
        return
    packages, dependencies = ENVIRONMENTS[name]
    wanted, installed = [pinned(package) for package in packages], folder / "installed.txt"
    if not installed.exists() or installed.read_text().split() != wanted:
        print(f"installing {', '.join(wanted)} into {folder.name}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        options = ["--quiet", "--disable-pip-version-check", *([] if dependencies else ["--no-deps"])]
        if subprocess.run([folder / "bin/pip", "install", *options, *wanted]).returncode != 0:
            print("pip could not install them (see above); this step needs the network once", file=sys.stderr)
            sys.exit(EXIT_UNAVAILABLE)
        installed.write_text("\n".join(wanted) + "\n")
    os.execv(folder / "bin/python", [str(folder / "bin/python"), *sys.argv])
