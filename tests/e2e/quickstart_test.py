"""The quickstart, shortened: what it writes and shows, how it is watched; then the run on problems of one's own."""

import hashlib
import json
import os
import pathlib
import statistics
import tempfile
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

import harness
from harness import trainer_pb2
from short_quickstart import SHORT

STAGES = {
    "pretrain": "train",
    "evaluate_base": "evaluate",
    "r1_zero": "train",
    "evaluate_r1_zero": "evaluate",
    "pretrain_student": "train",
    "synthesize": "synthesize",
    "distill": "train",
    "evaluate_student_distilled": "evaluate",
    "student_rl": "train",
    "evaluate_student_rl": "evaluate",
}
EVALUATION_METRICS = {"pass_at_1", "pass_at_8", "greedy_accuracy", "format_rate", "mean_completion_tokens"}


class QuickstartTest(harness.EndToEndTest):

    @classmethod
    def setUpClass(cls):
        """Runs the short quickstart and keeps what was seen while it ran."""
        scratch = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        cls.addClassCleanup(scratch.cleanup)
        cls.run_dir = pathlib.Path(scratch.name, "quickstart")
        with harness.Run(cls.run_dir, harness.QUICKSTART, SHORT) as run:
            with ThreadPoolExecutor() as background:
                watch = trainer_pb2.WatchStatusRequest(min_interval_ms=50)
                watched = background.submit(lambda: list(run.client().WatchStatus(watch)))
                cls.look_at(run)
                cls.exit_code = run.wait(120)
                cls.snapshots = watched.result(timeout=harness.CALL_S)
            cls.stdout, cls.stderr = run.stdout, run.stderr
        cls.left_behind = harness.processes_of(cls.run_dir)
        cls.summary = json.loads((cls.run_dir / "summary.json").read_text())
        cls.metrics = [json.loads(line) for line in (cls.run_dir / "metrics.jsonl").read_text().splitlines()]

    @classmethod
    def look_at(cls, run):
        run.wait_for_step("r1_zero", 1)
        cls.latencies_s = []
        for _ in range(20):
            time.sleep(0.05)  # spread over steps and waiting for rollouts
            asked = time.perf_counter()
            run.status()
            cls.latencies_s.append(time.perf_counter() - asked)
        asked = time.perf_counter()
        cls.status_table = harness.grpoctl("status", "--run-dir", cls.run_dir)
        cls.status_verb_s = time.perf_counter() - asked
        cls.status_json = harness.grpoctl("status", "--run-dir", cls.run_dir, "--output", "json")
        cls.health_verb = harness.grpoctl("health", "--run-dir", cls.run_dir)
        cls.config = run.client().GetConfig(trainer_pb2.GetConfigRequest(), timeout=harness.CALL_S)
        # HealthCheckRequest and HealthCheckResponse as bytes: grpcio alone brings no client for them.
        cls.health = run.channel().unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=harness.CALL_S)
        children = {pid: command for pid, command in harness.processes_of(cls.run_dir).items() if pid != run.pid}
        cls.listeners = {command: harness.listeners_of(pid) for pid, command in children.items()}

    def test_ends_well_and_leaves_no_process(self):
        self.assertEqual(harness.EXIT_OK, self.exit_code, self.stderr)
        self.assertEqual({}, self.left_behind)

    def test_summary_has_the_documented_shape(self):
        stages = self.summary["stages"]
        self.assertEqual(list(STAGES.items()), [(stage["name"], stage["type"]) for stage in stages])
        for stage in stages:
            self.assertGreater(stage["seconds"], 0)
        for stage in [stage for stage in stages if stage["type"] == "evaluate"]:
            measured = {name: stage["metrics"][name] for name in EVALUATION_METRICS}
            self.assertGreater(measured.pop("mean_completion_tokens"), 0)
            for name, value in measured.items():
                self.assertTrue(0 <= value <= 1, f"{name} is {value}")

    def test_metrics_have_one_line_a_step(self):
        for stage in [stage for stage, kind in STAGES.items() if kind == "train"]:
            steps = [line["step"] for line in self.metrics if line["stage"] == stage]
            self.assertEqual(list(range(1, SHORT[f"stages.{stage}.steps"] + 1)), steps)

    def test_trainer_and_sampler_agree_on_every_log_probability(self):
        differences = [line["logprob_abs_diff_max"] for line in self.metrics if line["stage"] == "r1_zero"]
        print(f"largest |policy_logprob - sample_logprob|: {max(differences):.2e}")
        self.assertEqual(SHORT["stages.r1_zero.steps"], len(differences))
        # That a difference would show is trainer/loop_test.cc's; a processor may round both computations alike.
        self.assertLess(max(differences), 1e-4)

    def test_exports_models_in_the_hugging_face_layout(self):
        for model in ("base", "r1_zero", "student_distilled", "student_rl"):
            names = {path.name for path in (self.run_dir / "models" / model).iterdir()}
            self.assertLessEqual({"config.json", "tokenizer.json", "model.safetensors"}, names)

    def test_shows_the_table_and_samples(self):
        for text in ("pass@1", "format rate", "mean completion tokens", "summary.json"):
            self.assertIn(text, self.stdout)
        for policy in ("base", "r1_zero", "student_distilled", "student_rl"):
            self.assertIn(f"Completions of {policy}", self.stdout)
        self.assertRegex(self.stdout, r"metric +base +r1_zero +student_distilled +student_rl")

    def test_run_again_shows_the_table_and_how_to_start_afresh(self):
        sets = [word for key, value in SHORT.items() for word in ("--set", f"{key}={value}")]
        for arguments in ([harness.QUICKSTART, *sets], ["--resume"]):
            again = harness.grpoctl("run", "--run-dir", self.run_dir, *arguments)
            self.assertEqual(harness.EXIT_OK, again.returncode, again.stderr)
            self.assertEqual(self.stdout, again.stdout)
            self.assertIn(f"To start afresh, delete {self.run_dir}", again.stderr)

    def test_status_answers_a_generated_client_within_100_ms(self):
        median, slowest = statistics.median(self.latencies_s), max(self.latencies_s)
        print(f"GetStatus: median {1e3 * median:.1f} ms, slowest {1e3 * slowest:.1f} ms")
        print(f"grpoctl status: {1e3 * self.status_verb_s:.1f} ms with its start")
        self.assertLess(median, 0.1)

    def test_status_verb_shows_the_running_stage(self):
        self.assertEqual(harness.EXIT_OK, self.status_table.returncode, self.status_table.stderr)
        self.assertIn("r1_zero", self.status_table.stdout)
        status = json.loads(self.status_json.stdout)
        self.assertEqual("RUN_STATE_RUNNING", status["state"])
        self.assertEqual(str(self.run_dir), status["run_dir"])
        self.assertEqual(list(STAGES), [stage["name"] for stage in status["stages"]])

    def test_watched_snapshots_only_grow_and_end_with_the_run(self):
        numbers = [snapshot.sequence for snapshot in self.snapshots]
        self.assertEqual(sorted(numbers), numbers)
        self.assertGreater(len(set(numbers)), 10)
        self.assertEqual(trainer_pb2.RUN_STATE_FINISHED, self.snapshots[-1].state)
        self.assertTrue(all(stage.state == trainer_pb2.STAGE_STATE_DONE for stage in self.snapshots[-1].stages))

    def test_configuration_is_served_as_it_was_saved(self):
        saved = (self.run_dir / "config.yaml").read_bytes()
        self.assertEqual(saved, self.config.resolved_yaml.encode())
        self.assertEqual(hashlib.sha256(saved).hexdigest(), self.config.sha256)

    def test_health_is_serving(self):
        self.assertEqual(b"\x08\x01", self.health)  # status: SERVING
        self.assertEqual(harness.EXIT_OK, self.health_verb.returncode, self.health_verb.stderr)
        self.assertEqual("SERVING\n", self.health_verb.stdout)

    def test_every_listener_is_on_loopback(self):
        self.assertEqual(3, len(self.listeners))  # reward server, trainer, worker
        addresses = [address for listeners in self.listeners.values() for address, _ in listeners]
        self.assertGreaterEqual(len(addresses), 2)
        for address in addresses:
            self.assertTrue(address.is_loopback, address)

    def test_the_same_loop_runs_on_problems_of_ones_own(self):
        run_dir = self.folder / "own_problems"
        short = {
            "policies.base.path": self.run_dir / "models/base",
            "stages.evaluate_before.problems": 8,
            "stages.evaluate_before.greedy": "false",
            "stages.train.steps": 3,
            "stages.evaluate_after.problems": 8,
            "stages.evaluate_after.greedy": "false",
        }
        shown = self.run_to_end(run_dir, harness.OWN_PROBLEMS, short)
        self.assertRegex(shown, r"metric +base +tuned")
        steps = [record for record in harness.records(run_dir) if record["stage"] == "train"]
        self.assertEqual(["1", "2", "3"], [record["step"] for record in steps])
        example = harness.ROOT / "datasets/own_problems_example.jsonl"
        problems = {line["problem"] for line in harness.json_lines(example)}
        asked = {row["prompt"] for row in harness.completions(run_dir) if row["stage"] == "evaluate_after"}
        self.assertEqual(8, len(asked))
        self.assertLessEqual(asked, {f"Q:{problem}\nA:" for problem in problems})
        self.assertTrue((run_dir / "models/tuned/model.safetensors").is_file())


if __name__ == "__main__":
    unittest.main()
