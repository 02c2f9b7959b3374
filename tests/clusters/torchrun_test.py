"""The commands of docs/clusters.md for hosts without a launcher, as they stand there: torchrun and ranks by hand, with
members that know one address. Equal to `grpoctl run`, digit for digit, also when a rank dies.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import harness  # noqa: E402
from short_quickstart import SHORT  # noqa: E402

PAGE = harness.ROOT / "docs/clusters.md"
SETTINGS = SHORT | {"trainer.ranks": 2, "checkpoint.every_steps": 5}
PROGRAMS = {"trainer/trainer": harness.TRAINER, "reward/reward_server": harness.REWARD_SERVER, "rollout/rollout_worker": harness.ROLLOUT_WORKER}


def commands():
    """{"rank 0": its block} of the page: each begins with a comment that says where it is typed."""
    return {block[1]: block[2] for block in re.finditer(r"```bash\n# ([^\n]*)\n(.*?)```", PAGE.read_text(), re.DOTALL)}


class TorchrunTest(harness.AgainstUndisturbedRunTest):
    CONFIG = harness.QUICKSTART
    SETTINGS = SETTINGS

    def setUp(self):
        super().setUp()
        # What the page says of a checkout, for wherever the programs are.
        for name, program in PROGRAMS.items():
            link = self.folder / "bazel-bin" / name
            link.parent.mkdir(parents=True)
            link.symlink_to(program.resolve())
        config = shutil.copy(self.undisturbed / "config.yaml", self.folder / "config.yaml")
        here = {"CONFIG": config, "RUN": self.run_dir, "PORT": harness.free_port(), "MASTER_PORT": harness.free_port()}
        self.environment = {name: str(value) for name, value in here.items()} | {"RUN_ID": "by-hand", "HEAD": "127.0.0.1"}
        # torchrun is beside the interpreter that has torch.
        self.environment["PATH"] = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def type(self, where):
        """Starts a block of the page; its words go to WHERE.log."""
        log = (self.folder / f"{where}.log").open("w")
        child = subprocess.Popen(
            ["bash", "-uc", commands()[where]], cwd=self.folder, env=os.environ | self.environment,
            stdout=log, stderr=log, start_new_session=True,
        )
        self.addCleanup(log.close)
        self.addCleanup(child.wait)
        self.addCleanup(self.kill_group, child)
        return child

    def kill_group(self, child):
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)

    def words(self, where):
        return (self.folder / f"{where}.log").read_text()

    def trainers(self):
        """Process ids of the ranks."""
        found = harness.processes_of(self.run_dir)
        return [pid for pid, command in found.items() if command.startswith(("bazel-bin/trainer", str(harness.TRAINER)))]

    def wait_for_rl(self):
        metrics = self.run_dir / "metrics.jsonl"
        seen = '"r1_zero"'
        harness.wait_until(lambda: metrics.exists() and seen in metrics.read_text(), "RL is under way", timeout_s=300)

    def test_the_variables_of_the_page_are_those_that_its_commands_use(self):
        used = set(re.findall(r"\$\{?([A-Z_]+)", "".join(commands().values())))
        given = set(re.findall(r"([A-Z_]+)=", commands()["every host"]))
        self.assertEqual(given, used)

    def test_torchrun_with_a_rank_that_dies(self):
        for role in ("worker", "reward server"):
            self.type(f"a {role}'s host")
        launcher = self.type("the trainer's host")
        self.wait_for_rl()
        ranks = harness.wait_until(lambda: len(self.trainers()) == 2 and self.trainers(), "both ranks are there")
        os.kill(max(ranks), signal.SIGKILL)
        self.assertEqual(harness.EXIT_OK, launcher.wait(600), self.words("the trainer's host"))
        self.assertIn("resuming from step-", self.words("the trainer's host"))
        self.assert_undisturbed_results()

    def test_a_line_for_each_rank_and_a_worker_that_dies(self):
        ranks = [self.type(f"rank {rank}") for rank in (1, 0)]
        for role in ("reward server", "worker"):
            self.type(f"a {role}'s host")
        self.wait_for_rl()
        mark = "bazel-bin/rollout/rollout_worker --config"
        worker = next(pid for pid, command in harness.processes_of(self.folder).items() if command.startswith(mark))
        os.kill(worker, signal.SIGKILL)
        for rank in ranks:
            self.assertEqual(harness.EXIT_OK, rank.wait(600), self.words("rank 0"))
        self.assertIn("rollout-0.2", self.words("rank 0"), "the next attempt")
        self.assert_undisturbed_results()


if __name__ == "__main__":
    unittest.main()
