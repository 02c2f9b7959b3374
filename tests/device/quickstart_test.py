"""The quickstart in its short form on the fake device, two ranks and two workers: it learns, and what is killed goes on equal."""

import os
import pathlib
import signal
import sys
import unittest

_HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parent / "e2e"), str(_HERE)]

import harness  # noqa: E402
from device_run import SETTINGS, signs_of_not_learning  # noqa: E402


class DeviceQuickstartTest(harness.AgainstUndisturbedRunTest):
    CONFIG = harness.QUICKSTART
    # trainer.device and rollout_worker.device are auto: whoever has an accelerator takes it.
    SETTINGS = SETTINGS
    # Every operator of the device copies what it computes on, twice.
    PATIENCE_S = 240

    @classmethod
    def setUpClass(cls):
        cls.PROGRAM = harness.grpoctl_that_starts({
            "trainer": harness.binary("tests/device/trainer_fake"),
            "rollout_worker": harness.binary("tests/device/rollout_worker_fake"),
            "reward_server": harness.REWARD_SERVER,
        })
        super().setUpClass()

    def kill(self, pid):
        os.kill(pid, signal.SIGKILL)

    def test_learns_and_says_where(self):
        self.assertEqual([], signs_of_not_learning(harness.records(self.undisturbed)))
        for log in ("trainer.log", "trainer-1.log", "rollout-0.log", "rollout-1.log"):
            with self.subTest(log=log):
                self.assertIn("fake", (self.undisturbed / "logs" / log).read_text())

    def test_starts_out_as_on_the_cpu(self):
        self.run_to_end(self.run_dir, self.CONFIG, self.SETTINGS)
        on_cpu, on_device = harness.records(self.run_dir), harness.records(self.undisturbed)
        # Rounding differs, and a step with a high rate makes ever more of it.
        for expected, actual in zip(on_cpu[:5], on_device[:5]):
            self.assertEqual(expected["token_ids_hash"], actual["token_ids_hash"])
            self.assertAlmostEqual(float(expected["loss"]), float(actual["loss"]), delta=1e-4)

    def test_every_process_killed_once_and_then_all_of_them_goes_on_equal(self):
        with harness.Run(self.run_dir, self.CONFIG, self.SETTINGS, program=self.PROGRAM) as run:
            run.wait_for_step("r1_zero", 1, self.PATIENCE_S)
            self.kill(run.pid_of("rollout-1"))
            run.wait_for_step("r1_zero", 3, self.PATIENCE_S)
            self.kill(run.pid_of("trainer-1"))
            run.wait_for_step("r1_zero", 5, self.PATIENCE_S)
            self.kill(run.pid)
            run.wait()
        harness.wait_until(lambda: not harness.processes_of(self.run_dir), "the children died with grpoctl")
        # Not on the CPU, and nothing is touched by the try.
        refused = harness.grpoctl("run", "--resume", "--run-dir", self.run_dir)
        self.assertNotEqual(harness.EXIT_OK, refused.returncode)
        self.assertIn("--allow-other-device", refused.stderr + (self.run_dir / "logs/trainer.log").read_text())
        with harness.Run(self.run_dir, resume=True, program=self.PROGRAM) as run:
            self.assertEqual(harness.EXIT_OK, run.wait(self.PATIENCE_S), run.stderr)
        self.assert_undisturbed_results()


if __name__ == "__main__":
    unittest.main()
