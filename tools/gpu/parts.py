"""What tools/check_gpu does, part by part: each yields rows (report.py) while the machine's time lasts.

Figures that were expected before anything had run on a GPU are docs/gpus.md's, with their arithmetic.
"""

import json
import os
import pathlib
import sys
import time

from report import Row, row

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests/device")]

from device_run import SETTINGS, signs_of_not_learning  # noqa: E402
from run_folder import differences, processes_of, records  # noqa: E402


def _suites():
    """The suites of tests/device, but for those of the fake device itself; an archive, which has no sources, names them."""
    archive = ROOT / "check_gpu.json"
    if archive.exists():
        return json.loads(archive.read_text())["suites"]
    return sorted(path.stem for path in ROOT.glob("tests/device/*_test.cc") if not path.stem.startswith("fake_"))


SUITES = _suites()
CHECK_GPU, GRPOCTL, GRPOCTL_MODEL = "tests/device/check_gpu", "tools/grpoctl", "tools/grpoctl-model"
# As Bazel calls what the parts start.
TARGETS = (
    *(f"//tests/device:{suite}" for suite in SUITES), "//tests/device:check_gpu", "//tools:grpoctl", "//tools:grpoctl-model",
    "//trainer", "//rollout:rollout_worker", "//reward:reward_server")


def _json_of(machine, name, words, bound_s):
    """(the JSON object that a program printed last, or None; how it ended)"""
    ended = machine.run(name, words, bound_s)
    return (json.loads(ended.stdout.strip().rpartition("\n")[2]) if ended.code == 0 else None), ended


# --- The device itself ---


def limits(machine):
    """First of all: without a device, or LibTorch's own libraries, nothing follows."""
    found, ended = _json_of(machine, "limits", [machine.programs / CHECK_GPU, "limits", machine.device], 60)
    ended.raise_if_unusable()
    if found is None:
        yield row("device", "limits", ended.why(), holds=False)
        return
    machine.devices = found["devices"]
    machine.facts |= {key: found[key] for key in ("model", "devices", "torch", "total_bytes")}
    memory = f"{found['total_bytes'] / 2**30:.0f} GiB, {found['free_bytes'] / 2**30:.0f} free"
    yield row("device", found["model"], f"{found['devices']}, {memory}", holds=found["devices"] > 0, wanted="at least one")
    for key, what, unit in (
        ("bfloat16_tflops", "products in bfloat16", "TFLOP/s"), ("tf32_tflops", "products in TF32", "TFLOP/s"),
        ("float32_tflops", "products in float32", "TFLOP/s"), ("copy_gb_per_s", "copies within the device, read and written", "GB/s"),
        ("to_device_gb_per_s", "pinned memory to the device", "GB/s"), ("to_host_gb_per_s", "the device to pinned memory", "GB/s"),
        ("launch_us", "one small operation", "us"),
    ):
        yield row("device", what, f"{found[key]:.4g} {unit}", number=found[key])


# --- The suites that CI runs on the fake device ---


def suites(machine):
    for suite in SUITES:
        program = f"tests/device/{suite}"
        if not machine.has(program):
            yield Row("suite", suite, "not built", "skipped")
            continue
        result = machine.scratch / f"{suite}.json"
        ended = machine.run(
            suite, [machine.programs / program, f"--gtest_output=json:{result}", "--gtest_color=no"], 120,
            {"GRPO_TEST_DEVICE": machine.device, "TEST_TMPDIR": str(machine.scratch)})
        # A crash or a lack of time leaves no result.
        if not result.exists():
            yield row("suite", suite, ended.why(), holds=False, wanted="all pass")
            continue
        tests = [test for part in json.loads(result.read_text())["testsuites"] for test in part["testsuite"]]
        failures = [f"{test['classname']}.{test['name']}" for test in tests if test.get("failures")]
        skipped = sum(test.get("result") == "SKIPPED" for test in tests)
        passed = len(tests) - len(failures) - skipped
        words = f"{passed} of {len(tests)} pass" + (f", {skipped} skipped" if skipped else "")
        words += f": {', '.join(failures)} (sent to {suite}.out)" if failures else ""
        yield row("suite", suite, words, holds=ended.code == 0 and passed > 0, wanted="all pass", number=passed)


# --- Sampling ---

# Of the largest |sample_logprob - full forward pass|, by what the layers compute in (law 3).
LOGPROB_BOUNDS = {"float32": 1e-4, "bfloat16": 0.1}


