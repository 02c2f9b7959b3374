"""Whole runs, for the programs that repeat them. Needs what tools/quickstart built."""
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "configs/quickstart.yaml"


def run(config, folder, settings, reuse=False):
    """A run in this folder from its beginning; `settings` change the configuration (key=value). What it says goes to FOLDER.log. Its stages, as
    summary.json has them, by name. A run that fails ends the program. `reuse` takes one that has ended there before, whatever its settings."""
    if reuse and (folder / "summary.json").exists():
        return stages(folder)
    command = [ROOT / "bazel-bin/tools/grpoctl", "run", config, "--run-dir", folder]
    for setting in settings:
        command += ["--set", setting]
    log = folder.with_name(folder.name + ".log")
    with log.open("w") as out:
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT).returncode
    if code != 0:
        sys.exit(f"{folder.name} ended with exit status {code}; see {log}")
    return stages(folder)


def stages(folder):
    """Of a run that has ended."""
    return {stage["name"]: stage for stage in json.loads((folder / "summary.json").read_text())["stages"]}


def records(folder, stage=None):
    """The lines of metrics.jsonl, of one stage or all, also while the run goes on: a line that is not whole yet is left out."""
    path = folder / "metrics.jsonl"
    whole = path.read_text().split("\n")[:-1] if path.exists() else []
    return [record for record in map(json.loads, whole) if stage in (None, record["stage"])]


def verdict(expectations):
    """Prints what was expected, by whether it came so; the exit status."""
    for what, met in expectations.items():
        print(f"{what}{'' if met else '   MISSED'}")
    return 0 if all(expectations.values()) else 1
