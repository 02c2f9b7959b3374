"""Where tools/check_gpu finds its programs, and how it runs one: with a bound, its output in a log."""

import contextlib
import dataclasses
import glob
import importlib.util
import json
import os
import pathlib
import re
import signal
import subprocess
import time

EXIT_UNAVAILABLE = 69
# The loader's, of a program without one of its libraries.
_EXIT_NOT_LOADED = 127


class Unusable(Exception):
    """Nothing can be checked here; the text says why and what to do."""


@dataclasses.dataclass
class Finished:
    """A program that has ended, or was ended. code is None when its time was over."""

    code: int
    stdout: str
    log: pathlib.Path

    def why(self):
        """The last words of its log, for a table's cell."""
        end = "took too long" if self.code is None else f"exit code {self.code}"
        words = self.log.read_text(errors="replace").split("\n")
        last = next((text.strip() for text in reversed(words) if text.strip()), "")
        return f"{end}: {last[:200].replace('|', '/')} ({self.log})"

    def raise_if_unusable(self):
        """Unusable where no other program would fare better."""
        if self.code == EXIT_UNAVAILABLE:
            raise Unusable(self.why())
        if self.code == _EXIT_NOT_LOADED:
            raise Unusable(f"{self.why()}: install that torch with all that it requires (pip, without --no-deps)")


@dataclasses.dataclass
class Machine:
    # Folder of the sources or of the unpacked archive, of the programs, and for everything that is written.
    root: pathlib.Path
    programs: pathlib.Path
    scratch: pathlib.Path
    # Of the configuration: "cuda".
    device: str
    # What the programs find in their environment beside this process's.
    environment: dict
    # Of time.monotonic.
    deadline: float
    # How many devices there are, and what parts tell those after them.
    devices: int = 1
    facts: dict = dataclasses.field(default_factory=dict)

    def has(self, program):
        return (self.programs / program).is_file()

    def left_s(self):
        return self.deadline - time.monotonic()

    def start(self, name, command, environment=None):
        """A child in a session of its own; its words go to NAME.log, stdout to NAME.out."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        words = [str(word) for word in command]
        with (self.scratch / f"{name}.out").open("w") as out, (self.scratch / f"{name}.log").open("w") as log:
            return subprocess.Popen(
                words, stdout=out, stderr=log, cwd=self.root, start_new_session=True,
                env=os.environ | self.environment | (environment or {}))

    def wait(self, name, child, bound_s):
        """Until it has ended; with its whole session it is killed when its time or that of all is over."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, min(bound_s, self.left_s())))
        code = child.poll()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return Finished(code, (self.scratch / f"{name}.out").read_text(errors="replace"), self.scratch / f"{name}.log")

    def run(self, name, command, bound_s, environment=None):
        return self.wait(name, self.start(name, command, environment), bound_s)


def libraries_of(torch):
    """Folders of LibTorch and of NVIDIA's wheels beside it, for the loader."""
    return [str(torch / "lib"), *sorted(glob.glob(str(torch.parent / "nvidia/*/lib")))]


def torch_version(torch):
    found = re.search(r"__version__ = '([^']+)'", (torch / "version.py").read_text())
    return found.group(1) if found else "unknown"


def _installed_torch():
    spec = importlib.util.find_spec("torch")
    if spec is None:
        raise Unusable("this Python has no torch: start check_gpu with one that has, or name its folder by --torch")
    return pathlib.Path(next(iter(spec.submodule_search_locations)))


def packed(root, torch):
    """Programs and environment of an unpacked archive (pack.py), which brings all but LibTorch; and what the archive says of itself."""
    facts = json.loads((root / "check_gpu.json").read_text())
    torch = pathlib.Path(torch) if torch else _installed_torch()
    version = torch_version(torch)
    if version.split(".")[:2] != facts["torch"].split(".")[:2]:
        raise Unusable(f"the archive was built against LibTorch {facts['torch']}, and {torch} is {version}: pack one for that")
    folders = [str(root / "lib"), *libraries_of(torch)]
    return root / "bazel-bin", {"LD_LIBRARY_PATH": ":".join(folders)}, facts | {"torch": version}


def built(root, targets):
    """The same of a checkout: sets up and builds."""
    subprocess.run([root / "tools/setup"], check=True)
    torch = next(iter(sorted(root.glob(".venv/lib/python3*/site-packages/torch"))), None)
    if torch is None or not (torch / "lib/libtorch_cuda.so").exists():
        raise Unusable(f"{root}/.venv holds LibTorch's CPU build: let pip find the CUDA build of tools/pip_packages.txt's torch, remove .venv, try again")
    subprocess.run(["bazel", "build", "--config=cuda", *targets], cwd=root, check=True)
    commit = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    folders = ":".join(libraries_of(torch))
    return root / "bazel-bin", {"LD_LIBRARY_PATH": folders}, {"commit": commit, "torch": torch_version(torch)}
