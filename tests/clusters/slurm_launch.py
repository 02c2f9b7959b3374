"""What tests of `grpoctl launch --on slurm` share: a cluster for the class, launches into it, and what a run ends as."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import harness  # noqa: E402
import slurm  # noqa: E402

# On three machines: ranks on the first and the second, workers on the third and the first, reward servers on the second
# and the third.
PROCESSES = {"trainer.ranks": 2, "rollout_worker.workers": 2, "reward_server.servers": 2}
PLACES = {
    "launch.trainer.nodes": 2,
    "launch.rollout_worker.nodes": 3,
    "launch.rollout_worker.processes_per_node": 1,
    "launch.reward_server.nodes": 2,
}
# A machine's memory is what slurm.py says, not this one's.
MEMORY = {f"launch.{role}.memory_gib": 1 for role in ("trainer", "rollout_worker", "reward_server")}
PLACE_OF = {
    "trainer": "n1", "trainer-1": "n2", "rollout-0": "n3", "rollout-1": "n1", "reward-0": "n2", "reward-1": "n3",
}  # fmt: skip


class Job:
    """A run that was launched."""

    def __init__(self, cluster, run_dir):
        self.cluster, self.run_dir = cluster, run_dir
        self.number = json.loads((run_dir / "launch/job.json").read_text())["job"]

    def log(self):
        path = self.run_dir / f"logs/slurm-{self.number}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def grpoctl(self, verb, *arguments):
        """A verb that names the run by its job."""
        return run_grpoctl(self.cluster, verb, "--on", "slurm", "--job", self.number, *arguments)

    def status(self):
        """The run's status as JSON; nothing while no trainer answers."""
        said = self.grpoctl("status", "--output", "json")
        return json.loads(said.stdout) if said.returncode == harness.EXIT_OK else None

    def wait_for_step(self, stage, step):
        """Until so many steps of the stage are done."""

        def reached():
            assert self.cluster.state(self.number) not in ("FAILED", "COMPLETED", "CANCELLED"), self.everything()
            status = self.status()
            steps = {row["name"]: int(row.get("step", 0)) for row in status["stages"]} if status else {}
            return steps.get(stage, 0) >= step

        self.cluster.wait_until(reached, f"{stage} is at step {step}", timeout_s=180)

    def wait_to_end(self, state="COMPLETED", timeout_s=300):
        """Until Slurm says that the job has ended, in this state."""
        over = ("COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "TIMEOUT")
        seen = self.cluster.wait_until(
            lambda: (found := self.cluster.state(self.number)) in over and found,
            f"job {self.number} has ended:\n{self.everything()}",
            timeout_s,
        )
        assert seen == state, f"{seen}\n{self.everything()}"

    def pid_of(self, name):
        """The process itself, not the srun that waits for it."""
        for pid in harness.processes_of(self.run_dir):
            with contextlib.suppress(OSError):
                environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                program = os.readlink(f"/proc/{pid}/exe")
                mine = f"SLURM_STEP_ID={self.step_of(name)}".encode() in environment
                if mine and not re.search(r"srun|slurmstepd", program):
                    return pid
        raise AssertionError(f"there is no {name}\n{self.everything()}")

    def step_of(self, name):
        """The number of the step that runs this process of the plan."""
        lines = self.cluster.call("squeue", "--steps", "--noheader", "--format=%i|%j|%N").splitlines()
        steps = [line.split("|") for line in lines]
        found = [step for step, job_name, _ in steps if job_name == name and step.startswith(f"{self.number}.")]
        assert found, f"no step is called {name}: {lines}"
        return found[-1].partition(".")[2]

    def places(self):
        """{process: machine} of the steps that run."""
        lines = self.cluster.call("squeue", "--steps", "--noheader", "--format=%i|%j|%N").splitlines()
        steps = [line.split("|") for line in lines]
        return {name: node for step, name, node in steps if step.startswith(f"{self.number}.") and name != "batch"}

    def everything(self):
        """What its processes said."""
        texts = [f"--- {path}\n{path.read_text(errors='replace')[-3000:]}" for path in sorted(self.run_dir.glob("logs/*"))]
        return "\n".join(texts)


def run_grpoctl(cluster, *arguments):
    command = [str(argument) for argument in (harness.GRPOCTL, *arguments)]
    return subprocess.run(
        command, env=cluster.environment, capture_output=True, text=True, timeout=120, check=False
    )


@unittest.skipIf(slurm.missing(), slurm.missing())
class SlurmTest(harness.EndToEndTest):
    """Has a cluster of three machines, and the results of a run of one machine to compare with."""

    CONFIG = harness.TINY
    SETTINGS = {}

    @classmethod
    def setUpClass(cls):
        cls.cluster = slurm.Slurm()
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.__exit__)
        scratch = tempfile.TemporaryDirectory(prefix="local.", dir=os.environ.get("TEST_TMPDIR"))
        cls.addClassCleanup(scratch.cleanup)
        cls.local = pathlib.Path(scratch.name, "run")
        with harness.Run(cls.local, cls.CONFIG, PROCESSES | cls.SETTINGS) as run:
            if run.wait(300) != harness.EXIT_OK:
                raise AssertionError(run.stderr)

    def tearDown(self):
        self.cluster.call("scancel", "--user=root", check=False)
        self.cluster.wait_until(
            lambda: not self.cluster.call("squeue", "--noheader").strip(), "no job is left", timeout_s=60
        )
        super().tearDown()

    def launch(self, run_dir, *arguments, settings=None, config=None):
        """`grpoctl launch`, which has ended."""
        sets = PROCESSES | PLACES | MEMORY | self.SETTINGS | (settings or {})
        words = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
        config = config or self.CONFIG
        return run_grpoctl(self.cluster, "launch", config, "--on", "slurm", "--run-dir", run_dir, *words, *arguments)

    def launched(self, run_dir, *arguments, settings=None):
        """The job of a launch that went well."""
        done = self.launch(run_dir, *arguments, settings=settings)
        self.assertEqual(harness.EXIT_OK, done.returncode, done.stderr)
        return Job(self.cluster, run_dir)
