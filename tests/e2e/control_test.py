"""Pause, resume, checkpoint and stop: a run does as it is told, and its results do not show it."""

import importlib
import json
import signal
import sys
import time
import unittest

import harness
from harness import trainer_pb2

# The step of `tune` at which a test interferes; as many again are left then.
EARLY = 20


class ControlTest(harness.AgainstUndisturbedRunTest):

    def test_pause_stands_still_and_resume_goes_on(self):
        with harness.Run(self.run_dir, harness.TINY) as run:
            run.wait_for_step("tune", EARLY)
            paused = harness.grpoctl("pause", "--run-dir", self.run_dir)
            self.assertEqual((harness.EXIT_OK, "PAUSED\n"), (paused.returncode, paused.stdout))
            time.sleep(0.5)  # the step that was under way ends
            before = run.status()
            self.assertEqual(trainer_pb2.RUN_STATE_PAUSED, before.state)
            self.assertIn("grpoctl resume", before.state_reason)
            for _ in range(10):
                time.sleep(0.05)
                self.assertEqual(before.stages[1].step, run.status().stages[1].step)
            resumed = harness.grpoctl("resume", "--run-dir", self.run_dir)
            self.assertEqual((harness.EXIT_OK, "RUNNING\n"), (resumed.returncode, resumed.stdout))
            run.wait_for_step("tune", before.stages[1].step + 5)
            self.assertEqual(harness.EXIT_OK, run.wait())
        self.assert_undisturbed_results()

    def test_a_checkpoint_on_request_is_committed_and_listed(self):
        with harness.Run(self.run_dir, harness.TINY) as run:
            run.wait_for_step("tune", EARLY)
            harness.grpoctl("pause", "--run-dir", self.run_dir)
            saved = harness.grpoctl("checkpoint", "--run-dir", self.run_dir)
            self.assertEqual(harness.EXIT_OK, saved.returncode, saved.stderr)
            listed = run.status().last_checkpoint
            self.assertEqual("tune", listed.stage)
            self.assertGreaterEqual(listed.step, EARLY)
            self.assertIn(listed.path, saved.stdout)
            self.assertTrue((self.run_dir / listed.path).is_dir())
            run.signal(signal.SIGTERM)  # a paused run can be stopped too
            self.assertEqual(harness.EXIT_RETRY, run.wait())
        self.finish_and_compare()

    def test_stop_is_a_success_that_can_be_resumed(self):
        with harness.Run(self.run_dir, harness.TINY) as run:
            run.wait_for_step("tune", EARLY)
            stopped = harness.grpoctl("stop", "--run-dir", self.run_dir)
            self.assertEqual((harness.EXIT_OK, "STOPPING\n"), (stopped.returncode, stopped.stdout))
            self.assertEqual(harness.EXIT_OK, run.wait())
            self.assertIn("--resume", run.stderr)
        self.finish_and_compare()

    def test_the_python_client_controls_a_run_and_the_list_of_runs_shows_it(self):
        sys.path.insert(0, str(harness.binary("sdk")))
        client = importlib.import_module("grpo_client")
        with harness.Run(self.run_dir, harness.TINY) as run:
            run.wait_for_step("tune", EARLY)
            with client.Client(run_dir=self.run_dir) as trainer:
                self.assertEqual("PAUSED", trainer.pause("a test"))
                self.assertTrue((self.run_dir / trainer.checkpoint()).is_dir())
                self.assertEqual(("paused", "tune"), self._listed("state", "stage"))
                self.assertEqual("RUNNING", trainer.resume())
                self.assertIn("name:", trainer.config())
                states, answer = [], None
                for status in trainer.watch(min_interval_s=0.05):
                    states.append(status.state)
                    if answer is None and status.step > EARLY + 3:
                        answer = trainer.stop()
            self.assertEqual("STOPPING", answer)
            self.assertEqual(("RUNNING", "STOPPED"), (states[0], states[-1]))
            self.assertEqual(harness.EXIT_OK, run.wait())
        with self.assertRaises(ConnectionError):
            client.Client(run_dir=self.run_dir)
        self.assertEqual(("stopped", "tune", 60), self._listed("state", "stage", "num_steps"))
        self.finish_and_compare()
        self.assertEqual(("finished",), self._listed("state"))

    def test_a_run_whose_processes_were_killed_is_listed_as_lost(self):
        with harness.Run(self.run_dir, harness.TINY) as run:
            run.wait_for_step("tune", EARLY)
            run.signal(signal.SIGKILL)
            run.wait()
            harness.wait_until(lambda: not harness.processes_of(self.run_dir), "its children are gone")
            state, stage, step = self._listed("state", "stage", "step")
            self.assertEqual(("lost", "tune"), (state, stage))
            self.assertGreaterEqual(step, EARLY)

    def _listed(self, *fields):
        """What `grpoctl runs` says of the run."""
        listed = harness.grpoctl("runs", self.folder, "--output", "json", "--deadline", "20")
        self.assertEqual(harness.EXIT_OK, listed.returncode, listed.stderr)
        (row,) = json.loads(listed.stdout)
        return tuple(row[field] for field in fields)


if __name__ == "__main__":
    unittest.main()
