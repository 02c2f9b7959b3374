"""What a run leaves in its folder, and who works there, with the standard library alone: for tests and for tools/check_gpu."""

import contextlib
import json
import os
import pathlib
import sqlite3

# Keys of metrics.jsonl that say how long something took, or how much memory: all that may differ between two runs of one seed.
TIMINGS = {"tokens_per_second", "peak_memory_bytes", "weight_buffer_bytes", "worker_peak_memory_bytes"} | {
    f"{what}_seconds"
    for what in ("step wait update weights_wait sample score pack forward head head_backward backward reduce optimizer compare").split()
}

# Likewise, of each rank.
MEMORY_OF_DEVICES = "device_memory/"


def processes_of(folder):
    """{pid: command line} of the living processes that name this folder."""
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in command and int(entry.name) != os.getpid():
                found[int(entry.name)] = command
    return found


def json_lines(path):
    # Numbers stay text: equal means equal to the last digit.
    return [json.loads(line, parse_float=str, parse_int=str) for line in path.read_text().splitlines()]


def records(run_dir):
    """metrics.jsonl without what the clock says."""
    lines = json_lines(run_dir / "metrics.jsonl")
    return [{key: value for key, value in line.items() if key not in TIMINGS and not key.startswith(MEMORY_OF_DEVICES)} for line in lines]


def completions(run_dir):
    """completions.sqlite: every column of every sample, in an order that does not depend on when it was written."""
    with contextlib.closing(sqlite3.connect(f"file:{run_dir / 'completions.sqlite'}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        order = "stage, group_index, sample_index"
        return [dict(row) for row in database.execute(f"SELECT * FROM completions ORDER BY {order}")]


def differences(expected_dir, run_dir):
    """What of records, completions and exported weights is not that of the other run to the last bit: one line each."""
    found = []
    expected, actual = records(expected_dir), records(run_dir)
    if len(expected) != len(actual):
        found.append(f"{len(actual)} records in place of {len(expected)}")
    for one, other in zip(expected, actual):
        keys = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
        if keys:
            found.append(f"{one['stage']} {one['step']}: {', '.join(f'{key} {other.get(key)} for {one.get(key)}' for key in keys)}")
            break
    if completions(expected_dir) != completions(run_dir):
        found.append("other completions")
    for path in sorted(expected_dir.glob("models/*/*")):
        other = run_dir / path.relative_to(expected_dir)
        if not other.exists() or path.read_bytes() != other.read_bytes():
            found.append(f"another {path.relative_to(expected_dir)}")
    return found