def decode(machine):
    for dtype, bound in LOGPROB_BOUNDS.items():
        found, ended = _json_of(machine, f"decode_{dtype}", [machine.programs / CHECK_GPU, "decode", machine.device, dtype], 60)
        if found is None:
            yield row("decode", dtype, ended.why(), holds=False)
            continue
        largest = found["forward"]["diff_max"]
        yield row("decode", f"{dtype}: decoding with a cache against the full forward pass, largest difference",
                  f"{largest:.2g}, mean {found['forward']['diff_mean']:.2g}", holds=largest <= bound, wanted=f"<= {bound:g}", number=largest)
        for key, what in (("neighbours", "beside other groups"), ("order", "in other slots"), ("swapped", "after other weights")):
            case = found[key]
            equal = case["other_ids"] == 0 and case["other_bits"] == 0
            words = "equal bits" if equal else (
                f"of {case['tokens']} tokens {case['other_ids']} other, {case['other_bits']} of other bits, by {case['diff_max']:.2g} at most")
            # Whether neighbours and slots leave the bits alone is the kernels' to say (law 5); old weights must leave no trace.
            yield row("decode", f"{dtype}: a group {what}", words, holds=equal or (False if key == "swapped" else None), wanted="equal bits")
            machine.facts["bits_depend_on_place"] = machine.facts.get("bits_depend_on_place", False) or not equal
        yield row("decode", f"{dtype}: memory left by an engine that ended", f"{found['left_bytes']} bytes", holds=found["left_bytes"] == 0, wanted="0")


# --- Ranks ---


def ranks(machine):
    found, ended = _json_of(machine, "ranks", [machine.programs / CHECK_GPU, "ranks", machine.device], 90)
    if found is None:
        yield row("ranks", "sums and broadcasts", ended.why(), holds=False)
        return
    for case in found["cases"]:
        words = "right" if case["right"] else "WRONG"
        if "bus_gb_per_s" in case:
            words += f", {case['bus_gb_per_s']:.3g} GB/s"
        yield row("ranks", f"{case['ranks']} over {case['backend']}", words, holds=case["right"], wanted="right")
    if found["devices"] < 2:
        yield Row("ranks", "NCCL between devices", "this machine has one", "skipped")


# --- Whole runs ---


def _settings(machine, device, dtype):
    policies = ("base", "r1_zero", "student_base", "student_distilled", "student_rl")
    return SETTINGS | {f"policies.{policy}.compute_dtype": dtype for policy in policies} | {
        "trainer.device": device, "rollout_worker.device": device, "trainer.ranks": 2 if machine.devices > 1 or device == "cpu" else 1}


def _run_words(machine, run_dir, settings=None):
    words = [machine.programs / GRPOCTL, "run", "--run-dir", run_dir]
    if settings is None:
        return [*words, "--resume"]
    return [*words, machine.root / "configs/quickstart.yaml", *(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))]


def _run(machine, name, settings, bound_s=120):
    """(the folder of a run, or None; how it ended)"""
    run_dir = machine.scratch / name
    ended = machine.run(f"run_{name}", _run_words(machine, run_dir, settings), bound_s)
    return (run_dir if ended.code == 0 else None), ended


def quickstart(machine):
    """Its short form in float32 on the CPU and on the device, and in bfloat16, which the next part needs."""
    folders = {}
    for name, device, dtype in (("cpu", "cpu", "float32"), ("float32", machine.device, "float32"), ("bfloat16", machine.device, "bfloat16")):
        folders[name], ended = _run(machine, name, _settings(machine, device, dtype))
        if folders[name] is None:
            yield row("quickstart", f"{name}, to its end", ended.why(), holds=False)
            continue
        if name != "cpu":
            signs = signs_of_not_learning(records(folders[name]))
            yield row("quickstart", f"{name}: two workers, all stages", "; ".join(signs) or "learns", holds=not signs, wanted="learns")
    if folders["cpu"] is not None and folders["float32"] is not None:
        pairs = list(zip(records(folders["cpu"]), records(folders["float32"])))[:5]
        largest = max(abs(float(one["loss"]) - float(other["loss"])) for one, other in pairs)
        yield row("quickstart", "float32: the first five losses against the CPU's, largest difference", f"{largest:.2g}", holds=largest <= 1e-3, wanted="<= 0.001", number=largest)
    machine.facts["undisturbed"] = folders["bfloat16"]


