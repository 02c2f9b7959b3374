"""A run that `grpoctl launch --on ray` submits to Ray: equal to `grpoctl run`, digit for digit, whoever of it dies, and
nothing is left running.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import harness  # noqa: E402
from ray_cluster import RayCluster, enter_namespaces  # noqa: E402
from short_quickstart import SHORT  # noqa: E402

SETTINGS = SHORT | {"trainer.ranks": 2, "rollout_worker.workers": 2, "checkpoint.every_steps": 5}
# As the plan names them: where grpoctl itself lies, behind every link.
PROGRAMS = tuple(str(program.resolve()) for program in (harness.TRAINER, harness.ROLLOUT_WORKER, harness.REWARD_SERVER))


def parent_of(pid):
    """The actor whose process it is."""
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class RayTest(harness.AgainstUndisturbedRunTest):
    CONFIG = harness.QUICKSTART
    SETTINGS = SETTINGS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cluster = cls.enterClassContext(RayCluster())

    # --- What a person does ---

    def grpoctl(self, *arguments):
        command = [str(word) for word in (harness.GRPOCTL, *arguments)]
        done = subprocess.run(
            command, env=self.cluster.environment, capture_output=True, text=True, timeout=300, check=False
        )
        self.assertEqual(harness.EXIT_OK, done.returncode, f"{command}:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def launch(self, *flags):
        """Submits and returns Ray's name of the job."""
        settings = [word for key, value in self.SETTINGS.items() for word in ("--set", f"{key}={value}")]
        address = ["--set", f"launch.ray.address={self.cluster.ADDRESS}"]
        # A job that goes on has its configuration.
        what = flags or (self.CONFIG, *settings, *address)
        self.grpoctl("launch", "--on", "ray", "--run-dir", self.run_dir, *what)
        job, _, cluster = json.loads((self.run_dir / "launch/job.json").read_text())["job"].partition("@")
        self.assertEqual(self.cluster.ADDRESS, cluster)
        return job

    # --- What is seen ---

    def wait_for_step(self, job, stage, step):
        """Until metrics.jsonl has the stage's step."""
        metrics = self.run_dir / "metrics.jsonl"

        def there():
            lines = harness.json_lines(metrics) if metrics.exists() else []
            if any(line["stage"] == stage and int(line["step"]) >= step for line in lines):
                return True
            # Seldom: the client takes a second of a core.
            self.looks = getattr(self, "looks", 0) + 1
            if self.looks % 1000 == 0:
                self.assertIn(self.cluster.job(job)["status"], ("PENDING", "RUNNING"), self.driver_log(job))
            return False

        harness.wait_until(there, f"{stage} is at step {step}", timeout_s=600)

    def driver_log(self, job):
        return self.cluster.call("job", "logs", job)

    def process(self, *marks):
        """The process of the run whose command line and RANK say so."""
        return harness.wait_until(lambda: next(self._matching(marks), None), f"{marks} is there")

    def _matching(self, marks):
        for pid, command in harness.processes_of(self.run_dir).items():
            if command.startswith(PROGRAMS) and all(mark in command for mark in marks):
                yield pid

    def rank(self, number):
        """The process of a rank: only the first one serves."""
        ranks = harness.wait_until(lambda: sorted(self._matching(["trainer/trainer"]), key=self._is_follower), "ranks are there")
        return ranks[number]

    @staticmethod
    def _is_follower(pid):
        return " --port " not in pathlib.Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")

    def kill_actor_of(self, pid):
        """With its actor goes the process."""
        os.kill(parent_of(pid), signal.SIGKILL)
        harness.wait_until(lambda: pid not in harness.processes_of(self.run_dir), "the process dies with its actor")

    def assert_nothing_left(self):
        harness.wait_until(lambda: not list(self._matching([])), "no process of the run is left")
        states = json.loads(self.cluster.call("list", "placement-groups", "--address", self.cluster.ADDRESS, "--format", "json"))
        self.assertEqual({"REMOVED"}, {group["state"] for group in states})
        actors = json.loads(self.cluster.call("list", "actors", "--address", self.cluster.ADDRESS, "--format", "json"))
        self.assertEqual({"DEAD"}, {actor["state"] for actor in actors if actor["class_name"] == "ProcessActor"})

    # --- The tests ---

    def test_a_run_that_loses_actors_of_a_worker_and_of_a_rank_ends_as_if_nobody_had_touched_it(self):
        job = self.launch()
        self.wait_for_step(job, "r1_zero", 3)
        self.kill_actor_of(self.process("--name rollout-0 "))
        self.wait_for_step(job, "student_rl", 2)
        self.kill_actor_of(self.rank(1))
        end = self.cluster.wait_for_end(job)
        said = self.driver_log(job)
        self.assertEqual("SUCCEEDED", end["status"], said)
        for name in ("rollout-0", "trainer-1"):
            self.assertIn(f"the actor of {name} is gone", said)
        self.assertEqual(str(self.run_dir), end["metadata"]["grpo_run_dir"])
        self.assert_undisturbed_results()
        self.assert_nothing_left()

    def test_a_job_that_is_stopped_saves_and_a_second_one_goes_on(self):
        job = self.launch()
        self.wait_for_step(job, "r1_zero", 3)
        self.cluster.call("job", "stop", "--address", self.cluster.ADDRESS, job, timeout_s=600)
        self.assertIn("the run ended with exit code 75", self.driver_log(job))
        self.assertNotIn("SIGKILL", self.driver_log(job))
        self.assert_nothing_left()
        end = self.cluster.wait_for_end(self.launch("--resume"))
        self.assertEqual("SUCCEEDED", end["status"], end["message"])
        self.assert_undisturbed_results()

    def test_a_driver_that_is_killed_takes_everything_along(self):
        job = self.launch()
        self.wait_for_step(job, "pretrain", 5)
        self.assertTrue(self.rank(1))
        (driver,) = [pid for pid, command in harness.processes_of(self.run_dir).items() if "ray_driver.py" in command.split()[1]]
        os.kill(driver, signal.SIGKILL)
        self.assertEqual("FAILED", self.cluster.wait_for_end(job)["status"])
        self.assert_nothing_left()

    def test_a_dry_run_submits_nothing_and_its_driver_refuses_a_ray_without_tokens(self):
        before = self.cluster.jobs().keys()
        files = self.folder / "files"
        self.grpoctl("launch", self.CONFIG, "--on", "ray", "--run-dir", self.run_dir, "--dry-run", "--out", files)
        self.assertFalse(self.run_dir.exists())
        self.assertEqual(before, self.cluster.jobs().keys())
        environment = self.cluster.environment | {"RAY_AUTH_MODE": "disabled"}
        driver = ["python3", str(files / "ray_driver.py")]
        done = subprocess.run(driver, env=environment, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(77, done.returncode, done.stdout)
        self.assertIn("RAY_AUTH_MODE=token", done.stdout)


if __name__ == "__main__":
    enter_namespaces()
    unittest.main()
