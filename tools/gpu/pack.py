"""tools/check_gpu --pack: what a machine needs that has a GPU, LibTorch 2.11 for CUDA 13 and no network, in one archive.

The archive is a small picture of the checkout: check_gpu finds everything where it does here, programs in bazel-bin/, and in lib/ every library that
they load but LibTorch's, NVIDIA's and the C library's.
"""

import contextlib
import json
import pathlib
import shutil
import subprocess
import sys
import tarfile

LIBTORCH = "2.11"
LIMIT_BYTES = 64 << 20
FILES = (
    "tools/check_gpu", "tools/gpu/*.py", "tools/bench/shapes/*.json", "tests/device/device_run.py", "tests/e2e/run_folder.py",
    "configs/quickstart.yaml", "configs/tokenizers/*", "LICENSE")
# Of the target's C library and compiler, which are newer than those here (Debian 12: glibc 2.36, GCC 12), and what comes with the driver.
OF_THE_SYSTEM = ("ld-linux", "libc.so", "libm.so", "libpthread.so", "libdl.so", "librt.so", "libresolv.so", "libstdc++.so", "libgcc_s.so", "libcuda.so",
                 "linux-vdso.so")


def program_of(target):
    """bazel-bin's path of a target: "//trainer" is trainer/trainer."""
    package, _, name = target.removeprefix("//").partition(":")
    return f"{package}/{name or package.rpartition('/')[2]}"


def carried(ldd, folders_of_the_target):
    """{name: path} of the libraries in ldd's text that are to travel. Those in these folders, and the system's, are there already.

    Raises RuntimeError for one that is not on this machine either.
    """
    found = {}
    for text in ldd.splitlines():
        name, arrow, rest = text.strip().partition(" => ")
        if not arrow or name.startswith(OF_THE_SYSTEM):
            continue
        path = rest.partition(" (")[0]
        if path == "not found":
            raise RuntimeError(f"{name} is not on this machine")
        if not any(pathlib.Path(path).is_relative_to(folder) for folder in folders_of_the_target):
            found[name] = pathlib.Path(path)
    return found


def _stage_programs(staged, programs, targets, torch_home):
    """Programs, stripped, and the libraries that they load."""
    libraries = {}
    for target in targets:
        program = program_of(target)
        copy = staged / "bazel-bin" / program
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(programs / program, copy)
        copy.chmod(0o755)
        ldd = subprocess.run(["ldd", copy], capture_output=True, text=True, check=True).stdout
        libraries |= carried(ldd, [torch_home])
        subprocess.run(["strip", "--strip-all", copy], check=True)
    (staged / "lib").mkdir()
    for name, path in sorted(libraries.items()):
        shutil.copy(path.resolve(), staged / "lib" / name)
        # A library that is stripped already, or signed in a way that strip does not like, travels as it is.
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run(["strip", "--strip-unneeded", staged / "lib" / name], check=True, capture_output=True)


def _facts(root, torch, targets):
    commit = subprocess.run(["git", "-C", root, "describe", "--always", "--dirty", "--abbrev=40"], capture_output=True, text=True, check=False)
    version = (torch / "version.py").read_text().partition("__version__ = '")[2].partition("'")[0]
    suites = [program_of(target).rpartition("/")[2] for target in targets if target.endswith("_test")]
    return {"commit": commit.stdout.strip(), "torch": version, "suites": suites}


def pack(root, targets):
    """Builds and writes root/.gpu/check_gpu.tar.xz; the exit code."""
    built = subprocess.run([root / "tools/cuda_build", LIBTORCH, *targets], stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode != 0:
        return built.returncode
    programs = pathlib.Path(built.stdout.strip().rpartition("\n")[2])
    site_packages = next(iter(root.glob(f".venv-cuda-{LIBTORCH}/lib/python3*/site-packages")))
    folder = root / ".gpu"
    staged = folder / "check_gpu"
    shutil.rmtree(staged, ignore_errors=True)
    for pattern in FILES:
        for path in root.glob(pattern):
            copy = staged / path.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    _stage_programs(staged, programs, targets, site_packages)
    (staged / "check_gpu.json").write_text(json.dumps(_facts(root, site_packages / "torch", targets)) + "\n")
    archive = folder / "check_gpu.tar.xz"
    # Programs hold much of the same: a window that several fit into.
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        tar.add(staged, arcname="check_gpu")
    size = archive.stat().st_size
    print(f"check_gpu: {archive}, {size / 2**20:.1f} MiB")
    if size <= LIMIT_BYTES:
        return 0
    largest = sorted((path for path in staged.rglob("*") if path.is_file()), key=lambda path: -path.stat().st_size)[:10]
    print(f"check_gpu: that is more than {LIMIT_BYTES >> 20} MiB; the largest files are {', '.join(path.name for path in largest)}", file=sys.stderr)
    return 1
