"""tools/check_gpu over programs that only say what a device might: what becomes of it in table, JSON and exit code."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(_ROOT / "tools/gpu"))

import pack  # noqa: E402

# Says what STUB holds for its first word: {"exit": code, "out": JSON}.
CHECK_GPU = """#!/usr/bin/env python3
import json, os, sys
said = json.loads(os.environ["STUB"])[sys.argv[1]]
print(json.dumps(said["out"]))
print("no such device", file=sys.stderr)
sys.exit(said["exit"])
"""

# A suite: STUB_SUITE says what becomes of it.
SUITE = """#!/usr/bin/env python3
import json, os, sys, time
if os.environ["STUB_SUITE"] == "hangs": time.sleep(600)
if os.environ["STUB_SUITE"] == "crashes": os.abort()
assert os.environ["GRPO_TEST_DEVICE"] == "stub" and os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
failures = [{"failure": "is 3"}] if os.environ["STUB_SUITE"] == "fails" else None
tests = [{"name": "Adds", "classname": "Device", "result": "COMPLETED"}, {"name": "Sums", "classname": "Device", "failures": failures}]
path = next(word for word in sys.argv if word.startswith("--gtest_output=json:")).partition("json:")[2]
open(path, "w").write(json.dumps({"testsuites": [{"testsuite": tests}]}))
sys.exit(failures is not None)
"""

# A run: learns, waits to be killed where its folder says so, and goes on.
GRPOCTL = """#!/usr/bin/env python3
import json, os, pathlib, sqlite3, sys, time
run_dir = pathlib.Path(sys.argv[sys.argv.index("--run-dir") + 1])
resumed = "--resume" in sys.argv
run_dir.mkdir(parents=True, exist_ok=True)
(run_dir / "models/base").mkdir(parents=True, exist_ok=True)
(run_dir / "models/base/model.safetensors").write_text("weights")
sqlite3.connect(run_dir / "completions.sqlite").execute("CREATE TABLE IF NOT EXISTS completions (stage, group_index, sample_index)")
losses = [("pretrain", 4.0), ("pretrain", 1.0), ("pretrain_student", 4.0), ("pretrain_student", 3.0)]
losses += [("r1_zero", float(os.environ.get("STUB_LOSS", 0)) if resumed else 0.0)] * 6 + [("distill", 3.0), ("distill", 2.0)]
lines = [json.dumps({"stage": stage, "step": i, "loss": loss, "reward": 0.1, "grad_norm": 1.0, "step_seconds": time.time(),
                     "device_memory/0/peak_bytes": os.getpid()}) for i, (stage, loss) in enumerate(losses)]
written = len((run_dir / "metrics.jsonl").read_text().splitlines()) if resumed else 0
with (run_dir / "metrics.jsonl").open("a") as out:
    out.write("\\n".join(lines[written:8] if run_dir.name == "killed" and not resumed else lines[written:]) + "\\n")
