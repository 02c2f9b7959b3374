"""A run on a real Slurm cluster of three machines: the local run's results, digit for digit, and the verbs that name it by
its job."""

import json
import unittest

import slurm_launch
from slurm_launch import PLACE_OF, SlurmTest, harness


class SlurmLaunchTest(SlurmTest):
    def test_a_dry_run_shows_all_and_submits_nothing(self):
        out, run_dir = self.folder / "out", self.folder / "run"
        shown = self.launch(run_dir, "--dry-run", "--output", "json", "--out", out)
        self.assertEqual(harness.EXIT_OK, shown.returncode, shown.stderr)
        self.assertEqual(2, json.loads(shown.stdout)["roles"]["trainer"]["processes"])
        self.assertEqual({"launch.sbatch", "starters.json"}, {path.name for path in out.iterdir()})
        # sbatch takes it as it stands.
        self.cluster.call("sbatch", "--test-only", out / "launch.sbatch")
        table = self.launch(run_dir, "--dry-run")
        self.assertEqual(harness.EXIT_OK, table.returncode, table.stderr)
        self.assertRegex(table.stdout, r"rollout_worker +2 +3 +1 ")
        self.assertEqual({}, self.cluster.jobs())
        self.assertFalse(run_dir.exists())

    def test_on_three_machines_it_equals_the_local_run(self):
        run_dir = self.folder / "run"
        job = self.launched(run_dir)
        # It holds still, so that all of it can be looked at.
        self.cluster.wait_until(lambda: job.grpoctl("pause").returncode == harness.EXIT_OK, "its trainer serves")
        self.cluster.wait_until(lambda: len(job.places()) == len(PLACE_OF), "all steps run")
        self.assertEqual(PLACE_OF, job.places())
        # Another launch into its folder says whose it is.
        again = self.launch(run_dir)
        self.assertEqual(harness.EXIT_CANNOT_CREATE, again.returncode, again.stdout)
        self.assertIn(f"job {job.number} of slurm", again.stderr)
        self.assertEqual([job.number], list(self.cluster.jobs()))
        self.assertIn("trainer |", job.grpoctl("logs").stdout)
        self.assertEqual(harness.EXIT_OK, job.grpoctl("resume").returncode)
        job.wait_to_end()
        self.assert_same_results(self.local, run_dir)

    def test_one_that_waits_in_the_queue_is_described_and_stopped(self):
        run_dir = self.folder / "run"
        job = self.launched(run_dir, settings={"launch.slurm.sbatch": "[--hold]"})
        said = job.grpoctl("status")
        self.assertEqual(harness.EXIT_UNAVAILABLE, said.returncode)
        self.assertIn(f"job {job.number} of slurm is PENDING (JobHeldUser)", said.stderr)
        by_folder = slurm_launch.run_grpoctl(self.cluster, "status", "--run-dir", run_dir)
        self.assertIn(f"job {job.number} of slurm is PENDING", by_folder.stderr)
        self.assertEqual(harness.EXIT_OK, job.grpoctl("stop").returncode)
        job.wait_to_end("CANCELLED")
        # The folder is free again, for a launch that goes on.
        resumed = slurm_launch.run_grpoctl(
            self.cluster, "launch", "--on", "slurm", "--resume", "--run-dir", run_dir, "--dry-run"
        )
        self.assertEqual(harness.EXIT_OK, resumed.returncode, resumed.stderr)


if __name__ == "__main__":
    unittest.main()
