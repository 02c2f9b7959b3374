"""Programs that take turns: one does a piece of fixed work, then the other, so that both see the same machine.

Every one speaks as `grpoctl bench --interleaved` does: when it is ready it writes a JSON line, then one for each line that it reads, with the
`seconds` that the work took.
"""
import hashlib
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
GRPOCTL = ROOT / "bazel-bin/tools/grpoctl"
SMOLLM2 = ROOT / "models/smollm2-135m"
SMALL = ROOT / "tools/bench/shapes/qwen2_3.7m.json"

sys.path.insert(0, str(ROOT / "tools/parity"))
import environment  # noqa: E402


class Turns:
    """A program of its own, which works when it is told to."""

    def __init__(self, command, env=None):
        # What it says beside goes to a file, whose end is shown when it fails.
        self.log = tempfile.TemporaryFile(mode="w+")
        self.command = [str(part) for part in command]
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=ROOT, env={**os.environ, **(env or {})}
        )
        self._read()

    def _read(self):
        while line := self.process.stdout.readline():
            # Libraries write to stdout, too.
            if line.startswith("{"):
                return json.loads(line)
        self.process.wait()
        self.log.seek(0)
        tail = "".join(self.log.readlines()[-15:])
        raise RuntimeError(f"{' '.join(self.command)} ended with {self.process.returncode}:\n{tail}")

    def work(self):
        """Seconds of one piece of work."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._read()["seconds"]

    def close(self):
        """What it writes at its end, or None; ends it where it does not by itself."""
        try:
            rest, _ = self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            rest, _ = self.process.communicate()
        lines = [line for line in rest.splitlines() if line.startswith("{")]
        return json.loads(lines[-1]) if lines else None


def take_turns(programs, repeats):
    """{name: seconds of each repeat} of {name: Turns}, one after the other in each round."""
    seconds = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            seconds[name].append(program.work())
    return seconds


def serve(work):
    """The other side, in a peer's environment: work() once to warm up, then for each line of stdin. Libraries that write to stdout do no
    harm."""
    import time

    def timed():
        begin = time.perf_counter()
        work()
        print(json.dumps({"seconds": time.perf_counter() - begin}), flush=True)

    timed()
    for _ in sys.stdin:
        timed()


def prompt_ids(count, tokens, vocab_size, seed=0):
    """Random prompts; the end tokens, which are among the first, are left out."""
    generator = random.Random(seed)
    return [[generator.randrange(16, vocab_size) for _ in range(tokens)] for _ in range(count)]


def median(values):
    return statistics.median(values)


def load():
    return round(os.getloadavg()[0], 2)


def small_model():
    """A Hugging Face folder of the small model with random weights, made once for each shape."""
    digest = hashlib.sha256(SMALL.read_bytes()).hexdigest()[:12]
    folder = ROOT / f"models/{SMALL.stem}-{digest}"
    if not folder.exists():
        subprocess.run([environment.python_of("parity"), ROOT / "tools/bench/make_random_model", SMALL, folder], check=True)
    return folder


def smollm2():
    subprocess.run([ROOT / "tools/get_smollm2"], check=True)
    return SMOLLM2


MODELS = {"qwen2_3.7m": small_model, "smollm2_135m": smollm2}


def vocab_size(model):
    return json.loads((model / "config.json").read_text())["vocab_size"]


def need_grpoctl():
    if not GRPOCTL.exists() or not (GRPOCTL.parent / "grpoctl-model").exists():
        sys.exit("build it first: bazel build //tools:grpoctl //tools:grpoctl-model")