if run_dir.name == "killed" and not resumed: time.sleep(600)
"""

BENCH = """#!/usr/bin/env python3
import json
print(json.dumps({"tokens_per_second": {"median": 12345.6}, "figures": {"device_memory": {"peak_bytes": 1 << 30}}}))
"""


def _place(**changes):
    case = {"tokens": 100, "other_ids": 0, "other_bits": 0, "diff_max": 0.0} | changes
    return case


def _answers():
    """What a device without a fault says."""
    decode = {"forward": {"tokens": 100, "diff_max": 1e-6, "diff_mean": 1e-7}, "neighbours": _place(), "order": _place(), "swapped": _place(), "left_bytes": 0}
    limits = {"model": "Stub 1", "devices": 1, "torch": "2.11.0", "total_bytes": 1 << 34, "free_bytes": 1 << 33}
    limits |= {f"{key}": 1.5 for key in ("bfloat16_tflops", "tf32_tflops", "float32_tflops", "copy_gb_per_s", "to_device_gb_per_s", "to_host_gb_per_s", "launch_us")}
    ranks = {"devices": 1, "cases": [{"ranks": 1, "backend": "nccl", "right": True}, {"ranks": 2, "backend": "gloo, one device", "right": True, "bus_gb_per_s": 2.0}]}
    return {name: {"exit": 0, "out": out} for name, out in (("limits", limits), ("decode", decode), ("ranks", ranks))}


class CheckGpuTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(folder.cleanup)
        self.folder, self.programs = pathlib.Path(folder.name), pathlib.Path(folder.name, "programs")
        for name, text in (
            ("tests/device/check_gpu", CHECK_GPU), ("tests/device/trainer_test", SUITE), ("tools/grpoctl", GRPOCTL), ("tools/grpoctl-model", BENCH)):
            path = self.programs / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)

    def check(self, *words, answers=None, suite="passes", minutes=2, environment=None):
        """(exit code, rows by part and what, both texts)"""
        # A new one each time: runs are never started in a folder that holds one.
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="scratch.", dir=self.folder))
        command = [sys.executable, _ROOT / "tools/check_gpu", "--programs", self.programs, "--device", "stub", "--scratch", self.scratch]
        ended = subprocess.run(
            [str(word) for word in (*command, "--minutes", minutes, *words)], capture_output=True, text=True, check=False,
            env=os.environ | {"STUB": json.dumps(answers or _answers()), "STUB_SUITE": suite} | (environment or {}))
        path = self.scratch / "check_gpu.json"
        rows = json.loads(path.read_text())["rows"] if path.exists() else []
        return ended.returncode, rows, ended.stdout + ended.stderr

    def outcomes(self, rows, part):
        return {row["what"]: row["outcome"] for row in rows if row["part"] == part}

    def test_a_device_without_a_fault_passes_and_every_row_is_in_table_and_json(self):
        code, rows, text = self.check()
        self.assertEqual(0, code, text)
        self.assertEqual({"device", "suite", "decode", "ranks", "quickstart", "kill", "throughput"}, {row["part"] for row in rows})
        self.assertNotIn("failed", {row["outcome"] for row in rows})
        for row in rows:
            self.assertIn(f"| {row['part']} | {row['what']} | {row['value']} |", text)
        self.assertEqual("ok", self.outcomes(rows, "kill")["kill -9 and --resume against undisturbed: records, completions, models"])
        self.assertIn(12345.6, [row["number"] for row in rows if row["part"] == "throughput"])
        facts = json.loads((self.scratch / "check_gpu.json").read_text())
        self.assertEqual(("Stub 1", "2.11.0", False), (facts["model"], facts["torch"], facts["failed"]))

    def test_without_a_device_nothing_is_checked(self):
        code, rows, text = self.check(answers=_answers() | {"limits": {"exit": 69, "out": None}})
        self.assertEqual((69, []), (code, rows))
        self.assertIn("no such device", text)
        self.assertNotIn("|", text)

    def test_a_torch_without_its_own_libraries_is_said_once(self):
        code, rows, text = self.check(answers=_answers() | {"limits": {"exit": 127, "out": None}})
        self.assertEqual((69, []), (code, rows))
        self.assertIn("install that torch with all that it requires", text)

    def test_decoding_beyond_its_bound_fails(self):
        answers = _answers()
        answers["decode"]["out"]["forward"]["diff_max"] = 0.01
        code, rows, text = self.check("--parts", "decode", answers=answers)
        self.assertEqual(1, code, text)
        outcomes = self.outcomes(rows, "decode")
        self.assertEqual({"ok", "failed"}, set(outcomes.values()))
        self.assertEqual("failed", next(outcome for what, outcome in outcomes.items() if what.startswith("float32: decoding")))

    def test_bits_that_depend_on_neighbours_are_stated_and_those_of_old_weights_fail(self):
        answers = _answers()
        answers["decode"]["out"]["neighbours"] = _place(other_bits=3, diff_max=1e-7)
        code, rows, text = self.check("--parts", "decode", answers=answers)
        self.assertEqual(0, code, text)
        self.assertEqual("stated", self.outcomes(rows, "decode")["bfloat16: a group beside other groups"])
        answers["decode"]["out"]["swapped"] = _place(other_ids=1)
        code, rows, _ = self.check("--parts", "decode", answers=answers)
        self.assertEqual(1, code)
        self.assertEqual("failed", self.outcomes(rows, "decode")["bfloat16: a group after other weights"])

    def test_what_says_something_else_than_expected_fails(self):
        code, rows, text = self.check("--parts", "ranks", answers=_answers() | {"ranks": {"exit": 0, "out": {"devices": 1}}})
        self.assertEqual(1, code, text)
        self.assertEqual({"the part itself": "failed"}, self.outcomes(rows, "ranks"))

    def test_a_failed_or_crashed_test_fails_and_is_named(self):
        code, rows, text = self.check("--parts", "suites", suite="fails")
        self.assertEqual(1, code, text)
        self.assertIn("1 of 2 pass: Device.Sums", text)
        code, rows, text = self.check("--parts", "suites", suite="crashes")
        self.assertEqual(1, code, text)
        self.assertEqual("failed", self.outcomes(rows, "suite")["trainer_test"])
        self.assertEqual("skipped", self.outcomes(rows, "suite")["state_test"])

    def test_what_hangs_is_ended_in_time_and_the_rest_is_skipped(self):
        code, rows, text = self.check("--parts", "suites", "decode", suite="hangs", minutes=0.05)
        self.assertEqual(1, code, text)
        self.assertIn("took too long", text)
        self.assertEqual({"the whole part": "skipped"}, self.outcomes(rows, "decode"))

    def test_a_resumed_run_that_is_another_fails_unless_bits_depend_on_the_place(self):
        parts = ("--parts", "decode", "quickstart", "kill")
        code, rows, text = self.check(*parts, environment={"STUB_LOSS": "0.5"})
        self.assertEqual(1, code, text)
        self.assertIn("loss 0.5 for 0.0", text)
        answers = _answers()
        answers["decode"]["out"]["order"] = _place(other_bits=1)
        code, rows, text = self.check(*parts, answers=answers, environment={"STUB_LOSS": "0.5"})
        self.assertEqual(0, code, text)
        self.assertEqual({"stated"}, set(self.outcomes(rows, "kill").values()))


class PackTest(unittest.TestCase):

    def test_programs_are_where_bazel_puts_them(self):
        self.assertEqual("trainer/trainer", pack.program_of("//trainer"))
        self.assertEqual("tests/device/model_test", pack.program_of("//tests/device:model_test"))

    def test_libraries_travel_but_for_the_systems_and_those_that_the_target_has(self):
        ldd = """
            linux-vdso.so.1 (0x00007ffd)
            libgrpc.so.29 => /usr/lib/libgrpc.so.29 (0x00007f01)
            libtorch_cpu.so => /venv/site-packages/torch/lib/libtorch_cpu.so (0x00007f02)
            libnccl.so.2 => /venv/site-packages/nvidia/nccl/lib/libnccl.so.2 (0x00007f03)
            libstdc++.so.6 => /usr/lib/libstdc++.so.6 (0x00007f04)
            libcuda.so.1 => not found
            libcurl.so.4 => /usr/lib/libcurl.so.4 (0x00007f06)
            /lib64/ld-linux-x86-64.so.2 (0x00007f05)
        """
        self.assertEqual({name: pathlib.Path("/usr/lib", name) for name in ("libgrpc.so.29", "libcurl.so.4")}, pack.carried(ldd, [pathlib.Path("/venv/site-packages")]))

    def test_a_library_that_nobody_has_is_named(self):
        with self.assertRaisesRegex(RuntimeError, "libfoo.so.1"):
            pack.carried("libfoo.so.1 => not found", [])


if __name__ == "__main__":
    unittest.main()