def _steps_of(run_dir, stage):
    try:
        return sum(record["stage"] == stage for record in records(run_dir))
    except (OSError, ValueError):
        # Not there yet, or a line that is being written.
        return 0


def kill(machine):
    """kill -9 of everything in the middle of RL, and on: in bfloat16, deterministic."""
    undisturbed = machine.facts.get("undisturbed")
    if undisturbed is None:
        yield Row("kill", "kill -9 and --resume", "there is no undisturbed run to compare with", "skipped")
        return
    run_dir = machine.scratch / "killed"
    child = machine.start("run_killed", _run_words(machine, run_dir, _settings(machine, machine.device, "bfloat16")))
    deadline = time.monotonic() + min(120, machine.left_s())
    while _steps_of(run_dir, "r1_zero") < 4 and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    reached = _steps_of(run_dir, "r1_zero")
    child.kill()
    child.wait()
    # Its children die with it.
    while processes_of(run_dir) and machine.left_s() > 0:
        time.sleep(0.02)
    if reached < 4:
        yield row("kill", "kill -9 at step 4 of r1_zero", f"the run never came there ({machine.scratch}/run_killed.log)", holds=False)
        return
    ended = machine.run("run_resumed", _run_words(machine, run_dir), 120)
    if ended.code != 0:
        yield row("kill", "--resume", ended.why(), holds=False)
        return
    found = differences(undisturbed, run_dir)
    # Where a group's bits depend on its slot, one that is sampled again in another is another (law 5).
    holds = not found or (None if machine.facts.get("bits_depend_on_place") else False)
    yield row("kill", "kill -9 and --resume against undisturbed: records, completions, models", "; ".join(found)[:300] or "equal bytes", holds=holds, wanted="equal bytes")


# --- Throughput ---

_ROLLOUT = ("--prompts", 16, "--group", 16, "--prompt-tokens", 128, "--new-tokens", 128)
_STEP = ("--prompts", 8, "--group", 8, "--prompt-tokens", 128, "--new-tokens", 384)
# Verb, shape, what is varied, and the tokens a second that docs/gpus.md works out for an H200.
BENCHES = (
    ("rollout", "0.5b", ("--dtype", "bfloat16", "--head-dtype", "tf32", "--slots", 64), "50,000"),
    ("rollout", "0.5b", ("--dtype", "bfloat16", "--head-dtype", "tf32", "--slots", 256), "150,000"),
    ("step", "0.5b", ("--dtype", "bfloat16", "--head-dtype", "float32"), "27,000"),
    ("step", "0.5b", ("--dtype", "bfloat16", "--head-dtype", "tf32"), "82,000"),
    ("step", "0.5b", ("--dtype", "bfloat16", "--head-dtype", "bfloat16"), "82,000"),
    ("rollout", "0.5b", ("--dtype", "float32", "--slots", 64), ""),
    ("rollout", "1.5b", ("--dtype", "bfloat16", "--head-dtype", "tf32", "--slots", 256), "120,000"),
    ("step", "1.5b", ("--dtype", "bfloat16", "--head-dtype", "tf32"), "27,000"),
)


def throughput(machine):
    for number, (verb, shape, options, expected) in enumerate(BENCHES):
        what = f"{verb}, Qwen2 {shape.upper()}, " + " ".join(str(word).removeprefix("--") for word in options)
        if machine.left_s() < 20:
            yield Row("throughput", what, "no time left", "skipped")
            continue
        words = [machine.programs / GRPOCTL_MODEL, "bench", verb, "--random", machine.root / f"tools/bench/shapes/qwen2_{shape}.json",
                 "--device", machine.device, "--threads", min(8, os.cpu_count() or 1), "--repeats", 2, "--output", "json",
                 *options, *(_ROLLOUT if verb == "rollout" else _STEP)]
        ended = machine.run(f"bench_{number}", words, 90)
        if ended.code is None:
            yield Row("throughput", what, "took too long", "skipped")
            continue
        if ended.code != 0:
            yield row("throughput", what, ended.why(), holds=False)
            continue
        found = json.loads(ended.stdout)
        speed, peak = found["tokens_per_second"]["median"], found["figures"]["device_memory"]["peak_bytes"]
        yield row("throughput", what, f"{speed:,.0f} tokens/s, peak {peak / 2**30:.1f} GiB", wanted=f"about {expected}" if expected else "", number=speed)


# In this order: later ones use what earlier ones found.
PARTS = {part.__name__: part for part in (limits, suites, decode, ranks, quickstart, kill, throughput)}
